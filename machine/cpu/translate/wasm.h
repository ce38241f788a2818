/*
 * Writing WebAssembly (core specification 2, §5): bytes into a buffer of fixed size. What does not fit is dropped and noted.
 */
#ifndef WASM_H
#define WASM_H

#include "base.h"

struct wasm {
  u8 *bytes;
  u32 len, capacity;
  bool overflowed;
  /** blocks, loops and ifs that are open */
  u32 depth;
};

enum wasm_type { WASM_I32 = 0x7f, WASM_I64 = 0x7e, WASM_F64 = 0x7c, WASM_EMPTY = 0x40 };

enum wasm_code {
  W_UNREACHABLE = 0x00, W_BLOCK = 0x02, W_LOOP = 0x03, W_IF = 0x04, W_ELSE = 0x05, W_END = 0x0b, W_BR = 0x0c, W_BR_IF = 0x0d, W_BR_TABLE = 0x0e, W_CALL = 0x10,
  W_DROP = 0x1a, W_SELECT = 0x1b, W_LOCAL_GET = 0x20, W_LOCAL_SET = 0x21, W_LOCAL_TEE = 0x22,
  W_I32_LOAD = 0x28, W_I64_LOAD = 0x29, W_F64_LOAD = 0x2b,
  W_I64_LOAD8_S = 0x30, W_I64_LOAD8_U = 0x31, W_I64_LOAD16_S = 0x32, W_I64_LOAD16_U = 0x33, W_I64_LOAD32_S = 0x34, W_I64_LOAD32_U = 0x35,
  W_I32_STORE = 0x36, W_I64_STORE = 0x37, W_F64_STORE = 0x39, W_I64_STORE8 = 0x3c, W_I64_STORE16 = 0x3d, W_I64_STORE32 = 0x3e,
  W_I32_CONST = 0x41, W_I64_CONST = 0x42, W_F64_CONST = 0x44,
  W_I32_EQZ = 0x45, W_I32_EQ = 0x46, W_I32_NE = 0x47, W_I32_LT_S = 0x48, W_I32_GT_U = 0x4b, W_I32_GE_U = 0x4f,
  W_I64_EQZ = 0x50, W_I64_EQ, W_I64_NE, W_I64_LT_S, W_I64_LT_U, W_I64_GT_S, W_I64_GT_U, W_I64_LE_S, W_I64_LE_U, W_I64_GE_S, W_I64_GE_U,
  W_F32_EQ = 0x5b, W_F32_NE, W_F32_LT, W_F32_GT, W_F32_LE, W_F32_GE,
  W_F64_EQ = 0x61, W_F64_NE, W_F64_LT, W_F64_GT, W_F64_LE, W_F64_GE,
  W_I32_CLZ = 0x67, W_I32_CTZ, W_I32_POPCNT, W_I32_ADD, W_I32_SUB, W_I32_MUL, W_I32_DIV_S, W_I32_DIV_U, W_I32_REM_S, W_I32_REM_U, W_I32_AND, W_I32_OR, W_I32_XOR, W_I32_SHL,
  W_I32_SHR_S, W_I32_SHR_U, W_I32_ROTL, W_I32_ROTR,
  W_I64_CLZ = 0x79, W_I64_CTZ, W_I64_POPCNT, W_I64_ADD, W_I64_SUB, W_I64_MUL, W_I64_DIV_S, W_I64_DIV_U, W_I64_REM_S, W_I64_REM_U, W_I64_AND, W_I64_OR, W_I64_XOR, W_I64_SHL,
  W_I64_SHR_S, W_I64_SHR_U, W_I64_ROTL, W_I64_ROTR,
  W_F32_SQRT = 0x91, W_F32_ADD, W_F32_SUB, W_F32_MUL, W_F32_DIV, W_F32_MIN, W_F32_MAX,
  W_F64_ABS = 0x99, W_F64_SQRT = 0x9f, W_F64_ADD, W_F64_SUB, W_F64_MUL, W_F64_DIV, W_F64_MIN, W_F64_MAX,
  W_I32_WRAP_I64 = 0xa7, W_I64_EXTEND_I32_S = 0xac, W_I64_EXTEND_I32_U = 0xad,
  W_I64_TRUNC_F64_S = 0xb0, W_I64_TRUNC_F64_U = 0xb1,
  W_F32_CONVERT_I64_S = 0xb4, W_F32_CONVERT_I64_U = 0xb5, W_F32_DEMOTE_F64 = 0xb6, W_F64_CONVERT_I64_S = 0xb9, W_F64_CONVERT_I64_U = 0xba, W_F64_PROMOTE_F32 = 0xbb,
  W_I32_REINTERPRET_F32 = 0xbc, W_I64_REINTERPRET_F64 = 0xbd, W_F32_REINTERPRET_I32 = 0xbe, W_F64_REINTERPRET_I64 = 0xbf,
  W_I64_EXTEND8_S = 0xc2, W_I64_EXTEND16_S = 0xc3, W_I64_EXTEND32_S = 0xc4,
};

static inline void wasm_byte(struct wasm *w, u32 byte) {
  if (unlikely(w->len >= w->capacity)) w->overflowed = true;
  else w->bytes[w->len++] = (u8)byte;
}

static inline void wasm_bytes(struct wasm *w, const void *bytes, u32 len) {
  if (unlikely(len > w->capacity - w->len)) {
    w->overflowed = true;
    return;
  }
  copy_bytes(w->bytes + w->len, bytes, len);
  w->len += len;
}

static inline void wasm_unsigned(struct wasm *w, u64 value) {
  for (; value >= 0x80; value >>= 7) wasm_byte(w, (u32)(value & 0x7f) | 0x80);
  wasm_byte(w, (u32)value);
}

static inline void wasm_signed(struct wasm *w, i64 value) {
  for (; value < -0x40 || value >= 0x40; value >>= 7) wasm_byte(w, (u32)(value & 0x7f) | 0x80);
  wasm_byte(w, (u32)(value & 0x7f));
}

#define WASM_SIZE_BYTES 5
/** Room for a size that is known later; returns where. */
static inline u32 wasm_reserve_size(struct wasm *w) {
  u32 at = w->len;
  for (u32 i = 0; i < WASM_SIZE_BYTES; i++) wasm_byte(w, 0);
  return at;
}

/** What follows the room at `at` is complete. */
static inline void wasm_set_size(struct wasm *w, u32 at) {
  if (w->overflowed) return;
  u32 size = w->len - at - WASM_SIZE_BYTES;
  for (u32 i = 0; i < WASM_SIZE_BYTES; i++) w->bytes[at + i] = (u8)((size >> 7 * i & 0x7f) | (i + 1 < WASM_SIZE_BYTES ? 0x80 : 0));
}

/** An instruction with an index: of a local, a function, a label. */
static inline void wasm_indexed(struct wasm *w, u32 code, u32 index) {
  wasm_byte(w, code);
  wasm_unsigned(w, index);
}
static inline void wasm_get(struct wasm *w, u32 local) { wasm_indexed(w, W_LOCAL_GET, local); }
static inline void wasm_set(struct wasm *w, u32 local) { wasm_indexed(w, W_LOCAL_SET, local); }
static inline void wasm_tee(struct wasm *w, u32 local) { wasm_indexed(w, W_LOCAL_TEE, local); }
static inline void wasm_call(struct wasm *w, u32 function) { wasm_indexed(w, W_CALL, function); }
static inline void wasm_i32(struct wasm *w, i32 value) {
  wasm_byte(w, W_I32_CONST);
  wasm_signed(w, value);
}
static inline void wasm_i64(struct wasm *w, i64 value) {
  wasm_byte(w, W_I64_CONST);
  wasm_signed(w, value);
}

/** A load or store; the address is on the stack, nothing is said of its alignment. */
static inline void wasm_access(struct wasm *w, u32 code, u32 offset) {
  wasm_byte(w, code);
  wasm_byte(w, 0);
  wasm_unsigned(w, offset);
}

/** Opens a block, loop or if; the result is its level, by which branches name it. */
static inline u32 wasm_open(struct wasm *w, u32 code, u32 type) {
  wasm_byte(w, code);
  wasm_byte(w, type);
  return ++w->depth;
}
static inline void wasm_close(struct wasm *w) {
  wasm_byte(w, W_END);
  w->depth--;
}
static inline void wasm_branch(struct wasm *w, u32 code, u32 level) { wasm_indexed(w, code, w->depth - level); }

#endif
