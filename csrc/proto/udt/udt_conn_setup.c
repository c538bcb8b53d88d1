/* How it works: two ends connect.
 *
 *     client                                listener            rendezvous
 *     request  1, cookie 0   ------------>                      0  -------------->   (repeated)
 *                            <------------  1, with a cookie       <--------------  0
 *     request -1, the cookie ------------>                      -1 -------------->
 *                            <------------  -1: connected          <-------------- -1
 *     connected                                                 connected       connected
 *
 * A request is repeated until it is answered. A listener of libudt forgets a cookie when its minute
 * ends, so a client whose second request is not answered starts again.
 *
 * A handshake that comes when we are connected means that the other side has not received our last
 * one: it is answered, without any effect on the connection. */
#include "proto/udt/udt_conn_setup.h"

#include "proto/udt/udt_conn_private.h"

#include <errno.h>
#include <string.h>

#define MAX_UNANSWERED 2u

static void begin(udt_conn_t *c, int32_t request)
{
    c->setup.request = request;
    c->setup.next_ns = c->now_ns;
    c->setup.unanswered = 0;
}

void udt_conn_connect(udt_conn_t *c, int64_t now_mono_ns)
{
    if (c->state != UDT_CONN_OPENED)
        return;
    if (now_mono_ns > c->now_ns)
        c->now_ns = now_mono_ns;
    c->state = UDT_CONN_CONNECTING;
    c->setup.give_up_ns = c->now_ns + c->config.connect_ns;
    begin(c, c->config.rendezvous ? UDT_REQUEST_RENDEZVOUS : UDT_REQUEST_REGULAR);
}

static void become_connected(udt_conn_t *c, const udt_handshake_t *peer)
{
    c->peer_id = peer->socket_id;
    c->peer_window = peer->window_packets < UDT_MAX_WINDOW_PACKETS ? peer->window_packets
                                                                   : UDT_MAX_WINDOW_PACKETS;
    if (peer->mss < c->mss_bytes)
        c->mss_bytes = peer->mss;
    c->state = UDT_CONN_CONNECTED;
    c->emitted_ns = c->now_ns;
    c->events |= UDT_EVENT_CONNECTED | UDT_EVENT_WRITABLE;
    udt_exp_heard(&c->exp, c->now_ns);
    sender_start(c);
    receiver_start(c, peer->isn);
    udt_gauge(c->stats, UDT_GAUGE_mss_bytes, c->mss_bytes);
}

static int refuse(udt_conn_t *c)
{
    udt_count(c->stats, UDT_COUNT_refused_handshake, 1);
    return -EPROTO;
}

/* Version and type of an answer are ignored: libudt leaves them out when it repeats one. */
static int client_answer(udt_conn_t *c, const udt_handshake_t *hs)
{
    switch (hs->request) {
    case UDT_REQUEST_REGULAR:
        c->setup.cookie = hs->cookie;
        if (c->setup.request == UDT_REQUEST_REGULAR)
            begin(c, UDT_REQUEST_RESPONSE);
        return 0;
    case UDT_REQUEST_REFUSED:
        conn_fail(c, UDT_ECONNREJ);
        return 0;
    case UDT_REQUEST_RESPONSE:
        if (!udt_handshake_is_valid(hs))
            return refuse(c);
        if (hs->isn != c->isn)
            conn_fail(c, UDT_ESECFAIL);
        else
            become_connected(c, hs);
        return 0;
    default:
        return refuse(c);
    }
}

static int rendezvous_answer(udt_conn_t *c, const udt_handshake_t *hs)
{
    bool is_known = hs->request <= UDT_REQUEST_RENDEZVOUS && hs->request >= UDT_REQUEST_AGREED;
    bool is_sloppy = hs->version == 0 && hs->mode == 0; /* libudt that is connected already */
    if (!is_known || !udt_handshake_is_valid(hs) || (!is_sloppy && hs->mode != c->config.mode))
        return refuse(c);
    c->setup.peer = *hs;
    c->setup.peer_known = true;
    if (c->setup.request == UDT_REQUEST_RENDEZVOUS || hs->request == UDT_REQUEST_RENDEZVOUS) {
        begin(c, UDT_REQUEST_RESPONSE);
        return 0;
    }
    become_connected(c, hs);
    c->keepalive_due = true;
    return 0;
}

/* From the other side, which does not know that we are connected. */
static int late_handshake(udt_conn_t *c, const udt_handshake_t *hs)
{
    if (c->config.rendezvous) {
        c->setup.reply = UDT_REQUEST_AGREED;
        c->setup.reply_due = hs->request != UDT_REQUEST_AGREED;
    } else if (hs->request > 0) {
        udt_conn_answer_again(c);
    }
    return 0;
}

int setup_handshake(udt_conn_t *c, const udt_view_t *view)
{
    udt_handshake_t hs;
    udt_handshake_read(view, &hs);
    if (c->state != UDT_CONN_CONNECTING)
        return late_handshake(c, &hs);
    return c->config.rendezvous ? rendezvous_answer(c, &hs) : client_answer(c, &hs);
}

void setup_other(udt_conn_t *c, const udt_view_t *view)
{
    bool tells = !view->is_control || view->type == UDT_TYPE_KEEPALIVE;
    if (c->setup.peer_known && tells && view->socket_id != 0)
        become_connected(c, &c->setup.peer);
}

int udt_conn_accept(udt_conn_t *c, const udt_handshake_t *request, int64_t now_mono_ns)
{
    if (c->state != UDT_CONN_OPENED || !udt_handshake_is_valid(request))
        return -EINVAL;
    if (now_mono_ns > c->now_ns)
        c->now_ns = now_mono_ns;
    c->isn = request->isn;
    c->setup.is_server = true;
    c->setup.cookie = request->cookie;
    c->setup.give_up_ns = c->now_ns + UDT_FIRST_WORD_NS;
    become_connected(c, request);
    udt_conn_answer_again(c);
    return 0;
}

void udt_conn_answer_again(udt_conn_t *c)
{
    c->setup.reply = UDT_REQUEST_RESPONSE;
    c->setup.reply_due = true;
}

void setup_check(udt_conn_t *c)
{
    if (c->now_ns >= c->setup.give_up_ns)
        conn_fail(c, UDT_ENOSERVER);
    else if (c->setup.unanswered >= MAX_UNANSWERED && c->now_ns >= c->setup.next_ns) {
        c->setup.cookie = 0;
        begin(c, UDT_REQUEST_REGULAR);
    }
}

static void put_handshake(udt_conn_t *c, udt_outbox_t *box, int32_t request, uint32_t to)
{
    udt_out_t *out = outbox_next(box);
    udt_handshake_t hs = {
        .version = UDT_VERSION,
        .mode = c->config.mode,
        .isn = c->isn,
        .mss = c->mss_bytes,
        .window_packets = c->config.receive_packets,
        .request = request,
        .socket_id = c->config.socket_id,
        .cookie = c->setup.cookie,
    };
    memcpy(hs.address, c->config.peer_address, sizeof hs.address);
    out->head_bytes = (uint32_t)udt_put_handshake(out->head, &hs, to);
}

void setup_emit(udt_conn_t *c, udt_outbox_t *box)
{
    if (outbox_is_full(box))
        return;
    if (c->state == UDT_CONN_CONNECTING && c->now_ns >= c->setup.next_ns) {
        bool is_second = !c->config.rendezvous && c->setup.request == UDT_REQUEST_RESPONSE;
        c->setup.unanswered += is_second;
        c->setup.next_ns = c->now_ns + UDT_REQUEST_NS;
        put_handshake(c, box, c->setup.request, c->setup.peer_known ? c->setup.peer.socket_id : 0);
    } else if (c->setup.reply_due && can_talk(c)) {
        c->setup.reply_due = false;
        put_handshake(c, box, c->setup.reply, c->peer_id);
    }
}

int64_t setup_deadline_ns(const udt_conn_t *c)
{
    return rt_min64(c->setup.next_ns, c->setup.give_up_ns);
}
