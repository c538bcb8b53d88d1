/* SO_TIMESTAMPING: which options to set, and how to read the control messages.
 *
 *   received   every packet: kernel stamp (CLOCK_REALTIME), card stamp when a phc is given
 *   sent       only packets that ask (tx_timestamp.c, udp_send.c): no TX_* bit on the socket
 *
 * A card's timestamp is useful only if the card's clock is known. The socket may receive from
 * several cards. OPT_PKTINFO names the card. For other cards the kernel's timestamp is used.
 */
#include "io/udp_private.h"

#include "base/rt_atomic.h"
#include "base/rt_err.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
#include <stdio.h>
#include <unistd.h>

static int set_flags(int fd, uint32_t flags)
{
    int value = (int)flags;
    if (setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &value, sizeof value) == 0)
        return 0;
    return value == 0 && errno == ENOPROTOOPT ? 0 : -errno; /* nothing to clear (qemu-user) */
}

/* Asks by sending a datagram with an id of ours from a throw-away socket to itself: the control
 * message is judged before anything else can fail. Returns whether it was possible to ask. */
static bool ask_for_ids(bool *takes)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    udp_addr_t self = {.v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof self;
    bool asks = fd >= 0 && bind(fd, &self.sa, sizeof self.v4) == 0 &&
                getsockname(fd, &self.sa, &len) == 0 &&
                set_flags(fd, SOF_TIMESTAMPING_OPT_ID | SOF_TIMESTAMPING_SOFTWARE) == 0;
    if (asks) {
        union {
            struct cmsghdr head;
            char space[CMSG_SPACE(sizeof(uint32_t))];
        } control = {.head = {.cmsg_len = CMSG_LEN(sizeof(uint32_t)),
                              .cmsg_level = SOL_SOCKET,
                              .cmsg_type = SCM_TS_OPT_ID}};
        struct msghdr msg = {.msg_name = &self,
                             .msg_namelen = sizeof self.v4,
                             .msg_control = &control,
                             .msg_controllen = sizeof control.space};
        *takes = sendmsg(fd, &msg, MSG_DONTWAIT) == 0 || errno != EINVAL;
    }
    if (fd >= 0)
        close(fd);
    return asks;
}

/* Asked once: it takes half the time of opening a socket, and the kernel stays the same. */
static bool kernel_takes_ids(void)
{
    enum { UNKNOWN, NO, YES };
    static rt_a32_t answer;
    uint32_t known = rt_load_relaxed(&answer);
    bool takes = false;
    if (known == UNKNOWN && ask_for_ids(&takes)) {
        known = takes ? YES : NO;
        rt_store_relaxed(&answer, known);
    }
    return known == YES;
}

static void say_why_no_hardware(udp_t *udp, const udp_config_t *cfg)
{
    udp_effective_t *eff = &udp->eff;
    bool rx = cfg->rx_stamps == UDP_RX_STAMPS_HARDWARE && eff->rx_stamp != UDP_STAMP_HARDWARE;
    bool tx = cfg->tx_stamps && cfg->phc != NULL && eff->tx_stamp != UDP_STAMP_HARDWARE;
    eff->hw_stamp_reason[0] = '\0';
    if (!rx && !tx)
        return;
    if (cfg->phc == NULL)
        snprintf(eff->hw_stamp_reason, UDP_REASON_BYTES, "no PTP clock is open for this channel");
    else if (rx && !cfg->phc->rx)
        snprintf(eff->hw_stamp_reason, UDP_REASON_BYTES, "the card stamps PTP packets only");
    else
        snprintf(eff->hw_stamp_reason, UDP_REASON_BYTES, "packets leave by %s, not by the card %u",
                 eff->egress_device[0] != '\0' ? eff->egress_device : "an unknown interface",
                 cfg->phc->ifindex);
}

/* Ids restart on a socket taken over, and continue when only the remote changes. */
static int switch_on(udp_t *udp, uint32_t flags)
{
    if (udp->stamps_set && udp->ts_flags == flags)
        return 0;
    udp->ts_flags = flags;
    int rc = udp_stamp_ids_restart(udp);
    udp->stamps_set = rc == 0;
    return rc;
}

int udp_stamps_enable(udp_t *udp, const udp_config_t *cfg)
{
    const phc_t *phc = cfg->phc;
    bool rx_hw = cfg->rx_stamps == UDP_RX_STAMPS_HARDWARE && phc != NULL && phc->rx;
    bool tx_hw =
        cfg->tx_stamps && phc != NULL && phc->tx && phc->ifindex == udp->eff.egress_ifindex;
    uint32_t flags = 0;
    if (cfg->rx_stamps != UDP_RX_STAMPS_OFF)
        flags |= SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
    if (cfg->tx_stamps)
        flags |= SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_OPT_ID | SOF_TIMESTAMPING_OPT_TSONLY;
    if (rx_hw)
        flags |= SOF_TIMESTAMPING_RX_HARDWARE | SOF_TIMESTAMPING_OPT_PKTINFO;
    if (rx_hw || tx_hw)
        flags |= SOF_TIMESTAMPING_RAW_HARDWARE;

    int rc = switch_on(udp, flags);
    if (rc < 0)
        return rt_err_set(rc, "SO_TIMESTAMPING = 0x%x: %s; open without stamps", flags,
                          strerror(-rc));
    udp->eff.rx_stamp = rx_hw                                 ? UDP_STAMP_HARDWARE
                        : cfg->rx_stamps != UDP_RX_STAMPS_OFF ? UDP_STAMP_KERNEL
                                                              : UDP_STAMP_USER;
    udp->eff.tx_stamp = tx_hw            ? UDP_STAMP_HARDWARE
                        : cfg->tx_stamps ? UDP_STAMP_KERNEL
                                         : UDP_STAMP_USER;
    udp->tx_stamp_flags = !cfg->tx_stamps ? 0
                          : tx_hw ? SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_TX_HARDWARE
                                  : SOF_TIMESTAMPING_TX_SOFTWARE;
    udp->own_stamp_ids = cfg->tx_stamps && kernel_takes_ids();
    udp->hw_any_device =
        phc != NULL && cfg->device[0] != '\0' && if_nametoindex(cfg->device) == phc->ifindex;
    say_why_no_hardware(udp, cfg);
    return 0;
}

int udp_stamp_ids_restart(udp_t *udp)
{
    /* The kernel sets its counter to 0 when OPT_ID goes from off to on. */
    int rc = set_flags(udp->fd, udp->ts_flags & ~(uint32_t)SOF_TIMESTAMPING_OPT_ID);
    udp_tx_stamp_t thrown[UDP_SEND_BATCH_MAX];
    while (udp_tx_stamps(udp, thrown, UDP_SEND_BATCH_MAX) > 0) {
    }
    rc = rc ? rc : set_flags(udp->fd, udp->ts_flags);
    udp->stamp_id_base = udp->next_stamp_id;
    return rc;
}

static void take_stamps(const struct cmsghdr *cmsg, udp_rx_control_t *control)
{
    struct scm_timestamping stamps;
    if (!udp_cmsg_copy(cmsg, &stamps, sizeof stamps))
        return;
    control->kernel = stamps.ts[0];
    control->hardware = stamps.ts[2];
}

static void take_socket_level(const struct cmsghdr *cmsg, udp_rx_control_t *control)
{
    if (cmsg->cmsg_type == SCM_TIMESTAMPING) {
        take_stamps(cmsg, control);
    } else if (cmsg->cmsg_type == SO_RXQ_OVFL) {
        control->has_drops = udp_cmsg_copy(cmsg, &control->drops, sizeof control->drops);
    } else if (cmsg->cmsg_type == SCM_TIMESTAMPING_PKTINFO) {
        struct scm_ts_pktinfo info;
        if (udp_cmsg_copy(cmsg, &info, sizeof info))
            control->hardware_ifindex = info.if_index;
    }
}

void udp_rx_control_parse(const struct msghdr *msg, udp_rx_control_t *control)
{
    *control = (udp_rx_control_t){.segment_bytes = 0};
    /* CMSG_NXTHDR takes a pointer to non-const for history's sake and changes nothing. */
    struct msghdr *m = (struct msghdr *)(uintptr_t)msg;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level == SOL_SOCKET) {
            take_socket_level(c, control);
        } else if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) {
            int segment = 0;
            (void)udp_cmsg_copy(c, &segment, sizeof segment);
            control->segment_bytes = segment > 0 ? (uint32_t)segment : 0;
        } else if (c->cmsg_level == SOL_IP && c->cmsg_type == IP_PKTINFO) {
            control->local = c;
        } else if (c->cmsg_level == SOL_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            if (control->local == NULL) /* of an IPv4 datagram the one above knows more */
                control->local = c;
        } else if (c->cmsg_level == SOL_IP && c->cmsg_type == IP_TOS) {
            (void)udp_cmsg_copy(c, &control->tos, sizeof control->tos);
        } else if (c->cmsg_level == SOL_IPV6 && c->cmsg_type == IPV6_TCLASS) {
            int tclass = 0;
            (void)udp_cmsg_copy(c, &tclass, sizeof tclass);
            control->tos = (uint8_t)tclass;
        }
    }
}

static bool local_v4(const struct cmsghdr *cmsg, const udp_addr_t *source, udp_addr_t *to)
{
    struct in_pktinfo info;
    /* Not ipi_addr: that may be a group or a broadcast address, from which nothing can be sent. */
    if (!udp_cmsg_copy(cmsg, &info, sizeof info) || info.ipi_spec_dst.s_addr == INADDR_ANY)
        return false;
    *to = udp_addr_any(source->sa.sa_family);
    if (source->sa.sa_family == AF_INET) {
        to->v4.sin_addr = info.ipi_spec_dst;
    } else {
        to->v6.sin6_addr.s6_addr32[2] = htonl(0xffff);
        to->v6.sin6_addr.s6_addr32[3] = info.ipi_spec_dst.s_addr;
    }
    return true;
}

static bool local_v6(const struct cmsghdr *cmsg, udp_addr_t *to)
{
    struct in6_pktinfo info;
    if (!udp_cmsg_copy(cmsg, &info, sizeof info) || IN6_IS_ADDR_UNSPECIFIED(&info.ipi6_addr) ||
        IN6_IS_ADDR_MULTICAST(&info.ipi6_addr))
        return false;
    *to = udp_addr_any(AF_INET6);
    to->v6.sin6_addr = info.ipi6_addr;
    if (IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr))
        to->v6.sin6_scope_id = info.ipi6_ifindex;
    return true;
}

const udp_addr_t *udp_rx_local(const udp_t *udp, const struct cmsghdr *local,
                               const udp_addr_t *source, udp_addr_t *to)
{
    bool known = local->cmsg_level == SOL_IP ? local_v4(local, source, to) : local_v6(local, to);
    if (!known)
        return NULL;
    udp_addr_set_port(to, udp_addr_port(&udp->eff.local));
    return to;
}

bool udp_rx_stamp(const udp_t *udp, const udp_rx_control_t *control, int64_t *time_ns,
                  udp_stamp_t *kind)
{
    int64_t hardware_ns = udp_timespec_ns(&control->hardware);
    if (hardware_ns != 0 && udp->phc != NULL &&
        (udp->hw_any_device || control->hardware_ifindex == udp->phc->ifindex)) {
        *time_ns = phc_to_channel(udp->phc, hardware_ns);
        *kind = UDP_STAMP_HARDWARE;
        return true;
    }
    int64_t kernel_ns = udp_timespec_ns(&control->kernel);
    if (kernel_ns == 0)
        return false;
    *time_ns = clock_map_from_real(udp->clock_map, kernel_ns);
    *kind = UDP_STAMP_KERNEL;
    return true;
}
