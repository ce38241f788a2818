/*
 * What a 9P client holds on to: fids, and the files that they stand for.
 *
 * Theory of operation
 *
 * WASI names files by paths, 9P by fids that outlive a rename. So a fid points to a node, which is a name in another node, up to the
 * share's root: the path is made when it is needed, and renaming a directory moves one node. All fids of one file share its node, so
 * that a file that was removed while it is open (`gone`: it has no path any more) is still reached through a descriptor of one
 * of them, as POSIX wants it.
 *
 *   fid 7 ──┐
 *   fid 9 ──┴▶ node "b.txt" ──parent──▶ node "src" ──▶ root of the share
 *
 * A node lives as long as a fid or a node below points to it. Both come from pools that grow up to a limit and are never given back; beyond
 * it the guest gets ENFILE. What the host changes by itself is not noticed: paths then lead where they lead.
 *
 * Invariant: a node that is not gone and not a root is in the table under (parent, name), and no other is.
 */
#ifndef P9_TREE_H
#define P9_TREE_H

#include "host/host_files.h"

/* Of all shares together. Linux holds a fid per open file and per path in use. */
#define P9_FIDS_MAX 16384u
#define P9_NODES_MAX 16384u
/* Descriptors of the host, of all shares together. */
#define P9_OPEN_MAX 1024u
/* Linux's PATH_MAX. */
#define P9_PATH_MAX 4096u

struct p9_node {
  /** NULL: a root, or gone */
  struct p9_node *parent;
  struct p9_node *next_in_bucket;
  /** fids of it with a descriptor */
  struct p9_fid *open;
  /** fids, and nodes below */
  u32 refs;
  bool gone;
  u8 name_len;
  char name[HOST_NAME_MAX];
};

struct p9_fid {
  u32 share, number;
  struct p9_node *node;
  enum host_type type;
  /** of the host; negative: not open */
  i32 fd;
  /** what it was opened for; `appends`: whatever offset a write names */
  bool reads, writes, appends;
  /** the descriptor itself does not append: it is another fid's */
  bool appends_by_size;
  struct p9_fid *next_in_bucket, *next_open;
};

/** NULL: there is none of this number. */
struct p9_fid *p9_fid_find(u32 share, u32 number);
/** A new fid for a node, which it takes over with one reference. Negative: E_BADF, it is in use; E_NFILE. */
MUST_USE i32 p9_fid_add(u32 share, u32 number, struct p9_node *node, enum host_type type);
/**
 * Gives the fid a descriptor of the host, which another fid of its node may have already: the last of them closes it. False: too many
 * are open.
 */
MUST_USE bool p9_fid_open(struct p9_fid *fid, i32 fd, struct host_open how);
void p9_fid_remove(struct p9_fid *fid);
/** All fids of a share, when its session ends. */
void p9_fid_remove_all(u32 share);
/** Gives each open fid of a share the descriptor that `reopen` gives, without closing the one that it has. */
void p9_fid_reopen_all(u32 share, i32 (*reopen)(const struct p9_fid *fid));

struct p9_node *p9_root(u32 share);
/** The node of a name, with one more reference; NULL: too many. */
struct p9_node *p9_node_child(struct p9_node *parent, struct host_path name);
void p9_node_hold(struct p9_node *node);
void p9_node_release(struct p9_node *node);
/** The file of this name was removed, or replaced. */
void p9_node_forget(struct p9_node *parent, struct host_path name);
/** The file was renamed. */
void p9_node_move(struct p9_node *from, struct host_path from_name, struct p9_node *to, struct host_path to_name);

/** The path of `name` in a node (of the node itself, if it is empty) in `buffer`. Negative: E_NOENT, E_NAMETOOLONG. */
MUST_USE i32 p9_path(const struct p9_node *node, struct host_path name, char buffer[P9_PATH_MAX], struct host_path *path);

#endif
