/*
 * What a network card does for its driver: checksums, cutting one long TCP packet into frames (TSO), and joining frames
 * that follow each other into one long packet (GRO). In an emulated CPU the guest's kernel is the slowest part of the
 * way, and it pays per packet.
 *
 * Frames come from the guest's driver or from the link, both hostile: what does not look as it should is dropped (TSO) or left
 * alone (GRO). IPv4 and TCP only. Multi-byte fields are in network order; sums are taken in the host's, which one's
 * complement arithmetic does not mind (RFC 1071 §2 (B)).
 */
#ifndef NET_OFFLOAD_H
#define NET_OFFLOAD_H

#include "base.h"
#include "host/link.h"

/** Smallest payload of a frame that TSO makes: bounds how much one packet can grow by its headers. */
#define TSO_PAYLOAD_MIN 64u

/** Completes the checksum at start + offset over all from `start` on; false: that is not in the frame. */
MUST_USE bool offload_checksum(u8 *frame, u32 len, u32 start, u32 offset);

/** A packet to be cut: its headers and what goes into each frame. */
struct tso {
  const u8 *packet;
  u32 len, ip_len, header_len;
  u32 payload_max;
  u32 frames;
};
/** False: not TCP over IPv4, or sizes that make no sense. */
MUST_USE bool tso_plan(struct tso *tso, const u8 *packet, u32 len, u32 payload_max);
u32 tso_frame_len(const struct tso *tso, u32 index);
/** Writes frame `index`, with its checksums, of tso_frame_len bytes. */
void tso_write(const struct tso *tso, u32 index, u8 *frame);

/** Frames being joined. */
struct gro {
  /** of the packet so far; 0: none */
  u32 len;
  /** frames in it */
  u32 count;
  u32 header_len;
  /** payload of the first, and so of each but the last */
  u32 payload;
  bool closed;
  u8 packet[LINK_FRAME_MAX];
};
/** Copies `frame` as the first; false: it is not of the kind that is joined, and was not taken. */
MUST_USE bool gro_start(struct gro *gro, const u8 *frame, u32 len);
/** Appends `frame`; false: it does not continue what is there. */
MUST_USE bool gro_join(struct gro *gro, const u8 *frame, u32 len);
/** Writes lengths, and the pseudo-header's sum where the TCP checksum goes. */
void gro_finish(struct gro *gro);

#endif
