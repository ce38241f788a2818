/*
 * Time as the guest sees it: the `time` CSR, 10 MHz like QEMU's virt board.
 *
 * Reading the host's clock costs a call out of wasm, and the guest reads `time` in every system call. So the host's
 * clock is read once per slice of the run loop, and within a slice time advances with the instructions
 * retired, at the rate last measured. It never goes back: where the estimate ran ahead it stands still until real time
 * has caught up.
 *
 * Each of the guest's readings is later than the one before, as programs expect that have seen no faster processor. Where the
 * estimate is not, it is the last one and a tick. A loop of readings, each in less than a tick, would so run away from the host's
 * clock: after LEAD_MAX in a row each looks at that clock, until it has moved or the looking has taken about a tick.
 *
 * In the wizer phase there is no host clock: time is instructions retired, and idling skips to the next timer,
 * so that the same input gives the same snapshot.
 */
#ifndef CLOCK_H
#define CLOCK_H

#include "base.h"

#define TICKS_PER_SECOND 10000000ull
#define NS_PER_TICK 100ull

/** Time is virtual from 0 until `clock_go_real`. `epoch_s` is the wall clock at 0; `instret` counts the instructions retired. */
void clock_start_virtual(u64 epoch_s, u64 (*instret)(void));
/** From now on time is the host's; the guest's ticks continue without a jump. */
void clock_go_real(void);
/** Reads the host's clock and learns the guest's speed; called at the end of each slice and after sleeping. */
void clock_update(void);
/** Time now: not earlier than the guest's last reading. */
u64 clock_ticks(void);
/** The `time` CSR as the guest reads it: later than at its last reading. `waited`: the host's time has passed meanwhile. */
u64 clock_read(bool *waited);
/** Wall clock for the RTC and the agent, in ns since 1970. */
u64 clock_wall_ns(void);
/** How many instructions until `ticks`, at the present rate, at least 1. */
u64 clock_instructions_until(u64 ticks);
/** Virtual time only: lets the clock jump to `ticks`, since nothing can happen before. */
void clock_skip_to(u64 ticks);
bool clock_is_virtual(void);

#endif
