/*
 * The control channel, hvc1: a line protocol with the agent in the guest (ARCHITECTURE.md, "The machine and its guest agent").
 */
#ifndef CONTROL_H
#define CONTROL_H

#include "guest/options.h"

/** Whom the agent's words are for, beyond the control channel itself. */
struct control_listener {
  /** the agent is ready, or the command has ended */
  void (*changed)(void);
  /** the shell on terminal `number`, counted from 1, has ended */
  void (*closed)(u32 number);
  /** the answer to control_ask_ports: ports, as the agent lists them */
  void (*ports)(const char *list, u32 len);
  /** host address of a page of the kernel's, by its virtual address; NULL: there is none */
  u8 *(*page)(u64 va);
};

void control_init(const struct control_listener *listener);
/** True once the agent said `ready`. */
bool control_is_ready(void);
/** True once the agent said `exit N`; the status. */
bool control_has_exit(u32 *status);
/** Queues the lines that start the command; `memory_blocks` of the second bank are there. */
void control_send_start(const struct options *options, u32 memory_blocks);
/** Asks the agent what listens in the guest; nothing happens while an answer is awaited. */
void control_ask_ports(void);
/** Queues the lines that tell a resumed guest what has changed. */
void control_send_resume(const struct options *options);
/** Queues the lines by which the agent opens a shell on terminal `number`, or hangs it up. */
void control_send_terminal(const char *what, u32 number);
/** Queues the lines by which the agent sends the command signal `number`. */
void control_send_signal(u32 number);
/** Queues the lines by which the agent closes the command's stdout (1) or stderr (2): nobody reads it any more. */
void control_send_broken(u32 number);
/** Tells the agent that the key of `signal` was typed on the first terminal, unless it still has lines to read. */
void control_send_key(u32 signal);
/** Tells the agent the time if the host's wall clock was set, or went on while the host slept. */
void control_follow_clock(void);
/** Moves what waits into the guest; called each turn. */
void control_turn(void);

#endif
