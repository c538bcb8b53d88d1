/* clock_watch.h: the worker's clocks after the time of day is set. Worker's thread.
 *
 * After a step, deadlines in CLOCK_TAI have other times of CLOCK_MONOTONIC. The kernel reports a
 * step at once (a timer of CLOCK_REALTIME that a step cancels), and they are scheduled again. */
#ifndef WRK_CLOCK_WATCH_H
#define WRK_CLOCK_WATCH_H

#include "worker/worker.h"

/* Returns 0 or -errno with a text. */
int clock_watch_open(worker_t *w);

/* A duty of the loop: notices changes that the kernel does not report, such as the first TAI
 * offset. */
void clock_watch_refresh(worker_t *w, int64_t now_mono_ns);

/* The time was set. */
void clock_watch_stepped(worker_t *w, int64_t now_mono_ns);

#endif
