/*
 * virtio over MMIO, version 2 (virtio 1.2 §4.2), with split virtqueues (§2.7), and what every device model needs of it.
 *
 * The guest's driver is hostile: ring addresses are checked when a queue becomes ready, each descriptor when it is read,
 * chains are at most as long as their queue. A queue that breaks a rule stops the whole device, with
 * DEVICE_NEEDS_RESET, until the driver resets it. Device models see only `struct segment`s that lie in RAM.
 */
#ifndef VIRTIO_MMIO_H
#define VIRTIO_MMIO_H

#include "dev/irq_line.h"

#define VIRTQ_MAX 256
#define VIRTIO_QUEUES_MAX 8

struct segment {
  u8 *bytes;
  u32 len;
  /** the device writes it; else reads */
  bool writable;
};

/** One request: its descriptors in order. Borrowed: valid until the next virtq_pop. */
struct chain {
  struct segment segments[VIRTQ_MAX];
  u32 count;
  /** descriptor that the driver knows it by */
  u16 head;
};

struct virtq {
  /** guest addresses, as the driver sets them */
  u64 desc_pa, avail_pa, used_pa;
  u32 size;
  u32 ready;
  /** checked host addresses, set while ready */
  u8 *desc, *avail, *used;
  u16 next_avail, next_used;
  /** next_used as it was when the driver was last signalled */
  u16 signalled;
};

struct virtio_device {
  /** device type (virtio 1.2 §5); 0: the slot is empty */
  u32 type;
  u64 features;
  u32 queue_count;
  /** descriptors that a queue has at most, a power of two; 0: VIRTQ_MAX */
  u32 queue_size;
  u8 *config;
  u32 config_len;
  /** the driver has made buffers available; or became ready (queue 0) */
  void (*notify)(struct virtio_device *device, u32 queue);
  void (*reset)(struct virtio_device *device);

  /* Below: owned by virtio_mmio.c. */
  struct irq_line line;
  u32 status;
  u32 interrupt_status;
  u32 config_generation;
  u32 queue_select, features_select, driver_features_select;
  u64 driver_features;
  struct virtq queues[VIRTIO_QUEUES_MAX];
};

#define VIRTIO_F_EVENT_IDX (1ull << 29)
#define VIRTIO_F_VERSION_1 (1ull << 32)

/** All slots, still empty. Slot 0 has the level-triggered line `first`, the others have those that follow. */
void virtio_init(struct irq_line first);
void virtio_attach(struct virtio_device *device, u32 slot);

/** True if a buffer is waiting in this queue of a device in operation. */
bool virtq_available(struct virtio_device *device, u32 queue);
/** Takes the next chain; false: none, or the device was just stopped for breaking a rule. */
MUST_USE bool virtq_pop(struct virtio_device *device, u32 queue, struct chain *chain);
/** Puts the last popped chain back: the next pop returns it again. */
void virtq_unpop(struct virtio_device *device, u32 queue);
/** Returns a chain with `written` bytes in it. */
void virtq_push(struct virtio_device *device, u32 queue, u16 head, u32 written);
/** Interrupts the driver for used buffers, unless it asked not to be. */
void virtq_signal(struct virtio_device *device, u32 queue);
void virtio_config_changed(struct virtio_device *device);
/** Stops the device: the driver broke a rule. */
void virtio_stop(struct virtio_device *device);

/** Copies at most `len` bytes out of the readable part, from `offset` on; returns how many. */
u32 chain_read(const struct chain *chain, u32 offset, void *to, u32 len);
/** Copies into the writable part, from `offset` on; returns how many. */
u32 chain_write(const struct chain *chain, u32 offset, const void *from, u32 len);
u32 chain_readable_len(const struct chain *chain);
u32 chain_writable_len(const struct chain *chain);

#endif
