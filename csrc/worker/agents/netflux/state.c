/* state.c: how a link begins: from the configuration, or where a dead worker left it.
 *
 * A successor finds settings, remote, origin and fail-safe values in the state, numbers and flags
 * in the gauges, the partner's last values in the in box. Clients may write to all of it, so it is
 * checked or harmless: a client that overwrites it damages only its own link. */
#include "worker/agents/netflux/netflux.h"

#include <string.h>

_Static_assert(sizeof(nfx_stats_t) <= SHM_NETFLUX_STATS_BYTES, "statistics have their room");

static uint64_t gauge(const nfx_stats_t *stats, nfx_gauge_id_t id)
{
    return rt_load_relaxed(&stats->gauges[id]);
}

static nfx_past_t past_of(const nfx_stats_t *stats)
{
    return (nfx_past_t){
        .own_number = (uint8_t)gauge(stats, NFX_GAUGE_own_number),
        .partner_number = (uint8_t)gauge(stats, NFX_GAUGE_partner_number),
        .partner_known = gauge(stats, NFX_GAUGE_partner_known) != 0,
        .alive = gauge(stats, NFX_GAUGE_alive) != 0,
        .heard = gauge(stats, NFX_GAUGE_heard) != 0,
        .fresh = gauge(stats, NFX_GAUGE_fresh) != 0,
        .last_accepted_ns = (int64_t)gauge(stats, NFX_GAUGE_last_accepted_mono_ns),
    };
}

/* Takes over a predecessor's state. Returns whether there is a valid one. */
static bool take_state(netflux_agent_t *a, int64_t now_mono_ns)
{
    shm_netflux_state_t *s = &a->state;
    if (shm_netflux_state_get(a->engine, s) != 1)
        return false;
    if (shm_netflux_settings_check(&s->settings) < 0 || s->sending > 1 || s->failsafe > 2 ||
        netflux_agent_feedback_check(s->feedback) < 0)
        return false;
    if (s->origin_mono_ns < 0 || s->origin_mono_ns > now_mono_ns + NFX_MAX_TIME_NS)
        s->origin_mono_ns = RT_NEVER_NS;
    return true;
}

static void take_box(netflux_agent_t *a)
{
    uint32_t stamp;
    (void)shm_netflux_snapshot(a->engine, &a->record.head, &stamp, a->record.values,
                               a->config.rx_payload_bytes);
    if (a->state.failsafe != 0)
        memcpy(a->failsafe + NFX_HEADER_BYTES,
               shm_netflux_failsafe(a->engine, a->state.failsafe - 1), a->config.tx_payload_bytes);
}

static nfx_past_t past_of_config(const shm_netflux_config_t *c)
{
    return (nfx_past_t){.own_number = c->own_number,
                        .partner_number = c->partner_number,
                        .partner_known = c->partner_known != 0,
                        .fresh = true};
}

int netflux_agent_session_open(wrk_channel_t *ch, int64_t now_mono_ns)
{
    netflux_agent_t *a = netflux_agent_of(ch);
    nfx_stats_t *stats = (nfx_stats_t *)(void *)shm_netflux_stats(a->engine);
    bool inherited = take_state(a, now_mono_ns);
    if (!inherited)
        a->state = (shm_netflux_state_t){.origin_mono_ns = RT_NEVER_NS,
                                         .settings = a->config.settings,
                                         .remote = ch->config.remote,
                                         .sending = 1};
    nfx_past_t past = inherited ? past_of(stats) : past_of_config(&a->config);
    nfx_config_t config = netflux_agent_session_config(&a->config, &a->state.settings);
    int rc = nfx_session_init(&a->session, &config, stats);
    if (rc < 0)
        return rc;
    nfx_session_take_over(&a->session, &past, now_mono_ns);
    if (!inherited)
        return 0;
    a->sequence = rt_load_relaxed(&stats->counters[NFX_COUNT_sent]);
    take_box(a);
    return 0;
}
