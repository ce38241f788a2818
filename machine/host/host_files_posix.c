/*
 * The host's directories through POSIX. PORTSIDE_SHARE names the one that there is, as the guest's /mnt/share. A path's directories
 * are followed where they lead: this is for our own machines, not for strangers' guests.
 */
#define _GNU_SOURCE
#include "host/host_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define VECTORS_MAX 512
#define NS_PER_S 1000000000ull

/* NUL-terminated copies of a path; "." for the directory itself. */
struct text {
  char bytes[4097];
};
static bool to_text(struct host_path path, struct text *text) {
  if (path.len >= sizeof text->bytes) return false;
  memcpy(text->bytes, path.len ? path.bytes : ".", path.len ? path.len : 1);
  text->bytes[path.len ? path.len : 1] = 0;
  return true;
}

static i32 result(int value) { return value < 0 ? -errno : value; }

i32 host_next_directory(i32 after, char *name, u32 capacity) {
  const char *share = getenv("PORTSIDE_SHARE");
  if (after > 0 || !share) return -1;
  strncpy(name, "/mnt/share", capacity);
  return open(share, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static enum host_type type_of(mode_t mode) {
  if (S_ISREG(mode)) return HOST_FILE;
  if (S_ISDIR(mode)) return HOST_DIRECTORY;
  if (S_ISLNK(mode)) return HOST_SYMLINK;
  return S_ISSOCK(mode) ? HOST_SOCKET : HOST_OTHER;
}

static u64 ns(struct timespec time) { return (u64)time.tv_sec * NS_PER_S + (u64)time.tv_nsec; }

static void read_stat(const struct stat *from, struct host_stat *stat) {
  *stat = (struct host_stat){
      .device = from->st_dev, .inode = from->st_ino, .links = from->st_nlink, .size = (u64)from->st_size, .type = type_of(from->st_mode),
      .atime_ns = ns(from->st_atim), .mtime_ns = ns(from->st_mtim), .ctime_ns = ns(from->st_ctim), .mode = from->st_mode & 07777, .tells_mode = true,
  };
}

i32 host_path_stat(i32 directory, struct host_path path, struct host_stat *stat) {
  struct text text;
  struct stat status = {0};
  if (!to_text(path, &text)) return -ENAMETOOLONG;
  i32 error = result(fstatat(directory, text.bytes, &status, AT_SYMLINK_NOFOLLOW));
  read_stat(&status, stat);
  return error;
}

static i32 open_path(i32 directory, struct host_path path, int flags) {
  struct text text;
  if (!to_text(path, &text)) return -ENAMETOOLONG;
  return result(openat(directory, text.bytes, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0666));
}

i32 host_path_open(i32 directory, struct host_path path, struct host_open how) {
  return open_path(directory, path, (how.writes ? how.reads ? O_RDWR : O_WRONLY : O_RDONLY) | (how.creates ? O_CREAT | O_EXCL : 0) | (how.appends ? O_APPEND : 0));
}
i32 host_path_open_directory(i32 directory, struct host_path path) { return open_path(directory, path, O_RDONLY | O_DIRECTORY); }

i32 host_path_make_directory(i32 directory, struct host_path path) {
  struct text text;
  return to_text(path, &text) ? result(mkdirat(directory, text.bytes, 0777)) : -ENAMETOOLONG;
}
i32 host_path_remove(i32 directory, struct host_path path, bool is_directory) {
  struct text text;
  return to_text(path, &text) ? result(unlinkat(directory, text.bytes, is_directory ? AT_REMOVEDIR : 0)) : -ENAMETOOLONG;
}
i32 host_path_rename(i32 directory, struct host_path from, struct host_path to) {
  struct text a, b;
  return to_text(from, &a) && to_text(to, &b) ? result(renameat(directory, a.bytes, directory, b.bytes)) : -ENAMETOOLONG;
}
i32 host_path_link(i32 directory, struct host_path from, struct host_path to) {
  struct text a, b;
  return to_text(from, &a) && to_text(to, &b) ? result(linkat(directory, a.bytes, directory, b.bytes, 0)) : -ENAMETOOLONG;
}
i32 host_path_symlink(i32 directory, struct host_path target, struct host_path path) {
  struct text a, b;
  return to_text(target, &a) && to_text(path, &b) ? result(symlinkat(target.len ? a.bytes : "", directory, b.bytes)) : -ENAMETOOLONG;
}
i32 host_path_readlink(i32 directory, struct host_path path, char *target, u32 capacity) {
  struct text text;
  return to_text(path, &text) ? result((int)readlinkat(directory, text.bytes, target, capacity)) : -ENAMETOOLONG;
}
i32 host_path_set_mode(i32 directory, struct host_path path, u32 mode) {
  struct text text;
  struct stat status;
  if (!to_text(path, &text)) return -ENAMETOOLONG;
  if (fstatat(directory, text.bytes, &status, AT_SYMLINK_NOFOLLOW)) return -errno;
  return S_ISLNK(status.st_mode) ? -EOPNOTSUPP : result(fchmodat(directory, text.bytes, mode & 07777, 0));
}

static void times_of(u64 atime_ns, u64 mtime_ns, u32 which, struct timespec times[2]) {
  times[0] = (struct timespec){(time_t)(atime_ns / NS_PER_S), which & HOST_TIME_ATIME_NOW ? UTIME_NOW : which & HOST_TIME_ATIME ? (long)(atime_ns % NS_PER_S) : UTIME_OMIT};
  times[1] = (struct timespec){(time_t)(mtime_ns / NS_PER_S), which & HOST_TIME_MTIME_NOW ? UTIME_NOW : which & HOST_TIME_MTIME ? (long)(mtime_ns % NS_PER_S) : UTIME_OMIT};
}

i32 host_path_set_times(i32 directory, struct host_path path, u64 atime_ns, u64 mtime_ns, u32 which) {
  struct text text;
  struct timespec times[2];
  times_of(atime_ns, mtime_ns, which, times);
  return to_text(path, &text) ? result(utimensat(directory, text.bytes, times, AT_SYMLINK_NOFOLLOW)) : -ENAMETOOLONG;
}
i32 host_file_set_times(i32 fd, u64 atime_ns, u64 mtime_ns, u32 which) {
  struct timespec times[2];
  times_of(atime_ns, mtime_ns, which, times);
  return result(futimens(fd, times));
}

i32 host_file_stat(i32 fd, struct host_stat *stat) {
  struct stat status = {0};
  i32 error = result(fstat(fd, &status));
  read_stat(&status, stat);
  return error;
}
i32 host_file_set_size(i32 fd, u64 size) { return size > INT64_MAX ? -EFBIG : result(ftruncate(fd, (off_t)size)); }
i32 host_file_set_mode(i32 fd, u32 mode) { return result(fchmod(fd, mode & 07777)); }
i32 host_file_sync(i32 fd, bool data_only) { return result(data_only ? fdatasync(fd) : fsync(fd)); }

static int to_iovecs(const struct host_vector *vectors, u32 count, struct iovec *out) {
  u32 taken = count < VECTORS_MAX ? count : VECTORS_MAX;
  for (u32 i = 0; i < taken; i++) out[i] = (struct iovec){vectors[i].bytes, vectors[i].len};
  return (int)taken;
}
i64 host_file_read(i32 fd, const struct host_vector *vectors, u32 count, u64 offset) {
  struct iovec out[VECTORS_MAX];
  if (offset > INT64_MAX) return -EINVAL;
  ssize_t done = preadv(fd, out, to_iovecs(vectors, count, out), (off_t)offset);
  return done < 0 ? -errno : done;
}
i64 host_file_write(i32 fd, const struct host_vector *vectors, u32 count, u64 offset) {
  struct iovec out[VECTORS_MAX];
  if (offset > INT64_MAX) return -EINVAL;
  ssize_t done = pwritev(fd, out, to_iovecs(vectors, count, out), (off_t)offset);
  return done < 0 ? -errno : done;
}
i64 host_file_append(i32 fd, const struct host_vector *vectors, u32 count) {
  struct iovec out[VECTORS_MAX];
  ssize_t done = writev(fd, out, to_iovecs(vectors, count, out));
  return done < 0 ? -errno : done;
}

/* The cookie is the kernel's offset; 0 is the beginning for it, too. */
i32 host_directory_read(i32 fd, u8 *buffer, u32 len, u64 cookie) {
  if (cookie > INT64_MAX || lseek(fd, (off_t)cookie, SEEK_SET) < 0) return -EINVAL;
  return result((int)getdents64(fd, buffer, len));
}

bool host_directory_entry(const u8 *buffer, u32 len, u32 *at, struct host_entry *entry) {
  static const u8 types[] = {[DT_REG] = HOST_FILE, [DT_DIR] = HOST_DIRECTORY, [DT_LNK] = HOST_SYMLINK, [DT_SOCK] = HOST_SOCKET};
  if (*at >= len) return false;
  const struct dirent64 *raw = (const struct dirent64 *)(buffer + *at);
  entry->next = (u64)raw->d_off;
  entry->inode = raw->d_ino;
  entry->name = raw->d_name;
  entry->name_len = (u32)strlen(raw->d_name);
  entry->type = raw->d_type == DT_REG || raw->d_type == DT_DIR || raw->d_type == DT_LNK || raw->d_type == DT_SOCK ? types[raw->d_type] : HOST_OTHER;
  *at += raw->d_reclen;
  return true;
}
