#include "board/clock.h"

#include "host/host.h"

/* Virtual time: instructions per tick, that is 100 million instructions per second. */
#define VIRTUAL_RATE 10
/* Rates are in instructions per tick, fixed point with 8 bits of fraction. */
#define RATE_SHIFT 8
#define RATE_MIN (1u << RATE_SHIFT)
#define RATE_MAX (400u << RATE_SHIFT)
/* Readings in a row that are later than the estimate, by a tick each: 10 us. */
#define LEAD_MAX 100
/* A call into the host takes some 30 ns at least; browsers' clocks go in steps of 5 to 100 us, which are not waited for. */
#define HOST_LOOKS_MAX 4

static struct {
  /** instructions retired so far */
  u64 (*instret)(void);
  bool is_virtual;
  u64 epoch_ns;
  /** ticks at `mark_instret` */
  u64 mark_ticks;
  u64 mark_instret;
  /** host's clock that corresponds to guest tick 0, in ns */
  u64 host_zero_ns;
  /** host's clock at the last update, in ns */
  u64 host_mark_ns;
  u32 rate;
  /** latest time that the guest has seen */
  u64 last_ticks;
  /** readings in a row that were made later than the estimate */
  u32 lead;
} clock;

void clock_start_virtual(u64 epoch_s, u64 (*instret)(void)) {
  fill_bytes(&clock, 0, sizeof clock);
  clock.instret = instret;
  clock.is_virtual = true;
  clock.epoch_ns = epoch_s * 1000000000ull;
  clock.rate = VIRTUAL_RATE << RATE_SHIFT;
}

bool clock_is_virtual(void) { return clock.is_virtual; }

void clock_go_real(void) {
  u64 ticks = clock_ticks();
  u64 now = host_monotonic_ns();
  clock.is_virtual = false;
  clock.host_zero_ns = now - ticks * NS_PER_TICK;
  clock.host_mark_ns = now;
  clock.mark_ticks = ticks;
  clock.mark_instret = clock.instret();
}

void clock_update(void) {
  if (clock.is_virtual) return;
  u64 now = host_monotonic_ns();
  u64 instret = clock.instret();
  u64 done = instret - clock.mark_instret, ns = now - clock.host_mark_ns;
  // Short slices say little about speed.
  if (done >= 20000 && ns >= 20000) {
    u64 rate = (done << RATE_SHIFT) * NS_PER_TICK / ns;
    if (rate < RATE_MIN) rate = RATE_MIN;
    if (rate > RATE_MAX) rate = RATE_MAX;
    clock.rate = (u32)((clock.rate * 7ull + rate) / 8);
  }
  clock.host_mark_ns = now;
  clock.mark_instret = instret;
  clock.mark_ticks = (now - clock.host_zero_ns) / NS_PER_TICK;
}

u64 clock_ticks(void) {
  u64 done = clock.instret() - clock.mark_instret;
  u64 ticks = clock.mark_ticks + (done << RATE_SHIFT) / clock.rate;
  if (ticks < clock.last_ticks) return clock.last_ticks;
  clock.last_ticks = ticks;
  return ticks;
}

static void let_a_tick_pass(void) {
  u64 before = clock.mark_ticks;
  for (u32 i = 0; i < HOST_LOOKS_MAX && clock.mark_ticks <= before; i++) clock_update();
}

u64 clock_read(bool *waited) {
  u64 last = clock.last_ticks;
  *waited = !clock.is_virtual && clock.lead >= LEAD_MAX;
  if (*waited) let_a_tick_pass();
  if (clock_ticks() > last) {
    clock.lead = 0;
  } else {
    clock.last_ticks = last + 1;
    clock.lead++;
  }
  return clock.last_ticks;
}

u64 clock_wall_ns(void) {
  if (clock.is_virtual) return clock.epoch_ns + clock_ticks() * NS_PER_TICK;
  return host_realtime_ns();
}

u64 clock_instructions_until(u64 ticks) {
  u64 now = clock_ticks();
  if (ticks <= now) return 1;
  u64 delta = ticks - now;
  if (delta > 1u << 24) return 1ull << 32;
  return (delta * clock.rate >> RATE_SHIFT) + 1;
}

void clock_skip_to(u64 ticks) {
  if (ticks <= clock_ticks()) return;
  clock.mark_ticks = ticks;
  clock.mark_instret = clock.instret();
}
