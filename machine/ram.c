#include "bus.h"
#include "host.h"
#include "riscv.h"

struct ram ram;

void ram_init(u64 size) {
  // A page more: the decoder may look at the two bytes behind the end.
  ram.bytes = host_memory(size + PAGE_SIZE);
  ram.page_flags = host_memory(size >> PAGE_SHIFT);
  ram.size = size;
}
