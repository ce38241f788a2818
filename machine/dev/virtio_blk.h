/*
 * virtio-blk (virtio 1.2 §5.2), read-only: the root image of a container, in memory or in a file of the host.
 */
#ifndef VIRTIO_BLK_H
#define VIRTIO_BLK_H

#include "dev/virtio_mmio.h"

/** Reads `len` bytes at `offset`; false: an I/O error for the guest. */
typedef bool blk_read(void *bytes, u64 len, u64 offset);

/** `size` in bytes; a last partial sector is out of reach. */
void blk_init(u32 slot, u64 size, blk_read *read);

#endif
