/*
 * From instruction bits to a `struct op`.
 */
#ifndef DECODE_H
#define DECODE_H

#include "cpu/op.h"

enum decoded {
  /** the block goes on behind it */
  DECODED_PLAIN,
  /** it may leave the block, by the link that follows it */
  DECODED_BRANCH,
  /** it ends its block, and a link follows it */
  DECODED_JUMP,
  /** it ends its block: state may have changed under what follows */
  DECODED_SYSTEM,
};

/**
 * Decodes one instruction at `off` in its block. `bits` are its 16 or 32 bits, `size` 2 or 4.
 * Anything that is not announced in the device tree becomes OP_ILLEGAL.
 */
enum decoded decode(u32 bits, u32 size, i32 off, struct op *op);

#endif
