/*
 * A module under way: functions of units, and around them what the host's compiler wants.
 */
#ifndef MODULE_H
#define MODULE_H

#include "cpu/translate/emit.h"

/** Takes memory for it, once. */
void module_open(void);
/** There may not be room for another one: it is to be finished first. */
bool module_is_full(void);
/** Adds the unit's function; false: there is no room, or it can't be expressed. */
MUST_USE bool module_add(const struct ir_unit *unit, struct emit_targets *targets);
/** The request that has the functions so far compiled, to be entries of the table from `first_slot` on; NULL: it does not fit. Begins anew. */
const u8 *module_finish(u32 first_slot, u32 *len);
/** The request that takes `count` functions out of the table. */
const u8 *module_release(u32 first_slot, u32 count, u32 *len);
/** Forgets what is under way. */
void module_reset(bool zero);

#endif
