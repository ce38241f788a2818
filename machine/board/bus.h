/*
 * The physical address map: RAM, and devices behind one table (bus.c).
 *
 * All that is not the interpreter's fast path reaches guest memory through here: `ram_at` is the only way from a
 * guest-physical range to a host pointer, and it checks the whole range.
 */
#ifndef BUS_H
#define BUS_H

#include "base.h"

#define RAM_BASE 0x80000000ull
/** where the first bank is when there is a second one, which then is at RAM_BASE */
#define RAM_HIGH_BASE 0x100000000ull

/** Two banks. An offset in RAM counts through both: the second bank's begin at `size`. */
struct ram {
  u8 *bytes;
  u64 base, size;
  /** host address of the second bank minus `size` */
  uintptr_t more;
  u64 more_size;
  /** size of both at most */
  u64 capacity;
  /** one byte per page, PAGE_… bits */
  u8 *page_flags;
};
extern struct ram ram;

/** blocks were decoded from this page */
#define PAGE_HAS_CODE 1
/** … and it was written since */
#define PAGE_CODE_STALE 2

/** Takes memory for the first bank from the host; there may be as much as `more_max` in the second one. */
void ram_init(u64 size, u64 more_max);
/** Takes memory for the second bank; false: the host does not give so much. */
MUST_USE bool ram_attach(u64 more_size);
/** Leaves zeroes in the second bank, and the bank. */
void ram_detach(void);

#define RAM_NONE (~0ull)
/** Offset in RAM of `len` bytes at `pa`, or RAM_NONE if not all of them are RAM of one bank. */
static inline u64 ram_offset_of(u64 pa, u64 len) {
  u64 offset = pa - ram.base;
  if (likely(offset < ram.size)) return len <= ram.size - offset ? offset : RAM_NONE;
  offset = pa - RAM_BASE;
  return offset < ram.more_size && len <= ram.more_size - offset ? ram.size + offset : RAM_NONE;
}

static inline bool ram_contains(u64 pa, u64 len) { return ram_offset_of(pa, len) != RAM_NONE; }

/** Host address of what lies at an offset in RAM. */
static inline u8 *ram_bytes(u64 offset) { return (u8 *)((offset < ram.size ? (uintptr_t)ram.bytes : ram.more) + (uintptr_t)offset); }

static inline u64 ram_total(void) { return ram.size + ram.more_size; }

/** Host address of `len` bytes of RAM at `pa`, or NULL if not all of them are RAM. */
static inline u8 *ram_at(u64 pa, u64 len) {
  u64 offset = ram_offset_of(pa, len);
  return offset == RAM_NONE ? NULL : ram_bytes(offset);
}

/** To be called when a device wrote into RAM: decoded code there is stale. */
void ram_written(u64 pa, u64 len);

/** Device access of 1, 2, 4 or 8 bytes, naturally aligned; false: nothing answers there. */
MUST_USE bool bus_read(u64 pa, u32 size, u64 *value);
MUST_USE bool bus_write(u64 pa, u32 size, u64 value);

#endif
