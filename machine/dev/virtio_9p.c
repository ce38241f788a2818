#include "virtio_9p.h"

#include "../map.h"
#include "p9_owners.h"
#include "p9_tree.h"
#include "p9_wire.h"

#define TYPE_9P 9
#define F_MOUNT_TAG (1ull << 0)
#define MSIZE_MIN 8192u
/* The longest request but for the data of Twrite: a symbolic link with its target. */
#define REQUEST_MAX 8192u
#define READDIR_MAX 32768u
#define REPLY_MAX (READDIR_MAX + 64)
#define DATA_AT_READ 11u
#define DATA_AT_WRITE 23u
/* What Linux takes off a message for all but the data. */
#define IO_HEADER_LEN 24u
#define WALK_MAX 16u
#define NO_FID 0xffffffffu
#define VERSION_TEXT "9P2000.L"

#define QT_DIR 0x80
#define QT_SYMLINK 0x02
#define S_DIR 0040000u
#define S_FILE 0100000u
#define S_TYPE 0170000u
#define MODE_BITS 07777u

#define OPEN_ACCESS 3u
#define OPEN_WRITE_ONLY 1u
#define OPEN_READ_WRITE 2u
#define OPEN_EXCL 0200u
#define OPEN_TRUNC 01000u
#define OPEN_DIRECTORY 0200000u
#define AT_REMOVEDIR 0x200u

#define GETATTR_BASIC 0x7ffu
#define SET_MODE 1u
#define SET_UID 2u
#define SET_GID 4u
#define SET_SIZE 8u
#define SET_ATIME 0x10u
#define SET_MTIME 0x20u
#define SET_ATIME_GIVEN 0x80u
#define SET_MTIME_GIVEN 0x100u

#define NS_PER_S 1000000000ull
#define BLOCK_SIZE 4096u
/* st_blksize: what programs read and write at a time. */
#define IO_SIZE 65536u
#define FREE_BLOCKS (1ull << 28)
#define V9FS_MAGIC 0x01021997u
#define LOCK_UNLOCKED 2
/* A descriptor that the host has not. */
#define LOST_FD 0x7fffffff

struct share {
  struct virtio_device device;
  u8 config[2 + P9_TAG_MAX];
  char tag[P9_TAG_MAX + 1];
  u32 index;
  i32 directory;
  u32 msize;
  u64 root_device;
  /** whom files belong to that nobody has given to somebody else */
  u32 uid, gid;
};

/* One request while it is served. */
struct call {
  struct share *share;
  const struct chain *chain;
  struct p9_in in;
  struct p9_out out;
  /** of the message, as it says itself */
  u32 size;
  /** bytes of data behind `out` that are in the guest's pages already */
  u32 data;
};

static struct share shares[SHARES_MAX];
static u8 request_bytes[REQUEST_MAX], reply_bytes[REPLY_MAX];

/* ---- fids, names, paths ---- */

static struct p9_fid *get_fid(struct call *call) {
  u32 number = p9_get32(&call->in);
  return p9_fid_find(call->share->index, number);
}

/* A directory for a name to be in; NULL: it is none. */
static struct p9_fid *get_directory(struct call *call) {
  struct p9_fid *fid = get_fid(call);
  return fid && fid->type == HOST_DIRECTORY ? fid : NULL;
}

static i32 check_name(struct host_path name) {
  if (name.len > HOST_NAME_MAX) return -E_NAMETOOLONG;
  if (name.len == 0 || (name.len == 1 && name.bytes[0] == '.') || (name.len == 2 && name.bytes[0] == '.' && name.bytes[1] == '.')) return -E_INVAL;
  for (u32 i = 0; i < name.len; i++)
    if (name.bytes[i] == '/' || name.bytes[i] == 0) return -E_INVAL;
  return 0;
}

static const struct host_path no_name = {"", 0};

struct place {
  char buffer[P9_PATH_MAX];
  struct host_path path;
};

/* The path of a new or present name in a directory. */
static MUST_USE i32 locate(const struct p9_fid *directory, struct host_path name, struct place *place) {
  if (!directory) return -E_NOTDIR;
  i32 error = check_name(name);
  return error ? error : p9_path(directory->node, name, place->buffer, &place->path);
}

static MUST_USE i32 locate_fid(const struct p9_fid *fid, struct place *place) { return p9_path(fid->node, no_name, place->buffer, &place->path); }

/* A descriptor of the file, its own or another fid's; negative: none. */
static i32 descriptor(const struct p9_fid *fid, bool writes) {
  if (fid->fd >= 0 && (fid->writes || !writes)) return fid->fd;
  if (!fid->node->gone) return -1;
  for (const struct p9_fid *other = fid->node->open; other; other = other->next_open)
    if (other->writes || !writes) return other->fd;
  return -1;
}

static i32 stat_fid(const struct share *share, const struct p9_fid *fid, struct host_stat *stat) {
  struct place place;
  i32 fd = descriptor(fid, false);
  if (fd >= 0) return host_file_stat(fd, stat);
  i32 error = locate_fid(fid, &place);
  return error ? error : host_path_stat(share->directory, place.path, stat);
}

/* ---- attributes ---- */

static u64 qid_path(const struct share *share, const struct host_stat *stat) { return stat->inode ^ ((stat->device ^ share->root_device) * 0x9e3779b97f4a7c15); }

static u8 qid_type(enum host_type type) { return type == HOST_DIRECTORY ? QT_DIR : type == HOST_SYMLINK ? QT_SYMLINK : 0; }

static void put_qid(struct call *call, const struct host_stat *stat) {
  p9_put8(&call->out, qid_type(stat->type));
  p9_put32(&call->out, (u32)(stat->mtime_ns ^ stat->mtime_ns >> 32));
  p9_put64(&call->out, qid_path(call->share, stat));
}

static u32 type_bits(enum host_type type) {
  static const u32 bits[] = {[HOST_FILE] = S_FILE, [HOST_DIRECTORY] = S_DIR, [HOST_SYMLINK] = 0120000, [HOST_SOCKET] = 0140000, [HOST_OTHER] = 0010000};
  return bits[type];
}

/* As in a directory's entries: dirent's DT_… are the upper bits of a mode. */
static u8 entry_type(enum host_type type) { return (u8)(type_bits(type) >> 12); }

static struct p9_owner attributes(const struct share *share, const struct host_stat *stat) {
  const struct p9_owner *set = p9_owner_find(share->index, qid_path(share, stat));
  u32 usual = stat->type == HOST_SYMLINK ? 0777 : stat->type == HOST_DIRECTORY ? 0755 : 0644;
  struct p9_owner owner = set ? *set : (struct p9_owner){.mode = usual, .uid = share->uid, .gid = share->gid};
  if (stat->tells_mode) owner.mode = stat->mode;
  return owner;
}

/* What a new file gets from its creator; the host's own idea of it counts where the host has one. */
static void adopt(const struct share *share, struct host_path path, struct host_stat *stat, u32 mode, u32 gid) {
  if (stat->tells_mode && stat->type != HOST_SYMLINK && stat->mode != mode && host_path_set_mode(share->directory, path, mode) == 0) stat->mode = mode;
  p9_owner_forget(share->index, qid_path(share, stat));
  struct p9_owner owner = attributes(share, stat), wanted = {.mode = mode & MODE_BITS, .uid = share->uid, .gid = gid};
  if (owner.gid != gid || (!stat->tells_mode && owner.mode != wanted.mode)) p9_owner_of(share->index, qid_path(share, stat), &wanted);
}

static i32 on_getattr(struct call *call) {
  struct p9_fid *fid = get_fid(call);
  struct host_stat stat;
  if (!fid) return -E_BADF;
  i32 error = stat_fid(call->share, fid, &stat);
  if (error) return error;
  struct p9_owner owner = attributes(call->share, &stat);
  struct p9_out *out = &call->out;
  p9_put64(out, GETATTR_BASIC);
  put_qid(call, &stat);
  p9_put32(out, type_bits(stat.type) | owner.mode);
  p9_put32(out, owner.uid);
  p9_put32(out, owner.gid);
  // A host that counts no links says 0, which would mean that the file has no name any more.
  p9_put64(out, stat.links || fid->node->gone ? stat.links : 1);
  p9_put64(out, 0);
  p9_put64(out, stat.size);
  p9_put64(out, IO_SIZE);
  p9_put64(out, stat.size / 512 + (stat.size % 512 != 0));
  u64 times[] = {stat.atime_ns, stat.mtime_ns, stat.ctime_ns, 0};
  for (u32 i = 0; i < COUNT_OF(times); i++) {
    p9_put64(out, times[i] / NS_PER_S);
    p9_put64(out, times[i] % NS_PER_S);
  }
  p9_put64(out, 0);
  p9_put64(out, 0);
  return 0;
}

static i32 set_owner(struct share *share, struct p9_fid *fid, u32 valid, u32 mode, u32 uid, u32 gid) {
  struct host_stat stat;
  struct place place;
  i32 error = stat_fid(share, fid, &stat);
  if (error) return error;
  if ((valid & SET_MODE) && stat.tells_mode) {
    error = locate_fid(fid, &place);
    if (!error) error = host_path_set_mode(share->directory, place.path, mode);
    if (error) return error;
    valid &= ~SET_MODE;
  }
  if (!(valid & (SET_MODE | SET_UID | SET_GID))) return 0;
  struct p9_owner fresh = attributes(share, &stat), *owner = p9_owner_of(share->index, qid_path(share, &stat), &fresh);
  if (valid & SET_MODE) owner->mode = mode & MODE_BITS;
  if (valid & SET_UID) owner->uid = uid;
  if (valid & SET_GID) owner->gid = gid;
  return 0;
}

static i32 set_size(struct share *share, struct p9_fid *fid, u64 size) {
  struct place place;
  if (fid->type != HOST_FILE) return fid->type == HOST_DIRECTORY ? -E_ISDIR : -E_INVAL;
  i32 fd = descriptor(fid, true);
  if (fd >= 0) return host_file_set_size(fd, size);
  i32 error = locate_fid(fid, &place);
  if (error) return error;
  fd = host_path_open(share->directory, place.path, false, true, false);
  if (fd < 0) return fd;
  error = host_file_set_size(fd, size);
  host_close(fd);
  return error;
}

static u64 get_time(struct p9_in *in) {
  u64 seconds = p9_get64(in), ns = p9_get64(in);
  return seconds < 1ull << 33 ? seconds * NS_PER_S + ns % NS_PER_S : 0;
}

static i32 on_setattr(struct call *call) {
  struct p9_fid *fid = get_fid(call);
  struct p9_in *in = &call->in;
  u32 valid = p9_get32(in), mode = p9_get32(in), uid = p9_get32(in), gid = p9_get32(in), which = 0;
  u64 size = p9_get64(in), atime = get_time(in), mtime = get_time(in);
  struct place place;
  i32 error = 0;
  if (in->bad) return -E_INVAL;
  if (!fid) return -E_BADF;
  if (valid & (SET_MODE | SET_UID | SET_GID)) error = set_owner(call->share, fid, valid, mode, uid, gid);
  if (!error && (valid & SET_SIZE)) error = set_size(call->share, fid, size);
  if (valid & SET_ATIME) which |= valid & SET_ATIME_GIVEN ? HOST_TIME_ATIME : HOST_TIME_ATIME_NOW;
  if (valid & SET_MTIME) which |= valid & SET_MTIME_GIVEN ? HOST_TIME_MTIME : HOST_TIME_MTIME_NOW;
  if (error || !which) return error;
  i32 fd = descriptor(fid, false);
  if (fd >= 0) return host_file_set_times(fd, atime, mtime, which);
  error = locate_fid(fid, &place);
  return error ? error : host_path_set_times(call->share->directory, place.path, atime, mtime, which);
}

static i32 on_statfs(struct call *call) {
  if (!get_fid(call)) return -E_BADF;
  p9_put32(&call->out, V9FS_MAGIC);
  p9_put32(&call->out, BLOCK_SIZE);
  for (u32 i = 0; i < 5; i++) p9_put64(&call->out, FREE_BLOCKS);
  p9_put64(&call->out, call->share->index);
  p9_put32(&call->out, HOST_NAME_MAX);
  return 0;
}

/* ---- sessions and walking ---- */

static i32 on_version(struct call *call) {
  u32 msize = p9_get32(&call->in);
  struct host_path version = p9_get_text(&call->in);
  bool known = version.len == sizeof VERSION_TEXT - 1 && bytes_equal(version.bytes, VERSION_TEXT, version.len);
  if (call->in.bad || msize < MSIZE_MIN) return -E_INVAL;
  p9_fid_remove_all(call->share->index);
  call->share->msize = msize < P9_MSIZE_MAX ? msize : P9_MSIZE_MAX;
  p9_put32(&call->out, call->share->msize);
  if (known) p9_put_text(&call->out, VERSION_TEXT, sizeof VERSION_TEXT - 1);
  else p9_put_text(&call->out, "unknown", 7);
  return 0;
}

/* "UID:GID"; anything else means nobody in particular: root. */
static void read_owner(struct share *share, struct host_path text) {
  u64 ids[2] = {0, 0};
  u32 at = 0;
  for (u32 i = 0; i < text.len; i++) {
    char c = text.bytes[i];
    if (c == ':' && at == 0) at = 1;
    else if (c >= '0' && c <= '9' && ids[at] < 1ull << 32) ids[at] = ids[at] * 10 + (u64)(c - '0');
    else return;
  }
  if (ids[0] >> 32 || ids[1] >> 32) return;
  share->uid = (u32)ids[0];
  share->gid = (u32)ids[1];
}

static i32 on_attach(struct call *call) {
  struct share *share = call->share;
  u32 number = p9_get32(&call->in), auth = p9_get32(&call->in);
  p9_get_text(&call->in);
  struct host_path aname = p9_get_text(&call->in);
  struct host_stat stat;
  if (call->in.bad || auth != NO_FID || number == NO_FID) return -E_INVAL;
  i32 error = host_path_stat(share->directory, no_name, &stat);
  if (error) return error;
  p9_node_hold(p9_root(share->index));
  error = p9_fid_add(share->index, number, p9_root(share->index), HOST_DIRECTORY);
  if (error) {
    p9_node_release(p9_root(share->index));
    return error;
  }
  share->root_device = stat.device;
  share->uid = share->gid = 0;
  read_owner(share, aname);
  put_qid(call, &stat);
  return 0;
}

/* One step; `*node` is held, and becomes the next one, held. */
static i32 step(struct share *share, struct p9_node **node, enum host_type *type, struct host_path name, struct host_stat *stat) {
  struct place place;
  struct p9_node *next;
  if (*type != HOST_DIRECTORY) return -E_NOTDIR;
  if (name.len == 2 && bytes_equal(name.bytes, "..", 2)) {
    next = (*node)->parent ? (*node)->parent : *node;
    p9_node_hold(next);
  } else {
    i32 error = check_name(name);
    if (error) return error == -E_INVAL ? -E_NOENT : error;
    next = p9_node_child(*node, name);
    if (!next) return -E_NFILE;
  }
  i32 error = p9_path(next, no_name, place.buffer, &place.path);
  if (!error) error = host_path_stat(share->directory, place.path, stat);
  if (error) {
    p9_node_release(next);
    return error;
  }
  p9_node_release(*node);
  *node = next;
  *type = stat->type;
  return 0;
}

static i32 on_walk(struct call *call) {
  struct share *share = call->share;
  struct p9_fid *fid = get_fid(call);
  u32 number = p9_get32(&call->in), count = p9_get16(&call->in), done = 0, count_at = call->out.len;
  struct host_stat stat;
  if (!fid) return -E_BADF;
  bool same = number == fid->number;
  if (call->in.bad || count > WALK_MAX || number == NO_FID || (same && fid->fd >= 0)) return -E_INVAL;
  if (!same && p9_fid_find(share->index, number)) return -E_BADF;
  struct p9_node *node = fid->node;
  enum host_type type = fid->type;
  i32 error = 0;
  p9_node_hold(node);
  p9_put16(&call->out, 0);
  for (; done < count && !error; done += !error) {
    struct host_path name = p9_get_text(&call->in);
    error = call->in.bad ? -E_INVAL : step(share, &node, &type, name, &stat);
    if (!error) put_qid(call, &stat);
  }
  // A walk that ends early makes no fid; one that does not begin is an error.
  if (error) {
    p9_node_release(node);
    if (done == 0 || call->in.bad) return error;
  } else if (same) {
    p9_node_release(fid->node);
    fid->node = node;
    fid->type = type;
  } else {
    error = p9_fid_add(share->index, number, node, type);
    if (error) {
      p9_node_release(node);
      return error;
    }
  }
  call->out.bytes[count_at] = (u8)done;
  return 0;
}

static i32 on_clunk(struct call *call) {
  struct p9_fid *fid = get_fid(call);
  if (!fid) return -E_BADF;
  p9_fid_remove(fid);
  return 0;
}

/* ---- opening, reading, writing ---- */

static i32 open_file(struct share *share, struct p9_fid *fid, u32 flags) {
  struct place place;
  if (fid->fd >= 0) return -E_INVAL;
  if (fid->type == HOST_SYMLINK) return -E_LOOP;
  if (fid->type != HOST_FILE && fid->type != HOST_DIRECTORY) return -E_NXIO;
  bool is_directory = fid->type == HOST_DIRECTORY;
  u32 access = flags & OPEN_ACCESS;
  bool writes = access == OPEN_WRITE_ONLY || access == OPEN_READ_WRITE;
  if (is_directory && writes) return -E_ISDIR;
  if (!is_directory && (flags & OPEN_DIRECTORY)) return -E_NOTDIR;
  i32 error = locate_fid(fid, &place);
  if (error) return error;
  i32 fd = is_directory ? host_path_open_directory(share->directory, place.path) : host_path_open(share->directory, place.path, access != OPEN_WRITE_ONLY, writes, false);
  if (fd < 0) return fd;
  if ((flags & OPEN_TRUNC) && writes) error = host_file_set_size(fd, 0);
  if (!error && !p9_fid_open(fid, fd, writes)) error = -E_MFILE;
  if (error) host_close(fd);
  return error;
}

static i32 put_opened(struct call *call, const struct p9_fid *fid) {
  struct host_stat stat;
  i32 error = stat_fid(call->share, fid, &stat);
  if (error) return error;
  put_qid(call, &stat);
  // iounit: whole pages of data per message, so that a long write stays aligned.
  p9_put32(&call->out, (call->share->msize - IO_HEADER_LEN) & ~(BLOCK_SIZE - 1));
  return 0;
}

static i32 on_lopen(struct call *call) {
  struct p9_fid *fid = get_fid(call);
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

static i32 on_lcreate(struct call *call) {
  struct share *share = call->share;
  struct p9_fid *fid = get_directory(call);
  struct host_path name = p9_get_text(&call->in);
  u32 flags = p9_get32(&call->in), mode = p9_get32(&call->in), gid = p9_get32(&call->in);
  struct place place;
  struct host_stat stat;
  if (call->in.bad) return -E_INVAL;
  i32 error = locate(fid, name, &place);
  if (error) return error;
  if (fid->fd >= 0) return -E_INVAL;
  u32 access = flags & OPEN_ACCESS;
  bool writes = access != 0;
  i32 fd = host_path_open(share->directory, place.path, access != OPEN_WRITE_ONLY, writes, true);
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
  if (!error && !p9_fid_open(fid, fd, writes)) error = -E_MFILE;
  if (error) {
    host_close(fd);
    return error;
  }
  adopt(share, place.path, &stat, mode & MODE_BITS, gid);
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

static i32 on_read(struct call *call) {
  struct p9_fid *fid = get_fid(call);
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

static i32 on_write(struct call *call) {
  struct p9_fid *fid = get_fid(call);
  u64 offset = p9_get64(&call->in);
  u32 count = p9_get32(&call->in);
  struct host_vector vectors[VIRTQ_MAX];
  if (call->in.bad || count > call->size - DATA_AT_WRITE) return -E_INVAL;
  if (!fid || fid->fd < 0 || !fid->writes) return -E_BADF;
  i64 done = count ? host_file_write(fid->fd, vectors, vectors_of(call->chain, false, DATA_AT_WRITE, count, vectors), offset) : 0;
  if (done < 0) return (i32)done;
  p9_put32(&call->out, (u64)done < count ? (u32)done : count);
  return 0;
}

static i32 on_fsync(struct call *call) {
  struct p9_fid *fid = get_fid(call);
  u32 data_only = p9_get32(&call->in);
  if (!fid || fid->fd < 0) return -E_BADF;
  return fid->type == HOST_FILE ? host_file_sync(fid->fd, data_only != 0) : 0;
}

/* ---- directories ---- */

static bool is_dots(const struct host_entry *entry) {
  return (entry->name_len == 1 && entry->name[0] == '.') || (entry->name_len == 2 && entry->name[0] == '.' && entry->name[1] == '.');
}

/* False: there is no room for it. */
static bool put_entry(struct p9_out *out, u64 inode, enum host_type type, u64 next, const char *name, u32 name_len) {
  if (out->capacity - out->len < 24 + name_len) return false;
  p9_put8(out, qid_type(type));
  p9_put32(out, 0);
  p9_put64(out, inode);
  p9_put64(out, next);
  p9_put8(out, entry_type(type));
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
    i32 error = stat_fid(call->share, fid, &stat);
    if (error) return error;
    u64 inode = qid_path(call->share, &stat);
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

static i32 on_readdir(struct call *call) {
  struct p9_fid *fid = get_fid(call);
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

/* ---- names ---- */

static i32 put_created(struct call *call, struct host_path path, u32 mode, u32 gid) {
  struct host_stat stat;
  i32 error = host_path_stat(call->share->directory, path, &stat);
  if (error) return error;
  adopt(call->share, path, &stat, mode & MODE_BITS, gid);
  put_qid(call, &stat);
  return 0;
}

static i32 on_mkdir(struct call *call) {
  struct p9_fid *fid = get_directory(call);
  struct host_path name = p9_get_text(&call->in);
  u32 mode = p9_get32(&call->in), gid = p9_get32(&call->in);
  struct place place;
  if (call->in.bad) return -E_INVAL;
  i32 error = locate(fid, name, &place);
  if (!error) error = host_path_make_directory(call->share->directory, place.path);
  if (error) return error;
  p9_node_forget(fid->node, name);
  return put_created(call, place.path, mode, gid);
}

static i32 on_mknod(struct call *call) {
  struct p9_fid *fid = get_directory(call);
  struct host_path name = p9_get_text(&call->in);
  u32 mode = p9_get32(&call->in);
  p9_get64(&call->in);
  u32 gid = p9_get32(&call->in);
  struct place place;
  if (call->in.bad) return -E_INVAL;
  i32 error = locate(fid, name, &place);
  if (error) return error;
  if ((mode & S_TYPE) != S_FILE) return -E_PERM;
  i32 fd = host_path_open(call->share->directory, place.path, true, true, true);
  if (fd < 0) return fd;
  host_close(fd);
  p9_node_forget(fid->node, name);
  return put_created(call, place.path, mode, gid);
}

static i32 on_symlink(struct call *call) {
  struct p9_fid *fid = get_directory(call);
  struct host_path name = p9_get_text(&call->in), target = p9_get_text(&call->in);
  u32 gid = p9_get32(&call->in);
  struct place place;
  if (call->in.bad) return -E_INVAL;
  if (target.len == 0) return -E_NOENT;
  for (u32 i = 0; i < target.len; i++)
    if (target.bytes[i] == 0) return -E_INVAL;
  i32 error = target.len >= P9_PATH_MAX ? -E_NAMETOOLONG : locate(fid, name, &place);
  if (!error) error = host_path_symlink(call->share->directory, target, place.path);
  if (error) return error;
  p9_node_forget(fid->node, name);
  return put_created(call, place.path, 0777, gid);
}

static i32 on_readlink(struct call *call) {
  struct p9_fid *fid = get_fid(call);
  struct place place;
  char target[P9_PATH_MAX];
  if (!fid) return -E_BADF;
  if (fid->type != HOST_SYMLINK) return -E_INVAL;
  i32 len = locate_fid(fid, &place);
  if (!len) len = host_path_readlink(call->share->directory, place.path, target, sizeof target);
  if (len < 0) return len;
  p9_put_text(&call->out, target, (u32)len);
  return 0;
}

static i32 on_link(struct call *call) {
  struct p9_fid *directory = get_directory(call), *fid = get_fid(call);
  struct host_path name = p9_get_text(&call->in);
  struct place from, to;
  if (call->in.bad) return -E_INVAL;
  if (!fid) return -E_BADF;
  if (fid->type == HOST_DIRECTORY) return -E_PERM;
  i32 error = locate(directory, name, &to);
  if (!error) error = locate_fid(fid, &from);
  if (!error) error = host_path_link(call->share->directory, from.path, to.path);
  if (!error) p9_node_forget(directory->node, name);
  return error;
}

static i32 rename_entry(struct share *share, struct p9_node *from, struct host_path from_name, struct p9_fid *to, struct host_path to_name) {
  struct place source, target;
  i32 error = locate(to, to_name, &target);
  if (!error) error = p9_path(from, from_name, source.buffer, &source.path);
  if (!error) error = host_path_rename(share->directory, source.path, target.path);
  if (!error) p9_node_move(from, from_name, to->node, to_name);
  return error;
}

static i32 on_renameat(struct call *call) {
  struct p9_fid *from = get_directory(call);
  struct host_path from_name = p9_get_text(&call->in);
  struct p9_fid *to = get_directory(call);
  struct host_path to_name = p9_get_text(&call->in);
  if (call->in.bad) return -E_INVAL;
  if (!from) return -E_NOTDIR;
  i32 error = check_name(from_name);
  return error ? error : rename_entry(call->share, from->node, from_name, to, to_name);
}

static i32 on_rename(struct call *call) {
  struct p9_fid *fid = get_fid(call), *to = get_directory(call);
  struct host_path name = p9_get_text(&call->in);
  if (call->in.bad) return -E_INVAL;
  if (!fid) return -E_BADF;
  if (!fid->node->parent) return fid->node->gone ? -E_NOENT : -E_BUSY;
  // Its name is that of the node, which moves meanwhile.
  char own[HOST_NAME_MAX];
  struct host_path own_name = {own, fid->node->name_len};
  copy_bytes(own, fid->node->name, own_name.len);
  return rename_entry(call->share, fid->node->parent, own_name, to, name);
}

static i32 remove_entry(struct share *share, struct p9_node *parent, struct host_path name, bool is_directory) {
  struct place place;
  struct host_stat stat;
  i32 error = p9_path(parent, name, place.buffer, &place.path);
  if (!error) error = host_path_stat(share->directory, place.path, &stat);
  if (!error && is_directory && stat.type != HOST_DIRECTORY) error = -E_NOTDIR;
  if (!error && !is_directory && stat.type == HOST_DIRECTORY) error = -E_ISDIR;
  if (!error) error = host_path_remove(share->directory, place.path, is_directory);
  if (error) return error;
  // Its number may be another file's soon.
  if (is_directory || stat.links <= 1) p9_owner_forget(share->index, qid_path(share, &stat));
  p9_node_forget(parent, name);
  return 0;
}

static i32 on_unlinkat(struct call *call) {
  struct p9_fid *fid = get_directory(call);
  struct host_path name = p9_get_text(&call->in);
  u32 flags = p9_get32(&call->in);
  if (call->in.bad) return -E_INVAL;
  if (!fid) return -E_NOTDIR;
  i32 error = check_name(name);
  return error ? error : remove_entry(call->share, fid->node, name, flags & AT_REMOVEDIR);
}

/* Clunks the fid in any case. */
static i32 on_remove(struct call *call) {
  struct p9_fid *fid = get_fid(call);
  if (!fid) return -E_BADF;
  struct p9_node *node = fid->node;
  char own[HOST_NAME_MAX];
  struct host_path name = {own, node->name_len};
  copy_bytes(own, node->name, name.len);
  i32 error = node->parent ? remove_entry(call->share, node->parent, name, fid->type == HOST_DIRECTORY) : node->gone ? -E_NOENT : -E_BUSY;
  p9_fid_remove(fid);
  return error;
}

/* ---- the rest ---- */

static i32 on_lock(struct call *call) {
  if (!get_fid(call)) return -E_BADF;
  p9_put8(&call->out, 0);
  return 0;
}

static i32 on_getlock(struct call *call) {
  if (!get_fid(call)) return -E_BADF;
  p9_get8(&call->in);
  u64 start = p9_get64(&call->in), length = p9_get64(&call->in);
  u32 process = p9_get32(&call->in);
  struct host_path client = p9_get_text(&call->in);
  if (call->in.bad) return -E_INVAL;
  p9_put8(&call->out, LOCK_UNLOCKED);
  p9_put64(&call->out, start);
  p9_put64(&call->out, length);
  p9_put32(&call->out, process);
  p9_put_text(&call->out, client.bytes, client.len);
  return 0;
}

static i32 on_flush(struct call *call) {
  (void)call;
  return 0;
}

static i32 on_unsupported(struct call *call) {
  (void)call;
  return -E_OPNOTSUPP;
}

/* By type of the request; the reply's is one more. */
static i32 (*const handlers[128])(struct call *call) = {
    [8] = on_statfs, [12] = on_lopen, [14] = on_lcreate, [16] = on_symlink, [18] = on_mknod, [20] = on_rename, [22] = on_readlink,
    [24] = on_getattr, [26] = on_setattr, [30] = on_unsupported, [32] = on_unsupported, [40] = on_readdir, [50] = on_fsync, [52] = on_lock,
    [54] = on_getlock, [70] = on_link, [72] = on_mkdir, [74] = on_renameat, [76] = on_unlinkat, [100] = on_version, [102] = on_unsupported,
    [104] = on_attach, [108] = on_flush, [110] = on_walk, [116] = on_read, [118] = on_write, [120] = on_clunk, [122] = on_remove,
};
#define REPLY_ERROR 7

/* Returns how many bytes of the chain were written. */
static u32 serve(struct share *share, const struct chain *chain) {
  u32 readable = chain_readable_len(chain), writable = chain_writable_len(chain);
  u32 len = chain_read(chain, 0, request_bytes, REQUEST_MAX);
  struct call call = {
      .share = share, .chain = chain, .in = {.bytes = request_bytes, .len = len}, .out = {.bytes = reply_bytes, .capacity = REPLY_MAX, .len = P9_HEADER_LEN},
  };
  call.size = p9_get32(&call.in);
  u8 type = p9_get8(&call.in);
  u16 tag = p9_get16(&call.in);
  i32 error = -E_OPNOTSUPP;
  if (call.in.bad || call.size < P9_HEADER_LEN || call.size > readable || call.size > share->msize) {
    error = -E_INVAL;
  } else if (type < COUNT_OF(handlers) && handlers[type]) {
    if (call.in.len > call.size) call.in.len = call.size;
    error = handlers[type](&call);
  }
  if (!error && (call.out.bad || call.out.len + call.data > writable)) error = -E_IO;
  if (error) {
    call.out.len = P9_HEADER_LEN;
    call.out.bad = false;
    call.data = 0;
    p9_put32(&call.out, (u32)-error);
    type = REPLY_ERROR - 1;
  }
  u32 total = call.out.len + call.data;
  if (total > writable) return 0;
  call.out.capacity = P9_HEADER_LEN;
  call.out.len = 0;
  p9_put32(&call.out, total);
  p9_put8(&call.out, type + 1);
  p9_put16(&call.out, tag);
  return chain_write(chain, 0, reply_bytes, total - call.data) + call.data;
}

static void on_notify(struct virtio_device *device, u32 queue) {
  struct share *share = (struct share *)device;
  struct chain chain;
  bool any = false;
  while (virtq_pop(device, queue, &chain)) {
    virtq_push(device, queue, chain.head, serve(share, &chain));
    any = true;
  }
  if (any) virtq_signal(device, queue);
}

static void on_reset(struct virtio_device *device) {
  struct share *share = (struct share *)device;
  p9_fid_remove_all(share->index);
  share->msize = P9_MSIZE_MAX;
}

void p9_init(u32 index, i32 fd) {
  struct share *share = &shares[index];
  static const char prefix[] = "share";
  u16 len = sizeof prefix;
  share->index = index;
  share->directory = fd;
  share->msize = P9_MSIZE_MAX;
  copy_bytes(share->tag, prefix, len);
  share->tag[len - 1] = (char)('0' + index);
  share->tag[len] = 0;
  copy_bytes(share->config, &len, 2);
  copy_bytes(share->config + 2, share->tag, len);
  share->device.type = TYPE_9P;
  share->device.features = F_MOUNT_TAG;
  share->device.queue_count = 1;
  share->device.config = share->config;
  share->device.config_len = 2 + len;
  share->device.notify = on_notify;
  share->device.reset = on_reset;
  virtio_attach(&share->device, SLOT_SHARE + index);
}

static i32 reopen(const struct p9_fid *fid) {
  i32 directory = shares[fid->share].directory;
  struct place place;
  if (directory < 0 || locate_fid(fid, &place)) return LOST_FD;
  i32 fd = fid->type == HOST_DIRECTORY ? host_path_open_directory(directory, place.path) : host_path_open(directory, place.path, true, fid->writes, false);
  // It may have been open for writing because that alone is allowed.
  if (fd < 0 && fid->writes) fd = host_path_open(directory, place.path, false, true, false);
  return fd < 0 ? LOST_FD : fd;
}

void p9_resume(u32 index, i32 fd) {
  struct host_stat stat;
  shares[index].directory = fd;
  if (fd >= 0 && host_path_stat(fd, no_name, &stat) == 0) shares[index].root_device = stat.device;
  p9_fid_reopen_all(index, reopen);
}

const char *p9_tag(u32 index) { return shares[index].tag; }
