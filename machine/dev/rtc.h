/*
 * Goldfish RTC: wall clock for hctosys. No alarm: the device tree gives it an interrupt, which never fires.
 */
#ifndef RTC_H
#define RTC_H

#include "base.h"

MUST_USE bool rtc_read(u32 offset, u32 size, u64 *value);
MUST_USE bool rtc_write(u32 offset, u32 size, u64 value);

#endif
