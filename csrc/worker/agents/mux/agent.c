#include "worker/agents/mux/mux.h"

#include "base/rt_err.h"
#include "shm/shm_engine.h"
#include "worker/agents/common/parked_sockets.h"
#include "worker/agents/common/socket.h"

#include <errno.h>
#include <string.h>

#define FIRST_SEND_COST_NS 2000

static uint32_t ports_of(const shm_config_t *config)
{
    mux_config_t c;
    memcpy(&c, config->engine_config, sizeof c);
    return c.ports;
}

/* --- events -------------------------------------------------------------------------------- */

static void on_deadline(wrk_channel_t *ch, int64_t now_mono_ns)
{
    mux_agent_rx_retry(ch, now_mono_ns);
}

static int64_t deadline_ns(const wrk_channel_t *ch)
{
    const mux_agent_t *m = mux_agent_of(ch);
    return m->stop.now && !ch->held ? m->stop.retry_mono_ns : RT_NEVER_NS;
}

/* --- open ---------------------------------------------------------------------------------- */

static int check_config(const wrk_channel_t *ch)
{
    uint32_t ports = ports_of(&ch->config);
    if (ports == 0 || ports > MUX_MAX_PORTS)
        return rt_err_set(-EINVAL, "engine mux is given %u ports; it takes 1 to %u", ports,
                          MUX_MAX_PORTS);
    if (ch->config.direction != SHM_DUPLEX)
        return rt_err_set(-EINVAL, "engine mux needs direction duplex");
    return shm_engine_check(&ch->config);
}

static int make_tables(wrk_channel_t *ch)
{
    mux_agent_t *m = mux_agent_of(ch);
    uint8_t *shared = ch->segment.engine;
    m->port_count = ports_of(&ch->config);
    m->facts = mux_facts(shared);
    m->drained = mux_drained(shared);
    m->table = mux_ports(shared, m->port_count);
    m->gro = agent_udp_config(ch, NULL).want_gro;
    m->send_cost_ns = FIRST_SEND_COST_NS;
    m->input = (wrk_source_t){.on_event = mux_agent_on_input, .fd = -1};
    mux_agent_rx_open(ch);
    m->sockets = wrk_take_memory(ch, m->port_count * sizeof(mux_socket_t *));
    if (m->sockets == NULL)
        return -ENOMEM;
    return wrk_count_memory(ch, m->port_count * sizeof(mux_socket_t)); /* while they are open */
}

static void close_channel(wrk_channel_t *ch)
{
    mux_agent_t *m = mux_agent_of(ch);
    wrk_unwatch(ch, &m->input);
    agent_park_close(m->park);
    m->park = -1;
    mux_agent_close_ports(ch);
    poller_close(&m->poller);
}

static int open_channel(wrk_channel_t *ch, int64_t now_mono_ns)
{
    (void)now_mono_ns;
    mux_agent_t *m = mux_agent_of(ch);
    if (ch->socket_fd >= 0 && !agent_is_park(ch->socket_fd))
        return rt_err_set(-EINVAL, "engine mux opens its sockets itself: do not pass one");
    int rc = check_config(ch);
    rc = rc ? rc : make_tables(ch);
    if (rc < 0)
        return rc;
    int park = wrk_take_socket(ch);
    m->park = park >= 0 ? park : agent_park_open();
    rc = poller_open(&m->poller);
    rc = rc ? rc : wrk_watch(ch, &m->input, m->poller.epoll_fd, 0);
    rc = rc ? rc : mux_agent_reopen(ch);
    if (rc < 0) {
        close_channel(ch);
        return rc;
    }
    ch->socket_fd = m->park >= 0 ? m->park : -1;
    rt_store_relaxed(&ch->segment.status->rx_stamp, ch->config.rx_stamp);
    mux_agent_watch_input(ch);
    mux_agent_take_left(ch);
    return 0;
}

/* --- hold, duties -------------------------------------------------------------------------- */

static void hold(wrk_channel_t *ch)
{
    mux_agent_watch_input(ch);
}

static void release(wrk_channel_t *ch, int64_t now_mono_ns)
{
    (void)now_mono_ns;
    mux_agent_watch_input(ch);
}

static void refresh(wrk_channel_t *ch, int64_t now_mono_ns)
{
    (void)mux_agent_free_space(ch, now_mono_ns); /* also if the channel is held */
    mux_agent_maintain_ports(ch);
}

static const agent_ops_t MUX_AGENT = {
    .engine = MUX_ENGINE,
    .counts_each = true,
    .state_bytes = sizeof(mux_agent_t),
    .open = open_channel,
    .close = close_channel,
    .do_work = mux_agent_take_in,
    .on_deadline = on_deadline,
    .deadline_ns = deadline_ns,
    .hold = hold,
    .release = release,
    .purge = mux_agent_purge,
    .request = mux_agent_request,
    .refresh = refresh,
};
AGENT_REGISTER(MUX_AGENT)
