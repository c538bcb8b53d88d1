#include "worker/agents/common/socket.h"

#include "io/udp_route.h"
#include "worker/card_clock.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

void agent_addr_in(udp_addr_t *out, const shm_addr_t *in)
{
    memset(out, 0, sizeof *out);
    if (in->family == 4) {
        out->v4.sin_family = AF_INET;
        out->v4.sin_port = htons(in->port);
        memcpy(&out->v4.sin_addr, in->ip, 4);
    } else if (in->family == 6) {
        out->v6.sin6_family = AF_INET6;
        out->v6.sin6_port = htons(in->port);
        out->v6.sin6_scope_id = in->scope;
        memcpy(&out->v6.sin6_addr, in->ip, 16);
    }
}

void agent_addr_out(shm_addr_t *out, const udp_addr_t *in)
{
    *out = (shm_addr_t){.family = 0};
    if (in->sa.sa_family == AF_INET) {
        out->family = 4;
        out->port = ntohs(in->v4.sin_port);
        memcpy(out->ip, &in->v4.sin_addr, 4);
    } else if (in->sa.sa_family == AF_INET6) {
        out->family = 6;
        out->port = ntohs(in->v6.sin6_port);
        out->scope = in->v6.sin6_scope_id;
        memcpy(out->ip, &in->v6.sin6_addr, 16);
    }
}

static udp_rx_stamps_t rx_stamps(unsigned wanted)
{
    if (wanted == SHM_STAMP_HARDWARE)
        return UDP_RX_STAMPS_HARDWARE;
    return wanted == SHM_STAMP_KERNEL ? UDP_RX_STAMPS_KERNEL : UDP_RX_STAMPS_OFF;
}

static void copy_groups(udp_config_t *u, const shm_config_t *c)
{
    for (unsigned i = 0; i < SHM_MAX_GROUPS && c->groups[i].group.family != 0; i++) {
        agent_addr_in(&u->groups[i].group, &c->groups[i].group);
        u->groups[i].ifindex = c->groups[i].interface;
        u->group_count++;
    }
}

/* With overflow="wait" a GRO batch is read only if there is room for the longest possible one. A
 * ring that holds few of those would have to be empty before each. */
static bool batches_fit(const shm_config_t *c)
{
    const uint64_t least = 4;
    uint64_t batch = UDP_GRO_BYTES + UDP_GRO_DATAGRAMS * (sizeof(shm_rx_record_t) +
                                                          2 * sizeof(shm_addr_t) + SHM_UNIT_BYTES);
    return c->overflow != SHM_OVERFLOW_WAIT ||
           (c->rx_bytes >= least * batch + 2 * c->max_payload_bytes &&
            (c->rx_capacity == 0 || c->rx_capacity >= least * UDP_GRO_DATAGRAMS));
}

udp_config_t agent_udp_config(wrk_channel_t *ch, const phc_t *phc)
{
    const shm_config_t *c = &ch->config;
    udp_config_t u = udp_config_default();
    agent_addr_in(&u.local, &c->local);
    agent_addr_in(&u.remote, &c->remote);
    /* A socket connected to a group receives nothing: no datagram comes from a group's address. */
    u.connected = c->connect && !udp_addr_is_multicast(&u.remote);
    u.sends_only = c->direction == SHM_TX;
    u.reuse_addr = u.reuse_port = c->reuse;
    u.broadcast = c->broadcast;
    u.v6only = c->v6only;
    u.dont_fragment = c->dont_fragment;
    u.mcast_loop = c->multicast_loop;
    u.want_gso = c->gso && (c->direction & SHM_TX);
    u.want_gro = c->gro && (c->direction & SHM_RX) && batches_fit(c);
    u.want_tos = u.want_local = c->direction & SHM_RX;
    u.tx_stamps = c->tx_stamp >= SHM_STAMP_KERNEL && (c->direction & SHM_TX);
    u.rx_stamps = c->direction & SHM_RX ? rx_stamps(c->rx_stamp) : UDP_RX_STAMPS_OFF;
    u.txtime = (udp_txtime_mode_t)(c->direction & SHM_TX ? c->txtime : SHM_TXTIME_OFF);
    u.clock = (rt_clock_id_t)c->clock;
    u.ttl = c->ttl;
    u.mcast_ttl = c->multicast_ttl;
    u.dscp = c->dscp;
    u.so_priority = c->so_priority;
    u.rcvbuf_bytes = c->rcvbuf_bytes;
    u.sndbuf_bytes = c->sndbuf_bytes;
    u.mcast_ifindex = c->multicast_interface;
    copy_groups(&u, c);
    memcpy(u.device, c->device, sizeof u.device);
    u.rx_pool = wrk_rx_pool(ch);
    u.rx_channel = ch->segment.segment_id;
    u.rx_counted = &ch->stats->counters[SHM_COUNT_rx_received];
    u.clock_map = wrk_clock_map(ch);
    u.phc = phc;
    return u;
}

/* --- open ---------------------------------------------------------------------------------- */

/* The interface whose card could take timestamps: the one that the channel is bound to, otherwise
 * the one on the route to its remote. */
static const phc_t *find_card(wrk_channel_t *ch)
{
    const shm_config_t *c = &ch->config;
    if (c->rx_stamp != SHM_STAMP_HARDWARE && c->tx_stamp != SHM_STAMP_HARDWARE)
        return NULL;
    if (c->device[0] != '\0')
        return card_clock_get(ch, c->device);
    udp_addr_t remote, local;
    agent_addr_in(&remote, &c->remote);
    agent_addr_in(&local, &c->local);
    udp_route_t route;
    if (!udp_addr_is_set(&remote) || udp_route_find(&route, &remote, &local, 0) < 0)
        return NULL;
    return card_clock_get(ch, route.device);
}

int agent_socket_open(wrk_channel_t *ch, int socket_fd, bool both_ways, udp_t *udp,
                      const phc_t **phc)
{
    *phc = find_card(ch);
    udp_config_t config = agent_udp_config(ch, *phc);
    if (both_ways) {
        config.sends_only = false;
        config.want_local = true;
    }
    int rc = socket_fd >= 0 ? udp_adopt(udp, socket_fd, &config) : udp_open(udp, &config);
    if (rc < 0 && *phc != NULL)
        card_clock_put(*phc);
    if (rc == 0 && socket_fd < 0 && !config.sends_only)
        wrk_socket_reopened(ch, udp_addr_port(&udp->eff.local));
    return rc;
}

void agent_socket_close(udp_t *udp, const phc_t *phc)
{
    udp_close(udp);
    if (phc != NULL)
        card_clock_put(phc);
}

static uint32_t tx_stamp_kind(unsigned wanted, udp_stamp_t got)
{
    return wanted == SHM_STAMP_NONE ? SHM_STAMP_NONE : (uint32_t)got + SHM_STAMP_USER;
}

void agent_socket_facts(wrk_channel_t *ch, const udp_t *udp)
{
    const udp_effective_t *e = &udp->eff;
    shm_status_t *s = ch->segment.status;
    ch->socket_fd = udp->fd;
    rt_store_relaxed(&s->socket_fd, (uint32_t)udp->fd);
    rt_store_relaxed(&s->rcvbuf_bytes, e->rcvbuf_bytes);
    rt_store_relaxed(&s->sndbuf_bytes, e->sndbuf_bytes);
    rt_store_relaxed(&s->gso, e->gso);
    rt_store_relaxed(&s->gro, e->gro);
    rt_store_relaxed(&s->txtime, e->txtime);
    rt_store_relaxed(&s->rx_stamp, (uint32_t)e->rx_stamp + SHM_STAMP_USER);
    rt_store_relaxed(&s->tx_stamp, tx_stamp_kind(ch->config.tx_stamp, e->tx_stamp));
    agent_addr_out(&s->bound, &e->local);
    (void)snprintf(s->txtime_reason, sizeof s->txtime_reason, "%.*s",
                   (int)sizeof s->txtime_reason - 1, e->txtime_reason);
    (void)snprintf(s->interface, sizeof s->interface, "%s", e->egress_device);
    (void)snprintf(s->qdisc, sizeof s->qdisc, "%s", e->qdisc);
}

void agent_socket_take_error(const udp_t *udp)
{
    int error = 0;
    socklen_t bytes = sizeof error;
    (void)getsockopt(udp->fd, SOL_SOCKET, SO_ERROR, &error, &bytes);
}

void agent_rx_item(rx_item_t *item, const udp_rx_t *in)
{
    *item = (rx_item_t){
        .payload = in->data,
        .payload_bytes = in->len,
        .time_ns = in->time_ns,
        .stamp = (uint8_t)(in->stamp + SHM_STAMP_USER - UDP_STAMP_USER),
        .flags = (uint8_t)((in->shared_stamp ? SHM_RX_SHARED_STAMP : 0) |
                           (in->truncated ? SHM_RX_TRUNCATED : 0)),
        .tos = in->tos,
    };
    agent_addr_out(&item->source, &in->source);
    if (in->local != NULL)
        agent_addr_out(&item->local, in->local);
}
