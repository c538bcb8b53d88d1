/* tx.c: from the out box to the socket, in cycles.
 *
 * The worker first calls at start - PREPARE_NS, and touches the memory that the send will use. It
 * calls again at start - AGENT_LEAD_NS. Then it reads arrivals and builds the datagram from the
 * newest values and the newest feedback. Then it reads the clock until the start. Then comes the
 * send call and nothing else. start = instant of the grid, with align="wire" minus the learnt wire
 * offset.
 *
 * A send is not repeated if the kernel has no room: the next cycle has newer values.
 *
 * Waiting for values (there are none yet, or they are stale and nothing is sent) costs clients no
 * system call: the worker checks once a cycle, then less and less often. The client that puts the
 * very first values may ring the channel's bell. */
#include "worker/agents/common/socket.h"
#include "worker/agents/netflux/netflux.h"

#include <errno.h>
#include <string.h>

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
/* When links without a configured origin are due.
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

/* --- values --------------------------------------------------------------------------------- */

/* Returns whether there were other values than the present ones. */
static bool fetch_values(wrk_channel_t *ch, int64_t now_mono_ns)
{
    netflux_agent_t *a = netflux_agent_of(ch);
    uint64_t latest = rt_load_acquire(&shm_netflux_head(a->engine)->latest);
    if (latest >> (SHM_NETFLUX_SLOT_BITS + 1) == a->ticket)
        return false;
    int64_t at_ns;
    if (shm_netflux_peek(a->engine, ch->config.producers, a->datagram + NFX_HEADER_BYTES,
                         a->config.tx_payload_bytes, &at_ns, &a->ticket, &a->writer) != 1)
        return false;
    a->has_values = true;
    ch->tx_paused = true;
    a->written_ns = at_ns < now_mono_ns ? at_ns : now_mono_ns;
    return true;
}

void netflux_agent_check_values(wrk_channel_t *ch, int64_t now_mono_ns)
{
    netflux_agent_t *a = netflux_agent_of(ch);
    if (fetch_values(ch, now_mono_ns))
        nfx_session_refreshed(&a->session, a->written_ns, now_mono_ns);
}

/* The values that a predecessor sent. If the slot of their writer has no owner any more, no event
 * will say so again. */
static void inherit_values(wrk_channel_t *ch, int64_t now_mono_ns)
{
    netflux_agent_t *a = netflux_agent_of(ch);
    if (!fetch_values(ch, now_mono_ns))
        return;
    bool orphaned = !wrk_producer_alive(ch, a->writer);
    if (orphaned && a->state.settings.stale_ns == 0)
        nfx_session_owner_died(&a->session, now_mono_ns);
    else
        nfx_session_refreshed(&a->session, a->written_ns, now_mono_ns);
}

/* --- begin ---------------------------------------------------------------------------------- */

/* The first instant of this link's phase that is not past. */
static int64_t choose_origin(int64_t cycle_ns, int64_t now_mono_ns)
{
    static uint32_t links; /* of this worker, begun so far */
    int64_t span = cycle_ns < PHASE_SPAN_NS ? cycle_ns : PHASE_SPAN_NS;
    nfx_grid_t grid = {.period_ns = span,
                       .due_ns = (PHASE_FIRST_NS + links++ * PHASE_STEP_NS) % span};
    (void)nfx_grid_skip_to(&grid, now_mono_ns);
    return grid.due_ns;
}

static void begin(wrk_channel_t *ch, int64_t now_mono_ns)
{
    netflux_agent_t *a = netflux_agent_of(ch);
    if (a->state.origin_mono_ns == RT_NEVER_NS) {
        a->state.origin_mono_ns = choose_origin(a->state.settings.cycle_ns, now_mono_ns);
        shm_netflux_state_put(a->engine, &a->state);
    }
    nfx_session_start_sending(&a->session, a->state.origin_mono_ns, now_mono_ns);
}

static bool may_begin(const netflux_agent_t *a)
{
    return a->sends && !a->session.sending && a->state.sending && a->has_values &&
           udp_addr_is_set(&a->remote);
}

void netflux_agent_resume(wrk_channel_t *ch, int64_t now_mono_ns)
{
    netflux_agent_t *a = netflux_agent_of(ch);
    a->check_at_ns = now_mono_ns;
    a->check_pause_ns = a->state.settings.cycle_ns;
}

/* --- times ---------------------------------------------------------------------------------- */

static bool waits_for_values(const wrk_channel_t *ch)
{
    const netflux_agent_t *a = netflux_agent_of(ch);
    return a->sends && !ch->held && a->state.sending &&
           nfx_session_send_due_ns(&a->session) == RT_NEVER_NS;
}

/* How long before its instant a send starts. */
static int64_t ahead_ns(const wrk_channel_t *ch)
{
    return wrk_clock_shift_ns(ch) - agent_start_shift_ns(ch, &netflux_agent_of(ch)->ledger);
}

int64_t netflux_agent_tx_deadline_ns(const wrk_channel_t *ch)
{
    const netflux_agent_t *a = netflux_agent_of(ch);
    int64_t at = nfx_session_deadline_ns(&a->session);
    int64_t due = nfx_session_send_due_ns(&a->session);
    int64_t lead = due == a->prepared_for_ns ? AGENT_LEAD_NS : PREPARE_NS;
    if (due != RT_NEVER_NS && due - ahead_ns(ch) - lead < at)
        at = due - ahead_ns(ch) - lead;
    return waits_for_values(ch) && a->check_at_ns < at ? a->check_at_ns : at;
}

static void retry_later(netflux_agent_t *a, int64_t now_mono_ns)
{
    int64_t pause_ns = a->check_pause_ns < CHECK_MOST_NS ? a->check_pause_ns : CHECK_MOST_NS;
    a->check_at_ns = now_mono_ns + pause_ns;
    a->check_pause_ns = 2 * pause_ns;
}

/* --- sending -------------------------------------------------------------------------------- */

static void left(wrk_channel_t *ch, unsigned first, unsigned count, int64_t start_mono_ns,
                 int64_t end_mono_ns)
{
    netflux_agent_t *a = netflux_agent_of(ch);
    nfx_session_sent(&a->session, start_mono_ns);
    agent_sent(ch, &a->ledger, &a->batch, first, count, start_mono_ns, end_mono_ns);
}

static void failed(wrk_channel_t *ch, unsigned index, int error, int64_t now_mono_ns)
{
    netflux_agent_t *a = netflux_agent_of(ch);
    nfx_session_not_sent(&a->session);
    agent_not_sent(ch, &a->batch.items[index], VERDICT_FAILED, error, now_mono_ns);
}

static void put_back(wrk_channel_t *ch, unsigned index)
{
    netflux_agent_of(ch)->block.now = false;
    failed(ch, index, ENOBUFS, rt_mono_ns());
}

bool netflux_agent_prepare(wrk_channel_t *ch, int64_t now_mono_ns)
{
    netflux_agent_t *a = netflux_agent_of(ch);
    int64_t due = nfx_session_send_due_ns(&a->session);
    if (due == RT_NEVER_NS || due == a->prepared_for_ns)
        return false;
    int64_t left = due - ahead_ns(ch) - now_mono_ns;
    if (left <= AGENT_LEAD_NS || left > PREPARE_NS)
        return false;
    a->prepared_for_ns = due;
    netflux_agent_check_values(ch, now_mono_ns);
    if (now_mono_ns - wrk_last_send_end_ns(ch) > CACHES_KEEP_NS)
        udp_warm(&a->udp);
    return true;
}

/* Everything but the send call. */
static void build(wrk_channel_t *ch, const nfx_out_t *out, int64_t now_mono_ns)
{
    netflux_agent_t *a = netflux_agent_of(ch);
    agent_batch_t *b = &a->batch;
    uint8_t *datagram = out->source == NFX_FAILSAFE ? a->failsafe : a->datagram;
    uint32_t bytes = NFX_HEADER_BYTES + a->config.tx_payload_bytes;
    memcpy(datagram, out->header, NFX_HEADER_BYTES);
    if (a->state.feedback & SHM_NETFLUX_GIVEN)
        datagram[1] = (uint8_t)a->state.feedback;
    b->count = 1;
    b->items[0] = (tx_item_t){
        .sequence = a->sequence++,
        .due_ns = out->due_ns - wrk_clock_shift_ns(ch),
        .enqueued_mono_ns = a->written_ns < out->due_ns ? a->written_ns : out->due_ns,
        .payload_bytes = bytes,
    };
    b->start_mono_ns[0] = out->due_ns - ahead_ns(ch);
    b->messages[0] = (udp_tx_t){.data = datagram, .len = bytes};
    agent_choose_stamps(ch, &a->ledger, b, now_mono_ns);
}

/* The instant that is served now. An instant so near that the worker spins for it counts as
 * reached, unless a watchdog ends before it. */
static int64_t instant_to_serve(const wrk_channel_t *ch, int64_t now_mono_ns)
{
    const nfx_session_t *s = &netflux_agent_of(ch)->session;
    int64_t due = nfx_session_send_due_ns(s);
    if (due == RT_NEVER_NS || due - ahead_ns(ch) > now_mono_ns + AGENT_LEAD_NS)
        return now_mono_ns;
    if (nfx_session_deadline_ns(s) < due) {
        agent_spin_until(due - ahead_ns(ch));
        now_mono_ns = rt_mono_ns();
    }
    return now_mono_ns > due ? now_mono_ns : due;
}

void netflux_agent_send_due(wrk_channel_t *ch, int64_t now_mono_ns)
{
    static const agent_outcomes_t OUTCOMES = {left, failed, put_back};
    netflux_agent_t *a = netflux_agent_of(ch);
    const agent_way_t way = {
        .udp = &a->udp, .path = &a->path, .ledger = &a->ledger, .block = &a->block};
    if (ch->held || ch->failed)
        return;
    netflux_agent_check_values(ch, now_mono_ns);
    if (may_begin(a))
        begin(ch, now_mono_ns);
    nfx_out_t out;
    if (nfx_session_emit(&a->session, &out, instant_to_serve(ch, now_mono_ns))) {
        build(ch, &out, now_mono_ns);
        agent_spin_until(a->batch.start_mono_ns[0]);
        agent_send(ch, &way, &a->batch, &OUTCOMES);
    }
    if (!waits_for_values(ch))
        netflux_agent_resume(ch, now_mono_ns);
    else if (a->check_at_ns <= now_mono_ns)
        retry_later(a, now_mono_ns);
}

/* --- open ----------------------------------------------------------------------------------- */

void netflux_agent_tx_open(wrk_channel_t *ch, int64_t now_mono_ns)
{
    netflux_agent_t *a = netflux_agent_of(ch);
    a->has_values = a->config.tx_payload_bytes == 0;
    a->written_ns = now_mono_ns;
    inherit_values(ch, now_mono_ns);
    netflux_agent_resume(ch, now_mono_ns);
    a->prepared_for_ns = RT_NEVER_NS;
    ch->tx_paused = a->has_values || !a->sends;
    agent_ledger_init(&a->ledger, &a->udp, a->path.tx != NULL, now_mono_ns);
}
