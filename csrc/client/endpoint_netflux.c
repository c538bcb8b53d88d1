#include "client/endpoint_netflux.h"

#include "base/rt_clock.h"
#include "base/rt_err.h"
#include "client/endpoint_box.h"

#include <errno.h>

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
    int rc = endpoint_check_served(e, rt_mono_ns());
    if (rc < 0)
        return rc;
    out->bytes = n->rx_payload_bytes;
    rc = shm_netflux_snapshot(e->segment->engine, &out->head, &out->stamp, out->values,
                              n->rx_payload_bytes);
    return rc == -EAGAIN ? refuse_torn(e) : rc;
}
