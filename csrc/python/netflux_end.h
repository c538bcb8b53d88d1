/* netflux_end.h: one process's end of a Netflux channel, as both bindings use it: the two calls
 * that a control loop makes in each cycle. Threads, and who attaches when: as in channel_end.h. */
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

/* A worker shows itself a few times a second, and is replaced within a fraction of one. Beyond this
 * nothing is sent, and no watchdog runs: a control loop must not go on as if. */
#define NETFLUX_UNSERVED_NS (3 * RT_NS_PER_S)

/* Returns 0, or -ECONNRESET with a text: nobody serves the channel. */
static inline int end_check_served(const channel_end_t *e, int64_t now_mono_ns)
{
    int64_t silence_ns = end_silence_ns(e, now_mono_ns);
    if (silence_ns == now_mono_ns || silence_ns < NETFLUX_UNSERVED_NS) /* 0: none ever served it */
        return 0;
    return rt_err_set(
        -ECONNRESET,
        "channel \"%.64s\": its worker has not shown itself for %.1f s, so nothing is "
        "sent and nothing is watched: its pool has ended, or is stopped; see \"shmring "
        "ls\"",
        e->segment->config.name, (double)silence_ns / 1e9);
}

/* Puts values to be sent; bytes must be what was agreed. Returns 0; -ESTALE: attach, and put them
 * again (if the end was attached to a worker that is gone, they lie there already); -EMSGSIZE,
 * -EINVAL, -ECONNRESET with a text. */
static inline int end_put(channel_end_t *e, const void *values, size_t bytes)
{
    const shm_netflux_config_t *n = end_netflux(e);
    if (n == NULL)
        return -EINVAL;
    if (bytes != n->tx_payload_bytes)
        return rt_err_set(
            -EMSGSIZE,
            "values of %zu bytes; channel \"%.64s\" sends %u: give as many, or open it "
            "with another send=",
            bytes, e->segment->config.name, n->tx_payload_bytes);
    if (!e->tx_ready)
        return -ESTALE;
    int64_t now = rt_mono_ns();
    uint64_t ticket =
        shm_netflux_put(e->segment->engine, e->tx.index, values, n->tx_payload_bytes, now);
    if (ticket == 1)
        end_ring_bell(e); /* the first: a worker with nothing to send may sleep long */
    return end_in_force(e) ? end_check_served(e, now) : -ESTALE;
}

/* What the partner sent last. Returns 1, 0: nothing yet; -EPIPE: the channel was closed, or broke,
 * so that it would never change; -ECONNRESET, -EAGAIN, -EINVAL with a text. */
static inline int end_snapshot(const channel_end_t *e, netflux_snapshot_t *out)
{
    const shm_netflux_config_t *n = end_netflux(e);
    if (n == NULL)
        return -EINVAL;
    unsigned state = end_state(e);
    if (state == SHM_STATE_CLOSED || state == SHM_STATE_FAILED)
        return -EPIPE;
    int rc = end_check_served(e, rt_mono_ns());
    if (rc < 0)
        return rc;
    out->bytes = n->rx_payload_bytes;
    rc = shm_netflux_snapshot(e->segment->engine, &out->head, &out->stamp, out->values,
                              n->rx_payload_bytes);
    if (rc == -EAGAIN)
        return rt_err_set(rc,
                          "the values of channel \"%.64s\" change under every look: another "
                          "process overwrote the segment; close it and open it again",
                          e->segment->config.name);
    return rc;
}

#endif
