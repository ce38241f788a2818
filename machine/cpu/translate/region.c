#include "cpu/translate/region.h"

#include "board/ram.h"
#include "cpu/hart.h"
#include "cpu/opcode.h"
#include "cpu/riscv.h"
#include "cpu/translate/emit.h"
#include "cpu/translate/module.h"
#include "cpu/translate/riscv.h"
#include "host/host.h"

#define REGIONS_MAX 4096
#define ENTRIES_MAX 32768
#define HASH_SIZE 16384u
/** for page lists and tables of targets */
#define POOL_BYTES (6u << 20)
/** A page that was rewritten this often is left to the interpreter until all is dropped. */
#define STRIKES_MAX 8
/** Blocks that failed to become a region, or whose region was not worth it, wait so many slices. */
#define PUT_OFF (1u << 15)
/** Instructions that a region must retire per entry, on average. */
#define WORTH 16
/** Samples count that are no more slices apart. */
#define SAMPLE_WINDOW 2000
/** Instructions of a block that need no loop around it. */
#define LONG_BLOCK 48
#define PAGES_PER_UNIT 4
/** Instructions of a slice where all is to be translated. */
#define EAGER_SLICE 64
#define PENDING_MAX 128
#define WAYS 4096
#define LINKS_MAX 256
/** Entries after which a region is judged, again and again. */
#define TRIAL 1024
/** So many functions are compiled at once, or what has waited so long. */
#define BATCH 32
#define WAIT_SLICES 20

/* Defaults, where the host says nothing. */
#define THRESHOLD 4
#define MODULES_MAX 1000
#define BYTES_MAX (48u << 20)
#define INSTRUCTIONS_PER_UNIT 400

static u32 region_threshold;
struct region_counts region_counts;
struct region_entry region_entries[ENTRIES_MAX];

static struct {
  i32 fd;
  /** the first index in the table that is ours */
  u32 first_slot;
  u32 modules_max, bytes_max;
  struct region regions[REGIONS_MAX];
  u32 count;
  u32 entry_count;
  u32 heads[HASH_SIZE];
  u8 *pool;
  u32 pool_used;
  /** regions from here on wait to be compiled */
  u32 pending;
  u32 waited;
  /** slices so far */
  u32 turns;
  bool is_eager;
  struct region_way ways[WAYS];
  /** address that the last region was left for, odd: none; its base, and the link */
  u64 left_for, left_base;
  struct emit_link *left_by;
  u32 module_count, module_bytes;
  /** per page of RAM: how often its code was rewritten */
  u8 *strikes;
} cache;

static struct ir_unit unit;

static u32 hash(u32 ram_offset) { return (ram_offset >> 1) * 0x9e3779b1u >> 18 & (HASH_SIZE - 1); }

static bool is_on(void) { return cache.fd > 0; }

static struct region_entry *find_entry(u32 ram_offset) {
  u32 at = cache.heads[hash(ram_offset)];
  while (at && region_entries[at].ram_offset != ram_offset) at = region_entries[at].next;
  return at ? &region_entries[at] : NULL;
}

/* ---- blocks lead into regions ---- */

static void patch(struct region_entry *entry, struct block *block) {
  if (block->entry || block->second) return;
  entry->patched = block;
  entry->code = block->ops[0].code;
  block->entry = (u32)(entry - region_entries);
  block->ops[0].code = OP_REGION;
}

/* Is not to be considered again for some time. */
static void put_off(struct block *block) {
  block->samples = 0;
  block->sampled_at = cache.turns + PUT_OFF;
}

static void unpatch(struct region_entry *entry, bool for_long) {
  struct block *block = entry->patched;
  if (!block) return;
  block->ops[0].code = entry->code;
  block->entry = 0;
  if (for_long) put_off(block);
  entry->patched = NULL;
}

static void block_made(struct block *block) {
  if (!is_on()) return;
  struct region_entry *entry = find_entry(block->ram_offset);
  if (entry && entry->region->slot) patch(entry, block);
}

static void unlink_entry(u32 number) {
  u32 *link = &cache.heads[hash(region_entries[number].ram_offset)];
  while (*link && *link != number) link = &region_entries[*link].next;
  if (*link) *link = region_entries[number].next;
}

/* The function stays where it is until all are dropped: its module holds others. */
static void kill(struct region *region, bool for_long) {
  for (u32 i = 0; i < region->entry_count; i++) {
    unpatch(&region_entries[region->first_entry + i], for_long);
    unlink_entry(region->first_entry + i);
  }
  region->slot = 0;
  region->entry_count = region->page_count = 0;
  // Those that lead here find out.
  region->key = ~0ull;
  region->epoch = mmu_code_epoch - 1;
}

static bool is_stale(const struct region *region) {
  for (u32 i = 0; i < region->page_count; i++)
    if (ram.page_flags[region->pages[i].ram_page] & PAGE_CODE_STALE) return true;
  return false;
}

static void kill_stale(void) {
  for (u32 i = 0; i < cache.count; i++)
    if (is_stale(&cache.regions[i])) {
      kill(&cache.regions[i], false);
      region_counts.killed++;
    }
}

static void blocks_vanish(const u32 *pages, u32 count) {
  bool any = false;
  for (u32 i = 0; i < count; i++) {
    if (!(ram.page_flags[pages[i]] & PAGE_HAS_REGION)) continue;
    any = true;
    if (cache.strikes[pages[i]] <= STRIKES_MAX) cache.strikes[pages[i]]++;
  }
  if (any) kill_stale();
}

/* Blocks are made anew, regions stay: their pages are to be watched still. */
static void all_blocks_vanish(void) {
  kill_stale();
  for (u32 i = 1; i <= cache.entry_count; i++) region_entries[i].patched = NULL;
}

static void all_blocks_vanished(void) {
  for (u32 i = 0; i < cache.count; i++)
    for (u32 p = 0; p < cache.regions[i].page_count; p++) block_claim_page(cache.regions[i].pages[p].ram_page, PAGE_HAS_REGION);
}

static const struct block_watcher watcher = {block_made, blocks_vanish, all_blocks_vanish, all_blocks_vanished};

/* ---- making them ---- */

/* What the interpreter has come to is decoded. */
static bool was_run(u32 ram_offset) { return cache.is_eager || block_at(ram_offset) != NULL; }

static bool may_translate(u32 ram_page) { return !(ram.page_flags[ram_page] & PAGE_CODE_STALE) && (cache.is_eager || cache.strikes[ram_page] <= STRIKES_MAX); }

typedef u64 region_function(u64 base, u32 entry, i32 budget, struct tlb *tlb);

static void *take(u32 len) {
  len = (len + 15) & ~15u;
  if (len > POOL_BYTES - cache.pool_used) return NULL;
  void *bytes = cache.pool + cache.pool_used;
  cache.pool_used += len;
  return bytes;
}

static bool make_targets(struct emit_targets *targets, u32 entry_count) {
  targets->bits = 2;
  while (1u << targets->bits < 2 * entry_count) targets->bits++;
  u32 size = 1u << targets->bits;
  targets->entries = take(size * (u32)sizeof(struct emit_target));
  if (!targets->entries) return false;
  for (u32 i = 0; i < size; i++) targets->entries[i] = (struct emit_target){EMIT_NO_TARGET, 0, 0};
  for (u32 i = 0; i < unit.block_count; i++) {
    if (!unit.blocks[i].is_entry) continue;
    u32 at = (u32)unit.blocks[i].at * EMIT_HASH >> (32 - targets->bits);
    if (targets->entries[at].offset == EMIT_NO_TARGET) targets->entries[at] = (struct emit_target){unit.blocks[i].at, i, 0};
  }
  return true;
}

static u32 ram_offset_of_block(const struct ir_block *block, u64 pc) {
  u64 va = pc + (u64)(i64)block->at;
  for (u32 i = 0; i < unit.page_count; i++)
    if ((pc >> PAGE_SHIFT) + (u64)(i64)unit.pages[i].delta == va >> PAGE_SHIFT) return unit.pages[i].ram_page << PAGE_SHIFT | (u32)(va & 0xfff);
  return 0;
}

static void add_entries(struct region *region, u64 pc) {
  region->first_entry = cache.entry_count + 1;
  for (u32 i = 0; i < unit.block_count; i++) {
    const struct ir_block *block = &unit.blocks[i];
    if (!block->is_entry) continue;
    u32 ram_offset = ram_offset_of_block(block, pc);
    if (find_entry(ram_offset)) continue;
    u32 number = ++cache.entry_count;
    region_entries[number] = (struct region_entry){region, block->at, i, ram_offset, NULL, 0, cache.heads[hash(ram_offset)]};
    cache.heads[hash(ram_offset)] = number;
    region->entry_count++;
  }
}

static void make_room(void) {
  if (cache.count < REGIONS_MAX && cache.entry_count + IR_BLOCKS_MAX < ENTRIES_MAX && cache.pool_used + (64u << 10) < POOL_BYTES &&
      cache.module_count < cache.modules_max && cache.module_bytes < cache.bytes_max) return;
  region_drop_all(false);
  region_counts.dropped_all++;
}

static u32 count_entries(void) {
  u32 count = 0;
  for (u32 i = 0; i < unit.block_count; i++) count += unit.blocks[i].is_entry;
  return count;
}

static void give_up(void) {
  // A host that takes no more: half as many, and in the end none.
  region_drop_all(false);
  cache.modules_max /= 2;
  region_counts.refused++;
  if (cache.modules_max == 0) {
    host_close(cache.fd);
    cache.fd = 0;
  }
}

static void region_flush(void) {
  u32 count = cache.count - cache.pending, first = cache.first_slot + cache.pending;
  if (!is_on() || count == 0) return;
  cache.waited = 0;
  u32 len;
  const u8 *request = module_finish(first, &len);
  if (!request || !host_request(cache.fd, request, len)) {
    give_up();
    return;
  }
  cache.module_count++;
  cache.module_bytes += len;
  region_counts.modules++;
  region_counts.regions += count;
  region_counts.bytes += len;
  for (u32 i = 0; i < count; i++) {
    struct region *region = &cache.regions[cache.pending + i];
    if (region->entry_count == 0) continue;
    region->slot = first + i;
    for (u32 e = 0; e < region->entry_count; e++) {
      struct region_entry *entry = &region_entries[region->first_entry + e];
      struct block *block = block_at(entry->ram_offset);
      if (block) patch(entry, block);
    }
  }
  cache.pending = cache.count;
}

/* Does the unit come back to its first block? Or is that one long? */
static bool is_worth_compiling(void) {
  static u16 stack[IR_BLOCKS_MAX];
  static bool seen[IR_BLOCKS_MAX];
  u32 len = 1;
  if (cache.is_eager || unit.blocks[0].instructions >= LONG_BLOCK) return true;
  fill_bytes(seen, 0, unit.block_count);
  stack[0] = 0;
  while (len > 0) {
    const struct ir_block *block = &unit.blocks[stack[--len]];
    const u16 next[2] = {block->end <= IR_BRANCH ? block->taken_block : IR_OUTSIDE, block->end == IR_BRANCH ? block->next_block : IR_OUTSIDE};
    for (u32 i = 0; i < 2; i++) {
      if (next[i] == 0) return true;
      if (next[i] == IR_OUTSIDE || seen[next[i]]) continue;
      seen[next[i]] = true;
      stack[len++] = next[i];
    }
    // A call that is in the unit comes back behind it.
    if (block->end == IR_JUMP && block->returns_to != IR_OUTSIDE && !seen[block->returns_to]) {
      if (block->returns_to == 0) return true;
      seen[block->returns_to] = true;
      stack[len++] = block->returns_to;
    }
  }
  return false;
}

static void consider(struct block *block, u64 pc) {
  put_off(block);
  if (block->entry || block->second || find_entry(block->ram_offset)) return;
  make_room();
  if (cache.count - cache.pending == PENDING_MAX || module_is_full()) region_flush();
  static const struct riscv_taste taste = {was_run, may_translate, INSTRUCTIONS_PER_UNIT, PAGES_PER_UNIT};
  if (!riscv_read(&unit, pc, &taste) || !is_worth_compiling()) return;
  struct region *region = &cache.regions[cache.count];
  *region = (struct region){.page_count = unit.page_count};
  struct emit_targets targets;
  region->pages = take(unit.page_count * (u32)sizeof(struct ir_page));
  if (!region->pages || !make_targets(&targets, count_entries()) || !(targets.links = take(LINKS_MAX * (u32)sizeof(struct emit_link)))) return;
  targets.link_count = 0;
  targets.links_max = LINKS_MAX;
  fill_bytes(targets.links, 0, LINKS_MAX * sizeof(struct emit_link));
  copy_bytes(region->pages, unit.pages, unit.page_count * sizeof(struct ir_page));
  if (!module_add(&unit, &targets)) {
    region_counts.refused++;
    return;
  }
  cache.count++;
  // What is left of the room for links.
  cache.pool_used -= (LINKS_MAX - targets.link_count) * (u32)sizeof(struct emit_link) & ~15u;
  for (u32 i = 0; i < unit.page_count; i++) block_claim_page(unit.pages[i].ram_page, PAGE_HAS_REGION);
  add_entries(region, pc);
  region_counts.instructions += unit.instructions;
}

/* Where the slice ended: what is found there often is what takes the time. */
static void sample(void) {
  u64 pa;
  if (!mmu_peek_fetch(hart.pc, &pa)) return;
  u32 ram_offset = (u32)ram_offset_of(pa, 2);
  struct block *block = block_at(ram_offset);
  if (!block || block->entry || (i32)(block->sampled_at - cache.turns) > 0 || cache.strikes[ram_offset >> PAGE_SHIFT] > STRIKES_MAX) return;
  if (cache.turns - block->sampled_at > SAMPLE_WINDOW) block->samples = 0;
  block->sampled_at = cache.turns;
  u32 wanted = region_threshold << cache.strikes[ram_offset >> PAGE_SHIFT];
  if (++block->samples >= wanted) consider(block, hart.pc);
}

u32 region_slice(void) { return !is_on() || !cache.is_eager ? 0 : cache.turns % 2 ? 1 : EAGER_SLICE; }

/* What is about to run is translated first. */
static void consider_next(void) {
  struct block *block = block_find();
  if (block && !(ram.page_flags[block->ram_offset >> PAGE_SHIFT] & PAGE_CODE_STALE)) consider(block, hart.pc);
  region_flush();
}

void region_turn(void) {
  if (!is_on()) return;
  cache.turns++;
  if (cache.is_eager) {
    consider_next();
    return;
  }
  sample();
  if (cache.count == cache.pending) cache.waited = 0;
  else if (cache.count - cache.pending >= BATCH || ++cache.waited >= WAIT_SLICES) region_flush();
}

void region_drop_all(bool zero) {
  for (u32 i = 0; i < cache.count; i++) kill(&cache.regions[i], false);
  if (is_on() && cache.pending) {
    u32 len;
    const u8 *request = module_release(cache.first_slot, cache.pending, &len);
    (void)host_request(cache.fd, request, len);
  }
  module_reset(zero);
  if (zero && cache.pool) {
    fill_bytes(cache.pool, 0, cache.pool_used);
    fill_bytes(cache.regions, 0, cache.count * sizeof(struct region));
    fill_bytes(region_entries, 0, (cache.entry_count + 1) * sizeof(struct region_entry));
    fill_bytes(&unit, 0, sizeof unit);
  }
  if (cache.strikes) fill_bytes(cache.strikes, 0, ram_total() >> PAGE_SHIFT);
  fill_bytes(cache.ways, 0, sizeof cache.ways);
  cache.left_for = 1;
  cache.left_by = NULL;
  cache.count = cache.pending = cache.entry_count = cache.pool_used = cache.module_count = cache.module_bytes = 0;
  fill_bytes(cache.heads, 0, sizeof cache.heads);
}

/* ---- running them ---- */

/* Checks that a region's pages are where they were. */
static NOINLINE bool check_pages(struct region *region, u64 base) {
  region_counts.checks++;
  if (region->slot == 0) return false;
  for (u32 i = 0; i < region->page_count; i++) {
    u64 pa, va = ((base >> PAGE_SHIFT) + (u64)(i64)region->pages[i].delta) << PAGE_SHIFT;
    if (!mmu_peek_fetch(va, &pa) || ram_offset_of(pa, PAGE_SIZE) >> PAGE_SHIFT != region->pages[i].ram_page) return false;
    mmu_note_jump(va);
  }
  region->key = base ^ hart.code_tag;
  region->epoch = mmu_code_epoch;
  return true;
}

static inline bool is_mapped(struct region *region, u64 base) {
  return likely(region->key == (base ^ hart.code_tag) && region->epoch == mmu_code_epoch) || check_pages(region, base);
}

static NOINLINE void judge(struct region *region) {
  bool is_worth_it = region->retired / region->entered >= WORTH;
  region->entered = region->retired = 0;
  if (is_worth_it) return;
  region_counts.poor++;
  kill(region, true);
}

static struct region_way *way_at(u64 pc) { return &cache.ways[(u32)(pc >> 1 ^ pc >> 12) & (WAYS - 1)]; }

u64 region_run(struct region_entry *entry, u64 pc, i32 budget, struct tlb *tlb) {
  struct region *region = entry->region;
  u32 slot = region->slot, block = entry->block;
  u64 base = pc - (u64)entry->offset;
  if (unlikely(!is_mapped(region, base))) return REGION_REFUSED;
  // The place that the last region was left for turns out to be one's entry.
  if (cache.left_for == pc) {
    if (cache.left_by) *cache.left_by = (struct emit_link){region, slot, block, (i32)(base - cache.left_base)};
    *way_at(pc) = (struct region_way){pc ^ hart.code_tag, region, slot, block, (i32)entry->offset};
  }
  for (;;) {
    u64 result = ((region_function *)(uintptr_t)slot)(base, block, budget, tlb);
    region_counts.entries++;
    region_counts.retired += (u32)(budget - (i32)result);
    region->retired += (u32)(budget - (i32)result);
    if (unlikely(++region->entered == TRIAL)) judge(region);
    budget = (i32)result;
    u32 how = (u32)(result >> 32);
    if (how == EMIT_SLOW || budget < 0) {
      cache.left_for = 1;
      region_counts.slow += how == EMIT_SLOW;
      return (u64)(how == EMIT_SLOW) << 32 | (u32)budget;
    }
    struct region *next;
    struct region_way *way = NULL;
    u64 next_base;
    struct emit_link *link = (struct emit_link *)(uintptr_t)how;
    if (link && link->region) {
      next = link->region;
      next_base = base + (u64)(i64)link->offset;
      slot = link->slot;
      block = link->block;
    } else {
      way = way_at(hart.pc);
      if (link || way->key != (hart.pc ^ hart.code_tag)) {
        cache.left_for = hart.pc;
        cache.left_by = link;
        cache.left_base = base;
        return (u32)budget;
      }
      next = way->region;
      next_base = hart.pc - (u64)(i64)way->offset;
      slot = way->slot;
      block = way->block;
    }
    if (unlikely(!is_mapped(next, next_base))) {
      if (link) link->region = NULL;
      else way->key = 0;
      cache.left_for = 1;
      return (u32)budget;
    }
    region = next;
    base = next_base;
  }
}

void region_open(void) {
  struct {
    u32 version, first, threshold, modules, bytes, flags, unused[2];
  } settings;
  cache.fd = host_open_device(DISK_DIRECTORY, "compiler");
  if (cache.fd <= 0) return;
  if (host_read(cache.fd, (u8 *)&settings, sizeof settings) != sizeof settings || settings.version != 1 || settings.first == 0) {
    host_close(cache.fd);
    cache.fd = 0;
    return;
  }
  // Memory that a snapshot need not hold.
  if (!cache.pool) cache.pool = host_memory(POOL_BYTES);
  if (!cache.strikes) cache.strikes = host_memory(ram.capacity >> PAGE_SHIFT);
  cache.first_slot = settings.first;
  cache.modules_max = settings.modules ? settings.modules : MODULES_MAX;
  cache.bytes_max = settings.bytes ? settings.bytes : BYTES_MAX;
  region_threshold = settings.threshold ? settings.threshold : THRESHOLD;
  cache.is_eager = region_threshold == 1;
  module_open();
  block_watch(&watcher);
  block_drop_all(false);
}
