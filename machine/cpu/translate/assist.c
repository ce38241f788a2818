#include "cpu/translate/assist.h"

#include "board/ram.h"
#include "cpu/amo.h"
#include "cpu/csr.h"
#include "cpu/fp.h"
#include "cpu/hart.h"
#include "cpu/mmu.h"
#include "cpu/riscv.h"
#include "cpu/translate/region.h"
#include "cpu/zero.h"

#ifdef __wasm__
#define EXPORT(name) __attribute__((export_name("translator." name), visibility("default")))
#else
#define EXPORT(name)
#endif

static u8 *plain(u64 va, u32 size, bool store) { return (va & 0xfff) + size <= PAGE_SIZE ? mmu_data(va, store) : NULL; }

EXPORT("read") u32 translator_read(u64 va, u32 size) { return (u32)(uintptr_t)plain(va, size, false); }
EXPORT("write") u32 translator_write(u64 va, u32 size) { return (u32)(uintptr_t)plain(va, size, true); }

EXPORT("atomic") u32 translator_atomic(u32 insn) { return amo_execute(insn); }
EXPORT("float") u32 translator_float(u32 insn) { return fp_execute(insn); }
EXPORT("zero") u32 translator_zero(u64 va) { return zero_allowed() && zero_block(va); }

EXPORT("state") i64 translator_state(u32 insn, u32 budget) {
  hart.slice_left = (i32)budget;
  if (!csr_execute(insn)) return -1;
  if (!hart.leave) return budget;
  hart.slice_stolen += (i32)budget;
  return 0;
}

EXPORT("mulh") u64 translator_mulh(u64 a, u64 b) { return mul_high(a, b) - ((i64)a < 0 ? b : 0) - ((i64)b < 0 ? a : 0); }
EXPORT("mulhsu") u64 translator_mulhsu(u64 a, u64 b) { return mul_high(a, b) - ((i64)a < 0 ? b : 0); }
EXPORT("mulhu") u64 translator_mulhu(u64 a, u64 b) { return mul_high(a, b); }

#ifdef __wasm__
__attribute__((export_name("translation_counts"), visibility("default")))
#endif
const struct region_counts *translation_counts(void) { return &region_counts; }
