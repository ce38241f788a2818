/*
 * The link to the network: Ethernet frames in QEMU's framing (4-byte big-endian length, then the frame) over a socket
 * that the host lets us accept.
 *
 * Bytes from the peer are hostile: a length of 0 or above LINK_FRAME_MAX, like an end or an error of the socket, drops the link;
 * the listening socket is then asked for another.
 */
#ifndef LINK_H
#define LINK_H

#include "base.h"

#define LINK_FRAME_MAX 65550u
/** in front of each frame */
#define LINK_LENGTH_LEN 4u

/** No link and nothing to listen on. */
void link_init(void);
/** Looks for the listening socket: `listener` as given by --net, negative if not. */
void link_open(i32 listener);
/** Accepts, sends and receives what is possible without waiting. True if the link's state changed. */
bool link_turn(void);
bool link_is_up(void);
/** For polling: the socket whose readiness means work, negative if none; `writes`: wait for room to send. */
i32 link_poll_socket(bool *writes);

/** True if frames and their lengths, `bytes` in all, may be queued, or the link is down. */
bool link_send_room(u32 bytes);
/** Where to put the `len` bytes of the next frame; NULL while the link is down: the frame is lost. */
u8 *link_send_frame(u32 len);
/** The oldest frame received. Borrowed until link_consume_frame. */
bool link_next_frame(const u8 **frame, u32 *len);
void link_consume_frame(void);

#endif
