#include "board/ram.h"

#include "host/host.h"

struct ram ram;

void ram_init(u64 size, u64 more_max) {
  // A page more: the decoder may look at the two bytes behind the end.
  ram.bytes = host_memory(size + PAGE_SIZE);
  ram.page_flags = host_memory((size + more_max) >> PAGE_SHIFT);
  ram.base = more_max ? RAM_HIGH_BASE : RAM_BASE;
  ram.size = size;
  ram.capacity = size + more_max;
}

bool ram_attach(u64 more_size) {
  u8 *bytes = host_memory_if(more_size + PAGE_SIZE);
  if (!bytes) return false;
  ram.more = (uintptr_t)bytes - (uintptr_t)ram.size;
  ram.more_size = more_size;
  return true;
}

void ram_written(u64 pa, u64 len) {
  u64 start = ram_offset_of(pa, len);
  if (len == 0) return;
  for (u64 offset = start & PAGE_MASK; offset < start + len; offset += PAGE_SIZE) ram_note_write(offset);
}

void ram_detach(void) {
  // Most of it was never touched: reading costs the host nothing, a write would cost a page.
  for (u64 offset = 0; offset < ram.more_size; offset += PAGE_SIZE) {
    u64 *words = (u64 *)ram_bytes(ram.size + offset), any = 0;
    for (u32 i = 0; i < PAGE_SIZE / 8; i++) any |= words[i];
    if (any) fill_bytes(words, 0, PAGE_SIZE);
  }
  ram.more = 0;
  ram.more_size = 0;
}
