/*
 * The machine's entries: what a host's own (exports, main) call. board/main.c is behind them.
 */
#ifndef ENTRIES_H
#define ENTRIES_H

#include "base.h"

/** `wizer.initialize`: boots from /in up to the handshake, on virtual time, and leaves a state fit for a snapshot. */
void machine_initialize(void);
/** `_start`: goes on from the snapshot, or boots from /in. Never returns. */
_Noreturn void machine_start(void);
/** `instret`: instructions retired since power-on; benchmarks ask after the end. */
u64 machine_instret(void);

#endif
