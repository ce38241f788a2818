/*
 * Requests for attributes of files: what the host tells, and what it does not.
 */
#ifndef P9_ATTRIBUTES_H
#define P9_ATTRIBUTES_H

#include "dev/p9_call.h"

/* What a new file gets from its creator; the host's own idea of it counts where the host has one. */
void p9_adopt(const struct share *share, struct host_path path, struct host_stat *stat, u32 mode, u32 gid);

i32 p9_on_getattr(struct call *call);
i32 p9_on_setattr(struct call *call);
i32 p9_on_statfs(struct call *call);

#endif
