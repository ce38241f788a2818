/*
 * Regions: units that were compiled, and where the interpreter enters them.
 *
 * Theory of operation
 *
 * Where the interpreter is at the end of a slice is a sample of where the time goes, which costs the interpreter nothing. A block that is met a few
 * times within some seconds becomes the start of a unit, if it is part of a loop or long: riscv.c collects what belongs
 * to it, emit.c makes a function of it, and such functions go to the host as one module (`/portside/compiler`,
 * ARCHITECTURE.md), which puts them into the machine's table. From then on the first op of each block at which the unit has an entry is
 * OP_REGION, by which the interpreter calls the function. A transition into or between functions of many modules costs what the interpreter needs for
 * some twenty instructions: a region that does not run for longer is dropped again.
 *
 * A region is code of certain pages of RAM, at a virtual distance from each other. The interpreter found the entry's page by its physical address as
 * it finds any block; that the others are mapped as they were is checked at an entry, once for each address space and change of its mappings
 * (`key`, `epoch`). While a region runs nothing can change them: what could leaves it.
 *
 * Coherence is that of blocks (block.h): fence.i drops the regions of stale pages. A page whose code is rewritten again and again has to be
 * ever busier before it is translated anew.
 *
 * All regions go at once when there are too many, too many bytes of modules, or no room for what belongs to them; in front of a snapshot or a
 * save, too. A host that refuses a module makes the limits smaller, and in the end the machine interprets for good.
 */
#ifndef REGION_H
#define REGION_H

#include "cpu/block.h"
#include "cpu/mmu.h"
#include "cpu/translate/ir.h"

struct region {
  /** base ^ hart.code_tag for which the pages were checked, and mmu_code_epoch then */
  u64 key;
  u32 epoch;
  /** index of its function in the table; 0: not yet compiled, or dropped */
  u32 slot;
  u32 page_count;
  struct ir_page *pages;
  /** its entries, a run of them */
  u32 first_entry, entry_count;
  /** looked at until it is known to be worth it: entries, instructions */
  u32 entered;
  u32 retired;
};

/** Where a place that translated code was left for is entered again. */
struct region_way {
  /** address ^ hart.code_tag, 0: none */
  u64 key;
  struct region *region;
  u32 slot, block;
  i32 offset;
};

struct region_entry {
  struct region *region;
  /** from the region's base */
  i64 offset;
  u32 block;
  u32 ram_offset;
  /** block that leads here now, and the opcode of its first op */
  struct block *patched;
  u16 code;
  /** of the same hash, as index; 0: none */
  u32 next;
};

extern struct region_entry region_entries[];

/** Looks for the host's compiler; to be called at a start. */
void region_open(void);
/** Looks where the slice has ended, and compiles what is waiting if it is much or has waited for long. To be called between slices. */
void region_turn(void);
/** So many instructions a slice at most, 0: as many as you like. Tests want to translate all. */
u32 region_slice(void);
/** Drops all, in zeroes if a snapshot is to be made. */
void region_drop_all(bool zero);
/**
 * Runs regions, from the entry at `pc` on, for as long as one leads to the next. Returns hart.pc by itself and, as a region's function, what is left of the budget and whether
 * the interpreter is to execute the instruction there; REGION_REFUSED: nothing was done.
 */
u64 region_run(struct region_entry *entry, u64 pc, i32 budget, struct tlb *tlb);
#define REGION_REFUSED (~0ull)

/** Since the start, for those who measure; dev-run.mjs prints them in this order. */
struct region_counts {
  /** made, in so many modules of so many bytes, out of so many guest instructions */
  u64 regions, modules, bytes, instructions;
  /** times that all were dropped; regions dropped since their code changed, or as they ran too shortly; units that could not be made */
  u64 dropped_all, killed, poor, refused;
  /** calls of regions, instructions that they retired, and how many ended with one for the interpreter; looks at where pages are */
  u64 entries, retired, slow, checks;
};
extern struct region_counts region_counts;

#endif
