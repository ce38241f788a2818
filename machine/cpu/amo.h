/*
 * LR, SC and the AMOs (unprivileged §14).
 */
#ifndef AMO_H
#define AMO_H

#include "base.h"

/** `insn` as encoded, with funct3 2 or 3; false: a fault is noted. */
MUST_USE bool amo_execute(u32 insn);

#endif
