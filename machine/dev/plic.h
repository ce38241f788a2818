/*
 * The PLIC (RISC-V Platform-Level Interrupt Controller 1.0) with one context: S-mode of the one hart.
 */
#ifndef PLIC_H
#define PLIC_H

#include "dev/irq_line.h"

/** `external` is the hart's line. */
void plic_init(void (*external)(bool level));
/** The line of a level-triggered source; and of one that fires whenever its line rises. */
struct irq_line plic_level(u32 irq);
struct irq_line plic_edge(u32 irq);

#endif
