#include "io/udp_txtime.h"

#include "base/rt_caps.h"
#include "base/rt_err.h"
#include "io/udp_private.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/net_tstamp.h>
#include <stdio.h>
#include <time.h>

int udp_txtime_clock_of(const char *qdisc, rt_clock_id_t *clock)
{
    if (strcmp(qdisc, "fq") == 0)
        *clock = RT_CLOCK_MONOTONIC;
    else if (strcmp(qdisc, "etf") == 0)
        *clock = RT_CLOCK_TAI;
    else
        return -ENOTSUP;
    return 0;
}

/* The capability is raised here and not for all options: most channels come by without this one. */
static int set_txtime(const udp_t *udp, rt_clock_id_t clock)
{
    struct sock_txtime now = {.flags = UINT32_MAX};
    socklen_t bytes = sizeof now;
    bool tai = clock == RT_CLOCK_TAI;
    struct sock_txtime option = {
        .clockid = tai ? CLOCK_TAI : CLOCK_MONOTONIC,
        .flags = tai ? SOF_TXTIME_REPORT_ERRORS : 0,
    };
    if (getsockopt(udp->fd, SOL_SOCKET, SO_TXTIME, &now, &bytes) == 0 &&
        memcmp(&now, &option, sizeof now) == 0)
        return 0;
    uint64_t raised = rt_caps_raise(udp->adopted ? 0 : RT_CAP(CAP_NET_ADMIN));
    int rc = setsockopt(udp->fd, SOL_SOCKET, SO_TXTIME, &option, sizeof option) < 0 ? -errno : 0;
    rt_caps_lower(raised);
    return rc;
}

/* Returns 0 when the path launches by time, otherwise -errno and the reason. */
static int try_enable(udp_t *udp, const udp_config_t *cfg, const udp_route_t *route,
                      char reason[UDP_REASON_BYTES])
{
    if (route == NULL) {
        snprintf(reason, UDP_REASON_BYTES,
                 "no remote and no device: the egress interface is unknown");
        return -ENOTSUP;
    }
    const char *qdisc = udp->eff.qdisc[0] == '\0' ? "unknown" : udp->eff.qdisc;
    rt_clock_id_t clock;
    if (udp_txtime_clock_of(qdisc, &clock) < 0) {
        snprintf(reason, UDP_REASON_BYTES,
                 "%s has queueing discipline %s, which ignores launch times", route->device, qdisc);
        return -ENOTSUP;
    }
    if (clock != cfg->clock) {
        snprintf(reason, UDP_REASON_BYTES,
                 "%s on %s launches by the %s clock, the channel by another", qdisc, route->device,
                 clock == RT_CLOCK_TAI ? "TAI" : "monotonic");
        return -ENOTSUP;
    }
    int rc = set_txtime(udp, clock);
    if (rc < 0)
        snprintf(reason, UDP_REASON_BYTES, "SO_TXTIME: %s%s", strerror(-rc),
                 rc == -EPERM ? "; the TAI clock needs CAP_NET_ADMIN" : "");
    return rc;
}

int udp_txtime_enable(udp_t *udp, const udp_config_t *cfg, const udp_route_t *route)
{
    udp->eff.txtime = false;
    udp->eff.txtime_reason[0] = '\0';
    if (cfg->txtime == UDP_TXTIME_OFF)
        return 0;
    int rc = try_enable(udp, cfg, route, udp->eff.txtime_reason);
    udp->eff.txtime = rc == 0;
    if (rc == 0 || cfg->txtime == UDP_TXTIME_AUTO)
        return 0;
    return rt_err_set(rc,
                      "txtime required: %s; install one that does, \"tc qdisc replace dev %s root "
                      "fq\" (monotonic clock) or etf (TAI), or open with txtime auto",
                      udp->eff.txtime_reason, route != NULL ? route->device : "DEVICE");
}
