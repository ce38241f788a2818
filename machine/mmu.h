/*
 * Sv39 translation and the software TLB.
 *
 * There are three TLBs, one per way of looking at memory: user, supervisor, and supervisor with SUM set. So neither a
 * trap nor a copy_from_user flushes anything, and a tag match is a full permission check. Each has a read and a
 * write side. A tag is the page's virtual address; the fast path (interp.c) compares it with the address whose
 * in-page bits above the natural alignment are masked out, so that misaligned accesses miss and go the slow way.
 * Entries exist for RAM only.
 *
 * Invariant: no write entry exists for a page with PAGE_HAS_CODE, unless it also has PAGE_CODE_STALE.
 */
#ifndef MMU_H
#define MMU_H

#include "base.h"

#define TLB_USER 0
#define TLB_SUPERVISOR 1
#define TLB_SUPERVISOR_SUM 2
#define TLB_COUNT 3
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
extern struct tlb tlbs[TLB_COUNT];

/** Forgets every translation, and through the generation all jump cache entries. */
void mmu_flush_all(void);
void mmu_flush_page(u64 va);
/** Forgets who may write where: called when a page becomes code. */
void mmu_flush_writes(void);

/** Loads with sign extension left to the caller, into `hart.loaded`; false: a fault is noted. */
MUST_USE bool mmu_load(u64 va, u32 size);
MUST_USE bool mmu_store(u64 va, u32 size, u64 value);
/** Physical address for execution; false: a fault is noted. */
MUST_USE bool mmu_fetch(u64 va, u64 *pa);
/** The instruction at `va`, which is being executed, as it lies in memory: what stval shows when it is illegal. */
u32 mmu_instruction_bits(u64 va);
/** Host address of the naturally aligned datum at `va` for LR/SC, AMO and cbo.zero, writable if `store`; NULL: a fault is noted. */
MUST_USE u8 *mmu_data(u64 va, bool store);

#endif
