#include "client/endpoint_box.h"

#include "base/rt_err.h"
#include "shm/cyclic_shm.h"
#include "shm/netflux_shm.h"

#include <errno.h>

/* A worker renews its heartbeat a few times a second, and is replaced within a fraction of one.
 * After a longer silence nothing is sent and no watchdog runs. A control loop must learn of that.
 */
#define UNSERVED_NS (3 * RT_NS_PER_S)

int endpoint_check_served(const endpoint_t *e, int64_t now_mono_ns)
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

static int refuse_netflux(const endpoint_t *e, size_t bytes, uint32_t agreed)
{
    return rt_err_set(
        -EMSGSIZE,
        "the values have %zu bytes, channel \"%.64s\" sends %u: give that many, or open it "
        "with another send=",
        bytes, e->segment->config.name, agreed);
}

static int refuse_cyclic(const endpoint_t *e, size_t bytes, uint32_t most)
{
    return rt_err_set(-EMSGSIZE, "the payload has %zu bytes, channel \"%.64s\" takes at most %u: %s",
                      bytes, e->segment->config.name, most,
                      bytes > SHM_MAX_PAYLOAD ? "no datagram is longer than 65507"
                                              : "open it with a larger max_payload");
}

/* Each returns 0 with the box, or an error with a text; -ENOENT: the channel has another engine, or
 * its segment does not contain the box. */
static int netflux_box(const endpoint_t *e, size_t bytes, shm_box_t *box)
{
    const shm_config_t *c = &e->segment->config;
    const shm_netflux_config_t *n = (const shm_netflux_config_t *)(const void *)c->engine_config;
    uint32_t agreed = rt_read_once(&n->tx_payload_bytes);
    if (memcmp(c->engine, SHM_NETFLUX_ENGINE, sizeof SHM_NETFLUX_ENGINE) != 0 ||
        c->engine_bytes < shm_netflux_bytes(c->producers) || agreed > SHM_NETFLUX_MAX_PAYLOAD)
        return -ENOENT;
    *box = shm_netflux_box(e->segment->engine, c->producers);
    return bytes == agreed ? 0 : refuse_netflux(e, bytes, agreed);
}

static int cyclic_box(const endpoint_t *e, size_t bytes, shm_box_t *box)
{
    const shm_config_t *c = &e->segment->config;
    const shm_cyclic_config_t *n = (const shm_cyclic_config_t *)(const void *)c->engine_config;
    uint32_t most = rt_read_once(&n->payload_bytes);
    if (memcmp(c->engine, SHM_CYCLIC_ENGINE, sizeof SHM_CYCLIC_ENGINE) != 0 ||
        c->engine_bytes < shm_cyclic_bytes(c->producers, most) || most > SHM_MAX_PAYLOAD)
        return -ENOENT;
    *box = shm_cyclic_box(e->segment->engine, c->producers, most);
    return bytes <= most ? 0 : refuse_cyclic(e, bytes, most);
}

int endpoint_put(endpoint_t *e, const void *payload, size_t bytes)
{
    shm_box_t box;
    int rc = netflux_box(e, bytes, &box);
    if (rc == -ENOENT)
        rc = cyclic_box(e, bytes, &box);
    if (rc == -ENOENT)
        return rt_err_set(-EINVAL, "channel \"%.64s\" does not send in cycles",
                          e->segment->config.name);
    if (rc < 0)
        return rc;
    if (!e->tx_ready)
        return -ESTALE;
    int64_t now = rt_mono_ns();
    /* Only for the first payload: a worker with nothing to send may sleep long. */
    if (shm_box_put(&box, e->tx.index, payload, (uint32_t)bytes, now) == 1)
        endpoint_ring_bell(e);
    return endpoint_in_force(e) ? endpoint_check_served(e, now) : -ESTALE;
}
