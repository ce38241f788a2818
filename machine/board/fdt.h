/*
 * The device tree: announces exactly what is there.
 */
#ifndef FDT_H
#define FDT_H

#include "base.h"

struct fdt_values {
  const char *command_line;
  u64 initrd_start, initrd_end;
  u8 rng_seed[32];
};

/** Writes the flattened tree (Devicetree Specification 0.4 §5) into `out`; returns its length, 0 if it does not fit. */
u32 fdt_write(u8 *out, u32 capacity, const struct fdt_values *values);

#endif
