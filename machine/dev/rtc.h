/*
 * Goldfish RTC: wall clock for hctosys. No alarm: the device tree gives it an interrupt, which never fires.
 */
#ifndef RTC_H
#define RTC_H

void rtc_init(void);

#endif
