/*
 * Owners and, where the host has none, permission bits: what the guest has set is remembered for as long as the machine runs, for at most
 * P9_OWNERS_MAX files; then the oldest of those that fall on the same place is forgotten.
 */
#ifndef P9_OWNERS_H
#define P9_OWNERS_H

#include "base.h"

#define P9_OWNERS_MAX 4096u

struct p9_owner {
  /** qid path of the file and number of its share, from 1; 0: free */
  u64 file;
  u32 share;
  u32 mode, uid, gid;
};

/** NULL: nothing is remembered of this file. */
struct p9_owner *p9_owner_find(u32 share, u64 file);
/** The place for a file: what is remembered, or `fresh`. */
struct p9_owner *p9_owner_of(u32 share, u64 file, const struct p9_owner *fresh);
void p9_owner_forget(u32 share, u64 file);

#endif
