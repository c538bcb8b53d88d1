#include "client/endpoint_netflux.h"

#include "base/rt_clock.h"
#include "base/rt_err.h"

#include <errno.h>

/* A worker renews its heartbeat a few times a second, and is replaced within a fraction of one.
 * After a longer silence nothing is sent and no watchdog runs. A control loop must learn of that.
 */
#define UNSERVED_NS (3 * RT_NS_PER_S)

/* The engine's configuration. NULL with a text: the channel has another engine, or its segment does
 * not contain the boxes. */
static const shm_netflux_config_t *find_config(const endpoint_t *e)
{
    const shm_config_t *c = &e->segment->config;
    const shm_netflux_config_t *n = (const shm_netflux_config_t *)(const void *)c->engine_config;
    if (memcmp(c->engine, SHM_NETFLUX_ENGINE, sizeof SHM_NETFLUX_ENGINE) == 0 &&
        c->engine_bytes >= shm_netflux_bytes(c->producers) &&
        n->tx_payload_bytes <= SHM_NETFLUX_MAX_PAYLOAD &&
        n->rx_payload_bytes <= SHM_NETFLUX_MAX_PAYLOAD)
        return n;
    rt_err_set(-EINVAL, "channel \"%.64s\" is not a Netflux channel", c->name);
    return NULL;
}

/* Returns 0, or -ECONNRESET with a text: no worker serves the channel. */
static int check_served(const endpoint_t *e, int64_t now_mono_ns)
{
    int64_t silence_ns = endpoint_silence_ns(e, now_mono_ns);
    if (silence_ns == now_mono_ns || silence_ns < UNSERVED_NS) /* 0: none ever served it */
        return 0;
    return rt_err_set(
        -ECONNRESET,
        "channel \"%.64s\": no heartbeat of its worker for %.1f s, so nothing is "
        "sent and nothing is watched: its pool has ended, or is stopped; see \"shmring "
        "ls\"",
        e->segment->config.name, (double)silence_ns / 1e9);
}

static int refuse_length(const endpoint_t *e, size_t bytes, uint32_t agreed)
{
    return rt_err_set(
        -EMSGSIZE,
        "the values have %zu bytes, channel \"%.64s\" sends %u: give that many, or open it "
        "with another send=",
        bytes, e->segment->config.name, agreed);
}

int endpoint_put(endpoint_t *e, const void *values, size_t bytes)
{
    const shm_netflux_config_t *n = find_config(e);
    if (n == NULL)
        return -EINVAL;
    if (bytes != n->tx_payload_bytes)
        return refuse_length(e, bytes, n->tx_payload_bytes);
    if (!e->tx_ready)
        return -ESTALE;
    int64_t now = rt_mono_ns();
    uint64_t ticket =
        shm_netflux_put(e->segment->engine, e->tx.index, values, n->tx_payload_bytes, now);
    if (ticket == 1)
        endpoint_ring_bell(
            e); /* only for the first values: a worker with nothing to send may sleep long */
    return endpoint_in_force(e) ? check_served(e, now) : -ESTALE;
}

static int refuse_torn(const endpoint_t *e)
{
    return rt_err_set(-EAGAIN,
                      "the values of channel \"%.64s\" changed during every read: another "
                      "process overwrote the segment; close it and open it again",
                      e->segment->config.name);
}

int endpoint_snapshot(const endpoint_t *e, netflux_snapshot_t *out)
{
    const shm_netflux_config_t *n = find_config(e);
    if (n == NULL)
        return -EINVAL;
    unsigned state = endpoint_state(e);
    if (state == SHM_STATE_CLOSED || state == SHM_STATE_FAILED)
        return -EPIPE;
    int rc = check_served(e, rt_mono_ns());
    if (rc < 0)
        return rc;
    out->bytes = n->rx_payload_bytes;
    rc = shm_netflux_snapshot(e->segment->engine, &out->head, &out->stamp, out->values,
                              n->rx_payload_bytes);
    return rc == -EAGAIN ? refuse_torn(e) : rc;
}
