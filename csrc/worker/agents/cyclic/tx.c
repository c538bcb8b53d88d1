/* tx.c: from the box to the socket, in cycles.
 *
 * The worker first calls some time before the start of a send and touches the memory that it will
 * use (common/rhythm.h). It calls again AGENT_LEAD_NS before it and takes the newest payload. Then
 * it reads the clock until the start. Then comes the send call and nothing else. start = instant of
 * the grid, with align="wire" minus the learnt wire offset.
 *
 * A send is not repeated if the kernel has no room: the next cycle comes.
 *
 * Each cycle is in one counter: sent, failed or missed. Its number is shown before it is
 * counted, and counted_before is the number of the first cycle that is in one of them. So
 * a successor sees whether its predecessor died in between: the last cycle may have been
 * sent or not, and counts as failed.
 *
 * A channel without a remote address has no socket. It puts its cycles into its own rx ring,
 * early_ns before the instant.
 *
 * Waiting for a payload (there is none yet, or it is stale and nothing is sent) costs clients no
 * system call: the worker checks once a cycle, then less and less often. The client that puts the
 * very first payload rings the channel's bell. */
#include "worker/agents/cyclic/cyclic.h"

#include "base/rt_math.h"

#include <errno.h>

/* --- payload -------------------------------------------------------------------------------- */

/* Returns whether there was another one than the present one. */
static bool fetch(wrk_channel_t *ch, int64_t now_mono_ns)
{
    cyclic_agent_t *a = cyclic_agent_of(ch);
    if (shm_box_ticket(a->box.head) == a->found.ticket)
        return false;
    cyclic_payload_t *next = &a->payload[!a->in_use];
    shm_box_found_t found;
    if (shm_box_peek(&a->box, next->data, &found) != 1)
        return false;
    next->bytes = found.bytes;
    a->in_use = !a->in_use;
    if (found.at_mono_ns > now_mono_ns || found.at_mono_ns < 0)
        found.at_mono_ns = now_mono_ns;
    a->found = found;
    cyclic_agent_count(a, SHM_CYCLIC_COUNT_updates, 1);
    return true;
}

bool cyclic_agent_check_payload(wrk_channel_t *ch, int64_t now_mono_ns)
{
    cyclic_agent_t *a = cyclic_agent_of(ch);
    if (!fetch(ch, now_mono_ns))
        return false;
    ch->tx_paused = true; /* from now on no bell is needed */
    cycle_renewed(&a->cycle, a->found.at_mono_ns, now_mono_ns);
    return true;
}

void cyclic_agent_writer_gone(wrk_channel_t *ch, uint32_t slot, int64_t now_mono_ns)
{
    cyclic_agent_t *a = cyclic_agent_of(ch);
    (void)cyclic_agent_check_payload(ch, now_mono_ns); /* its last one */
    if (a->found.ticket != 0 && a->found.slot == slot)
        cycle_writer_gone(&a->cycle);
    cyclic_agent_show(ch);
}

void cyclic_agent_show(wrk_channel_t *ch)
{
    cyclic_agent_t *a = cyclic_agent_of(ch);
    cyclic_agent_count(a, SHM_CYCLIC_COUNT_stale, a->cycle.stale_times - a->stale_counted);
    a->stale_counted = a->cycle.stale_times;
    rt_store_relaxed(&a->head->gauges[SHM_CYCLIC_GAUGE_fresh], a->cycle.fresh);
    rt_store_relaxed(&a->head->gauges[SHM_CYCLIC_GAUGE_updated_mono_ns],
                     (uint64_t)a->found.at_mono_ns);
}

/* --- times ---------------------------------------------------------------------------------- */

static bool waits_for_payload(const wrk_channel_t *ch)
{
    return !ch->held && cycle_due_ns(&cyclic_agent_of(ch)->cycle) == RT_NEVER_NS;
}

/* How long before its instant a send starts. */
static int64_t ahead_ns(const wrk_channel_t *ch)
{
    const cyclic_agent_t *a = cyclic_agent_of(ch);
    if (a->local)
        return a->early_ns;
    return wrk_clock_shift_ns(ch) - agent_start_shift_ns(ch, &a->ledger);
}

int64_t cyclic_agent_tx_deadline_ns(const wrk_channel_t *ch)
{
    const cyclic_agent_t *a = cyclic_agent_of(ch);
    if (ch->held || ch->failed)
        return RT_NEVER_NS;
    int64_t due = cycle_due_ns(&a->cycle);
    if (due == RT_NEVER_NS)
        return agent_earlier_ns(a->cycle.fresh_until_ns, a->rhythm.check_at_ns);
    int64_t wake = agent_rhythm_wake_ns(&a->rhythm, due, due - ahead_ns(ch));
    return agent_earlier_ns(wake, a->cycle.fresh_until_ns);
}

/* --- counters ------------------------------------------------------------------------------- */

/* More cannot be missing: the numbers were overwritten, or a
 * predecessor died while it reset them. */
#define MOST_UNCOUNTED (UINT64_C(1) << 32)

static uint64_t counted(const cyclic_agent_t *a)
{
    return rt_load_relaxed(&a->head->counters[SHM_CYCLIC_COUNT_sent]) +
           rt_load_relaxed(&a->head->counters[SHM_CYCLIC_COUNT_failed]) +
           rt_load_relaxed(&a->head->counters[SHM_CYCLIC_COUNT_missed]);
}

/* From now on a successor counts the cycle and those missed before it, if this worker does not. */
static void begin_counting(cyclic_agent_t *a)
{
    uint64_t before = a->out.number - a->out.missed - counted(a);
    if (rt_load_relaxed(&a->head->counted_before) != before) { /* cycles were silent, or a reset */
        rt_store_relaxed(&a->head->counted_before, before);
        rt_fence_release(); /* before the number: otherwise the silent ones would seem missed */
    }
    rt_store_relaxed(&a->head->gauges[SHM_CYCLIC_GAUGE_number], a->out.number);
    rt_store_relaxed(&a->head->begun, 1);
    rt_fence_release(); /* before any of the counters */
}

static void count_uncounted(wrk_channel_t *ch, int64_t now_mono_ns)
{
    cyclic_agent_t *a = cyclic_agent_of(ch);
    uint64_t number = rt_load_relaxed(&a->head->gauges[SHM_CYCLIC_GAUGE_number]);
    uint64_t uncounted =
        number + 1 - rt_load_relaxed(&a->head->counted_before) - counted(a);
    if (!rt_load_relaxed(&a->head->begun) || uncounted == 0 || uncounted > MOST_UNCOUNTED)
        return;
    cyclic_agent_count(a, SHM_CYCLIC_COUNT_missed, uncounted - 1);
    cyclic_agent_count(a, SHM_CYCLIC_COUNT_failed, 1);
    wrk_note(ch, SHM_EVENT_packet_uncertain, 1, SHM_WORKER_PRODUCER, 0, (int64_t)number,
             now_mono_ns);
}

void cyclic_agent_reset(wrk_channel_t *ch)
{
    cyclic_agent_t *a = cyclic_agent_of(ch);
    rt_store_relaxed(&a->head->counted_before, UINT64_MAX / 2);
    rt_fence_release(); /* a successor must not count those that are set to 0 */
    for (unsigned i = 0; i < SHM_CYCLIC_COUNTER_TOTAL; i++)
        rt_store_relaxed(&a->head->counters[i], 0);
}

/* --- outcomes ------------------------------------------------------------------------------- */

static void left(wrk_channel_t *ch, unsigned first, unsigned count, int64_t start_mono_ns,
                 int64_t end_mono_ns)
{
    cyclic_agent_t *a = cyclic_agent_of(ch);
    agent_sent(ch, &a->ledger, &a->batch, first, count, start_mono_ns, end_mono_ns);
    cyclic_agent_count(a, SHM_CYCLIC_COUNT_sent, 1);
    cyclic_agent_count(a, SHM_CYCLIC_COUNT_sent_stale, a->out.stale && !a->out.failsafe);
    cyclic_agent_count(a, SHM_CYCLIC_COUNT_sent_failsafe, a->out.failsafe);
    rt_store_relaxed(&a->head->gauges[SHM_CYCLIC_GAUGE_last_sent_mono_ns], (uint64_t)start_mono_ns);
}

static void failed(wrk_channel_t *ch, unsigned index, int error, int64_t now_mono_ns)
{
    cyclic_agent_t *a = cyclic_agent_of(ch);
    cyclic_agent_count(a, SHM_CYCLIC_COUNT_failed, 1);
    agent_not_sent(ch, &a->batch.items[index], VERDICT_FAILED, error, now_mono_ns);
}

static void put_back(wrk_channel_t *ch, unsigned index)
{
    cyclic_agent_of(ch)->block.now = false;
    failed(ch, index, ENOBUFS, rt_mono_ns());
}

/* --- sending -------------------------------------------------------------------------------- */

/* When the payload was there: at the start of the send at the latest, because a newer one makes no
 * cycle late, and a tick has none. */
static int64_t enqueued_mono_ns(const cyclic_agent_t *a, int64_t start_mono_ns)
{
    int64_t at = a->found.at_mono_ns;
    return at > 0 && at < start_mono_ns ? at : start_mono_ns;
}

/* Everything but the send call. */
static void build(wrk_channel_t *ch, int64_t now_mono_ns)
{
    cyclic_agent_t *a = cyclic_agent_of(ch);
    agent_batch_t *b = &a->batch;
    const cyclic_payload_t *payload = a->out.failsafe ? &a->failsafe : &a->payload[a->in_use];
    int64_t due = a->out.due_ns;
    int64_t start = due - ahead_ns(ch);
    b->count = 1;
    b->items[0] = (tx_item_t){
        .sequence = a->out.number,
        .producer = (uint16_t)a->found.slot,
        .due_ns = due - wrk_clock_shift_ns(ch),
        .enqueued_mono_ns = enqueued_mono_ns(a, start),
        .payload = payload->data,
        .payload_bytes = payload->bytes,
    };
    b->start_mono_ns[0] = start;
    b->messages[0] = (udp_tx_t){.data = payload->data, .len = payload->bytes};
    if (!a->local)
        agent_choose_stamps(ch, &a->ledger, b, now_mono_ns);
}

/* Without a remote: the cycle becomes a record of the rx ring. As agent_way_t.put. */
static int deliver(wrk_channel_t *ch, const udp_tx_t *messages, unsigned count, int *error)
{
    const cyclic_agent_t *a = cyclic_agent_of(ch);
    int64_t late = rt_mono_ns() - a->out.due_ns;
    rx_item_t item = {
        .payload = messages[0].data,
        .payload_bytes = messages[0].len,
        .time_ns = a->batch.items[0].due_ns,
        .stamp = SHM_STAMP_USER,
        .tag = (uint32_t)(late < INT32_MAX ? late : INT32_MAX),
    };
    int rc = rx_writer_put(&ch->rx, &item);
    *error = -rc;
    if (rc < 0)
        return 0;
    wrk_rx_publish(ch);
    wrk_count(ch, SHM_COUNT_rx_received, 1);
    wrk_count(ch, SHM_COUNT_rx_bytes, item.payload_bytes);
    return (int)count;
}

static void send_batch(wrk_channel_t *ch)
{
    static const agent_outcomes_t OUTCOMES = {left, failed, put_back};
    cyclic_agent_t *a = cyclic_agent_of(ch);
    agent_way_t way = {.udp = &a->udp,
                       .put = a->local ? deliver : NULL,
                       .path = &a->path,
                       .ledger = &a->ledger,
                       .block = &a->block};
    agent_send(ch, &way, &a->batch, &OUTCOMES);
}

bool cyclic_agent_prepare(wrk_channel_t *ch, int64_t now_mono_ns)
{
    cyclic_agent_t *a = cyclic_agent_of(ch);
    int64_t due = cycle_due_ns(&a->cycle);
    if (due == RT_NEVER_NS || ch->held || ch->failed ||
        !agent_rhythm_prepares(&a->rhythm, due, due - ahead_ns(ch), now_mono_ns))
        return false;
    (void)cyclic_agent_check_payload(ch, now_mono_ns);
    if (!a->local)
        agent_rhythm_warm(ch, &a->udp, now_mono_ns);
    return true;
}

/* The instant that is served now. An instant so near that the worker spins for it counts as
 * reached. */
static int64_t instant_to_serve(const wrk_channel_t *ch, int64_t now_mono_ns)
{
    int64_t due = cycle_due_ns(&cyclic_agent_of(ch)->cycle);
    if (due == RT_NEVER_NS || due - ahead_ns(ch) > now_mono_ns + AGENT_LEAD_NS)
        return now_mono_ns;
    return now_mono_ns > due ? now_mono_ns : due;
}

/* Readers of ticks are awake at the instant if they are woken before it. How long that takes is
 * theirs to learn. Their wish is lowered a little in each cycle, so a reader that is gone is
 * forgotten. */
static void choose_early(cyclic_agent_t *a)
{
    uint64_t wanted = rt_load_relaxed(&a->head->early_wanted_ns);
    uint64_t most = (uint64_t)rt_min64(a->config.early_ns, a->config.period_ns / 4);
    wanted = wanted < most ? wanted : most;
    rt_store_relaxed(&a->head->early_wanted_ns, wanted - wanted / 256);
    a->early_ns = (int64_t)wanted;
}

static void serve_cycle(wrk_channel_t *ch, int64_t now_mono_ns)
{
    cyclic_agent_t *a = cyclic_agent_of(ch);
    begin_counting(a);
    cyclic_agent_count(a, SHM_CYCLIC_COUNT_missed, a->out.missed);
    if (a->out.missed > 0)
        wrk_note(ch, SHM_EVENT_late_packets, a->out.missed, VERDICT_DROPPED_LATE,
                 (int64_t)a->out.missed * a->config.period_ns,
                 (int64_t)(a->out.number - a->out.missed), now_mono_ns);
    build(ch, now_mono_ns);
    agent_spin_until(a->batch.start_mono_ns[0]);
    send_batch(ch);
    if (a->local && a->config.early_ns > 0)
        choose_early(a);
}

void cyclic_agent_send_due(wrk_channel_t *ch, int64_t now_mono_ns)
{
    cyclic_agent_t *a = cyclic_agent_of(ch);
    if (ch->held || ch->failed)
        return;
    (void)cyclic_agent_check_payload(ch, now_mono_ns);
    bool due = cycle_emit(&a->cycle, &a->out, instant_to_serve(ch, now_mono_ns));
    cyclic_agent_show(ch); /* before the datagram that it explains */
    if (due)
        serve_cycle(ch, now_mono_ns);
    if (!waits_for_payload(ch))
        agent_rhythm_check_now(&a->rhythm, a->config.period_ns, now_mono_ns);
    else if (a->rhythm.check_at_ns <= now_mono_ns)
        agent_rhythm_checked(&a->rhythm, now_mono_ns);
}

/* --- open ----------------------------------------------------------------------------------- */

static int64_t origin_of(const cyclic_agent_t *a, int64_t now_mono_ns)
{
    int64_t kept = (int64_t)rt_load_relaxed(&a->head->gauges[SHM_CYCLIC_GAUGE_origin_mono_ns]);
    if (a->config.phase_ns != SHM_CYCLIC_ANY_PHASE)
        return a->config.phase_ns;
    if (rt_load_relaxed(&a->head->begun) && kept >= 0 && kept < a->config.period_ns)
        return kept;
    return agent_choose_origin(a->config.period_ns, now_mono_ns) % a->config.period_ns;
}

/* What a predecessor sent. If the slot of its writer has no owner any more, no event will say so
 * again. */
static void inherit_payload(wrk_channel_t *ch, int64_t now_mono_ns)
{
    cyclic_agent_t *a = cyclic_agent_of(ch);
    if (cyclic_agent_check_payload(ch, now_mono_ns) && !wrk_producer_alive(ch, a->found.slot))
        cycle_writer_gone(&a->cycle);
    a->has_failsafe = a->config.on_stale == SHM_CYCLIC_FAILSAFE &&
                      shm_cyclic_get_failsafe(&a->box, a->failsafe.data, &a->failsafe.bytes);
}

void cyclic_agent_tx_run(wrk_channel_t *ch, int64_t now_mono_ns)
{
    cyclic_agent_t *a = cyclic_agent_of(ch);
    bool lacks_failsafe = a->config.on_stale == SHM_CYCLIC_FAILSAFE && !a->has_failsafe;
    if (ch->held || lacks_failsafe)
        cycle_stop(&a->cycle);
    else
        cycle_start(&a->cycle, now_mono_ns);
    agent_rhythm_check_now(&a->rhythm, a->config.period_ns, now_mono_ns);
}

void cyclic_agent_tx_open(wrk_channel_t *ch, int64_t now_mono_ns)
{
    cyclic_agent_t *a = cyclic_agent_of(ch);
    bool ticks = a->local && a->config.payload_bytes == 0;
    cycle_config_t config = {
        .period_ns = a->config.period_ns,
        .origin_ns = origin_of(a, now_mono_ns),
        .stale_after_ns = ticks ? 0 : a->config.stale_after_ns,
        .on_stale = ticks ? CYCLE_STALE_CONTINUE : (cycle_on_stale_t)a->config.on_stale,
    };
    cycle_init(&a->cycle, &config);
    if (ticks)
        cycle_renewed(&a->cycle, now_mono_ns, now_mono_ns);
    inherit_payload(ch, now_mono_ns);
    a->rhythm.prepared_for_ns = RT_NEVER_NS;
    agent_ledger_init(&a->ledger, &a->udp, a->path.tx != NULL || a->local, now_mono_ns);
    count_uncounted(ch, now_mono_ns);
    cyclic_agent_tx_run(ch, now_mono_ns);
    if (rt_load_relaxed(&a->head->begun) && cycle_due_ns(&a->cycle) != RT_NEVER_NS)
        cycle_resume(&a->cycle, rt_load_relaxed(&a->head->gauges[SHM_CYCLIC_GAUGE_number]),
                     now_mono_ns);
    rt_store_relaxed(&a->head->gauges[SHM_CYCLIC_GAUGE_origin_mono_ns],
                     (uint64_t)config.origin_ns);
    ch->tx_paused = a->cycle.used;
    cyclic_agent_show(ch);
}
