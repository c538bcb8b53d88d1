/* proc_wait.h: waiting for a point in time or for a bell, without Python.
 *
 *      now ........ sleep ........ woken .. spin .. until
 *                                  |<---- margin --->|
 *
 * The margin is learnt from the wake-ups before (wake_margin.h). Spinning is paid for from an
 * account (spin_budget.h) that allows about a seventh of a core in the long run; where it is spent,
 * the thread sleeps up to the point itself and is late by a wake-up. Without anything to wait for
 * nothing runs.
 *
 * One thread waits; bell is rung by any thread. */
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

/* Once, in the thread that will wait: its sleeps are to end when asked for, not up to 50 us later
 * (the kernel's default slack for ordinary threads), and it is to run then, not after a slice of
 * whoever computes. Best effort: what the kernel refuses stays as it was. */
void proc_wait_enter_thread(void);

/* Ends a wait that has seen an earlier value of the bell. */
void proc_wait_ring(proc_wait_t *w);

/* The bell says "look again" and carries nothing: what to look at is guarded by a lock. */
static inline uint32_t proc_wait_bell(proc_wait_t *w)
{
    return rt_load_relaxed(&w->bell);
}

/* Returns at until_mono_ns (RT_NEVER_NS: never), or when the bell is not, or no longer, bell. */
void proc_wait_until(proc_wait_t *w, uint32_t bell, int64_t until_mono_ns);

#endif
