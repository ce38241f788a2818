/*
 * What every file of the machine starts from: fixed-width names, memory primitives without a C library.
 *
 * The machine links no libc. Under wasm the compiler turns these builtins into memory.copy and memory.fill;
 * natively they are the ones of the system.
 */
#ifndef BASE_H
#define BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t i8;
typedef int16_t i16;
typedef int32_t i32;
typedef int64_t i64;

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define MUST_USE __attribute__((warn_unused_result))
#define NOINLINE __attribute__((noinline))
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static inline void copy_bytes(void *to, const void *from, size_t len) { __builtin_memcpy(to, from, len); }
static inline void fill_bytes(void *to, u8 value, size_t len) { __builtin_memset(to, value, len); }

static inline size_t text_len(const char *text) {
  size_t len = 0;
  while (text[len]) len++;
  return len;
}

static inline bool bytes_equal(const void *a, const void *b, size_t len) {
  const u8 *p = a, *q = b;
  for (size_t i = 0; i < len; i++)
    if (p[i] != q[i]) return false;
  return true;
}

static inline bool text_equal(const char *a, const char *b) {
  size_t len = text_len(a);
  return len == text_len(b) && bytes_equal(a, b, len);
}

/**
 * Upper half of a * b. The empty assembly keeps the compiler from recognising it: as a 128-bit product it would become a
 * call of a library function that we do not link.
 */
static inline u64 mul_high(u64 a, u64 b) {
  u64 al = (u32)a, ah = a >> 32, bl = (u32)b, bh = b >> 32;
  u64 middle = ah * bl + (al * bl >> 32);
  __asm__("" : "+r"(middle));
  u64 middle_low = (u32)middle + al * bh;
  return ah * bh + (middle >> 32) + (middle_low >> 32);
}

static inline u32 get_be32(const u8 *p) { return (u32)p[0] << 24 | (u32)p[1] << 16 | (u32)p[2] << 8 | p[3]; }
static inline void set_be32(u8 *p, u32 v) {
  p[0] = (u8)(v >> 24);
  p[1] = (u8)(v >> 16);
  p[2] = (u8)(v >> 8);
  p[3] = (u8)v;
}

#endif
