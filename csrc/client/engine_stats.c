#include "client/engine_stats.h"

_Static_assert(sizeof(udt_stats_t) <= SHM_UDT_STATS_BYTES, "a connection's page has room for them");

static void read_words(const rt_a64_t *from, uint64_t *to, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        to[i] = rt_load_relaxed(&from[i]);
}

/* --- rtp ------------------------------------------------------------------------------------ */

void rtp_read_stats(const shm_rtp_state_t *state, uint64_t *counters, int64_t *gauges)
{
    read_words(state->counters, counters, SHM_RTP_COUNTER_TOTAL);
    for (unsigned i = 0; i < SHM_RTP_GAUGE_TOTAL; i++)
        gauges[i] = rt_load_relaxed(&state->gauges[i]);
}

void rtp_read_cname(const shm_rtp_state_t *state, char *out)
{
    uint32_t before = rt_load_acquire(&state->cname_changes); /* N2: pairs with N1 in the worker */
    memcpy(out, state->remote_cname, sizeof state->remote_cname);
    rt_fence_acquire();
    if (before % 2 != 0 || rt_load_relaxed(&state->cname_changes) != before)
        out[0] = 0;
    out[sizeof state->remote_cname - 1] = 0;
}

/* --- netflux -------------------------------------------------------------------------------- */

const nfx_stats_t *netflux_read_stats(uint8_t *engine, uint64_t *counters, uint64_t *gauges)
{
    const nfx_stats_t *stats = (const nfx_stats_t *)(const void *)shm_netflux_stats(engine);
    read_words(stats->counters, counters, NFX_COUNTER_TOTAL);
    read_words(stats->gauges, gauges, NFX_GAUGE_TOTAL);
    return stats;
}

uint64_t netflux_published(const uint8_t *engine)
{
    return rt_load_acquire(&shm_netflux_head(engine)->published);
}

/* --- cyclic --------------------------------------------------------------------------------- */

void cyclic_read_stats(const uint8_t *engine, uint64_t *counters, uint64_t *gauges)
{
    const shm_cyclic_head_t *head = shm_cyclic_head(engine);
    read_words(head->counters, counters, SHM_CYCLIC_COUNTER_TOTAL);
    read_words(head->gauges, gauges, SHM_CYCLIC_GAUGE_TOTAL);
}

/* --- proxy ---------------------------------------------------------------------------------- */

static const shm_proxy_state_t *proxy_of(const shm_segment_t *s)
{
    return (const shm_proxy_state_t *)(const void *)s->engine;
}

void proxy_read_stats(const shm_segment_t *s, uint64_t *counters, uint64_t *gauges)
{
    read_words(proxy_of(s)->counters, counters, SHM_PROXY_COUNTER_TOTAL);
    read_words(proxy_of(s)->gauges, gauges, SHM_PROXY_GAUGE_TOTAL);
}

void proxy_read_impair(const shm_segment_t *s, unsigned way, shm_impair_t *out)
{
    shm_proxy_get_impair(proxy_of(s), way < SHM_PROXY_WAYS ? way : 0, out);
}

/* --- udt ------------------------------------------------------------------------------------ */

static const shm_udt_state_t *conn_of(const shm_segment_t *s)
{
    return (const shm_udt_state_t *)(const void *)s->engine;
}

void udt_read_facts(const shm_segment_t *s, udt_facts_t *out)
{
    const shm_udt_state_t *conn = conn_of(s);
    out->state = udt_read_state(s); /* first: the rest was written before it */
    out->error = rt_load_relaxed(&conn->error);
    out->socket_id = rt_load_relaxed(&conn->socket_id);
    out->peer_id = rt_load_relaxed(&conn->peer_id);
    out->mss_bytes = rt_load_relaxed(&conn->mss_bytes);
    out->unsent_bytes = rt_load_relaxed(&conn->unsent_bytes);
    out->unread_bytes = rt_load_relaxed(&conn->unread_bytes);
    out->peer = conn->peer;
}

uint32_t udt_read_state(const shm_segment_t *s)
{
    return rt_load_acquire(&conn_of(s)->state);
}

uint32_t udt_read_peer_errors(const shm_segment_t *s)
{
    return rt_load_relaxed(&conn_of(s)->peer_errors);
}

void udt_read_stats(const shm_segment_t *s, uint64_t *counters, uint64_t *gauges)
{
    const udt_stats_t *stats = (const udt_stats_t *)(const void *)conn_of(s)->stats;
    read_words(stats->counters, counters, UDT_COUNTER_TOTAL);
    read_words(stats->gauges, gauges, UDT_GAUGE_TOTAL);
}

void udt_read_port(const shm_segment_t *s, uint64_t *counters)
{
    const shm_udt_port_state_t *port = (const shm_udt_port_state_t *)(const void *)s->engine;
    read_words(port->counters, counters, SHM_UDT_PORT_COUNTER_TOTAL);
}
