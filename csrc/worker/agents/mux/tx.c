/* tx.c: from the tx ring to the sockets, at once.
 *
 * Records are taken in ring order. Consecutive records of one port leave in one call. A packet that
 * cannot be sent (its port is gone or has no target, or the kernel refuses it) is dropped and
 * counted. Nothing waits, so no port holds up another.
 *
 * drained[port] is the number after the last packet that was handled. It is stored, not
 * incremented, so a successor that finds a packet half done may handle it again. */
#include "worker/agents/mux/mux.h"

#include "worker/agents/common/tap.h"

#include <errno.h>
#include <string.h>

#define TAKE_IN_PER_CALL 128u
#define SEND_COST_MOST_NS (50 * RT_NS_PER_US)

/* --- sending ------------------------------------------------------------------------------- */

/* Call it before the packet is finished: a successor examines the unfinished ones again. */
static void note_drained(mux_agent_t *m, const mux_socket_t *s, uint32_t number)
{
    rt_store_release(&m->drained[s->port], number + 1);
}

static void settle(wrk_channel_t *ch, unsigned first, unsigned count, int64_t start_mono_ns)
{
    mux_agent_t *m = mux_agent_of(ch);
    mux_batch_t *b = &m->batch;
    uint64_t bytes = 0;
    note_drained(m, b->from, b->numbers[first + count - 1]);
    for (unsigned i = first; i < first + count; i++) {
        tx_queue_finish(&ch->tx, b->refs[i]);
        bytes += b->messages[i].len;
        int64_t waited = start_mono_ns - b->enqueued_mono_ns[i];
        wrk_hist(ch, SHM_HIST_immediate, waited > 0 ? waited : 0);
    }
    wrk_count(ch, SHM_COUNT_tx_sent, count);
    wrk_count(ch, SHM_COUNT_tx_bytes, bytes);
    wrk_count(ch, SHM_COUNT_tx_immediate, count);
    wrk_count(ch, SHM_COUNT_tx_on_time, count);
    tx_queue_show_finished(&ch->tx);
}

static void tap(wrk_channel_t *ch, unsigned first, unsigned count, int64_t start_mono_ns,
                int64_t end_mono_ns)
{
    const mux_batch_t *b = &mux_agent_of(ch)->batch;
    int64_t shift = wrk_clock_shift_ns(ch);
    shm_report_t report = {
        .sent_ns = start_mono_ns - shift, .handed_ns = end_mono_ns - shift, .batch = (uint16_t)count};
    for (unsigned i = first; i < first + count; i++) {
        report.sequence = b->sequences[i];
        report.enqueued_ns = b->enqueued_mono_ns[i] - shift;
        (void)agent_tap_sent(ch, &b->from->udp, &b->messages[i], &report, false);
    }
}

/* This host has lost the address that the packets leave from. */
static void forget_source(mux_agent_t *m, unsigned from)
{
    mux_batch_t *b = &m->batch;
    mux_agent_leave_from(m, b->from, NULL);
    for (unsigned i = from; i < b->count; i++)
        b->messages[i].source = NULL;
}

/* A datagram that the kernel refuses for any reason is lost. */
static void send_batch(wrk_channel_t *ch)
{
    mux_agent_t *m = mux_agent_of(ch);
    mux_batch_t *b = &m->batch;
    for (unsigned at = 0; at < b->count;) {
        int error = 0;
        int64_t start = rt_mono_ns();
        int sent = udp_send(&b->from->udp, &b->messages[at], b->count - at, &error);
        int64_t end = rt_mono_ns();
        wrk_count(ch, SHM_COUNT_tx_calls, 1);
        if (sent > 0) {
            settle(ch, at, (unsigned)sent, start);
            wrk_hist(ch, SHM_HIST_send_call, end - start);
            if (agent_tapped(ch))
                tap(ch, at, (unsigned)sent, start, end);
            int64_t done = agent_tapped(ch) ? rt_mono_ns() : end;
            m->send_cost_ns = agent_cost_learnt_ns(m->send_cost_ns, done - start, (unsigned)sent,
                                                   SEND_COST_MOST_NS);
            at += (unsigned)sent;
        }
        wrk_note_send_end(ch, end);
        if (error != 0 && at < b->count) {
            note_drained(m, b->from, b->numbers[at]);
            tx_queue_finish(&ch->tx, b->refs[at++]);
            wrk_count(ch, SHM_COUNT_tx_failed, 1);
            if (error == EADDRNOTAVAIL)
                forget_source(m, at);
            wrk_note(ch, SHM_EVENT_send_failed, 1, error, 0, 0, end);
        }
    }
    b->count = 0;
}

static void flush(wrk_channel_t *ch)
{
    if (mux_agent_of(ch)->batch.count > 0)
        send_batch(ch);
}

static void batch_add(wrk_channel_t *ch, mux_socket_t *s, const tx_item_t *item, uint32_t number)
{
    mux_batch_t *b = &mux_agent_of(ch)->batch;
    if (b->count == MUX_AGENT_BATCH || (b->count > 0 && b->from != s))
        send_batch(ch);
    unsigned i = b->count++;
    b->from = s;
    b->refs[i] = item->ref;
    b->sequences[i] = item->sequence;
    b->enqueued_mono_ns[i] = item->enqueued_mono_ns;
    b->numbers[i] = number;
    b->messages[i] = (udp_tx_t){
        .data = item->payload + sizeof(mux_head_t),
        .len = item->payload_bytes - (uint32_t)sizeof(mux_head_t),
        .dest = &s->target,
        .source = udp_addr_is_set(&s->from) ? &s->from : NULL,
    };
}

/* --- packets that are not sent ------------------------------------------------------------- */

/* Reads the head of the datagram. false: the record is not of this engine. */
static bool read_head(const tx_item_t *item, mux_head_t *head)
{
    bool ours = (item->flags & SHM_TX_ENGINE) != 0 && item->payload_bytes >= sizeof *head;
    if (ours)
        memcpy(head, item->payload, sizeof *head);
    return ours;
}

/* The packets before it are sent first: drained never decreases. */
static void not_sent(wrk_channel_t *ch, const tx_item_t *item, int why, int64_t now_mono_ns)
{
    mux_agent_t *m = mux_agent_of(ch);
    mux_head_t head;
    flush(ch);
    agent_count_unsent(ch, item, why, now_mono_ns);
    /* Only a payload that was checked may be read. An orphan has no payload. */
    if (why == -EBADMSG || item->payload == NULL || !read_head(item, &head))
        return;
    mux_socket_t *s = mux_agent_find(m, head.port, head.generation);
    if (s != NULL)
        note_drained(m, s, head.number);
}

/* --- taking in ----------------------------------------------------------------------------- */

static void take_for_batch(wrk_channel_t *ch, uint64_t ref, int64_t now_mono_ns)
{
    mux_agent_t *m = mux_agent_of(ch);
    tx_item_t item;
    mux_head_t head;
    int rc = tx_queue_take(&ch->tx, ref, &item);
    if (rc == -ESTALE)
        return;
    if (rc < 0) {
        not_sent(ch, &item, rc, now_mono_ns);
        return;
    }
    bool ours = read_head(&item, &head);
    mux_socket_t *s = ours ? mux_agent_find(m, head.port, head.generation) : NULL;
    if (s != NULL && s->udp.fd >= 0 && udp_addr_is_set(&s->target)) {
        batch_add(ch, s, &item, head.number);
        return;
    }
    not_sent(ch, &item, ours ? -ECANCELED : -EBADMSG, now_mono_ns);
    tx_queue_finish(&ch->tx, ref);
}

/* Takes one record of the ring. Returns false if there was none. */
static bool take_in_one(wrk_channel_t *ch, unsigned *budget, int64_t now_mono_ns)
{
    tx_item_t item;
    int rc = tx_queue_next(&ch->tx, now_mono_ns, budget, &item);
    if (rc == 0)
        return false;
    if (rc < 0)
        not_sent(ch, &item, rc, now_mono_ns);
    else
        take_for_batch(ch, item.ref, now_mono_ns);
    return true;
}

/* How many packets fit before a deadline on this core. */
static unsigned room_before_deadline(const wrk_channel_t *ch, int64_t now_mono_ns)
{
    return agent_pieces_before(wrk_free_until_ns(ch), now_mono_ns, mux_agent_of(ch)->send_cost_ns,
                               TAKE_IN_PER_CALL);
}

unsigned mux_agent_free_space(wrk_channel_t *ch, int64_t now_mono_ns)
{
    return agent_free_space(ch, 0, not_sent, now_mono_ns);
}

unsigned mux_agent_take_in(wrk_channel_t *ch, int64_t now_mono_ns)
{
    unsigned work = 0;
    if (!ch->tx_paused) {
        unsigned room = room_before_deadline(ch, now_mono_ns);
        unsigned budget = room;
        while (take_in_one(ch, &budget, now_mono_ns)) {
        }
        work = room - budget;
        flush(ch);
    }
    return work + mux_agent_free_space(ch, now_mono_ns);
}

/* --- purge --------------------------------------------------------------------------------- */

int mux_agent_purge(wrk_channel_t *ch, unsigned max, int64_t now_mono_ns)
{
    mux_agent_t *m = mux_agent_of(ch);
    (void)agent_purge_begin(ch, &m->purge);
    m->purge.on = !agent_purge_unread(ch, &m->purge, max, not_sent, NULL, now_mono_ns);
    (void)mux_agent_free_space(ch, now_mono_ns);
    return !m->purge.on;
}
