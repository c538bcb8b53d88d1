/* endpoint_loan.c: packets that are read where they lie. A reader that copies checks after the copy
 * whether the worker has overwritten the packet meanwhile. A reader that does not copy checks after
 * it has used the packet. */
#include "client/endpoint.h"

#include "base/rt_err.h"

#include <errno.h>

int endpoint_poll_loan(endpoint_t *e)
{
    /* Before the read: packets that arrived before the channel was closed are found below. */
    bool stale = !endpoint_may_recv(e);
    if (endpoint_may_read(e) && endpoint_waiting(e) > 0)
        return 1;
    return stale ? -ESTALE : 0;
}

static int refuse_shared(const endpoint_t *e)
{
    return rt_err_set(-EOPNOTSUPP,
                      "channel \"%s\" has shared readers and overflow=\"wait\": its worker waits "
                      "only for packets that nobody has taken, and would overwrite a loan. Use "
                      "recv_many",
                      e->segment->config.name);
}

static uint64_t lend(endpoint_t *e, packet_record_t *records, uint64_t max)
{
    uint64_t n = 0;
    rx_packet_t packet;
    const uint8_t *payload;
    rx_reader_loan(&e->rx);
    while (n < max && rx_reader_next_in_place(&e->rx, &payload, &packet) == 1)
        packet_record_fill(&records[n++], &packet, (uint64_t)(payload - e->rx.data));
    if (n == 0)
        rx_reader_loan_end(&e->rx);
    else
        endpoint_rearm_if_empty(e);
    return n;
}

int64_t endpoint_loan(endpoint_t *e, packet_record_t *records, uint64_t max, bool *in_spare)
{
    const shm_config_t *c = &e->segment->config;
    *in_spare = false;
    if (endpoint_loan_is_out(e))
        return -EBUSY;
    if (e->rx.mode == SHM_READ_SHARED && c->overflow == SHM_OVERFLOW_WAIT)
        return refuse_shared(e);
    if (max == 0)
        return 0;
    if (!e->spare_full)
        return (int64_t)lend(e, records, max);
    *in_spare = true;
    packet_record_fill(records, &e->spare_packet, 0);
    return 1;
}

uint64_t endpoint_loan_overwritten(const endpoint_t *e, const packet_record_t *records,
                                   uint64_t count)
{
    uint64_t n = 0;
    uint64_t floor = rx_reader_floor(&e->rx);
    if (e->segment != NULL && shm_segment_torn(e->segment))
        return count;
    while (n < count && (int64_t)(records[n].sequence - floor) < 0)
        n++;
    return n;
}

void endpoint_loan_end(endpoint_t *e)
{
    if (e->segment == NULL) /* shut: the slot may belong to another reader */
        e->rx.slot = NULL;
    rx_reader_loan_end(&e->rx);
}
