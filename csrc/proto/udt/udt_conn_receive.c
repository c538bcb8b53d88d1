/* How it works: the receiving end reports about the data that it gets.
 *
 *     ready              holes                 next
 *     ----|====x======x========================|--------
 *         |    lost: reported by NAK at once, and again while they are missing
 *         |
 *         +-- reported by ACK: 10 ms after the previous ACK, at once after a packet that is not
 *             full (the end of a burst), and by a light ACK every 64 packets
 *
 * An ACK that is not light has a number. The ACK2 that repeats the number gives the round trip, and
 * shows that the peer knows the ACK. Without an ACK2 the ACK is repeated. The ACK reports what is
 * ready: in memory, in order, and readable by the application.
 *
 * A libudt receiver reports a hole once. If that NAK is lost, or did not help, the sender must wait
 * for its silence timer. So here holes are reported again, once per round trip with its variance:
 * only those that existed at the previous report, because the packets of others may still be on
 * their way. */
#include "proto/udt/udt_conn_private.h"

#include <errno.h>
#include <string.h>

#define SOON_NS RT_NS_PER_MS /* "at once", for a series of small packets */
#define REPEAT_MIN_NS (20 * RT_NS_PER_MS)
#define MIN_ADVERTISED 2u

void receiver_start(udt_conn_t *c, uint32_t peer_isn)
{
    udt_receiver_t *r = &c->rcv;
    udt_rcvbuf_start(&r->buffer, peer_isn);
    udt_losslist_start(&r->losses, peer_isn);
    udt_arrivals_init(&r->arrivals, c->now_ns);
    r->next = peer_isn;
    r->last_ack = peer_isn;
    r->confirmed = peer_isn;
    r->nak_from = peer_isn;
    r->repeat_horizon = peer_isn;
    r->ack_number = 1;
    r->lights = 1;
    r->advertised = c->config.receive_packets;
    r->last_ack_ns = c->now_ns - UDT_SYN_NS; /* the first packet is acknowledged at once */
    r->last_full_ack_ns = r->last_ack_ns;
}

static uint32_t ready_seq(const udt_receiver_t *r)
{
    return udt_rcvbuf_ready_seq(&r->buffer);
}

static uint32_t later(uint32_t a, uint32_t b)
{
    return udt_seq_before(a, b) ? b : a;
}

static int64_t repeat_interval_ns(const udt_conn_t *c)
{
    int64_t ns = udt_rtt_overdue_ns(&c->rtt);
    return ns > REPEAT_MIN_NS ? ns : REPEAT_MIN_NS;
}

/* --- data ---------------------------------------------------------------------------------- */

static void make_ready(udt_conn_t *c)
{
    udt_receiver_t *r = &c->rcv;
    uint32_t ready = r->next;
    udt_losslist_first(&r->losses, &ready);
    uint32_t more = udt_rcvbuf_make_ready(&r->buffer, ready);
    if (more == 0)
        return;
    udt_losslist_advance(&r->losses, ready);
    r->nak_from = later(r->nak_from, ready);
    r->repeat_from = later(r->repeat_from, ready);
    r->repeat_to = later(r->repeat_to, ready);
    r->repeat_horizon = later(r->repeat_horizon, ready);
    if (r->losses.count == 0)
        r->repeat_ns = RT_NEVER_NS;
    if (r->buffer.is_stream || udt_rcvbuf_available(&r->buffer) == 0)
        c->events |= UDT_EVENT_READABLE;
}

static void note_gap(udt_conn_t *c, uint32_t first, uint32_t last)
{
    udt_receiver_t *r = &c->rcv;
    udt_count(c->stats, UDT_COUNT_receive_losses, udt_losslist_insert(&r->losses, first, last));
    r->nak_due = true;
    if (r->repeat_ns == RT_NEVER_NS)
        r->repeat_ns = c->now_ns + repeat_interval_ns(c);
}

static void note_arrival(udt_conn_t *c, uint32_t seq)
{
    udt_receiver_t *r = &c->rcv;
    if (udt_seq_before(seq, r->next)) {
        udt_losslist_remove(&r->losses, seq, seq);
        return;
    }
    if (seq != r->next)
        note_gap(c, r->next, udt_seq_prev(seq));
    r->next = udt_seq_next(seq);
}

static uint32_t messages(const udt_rcvbuf_t *b)
{
    return b->ends + b->early;
}

int receiver_data(udt_conn_t *c, const udt_view_t *view, int64_t at_ns)
{
    udt_receiver_t *r = &c->rcv;
    udt_count(c->stats, UDT_COUNT_received, 1);
    r->packets++;
    udt_arrivals_packet(&r->arrivals, view->seq, at_ns);
    uint32_t before = messages(&r->buffer);
    switch (udt_rcvbuf_put(&r->buffer, view)) {
    case 1:
        break;
    case -ENOBUFS:
        udt_count(c->stats, UDT_COUNT_no_room, 1);
        return 0;
    case -EMSGSIZE:
        udt_count(c->stats, UDT_COUNT_refused_data, 1);
        return -EPROTO;
    default:
        udt_count(c->stats, UDT_COUNT_duplicates, 1);
        return 0;
    }
    udt_count(c->stats, UDT_COUNT_received_bytes, view->body_bytes);
    note_arrival(c, view->seq);
    if (view->body_bytes != UDT_PAYLOAD_BYTES(c->mss_bytes))
        r->ack_now = true;
    make_ready(c);
    if (!r->buffer.is_stream && messages(&r->buffer) > before)
        c->events |= UDT_EVENT_READABLE;
    return 0;
}

int receiver_ack2(udt_conn_t *c, const udt_view_t *view, int64_t at_ns)
{
    udt_receiver_t *r = &c->rcv;
    udt_sent_ack_t ack;
    if (!udt_ack_history_take(&r->history, view->word1, &ack)) {
        udt_count(c->stats, UDT_COUNT_refused_ack2, 1);
        return -EPROTO;
    }
    r->confirmed = later(r->confirmed, ack.seq);
    r->was_confirmed = true;
    int64_t rtt_us = (at_ns - ack.sent_ns) / RT_NS_PER_US;
    if (rtt_us > UDT_MAX_RTT_US)
        rtt_us = UDT_MAX_RTT_US;
    if (rtt_us > 0)
        udt_rtt_sample(&c->rtt, (uint32_t)rtt_us);
    return 0;
}

/* The end that libudt gives is the first packet of the next message, which it may or may not send
 * itself. If it does not, waiting for that packet would never end. */
int receiver_drop(udt_conn_t *c, const udt_view_t *view)
{
    udt_receiver_t *r = &c->rcv;
    udt_drop_t drop;
    udt_drop_read(view, &drop);
    int32_t ahead = udt_seq_diff(drop.last, ready_seq(r));
    if (r->buffer.is_stream || ahead >= (int32_t)udt_rcvbuf_available(&r->buffer)) {
        udt_count(c->stats, UDT_COUNT_refused_drop, 1);
        return -EPROTO;
    }
    udt_count(c->stats, UDT_COUNT_drops_received, 1);
    udt_rcvbuf_give_up(&r->buffer, &drop);
    udt_losslist_remove(&r->losses, drop.first, drop.last);
    if (!udt_seq_before(r->next, drop.first) && !udt_seq_before(drop.last, r->next))
        r->next = udt_seq_next(drop.last);
    r->ack_now = true;
    make_ready(c);
    if (udt_rcvbuf_is_readable(&r->buffer))
        c->events |= UDT_EVENT_READABLE;
    return 0;
}

/* --- ACK ----------------------------------------------------------------------------------- */

static int64_t ack_deadline_ns(const udt_conn_t *c)
{
    const udt_receiver_t *r = &c->rcv;
    uint32_t ready = ready_seq(r);
    if (r->window_grew)
        return c->now_ns;
    if (ready == r->confirmed)
        return RT_NEVER_NS;
    if (ready != r->last_ack)
        return r->last_ack_ns + (r->ack_now ? SOON_NS : UDT_SYN_NS);
    /* A libudt client loses the first packets after it is connected. */
    return r->last_ack_ns + (r->was_confirmed ? udt_rtt_overdue_ns(&c->rtt) : 2 * UDT_SYN_NS);
}

static bool light_is_due(const udt_receiver_t *r)
{
    return r->packets >= UDT_LIGHT_ACK_PACKETS * r->lights && ready_seq(r) != r->last_ack;
}

static void put_ack(udt_conn_t *c, udt_outbox_t *box, const udt_ack_t *ack)
{
    udt_out_t *out = outbox_next(box);
    out->head_bytes = (uint32_t)udt_put_ack(out->head, ack, c->peer_id);
}

static void emit_light_ack(udt_conn_t *c, udt_outbox_t *box)
{
    udt_receiver_t *r = &c->rcv;
    r->lights = r->packets / UDT_LIGHT_ACK_PACKETS + 1;
    put_ack(c, box, &(udt_ack_t){.form = UDT_ACK_LIGHT, .seq = ready_seq(r)});
    udt_count(c->stats, UDT_COUNT_light_acks_sent, 1);
}

static void emit_ack(udt_conn_t *c, udt_outbox_t *box)
{
    udt_receiver_t *r = &c->rcv;
    uint32_t free_packets = udt_rcvbuf_available(&r->buffer);
    udt_ack_t ack = {
        .form = UDT_ACK_SHORT,
        .number = r->ack_number,
        .seq = ready_seq(r),
        .rtt_us = c->rtt.rtt_us,
        .rtt_var_us = c->rtt.var_us,
        .free_packets = free_packets > MIN_ADVERTISED ? free_packets : MIN_ADVERTISED,
    };
    if (c->now_ns - r->last_full_ack_ns >= UDT_SYN_NS) {
        ack.form = UDT_ACK_FULL;
        ack.arrival_pps = udt_arrivals_rate_pps(&r->arrivals);
        ack.capacity_pps = udt_arrivals_capacity_pps(&r->arrivals);
        r->last_full_ack_ns = c->now_ns;
    }
    put_ack(c, box, &ack);
    udt_ack_history_put(&r->history, ack.number, ack.seq, c->now_ns);
    r->ack_number = udt_seq_next(r->ack_number);
    r->last_ack = ack.seq;
    r->last_ack_ns = c->now_ns;
    r->advertised = free_packets;
    r->packets = 0;
    r->lights = 1;
    r->ack_now = false;
    r->window_grew = false;
    udt_count(c->stats, UDT_COUNT_acks_sent, 1);
}

/* --- NAK ----------------------------------------------------------------------------------- */

void receiver_check(udt_conn_t *c)
{
    udt_receiver_t *r = &c->rcv;
    if (c->now_ns < r->repeat_ns)
        return;
    r->repeat_from = ready_seq(r);
    r->repeat_to = r->repeat_horizon;
    r->repeat_horizon = r->next;
    r->repeat_ns = c->now_ns + repeat_interval_ns(c);
    r->nak_due = true;
}

/* Writes the losses of *from .. to (excluded) into a body, as many as it has room for, and moves
 * *from past them. Returns the bytes. */
static size_t write_losses(udt_receiver_t *r, uint32_t *from, uint32_t to, size_t room)
{
    size_t bytes = 0;
    uint32_t first;
    uint32_t last;
    while (bytes + 8 <= room && udt_losslist_range(&r->losses, *from, to, &first, &last)) {
        bytes += udt_put_nak_range(r->nak + bytes, first, last);
        *from = udt_seq_next(last);
    }
    if (bytes + 8 <= room)
        *from = to;
    return bytes;
}

/* One NAK per emission, because all use one place for the body. */
static void emit_nak(udt_conn_t *c, udt_outbox_t *box)
{
    udt_receiver_t *r = &c->rcv;
    size_t room = UDT_PAYLOAD_BYTES(c->mss_bytes) & ~(size_t)3;
    if (room > sizeof r->nak)
        room = sizeof r->nak;
    size_t bytes = 0;
    if (udt_seq_before(r->nak_from, r->next))
        bytes = write_losses(r, &r->nak_from, r->next, room);
    if (bytes == 0 && udt_seq_before(r->repeat_from, r->repeat_to))
        bytes = write_losses(r, &r->repeat_from, r->repeat_to, room);
    r->nak_due =
        udt_seq_before(r->nak_from, r->next) || udt_seq_before(r->repeat_from, r->repeat_to);
    if (bytes == 0)
        return;
    udt_out_t *out = outbox_next(box);
    udt_put_control_header(out->head, UDT_TYPE_NAK, 0, c->peer_id);
    out->head_bytes = UDT_HEADER_BYTES;
    out->payload = r->nak;
    out->payload_bytes = (uint32_t)bytes;
    udt_count(c->stats, UDT_COUNT_naks_sent, 1);
}

/* --- all of it ----------------------------------------------------------------------------- */

void receiver_emit(udt_conn_t *c, udt_outbox_t *box)
{
    udt_receiver_t *r = &c->rcv;
    if (!outbox_is_full(box)) {
        if (c->now_ns >= ack_deadline_ns(c))
            emit_ack(c, box);
        else if (light_is_due(r))
            emit_light_ack(c, box);
    }
    if (r->nak_due && !outbox_is_full(box))
        emit_nak(c, box);
}

int64_t receiver_deadline_ns(const udt_conn_t *c)
{
    const udt_receiver_t *r = &c->rcv;
    if (r->nak_due || light_is_due(r))
        return c->now_ns;
    return rt_min64(ack_deadline_ns(c), r->repeat_ns);
}
