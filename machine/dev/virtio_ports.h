/*
 * virtio-console with VIRTIO_CONSOLE_F_MULTIPORT (virtio 1.2 §5.3): three ports that are no terminals, port N for descriptor N of a
 * command without one. Linux makes /dev/vportXpN of each: bytes as they are, and a read that ends when the host closes its side.
 *
 *   queues  0 to port 0 · 1 from port 0 · 2 control to the driver · 3 control from the driver · 2n+2, 2n+3 of port n from 1 on
 *
 * The host's side of a port is open from the handshake on, so that nobody reads an end that is none. What the driver is still to hear
 * is a few flags per port, not a queue of messages: a driver that does not listen makes nothing grow.
 */
#ifndef VIRTIO_PORTS_H
#define VIRTIO_PORTS_H

#include "dev/virtio_mmio.h"

#define PORTS 3u

/** What the host makes of the ports. */
struct ports_host {
  /** the driver has room on port 0, or opened it */
  void (*wanted)(void);
  /** takes up to `len` bytes of `port`; fewer: it has no room, and ports_drain is called when it has */
  u32 (*take)(u32 port, const u8 *bytes, u32 len);
};

void ports_init(const struct ports_host *host);
/** True if a program has port 0 open and there is a buffer for it. */
bool ports_wants_input(void);
/** Gives up to `len` bytes to port 0; returns how many it had room for. */
u32 ports_input(const u8 *bytes, u32 len);
/** Closes the host's side of port 0: behind what it was given the guest reads its end. */
void ports_end_input(void);
/** Hands over what waits of `port`. True: nothing is left. */
bool ports_drain(u32 port);

#endif
