/*
 * Sv39 translation and the software TLB.
 *
 * There are three ways of looking at memory: as the user, as the supervisor, and as the supervisor with SUM set. Each has a TLB
 * of its own, so neither a trap nor a copy_from_user flushes anything, and a tag match is a full permission check. Each
 * TLB has a read and a write side. A tag is the page's virtual address; the fast path (interp.c) compares it with the
 * address whose in-page bits above the natural alignment are masked out, so that misaligned accesses miss and go the slow
 * way. Entries exist for RAM only.
 *
 * The address spaces used last keep their TLBs (`struct space`, found by the whole of satp, ASID included), so that a switch
 * between processes is a change of pointers. The supervisor's TLB is one for all: as long as it holds global pages only it
 * survives a switch, and Linux maps nothing else there.
 *
 * Where code is found by virtual address (the jump cache of jump.h, the fetch cache) the key is the address with a tag mixed in that
 * stands for the space, or for the supervisor. A new tag makes all old entries miss. hart.code_tag is the one in force.
 *
 * sfence.vma of one address means the leaf that maps it: 4 KiB, or a superpage, of which the TLB may hold many pieces. Where a
 * superpage was used is noted coarsely, and an address in such a place flushes all.
 *
 * Invariant: no write entry exists for a page with PAGE_HAS_CODE, unless it also has PAGE_CODE_STALE.
 */
#ifndef MMU_H
#define MMU_H

#include "base.h"

#define TLB_SIZE 512
#define TLB_TAG_NONE (~0ull)

struct tlb_entry {
  u64 tag;
  /** host address minus virtual address */
  uintptr_t addend;
};

struct tlb {
  struct tlb_entry read[TLB_SIZE];
  struct tlb_entry write[TLB_SIZE];
};

/** What data accesses look in now, by mode and SUM. */
struct tlb *mmu_tlb(void);
/** To be called after each change of mode or satp. */
void mmu_mode_changed(void);
void mmu_satp_changed(void);

/** sfence.vma: everything, one address, one ASID, one address of an ASID. */
void mmu_flush_all(void);
void mmu_flush_page(u64 va);
void mmu_flush_asid(u64 asid);
void mmu_flush_page_asid(u64 va, u64 asid);
/** As after power-on, in zeroes. */
void mmu_zero(void);
/** Forgets who may write where: called when a page becomes code. */
void mmu_flush_writes(void);

/** Loads with sign extension left to the caller, into `hart.loaded`; false: a fault is noted. */
MUST_USE bool mmu_load(u64 va, u32 size);
MUST_USE bool mmu_store(u64 va, u32 size, u64 value);
/** Notes that the jump cache has entries in the page of `va`. */
void mmu_note_jump(u64 va);
/** Physical address for execution; false: a fault is noted. */
MUST_USE bool mmu_fetch(u64 va, u64 *pa);
/** The same without a trace: no fault is noted, and a page that was never accessed is refused. */
MUST_USE bool mmu_peek_fetch(u64 va, u64 *pa);
/** Bumped when code may be found elsewhere although hart.code_tag is the same. */
extern u32 mmu_code_epoch;
/** The instruction at `va`, which is being executed, as it lies in memory: what stval shows when it is illegal. */
u32 mmu_instruction_bits(u64 va);
/** Host address of the naturally aligned datum at `va` for LR/SC, AMO and cbo.zero, writable if `store`; NULL: a fault is noted. */
MUST_USE u8 *mmu_data(u64 va, bool store);

#endif
