/* tx.c: from the tx ring to the socket, in the order of the ring.
 *
 *     tx ring --take_in--> read cursor --find_record--> plan: grid time --when it is due--> batch
 *                                                                                        |
 *                        history, counters, reports <-- udp_send <-- state stored -------+
 *
 * Nothing is copied: the header is built in the ring, in front of its payload, so a packet is
 * contiguous. In a block the header overwrites the end of the previous packet, so two packets of a
 * block are never in a batch at once.
 *
 * Nothing is sent twice: the state that a successor needs (shm_rtp_sender_t) is stored before the
 * send call, as if the packets of the batch had left. A record is taken (state SENDING) with its
 * last packet. Until then a client may still cancel the rest of a block. If the kernel has no room,
 * plan and state return to their values before the first packet that it refused.
 *
 * A deadline is served as in the engine udp: the worker calls AGENT_LEAD_NS ahead and builds the
 * packet, then reads the clock until the start, then makes the send call. With the option catch_up
 * packets that a stall made late leave one after the other (proto/pacing/catch_up.h). */
#include "worker/agents/common/socket.h"
#include "worker/agents/rtp/rtp.h"

#include "base/rt_err.h"
#include "shm/tx_ring.h"

#include <errno.h>
#include <string.h>

#define TAKE_IN_PER_CALL 256u
#define SEARCH_PER_CALL 256u /* records examined for one that waits */
#define FIND_PER_CALL 64u    /* records without a packet that are handled at once */

static int64_t to_channel(const wrk_channel_t *ch, int64_t mono_ns)
{
    return mono_ns - wrk_clock_shift_ns(ch);
}

/* --- state --------------------------------------------------------------------------------- */

static void put_in_force(rtp_agent_t *a)
{
    shm_rtp_state_t *s = a->state;
    uint32_t next = rt_load_relaxed(&s->current) + 1;
    next = next != 0 ? next : 2;
    rtp_plan_save(&a->plan, &s->sender[next % 2]);
    rt_store_release(&s->current, next); /* complete before it counts; a successor reads it */
}

static void publish_counters(wrk_channel_t *ch)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    const rtp_stream_t *s = &a->plan.stream;
    uint64_t dry = a->plan.counters.underruns - a->published[SHM_RTP_COUNT_underruns];
    if (dry != 0)
        wrk_note(ch, SHM_EVENT_rtp_underrun, dry, 0, 0, 0, rt_mono_ns());
    rtp_agent_publish_counter(a, SHM_RTP_COUNT_sent, s->packets);
    rtp_agent_publish_counter(a, SHM_RTP_COUNT_sent_octets, s->octets);
    rtp_agent_publish_counter(a, SHM_RTP_COUNT_spurts, s->spurts);
    rtp_agent_publish_counter(a, SHM_RTP_COUNT_skipped_times, s->skipped_times);
    rtp_agent_publish_counter(a, SHM_RTP_COUNT_underruns, a->plan.counters.underruns);
    rtp_agent_publish_counter(a, SHM_RTP_COUNT_filled, a->plan.counters.filled);
    int64_t due = rtp_plan_due_ns(&a->plan);
    rtp_agent_gauge(a, SHM_RTP_GAUGE_next_seq, s->seq);
    rtp_agent_gauge(a, SHM_RTP_GAUGE_next_due_ns, due != RT_NEVER_NS ? due : 0);
}

void rtp_agent_tx_gauges(wrk_channel_t *ch)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    rtp_agent_gauge(a, SHM_RTP_GAUGE_ssrc, a->config.ssrc);
    rtp_agent_gauge(a, SHM_RTP_GAUGE_queued, (int64_t)tx_ring_waiting(&ch->segment));
    publish_counters(ch);
}

/* --- open ---------------------------------------------------------------------------------- */

static int make_filling(wrk_channel_t *ch)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    if (a->config.underrun != SHM_RTP_FILL)
        return 0;
    size_t bytes = SHM_RTP_HEAD_BYTES + a->config.bytes_per_packet;
    a->filling = wrk_take_memory(ch, bytes);
    if (a->filling == NULL)
        return -ENOMEM;
    memset(a->filling, a->config.fill_byte, bytes);
    return 0;
}

int rtp_agent_tx_open(wrk_channel_t *ch, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    rtp_plan_init(&a->plan, &a->config);
    int rc = make_filling(ch);
    agent_ledger_init(&a->ledger, &a->udp, a->path.tx != NULL, now_mono_ns);
    catch_up_init(&a->left, ch->config.catch_up);
    uint32_t current = rt_load_acquire(&a->state->current);
    if (rc == 0 && current != 0) {
        shm_rtp_sender_t before = a->state->sender[current % 2];
        rtp_plan_restore(&a->plan, &before);
    }
    a->published[SHM_RTP_COUNT_sent] = a->plan.stream.packets;
    a->published[SHM_RTP_COUNT_sent_octets] = a->plan.stream.octets;
    return rc;
}

/* --- records ------------------------------------------------------------------------------- */

/* Ends a record here without a packet. */
static void end_record(wrk_channel_t *ch, const tx_item_t *record, verdict_t verdict, int error,
                       int64_t now_mono_ns)
{
    tx_item_t item;
    int rc = tx_queue_take(&ch->tx, record->ref, &item);
    if (rc == -ESTALE)
        return;
    if (rc < 0) {
        agent_refused(ch, record, rc, now_mono_ns);
        return;
    }
    tx_queue_finish(&ch->tx, record->ref);
    agent_not_sent(ch, record, verdict, error, now_mono_ns);
}

/* A pause or a BYE: it is no packet, so it gets neither verdict nor report. */
static void handle_pause_or_bye(wrk_channel_t *ch, const tx_item_t *mark, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    tx_item_t item;
    int rc = tx_queue_take(&ch->tx, mark->ref, &item);
    if (rc == 0) {
        if (a->plan.head.what == SHM_RTP_BYE)
            rtp_agent_bye(ch, now_mono_ns);
        tx_queue_finish(&ch->tx, mark->ref);
        rtp_plan_pause(&a->plan, a->plan.head.samples, to_channel(ch, now_mono_ns));
    } else if (rc != -ESTALE) {
        agent_refused(ch, mark, rc, now_mono_ns);
    }
}

/* Whether all records still to examine are after those of the batch. That is not so after the
 * search returned to a record that its producer finished late: then the records being sent would be
 * taken for damage. */
static bool is_behind_batch(const rtp_agent_t *a)
{
    for (unsigned i = 0; i < a->batch.count; i++)
        if (a->batch.items[i].ref >= a->plan.behind_ref)
            return false;
    return true;
}

/* Handles the next record that waits. Returns false if there is none, or the batch must be sent
 * first. */
static bool next_record(wrk_channel_t *ch, unsigned *budget, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    tx_item_t item;
    if (!is_behind_batch(a))
        return false;
    int rc = tx_queue_waiting_next(&ch->tx, &a->plan.behind_ref, budget, &item);
    if (rc < 0)
        agent_refused(ch, &item, rc, now_mono_ns);
    if (rc != 1)
        return rc < 0;
    int what = rtp_plan_read(&a->plan, &item);
    if (what < 0) {
        rtp_agent_count(a, SHM_RTP_COUNT_bad_records, 1);
        end_record(ch, &item, VERDICT_FAILED, EBADMSG, now_mono_ns);
    } else if (what == SHM_RTP_PAUSE || what == SHM_RTP_BYE) {
        /* Not before the packets of the batch have left: they may have to be put back. */
        if (a->batch.count > 0) {
            a->plan.behind_ref = item.ref;
            return false;
        }
        handle_pause_or_bye(ch, &item, now_mono_ns);
    } else {
        int64_t enqueued = agent_enqueued_mono_ns(&item, now_mono_ns);
        rtp_plan_place(&a->plan, to_channel(ch, enqueued), to_channel(ch, now_mono_ns),
                       ch->config.tolerance_ns);
    }
    return true;
}

/* Continues until one is in progress, all were examined, or the budget is used up. */
static void find_record(wrk_channel_t *ch, unsigned *budget, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    unsigned n = 0;
    while (!a->plan.has_record && n < FIND_PER_CALL && next_record(ch, budget, now_mono_ns))
        n++;
    a->searched_mono_ns = now_mono_ns;
}

/* Whether find_record must continue. */
static bool has_unseen(const wrk_channel_t *ch)
{
    const rtp_plan_t *p = &rtp_agent_of(ch)->plan;
    return !p->has_record && p->behind_ref < ch->tx.read_ref;
}

/* --- batch --------------------------------------------------------------------------------- */

static bool is_dropped_late(const wrk_channel_t *ch, int64_t start_mono_ns, int64_t now_mono_ns)
{
    return ch->config.late == SHM_LATE_DROP &&
           verdict_is_late(start_mono_ns, now_mono_ns, ch->config.tolerance_ns);
}

/* Whether the record in progress may still be sent. Its last packet takes it for good. */
static bool still_waits(wrk_channel_t *ch, bool last, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    tx_item_t item;
    uint64_t ref = a->plan.item.ref;
    int rc = last ? tx_queue_take(&ch->tx, ref, &item) : tx_queue_peek(&ch->tx, ref, &item);
    if (rc < 0 && !last)
        rc = tx_queue_take(&ch->tx, ref, &item); /* this finishes it */
    if (rc < 0 && rc != -ESTALE)
        agent_refused(ch, &a->plan.item, rc, now_mono_ns);
    if (rc < 0)
        rtp_plan_give_up(&a->plan);
    return rc == 0;
}

/* When the plan's next packet may start, if the packets of `after` left before it. */
static int64_t next_start_ns(const rtp_agent_t *a, const catch_up_t *after, int64_t shift_ns,
                             int64_t now_mono_ns)
{
    int64_t due = rtp_plan_due_ns(&a->plan);
    if (due == RT_NEVER_NS || !a->plan.has_record || !catch_up_is_on(after))
        return due != RT_NEVER_NS ? due + shift_ns : RT_NEVER_NS;
    return catch_up_start_ns(after, due, due + shift_ns, now_mono_ns);
}

/* The packet leaves with the batch. One that was queued after it was due counts as due then. */
static void plan_leave(rtp_agent_t *a, const tx_item_t *item, int64_t leave_mono_ns,
                       int64_t shift_ns, int64_t now_mono_ns)
{
    if (!catch_up_is_on(&a->planned))
        return;
    int64_t queued = agent_enqueued_mono_ns(item, now_mono_ns) - shift_ns;
    catch_up_leave(&a->planned, item->due_ns > queued ? item->due_ns : queued, leave_mono_ns);
}

/* start: by the schedule. leave: when it is to be sent. */
static void batch_add(wrk_channel_t *ch, int64_t start_mono_ns, int64_t leave_mono_ns,
                      int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    agent_batch_t *b = &a->batch;
    rtp_plan_packet_t packet;
    unsigned i = b->count++;
    a->before[i] = a->plan;
    b->items[i] = a->plan.item;
    b->items[i].due_ns = rtp_plan_due_ns(&a->plan);
    b->start_mono_ns[i] = start_mono_ns;
    plan_leave(a, &b->items[i], leave_mono_ns, start_mono_ns - b->items[i].due_ns, now_mono_ns);
    a->after[i] = a->planned;
    rtp_plan_packet(&a->plan, &packet);
    a->ends_record[i] = packet.ends_record;
    b->messages[i] = (udp_tx_t){.data = packet.data, .len = packet.bytes};
    if (b->items[i].source.family == 0)
        b->items[i].source = a->asked;
    agent_batch_address(b, i);
    if (a->udp.eff.txtime)
        b->messages[i].txtime_ns = to_channel(ch, leave_mono_ns);
}

static void drop_late(wrk_channel_t *ch, bool last, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    tx_item_t item = a->plan.item;
    item.due_ns = rtp_plan_due_ns(&a->plan);
    if (last)
        tx_queue_finish(&ch->tx, item.ref);
    agent_not_sent(ch, &item, VERDICT_DROPPED_LATE, 0, now_mono_ns);
    rtp_plan_drop(&a->plan);
}

/* The next packet of the record in progress. Returns false if it cannot share a call with the
 * packets in the batch. */
static bool take_packet(wrk_channel_t *ch, int64_t start_mono_ns, int64_t leave_mono_ns,
                        int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    const agent_batch_t *b = &a->batch;
    if (b->count > 0 && b->items[b->count - 1].ref == a->plan.item.ref)
        return false;
    bool last = rtp_plan_is_last(&a->plan);
    if (!still_waits(ch, last, now_mono_ns))
        return true;
    if (is_dropped_late(ch, start_mono_ns, now_mono_ns))
        drop_late(ch, last, now_mono_ns);
    else
        batch_add(ch, start_mono_ns, leave_mono_ns, now_mono_ns);
    return true;
}

/* Takes all packets that start together with the first, or that are due already. */
static void fill_batch(wrk_channel_t *ch, unsigned *budget, int64_t ahead_ns, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    int64_t shift = agent_start_shift_ns(ch, &a->ledger);
    int64_t until = next_start_ns(a, &a->left, shift, now_mono_ns);
    if (until - ahead_ns > now_mono_ns + AGENT_LEAD_NS)
        return;
    until = until > now_mono_ns + ahead_ns ? until : now_mono_ns + ahead_ns;
    a->planned = a->left;
    for (unsigned i = 0; i < RTP_AGENT_BATCH && a->plan.has_record; i++) {
        int64_t start = rtp_plan_due_ns(&a->plan) + shift;
        int64_t leave = next_start_ns(a, &a->planned, shift, now_mono_ns);
        if (leave > until || !take_packet(ch, start, leave, now_mono_ns))
            break;
        find_record(ch, budget, now_mono_ns);
    }
}

/* --- sending ------------------------------------------------------------------------------- */

/* The records that wait from this one on may not have been examined yet. */
static void search_again_from(rtp_agent_t *a, uint64_t ref)
{
    if (ref < a->plan.behind_ref)
        a->plan.behind_ref = ref;
}

/* The kernel had no room for packet index and those after it: handle them as if they had not been
 * built. */
static void put_back(wrk_channel_t *ch, unsigned index)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    const agent_batch_t *b = &a->batch;
    for (unsigned i = index; i < b->count; i++)
        if (a->ends_record[i])
            tx_queue_untake(&ch->tx, b->items[i].ref);
    uint64_t behind_ref = a->plan.behind_ref;
    a->plan = a->before[index];
    search_again_from(a, behind_ref);
    put_in_force(a);
    rtp_agent_watch(ch);
}

void rtp_agent_unblock(wrk_channel_t *ch, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    if (!a->block.now)
        return;
    a->block.now = false;
    ch->tx_paused = ch->held;
    rtp_agent_watch(ch);
    wrk_activate(ch, now_mono_ns);
}

static void packets_left(wrk_channel_t *ch, unsigned first, unsigned count, int64_t start_mono_ns,
                         int64_t end_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    const agent_batch_t *b = &a->batch;
    for (unsigned i = first; i < first + count; i++)
        if (a->ends_record[i])
            tx_queue_finish(&ch->tx, b->items[i].ref);
    a->left = a->after[first + count - 1];
    agent_sent(ch, &a->ledger, b, first, count, start_mono_ns, end_mono_ns);
    for (unsigned i = first; i < first + count; i++)
        rtp_agent_media_sent(a, b->messages[i].data, b->messages[i].len, end_mono_ns);
}

static void packet_failed(wrk_channel_t *ch, unsigned index, int error, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    const agent_batch_t *b = &a->batch;
    if (a->ends_record[index])
        tx_queue_finish(&ch->tx, b->items[index].ref);
    rtp_plan_not_sent(&a->plan, b->messages[index].len);
    if (error == EADDRNOTAVAIL) /* this host has lost the address */
        rtp_agent_set_asked(a, NULL);
    agent_not_sent(ch, &b->items[index], VERDICT_FAILED, error, now_mono_ns);
}

static void send_batch(wrk_channel_t *ch, int64_t now_mono_ns)
{
    static const agent_outcomes_t outcomes = {
        .left = packets_left, .failed = packet_failed, .put_back = put_back};
    rtp_agent_t *a = rtp_agent_of(ch);
    const agent_way_t way = {
        .udp = &a->udp, .path = &a->path, .ledger = &a->ledger, .block = &a->block};
    agent_choose_stamps(ch, &a->ledger, &a->batch, now_mono_ns);
    put_in_force(a);
    if (!a->udp.eff.txtime)
        agent_spin_until(catch_up_is_on(&a->left) ? a->after[0].start_ns
                                                  : a->batch.start_mono_ns[0]);
    agent_send(ch, &way, &a->batch, &outcomes);
}

/* A grid time without a packet to send. No record, no report. */
static void send_filling(wrk_channel_t *ch, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    int64_t start = rtp_plan_due_ns(&a->plan) + agent_start_shift_ns(ch, &a->ledger);
    if (start > now_mono_ns + AGENT_LEAD_NS)
        return;
    rtp_plan_fill(&a->plan, a->filling);
    put_in_force(a);
    udp_tx_t message = {.data = a->filling,
                        .len = SHM_RTP_HEAD_BYTES + a->config.bytes_per_packet,
                        .source = udp_addr_is_set(&a->asked_at) ? &a->asked_at : NULL};
    agent_spin_until(start);
    int64_t began = rt_mono_ns();
    bool left = agent_send_extra(ch, &a->udp, &a->path, &message);
    int64_t end = rt_mono_ns();
    wrk_note_send_end(ch, end);
    if (!left) {
        rtp_plan_not_sent(&a->plan, message.len);
        return;
    }
    wrk_count(ch, SHM_COUNT_tx_calls, 1);
    wrk_count(ch, SHM_COUNT_tx_sent, 1);
    wrk_count(ch, SHM_COUNT_tx_bytes, message.len);
    wrk_hist(ch, SHM_HIST_lateness, began - start);
    rtp_agent_media_sent(a, a->filling, message.len, end);
}

void rtp_agent_send_due(wrk_channel_t *ch, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    unsigned budget = SEARCH_PER_CALL;
    if (a->block.now || ch->held || a->purge.on)
        return;
    if (rtp_plan_filling(&a->plan))
        send_filling(ch, now_mono_ns);
    else if (a->plan.has_record)
        fill_batch(ch, &budget, a->udp.eff.txtime ? AGENT_HANDOVER_AHEAD_NS : 0, now_mono_ns);
    if (a->batch.count > 0)
        send_batch(ch, now_mono_ns);
    if (!a->block.now)
        find_record(ch, &budget, rt_mono_ns());
    publish_counters(ch);
}

int64_t rtp_agent_tx_deadline_ns(const wrk_channel_t *ch)
{
    const rtp_agent_t *a = rtp_agent_of(ch);
    if (a->block.now)
        return a->block.retry_mono_ns;
    if (ch->held || a->purge.on)
        return RT_NEVER_NS;
    if (has_unseen(ch)) /* overdue packets of other channels come between */
        return a->searched_mono_ns;
    if (!a->plan.has_record && !rtp_plan_filling(&a->plan))
        return RT_NEVER_NS;
    bool early = a->udp.eff.txtime && a->plan.has_record;
    int64_t ahead = early ? AGENT_HANDOVER_AHEAD_NS : AGENT_LEAD_NS;
    return next_start_ns(a, &a->left, agent_start_shift_ns(ch, &a->ledger), 0) - ahead;
}

/* --- taking in ----------------------------------------------------------------------------- */

unsigned rtp_agent_take_in(wrk_channel_t *ch, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    unsigned work = 0;
    if (!ch->tx_paused && !a->purge.on) {
        unsigned budget = TAKE_IN_PER_CALL;
        tx_item_t item;
        int rc;
        while ((rc = tx_queue_next(&ch->tx, now_mono_ns, &budget, &item)) != 0) {
            if (rc < 0)
                agent_refused(ch, &item, rc, now_mono_ns);
            else
                search_again_from(a, item.ref); /* its producer had halted, and others passed it */
        }
        work = TAKE_IN_PER_CALL - budget;
        if (a->plan.has_record) /* a cancelled record makes way, even if its time is far ahead */
            (void)still_waits(ch, false, now_mono_ns);
        unsigned looks = SEARCH_PER_CALL;
        find_record(ch, &looks, now_mono_ns);
        work += SEARCH_PER_CALL - looks;
    }
    return work + agent_free_space(ch, 0, agent_refused, now_mono_ns);
}

void rtp_agent_tx_hold(wrk_channel_t *ch)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    rtp_plan_t *p = &a->plan;
    if (p->has_record && p->done == 0) { /* it gets another grid time when transmission continues */
        search_again_from(rtp_agent_of(ch), p->item.ref);
        rtp_plan_give_up(p);
    }
    rtp_plan_pause(p, 0, 0);
}

void rtp_agent_tx_release(wrk_channel_t *ch, int64_t now_mono_ns)
{
    rtp_plan_resume(&rtp_agent_of(ch)->plan, to_channel(ch, now_mono_ns));
}

/* --- purge --------------------------------------------------------------------------------- */

/* Takes in what waited when the purge began. Returns whether that was all. */
static bool take_in_for_purge(wrk_channel_t *ch, unsigned max, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    unsigned budget = max;
    tx_item_t item;
    int rc;
    while ((rc = tx_queue_next(&ch->tx, now_mono_ns, &budget, &item)) != 0) {
        if (rc < 0)
            agent_refused(ch, &item, rc, now_mono_ns);
        else if (item.sequence >= a->purge.before)
            return true;
        else if (item.ref < a->purge_ref) /* its producer had halted, and others passed it */
            a->purge_ref = item.ref;
    }
    return budget > 0; /* a claim without its commit is not a waiting packet yet */
}

static bool cancel_waiting(wrk_channel_t *ch, unsigned max, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    unsigned budget = max;
    tx_item_t item;
    int rc;
    while ((rc = tx_queue_waiting_next(&ch->tx, &a->purge_ref, &budget, &item)) != 0) {
        if (rc < 0)
            agent_refused(ch, &item, rc, now_mono_ns);
        else if (item.sequence >= a->purge.before)
            return true;
        else
            end_record(ch, &item, VERDICT_CANCELLED, 0, now_mono_ns);
    }
    return a->purge_ref >= ch->tx.read_ref || budget > 0;
}

int rtp_agent_purge(wrk_channel_t *ch, unsigned max, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    if (agent_purge_begin(ch, &a->purge)) {
        a->purge_ref = 0;
        agent_path_clear(ch, &a->path);
        rtp_plan_purge(&a->plan);
        rtp_plan_pause(&a->plan, 0, to_channel(ch, now_mono_ns));
    }
    bool all = take_in_for_purge(ch, max, now_mono_ns);
    bool done = cancel_waiting(ch, max, now_mono_ns) && all;
    (void)agent_free_space(ch, 0, agent_refused, now_mono_ns);
    if (!done)
        return 0;
    a->purge.on = false;
    a->plan.behind_ref = 0;
    rtp_agent_unblock(ch, now_mono_ns);
    wrk_activate(ch, now_mono_ns);
    return 1;
}
