#include "dev/virtio_rng.h"

#define TYPE_RNG 4
/* A driver asks for a few dozen bytes; a hostile one shall not keep the host busy. */
#define REQUEST_MAX 4096

static struct {
  struct virtio_device device;
  void (*fill)(void *bytes, size_t len);
} rng;

static void on_notify(struct virtio_device *device, u32 queue) {
  struct chain chain;
  bool any = false;
  while (virtq_pop(device, queue, &chain)) {
    u32 written = 0;
    for (u32 i = 0; i < chain.count && written < REQUEST_MAX; i++) {
      struct segment *segment = &chain.segments[i];
      if (!segment->writable) continue;
      u32 len = segment->len < REQUEST_MAX - written ? segment->len : REQUEST_MAX - written;
      rng.fill(segment->bytes, len);
      written += len;
    }
    virtq_push(device, queue, chain.head, written);
    any = true;
  }
  if (any) virtq_signal(device, queue);
}

void rng_init(u32 slot, void (*fill)(void *bytes, size_t len)) {
  rng.device.type = TYPE_RNG;
  rng.device.queue_count = 1;
  rng.device.notify = on_notify;
  rng.fill = fill;
  virtio_attach(&rng.device, slot);
}
