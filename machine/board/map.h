/*
 * The address map and the interrupt numbers. The device tree (fdt.c) is made from this, and devices register with the bus by it.
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
#define VIRTIO_SLOTS 24u

/* PLIC sources; 0 is none. */
#define IRQ_VIRTIO(slot) (1u + (slot))
#define IRQ_RTC 30u
#define IRQ_VMGENID 31u
#define IRQ_COUNT 32u

/* Slots of virtio-mmio. */
#define SLOT_CONSOLE 0u
#define SLOT_CONTROL 1u
#define SLOT_NET 2u
#define SLOT_BLK 3u
#define SLOT_RNG 4u
/* Shared directories, as many as SHARES_MAX; empty until they are known. */
#define SLOT_SHARE 5u
#define SHARES_MAX 8u
/** of the second terminal; the others follow */
#define SLOT_TERMINALS (SLOT_SHARE + SHARES_MAX)
/** of the streams of a command without a terminal, behind the three further terminals */
#define SLOT_PORTS (SLOT_TERMINALS + 3u)

#endif
