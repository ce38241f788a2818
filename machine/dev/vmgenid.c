#include "dev/vmgenid.h"

#include "board/bus.h"
#include "board/map.h"

static u8 generation[16];
static struct irq_line line;

static bool on_read(u32 offset, u32 size, u64 *value) {
  *value = 0;
  if (offset + size <= sizeof generation) copy_bytes(value, generation + offset, size);
  return true;
}

void vmgenid_init(const u8 id[16], struct irq_line its_line) {
  static const struct bus_device device = {.read = on_read};
  copy_bytes(generation, id, sizeof generation);
  line = its_line;
  bus_register(VMGENID_BASE, VMGENID_SIZE, &device);
}

void vmgenid_change(const u8 id[16]) {
  copy_bytes(generation, id, sizeof generation);
  irq_set(line, true);
  irq_set(line, false);
}
