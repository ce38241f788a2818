#include "virtio_net.h"

#include "../link.h"

#define TYPE_NET 1
#define F_MAC (1ull << 5)
#define F_MRG_RXBUF (1ull << 15)
#define F_STATUS (1ull << 16)
#define STATUS_LINK_UP 1
#define QUEUE_TO_GUEST 0
#define QUEUE_FROM_GUEST 1
/* §5.1.6: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset, num_buffers */
#define HEADER_LEN 12
#define NUM_BUFFERS_AT 10
#define MERGE_MAX 64

static struct {
  struct virtio_device device;
  /** mac, status (§5.1.4) */
  u8 config[8];
} net;

static void drain(void) {
  struct chain chain;
  bool any = false;
  while (link_send_room() && virtq_pop(&net.device, QUEUE_FROM_GUEST, &chain)) {
    u32 total = chain_readable_len(&chain);
    if (total > HEADER_LEN && total - HEADER_LEN <= LINK_FRAME_MAX) {
      u32 len = total - HEADER_LEN;
      u8 *frame = link_send_frame(len);
      if (frame) chain_read(&chain, HEADER_LEN, frame, len);
    }
    virtq_push(&net.device, QUEUE_FROM_GUEST, chain.head, 0);
    any = true;
  }
  if (any) virtq_signal(&net.device, QUEUE_FROM_GUEST);
}

/* One frame into one or, when merging was negotiated, several buffers. False: the guest has no room now. */
static bool deliver_frame(const u8 *frame, u32 len) {
  struct chain chain;
  u8 *num_buffers = NULL;
  u32 done = 0, pieces = 0;
  u16 heads[MERGE_MAX];
  u32 lens[MERGE_MAX];
  bool merge = net.device.driver_features & F_MRG_RXBUF;
  while (pieces == 0 || done < len) {
    if ((pieces > 0 && !merge) || pieces == MERGE_MAX) {
      // Too long for this driver: the frame is dropped, its buffers go back unused.
      while (pieces-- > 0) virtq_unpop(&net.device, QUEUE_TO_GUEST);
      return true;
    }
    if (!virtq_pop(&net.device, QUEUE_TO_GUEST, &chain)) {
      while (pieces-- > 0) virtq_unpop(&net.device, QUEUE_TO_GUEST);
      return false;
    }
    u32 at = 0;
    if (pieces == 0) {
      static const u8 header[HEADER_LEN] = {0};
      bool sound = chain.segments[0].writable && chain.segments[0].len >= HEADER_LEN;
      if (!sound || chain_write(&chain, 0, header, HEADER_LEN) != HEADER_LEN) {
        virtio_stop(&net.device);
        return false;
      }
      num_buffers = chain.segments[0].bytes + NUM_BUFFERS_AT;
      at = HEADER_LEN;
    }
    u32 part = chain_write(&chain, at, frame + done, len - done);
    done += part;
    heads[pieces] = chain.head;
    lens[pieces] = at + part;
    pieces++;
    if (part == 0 && done < len) {
      virtio_stop(&net.device);
      return false;
    }
  }
  u16 count = (u16)pieces;
  copy_bytes(num_buffers, &count, 2);
  for (u32 i = 0; i < pieces; i++) virtq_push(&net.device, QUEUE_TO_GUEST, heads[i], lens[i]);
  return true;
}

static void deliver(void) {
  const u8 *frame;
  u32 len;
  bool any = false;
  while (virtq_available(&net.device, QUEUE_TO_GUEST) && link_next_frame(&frame, &len)) {
    if (!deliver_frame(frame, len)) break;
    link_consume_frame();
    any = true;
  }
  if (any) virtq_signal(&net.device, QUEUE_TO_GUEST);
}

static void on_notify(struct virtio_device *device, u32 queue) {
  (void)device;
  if (queue == QUEUE_TO_GUEST) deliver();
  else drain();
}

void net_init(u32 slot) {
  net.device.type = TYPE_NET;
  net.device.features = F_MAC | F_MRG_RXBUF | F_STATUS;
  net.device.queue_count = 2;
  net.device.config = net.config;
  net.device.config_len = sizeof net.config;
  net.device.notify = on_notify;
  virtio_attach(&net.device, slot);
}

void net_set_mac(const u8 mac[6]) { copy_bytes(net.config, mac, 6); }

void net_set_up(bool up) {
  net.config[6] = up ? STATUS_LINK_UP : 0;
  virtio_config_changed(&net.device);
}

void net_turn(void) {
  drain();
  deliver();
}
