/*
 * The CSRs as instructions see them (Zicsr).
 */
#ifndef CSR_H
#define CSR_H

#include "base.h"

/** A Zicsr instruction, `insn` as encoded; false: illegal. */
MUST_USE bool csr_execute(u32 insn);

#endif
