/*
 * The interpreter: runs decoded blocks until the slice is used up or something needs the run loop.
 */
#ifndef INTERP_H
#define INTERP_H

#include "base.h"

/** Runs about `slice` instructions; returns early when hart.leave or hart.wfi is set. */
void interp_run(i32 slice);

#endif
