/*
 * virtio-rng (virtio 1.2 §5.4). Where the bytes come from is the machine's business: a fixed sequence while a snapshot is made.
 */
#ifndef VIRTIO_RNG_H
#define VIRTIO_RNG_H

#include "dev/virtio_mmio.h"

void rng_init(u32 slot, void (*fill)(void *bytes, size_t len));

#endif
