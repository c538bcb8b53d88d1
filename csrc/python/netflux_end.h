/* netflux_end.h: one process's end of a Netflux channel, as both bindings use it: the two calls that
 * a control loop makes in each cycle. Threads, and who attaches when: as channel_end.h says. */
#ifndef NETFLUX_END_H
#define NETFLUX_END_H

#include "python/channel_end.h"
#include "shm/netflux_shm.h"

typedef struct netflux_snapshot {
    shm_netflux_rx_t head;
    uint32_t stamp;
    uint32_t bytes;
    uint8_t values[SHM_NETFLUX_MAX_PAYLOAD + 1];
} netflux_snapshot_t;

/* The engine's configuration; NULL with a text: it is another engine's channel, or its segment does
 * not have the boxes. */
static inline const shm_netflux_config_t *end_netflux(const channel_end_t *e)
{
    const shm_config_t *c = &e->segment->config;
    const shm_netflux_config_t *n = (const shm_netflux_config_t *)(const void *)c->engine_config;
    if (memcmp(c->engine, SHM_NETFLUX_ENGINE, sizeof SHM_NETFLUX_ENGINE) == 0 &&
        c->engine_bytes >= shm_netflux_bytes(c->producers) &&
        n->tx_payload_bytes <= SHM_NETFLUX_MAX_PAYLOAD &&
        n->rx_payload_bytes <= SHM_NETFLUX_MAX_PAYLOAD)
        return n;
    rt_err_set(-EINVAL, "channel \"%.64s\" is no Netflux channel", c->name);
    return NULL;
}

/* Puts values to be sent; bytes must be what was agreed. Returns 0; -ESTALE: attach, and put them
 * again (if the end was attached to a worker that is gone, they lie there already); -EMSGSIZE,
 * -EINVAL with a text. */
static inline int end_put(channel_end_t *e, const void *values, size_t bytes)
{
    const shm_netflux_config_t *n = end_netflux(e);
    if (n == NULL)
        return -EINVAL;
    if (bytes != n->tx_payload_bytes)
        return rt_err_set(-EMSGSIZE,
                          "values of %zu bytes; channel \"%.64s\" sends %u: give as many, or open it "
                          "with another send=",
                          bytes, e->segment->config.name, n->tx_payload_bytes);
    if (!e->tx_ready)
        return -ESTALE;
    uint64_t ticket = shm_netflux_put(e->segment->engine, e->tx.index, values, n->tx_payload_bytes,
                                      rt_mono_ns());
    if (ticket == 1)
        end_ring_bell(e); /* the first: a worker with nothing to send may sleep long */
    return end_in_force(e) ? 0 : -ESTALE;
}

/* What the partner sent last. Returns 1, 0: nothing yet; -EPIPE: nobody serves the channel any more,
 * so that it would never change; -EAGAIN, -EINVAL with a text. */
static inline int end_snapshot(const channel_end_t *e, netflux_snapshot_t *out)
{
    const shm_netflux_config_t *n = end_netflux(e);
    if (n == NULL)
        return -EINVAL;
    unsigned state = end_state(e);
    if (state == SHM_STATE_CLOSED || state == SHM_STATE_FAILED)
        return -EPIPE;
    out->bytes = n->rx_payload_bytes;
    int rc = shm_netflux_snapshot(e->segment->engine, &out->head, &out->stamp, out->values,
                                  n->rx_payload_bytes);
    if (rc == -EAGAIN)
        return rt_err_set(rc, "the values of channel \"%.64s\" change under every look: another "
                              "process overwrote the segment; close it and open it again",
                          e->segment->config.name);
    return rc;
}

#endif
