/* clock_watch.h: the worker's clocks when somebody sets the time. Worker's thread.
 *
 * Deadlines in CLOCK_TAI lie elsewhere on CLOCK_MONOTONIC after a step. The kernel says at once
 * that there was one (a timer of CLOCK_REALTIME that a step cancels), and they are placed anew. */
#ifndef WRK_CLOCK_WATCH_H
#define WRK_CLOCK_WATCH_H

#include "worker/worker.h"

/* Returns 0 or -errno with a text. */
int clock_watch_open(worker_t *w);

/* A duty of the loop: notices what the kernel does not report, such as the first TAI offset. */
void clock_watch_refresh(worker_t *w, int64_t now_mono_ns);

/* The time was set. */
void clock_watch_stepped(worker_t *w, int64_t now_mono_ns);

#endif
