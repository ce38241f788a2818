/*
 * The streams of a command without a terminal: the host's stdin, stdout and stderr on one side, three ports (dev/virtio_ports.h), between
 * which and the command's own pipes the agent carries the bytes, on the other. Nothing is looked at on the way.
 *
 * stdin is read when the guest has room, and its end is the end of port 0, behind the last byte. Output waits in the guest while the host
 * does not take it: the machine runs on, so that a signal reaches a command that waits for its reader. When the reader has gone the agent
 * hears of it, and the command gets SIGPIPE from its own pipe.
 */
#ifndef PIPES_H
#define PIPES_H

#include "base.h"

void pipes_init(void);
/** The command has pipes; without `with_in` nothing is read from stdin. */
void pipes_open(bool with_in);
/** True if stdin should be polled. */
bool pipes_want_input(void);
/** Reads once; to be called when it is ready. */
void pipes_read(void);
/** True if `fd` (HOST_OUT, HOST_ERR) has taken less than there is, and should be polled. */
bool pipes_are_blocked(i32 fd);
/** Goes on with it; to be called when it is ready. */
void pipes_go_on(i32 fd);
/** Writes all that is left, however long that takes. */
void pipes_finish(void);

#endif
