#include "cpu/mmu.h"

#include "board/bus.h"
#include "cpu/hart.h"
#include "cpu/jump.h"
#include "cpu/riscv.h"

enum access { ACCESS_LOAD, ACCESS_STORE, ACCESS_FETCH };

#define SPACES 8

struct space {
  bool valid;
  u64 satp;
  /** when it was last switched to */
  u64 used;
  /** hart.code_tag while it runs in U-mode */
  u64 code_tag;
  struct tlb user, sum;
};

/* Where code was found lately: keeps a block lookup from walking the page table each time. */
#define FETCH_CACHE_SIZE 256
struct fetch_entry {
  /** page ^ code tag; 0: empty */
  u64 key;
  u64 pa_page;
};

#define CODE_PAGES 1024
#define SUPERPAGES 1024
#define GIGAPAGES 64
/* A tag is in bits 40 to 63 of a key, where a virtual address has only its sign. Bit 0: U-mode. */
#define CODE_TAG_SHIFT 40
#define CODE_TAG_MAX 0xfffffeu

static struct {
  struct space spaces[SPACES];
  struct space *current;
  struct tlb supervisor;
  /** … and hart.code_tag in S-mode */
  u64 supervisor_tag;
  /** the supervisor's entries or code are not all global */
  bool supervisor_has_local;
  u64 switches;
  u32 last_tag;
  struct fetch_entry fetch_cache[FETCH_CACHE_SIZE];
  /** by page number: may be in the jump cache */
  u8 code_pages[CODE_PAGES];
  /** by number of 2 MiB, and of 1 GiB: may be mapped by a superpage */
  u8 superpages[SUPERPAGES], gigapages[GIGAPAGES];
  /** of the last translation: its leaf or a table on the way has G */
  bool found_global;
  /** translations set no bits */
  bool peeking;
} mmu;

u32 mmu_code_epoch;

void mmu_flush_writes(void) {
  for (u32 i = 0; i < TLB_SIZE; i++) {
    mmu.supervisor.write[i].tag = TLB_TAG_NONE;
    for (u32 s = 0; s < SPACES; s++) mmu.spaces[s].user.write[i].tag = mmu.spaces[s].sum.write[i].tag = TLB_TAG_NONE;
  }
}

static void forget_code(void) {
  mmu_code_epoch++;
  fill_bytes(jump_cache, 0, sizeof jump_cache);
  fill_bytes(mmu.fetch_cache, 0, sizeof mmu.fetch_cache);
  fill_bytes(mmu.code_pages, 0, sizeof mmu.code_pages);
}

/* Every byte of TLB_TAG_NONE is 0xff. */
static void clear(struct tlb *tlb) { fill_bytes(tlb, 0xff, sizeof *tlb); }

static void start_space(struct space *space);

static u64 new_tag(bool user) {
  if (mmu.last_tag == CODE_TAG_MAX) {
    // What is still used below is made anew when it is next switched to.
    mmu.last_tag = 0;
    forget_code();
    for (u32 i = 0; i < SPACES; i++) mmu.spaces[i].valid = false;
    mmu.supervisor_tag = (u64)++mmu.last_tag << CODE_TAG_SHIFT;
    if (mmu.current) start_space(mmu.current);
  }
  return (u64)++mmu.last_tag << CODE_TAG_SHIFT | user;
}

static void start_space(struct space *space) {
  clear(&space->user);
  clear(&space->sum);
  space->satp = hart.satp;
  space->valid = true;
  space->code_tag = new_tag(true);
}

static void flush_supervisor(void) {
  clear(&mmu.supervisor);
  mmu.supervisor_tag = new_tag(false);
  mmu.supervisor_has_local = false;
}

struct tlb *mmu_tlb(void) {
  if (hart.mode == MODE_U) return &mmu.current->user;
  return hart.sstatus & SSTATUS_SUM ? &mmu.current->sum : &mmu.supervisor;
}

void mmu_mode_changed(void) { hart.code_tag = hart.mode == MODE_U ? mmu.current->code_tag : mmu.supervisor_tag; }

void mmu_satp_changed(void) {
  struct space *found = NULL, *oldest = &mmu.spaces[0];
  for (u32 i = 0; i < SPACES && !found; i++) {
    struct space *space = &mmu.spaces[i];
    if (space->valid && space->satp == hart.satp) found = space;
    if (!space->valid || (oldest->valid && space->used < oldest->used)) oldest = space;
  }
  if (!found) start_space(oldest);
  mmu.current = found ? found : oldest;
  mmu.current->used = ++mmu.switches;
  if (mmu.supervisor_has_local) flush_supervisor();
  mmu_mode_changed();
}

void mmu_flush_all(void) {
  for (u32 i = 0; i < SPACES; i++) mmu.spaces[i].valid = false;
  fill_bytes(mmu.superpages, 0, sizeof mmu.superpages);
  fill_bytes(mmu.gigapages, 0, sizeof mmu.gigapages);
  flush_supervisor();
  mmu_satp_changed();
}

void mmu_zero(void) { fill_bytes(&mmu, 0, sizeof mmu); }

static bool of_asid(const struct space *space, u64 asid) { return space->valid && (space->satp >> SATP_ASID_SHIFT & SATP_ASID) == (asid & SATP_ASID); }

void mmu_flush_asid(u64 asid) {
  for (u32 i = 0; i < SPACES; i++)
    if (of_asid(&mmu.spaces[i], asid)) mmu.spaces[i].valid = false;
  if (mmu.supervisor_has_local) flush_supervisor();
  mmu_satp_changed();
}

static void flush_entry(struct tlb *tlb, u64 va) {
  u32 index = (u32)(va >> PAGE_SHIFT) & (TLB_SIZE - 1);
  tlb->read[index].tag = TLB_TAG_NONE;
  tlb->write[index].tag = TLB_TAG_NONE;
}

static u8 *code_page(u64 va) { return &mmu.code_pages[(va >> PAGE_SHIFT) & (CODE_PAGES - 1)]; }
static u8 *superpage(u64 va) { return &mmu.superpages[(va >> 21) & (SUPERPAGES - 1)]; }
static u8 *gigapage(u64 va) { return &mmu.gigapages[(va >> 30) & (GIGAPAGES - 1)]; }

void mmu_note_jump(u64 va) { *code_page(va) = 1; }

/* In all spaces: the tag is the upper part of a key, and only the page is compared. */
static void flush_code_page(u64 va) {
  mmu.fetch_cache[(va >> PAGE_SHIFT) & (FETCH_CACHE_SIZE - 1)].key = 0;
  // What lies over the edge to this page.
  jump_entry_at((va & PAGE_MASK) - 2)->key = 0;
  if (!*code_page(va)) return;
  mmu_code_epoch++;
  u64 low_bits = (1ull << CODE_TAG_SHIFT) - PAGE_SIZE;
  struct jump_entry *entry = jump_entry_at(va & PAGE_MASK);
  for (u32 i = 0; i < PAGE_SIZE / 2; i++, entry++)
    if (!((entry->key ^ va) & low_bits)) entry->key = 0;
}

void mmu_flush_page(u64 va) {
  if (*superpage(va) || *gigapage(va)) {
    mmu_flush_all();
    return;
  }
  for (u32 i = 0; i < SPACES; i++) {
    flush_entry(&mmu.spaces[i].user, va);
    flush_entry(&mmu.spaces[i].sum, va);
  }
  flush_entry(&mmu.supervisor, va);
  flush_code_page(va);
}

void mmu_flush_page_asid(u64 va, u64 asid) {
  if (*superpage(va) || *gigapage(va)) {
    mmu_flush_asid(asid);
    return;
  }
  for (u32 i = 0; i < SPACES; i++) {
    if (!of_asid(&mmu.spaces[i], asid)) continue;
    flush_entry(&mmu.spaces[i].user, va);
    flush_entry(&mmu.spaces[i].sum, va);
  }
  flush_entry(&mmu.supervisor, va);
  flush_code_page(va);
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
  mmu.found_global = false;
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
    if (pte & PTE_G) mmu.found_global = true;
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
    if (wanted != pte && mmu.peeking) return false;
    if (wanted != pte) *entry = wanted;
    if (level == 1) *superpage(va) = 1;
    if (level == 2) *gigapage(va) = 1;
    *pa = page | in_page;
    return true;
  }
  return hart_fault(fault, va);
}

/* A page that holds code gets writable again only once it is noted as stale. */
static void fill_entry(struct tlb_entry *side, u64 va, u64 ram_page) {
  struct tlb_entry *entry = &side[(u32)(va >> PAGE_SHIFT) & (TLB_SIZE - 1)];
  entry->tag = va & PAGE_MASK;
  entry->addend = (uintptr_t)ram_bytes(ram_page) - (uintptr_t)(va & PAGE_MASK);
}

static bool data_address(u64 va, enum access access, u64 *pa) {
  if (!translate(va, access, pa)) return false;
  u64 ram_page = ram_offset_of(*pa & PAGE_MASK, PAGE_SIZE);
  if (ram_page == RAM_NONE) return true;
  struct tlb *tlb = mmu_tlb();
  if (tlb == &mmu.supervisor && !mmu.found_global) mmu.supervisor_has_local = true;
  if (access == ACCESS_STORE) {
    ram_note_write(ram_page);
    fill_entry(tlb->write, va, ram_page);
  } else {
    fill_entry(tlb->read, va, ram_page);
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
  struct fetch_entry *entry = &mmu.fetch_cache[(va >> PAGE_SHIFT) & (FETCH_CACHE_SIZE - 1)];
  u64 key = (va & PAGE_MASK) ^ hart.code_tag;
  if (entry->key == key) {
    *pa = entry->pa_page | (va & 0xfff);
    return true;
  }
  if (!translate(va, ACCESS_FETCH, pa)) return false;
  // Code runs from RAM only.
  if (!ram_contains(*pa, 2)) return hart_fault(CAUSE_FETCH_ACCESS, va);
  if (hart.mode == MODE_S && !mmu.found_global) mmu.supervisor_has_local = true;
  entry->key = key;
  entry->pa_page = *pa & PAGE_MASK;
  return true;
}

bool mmu_peek_fetch(u64 va, u64 *pa) {
  const struct fetch_entry *entry = &mmu.fetch_cache[(va >> PAGE_SHIFT) & (FETCH_CACHE_SIZE - 1)];
  if (entry->key == ((va & PAGE_MASK) ^ hart.code_tag)) {
    *pa = entry->pa_page | (va & 0xfff);
    return true;
  }
  u64 cause = hart.fault_cause, value = hart.fault_value;
  mmu.peeking = true;
  bool found = translate(va, ACCESS_FETCH, pa) && ram_contains(*pa & PAGE_MASK, PAGE_SIZE);
  mmu.peeking = false;
  hart.fault_cause = cause;
  hart.fault_value = value;
  if (found && hart.mode == MODE_S && !mmu.found_global) mmu.supervisor_has_local = true;
  return found;
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
  struct tlb *tlb = mmu_tlb();
  struct tlb_entry *entry = &(store ? tlb->write : tlb->read)[(u32)(va >> PAGE_SHIFT) & (TLB_SIZE - 1)];
  if (entry->tag == (va & PAGE_MASK)) return (u8 *)(entry->addend + (uintptr_t)va);
  u64 pa;
  if (!data_address(va, store ? ACCESS_STORE : ACCESS_LOAD, &pa)) return NULL;
  u8 *bytes = ram_at(pa, 8 - (pa & 7));
  // Atomics are for main memory only.
  if (!bytes && !hart_fault(store ? CAUSE_STORE_ACCESS : CAUSE_LOAD_ACCESS, va)) return NULL;
  return bytes;
}
