#include "dev/rtc.h"

#include "board/bus.h"
#include "board/clock.h"
#include "board/map.h"

#define TIME_LOW 0x00
#define TIME_HIGH 0x04

/** wall clock at the last read of TIME_LOW, which latches TIME_HIGH */
static u64 latched_ns;

static bool on_read(u32 offset, u32 size, u64 *value) {
  if (size != 4) return false;
  if (offset == TIME_LOW) latched_ns = clock_wall_ns();
  *value = offset == TIME_LOW ? (u32)latched_ns : offset == TIME_HIGH ? latched_ns >> 32 : 0;
  return true;
}

/* Alarms and setting the clock are accepted and have no effect: the wall clock is the host's. */
static bool on_write(u32 offset, u32 size, u64 value) {
  (void)offset;
  (void)value;
  return size == 4;
}

void rtc_init(void) {
  static const struct bus_device device = {on_read, on_write};
  bus_register(RTC_BASE, RTC_SIZE, &device);
}
