/*
 * Hostile drivers against every virtio device: compiled with the sanitizers by virtio.test.ts, prints one line per check.
 * RAM is a heap block of its exact size here, so that a byte outside of it is a report and the end.
 */
#include "host/host.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "board/bus.h"
#include "board/map.h"
#include "dev/plic.h"
#include "dev/virtio_9p.h"
#include "dev/virtio_blk.h"
#include "dev/virtio_mmio.h"
#include "dev/virtio_net.h"
#include "dev/virtio_rng.h"
#include "guest/orphan.h"
#include "guest/pipes.h"
#include "guest/terminal.h"
#include "host/link.h"

#define RAM_BYTES (1u << 20)
#define DESC 0x1000u
#define AVAIL 0x2000u
#define USED 0x3000u
#define QUEUE_SIZE 8
#define STATUS 0x70
#define NEEDS_RESET 64
/* above every real descriptor */
#define FAKE_SOCKET 100000

void *host_memory(u64 len) { return calloc(1, len ? len : 1); }
void *host_memory_if(u64 len) { return host_memory(len); }
void host_exit(u32 status) { exit((int)status); }
void host_panic(const char *what, const char *detail) {
  printf("panic: %s: %s\n", what, detail);
  exit(2);
}
u64 host_monotonic_ns(void) { return 0; }
u64 host_realtime_ns(void) { return 0; }
void host_random(void *bytes, size_t len) { memset(bytes, 1, len); }
void host_write_out(const u8 *bytes, size_t len) {
  (void)bytes;
  (void)len;
}
i64 host_read_in(u8 *bytes, size_t len) {
  memset(bytes, 'x', len);
  return (i64)len;
}
/* Devices of terminals: fds from 100 on. Each has something to read, and one read in 16 is its end. */
static u32 random_u32(void);
i32 host_open_device(const char *directory, const char *name) {
  (void)directory;
  return 100 + name[3] - '0';
}
i64 host_read(i32 fd, u8 *bytes, size_t len) {
  if (fd < 102 || fd > 104) abort();
  if (random_u32() % 16 == 0) return HOST_ENDED;
  memset(bytes, 0x1b, len);
  return (i64)len;
}
/* What came out of the ports; `write_room` bytes are taken yet, unless their reader has gone. */
static u8 written[3][1 << 16];
static u32 written_len[3], write_room = ~0u;
static bool write_ends;
i64 host_write_some(i32 fd, const u8 *bytes, size_t len) {
  if (fd < HOST_OUT || fd > HOST_ERR || len == 0) abort();
  if (write_ends) return HOST_ENDED;
  u32 part = len < write_room ? (u32)len : write_room;
  if (part > sizeof written[0]) part = sizeof written[0];
  if (written_len[fd] + part > sizeof written[0]) written_len[fd] = 0;
  if (write_room != ~0u) write_room -= part;
  memcpy(written[fd] + written_len[fd], bytes, part);
  written_len[fd] += part;
  return part;
}
void host_wait_writable(i32 fd) {
  (void)fd;
  write_room = ~0u;
}
static u32 broken;
void control_send_broken(u32 number) {
  if (number < 1 || number > 2) abort();
  broken |= 1u << number;
}
void host_write(i32 fd, const u8 *bytes, size_t len) {
  (void)bytes;
  if (fd < 102 || fd > 104 || len == 0) abort();
}
void control_ask_ports(void) {}
void control_send_key(u32 signal) {
  if (signal != 2 && signal != 3) abort();
}
/* The agent that closes what it was told to hang up, at once or later. */
void control_send_terminal(const char *what, u32 number) {
  if (number < 2 || number > TERMINALS) abort();
  if (what[0] == 'h' && random_u32() % 2) terminal_closed(number);
}
i32 host_find_listener(i32 wanted) {
  (void)wanted;
  return FAKE_SOCKET;
}
i32 host_accept(i32 listener) { return listener + 1; }
/* What went out on the link, and what is to come in by it, with lengths. */
static u8 sent[1 << 20], incoming[1 << 18];
static u32 sent_len, incoming_len;

i64 host_send(i32 fd, const u8 *bytes, size_t len) {
  (void)fd;
  if (sent_len + len > sizeof sent) sent_len = 0;
  memcpy(sent + sent_len, bytes, len);
  sent_len += (u32)len;
  return (i64)len;
}
/* What is in `incoming`; if that is nothing, one frame of 100 bytes. */
i64 host_receive(i32 fd, u8 *bytes, size_t len) {
  (void)fd;
  if (incoming_len > 0) {
    u32 part = len < incoming_len ? (u32)len : incoming_len;
    memcpy(bytes, incoming, part);
    memmove(incoming, incoming + part, incoming_len - part);
    incoming_len -= part;
    return part;
  }
  if (len < 104) return HOST_NOTHING_YET;
  memset(bytes, 0, 104);
  bytes[3] = 100;
  return 104;
}
void host_close(i32 fd) {
  if (fd >= 0 && fd < FAKE_SOCKET) close(fd);
}
u64 clock_wall_ns(void) { return 0; }

static void external(bool level) { (void)level; }
static u32 code_written;
static void on_code_written(u32 page) {
  ram.page_flags[page] |= PAGE_CODE_STALE;
  code_written++;
}

static void fill(void *bytes, size_t len) { memset(bytes, 2, len); }
static bool read_disk(void *bytes, u64 len, u64 offset) {
  if (offset + len > 4096) abort();
  memset(bytes, 3, len);
  return true;
}

static u64 seed = 1;
static u32 random_u32(void) {
  seed = seed * 6364136223846793005ull + 1442695040888963407ull;
  return (u32)(seed >> 33);
}

static void put(u32 at, const void *value, u32 len) { memcpy(ram.bytes + at, value, len); }
static void put16(u32 at, u16 v) { put(at, &v, 2); }
static void describe(u32 index, u64 address, u32 len, u16 flags, u16 next) {
  put(DESC + 16 * index, &address, 8);
  put(DESC + 16 * index + 8, &len, 4);
  put16(DESC + 16 * index + 12, flags);
  put16(DESC + 16 * index + 14, next);
}

static void set(u32 slot, u32 reg, u32 value) {
  if (!bus_write(VIRTIO_BASE + slot * VIRTIO_STRIDE + reg, 4, value)) abort();
}
static u32 get(u32 slot, u32 reg) {
  u64 value;
  if (!bus_read(VIRTIO_BASE + slot * VIRTIO_STRIDE + reg, 4, &value)) abort();
  return (u32)value;
}

static void start(u32 slot, u64 features) {
  memset(ram.bytes + DESC, 0, 0x4000);
  set(slot, STATUS, 0);
  set(slot, STATUS, 3);
  set(slot, 0x24, 0);
  set(slot, 0x20, (u32)features);
  set(slot, 0x24, 1);
  set(slot, 0x20, 1);
  set(slot, STATUS, 11);
  for (u32 queue = 0; queue < (slot == SLOT_PORTS ? 8 : 2); queue++) {
    set(slot, 0x30, queue);
    set(slot, 0x38, QUEUE_SIZE);
    set(slot, 0x80, (u32)RAM_BASE + DESC);
    set(slot, 0x90, (u32)RAM_BASE + AVAIL);
    set(slot, 0xa0, (u32)RAM_BASE + USED);
    set(slot, 0x44, 1);
  }
  set(slot, STATUS, 15);
}

static void offer(u32 slot, u32 queue, u16 head) {
  u16 index;
  memcpy(&index, ram.bytes + AVAIL + 2, 2);
  put16(AVAIL + 4 + 2 * (index % QUEUE_SIZE), head);
  put16(AVAIL + 2, index + 1);
  set(slot, 0x50, queue);
}

static int failures;
static void expect_stopped(const char *what, u32 slot) {
  bool stopped = get(slot, STATUS) & NEEDS_RESET;
  printf("%s %s\n", stopped ? "ok" : "FAILED", what);
  failures += !stopped;
}

static void broken_rules(void) {
  start(SLOT_RNG, 0);
  describe(0, RAM_BASE + 0x8000, 16, 3, 0);
  offer(SLOT_RNG, 0, 0);
  expect_stopped("a descriptor that is its own successor", SLOT_RNG);
  start(SLOT_RNG, 0);
  describe(0, RAM_BASE + RAM_BYTES - 8, 16, 2, 0);
  offer(SLOT_RNG, 0, 0);
  expect_stopped("a buffer that reaches beyond RAM", SLOT_RNG);
  start(SLOT_RNG, 0);
  describe(0, ~0ull - 4, 16, 2, 0);
  offer(SLOT_RNG, 0, 0);
  expect_stopped("an address that wraps around", SLOT_RNG);
  start(SLOT_RNG, 0);
  offer(SLOT_RNG, 0, QUEUE_SIZE);
  expect_stopped("a head outside of the table", SLOT_RNG);
  start(SLOT_RNG, 0);
  describe(0, RAM_BASE, 16, 4, 0);
  offer(SLOT_RNG, 0, 0);
  expect_stopped("an indirect descriptor that was not negotiated", SLOT_RNG);
  start(SLOT_RNG, 0);
  put16(AVAIL + 2, 100);
  set(SLOT_RNG, 0x50, 0);
  expect_stopped("more available than the queue holds", SLOT_RNG);
  start(SLOT_BLK, 0);
  describe(0, RAM_BASE + 0x8000, 16, 3, 1);
  describe(1, RAM_BASE + 0x9000, 16, 0, 0);
  offer(SLOT_BLK, 0, 0);
  expect_stopped("readable after writable", SLOT_BLK);
  set(SLOT_BLK, STATUS, 0);
  set(SLOT_BLK, 0x30, 0);
  set(SLOT_BLK, 0x38, 7);
  set(SLOT_BLK, 0x44, 1);
  expect_stopped("a queue size that is no power of two", SLOT_BLK);
  set(SLOT_BLK, STATUS, 0);
  set(SLOT_BLK, 0x38, 256);
  set(SLOT_BLK, 0x80, (u32)RAM_BASE + RAM_BYTES - 16);
  set(SLOT_BLK, 0x44, 1);
  expect_stopped("a ring that reaches beyond RAM", SLOT_BLK);
}

static u64 wild_address(void) {
  switch (random_u32() % 8) {
    case 0: return RAM_BASE + RAM_BYTES - random_u32() % 64;
    case 1: return (u64)random_u32() << 32 | random_u32();
    default: return RAM_BASE + 0x8000 + random_u32() % (RAM_BYTES - 0x18000);
  }
}

static void fuzz(u32 rounds) {
  static const u32 slots[] = {SLOT_CONSOLE, SLOT_NET, SLOT_BLK, SLOT_RNG, SLOT_SHARE, SLOT_TERMINALS, SLOT_PORTS};
  u32 stops = 0;
  for (u32 round = 0; round < rounds; round++) {
    u32 slot = slots[random_u32() % COUNT_OF(slots)];
    start(slot, random_u32() & get(slot, 0x10));
    for (u32 i = 0; i < QUEUE_SIZE; i++) {
      u32 len = random_u32() % 16 == 0 ? random_u32() : random_u32() % 2048;
      describe(i, wild_address(), len, random_u32() % 8 ? random_u32() & 3 : random_u32() & 0xffff, random_u32() % (QUEUE_SIZE + 1));
    }
    for (u32 step = 0; step < 8; step++) {
      u32 what = random_u32() % 8;
      if (what == 0) set(slot, (random_u32() % 0x100) & ~3u, random_u32());
      u32 n = random_u32() % TERMINALS;
      if (what == 1 && terminal_wants_input(n)) terminal_read(n);
      if (what == 3) terminal_closed(random_u32() % 8);
      terminal_flush();
      write_room = random_u32() % 3 ? ~0u : random_u32() % 1000;
      if (what == 4 && pipes_want_input()) pipes_read();
      if (what == 5) pipes_go_on(1 + (i32)(random_u32() % 2));
      if (what == 6) pipes_finish();
      if (what == 2) link_turn();
      net_turn();
      offer(slot, random_u32() % (slot == SLOT_PORTS ? 8 : 2), (u16)(random_u32() % QUEUE_SIZE));
    }
    stops += (get(slot, STATUS) & NEEDS_RESET) != 0;
  }
  bool both = stops > rounds / 100 && stops < rounds;
  printf("%s %u random rounds, some stopped and some served\n", both ? "ok" : "FAILED", rounds);
  failures += !both;
}

/* ---- offloads ---- */

#define F_CSUM 1u
#define F_GUEST_CSUM 2u
#define F_GUEST_TSO4 (1u << 7)
#define F_HOST_TSO4 (1u << 11)
#define F_MRG_RXBUF (1u << 15)
#define PACKET 0x10000u
#define HEADERS 54u

static void check(const char *what, bool right) {
  printf("%s %s\n", right ? "ok" : "FAILED", what);
  failures += !right;
}

/* ---- ports ---- */

static void control_message(u32 id, u16 event, u16 value) {
  u16 rest[2] = {event, value};
  put(0x9000, &id, 4);
  put(0x9004, rest, 4);
  describe(0, RAM_BASE + 0x9000, 8, 0, 0);
  offer(SLOT_PORTS, 3, 0);
}

static void send_from(u32 queue, const char *text) {
  put(0xa000, text, (u32)strlen(text));
  describe(1, RAM_BASE + 0xa000, (u32)strlen(text), 0, 0);
  offer(SLOT_PORTS, queue, 1);
}

static void ports(void) {
  start(SLOT_PORTS, 2);
  check("the ports' queues are short", get(SLOT_PORTS, 0x34) == 16);
  // Queues share their rings here, so each look at one resets it.
  written_len[1] = written_len[2] = 0;
  write_room = ~0u;
  send_from(5, "out");
  check("what port 1 says is stdout", written_len[1] == 3 && !memcmp(written[1], "out", 3) && written_len[2] == 0);
  start(SLOT_PORTS, 2);
  send_from(7, "error");
  check("and port 2 stderr", written_len[2] == 5 && !memcmp(written[2], "error", 5));
  start(SLOT_PORTS, 2);
  written_len[1] = 0;
  write_room = 2;
  send_from(5, "slowly");
  u16 before, after;
  memcpy(&before, ram.bytes + USED + 2, 2);
  bool waits = pipes_are_blocked(HOST_OUT) && written_len[1] == 2;
  write_room = ~0u;
  pipes_go_on(HOST_OUT);
  memcpy(&after, ram.bytes + USED + 2, 2);
  check("what the host does not take waits, and goes on where it was", waits && before == 0 && after == 1 && !pipes_are_blocked(HOST_OUT) && written_len[1] == 6 && !memcmp(written[1], "slowly", 6));
  start(SLOT_PORTS, 2);
  check("nothing is read for a port that nobody has open", !pipes_want_input());
  start(SLOT_PORTS, 2);
  control_message(0, 6, 1);
  control_message(3, 6, 1);
  control_message(~0u, 3, 1);
  check("ports that do not exist are nobody's", !(get(SLOT_PORTS, STATUS) & NEEDS_RESET));
  write_ends = true;
  broken = 0;
  start(SLOT_PORTS, 2);
  send_from(5, "to nobody");
  send_from(5, "to nobody");
  check("a reader that has gone is told once", broken == 1u << 1);
  write_ends = false;
}

static u32 be16(const u8 *p) { return (u32)p[0] << 8 | p[1]; }

/* RFC 1071, byte by byte: not how net_offload.c does it. */
static u32 ones_sum(u32 sum, const u8 *bytes, u32 len) {
  for (u32 i = 0; i < len; i++) sum += i % 2 ? bytes[i] : (u32)bytes[i] << 8;
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

/* A frame with both checksums 0; its payload is a counter that goes on with seq. */
static u32 tcp_frame(u8 *frame, u32 payload, u32 seq, u8 flags) {
  static const u8 start[] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 0, 1, 2, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x12, 0x34, 0, 80};
  memset(frame, 0, HEADERS);
  memcpy(frame, start, sizeof start);
  frame[16] = (u8)((payload + 40) >> 8);
  frame[17] = (u8)(payload + 40);
  set_be32(frame + 38, seq);
  set_be32(frame + 42, 77);
  frame[46] = 0x50;
  frame[47] = flags;
  for (u32 i = 0; i < payload; i++) frame[HEADERS + i] = (u8)((seq + i) * 7 >> 3);
  return HEADERS + payload;
}

static bool sums_hold(const u8 *frame, u32 len) {
  u8 rest[4] = {0, 6, (u8)((len - 34) >> 8), (u8)(len - 34)};
  return ones_sum(0, frame + 14, 20) == 0xffff && ones_sum(ones_sum(ones_sum(0, frame + 26, 8), rest, 4), frame + 34, len - 34) == 0xffff;
}

static void give(u16 flags_and_type, u16 gso_size, u16 csum_start, u16 csum_offset, u32 len) {
  u16 header[6] = {flags_and_type, HEADERS, gso_size, csum_start, csum_offset, 0};
  memcpy(ram.bytes + PACKET - 12, header, 12);
  describe(0, RAM_BASE + PACKET - 12, len + 12, 0, 0);
  sent_len = 0;
  offer(SLOT_NET, 1, 0);
  link_turn();
}

static void cuts(void) {
  u8 *packet = ram.bytes + PACKET;
  start(SLOT_NET, F_CSUM | F_HOST_TSO4);
  u32 len = tcp_frame(packet, 10000, 0xfffffff0, 0x99);
  give(0x0101, 1448, 34, 16, len);
  u32 at = 0, frames = 0, seq = 0xfffffff0;
  bool right = true;
  while (at < sent_len) {
    u32 frame_len = get_be32(sent + at);
    const u8 *frame = sent + at + 4;
    u8 flags = (u8)(0x10 | (frames == 0 ? 0x80 : 0) | (frames == 6 ? 9 : 0)), wanted[2000];
    u32 payload = frame_len - HEADERS;
    tcp_frame(wanted, payload, seq, flags);
    right = right && payload == (frames < 6 ? 1448 : 1312) && sums_hold(frame, frame_len) && be16(frame + 18) == 0x0102 + frames && frame[47] == flags &&
            get_be32(frame + 38) == seq && be16(frame + 16) == payload + 40 && !memcmp(frame + HEADERS, wanted + HEADERS, payload);
    seq += payload;
    frames++;
    at += 4 + frame_len;
  }
  check("a long packet is cut into frames with their own numbers and sums", right && frames == 7 && at == sent_len);
  len = tcp_frame(packet, 101, 5, 0x10);
  u8 rest[4] = {0, 6, 0, 121};
  u32 pseudo = ones_sum(ones_sum(0, packet + 26, 8), rest, 4);
  packet[50] = (u8)(pseudo >> 8);
  packet[51] = (u8)pseudo;
  give(0x0001, 0, 34, 16, len);
  check("a checksum is completed", sent_len == len + 4 && ones_sum(0, (u8[]){(u8)(pseudo >> 8), (u8)pseudo}, 2) == pseudo &&
        ones_sum(ones_sum(ones_sum(0, sent + 4 + 26, 8), rest, 4), sent + 4 + 34, len - 34) == 0xffff);
  static const u16 bad[][4] = {{0x0101, 0, 34, 16}, {0x0101, 63, 34, 16}, {0x0001, 0, 65535, 0}, {0x0001, 0, 154, 0}, {0x0001, 0, 34, 65535}, {0x0301, 1448, 34, 16}, {0x0401, 1448, 34, 16}, {0x0100, 1448, 34, 16}, {0x8101, 1448, 34, 16}};
  u32 leaked = 0;
  for (u32 i = 0; i < COUNT_OF(bad); i++) {
    give(bad[i][0], bad[i][1], bad[i][2], bad[i][3], len);
    leaked += sent_len;
  }
  start(SLOT_NET, 0);
  give(0x0101, 1448, 34, 16, len);
  leaked += sent_len;
  give(0x0001, 0, 34, 16, len);
  check("headers that make no sense, or were not negotiated, lose their packet", leaked + sent_len == 0);
}

static void arrive(const u8 *frame, u32 len) {
  set_be32(incoming + incoming_len, len);
  memcpy(incoming + incoming_len + 4, frame, len);
  incoming_len += 4 + len;
}

static void offer_buffers(u32 len) {
  for (u16 i = 0; i < QUEUE_SIZE; i++) {
    describe(i, RAM_BASE + PACKET + 0x4000u * i, len, 2, 0);
    offer(SLOT_NET, 0, i);
  }
}

/* Takes what the link still holds out of the way. */
static void clear_link(void) {
  const u8 *frame;
  u32 len;
  incoming_len = 0;
  while (link_next_frame(&frame, &len)) link_consume_frame();
}

static void joins(void) {
  u8 frame[2000];
  start(SLOT_NET, F_MRG_RXBUF | F_GUEST_CSUM | F_GUEST_TSO4);
  clear_link();
  for (u32 i = 0; i < 5; i++) arrive(frame, tcp_frame(frame, i < 4 ? 1000 : 300, 1000 * i, i == 4 ? 0x18 : 0x10));
  arrive(frame, tcp_frame(frame, 1000, 4300, 0x10));
  arrive(frame, tcp_frame(frame, 1000, 9999, 0x10));
  offer_buffers(2048);
  link_turn();
  net_turn();
  const u8 *first = ram.bytes + PACKET, *second = first + 0x4000u * 3;
  u16 used;
  memcpy(&used, ram.bytes + USED + 2, 2);
  u8 whole[4400], wanted[4400];
  memcpy(whole, first + 12, 2036);
  memcpy(whole + 2036, first + 0x4000, 2048);
  memcpy(whole + 4084, first + 0x8000, 4354 - 4084);
  tcp_frame(wanted, 4300, 0, 0x18);
  u8 rest[4] = {0, 6, 4320 >> 8, 4320 & 255};
  u32 pseudo = ones_sum(ones_sum(0, whole + 26, 8), rest, 4);
  bool right = first[0] == 1 && first[1] == 1 && first[4] + 256 * first[5] == 1000 && first[6] == 34 && first[8] == 16 && first[10] == 3 && ones_sum(0, whole + 14, 20) == 0xffff &&
               be16(whole + 16) == 4340 && be16(whole + 50) == pseudo && !memcmp(whole + HEADERS, wanted + HEADERS, 4300) && whole[47] == 0x18;
  check("segments that follow each other arrive as one packet", right);
  check("and others by themselves, vouched for", used == 5 && second[0] == 2 && second[1] == 0 && second[10] == 1 && get_be32(second + 12 + 38) == 4300);
}

/* The SYN for a connection that nobody else knows, over either IP; what names none brings nothing. */
static void orphans(void) {
  const u8 *packet = ram.bytes + PACKET + 12;
  u16 used;
  start(SLOT_NET, F_MRG_RXBUF | F_GUEST_CSUM);
  clear_link();
  offer_buffers(2048);
  orphan_reset("0100000A:9C40 0200000A:0050");
  static const u8 v4[] = {0x08, 0x00, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6};
  check("an orphan gets a SYN from its peer", !memcmp(packet + 12, v4, sizeof v4) && !memcmp(packet + 26, "\x0a\0\0\x02\x0a\0\0\x01\0\x50\x9c\x40", 12) && packet[47] == 2 && sums_hold(packet, 54));
  orphan_reset("0000000000000000FFFF00000100000A:9C40 0000000000000000FFFF00000200000A:0050");
  check("one of a socket for both IPs, too", !memcmp(packet + 0x4000 + 12, packet + 12, 42));
  orphan_reset("000080FE00000000000000000100000A:0016 000080FE00000000000000000200000A:FFFF");
  packet += 0x8000;
  u8 rest[4] = {0, 6, 0, 20};
  u32 sum = ones_sum(ones_sum(ones_sum(0, packet + 22, 32), rest, 4), packet + 54, 20);
  check("and over IPv6", packet[12] == 0x86 && packet[13] == 0xdd && packet[14] == 0x60 && !memcmp(packet + 54, "\xff\xff\0\x16", 4) && packet[67] == 2 && sum == 0xffff);
  static const char digits[] = "0123456789ABCDEF:: xg";
  for (u32 round = 0; round < 20000; round++) {
    char line[128];
    u32 len = random_u32() % 127;
    for (u32 i = 0; i < len; i++) line[i] = digits[random_u32() % (sizeof digits - 1)];
    line[len] = 0;
    orphan_reset(line);
  }
  memcpy(&used, ram.bytes + USED + 2, 2);
  check("what names no connection brings nothing", used == 3);
}

/* Nearly right packets both ways, with random features. */
static void fuzz_offloads(u32 rounds) {
  u8 frame[2000];
  bool bounded = true;
  for (u32 round = 0; round < rounds; round++) {
    start(SLOT_NET, random_u32() & get(SLOT_NET, 0x10));
    if (round % 16 == 0) clear_link();
    u32 len = tcp_frame(ram.bytes + PACKET, random_u32() % 60000, random_u32(), (u8)random_u32());
    for (u32 i = random_u32() % 4; i > 0; i--) ram.bytes[PACKET + random_u32() % 60] = (u8)random_u32();
    if (random_u32() % 4 == 0) len = random_u32() % 65551;
    give(random_u32() % 4 ? 0x0101 : (u16)random_u32(), random_u32() % 2 ? 1448 : (u16)random_u32(), random_u32() % 2 ? 34 : (u16)random_u32(), random_u32() % 2 ? 16 : (u16)random_u32(), len);
    for (u32 at = 0; at < sent_len; at += 4 + get_be32(sent + at)) bounded = bounded && get_be32(sent + at) <= LINK_FRAME_MAX;
    start(SLOT_NET, random_u32() & get(SLOT_NET, 0x10));
    u32 seq = random_u32();
    for (u32 i = random_u32() % 12; i > 0 && incoming_len < sizeof incoming - 4096; i--) {
      u32 payload = random_u32() % 8 ? 1448 : random_u32() % 1448;
      u32 frame_len = tcp_frame(frame, payload, seq, random_u32() % 8 ? 0x10 : 0x18);
      if (random_u32() % 4 == 0) frame[random_u32() % 60] = (u8)random_u32();
      arrive(frame, random_u32() % 16 ? frame_len : 1 + random_u32() % frame_len);
      seq += payload;
    }
    offer_buffers(random_u32() % 4 ? 1536 : random_u32() % 4096);
    for (u32 i = 0; i < 4; i++) {
      link_turn();
      net_turn();
    }
  }
  check("random offloads", bounded);
}

/* ---- 9P ---- */

#define REQUEST 0x20000u
#define REPLY 0x30000u
#define REPLY_ROOM 0x8000u
#define REPLY_ERROR 7

static u8 message[70000];
static u32 message_len;

static void begin(u8 type) {
  memset(message, 0, 7);
  message[4] = type;
  message[5] = 9;
  message_len = 7;
}
static void with(u64 value, u32 size) {
  for (u32 i = 0; i < size; i++) message[message_len++] = i < 8 ? (u8)(value >> 8 * i) : 0;
}
static void with_bytes(const void *bytes, u32 len) {
  with(len, 2);
  memcpy(message + message_len, bytes, len);
  message_len += len;
}
static void with_text(const char *text) { with_bytes(text, (u32)strlen(text)); }

/* Sends what was built, `len` bytes of it, cut into pieces; returns the type of the reply, 0 for none. */
static u8 send_message(u32 len, u32 room) {
  u32 cut = len > 2 ? 1 + random_u32() % (len - 1) : len;
  memcpy(ram.bytes + REQUEST, message, len);
  memset(ram.bytes + REPLY, 0, 16);
  describe(0, RAM_BASE + REQUEST, cut, 1, 1);
  describe(1, RAM_BASE + REQUEST + cut, len - cut, 1, 2);
  describe(2, RAM_BASE + REPLY, room < 11 ? room : 11, 3, 3);
  describe(3, RAM_BASE + REPLY + 11, room < 11 ? 0 : room - 11, 2, 0);
  offer(SLOT_SHARE, 0, 0);
  return ram.bytes[REPLY + 4];
}
static u8 ask(void) {
  u32 len = message_len;
  memcpy(message, &len, 4);
  return send_message(len, REPLY_ROOM);
}
/* The error of the last reply; 0: it was none. */
static u32 failed(void) {
  u32 code;
  memcpy(&code, ram.bytes + REPLY + 7, 4);
  return ram.bytes[REPLY + 4] == REPLY_ERROR ? code : 0;
}

static void attach_as(const char *owner) {
  start(SLOT_SHARE, 1);
  begin(100);
  with(65536, 4);
  with_text("9P2000.L");
  ask();
  begin(104);
  with(0, 4);
  with(~0u, 4);
  with_text("");
  with_text(owner);
  with(0, 4);
  ask();
}
static void attach(void) { attach_as(""); }
static u32 walk(u32 fid, u32 new_fid, const char *name) {
  begin(110);
  with(fid, 4);
  with(new_fid, 4);
  with(name ? 1 : 0, 2);
  if (name) with_text(name);
  ask();
  return failed();
}
static u32 make(u32 type, u32 fid, const char *name) {
  begin((u8)type);
  with(fid, 4);
  with_text(name);
  with(type == 14 ? 2 : 0755, 4);
  with(0644, 4);
  with(0, 4);
  ask();
  return failed();
}
static u32 unlink_name(u32 fid, const char *name, u32 flags) {
  begin(76);
  with(fid, 4);
  with_text(name);
  with(flags, 4);
  ask();
  return failed();
}
static u32 make_link(u32 fid, const char *name, const char *target) {
  begin(16);
  with(fid, 4);
  with_text(name);
  with_text(target);
  with(0, 4);
  ask();
  return failed();
}
static u32 read_some(u32 fid, u64 offset, u32 count) {
  begin(116);
  with(fid, 4);
  with(offset, 8);
  with(count, 4);
  ask();
  return failed();
}

/* A share in a folder of its own, with a file beside it that nobody may reach. */
static char folder[] = "/tmp/portside-9p-XXXXXX";
static char beside[64], shared[64];

static void make_folder(void) {
  if (!mkdtemp(folder)) abort();
  snprintf(beside, sizeof beside, "%s/secret", folder);
  snprintf(shared, sizeof shared, "%s/share", folder);
  i32 fd = open(beside, O_CREAT | O_WRONLY, 0600);
  if (fd < 0 || write(fd, "secret", 6) != 6 || mkdir(shared, 0777)) abort();
  close(fd);
  p9_init(0, open(shared, O_RDONLY | O_DIRECTORY));
}
/* True if beside the share all is as it was. */
static bool untouched(void) {
  char text[16] = "";
  struct stat status;
  i32 fd = open(beside, O_RDONLY);
  bool same = fd >= 0 && read(fd, text, 15) == 6 && !strcmp(text, "secret") && !fstat(fd, &status) && status.st_nlink == 1 && (status.st_mode & 07777) == 0600;
  if (fd >= 0) close(fd);
  return same && !stat(folder, &status) && status.st_nlink == 3;
}
static void remove_folder(void) {
  char command[128];
  snprintf(command, sizeof command, "rm -rf %s", folder);
  if (system(command)) abort();
}

static void names(void) {
  static const char *const bad[] = {"", ".", "..", "/", "a/b", "../secret", "/etc"};
  bool refused = true;
  attach();
  for (u32 i = 0; i < COUNT_OF(bad); i++) {
    // Walking to ".." stays at the root; to anything else of these there is no way.
    refused = refused && (!strcmp(bad[i], "..") || walk(0, 50, bad[i]));
    refused = refused && make(72, 0, bad[i]) && make(14, 0, bad[i]) && make_link(0, bad[i], "x") && unlink_name(0, bad[i], 0) && unlink_name(0, bad[i], 0x200);
  }
  begin(72);
  with(0, 4);
  with_bytes("a\0b", 3);
  with(0755, 4);
  with(0, 4);
  ask();
  refused = refused && failed();
  check("names that are paths, dots or hold a NUL are refused", refused && untouched());
  bool held = make_link(0, "out", "..") == 0 && make_link(0, "to", "../secret") == 0 && walk(0, 60, "out") == 0 && walk(60, 61, "secret") && make(72, 60, "x") && walk(0, 62, "to") == 0;
  begin(12);
  with(62, 4);
  with(0, 4);
  ask();
  held = held && failed() == 40;
  begin(110);
  with(0, 4);
  with(63, 4);
  with(2, 2);
  with_text("out");
  with_text("secret");
  // The walk ends at the link: one of two, and no fid.
  held = held && ask() == 111 && ram.bytes[REPLY + 7] == 1 && read_some(63, 0, 1) == 9;
  begin(26);
  with(62, 4);
  with(8, 4);
  with(0, 12);
  with(0, 40);
  ask();
  check("links out of the share are never followed", held && failed() && untouched());
}

/* Whom the share's root belongs to; ~0: it does not say. */
static u64 owner_of_root(void) {
  u32 ids[2];
  begin(24);
  with(0, 4);
  with(0x7ff, 8);
  if (ask() != 25) return ~0ull;
  memcpy(ids, ram.bytes + REPLY + 7 + 8 + 13 + 4, 8);
  return (u64)ids[0] << 32 | ids[1];
}

static void owners(void) {
  static const char *const nobody[] = {"", "x", "1000", "1:2:3", "4294967296:1", "1:99999999999999999999", "-1:0", " 1:2"};
  attach_as("1000:5");
  bool right = owner_of_root() == (1000ull << 32 | 5);
  begin(26);
  with(0, 4);
  with(2, 4);
  with(0, 4);
  with(7, 4);
  with(0, 44);
  right = right && ask() == 27 && owner_of_root() == (7ull << 32 | 5);
  // A mount that says no owner means root; what was given to somebody stays his.
  for (u32 i = 0; i < COUNT_OF(nobody); i++) {
    attach_as(nobody[i]);
    u64 owner = owner_of_root();
    right = right && owner == (7ull << 32 | 5);
    walk(0, 1, NULL);
    make(14, 1, "of nobody");
    begin(24);
    with(1, 4);
    with(0x7ff, 8);
    u32 uid = 1;
    right = right && ask() == 25;
    memcpy(&uid, ram.bytes + REPLY + 32, 4);
    right = right && uid == 0;
    unlink_name(0, "of nobody", 0);
  }
  check("files belong to whom the mount names, or to whom they were given", right);
}

static void fids(void) {
  attach();
  bool right = read_some(7, 0, 10) == 9 && read_some(0, 0, 10) == 9 && walk(7, 8, NULL) == 9 && walk(0, 0, NULL) == 0 && walk(0, 1, NULL) == 0 && walk(0, 1, NULL) == 9;
  right = right && make(14, 1, "file") == 0 && read_some(1, 0, 10) == 0 && walk(1, 1, NULL) == 22 && walk(1, 2, "x") == 20 && unlink_name(1, "x", 0) == 20;
  // Data longer than the message, and a count that only fits without its header.
  begin(118);
  with(1, 4);
  with(0, 8);
  with(1000, 4);
  with(0, 8);
  right = right && ask() == REPLY_ERROR && failed() == 22 && read_some(1, ~0ull, 10) && read_some(1, 0, ~0u) == 0;
  // It goes on through its descriptor when the name is gone.
  right = right && unlink_name(0, "file", 0) == 0 && walk(0, 3, "file") == 2;
  begin(24);
  with(1, 4);
  with(0x7ff, 8);
  right = right && ask() == 25 && walk(1, 4, NULL) == 0;
  begin(24);
  with(4, 4);
  with(0x7ff, 8);
  right = right && ask() == 25;
  check("fids that are not there, not open, in use, or without a name", right);
  attach();
  u32 made = 1, error = 0;
  while (made < 70000 && !(error = walk(0, made, NULL))) made++;
  check("fids have a cap", error == 23 && made < 20000);
  attach();
  for (made = 1, error = 0; made < 70000 && !error; made++) {
    error = walk(0, made, NULL);
    begin(12);
    with(made, 4);
    with(0200000, 4);
    ask();
    if (!error) error = failed();
  }
  check("descriptors of the host have one, too", error == 24 && made < 1100);
}

static u32 open_fid(u32 fid, u32 flags) {
  begin(12);
  with(fid, 4);
  with(flags, 4);
  ask();
  return failed();
}
static u32 write_text(u32 fid, u64 offset, const char *text) {
  begin(118);
  with(fid, 4);
  with(offset, 8);
  with(strlen(text), 4);
  memcpy(message + message_len, text, strlen(text));
  message_len += (u32)strlen(text);
  ask();
  return failed();
}
static u32 set_attributes(u32 fid, u32 valid, u32 mode, u64 size) {
  begin(26);
  with(fid, 4);
  with(valid, 4);
  with(mode, 4);
  with(0, 8);
  with(size, 8);
  with(0, 32);
  ask();
  return failed();
}
/* Whether reading from a fid gives this. */
static bool holds(u32 fid, const char *text) { return read_some(fid, 0, 1000) == 0 && ram.bytes[REPLY + 7] == strlen(text) && !memcmp(ram.bytes + REPLY + 11, text, strlen(text)); }
/* Whether a fid's attributes are these, of a regular file. */
static bool has_attributes(u32 fid, u32 mode, u64 links, u64 size) {
  u32 seen_mode;
  u64 seen[4];
  begin(24);
  with(fid, 4);
  with(0x7ff, 8);
  if (ask() != 25) return false;
  memcpy(&seen_mode, ram.bytes + REPLY + 28, 4);
  memcpy(seen, ram.bytes + REPLY + 40, 32);
  return seen_mode == (0100000 | mode) && seen[0] == links && seen[2] == size;
}

#define APPENDS 02000u

/* Whoever writes meanwhile, and whatever offset a driver believes in: nothing of what is appended is lost. */
static void appends(void) {
  attach();
  bool right = walk(0, 1, NULL) == 0 && make(14, 1, "log") == 0 && walk(0, 2, "log") == 0 && open_fid(2, 1 | APPENDS) == 0 && walk(0, 3, "log") == 0 && open_fid(3, 2 | APPENDS) == 0;
  right = right && write_text(2, 0, "one ") == 0 && write_text(3, 0, "two ") == 0 && write_text(2, ~0ull, "three ") == 0 && write_text(3, 1, "four") == 0 && holds(3, "one two three four");
  i32 other = openat(open(shared, O_RDONLY | O_DIRECTORY), "log", O_WRONLY | O_APPEND);
  right = right && write(other, "!", 1) == 1 && write_text(2, 18, "?") == 0 && write_text(1, 0, "ONE") == 0 && holds(3, "ONE two three four!?");
  p9_resume(0, open(shared, O_RDONLY | O_DIRECTORY));
  right = right && write_text(2, 0, "5") == 0 && holds(3, "ONE two three four!?5");
  close(other);
  check("what is appended goes to the end", right && unlink_name(0, "log", 0) == 0);
}

/* What POSIX lets programs do with a file that has no name any more. */
static void nameless(void) {
  attach();
  bool right = walk(0, 1, NULL) == 0 && make(14, 1, "f") == 0 && walk(0, 2, "f") == 0 && write_text(1, 0, "old") == 0 && unlink_name(0, "f", 0) == 0;
  right = right && set_attributes(2, 1, 0600, 0) == 0 && set_attributes(2, 8, 0, 2) == 0 && has_attributes(2, 0600, 0, 2);
  // Another of that name is not it.
  right = right && walk(0, 3, NULL) == 0 && make(14, 3, "f") == 0 && write_text(3, 0, "another") == 0 && holds(1, "ol") && has_attributes(3, 0644, 1, 7);
  // Opened once more, by a fid that never was: to read, to append, cut.
  right = right && walk(1, 4, NULL) == 0 && open_fid(4, 0) == 0 && holds(4, "ol") && walk(2, 5, NULL) == 0 && open_fid(5, 1 | APPENDS) == 0 && write_text(5, 0, "der") == 0 && holds(4, "older");
  begin(120);
  with(1, 4);
  ask();
  right = right && !failed() && holds(4, "older") && write_text(5, 0, "!") == 0 && holds(4, "older!") && open_fid(2, 1 | 01000) == 0 && holds(4, "");
  for (u32 fid = 2; fid <= 5; fid++) {
    begin(120);
    with(fid, 4);
    ask();
    right = right && !failed();
  }
  // A rename takes the name away, too.
  right = right && walk(0, 1, "f") == 0 && open_fid(1, 2) == 0 && walk(0, 2, NULL) == 0 && make(14, 2, "g") == 0;
  begin(74);
  with(0, 4);
  with_text("g");
  with(0, 4);
  with_text("f");
  ask();
  right = right && !failed() && write_text(2, 0, "new") == 0 && holds(1, "another") && has_attributes(1, 0644, 0, 7) && set_attributes(1, 1, 0400, 0) == 0 && has_attributes(2, 0644, 1, 3);
  check("a file without a name is one all the same", right && unlink_name(0, "f", 0) == 0);
}

/* The machine was saved, and goes on over other descriptors. */
static void resumes(void) {
  attach();
  bool right = walk(0, 1, NULL) == 0 && make(14, 1, "kept") == 0 && walk(0, 2, NULL) == 0 && make(14, 2, "lost") == 0 && unlink_name(0, "lost", 0) == 0;
  p9_resume(0, open(shared, O_RDONLY | O_DIRECTORY));
  right = right && read_some(1, 0, 10) == 0 && read_some(2, 0, 10) == 9 && walk(0, 3, "kept") == 0;
  p9_resume(0, -1);
  right = right && read_some(1, 0, 10) == 9 && walk(0, 4, "kept") == 9;
  p9_resume(0, open(shared, O_RDONLY | O_DIRECTORY));
  check("what is open is opened again after a save, by its name", right && read_some(1, 0, 10) == 0 && walk(0, 4, "kept") == 0);
}

static const char *random_name(void) {
  static const char *const names[] = {"a", "b", "c", "dir", "dir2", "link", "..", ".", "", "a/b", "../secret", "secret"};
  return names[random_u32() % (random_u32() % 4 ? 6 : COUNT_OF(names))];
}
static u32 random_fid(void) { return random_u32() % 16 ? random_u32() % 6 : random_u32(); }

/* A message that is nearly right: known types with fields of the right form, now and then a wrong byte, length or room. */
static void random_message(void) {
  static const u8 types[] = {8, 12, 14, 16, 18, 20, 22, 24, 26, 30, 40, 50, 52, 54, 70, 72, 74, 76, 102, 108, 110, 110, 110, 116, 118, 118, 120, 122, 104, 100};
  // f: fid, n: name, t: target, 1 2 4 8: integers, w: names to walk, d: data
  static const char *const forms[128] = {
      [8] = "f", [12] = "f4", [14] = "fn444", [16] = "fnt4", [18] = "fn4444", [20] = "ffn", [22] = "f", [24] = "f8", [26] = "f444488888", [30] = "ffn", [40] = "f84", [50] = "f4",
      [52] = "f14884n", [54] = "f1884n", [70] = "ffn", [72] = "fn44", [74] = "fnfn", [76] = "fn4", [100] = "4n", [102] = "fnn4", [104] = "ffnn4", [108] = "2", [110] = "ffw", [116] = "f84",
      [118] = "f8d", [120] = "f", [122] = "f",
  };
  // A disk takes its time for an fsync (50).
  u8 type = random_u32() % 32 ? types[random_u32() % COUNT_OF(types)] : (u8)random_u32();
  // Sessions that end all the time get nowhere.
  if ((type == 100 || type == 104 || type == 50) && random_u32() % 8) type = 110;
  begin(type);
  for (const char *form = type < 128 && forms[type] ? forms[type] : "d"; *form; form++) {
    u32 small = random_u32() % 4 ? random_u32() % 1024 : random_u32(), len;
    switch (*form) {
      case 'f': with(random_fid(), 4); break;
      case 'n': with_text(random_name()); break;
      case 't': with_text(random_u32() % 2 ? "../secret" : random_u32() % 2 ? ".." : "/etc/passwd"); break;
      case 'w':
        len = random_u32() % 4;
        with(len, 2);
        while (len-- > 0) with_text(random_name());
        break;
      case 'd':
        len = random_u32() % 3000;
        with(random_u32() % 8 ? len : random_u32(), 4);
        for (; len > 0; len--) with(random_u32(), 1);
        break;
      default: with(*form == '8' && random_u32() % 2 ? (u64)random_u32() << 20 : small, (u32)(*form - '0'));
    }
  }
  if (random_u32() % 8 == 0) message[7 + random_u32() % 30] = (u8)random_u32();
}

/* Most fids are soon clunked, or those of files: 0 is the root again, the others are something that there is. */
static void restock(bool anew) {
  if (anew || walk(0, 0, NULL)) attach();
  make(72, 0, "dir");
  for (u32 fid = 1; fid < 6; fid++) {
    if (walk(0, fid, random_u32() % 2 ? random_name() : NULL)) continue;
    if (random_u32() % 4 == 0) make(14, fid, random_name());
  }
}

static u32 descriptors(void) {
  u32 count = 0;
  for (i32 fd = 0; fd < 4096; fd++) count += fcntl(fd, F_GETFD) >= 0;
  return count;
}

static void fuzz_9p(u32 rounds) {
  attach();
  u32 served = 0, refused = 0, open_before = descriptors();
  bool sound = true;
  for (u32 round = 0; round < rounds; round++) {
    random_message();
    u32 len = random_u32() % 16 ? message_len : random_u32() % (message_len + 8);
    u32 size = random_u32() % 16 ? len : random_u32();
    memcpy(message, &size, 4);
    u8 reply = send_message(len, random_u32() % 8 ? REPLY_ROOM : random_u32() % 64);
    if (reply == REPLY_ERROR) refused++;
    else if (reply) served++;
    if (round % 997 == 0) sound = sound && untouched();
    if (round % 8 == 0) restock(round % 64 == 0);
  }
  attach();
  sound = sound && descriptors() == open_before;
  printf("%s %u random 9P messages, %u served and %u refused\n", sound && served > rounds / 10 && refused > rounds / 10 ? "ok" : "FAILED", rounds, served, refused);
  failures += !(sound && served > rounds / 10 && refused > rounds / 10 && untouched());
}

/* One byte of output, whose buffer the driver has taken back (`polled`) or not before the turn; true if it is interrupted then. */
static bool interrupts_for_output(bool polled) {
  u16 used;
  describe(0, RAM_BASE + 0x8000, 1, 0, 0);
  offer(SLOT_CONSOLE, 1, 0);
  memcpy(&used, ram.bytes + USED + 2, 2);
  if (polled) put16(AVAIL + 4 + 2 * QUEUE_SIZE, used);
  bool early = get(SLOT_CONSOLE, 0x60);
  terminal_turn();
  bool late = get(SLOT_CONSOLE, 0x60);
  set(SLOT_CONSOLE, 0x64, 1);
  if (early) abort();
  return late;
}

static void output_interrupts(void) {
  start(SLOT_CONSOLE, VIRTIO_F_EVENT_IDX);
  bool right = interrupts_for_output(false);
  put16(AVAIL + 4 + 2 * QUEUE_SIZE, 1);
  for (u32 i = 0; i < 70000; i++) right = right && !interrupts_for_output(true);
  check("a driver that polls for its output is not interrupted for it", right && interrupts_for_output(false));
}

/* Two pages that code was decoded from; the device writes across their border, twice, then only reads. */
static void code_under_buffers(void) {
  start(SLOT_RNG, 0);
  fill_bytes(ram.page_flags + 8, PAGE_HAS_CODE, 2);
  code_written = 0;
  describe(0, RAM_BASE + 0x8ff8, 16, 2, 0);
  offer(SLOT_RNG, 0, 0);
  bool both = code_written == 2 && ram.page_flags[8] & ram.page_flags[9] & PAGE_CODE_STALE;
  offer(SLOT_RNG, 0, 0);
  bool once = code_written == 2 && ram.page_flags[7] == 0 && ram.page_flags[10] == 0;
  fill_bytes(ram.page_flags + 8, PAGE_HAS_CODE, 2);
  start(SLOT_CONSOLE, 0);
  describe(0, RAM_BASE + 0x8ff8, 16, 0, 0);
  offer(SLOT_CONSOLE, 1, 0);
  check("code is stale where a device writes, at the first write, and where it reads it is not", both && once && code_written == 2);
  fill_bytes(ram.page_flags + 8, 0, 2);
}

int main(void) {
  ram.bytes = calloc(1, RAM_BYTES);
  ram.base = RAM_BASE;
  ram.size = RAM_BYTES;
  ram.page_flags = calloc(1, RAM_BYTES >> PAGE_SHIFT);
  ram.code_written = on_code_written;
  plic_init(external);
  virtio_init(plic_level(IRQ_VIRTIO(0)));
  terminal_init();
  terminal_open_stdin(true);
  terminal_open_devices();
  pipes_init();
  pipes_open(true);
  link_init();
  link_open(-1);
  net_init(SLOT_NET);
  blk_init(SLOT_BLK, 4096, read_disk);
  rng_init(SLOT_RNG, fill);
  make_folder();
  broken_rules();
  code_under_buffers();
  link_turn();
  ports();
  cuts();
  joins();
  output_interrupts();
  orphans();
  fuzz_offloads(4000);
  names();
  owners();
  fids();
  appends();
  nameless();
  resumes();
  fuzz_9p(60000);
  fuzz(20000);
  remove_folder();
  return failures != 0;
}
