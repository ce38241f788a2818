#include "board/bus.h"

#include "host/host.h"

#define RANGES_MAX 8u

static struct {
  u32 count;
  struct {
    u64 base, size;
    const struct bus_device *device;
  } ranges[RANGES_MAX];
} bus;

void bus_register(u64 base, u64 size, const struct bus_device *device) {
  for (u32 i = 0; i < bus.count; i++)
    if (base < bus.ranges[i].base + bus.ranges[i].size && bus.ranges[i].base < base + size) host_panic("two devices have one address", "");
  if (bus.count == RANGES_MAX) host_panic("too many devices on the bus", "");
  bus.ranges[bus.count].base = base;
  bus.ranges[bus.count].size = size;
  bus.ranges[bus.count++].device = device;
}

static const struct bus_device *find(u64 pa, u32 *offset) {
  for (u32 i = 0; i < bus.count; i++) {
    if (pa - bus.ranges[i].base >= bus.ranges[i].size) continue;
    *offset = (u32)(pa - bus.ranges[i].base);
    return bus.ranges[i].device;
  }
  return NULL;
}

bool bus_read(u64 pa, u32 size, u64 *value) {
  u32 offset;
  const struct bus_device *device = find(pa, &offset);
  return device && device->read(offset, size, value);
}

bool bus_write(u64 pa, u32 size, u64 value) {
  u32 offset;
  const struct bus_device *device = find(pa, &offset);
  return device && device->write && device->write(offset, size, value);
}
