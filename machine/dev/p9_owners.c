#include "dev/p9_owners.h"

#define WAYS 8u

static struct p9_owner owners[P9_OWNERS_MAX / WAYS][WAYS];
static u32 turn;

static struct p9_owner *set_of(u32 share, u64 file) {
  u64 hash = (file ^ (u64)share << 56) * 0x9e3779b97f4a7c15;
  return owners[hash >> 40 & (P9_OWNERS_MAX / WAYS - 1)];
}

struct p9_owner *p9_owner_find(u32 share, u64 file) {
  struct p9_owner *set = set_of(share, file);
  for (u32 i = 0; i < WAYS; i++)
    if (set[i].share == share + 1 && set[i].file == file) return &set[i];
  return NULL;
}

struct p9_owner *p9_owner_of(u32 share, u64 file, const struct p9_owner *fresh) {
  struct p9_owner *owner = p9_owner_find(share, file), *set = set_of(share, file);
  if (owner) return owner;
  for (u32 i = 0; i < WAYS && !owner; i++)
    if (!set[i].share) owner = &set[i];
  if (!owner) owner = &set[turn++ % WAYS];
  *owner = *fresh;
  owner->file = file;
  owner->share = share + 1;
  return owner;
}

void p9_owner_forget(u32 share, u64 file) {
  struct p9_owner *owner = p9_owner_find(share, file);
  if (owner) owner->share = 0;
}
