#include "worker/agents/common/impaired_path.h"
#include "worker/agents/common/purge.h"
#include "worker/agents/common/socket.h"
#include "worker/agents/proxy/proxy.h"

#include "base/rt_err.h"
#include "shm/shm_engine.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define DRAINED_PER_CALL 64u
#define ENDED_PER_CALL 16u /* flows, for some 5 us each */

/* --- events -------------------------------------------------------------------------------- */

static void on_deadline(wrk_channel_t *ch, int64_t now_mono_ns)
{
    proxy_agent_t *a = proxy_agent_of(ch);
    if (ch->held)
        return;
    if (proxy_paths_deadline_ns(a) <= now_mono_ns)
        proxy_emit(a);
    proxy_flows_expire(a, now_mono_ns);
}

static int64_t deadline_ns(const wrk_channel_t *ch)
{
    const proxy_agent_t *a = proxy_agent_of(ch);
    if (ch->held)
        return RT_NEVER_NS;
    return agent_earlier_ns(proxy_paths_deadline_ns(a), proxy_flows_deadline_ns(a));
}

/* The tx ring is not used: packets in it are dropped. */
static unsigned do_work(wrk_channel_t *ch, int64_t now_mono_ns)
{
    return agent_refuse_strays(ch, DRAINED_PER_CALL, agent_count_unsent, now_mono_ns);
}

static void clear_paths(proxy_agent_t *a)
{
    if (proxy_paths_deadline_ns(a) == RT_NEVER_NS)
        return;
    for (unsigned way = 0; way < SHM_PROXY_WAYS; way++)
        impair_clear(&a->paths[way].im);
    for (uint32_t place = 0; place < a->config.flows; place++)
        a->flows[place].on_paths = 0;
    proxy_show_counters(a);
}

/* What is on the paths is lost, too. The flows of a channel that ends are too many for close. */
static int purge(wrk_channel_t *ch, unsigned max, int64_t now_mono_ns)
{
    proxy_agent_t *a = proxy_agent_of(ch);
    clear_paths(a);
    bool rest = agent_refuse_strays(ch, max, agent_count_unsent, now_mono_ns) == max;
    if (!wrk_is_ending(ch))
        return !rest;
    a->ending = true;
    proxy_watch(a);
    return proxy_flows_end(a, ENDED_PER_CALL) && !rest;
}

/* --- open ---------------------------------------------------------------------------------- */

static int check_channel(const wrk_channel_t *ch, shm_proxy_config_t *c)
{
    memcpy(c, ch->config.engine_config, sizeof *c);
    int rc = shm_proxy_config_check(c);
    rc = rc ? rc : shm_engine_check(&ch->config);
    if (rc < 0)
        return rc;
    if (ch->config.direction != SHM_DUPLEX || ch->config.overflow != SHM_OVERFLOW_OLDEST)
        return rt_err_set(-EINVAL, "engine proxy needs direction duplex and overflow oldest");
    if (ch->config.connect)
        return rt_err_set(-EINVAL, "engine proxy cannot be connected: it has many clients");
    return 0;
}

/* Its own datagrams would be those of new clients, without end. */
static int check_no_loop(const proxy_agent_t *a)
{
    const udp_addr_t *to = &a->flow_config.remote;
    if (!proxy_is_own_address(a, to))
        return 0;
    char text[UDP_ADDR_TEXT_BYTES];
    return rt_err_set(
        -EINVAL,
        "to is %s, where the proxy itself listens: a datagram would go round forever; "
        "give the server's address, or another local port",
        udp_addr_format(to, text));
}

/* What keeps every flow from being opened is an error now. */
static int check_route(const proxy_agent_t *a)
{
    udp_t probe;
    int rc = udp_open(&probe, &a->flow_config);
    if (rc == 0)
        udp_close(&probe);
    if (rc == -EACCES)
        return rt_err_set(-EINVAL, "to is a broadcast address, which sends no replies; give one "
                                   "server's address");
    return rc;
}

static void configure_flows(proxy_agent_t *a)
{
    udp_config_t *u = &a->flow_config;
    *u = agent_udp_config(a->channel, NULL);
    memset(&u->local, 0, sizeof u->local);
    agent_addr_in(&u->remote, &a->config.to);
    u->connected = true;
    u->reuse_addr = u->reuse_port = false;
    u->txtime = UDP_TXTIME_OFF;
    u->group_count = 0;
    u->device[0] = '\0';
    u->rx_position = &a->taken[SHM_PROXY_BACKWARD];
}

static uint64_t counter(const proxy_agent_t *a, shm_proxy_counter_id_t id)
{
    return rt_load_relaxed(&a->state->counters[id]);
}

/* Datagrams of a way that the predecessor received and that ended in no other way. */
static uint64_t lost_on_path(const proxy_agent_t *a, shm_counter_id_t impair,
                             shm_proxy_counter_id_t received, shm_proxy_counter_id_t sent,
                             shm_proxy_counter_id_t refused, uint64_t others)
{
    const rt_a64_t *path = &a->channel->stats->counters[impair];
    uint64_t came =
        counter(a, received) +
        rt_load_relaxed(&path[SHM_COUNT_impair_tx_duplicated - SHM_COUNT_impair_tx_offered]);
    uint64_t ended =
        counter(a, sent) + counter(a, refused) + others +
        rt_load_relaxed(&path[SHM_COUNT_impair_tx_lost - SHM_COUNT_impair_tx_offered]) +
        rt_load_relaxed(&path[SHM_COUNT_impair_tx_burst_lost - SHM_COUNT_impair_tx_offered]) +
        rt_load_relaxed(&path[SHM_COUNT_impair_tx_queue_dropped - SHM_COUNT_impair_tx_offered]);
    int64_t lost = (int64_t)(came - ended);
    return lost > 0 ? (uint64_t)lost : 0; /* clients may have written there */
}

/* Flows and paths ended with the predecessor. */
static void count_lost(proxy_agent_t *a)
{
    wrk_channel_t *ch = a->channel;
    uint64_t forward =
        lost_on_path(a, SHM_COUNT_impair_tx_offered, SHM_PROXY_COUNT_forward_received,
                     SHM_PROXY_COUNT_forward_sent, SHM_PROXY_COUNT_forward_refused,
                     counter(a, SHM_PROXY_COUNT_forward_no_flow) +
                         counter(a, SHM_PROXY_COUNT_forward_lost_takeover));
    uint64_t backward =
        lost_on_path(a, SHM_COUNT_impair_rx_offered, SHM_PROXY_COUNT_backward_received,
                     SHM_PROXY_COUNT_backward_sent, SHM_PROXY_COUNT_backward_refused,
                     counter(a, SHM_PROXY_COUNT_backward_lost_takeover));
    proxy_count(a, SHM_PROXY_COUNT_forward_lost_takeover, forward);
    proxy_count(a, SHM_PROXY_COUNT_backward_lost_takeover, backward);
    proxy_count(a, SHM_PROXY_COUNT_flows_lost,
                rt_load_relaxed(&a->state->gauges[SHM_PROXY_GAUGE_flows]));
    uint64_t unread =
        udp_rx_pool_lost(wrk_rx_pool(ch), ch->segment.segment_id, a->taken[SHM_PROXY_BACKWARD]);
    wrk_lost_with_predecessor(ch, forward + backward + unread);
}

static void take_over(proxy_agent_t *a)
{
    for (unsigned way = 0; way < SHM_PROXY_WAYS; way++)
        a->taken[way] = rt_load_relaxed(&a->state->taken[way]);
    a->flow_drops = rt_load_relaxed(&a->state->flow_drops);
    agent_path_resume(a->channel, &a->paths[SHM_PROXY_FORWARD].base, SHM_COUNT_impair_tx_offered);
    agent_path_resume(a->channel, &a->paths[SHM_PROXY_BACKWARD].base, SHM_COUNT_impair_rx_offered);
    count_lost(a);
    rt_store_relaxed(&a->state->gauges[SHM_PROXY_GAUGE_flows], 0);
}

static int start(proxy_agent_t *a, bool takeover)
{
    wrk_channel_t *ch = a->channel;
    configure_flows(a);
    int rc = check_no_loop(a);
    if (rc == 0 && !takeover)
        rc = check_route(a);
    rc = rc ? rc : proxy_paths_open(a, takeover);
    rc = rc ? rc : proxy_flows_open(a);
    rc = rc ? rc : wrk_watch(ch, &a->input, a->poller.epoll_fd, 0);
    rc = rc ? rc : wrk_watch(ch, &a->socket, a->listener.fd, 0);
    if (rc < 0)
        return rc;
    if (takeover)
        take_over(a);
    a->listener.rx_position = &a->taken[SHM_PROXY_FORWARD];
    proxy_show_counters(a);
    proxy_watch(a);
    return 0;
}

static void close_channel(wrk_channel_t *ch)
{
    proxy_agent_t *a = proxy_agent_of(ch);
    wrk_unwatch(ch, &a->socket);
    wrk_unwatch(ch, &a->input);
    proxy_flows_close(a);
    poller_close(&a->poller);
    agent_socket_close(&a->listener, a->phc);
}

static int open_channel(wrk_channel_t *ch, int64_t now_mono_ns)
{
    proxy_agent_t *a = proxy_agent_of(ch);
    a->channel = ch;
    int rc = check_channel(ch, &a->config);
    if (rc < 0)
        return rc;
    a->state = (shm_proxy_state_t *)(void *)ch->segment.engine;
    a->socket = (wrk_source_t){.on_event = proxy_on_listener, .fd = -1};
    a->input = (wrk_source_t){.on_event = proxy_on_flows, .fd = -1};
    a->poller.epoll_fd = -1;
    rc = agent_socket_open(ch, wrk_take_socket(ch), true, &a->listener, &a->phc);
    if (rc < 0)
        return rc;
    rc = start(a, rt_load_relaxed(&ch->segment.status->epoch) != 0);
    if (rc < 0) {
        close_channel(ch);
        return rc;
    }
    wrk_kernel_drops_resume(ch, udp_drops_refresh(&a->listener) + a->flow_drops, now_mono_ns);
    agent_socket_facts(ch, &a->listener);
    if (a->listener.rx_left)
        proxy_on_listener(&a->socket, EPOLLIN, now_mono_ns);
    return 0;
}

/* --- hold, duties -------------------------------------------------------------------------- */

static void hold(wrk_channel_t *ch)
{
    proxy_watch(proxy_agent_of(ch));
}

/* Datagrams that came meanwhile have not been read yet. */
static void release(wrk_channel_t *ch, int64_t now_mono_ns)
{
    proxy_agent_t *a = proxy_agent_of(ch);
    a->expire_from_ns = now_mono_ns + a->config.idle_ns;
    proxy_watch(a);
    if (a->listener.rx_left)
        proxy_on_listener(&a->socket, EPOLLIN, now_mono_ns);
}

/* What is on the paths counts as received since. */
static void reset(wrk_channel_t *ch)
{
    proxy_agent_t *a = proxy_agent_of(ch);
    (void)udp_drops_refresh(&a->listener);
    wrk_kernel_drops_reset(ch, proxy_kernel_drops(a));
    for (unsigned i = 0; i < SHM_PROXY_COUNTER_TOTAL; i++)
        rt_store_relaxed(&a->state->counters[i], 0);
    for (unsigned way = 0; way < SHM_PROXY_WAYS; way++)
        a->paths[way].base = a->paths[way].im.counters;
    proxy_count(a, SHM_PROXY_COUNT_forward_received,
                impair_queued(&a->paths[SHM_PROXY_FORWARD].im));
    proxy_count(a, SHM_PROXY_COUNT_backward_received,
                impair_queued(&a->paths[SHM_PROXY_BACKWARD].im));
}

static void refresh(wrk_channel_t *ch, int64_t now_mono_ns)
{
    proxy_agent_t *a = proxy_agent_of(ch);
    (void)do_work(ch, now_mono_ns);
    proxy_paths_settle(a);
    (void)udp_drops_refresh(&a->listener);
    wrk_kernel_drops(ch, proxy_kernel_drops(a), now_mono_ns);
    proxy_show_counters(a);
}

static const agent_ops_t PROXY_AGENT = {
    .engine = SHM_PROXY_ENGINE,
    .room_bytes = UINT64_C(64) << 20, /* for longer paths (proxy_request) */
    .state_bytes = sizeof(proxy_agent_t),
    .open = open_channel,
    .close = close_channel,
    .do_work = do_work,
    .on_deadline = on_deadline,
    .deadline_ns = deadline_ns,
    .hold = hold,
    .release = release,
    .purge = purge,
    .reset = reset,
    .request = proxy_request,
    .refresh = refresh,
};
AGENT_REGISTER(PROXY_AGENT)
