/*
 * A device's way to interrupt: one input of an interrupt controller, which it is given when it is made.
 */
#ifndef IRQ_LINE_H
#define IRQ_LINE_H

#include "base.h"

struct irq_line {
  void (*set)(u32 number, bool level);
  u32 number;
};

static inline void irq_set(struct irq_line line, bool level) { line.set(line.number, level); }

#endif
