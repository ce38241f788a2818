/*
 * The 9P server alone, behind its virtio device and over the host's files through WASI: for tools/fuzz/p9-target.ts, which builds it, writes a
 * request where `message` says, and reads the reply where `reply` says.
 */
#include "board/bus.h"
#include "board/map.h"
#include "dev/virtio_9p.h"
#include "dev/virtio_mmio.h"
#include "host/host_files.h"

#define EXPORT(name) __attribute__((export_name(#name))) name
#define DESC 0x1000u
#define AVAIL 0x2000u
#define USED 0x3000u
#define REQUEST 0x10000u
#define REPLY 0x30000u
#define REPLY_ROOM 0x10000u
#define RAM_BYTES 0x40000u
#define QUEUE_SIZE 8u

static u8 bytes[RAM_BYTES];
static u64 outside;
struct ram ram;

__attribute__((import_module("wasi_snapshot_preview1"), import_name("fd_close"))) u16 wasi_fd_close(u32 fd);
void host_close(i32 fd) { wasi_fd_close((u32)fd); }
void *host_memory(u64 len) {
  size_t before = __builtin_wasm_memory_grow(0, (size_t)((len + 0xffff) >> 16));
  if (before == (size_t)-1) __builtin_trap();
  return (void *)(before << 16);
}

_Noreturn void host_panic(const char *what, const char *detail) {
  (void)what;
  (void)detail;
  __builtin_trap();
}

static void interrupt(u32 irq, bool level) {
  (void)irq;
  (void)level;
}
void ram_written(u64 pa, u64 len) {
  if (len > 0 && !ram_contains(pa, len)) outside++;
}

static void put(u32 at, const void *value, u32 len) { copy_bytes(bytes + at, value, len); }
static void put16(u32 at, u16 v) { put(at, &v, 2); }
static void describe(u32 index, u64 address, u32 len, u16 flags) {
  put(DESC + 16 * index, &address, 8);
  put(DESC + 16 * index + 8, &len, 4);
  put16(DESC + 16 * index + 12, flags);
  put16(DESC + 16 * index + 14, (u16)(index + 1));
}
static void set(u32 reg, u32 value) {
  if (!bus_write(VIRTIO_BASE + SLOT_SHARE * VIRTIO_STRIDE + reg, 4, value)) outside++;
}

u8 *EXPORT(message)(void) { return bytes + REQUEST; }
u8 *EXPORT(reply)(void) { return bytes + REPLY; }
/* Not 0: something was written where there is no RAM. */
u32 EXPORT(broken)(void) { return (u32)outside; }

/* Offers directory `fd` of the host, and starts its driver. */
void EXPORT(attach)(i32 fd) {
  ram.bytes = bytes;
  ram.base = RAM_BASE;
  ram.size = RAM_BYTES;
  virtio_init((struct irq_line){interrupt, 0});
  p9_init(0, fd);
  static const u32 writes[][2] = {{0x70, 0}, {0x70, 3}, {0x24, 0}, {0x20, 1}, {0x24, 1}, {0x20, 1}, {0x70, 11}, {0x30, 0}, {0x38, QUEUE_SIZE}, {0x80, (u32)RAM_BASE + DESC}, {0x90, (u32)RAM_BASE + AVAIL}, {0xa0, (u32)RAM_BASE + USED}, {0x44, 1}, {0x70, 15}};
  for (u32 i = 0; i < COUNT_OF(writes); i++) set(writes[i][0], writes[i][1]);
}

/* The machine goes on after a save, with another directory; negative: none. */
void EXPORT(resume)(i32 fd) { p9_resume(0, fd); }

/* Sends `len` bytes of the message, cut at `cut`, with room for so much of a reply. */
void EXPORT(request)(u32 len, u32 cut, u32 room) {
  u16 index;
  if (cut > len) cut = len;
  if (room > REPLY_ROOM) room = REPLY_ROOM;
  u32 head = room < 11 ? room : 11;
  fill_bytes(bytes + REPLY, 0, 16);
  describe(0, RAM_BASE + REQUEST, cut, 1);
  describe(1, RAM_BASE + REQUEST + cut, len - cut, 1);
  describe(2, RAM_BASE + REPLY, head, 3);
  describe(3, RAM_BASE + REPLY + head, room - head, 2);
  copy_bytes(&index, bytes + AVAIL + 2, 2);
  put16(AVAIL + 4 + 2 * (index % QUEUE_SIZE), 0);
  put16(AVAIL + 2, index + 1);
  set(0x50, 0);
}
