#include "python/rtpsynth/proc_wait.h"

#include "base/rt_clock.h"
#include "base/rt_futex.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/prctl.h>

void proc_wait_init(proc_wait_t *w)
{
    wake_margin_config_t margin;
    wake_margin_config_init(&margin);
    margin.quantile_permille = 950; /* the rarer ones would double what is spun for all */
    spin_budget_config_t budget = {
        .limit_permille = 250,
        .window_ns = 10 * RT_NS_PER_MS,
        .burst_ns = RT_NS_PER_MS,
        .rest_ns = 100 * RT_NS_PER_US,
    };
    rt_store_relaxed(&w->bell, 0);
    wake_margin_init(&w->margin, &margin);
    spin_budget_init(&w->budget, &budget, rt_mono_ns());
}

void proc_wait_enter_thread(void)
{
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
}

void proc_wait_ring(proc_wait_t *w)
{
    rt_fetch_add(&w->bell, 1);
    rt_futex_wake_all(&w->bell);
}

/* All that was not spun counts as slept: the account is the spinning's alone. */
static bool may_spin(proc_wait_t *w, int64_t now_ns)
{
    spin_budget_slept(&w->budget, w->budget.last_mono_ns, now_ns);
    return spin_budget_rest_ns(&w->budget, now_ns) == 0;
}

static void spin(proc_wait_t *w, uint32_t bell, int64_t until_mono_ns)
{
    int64_t now_ns = rt_mono_ns();
    spin_budget_slept(&w->budget, w->budget.last_mono_ns, now_ns);
    while (now_ns < until_mono_ns && proc_wait_bell(w) == bell) {
        rt_cpu_relax();
        now_ns = rt_mono_ns();
    }
    spin_budget_run(&w->budget, now_ns);
}

/* False: the time has not come yet. */
static bool sleep_until(proc_wait_t *w, uint32_t bell, int64_t until_mono_ns)
{
    if (rt_futex_wait(&w->bell, bell, until_mono_ns) != -ETIMEDOUT)
        return false;
    wake_margin_observe(&w->margin, rt_mono_ns() - until_mono_ns);
    return true;
}

void proc_wait_until(proc_wait_t *w, uint32_t bell, int64_t until_mono_ns)
{
    while (proc_wait_bell(w) == bell) {
        int64_t now_ns = rt_mono_ns();
        if (now_ns >= until_mono_ns)
            return;
        int64_t margin_ns = 0;
        if (until_mono_ns != RT_NEVER_NS && may_spin(w, now_ns))
            margin_ns = wake_margin_ns(&w->margin);
        if (now_ns < until_mono_ns - margin_ns && !sleep_until(w, bell, until_mono_ns - margin_ns))
            continue;
        if (margin_ns > 0)
            spin(w, bell, until_mono_ns);
    }
}
