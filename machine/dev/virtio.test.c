/*
 * Hostile drivers against every virtio device: compiled with the sanitizers by virtio.test.ts, prints one line per check.
 * RAM is a heap block of its exact size here, so that a byte outside of it is a report and the end.
 */
#include "../host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../bus.h"
#include "../hart.h"
#include "../link.h"
#include "../map.h"
#include "../terminal.h"
#include "virtio_blk.h"
#include "virtio_mmio.h"
#include "virtio_net.h"
#include "virtio_rng.h"

#define RAM_BYTES (1u << 20)
#define DESC 0x1000u
#define AVAIL 0x2000u
#define USED 0x3000u
#define QUEUE_SIZE 8
#define STATUS 0x70
#define NEEDS_RESET 64

void *host_memory(u64 len) { return calloc(1, len ? len : 1); }
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
i32 host_find_listener(i32 wanted) {
  (void)wanted;
  return 5;
}
i32 host_accept(i32 listener) { return listener + 1; }
i64 host_send(i32 fd, const u8 *bytes, size_t len) {
  (void)fd;
  (void)bytes;
  return (i64)len;
}
/* One frame of 100 bytes per call. */
i64 host_receive(i32 fd, u8 *bytes, size_t len) {
  (void)fd;
  if (len < 104) return HOST_NOTHING_YET;
  memset(bytes, 0, 104);
  bytes[3] = 100;
  return 104;
}
void host_close(i32 fd) { (void)fd; }
void block_note_write(u64 pa) { (void)pa; }
void ram_written(u64 pa, u64 len) {
  if (len > 0 && !ram_contains(pa, len)) abort();
}
void mmu_flush_all(void) {}
struct hart hart;
void hart_set_external(bool level) { (void)level; }
u64 clock_wall_ns(void) { return 0; }

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
  if (!virtio_mmio_write(slot * VIRTIO_STRIDE + reg, 4, value)) abort();
}
static u32 get(u32 slot, u32 reg) {
  u64 value;
  if (!virtio_mmio_read(slot * VIRTIO_STRIDE + reg, 4, &value)) abort();
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
  for (u32 queue = 0; queue < 2; queue++) {
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
  static const u32 slots[] = {SLOT_CONSOLE, SLOT_NET, SLOT_BLK, SLOT_RNG};
  u32 stops = 0;
  for (u32 round = 0; round < rounds; round++) {
    u32 slot = slots[random_u32() % 4];
    start(slot, random_u32() & get(slot, 0x10));
    for (u32 i = 0; i < QUEUE_SIZE; i++) {
      u32 len = random_u32() % 16 == 0 ? random_u32() : random_u32() % 2048;
      describe(i, wild_address(), len, random_u32() % 8 ? random_u32() & 3 : random_u32() & 0xffff, random_u32() % (QUEUE_SIZE + 1));
    }
    for (u32 step = 0; step < 8; step++) {
      u32 what = random_u32() % 8;
      if (what == 0) set(slot, (random_u32() % 0x100) & ~3u, random_u32());
      if (what == 1) terminal_read();
      if (what == 2) link_turn();
      net_turn();
      offer(slot, random_u32() % 2, (u16)(random_u32() % QUEUE_SIZE));
    }
    stops += (get(slot, STATUS) & NEEDS_RESET) != 0;
  }
  bool both = stops > rounds / 100 && stops < rounds;
  printf("%s %u random rounds, some stopped and some served\n", both ? "ok" : "FAILED", rounds);
  failures += !both;
}

int main(void) {
  ram.bytes = calloc(1, RAM_BYTES);
  ram.size = RAM_BYTES;
  terminal_init();
  terminal_open_stdin(true);
  link_init();
  link_open(-1);
  net_init(SLOT_NET);
  blk_init(SLOT_BLK, 4096, read_disk);
  rng_init(SLOT_RNG, fill);
  broken_rules();
  fuzz(20000);
  return failures != 0;
}
