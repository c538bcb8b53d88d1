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

/* --- values --------------------------------------------------------------------------------- */

/* Returns whether there were other values than the present ones. */
static bool fetch_values(wrk_channel_t *ch, int64_t now_mono_ns)
{
    netflux_agent_t *a = netflux_agent_of(ch);
    if (shm_box_ticket(&shm_netflux_head(a->engine)->out) == a->ticket)
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

static void begin(wrk_channel_t *ch, int64_t now_mono_ns)
{
    netflux_agent_t *a = netflux_agent_of(ch);
    if (a->state.origin_mono_ns == RT_NEVER_NS) {
        a->state.origin_mono_ns = agent_choose_origin(a->state.settings.cycle_ns, now_mono_ns);
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
    agent_rhythm_check_now(&a->rhythm, a->state.settings.cycle_ns, now_mono_ns);
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
    if (due != RT_NEVER_NS)
        at = agent_earlier_ns(at, agent_rhythm_wake_ns(&a->rhythm, due, due - ahead_ns(ch)));
    return waits_for_values(ch) ? agent_earlier_ns(at, a->rhythm.check_at_ns) : at;
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
    if (error == EADDRNOTAVAIL) { /* this host has lost the address */
        netflux_agent_set_local(a, NULL);
        shm_netflux_state_put(a->engine, &a->state);
    }
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
    if (due == RT_NEVER_NS ||
        !agent_rhythm_prepares(&a->rhythm, due, due - ahead_ns(ch), now_mono_ns))
        return false;
    netflux_agent_check_values(ch, now_mono_ns);
    agent_rhythm_warm(ch, &a->udp, now_mono_ns);
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
    b->messages[0] = (udp_tx_t){
        .data = datagram, .len = bytes, .source = udp_addr_is_set(&a->local) ? &a->local : NULL};
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
    else if (a->rhythm.check_at_ns <= now_mono_ns)
        agent_rhythm_checked(&a->rhythm, now_mono_ns);
}

/* --- open ----------------------------------------------------------------------------------- */

void netflux_agent_tx_open(wrk_channel_t *ch, int64_t now_mono_ns)
{
    netflux_agent_t *a = netflux_agent_of(ch);
    a->has_values = a->config.tx_payload_bytes == 0;
    a->written_ns = now_mono_ns;
    inherit_values(ch, now_mono_ns);
    netflux_agent_resume(ch, now_mono_ns);
    a->rhythm.prepared_for_ns = RT_NEVER_NS;
    ch->tx_paused = a->has_values || !a->sends;
    agent_ledger_init(&a->ledger, &a->udp, a->path.tx != NULL, now_mono_ns);
}
