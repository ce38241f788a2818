/*
 * RAM: the only way from a guest-physical range to a host pointer is `ram_at` (or an offset from `ram_offset_of`), which checks the
 * whole range. Who decodes code and who writes need not know each other: they meet in the flags of a page.
 */
#ifndef RAM_H
#define RAM_H

#include "base.h"

#define PAGE_SHIFT 12
#define PAGE_SIZE 4096u
#define PAGE_MASK (~0xfffull)

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
  /** whoever decodes code: a page that was decoded from is written to for the first time since */
  void (*code_written)(u32 page);
};
extern struct ram ram;

/** blocks were decoded from this page */
#define PAGE_HAS_CODE 1
/** … and it was written since */
#define PAGE_CODE_STALE 2
/** … and translated */
#define PAGE_HAS_REGION 4

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

/** A write at this offset in RAM is about to happen: decoded code there is stale. */
static inline void ram_note_write(u64 offset) {
  u32 page = (u32)(offset >> PAGE_SHIFT);
  if (unlikely((ram.page_flags[page] & (PAGE_HAS_CODE | PAGE_CODE_STALE)) == PAGE_HAS_CODE)) ram.code_written(page);
}

/** Likewise of all that a device writes. */
void ram_written(u64 pa, u64 len);

#endif
