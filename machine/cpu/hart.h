/*
 * The hart: its registers and its interrupt lines. trap.h is how it takes a trap, csr.h what instructions do with its CSRs.
 *
 * One hart, S and U mode. There is no M-mode: what firmware would do, sbi.c does. A guest fault is a value: the
 * function that meets it calls hart_fault() and returns false, and interp.c turns it into a trap at the
 * instruction it belongs to.
 */
#ifndef HART_H
#define HART_H

#include "base.h"

#define MODE_U 0
#define MODE_S 1

struct hart {
  /* Hot first: the interpreter reaches these by constant addresses. */
  /** integer registers; x[0] is never written */
  u64 x[32];
  /** floating-point registers, single precision NaN-boxed */
  u64 f[32];
  /** address of the next instruction, valid outside of a block only */
  u64 pc;
  /** result of the last slow load */
  u64 loaded;
  /** `MODE_U` or `MODE_S` */
  u32 mode;
  /** FS field of sstatus: `FS_OFF` to `FS_DIRTY` */
  u32 fs;
  u32 fflags;
  u32 frm;
  /** set by whatever needs the run loop's attention before the next block */
  u32 leave;
  /** waits for an interrupt */
  u32 wfi;
  /** what keys of the jump cache are made of, beside the address (mmu.h) */
  u64 code_tag;

  /** instructions retired before the current slice */
  u64 instret_base;
  /** of the current slice: its budget at the start, in `instructions` */
  i32 slice_budget;
  /** what is left of it, as of the last slow operation */
  i32 slice_left;
  /** … and what was taken out of the interpreter's count to make it stop at the end of its block */
  i32 slice_stolen;

  /** sstatus without FS, SD and UXL */
  u64 sstatus;
  u64 sie;
  /** SSIP, SEIP, and STIP as of the last hart_check_timer */
  u64 sip;
  u64 stvec, sscratch, sepc, scause, stval, satp, stimecmp;
  u64 scounteren, senvcfg;

  /** pending exception of the current instruction */
  u64 fault_cause, fault_value;
  /** where in RAM the last LR read, or NULL, and by which virtual address */
  u8 *reservation;
  u64 reservation_va;
};

extern struct hart hart;

/** The board's firmware answers an ecall from S mode: function and arguments are in hart.x, the results go to a0 and a1. */
void hart_set_firmware(void (*answer)(void));
void hart_call_firmware(void);

/** Notes an exception of the current instruction; the caller returns false. */
static inline bool hart_fault(u64 cause, u64 value) {
  hart.fault_cause = cause;
  hart.fault_value = value;
  return false;
}

/** True if an enabled interrupt is pending, whether or not it may be taken: ends `wfi`. */
static inline bool hart_interrupt_pending(void) { return (hart.sip & hart.sie) != 0; }
/** Compares time with stimecmp: at the end of each slice, and when either changes. */
void hart_check_timer(void);
void hart_set_external(bool level);
void hart_set_software(bool level);

/** Instructions retired so far, exact at block boundaries. */
static inline u64 hart_instret(void) { return hart.instret_base + (u64)(i64)(hart.slice_budget - hart.slice_left - hart.slice_stolen); }

#endif
