/*
 * The user's terminal: stdin and stdout on one side, hvc0 on the other.
 *
 * Output is gathered and written once per turn. Input is read only when the guest has room for it. The
 * terminal's size comes in-band, as an APC sequence that is taken out of the stream:
 *
 *     ESC _ portside;size=COLSxROWS ESC \
 *
 * It may be split over reads. Anything else passes through untouched: bytes are held back only while they are a prefix of
 * the sequence and longer than the lone ESC of a key press, which is never held back.
 */
#ifndef TERMINAL_H
#define TERMINAL_H

#include "base.h"

void terminal_init(void);
/** Whether stdin counts; without, the guest's terminal is silent. */
void terminal_open_stdin(bool open);
/** True if stdin should be polled: it is open and the guest has room. */
bool terminal_wants_input(void);
/** Reads once; to be called when stdin is ready. */
void terminal_read(void);
/** Gathers text for stdout. */
void terminal_write(const u8 *bytes, u32 len);
void terminal_flush(void);
/** Delivers a pending end of input; called each turn. */
void terminal_turn(void);

#endif
