/* proc_wait.h: waits for a time or for a bell, without Python.
 *
 *      now ........ sleep ........ woken .. spin .. until
 *                                  |<---- margin --->|
 *
 * The margin is learnt from earlier wake-ups (wake_margin.h). A budget (spin_budget.h) allows about
 * a seventh of a core for spinning in the long run. When it is used up, the thread sleeps until the
 * time itself and is late by a wake-up. If there is nothing to wait for, nothing runs.
 *
 * One thread waits. Any thread rings the bell. */
#ifndef PYTHON_RTPSYNTH_PROC_WAIT_H
#define PYTHON_RTPSYNTH_PROC_WAIT_H

#include "base/rt_atomic.h"
#include "proto/pacing/spin_budget.h"
#include "proto/pacing/wake_margin.h"

#include <stdint.h>

typedef struct proc_wait {
    rt_a32_t bell;
    wake_margin_t margin;
    spin_budget_t budget;
} proc_wait_t;

void proc_wait_init(proc_wait_t *w);

/* Call it once, in the thread that will wait. Its sleeps must end at the requested time, not up to
 * 50 us later (the kernel's default slack for ordinary threads), and it must run then, not after a
 * slice of a computing thread. Best effort: settings that the kernel refuses stay unchanged. */
void proc_wait_enter_thread(void);

/* Ends a wait that has seen an earlier value of the bell. */
void proc_wait_ring(proc_wait_t *w);

/* The bell only says "check again". A lock guards what to check. */
static inline uint32_t proc_wait_bell(proc_wait_t *w)
{
    return rt_load_relaxed(&w->bell);
}

/* Returns at until_mono_ns (RT_NEVER_NS: never), or when the bell differs from bell. */
void proc_wait_until(proc_wait_t *w, uint32_t bell, int64_t until_mono_ns);

#endif
