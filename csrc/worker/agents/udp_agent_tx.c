/* udp_agent_tx.c: from the tx ring to the socket.
 *
 *     tx ring --take_in--> no deadline: ready[] ------------------> batch -> udp_send -> verdicts
 *                     \--> deadline:    schedule --when it is due--/   \---> link (emulated)
 *
 * A deadline is served in four steps. At start - AGENT_LEAD_NS the worker calls (on_deadline); what
 * is due at that instant is taken out of the ring and the messages are built; then the clock is
 * read until the start; then comes the send call and nothing else. A packet that was taken is in
 * state SENDING: whoever takes this channel over will not send it again.
 *
 * start = deadline, or with align="wire" the deadline less the learnt way to the wire.
 *
 * Of those that are due the one that is due longest goes first, and a packet without a deadline is
 * due since it was queued. So ready[] and the schedule are merged, as far as the ring was taken in.
 *
 * Where the queueing discipline launches packets by itself (txtime), they are handed over
 * AGENT_HANDOVER_AHEAD_NS before the start and nobody spins.
 *
 * When the kernel has no room the packets go back where they came from, in order, and nothing more
 * is taken in until it has (EPOLLOUT, or after a pause). */
#include "worker/agents/agent_socket.h"
#include "worker/agents/udp_agent.h"

#include <errno.h>
#include <string.h>

#define SEND_COST_MOST_NS (50 * RT_NS_PER_US)
#define TAKE_IN_PER_CALL 256u
#define RELEASE_MOVES 8u

/* --- times --------------------------------------------------------------------------------- */

int64_t udp_agent_tx_deadline_ns(const wrk_channel_t *ch)
{
    const udp_agent_t *a = udp_agent_of(ch);
    if (a->block.now)
        return a->block.retry_mono_ns;
    if (a->held || a->purging || due_heap_count(&a->schedule) == 0)
        return RT_NEVER_NS;
    int64_t ahead = a->udp.eff.txtime ? AGENT_HANDOVER_AHEAD_NS : AGENT_LEAD_NS;
    return due_heap_next_ns(&a->schedule) + agent_start_shift_ns(ch, &a->ledger) - ahead;
}

/* --- batch --------------------------------------------------------------------------------- */

static void batch_add(wrk_channel_t *ch, const tx_item_t *item, int64_t start_mono_ns)
{
    udp_agent_t *a = udp_agent_of(ch);
    agent_batch_t *b = &a->batch;
    unsigned i = b->count++;
    b->items[i] = *item;
    b->start_mono_ns[i] = start_mono_ns;
    b->messages[i] = (udp_tx_t){.data = item->payload, .len = item->payload_bytes};
    if (item->dest.family != 0) {
        agent_addr_in(&b->dests[i], &item->dest);
        b->messages[i].dest = &b->dests[i];
    }
    if (a->udp.eff.txtime && item->due_ns != 0)
        b->messages[i].txtime_ns = start_mono_ns - wrk_clock_shift_ns(ch);
    __builtin_prefetch(item->payload);
}

/* Marks the packet as being sent and adds it, unless it was cancelled or moved or is dropped. */
static void take_into_batch(wrk_channel_t *ch, uint64_t ref, int64_t now_mono_ns, int64_t shift)
{
    tx_item_t item;
    int rc = tx_queue_take(&ch->tx, ref, &item);
    if (rc == -ESTALE)
        return;
    if (rc < 0) {
        agent_refused(ch, &item, rc, now_mono_ns);
        return;
    }
    int64_t start = item.due_ns != 0 ? agent_bounded_due(item.due_ns) + shift : 0;
    if (ch->config.late == SHM_LATE_DROP &&
        verdict_is_late(start, now_mono_ns, ch->config.tolerance_ns)) {
        tx_queue_finish(&ch->tx, ref);
        agent_not_sent(ch, &item, VERDICT_DROPPED_LATE, 0, now_mono_ns);
        return;
    }
    batch_add(ch, &item, start);
}

static int push_due(wrk_channel_t *ch, const tx_item_t *item)
{
    due_entry_t entry = {
        .due_ns = agent_bounded_due(item->due_ns), .order = item->sequence, .ref = item->ref};
    return due_heap_push(&udp_agent_of(ch)->schedule, &entry);
}

/* Cancelled and moved packets leave their entries behind until those come due. A schedule that is
 * full of them is made anew from what really waits: some 20 ns a packet, after as many were
 * cancelled. */
static int reschedule(wrk_channel_t *ch)
{
    tx_item_t item;
    uint64_t ref = 0;
    int rc = 0;
    due_heap_clear(&udp_agent_of(ch)->schedule);
    while (rc == 0 && tx_queue_waiting_next(&ch->tx, &ref, &item) == 1)
        rc = item.due_ns != 0 ? push_due(ch, &item) : 0;
    return rc;
}

static void schedule(wrk_channel_t *ch, const tx_item_t *item)
{
    int rc = push_due(ch, item);
    if (rc == -ENOSPC)
        rc = reschedule(ch); /* this one waits, too */
    if (rc == 0)
        return;
    tx_queue_finish(&ch->tx, item->ref);
    agent_not_sent(ch, item, VERDICT_FAILED, ENOMEM, rt_mono_ns());
}

static void ready_add(udp_agent_t *a, const tx_item_t *item, int64_t now_mono_ns)
{
    a->ready[a->ready_count++] = (udp_ready_t){
        .ref = item->ref, .queued_mono_ns = agent_enqueued_mono_ns(item, now_mono_ns)};
}

/* Packets from index on go back where they came from: of ready[] before those still in it. */
static void put_back(wrk_channel_t *ch, unsigned index)
{
    udp_agent_t *a = udp_agent_of(ch);
    const agent_batch_t *b = &a->batch;
    int64_t now = rt_mono_ns();
    udp_ready_t rest[AGENT_BATCH];
    unsigned rest_count = a->ready_count;
    memcpy(rest, a->ready, rest_count * sizeof *rest);
    a->ready_count = 0;
    for (unsigned i = index; i < b->count; i++) {
        tx_queue_untake(&ch->tx, b->items[i].ref);
        if (b->items[i].due_ns == 0)
            ready_add(a, &b->items[i], now);
        else
            schedule(ch, &b->items[i]);
    }
    memcpy(a->ready + a->ready_count, rest, rest_count * sizeof *rest);
    a->ready_count += rest_count;
    udp_agent_watch_input(ch);
}

/* --- sending ------------------------------------------------------------------------------- */

void udp_agent_unblock(wrk_channel_t *ch, int64_t now_mono_ns)
{
    udp_agent_t *a = udp_agent_of(ch);
    if (!a->block.now)
        return;
    a->block.now = false;
    ch->tx_paused = a->held;
    udp_agent_watch_input(ch);
    wrk_activate(ch, now_mono_ns);
}

static void note_send_cost(udp_agent_t *a, unsigned packets, int64_t took_ns)
{
    int64_t each = took_ns / packets;
    each = each < SEND_COST_MOST_NS ? each : SEND_COST_MOST_NS;
    a->send_cost_ns += (each - a->send_cost_ns) / 8;
}

static void packets_left(wrk_channel_t *ch, unsigned first, unsigned count, int64_t start_mono_ns,
                         int64_t end_mono_ns)
{
    udp_agent_t *a = udp_agent_of(ch);
    for (unsigned i = first; i < first + count; i++)
        tx_queue_finish(&ch->tx, a->batch.items[i].ref);
    agent_sent(ch, &a->ledger, &a->batch, first, count, start_mono_ns, end_mono_ns);
    note_send_cost(a, count, end_mono_ns - start_mono_ns);
}

static void packet_failed(wrk_channel_t *ch, unsigned index, int error, int64_t now_mono_ns)
{
    const tx_item_t *item = &udp_agent_of(ch)->batch.items[index];
    tx_queue_finish(&ch->tx, item->ref);
    agent_not_sent(ch, item, VERDICT_FAILED, error, now_mono_ns);
}

static void send_batch(wrk_channel_t *ch)
{
    static const agent_outcomes_t outcomes = {
        .left = packets_left, .failed = packet_failed, .put_back = put_back};
    udp_agent_t *a = udp_agent_of(ch);
    const agent_way_t way = {
        .udp = &a->udp, .link = &a->link, .ledger = &a->ledger, .block = &a->block};
    if (a->batch.count > 0)
        agent_send(ch, &way, &a->batch, &outcomes);
}

/* --- what is due already ------------------------------------------------------------------- */

/* ready[] and those of the schedule that became due before what goes behind them. */
static void fill_by_age(wrk_channel_t *ch, int64_t now_mono_ns)
{
    udp_agent_t *a = udp_agent_of(ch);
    int64_t shift = agent_start_shift_ns(ch, &a->ledger);
    unsigned i = 0;
    while (i < a->ready_count && a->batch.count < AGENT_BATCH) {
        due_entry_t entry;
        if (due_heap_pop_due(&a->schedule, a->ready[i].queued_mono_ns - shift, &entry))
            take_into_batch(ch, entry.ref, now_mono_ns, shift);
        else
            take_into_batch(ch, a->ready[i++].ref, now_mono_ns, 0);
    }
    a->ready_count -= i;
    memmove(a->ready, a->ready + i, a->ready_count * sizeof *a->ready);
}

static void send_ready(wrk_channel_t *ch, int64_t now_mono_ns)
{
    udp_agent_t *a = udp_agent_of(ch);
    fill_by_age(ch, now_mono_ns);
    agent_choose_stamps(ch, &a->ledger, &a->batch, now_mono_ns);
    send_batch(ch);
}

/* --- with a deadline ----------------------------------------------------------------------- */

void udp_agent_send_due(wrk_channel_t *ch, int64_t now_mono_ns)
{
    udp_agent_t *a = udp_agent_of(ch);
    if (a->block.now || a->held || a->purging)
        return;
    if (a->ready_count > 0) { /* the kernel had no room for them: all is late */
        send_ready(ch, now_mono_ns);
        return;
    }
    int64_t shift = agent_start_shift_ns(ch, &a->ledger);
    int64_t ahead = a->udp.eff.txtime ? AGENT_HANDOVER_AHEAD_NS : 0;
    /* All that start together with the first, or that are due already. */
    int64_t first = due_heap_next_ns(&a->schedule);
    if (first == RT_NEVER_NS || first + shift - ahead > now_mono_ns + AGENT_LEAD_NS)
        return;
    int64_t until = now_mono_ns - shift + ahead;
    until = until > first ? until : first;
    due_entry_t entry;
    while (a->batch.count < AGENT_BATCH && due_heap_pop_due(&a->schedule, until, &entry))
        take_into_batch(ch, entry.ref, now_mono_ns, shift);
    if (a->batch.count == 0)
        return;
    agent_choose_stamps(ch, &a->ledger, &a->batch, now_mono_ns);
    if (!a->udp.eff.txtime)
        agent_spin_until(a->batch.start_mono_ns[0]);
    send_batch(ch);
}

/* --- without a deadline -------------------------------------------------------------------- */

/* How many fit before something is due on this core; at least one, or nothing would ever move. */
static unsigned room_before_deadline(const wrk_channel_t *ch, int64_t now_mono_ns)
{
    const udp_agent_t *a = udp_agent_of(ch);
    int64_t free_until = wrk_free_until_ns(ch);
    int64_t own = udp_agent_tx_deadline_ns(ch);
    int64_t left = (own < free_until ? own : free_until) - now_mono_ns;
    if (left >= AGENT_BATCH * a->send_cost_ns)
        return AGENT_BATCH;
    return left > a->send_cost_ns ? (unsigned)(left / a->send_cost_ns) : 1;
}

/* One record of the ring. Returns false when there was none. */
static bool take_in_one(wrk_channel_t *ch, unsigned *budget, int64_t now_mono_ns)
{
    udp_agent_t *a = udp_agent_of(ch);
    tx_item_t item;
    int rc = tx_queue_next(&ch->tx, now_mono_ns, budget, &item);
    if (rc == 0)
        return false;
    if (rc < 0)
        agent_refused(ch, &item, rc, now_mono_ns);
    else if (item.due_ns != 0)
        schedule(ch, &item);
    else
        ready_add(a, &item, now_mono_ns);
    return true;
}

unsigned udp_agent_free_space(wrk_channel_t *ch, int64_t now_mono_ns)
{
    return agent_free_space(ch, RELEASE_MOVES, now_mono_ns);
}

unsigned udp_agent_take_in(wrk_channel_t *ch, int64_t now_mono_ns)
{
    udp_agent_t *a = udp_agent_of(ch);
    unsigned work = 0;
    if (!ch->tx_paused && !a->purging) {
        unsigned room = room_before_deadline(ch, now_mono_ns);
        unsigned left_over = a->ready_count;
        unsigned budget = TAKE_IN_PER_CALL;
        while (a->ready_count < room && take_in_one(ch, &budget, now_mono_ns)) {
        }
        if (a->ready_count > 0)
            send_ready(ch, now_mono_ns);
        work = TAKE_IN_PER_CALL - budget + left_over;
    }
    return work + udp_agent_free_space(ch, now_mono_ns);
}

/* --- purge --------------------------------------------------------------------------------- */

static void cancel(wrk_channel_t *ch, uint64_t ref, int64_t now_mono_ns)
{
    tx_item_t item;
    int rc = tx_queue_take(&ch->tx, ref, &item);
    if (rc == -ESTALE)
        return;
    if (rc == 0)
        tx_queue_finish(&ch->tx, ref);
    agent_refused(ch, &item, -ECANCELED, now_mono_ns);
}

/* Takes one record in for good or to be cancelled. Returns true when nothing that waited at the
 * start of the purge is left: a record of later sequence came, or none. */
static bool purge_one(wrk_channel_t *ch, unsigned *budget, int64_t now_mono_ns)
{
    udp_agent_t *a = udp_agent_of(ch);
    tx_item_t item;
    int rc = tx_queue_next(&ch->tx, now_mono_ns, budget, &item);
    if (rc == 0)
        return *budget > 0; /* a claim without its commit is no waiting packet yet */
    if (rc < 0)
        agent_refused(ch, &item, rc, now_mono_ns);
    else if (item.sequence < a->purge_before)
        cancel(ch, item.ref, now_mono_ns);
    else if (item.due_ns != 0)
        schedule(ch, &item);
    else
        ready_add(a, &item, now_mono_ns);
    return rc == 1 && item.sequence >= a->purge_before;
}

static bool purge_ring(wrk_channel_t *ch, unsigned max, int64_t now_mono_ns)
{
    unsigned budget = max;
    while (budget > 0)
        if (purge_one(ch, &budget, now_mono_ns))
            return true;
    return false;
}

int udp_agent_purge(wrk_channel_t *ch, unsigned max, int64_t now_mono_ns)
{
    udp_agent_t *a = udp_agent_of(ch);
    if (!a->purging) {
        a->purging = true;
        a->purge_before = agent_sequence_at_tail(ch);
        agent_link_clear(&a->link);
    }
    for (unsigned i = 0; i < a->ready_count; i++)
        cancel(ch, a->ready[i].ref, now_mono_ns);
    a->ready_count = 0;
    due_entry_t entry;
    unsigned n = 0;
    while (n < max && due_heap_pop(&a->schedule, &entry)) {
        cancel(ch, entry.ref, now_mono_ns);
        n++;
    }
    bool done = n < max && purge_ring(ch, max - n, now_mono_ns);
    (void)udp_agent_free_space(ch, now_mono_ns);
    if (!done)
        return 0;
    a->purging = false;
    udp_agent_unblock(ch, now_mono_ns);
    wrk_activate(ch, now_mono_ns);
    return 1;
}
