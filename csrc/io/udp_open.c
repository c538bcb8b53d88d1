#include "io/udp_private.h"

#include "base/rt_caps.h"
#include "base/rt_err.h"
#include "io/udp_txtime.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <unistd.h>

udp_config_t udp_config_default(void)
{
    udp_config_t cfg;
    memset(&cfg, 0, sizeof cfg);
    cfg.ttl = cfg.mcast_ttl = cfg.dscp = cfg.so_priority = -1;
    cfg.mcast_loop = true;
    return cfg;
}

/* ---- addresses -------------------------------------------------------------------------- */

static int unprivileged_port_start(void)
{
    int port = 1024;
    FILE *f = fopen("/proc/sys/net/ipv4/ip_unprivileged_port_start", "re");
    if (f != NULL) {
        if (fscanf(f, "%d", &port) != 1)
            port = 1024;
        fclose(f);
    }
    return port;
}

static int no_free_port(const char *local)
{
    int first = 0, last = 0;
    FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
    if (f != NULL) {
        if (fscanf(f, "%d %d", &first, &last) != 2)
            first = last = 0;
        fclose(f);
    }
    return rt_err_set(-EADDRINUSE,
                      "bind %s: every port that the kernel may choose is in use (%d to %d, "
                      "net.ipv4.ip_local_port_range); close sockets, name a port, or widen the "
                      "range",
                      local, first, last);
}

static int bind_error(const udp_addr_t *local, int error)
{
    char text[UDP_ADDR_TEXT_BYTES];
    udp_addr_format(local, text);
    switch (error) {
    case EADDRINUSE:
        if (udp_addr_port(local) == 0)
            return no_free_port(text);
        return rt_err_set(-error,
                          "bind %s: address already in use; choose another port or 0 (any "
                          "free one), or open all its sockets with reuse",
                          text);
    case EACCES:
        return rt_err_set(-error,
                          "bind %s: ports below %d need CAP_NET_BIND_SERVICE; give it to the "
                          "worker or choose a higher port",
                          text, unprivileged_port_start());
    case EADDRNOTAVAIL:
        return rt_err_set(-error,
                          "bind %s: no interface of this host has this address; see \"ip "
                          "address\", or bind the wildcard address",
                          text);
    case EINVAL:
        return rt_err_set(-error,
                          "bind %s: invalid; a link-local IPv6 address needs its interface "
                          "(fe80::1%%eth0)",
                          text);
    default:
        return rt_err_set(-error, "bind %s: %s", text, strerror(error));
    }
}

static int bind_local(int fd, const udp_config_t *cfg)
{
    udp_addr_t local =
        udp_addr_is_set(&cfg->local) ? cfg->local : udp_addr_any(udp_config_family(cfg));
    if (bind(fd, &local.sa, udp_addr_len(&local)) == 0)
        return 0;
    return bind_error(&local, errno);
}

static int connect_error(const udp_addr_t *remote, int error)
{
    char text[UDP_ADDR_TEXT_BYTES];
    udp_addr_format(remote, text);
    const char *fix = error == EACCES        ? "; a broadcast address needs broadcast = true"
                      : error == ENETUNREACH ? "; no route from the local address: see \"ip route\""
                      : error == EINVAL      ? "; a link-local IPv6 address needs its interface"
                                             : "";
    return rt_err_set(-error, "connect to %s: %s%s", text, strerror(error), fix);
}

/* A second connect keeps the source address that the first one chose, which may not lead to the new
 * peer. Dissolving the first clears it, but also the port if the kernel chose that (its lock is not
 * set), so it is done only with a port that was requested. */
static void dissolve(int fd, const udp_config_t *cfg)
{
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    if (udp_addr_port(&cfg->local) != 0)
        (void)connect(fd, &none, sizeof none);
}

/* Makes the socket's peer what the configuration says. A socket that outlived its worker is
 * connected already and stays so: not for a moment does it hear others. */
static int connect_peer(int fd, const udp_config_t *cfg)
{
    char text[UDP_ADDR_TEXT_BYTES];
    udp_addr_t peer;
    socklen_t len = sizeof peer;
    bool has_peer = getpeername(fd, &peer.sa, &len) == 0;
    if (cfg->connected && has_peer && udp_addr_equal(&peer, &cfg->remote))
        return 0;
    if (has_peer)
        dissolve(fd, cfg);
    if (!cfg->connected && has_peer && getpeername(fd, &peer.sa, &len) == 0)
        return rt_err_set(-EISCONN,
                          "the socket is connected to %s and its port was chosen by the "
                          "kernel: it cannot be disconnected; open with connected = true",
                          udp_addr_format(&peer, text));
    if (!cfg->connected || connect(fd, &cfg->remote.sa, udp_addr_len(&cfg->remote)) == 0)
        return 0;
    int error = errno;
    if (has_peer)
        (void)connect(fd, &peer.sa, udp_addr_len(&peer));
    return connect_error(&cfg->remote, error);
}

/* A connected socket remembers its route: 1.6 us from the call to the receiver's stamp instead
 * of 2.0 on loopback. With a wildcard local address it would also remember its source address, and
 * continue to use it when the interface has another one. */
static bool worth_connecting(const udp_config_t *cfg)
{
    return cfg->sends_only && udp_addr_is_set(&cfg->remote) && udp_addr_is_set(&cfg->local) &&
           !udp_addr_is_wildcard(&cfg->local) && !udp_addr_is_multicast(&cfg->remote);
}

static int set_peer(udp_t *udp, const udp_config_t *cfg)
{
    udp_config_t peer = *cfg;
    peer.connected = cfg->connected || worth_connecting(cfg);
    int rc = connect_peer(udp->fd, &peer);
    if (rc < 0 && !cfg->connected) {
        peer.connected = false;
        rc = connect_peer(udp->fd, &peer);
    }
    if (rc < 0)
        return rc;
    udp->connected = peer.connected;
    udp->remote = cfg->remote;
    udp->remote_len = peer.connected ? 0 : udp_addr_len(&cfg->remote);
    return 0;
}

static int read_local(udp_t *udp)
{
    socklen_t len = sizeof udp->eff.local;
    memset(&udp->eff.local, 0, sizeof udp->eff.local);
    if (getsockname(udp->fd, &udp->eff.local.sa, &len) < 0)
        return rt_err_set(-errno, "getsockname: %s", strerror(errno));
    return 0;
}

/* ---- the path to the remote ------------------------------------------------------------- */

/* The interface packets to the remote leave by: given, or by the routing table. */
static int find_route(const udp_t *udp, const udp_config_t *cfg, udp_route_t *route)
{
    bool multicast = udp_addr_is_multicast(&cfg->remote);
    uint32_t ifindex = cfg->device[0] != '\0' ? if_nametoindex(cfg->device) : 0;
    if (ifindex == 0 && multicast)
        ifindex = cfg->mcast_ifindex;
    if (ifindex != 0)
        return udp_route_of_interface(route, ifindex);
    if (!udp_addr_is_set(&cfg->remote))
        return -EDESTADDRREQ;
    udp_addr_t source = udp->eff.local;
    if (multicast && cfg->remote.sa.sa_family == AF_INET && cfg->mcast_iface_v4_be != 0)
        source.v4.sin_addr.s_addr = cfg->mcast_iface_v4_be;
    return udp_route_find(route, &cfg->remote, &source, 0);
}

static uint32_t path_mtu(const udp_t *udp, const udp_route_t *route)
{
    bool v6 = udp->eff.local.sa.sa_family == AF_INET6;
    int mtu = !udp->connected ? 0
              : v6            ? udp_get_int(udp->fd, SOL_IPV6, IPV6_MTU, 0)
                              : udp_get_int(udp->fd, SOL_IP, IP_MTU, 0);
    return mtu > 0 ? (uint32_t)mtu : route->mtu;
}

static void set_gso(udp_t *udp, const udp_config_t *cfg)
{
    uint32_t headers =
        udp->eff.local.sa.sa_family == AF_INET6 ? UDP_V6_HEADERS_BYTES : UDP_V4_HEADERS_BYTES;
    udp->gso_segment_max = UDP_MAX_PAYLOAD;
    if (udp->eff.mtu > headers && udp->eff.mtu - headers < UDP_MAX_PAYLOAD)
        udp->gso_segment_max = udp->eff.mtu - headers;
    udp->gso = cfg->want_gso && udp_get_int(udp->fd, SOL_UDP, UDP_SEGMENT, -1) >= 0;
    udp->eff.gso = udp->gso;
}

/* Everything that depends on the destination. */
static int learn_path(udp_t *udp, const udp_config_t *cfg)
{
    udp_effective_t *eff = &udp->eff;
    udp_route_t route = {.ifindex = 0};
    bool known = find_route(udp, cfg, &route) == 0;
    eff->egress_ifindex = route.ifindex;
    memcpy(eff->egress_device, route.device, sizeof eff->egress_device);
    eff->qdisc[0] = '\0';
    if (known && cfg->txtime != UDP_TXTIME_OFF)
        udp_qdisc_kind(route.ifindex, eff->qdisc);
    eff->mtu = path_mtu(udp, &route);
    set_gso(udp, cfg);
    int rc = udp_txtime_enable(udp, cfg, known ? &route : NULL);
    return rc < 0 ? rc : udp_stamps_enable(udp, cfg);
}

/* ---- open, adopt, close ----------------------------------------------------------------- */

static void init(udp_t *udp, int fd, const udp_config_t *cfg)
{
    memset(udp, 0, sizeof *udp);
    udp->fd = fd;
    udp->clock = cfg->clock;
    udp->rx_pool = cfg->rx_pool;
    udp->rx_channel = cfg->rx_channel;
    udp->rx_position = cfg->rx_position;
    udp->rx_counted = cfg->rx_counted;
    udp->clock_map = cfg->clock_map;
    udp->phc = cfg->phc;
    udp->next_stamp_id = 1;
}

/* Behind bind, for a new socket and an old one alike. */
static int finish(udp_t *udp, const udp_config_t *cfg)
{
    int rc = set_peer(udp, cfg);
    rc = rc ? rc : udp_groups_join(udp->fd, cfg);
    rc = rc ? rc : read_local(udp);
    rc = rc ? rc : learn_path(udp, cfg);
    if (rc == 0) {
        if (cfg->want_local)
            udp_options_want_local(udp);
        udp_options_read(udp);
        udp_drops_refresh(udp);
        udp_rx_pool_claim(udp);
    }
    return rc;
}

static int done_or_closed(udp_t *udp, int rc)
{
    if (rc < 0)
        udp_close(udp);
    return rc;
}

static int open_new(udp_t *udp, const udp_config_t *cfg)
{
    init(udp, -1, cfg);
    int rc = udp_config_check(cfg);
    if (rc < 0)
        return rc;
    sa_family_t family = udp_config_family(cfg);
    udp->fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (udp->fd < 0)
        return rt_err_system(errno, family == AF_INET6 ? "socket (IPv6)" : "socket (IPv4)");
    int v6only = cfg->v6only;
    if (family == AF_INET6 &&
        setsockopt(udp->fd, SOL_IPV6, IPV6_V6ONLY, &v6only, sizeof v6only) < 0)
        return done_or_closed(udp, rt_err_set(-errno, "IPV6_V6ONLY: %s", strerror(errno)));
    rc = udp_options_apply(udp->fd, cfg, true);
    rc = rc ? rc : bind_local(udp->fd, cfg);
    rc = rc ? rc : finish(udp, cfg);
    return done_or_closed(udp, rc);
}

int udp_open(udp_t *udp, const udp_config_t *cfg)
{
    uint64_t raised = rt_caps_raise(udp_options_caps(cfg) | RT_CAP(CAP_NET_BIND_SERVICE));
    int rc = open_new(udp, cfg);
    rt_caps_lower(raised);
    return rc;
}

/* Is it a UDP socket of the right family, bound to where the configuration says? */
static int check_adopted(udp_t *udp, const udp_config_t *cfg)
{
    char is[UDP_ADDR_TEXT_BYTES], should[UDP_ADDR_TEXT_BYTES];
    int type = udp_get_int(udp->fd, SOL_SOCKET, SO_TYPE, -1);
    if (type < 0)
        return rt_err_set(-errno, "descriptor %d: %s", udp->fd, strerror(errno));
    int domain = udp_get_int(udp->fd, SOL_SOCKET, SO_DOMAIN, -1);
    if (type != SOCK_DGRAM || udp_get_int(udp->fd, SOL_SOCKET, SO_PROTOCOL, -1) != IPPROTO_UDP)
        return rt_err_set(-EPROTOTYPE, "descriptor %d is not a UDP socket", udp->fd);
    int rc = read_local(udp);
    if (rc < 0)
        return rc;
    if (udp_addr_port(&udp->eff.local) == 0)
        return rt_err_set(-EINVAL, "descriptor %d is not bound; bind it before passing it in",
                          udp->fd);
    bool chosen = udp_addr_port(&cfg->local) != 0;
    if (domain != udp_config_family(cfg) ||
        (chosen && udp_addr_port(&cfg->local) != udp_addr_port(&udp->eff.local)))
        return rt_err_set(-EINVAL, "descriptor %d is bound to %s, not to %s", udp->fd,
                          udp_addr_format(&udp->eff.local, is),
                          udp_addr_format(&cfg->local, should));
    return 0;
}

/* Without capabilities: whoever passed the socket in keeps it, with all that it would get. */
int udp_adopt(udp_t *udp, int fd, const udp_config_t *cfg)
{
    init(udp, fd, cfg);
    udp->adopted = true;
    int rc = udp_config_check(cfg);
    rc = rc ? rc : check_adopted(udp, cfg);
    rc = rc ? rc : udp_options_apply(udp->fd, cfg, false);
    rc = rc ? rc : finish(udp, cfg);
    return done_or_closed(udp, rc);
}

void udp_close(udp_t *udp)
{
    udp_rx_pool_forget(udp->rx_pool, udp);
    if (udp->fd >= 0)
        close(udp->fd);
    udp->fd = -1;
}

int udp_set_remote(udp_t *udp, const udp_config_t *cfg)
{
    int rc = udp_config_check(cfg);
    if (rc == 0 && udp_config_family(cfg) != udp->eff.local.sa.sa_family)
        rc = rt_err_set(-EINVAL, "the new remote is of another IP version than the socket");
    rc = rc ? rc : set_peer(udp, cfg);
    rc = rc ? rc : read_local(udp);
    return rc ? rc : learn_path(udp, cfg);
}
