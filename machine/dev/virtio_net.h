/*
 * virtio-net (virtio 1.2 §5.1) over the link: MAC, STATUS, mergeable receive buffers, checksum and TCP offloads (net_offload.h). Frames on
 * the link have no virtio header: long packets are cut and joined here.
 *
 * Frames from the guest go into the link's buffer as long as it has room; then they stay in the queue until it was sent.
 * Frames to the guest stay in the link's buffer while the guest has no receive buffers: a slow guest pauses its peer.
 */
#ifndef VIRTIO_NET_H
#define VIRTIO_NET_H

#include "dev/virtio_mmio.h"

void net_init(u32 slot);
void net_set_mac(const u8 mac[6]);
void net_get_mac(u8 mac[6]);
/** Link status as the guest sees it. */
void net_set_up(bool up);
/** Moves what can be moved, both ways; called each turn. */
void net_turn(void);
/** A frame of our own to the guest; lost if it has no room for it. */
void net_inject(const u8 *frame, u32 len);

#endif
