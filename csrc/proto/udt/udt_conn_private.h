/* udt_conn_private.h: what the files of udt_conn share. No other file includes it. */
#ifndef UDT_CONN_PRIVATE_H
#define UDT_CONN_PRIVATE_H

#include "base/rt_math.h"
#include "proto/udt/udt_conn_state.h"

/* The datagrams of one emission. */
typedef struct udt_outbox {
    udt_out_t *out;
    size_t max;
    size_t count;
} udt_outbox_t;

static inline bool outbox_is_full(const udt_outbox_t *box)
{
    return box->count == box->max;
}

/* The next datagram to fill in. The outbox is not full. */
static inline udt_out_t *outbox_next(udt_outbox_t *box)
{
    udt_out_t *out = &box->out[box->count++];
    out->payload = NULL;
    out->payload_bytes = 0;
    return out;
}

static inline bool can_talk(const udt_conn_t *c)
{
    return c->state == UDT_CONN_CONNECTED || c->state == UDT_CONN_LINGERING;
}

static inline void conn_put_control(udt_conn_t *c, udt_outbox_t *box, udt_type_t type, uint32_t info)
{
    udt_out_t *out = outbox_next(box);
    out->head_bytes = (uint32_t)udt_put_control(out->head, type, info, c->peer_id);
}

static inline void conn_fail(udt_conn_t *c, udt_error_t error)
{
    c->state = UDT_CONN_CLOSED;
    c->error = error;
    c->events |= UDT_EVENT_FAILED;
}

/* udt_conn_setup.c: connecting */
int setup_handshake(udt_conn_t *c, const udt_view_t *view);
void setup_other(udt_conn_t *c, const udt_view_t *view);
void setup_check(udt_conn_t *c);
void setup_emit(udt_conn_t *c, udt_outbox_t *box);
int64_t setup_deadline_ns(const udt_conn_t *c);

/* udt_conn_send.c: data, and the peer's reports about it */
void sender_start(udt_conn_t *c);
void sender_release(udt_conn_t *c);
int sender_ack(udt_conn_t *c, const udt_view_t *view, int64_t at_ns);
int sender_nak(udt_conn_t *c, const udt_view_t *view, int64_t at_ns);
void sender_warned(udt_conn_t *c);
void sender_check(udt_conn_t *c);
void sender_silence(udt_conn_t *c);
void sender_emit(udt_conn_t *c, udt_outbox_t *box);
int64_t sender_deadline_ns(const udt_conn_t *c);
bool sender_is_done(const udt_conn_t *c);

/* udt_conn_receive.c: data, and our reports about it */
void receiver_start(udt_conn_t *c, uint32_t peer_isn);
int receiver_data(udt_conn_t *c, const udt_view_t *view, int64_t at_ns);
int receiver_ack2(udt_conn_t *c, const udt_view_t *view, int64_t at_ns);
int receiver_drop(udt_conn_t *c, const udt_view_t *view);
void receiver_check(udt_conn_t *c);
void receiver_emit(udt_conn_t *c, udt_outbox_t *box);
int64_t receiver_deadline_ns(const udt_conn_t *c);

#endif
