/* udt_end.h: one process's end of a connection of the engine "udt": what lies between the bytes and
 * messages of an application and the records of a channel. Over channel_end.h, whose rules hold:
 * the caller has one lock for all calls that send and one for all that receive, and both where the
 * end is closed or attached. */
#ifndef UDT_END_H
#define UDT_END_H

#include "proto/udt/udt_stats.h"
#include "python/channel_end.h"
#include "shm/tx_record.h"
#include "shm/udt_send.h"

#define UDT_END_NOTHING UINT32_MAX /* in place of a tag: no record is there */

_Static_assert(sizeof(udt_stats_t) <= SHM_UDT_STATS_BYTES, "a connection's page has room for them");

typedef struct udt_end {
    channel_end_t *end;
    uint32_t spare_used; /* bytes of the record in end->spare that were handed out */
} udt_end_t;

/* shm_udt_conn_state_t */
static uint32_t udt_read_state(const shm_segment_t *s)
{
    return rt_load_acquire(&((const shm_udt_state_t *)s->engine)->state);
}

/* How often the peer said that it could not store what it got. */
static uint32_t udt_read_peer_errors(const shm_segment_t *s)
{
    return rt_load_relaxed(&((const shm_udt_state_t *)s->engine)->peer_errors);
}

/* Queues a part of the stream, or a message, as far as there is room; *done, 0 at first, says how
 * far it came and where the next call goes on, whatever is returned. Returns 0: all of it;
 * -ENOBUFS, -ESTALE as end_send; -ENOTCONN: not connected, or not any more. */
static int udt_end_send(udt_end_t *u, const uint8_t *data, uint64_t bytes, int32_t ttl_ms,
                        uint32_t flags, int is_message, uint64_t *done)
{
    channel_end_t *e = u->end;
    if (!end_may_send(e))
        return -ESTALE;
    uint64_t most = e->segment->config.max_payload_bytes - sizeof(shm_udt_tx_t);
    int64_t now_ns = rt_mono_ns();
    for (;;) {
        /* Each time: of a connection that ended the worker throws away whatever is queued, and so
         * makes room for ever. */
        if (udt_read_state(e->segment) != SHM_UDT_CONNECTED)
            return -ENOTCONN;
        if (*done >= bytes)
            return 0;
        uint64_t left = bytes - *done;
        uint32_t part = (uint32_t)(left < most ? left : most);
        shm_udt_tx_t head = {.ttl_ms = ttl_ms, .flags = flags};
        if (is_message && part < left)
            head.flags |= SHM_UDT_MORE;
        int rc = udt_send(&e->tx, head, data + *done, part, now_ns);
        if (rc < 0)
            return rc;
        *done += part;
        end_ring_bell(e);
    }
}

/* Whether a record of any length can be queued now. */
static int udt_end_has_room(const udt_end_t *u)
{
    const tx_producer_t *p = &u->end->tx;
    shm_cursor_t tail = rt_load_acquire(&p->cursors->tail);
    uint32_t head = rt_load_acquire(&p->cursors->head_place);
    uint32_t place = shm_cursor_place(tail);
    uint32_t need = tx_record_units(p->max_payload_bytes, false);
    uint32_t take = need + tx_pad_units(place, need, p->units);
    uint32_t waiting = shm_cursor_seq(tail) - (uint32_t)rt_load_relaxed(&p->cursors->finished);
    return tx_used_units(head, place, p->units) + take + p->reserve_units <= p->units &&
           (p->capacity == 0 || waiting < p->capacity);
}

static void udt_end_rearm(channel_end_t *e)
{
    if (e->reader_fd >= 0 && end_waiting(e) == 0)
        end_rearm(e);
}

/* The next record is an event, or longer than what is left of the caller's buffer: it lies in spare
 * from now on. Returns 1; 0: there is none. */
static int udt_end_peek(udt_end_t *u)
{
    if (!u->end->spare_full)
        u->spare_used = 0;
    return end_peek(u->end);
}

/* Takes up to bytes of the stream. Returns how many; if that is 0, *tag is that of the event that
 * was next and is taken, or UDT_END_NOTHING. */
static uint64_t udt_end_read(udt_end_t *u, uint8_t *to, uint64_t bytes, uint32_t *tag)
{
    channel_end_t *e = u->end;
    uint32_t longest = e->segment->config.max_payload_bytes;
    uint64_t at = 0;
    *tag = UDT_END_NOTHING;
    for (;;) {
        if (!e->spare_full && bytes - at >= longest) {
            rx_packet_t packet;
            if (rx_reader_next(&e->rx, to + at, longest, &packet, NULL) != 1)
                break;
            if ((packet.tag & 0xff) == SHM_UDT_GOT_BYTES) {
                at += packet.payload_bytes < longest ? packet.payload_bytes : longest;
                continue;
            }
            packet.payload_bytes = 0;
            e->spare_packet = packet;
            e->spare_full = 1;
        }
        if (at == bytes || !udt_end_peek(u))
            break;
        if ((e->spare_packet.tag & 0xff) != SHM_UDT_GOT_BYTES) {
            if (at == 0) {
                *tag = e->spare_packet.tag;
                e->spare_full = 0;
            }
            break;
        }
        uint64_t left = e->spare_packet.payload_bytes - u->spare_used;
        uint64_t part = left < bytes - at ? left : bytes - at;
        memcpy(to + at, e->spare + u->spare_used, part);
        at += part;
        u->spare_used += (uint32_t)part;
        e->spare_full = part < left;
    }
    udt_end_rearm(e);
    return at;
}

/* Takes the next record if it is an event, and returns its tag; else UDT_END_NOTHING. */
static uint32_t udt_end_event(udt_end_t *u)
{
    if (!udt_end_peek(u) || (u->end->spare_packet.tag & 0xff) < SHM_UDT_GOT_CONNECTED)
        return UDT_END_NOTHING;
    u->end->spare_full = 0;
    udt_end_rearm(u->end);
    return u->end->spare_packet.tag;
}

/* Takes one record of a connection that sends messages. Returns the bytes in to, room for a longest
 * record; *tag is UDT_END_NOTHING where there was none. */
static uint64_t udt_end_take(udt_end_t *u, uint8_t *to, uint32_t *tag)
{
    channel_end_t *e = u->end;
    *tag = UDT_END_NOTHING;
    if (!udt_end_peek(u))
        return 0;
    uint32_t bytes = e->spare_packet.payload_bytes;
    memcpy(to, e->spare, bytes);
    *tag = e->spare_packet.tag;
    e->spare_full = 0;
    udt_end_rearm(e);
    return bytes;
}

/* Whether a record is there. */
static int udt_end_has_data(const udt_end_t *u)
{
    return end_waiting(u->end) != 0;
}

/* What the worker says of a connection. */
typedef struct udt_facts {
    uint32_t state; /* shm_udt_conn_state_t */
    uint32_t error;
    uint32_t socket_id;
    uint32_t peer_id;
    uint32_t mss_bytes;
    uint64_t unsent_bytes;
    uint64_t unread_bytes;
    shm_addr_t peer;
} udt_facts_t;

static void udt_read_facts(const shm_segment_t *s, udt_facts_t *out)
{
    const shm_udt_state_t *state = (const shm_udt_state_t *)s->engine;
    out->state = udt_read_state(s);
    out->error = rt_load_relaxed(&state->error);
    out->socket_id = rt_load_relaxed(&state->socket_id);
    out->peer_id = rt_load_relaxed(&state->peer_id);
    out->mss_bytes = rt_load_relaxed(&state->mss_bytes);
    out->unsent_bytes = rt_load_relaxed(&state->unsent_bytes);
    out->unread_bytes = rt_load_relaxed(&state->unread_bytes);
    out->peer = state->peer;
}

/* counters: UDT_COUNTER_TOTAL, gauges: UDT_GAUGE_TOTAL of them. */
static void udt_read_stats(const shm_segment_t *s, uint64_t *counters, uint64_t *gauges)
{
    const shm_udt_state_t *state = (const shm_udt_state_t *)s->engine;
    const udt_stats_t *stats = (const udt_stats_t *)(const void *)state->stats;
    for (unsigned i = 0; i < UDT_COUNTER_TOTAL; i++)
        counters[i] = rt_load_relaxed(&stats->counters[i]);
    for (unsigned i = 0; i < UDT_GAUGE_TOTAL; i++)
        gauges[i] = rt_load_relaxed(&stats->gauges[i]);
}

/* Likewise of a port: SHM_UDT_PORT_COUNTER_TOTAL counters. */
static void udt_read_port(const shm_segment_t *s, uint64_t *counters)
{
    const shm_udt_port_state_t *state = (const shm_udt_port_state_t *)s->engine;
    for (unsigned i = 0; i < SHM_UDT_PORT_COUNTER_TOTAL; i++)
        counters[i] = rt_load_relaxed(&state->counters[i]);
}

#endif
