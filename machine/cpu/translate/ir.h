/*
 * The translator's intermediate form: what a front end (riscv.c) makes of guest code and a back end (emit.c) makes wasm of.
 *
 * A unit is a graph of blocks. A block is a list of operations on variables, then one end. Variables are pieces of guest state that live
 * in wasm locals while the unit runs: `IR_INTEGERS` integers of 64 bits, then `IR_FLOATS` floating-point registers. Where each lies in
 * memory is the front end's to say (`struct ir_unit`). Nothing else here knows of a guest's architecture but the helpers, which are
 * the interpreter's own functions for what is rare or long.
 *
 * Addresses are offsets from the unit's base, the virtual address of its first instruction: a unit runs wherever its pages are mapped.
 *
 * What may leave in the middle of a block (a memory access that is no plain one, a helper that refuses) does so with the state as it was in front
 * of the operation's instruction; the interpreter then executes that instruction, with all that it may cause.
 */
#ifndef IR_H
#define IR_H

#include "base.h"

#define IR_INTEGERS 32
#define IR_FLOATS 32
#define IR_VARIABLES (IR_INTEGERS + IR_FLOATS)
/** Reads as 0 and is never written: the first variable. */
#define IR_ZERO 0
#define IR_FLOAT(n) (IR_INTEGERS + (n))

enum ir_code {
  /* to = imm; base + imm */
  IR_CONST, IR_ADDRESS,
  IR_MOVE,
  /* to = a ? b, or imm instead of b; IR_WORD: of the lower 32 bits, sign-extended */
  IR_ADD, IR_SUB, IR_AND, IR_OR, IR_XOR, IR_SHL, IR_SHR, IR_SAR, IR_ROTL, IR_ROTR, IR_MUL,
  /* … where division by zero gives all ones or a, overflow a or 0 */
  IR_DIV, IR_DIVU, IR_REM, IR_REMU,
  /* to = a < b */
  IR_LESS, IR_LESSU,
  /* to = a or b */
  IR_MIN, IR_MINU, IR_MAX, IR_MAXU,
  /* to = b is (not) zero ? 0 : a */
  IR_ZERO_IF_ZERO, IR_ZERO_IF_NOT,
  /* upper half of the product: signed, signed by unsigned, unsigned */
  IR_MULH, IR_MULHSU, IR_MULHU,
  /* to = f(a) */
  IR_CLZ, IR_CTZ, IR_POPCNT, IR_SEXT8, IR_SEXT16, IR_ZEXT16, IR_ZEXT32, IR_SWAP, IR_ORC,
  /* to = a & ~b, a | ~b, ~(a ^ b); bits: to = a with bit b cleared, as 0 or 1, inverted, set */
  IR_ANDN, IR_ORN, IR_XNOR, IR_BCLR, IR_BEXT, IR_BINV, IR_BSET,
  /* to = (a << imm) + b; IR_UNSIGNED: of the lower 32 bits of a */
  IR_SHIFT_ADD,
  /* to = memory at a + imm of `size` bytes, sign-extended unless IR_UNSIGNED; memory at a + imm = b. A float's `to` or `b` of 4 bytes is boxed. */
  IR_LOAD, IR_STORE,
  /* the interpreter's: imm is the instruction; a, b, c are read by it from the guest's state, `to` is written there */
  IR_ATOMIC, IR_ZERO_BLOCK, IR_SOFT_FLOAT, IR_READ_STATE,
  /* to = a ? b in floating point, of `size` 8 or 4 bytes; imm is the instruction, for where the host's result will not do */
  IR_FADD, IR_FSUB, IR_FMUL, IR_FDIV, IR_FSQRT, IR_FMIN, IR_FMAX,
  /* sign of b, its opposite, both signs' exclusive or: 8 bytes */
  IR_FSIGN, IR_FSIGN_NOT, IR_FSIGN_XOR,
  /* integer `to` = comparison of a and b */
  IR_FEQ, IR_FLT, IR_FLE,
  /* bits between the two kinds of registers: 4 or 8 bytes */
  IR_FLOAT_TO_BITS, IR_BITS_TO_FLOAT,
  /* float `to` = integer a, and back towards zero; IR_WORD, IR_UNSIGNED say which integer */
  IR_FROM_INTEGER, IR_TO_INTEGER,
  /* between formats: to 8 bytes, to 4 bytes */
  IR_WIDEN, IR_NARROW,
  IR_CODES
};

/* Flags. */
#define IR_WORD 1
#define IR_UNSIGNED 2
/** imm takes the place of b */
#define IR_IMMEDIATE 4

struct ir {
  u8 code;
  /** variables; `to` and the others as the code says */
  u8 to, a, b;
  u8 c;
  u8 size;
  u8 flags;
  /** instructions of the block in front of this one's, that is retired when it leaves */
  u8 n;
  /** offset of its instruction from the unit's base */
  i32 at;
  i64 imm;
};

enum ir_end {
  /* go on at `taken` */
  IR_JUMP,
  /* at `taken` if the condition holds for a and b, else at `next` */
  IR_BRANCH,
  /* at the address in the target local, set by `a` + imm without its lowest bit before the block's last operations: likely in the unit; outside */
  IR_INDIRECT, IR_AWAY,
  /* leaves: the interpreter executes what is at `taken` */
  IR_LEAVE,
};

enum ir_condition { IR_EQ, IR_NE, IR_LT, IR_GE, IR_LTU, IR_GEU };

/** No block of this unit: it goes on outside. */
#define IR_OUTSIDE 0xffffu

struct ir_block {
  /** offset of its first instruction */
  i32 at;
  /** its operations: a part of the unit's */
  u32 first, count;
  /** instructions in it, its end's included if that retires in here */
  u8 instructions;
  u8 end, condition;
  u8 a, b;
  /** for IR_INDIRECT: operation (index into the unit's) in front of which the target is taken from `a` */
  u32 target_before;
  i64 imm;
  /** offsets, and the blocks there or IR_OUTSIDE */
  i32 taken, next;
  u16 taken_block, next_block;
  /** may be entered from outside, and by indirect jumps */
  bool is_entry;
  /** its end is a call; the block and the offset behind it */
  bool returns;
  u16 returns_to;
  i32 behind;
};

#define IR_OPS_MAX 4096
#define IR_BLOCKS_MAX 512
#define IR_PAGES_MAX 16

struct ir_page {
  /** virtual page number minus that of the base; number of the page in RAM */
  i32 delta;
  u32 ram_page;
};

struct ir_unit {
  struct ir ops[IR_OPS_MAX];
  u32 op_count;
  struct ir_block blocks[IR_BLOCKS_MAX];
  u32 block_count;
  struct ir_page pages[IR_PAGES_MAX];
  u32 page_count;
  u32 instructions;
};

#endif
