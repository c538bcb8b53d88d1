/* endpoint_wait.c: in profile "balanced" a reader spins for twice the usual gap if that is short,
 * so that it is awake for each packet of a steady stream. The futex alone costs tens of
 * microseconds. */
#include "client/endpoint.h"

#include "base/rt_atomic.h"
#include "base/rt_clock.h"

#include <stdbool.h>

#define SPIN_MOST_NS (200 * RT_NS_PER_US)
#define LOOP_SPIN_NS (50 * RT_NS_PER_US) /* an event loop has other tasks */

static int64_t spin_ns(const endpoint_t *e)
{
    switch (e->segment->config.profile) {
    case SHM_PROFILE_LATENCY:
        return ENDPOINT_SLICE_NS;
    case SHM_PROFILE_POWER:
        return 0;
    default:
        return e->usual_gap_ns * 2 <= SPIN_MOST_NS ? e->usual_gap_ns * 2 : 0;
    }
}

void endpoint_before_sleep(const endpoint_t *e, int what, int64_t until_mono_ns,
                           endpoint_sleep_t *s)
{
    int64_t now = rt_mono_ns();
    int64_t slice_end = now + ENDPOINT_SLICE_NS;
    s->what = what;
    s->began_mono_ns = now;
    s->until_mono_ns = until_mono_ns < slice_end ? until_mono_ns : slice_end;
    if (what == ENDPOINT_TX) {
        s->tx = e->tx;
    } else {
        s->rx = e->rx;
        s->spin_ns = spin_ns(e);
    }
}

int endpoint_sleep(endpoint_sleep_t *s)
{
    if (s->what == ENDPOINT_TX)
        return tx_producer_wait_room(&s->tx, s->until_mono_ns);
    return rx_reader_wait(&s->rx, s->spin_ns, s->until_mono_ns);
}

static int64_t loop_spin_ns(const endpoint_t *e)
{
    bool short_gaps = e->usual_gap_ns <= LOOP_SPIN_NS;
    int profile = (int)e->segment->config.profile;
    bool spins = profile == SHM_PROFILE_LATENCY || (profile != SHM_PROFILE_POWER && short_gaps);
    return spins ? LOOP_SPIN_NS : 0;
}

void endpoint_before_loop(const endpoint_t *e, endpoint_sleep_t *s)
{
    s->what = ENDPOINT_RX;
    s->rx = e->rx;
    s->spin_ns = loop_spin_ns(e);
    s->began_mono_ns = rt_mono_ns();
}

int endpoint_spin(const endpoint_sleep_t *s)
{
    while (rt_mono_ns() - s->began_mono_ns < s->spin_ns) {
        if (rx_reader_waiting(&s->rx))
            return 1;
        rt_cpu_relax();
    }
    return 0;
}

void endpoint_after_sleep(endpoint_t *e, const endpoint_sleep_t *s)
{
    if (s->what == ENDPOINT_RX)
        e->usual_gap_ns += (rt_mono_ns() - s->began_mono_ns - e->usual_gap_ns) / 4;
}
