#include "dev/virtio_blk.h"

#define TYPE_BLK 2
#define F_SEG_MAX (1ull << 2)
#define F_RO (1ull << 5)
#define F_FLUSH (1ull << 9)
#define SECTOR 512
#define SERIAL_LEN 20

#define T_IN 0
#define T_FLUSH 4
#define T_GET_ID 8
#define S_OK 0
#define S_IOERR 1
#define S_UNSUPP 2

static struct {
  struct virtio_device device;
  /** capacity in sectors, size_max, seg_max (§5.2.4) */
  u8 config[16];
  u64 sectors;
  blk_read *read;
} blk;

/* Fills the writable segments but for the status byte at the very end. */
static u8 read_sectors(struct chain *chain, u64 sector, u32 len, u32 *written) {
  if (len % SECTOR || sector > blk.sectors || len / SECTOR > blk.sectors - sector) return S_IOERR;
  u64 offset = sector * SECTOR;
  for (u32 i = 0; i < chain->count && *written < len; i++) {
    struct segment *segment = &chain->segments[i];
    if (!segment->writable) continue;
    u32 part = segment->len < len - *written ? segment->len : len - *written;
    if (!blk.read(segment->bytes, part, offset)) return S_IOERR;
    *written += part;
    offset += part;
  }
  return S_OK;
}

static u32 serve(struct chain *chain) {
  u8 header[16] = {0};
  u32 room = chain_writable_len(chain), type, written = 0;
  u64 sector;
  if (room == 0) return 0;
  u32 len = room - 1;
  bool complete = chain_read(chain, 0, header, sizeof header) == sizeof header;
  copy_bytes(&type, header, 4);
  copy_bytes(&sector, header + 8, 8);
  u8 status = S_UNSUPP;
  if (!complete) {
    status = S_IOERR;
  } else if (type == T_IN) {
    status = read_sectors(chain, sector, len, &written);
  } else if (type == T_FLUSH) {
    status = S_OK;
  } else if (type == T_GET_ID) {
    static const u8 serial[SERIAL_LEN] = "portside";
    written = chain_write(chain, 0, serial, len < SERIAL_LEN ? len : SERIAL_LEN);
    status = S_OK;
  }
  chain_write(chain, len, &status, 1);
  return written + 1;
}

static void on_notify(struct virtio_device *device, u32 queue) {
  struct chain chain;
  bool any = false;
  while (virtq_pop(device, queue, &chain)) {
    virtq_push(device, queue, chain.head, serve(&chain));
    any = true;
  }
  if (any) virtq_signal(device, queue);
}

void blk_init(u32 slot, u64 size, blk_read *read) {
  u32 seg_max = VIRTQ_MAX - 2;
  blk.sectors = size / SECTOR;
  copy_bytes(blk.config, &blk.sectors, 8);
  copy_bytes(blk.config + 12, &seg_max, 4);
  blk.read = read;
  blk.device.type = TYPE_BLK;
  blk.device.features = F_SEG_MAX | F_RO | F_FLUSH;
  blk.device.queue_count = 1;
  blk.device.config = blk.config;
  blk.device.config_len = sizeof blk.config;
  blk.device.notify = on_notify;
  virtio_attach(&blk.device, slot);
}
