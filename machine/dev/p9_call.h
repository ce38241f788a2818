/*
 * A 9P request while it is served, and what the families of requests have in common: p9_attributes.h, p9_files.h, p9_names.h, and the
 * sessions and walks of virtio_9p.c, which calls them all.
 *
 * A request's function reads its fields from `in`, puts its reply's into `out`, and returns 0 or a negative errno: then the reply is
 * an error, whatever was put.
 */
#ifndef P9_CALL_H
#define P9_CALL_H

#include "dev/p9_tree.h"
#include "dev/p9_wire.h"
#include "dev/virtio_mmio.h"

/** Largest message: what Linux's transport takes at most (125 pages). */
#define P9_MSIZE_MAX 512000u
#define P9_TAG_MAX 16u
#define READDIR_MAX 32768u
#define REPLY_MAX (READDIR_MAX + 64)
#define MODE_BITS 07777u
#define BLOCK_SIZE 4096u

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

struct place {
  char buffer[P9_PATH_MAX];
  struct host_path path;
};

static const struct host_path p9_no_name = {"", 0};

/* NULL: there is no such fid. */
struct p9_fid *p9_get_fid(struct call *call);
/* A directory for a name to be in; NULL: it is none. */
struct p9_fid *p9_get_directory(struct call *call);
i32 p9_check_name(struct host_path name);
/* The path of a new or present name in a directory, which may be NULL: E_NOTDIR. */
MUST_USE i32 p9_locate(const struct p9_fid *directory, struct host_path name, struct place *place);
MUST_USE i32 p9_locate_fid(const struct p9_fid *fid, struct place *place);
/* A descriptor of the file, its own or another fid's; negative: none. */
i32 p9_descriptor(const struct p9_fid *fid, bool writes);
i32 p9_stat_fid(const struct share *share, const struct p9_fid *fid, struct host_stat *stat);

u64 p9_qid_path(const struct share *share, const struct host_stat *stat);
u8 p9_qid_type(enum host_type type);
void p9_put_qid(struct call *call, const struct host_stat *stat);
u32 p9_type_bits(enum host_type type);
u8 p9_entry_type(enum host_type type);

#endif
