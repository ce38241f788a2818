/*
 * 9P's bytes: little-endian integers and counted texts (9P2000.L).
 *
 *   size[4] type[1] tag[2] ...     a text is len[2] and its bytes
 *
 * Both directions are bounded: reading beyond the message sets `bad` and gives zeros, writing beyond the buffer is dropped and sets
 * `bad`. Whoever has read or written a message looks at it once.
 */
#ifndef P9_WIRE_H
#define P9_WIRE_H

#include "host/host_files.h"

#define P9_HEADER_LEN 7u

struct p9_in {
  const u8 *bytes;
  u32 len, at;
  bool bad;
};

struct p9_out {
  u8 *bytes;
  u32 capacity, len;
  bool bad;
};

static inline u64 p9_get(struct p9_in *in, u32 size) {
  u64 value = 0;
  if (in->len - in->at < size) {
    in->bad = true;
    in->at = in->len;
    return 0;
  }
  for (u32 i = 0; i < size; i++) value |= (u64)in->bytes[in->at + i] << 8 * i;
  in->at += size;
  return value;
}
static inline u8 p9_get8(struct p9_in *in) { return (u8)p9_get(in, 1); }
static inline u16 p9_get16(struct p9_in *in) { return (u16)p9_get(in, 2); }
static inline u32 p9_get32(struct p9_in *in) { return (u32)p9_get(in, 4); }
static inline u64 p9_get64(struct p9_in *in) { return p9_get(in, 8); }

/* Borrowed: lies in the message. */
static inline struct host_path p9_get_text(struct p9_in *in) {
  u32 len = p9_get16(in);
  if (in->len - in->at < len) {
    in->bad = true;
    in->at = in->len;
    return (struct host_path){"", 0};
  }
  struct host_path text = {(const char *)in->bytes + in->at, len};
  in->at += len;
  return text;
}

static inline void p9_put(struct p9_out *out, u64 value, u32 size) {
  if (out->capacity - out->len < size) {
    out->bad = true;
    return;
  }
  for (u32 i = 0; i < size; i++) out->bytes[out->len++] = (u8)(value >> 8 * i);
}
static inline void p9_put8(struct p9_out *out, u8 value) { p9_put(out, value, 1); }
static inline void p9_put16(struct p9_out *out, u16 value) { p9_put(out, value, 2); }
static inline void p9_put32(struct p9_out *out, u32 value) { p9_put(out, value, 4); }
static inline void p9_put64(struct p9_out *out, u64 value) { p9_put(out, value, 8); }

static inline void p9_put_text(struct p9_out *out, const char *bytes, u32 len) {
  p9_put16(out, (u16)len);
  if (out->bad || len > 0xffff || out->capacity - out->len < len) {
    out->bad = true;
    return;
  }
  copy_bytes(out->bytes + out->len, bytes, len);
  out->len += len;
}

#endif
