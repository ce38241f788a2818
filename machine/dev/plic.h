/*
 * The PLIC (RISC-V Platform-Level Interrupt Controller 1.0) with one context: S-mode of the one hart.
 */
#ifndef PLIC_H
#define PLIC_H

#include "base.h"

MUST_USE bool plic_read(u32 offset, u32 size, u64 *value);
MUST_USE bool plic_write(u32 offset, u32 size, u64 value);
/** A level-triggered source changes its line. */
void plic_set_level(u32 irq, bool level);
/** An edge-triggered source fires once. */
void plic_pulse(u32 irq);

#endif
