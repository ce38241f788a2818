/*
 * VM generation id (`microsoft,vmgenid`): 16 bytes that change when the machine was restored from a snapshot, so that
 * the kernel reseeds its random number generator.
 */
#ifndef VMGENID_H
#define VMGENID_H

#include "dev/irq_line.h"

/** With its first id; `line` is an edge-triggered one. */
void vmgenid_init(const u8 id[16], struct irq_line line);
/** Sets a new id and raises the interrupt. */
void vmgenid_change(const u8 id[16]);

#endif
