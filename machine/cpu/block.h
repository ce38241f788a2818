/*
 * Decoded code: guest instructions turned into `struct op`, grouped into blocks.
 *
 * Theory of operation
 *
 * A block is a run of instructions of one physical page, entered at its first. Conditional branches leave it when they are
 * taken, and a jump or call within the page is followed, so it goes on to the next jump out of the page or back to where it has been
 * (a loop's head is a block of its own). What it follows costs no dispatch; offsets from the block's start may so be negative.
 * It is keyed by the physical address of its first instruction, so a page shared by many processes is decoded once and
 * an mm switch costs nothing here. Its ops do not know their virtual address: the interpreter keeps the virtual address
 * of the block's start (`base`), and every pc-relative immediate already contains the op's offset in the block.
 *
 * How the interpreter finds the next block:
 *   - static jump within the page: through the link that follows the op, filled on first use. If the page is the same, so
 *     is its translation: no check is needed, ever;
 *   - anything else: the jump cache, keyed by virtual address and hart.code_tag, which stands for mode and address space;
 *   - else `block_find`: translate, hash by physical address, decode if new.
 *
 * Coherence is the architecture's: code is valid until fence.i (Zifencei). The first write into a page that has
 * blocks marks it stale (the write side of the TLB holds no entry for such a page, so the write comes here), and
 * fence.i drops the blocks of all stale pages. So a running block never disappears under the interpreter, as
 * fence.i ends its own block.
 *
 * Blocks live in one arena that is only ever filled; when it is full all blocks are dropped. An instruction
 * that straddles two pages is a block of its own, keyed by both halves, decoded anew whenever it is looked up (fence.i knows it
 * by its first page only), and is never linked.
 *
 * Nothing here outlives a snapshot: `block_drop_all(true)` zeroes it.
 */
#ifndef BLOCK_H
#define BLOCK_H

#include "base.h"
#include "cpu/jump.h"
#include "cpu/op.h"

/** Follows an op that may leave its block, in the place of an op. */
struct link {
  struct block *to;
};

struct block {
  /** offset in RAM of the first instruction; the key */
  u32 ram_offset;
  /** next block of the hash bucket, and of the page, as index + 1 into the arena in units of 16 bytes */
  u32 hash_next, page_next;
  /** of two pages, so never linked: offset in RAM of the second half + 1; else 0 */
  u32 second;
  /** where translated code is entered instead, 0: nowhere; and what else translate/region.c notes */
  u32 entry;
  u32 samples, sampled_at, unused;
  struct op ops[];
};

/** Takes the arena from the host, for `ram.size` bytes of guest RAM. */
void block_init(void);
/** The block at hart.pc, entered into the jump cache; NULL: a fetch fault is noted. */
struct block *block_find(void);
/** Bumped when blocks vanish. */
extern u32 block_epoch;
/** The block that begins at an offset in RAM and lies in one page, NULL: there is none. */
struct block *block_at(u32 ram_offset);
/** The blocks of a page of RAM, one after another. */
struct block *block_first_of_page(u32 page);
struct block *block_next_of_page(const struct block *block);
/** Makes the page one whose first write is seen, with these flags. */
void block_claim_page(u32 page, u32 flags);

/** Who wants to know what becomes of blocks. */
struct block_watcher {
  /** one was decoded */
  void (*made)(struct block *block);
  /** those of stale pages of RAM are about to go */
  void (*pages_vanish)(const u32 *pages, u32 count);
  /** all are about to go, and their pages' flags; all have gone */
  void (*all_vanish)(void);
  void (*all_vanished)(void);
};
void block_watch(const struct block_watcher *watcher);

/** fence.i */
void block_fence(void);
void block_drop_all(bool zero);

#endif
