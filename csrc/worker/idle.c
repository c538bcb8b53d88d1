#include "worker/idle.h"

#include "base/rt_clock.h"

#include <time.h>

/* A sleep and its wake-up cost about 30 us on a virtual machine. A shorter sleep gains nothing. */
#define SHORTEST_SLEEP_NS (30 * RT_NS_PER_US)
/* The worker spins through gaps up to this: about the cost of falling asleep and waking up. */
#define EXPECT_WITHIN_NS (50 * RT_NS_PER_US)
/* A core's fair server runs ordinary tasks for up to 50 ms a second, in one piece, if they got less
 * than that. It counts the time that they really ran: a rest minus SWITCH_NS, the time for
 * falling asleep, switching and waking. The budget here counts the same: ordinary tasks get 6 % of
 * the time.
 *
 * A deadline in a rest is late by the remaining part of the rest. So the length of rests trades the
 * 99th percentile of a schedule against the cost of the switches. 50,000 packets a second on a
 * virtual machine of two cores, lateness at a receiver in us, an ordinary endless loop on the
 * worker's core; 2 to 4 runs of 4 to 8 s, while other work kept the load at 4 to 6:
 *
 *     rest  asleep  to others    p50       p90      p99      longest
 *       20   15.5 %   4.9 %      1.6-1.9   10-15    20-21    52 ms, once of two: the fair server
 *       25   13 %     5.2-5.7    1.6-1.7   10-11    22-23    0.5-1.5 ms
 *       30   11 %     6.1-6.3    1.6-2.0    5-14    25-26    0.2-0.5 ms
 *       45    9 %     5.1-6.1    1.6-1.9    3-9     38-39    0.1-4.0 ms
 *       60    8 %     5.9        1.3-1.7    3-9     52-54    0.2-0.5 ms
 *     none (shmring-floor) -     1.5       1.6      36,000   48-52 ms, even without the loop
 *
 * "To others": if only the loop wanted the core. Longest gap in 20 s of sending without a pause,
 * rests of 30 us: 0.5 and 0.5 ms, one packet a call 2.3 ms, without the loop 4.6 ms. The throttle
 * of real-time groups, if a kernel has it, requires 5 % asleep and gets more. */
#define BUSY_PERMILLE 945
#define BUSY_WINDOW_NS (100 * RT_NS_PER_MS)
#define BUSY_BURST_NS (500 * RT_NS_PER_US)
#define REST_NS (30 * RT_NS_PER_US)
/* A rest that will be forced is taken ahead, before a deadline within this time, if the margin is
 * left between the two. If it will be forced soon, the spare time is enough, because a forced rest
 * does not look at deadlines. */
#define REST_AHEAD_WITHIN_NS RT_NS_PER_MS
#define REST_AHEAD_SPARE_NS (30 * RT_NS_PER_US)
#define FORCED_SOON_NS (2 * RT_NS_PER_MS)
#define SWITCH_NS (14 * RT_NS_PER_US)
#define MISSED_WAKE_NS RT_NS_PER_MS
#define POWER_MARGIN_MIN_NS (1 * RT_NS_PER_US)
#define POWER_MARGIN_MAX_NS (100 * RT_NS_PER_US)

void idle_init(idle_t *i, shm_worker_page_t *page, bool bounded, int64_t now_mono_ns)
{
    *i = (idle_t){.page = page, .bounded = bounded, .last_event_mono_ns = now_mono_ns};
    wake_margin_config_t normal = wake_margin_config_default();
    wake_margin_config_t half = normal;
    half.min_ns = POWER_MARGIN_MIN_NS;
    half.max_ns = POWER_MARGIN_MAX_NS;
    half.quantile_permille = 500;
    wake_margin_init(&i->power_margin, &half);
    wake_margin_init(&i->margin, &normal);
    spin_budget_config_t budget = {
        .limit_permille = BUSY_PERMILLE,
        .window_ns = BUSY_WINDOW_NS,
        .burst_ns = BUSY_BURST_NS,
        .rest_ns = REST_NS,
    };
    spin_budget_init(&i->budget, &budget, now_mono_ns);
}

void idle_note_event(idle_t *i, int64_t now_mono_ns)
{
    int64_t gap = now_mono_ns - i->last_event_mono_ns;
    i->last_event_mono_ns = now_mono_ns;
    /* An eighth follows a change of rate within about ten events. Long pauses count as 1 ms. */
    gap = gap < RT_NS_PER_MS ? gap : RT_NS_PER_MS;
    i->gap_ns += (gap - i->gap_ns) / 8;
    bool expected = i->gap_ns <= EXPECT_WITHIN_NS;
    i->spin_until_mono_ns = expected ? now_mono_ns + 2 * i->gap_ns : 0;
}

int64_t idle_margin_ns(const idle_t *i)
{
    return wake_margin_ns(i->profile == SHM_PROFILE_POWER ? &i->power_margin : &i->margin);
}

/* asked_mono_ns: the latest end of the sleep. by_time: the time ended it and no event. A process
 * that was stopped finds an event and the time, and then the time is right. */
static void account_sleep(idle_t *i, int64_t from_mono_ns, int64_t asked_mono_ns, bool by_time)
{
    int64_t now = rt_mono_ns();
    int64_t given = from_mono_ns + SWITCH_NS;
    spin_budget_slept(&i->budget, given < now ? given : now, now);
    i->asleep_from_mono_ns = from_mono_ns;
    i->woken_mono_ns = now;
    i->missed_by_ns = 0;
    rt_bump(&i->page->sleeps, 1);
    rt_bump(&i->page->slept_ns, (uint64_t)(now - from_mono_ns));
    int64_t latency = now - asked_mono_ns;
    if (by_time) {
        wake_margin_observe(&i->margin, latency);
        wake_margin_observe(&i->power_margin, latency);
        rt_hist_add(&i->page->wake_latency, latency);
    }
    if (latency <= MISSED_WAKE_NS)
        return;
    rt_bump(&i->page->missed_wakes, 1);
    i->missed_by_ns = latency;
    i->asked_mono_ns = asked_mono_ns;
}

/* Waking up takes time, which also counts as rest. */
static void take_rest(idle_t *i, int64_t now_mono_ns, int64_t rest_ns)
{
    int64_t wake = wake_margin_ns(&i->power_margin);
    int64_t until = now_mono_ns + rest_ns - (wake < rest_ns / 2 ? wake : rest_ns / 2);
    struct timespec at = {.tv_sec = until / RT_NS_PER_S, .tv_nsec = until % RT_NS_PER_S};
    /* Not in the poller, where a waiting event would end the rest before it began. */
    (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
    account_sleep(i, now_mono_ns, until, true);
}

static int64_t spare_ns(idle_t *i, int64_t now_mono_ns)
{
    int64_t margin = idle_margin_ns(i);
    if (margin < REST_AHEAD_SPARE_NS ||
        spin_budget_ends_within(&i->budget, now_mono_ns, FORCED_SOON_NS))
        return REST_AHEAD_SPARE_NS;
    return margin;
}

bool idle_rest_ahead(idle_t *i, int64_t now_mono_ns, int64_t next_mono_ns)
{
    if (!i->bounded || next_mono_ns - now_mono_ns > REST_AHEAD_WITHIN_NS)
        return false;
    int64_t free_until = next_mono_ns - spare_ns(i, now_mono_ns);
    if (spin_budget_wants_rest_ns(&i->budget, now_mono_ns, free_until) == 0)
        return false;
    take_rest(i, now_mono_ns, REST_NS);
    return true;
}

bool idle_forced_rest(idle_t *i, int64_t now_mono_ns)
{
    int64_t rest = i->bounded ? spin_budget_rest_ns(&i->budget, now_mono_ns) : 0;
    if (rest == 0)
        return false;
    take_rest(i, now_mono_ns, rest);
    rt_bump(&i->page->forced_rests, 1);
    return true;
}

int64_t idle_sleep_ns(idle_t *i, int64_t now_mono_ns, int64_t next_mono_ns)
{
    int64_t until = next_mono_ns - idle_margin_ns(i);
    /* A rest that the next event ends costs more than it gives the budget: the forced ones do. */
    if (i->profile != SHM_PROFILE_POWER && now_mono_ns < i->spin_until_mono_ns)
        return 0;
    if (i->profile == SHM_PROFILE_LATENCY)
        return i->bounded ? spin_budget_wants_rest_ns(&i->budget, now_mono_ns, until) : 0;
    int64_t left = until - now_mono_ns;
    return left >= SHORTEST_SLEEP_NS ? left : 0;
}

void idle_sleep(idle_t *i, poller_t *p, int64_t now_mono_ns, int64_t sleep_ns)
{
    int64_t from = rt_mono_ns();
    int64_t until = now_mono_ns + sleep_ns;
    if (until <= from)
        return;
    int events = poller_wait(p, until - from);
    account_sleep(i, from, until, events <= 0);
}
