#include "dev/p9_attributes.h"

#include "dev/p9_owners.h"

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
/* st_blksize: what programs read and write at a time. */
#define IO_SIZE 65536u
#define FREE_BLOCKS (1ull << 28)
#define V9FS_MAGIC 0x01021997u

static struct p9_owner attributes(const struct share *share, const struct host_stat *stat) {
  const struct p9_owner *set = p9_owner_find(share->index, p9_qid_path(share, stat));
  u32 usual = stat->type == HOST_SYMLINK ? 0777 : stat->type == HOST_DIRECTORY ? 0755 : 0644;
  struct p9_owner owner = set ? *set : (struct p9_owner){.mode = usual, .uid = share->uid, .gid = share->gid};
  if (stat->tells_mode) owner.mode = stat->mode;
  return owner;
}

void p9_adopt(const struct share *share, struct host_path path, struct host_stat *stat, u32 mode, u32 gid) {
  if (stat->tells_mode && stat->type != HOST_SYMLINK && stat->mode != mode && host_path_set_mode(share->directory, path, mode) == 0) stat->mode = mode;
  p9_owner_forget(share->index, p9_qid_path(share, stat));
  struct p9_owner owner = attributes(share, stat), wanted = {.mode = mode & MODE_BITS, .uid = share->uid, .gid = gid};
  if (owner.gid != gid || (!stat->tells_mode && owner.mode != wanted.mode)) p9_owner_of(share->index, p9_qid_path(share, stat), &wanted);
}

i32 p9_on_getattr(struct call *call) {
  struct p9_fid *fid = p9_get_fid(call);
  struct host_stat stat;
  if (!fid) return -E_BADF;
  i32 error = p9_stat_fid(call->share, fid, &stat);
  if (error) return error;
  struct p9_owner owner = attributes(call->share, &stat);
  struct p9_out *out = &call->out;
  p9_put64(out, GETATTR_BASIC);
  p9_put_qid(call, &stat);
  p9_put32(out, p9_type_bits(stat.type) | owner.mode);
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
  i32 error = p9_stat_fid(share, fid, &stat);
  if (error) return error;
  if ((valid & SET_MODE) && stat.tells_mode) {
    // By a descriptor where there is one: its file may have no name any more.
    i32 fd = p9_descriptor(fid, false);
    if (fd < 0) error = p9_locate_fid(fid, &place);
    if (!error) error = fd < 0 ? host_path_set_mode(share->directory, place.path, mode) : host_file_set_mode(fd, mode);
    if (error) return error;
    valid &= ~SET_MODE;
  }
  if (!(valid & (SET_MODE | SET_UID | SET_GID))) return 0;
  struct p9_owner fresh = attributes(share, &stat), *owner = p9_owner_of(share->index, p9_qid_path(share, &stat), &fresh);
  if (valid & SET_MODE) owner->mode = mode & MODE_BITS;
  if (valid & SET_UID) owner->uid = uid;
  if (valid & SET_GID) owner->gid = gid;
  return 0;
}

static i32 set_size(struct share *share, struct p9_fid *fid, u64 size) {
  struct place place;
  if (fid->type != HOST_FILE) return fid->type == HOST_DIRECTORY ? -E_ISDIR : -E_INVAL;
  i32 fd = p9_descriptor(fid, true);
  if (fd >= 0) return host_file_set_size(fd, size);
  i32 error = p9_locate_fid(fid, &place);
  if (error) return error;
  fd = host_path_open(share->directory, place.path, (struct host_open){.writes = true});
  if (fd < 0) return fd;
  error = host_file_set_size(fd, size);
  host_close(fd);
  return error;
}

static u64 get_time(struct p9_in *in) {
  u64 seconds = p9_get64(in), ns = p9_get64(in);
  return seconds < 1ull << 33 ? seconds * NS_PER_S + ns % NS_PER_S : 0;
}

i32 p9_on_setattr(struct call *call) {
  struct p9_fid *fid = p9_get_fid(call);
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
  i32 fd = p9_descriptor(fid, false);
  if (fd >= 0) return host_file_set_times(fd, atime, mtime, which);
  error = p9_locate_fid(fid, &place);
  return error ? error : host_path_set_times(call->share->directory, place.path, atime, mtime, which);
}

i32 p9_on_statfs(struct call *call) {
  if (!p9_get_fid(call)) return -E_BADF;
  p9_put32(&call->out, V9FS_MAGIC);
  p9_put32(&call->out, BLOCK_SIZE);
  for (u32 i = 0; i < 5; i++) p9_put64(&call->out, FREE_BLOCKS);
  p9_put64(&call->out, call->share->index);
  p9_put32(&call->out, HOST_NAME_MAX);
  return 0;
}
