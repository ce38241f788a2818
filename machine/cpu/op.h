/*
 * What the interpreter runs: an op. Blocks are made of them (block.h), fewer of them by fuse.h.
 */
#ifndef OP_H
#define OP_H

#include "base.h"

/** One decoded instruction; with the opcode of a sequence (fusion.h) the first of several. Register fields are byte offsets into hart.x or hart.f. */
struct op {
  /** enum opcode */
  u16 code;
  u8 rd, rs1, rs2;
  /** instructions from the block's start to this one, included */
  u8 n;
  /** offset of this instruction from the block's start, in bytes; for jumps that of the next instruction */
  i16 off;
  i64 imm;
};

/** Longest block, in instructions; and in ops: each may have its link, and a last one leads on. */
#define BLOCK_MAX 64
#define BLOCK_OPS_MAX (2 * BLOCK_MAX + 2)

#endif
