/*
 * The SBI (RISC-V Supervisor Binary Interface 2.0): what firmware in M-mode would answer.
 *
 * Base, TIME, IPI, RFENCE, HSM, SRST, DBCN, for one hart. Legacy calls are not there: Debian's kernel asks for none
 * once Base says 2.0.
 */
#ifndef SBI_H
#define SBI_H

#include "base.h"

/** An ecall from S mode: function and arguments in hart.x, results in a0 and a1. */
void sbi_call(void);

#endif
