/* How it works
 *
 *                     connect                          accept
 *     OPENED ------------------> CONNECTING      OPENED ----------+
 *                     refused,    |   |                            |
 *                     no answer   |   | agreed                     |
 *     CLOSED <--------------------+   +--------> CONNECTED <-------+
 *                                                 |     |
 *                               shutdown, silence |     | close
 *                       BROKEN <------------------+     v
 *                         |                       |   LINGERING      data still goes out
 *                   close |                       |     | all acknowledged, or no more time
 *                         v                       |     v
 *                       CLOSED <------------------+   LEAVING        a shutdown, three times
 *                                                       |
 *                       CLOSED <------------------------+
 *
 * A connection does nothing by itself. Arrivals change its state and note what is due: an ACK, a
 * NAK, an answer to a handshake. Emission first runs the timers that have expired, then serves the
 * notes in a fixed order, control before data. So the present state goes out in as few datagrams as
 * possible, however many arrived.
 *
 * An invalid datagram is counted and changes nothing. libudt breaks a connection whose peer
 * acknowledges or reports as lost what was never sent. Here a forged packet could then break it,
 * too, so such a datagram is refused like any other, and a peer that really disagrees with us ends
 * in silence.
 *
 * Nobody authenticates: what a datagram must show besides the peer's address and our id, of 31
 * random bits, is in docs/reference/udt.md. A shutdown shows nothing else, because libudt's does
 * not, so the id must not be guessed.
 */
#include "proto/udt/udt_conn.h"
#include "proto/udt/udt_conn_private.h"

#include <errno.h>
#include <string.h>

#define SHUTDOWNS 3u

/* --- set-up -------------------------------------------------------------------------------- */

static uint32_t receive_packets(const udt_conn_config_t *config)
{
    return config->receive_packets < config->window_packets ? config->receive_packets
                                                            : config->window_packets;
}

size_t udt_conn_receive_bytes(const udt_conn_config_t *config)
{
    return udt_rcvbuf_data_bytes(receive_packets(config), UDT_PAYLOAD_BYTES(config->mss_bytes));
}

/* How the connection's own memory is divided. Each part is a multiple of 8 bytes. */
typedef struct layout {
    size_t send_packets;
    size_t send_losses;
    size_t slots;
    size_t receive_losses;
} layout_t;

static layout_t lay_out(const udt_conn_config_t *config)
{
    return (layout_t){
        .send_packets = udt_sndbuf_memory_bytes(config->send_packets),
        .send_losses = udt_losslist_memory_bytes(udt_losslist_capacity(config->send_packets)),
        .slots = udt_rcvbuf_memory_bytes(receive_packets(config)),
        .receive_losses = udt_losslist_memory_bytes(udt_losslist_capacity(receive_packets(config))),
    };
}

size_t udt_conn_memory_bytes(const udt_conn_config_t *config)
{
    layout_t l = lay_out(config);
    return l.send_packets + l.send_losses + l.slots + l.receive_losses;
}

int udt_conn_init(udt_conn_t *c, const udt_conn_config_t *config, const udt_conn_memory_t *memory,
                  udt_stats_t *stats, int64_t now_mono_ns)
{
    memset(c, 0, sizeof *c);
    c->config = *config;
    c->config.receive_packets = receive_packets(config);
    if (c->config.connect_ns == 0)
        c->config.connect_ns = config->rendezvous ? UDT_RENDEZVOUS_NS : UDT_CONNECT_NS;
    c->stats = stats;
    c->now_ns = now_mono_ns;
    c->opened_ns = now_mono_ns;
    c->isn = config->isn;
    c->mss_bytes = config->mss_bytes;
    c->snd.busy_since_ns = RT_NEVER_NS;
    c->rcv.repeat_ns = RT_NEVER_NS;
    udt_rtt_init(&c->rtt);

    layout_t l = lay_out(config);
    uint8_t *at = memory->own;
    udt_sndbuf_init(&c->snd.buffer,
                    &(udt_sndbuf_config_t){.is_stream = config->mode == UDT_MODE_STREAM,
                                           .bytes = memory->send,
                                           .size = config->send_bytes,
                                           .max_packets = config->send_packets},
                    at);
    at += l.send_packets;
    udt_losslist_init(&c->snd.losses, at, udt_losslist_capacity(config->send_packets));
    at += l.send_losses;
    udt_rcvbuf_init(&c->rcv.buffer,
                    &(udt_rcvbuf_config_t){.is_stream = config->mode == UDT_MODE_STREAM,
                                           .bytes = memory->receive,
                                           .slot_bytes = UDT_PAYLOAD_BYTES(config->mss_bytes),
                                           .capacity = c->config.receive_packets,
                                           .memory_is_zero = memory->own_is_zero},
                    at);
    at += l.slots;
    udt_losslist_init(&c->rcv.losses, at, udt_losslist_capacity(c->config.receive_packets));

    udt_cc_in_t nothing_known = {.now_ns = now_mono_ns, .mss_bytes = config->mss_bytes};
    return udt_cc_init(&c->snd.cc, &config->cc, &nothing_known);
}

static void move_clock(udt_conn_t *c, int64_t now_mono_ns)
{
    if (now_mono_ns > c->now_ns)
        c->now_ns = now_mono_ns;
}

/* --- ends ---------------------------------------------------------------------------------- */

static void become_closed(udt_conn_t *c)
{
    c->state = UDT_CONN_CLOSED;
    c->events |= UDT_EVENT_CLOSED;
}

static void conn_break(udt_conn_t *c, udt_error_t error)
{
    bool is_over = c->state == UDT_CONN_LINGERING;
    c->state = UDT_CONN_BROKEN;
    c->error = error;
    c->events |= UDT_EVENT_BROKEN | UDT_EVENT_READABLE | UDT_EVENT_WRITABLE;
    if (is_over)
        become_closed(c);
}

void udt_conn_close(udt_conn_t *c, int64_t now_mono_ns)
{
    move_clock(c, now_mono_ns);
    if (c->state == UDT_CONN_CONNECTED) {
        c->state = UDT_CONN_LINGERING;
        c->leave_ns = c->now_ns + c->config.linger_ns;
    } else if (c->state == UDT_CONN_LINGERING) {
        c->leave_ns = rt_min64(c->leave_ns, c->now_ns + c->config.linger_ns);
    } else if (c->state == UDT_CONN_OPENED || c->state == UDT_CONN_CONNECTING ||
               c->state == UDT_CONN_BROKEN) {
        become_closed(c);
    }
}

void udt_conn_set_linger(udt_conn_t *c, int64_t linger_ns)
{
    c->config.linger_ns = linger_ns;
}

/* --- receiving ----------------------------------------------------------------------------- */

static int refuse(udt_conn_t *c, udt_counter_id_t why)
{
    udt_count(c->stats, why, 1);
    return -EPROTO;
}

static int take_control(udt_conn_t *c, const udt_view_t *view, int64_t at_ns)
{
    switch (view->type) {
    case UDT_TYPE_ACK:
        return sender_ack(c, view, at_ns);
    case UDT_TYPE_NAK:
        return sender_nak(c, view, at_ns);
    case UDT_TYPE_CONGESTION:
        sender_warned(c);
        return 0;
    case UDT_TYPE_SHUTDOWN:
        conn_break(c, UDT_ECONNLOST);
        return 0;
    case UDT_TYPE_ACK2:
        return receiver_ack2(c, view, at_ns);
    case UDT_TYPE_DROP:
        return receiver_drop(c, view);
    case UDT_TYPE_ERROR:
        c->events |= UDT_EVENT_PEER_ERROR;
        return 0;
    default: /* a keep-alive, or user-defined: shows that the peer lives */
        return 0;
    }
}

static bool is_for_us(const udt_conn_t *c, const udt_view_t *view)
{
    if (view->socket_id == c->config.socket_id)
        return true;
    return view->socket_id == 0 && c->config.rendezvous && c->state == UDT_CONN_CONNECTING;
}

int udt_conn_receive(udt_conn_t *c, const void *data, size_t size, int64_t arrival_mono_ns,
                     int64_t now_mono_ns)
{
    udt_view_t view;
    move_clock(c, now_mono_ns);
    int rc = udt_packet_parse(data, size, &view);
    if (rc != UDT_PARSE_OK) {
        udt_count(c->stats, UDT_COUNT_refused_parse, 1);
        return rc;
    }
    if (!is_for_us(c, &view))
        return refuse(c, UDT_COUNT_refused_id);
    bool is_handshake = view.is_control && view.type == UDT_TYPE_HANDSHAKE;
    if (c->state == UDT_CONN_CONNECTING && !is_handshake)
        setup_other(c, &view);
    if (is_handshake && (can_talk(c) || c->state == UDT_CONN_CONNECTING))
        return setup_handshake(c, &view);
    if (!can_talk(c))
        return refuse(c, UDT_COUNT_refused_state);
    int64_t at_ns = rt_min64(arrival_mono_ns, c->now_ns);
    if (!c->setup.heard) {
        /* libudt loses the first packet after it is connected: a keep-alive may be lost. */
        c->setup.heard = true;
        c->keepalive_due = c->setup.is_server || c->config.rendezvous;
        if (!view.is_control || view.type != UDT_TYPE_ACK)
            sender_release(c);
    }
    udt_exp_heard(&c->exp, c->now_ns);
    return view.is_control ? take_control(c, &view, at_ns) : receiver_data(c, &view, at_ns);
}

/* --- emission ------------------------------------------------------------------------------ */

/* With nothing to send, a keep-alive now and then. With unacknowledged data, the silence timer
 * applies. */
static int64_t life_deadline_ns(const udt_conn_t *c)
{
    if (udt_sndbuf_is_empty(&c->snd.buffer))
        return c->emitted_ns + UDT_KEEPALIVE_NS;
    return udt_exp_deadline_ns(&c->exp, &c->rtt);
}

/* A handshake costs its sender nothing. A peer that means it says something at once: data, or a
 * keep-alive within a second. */
static bool awaits_first_word(const udt_conn_t *c)
{
    return c->setup.is_server && !c->setup.heard;
}

static void check_timers(udt_conn_t *c)
{
    if (awaits_first_word(c) && c->now_ns >= c->setup.give_up_ns) {
        conn_break(c, UDT_ECONNSETUP);
        return;
    }
    switch (udt_exp_check(&c->exp, &c->rtt, c->now_ns)) {
    case UDT_EXP_BROKEN:
        conn_break(c, UDT_ECONNLOST);
        return;
    case UDT_EXP_SILENT:
        sender_silence(c);
        break;
    case UDT_EXP_WAIT:
        break;
    }
    if (udt_sndbuf_is_empty(&c->snd.buffer) && c->now_ns >= life_deadline_ns(c))
        c->keepalive_due = true;
    receiver_check(c);
    sender_check(c);
    if (c->state == UDT_CONN_LINGERING && (sender_is_done(c) || c->now_ns >= c->leave_ns)) {
        c->state = UDT_CONN_LEAVING;
        c->leave_ns = c->now_ns;
        c->shutdowns = SHUTDOWNS;
    }
}

static void emit_notes(udt_conn_t *c, udt_outbox_t *box)
{
    if (c->keepalive_due && !outbox_is_full(box)) {
        c->keepalive_due = false;
        conn_put_control(c, box, UDT_TYPE_KEEPALIVE, 0);
        udt_count(c->stats, UDT_COUNT_keepalives_sent, 1);
    }
    if (c->error_due && !outbox_is_full(box)) {
        c->error_due = false;
        conn_put_control(c, box, UDT_TYPE_ERROR, UDT_PEER_ERROR_FILE);
    }
}

static void emit_talk(udt_conn_t *c, udt_outbox_t *box)
{
    /* A client that has not received our answer yet accepts any packet for it. */
    if (awaits_first_word(c) && udt_conn_deadline_ns(c) <= c->now_ns)
        udt_conn_answer_again(c);
    setup_emit(c, box);
    emit_notes(c, box);
    receiver_emit(c, box);
    sender_emit(c, box);
}

static void emit_shutdown(udt_conn_t *c, udt_outbox_t *box)
{
    if (c->now_ns < c->leave_ns || outbox_is_full(box))
        return;
    conn_put_control(c, box, UDT_TYPE_SHUTDOWN, 0);
    c->leave_ns = c->now_ns + UDT_LEAVE_NS;
    if (--c->shutdowns == 0)
        become_closed(c);
}

size_t udt_conn_emit(udt_conn_t *c, udt_out_t *out, size_t max, int64_t now_mono_ns)
{
    udt_outbox_t box = {.out = out, .max = max};
    move_clock(c, now_mono_ns);
    if (c->state == UDT_CONN_CONNECTING) {
        setup_check(c);
        setup_emit(c, &box);
        return box.count;
    }
    if (can_talk(c))
        check_timers(c);
    if (can_talk(c))
        emit_talk(c, &box);
    else if (c->state == UDT_CONN_LEAVING)
        emit_shutdown(c, &box);
    if (box.count > 0)
        c->emitted_ns = c->now_ns;
    return box.count;
}

int64_t udt_conn_deadline_ns(const udt_conn_t *c)
{
    if (c->state == UDT_CONN_CONNECTING)
        return setup_deadline_ns(c);
    if (c->state == UDT_CONN_LEAVING)
        return c->leave_ns;
    if (!can_talk(c))
        return RT_NEVER_NS;
    if (c->keepalive_due || c->error_due || c->setup.reply_due)
        return c->now_ns;
    int64_t at_ns = life_deadline_ns(c);
    if (awaits_first_word(c))
        at_ns = rt_min64(at_ns, c->setup.give_up_ns);
    at_ns = rt_min64(at_ns, receiver_deadline_ns(c));
    at_ns = rt_min64(at_ns, sender_deadline_ns(c));
    if (c->state == UDT_CONN_LINGERING)
        at_ns = sender_is_done(c) ? c->now_ns : rt_min64(at_ns, c->leave_ns);
    return at_ns;
}

uint32_t udt_conn_take_events(udt_conn_t *c)
{
    uint32_t events = c->events;
    c->events = 0;
    return events;
}

/* --- the application's bytes --------------------------------------------------------------- */

static int may_send(udt_conn_t *c, udt_mode_t mode, int64_t now_mono_ns)
{
    move_clock(c, now_mono_ns);
    if (c->state != UDT_CONN_CONNECTED)
        return -ENOTCONN;
    return c->config.mode == mode ? 0 : -EINVAL;
}

/* The silence timer starts with the first byte that waits for an answer. */
static void before_sending(udt_conn_t *c)
{
    if (udt_sndbuf_is_empty(&c->snd.buffer))
        c->exp.since_ns = c->now_ns;
}

int udt_conn_commit_message(udt_conn_t *c, uint32_t bytes, int32_t ttl_ms, bool in_order,
                            int64_t now_mono_ns)
{
    int rc = may_send(c, UDT_MODE_MESSAGE, now_mono_ns);
    if (rc < 0)
        return rc;
    before_sending(c);
    return udt_sndbuf_commit_message(&c->snd.buffer, bytes, ttl_ms, in_order, c->now_ns);
}

int64_t udt_conn_send(udt_conn_t *c, const void *data, uint32_t bytes, int64_t now_mono_ns)
{
    int rc = may_send(c, UDT_MODE_STREAM, now_mono_ns);
    if (rc < 0)
        return rc;
    before_sending(c);
    return udt_sndbuf_write(&c->snd.buffer, data, bytes);
}

/* The peer would learn of the room with the next ACK. But while it has no room to send into, no ACK
 * would come. */
void udt_conn_was_read(udt_conn_t *c, int64_t now_mono_ns)
{
    move_clock(c, now_mono_ns);
    if (!can_talk(c)) /* nothing was advertised yet, so nothing grew */
        return;
    uint32_t capacity = c->rcv.buffer.capacity;
    uint32_t free_packets = udt_rcvbuf_available(&c->rcv.buffer);
    if (c->rcv.advertised < capacity / 2 && free_packets >= c->rcv.advertised + capacity / 4)
        c->rcv.window_grew = true;
}

void udt_conn_report_error(udt_conn_t *c)
{
    c->error_due = true;
}
