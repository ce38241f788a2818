/*
 * The jump cache: blocks by virtual address. Blocks fill it, the interpreter looks there, the MMU forgets what it maps no longer.
 */
#ifndef JUMP_H
#define JUMP_H

#include "base.h"

struct block;

#define JUMP_CACHE_SIZE 4096
struct jump_entry {
  /** virtual address ^ hart.code_tag; 0: empty */
  u64 key;
  struct block *block;
};
extern struct jump_entry jump_cache[JUMP_CACHE_SIZE];

static inline struct jump_entry *jump_entry_at(u64 pc) { return &jump_cache[(u32)(pc >> 1) & (JUMP_CACHE_SIZE - 1)]; }

#endif
