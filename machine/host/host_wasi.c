/*
 * The host through WASI preview1: raw imports, no libc. Holds no state of its own but the memory that it gave out, so a
 * snapshot can't freeze anything wrongly: each question goes to the host.
 */
#include "host/entries.h"
#include "host/host.h"

#define IMPORT(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(#name)))
#define EXPORT(name) __attribute__((export_name(name), visibility("default")))

typedef u16 errno_t;
#define ERRNO_SUCCESS 0
#define ERRNO_AGAIN 6
#define ERRNO_BADF 8
#define ERRNO_INTR 27

struct iovec {
  void *bytes;
  u32 len;
};

IMPORT(args_sizes_get) errno_t wasi_args_sizes_get(u32 *count, u32 *size);
IMPORT(args_get) errno_t wasi_args_get(char **texts, char *buffer);
IMPORT(environ_sizes_get) errno_t wasi_environ_sizes_get(u32 *count, u32 *size);
IMPORT(environ_get) errno_t wasi_environ_get(char **texts, char *buffer);
IMPORT(clock_time_get) errno_t wasi_clock_time_get(u32 id, u64 precision, u64 *time);
IMPORT(random_get) errno_t wasi_random_get(void *bytes, u32 len);
IMPORT(proc_exit) _Noreturn void wasi_proc_exit(u32 status);
IMPORT(fd_read) errno_t wasi_fd_read(u32 fd, const struct iovec *vectors, u32 count, u32 *done);
IMPORT(fd_write) errno_t wasi_fd_write(u32 fd, const struct iovec *vectors, u32 count, u32 *done);
IMPORT(fd_pread) errno_t wasi_fd_pread(u32 fd, const struct iovec *vectors, u32 count, u64 offset, u32 *done);
IMPORT(fd_close) errno_t wasi_fd_close(u32 fd);
IMPORT(fd_fdstat_get) errno_t wasi_fd_fdstat_get(u32 fd, void *stat);
IMPORT(fd_filestat_get) errno_t wasi_fd_filestat_get(u32 fd, void *stat);
IMPORT(fd_prestat_get) errno_t wasi_fd_prestat_get(u32 fd, void *prestat);
IMPORT(fd_prestat_dir_name) errno_t wasi_fd_prestat_dir_name(u32 fd, char *name, u32 len);
IMPORT(path_open) errno_t wasi_path_open(u32 dir, u32 lookup, const char *path, u32 len, u32 oflags, u64 rights, u64 inheriting, u32 fdflags, u32 *fd);
IMPORT(poll_oneoff) errno_t wasi_poll_oneoff(const void *in, void *out, u32 count, u32 *events);
IMPORT(sock_accept) errno_t wasi_sock_accept(u32 fd, u32 flags, u32 *connection);
IMPORT(sock_recv) errno_t wasi_sock_recv(u32 fd, const struct iovec *vectors, u32 count, u32 flags, u32 *done, u16 *out_flags);
IMPORT(sock_send) errno_t wasi_sock_send(u32 fd, const struct iovec *vectors, u32 count, u32 flags, u32 *done);

#define CLOCK_REALTIME 0
#define CLOCK_MONOTONIC 1
#define PREOPEN_FIRST 3
#define PREOPEN_END 64
#define PREOPEN_DIR 0
#define FILETYPE_CHARACTER_DEVICE 2
#define FILETYPE_SOCKET_STREAM 6
#define FDFLAG_NONBLOCK 4
#define RIGHT_FD_READ (1ull << 1)
#define RIGHT_FD_SEEK (1ull << 2)
#define RIGHT_FD_TELL (1ull << 5)
#define RIGHT_FD_WRITE (1ull << 6)
#define RIGHT_FD_FILESTAT_GET (1ull << 21)
#define RIGHT_POLL (1ull << 27)
#define RANDOM_MAX 65536
#define WASM_PAGE 65536u
#define SCRUB_BYTES (128u << 10)

void *host_memory_if(u64 len) {
  u64 pages = (len + WASM_PAGE - 1) / WASM_PAGE;
  size_t before = pages <= 65536 ? __builtin_wasm_memory_grow(0, (size_t)pages) : (size_t)-1;
  return before == (size_t)-1 ? NULL : (void *)(before * WASM_PAGE);
}

void *host_memory(u64 len) {
  void *memory = host_memory_if(len);
  if (!memory) host_panic("out of memory", "the host does not let the machine's memory grow");
  return memory;
}

void host_exit(u32 status) { wasi_proc_exit(status); }

static void write_all(u32 fd, const u8 *bytes, size_t len) {
  while (len > 0) {
    struct iovec vector = {(void *)bytes, (u32)len};
    u32 done = 0;
    errno_t error = wasi_fd_write(fd, &vector, 1, &done);
    if (error == ERRNO_AGAIN) host_wait_writable((i32)fd);
    else if (error != ERRNO_SUCCESS && error != ERRNO_INTR) return;
    bytes += done;
    len -= done;
  }
}

void host_panic(const char *what, const char *detail) {
  static const char prefix[] = "portside machine: ";
  write_all(2, (const u8 *)prefix, sizeof prefix - 1);
  write_all(2, (const u8 *)what, text_len(what));
  if (*detail) write_all(2, (const u8 *)": ", 2);
  write_all(2, (const u8 *)detail, text_len(detail));
  write_all(2, (const u8 *)"\n", 1);
  wasi_proc_exit(1);
}

static u64 clock_ns(u32 id) {
  u64 time = 0;
  if (wasi_clock_time_get(id, 1000, &time) != ERRNO_SUCCESS) host_panic("the host has no clock", "");
  return time;
}
u64 host_monotonic_ns(void) { return clock_ns(CLOCK_MONOTONIC); }
u64 host_realtime_ns(void) { return clock_ns(CLOCK_REALTIME); }

void host_random(void *bytes, size_t len) {
  u8 *at = bytes;
  while (len > 0) {
    u32 part = len < RANDOM_MAX ? (u32)len : RANDOM_MAX;
    if (wasi_random_get(at, part) != ERRNO_SUCCESS) host_panic("the host has no randomness", "");
    at += part;
    len -= part;
  }
}

u32 host_args(char ***texts) {
  u32 count = 0, size = 0;
  if (wasi_args_sizes_get(&count, &size) != ERRNO_SUCCESS) return 0;
  *texts = host_memory((u64)count * sizeof(char *) + size + 1);
  return wasi_args_get(*texts, (char *)(*texts + count)) == ERRNO_SUCCESS ? count : 0;
}

u32 host_environment(char ***texts) {
  u32 count = 0, size = 0;
  if (wasi_environ_sizes_get(&count, &size) != ERRNO_SUCCESS) return 0;
  *texts = host_memory((u64)count * sizeof(char *) + size + 1);
  return wasi_environ_get(*texts, (char *)(*texts + count)) == ERRNO_SUCCESS ? count : 0;
}

void host_write(i32 fd, const u8 *bytes, size_t len) { write_all((u32)fd, bytes, len); }
void host_write_out(const u8 *bytes, size_t len) { write_all(1, bytes, len); }

i64 host_write_some(i32 fd, const u8 *bytes, size_t len) {
  struct iovec vector = {(void *)bytes, (u32)len};
  u32 done = 0;
  errno_t error = wasi_fd_write((u32)fd, &vector, 1, &done);
  if (error == ERRNO_AGAIN || error == ERRNO_INTR) return HOST_NOTHING_YET;
  return error == ERRNO_SUCCESS && done <= len ? (i64)done : HOST_ENDED;
}

bool host_request(i32 fd, const u8 *bytes, size_t len) {
  struct iovec vector = {(void *)bytes, (u32)len};
  u32 done = 0;
  return wasi_fd_write((u32)fd, &vector, 1, &done) == ERRNO_SUCCESS && done == len;
}

i64 host_read(i32 fd, u8 *bytes, size_t len) {
  struct iovec vector = {bytes, (u32)len};
  u32 done = 0;
  errno_t error = wasi_fd_read((u32)fd, &vector, 1, &done);
  if (error == ERRNO_AGAIN || error == ERRNO_INTR) return HOST_NOTHING_YET;
  return error == ERRNO_SUCCESS && done > 0 && done <= len ? (i64)done : HOST_ENDED;
}

i64 host_read_in(u8 *bytes, size_t len) { return host_read(0, bytes, len); }

/* The fd of the preopened directory with this guest name, with or without its slash. */
static i32 find_directory(const char *wanted) {
  size_t wanted_len = text_len(wanted);
  for (u32 fd = PREOPEN_FIRST; fd < PREOPEN_END; fd++) {
    struct {
      u8 tag;
      u32 len;
    } prestat = {255, 0};
    char name[256];
    errno_t error = wasi_fd_prestat_get(fd, &prestat);
    if (error == ERRNO_BADF) return -1;
    if (error != ERRNO_SUCCESS || prestat.tag != PREOPEN_DIR || prestat.len > sizeof name) continue;
    if (wasi_fd_prestat_dir_name(fd, name, prestat.len) != ERRNO_SUCCESS) continue;
    u32 len = prestat.len;
    while (len > 0 && (name[len - 1] == 0 || (len > 1 && name[len - 1] == '/'))) len--;
    bool absolute = len == wanted_len && bytes_equal(name, wanted, len);
    bool relative = len + 1 == wanted_len && bytes_equal(name, wanted + 1, len);
    if (absolute || relative) return (i32)fd;
  }
  return -1;
}

static i32 open_in(const char *directory, const char *name, u64 rights) {
  i32 dir = find_directory(directory);
  u32 fd;
  if (dir < 0) return -1;
  return wasi_path_open((u32)dir, 1, name, (u32)text_len(name), 0, rights, 0, 0, &fd) == ERRNO_SUCCESS ? (i32)fd : -1;
}

i32 host_open(const char *directory, const char *name) { return open_in(directory, name, RIGHT_FD_READ | RIGHT_FD_SEEK | RIGHT_FD_TELL | RIGHT_FD_FILESTAT_GET); }

static u8 filetype(u32 fd) {
  u64 stat[3] = {0};
  return wasi_fd_fdstat_get(fd, stat) == ERRNO_SUCCESS ? (u8)stat[0] : 0;
}

i32 host_open_device(const char *directory, const char *name) {
  i32 fd = open_in(directory, name, RIGHT_FD_READ | RIGHT_FD_WRITE | RIGHT_POLL);
  if (fd < 0 || filetype((u32)fd) == FILETYPE_CHARACTER_DEVICE) return fd;
  host_close(fd);
  return -1;
}

u64 host_file_size(i32 fd) {
  u64 stat[8] = {0};
  return wasi_fd_filestat_get((u32)fd, stat) == ERRNO_SUCCESS ? stat[4] : 0;
}

bool host_read_at(i32 fd, void *bytes, u64 len, u64 offset) {
  u8 *at = bytes;
  while (len > 0) {
    struct iovec vector = {at, (u32)len};
    u32 done = 0;
    if (wasi_fd_pread((u32)fd, &vector, 1, offset, &done) != ERRNO_SUCCESS || done == 0) return false;
    at += done;
    offset += done;
    len -= done;
  }
  return true;
}

i32 host_find_listener(i32 wanted) {
  if (wanted >= 0) return wanted;
  for (u32 fd = PREOPEN_FIRST; fd < PREOPEN_END; fd++)
    if (filetype(fd) == FILETYPE_SOCKET_STREAM) return (i32)fd;
  return -1;
}

i32 host_accept(i32 listener) {
  u32 connection;
  return wasi_sock_accept((u32)listener, FDFLAG_NONBLOCK, &connection) == ERRNO_SUCCESS ? (i32)connection : -1;
}

i64 host_receive(i32 fd, u8 *bytes, size_t len) {
  struct iovec vector = {bytes, (u32)len};
  u32 done = 0;
  u16 flags;
  errno_t error = wasi_sock_recv((u32)fd, &vector, 1, 0, &done, &flags);
  if (error == ERRNO_AGAIN || error == ERRNO_INTR) return HOST_NOTHING_YET;
  return error == ERRNO_SUCCESS && done > 0 && done <= len ? (i64)done : HOST_ENDED;
}

i64 host_send(i32 fd, const u8 *bytes, size_t len) {
  struct iovec vector = {(void *)bytes, (u32)len};
  u32 done = 0;
  errno_t error = wasi_sock_send((u32)fd, &vector, 1, 0, &done);
  if (error == ERRNO_AGAIN || error == ERRNO_INTR) return HOST_NOTHING_YET;
  return error == ERRNO_SUCCESS && done <= len ? (i64)done : HOST_ENDED;
}

void host_close(i32 fd) {
  if (fd >= 0) wasi_fd_close((u32)fd);
}

/* Layouts of the witx: 48 bytes a subscription, 32 an event. */
struct subscription {
  u64 userdata;
  u64 tag;
  /** clock id, or the file descriptor */
  u64 subject;
  u64 timeout;
  u64 precision;
  u64 flags;
};
struct event {
  u64 userdata;
  u16 error;
  u8 type;
  u64 available;
  u64 flags;
};
_Static_assert(sizeof(struct subscription) == 48 && sizeof(struct event) == 32, "witx layouts");

#define TAG_CLOCK 0
#define TAG_READ 1
#define TAG_WRITE 2

u32 host_poll(const struct host_wanted *wanted, u64 timeout_ns) {
  struct subscription in[6 + HOST_DEVICES_MAX];
  struct event out[COUNT_OF(in)];
  u32 count = 0, events = 0, ready = 0;
  if (wanted->in) in[count++] = (struct subscription){.userdata = HOST_POLL_IN, .tag = TAG_READ, .subject = 0};
  if (wanted->socket >= 0) in[count++] = (struct subscription){.userdata = HOST_POLL_SOCKET, .tag = TAG_READ, .subject = (u32)wanted->socket};
  if (wanted->socket >= 0 && wanted->socket_writes) in[count++] = (struct subscription){.userdata = HOST_POLL_SOCKET, .tag = TAG_WRITE, .subject = (u32)wanted->socket};
  for (u32 i = 0; i < wanted->device_count; i++)
    if (wanted->devices[i] >= 0) in[count++] = (struct subscription){.userdata = HOST_POLL_DEVICE(i), .tag = TAG_READ, .subject = (u32)wanted->devices[i]};
  if (wanted->out) in[count++] = (struct subscription){.userdata = HOST_POLL_OUT, .tag = TAG_WRITE, .subject = HOST_OUT};
  if (wanted->err) in[count++] = (struct subscription){.userdata = HOST_POLL_ERR, .tag = TAG_WRITE, .subject = HOST_ERR};
  // Without anything that may come there is nothing to wait for but a clock that is far away.
  if (timeout_ns == HOST_POLL_FOREVER && count == 0) timeout_ns = 3600000000000ull;
  if (timeout_ns != HOST_POLL_FOREVER) in[count++] = (struct subscription){.tag = TAG_CLOCK, .subject = CLOCK_MONOTONIC, .timeout = timeout_ns};
  if (wasi_poll_oneoff(in, out, count, &events) != ERRNO_SUCCESS) return 0;
  for (u32 i = 0; i < events && i < count; i++) ready |= (u32)out[i].userdata;
  return ready;
}

void host_wait_writable(i32 fd) {
  struct subscription in = {.tag = TAG_WRITE, .subject = (u32)fd};
  struct event out;
  u32 events;
  (void)wasi_poll_oneoff(&in, &out, 1, &events);
}

/* What the host told (times of files, descriptors) lies in dead stack frames: it would get into the snapshot. */
static NOINLINE void scrub_stack(void) {
  volatile u8 below[SCRUB_BYTES];
  for (u32 i = 0; i < SCRUB_BYTES; i++) below[i] = 0;
}

EXPORT("wizer.initialize") void initialize(void) {
  machine_initialize();
  scrub_stack();
}
EXPORT("_start") void start(void) { machine_start(); }
EXPORT("instret") u64 instret(void) { return machine_instret(); }
