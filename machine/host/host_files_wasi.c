/*
 * The host's directories through WASI preview1.
 *
 * WASI has no permission bits. Our own hosts (shared/wasi/share.ts) have, and tell them where preview1 leaves room: a filestat has seven
 * unused bytes behind its type, of which the first two are the mode with MODE_TOLD; times are set with flags, of which one more,
 * FST_MODE, says that the first time is a mode. Other hosts leave the bytes 0, and are never sent the flag.
 */
#include "host/host_files.h"

#define IMPORT(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(#name)))

typedef u16 errno_t;

IMPORT(fd_pread) errno_t wasi_fd_pread(u32 fd, const struct host_vector *vectors, u32 count, u64 offset, u32 *done);
IMPORT(fd_pwrite) errno_t wasi_fd_pwrite(u32 fd, const struct host_vector *vectors, u32 count, u64 offset, u32 *done);
IMPORT(fd_write) errno_t wasi_fd_write(u32 fd, const struct host_vector *vectors, u32 count, u32 *done);
IMPORT(fd_readdir) errno_t wasi_fd_readdir(u32 fd, void *buffer, u32 len, u64 cookie, u32 *used);
IMPORT(fd_filestat_get) errno_t wasi_fd_filestat_get(u32 fd, void *stat);
IMPORT(fd_filestat_set_size) errno_t wasi_fd_filestat_set_size(u32 fd, u64 size);
IMPORT(fd_filestat_set_times) errno_t wasi_fd_filestat_set_times(u32 fd, u64 atime, u64 mtime, u32 flags);
IMPORT(fd_sync) errno_t wasi_fd_sync(u32 fd);
IMPORT(fd_datasync) errno_t wasi_fd_datasync(u32 fd);
IMPORT(fd_prestat_get) errno_t wasi_fd_prestat_get(u32 fd, void *prestat);
IMPORT(fd_prestat_dir_name) errno_t wasi_fd_prestat_dir_name(u32 fd, char *name, u32 len);
IMPORT(path_open) errno_t wasi_path_open(u32 dir, u32 lookup, const char *path, u32 len, u32 oflags, u64 rights, u64 inheriting, u32 fdflags, u32 *fd);
IMPORT(path_filestat_get) errno_t wasi_path_filestat_get(u32 dir, u32 lookup, const char *path, u32 len, void *stat);
IMPORT(path_filestat_set_times) errno_t wasi_path_filestat_set_times(u32 dir, u32 lookup, const char *path, u32 len, u64 atime, u64 mtime, u32 flags);
IMPORT(path_create_directory) errno_t wasi_path_create_directory(u32 dir, const char *path, u32 len);
IMPORT(path_remove_directory) errno_t wasi_path_remove_directory(u32 dir, const char *path, u32 len);
IMPORT(path_unlink_file) errno_t wasi_path_unlink_file(u32 dir, const char *path, u32 len);
IMPORT(path_rename) errno_t wasi_path_rename(u32 dir, const char *path, u32 len, u32 to_dir, const char *to, u32 to_len);
IMPORT(path_link) errno_t wasi_path_link(u32 dir, u32 lookup, const char *path, u32 len, u32 to_dir, const char *to, u32 to_len);
IMPORT(path_symlink) errno_t wasi_path_symlink(const char *target, u32 target_len, u32 dir, const char *path, u32 len);
IMPORT(path_readlink) errno_t wasi_path_readlink(u32 dir, const char *path, u32 len, char *target, u32 capacity, u32 *used);

#define PREOPEN_FIRST 3
#define PREOPEN_END 64
#define PREOPEN_DIR 0
#define OFLAG_CREAT 1
#define OFLAG_DIRECTORY 2
#define OFLAG_EXCL 4
#define FDFLAG_APPEND 1
#define FST_MODE 0x8000u
#define MODE_TOLD 0x8000u
#define FILETYPE_DIRECTORY 3
#define FILETYPE_REGULAR 4
#define FILETYPE_SYMLINK 7
#define DIRENT_LEN 24u

#define RIGHTS_BOTH (1ull << 2 | 1ull << 5 | 1ull << 21 | 1ull << 23 | 1ull << 4)
#define RIGHTS_READ (1ull << 1 | RIGHTS_BOTH)
#define RIGHTS_WRITE (1ull << 0 | 1ull << 6 | 1ull << 22 | RIGHTS_BOTH)
#define RIGHTS_DIRECTORY (1ull << 14 | 1ull << 21 | 1ull << 23 | 1ull << 4)

/* What files can cause; anything else is an I/O error. */
static i32 failure(errno_t error) {
  static const u8 linux_errno[77] = {
      [2] = E_ACCES, [6] = E_AGAIN, [8] = E_BADF, [10] = E_BUSY, [19] = E_DQUOT, [20] = E_EXIST, [22] = E_FBIG, [25] = E_INVAL, [27] = E_INTR,
      [28] = E_INVAL, [29] = E_IO, [31] = E_ISDIR, [32] = E_LOOP, [33] = E_MFILE, [34] = E_MLINK, [37] = E_NAMETOOLONG, [41] = E_NFILE,
      [44] = E_NOENT, [48] = E_NOMEM, [51] = E_NOSPC, [52] = E_OPNOTSUPP, [54] = E_NOTDIR, [55] = E_NOTEMPTY, [58] = E_OPNOTSUPP, [60] = E_NXIO,
      [61] = E_OVERFLOW, [63] = E_PERM, [69] = E_ROFS, [70] = E_SPIPE, [72] = E_STALE, [74] = E_TXTBSY, [75] = E_XDEV, [76] = E_PERM,
  };
  if (error == 0) return 0;
  return error < COUNT_OF(linux_errno) && linux_errno[error] ? -linux_errno[error] : -E_IO;
}

i32 host_next_directory(i32 after, char *name, u32 capacity) {
  for (u32 fd = after < PREOPEN_FIRST ? PREOPEN_FIRST : (u32)after + 1; fd < PREOPEN_END; fd++) {
    struct {
      u8 tag;
      u32 len;
    } prestat = {PREOPEN_DIR, 0};
    if (wasi_fd_prestat_get(fd, &prestat) != 0 || prestat.tag != PREOPEN_DIR || prestat.len >= capacity) continue;
    if (wasi_fd_prestat_dir_name(fd, name, prestat.len) != 0) continue;
    name[prestat.len] = 0;
    return (i32)fd;
  }
  return -1;
}

static enum host_type type_of(u8 filetype) {
  switch (filetype) {
    case FILETYPE_REGULAR: return HOST_FILE;
    case FILETYPE_DIRECTORY: return HOST_DIRECTORY;
    case FILETYPE_SYMLINK: return HOST_SYMLINK;
    case 5:
    case 6: return HOST_SOCKET;
    default: return HOST_OTHER;
  }
}

static void read_stat(const u64 raw[8], struct host_stat *stat) {
  u32 mode = (u32)(raw[2] >> 8) & 0xffff;
  *stat = (struct host_stat){
      .device = raw[0], .inode = raw[1], .links = raw[3], .size = raw[4], .atime_ns = raw[5], .mtime_ns = raw[6], .ctime_ns = raw[7],
      .type = type_of((u8)raw[2]), .mode = mode & 07777, .tells_mode = (mode & MODE_TOLD) != 0,
  };
}

i32 host_path_stat(i32 directory, struct host_path path, struct host_stat *stat) {
  u64 raw[8] = {0};
  errno_t error = path.len ? wasi_path_filestat_get((u32)directory, 0, path.bytes, path.len, raw) : wasi_fd_filestat_get((u32)directory, raw);
  read_stat(raw, stat);
  return failure(error);
}

static i32 open_path(i32 directory, struct host_path path, u32 oflags, u64 rights, u32 fdflags) {
  u32 fd = 0;
  errno_t error = path.len ? wasi_path_open((u32)directory, 0, path.bytes, path.len, oflags, rights, 0, fdflags, &fd)
                           : wasi_path_open((u32)directory, 0, ".", 1, oflags, rights, 0, fdflags, &fd);
  return error ? failure(error) : (i32)fd;
}

i32 host_path_open(i32 directory, struct host_path path, struct host_open how) {
  u64 rights = (how.reads || !how.writes ? RIGHTS_READ : 0) | (how.writes ? RIGHTS_WRITE : 0);
  return open_path(directory, path, how.creates ? OFLAG_CREAT | OFLAG_EXCL : 0, rights, how.appends ? FDFLAG_APPEND : 0);
}

i32 host_path_open_directory(i32 directory, struct host_path path) { return open_path(directory, path, OFLAG_DIRECTORY, RIGHTS_DIRECTORY, 0); }
i32 host_path_make_directory(i32 directory, struct host_path path) { return failure(wasi_path_create_directory((u32)directory, path.bytes, path.len)); }

i32 host_path_remove(i32 directory, struct host_path path, bool is_directory) {
  return failure(is_directory ? wasi_path_remove_directory((u32)directory, path.bytes, path.len) : wasi_path_unlink_file((u32)directory, path.bytes, path.len));
}

i32 host_path_rename(i32 directory, struct host_path from, struct host_path to) {
  return failure(wasi_path_rename((u32)directory, from.bytes, from.len, (u32)directory, to.bytes, to.len));
}

i32 host_path_link(i32 directory, struct host_path from, struct host_path to) {
  return failure(wasi_path_link((u32)directory, 0, from.bytes, from.len, (u32)directory, to.bytes, to.len));
}

i32 host_path_symlink(i32 directory, struct host_path target, struct host_path path) {
  return failure(wasi_path_symlink(target.bytes, target.len, (u32)directory, path.bytes, path.len));
}

i32 host_path_readlink(i32 directory, struct host_path path, char *target, u32 capacity) {
  u32 used = 0;
  errno_t error = wasi_path_readlink((u32)directory, path.bytes, path.len, target, capacity, &used);
  if (error) return failure(error);
  return (i32)(used < capacity ? used : capacity);
}

static i32 set_times(i32 directory, struct host_path path, u64 atime_ns, u64 mtime_ns, u32 flags) {
  if (path.len == 0) return failure(wasi_fd_filestat_set_times((u32)directory, atime_ns, mtime_ns, flags));
  return failure(wasi_path_filestat_set_times((u32)directory, 0, path.bytes, path.len, atime_ns, mtime_ns, flags));
}

i32 host_path_set_mode(i32 directory, struct host_path path, u32 mode) { return set_times(directory, path, mode & 07777, 0, FST_MODE); }
i32 host_path_set_times(i32 directory, struct host_path path, u64 atime_ns, u64 mtime_ns, u32 which) { return set_times(directory, path, atime_ns, mtime_ns, which); }

i32 host_file_stat(i32 fd, struct host_stat *stat) {
  u64 raw[8] = {0};
  errno_t error = wasi_fd_filestat_get((u32)fd, raw);
  read_stat(raw, stat);
  return failure(error);
}

i32 host_file_set_size(i32 fd, u64 size) { return failure(wasi_fd_filestat_set_size((u32)fd, size)); }
i32 host_file_set_mode(i32 fd, u32 mode) { return failure(wasi_fd_filestat_set_times((u32)fd, mode & 07777, 0, FST_MODE)); }
i32 host_file_set_times(i32 fd, u64 atime_ns, u64 mtime_ns, u32 which) { return failure(wasi_fd_filestat_set_times((u32)fd, atime_ns, mtime_ns, which)); }
i32 host_file_sync(i32 fd, bool data_only) { return failure(data_only ? wasi_fd_datasync((u32)fd) : wasi_fd_sync((u32)fd)); }

i64 host_file_read(i32 fd, const struct host_vector *vectors, u32 count, u64 offset) {
  u32 done = 0;
  errno_t error = wasi_fd_pread((u32)fd, vectors, count, offset, &done);
  return error ? failure(error) : (i64)done;
}

i64 host_file_write(i32 fd, const struct host_vector *vectors, u32 count, u64 offset) {
  u32 done = 0;
  errno_t error = wasi_fd_pwrite((u32)fd, vectors, count, offset, &done);
  return error ? failure(error) : (i64)done;
}

/* fd_write, not fd_pwrite: what an offset means for such a descriptor, hosts do not agree on. */
i64 host_file_append(i32 fd, const struct host_vector *vectors, u32 count) {
  u32 done = 0;
  errno_t error = wasi_fd_write((u32)fd, vectors, count, &done);
  return error ? failure(error) : (i64)done;
}

i32 host_directory_read(i32 fd, u8 *buffer, u32 len, u64 cookie) {
  u32 used = 0;
  errno_t error = wasi_fd_readdir((u32)fd, buffer, len, cookie, &used);
  if (error) return failure(error);
  return (i32)(used < len ? used : len);
}

bool host_directory_entry(const u8 *buffer, u32 len, u32 *at, struct host_entry *entry) {
  if (len - *at < DIRENT_LEN) return false;
  const u8 *raw = buffer + *at;
  copy_bytes(&entry->next, raw, 8);
  copy_bytes(&entry->inode, raw + 8, 8);
  copy_bytes(&entry->name_len, raw + 16, 4);
  entry->type = type_of(raw[20]);
  if (len - *at - DIRENT_LEN < entry->name_len) return false;
  entry->name = (const char *)raw + DIRENT_LEN;
  *at += DIRENT_LEN + entry->name_len;
  return true;
}
