/*
 * The SBI (RISC-V Supervisor Binary Interface 2.0): what firmware in M-mode would answer.
 *
 * Base, TIME, IPI, RFENCE, HSM, SRST, DBCN, for one hart. Legacy calls are not there: Debian's kernel asks for none
 * once Base says 2.0.
 */
#ifndef SBI_H
#define SBI_H

#include "base.h"

struct sbi_board {
  /** text of the debug console: early boot and panics */
  void (*console)(const u8 *text, u64 len);
  /** the guest switched itself off; `status` is what the process exits with unless the agent said otherwise */
  void (*power_off)(u32 status);
};

/** Makes it the hart's firmware. */
void sbi_init(const struct sbi_board *board);

#endif
