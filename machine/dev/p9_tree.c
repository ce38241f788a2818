#include "dev/p9_tree.h"

#include "board/map.h"

#define BUCKETS 2048u
#define CHUNK 65536u

/* Equal pieces out of chunks of the host's memory. */
struct pool {
  void *free;
  u32 size, count, max;
};

static struct pool node_pool = {.size = sizeof(struct p9_node), .max = P9_NODES_MAX};
static struct pool fid_pool = {.size = sizeof(struct p9_fid), .max = P9_FIDS_MAX};
static struct p9_node *nodes[BUCKETS];
static struct p9_fid *fids[BUCKETS];
static struct p9_node roots[SHARES_MAX];
static u32 open_count;

static void *take(struct pool *pool) {
  if (!pool->free) {
    u32 room = CHUNK / pool->size;
    if (pool->count >= pool->max) return NULL;
    u8 *chunk = host_memory(CHUNK);
    for (u32 i = 0; i < room; i++) {
      *(void **)(chunk + i * pool->size) = pool->free;
      pool->free = chunk + i * pool->size;
    }
    pool->count += room;
  }
  void *piece = pool->free;
  pool->free = *(void **)piece;
  fill_bytes(piece, 0, pool->size);
  return piece;
}

static void give_back(struct pool *pool, void *piece) {
  *(void **)piece = pool->free;
  pool->free = piece;
}

/* ---- nodes ---- */

static struct p9_node **node_bucket(const struct p9_node *parent, struct host_path name) {
  u32 hash = (u32)((uintptr_t)parent >> 3) * 0x9e3779b1u;
  for (u32 i = 0; i < name.len; i++) hash = (hash ^ (u8)name.bytes[i]) * 16777619u;
  return &nodes[hash >> 8 & (BUCKETS - 1)];
}

static struct host_path name_of(const struct p9_node *node) { return (struct host_path){node->name, node->name_len}; }

static struct p9_node *find(const struct p9_node *parent, struct host_path name) {
  for (struct p9_node *node = *node_bucket(parent, name); node; node = node->next_in_bucket)
    if (node->parent == parent && node->name_len == name.len && bytes_equal(node->name, name.bytes, name.len)) return node;
  return NULL;
}

static void add(struct p9_node *node, struct p9_node *parent, struct host_path name) {
  struct p9_node **bucket = node_bucket(parent, name);
  node->parent = parent;
  node->name_len = (u8)name.len;
  copy_bytes(node->name, name.bytes, name.len);
  node->next_in_bucket = *bucket;
  *bucket = node;
  p9_node_hold(parent);
}

/* Out of the table, and away from its parent. */
static void detach(struct p9_node *node) {
  struct p9_node **link = node_bucket(node->parent, name_of(node)), *parent = node->parent;
  while (*link != node) link = &(*link)->next_in_bucket;
  *link = node->next_in_bucket;
  node->parent = NULL;
  p9_node_release(parent);
}

struct p9_node *p9_root(u32 share) { return &roots[share]; }
void p9_node_hold(struct p9_node *node) { node->refs++; }

/* A loop, not a recursion: a chain may be as long as a path. Roots stay. */
void p9_node_release(struct p9_node *node) {
  while (--node->refs == 0 && !(node >= roots && node < roots + SHARES_MAX)) {
    struct p9_node *parent = node->parent;
    if (parent) {
      parent->refs++;
      detach(node);
    }
    give_back(&node_pool, node);
    if (!parent) return;
    node = parent;
  }
}

struct p9_node *p9_node_child(struct p9_node *parent, struct host_path name) {
  struct p9_node *node = find(parent, name);
  if (!node) {
    node = take(&node_pool);
    if (!node) return NULL;
    add(node, parent, name);
  }
  p9_node_hold(node);
  return node;
}

void p9_node_forget(struct p9_node *parent, struct host_path name) {
  struct p9_node *node = find(parent, name);
  if (!node) return;
  node->gone = true;
  detach(node);
}

void p9_node_move(struct p9_node *from, struct host_path from_name, struct p9_node *to, struct host_path to_name) {
  struct p9_node *node = find(from, from_name);
  if (node && node == find(to, to_name)) return;
  p9_node_forget(to, to_name);
  if (!node) return;
  detach(node);
  add(node, to, to_name);
}

i32 p9_path(const struct p9_node *node, struct host_path name, char buffer[P9_PATH_MAX], struct host_path *path) {
  u32 at = P9_PATH_MAX;
  for (struct host_path part = name;; node = node->parent) {
    if (part.len > 0) {
      bool first = at == P9_PATH_MAX;
      if (at < part.len + !first) return -E_NAMETOOLONG;
      if (!first) buffer[--at] = '/';
      at -= part.len;
      copy_bytes(buffer + at, part.bytes, part.len);
    }
    if (node->gone) return -E_NOENT;
    if (!node->parent) break;
    part = name_of(node);
  }
  *path = (struct host_path){buffer + at, P9_PATH_MAX - at};
  return 0;
}

/* ---- fids ---- */

static struct p9_fid **fid_bucket(u32 share, u32 number) { return &fids[(number * 0x9e3779b1u + share) >> 8 & (BUCKETS - 1)]; }

struct p9_fid *p9_fid_find(u32 share, u32 number) {
  for (struct p9_fid *fid = *fid_bucket(share, number); fid; fid = fid->next_in_bucket)
    if (fid->share == share && fid->number == number) return fid;
  return NULL;
}

i32 p9_fid_add(u32 share, u32 number, struct p9_node *node, enum host_type type) {
  if (p9_fid_find(share, number)) return -E_BADF;
  struct p9_fid *fid = take(&fid_pool), **bucket = fid_bucket(share, number);
  if (!fid) return -E_NFILE;
  *fid = (struct p9_fid){.share = share, .number = number, .node = node, .type = type, .fd = -1, .next_in_bucket = *bucket};
  *bucket = fid;
  return 0;
}

bool p9_fid_open(struct p9_fid *fid, i32 fd, struct host_open how) {
  if (open_count >= P9_OPEN_MAX) return false;
  open_count++;
  fid->fd = fd;
  fid->reads = how.reads;
  fid->writes = how.writes;
  fid->appends = how.appends;
  fid->appends_by_size = false;
  fid->next_open = fid->node->open;
  fid->node->open = fid;
  return true;
}

static void close_fid(struct p9_fid *fid) {
  if (fid->fd < 0) return;
  struct p9_fid **link = &fid->node->open;
  while (*link != fid) link = &(*link)->next_open;
  *link = fid->next_open;
  open_count--;
  for (struct p9_fid *other = fid->node->open; other; other = other->next_open)
    if (other->fd == fid->fd) return;
  host_close(fid->fd);
}

void p9_fid_remove(struct p9_fid *fid) {
  struct p9_fid **link = fid_bucket(fid->share, fid->number);
  while (*link != fid) link = &(*link)->next_in_bucket;
  *link = fid->next_in_bucket;
  close_fid(fid);
  p9_node_release(fid->node);
  give_back(&fid_pool, fid);
}

void p9_fid_reopen_all(u32 share, i32 (*reopen)(const struct p9_fid *fid)) {
  for (u32 i = 0; i < BUCKETS; i++)
    for (struct p9_fid *fid = fids[i]; fid; fid = fid->next_in_bucket)
      if (fid->share == share && fid->fd >= 0) fid->fd = reopen(fid);
}

void p9_fid_remove_all(u32 share) {
  for (u32 i = 0; i < BUCKETS; i++) {
    for (struct p9_fid *fid = fids[i], *next; fid; fid = next) {
      next = fid->next_in_bucket;
      if (fid->share == share) p9_fid_remove(fid);
    }
  }
}
