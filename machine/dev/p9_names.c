#include "dev/p9_names.h"

#include "dev/p9_attributes.h"
#include "dev/p9_owners.h"

#define S_FILE 0100000u
#define S_TYPE 0170000u
#define AT_REMOVEDIR 0x200u

static i32 put_created(struct call *call, struct host_path path, u32 mode, u32 gid) {
  struct host_stat stat;
  i32 error = host_path_stat(call->share->directory, path, &stat);
  if (error) return error;
  p9_adopt(call->share, path, &stat, mode & MODE_BITS, gid);
  p9_put_qid(call, &stat);
  return 0;
}

i32 p9_on_mkdir(struct call *call) {
  struct p9_fid *fid = p9_get_directory(call);
  struct host_path name = p9_get_text(&call->in);
  u32 mode = p9_get32(&call->in), gid = p9_get32(&call->in);
  struct place place;
  if (call->in.bad) return -E_INVAL;
  i32 error = p9_locate(fid, name, &place);
  if (!error) error = host_path_make_directory(call->share->directory, place.path);
  if (error) return error;
  p9_node_forget(fid->node, name);
  return put_created(call, place.path, mode, gid);
}

i32 p9_on_mknod(struct call *call) {
  struct p9_fid *fid = p9_get_directory(call);
  struct host_path name = p9_get_text(&call->in);
  u32 mode = p9_get32(&call->in);
  p9_get64(&call->in);
  u32 gid = p9_get32(&call->in);
  struct place place;
  if (call->in.bad) return -E_INVAL;
  i32 error = p9_locate(fid, name, &place);
  if (error) return error;
  if ((mode & S_TYPE) != S_FILE) return -E_PERM;
  i32 fd = host_path_open(call->share->directory, place.path, (struct host_open){.reads = true, .writes = true, .creates = true});
  if (fd < 0) return fd;
  host_close(fd);
  p9_node_forget(fid->node, name);
  return put_created(call, place.path, mode, gid);
}

i32 p9_on_symlink(struct call *call) {
  struct p9_fid *fid = p9_get_directory(call);
  struct host_path name = p9_get_text(&call->in), target = p9_get_text(&call->in);
  u32 gid = p9_get32(&call->in);
  struct place place;
  if (call->in.bad) return -E_INVAL;
  if (target.len == 0) return -E_NOENT;
  for (u32 i = 0; i < target.len; i++)
    if (target.bytes[i] == 0) return -E_INVAL;
  i32 error = target.len >= P9_PATH_MAX ? -E_NAMETOOLONG : p9_locate(fid, name, &place);
  if (!error) error = host_path_symlink(call->share->directory, target, place.path);
  if (error) return error;
  p9_node_forget(fid->node, name);
  return put_created(call, place.path, 0777, gid);
}

i32 p9_on_readlink(struct call *call) {
  struct p9_fid *fid = p9_get_fid(call);
  struct place place;
  char target[P9_PATH_MAX];
  if (!fid) return -E_BADF;
  if (fid->type != HOST_SYMLINK) return -E_INVAL;
  i32 len = p9_locate_fid(fid, &place);
  if (!len) len = host_path_readlink(call->share->directory, place.path, target, sizeof target);
  if (len < 0) return len;
  p9_put_text(&call->out, target, (u32)len);
  return 0;
}

i32 p9_on_link(struct call *call) {
  struct p9_fid *directory = p9_get_directory(call), *fid = p9_get_fid(call);
  struct host_path name = p9_get_text(&call->in);
  struct place from, to;
  if (call->in.bad) return -E_INVAL;
  if (!fid) return -E_BADF;
  if (fid->type == HOST_DIRECTORY) return -E_PERM;
  i32 error = p9_locate(directory, name, &to);
  if (!error) error = p9_locate_fid(fid, &from);
  if (!error) error = host_path_link(call->share->directory, from.path, to.path);
  if (!error) p9_node_forget(directory->node, name);
  return error;
}

static i32 rename_entry(struct share *share, struct p9_node *from, struct host_path from_name, struct p9_fid *to, struct host_path to_name) {
  struct place source, target;
  i32 error = p9_locate(to, to_name, &target);
  if (!error) error = p9_path(from, from_name, source.buffer, &source.path);
  if (!error) error = host_path_rename(share->directory, source.path, target.path);
  if (!error) p9_node_move(from, from_name, to->node, to_name);
  return error;
}

i32 p9_on_renameat(struct call *call) {
  struct p9_fid *from = p9_get_directory(call);
  struct host_path from_name = p9_get_text(&call->in);
  struct p9_fid *to = p9_get_directory(call);
  struct host_path to_name = p9_get_text(&call->in);
  if (call->in.bad) return -E_INVAL;
  if (!from) return -E_NOTDIR;
  i32 error = p9_check_name(from_name);
  return error ? error : rename_entry(call->share, from->node, from_name, to, to_name);
}

i32 p9_on_rename(struct call *call) {
  struct p9_fid *fid = p9_get_fid(call), *to = p9_get_directory(call);
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
  if (is_directory || stat.links <= 1) p9_owner_forget(share->index, p9_qid_path(share, &stat));
  p9_node_forget(parent, name);
  return 0;
}

i32 p9_on_unlinkat(struct call *call) {
  struct p9_fid *fid = p9_get_directory(call);
  struct host_path name = p9_get_text(&call->in);
  u32 flags = p9_get32(&call->in);
  if (call->in.bad) return -E_INVAL;
  if (!fid) return -E_NOTDIR;
  i32 error = p9_check_name(name);
  return error ? error : remove_entry(call->share, fid->node, name, flags & AT_REMOVEDIR);
}

/* Clunks the fid in any case. */
i32 p9_on_remove(struct call *call) {
  struct p9_fid *fid = p9_get_fid(call);
  if (!fid) return -E_BADF;
  struct p9_node *node = fid->node;
  char own[HOST_NAME_MAX];
  struct host_path name = {own, node->name_len};
  copy_bytes(own, node->name, name.len);
  i32 error = node->parent ? remove_entry(call->share, node->parent, name, fid->type == HOST_DIRECTORY) : node->gone ? -E_NOENT : -E_BUSY;
  p9_fid_remove(fid);
  return error;
}
