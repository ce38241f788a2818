#include "cpu/csr.h"

#include "board/clock.h"
#include "cpu/hart.h"
#include "cpu/mmu.h"
#include "cpu/riscv.h"

#define SSTATUS_WRITABLE (SSTATUS_SIE | SSTATUS_SPIE | SSTATUS_SPP | SSTATUS_SUM | SSTATUS_MXR)
#define SIE_WRITABLE (SIP_SSIP | SIP_STIP | SIP_SEIP)
#define SENVCFG_WRITABLE (SENVCFG_FIOM | SENVCFG_CBZE)

static bool counter_enabled(u32 number) { return hart.mode == MODE_S || (hart.scounteren >> (number & 31) & 1); }

static bool csr_read(u32 number, u64 *value) {
  bool waited;
  switch (number) {
    case CSR_FFLAGS:
    case CSR_FRM:
    case CSR_FCSR:
      if (hart.fs == FS_OFF) return false;
      *value = number == CSR_FFLAGS ? hart.fflags : number == CSR_FRM ? hart.frm : hart.frm << 5 | hart.fflags;
      return true;
    case CSR_CYCLE:
    case CSR_INSTRET:
      if (!counter_enabled(number)) return false;
      *value = hart_instret();
      return true;
    case CSR_TIME:
      if (!counter_enabled(number)) return false;
      *value = clock_read(&waited);
      // The slice was planned for a guest that is not held up.
      if (waited) hart.leave = 1;
      return true;
    case CSR_SSTATUS:
      *value = hart.sstatus | (u64)hart.fs << SSTATUS_FS_SHIFT | SSTATUS_UXL_64 | (hart.fs == FS_DIRTY ? SSTATUS_SD : 0);
      return true;
    case CSR_SIE: *value = hart.sie; return true;
    case CSR_STVEC: *value = hart.stvec; return true;
    case CSR_SCOUNTEREN: *value = hart.scounteren; return true;
    case CSR_SENVCFG: *value = hart.senvcfg; return true;
    case CSR_SSCRATCH: *value = hart.sscratch; return true;
    case CSR_SEPC: *value = hart.sepc; return true;
    case CSR_SCAUSE: *value = hart.scause; return true;
    case CSR_STVAL: *value = hart.stval; return true;
    case CSR_SIP: hart_check_timer(); *value = hart.sip; return true;
    case CSR_STIMECMP: *value = hart.stimecmp; return true;
    case CSR_SATP: *value = hart.satp; return true;
    default: return false;
  }
}

static void write_sstatus(u64 value) {
  u64 changed = hart.sstatus ^ value;
  hart.sstatus = value & SSTATUS_WRITABLE;
  hart.fs = value >> SSTATUS_FS_SHIFT & 3;
  if (changed & SSTATUS_MXR) mmu_flush_all();
}

static void write_satp(u64 value) {
  // Privileged §4.1.11: an unsupported mode leaves satp as it was. ASIDLEN is 16.
  u64 mode = value >> SATP_MODE_SHIFT;
  if ((mode != SATP_MODE_BARE && mode != SATP_MODE_SV39) || value == hart.satp) return;
  hart.satp = value;
  mmu_satp_changed();
}

static bool csr_write(u32 number, u64 value) {
  switch (number) {
    case CSR_FFLAGS: hart.fflags = value & 31; hart.fs = FS_DIRTY; return true;
    case CSR_FRM: hart.frm = value & 7; hart.fs = FS_DIRTY; return true;
    case CSR_FCSR:
      hart.fflags = value & 31;
      hart.frm = value >> 5 & 7;
      hart.fs = FS_DIRTY;
      return true;
    case CSR_SSTATUS: write_sstatus(value); return true;
    case CSR_SIE: hart.sie = value & SIE_WRITABLE; return true;
    case CSR_STVEC: hart.stvec = value & ~2ull; return true;
    case CSR_SCOUNTEREN: hart.scounteren = value & 7; return true;
    case CSR_SENVCFG: hart.senvcfg = value & SENVCFG_WRITABLE; return true;
    case CSR_SSCRATCH: hart.sscratch = value; return true;
    case CSR_SEPC: hart.sepc = value & ~1ull; return true;
    case CSR_SCAUSE: hart.scause = value; return true;
    case CSR_STVAL: hart.stval = value; return true;
    case CSR_SIP: hart.sip = (hart.sip & ~SIP_SSIP) | (value & SIP_SSIP); return true;
    // The run loop plans its slices by stimecmp.
    case CSR_STIMECMP:
      hart.stimecmp = value;
      hart_check_timer();
      hart.leave = 1;
      return true;
    case CSR_SATP: write_satp(value); return true;
    default: return false;
  }
}

bool csr_execute(u32 insn) {
  u32 number = insn >> 20, rd = insn >> 7 & 31, rs1 = insn >> 15 & 31, funct3 = insn >> 12 & 7;
  bool writes = (funct3 & 3) == 1 || rs1 != 0;
  if ((number >> 8 & 3) > hart.mode) return false;
  if (writes && number >> 10 == 3) return false;
  u64 old;
  if (!csr_read(number, &old)) return false;
  u64 operand = funct3 & 4 ? rs1 : hart.x[rs1];
  if (writes) {
    u64 value = (funct3 & 3) == 1 ? operand : (funct3 & 3) == 2 ? old | operand : old & ~operand;
    if (!csr_write(number, value)) return false;
  }
  if (rd) hart.x[rd] = old;
  return true;
}
