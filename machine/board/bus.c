#include "board/bus.h"

#include "board/map.h"
#include "dev/plic.h"
#include "dev/rtc.h"
#include "dev/virtio_mmio.h"
#include "dev/vmgenid.h"

bool bus_read(u64 pa, u32 size, u64 *value) {
  if (pa - PLIC_BASE < PLIC_SIZE) return plic_read((u32)(pa - PLIC_BASE), size, value);
  if (pa - VIRTIO_BASE < VIRTIO_SLOTS * VIRTIO_STRIDE) return virtio_mmio_read((u32)(pa - VIRTIO_BASE), size, value);
  if (pa - RTC_BASE < RTC_SIZE) return rtc_read((u32)(pa - RTC_BASE), size, value);
  if (pa - VMGENID_BASE < VMGENID_SIZE) return vmgenid_read((u32)(pa - VMGENID_BASE), size, value);
  return false;
}

bool bus_write(u64 pa, u32 size, u64 value) {
  if (pa - PLIC_BASE < PLIC_SIZE) return plic_write((u32)(pa - PLIC_BASE), size, value);
  if (pa - VIRTIO_BASE < VIRTIO_SLOTS * VIRTIO_STRIDE) return virtio_mmio_write((u32)(pa - VIRTIO_BASE), size, value);
  if (pa - RTC_BASE < RTC_SIZE) return rtc_write((u32)(pa - RTC_BASE), size, value);
  return false;
}
