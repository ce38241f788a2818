/*
 * Floating point: F and D of unprivileged §21 and §22, exact to the flag.
 *
 * Two paths. The soft one computes every operation with integers: unpack, work on a 64-bit significand with sticky
 * low bit, round once. It is right for all rounding modes and flags. The native one (fp_native_… below) uses the
 * host's f32/f64, which round to nearest even, when that is all that is asked for: rounding is RNE, the inexact flag is
 * already raised (it is sticky, and hardly anybody clears it), and the result is such that no other flag can be due.
 */
#ifndef FP_H
#define FP_H

#include "base.h"
#include "cpu/hart.h"
#include "cpu/riscv.h"

/** An instruction of OP-FP or one of the four fused multiply-adds; false: illegal. */
MUST_USE bool fp_execute(u32 insn);

static inline bool fp_native_allowed(void) { return hart.frm == RM_RNE && (hart.fflags & FFLAG_NX); }

static inline double fp_as_f64(u64 bits) {
  double value;
  __builtin_memcpy(&value, &bits, 8);
  return value;
}
static inline u64 fp_f64_bits(double value) {
  u64 bits;
  __builtin_memcpy(&bits, &value, 8);
  return bits;
}
static inline float fp_as_f32(u64 bits) {
  u32 low = (u32)bits;
  float value;
  __builtin_memcpy(&value, &low, 4);
  return value;
}
static inline u32 fp_f32_bits(float value) {
  u32 bits;
  __builtin_memcpy(&bits, &value, 4);
  return bits;
}

#define FP_BOX 0xffffffff00000000ull
static inline bool fp_is_boxed(u64 bits) { return bits >> 32 == 0xffffffff; }

#endif
