/*
 * Requests that open, read, write and list.
 */
#ifndef P9_FILES_H
#define P9_FILES_H

#include "dev/p9_call.h"

i32 p9_on_lopen(struct call *call);
i32 p9_on_lcreate(struct call *call);
i32 p9_on_read(struct call *call);
i32 p9_on_write(struct call *call);
i32 p9_on_fsync(struct call *call);
i32 p9_on_readdir(struct call *call);

#endif
