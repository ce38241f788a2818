/*
 * VM generation id (`microsoft,vmgenid`): 16 bytes that change when the machine was restored from a snapshot, so that
 * the kernel reseeds its random number generator.
 */
#ifndef VMGENID_H
#define VMGENID_H

#include "base.h"

MUST_USE bool vmgenid_read(u32 offset, u32 size, u64 *value);
/** Sets a new id without telling the guest: at the start. */
void vmgenid_init(const u8 id[16]);
/** Sets a new id and raises the interrupt. */
void vmgenid_change(const u8 id[16]);

#endif
