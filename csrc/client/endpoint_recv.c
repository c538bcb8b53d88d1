#include "client/endpoint.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

_Static_assert(sizeof(packet_record_t) == 80, "batch.py has this layout");

uint64_t endpoint_waiting(const endpoint_t *e)
{
    return rx_reader_waiting(&e->rx) + e->spare_full;
}

int endpoint_peek(endpoint_t *e)
{
    if (!e->spare_full && rx_reader_next(&e->rx, e->spare, e->segment->config.max_payload_bytes,
                                         &e->spare_packet, &e->spare_lost_before) == 1)
        e->spare_full = 1;
    return e->spare_full;
}

/* As endpoint_peek, without the copy in the spare. */
static bool take_to(endpoint_t *e, uint8_t *to)
{
    return rx_reader_next(&e->rx, to, e->segment->config.max_payload_bytes, &e->spare_packet,
                          &e->spare_lost_before) == 1;
}

int endpoint_poll_into(endpoint_t *e, uint8_t *to, uint64_t bytes)
{
    /* Before the read: packets that arrived before the channel was closed are found below. */
    bool stale = !endpoint_may_recv(e);
    bool fits = to != NULL && !e->spare_full && bytes >= e->segment->config.max_payload_bytes;
    if (endpoint_may_read(e) && fits && take_to(e, to))
        return ENDPOINT_IN_BUFFER;
    if (endpoint_may_read(e) && !fits && endpoint_peek(e))
        return ENDPOINT_IN_SPARE;
    return stale ? -ESTALE : 0;
}

int endpoint_poll(endpoint_t *e)
{
    return endpoint_poll_into(e, NULL, 0);
}

void endpoint_put_back(endpoint_t *e, const uint8_t *from, const rx_packet_t *packet,
                       uint64_t lost_before)
{
    if (e->spare_full) /* by another thread, meanwhile */
        return;
    memcpy(e->spare, from, packet->payload_bytes);
    e->spare_packet = *packet;
    e->spare_lost_before = lost_before;
    e->spare_full = 1;
}

void endpoint_rearm(endpoint_t *e)
{
    uint8_t rings[sizeof(uint64_t)]; /* taken at once: more than one is rare */
    const uint64_t one = 1;
    if (e->reader_fd < 0 || e->reader == NULL)
        return;
    (void)!read(e->reader_fd, rings, sizeof rings);
    if (e->own_rung)
        (void)!read(e->own_fd, rings, sizeof rings);
    e->own_rung = 0;
    rt_store_relaxed(&e->reader->bell_want, !e->polled);
    if (e->polled)
        return;
    /* Pairs with the full fence in rx_writer_publish: either the worker sees bell_want or this call
     * sees the packet. */
    rt_fence_full();
    e->own_rung = endpoint_waiting(e) != 0;
    if (e->own_rung)
        (void)!write(e->own_fd, &one, sizeof one);
}

void endpoint_select(endpoint_t *e, int reader_fd, int own_fd)
{
    e->own_rung = 1; /* perhaps */
    e->own_fd = own_fd;
    e->reader_fd = reader_fd;
    endpoint_rearm(e);
}

void endpoint_rearm_if_empty(endpoint_t *e)
{
    if (e->reader_fd >= 0 && !e->polled && endpoint_waiting(e) == 0)
        endpoint_rearm(e);
}

void endpoint_poll_on(endpoint_t *e, bool on)
{
    e->polled = on;
    endpoint_rearm(e);
}

void endpoint_taken(endpoint_t *e)
{
    e->spare_full = 0;
    endpoint_rearm_if_empty(e);
}

/* --- many packets --------------------------------------------------------------------------- */

uint64_t endpoint_take_many(endpoint_t *e, uint8_t *to, uint64_t bytes, uint64_t row_bytes,
                            packet_record_t *records, uint64_t max, uint64_t *used)
{
    uint32_t longest = e->segment->config.max_payload_bytes;
    uint64_t n = 0, at = 0;
    while (n < max && bytes - at >= row_bytes) {
        uint64_t room = row_bytes ? row_bytes : bytes - at;
        uint32_t length;
        if (!e->spare_full && room >= longest) { /* whatever comes fits: no spare copy */
            rx_packet_t packet;
            if (rx_reader_next(&e->rx, to + at, longest, &packet, NULL) != 1)
                break;
            packet_record_fill(&records[n++], &packet, at);
            length = packet.payload_bytes;
        } else {
            if (!endpoint_peek(e) || e->spare_packet.payload_bytes > room)
                break;
            length = e->spare_packet.payload_bytes;
            memcpy(to + at, e->spare, length);
            packet_record_fill(&records[n++], &e->spare_packet, at);
            e->spare_full = 0;
        }
        at += row_bytes ? row_bytes : length;
    }
    if (n)
        endpoint_rearm_if_empty(e);
    *used = at;
    return n;
}
