/* A report whose packet gets a stamp waits for it, at most STAMP_TIMEOUT_NS. */
#include "worker/agents/common/ledger.h"

#include "base/rt_seq.h"
#include "worker/agents/common/socket.h"
#include "worker/agents/common/tap.h"

#include <errno.h>
#include <stdio.h>

#define STAMP_TIMEOUT_NS (2 * RT_NS_PER_MS)
/* A stamp costs the send call about 1 us (the kernel clones the packet to the error queue) and a
 * call to fetch it. This rate is enough to track the wire offset and too low to matter. Stamps come
 * in pairs: the first stamp after a while is taken later in its call (0.3 to 2.6 us later, against
 * 0.2 us for the second), because the code path is cold. Packets without a stamp do not have that
 * delay, so the offset is learnt from the second of each pair only. */
#define STAMP_EVERY_DEFAULT 16u
#define STAMPS_PER_S 1000.0
#define STAMPS_AT_ONCE 32.0
#define STAMPS_PER_CALL 64u
#define LEAST_DUE_NS 1
#define MOST_DUE_NS (INT64_MAX / 2)

_Static_assert(SHM_COUNT_tx_producer_halted - SHM_COUNT_tx_on_time ==
                   VERDICT_PRODUCER_HALTED - VERDICT_ON_TIME,
               "verdict counters are in the order of the verdicts");

void agent_ledger_init(agent_ledger_t *l, udp_t *udp, bool unstamped_path, int64_t now_mono_ns)
{
    l->udp = udp;
    l->unstamped_path = unstamped_path;
    l->refused_ref = UINT64_MAX;
    l->unstamped = UINT16_MAX; /* the first packet is stamped, even if there are few */
    l->stamp_tokens_at_mono_ns = now_mono_ns;
    l->wire = (wire_offset_t){.count = 0};
}

void agent_batch_address(agent_batch_t *b, unsigned index)
{
    const tx_item_t *item = &b->items[index];
    udp_tx_t *message = &b->messages[index];
    if (item->dest.family != 0) {
        agent_addr_in(&b->dests[index], &item->dest);
        message->dest = &b->dests[index];
    }
    if (item->source.family != 0) {
        agent_addr_in(&b->sources[index], &item->source);
        message->source = &b->sources[index];
    }
}

static int64_t to_channel(const wrk_channel_t *ch, int64_t mono_ns)
{
    return mono_ns != 0 ? mono_ns - wrk_clock_shift_ns(ch) : 0;
}

static void put_report(wrk_channel_t *ch, const shm_report_t *report)
{
    unsigned wanted = ch->config.reports;
    bool late = report->verdict != VERDICT_ON_TIME;
    if (wanted == SHM_REPORTS_ALL || (wanted == SHM_REPORTS_LATE && late))
        (void)slot_writer_put(&ch->reports, report);
}

/* --- late ---------------------------------------------------------------------------------- */

/* Packets of one call with the same verdict make one event. The first LATE_PER_CALL of a call are
 * kept. The owner of a slot is read once a call: its cache line belongs to the producer, and taking
 * it from a busy producer costs more than all the rest. */
#define LATE_PER_CALL 32u

typedef struct late_run {
    unsigned in_call;
    verdict_t verdict;
    uint64_t count;
    int64_t worst_ns;
    uint64_t sequence; /* of the first */
    uint32_t producer;
    uint32_t producer_pid;
} late_run_t;

#define LATE_RUN_BEGIN ((late_run_t){.producer = UINT32_MAX})

static uint32_t owner_of(const wrk_channel_t *ch, uint32_t producer)
{
    return wrk_producer_pid(ch, producer);
}

static void run_end(wrk_channel_t *ch, late_run_t *run, int64_t now_mono_ns)
{
    if (run->count > 0)
        wrk_note(ch, SHM_EVENT_late_packets, run->count, run->verdict, run->worst_ns,
                 (int64_t)run->sequence, now_mono_ns);
    run->count = 0;
}

/* Returns whether this one is kept. */
static bool run_add(wrk_channel_t *ch, late_run_t *run, verdict_t verdict, const tx_item_t *item,
                    int64_t late_ns, int64_t now_mono_ns)
{
    if (run->producer != item->producer) {
        run->producer = item->producer;
        run->producer_pid = owner_of(ch, item->producer);
    }
    if (run->verdict != verdict)
        run_end(ch, run, now_mono_ns);
    if (run->count++ == 0) {
        run->verdict = verdict;
        run->worst_ns = late_ns;
        run->sequence = item->sequence;
    }
    run->worst_ns = late_ns > run->worst_ns ? late_ns : run->worst_ns;
    return run->in_call++ < LATE_PER_CALL;
}

/* For observers, with or without reports. */
static void keep_late(wrk_channel_t *ch, const shm_report_t *report, uint32_t producer,
                      uint32_t producer_pid, int64_t now_mono_ns)
{
    const shm_late_packet_t late = {.report = *report,
                                    .noted_mono_ns = now_mono_ns,
                                    .producer = producer,
                                    .producer_pid = producer_pid};
    (void)slot_writer_put(&ch->late, &late);
}

int64_t agent_enqueued_mono_ns(const tx_item_t *item, int64_t now_mono_ns)
{
    int64_t at = item->enqueued_mono_ns;
    return at > 0 && at < now_mono_ns ? at : now_mono_ns;
}

/* A client may write any number. Within these bounds differences of times cannot overflow. */
static int64_t scheduled_ns(const tx_item_t *item)
{
    return item->due_ns != 0 ? agent_bounded_due(item->due_ns) : 0;
}

/* --- not sent ------------------------------------------------------------------------------ */

static void report_not_sent(wrk_channel_t *ch, const tx_item_t *item, verdict_t verdict, int error,
                            int64_t now_mono_ns)
{
    shm_report_t report = {
        .sequence = item->sequence,
        .scheduled_ns = scheduled_ns(item),
        .enqueued_ns = to_channel(ch, agent_enqueued_mono_ns(item, now_mono_ns)),
        .woken_ns = to_channel(ch, now_mono_ns),
        .verdict = (uint8_t)verdict,
        .error = error,
    };
    put_report(ch, &report);
    if (verdict != VERDICT_CANCELLED) /* what a client cancelled itself is no event */
        keep_late(ch, &report, item->producer, owner_of(ch, item->producer), now_mono_ns);
    if (agent_tapped(ch))
        agent_tap_not_sent(ch, item, &report);
}

static void note_failed(wrk_channel_t *ch, const tx_item_t *item, int error, int64_t now_mono_ns)
{
    udp_addr_t source;
    char address[UDP_ADDR_TEXT_BYTES], text[UDP_ADDR_TEXT_BYTES + 96];
    bool foreign = error == EADDRNOTAVAIL && item->source.family != 0;
    if (foreign) {
        agent_addr_in(&source, &item->source);
        udp_addr_set_port(&source, ch->segment.status->bound.port);
        (void)snprintf(text, sizeof text,
                       "source %s is not an address of this host: see \"ip address\"",
                       udp_addr_format(&source, address));
    }
    wrk_note_error(ch, SHM_EVENT_send_failed, error, (int64_t)item->sequence, foreign ? text : NULL,
                   now_mono_ns);
}

void agent_not_sent(wrk_channel_t *ch, const tx_item_t *item, verdict_t verdict, int error,
                    int64_t now_mono_ns)
{
    wrk_count(ch, (shm_counter_id_t)(SHM_COUNT_tx_on_time + (int)verdict), 1);
    report_not_sent(ch, item, verdict, error, now_mono_ns);
    int64_t due_mono_ns = agent_bounded_due(item->due_ns) + wrk_clock_shift_ns(ch);
    if (verdict == VERDICT_DROPPED_LATE)
        wrk_note(ch, SHM_EVENT_late_packets, 1, verdict, now_mono_ns - due_mono_ns,
                 (int64_t)item->sequence, now_mono_ns);
    else if (verdict == VERDICT_FAILED && error != EOWNERDEAD)
        note_failed(ch, item, error, now_mono_ns);
}

static void note_lost(wrk_channel_t *ch, shm_event_id_t id, const tx_item_t *item,
                      int64_t now_mono_ns)
{
    wrk_note(ch, id, 1, item->producer, 0, (int64_t)item->sequence, now_mono_ns);
}

void agent_refused(wrk_channel_t *ch, const tx_item_t *item, int why, int64_t now_mono_ns)
{
    if (why == -ECANCELED) {
        agent_not_sent(ch, item, VERDICT_CANCELLED, 0, now_mono_ns);
    } else if (why == -EOPNOTSUPP) {
        agent_not_sent(ch, item, VERDICT_FAILED, EOPNOTSUPP, now_mono_ns);
    } else if (why == -EBADMSG) {
        wrk_count(ch, SHM_COUNT_tx_corrupt, 1);
        report_not_sent(ch, item, VERDICT_FAILED, EBADMSG, now_mono_ns);
        note_lost(ch, SHM_EVENT_record_corrupt, item, now_mono_ns);
    } else if (item->enqueued_mono_ns == 0) { /* never finished by a producer that died */
        wrk_count(ch, SHM_COUNT_tx_orphans, 1);
        report_not_sent(ch, item, VERDICT_FAILED, EOWNERDEAD, now_mono_ns);
        note_lost(ch, SHM_EVENT_producer_died, item, now_mono_ns);
    } else { /* a worker died during the send: it may have been sent or not */
        agent_not_sent(ch, item, VERDICT_FAILED, EOWNERDEAD, now_mono_ns);
        note_lost(ch, SHM_EVENT_packet_uncertain, item, now_mono_ns);
    }
}

unsigned agent_fail_strays(wrk_channel_t *ch, int64_t now_mono_ns)
{
    return agent_refuse_strays(ch, AGENT_STRAYS, agent_refused, now_mono_ns);
}

/* --- sent ---------------------------------------------------------------------------------- */

static void settle(wrk_channel_t *ch, agent_awaited_t *w)
{
    w->settled = true;
    put_report(ch, &w->report);
    if (ch->config.reports == SHM_REPORTS_ALL)
        tx_queue_wake_waiters(&ch->tx); /* the verdict came earlier, and its event with it */
    if (w->keeps_late)
        keep_late(ch, &w->report, w->producer, w->producer_pid, w->sent_until_mono_ns);
    if (w->tap_number != 0)
        agent_tap_stamped(ch, w->tap_number, &w->report);
}

static void drop_settled(agent_ledger_t *l)
{
    while (l->awaited_count > 0 && l->awaited[l->awaited_head % AGENT_STAMPS].settled) {
        l->awaited_head++;
        l->awaited_count--;
    }
}

static void give_up_oldest(wrk_channel_t *ch, agent_ledger_t *l)
{
    agent_awaited_t *oldest = &l->awaited[l->awaited_head % AGENT_STAMPS];
    if (!oldest->settled) {
        wrk_count(ch, SHM_COUNT_tx_stamps_lost, 1);
        settle(ch, oldest);
    }
    drop_settled(l);
}

void agent_give_up_stamps(wrk_channel_t *ch, agent_ledger_t *l)
{
    while (l->awaited_count > 0)
        give_up_oldest(ch, l);
}

static void await_stamp(wrk_channel_t *ch, agent_ledger_t *l, const agent_awaited_t *packet)
{
    if (l->awaited_count == AGENT_STAMPS)
        give_up_oldest(ch, l);
    uint32_t place = l->awaited_head + l->awaited_count;
    l->awaited[place % AGENT_STAMPS] = *packet;
    l->awaited_count++;
}

static verdict_t judge(wrk_channel_t *ch, agent_ledger_t *l, const agent_batch_t *b, unsigned i,
                       int64_t start_mono_ns, int64_t end_mono_ns)
{
    const tx_item_t *item = &b->items[i];
    verdict_times_t times = {
        .enqueued_ns = agent_enqueued_mono_ns(item, start_mono_ns),
        .due_ns = b->start_mono_ns[i],
        .halted_from_ns = item->halted_from_mono_ns,
        .halted_until_ns = item->halted_until_mono_ns,
        .asleep_from_ns = wrk_asleep_from_ns(ch),
        .woken_ns = wrk_woken_ns(ch),
        .send_start_ns = start_mono_ns,
        .send_end_ns = end_mono_ns,
        .previous_send_end_ns = wrk_last_send_end_ns(ch),
    };
    /* The queueing discipline launches it: handed over before its time, it is on time. */
    if (l->udp->eff.txtime && start_mono_ns < times.due_ns)
        times.due_ns = start_mono_ns;
    bool refused = l->refused_ref == item->ref;
    if (refused)
        l->refused_ref = UINT64_MAX;
    return verdict_of(&times, ch->config.tolerance_ns, refused ? VERDICT_RETRIED : 0);
}

static void measure(wrk_channel_t *ch, const agent_batch_t *b, unsigned i, int64_t start_mono_ns)
{
    if (b->start_mono_ns[i] != 0) {
        wrk_hist(ch, SHM_HIST_lateness, start_mono_ns - b->start_mono_ns[i]);
        return;
    }
    wrk_count(ch, SHM_COUNT_tx_immediate, 1);
    wrk_hist(ch, SHM_HIST_immediate,
             start_mono_ns - agent_enqueued_mono_ns(&b->items[i], start_mono_ns));
}

/* A packet without a deadline is never late, however long it waited. */
static bool is_late(const agent_batch_t *b, unsigned i, verdict_t verdict)
{
    return verdict != VERDICT_ON_TIME && b->start_mono_ns[i] != 0;
}

/* The kernel took long over a packet that was not late. */
static bool is_call_slow(const wrk_channel_t *ch, const agent_batch_t *b, unsigned i,
                         verdict_t verdict, int64_t start_mono_ns)
{
    return verdict == VERDICT_SEND_SLOW &&
           !verdict_is_late(b->start_mono_ns[i], start_mono_ns, ch->config.tolerance_ns);
}

void agent_sent(wrk_channel_t *ch, agent_ledger_t *l, const agent_batch_t *b, unsigned first,
                unsigned count, int64_t start_mono_ns, int64_t end_mono_ns)
{
    uint64_t bytes = 0;
    int64_t shift = wrk_clock_shift_ns(ch);
    bool tapped = agent_tapped(ch);
    bool reported = ch->config.reports != SHM_REPORTS_OFF || tapped;
    uint32_t last_id = 0;
    late_run_t late = LATE_RUN_BEGIN;
    for (unsigned i = first; i < first + count; i++) {
        const tx_item_t *item = &b->items[i];
        const udp_tx_t *message = &b->messages[i];
        verdict_t verdict = judge(ch, l, b, i, start_mono_ns, end_mono_ns);
        bytes += item->payload_bytes;
        wrk_count(ch, (shm_counter_id_t)(SHM_COUNT_tx_on_time + (int)verdict), 1);
        if (is_call_slow(ch, b, i, verdict, start_mono_ns))
            wrk_count(ch, SHM_COUNT_tx_call_slow, 1);
        measure(ch, b, i, start_mono_ns);
        bool stamped = message->want_stamp && message->stamp_id != 0;
        /* The stamp of a message is nearest to its first packet. */
        bool teaches = stamped && message->stamp_id != last_id && l->last_message_stamped;
        l->last_message_stamped = stamped;
        last_id = message->stamp_id;
        bool keeps =
            is_late(b, i, verdict) &&
            run_add(ch, &late, verdict, item, start_mono_ns - b->start_mono_ns[i], start_mono_ns);
        if (!reported && !stamped && !keeps)
            continue;
        shm_report_t report = {
            .sequence = item->sequence,
            .scheduled_ns = scheduled_ns(item),
            .enqueued_ns = agent_enqueued_mono_ns(item, start_mono_ns) - shift,
            .woken_ns = to_channel(ch, wrk_woken_ns(ch)),
            .sent_ns = start_mono_ns - shift,
            .handed_ns = end_mono_ns - shift,
            .verdict = (uint8_t)verdict,
            .batch = (uint16_t)count,
        };
        uint64_t number = tapped ? agent_tap_sent(ch, l->udp, message, &report, stamped) : 0;
        if (stamped)
            await_stamp(ch, l,
                        &(agent_awaited_t){.report = report,
                                           .keeps_late = keeps,
                                           .producer = item->producer,
                                           .producer_pid = late.producer_pid,
                                           .send_start_mono_ns = start_mono_ns,
                                           .sent_until_mono_ns = end_mono_ns,
                                           .tap_number = number,
                                           .stamp_id = message->stamp_id,
                                           .teaches = teaches});
        else
            put_report(ch, &report);
        if (!stamped && keeps)
            keep_late(ch, &report, late.producer, late.producer_pid, end_mono_ns);
    }
    run_end(ch, &late, start_mono_ns);
    wrk_count(ch, SHM_COUNT_tx_sent, count);
    wrk_count(ch, SHM_COUNT_tx_bytes, bytes);
    wrk_hist(ch, SHM_HIST_send_call, end_mono_ns - start_mono_ns);
    tx_queue_show_finished(&ch->tx);
}

/* --- stamps -------------------------------------------------------------------------------- */

static bool stamps_at_all(const wrk_channel_t *ch, const agent_ledger_t *l)
{
    return ch->config.tx_stamp >= SHM_STAMP_KERNEL && !l->unstamped_path &&
           l->udp->eff.tx_stamp != UDP_STAMP_USER;
}

static bool take_tokens(agent_ledger_t *l, double price, int64_t now_mono_ns)
{
    l->stamp_tokens += (double)(now_mono_ns - l->stamp_tokens_at_mono_ns) * (STAMPS_PER_S / 1e9);
    l->stamp_tokens_at_mono_ns = now_mono_ns;
    if (l->stamp_tokens > STAMPS_AT_ONCE)
        l->stamp_tokens = STAMPS_AT_ONCE;
    if (l->stamp_tokens < price)
        return false;
    l->stamp_tokens -= price;
    return true;
}

/* Whether the next message gets a stamp. As long as the offset is
 * unknown, every packet gets one. */
static bool stamp_is_due(const wrk_channel_t *ch, agent_ledger_t *l, int64_t now_mono_ns)
{
    unsigned every = ch->config.stamp_every;
    if (every == 1)
        return true;
    if (l->stamp_next) {
        l->stamp_next = false;
        return true;
    }
    bool learning = ch->config.align == SHM_ALIGN_WIRE && l->wire.count < WIRE_OFFSET_WARM_UP;
    unsigned pause = 2 * ((every != 0 ? every : STAMP_EVERY_DEFAULT) - 1);
    if (!learning && l->unstamped < pause)
        return false;
    if (every == 0 && !take_tokens(l, 2.0, now_mono_ns))
        return false;
    l->stamp_next = true;
    return true;
}

/* Packets that can leave in one message get stamps all or not at all:
 * otherwise it would be split. */
static bool same_message(const agent_ledger_t *l, const udp_tx_t *before, const udp_tx_t *m)
{
    if (!l->udp->eff.gso || before->txtime_ns != m->txtime_ns)
        return false;
    return udp_same_way(before, m);
}

void agent_choose_stamps(wrk_channel_t *ch, agent_ledger_t *l, agent_batch_t *b,
                         int64_t now_mono_ns)
{
    if (!stamps_at_all(ch, l))
        return;
    udp_tx_t *m = b->messages;
    bool wanted = false;
    for (unsigned i = 0; i < b->count; i++) {
        if (i == 0 || !same_message(l, &m[i - 1], &m[i]))
            wanted = stamp_is_due(ch, l, now_mono_ns);
        m[i].want_stamp = wanted;
        l->unstamped = wanted ? 0 : l->unstamped + 1;
    }
}

static void apply_stamp(wrk_channel_t *ch, agent_ledger_t *l, agent_awaited_t *w,
                        const udp_tx_stamp_t *stamp)
{
    w->report.stamped_ns = stamp->time_ns;
    w->report.stamp = (uint8_t)(stamp->kind + SHM_STAMP_USER - UDP_STAMP_USER);
    wrk_count(ch, SHM_COUNT_tx_stamped, 1);
    if (w->teaches && !l->udp->eff.txtime)
        wire_offset_observe(&l->wire, stamp->time_ns - w->report.sent_ns);
    if (w->report.scheduled_ns != 0) {
        int64_t error = stamp->time_ns - w->report.scheduled_ns;
        wrk_hist(ch, error >= 0 ? SHM_HIST_wire_late : SHM_HIST_wire_early,
                 error >= 0 ? error : -error);
    }
    settle(ch, w);
}

/* Stamps come in the order of sending, so the search nearly always ends at the oldest. */
static void match_stamp(wrk_channel_t *ch, agent_ledger_t *l, const udp_tx_stamp_t *stamp)
{
    bool found = false;
    for (uint32_t i = 0; i < l->awaited_count; i++) {
        agent_awaited_t *w = &l->awaited[(l->awaited_head + i) % AGENT_STAMPS];
        bool same = w->stamp_id == stamp->id;
        if (found && !same)
            break;
        if (same && !w->settled)
            apply_stamp(ch, l, w, stamp);
        found = found || same;
    }
}

void agent_collect_stamps(wrk_channel_t *ch, agent_ledger_t *l, int64_t now_mono_ns)
{
    udp_tx_stamp_t stamps[STAMPS_PER_CALL];
    int n = udp_tx_stamps(l->udp, stamps, STAMPS_PER_CALL);
    for (int i = 0; i < n; i++)
        match_stamp(ch, l, &stamps[i]);
    drop_settled(l);
    while (l->awaited_count > 0 && agent_stamp_deadline_ns(l) <= now_mono_ns)
        give_up_oldest(ch, l);
    rt_store_relaxed(&ch->stats->wire_offset_ns,
                     ch->config.align == SHM_ALIGN_WIRE ? wire_offset_ns(&l->wire) : 0);
}

void agent_collect_overdue_stamps(wrk_channel_t *ch, agent_ledger_t *l, int64_t now_mono_ns)
{
    if (agent_stamp_deadline_ns(l) <= now_mono_ns)
        agent_collect_stamps(ch, l, now_mono_ns);
}

void agent_take_errors(wrk_channel_t *ch, agent_ledger_t *l, int64_t now_mono_ns)
{
    agent_collect_stamps(ch, l, now_mono_ns);
    agent_socket_take_error(l->udp);
}

int64_t agent_stamp_deadline_ns(const agent_ledger_t *l)
{
    if (l->awaited_count == 0)
        return RT_NEVER_NS;
    int64_t from = l->awaited[l->awaited_head % AGENT_STAMPS].send_start_mono_ns;
    return from + STAMP_TIMEOUT_NS + (l->udp->eff.txtime ? STAMP_TIMEOUT_NS : 0);
}

/* --- other parts for senders ---------------------------------------------------------------- */

int64_t agent_bounded_due(int64_t due_ns)
{
    if (due_ns < LEAST_DUE_NS)
        return LEAST_DUE_NS;
    return due_ns < MOST_DUE_NS ? due_ns : MOST_DUE_NS;
}

int64_t agent_start_shift_ns(const wrk_channel_t *ch, const agent_ledger_t *l)
{
    int64_t ahead = ch->config.align == SHM_ALIGN_WIRE ? wire_offset_ns(&l->wire) : 0;
    return wrk_clock_shift_ns(ch) - ahead;
}
