#include "worker/agents/udp_agent.h"

#include "base/rt_err.h"
#include "io/udp_route.h"
#include "worker/card_clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define FIRST_SEND_COST_NS 2000

static size_t state_bytes(const shm_config_t *config)
{
    (void)config;
    return sizeof(udp_agent_t);
}

/* --- events -------------------------------------------------------------------------------- */

/* An ICMP answer to an earlier packet: as long as nobody asks for it the socket stays "ready". */
static void take_error_away(const udp_agent_t *a)
{
    int error = 0;
    socklen_t bytes = sizeof error;
    (void)getsockopt(a->udp.fd, SOL_SOCKET, SO_ERROR, &error, &bytes);
}

static void on_socket(wrk_source_t *source, uint32_t events, int64_t now_mono_ns)
{
    wrk_channel_t *ch = source->channel;
    udp_agent_t *a = udp_agent_of(ch);
    if (events & EPOLLERR) {
        udp_agent_collect_stamps(ch, now_mono_ns);
        take_error_away(a);
    }
    if (events & EPOLLOUT)
        udp_agent_unblock(ch, now_mono_ns);
    if (events & (EPOLLIN | EPOLLERR))
        udp_agent_receive(ch, now_mono_ns);
}

static void on_deadline(wrk_channel_t *ch, int64_t now_mono_ns)
{
    udp_agent_t *a = udp_agent_of(ch);
    if (a->blocked && now_mono_ns >= a->retry_mono_ns)
        udp_agent_unblock(ch, now_mono_ns);
    udp_agent_send_due(ch, now_mono_ns);
    udp_agent_link_emit(ch, now_mono_ns);
    udp_agent_rx_retry(ch, now_mono_ns);
    if (udp_agent_stamp_deadline_ns(ch) <= now_mono_ns)
        udp_agent_collect_stamps(ch, now_mono_ns);
}

static int64_t deadline_ns(const wrk_channel_t *ch)
{
    const udp_agent_t *a = udp_agent_of(ch);
    int64_t at = udp_agent_tx_deadline_ns(ch);
    int64_t link = udp_agent_link_deadline_ns(ch);
    int64_t stamp = udp_agent_stamp_deadline_ns(ch);
    int64_t retry = a->rx_stopped && !a->held ? a->rx_retry_mono_ns : RT_NEVER_NS;
    at = link < at ? link : at;
    at = stamp < at ? stamp : at;
    return retry < at ? retry : at;
}

/* --- open ---------------------------------------------------------------------------------- */

/* The interface whose card could stamp: the one the channel is bound to, else the way to its
 * remote. */
static const phc_t *find_card(wrk_channel_t *ch)
{
    const shm_config_t *c = &ch->config;
    if (c->rx_stamp != SHM_STAMP_HARDWARE && c->tx_stamp != SHM_STAMP_HARDWARE)
        return NULL;
    if (c->device[0] != '\0')
        return card_clock_get(ch, c->device);
    udp_addr_t remote, local;
    udp_agent_addr_in(&remote, &c->remote);
    udp_agent_addr_in(&local, &c->local);
    udp_route_t route;
    if (!udp_addr_is_set(&remote) || udp_route_find(&route, &remote, &local, 0) < 0)
        return NULL;
    return card_clock_get(ch, route.device);
}

static uint64_t most_packets(const shm_config_t *c)
{
    uint64_t by_bytes = c->tx_bytes / sizeof(shm_tx_record_t);
    uint64_t most = c->tx_capacity != 0 && c->tx_capacity < by_bytes ? c->tx_capacity : by_bytes;
    return 2 * most; /* a moved record leaves its old entry behind until it comes due */
}

static int open_socket(wrk_channel_t *ch, int socket_fd)
{
    udp_agent_t *a = udp_agent_of(ch);
    a->phc = find_card(ch);
    udp_config_t config = udp_agent_config(ch, a->phc);
    int rc = socket_fd >= 0 ? udp_adopt(&a->udp, socket_fd, &config) : udp_open(&a->udp, &config);
    if (rc < 0 && a->phc != NULL)
        card_clock_put(a->phc);
    return rc;
}

static void close_socket(wrk_channel_t *ch)
{
    udp_agent_t *a = udp_agent_of(ch);
    wrk_unwatch(ch, &a->socket);
    udp_close(&a->udp);
    if (a->phc != NULL)
        card_clock_put(a->phc);
}

static uint32_t tx_stamp_kind(unsigned wanted, udp_stamp_t got)
{
    return wanted == SHM_STAMP_NONE ? SHM_STAMP_NONE : (uint32_t)got + SHM_STAMP_USER;
}

static void publish_facts(wrk_channel_t *ch)
{
    const udp_effective_t *e = &udp_agent_of(ch)->udp.eff;
    shm_status_t *s = ch->segment.status;
    rt_store_relaxed(&s->socket_fd, (uint32_t)udp_agent_of(ch)->udp.fd);
    rt_store_relaxed(&s->rcvbuf_bytes, e->rcvbuf_bytes);
    rt_store_relaxed(&s->sndbuf_bytes, e->sndbuf_bytes);
    rt_store_relaxed(&s->gso, e->gso);
    rt_store_relaxed(&s->gro, e->gro);
    rt_store_relaxed(&s->txtime, e->txtime);
    rt_store_relaxed(&s->rx_stamp, (uint32_t)e->rx_stamp + SHM_STAMP_USER);
    rt_store_relaxed(&s->tx_stamp, tx_stamp_kind(ch->config.tx_stamp, e->tx_stamp));
    udp_agent_addr_out(&s->bound, &e->local);
    (void)snprintf(s->txtime_reason, sizeof s->txtime_reason, "%.*s",
                   (int)sizeof s->txtime_reason - 1, e->txtime_reason);
    (void)snprintf(s->interface, sizeof s->interface, "%s", e->egress_device);
    (void)snprintf(s->qdisc, sizeof s->qdisc, "%s", e->qdisc);
}

static int start(wrk_channel_t *ch, int64_t now_mono_ns)
{
    udp_agent_t *a = udp_agent_of(ch);
    int rc = wire_offset_init(&a->wire, 0);
    rc = rc ? rc : due_heap_init(&a->schedule, most_packets(&ch->config), NULL);
    rc = rc ? rc : udp_agent_link_open(ch);
    if (rc < 0)
        return rc;
    a->refused_ref = UINT64_MAX;
    a->send_cost_ns = FIRST_SEND_COST_NS;
    a->unstamped = UINT16_MAX; /* the first packet is stamped, however few are */
    a->stamp_tokens_at_mono_ns = now_mono_ns;
    a->drops_base = udp_drops_refresh(&a->udp);
    if (ch->config.connect)
        udp_agent_addr_in(&a->only_from, &ch->config.remote);
    if (udp_addr_is_multicast(&a->only_from))
        memset(&a->only_from, 0, sizeof a->only_from);
    a->socket = (wrk_source_t){.on_event = on_socket, .fd = -1};
    rc = wrk_watch(ch, &a->socket, a->udp.fd, 0);
    if (rc == 0)
        udp_agent_watch_input(ch);
    return rc;
}

static int open_channel(wrk_channel_t *ch, int socket_fd, bool held, int64_t now_mono_ns)
{
    udp_agent_t *a = udp_agent_of(ch);
    a->held = held;
    a->sends = ch->config.direction & SHM_TX;
    a->receives = ch->config.direction & SHM_RX;
    int rc = open_socket(ch, socket_fd);
    if (rc < 0)
        return rc;
    rc = start(ch, now_mono_ns);
    if (rc < 0) {
        due_heap_close(&a->schedule);
        udp_agent_link_close(ch);
        close_socket(ch);
        return rc;
    }
    publish_facts(ch);
    return 0;
}

static void close_channel(wrk_channel_t *ch)
{
    udp_agent_t *a = udp_agent_of(ch);
    udp_agent_give_up_stamps(ch);
    udp_agent_link_counters(ch);
    close_socket(ch);
    due_heap_close(&a->schedule);
    udp_agent_link_close(ch);
}

static int socket_of(const wrk_channel_t *ch)
{
    return udp_agent_of(ch)->udp.fd;
}

/* --- hold, duties -------------------------------------------------------------------------- */

static void hold(wrk_channel_t *ch)
{
    udp_agent_of(ch)->held = true;
    udp_agent_watch_input(ch);
}

static void release(wrk_channel_t *ch, int64_t now_mono_ns)
{
    (void)now_mono_ns;
    udp_agent_t *a = udp_agent_of(ch);
    a->held = false;
    ch->tx_paused = a->blocked;
    udp_agent_watch_input(ch);
}

static void reset(wrk_channel_t *ch)
{
    udp_agent_t *a = udp_agent_of(ch);
    a->drops_base = udp_drops_refresh(&a->udp);
    udp_agent_link_reset(ch);
}

static void refresh(wrk_channel_t *ch, int64_t now_mono_ns)
{
    udp_agent_t *a = udp_agent_of(ch);
    rt_store_relaxed(&ch->stats->scheduled, due_heap_count(&a->schedule));
    (void)udp_agent_free_space(ch, now_mono_ns); /* of a held channel, too */
    if (a->receives)
        rt_store_relaxed(&ch->stats->counters[SHM_COUNT_rx_kernel_drops],
                         udp_drops_refresh(&a->udp) - a->drops_base);
    udp_agent_link_counters(ch);
}

static const agent_ops_t UDP_AGENT = {
    .engine = "udp",
    .state_bytes = state_bytes,
    .open = open_channel,
    .close = close_channel,
    .socket_fd = socket_of,
    .do_work = udp_agent_take_in,
    .on_deadline = on_deadline,
    .deadline_ns = deadline_ns,
    .hold = hold,
    .release = release,
    .purge = udp_agent_purge,
    .reset = reset,
    .refresh = refresh,
};
AGENT_REGISTER(UDP_AGENT)
