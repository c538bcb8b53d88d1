/* idle.h: when the worker sleeps, how long, and when it must.
 *
 *     nothing to do            sleep                spin       next deadline
 *        |---- spin_until ----|=====================|------------|
 *                                                   |<- margin ->|
 *
 * Three waiting profiles:
 *   latency   never sleeps voluntarily; rests only as much as the budget requires, not while
 *             another event may be expected
 *   balanced  after an event spins while the next one, or an answer, is likely to come soon
 *             (proto/pacing/soon.h), then sleeps; wakes a learnt margin before the next deadline
 *   power     sleeps at once; wakes at the deadline less the time that half of its wake-ups take
 *
 * Under SCHED_FIFO a budget bounds the time awake, see proto/pacing/spin_budget.h. Worker's thread.
 */
#ifndef WRK_IDLE_H
#define WRK_IDLE_H

#include "proto/pacing/soon.h"
#include "proto/pacing/spin_budget.h"
#include "proto/pacing/wake_margin.h"
#include "shm/shm_layout.h"
#include "worker/poller.h"

#include <stdbool.h>

/* What was served at once. One kind may be the answer to the other. */
#define IDLE_SENT 1u
#define IDLE_ARRIVED 2u

typedef struct idle {
    shm_profile_t profile;
    bool bounded; /* SCHED_FIFO: the budget applies */
    spin_budget_t budget;
    wake_margin_t margin;       /* balanced and latency: nearly all wake-ups in time */
    wake_margin_t power_margin; /* power: half of them */
    soon_t event;               /* of any kind */
    soon_t answer;
    uint32_t came; /* IDLE_*: since the last event */
    uint32_t came_before;
    int64_t sleep_cost_ns;       /* CPU time that a sleep takes, smoothed */
    int64_t asleep_from_mono_ns; /* the last sleep of any kind: when it began */
    int64_t woken_mono_ns;       /* and when it was over */
    int64_t missed_by_ns;        /* how late that was, if it was very late, otherwise 0 */
    int64_t asked_mono_ns;       /* the requested end, if it was missed */
    shm_worker_page_t *page;
} idle_t;

void idle_init(idle_t *i, shm_worker_page_t *page, bool bounded, int64_t now_mono_ns);

/* Notes that something happened in this pass: work was found or an event came. */
void idle_note_event(idle_t *i, int64_t now_mono_ns);

/* Notes that something was served at once in this pass. kind: IDLE_*. */
static inline void idle_note_came(idle_t *i, uint32_t kind)
{
    i->came |= kind;
}

/* Margin before a deadline in the current profile. */
int64_t idle_margin_ns(const idle_t *i);

/* Sleeps if half of the budget is used, a deadline is near, and the margin fits between the sleep
 * and the deadline. The more of the budget is used up, the less must fit: a forced rest would look
 * at no deadline. No event ends it, so it is short: 40 us until its time-out. Returns true if it
 * slept. */
bool idle_rest_ahead(idle_t *i, int64_t now_mono_ns, int64_t next_mono_ns);

/* Sleeps if the budget demands it, even if something is due. Returns true if it did. */
bool idle_forced_rest(idle_t *i, int64_t now_mono_ns);

/* How long to sleep now, in a pass that found nothing, with the next deadline at next_mono_ns. 0:
 * continue to spin. */
int64_t idle_sleep_ns(idle_t *i, int64_t now_mono_ns, int64_t next_mono_ns);

/* Sleeps in the poller, until its time-out or an event, and accounts for the sleep. */
void idle_sleep(idle_t *i, poller_t *p, int64_t now_mono_ns, int64_t sleep_ns);

#endif
