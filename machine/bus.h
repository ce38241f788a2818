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

struct ram {
  u8 *bytes;
  u64 size;
  /** one byte per page, PAGE_… bits */
  u8 *page_flags;
};
extern struct ram ram;

/** blocks were decoded from this page */
#define PAGE_HAS_CODE 1
/** … and it was written since */
#define PAGE_CODE_STALE 2

/** Takes memory for `size` bytes of guest RAM from the host. */
void ram_init(u64 size);

static inline bool ram_contains(u64 pa, u64 len) {
  u64 offset = pa - RAM_BASE;
  return offset < ram.size && len <= ram.size - offset;
}

/** Host address of `len` bytes of RAM at `pa`, or NULL if not all of them are RAM. */
static inline u8 *ram_at(u64 pa, u64 len) { return ram_contains(pa, len) ? ram.bytes + (pa - RAM_BASE) : NULL; }

/** To be called when a device wrote into RAM: decoded code there is stale. */
void ram_written(u64 pa, u64 len);

/** Device access of 1, 2, 4 or 8 bytes, naturally aligned; false: nothing answers there. */
MUST_USE bool bus_read(u64 pa, u32 size, u64 *value);
MUST_USE bool bus_write(u64 pa, u32 size, u64 value);

#endif
