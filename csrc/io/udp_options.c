/* Sets socket options from the configuration, and reads the effective ones. */
#include "io/udp_private.h"

#include "base/rt_caps.h"
#include "base/rt_err.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/sock_diag.h>
#include <linux/in6.h>
#include <stdio.h>

#define BUFFER_BYTES_MAX (1u << 30) /* the kernel doubles it and keeps it in an int */
#define PRIORITY_OF_ALL 6           /* the highest without CAP_NET_ADMIN */

/* ---- checks ----------------------------------------------------------------------------- */

static int check_range(const char *name, int value, int low, int high)
{
    if (value == -1 || (value >= low && value <= high))
        return 0;
    return rt_err_set(-EINVAL, "%s %d is outside %d..%d (-1 leaves the system's default)", name,
                      value, low, high);
}

static int check_buffer(const char *name, uint32_t bytes)
{
    if (bytes <= BUFFER_BYTES_MAX)
        return 0;
    return rt_err_set(-EINVAL, "%s %u is above %u bytes", name, bytes, BUFFER_BYTES_MAX);
}

static int check_group(const udp_group_t *entry, sa_family_t family)
{
    char text[UDP_ADDR_TEXT_BYTES];
    udp_addr_format(&entry->group, text);
    if (!udp_addr_is_multicast(&entry->group))
        return rt_err_set(-EINVAL, "group %s is not a multicast address (224.0.0.0/4, ff00::/8)",
                          text);
    if (entry->group.sa.sa_family != family)
        return rt_err_set(-EINVAL,
                          "group %s and the socket's local address are of different IP "
                          "versions; open one channel for each",
                          text);
    return 0;
}

static int check_addresses(const udp_config_t *cfg)
{
    char local[UDP_ADDR_TEXT_BYTES], remote[UDP_ADDR_TEXT_BYTES];
    udp_addr_format(&cfg->local, local);
    udp_addr_format(&cfg->remote, remote);
    bool has_remote = udp_addr_is_set(&cfg->remote);
    if (cfg->connected && !has_remote)
        return rt_err_set(-EINVAL, "connected needs a remote address");
    if (has_remote && udp_addr_port(&cfg->remote) == 0)
        return rt_err_set(-EINVAL, "remote %s: port 0 cannot be sent to; give 1..65535", remote);
    if (has_remote && udp_addr_is_set(&cfg->local) &&
        cfg->remote.sa.sa_family != cfg->local.sa.sa_family)
        return rt_err_set(-EINVAL, "local %s and remote %s are of different IP versions", local,
                          remote);
    if (has_remote && cfg->remote.sa.sa_family == AF_INET6 && cfg->device[0] == '\0' &&
        cfg->remote.v6.sin6_scope_id == 0 && IN6_IS_ADDR_LINKLOCAL(&cfg->remote.v6.sin6_addr))
        return rt_err_set(-EINVAL,
                          "remote %s: a link-local address needs its interface, as "
                          "fe80::1%%eth0",
                          remote);
    return 0;
}

static int check_stamps(const udp_config_t *cfg)
{
    bool wanted = cfg->rx_stamps != UDP_RX_STAMPS_OFF || cfg->tx_stamps;
    if (wanted && cfg->clock_map == NULL)
        return rt_err_set(-EINVAL, "kernel stamps need a clock map to convert them");
    if (wanted && cfg->clock_map->target != cfg->clock)
        return rt_err_set(-EINVAL, "the clock map leads to clock %d, the channel counts in %d",
                          (int)cfg->clock_map->target, (int)cfg->clock);
    return 0;
}

int udp_config_check(const udp_config_t *cfg)
{
    if ((unsigned)cfg->clock > RT_CLOCK_TAI)
        return rt_err_set(-EINVAL, "clock %d is unknown; 0 is monotonic, 1 TAI", (int)cfg->clock);
    if (cfg->group_count > UDP_MAX_GROUPS)
        return rt_err_set(-EINVAL, "%u multicast groups: a channel joins at most %d",
                          cfg->group_count, UDP_MAX_GROUPS);
    if (memchr(cfg->device, '\0', sizeof cfg->device) == NULL)
        return rt_err_set(-EINVAL, "device name is longer than %zu characters",
                          sizeof cfg->device - 1);
    int rc = check_addresses(cfg);
    for (unsigned i = 0; rc == 0 && i < cfg->group_count; i++)
        rc = check_group(&cfg->groups[i], udp_config_family(cfg));
    rc = rc ? rc : check_stamps(cfg);
    rc = rc ? rc : check_range("ttl", cfg->ttl, 1, 255);
    rc = rc ? rc : check_range("mcast_ttl", cfg->mcast_ttl, 0, 255);
    rc = rc ? rc : check_range("dscp", cfg->dscp, 0, 63);
    rc = rc ? rc : check_range("so_priority", cfg->so_priority, 0, 15);
    rc = rc ? rc : check_buffer("rcvbuf_bytes", cfg->rcvbuf_bytes);
    rc = rc ? rc : check_buffer("sndbuf_bytes", cfg->sndbuf_bytes);
    return rc;
}

sa_family_t udp_config_family(const udp_config_t *cfg)
{
    if (udp_addr_is_set(&cfg->local))
        return cfg->local.sa.sa_family;
    if (udp_addr_is_set(&cfg->remote))
        return cfg->remote.sa.sa_family;
    return cfg->group_count > 0 ? cfg->groups[0].group.sa.sa_family : AF_INET;
}

/* ---- setting ---------------------------------------------------------------------------- */

typedef struct int_option {
    bool wanted;
    bool must; /* false: the kernel may not know it, or it is there for the other IP version only */
    int level;
    int name;
    int value;
    const char *text;
    const char *fix; /* what a missing privilege is called, "" */
} int_option_t;

static int set_int(int fd, const int_option_t *o)
{
    if (!o->wanted || setsockopt(fd, o->level, o->name, &o->value, sizeof o->value) == 0 ||
        !o->must)
        return 0;
    return rt_err_set(-errno, "%s = %d: %s%s", o->text, o->value, strerror(errno),
                      errno == EPERM ? o->fix : "");
}

static int set_table(int fd, const int_option_t *table, size_t count)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = set_int(fd, &table[i]);
    return rc;
}

static int set_common(int fd, const udp_config_t *c, bool is_new)
{
    const int_option_t table[] = {
        {is_new || c->reuse_addr, true, SOL_SOCKET, SO_REUSEADDR, c->reuse_addr, "SO_REUSEADDR",
         ""},
        {is_new || c->reuse_port, true, SOL_SOCKET, SO_REUSEPORT, c->reuse_port, "SO_REUSEPORT",
         ""},
        {is_new || c->broadcast, true, SOL_SOCKET, SO_BROADCAST, c->broadcast, "SO_BROADCAST", ""},
        {true, false, SOL_SOCKET, SO_RXQ_OVFL, 1, "SO_RXQ_OVFL", ""},
        {true, false, SOL_UDP, UDP_GRO, c->want_gro, "UDP_GRO", ""},
    };
    return set_table(fd, table, sizeof table / sizeof table[0]);
}

/* On an IPv6 socket these rule its IPv4-mapped traffic, and are then only tried. */
static int set_v4(int fd, const udp_config_t *c, bool must, bool is_new)
{
    bool mcast_addr = c->mcast_iface_v4_be != 0 || c->mcast_ifindex != 0;
    int discover = c->dont_fragment ? IP_PMTUDISC_DO : IP_PMTUDISC_WANT;
    bool set_discover = c->dont_fragment || (is_new && udp_get_int(fd, SOL_IP, IP_MTU_DISCOVER,
                                                                   discover) == IP_PMTUDISC_DO);
    const int_option_t table[] = {
        {c->ttl != -1, must, SOL_IP, IP_TTL, c->ttl, "IP_TTL", ""},
        {c->dscp != -1, must, SOL_IP, IP_TOS, c->dscp * 4, "IP_TOS", ""},
        {c->mcast_ttl != -1, must, SOL_IP, IP_MULTICAST_TTL, c->mcast_ttl, "IP_MULTICAST_TTL", ""},
        {is_new || !c->mcast_loop, must, SOL_IP, IP_MULTICAST_LOOP, c->mcast_loop,
         "IP_MULTICAST_LOOP", ""},
        {is_new || c->group_count > 0, false, SOL_IP, IP_MULTICAST_ALL, 0, "IP_MULTICAST_ALL", ""},
        {set_discover, must, SOL_IP, IP_MTU_DISCOVER, discover, "IP_MTU_DISCOVER", ""},
        {true, false, SOL_IP, IP_RECVTOS, c->want_tos, "IP_RECVTOS", ""},
    };
    int rc = set_table(fd, table, sizeof table / sizeof table[0]);
    if (rc < 0 || !mcast_addr || !must)
        return rc;
    struct ip_mreqn egress = {.imr_address.s_addr = c->mcast_iface_v4_be,
                              .imr_ifindex = (int)c->mcast_ifindex};
    if (setsockopt(fd, SOL_IP, IP_MULTICAST_IF, &egress, sizeof egress) == 0)
        return 0;
    char text[UDP_ADDR_TEXT_BYTES];
    udp_addr_t addr = {.v4 = {.sin_family = AF_INET, .sin_addr.s_addr = c->mcast_iface_v4_be}};
    return rt_err_set(-errno, "multicast interface %s / index %u: %s; see \"ip address\"",
                      udp_addr_format(&addr, text), c->mcast_ifindex, strerror(errno));
}

static int set_v6(int fd, const udp_config_t *c, bool is_new)
{
    int discover = c->dont_fragment ? IPV6_PMTUDISC_DO : IPV6_PMTUDISC_WANT;
    bool set_discover = c->dont_fragment || (is_new && udp_get_int(fd, SOL_IPV6, IPV6_MTU_DISCOVER,
                                                                   discover) == IPV6_PMTUDISC_DO);
    int egress = (int)c->mcast_ifindex;
    const int_option_t table[] = {
        {c->ttl != -1, true, SOL_IPV6, IPV6_UNICAST_HOPS, c->ttl, "IPV6_UNICAST_HOPS", ""},
        {c->dscp != -1, true, SOL_IPV6, IPV6_TCLASS, c->dscp * 4, "IPV6_TCLASS", ""},
        {c->mcast_ttl != -1, true, SOL_IPV6, IPV6_MULTICAST_HOPS, c->mcast_ttl,
         "IPV6_MULTICAST_HOPS", ""},
        {is_new || !c->mcast_loop, true, SOL_IPV6, IPV6_MULTICAST_LOOP, c->mcast_loop,
         "IPV6_MULTICAST_LOOP", ""},
        {egress != 0, true, SOL_IPV6, IPV6_MULTICAST_IF, egress, "IPV6_MULTICAST_IF", ""},
        {is_new || c->group_count > 0, false, SOL_IPV6, IPV6_MULTICAST_ALL, 0, "IPV6_MULTICAST_ALL",
         ""},
        {set_discover, true, SOL_IPV6, IPV6_MTU_DISCOVER, discover, "IPV6_MTU_DISCOVER", ""},
        {set_discover, true, SOL_IPV6, IPV6_DONTFRAG, c->dont_fragment, "IPV6_DONTFRAG", ""},
        {true, false, SOL_IPV6, IPV6_RECVTCLASS, c->want_tos, "IPV6_RECVTCLASS", ""},
    };
    int rc = set_table(fd, table, sizeof table / sizeof table[0]);
    return rc < 0 || c->v6only ? rc : set_v4(fd, c, false, is_new);
}

/* FORCE goes above net.core.rmem_max / wmem_max and needs CAP_NET_ADMIN; the plain option is cut
 * down to that limit without an error, which the caller sees in udp_effective_t. */
static int set_buffer(int fd, int force, int plain, uint32_t bytes, const char *text)
{
    int value = (int)bytes;
    if (bytes == 0 || (uint32_t)udp_get_int(fd, SOL_SOCKET, plain, 0) / 2 == bytes ||
        setsockopt(fd, SOL_SOCKET, force, &value, sizeof value) == 0 ||
        setsockopt(fd, SOL_SOCKET, plain, &value, sizeof value) == 0)
        return 0;
    return rt_err_set(-errno, "%s = %u: %s", text, bytes, strerror(errno));
}

static int set_device(int fd, const char *device)
{
    char bound[IFNAMSIZ] = {0};
    socklen_t bytes = sizeof bound;
    if (device[0] == '\0' ||
        (getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, bound, &bytes) == 0 &&
         strncmp(bound, device, sizeof bound) == 0) ||
        setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, (socklen_t)strlen(device) + 1) == 0)
        return 0;
    return rt_err_set(-errno, "device %s: %s%s", device, strerror(errno),
                      errno == EPERM    ? "; binding to it needs CAP_NET_RAW"
                      : errno == ENODEV ? "; see \"ip link\""
                                        : "");
}

/* Behind IP_TOS, which sets the priority too. */
static int set_priority(int fd, const udp_config_t *c)
{
    bool differs = udp_get_int(fd, SOL_SOCKET, SO_PRIORITY, -1) != c->so_priority;
    const int_option_t option = {c->so_priority != -1 && differs,
                                 true,
                                 SOL_SOCKET,
                                 SO_PRIORITY,
                                 c->so_priority,
                                 "SO_PRIORITY",
                                 "; above 6 it needs CAP_NET_ADMIN"};
    return set_int(fd, &option);
}

uint64_t udp_options_caps(const udp_config_t *cfg)
{
    bool admin =
        cfg->rcvbuf_bytes != 0 || cfg->sndbuf_bytes != 0 || cfg->so_priority > PRIORITY_OF_ALL;
    return (admin ? RT_CAP(CAP_NET_ADMIN) : 0) | (cfg->device[0] != '\0' ? RT_CAP(CAP_NET_RAW) : 0);
}

void udp_options_want_local(udp_t *udp)
{
    int on = 1;
    if (!udp_addr_is_wildcard(&udp->eff.local))
        return;
    /* On an IPv6 socket the first one is for IPv4 datagrams. A kernel that refuses tells nothing.
     */
    (void)setsockopt(udp->fd, SOL_IP, IP_PKTINFO, &on, sizeof on);
    if (udp->eff.local.sa.sa_family == AF_INET6)
        (void)setsockopt(udp->fd, SOL_IPV6, IPV6_RECVPKTINFO, &on, sizeof on);
}

int udp_options_apply(int fd, const udp_config_t *cfg, bool is_new)
{
    int rc = set_common(fd, cfg, is_new);
    if (rc == 0)
        rc = udp_config_family(cfg) == AF_INET6 ? set_v6(fd, cfg, is_new)
                                                : set_v4(fd, cfg, true, is_new);
    rc = rc ? rc : set_priority(fd, cfg);
    rc = rc ? rc : set_device(fd, cfg->device);
    rc = rc ? rc : set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, cfg->rcvbuf_bytes, "SO_RCVBUF");
    rc = rc ? rc : set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, cfg->sndbuf_bytes, "SO_SNDBUF");
    return rc;
}

/* ---- multicast groups ------------------------------------------------------------------- */

static int join_one(int fd, const udp_group_t *g)
{
    if (g->group.sa.sa_family == AF_INET6) {
        struct ipv6_mreq join = {.ipv6mr_multiaddr = g->group.v6.sin6_addr,
                                 .ipv6mr_interface = g->ifindex};
        if (join.ipv6mr_interface == 0)
            join.ipv6mr_interface = g->group.v6.sin6_scope_id;
        return setsockopt(fd, SOL_IPV6, IPV6_ADD_MEMBERSHIP, &join, sizeof join);
    }
    struct ip_mreqn join = {.imr_multiaddr = g->group.v4.sin_addr,
                            .imr_address.s_addr = g->iface_v4_be,
                            .imr_ifindex = (int)g->ifindex};
    return setsockopt(fd, SOL_IP, IP_ADD_MEMBERSHIP, &join, sizeof join);
}

static const char *join_fix(int error)
{
    switch (error) {
    case ENODEV:
        return "; no such interface, or no route for multicast: name the interface";
    case ENOBUFS:
        return "; above net.ipv4.igmp_max_memberships: raise it";
    default:
        return "";
    }
}

int udp_groups_join(int fd, const udp_config_t *cfg)
{
    for (unsigned i = 0; i < cfg->group_count; i++) {
        /* EADDRINUSE: joined before a worker was restarted, or named twice. */
        if (join_one(fd, &cfg->groups[i]) == 0 || errno == EADDRINUSE)
            continue;
        char text[UDP_ADDR_TEXT_BYTES];
        return rt_err_set(-errno, "join group %s on interface %u: %s%s",
                          udp_addr_format(&cfg->groups[i].group, text), cfg->groups[i].ifindex,
                          strerror(errno), join_fix(errno));
    }
    return 0;
}

/* ---- reading back ----------------------------------------------------------------------- */

int udp_get_int(int fd, int level, int option, int fallback)
{
    int value;
    socklen_t len = sizeof value;
    return getsockopt(fd, level, option, &value, &len) < 0 ? fallback : value;
}

void udp_options_read(udp_t *udp)
{
    udp_effective_t *eff = &udp->eff;
    bool v6 = eff->local.sa.sa_family == AF_INET6;
    /* socket(7): the kernel doubles the value to allow for its own bookkeeping. */
    eff->rcvbuf_bytes = (uint32_t)udp_get_int(udp->fd, SOL_SOCKET, SO_RCVBUF, 0) / 2;
    eff->sndbuf_bytes = (uint32_t)udp_get_int(udp->fd, SOL_SOCKET, SO_SNDBUF, 0) / 2;
    eff->ttl = v6 ? udp_get_int(udp->fd, SOL_IPV6, IPV6_UNICAST_HOPS, -1)
                  : udp_get_int(udp->fd, SOL_IP, IP_TTL, -1);
    int tos = v6 ? udp_get_int(udp->fd, SOL_IPV6, IPV6_TCLASS, 0)
                 : udp_get_int(udp->fd, SOL_IP, IP_TOS, 0);
    eff->dscp = tos >> 2;
    eff->gro = udp_get_int(udp->fd, SOL_UDP, UDP_GRO, 0) != 0;
}

uint64_t udp_drops_refresh(udp_t *udp)
{
    uint32_t info[SK_MEMINFO_VARS];
    socklen_t len = sizeof info;
    if (getsockopt(udp->fd, SOL_SOCKET, SO_MEMINFO, info, &len) == 0 && len == sizeof info) {
        udp->kernel_drops += info[SK_MEMINFO_DROPS] - udp->drops_seen;
        udp->drops_seen = info[SK_MEMINFO_DROPS];
    }
    return udp->kernel_drops;
}
