#include "dev/virtio_9p.h"

#include "board/map.h"
#include "dev/p9_attributes.h"
#include "dev/p9_call.h"
#include "dev/p9_files.h"
#include "dev/p9_names.h"

#define TYPE_9P 9
#define F_MOUNT_TAG (1ull << 0)
#define MSIZE_MIN 8192u
/* The longest request but for the data of Twrite: a symbolic link with its target. */
#define REQUEST_MAX 8192u
#define WALK_MAX 16u
#define NO_FID 0xffffffffu
#define VERSION_TEXT "9P2000.L"
#define LOCK_UNLOCKED 2
/* A descriptor that the host has not. */
#define LOST_FD 0x7fffffff

static struct share shares[SHARES_MAX];
static u8 request_bytes[REQUEST_MAX], reply_bytes[REPLY_MAX];

/* ---- sessions and walking ---- */

static i32 p9_on_version(struct call *call) {
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
  if (at == 0 || ids[0] >> 32 || ids[1] >> 32) return;
  share->uid = (u32)ids[0];
  share->gid = (u32)ids[1];
}

static i32 p9_on_attach(struct call *call) {
  struct share *share = call->share;
  u32 number = p9_get32(&call->in), auth = p9_get32(&call->in);
  p9_get_text(&call->in);
  struct host_path aname = p9_get_text(&call->in);
  struct host_stat stat;
  if (call->in.bad || auth != NO_FID || number == NO_FID) return -E_INVAL;
  i32 error = host_path_stat(share->directory, p9_no_name, &stat);
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
  p9_put_qid(call, &stat);
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
    i32 error = p9_check_name(name);
    if (error) return error == -E_INVAL ? -E_NOENT : error;
    next = p9_node_child(*node, name);
    if (!next) return -E_NFILE;
  }
  i32 error = p9_path(next, p9_no_name, place.buffer, &place.path);
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

static i32 p9_on_walk(struct call *call) {
  struct share *share = call->share;
  struct p9_fid *fid = p9_get_fid(call);
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
    if (!error) p9_put_qid(call, &stat);
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

static i32 p9_on_clunk(struct call *call) {
  struct p9_fid *fid = p9_get_fid(call);
  if (!fid) return -E_BADF;
  p9_fid_remove(fid);
  return 0;
}

/* ---- the rest ---- */

static i32 p9_on_lock(struct call *call) {
  if (!p9_get_fid(call)) return -E_BADF;
  p9_put8(&call->out, 0);
  return 0;
}

static i32 p9_on_getlock(struct call *call) {
  if (!p9_get_fid(call)) return -E_BADF;
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

static i32 p9_on_flush(struct call *call) {
  (void)call;
  return 0;
}

static i32 p9_on_unsupported(struct call *call) {
  (void)call;
  return -E_OPNOTSUPP;
}

/* By type of the request; the reply's is one more. */
static i32 (*const handlers[128])(struct call *call) = {
    [8] = p9_on_statfs, [12] = p9_on_lopen, [14] = p9_on_lcreate, [16] = p9_on_symlink, [18] = p9_on_mknod, [20] = p9_on_rename, [22] = p9_on_readlink,
    [24] = p9_on_getattr, [26] = p9_on_setattr, [30] = p9_on_unsupported, [32] = p9_on_unsupported, [40] = p9_on_readdir, [50] = p9_on_fsync, [52] = p9_on_lock,
    [54] = p9_on_getlock, [70] = p9_on_link, [72] = p9_on_mkdir, [74] = p9_on_renameat, [76] = p9_on_unlinkat, [100] = p9_on_version, [102] = p9_on_unsupported,
    [104] = p9_on_attach, [108] = p9_on_flush, [110] = p9_on_walk, [116] = p9_on_read, [118] = p9_on_write, [120] = p9_on_clunk, [122] = p9_on_remove,
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
  if (directory < 0 || p9_locate_fid(fid, &place)) return LOST_FD;
  i32 fd = fid->type == HOST_DIRECTORY ? host_path_open_directory(directory, place.path) : host_path_open(directory, place.path, (struct host_open){.reads = true, .writes = fid->writes, .appends = fid->appends});
  // It may have been open for writing because that alone is allowed.
  if (fd < 0 && fid->writes) fd = host_path_open(directory, place.path, (struct host_open){.writes = true, .appends = fid->appends});
  return fd < 0 ? LOST_FD : fd;
}

void p9_resume(u32 index, i32 fd) {
  struct host_stat stat;
  shares[index].directory = fd;
  if (fd >= 0 && host_path_stat(fd, p9_no_name, &stat) == 0) shares[index].root_device = stat.device;
  p9_fid_reopen_all(index, reopen);
}

const char *p9_tag(u32 index) { return shares[index].tag; }
