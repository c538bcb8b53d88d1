/* sender.c: from the tx ring to the way out.
 *
 *     tx ring --take_in--> no deadline: ready[] ------------------> batch -> send call -> verdicts
 *                     \--> deadline:    schedule --when it is due--/   \---> impaired path
 *
 * A deadline is served in four steps. At start - AGENT_LEAD_NS the worker calls on_deadline. The
 * packets that are due at that instant are taken out of the ring and the messages are built. Then
 * the clock is read until the start. Then comes the send call and nothing else. A packet that was
 * taken is in state SENDING: a worker that takes this channel over will not send it again.
 *
 * start = deadline, with align="wire" minus the learnt wire offset.
 *
 * A send call takes a few microseconds, and nothing can be sent meanwhile. So packets that start
 * closer together than half a call leave in one message (GSO), at the start of the last one of
 * them. All together they are less late than one by one, and never early (agent_next_call).
 *
 * Of the due packets the one that has been due longest is sent first, and a packet without a
 * deadline is due since it was queued. So ready[] and the schedule are merged, as far as the ring
 * was taken in. If the worker comes to a deadline late, it first takes in the ring, as far as it
 * was filled by then. So after a stall the earliest deadline is served first, whether its packet
 * had been taken in before or not.
 *
 * With the option catch_up the packets that a stall made late leave one after the other
 * (proto/pacing/catch_up.h). The others stay in the schedule, and packets without a deadline pass
 * them.
 *
 * A packet's deadline and sequence are read once, when it is taken in, and kept here. If its record
 * contains something else later, a client overwrote it: it is not sent, and counted as corrupt.
 *
 * If the queueing discipline launches packets itself (txtime), they are handed over
 * AGENT_HANDOVER_AHEAD_NS before the start, without spinning.
 *
 * If there is no room (in the kernel, or in the rx ring of a local channel) the packets return to
 * where they came from, in order, and nothing more is taken in until there is (EPOLLOUT, or after a
 * pause). */
#include "worker/agents/common/sender.h"

#include "worker/agents/common/socket.h"
#include "worker/agents/common/tap.h"

#include <errno.h>
#include <string.h>

#define FIRST_SEND_COST_NS 2000
#define SEND_COST_MOST_NS (50 * RT_NS_PER_US)
#define JOIN_MOST_NS (2 * RT_NS_PER_US)
#define TAKE_IN_PER_CALL 256u
#define RELEASE_MOVES 8u

/* --- times --------------------------------------------------------------------------------- */

/* When the earliest packet of the schedule starts; RT_NEVER_NS: there is none. after: the packets
 * that left before it. */
static int64_t next_start_ns(const wrk_channel_t *ch, const catch_up_t *after, int64_t now_mono_ns)
{
    const agent_sender_t *a = agent_sender_of(ch);
    int64_t due = agent_schedule_next_ns(&a->schedule);
    if (due == RT_NEVER_NS)
        return RT_NEVER_NS;
    int64_t start = due + agent_start_shift_ns(ch, &a->ledger);
    return catch_up_is_on(after) ? catch_up_start_ns(after, due, start, now_mono_ns) : start;
}

int64_t agent_sender_deadline_ns(const wrk_channel_t *ch)
{
    const agent_sender_t *a = agent_sender_of(ch);
    if (a->block.now)
        return a->block.retry_mono_ns;
    if (ch->held || a->purge.on || agent_schedule_count(&a->schedule) == 0)
        return RT_NEVER_NS;
    if (a->reading_up) /* overdue packets of other channels come between */
        return a->read_up_mono_ns;
    int64_t ahead = a->udp->eff.txtime ? AGENT_HANDOVER_AHEAD_NS : AGENT_LEAD_NS;
    return next_start_ns(ch, &a->left, 0) - ahead; /* at 0 nothing is overdue */
}

/* --- batch --------------------------------------------------------------------------------- */

/* The packet at this index leaves with the batch. Returns its start: after a stall not its
 * deadline's. A packet that was queued after its deadline counts as due then. */
static int64_t plan_start(wrk_channel_t *ch, unsigned index, int64_t start_mono_ns,
                          int64_t now_mono_ns)
{
    agent_sender_t *a = agent_sender_of(ch);
    if (!a->from[index].has_deadline || !catch_up_is_on(&a->planned))
        return start_mono_ns;
    int64_t due = a->from[index].entry.due_ns;
    int64_t queued = agent_enqueued_mono_ns(&a->batch.items[index], now_mono_ns) -
                     agent_start_shift_ns(ch, &a->ledger);
    int64_t start = catch_up_start_ns(&a->planned, due, start_mono_ns, now_mono_ns);
    catch_up_leave(&a->planned, due > queued ? due : queued, start);
    a->from[index].after = a->planned;
    return start;
}

/* The packet is in items[] already. */
static void batch_add(wrk_channel_t *ch, const agent_waiting_t *from, int64_t start_mono_ns,
                      int64_t now_mono_ns)
{
    agent_sender_t *a = agent_sender_of(ch);
    agent_batch_t *b = &a->batch;
    unsigned i = b->count++;
    const tx_item_t *item = &b->items[i];
    a->from[i] = *from;
    b->start_mono_ns[i] = start_mono_ns;
    int64_t leave_mono_ns = plan_start(ch, i, start_mono_ns, now_mono_ns);
    b->messages[i] = (udp_tx_t){.data = item->payload, .len = item->payload_bytes};
    agent_batch_address(b, i);
    /* To the remote, a connected socket knows the way. */
    if (b->messages[i].dest != NULL && udp_addr_equal(&b->dests[i], &a->udp->remote))
        b->messages[i].dest = NULL;
    if (a->udp->eff.txtime && from->has_deadline)
        b->messages[i].txtime_ns = leave_mono_ns - wrk_clock_shift_ns(ch);
    __builtin_prefetch(item->payload);
}

/* Whether the record still has the values of the time when the packet was taken in. */
static bool is_as_taken_in(const tx_item_t *item, const agent_waiting_t *from)
{
    if (item->sequence != from->entry.order)
        return false;
    if (!from->has_deadline)
        return item->due_ns == 0;
    return item->due_ns != 0 && agent_bounded_due(item->due_ns) == from->entry.due_ns;
}

/* Marks the packet as being sent and adds it, unless it was cancelled, moved or dropped. */
static void take_into_batch(wrk_channel_t *ch, const agent_waiting_t *from, int64_t now_mono_ns,
                            int64_t shift)
{
    agent_batch_t *b = &agent_sender_of(ch)->batch;
    tx_item_t *item = &b->items[b->count];
    uint64_t ref = from->entry.ref;
    int rc = tx_queue_take(&ch->tx, ref, item);
    if (rc == -ESTALE)
        return;
    if (rc == 0 && !is_as_taken_in(item, from)) {
        tx_queue_finish(&ch->tx, ref);
        rc = -EBADMSG;
    }
    if (rc < 0) {
        item->sequence = from->entry.order;
        agent_refused(ch, item, rc, now_mono_ns);
        return;
    }
    int64_t start = from->has_deadline ? from->entry.due_ns + shift : 0;
    if (ch->config.late == SHM_LATE_DROP &&
        verdict_is_late(start, now_mono_ns, ch->config.tolerance_ns)) {
        tx_queue_finish(&ch->tx, ref);
        agent_not_sent(ch, item, VERDICT_DROPPED_LATE, 0, now_mono_ns);
        return;
    }
    batch_add(ch, from, start, now_mono_ns);
}

/* A packet that does not fit in the schedule gets its verdict. */
static void wait_for_deadline(wrk_channel_t *ch, const tx_item_t *item, const due_entry_t *entry)
{
    int rc = agent_schedule_push(&agent_sender_of(ch)->schedule, &ch->tx, entry);
    if (rc == 0)
        return;
    tx_queue_finish(&ch->tx, entry->ref);
    agent_not_sent(ch, item, VERDICT_FAILED, -rc, rt_mono_ns());
}

static void wait_in_turn(wrk_channel_t *ch, const tx_item_t *item, const due_entry_t *entry)
{
    agent_sender_t *a = agent_sender_of(ch);
    if (a->ready_count < AGENT_BATCH) {
        a->ready[a->ready_count++] = *entry;
        return;
    }
    tx_queue_finish(&ch->tx, entry->ref);
    agent_not_sent(ch, item, VERDICT_FAILED, ENOSPC, rt_mono_ns());
}

/* A packet that was just taken in: its header, as read now, decides. */
static void wait_its_time(wrk_channel_t *ch, const tx_item_t *item, int64_t now_mono_ns)
{
    bool has_deadline = item->due_ns != 0;
    const due_entry_t entry = {
        .due_ns = has_deadline ? agent_bounded_due(item->due_ns)
                               : agent_enqueued_mono_ns(item, now_mono_ns),
        .order = item->sequence,
        .ref = item->ref,
    };
    if (has_deadline)
        wait_for_deadline(ch, item, &entry);
    else
        wait_in_turn(ch, item, &entry);
}

static void block_changed(const agent_sender_t *a, wrk_channel_t *ch)
{
    if (a->block_changed != NULL)
        a->block_changed(ch);
}

/* Packets from index on return to where they came from. Those of ready[] go before those still in
 * it. */
static void put_back(wrk_channel_t *ch, unsigned index)
{
    agent_sender_t *a = agent_sender_of(ch);
    const agent_batch_t *b = &a->batch;
    due_entry_t rest[AGENT_BATCH];
    unsigned rest_count = a->ready_count;
    memcpy(rest, a->ready, rest_count * sizeof *rest);
    a->ready_count = 0;
    for (unsigned i = index; i < b->count; i++) {
        tx_queue_untake(&ch->tx, b->items[i].ref);
        if (a->from[i].has_deadline)
            wait_for_deadline(ch, &b->items[i], &a->from[i].entry);
        else
            wait_in_turn(ch, &b->items[i], &a->from[i].entry);
    }
    /* Both were in ready[] together before the batch was made. */
    unsigned room = AGENT_BATCH - a->ready_count;
    rest_count = rest_count < room ? rest_count : room;
    memcpy(a->ready + a->ready_count, rest, rest_count * sizeof *rest);
    a->ready_count += rest_count;
    block_changed(a, ch);
}

/* --- sending ------------------------------------------------------------------------------- */

void agent_sender_unblock(wrk_channel_t *ch, int64_t now_mono_ns)
{
    agent_sender_t *a = agent_sender_of(ch);
    if (!a->block.now)
        return;
    a->block.now = false;
    ch->tx_paused = ch->held;
    block_changed(a, ch);
    wrk_activate(ch, now_mono_ns);
}

static void packets_left(wrk_channel_t *ch, unsigned first, unsigned count, int64_t start_mono_ns,
                         int64_t end_mono_ns)
{
    agent_sender_t *a = agent_sender_of(ch);
    for (unsigned i = first; i < first + count; i++) {
        tx_queue_finish(&ch->tx, a->batch.items[i].ref);
        if (a->from[i].has_deadline && catch_up_is_on(&a->left))
            a->left = a->from[i].after;
    }
    agent_sent(ch, &a->ledger, &a->batch, first, count, start_mono_ns, end_mono_ns);
    int64_t done = agent_tapped(ch) ? rt_mono_ns() : end_mono_ns; /* copies are part of the cost */
    a->send_cost_ns =
        agent_cost_learnt_ns(a->send_cost_ns, done - start_mono_ns, count, SEND_COST_MOST_NS);
}

static void packet_failed(wrk_channel_t *ch, unsigned index, int error, int64_t now_mono_ns)
{
    const tx_item_t *item = &agent_sender_of(ch)->batch.items[index];
    tx_queue_finish(&ch->tx, item->ref);
    agent_not_sent(ch, item, VERDICT_FAILED, error, now_mono_ns);
}

/* How long packets may wait for others that leave in the same message. While a message is being
 * sent, nothing else is: a packet that starts within half of that time is nearer to its start in
 * the message of the one before it than in its own. */
static int64_t join_ns(const wrk_channel_t *ch)
{
    const agent_sender_t *a = agent_sender_of(ch);
    if (!a->udp->eff.gso || a->udp->eff.txtime || a->put != NULL || a->path->tx != NULL ||
        catch_up_is_on(&a->left))
        return 0;
    int64_t most = JOIN_MOST_NS < ch->config.tolerance_ns ? JOIN_MOST_NS : ch->config.tolerance_ns;
    return agent_earlier_ns(a->send_cost_ns / 2, most);
}

static void send_batch(wrk_channel_t *ch)
{
    static const agent_outcomes_t outcomes = {
        .left = packets_left, .failed = packet_failed, .put_back = put_back};
    agent_sender_t *a = agent_sender_of(ch);
    const agent_way_t way = {.udp = a->udp,
                             .put = a->put,
                             .path = a->path,
                             .ledger = &a->ledger,
                             .block = &a->block,
                             .join_ns = join_ns(ch)};
    if (a->batch.count > 0)
        agent_send(ch, &way, &a->batch, &outcomes);
}

/* --- what is due already ------------------------------------------------------------------- */

/* Takes the earliest packet out of the schedule, if it is due by then and, when catching
 * up, starts by start_mono_ns. */
static bool pop_due(wrk_channel_t *ch, int64_t until_ns, int64_t start_mono_ns, int64_t now_mono_ns,
                    due_entry_t *out)
{
    agent_sender_t *a = agent_sender_of(ch);
    if (catch_up_is_on(&a->planned) && next_start_ns(ch, &a->planned, now_mono_ns) > start_mono_ns)
        return false;
    return agent_schedule_pop_due(&a->schedule, until_ns, out);
}

/* Takes from ready[], and from the schedule the packets that became due before later ones of
 * ready[]. */
static void fill_by_age(wrk_channel_t *ch, int64_t now_mono_ns)
{
    agent_sender_t *a = agent_sender_of(ch);
    int64_t shift = agent_start_shift_ns(ch, &a->ledger);
    unsigned i = 0;
    a->planned = a->left;
    while (i < a->ready_count && a->batch.count < AGENT_BATCH) {
        agent_waiting_t next = {.has_deadline = true};
        if (!pop_due(ch, a->ready[i].due_ns - shift, now_mono_ns, now_mono_ns, &next.entry))
            next = (agent_waiting_t){.entry = a->ready[i++]};
        take_into_batch(ch, &next, now_mono_ns, shift);
    }
    a->ready_count -= i;
    memmove(a->ready, a->ready + i, a->ready_count * sizeof *a->ready);
}

static void send_ready(wrk_channel_t *ch, int64_t now_mono_ns)
{
    agent_sender_t *a = agent_sender_of(ch);
    fill_by_age(ch, now_mono_ns);
    agent_choose_stamps(ch, &a->ledger, &a->batch, now_mono_ns);
    send_batch(ch);
    wrk_sent_at_once(ch);
}

/* --- with a deadline ----------------------------------------------------------------------- */

static bool take_in_one(wrk_channel_t *ch, unsigned *budget, int64_t now_mono_ns);

/* Whether the ring is to be taken in before anything due is sent. On time: no, because the unread
 * records were queued after the due ones. After a stall (this core was taken away, or busy) an
 * unread packet may be due before one that is scheduled. Places are compared, because a record that
 * was moved to the tail has a number from before. */
static bool must_read_up(wrk_channel_t *ch, int64_t now_mono_ns)
{
    agent_sender_t *a = agent_sender_of(ch);
    if (!a->reading_up) {
        int64_t due = agent_schedule_next_ns(&a->schedule);
        if (due == RT_NEVER_NS ||
            now_mono_ns - AGENT_LEAD_NS <= due + agent_start_shift_ns(ch, &a->ledger))
            return false;
        a->read_up_to_ref = tx_queue_tail_ref(&ch->tx);
    }
    return ch->tx.read_ref < a->read_up_to_ref;
}

/* Takes in a part of what waited in the ring when the worker noticed that it is late. Returns
 * whether due packets may be sent. */
static bool read_up(wrk_channel_t *ch, int64_t now_mono_ns)
{
    agent_sender_t *a = agent_sender_of(ch);
    unsigned budget = TAKE_IN_PER_CALL;
    bool found = true;
    bool more = must_read_up(ch, now_mono_ns);
    while (more && found && a->ready_count < AGENT_BATCH) {
        a->reading_up = true;
        found = take_in_one(ch, &budget, now_mono_ns);
        more = must_read_up(ch, now_mono_ns);
    }
    a->reading_up = more && budget == 0; /* otherwise the next one is still being written */
    a->read_up_mono_ns = now_mono_ns;
    return !a->reading_up;
}

/* Of a batch in which all packets have a deadline. */
static int64_t first_start_ns(const agent_sender_t *a)
{
    return catch_up_is_on(&a->left) ? a->from[0].after.start_ns : a->batch.start_mono_ns[0];
}

/* Packets that start while a message is being sent are prepared together with it, unless another
 * channel is due before them. */
static int64_t with_what_follows(const wrk_channel_t *ch, int64_t latest_mono_ns)
{
    int64_t until = latest_mono_ns + 2 * join_ns(ch);
    return until < wrk_free_until_ns(ch) ? until : latest_mono_ns;
}

static void send_due(wrk_channel_t *ch, int64_t now_mono_ns)
{
    agent_sender_t *a = agent_sender_of(ch);
    if (a->block.now || ch->held || a->purge.on || !read_up(ch, now_mono_ns))
        return;
    if (a->ready_count > 0) { /* the kernel had no room for them, or they were late: by age */
        send_ready(ch, now_mono_ns);
        return;
    }
    int64_t shift = agent_start_shift_ns(ch, &a->ledger);
    int64_t ahead = a->udp->eff.txtime ? AGENT_HANDOVER_AHEAD_NS : 0;
    /* All packets that start together with the first, or could start already. */
    int64_t first = next_start_ns(ch, &a->left, now_mono_ns);
    if (first == RT_NEVER_NS || first - ahead > now_mono_ns + AGENT_LEAD_NS)
        return;
    int64_t latest = now_mono_ns + ahead > first ? now_mono_ns + ahead : first;
    latest = with_what_follows(ch, latest);
    agent_waiting_t next = {.has_deadline = true};
    a->planned = a->left;
    while (a->batch.count < AGENT_BATCH &&
           pop_due(ch, latest - shift, latest, now_mono_ns, &next.entry))
        take_into_batch(ch, &next, now_mono_ns, shift);
    if (a->batch.count == 0)
        return;
    agent_choose_stamps(ch, &a->ledger, &a->batch, now_mono_ns);
    if (!a->udp->eff.txtime)
        agent_spin_until(first_start_ns(a));
    send_batch(ch);
}

void agent_sender_on_deadline(wrk_channel_t *ch, int64_t now_mono_ns)
{
    const agent_sender_t *a = agent_sender_of(ch);
    if (a->block.now && now_mono_ns >= a->block.retry_mono_ns)
        agent_sender_unblock(ch, now_mono_ns);
    send_due(ch, now_mono_ns);
}

/* --- without a deadline -------------------------------------------------------------------- */

/* How many packets fit before a deadline on this core. */
static unsigned room_before_deadline(const wrk_channel_t *ch, int64_t now_mono_ns)
{
    const agent_sender_t *a = agent_sender_of(ch);
    int64_t free_until = wrk_free_until_ns(ch);
    int64_t own = agent_sender_deadline_ns(ch);
    int64_t until = own < free_until ? own : free_until;
    return agent_pieces_before(until, now_mono_ns, a->send_cost_ns, AGENT_BATCH);
}

/* Takes one record of the ring. Returns false if there was none. */
static bool take_in_one(wrk_channel_t *ch, unsigned *budget, int64_t now_mono_ns)
{
    tx_item_t item;
    int rc = tx_queue_next(&ch->tx, now_mono_ns, budget, &item);
    if (rc == 0)
        return false;
    if (rc < 0)
        agent_refused(ch, &item, rc, now_mono_ns);
    else
        wait_its_time(ch, &item, now_mono_ns);
    return true;
}

static unsigned free_space(wrk_channel_t *ch, int64_t now_mono_ns)
{
    return agent_free_space(ch, RELEASE_MOVES, agent_refused, now_mono_ns);
}

unsigned agent_sender_take_in(wrk_channel_t *ch, int64_t now_mono_ns)
{
    agent_sender_t *a = agent_sender_of(ch);
    unsigned work = 0;
    if (!ch->tx_paused && !a->purge.on) {
        unsigned room = room_before_deadline(ch, now_mono_ns);
        unsigned left_over = a->ready_count;
        unsigned budget = TAKE_IN_PER_CALL;
        while (a->ready_count < room && take_in_one(ch, &budget, now_mono_ns)) {
        }
        if (a->ready_count > 0)
            send_ready(ch, now_mono_ns);
        work = TAKE_IN_PER_CALL - budget + left_over;
    }
    return work + free_space(ch, now_mono_ns);
}

/* --- purge --------------------------------------------------------------------------------- */

int agent_sender_purge(wrk_channel_t *ch, unsigned max, int64_t now_mono_ns)
{
    agent_sender_t *a = agent_sender_of(ch);
    if (agent_purge_begin(ch, &a->purge))
        agent_path_clear(ch, a->path);
    for (unsigned i = 0; i < a->ready_count; i++)
        agent_purge_taken(ch, a->ready[i].ref, a->ready[i].order, agent_refused, now_mono_ns);
    a->ready_count = 0;
    due_entry_t entry;
    unsigned n = 0;
    while (n < max && agent_schedule_pop_due(&a->schedule, INT64_MAX, &entry)) {
        agent_purge_taken(ch, entry.ref, entry.order, agent_refused, now_mono_ns);
        n++;
    }
    bool done = n < max && agent_purge_unread(ch, &a->purge, max - n, agent_refused, wait_its_time,
                                              now_mono_ns);
    (void)free_space(ch, now_mono_ns);
    if (!done)
        return 0;
    a->purge.on = false;
    agent_sender_unblock(ch, now_mono_ns);
    wrk_activate(ch, now_mono_ns);
    return 1;
}

/* --- open, close --------------------------------------------------------------------------- */

static uint64_t most_packets(const shm_config_t *c)
{
    uint64_t by_bytes = c->tx_bytes / sizeof(shm_tx_record_t);
    return c->tx_capacity != 0 && c->tx_capacity < by_bytes ? c->tx_capacity : by_bytes;
}

int agent_sender_open(wrk_channel_t *ch, bool unstamped_path, int64_t now_mono_ns)
{
    agent_sender_t *a = agent_sender_of(ch);
    a->send_cost_ns = FIRST_SEND_COST_NS;
    catch_up_init(&a->left, ch->config.catch_up);
    agent_ledger_init(&a->ledger, a->udp, unstamped_path, now_mono_ns);
    uint64_t most = most_packets(&ch->config);
    int rc = wrk_count_memory(ch, agent_schedule_most_bytes(most));
    return rc ? rc : agent_schedule_init(&a->schedule, most);
}

void agent_sender_close(wrk_channel_t *ch)
{
    agent_schedule_close(&agent_sender_of(ch)->schedule);
}

void agent_sender_release(wrk_channel_t *ch)
{
    ch->tx_paused = agent_sender_of(ch)->block.now;
}

void agent_sender_refresh(wrk_channel_t *ch, int64_t now_mono_ns)
{
    const agent_sender_t *a = agent_sender_of(ch);
    rt_store_relaxed(&ch->stats->scheduled, agent_schedule_count(&a->schedule));
    (void)free_space(ch, now_mono_ns);
}
