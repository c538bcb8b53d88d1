#include "client/endpoint_udt.h"

#include "base/rt_clock.h"
#include "client/engine_stats.h"

#include <errno.h>

static uint32_t kind_of(uint32_t tag)
{
    return tag & 0xff; /* shm_udt_got_t */
}

/* --- sending -------------------------------------------------------------------------------- */

int udt_endpoint_send(udt_endpoint_t *u, const uint8_t *data, uint64_t bytes, int32_t ttl_ms,
                      uint32_t flags, int is_message, uint64_t *done)
{
    endpoint_t *e = u->end;
    if (!endpoint_may_send(e))
        return -ESTALE;
    uint64_t most = e->segment->config.max_payload_bytes - sizeof(shm_udt_tx_t);
    int64_t now_ns = rt_mono_ns();
    for (;;) {
        /* Checked each time: the worker discards everything queued for a connection that has ended,
         * and so would make room forever. */
        if (udt_read_state(e->segment) != SHM_UDT_CONNECTED)
            return -ENOTCONN;
        if (*done >= bytes)
            return 0;
        uint64_t left = bytes - *done;
        uint32_t part = (uint32_t)(left < most ? left : most);
        shm_udt_tx_t head = {.ttl_ms = ttl_ms, .flags = flags};
        if (is_message && part < left)
            head.flags |= SHM_UDT_MORE;
        int rc = tx_producer_push_engine(&e->tx, &head, sizeof head, data + *done, part, now_ns);
        if (rc < 0)
            return rc;
        *done += part;
        endpoint_ring_bell(e);
    }
}

int udt_endpoint_has_room(udt_endpoint_t *u)
{
    return tx_producer_has_room(&u->end->tx);
}

/* --- receiving ------------------------------------------------------------------------------ */

int udt_endpoint_has_data(const udt_endpoint_t *u)
{
    return endpoint_waiting(u->end) != 0;
}

static void rearm_if_empty(endpoint_t *e)
{
    if (e->reader_fd >= 0 && endpoint_waiting(e) == 0)
        endpoint_rearm(e);
}

/* Brings the next record to spare, unless one is there. Returns 1; 0: there is none. */
static int peek_record(udt_endpoint_t *u)
{
    if (!u->end->spare_full)
        u->spare_used = 0;
    return endpoint_peek(u->end);
}

/* Takes the next record straight into the caller's buffer, which has room for the longest. Returns
 * 1 and adds to *at if it holds bytes. 0: there is none, or it is an event, which is in spare. */
static int read_straight(endpoint_t *e, uint8_t *to, uint64_t *at)
{
    uint32_t longest = e->segment->config.max_payload_bytes;
    rx_packet_t packet;
    if (rx_reader_next(&e->rx, to + *at, longest, &packet, NULL) != 1)
        return 0;
    if (kind_of(packet.tag) == SHM_UDT_GOT_BYTES) {
        *at += packet.payload_bytes < longest ? packet.payload_bytes : longest;
        return 1;
    }
    packet.payload_bytes = 0;
    e->spare_packet = packet;
    e->spare_full = 1;
    return 0;
}

/* Copies as many of the bytes in spare as fit. */
static void read_spare(udt_endpoint_t *u, uint8_t *to, uint64_t bytes, uint64_t *at)
{
    endpoint_t *e = u->end;
    uint64_t left = e->spare_packet.payload_bytes - u->spare_used;
    uint64_t part = left < bytes - *at ? left : bytes - *at;
    memcpy(to + *at, e->spare + u->spare_used, part);
    *at += part;
    u->spare_used += (uint32_t)part;
    e->spare_full = part < left;
}

static void read_all(udt_endpoint_t *u, uint8_t *to, uint64_t bytes, uint64_t *at, uint32_t *tag)
{
    endpoint_t *e = u->end;
    for (;;) {
        if (!e->spare_full && bytes - *at >= e->segment->config.max_payload_bytes) {
            if (read_straight(e, to, at))
                continue;
            if (!e->spare_full)
                return;
        }
        if (*at == bytes || !peek_record(u))
            return;
        if (kind_of(e->spare_packet.tag) != SHM_UDT_GOT_BYTES)
            break;
        read_spare(u, to, bytes, at);
    }
    if (*at == 0) { /* an event with no data before it */
        *tag = e->spare_packet.tag;
        e->spare_full = 0;
    }
}

uint64_t udt_endpoint_read(udt_endpoint_t *u, uint8_t *to, uint64_t bytes, uint32_t *tag)
{
    uint64_t at = 0;
    *tag = UDT_NO_RECORD;
    read_all(u, to, bytes, &at, tag);
    rearm_if_empty(u->end);
    return at;
}

uint32_t udt_endpoint_event(udt_endpoint_t *u)
{
    if (!peek_record(u) || kind_of(u->end->spare_packet.tag) < SHM_UDT_GOT_CONNECTED)
        return UDT_NO_RECORD;
    u->end->spare_full = 0;
    rearm_if_empty(u->end);
    return u->end->spare_packet.tag;
}

uint64_t udt_endpoint_take(udt_endpoint_t *u, uint8_t *to, uint32_t *tag)
{
    endpoint_t *e = u->end;
    *tag = UDT_NO_RECORD;
    if (!peek_record(u))
        return 0;
    uint32_t bytes = e->spare_packet.payload_bytes;
    memcpy(to, e->spare, bytes);
    *tag = e->spare_packet.tag;
    e->spare_full = 0;
    rearm_if_empty(e);
    return bytes;
}
