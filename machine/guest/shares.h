/*
 * The shared directories of a run: what the host has preopened, but for the directories that are the machine's own. Each becomes a
 * virtio-9p device and, in the guest, a mount at the name that the host gives it.
 */
#ifndef SHARES_H
#define SHARES_H

#include "base.h"

struct shared_directory {
  /** where in the guest, absolute */
  const char *path;
  const char *tag;
  /** physical address of its device, by which the guest's driver knows it */
  u64 device;
};

/** Looks for them and plugs in their devices; called once, when the guest is ready for them. */
void shares_attach(void);
/** Finds them again for a machine that was saved: by name, in a host whose descriptors are others. */
void shares_resume(void);
u32 shares_count(void);
const struct shared_directory *shares_get(u32 index);

#endif
