/*
 * The user's terminals. The first is stdin and stdout on one side, hvc0 on the other. The others, tty2 to tty4, are devices that a
 * host may offer in /portside, on one side, hvc2 to hvc4 on the other.
 *
 * Output is gathered and written once per turn. Input is read only when the guest has room for it. A
 * terminal's size comes in-band, as an APC sequence that is taken out of the stream:
 *
 *     ESC _ portside;size=COLSxROWS ESC \
 *
 * It may be split over reads. Anything else passes through untouched: bytes are held back only while they are a prefix of
 * the sequence and longer than the lone ESC of a key press, which is never held back.
 *
 * One of the others is closed until its device has something to read, the size at the latest: then the agent starts a shell on it. It ends
 * with the shell, and the device is closed; or the device ends first, and the agent ends the shell. Either way the agent says so, and
 * the device is opened anew for the next one.
 *
 *     CLOSED ─ bytes came: `open` to the agent ─▶ OPEN ─ device ended: closed; `hangup` to the agent ─▶ HUNG_UP
 *        ▲───── agent said `closed`: device closed and opened anew ─────┘◀─────────────────────────────────┘
 */
#ifndef TERMINAL_H
#define TERMINAL_H

#include "base.h"

/** the first among them */
#define TERMINALS 4u

void terminal_init(void);
/** Whether stdin counts; without, the guest's terminal is silent. */
void terminal_open_stdin(bool open);
/** From now on the first is nobody's: what is said on it all the same goes to stderr. */
void terminal_be_silent(void);
/** Asks the host for the devices of the others. */
void terminal_open_devices(void);
/** True if terminal `n` should be polled: it is open and the guest has room. */
bool terminal_wants_input(u32 n);
/** Its device if it should be polled, else negative. */
i32 terminal_device(u32 n);
/** Reads once; to be called when it is ready. */
void terminal_read(u32 n);
/** The answer about ports, in-band on stdout. */
void terminal_tell_ports(const char *list, u32 len);
/** Gathers text for stdout. */
void terminal_write(const u8 *bytes, u32 len);
void terminal_flush(void);
/** Delivers a pending end of input, and interrupts for output; called each turn. */
void terminal_turn(void);
/** The agent said that the shell on terminal `n`, counted from 1 as people do, has ended. */
void terminal_closed(u32 number);

#endif
