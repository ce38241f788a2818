#include "dev/virtio_net.h"

#include "dev/net_offload.h"
#include "host/link.h"

#define TYPE_NET 1
#define F_CSUM (1ull << 0)
#define F_GUEST_CSUM (1ull << 1)
#define F_MAC (1ull << 5)
#define F_GUEST_TSO4 (1ull << 7)
#define F_HOST_TSO4 (1ull << 11)
#define F_MRG_RXBUF (1ull << 15)
#define F_STATUS (1ull << 16)
#define STATUS_LINK_UP 1
#define QUEUE_TO_GUEST 0
#define QUEUE_FROM_GUEST 1
/* §5.1.6: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset, num_buffers */
#define HEADER_LEN 12
#define NUM_BUFFERS_AT 10
#define NEEDS_CSUM 1
#define DATA_VALID 2
#define GSO_NONE 0
#define GSO_TCPV4 1
#define TCP_SUM_OFFSET 16
/* What is joined has no IP options. */
#define GRO_TCP_AT (14 + 20)
#define MERGE_MAX 64

struct header {
  u8 flags, gso_type;
  u16 header_len, gso_size, csum_start, csum_offset, num_buffers;
};
_Static_assert(sizeof(struct header) == HEADER_LEN, "as the driver sees it");

static struct {
  struct virtio_device device;
  /** mac, status (§5.1.4) */
  u8 config[8];
  /** a packet from the guest that is not sent as it is */
  u8 packet[LINK_FRAME_MAX];
  /** what the guest has no room for yet, with its header */
  struct gro gro;
  struct header gro_header;
} net;

static bool negotiated(u64 feature) { return net.device.driver_features & feature; }

/* §5.1.6.2: a header may ask for what was negotiated only. */
static bool header_is_legal(const struct header *header) {
  if ((header->flags & NEEDS_CSUM) && !negotiated(F_CSUM)) return false;
  return header->gso_type == GSO_NONE || (header->gso_type == GSO_TCPV4 && negotiated(F_HOST_TSO4) && (header->flags & NEEDS_CSUM));
}

/* False: the link has no room for all frames of it now. A packet that cannot be cut is lost. */
static bool send_cut(const struct header *header, u32 len) {
  struct tso tso;
  if (!tso_plan(&tso, net.packet, len, header->gso_size)) return true;
  if (!link_send_room(len + tso.frames * (LINK_LENGTH_LEN + tso.header_len))) return false;
  for (u32 i = 0; i < tso.frames; i++) {
    u8 *frame = link_send_frame(tso_frame_len(&tso, i));
    if (frame) tso_write(&tso, i, frame);
  }
  return true;
}

/* False: no room now. */
static bool send_packet(const struct chain *chain, u32 total) {
  struct header header;
  if (total <= HEADER_LEN || total - HEADER_LEN > LINK_FRAME_MAX) return true;
  u32 len = total - HEADER_LEN;
  chain_read(chain, 0, &header, HEADER_LEN);
  if (!header_is_legal(&header)) return true;
  if (header.gso_type != GSO_NONE) {
    chain_read(chain, HEADER_LEN, net.packet, len);
    return send_cut(&header, len);
  }
  if (header.flags & NEEDS_CSUM) {
    chain_read(chain, HEADER_LEN, net.packet, len);
    if (!offload_checksum(net.packet, len, header.csum_start, header.csum_offset)) return true;
    u8 *frame = link_send_frame(len);
    if (frame) copy_bytes(frame, net.packet, len);
    return true;
  }
  u8 *frame = link_send_frame(len);
  if (frame) chain_read(chain, HEADER_LEN, frame, len);
  return true;
}

static void drain(void) {
  struct chain chain;
  bool any = false;
  while (link_send_room(LINK_LENGTH_LEN + LINK_FRAME_MAX) && virtq_pop(&net.device, QUEUE_FROM_GUEST, &chain)) {
    if (!send_packet(&chain, chain_readable_len(&chain))) {
      virtq_unpop(&net.device, QUEUE_FROM_GUEST);
      break;
    }
    virtq_push(&net.device, QUEUE_FROM_GUEST, chain.head, 0);
    any = true;
  }
  if (any) virtq_signal(&net.device, QUEUE_FROM_GUEST);
}

/* One frame into one or, when merging was negotiated, several buffers. False: the guest has no room now. */
static bool deliver_frame(const struct header *header, const u8 *frame, u32 len) {
  struct chain chain;
  u8 *num_buffers = NULL;
  u32 done = 0, pieces = 0;
  u16 heads[MERGE_MAX];
  u32 lens[MERGE_MAX];
  bool merge = negotiated(F_MRG_RXBUF);
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

/* The link's next frames that are one packet, joined; false: the next one is to be delivered as it is. */
static bool join_frames(void) {
  const u8 *frame;
  u32 len;
  // Without mergeable buffers a long packet would need buffers of its size; no driver of ours has them.
  if (!negotiated(F_GUEST_TSO4) || !negotiated(F_MRG_RXBUF) || !link_next_frame(&frame, &len) || !gro_start(&net.gro, frame, len)) return false;
  do link_consume_frame();
  while (link_next_frame(&frame, &len) && gro_join(&net.gro, frame, len));
  net.gro_header = (struct header){.flags = DATA_VALID};
  if (net.gro.count == 1) return true;
  gro_finish(&net.gro);
  net.gro_header = (struct header){NEEDS_CSUM, GSO_TCPV4, (u16)net.gro.header_len, (u16)net.gro.payload, GRO_TCP_AT, TCP_SUM_OFFSET, 0};
  return true;
}

static void deliver(void) {
  const u8 *frame;
  u32 len;
  bool any = false;
  while (virtq_available(&net.device, QUEUE_TO_GUEST)) {
    if (net.gro.len || join_frames()) {
      if (!deliver_frame(&net.gro_header, net.gro.packet, net.gro.len)) break;
      net.gro.len = 0;
    } else {
      // Frames on the link are whole: whoever sent them vouches for them (§5.1.6.4).
      struct header header = {.flags = negotiated(F_GUEST_CSUM) ? DATA_VALID : 0};
      if (!link_next_frame(&frame, &len) || !deliver_frame(&header, frame, len)) break;
      link_consume_frame();
    }
    any = true;
  }
  if (any) virtq_signal(&net.device, QUEUE_TO_GUEST);
}

static void on_notify(struct virtio_device *device, u32 queue) {
  (void)device;
  if (queue == QUEUE_TO_GUEST) deliver();
  else drain();
}

/* What was joined for the driver before is not for the next one. */
static void on_reset(struct virtio_device *device) {
  (void)device;
  net.gro.len = 0;
}

void net_init(u32 slot) {
  net.device.type = TYPE_NET;
  net.device.features = F_CSUM | F_GUEST_CSUM | F_MAC | F_GUEST_TSO4 | F_HOST_TSO4 | F_MRG_RXBUF | F_STATUS;
  net.device.queue_count = 2;
  net.device.config = net.config;
  net.device.config_len = sizeof net.config;
  net.device.notify = on_notify;
  net.device.reset = on_reset;
  virtio_attach(&net.device, slot);
}

void net_set_mac(const u8 mac[6]) { copy_bytes(net.config, mac, 6); }

void net_get_mac(u8 mac[6]) { copy_bytes(mac, net.config, 6); }

void net_inject(const u8 *frame, u32 len) {
  struct header header = {.flags = negotiated(F_GUEST_CSUM) ? DATA_VALID : 0};
  if (virtq_available(&net.device, QUEUE_TO_GUEST) && deliver_frame(&header, frame, len)) virtq_signal(&net.device, QUEUE_TO_GUEST);
}

void net_set_up(bool up) {
  net.config[6] = up ? STATUS_LINK_UP : 0;
  virtio_config_changed(&net.device);
}

void net_turn(void) {
  drain();
  deliver();
}
