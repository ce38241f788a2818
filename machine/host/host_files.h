/*
 * The host's directories: those that the guest may use, and what can be done with files in them.
 *
 * Part of the door that host.h is: host_files_wasi.c is the product, host_files_posix.c the same for gdb, valgrind and the
 * hostile driver. What fails gives a negative errno of Linux. Paths are relative to one of the directories, without "." and
 * ".."; a symbolic link at their end is never followed. Bytes of a path are not NUL-terminated.
 */
#ifndef HOST_FILES_H
#define HOST_FILES_H

#include "host/host.h"
#include "host/linux_errno.h"

struct host_vector {
  void *bytes;
  u32 len;
};

struct host_path {
  const char *bytes;
  u32 len;
};

enum host_type { HOST_FILE, HOST_DIRECTORY, HOST_SYMLINK, HOST_SOCKET, HOST_OTHER };

struct host_stat {
  u64 device, inode, links, size, atime_ns, mtime_ns, ctime_ns;
  enum host_type type;
  /** permission bits; only where `tells_mode` */
  u32 mode;
  /** the host has modes, and takes them: WASI itself knows none (host_files_wasi.c) */
  bool tells_mode;
};

struct host_entry {
  /** where to go on behind it */
  u64 next;
  u64 inode;
  enum host_type type;
  u32 name_len;
  const char *name;
};

#define HOST_NAME_MAX 255u

/** The next directory behind `after` (0: the first), with the name that the host gives it; negative: there is none. */
i32 host_next_directory(i32 after, char *name, u32 capacity);

i32 host_path_stat(i32 directory, struct host_path path, struct host_stat *stat);
struct host_open {
  bool reads, writes;
  /** it must not be there yet */
  bool creates;
  /** what is written goes to its end: host_file_append is then the way to write */
  bool appends;
};
/** File descriptor of a regular file. */
i32 host_path_open(i32 directory, struct host_path path, struct host_open how);
i32 host_path_open_directory(i32 directory, struct host_path path);
i32 host_path_make_directory(i32 directory, struct host_path path);
i32 host_path_remove(i32 directory, struct host_path path, bool is_directory);
i32 host_path_rename(i32 directory, struct host_path from, struct host_path to);
i32 host_path_link(i32 directory, struct host_path from, struct host_path to);
i32 host_path_symlink(i32 directory, struct host_path target, struct host_path path);
/** Length of the target, as much of it as fits. */
i32 host_path_readlink(i32 directory, struct host_path path, char *target, u32 capacity);
i32 host_path_set_mode(i32 directory, struct host_path path, u32 mode);

#define HOST_TIME_ATIME 1u
#define HOST_TIME_ATIME_NOW 2u
#define HOST_TIME_MTIME 4u
#define HOST_TIME_MTIME_NOW 8u
/** `which`: HOST_TIME_…, the numbers of WASI's fstflags. */
i32 host_path_set_times(i32 directory, struct host_path path, u64 atime_ns, u64 mtime_ns, u32 which);

i32 host_file_stat(i32 fd, struct host_stat *stat);
i32 host_file_set_size(i32 fd, u64 size);
/** Only where the file's host_stat says `tells_mode`. */
i32 host_file_set_mode(i32 fd, u32 mode);
i32 host_file_set_times(i32 fd, u64 atime_ns, u64 mtime_ns, u32 which);
i32 host_file_sync(i32 fd, bool data_only);
/** How many bytes; short at the end of the file. */
i64 host_file_read(i32 fd, const struct host_vector *vectors, u32 count, u64 offset);
i64 host_file_write(i32 fd, const struct host_vector *vectors, u32 count, u64 offset);
/** At the end that the file has at that moment, whoever else writes to it; for what was opened so. */
i64 host_file_append(i32 fd, const struct host_vector *vectors, u32 count);

/** Fills `buffer` with entries from `cookie` on (0: the first); how many bytes, 0 at the end. */
i32 host_directory_read(i32 fd, u8 *buffer, u32 len, u64 cookie);
/** Takes the entry at `*at` out of `len` bytes of such a buffer; false: there is none, or it was cut off. Borrowed. */
bool host_directory_entry(const u8 *buffer, u32 len, u32 *at, struct host_entry *entry);

#endif
