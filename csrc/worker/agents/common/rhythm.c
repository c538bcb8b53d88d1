#include "worker/agents/common/rhythm.h"

#include "proto/pacing/grid.h"

/* Other channels use the core between two sends, and then the memory of a send is no longer in the
 * caches. So this long before the start the worker reads the values and walks the path through the
 * kernel (udp_warm). Errors of intervals at an independent receiver on a busy machine, in ns,
 * medians of alternating runs, 10 at 250 us and 6 at 1 ms (another series had p50 303 warm, 624
 * cold at 250 us and 1,124 warm, 1,430 cold at 1 ms):
 *
 *                     p25     p50     p75     p90
 *     250 us, cold    138     391     814   1,417
 *             warm     77     206     447     751
 *             floor    63     180     374     706      bare C, awake for the last 150 us
 *     1 ms,   cold    557   1,348   2,428   3,377
 *             warm    350     777   1,292   2,130
 *             floor   332     871   1,749   2,374
 */
#define PREPARE_NS (25 * RT_NS_PER_US)
#define CACHES_KEEP_NS (100 * RT_NS_PER_US)
#define CHECK_MOST_NS (20 * RT_NS_PER_MS)
/* When channels without a configured phase are due.
 *
 * Not together: each would wait for those before it. Not evenly over the cycle either: a core with
 * many of them would never sleep. They follow each other at PHASE_STEP_NS, which is more than one
 * send takes. 200 links of 5 ms on a virtual machine of two busy cores, start of the send after its
 * instant in ns, and CPU time of the worker, one undisturbed run each:
 *
 *     apart        p50       p90        p99    CPU
 *      0 us    405,000   811,000  1,200,000   21 %
 *      5        80,900   274,000    590,000   26 %
 *     10            57       620     12,500   43 %
 *     15            57        75      2,300   63 %
 *     20            54        72         78   83 %
 *     25 (even)     58     5,600     25,300   94 %, all that a worker may take
 *
 * At 10 us a core still sleeps, and a few us are little compared to the cycles of that many links.
 *
 * They also avoid the kernel's tick: it comes at multiples of 1, 4 or 10 ms of CLOCK_MONOTONIC and
 * takes 20 to 40 us there. With a cycle of 1 ms that begins with the tick a quarter of the sends
 * are 15 to 30 us late (p90 23,000 ns). After PHASE_FIRST_NS, which is far from the tick in every
 * cycle that divides a millisecond, hardly any is late (p90 75 ns, p99 170). */
#define PHASE_FIRST_NS (350 * RT_NS_PER_US)
#define PHASE_STEP_NS (10 * RT_NS_PER_US)
#define PHASE_SPAN_NS (10 * RT_NS_PER_MS)
/* Channels of equal periods keep these phases within their period, so they are due one after the
 * other: 512 channels of 44 Hz took 78 % of a core when each was due alone, and take 23 %. A
 * channel with a longer period begins soon instead. */
#define GATHERED_MOST_NS (100 * RT_NS_PER_MS)

/* --- the phase ------------------------------------------------------------------------------ */

int64_t agent_choose_origin(int64_t period_ns, int64_t now_mono_ns)
{
    static uint32_t channels; /* of this worker, begun so far */
    int64_t span = period_ns < PHASE_SPAN_NS ? period_ns : PHASE_SPAN_NS;
    int64_t phase_ns = (PHASE_FIRST_NS + channels++ * PHASE_STEP_NS) % span;
    grid_t grid = {.period_ns = period_ns <= GATHERED_MOST_NS ? period_ns : span,
                   .due_ns = phase_ns};
    (void)grid_skip_to(&grid, now_mono_ns);
    return grid.due_ns;
}

/* --- preparing ------------------------------------------------------------------------------ */

int64_t agent_rhythm_wake_ns(const agent_rhythm_t *r, int64_t due_ns, int64_t start_mono_ns)
{
    return start_mono_ns - (due_ns == r->prepared_for_ns ? AGENT_LEAD_NS : PREPARE_NS);
}

bool agent_rhythm_prepares(agent_rhythm_t *r, int64_t due_ns, int64_t start_mono_ns,
                           int64_t now_mono_ns)
{
    if (due_ns == r->prepared_for_ns)
        return false;
    int64_t left = start_mono_ns - now_mono_ns;
    if (left <= AGENT_LEAD_NS || left > PREPARE_NS)
        return false;
    r->prepared_for_ns = due_ns;
    return true;
}

void agent_rhythm_warm(wrk_channel_t *ch, udp_t *udp, int64_t now_mono_ns)
{
    if (now_mono_ns - wrk_last_send_end_ns(ch) > CACHES_KEEP_NS)
        udp_warm(udp);
}

/* --- looking for a payload -------------------------------------------------------------------- */

void agent_rhythm_check_now(agent_rhythm_t *r, int64_t period_ns, int64_t now_mono_ns)
{
    r->check_at_ns = now_mono_ns;
    r->check_pause_ns = period_ns;
}

void agent_rhythm_checked(agent_rhythm_t *r, int64_t now_mono_ns)
{
    int64_t pause_ns = r->check_pause_ns < CHECK_MOST_NS ? r->check_pause_ns : CHECK_MOST_NS;
    r->check_at_ns = now_mono_ns + pause_ns;
    r->check_pause_ns = 2 * pause_ns;
}
