#include "dev/vmgenid.h"

#include "board/map.h"
#include "dev/plic.h"

static u8 generation[16];

bool vmgenid_read(u32 offset, u32 size, u64 *value) {
  *value = 0;
  if (offset + size <= sizeof generation) copy_bytes(value, generation + offset, size);
  return true;
}

void vmgenid_init(const u8 id[16]) { copy_bytes(generation, id, sizeof generation); }

void vmgenid_change(const u8 id[16]) {
  vmgenid_init(id);
  plic_pulse(IRQ_VMGENID);
}
