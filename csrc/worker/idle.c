#include "worker/idle.h"

#include "base/rt_clock.h"

#include <time.h>

/* A sleep and its wake-up cost about 30 us on a virtual machine. A shorter sleep gains nothing. */
#define SHORTEST_SLEEP_NS (30 * RT_NS_PER_US)
/* The worker spins through gaps up to this: about the cost of falling asleep and waking up. */
#define EXPECT_WITHIN_NS (50 * RT_NS_PER_US)
/* What the kernel requires of a core with a worker that never stops, within each second:
 *
 *   the throttle of real-time tasks      50 ms in which no real-time task runs, even on a core that
 *   (before Linux 6.12, and with         nobody wants. Otherwise it stops them for the rest.
 *   CONFIG_RT_GROUP_SCHED)
 *   the fair server (since Linux 6.12)   50 ms for ordinary tasks, idle time included, if one of
 *                                        them waits. Otherwise it runs them for what is left.
 *                                        Linux 6.18 was once seen to run them for 50 ms although
 *                                        they had got more than that. Rests cannot prevent it, if
 *                                        it is the kernel's account that is wrong.
 *
 * Both count the time that the worker was off the core. A rest also costs time on the core, for
 * falling asleep and waking up: 10 us on a quiet virtual machine, 25 us when its host is busy. A
 * time-out that ends before the worker is off the core gives nothing at all. So a rest counts as
 * its length without the CPU time that it took, and no rest is shorter than its time-out needs.
 *
 * Where a rest fits between two deadlines, it costs nothing. For that the account lasts 70 ms: a
 * video picture, or a burst, passes without a rest, and the gap behind it pays. In a schedule whose
 * gaps g are all shorter than a rest r (r = cost + off), a rest makes one deadline late if
 * r < 2 g, by r - g if it begins right after a packet, and by up to r if it begins anywhere. With a
 * share a of the time off the core, a / (r - cost) rests a second are needed, and so many packets
 * are late. At 50,000 a second (g = 20 us, 2 us of them for sending), a = 5.6 % and cost = 10 us:
 *
 *     rest   rests a second   asleep   late packets   by at most
 *       18           7000      12.6 %       0          0          (8 us off: too little to rely on)
 *       24           4000       9.6 %       8   %      6 us
 *       30           2800       8.4 %       5.6 %     12 us
 *       40           1870       7.5 %       3.7 %     22 us
 *     one a second     1        5   %       5   %     50 ms       (the kernel's way)
 *
 * No length makes less than one packet in a hundred late, so the 99th percentile is the lateness by
 * a rest, and the shortest rest that gives something is best. The part of the rests whose wake-up
 * takes longer is above it. */
#define BUSY_PERMILLE 948
#define BUSY_WINDOW_NS RT_NS_PER_S
#define BUSY_BURST_NS (4 * RT_NS_PER_MS)
#define BUSY_LAG_NS (10 * RT_NS_PER_MS)
#define REST_NS (10 * RT_NS_PER_US)
#define REST_AHEAD_WITHIN_NS RT_NS_PER_MS
/* Until its time-out. No event ends such a rest: what arrives meanwhile waits for its end. So a
 * long gap gets several, or a sleep in the poller. More than the shortest that a busy host needs.
 */
#define REST_AHEAD_MOST_NS (40 * RT_NS_PER_US)
/* CPU time of a sleep: falling asleep and waking up. Learnt from the rests, within these limits. */
#define FIRST_SLEEP_COST_NS (14 * RT_NS_PER_US)
#define SLEEP_COST_MOST_NS (50 * RT_NS_PER_US)
#define MISSED_WAKE_NS RT_NS_PER_MS
#define POWER_MARGIN_MIN_NS (1 * RT_NS_PER_US)
#define POWER_MARGIN_MAX_NS (100 * RT_NS_PER_US)

void idle_init(idle_t *i, shm_worker_page_t *page, bool bounded, int64_t now_mono_ns)
{
    *i = (idle_t){.page = page, .bounded = bounded};
    soon_init(&i->event, EXPECT_WITHIN_NS, now_mono_ns);
    soon_init(&i->answer, SOON_ANSWER_NS, now_mono_ns);
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
        .lag_ns = BUSY_LAG_NS,
    };
    i->sleep_cost_ns = FIRST_SLEEP_COST_NS;
    spin_budget_init(&i->budget, &budget, now_mono_ns);
}

static void note_answer(idle_t *i, int64_t now_mono_ns)
{
    /* A stream in one direction brings none, and nobody waits awake for it. */
    bool may_be_one = i->came != i->came_before;
    i->came_before = i->came;
    i->came = 0;
    /* It belongs to what came before: a packet that was sent to this host arrives at once. */
    if (now_mono_ns - i->answer.began_ns < SHORTEST_SLEEP_NS)
        return;
    soon_end(&i->answer, now_mono_ns);
    if (may_be_one)
        soon_begin(&i->answer, now_mono_ns);
    else
        i->answer.began_ns = now_mono_ns;
}

void idle_note_event(idle_t *i, int64_t now_mono_ns)
{
    soon_end(&i->event, now_mono_ns);
    soon_begin(&i->event, now_mono_ns);
    if (i->came != 0)
        note_answer(i, now_mono_ns);
}

static bool is_expecting(idle_t *i, int64_t now_mono_ns)
{
    return soon_lasts(&i->event, now_mono_ns) || soon_lasts(&i->answer, now_mono_ns);
}

int64_t idle_margin_ns(const idle_t *i)
{
    return wake_margin_ns(i->profile == SHM_PROFILE_POWER ? &i->power_margin : &i->margin);
}

/* asked_mono_ns: the latest end of the sleep. by_time: the time ended it and no event. A process
 * that was stopped finds an event and the time, and then the time is right. cost_ns: the part of it
 * in which nobody else could run. */
static void account_sleep(idle_t *i, int64_t from_mono_ns, int64_t asked_mono_ns, bool by_time,
                          int64_t cost_ns)
{
    int64_t now = rt_mono_ns();
    int64_t given = from_mono_ns + cost_ns;
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

/* Until its time-out. Falling asleep takes about three quarters of the cost: a time-out that ends
 * before would end no sleep. */
static int64_t shortest_rest_ns(const idle_t *i)
{
    return i->sleep_cost_ns * 3 / 4;
}

/* The CPU time that it took is what nobody else got: the kernel counts the same. */
static void take_rest(idle_t *i, int64_t now_mono_ns, int64_t rest_ns)
{
    int64_t until = now_mono_ns + rest_ns;
    struct timespec at = {.tv_sec = until / RT_NS_PER_S, .tv_nsec = until % RT_NS_PER_S};
    int64_t cpu_ns = rt_thread_cpu_ns();
    /* Not in the poller, where a waiting event would end the rest before it began. */
    (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
    int64_t cost_ns = rt_thread_cpu_ns() - cpu_ns;
    account_sleep(i, now_mono_ns, until, true, cost_ns);
    cost_ns = cost_ns < SLEEP_COST_MOST_NS ? cost_ns : SLEEP_COST_MOST_NS;
    i->sleep_cost_ns += (cost_ns - i->sleep_cost_ns) / 8;
}

bool idle_rest_ahead(idle_t *i, int64_t now_mono_ns, int64_t next_mono_ns)
{
    if (!i->bounded || next_mono_ns - now_mono_ns > REST_AHEAD_WITHIN_NS)
        return false;
    int64_t rest = spin_budget_rest_before_ns(&i->budget, now_mono_ns, next_mono_ns,
                                              shortest_rest_ns(i), idle_margin_ns(i));
    if (rest == 0)
        return false;
    take_rest(i, now_mono_ns, rest < REST_AHEAD_MOST_NS ? rest : REST_AHEAD_MOST_NS);
    return true;
}

bool idle_forced_rest(idle_t *i, int64_t now_mono_ns)
{
    int64_t rest = i->bounded ? spin_budget_rest_ns(&i->budget, now_mono_ns) : 0;
    if (rest == 0)
        return false;
    int64_t shortest = shortest_rest_ns(i);
    take_rest(i, now_mono_ns, rest > shortest ? rest : shortest);
    rt_bump(&i->page->forced_rests, 1);
    return true;
}

int64_t idle_sleep_ns(idle_t *i, int64_t now_mono_ns, int64_t next_mono_ns)
{
    int64_t until = next_mono_ns - idle_margin_ns(i);
    /* A rest that the next event ends costs more than it gives the budget: the forced ones do. */
    if (i->profile != SHM_PROFILE_POWER && is_expecting(i, now_mono_ns))
        return 0;
    if (i->profile == SHM_PROFILE_LATENCY) {
        int64_t rest = i->bounded ? spin_budget_wants_rest_ns(&i->budget, now_mono_ns, until) : 0;
        return rest >= shortest_rest_ns(i) ? rest : 0;
    }
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
    account_sleep(i, from, until, events <= 0, i->sleep_cost_ns);
}
