
#include "host/host.h"
#include "host/link.h"

#define NO_SOCKET (-1)
#define SEND_BYTES (256u << 10)
#define RECEIVE_BYTES (256u << 10)

static struct {
  i32 listener;
  i32 connection;
  /** waiting to be sent: [send_start, send_end) */
  u32 send_start, send_end;
  /** received and not consumed: [receive_start, receive_end) */
  u32 receive_start, receive_end;
  u8 send[SEND_BYTES];
  u8 receive[RECEIVE_BYTES];
} link;

void link_init(void) { link.listener = link.connection = NO_SOCKET; }

void link_open(i32 listener) {
  link.connection = NO_SOCKET;
  // In a machine that is resumed: what lay here was the old connection's.
  link.send_start = link.send_end = 0;
  link.receive_start = link.receive_end = 0;
  link.listener = host_find_listener(listener);
}

bool link_is_up(void) { return link.connection >= 0; }

static void drop(void) {
  host_close(link.connection);
  link.connection = NO_SOCKET;
  link.send_start = link.send_end = 0;
  link.receive_start = link.receive_end = 0;
}

/* False: the link broke. */
static bool flush(void) {
  while (link.send_start < link.send_end) {
    i64 sent = host_send(link.connection, link.send + link.send_start, link.send_end - link.send_start);
    if (sent == HOST_NOTHING_YET) return true;
    if (sent < 0) return false;
    link.send_start += (u32)sent;
  }
  link.send_start = link.send_end = 0;
  return true;
}

/* False: the link broke. */
static bool fill(void) {
  if (link.receive_start == link.receive_end) link.receive_start = link.receive_end = 0;
  if (link.receive_end == RECEIVE_BYTES) {
    if (link.receive_start == 0) return true;
    u32 len = link.receive_end - link.receive_start;
    __builtin_memmove(link.receive, link.receive + link.receive_start, len);
    link.receive_start = 0;
    link.receive_end = len;
  }
  i64 got = host_receive(link.connection, link.receive + link.receive_end, RECEIVE_BYTES - link.receive_end);
  if (got < 0) return false;
  link.receive_end += (u32)got;
  return true;
}

static bool length_is_sane(void) {
  if (link.receive_end - link.receive_start < LINK_LENGTH_LEN) return true;
  u32 len = get_be32(link.receive + link.receive_start);
  return len > 0 && len <= LINK_FRAME_MAX;
}

bool link_turn(void) {
  if (link.listener < 0) return false;
  if (!link_is_up()) {
    link.connection = host_accept(link.listener);
    return link_is_up();
  }
  if (flush() && fill() && length_is_sane()) return false;
  drop();
  return true;
}

i32 link_poll_socket(bool *writes) {
  *writes = link_is_up() && link.send_start < link.send_end;
  if (!link_is_up()) return link.listener;
  // A full buffer: the guest does not take frames now.
  if (!*writes && link.receive_start == 0 && link.receive_end == RECEIVE_BYTES) return NO_SOCKET;
  return link.connection;
}

bool link_send_room(u32 bytes) { return !link_is_up() || SEND_BYTES - link.send_end >= bytes; }

u8 *link_send_frame(u32 len) {
  if (!link_is_up()) return NULL;
  set_be32(link.send + link.send_end, len);
  u8 *frame = link.send + link.send_end + LINK_LENGTH_LEN;
  link.send_end += LINK_LENGTH_LEN + len;
  return frame;
}

bool link_next_frame(const u8 **frame, u32 *len) {
  if (!length_is_sane() || link.receive_end - link.receive_start < LINK_LENGTH_LEN) return false;
  u32 frame_len = get_be32(link.receive + link.receive_start);
  if (link.receive_end - link.receive_start - LINK_LENGTH_LEN < frame_len) return false;
  *frame = link.receive + link.receive_start + LINK_LENGTH_LEN;
  *len = frame_len;
  return true;
}

void link_consume_frame(void) { link.receive_start += LINK_LENGTH_LEN + get_be32(link.receive + link.receive_start); }
