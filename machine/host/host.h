/*
 * The machine's only door out.
 *
 * host_wasi.c is the product: raw WASI preview1 imports and nothing else, no state that a snapshot could freeze (each
 * function asks the host anew). host_posix.c is the same for gdb and valgrind. A failure that the machine cannot
 * go on with ends it through host_panic, with one line on stderr.
 */
#ifndef HOST_H
#define HOST_H

#include "base.h"

/** Zeroed memory, aligned to 64 KiB, never given back. */
void *host_memory(u64 len);
/** The same, or NULL if the host does not give so much. */
void *host_memory_if(u64 len);
_Noreturn void host_exit(u32 status);
/** `portside machine: what: detail` on stderr, exit status 1. */
_Noreturn void host_panic(const char *what, const char *detail);

u64 host_monotonic_ns(void);
u64 host_realtime_ns(void);
void host_random(void *bytes, size_t len);

/** Arguments and environment, NUL-terminated texts in memory that stays; returns how many. */
u32 host_args(char ***texts);
u32 host_environment(char ***texts);

#define HOST_NOTHING_YET 0
#define HOST_ENDED (-1)
#define HOST_OUT 1
#define HOST_ERR 2
/** Writes all of it to stdout; output to a terminal that is gone is dropped. */
void host_write_out(const u8 *bytes, size_t len);
/** Writes what HOST_OUT or HOST_ERR takes without waiting, if the host can tell; HOST_NOTHING_YET, or HOST_ENDED: nobody reads it. */
i64 host_write_some(i32 fd, const u8 *bytes, size_t len);
/** Waits until it takes something. */
void host_wait_writable(i32 fd);

/** Up to `len` bytes of stdin, HOST_NOTHING_YET, or HOST_ENDED; to be called when a poll said so. */
i64 host_read_in(u8 *bytes, size_t len);

/* The machine's own directories; others are for the guest (host_files.h). */
#define INPUT_DIRECTORY "/in"
#define DISK_DIRECTORY "/portside"

/** File `name` in the preopened directory `directory` (INPUT_DIRECTORY), for reading; negative: not there. */
i32 host_open(const char *directory, const char *name);
/** The same for a character device that the host offers there, for reading and writing. */
i32 host_open_device(const char *directory, const char *name);
/** As host_read_in, from a device. */
i64 host_read(i32 fd, u8 *bytes, size_t len);
/** As host_write_out, to a device. */
void host_write(i32 fd, const u8 *bytes, size_t len);
/** Writes a request to a device that takes it as a whole or not at all; true: it did. */
bool host_request(i32 fd, const u8 *bytes, size_t len);
u64 host_file_size(i32 fd);
/** True if all `len` bytes at `offset` were read. */
bool host_read_at(i32 fd, void *bytes, u64 len, u64 offset);

/** The listening socket: `wanted`, or the first from 3 on if that is negative; negative: none. */
i32 host_find_listener(i32 wanted);
/** A connection if one waits; negative: none yet. */
i32 host_accept(i32 listener);
i64 host_receive(i32 fd, u8 *bytes, size_t len);
/** How many bytes were taken, HOST_NOTHING_YET if it is full, or HOST_ENDED. */
i64 host_send(i32 fd, const u8 *bytes, size_t len);
void host_close(i32 fd);

#define HOST_POLL_IN 1u
#define HOST_POLL_SOCKET 2u
/** of the `n`th of some devices */
#define HOST_POLL_DEVICE(n) (4u << (n))
#define HOST_DEVICES_MAX 8u
#define HOST_POLL_OUT (1u << 16)
#define HOST_POLL_ERR (1u << 17)
#define HOST_POLL_FOREVER (~0ull)

/** What a poll waits for. */
struct host_wanted {
  /** stdin */
  bool in;
  /** a socket that is to have something to read, and, if `socket_writes`, to take something; negative: none */
  i32 socket;
  bool socket_writes;
  /** devices that are to have something to read; negative: not this one */
  const i32 *devices;
  u32 device_count;
  /** stdout, stderr take something */
  bool out, err;
};

/** Waits for at most `timeout_ns`; says which came. */
u32 host_poll(const struct host_wanted *wanted, u64 timeout_ns);

#endif
