/*
 * The front end for RV64: guest code becomes a unit of the intermediate form.
 */
#ifndef TRANSLATE_RISCV_H
#define TRANSLATE_RISCV_H

#include "cpu/translate/ir.h"

/** What decides which code is worth it. */
struct riscv_taste {
  /** the interpreter has come to a block that begins at this place in RAM */
  bool (*was_run)(u32 ram_offset);
  /** code in pages that this says no to is left out */
  bool (*may_translate)(u32 ram_page);
  u32 instructions_max, pages_max;
};

/**
 * Fills `unit` with the code at virtual address `pc` and what belongs to it, as the present address space maps it. Block 0 begins at `pc`. False:
 * there is nothing but what the interpreter has to do.
 */
MUST_USE bool riscv_read(struct ir_unit *unit, u64 pc, const struct riscv_taste *taste);

#endif
