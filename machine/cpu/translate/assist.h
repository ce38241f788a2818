/*
 * What translated code calls: the exports `translator.NAME`, which the host gives to each module (emit.h has their order, module.c their types). Each
 * does what the interpreter does, over the guest's state in memory, or refuses and changes nothing; then the interpreter does it again by itself.
 */
#ifndef ASSIST_H
#define ASSIST_H

#include "base.h"

/** Host address of `size` bytes of RAM in one page, 0: it is not that, or it faults. */
u32 translator_read(u64 va, u32 size);
u32 translator_write(u64 va, u32 size);
/** Instructions, as encoded: an AMO, floating point. */
u32 translator_atomic(u32 insn);
u32 translator_float(u32 insn);
/** cbo.zero */
u32 translator_zero(u64 va);
/** A read of a CSR: the budget in front of it becomes what is left behind it; negative: it is illegal. */
i64 translator_state(u32 insn, u32 budget);
/** Upper half of the product: signed, signed by unsigned, unsigned. */
u64 translator_mulh(u64 a, u64 b);
u64 translator_mulhsu(u64 a, u64 b);
u64 translator_mulhu(u64 a, u64 b);

struct region_counts;
/** `translation_counts`: for those who measure. */
const struct region_counts *translation_counts(void);

#endif
