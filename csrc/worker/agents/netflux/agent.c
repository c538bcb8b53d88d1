#include "worker/agents/common/socket.h"
#include "worker/agents/netflux/netflux.h"

#include "base/rt_err.h"
#include "shm/shm_engine.h"

#include <errno.h>
#include <string.h>

/* --- events --------------------------------------------------------------------------------- */

static void watch_input(wrk_channel_t *ch)
{
    netflux_agent_t *a = netflux_agent_of(ch);
    wrk_rewatch(ch, &a->socket, a->receives && !ch->held ? EPOLLIN : 0);
}

static void on_socket(wrk_source_t *source, uint32_t events, int64_t now_mono_ns)
{
    wrk_channel_t *ch = source->channel;
    netflux_agent_t *a = netflux_agent_of(ch);
    if (events & EPOLLERR)
        agent_take_errors(ch, &a->ledger, now_mono_ns);
    if (events & (EPOLLIN | EPOLLERR))
        netflux_agent_receive(ch, now_mono_ns);
    netflux_agent_publish(ch);
}

static void on_deadline(wrk_channel_t *ch, int64_t now_mono_ns)
{
    netflux_agent_t *a = netflux_agent_of(ch);
    if (netflux_agent_prepare(ch, now_mono_ns))
        return; /* and is called again, at once if something else is due */
    netflux_agent_receive(ch, now_mono_ns);
    agent_path_emit(ch, &a->path, now_mono_ns);
    netflux_agent_send_due(ch, rt_mono_ns()); /* reading may have taken a while */
    netflux_agent_put_events(ch);
    netflux_agent_publish(ch);
    agent_collect_overdue_stamps(ch, &a->ledger, now_mono_ns);
}

static int64_t deadline_ns(const wrk_channel_t *ch)
{
    const netflux_agent_t *a = netflux_agent_of(ch);
    int64_t at = netflux_agent_tx_deadline_ns(ch);
    at = agent_earlier_ns(at, agent_path_deadline_ns(&a->path));
    return agent_earlier_ns(at, agent_stamp_deadline_ns(&a->ledger));
}

/* Called while there are no values yet, and the bell was rung. */
static unsigned do_work(wrk_channel_t *ch, int64_t now_mono_ns)
{
    netflux_agent_t *a = netflux_agent_of(ch);
    bool had_values = a->has_values;
    unsigned work = agent_fail_strays(ch, now_mono_ns);
    netflux_agent_check_values(ch, now_mono_ns);
    if (a->has_values == had_values)
        return work;
    netflux_agent_resume(ch, now_mono_ns);
    return 1;
}

/* --- open ----------------------------------------------------------------------------------- */

static int check_engine_config(const wrk_channel_t *ch)
{
    const shm_config_t *c = &ch->config;
    shm_netflux_config_t n;
    memcpy(&n, c->engine_config, sizeof n);
    int rc = shm_netflux_config_check(&n);
    rc = rc ? rc : shm_engine_check(c);
    if (rc < 0)
        return rc;
    uint32_t record = (uint32_t)sizeof(shm_netflux_rx_t) + n.rx_payload_bytes;
    if (c->max_payload_bytes < record)
        return rt_err_set(-EINVAL, "max_payload is %u; records of this link have %u bytes",
                          c->max_payload_bytes, record);
    return 0;
}

static int check_config(const wrk_channel_t *ch)
{
    const shm_config_t *c = &ch->config;
    if (c->overflow == SHM_OVERFLOW_WAIT)
        return rt_err_set(-EINVAL,
                          "overflow is \"wait\": the latest values wait for no reader, use "
                          "\"oldest\" with engine netflux");
    if (c->late == SHM_LATE_DROP)
        return rt_err_set(-EINVAL, "late is \"drop\": the latest values are sent however late "
                                   "sent, use \"send\" with engine netflux");
    if (c->txtime == SHM_TXTIME_REQUIRE)
        return rt_err_set(-EINVAL,
                          "txtime is \"require\": a queued datagram would carry old values "
                          "and feedback, use \"off\" with engine netflux");
    return check_engine_config(ch);
}

static int take_remote(wrk_channel_t *ch)
{
    netflux_agent_t *a = netflux_agent_of(ch);
    udp_addr_t remote;
    agent_addr_in(&remote, &ch->config.remote);
    netflux_agent_set_remote(a, &remote);
    agent_addr_in(&a->local, &a->state.local);
    if (memcmp(&a->state.remote, &ch->config.remote, sizeof a->state.remote) == 0)
        return 0;
    return netflux_agent_aim(ch, &a->state.remote);
}

static void close_parts(wrk_channel_t *ch)
{
    netflux_agent_t *a = netflux_agent_of(ch);
    wrk_unwatch(ch, &a->socket);
    agent_socket_close(&a->udp, a->phc);
}

static int open_parts(wrk_channel_t *ch, int64_t now_mono_ns)
{
    netflux_agent_t *a = netflux_agent_of(ch);
    a->path = (agent_path_t){.udp = &a->udp, .deliver = netflux_agent_arrived};
    a->socket = (wrk_source_t){.on_event = on_socket, .fd = -1};
    netflux_agent_rx_open(ch);
    int rc = agent_path_open(ch, &a->path);
    rc = rc ? rc : netflux_agent_session_open(ch, now_mono_ns);
    rc = rc ? rc : take_remote(ch);
    if (rc == 0)
        netflux_agent_tx_open(ch, now_mono_ns);
    rc = rc ? rc : wrk_watch(ch, &a->socket, a->udp.fd, 0);
    if (rc < 0)
        close_parts(ch);
    /* otherwise the numbers tell */
    a->udp.rx_position = a->path.rx != NULL ? &a->path.rx_taken : NULL;
    return rc;
}

static int open_channel(wrk_channel_t *ch, int64_t now_mono_ns)
{
    netflux_agent_t *a = netflux_agent_of(ch);
    int rc = check_config(ch);
    if (rc < 0)
        return rc;
    memcpy(&a->config, ch->config.engine_config, sizeof a->config);
    a->engine = ch->segment.engine;
    a->sends = ch->config.direction & SHM_TX;
    a->receives = ch->config.direction & SHM_RX;
    rc = agent_socket_open(ch, wrk_take_socket(ch), true, &a->udp, &a->phc);
    rc = rc ? rc : open_parts(ch, now_mono_ns);
    if (rc < 0)
        return rc;
    wrk_kernel_drops_resume(ch, udp_drops_refresh(&a->udp), now_mono_ns);
    agent_socket_facts(ch, &a->udp);
    shm_netflux_state_put(a->engine, &a->state);
    watch_input(ch);
    if (a->udp.rx_left)
        netflux_agent_receive(ch, now_mono_ns);
    return 0;
}

static void close_channel(wrk_channel_t *ch)
{
    netflux_agent_t *a = netflux_agent_of(ch);
    agent_give_up_stamps(ch, &a->ledger);
    agent_path_counters(ch, &a->path);
    close_parts(ch);
}

/* --- hold, duties --------------------------------------------------------------------------- */

static void hold(wrk_channel_t *ch)
{
    netflux_agent_t *a = netflux_agent_of(ch);
    nfx_session_stop_sending(&a->session);
    nfx_session_stop_receiving(&a->session);
    watch_input(ch);
}

static void release(wrk_channel_t *ch, int64_t now_mono_ns)
{
    netflux_agent_t *a = netflux_agent_of(ch);
    ch->tx_paused = a->has_values || !a->sends;
    netflux_agent_resume(ch, now_mono_ns);
    watch_input(ch);
}

static int purge(wrk_channel_t *ch, unsigned max, int64_t now_mono_ns)
{
    (void)max;
    agent_path_clear(ch, &netflux_agent_of(ch)->path);
    return agent_fail_strays(ch, now_mono_ns) < AGENT_STRAYS;
}

static void reset(wrk_channel_t *ch)
{
    netflux_agent_t *a = netflux_agent_of(ch);
    wrk_kernel_drops_reset(ch, udp_drops_refresh(&a->udp));
    agent_path_reset(&a->path);
    nfx_stats_reset(a->session.stats);
}

static void refresh(wrk_channel_t *ch, int64_t now_mono_ns)
{
    netflux_agent_t *a = netflux_agent_of(ch);
    (void)agent_fail_strays(ch, now_mono_ns);
    wrk_kernel_drops(ch, udp_drops_refresh(&a->udp), now_mono_ns);
    agent_path_counters(ch, &a->path);
}

/* No client is left to renew the values. */
static void send_final(wrk_channel_t *ch, int64_t now_mono_ns)
{
    netflux_agent_t *a = netflux_agent_of(ch);
    if (a->state.settings.on_stale != SHM_NETFLUX_FAILSAFE)
        return;
    netflux_agent_check_values(ch, now_mono_ns);
    nfx_session_last(&a->session, now_mono_ns);
    netflux_agent_send_due(ch, now_mono_ns);
}

static const agent_ops_t NETFLUX_AGENT = {
    .engine = SHM_NETFLUX_ENGINE,
    .state_bytes = sizeof(netflux_agent_t),
    .open = open_channel,
    .close = close_channel,
    .do_work = do_work,
    .on_deadline = on_deadline,
    .deadline_ns = deadline_ns,
    .hold = hold,
    .release = release,
    .purge = purge,
    .reset = reset,
    .request = netflux_agent_request,
    .producer_gone = netflux_agent_producer_gone,
    .refresh = refresh,
    .send_final = send_final,
};
AGENT_REGISTER(NETFLUX_AGENT)
