/*
 * cbo.zero (Zicboz).
 */
#ifndef ZERO_H
#define ZERO_H

#include "cpu/hart.h"
#include "cpu/mmu.h"
#include "cpu/riscv.h"

static inline bool zero_allowed(void) { return hart.mode == MODE_S || (hart.senvcfg & SENVCFG_CBZE); }

/** Clears the block that `va` lies in; false: a fault is noted. */
static inline bool zero_block(u64 va) {
  u8 *block = mmu_data(va & ~(u64)(CBO_BLOCK - 1), true);
  if (!block) return false;
  fill_bytes(block, 0, CBO_BLOCK);
  return true;
}

#endif
