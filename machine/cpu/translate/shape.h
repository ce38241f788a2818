/*
 * Control flow: the graph of a unit as wasm's nested blocks and loops.
 */
#ifndef SHAPE_H
#define SHAPE_H

#include "cpu/translate/ir.h"
#include "cpu/translate/wasm.h"

/** What stands between the branches, written by emit.c. */
struct shape_parts {
  /** the operations of block `number`; where it heads a loop, behind a look at the budget */
  void (*operations)(u32 number, bool heads_loop);
  /** its end's condition, an i32 on the stack */
  void (*condition)(u32 number);
  /** go on outside of the unit, at an offset; the interpreter executes what is there */
  void (*leave)(i32 at);
  void (*leave_to_interpreter)(i32 at);
  /** … at the address in the target local */
  void (*leave_for_target)(void);
  /** notes which block is to be entered at the next table; gets it */
  void (*choose)(u32 number);
  void (*get_chosen)(void);
  /** notes the block at the address in the target local, or leaves for there */
  void (*look_up_target)(void);
};

/** Writes the unit, entered at the block that is chosen already; false: it is nested too deeply. */
MUST_USE bool shape_emit(struct wasm *w, const struct ir_unit *unit, const struct shape_parts *parts);

#endif
