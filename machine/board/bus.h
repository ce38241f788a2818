/*
 * What answers at a physical address that is not RAM. A device registers its range when it is made; the hart reads and writes
 * without knowing whom.
 */
#ifndef BUS_H
#define BUS_H

#include "board/ram.h"

/** Accesses of 1, 2, 4 or 8 bytes, naturally aligned, `offset` bytes from the range's start; false: nothing answers there. */
struct bus_device {
  bool (*read)(u32 offset, u32 size, u64 *value);
  /** NULL: it can't be written to */
  bool (*write)(u32 offset, u32 size, u64 value);
};

/** `device` answers from now on, for as long as the machine lives. Ranges don't overlap. */
void bus_register(u64 base, u64 size, const struct bus_device *device);

MUST_USE bool bus_read(u64 pa, u32 size, u64 *value);
MUST_USE bool bus_write(u64 pa, u32 size, u64 value);

#endif
