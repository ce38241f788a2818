#include "dev/p9_files.h"

#include "dev/p9_attributes.h"

#define DATA_AT_READ 11u
#define DATA_AT_WRITE 23u
/* What Linux takes off a message for all but the data. */
#define IO_HEADER_LEN 24u
#define OPEN_ACCESS 3u
#define OPEN_WRITE_ONLY 1u
#define OPEN_READ_WRITE 2u
#define OPEN_EXCL 0200u
#define OPEN_TRUNC 01000u
#define OPEN_APPEND 02000u
#define OPEN_DIRECTORY 0200000u

static struct host_open how_to_open(u32 flags) {
  u32 access = flags & OPEN_ACCESS;
  bool writes = access == OPEN_WRITE_ONLY || access == OPEN_READ_WRITE;
  return (struct host_open){.reads = access != OPEN_WRITE_ONLY, .writes = writes, .appends = writes && (flags & OPEN_APPEND)};
}

static bool descriptor_appends(const struct p9_fid *fid) { return fid->appends && !fid->appends_by_size; }

/* What has no name any more can be opened by what has it open (/proc/self/fd in the guest); NULL: nothing does. */
static const struct p9_fid *who_has_open(const struct p9_fid *fid, struct host_open how) {
  const struct p9_fid *other = fid->node->open;
  while (other && ((how.reads && !other->reads) || (how.writes && (!other->writes || (descriptor_appends(other) && !how.appends))))) other = other->next_open;
  return other;
}

static i32 open_file(struct share *share, struct p9_fid *fid, u32 flags) {
  struct place place;
  if (fid->fd >= 0) return -E_INVAL;
  if (fid->type == HOST_SYMLINK) return -E_LOOP;
  if (fid->type != HOST_FILE && fid->type != HOST_DIRECTORY) return -E_NXIO;
  bool is_directory = fid->type == HOST_DIRECTORY;
  struct host_open how = how_to_open(flags);
  if (is_directory && how.writes) return -E_ISDIR;
  if (!is_directory && (flags & OPEN_DIRECTORY)) return -E_NOTDIR;
  const struct p9_fid *other = fid->node->gone ? who_has_open(fid, how) : NULL;
  i32 error = other ? 0 : p9_locate_fid(fid, &place);
  if (error) return error;
  i32 fd = other ? other->fd : is_directory ? host_path_open_directory(share->directory, place.path) : host_path_open(share->directory, place.path, how);
  if (fd < 0) return fd;
  if ((flags & OPEN_TRUNC) && how.writes) error = host_file_set_size(fd, 0);
  if (!error && !p9_fid_open(fid, fd, how)) error = -E_MFILE;
  if (error && !other) host_close(fd);
  if (!error) fid->appends_by_size = how.appends && other && !descriptor_appends(other);
  return error;
}

static i32 put_opened(struct call *call, const struct p9_fid *fid) {
  struct host_stat stat;
  i32 error = p9_stat_fid(call->share, fid, &stat);
  if (error) return error;
  p9_put_qid(call, &stat);
  // iounit: whole pages of data per message, so that a long write stays aligned.
  p9_put32(&call->out, (call->share->msize - IO_HEADER_LEN) & ~(BLOCK_SIZE - 1));
  return 0;
}

i32 p9_on_lopen(struct call *call) {
  struct p9_fid *fid = p9_get_fid(call);
  u32 flags = p9_get32(&call->in);
  if (call->in.bad) return -E_INVAL;
  if (!fid) return -E_BADF;
  i32 error = open_file(call->share, fid, flags);
  return error ? error : put_opened(call, fid);
}

/* The fid of a directory becomes that of the new file. */
static i32 become(struct p9_fid *fid, struct host_path name) {
  struct p9_node *node = p9_node_child(fid->node, name);
  if (!node) return -E_NFILE;
  p9_node_release(fid->node);
  fid->node = node;
  fid->type = HOST_FILE;
  return 0;
}

i32 p9_on_lcreate(struct call *call) {
  struct share *share = call->share;
  struct p9_fid *fid = p9_get_directory(call);
  struct host_path name = p9_get_text(&call->in);
  u32 flags = p9_get32(&call->in), mode = p9_get32(&call->in), gid = p9_get32(&call->in);
  struct place place;
  struct host_stat stat;
  if (call->in.bad) return -E_INVAL;
  i32 error = p9_locate(fid, name, &place);
  if (error) return error;
  if (fid->fd >= 0) return -E_INVAL;
  struct host_open how = how_to_open(flags);
  how.creates = true;
  i32 fd = host_path_open(share->directory, place.path, how);
  if (fd == -E_EXIST && !(flags & OPEN_EXCL)) {
    error = host_path_stat(share->directory, place.path, &stat);
    if (!error && stat.type != HOST_FILE) error = -E_EXIST;
    if (!error) error = become(fid, name);
    if (!error) error = open_file(share, fid, flags);
    return error ? error : put_opened(call, fid);
  }
  if (fd < 0) return fd;
  p9_node_forget(fid->node, name);
  error = host_file_stat(fd, &stat);
  if (!error) error = become(fid, name);
  if (!error && !p9_fid_open(fid, fd, how)) error = -E_MFILE;
  if (error) {
    host_close(fd);
    return error;
  }
  p9_adopt(share, place.path, &stat, mode & MODE_BITS, gid);
  return put_opened(call, fid);
}

/* The pieces of the chain from `offset` on, `len` bytes, for the host to move. */
static u32 vectors_of(const struct chain *chain, bool writable, u32 offset, u32 len, struct host_vector vectors[VIRTQ_MAX]) {
  u32 count = 0;
  for (u32 i = 0; i < chain->count && len > 0; i++) {
    const struct segment *segment = &chain->segments[i];
    if (segment->writable != writable) continue;
    if (offset >= segment->len) {
      offset -= segment->len;
      continue;
    }
    u32 room = segment->len - offset, part = room < len ? room : len;
    vectors[count++] = (struct host_vector){segment->bytes + offset, part};
    len -= part;
    offset = 0;
  }
  return count;
}

i32 p9_on_read(struct call *call) {
  struct p9_fid *fid = p9_get_fid(call);
  u64 offset = p9_get64(&call->in);
  u32 count = p9_get32(&call->in), room = chain_writable_len(call->chain);
  struct host_vector vectors[VIRTQ_MAX];
  if (call->in.bad || room < DATA_AT_READ) return -E_INVAL;
  if (!fid || fid->fd < 0) return -E_BADF;
  if (fid->type != HOST_FILE) return -E_ISDIR;
  u32 most = (room < call->share->msize ? room : call->share->msize) - DATA_AT_READ;
  if (count > most) count = most;
  i64 done = count ? host_file_read(fid->fd, vectors, vectors_of(call->chain, true, DATA_AT_READ, count, vectors), offset) : 0;
  if (done < 0) return (i32)done;
  call->data = (u64)done < count ? (u32)done : count;
  p9_put32(&call->out, call->data);
  return 0;
}

i32 p9_on_write(struct call *call) {
  struct p9_fid *fid = p9_get_fid(call);
  u64 offset = p9_get64(&call->in);
  u32 count = p9_get32(&call->in);
  struct host_vector vectors[VIRTQ_MAX];
  if (call->in.bad || count > call->size - DATA_AT_WRITE) return -E_INVAL;
  if (!fid || fid->fd < 0 || !fid->writes) return -E_BADF;
  struct host_stat stat;
  u32 pieces = vectors_of(call->chain, false, DATA_AT_WRITE, count, vectors);
  if (fid->appends_by_size) {
    i32 error = host_file_stat(fid->fd, &stat);
    if (error) return error;
    offset = stat.size;
  }
  i64 done = count == 0 ? 0 : descriptor_appends(fid) ? host_file_append(fid->fd, vectors, pieces) : host_file_write(fid->fd, vectors, pieces, offset);
  if (done < 0) return (i32)done;
  p9_put32(&call->out, (u64)done < count ? (u32)done : count);
  return 0;
}

i32 p9_on_fsync(struct call *call) {
  struct p9_fid *fid = p9_get_fid(call);
  u32 data_only = p9_get32(&call->in);
  if (!fid || fid->fd < 0) return -E_BADF;
  return fid->type == HOST_FILE ? host_file_sync(fid->fd, data_only != 0) : 0;
}

static bool is_dots(const struct host_entry *entry) {
  return (entry->name_len == 1 && entry->name[0] == '.') || (entry->name_len == 2 && entry->name[0] == '.' && entry->name[1] == '.');
}

/* False: there is no room for it. */
static bool put_entry(struct p9_out *out, u64 inode, enum host_type type, u64 next, const char *name, u32 name_len) {
  if (out->capacity - out->len < 24 + name_len) return false;
  p9_put8(out, p9_qid_type(type));
  p9_put32(out, 0);
  p9_put64(out, inode);
  p9_put64(out, next);
  p9_put8(out, p9_entry_type(type));
  p9_put_text(out, name, name_len);
  return true;
}

/*
 * Offsets: 0 is ".", 1 is "..", 2 and on the host's cookie with 2 added; some hosts list the dots by themselves, others do not. A cookie
 * that would not fit into Linux's signed offsets ends the listing with an error.
 */
static i32 put_entries(struct call *call, const struct p9_fid *fid, u64 offset) {
  static u8 buffer[16384];
  struct host_stat stat;
  struct p9_out *out = &call->out;
  if (offset < 2) {
    i32 error = p9_stat_fid(call->share, fid, &stat);
    if (error) return error;
    u64 inode = p9_qid_path(call->share, &stat);
    if (offset == 0 && !put_entry(out, inode, HOST_DIRECTORY, 1, ".", 1)) return 0;
    if (!put_entry(out, inode, HOST_DIRECTORY, 2, "..", 2)) return 0;
    offset = 2;
  }
  for (u64 cookie = offset - 2;;) {
    i32 len = host_directory_read(fid->fd, buffer, sizeof buffer, cookie);
    struct host_entry entry;
    u32 at = 0, before = 0;
    if (len <= 0) return len;
    while (host_directory_entry(buffer, (u32)len, &at, &entry)) {
      if (entry.next >> 62) return -E_OVERFLOW;
      if (entry.next == cookie) return -E_IO;
      cookie = entry.next;
      before = at;
      if (is_dots(&entry) || entry.name_len == 0 || entry.name_len > HOST_NAME_MAX) continue;
      if (!put_entry(out, entry.inode, entry.type, entry.next + 2, entry.name, entry.name_len)) return 0;
    }
    // Not even one whole entry, or the end.
    if (before == 0 || (u32)len < sizeof buffer - (HOST_NAME_MAX + 32)) return 0;
  }
}

i32 p9_on_readdir(struct call *call) {
  struct p9_fid *fid = p9_get_fid(call);
  u64 offset = p9_get64(&call->in);
  u32 count = p9_get32(&call->in), room = chain_writable_len(call->chain);
  if (call->in.bad || room < DATA_AT_READ) return -E_INVAL;
  if (!fid || fid->fd < 0) return -E_BADF;
  if (fid->type != HOST_DIRECTORY) return -E_NOTDIR;
  u32 most = room < call->share->msize ? room : call->share->msize;
  if (count > most - DATA_AT_READ) count = most - DATA_AT_READ;
  if (count > READDIR_MAX) count = READDIR_MAX;
  call->out.capacity = DATA_AT_READ + count;
  p9_put32(&call->out, 0);
  i32 error = put_entries(call, fid, offset);
  u32 len = call->out.len - DATA_AT_READ;
  // What was put before an error is true.
  if (error && len == 0) return error;
  copy_bytes(call->out.bytes + P9_HEADER_LEN, &len, 4);
  return 0;
}
