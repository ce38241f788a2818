#include "mmu.h"

#include "block.h"
#include "bus.h"
#include "hart.h"
#include "riscv.h"

enum access { ACCESS_LOAD, ACCESS_STORE, ACCESS_FETCH };

struct tlb tlbs[TLB_COUNT];

/* Where code was found lately: keeps a block lookup after a flush from walking the page table each time. */
#define FETCH_CACHE_SIZE 64
static struct {
  u64 va_page;
  u64 pa_page;
  u32 mode;
} fetch_cache[FETCH_CACHE_SIZE];

void mmu_flush_writes(void) {
  for (u32 t = 0; t < TLB_COUNT; t++)
    for (u32 i = 0; i < TLB_SIZE; i++) tlbs[t].write[i].tag = TLB_TAG_NONE;
}

void mmu_flush_all(void) {
  // Every byte of TLB_TAG_NONE is 0xff.
  fill_bytes(tlbs, 0xff, sizeof tlbs);
  fill_bytes(fetch_cache, 0xff, sizeof fetch_cache);
  hart.translation_gen++;
}

void mmu_flush_page(u64 va) {
  u32 index = (u32)(va >> PAGE_SHIFT) & (TLB_SIZE - 1);
  for (u32 t = 0; t < TLB_COUNT; t++) {
    tlbs[t].read[index].tag = TLB_TAG_NONE;
    tlbs[t].write[index].tag = TLB_TAG_NONE;
  }
  fetch_cache[(va >> PAGE_SHIFT) & (FETCH_CACHE_SIZE - 1)].va_page = TLB_TAG_NONE;
  hart.translation_gen++;
}

static u64 page_fault_cause(enum access access) {
  return access == ACCESS_LOAD ? CAUSE_LOAD_PAGE : access == ACCESS_STORE ? CAUSE_STORE_PAGE : CAUSE_FETCH_PAGE;
}

static u64 access_fault_cause(enum access access) {
  return access == ACCESS_LOAD ? CAUSE_LOAD_ACCESS : access == ACCESS_STORE ? CAUSE_STORE_ACCESS : CAUSE_FETCH_ACCESS;
}

/* Privileged §4.3.2 steps 5 to 8: may this leaf be used so? */
static bool leaf_permits(u64 pte, enum access access) {
  bool user_page = pte & PTE_U;
  if (hart.mode == MODE_U && !user_page) return false;
  if (hart.mode == MODE_S && user_page && (access == ACCESS_FETCH || !(hart.sstatus & SSTATUS_SUM))) return false;
  if (access == ACCESS_STORE) return pte & PTE_W;
  if (access == ACCESS_FETCH) return pte & PTE_X;
  return (pte & PTE_R) || ((hart.sstatus & SSTATUS_MXR) && (pte & PTE_X));
}

/* Privileged §4.3.2. Sets A and D itself (Svadu). */
static bool translate(u64 va, enum access access, u64 *pa) {
  if (hart.satp >> SATP_MODE_SHIFT == SATP_MODE_BARE) {
    *pa = va;
    return true;
  }
  u64 fault = page_fault_cause(access);
  if ((u64)((i64)(va << 25) >> 25) != va) return hart_fault(fault, va);
  u64 table = (hart.satp & SATP_PPN) << PAGE_SHIFT;
  for (i32 level = 2; level >= 0; level--) {
    u32 shift = PAGE_SHIFT + 9 * (u32)level;
    u64 *entry = (u64 *)ram_at(table + ((va >> shift) & 511) * 8, 8);
    if (!entry) return hart_fault(access_fault_cause(access), va);
    u64 pte = *entry;
    if (!(pte & PTE_V) || (pte & (PTE_R | PTE_W)) == PTE_W || (pte & PTE_RESERVED)) return hart_fault(fault, va);
    u64 page = (pte >> PTE_PPN_SHIFT & SATP_PPN) << PAGE_SHIFT;
    if (!(pte & (PTE_R | PTE_X))) {
      // §4.3.1: D, A and U are reserved in a pointer.
      if (pte & (PTE_D | PTE_A | PTE_U)) return hart_fault(fault, va);
      table = page;
      continue;
    }
    if (!leaf_permits(pte, access)) return hart_fault(fault, va);
    u64 in_page = va & ((1ull << shift) - 1);
    if (page & ((1ull << shift) - 1)) return hart_fault(fault, va);
    u64 wanted = pte | PTE_A | (access == ACCESS_STORE ? PTE_D : 0);
    if (wanted != pte) *entry = wanted;
    *pa = page | in_page;
    return true;
  }
  return hart_fault(fault, va);
}

/* A page that holds code gets writable again only once it is noted as stale. */
static void fill_entry(struct tlb_entry *side, u64 va, u64 pa) {
  struct tlb_entry *entry = &side[(u32)(va >> PAGE_SHIFT) & (TLB_SIZE - 1)];
  entry->tag = va & PAGE_MASK;
  entry->addend = (uintptr_t)ram.bytes + (uintptr_t)(pa - RAM_BASE) - (uintptr_t)va;
}

static bool data_address(u64 va, enum access access, u64 *pa) {
  if (!translate(va, access, pa)) return false;
  if (!ram_contains(*pa & PAGE_MASK, PAGE_SIZE)) return true;
  struct tlb *tlb = &tlbs[hart_tlb_index()];
  if (access == ACCESS_STORE) {
    block_note_write(*pa);
    fill_entry(tlb->write, va, *pa);
  } else {
    fill_entry(tlb->read, va, *pa);
  }
  return true;
}

/* Within one page, by an address already translated. */
static bool load_physical(u64 pa, u64 va, u32 size) {
  u8 *bytes = ram_at(pa, size);
  if (bytes) {
    u64 value = 0;
    copy_bytes(&value, bytes, size);
    hart.loaded = value;
    return true;
  }
  // Unprivileged §2.6: what must not be emulated piecemeal is an access fault, not a misaligned one.
  return (!(pa & (size - 1)) && bus_read(pa, size, &hart.loaded)) || hart_fault(CAUSE_LOAD_ACCESS, va);
}

bool mmu_load(u64 va, u32 size) {
  u64 pa;
  u32 room = PAGE_SIZE - (u32)(va & 0xfff);
  if (!data_address(va, ACCESS_LOAD, &pa)) return false;
  if (size <= room) return load_physical(pa, va, size);
  u64 pa_high;
  if (!data_address(va + room, ACCESS_LOAD, &pa_high)) return false;
  u8 *low = ram_at(pa, room), *high = ram_at(pa_high, size - room);
  if (!low || !high) return hart_fault(CAUSE_LOAD_ACCESS, low ? va + room : va);
  u8 both[8] = {0};
  copy_bytes(both, low, room);
  copy_bytes(both + room, high, size - room);
  copy_bytes(&hart.loaded, both, 8);
  return true;
}

bool mmu_store(u64 va, u32 size, u64 value) {
  u64 pa;
  u32 room = PAGE_SIZE - (u32)(va & 0xfff);
  if (!data_address(va, ACCESS_STORE, &pa)) return false;
  if (size <= room) {
    u8 *bytes = ram_at(pa, size);
    if (bytes) {
      copy_bytes(bytes, &value, size);
      return true;
    }
    return (!(pa & (size - 1)) && bus_write(pa, size, value)) || hart_fault(CAUSE_STORE_ACCESS, va);
  }
  // Both pages are translated before a byte is written: a fault leaves memory untouched.
  u64 pa_high;
  if (!data_address(va + room, ACCESS_STORE, &pa_high)) return false;
  u8 *low = ram_at(pa, room), *high = ram_at(pa_high, size - room);
  if (!low || !high) return hart_fault(CAUSE_STORE_ACCESS, low ? va + room : va);
  copy_bytes(low, &value, room);
  copy_bytes(high, (u8 *)&value + room, size - room);
  return true;
}

bool mmu_fetch(u64 va, u64 *pa) {
  u32 index = (u32)(va >> PAGE_SHIFT) & (FETCH_CACHE_SIZE - 1);
  if (fetch_cache[index].va_page == (va & PAGE_MASK) && fetch_cache[index].mode == hart.mode) {
    *pa = fetch_cache[index].pa_page | (va & 0xfff);
    return true;
  }
  if (!translate(va, ACCESS_FETCH, pa)) return false;
  // Code runs from RAM only.
  if (!ram_contains(*pa, 2)) return hart_fault(CAUSE_FETCH_ACCESS, va);
  fetch_cache[index].va_page = va & PAGE_MASK;
  fetch_cache[index].pa_page = *pa & PAGE_MASK;
  fetch_cache[index].mode = hart.mode;
  return true;
}

static u32 half_at(u64 va) {
  u64 pa;
  if (!mmu_fetch(va, &pa)) return 0;
  u16 half;
  copy_bytes(&half, ram_at(pa, 2), 2);
  return half;
}

u32 mmu_instruction_bits(u64 va) {
  u32 low = half_at(va);
  return low % 4 == 3 ? low | half_at(va + 2) << 16 : low;
}

u8 *mmu_data(u64 va, bool store) {
  struct tlb *tlb = &tlbs[hart_tlb_index()];
  struct tlb_entry *entry = &(store ? tlb->write : tlb->read)[(u32)(va >> PAGE_SHIFT) & (TLB_SIZE - 1)];
  if (entry->tag == (va & PAGE_MASK)) return (u8 *)(entry->addend + (uintptr_t)va);
  u64 pa;
  if (!data_address(va, store ? ACCESS_STORE : ACCESS_LOAD, &pa)) return NULL;
  u8 *bytes = ram_at(pa, 8 - (pa & 7));
  // Atomics are for main memory only.
  if (!bytes && !hart_fault(store ? CAUSE_STORE_ACCESS : CAUSE_LOAD_ACCESS, va)) return NULL;
  return bytes;
}
