/*
 * Into S mode and out of it: the start, traps and interrupts, sret.
 */
#ifndef TRAP_H
#define TRAP_H

#include "base.h"

/** Puts the hart at `pc` in S mode, as firmware would hand over (SBI: a0 hart id, a1 device tree). */
void hart_start(u64 pc, u64 a0, u64 a1);
/** Enters the trap handler: `hart.pc` is the faulting (or next) instruction. */
void hart_take_trap(u64 cause, u64 value);
/** Takes the pending interrupt of the highest priority, if one may be taken now. */
bool hart_take_interrupt(void);
/** Executes sret; false: illegal here. */
MUST_USE bool hart_sret(void);

#endif
