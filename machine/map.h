/*
 * The address map and the interrupt numbers. The device tree (fdt.c) is made from this, bus.c obeys it.
 */
#ifndef MAP_H
#define MAP_H

#define RTC_BASE 0x00101000ull
#define RTC_SIZE 0x1000ull
#define VMGENID_BASE 0x00102000ull
#define VMGENID_SIZE 0x1000ull
#define PLIC_BASE 0x0c000000ull
#define PLIC_SIZE 0x00400000ull
#define VIRTIO_BASE 0x10001000ull
#define VIRTIO_STRIDE 0x1000ull
#define VIRTIO_SLOTS 16u

/* PLIC sources; 0 is none. Slots from 10 on come behind what lies in their way. */
#define IRQ_VIRTIO(slot) ((slot) < 10u ? 1u + (slot) : 3u + (slot))
#define IRQ_RTC 11u
#define IRQ_VMGENID 12u
#define IRQ_COUNT 32u

/* Slots of virtio-mmio. */
#define SLOT_CONSOLE 0u
#define SLOT_CONTROL 1u
#define SLOT_NET 2u
#define SLOT_BLK 3u
#define SLOT_RNG 4u
/** of the second terminal; the others follow */
#define SLOT_TERMINALS 10u

#endif
