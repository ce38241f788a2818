/*
 * The machine as a whole: what its parts tell it, and its two entries.
 */
#ifndef MACHINE_H
#define MACHINE_H

#include "base.h"

/** Text of the SBI debug console: early boot and panics. */
void machine_early_console(const u8 *text, u64 len);
/** The guest switched itself off; `status` is what the process exits with unless the agent said otherwise. */
void machine_power_off(u32 status);

/** `wizer.initialize`: boots from /in up to the handshake, on virtual time, and leaves a state fit for a snapshot. */
void machine_initialize(void);
/** `_start`: goes on from the snapshot, or boots from /in. Never returns. */
_Noreturn void machine_start(void);
/** `instret`: instructions retired since power-on; benchmarks ask after the end. */
u64 machine_instret(void);

#endif
