/*
 * Requests that make, link, rename and remove names.
 */
#ifndef P9_NAMES_H
#define P9_NAMES_H

#include "dev/p9_call.h"

i32 p9_on_mkdir(struct call *call);
i32 p9_on_mknod(struct call *call);
i32 p9_on_symlink(struct call *call);
i32 p9_on_readlink(struct call *call);
i32 p9_on_link(struct call *call);
i32 p9_on_renameat(struct call *call);
i32 p9_on_rename(struct call *call);
i32 p9_on_unlinkat(struct call *call);
i32 p9_on_remove(struct call *call);

#endif
