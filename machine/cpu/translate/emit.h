/*
 * The back end: a unit of the intermediate form becomes one wasm function.
 *
 *     (func (param $base i64) (param $entry i32) (param $budget i32) (param $tlb i32) (result i64))
 *
 * It begins at block `entry`, runs until it leaves the unit or the budget is used up, writes the variables that it may have changed and
 * hart.pc, and returns what is left of the budget in the lower half. In the upper one is 0, or EMIT_SLOW: the interpreter is to execute the
 * instruction at pc itself, or the address of the link by which it was left.
 */
#ifndef EMIT_H
#define EMIT_H

#include "cpu/translate/ir.h"
#include "cpu/translate/wasm.h"

#define EMIT_SLOW 1u

/** What an exit to a known address leads to; in the upper half of the result where the unit was left by it. */
struct emit_link {
  /** NULL: not known yet */
  struct region *region;
  u32 slot, block;
  /** base of that region minus the unit's */
  i32 offset;
};

/** The functions that a module may call, in the order of its imports: the machine's exports `translator.NAME`. */
enum emit_import { IMPORT_READ, IMPORT_WRITE, IMPORT_ATOMIC, IMPORT_ZERO, IMPORT_FLOAT, IMPORT_STATE, IMPORT_MULH, IMPORT_MULHSU, IMPORT_MULHU, IMPORT_COUNT };

/** Where indirect jumps of a unit look for their target: open addressing without a second probe, `1 << bits` entries. */
struct emit_target {
  /** offset from the base */
  i64 offset;
  u32 block;
  u32 unused;
};
#define EMIT_NO_TARGET ((i64)1 << 62)
#define EMIT_HASH 0x9e3779b1u

struct emit_targets {
  struct emit_target *entries;
  u32 bits;
  struct emit_link *links;
  u32 link_count, links_max;
};

/** Appends locals and body, without its size; false: it can't be expressed, and what was written is to be thrown away. */
MUST_USE bool emit_function(struct wasm *w, const struct ir_unit *unit, struct emit_targets *targets);

#endif
