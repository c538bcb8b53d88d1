/* spin_budget.h: keeps a SCHED_FIFO worker below the kernel's real-time throttle.
 *
 * A real-time thread that never sleeps is stopped by the kernel: after sched_rt_runtime_us (950 ms)
 * of sched_rt_period_us (1 s), or by the fair server of newer kernels, which takes 50 ms a second
 * for starved ordinary threads. In both cases the worker stops for 40 to 50 ms at a time that it
 * did not choose. So it rests voluntarily, for rest_ns or more, when this disturbs least.
 *
 * The account is a leaky bucket: its level grows while the worker runs and falls while it sleeps,
 * never below 0:
 *
 *      level                 running: +(1 - rate) per ns       rate  = limit - burst / window
 *   burst|- - - - -/|- - - - - - - -/ hard: must rest now      burst = what may be run at once
 *        |       /  |            /    above soft: rest if
 *    soft|- - -/- - |/\- - - - /- - - nothing is due meanwhile
 *        |   /      /   \    /
 *      0 +-/-------------\-/--------> time
 *                          sleeping: -rate per ns
 *
 * Guarantee: if the worker sleeps whenever spin_budget_rest_ns says so, then for any t1 < t2
 *
 *      busy(t1, t2) <= rate * (t2 - t1) + burst + (1 - rate) * lag
 *
 * with lag the longest time it kept running after the level had reached burst (its longest loop, or
 * sleeps that gave nothing to others). Hence for every span that is at least window_ns long
 *
 *      busy(span) <= limit * span + (1 - rate) * lag
 *
 * A lag beyond lag_ns (the process was stopped, the machine suspended) counts as lag_ns: otherwise
 * a long hole would be followed by a long rest.
 *
 * Sleep that takes longer counts in full, so it is never wasted. Time in which the worker was
 * awake but preempted counts as busy, which is the safe side.
 *
 * One thread. Caller's memory. No clock: times are CLOCK_MONOTONIC values passed in. A time before
 * the last one counts as that one. */
#ifndef SPIN_BUDGET_H
#define SPIN_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

typedef struct spin_budget_config {
    uint32_t limit_permille; /* 100 .. 990: share of any window that may be busy */
    int64_t window_ns;       /* 1 ms .. 1 s */
    int64_t burst_ns;        /* > 0, at most half of limit * window */
    int64_t rest_ns;         /* shortest forced rest, > 0, rate * rest_ns <= burst_ns */
    int64_t lag_ns;          /* > 0: a longer lag counts as this */
} spin_budget_config_t;

typedef struct spin_budget {
    spin_budget_config_t config;
    int64_t rate_ppm; /* busy share in the long run, in millionths */
    int64_t burst_u;  /* levels are in 1e-6 ns, so that all steps are whole numbers */
    int64_t soft_u;
    int64_t most_u;
    int64_t level_u;
    int64_t last_mono_ns; /* accounted up to here */
} spin_budget_t;

/* Starts with an empty account. */
void spin_budget_init(spin_budget_t *b, const spin_budget_config_t *config, int64_t now_mono_ns);

/* The worker has been awake since the last call. */
void spin_budget_run(spin_budget_t *b, int64_t now_mono_ns);

/* The worker slept from .. to (as measured, not as asked for), and was awake before that. */
void spin_budget_slept(spin_budget_t *b, int64_t from_mono_ns, int64_t to_mono_ns);

/* How long the worker must sleep now before it does anything else; 0: it need not. Accounts the
 * time up to now as run. The result is at least rest_ns, and at most rest_ns + lag * (1 - rate) /
 * rate + 1 (the 1 is rounding), whatever happened. A sleep may be interrupted: call again. */
int64_t spin_budget_rest_ns(spin_budget_t *b, int64_t now_mono_ns);

/* How long to sleep now, before a deadline at next_mono_ns. 0: run on. shortest_ns: a shorter sleep
 * gives nothing. margin_ns: how late the wake-up may be. From half of the burst on it asks for a
 * gap of shortest + margin, so that the deadline is met. Beyond three quarters the gap that it asks
 * for shrinks, to 0 at the burst: if all gaps are too short, the rest is taken at the beginning of
 * one of the longest, and the deadline is late by as little as there can be. Then the result is
 * shortest_ns. Accounts the time up to now.
 *
 *     gap that it asks for
 *     shortest + margin        .-------.
 *                              |        `-.
 *                              |           `-.
 *                    0 --------|-------|------|---- level
 *                            1/2      3/4   burst                                            */
int64_t spin_budget_rest_before_ns(spin_budget_t *b, int64_t now_mono_ns, int64_t next_mono_ns,
                                   int64_t shortest_ns, int64_t margin_ns);

/* How long the worker should sleep now, if it has nothing to do before free_until_mono_ns (the next
 * deadline less the wake margin; RT_NEVER_NS if nothing is planned). 0: continue, because the
 * account is low or because a rest of rest_ns does not fit. Never more than free_until - now, nor
 * than it takes to empty the account. Accounts the time up to now. */
int64_t spin_budget_wants_rest_ns(spin_budget_t *b, int64_t now_mono_ns,
                                  int64_t free_until_mono_ns);

#endif
