#include "cpu/trap.h"

#include "cpu/hart.h"
#include "cpu/mmu.h"
#include "cpu/riscv.h"

void hart_start(u64 pc, u64 a0, u64 a1) {
  fill_bytes(&hart, 0, sizeof hart);
  hart.pc = pc;
  hart.mode = MODE_S;
  hart.x[10] = a0;
  hart.x[11] = a1;
  hart.stimecmp = ~0ull;
  // As OpenSBI does: Linux leaves it to firmware to let user code read the counters (the vDSO does).
  hart.scounteren = 7;
  mmu_flush_all();
}

void hart_take_trap(u64 cause, u64 value) {
  hart.sepc = hart.pc;
  hart.scause = cause;
  hart.stval = value;
  u64 status = hart.sstatus & ~(SSTATUS_SPP | SSTATUS_SPIE | SSTATUS_SIE);
  if (hart.mode == MODE_S) status |= SSTATUS_SPP;
  if (hart.sstatus & SSTATUS_SIE) status |= SSTATUS_SPIE;
  hart.sstatus = status;
  hart.mode = MODE_S;
  mmu_mode_changed();
  bool vectored = (hart.stvec & 1) && (cause & CAUSE_INTERRUPT);
  hart.pc = (hart.stvec & ~3ull) + (vectored ? (cause & 63) * 4 : 0);
}

bool hart_take_interrupt(void) {
  if (hart.mode == MODE_S && !(hart.sstatus & SSTATUS_SIE)) return false;
  u64 pending = hart.sip & hart.sie;
  if (!pending) return false;
  // Privileged §4.1.3: SEI, SSI, STI, in decreasing priority.
  u64 number = pending & SIP_SEIP ? IRQ_EXTERNAL : pending & SIP_SSIP ? IRQ_SOFTWARE : IRQ_TIMER;
  hart_take_trap(CAUSE_INTERRUPT | number, 0);
  return true;
}

bool hart_sret(void) {
  if (hart.mode != MODE_S) return false;
  hart.mode = hart.sstatus & SSTATUS_SPP ? MODE_S : MODE_U;
  mmu_mode_changed();
  u64 status = hart.sstatus & ~(SSTATUS_SPP | SSTATUS_SIE);
  if (status & SSTATUS_SPIE) status |= SSTATUS_SIE;
  hart.sstatus = status | SSTATUS_SPIE;
  hart.pc = hart.sepc;
  return true;
}
