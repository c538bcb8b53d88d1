#include "client/endpoint_mux.h"

#include "base/rt_clock.h"

int mux_endpoint_send(endpoint_t *e, const mux_head_t *head, const void *data, uint32_t bytes)
{
    int rc = tx_producer_push_engine(&e->tx, head, sizeof *head, data, bytes, rt_mono_ns());
    if (rc == 0)
        endpoint_ring_bell(e);
    return rc;
}

int mux_endpoint_take(endpoint_t *e, uint8_t *to, rx_packet_t *packet)
{
    return rx_reader_next(&e->rx, to, SHM_MAX_RECORD, packet, NULL) == 1;
}

void mux_endpoint_wait(endpoint_t *e, int64_t until_mono_ns)
{
    (void)rx_reader_wait(&e->rx, 0, until_mono_ns);
}
