#include "dev/virtio_mmio.h"

#include "board/bus.h"
#include "board/map.h"

#define MAGIC 0x74726976
#define VENDOR 0x45444953

#define R_MAGIC 0x000
#define R_VERSION 0x004
#define R_DEVICE_ID 0x008
#define R_VENDOR_ID 0x00c
#define R_DEVICE_FEATURES 0x010
#define R_DEVICE_FEATURES_SEL 0x014
#define R_DRIVER_FEATURES 0x020
#define R_DRIVER_FEATURES_SEL 0x024
#define R_QUEUE_SEL 0x030
#define R_QUEUE_NUM_MAX 0x034
#define R_QUEUE_NUM 0x038
#define R_QUEUE_READY 0x044
#define R_QUEUE_NOTIFY 0x050
#define R_INTERRUPT_STATUS 0x060
#define R_INTERRUPT_ACK 0x064
#define R_STATUS 0x070
#define R_QUEUE_DESC_LOW 0x080
#define R_QUEUE_DESC_HIGH 0x084
#define R_QUEUE_DRIVER_LOW 0x090
#define R_QUEUE_DRIVER_HIGH 0x094
#define R_QUEUE_DEVICE_LOW 0x0a0
#define R_QUEUE_DEVICE_HIGH 0x0a4
#define R_CONFIG_GENERATION 0x0fc
#define R_CONFIG 0x100

#define STATUS_DRIVER_OK 4
#define STATUS_FEATURES_OK 8
#define STATUS_NEEDS_RESET 64

#define INTERRUPT_USED 1
#define INTERRUPT_CONFIG 2

#define DESC_NEXT 1
#define DESC_WRITE 2
#define DESC_INDIRECT 4
#define AVAIL_NO_INTERRUPT 1

static struct virtio_device *slots[VIRTIO_SLOTS];
/** of slot 0 */
static struct irq_line first_line;

void virtio_attach(struct virtio_device *device, u32 slot) {
  device->line = (struct irq_line){first_line.set, first_line.number + slot};
  slots[slot] = device;
}

static u16 get16(const u8 *p) {
  u16 v;
  copy_bytes(&v, p, 2);
  return v;
}
static u32 get32(const u8 *p) {
  u32 v;
  copy_bytes(&v, p, 4);
  return v;
}
static u64 get64(const u8 *p) {
  u64 v;
  copy_bytes(&v, p, 8);
  return v;
}
static void put16(u8 *p, u16 v) { copy_bytes(p, &v, 2); }
static void put32(u8 *p, u32 v) { copy_bytes(p, &v, 4); }

static void update_interrupt(struct virtio_device *device) { irq_set(device->line, device->interrupt_status != 0); }

static void raise_interrupt(struct virtio_device *device, u32 reason) {
  device->interrupt_status |= reason;
  update_interrupt(device);
}

void virtio_config_changed(struct virtio_device *device) {
  device->config_generation++;
  if (device->status & STATUS_DRIVER_OK) raise_interrupt(device, INTERRUPT_CONFIG);
}

void virtio_stop(struct virtio_device *device) {
  device->status |= STATUS_NEEDS_RESET;
  raise_interrupt(device, INTERRUPT_CONFIG);
}

static bool in_operation(const struct virtio_device *device) { return (device->status & (STATUS_DRIVER_OK | STATUS_NEEDS_RESET)) == STATUS_DRIVER_OK; }

static void reset(struct virtio_device *device) {
  device->status = 0;
  device->interrupt_status = 0;
  device->driver_features = 0;
  device->queue_select = device->features_select = device->driver_features_select = 0;
  fill_bytes(device->queues, 0, sizeof device->queues);
  update_interrupt(device);
  if (device->reset) device->reset(device);
}

static u32 size_max(const struct virtio_device *device) { return device->queue_size ? device->queue_size : VIRTQ_MAX; }

static void set_ready(struct virtio_device *device, struct virtq *queue, bool ready) {
  queue->ready = 0;
  if (!ready) return;
  // §2.7: sizes of the three areas for `size` descriptors; a size that is no power of two is a driver's error.
  bool size_ok = queue->size >= 1 && queue->size <= size_max(device) && (queue->size & (queue->size - 1)) == 0;
  queue->desc = size_ok ? ram_at(queue->desc_pa, 16ull * queue->size) : NULL;
  queue->avail = size_ok ? ram_at(queue->avail_pa, 6 + 2ull * queue->size) : NULL;
  queue->used = size_ok ? ram_at(queue->used_pa, 6 + 8ull * queue->size) : NULL;
  if (!queue->desc || !queue->avail || !queue->used) {
    virtio_stop(device);
    return;
  }
  queue->next_avail = queue->next_used = queue->signalled = 0;
  queue->ready = 1;
}

bool virtq_available(struct virtio_device *device, u32 index) {
  struct virtq *queue = &device->queues[index];
  return in_operation(device) && queue->ready && get16(queue->avail + 2) != queue->next_avail;
}

/* §2.7.10: with event indices the driver notifies of what it makes available beyond this. */
static void set_next_avail(struct virtio_device *device, struct virtq *queue, u16 next) {
  queue->next_avail = next;
  if (device->driver_features & VIRTIO_F_EVENT_IDX) put16(queue->used + 4 + 8 * queue->size, next);
}

static bool add_segment(struct chain *chain, u64 pa, u32 len, bool writable) {
  u8 *bytes = ram_at(pa, len);
  if (!bytes && len > 0) return false;
  // §2.7.4.2: what the device writes comes after all that it reads.
  if (!writable && chain->count > 0 && chain->segments[chain->count - 1].writable) return false;
  if (writable) ram_written(pa, len);
  chain->segments[chain->count++] = (struct segment){bytes, len, writable};
  return true;
}

bool virtq_pop(struct virtio_device *device, u32 index, struct chain *chain) {
  if (!virtq_available(device, index)) return false;
  struct virtq *queue = &device->queues[index];
  u32 mask = queue->size - 1;
  // The driver can't have made more available than fits.
  bool sane = (u16)(get16(queue->avail + 2) - queue->next_avail) <= queue->size;
  u32 at = get16(queue->avail + 4 + 2 * (queue->next_avail & mask));
  chain->head = (u16)at;
  chain->count = 0;
  u64 total = 0;
  for (bool more = true; sane && more;) {
    if (at >= queue->size || chain->count == queue->size) {
      sane = false;
      break;
    }
    const u8 *desc = queue->desc + 16 * at;
    u32 len = get32(desc + 8), flags = get16(desc + 12);
    total += len;
    if ((flags & DESC_INDIRECT) || total > UINT32_MAX || !add_segment(chain, get64(desc), len, flags & DESC_WRITE)) sane = false;
    more = flags & DESC_NEXT;
    at = get16(desc + 14);
  }
  if (!sane) {
    virtio_stop(device);
    return false;
  }
  set_next_avail(device, queue, queue->next_avail + 1);
  return true;
}

void virtq_unpop(struct virtio_device *device, u32 index) { set_next_avail(device, &device->queues[index], device->queues[index].next_avail - 1); }

void virtq_push(struct virtio_device *device, u32 index, u16 head, u32 written) {
  struct virtq *queue = &device->queues[index];
  if (!queue->ready) return;
  u8 *element = queue->used + 4 + 8 * (queue->next_used & (queue->size - 1));
  put32(element, head);
  put32(element + 4, written);
  queue->next_used++;
  put16(queue->used + 2, queue->next_used);
}

void virtq_signal(struct virtio_device *device, u32 index) {
  struct virtq *queue = &device->queues[index];
  if (!queue->ready) return;
  if (device->driver_features & VIRTIO_F_EVENT_IDX) {
    // §2.7.7.2: the driver says which used buffer it waits for; one that it has taken already needs no interrupt.
    u16 event = get16(queue->avail + 4 + 2 * queue->size), fresh = queue->next_used - queue->signalled;
    queue->signalled = queue->next_used;
    if ((u16)(queue->next_used - event - 1) >= fresh) return;
  } else if (get16(queue->avail) & AVAIL_NO_INTERRUPT) return;
  raise_interrupt(device, INTERRUPT_USED);
}

static u32 chain_copy(const struct chain *chain, bool writable, u32 offset, u8 *to, const u8 *from, u32 len) {
  u32 done = 0;
  for (u32 i = 0; i < chain->count && done < len; i++) {
    const struct segment *segment = &chain->segments[i];
    if (segment->writable != writable) continue;
    if (offset >= segment->len) {
      offset -= segment->len;
      continue;
    }
    u32 room = segment->len - offset, part = room < len - done ? room : len - done;
    if (writable) copy_bytes(segment->bytes + offset, from + done, part);
    else copy_bytes(to + done, segment->bytes + offset, part);
    done += part;
    offset = 0;
  }
  return done;
}

u32 chain_read(const struct chain *chain, u32 offset, void *to, u32 len) { return chain_copy(chain, false, offset, to, NULL, len); }
u32 chain_write(const struct chain *chain, u32 offset, const void *from, u32 len) { return chain_copy(chain, true, offset, NULL, from, len); }

static u32 chain_len(const struct chain *chain, bool writable) {
  u32 len = 0;
  for (u32 i = 0; i < chain->count; i++)
    if (chain->segments[i].writable == writable) len += chain->segments[i].len;
  return len;
}

u32 chain_readable_len(const struct chain *chain) { return chain_len(chain, false); }
u32 chain_writable_len(const struct chain *chain) { return chain_len(chain, true); }

static u32 read_register(struct virtio_device *device, u32 offset) {
  bool selected = device->queue_select < device->queue_count;
  switch (offset) {
    case R_DEVICE_FEATURES: return device->features_select > 1 ? 0 : (u32)((device->features | VIRTIO_F_VERSION_1) >> (32 * device->features_select));
    case R_QUEUE_NUM_MAX: return selected ? size_max(device) : 0;
    case R_QUEUE_READY: return selected ? device->queues[device->queue_select].ready : 0;
    case R_INTERRUPT_STATUS: return device->interrupt_status;
    case R_STATUS: return device->status;
    case R_CONFIG_GENERATION: return device->config_generation;
    default: return 0;
  }
}

static bool on_read(u32 address, u32 size, u64 *value) {
  struct virtio_device *device = slots[address / VIRTIO_STRIDE];
  u32 offset = address % VIRTIO_STRIDE;
  *value = 0;
  if (offset >= R_CONFIG) {
    u32 at = offset - R_CONFIG;
    if (device && at + size <= device->config_len) copy_bytes(value, device->config + at, size);
    return true;
  }
  if (size != 4) return false;
  switch (offset) {
    case R_MAGIC: *value = MAGIC; return true;
    case R_VERSION: *value = 2; return true;
    case R_VENDOR_ID: *value = VENDOR; return true;
    case R_DEVICE_ID: *value = device ? device->type : 0; return true;
    default: *value = device ? read_register(device, offset) : 0; return true;
  }
}

static void set_low(u64 *target, u32 value) { *target = (*target & ~0xffffffffull) | value; }
static void set_high(u64 *target, u32 value) { *target = (*target & 0xffffffff) | (u64)value << 32; }

static void write_queue_register(struct virtio_device *device, u32 offset, u32 value) {
  if (device->queue_select >= device->queue_count) return;
  struct virtq *queue = &device->queues[device->queue_select];
  if (offset == R_QUEUE_READY) {
    set_ready(device, queue, value & 1);
    return;
  }
  // §4.2.2.2: the rest may not change while the queue is in use.
  if (queue->ready) return;
  switch (offset) {
    case R_QUEUE_NUM: queue->size = value; return;
    case R_QUEUE_DESC_LOW: set_low(&queue->desc_pa, value); return;
    case R_QUEUE_DESC_HIGH: set_high(&queue->desc_pa, value); return;
    case R_QUEUE_DRIVER_LOW: set_low(&queue->avail_pa, value); return;
    case R_QUEUE_DRIVER_HIGH: set_high(&queue->avail_pa, value); return;
    case R_QUEUE_DEVICE_LOW: set_low(&queue->used_pa, value); return;
    case R_QUEUE_DEVICE_HIGH: set_high(&queue->used_pa, value); return;
    default: return;
  }
}

static void write_status(struct virtio_device *device, u32 value) {
  if (value == 0) {
    reset(device);
    return;
  }
  // §3.1.1: features outside of what was offered are refused by not accepting FEATURES_OK.
  bool features_ok = !(device->driver_features & ~(device->features | VIRTIO_F_VERSION_1)) && (device->driver_features & VIRTIO_F_VERSION_1);
  if (!features_ok) value &= ~(u32)STATUS_FEATURES_OK;
  bool started = (value & STATUS_DRIVER_OK) && !(device->status & STATUS_DRIVER_OK);
  device->status = (value & 0x7f & ~(u32)STATUS_NEEDS_RESET) | (device->status & STATUS_NEEDS_RESET);
  if (started) device->notify(device, 0);
}

static bool on_write(u32 address, u32 size, u64 value64) {
  struct virtio_device *device = slots[address / VIRTIO_STRIDE];
  u32 offset = address % VIRTIO_STRIDE, value = (u32)value64;
  // Config space of our devices is read-only.
  if (offset >= R_CONFIG || !device) return true;
  if (size != 4) return false;
  switch (offset) {
    case R_DEVICE_FEATURES_SEL: device->features_select = value; break;
    case R_DRIVER_FEATURES_SEL: device->driver_features_select = value; break;
    case R_DRIVER_FEATURES:
      if (device->status & STATUS_FEATURES_OK) break;
      if (device->driver_features_select == 0) set_low(&device->driver_features, value);
      else if (device->driver_features_select == 1) set_high(&device->driver_features, value);
      break;
    case R_QUEUE_SEL: device->queue_select = value; break;
    case R_QUEUE_NOTIFY:
      if (value < device->queue_count && in_operation(device)) device->notify(device, value);
      break;
    case R_INTERRUPT_ACK:
      device->interrupt_status &= ~value;
      update_interrupt(device);
      break;
    case R_STATUS: write_status(device, value); break;
    default: write_queue_register(device, offset, value); break;
  }
  return true;
}

void virtio_init(struct irq_line first) {
  static const struct bus_device device = {on_read, on_write};
  first_line = first;
  bus_register(VIRTIO_BASE, VIRTIO_SLOTS * VIRTIO_STRIDE, &device);
}
