#include "dev/p9_call.h"

#define QT_DIR 0x80
#define QT_SYMLINK 0x02
#define S_DIR 0040000u
#define S_FILE 0100000u

struct p9_fid *p9_get_fid(struct call *call) {
  u32 number = p9_get32(&call->in);
  return p9_fid_find(call->share->index, number);
}

struct p9_fid *p9_get_directory(struct call *call) {
  struct p9_fid *fid = p9_get_fid(call);
  return fid && fid->type == HOST_DIRECTORY ? fid : NULL;
}

i32 p9_check_name(struct host_path name) {
  if (name.len > HOST_NAME_MAX) return -E_NAMETOOLONG;
  if (name.len == 0 || (name.len == 1 && name.bytes[0] == '.') || (name.len == 2 && name.bytes[0] == '.' && name.bytes[1] == '.')) return -E_INVAL;
  for (u32 i = 0; i < name.len; i++)
    if (name.bytes[i] == '/' || name.bytes[i] == 0) return -E_INVAL;
  return 0;
}

i32 p9_locate(const struct p9_fid *directory, struct host_path name, struct place *place) {
  if (!directory) return -E_NOTDIR;
  i32 error = p9_check_name(name);
  return error ? error : p9_path(directory->node, name, place->buffer, &place->path);
}

i32 p9_locate_fid(const struct p9_fid *fid, struct place *place) { return p9_path(fid->node, p9_no_name, place->buffer, &place->path); }

i32 p9_descriptor(const struct p9_fid *fid, bool writes) {
  if (fid->fd >= 0 && (fid->writes || !writes)) return fid->fd;
  if (!fid->node->gone) return -1;
  for (const struct p9_fid *other = fid->node->open; other; other = other->next_open)
    if (other->writes || !writes) return other->fd;
  return -1;
}

i32 p9_stat_fid(const struct share *share, const struct p9_fid *fid, struct host_stat *stat) {
  struct place place;
  i32 fd = p9_descriptor(fid, false);
  if (fd >= 0) return host_file_stat(fd, stat);
  i32 error = p9_locate_fid(fid, &place);
  return error ? error : host_path_stat(share->directory, place.path, stat);
}

u64 p9_qid_path(const struct share *share, const struct host_stat *stat) { return stat->inode ^ ((stat->device ^ share->root_device) * 0x9e3779b97f4a7c15); }

u8 p9_qid_type(enum host_type type) { return type == HOST_DIRECTORY ? QT_DIR : type == HOST_SYMLINK ? QT_SYMLINK : 0; }

void p9_put_qid(struct call *call, const struct host_stat *stat) {
  p9_put8(&call->out, p9_qid_type(stat->type));
  p9_put32(&call->out, (u32)(stat->mtime_ns ^ stat->mtime_ns >> 32));
  p9_put64(&call->out, p9_qid_path(call->share, stat));
}

u32 p9_type_bits(enum host_type type) {
  static const u32 bits[] = {[HOST_FILE] = S_FILE, [HOST_DIRECTORY] = S_DIR, [HOST_SYMLINK] = 0120000, [HOST_SOCKET] = 0140000, [HOST_OTHER] = 0010000};
  return bits[type];
}

/* As in a directory's entries: dirent's DT_… are the upper bits of a mode. */
u8 p9_entry_type(enum host_type type) { return (u8)(p9_type_bits(type) >> 12); }
