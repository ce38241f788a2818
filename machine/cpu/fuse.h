/*
 * Fewer ops for a block: folding, where two instructions are one op, and fusion (fusion.h), where several ops are one dispatch.
 */
#ifndef FUSE_H
#define FUSE_H

#include "cpu/op.h"

/** Prepares the table of sequences. */
void fuse_init(void);
/** Tries to make one op of the last one and its predecessor, or nothing of a no-op; true if `*last`'s slot is free again. */
bool fuse_fold(struct op *last, bool has_previous);
/** Gives the first ops of sequences their common opcodes, so that as few dispatches as possible are left. */
void fuse_ops(struct op *ops, u32 count);

#endif
