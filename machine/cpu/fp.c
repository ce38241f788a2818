/*
 * The soft path. A finite number is sign, exponent and significand with value = sig * 2^(exp - 63): the leading one is
 * bit 63. Operations produce such a number with everything lost below folded into bit 0 ("jammed"), and
 * `round_pack` rounds once, to the format's precision.
 */
#include "cpu/fp.h"

struct format {
  i32 fraction_bits;
  i32 bias;
  /** exponent field of infinities and NaNs */
  i32 exponent_max;
  u64 sign_bit;
  u64 canonical_nan;
};

static const struct format single = {23, 127, 0xff, 1ull << 31, 0x7fc00000};
static const struct format dual = {52, 1023, 0x7ff, 1ull << 63, 0x7ff8000000000000};

enum number_class { ZERO, FINITE, INFINITE, QUIET, SIGNALING };

struct number {
  enum number_class kind;
  bool sign;
  i32 exp;
  u64 sig;
};

struct wide {
  u64 high, low;
};

static u32 flags;
static u32 rounding;

static u64 infinity(const struct format *f, bool sign) { return (sign ? f->sign_bit : 0) | (u64)f->exponent_max << f->fraction_bits; }
static u64 zero(const struct format *f, bool sign) { return sign ? f->sign_bit : 0; }

static u64 invalid(const struct format *f) {
  flags |= FFLAG_NV;
  return f->canonical_nan;
}

static bool is_nan(const struct number *n) { return n->kind >= QUIET; }

static struct number unpack(const struct format *f, u64 bits) {
  struct number n = {.sign = (bits & f->sign_bit) != 0};
  u64 fraction = bits & ((1ull << f->fraction_bits) - 1);
  i32 exponent = (i32)(bits >> f->fraction_bits) & f->exponent_max;
  if (exponent == f->exponent_max) {
    n.kind = fraction == 0 ? INFINITE : fraction >> (f->fraction_bits - 1) ? QUIET : SIGNALING;
  } else if (exponent == 0 && fraction == 0) {
    n.kind = ZERO;
  } else {
    n.kind = FINITE;
    if (exponent) fraction |= 1ull << f->fraction_bits;
    else exponent = 1;
    i32 shift = __builtin_clzll(fraction);
    n.sig = fraction << shift;
    n.exp = exponent - f->bias + 63 - f->fraction_bits - shift;
  }
  return n;
}

static u64 shift_right_jam(u64 value, u32 count) {
  if (count == 0) return value;
  if (count > 63) return value != 0;
  return value >> count | (value << (64 - count) != 0);
}

/* What rounding adds in front of the `shift` low bits of sig, which go. */
static u64 increment(u64 sig, bool sign, i32 shift) {
  u64 mask = (1ull << shift) - 1, rest = sig & mask, half = 1ull << (shift - 1);
  switch (rounding) {
    case RM_RNE: return rest > half || (rest == half && (sig >> shift & 1));
    case RM_RTZ: return 0;
    case RM_RDN: return sign && rest;
    case RM_RUP: return !sign && rest;
    default: return rest >= half;
  }
}

static u64 overflow(const struct format *f, bool sign) {
  flags |= FFLAG_OF | FFLAG_NX;
  bool to_infinity = rounding == RM_RNE || rounding == RM_RMM || (rounding == RM_RUP && !sign) || (rounding == RM_RDN && sign);
  return infinity(f, sign) - (to_infinity ? 0 : 1);
}

static u64 round_pack(const struct format *f, bool sign, i32 exp, u64 sig) {
  i32 shift = 63 - f->fraction_bits, exp_min = 1 - f->bias;
  bool tiny = false;
  if (exp < exp_min) {
    // Unprivileged §21.2: tininess is detected after rounding, as if the exponent had no bound.
    u64 rounded = (sig >> shift) + increment(sig, sign, shift);
    tiny = exp < exp_min - 1 || !(rounded >> (f->fraction_bits + 1));
    sig = shift_right_jam(sig, (u32)(exp_min - exp));
    exp = exp_min;
  }
  bool inexact = (sig & ((1ull << shift) - 1)) != 0;
  u64 mantissa = (sig >> shift) + increment(sig, sign, shift);
  // The leading one of the mantissa adds 1 to the exponent field; a subnormal lacks it.
  u64 magnitude = ((u64)(exp + f->bias - 1) << f->fraction_bits) + mantissa;
  if (exp + f->bias >= f->exponent_max || magnitude >= infinity(f, false)) return overflow(f, sign);
  if (inexact) flags |= tiny ? FFLAG_UF | FFLAG_NX : FFLAG_NX;
  return zero(f, sign) | magnitude;
}

static u64 normalize_pack(const struct format *f, bool sign, i32 exp, u64 sig) {
  i32 shift = __builtin_clzll(sig);
  return round_pack(f, sign, exp - shift, sig << shift);
}

/* NaN in, NaN out: RISC-V propagates no payload. */
static bool nan_operand(const struct format *f, const struct number *a, const struct number *b, u64 *result) {
  if (!is_nan(a) && !is_nan(b)) return false;
  if (a->kind == SIGNALING || b->kind == SIGNALING) flags |= FFLAG_NV;
  *result = f->canonical_nan;
  return true;
}

static struct wide multiply(u64 a, u64 b) { return (struct wide){mul_high(a, b), a * b}; }

static struct wide wide_shift_right_jam(struct wide v, u32 count) {
  if (count == 0) return v;
  if (count >= 128) return (struct wide){0, (v.high | v.low) != 0};
  if (count >= 64) {
    u64 lost = v.low | (count > 64 ? v.high << (128 - count) : 0);
    return (struct wide){0, (count > 64 ? v.high >> (count - 64) : v.high) | (lost != 0)};
  }
  return (struct wide){v.high >> count, v.high << (64 - count) | v.low >> count | (v.low << (64 - count) != 0)};
}

static struct wide wide_add(struct wide a, struct wide b) {
  u64 low = a.low + b.low;
  return (struct wide){a.high + b.high + (low < a.low), low};
}
static struct wide wide_sub(struct wide a, struct wide b) { return (struct wide){a.high - b.high - (a.low < b.low), a.low - b.low}; }
static bool wide_less(struct wide a, struct wide b) { return a.high < b.high || (a.high == b.high && a.low < b.low); }

/* x + y for value = wide * 2^(exp - 126): both have bit 127 clear. Zero comes out exact. */
static u64 add_wide(const struct format *f, bool x_sign, i32 x_exp, struct wide x, bool y_sign, i32 y_exp, struct wide y) {
  i32 exp = x_exp > y_exp ? x_exp : y_exp;
  x = wide_shift_right_jam(x, (u32)(exp - x_exp));
  y = wide_shift_right_jam(y, (u32)(exp - y_exp));
  bool sign = x_sign;
  struct wide sum;
  if (x_sign == y_sign) {
    sum = wide_add(x, y);
  } else if (wide_less(x, y)) {
    sum = wide_sub(y, x);
    sign = y_sign;
  } else {
    sum = wide_sub(x, y);
    if (!(sum.high | sum.low)) return zero(f, rounding == RM_RDN);
  }
  if (sum.high == 0) {
    sum.high = sum.low;
    sum.low = 0;
    exp -= 64;
  }
  i32 shift = __builtin_clzll(sum.high);
  u64 sig = shift ? sum.high << shift | sum.low >> (64 - shift) : sum.high;
  u64 rest = sum.low << shift;
  return round_pack(f, sign, exp + 1 - shift, sig | (rest != 0));
}

static struct wide headroom(u64 sig) { return (struct wide){sig >> 1, sig << 63}; }

static u64 add(const struct format *f, u64 x, u64 y, bool subtract) {
  struct number a = unpack(f, x), b = unpack(f, y);
  u64 result;
  if (nan_operand(f, &a, &b, &result)) return result;
  b.sign ^= subtract;
  if (a.kind == INFINITE || b.kind == INFINITE) {
    if (a.kind == b.kind && a.sign != b.sign) return invalid(f);
    return infinity(f, a.kind == INFINITE ? a.sign : b.sign);
  }
  if (a.kind == ZERO && b.kind == ZERO) return zero(f, a.sign == b.sign ? a.sign : rounding == RM_RDN);
  if (a.kind == ZERO) return subtract ? y ^ f->sign_bit : y;
  if (b.kind == ZERO) return x;
  return add_wide(f, a.sign, a.exp, headroom(a.sig), b.sign, b.exp, headroom(b.sig));
}

static u64 mul(const struct format *f, u64 x, u64 y) {
  struct number a = unpack(f, x), b = unpack(f, y);
  u64 result;
  if (nan_operand(f, &a, &b, &result)) return result;
  bool sign = a.sign ^ b.sign;
  if (a.kind == INFINITE || b.kind == INFINITE) return a.kind == ZERO || b.kind == ZERO ? invalid(f) : infinity(f, sign);
  if (a.kind == ZERO || b.kind == ZERO) return zero(f, sign);
  struct wide product = multiply(a.sig, b.sig);
  return normalize_pack(f, sign, a.exp + b.exp + 1, product.high | (product.low != 0));
}

/* x * y + z, the signs of product and addend flipped as asked. */
static u64 fused(const struct format *f, u64 x, u64 y, u64 z, bool negate_product, bool negate_addend) {
  struct number a = unpack(f, x), b = unpack(f, y), c = unpack(f, z);
  bool sign = a.sign ^ b.sign ^ negate_product;
  c.sign ^= negate_addend;
  // Unprivileged §21.6: infinity times zero is invalid even when the addend is a quiet NaN.
  bool bad_product = (a.kind == INFINITE && b.kind == ZERO) || (a.kind == ZERO && b.kind == INFINITE);
  if (is_nan(&a) || is_nan(&b) || is_nan(&c) || bad_product) {
    if (a.kind == SIGNALING || b.kind == SIGNALING || c.kind == SIGNALING || bad_product) flags |= FFLAG_NV;
    return f->canonical_nan;
  }
  if (a.kind == INFINITE || b.kind == INFINITE) return c.kind == INFINITE && c.sign != sign ? invalid(f) : infinity(f, sign);
  if (c.kind == INFINITE) return infinity(f, c.sign);
  if (a.kind == ZERO || b.kind == ZERO) {
    if (c.kind == ZERO) return zero(f, sign == c.sign ? sign : rounding == RM_RDN);
    return negate_addend ? z ^ f->sign_bit : z;
  }
  struct wide product = multiply(a.sig, b.sig);
  i32 exp = a.exp + b.exp;
  if (c.kind == ZERO) return normalize_pack(f, sign, exp + 1, product.high | (product.low != 0));
  product = (struct wide){product.high >> 1, product.high << 63 | product.low >> 1};
  return add_wide(f, sign, exp + 1, product, c.sign, c.exp, headroom(c.sig));
}

static u64 divide(const struct format *f, u64 x, u64 y) {
  struct number a = unpack(f, x), b = unpack(f, y);
  u64 result;
  if (nan_operand(f, &a, &b, &result)) return result;
  bool sign = a.sign ^ b.sign;
  if (a.kind == INFINITE) return b.kind == INFINITE ? invalid(f) : infinity(f, sign);
  if (b.kind == INFINITE) return zero(f, sign);
  if (b.kind == ZERO) {
    if (a.kind == ZERO) return invalid(f);
    flags |= FFLAG_DZ;
    return infinity(f, sign);
  }
  if (a.kind == ZERO) return zero(f, sign);
  // Restoring division: 64 quotient bits of (a / 2) / b, which is below 1.
  u64 remainder = a.sig >> 1, quotient = 0;
  for (u32 i = 0; i < 64; i++) {
    bool carry = remainder >> 63;
    remainder <<= 1;
    quotient <<= 1;
    if (carry || remainder >= b.sig) {
      remainder -= b.sig;
      quotient |= 1;
    }
  }
  return normalize_pack(f, sign, a.exp - b.exp, quotient | (remainder != 0));
}

static u64 square_root(const struct format *f, u64 x) {
  struct number a = unpack(f, x);
  if (is_nan(&a)) {
    if (a.kind == SIGNALING) flags |= FFLAG_NV;
    return f->canonical_nan;
  }
  if (a.kind == ZERO) return x;
  if (a.sign) return invalid(f);
  if (a.kind == INFINITE) return x;
  // Root of the 128-bit number sig * 2^64 (odd exponent) or sig * 2^63, two bits a step.
  bool odd = a.exp & 1;
  struct wide radicand = odd ? (struct wide){a.sig, 0} : headroom(a.sig);
  u64 root = 0;
  struct wide remainder = {0, 0};
  for (u32 i = 0; i < 64; i++) {
    remainder = (struct wide){remainder.high << 2 | remainder.low >> 62, remainder.low << 2 | radicand.high >> 62};
    radicand = (struct wide){radicand.high << 2 | radicand.low >> 62, radicand.low << 2};
    struct wide trial = {root >> 62, root << 2 | 1};
    root <<= 1;
    if (!wide_less(remainder, trial)) {
      remainder = wide_sub(remainder, trial);
      root |= 1;
    }
  }
  i32 exp = (a.exp - (odd ? 1 : 0)) / 2;
  return round_pack(f, false, exp, root | ((remainder.high | remainder.low) != 0));
}

static u64 from_integer(const struct format *f, bool sign, u64 magnitude) {
  return magnitude ? normalize_pack(f, sign, 63, magnitude) : zero(f, false);
}

/* To an integer of `bits` bits; out of range saturates and is invalid (unprivileged §21.7). */
static u64 to_integer(const struct format *f, u64 x, u32 bits, bool is_signed) {
  struct number a = unpack(f, x);
  u64 largest = is_signed ? (1ull << (bits - 1)) - 1 : bits == 64 ? ~0ull : (1ull << bits) - 1;
  u64 largest_negative = is_signed ? 1ull << (bits - 1) : 0;
  bool negative = a.sign && !is_nan(&a);
  u64 magnitude = 0;
  bool inexact = false, too_big = is_nan(&a) || a.kind == INFINITE || (a.kind == FINITE && a.exp > 63);
  if (a.kind == FINITE && !too_big) {
    if (a.exp == 63) {
      magnitude = a.sig;
    } else {
      // One bit above the cut and the sticky rest below: the integer part moves to the top of 62 bits.
      i32 cut = 63 - a.exp;
      u64 whole = cut > 63 ? 0 : a.sig >> cut;
      u64 rest = cut > 64 ? 1 : cut == 64 ? a.sig >> 1 | (a.sig & 1) : a.sig << (64 - cut) >> 1 | (a.sig << (64 - cut) & 1);
      u64 half = 1ull << 62;
      bool up = rounding == RM_RNE ? rest > half || (rest == half && (whole & 1)) : rounding == RM_RDN ? negative && rest : rounding == RM_RUP ? !negative && rest : rounding == RM_RMM ? rest >= half : false;
      inexact = rest != 0;
      magnitude = whole + up;
    }
  }
  if (too_big || magnitude > (negative ? largest_negative : largest)) {
    flags |= FFLAG_NV;
    return negative ? 0 - largest_negative : largest;
  }
  if (inexact) flags |= FFLAG_NX;
  return negative ? 0 - magnitude : magnitude;
}

static u64 convert(const struct format *from, const struct format *to, u64 x) {
  struct number a = unpack(from, x);
  switch (a.kind) {
    case SIGNALING: flags |= FFLAG_NV; return to->canonical_nan;
    case QUIET: return to->canonical_nan;
    case INFINITE: return infinity(to, a.sign);
    case ZERO: return zero(to, a.sign);
    default: return round_pack(to, a.sign, a.exp, a.sig);
  }
}

/* Ordered by value; neither is a NaN. */
static i32 compare(const struct format *f, u64 x, u64 y) {
  bool x_sign = x & f->sign_bit, y_sign = y & f->sign_bit;
  u64 x_magnitude = x & (f->sign_bit - 1), y_magnitude = y & (f->sign_bit - 1);
  if (!(x_magnitude | y_magnitude)) return 0;
  if (x_sign != y_sign) return x_sign ? -1 : 1;
  if (x_magnitude == y_magnitude) return 0;
  return (x_magnitude < y_magnitude) != x_sign ? -1 : 1;
}

static u64 compare_result(const struct format *f, u32 funct3, u64 x, u64 y) {
  struct number a = unpack(f, x), b = unpack(f, y);
  if (is_nan(&a) || is_nan(&b)) {
    // feq is quiet, flt and fle signal on any NaN.
    if (funct3 != 2 || a.kind == SIGNALING || b.kind == SIGNALING) flags |= FFLAG_NV;
    return 0;
  }
  i32 order = compare(f, x, y);
  return funct3 == 2 ? order == 0 : funct3 == 1 ? order < 0 : order <= 0;
}

static u64 min_max(const struct format *f, bool want_max, u64 x, u64 y) {
  struct number a = unpack(f, x), b = unpack(f, y);
  if (a.kind == SIGNALING || b.kind == SIGNALING) flags |= FFLAG_NV;
  if (is_nan(&a) && is_nan(&b)) return f->canonical_nan;
  if (is_nan(&a)) return y;
  if (is_nan(&b)) return x;
  i32 order = compare(f, x, y);
  // -0 is less than +0 here.
  if (order == 0) order = a.sign == b.sign ? 0 : a.sign ? -1 : 1;
  return (order < 0) != want_max ? x : y;
}

static u64 classify(const struct format *f, u64 x) {
  struct number a = unpack(f, x);
  bool subnormal = a.kind == FINITE && a.exp < 1 - f->bias;
  switch (a.kind) {
    case INFINITE: return a.sign ? 1 << 0 : 1 << 7;
    case ZERO: return a.sign ? 1 << 3 : 1 << 4;
    case SIGNALING: return 1 << 8;
    case QUIET: return 1 << 9;
    default: return a.sign ? (subnormal ? 1 << 2 : 1 << 1) : (subnormal ? 1 << 5 : 1 << 6);
  }
}

static u64 sign_inject(const struct format *f, u32 funct3, u64 x, u64 y) {
  u64 sign = funct3 == 0 ? y : funct3 == 1 ? ~y : x ^ y;
  return (x & (f->sign_bit - 1)) | (sign & f->sign_bit);
}

static u64 read_f(const struct format *f, u32 reg) {
  if (f == &dual) return hart.f[reg];
  // Unprivileged §22.2: what is not NaN-boxed counts as the canonical NaN.
  return fp_is_boxed(hart.f[reg]) ? (u32)hart.f[reg] : single.canonical_nan;
}

static void write_f(const struct format *f, u32 reg, u64 bits) { hart.f[reg] = f == &dual ? bits : FP_BOX | (u32)bits; }

static bool set_rounding(u32 funct3) {
  rounding = funct3 == RM_DYN ? hart.frm : funct3;
  return rounding <= RM_RMM;
}

/* Arithmetic whose result is a register of f; false: not one of these. */
static bool arithmetic(const struct format *f, u32 function, u32 rs2, u64 x, u64 y, u64 *result) {
  switch (function) {
    case 0x00: *result = add(f, x, y, false); return true;
    case 0x01: *result = add(f, x, y, true); return true;
    case 0x02: *result = mul(f, x, y); return true;
    case 0x03: *result = divide(f, x, y); return true;
    case 0x0b:
      if (rs2) return false;
      *result = square_root(f, x);
      return true;
    default: return false;
  }
}

static bool execute_op(u32 insn) {
  u32 function = insn >> 27, rd = insn >> 7 & 31, rs1 = insn >> 15 & 31, rs2 = insn >> 20 & 31, funct3 = insn >> 12 & 7;
  u32 width = insn >> 25 & 3;
  if (width > 1) return false;
  const struct format *f = width ? &dual : &single;
  u64 x = read_f(f, rs1), y = read_f(f, rs2), result;
  switch (function) {
    case 0x04:
      if (funct3 > 2) return false;
      write_f(f, rd, sign_inject(f, funct3, x, y));
      return true;
    case 0x05:
      if (funct3 > 1) return false;
      write_f(f, rd, min_max(f, funct3, x, y));
      return true;
    case 0x08: { // fcvt between formats; rs2 names the source
      const struct format *from = width ? &single : &dual;
      if (rs2 != 1 - width || !set_rounding(funct3)) return false;
      write_f(f, rd, convert(from, f, read_f(from, rs1)));
      return true;
    }
    case 0x14:
      if (funct3 > 2) return false;
      result = compare_result(f, funct3, x, y);
      break;
    case 0x18: {
      if (rs2 > 3 || !set_rounding(funct3)) return false;
      result = to_integer(f, x, rs2 & 2 ? 64 : 32, !(rs2 & 1));
      // Words are sign-extended, unsigned ones too.
      if (!(rs2 & 2)) result = (u64)(i64)(i32)result;
      break;
    }
    case 0x1a: {
      if (rs2 > 3 || !set_rounding(funct3)) return false;
      u64 value = hart.x[rs1];
      if (!(rs2 & 2)) value = rs2 & 1 ? (u32)value : (u64)(i64)(i32)value;
      bool negative = !(rs2 & 1) && (i64)value < 0;
      write_f(f, rd, from_integer(f, negative, negative ? 0 - value : value));
      return true;
    }
    case 0x1c:
      if (rs2 || funct3 > 1) return false;
      result = funct3 ? classify(f, x) : width ? hart.f[rs1] : (u64)(i64)(i32)hart.f[rs1];
      break;
    case 0x1e:
      if (rs2 || funct3) return false;
      write_f(f, rd, hart.x[rs1]);
      return true;
    default:
      if (!set_rounding(funct3) || !arithmetic(f, function, rs2, x, y, &result)) return false;
      write_f(f, rd, result);
      return true;
  }
  if (rd) hart.x[rd] = result;
  return true;
}

static bool execute_fused(u32 insn) {
  u32 rd = insn >> 7 & 31, rs1 = insn >> 15 & 31, rs2 = insn >> 20 & 31, rs3 = insn >> 27, width = insn >> 25 & 3;
  if (width > 1 || !set_rounding(insn >> 12 & 7)) return false;
  const struct format *f = width ? &dual : &single;
  // fmadd, fmsub, fnmsub, fnmadd in the order of their opcodes.
  u32 which = insn >> 2 & 3;
  write_f(f, rd, fused(f, read_f(f, rs1), read_f(f, rs2), read_f(f, rs3), which >= 2, which == 1 || which == 3));
  return true;
}

bool fp_execute(u32 insn) {
  if (hart.fs == FS_OFF) return false;
  flags = 0;
  bool legal = (insn & 0x7f) == 0x53 ? execute_op(insn) : execute_fused(insn);
  if (!legal) return false;
  hart.fflags |= flags;
  hart.fs = FS_DIRTY;
  return true;
}
