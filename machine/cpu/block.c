#include "cpu/block.h"

#include "board/ram.h"
#include "cpu/decode.h"
#include "cpu/fuse.h"
#include "cpu/hart.h"
#include "cpu/mmu.h"
#include "cpu/opcode.h"
#include "cpu/riscv.h"
#include "host/host.h"

#define ARENA_BYTES (24u << 20)
#define ARENA_UNIT 16
#define HASH_SIZE (1u << 16)
#define STALE_MAX 4096

u32 block_epoch;

static struct {
  const struct block_watcher *watcher;
  u8 *arena;
  u32 used;
  u32 heads[HASH_SIZE];
  /** per page of RAM: its first block */
  u32 *pages;
  /** pages with PAGE_CODE_STALE; when it overflows, all blocks go */
  u32 stale[STALE_MAX];
  u32 stale_count;
} blocks;

_Static_assert(sizeof(struct op) == ARENA_UNIT && sizeof(struct block) == 2 * ARENA_UNIT && sizeof(struct link) <= ARENA_UNIT, "units of the arena");

static void note_stale(u32 page) {
  ram.page_flags[page] |= PAGE_CODE_STALE;
  if (blocks.stale_count < STALE_MAX) blocks.stale[blocks.stale_count] = page;
  blocks.stale_count++;
}

void block_init(void) {
  fuse_init();
  ram.code_written = note_stale;
  blocks.arena = host_memory(ARENA_BYTES);
  blocks.pages = host_memory((ram.capacity >> PAGE_SHIFT) * sizeof(u32));
}

static struct block *at(u32 reference) { return (struct block *)(blocks.arena + (u64)(reference - 1) * ARENA_UNIT); }
static u32 hash(u32 ram_offset) { return (ram_offset >> 1 ^ ram_offset >> 15) & (HASH_SIZE - 1); }

void block_watch(const struct block_watcher *watcher) { blocks.watcher = watcher; }

void block_drop_all(bool zero) {
  if (blocks.watcher) blocks.watcher->all_vanish();
  block_epoch++;
  fill_bytes(jump_cache, 0, sizeof jump_cache);
  if (zero) fill_bytes(blocks.arena, 0, blocks.used);
  blocks.used = 0;
  blocks.stale_count = 0;
  fill_bytes(blocks.heads, 0, sizeof blocks.heads);
  fill_bytes(blocks.pages, 0, (ram_total() >> PAGE_SHIFT) * sizeof(u32));
  fill_bytes(ram.page_flags, 0, ram_total() >> PAGE_SHIFT);
  if (blocks.watcher) blocks.watcher->all_vanished();
}

static void drop_page(u32 page) {
  for (u32 ref = blocks.pages[page]; ref; ref = at(ref)->page_next) {
    u32 *link = &blocks.heads[hash(at(ref)->ram_offset)];
    while (*link != ref) link = &at(*link)->hash_next;
    *link = at(ref)->hash_next;
  }
  blocks.pages[page] = 0;
  ram.page_flags[page] = 0;
}

void block_fence(void) {
  if (blocks.stale_count == 0) return;
  if (blocks.stale_count > STALE_MAX) {
    block_drop_all(false);
    return;
  }
  if (blocks.watcher) blocks.watcher->pages_vanish(blocks.stale, blocks.stale_count);
  for (u32 i = 0; i < blocks.stale_count; i++) drop_page(blocks.stale[i]);
  blocks.stale_count = 0;
  block_epoch++;
  fill_bytes(jump_cache, 0, sizeof jump_cache);
}

void block_claim_page(u32 page, u32 flags) {
  bool is_new = !(ram.page_flags[page] & PAGE_HAS_CODE);
  ram.page_flags[page] |= (u8)(PAGE_HAS_CODE | flags);
  if (is_new) mmu_flush_writes();
}

static u32 bits_at(u32 ram_offset, u32 size) {
  u32 bits = 0;
  copy_bytes(&bits, ram_bytes(ram_offset), size);
  return bits;
}

/* The last of `count` ops leaves the block: room for its link. Returns the new count. */
static u32 add_link(struct block *block, u32 count) {
  fill_bytes(&block->ops[count], 0, sizeof(struct op));
  return count + 1;
}

static u32 finish(struct block *block, u32 count) {
  count = add_link(block, count);
  fuse_ops(block->ops, count);
  return count;
}

/* Ends the ops with one that goes on at `off`. */
static u32 finish_cut(struct block *block, u32 count, u32 instructions, i32 off) {
  struct op *op = &block->ops[count++];
  fill_bytes(op, 0, sizeof *op);
  op->code = OP_NEXT;
  op->n = (u8)instructions;
  op->imm = off;
  return finish(block, count);
}

static bool same_page(u32 a, u32 b) { return a >> PAGE_SHIFT == b >> PAGE_SHIFT; }

/* To code of the block's page that is not in [low, high), which the block holds part of. */
static bool may_follow(const struct op *op, u32 start, i32 low, i32 high) {
  return (op->code == OP_J || op->code == OP_JAL) && (op->imm >= high || op->imm < low) && same_page(start + (u32)op->imm, start);
}

/* `jal`, followed: what is left is the return address. */
static void keep_return_address(struct op *op) {
  op->code = OP_AUIPC;
  op->imm = op->off;
}

static u32 decode_run(struct block *block, u32 start) {
  i32 off = 0, low = 0, high = 0;
  u32 count = 0, instructions = 0;
  // After a link there is nothing to fold with.
  bool foldable = false;
  for (;;) {
    u32 at = start + (u32)off, size = bits_at(at, 2) % 4 == 3 ? 4 : 2;
    bool leaves_page = instructions > 0 && (!same_page(at, start) || size > PAGE_SIZE - (at & 0xfff));
    if (leaves_page || instructions == BLOCK_MAX) return finish_cut(block, count, instructions, off);
    struct op *op = &block->ops[count];
    enum decoded kind = decode(bits_at(at, size), size, off, op);
    op->n = (u8)++instructions;
    bool folded = fuse_fold(op, foldable);
    if (!folded) count++;
    off += (i32)size;
    if (off > high) high = off;
    if (kind == DECODED_JUMP && may_follow(op, start, low, high)) {
      off = (i32)op->imm;
      if (off < low) low = off;
      if (op->code == OP_J) {
        count--;
        continue;
      }
      keep_return_address(op);
      kind = DECODED_PLAIN;
    }
    foldable = kind == DECODED_PLAIN && (foldable || !folded);
    if (kind == DECODED_BRANCH) count = add_link(block, count);
    else if (kind != DECODED_PLAIN) return finish(block, count);
  }
}

/* What decode_straddling takes: an op, its link, an op that leads on, its link. */
#define STRADDLING_OPS 4

/* The second half lies in another page, found by its own translation. */
static void decode_straddling(struct block *block, u32 ram_offset, u32 high_offset) {
  u32 bits = bits_at(ram_offset, 2) | bits_at(high_offset, 2) << 16, count = 1;
  enum decoded kind = decode(bits, 4, 0, &block->ops[0]);
  block->ops[0].n = 1;
  if (kind == DECODED_BRANCH) count = add_link(block, count);
  if (kind == DECODED_BRANCH || kind == DECODED_PLAIN) finish_cut(block, count, 1, 4);
  else finish(block, count);
}

static void insert(struct block *block, u32 ram_offset, u32 second) {
  u32 ref = (u32)((u8 *)block - blocks.arena) / ARENA_UNIT + 1;
  block->ram_offset = ram_offset;
  block->second = second;
  block->hash_next = blocks.heads[hash(ram_offset)];
  blocks.heads[hash(ram_offset)] = ref;
  block->page_next = blocks.pages[ram_offset >> PAGE_SHIFT];
  blocks.pages[ram_offset >> PAGE_SHIFT] = ref;
}

static struct block *lookup(u32 ram_offset, u32 second) {
  u32 ref = blocks.heads[hash(ram_offset)];
  while (ref && !(at(ref)->ram_offset == ram_offset && at(ref)->second == second)) ref = at(ref)->hash_next;
  return ref ? at(ref) : NULL;
}

struct block *block_at(u32 ram_offset) { return lookup(ram_offset, 0); }

struct block *block_first_of_page(u32 page) { return blocks.pages[page] ? at(blocks.pages[page]) : NULL; }
struct block *block_next_of_page(const struct block *block) { return block->page_next ? at(block->page_next) : NULL; }

static struct block *make(u32 ram_offset, u32 second) {
  if (blocks.used + (BLOCK_OPS_MAX + 2) * ARENA_UNIT + sizeof(struct block) > ARENA_BYTES) block_drop_all(false);
  block_claim_page(ram_offset >> PAGE_SHIFT, 0);
  if (second) block_claim_page((second - 1) >> PAGE_SHIFT, 0);
  struct block *block = (struct block *)(blocks.arena + blocks.used);
  insert(block, ram_offset, second);
  u32 units = STRADDLING_OPS;
  if (second) decode_straddling(block, ram_offset, second - 1);
  else units = decode_run(block, ram_offset);
  blocks.used += units * ARENA_UNIT + (u32)sizeof(struct block);
  block->entry = block->samples = block->sampled_at = 0;
  if (blocks.watcher) blocks.watcher->made(block);
  return block;
}

struct block *block_find(void) {
  u64 pa;
  if (!mmu_fetch(hart.pc, &pa)) return NULL;
  u32 ram_offset = (u32)ram_offset_of(pa, 2), second = 0;
  if ((ram_offset & 0xfff) == 0xffe && bits_at(ram_offset, 2) % 4 == 3) {
    u64 pa_high;
    if (!mmu_fetch(hart.pc + 2, &pa_high)) return NULL;
    second = (u32)ram_offset_of(pa_high, 2) + 1;
  }
  struct block *block = lookup(ram_offset, second);
  if (!block) block = make(ram_offset, second);
  else if (second) decode_straddling(block, ram_offset, second - 1);
  struct jump_entry *entry = jump_entry_at(hart.pc);
  entry->key = hart.pc ^ hart.code_tag;
  entry->block = block;
  mmu_note_jump(hart.pc);
  return block;
}
