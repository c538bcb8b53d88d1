/* alarm.h: sleeping until an instant of CLOCK_MONOTONIC, to the microsecond. The kernel wakes a
 * process some tens of microseconds late, so a sleep ends that much earlier and the rest is
 * spun. */
#ifndef CLIENT_ALARM_H
#define CLIENT_ALARM_H

#include <stdint.h>

/* The longest time that is spun. */
#define ALARM_MOST_EARLY_NS INT64_C(200000)

/* A timer whose descriptor becomes readable. Returns it, or -errno with a text. */
int alarm_open(void);

/* The descriptor becomes readable at this time, and is not readable before. 0: never. Returns 0 or
 * -errno. */
int alarm_set(int fd, int64_t at_mono_ns);

/* Spins until the time, at most ALARM_MOST_EARLY_NS. Returns the time after that. */
int64_t alarm_spin(int64_t until_mono_ns);

/* Sleeps in this thread until the time, or until a signal comes. Returns the time after that. */
int64_t alarm_sleep(int64_t until_mono_ns);

/* How much earlier to wake: the estimate after a wake-up that took took_ns. It follows long ones
 * quickly and short ones slowly, so it is near the longest of the usual ones. */
int64_t alarm_early_ns(int64_t early_ns, int64_t took_ns);

#endif
