#include "io/phc.h"

#include "base/rt_caps.h"
#include "base/rt_err.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/ethtool.h>
#include <linux/net_tstamp.h>
#include <linux/ptp_clock.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define SAMPLES 9

/* One interface ioctl on a throw-away socket. Returns 0 or -errno. */
static int interface_ioctl(const char *device, unsigned long request, void *data)
{
    struct ifreq ifr = {.ifr_data = data};
    snprintf(ifr.ifr_name, sizeof ifr.ifr_name, "%s", device);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int rc = ioctl(fd, request, &ifr) < 0 ? -errno : 0;
    close(fd);
    return rc;
}

static int stamping_info(const char *device, struct ethtool_ts_info *info)
{
    *info = (struct ethtool_ts_info){.cmd = ETHTOOL_GET_TS_INFO};
    int rc = interface_ioctl(device, SIOCETHTOOL, info);
    if (rc == -EMFILE)
        return rt_err_system(EMFILE, "asking for hardware stamps");
    if (rc == -ENODEV)
        return rt_err_set(rc, "no interface \"%s\" on this host", device);
    if (rc < 0)
        return rt_err_set(-ENOTSUP,
                          "%s has no hardware stamps: its driver does not answer "
                          "ETHTOOL_GET_TS_INFO (%s)",
                          device, strerror(-rc));
    unsigned any = SOF_TIMESTAMPING_TX_HARDWARE | SOF_TIMESTAMPING_RX_HARDWARE;
    if (info->phc_index < 0 || (info->so_timestamping & any) == 0)
        return rt_err_set(-ENOTSUP, "%s has no hardware stamps: no PTP clock (see ethtool -T %s)",
                          device, device);
    return 0;
}

int phc_index_of(const char *device)
{
    struct ethtool_ts_info info;
    int rc = stamping_info(device, &info);
    return rc < 0 ? rc : info.phc_index;
}

/* Leaves a card that already stamps everything (for ptp4l, or by an earlier call) as it is. */
static int switch_on(phc_t *phc, const char *device, const struct ethtool_ts_info *info)
{
    struct hwtstamp_config config = {.flags = 0};
    int rc = interface_ioctl(device, SIOCGHWTSTAMP, &config);
    bool rx_all = (info->rx_filters & (1u << HWTSTAMP_FILTER_ALL)) != 0;
    bool rx_on = !rx_all || config.rx_filter == HWTSTAMP_FILTER_ALL;
    if (rc < 0 || config.tx_type != HWTSTAMP_TX_ON || !rx_on) {
        config.flags = 0;
        config.tx_type = HWTSTAMP_TX_ON;
        if (rx_all)
            config.rx_filter = HWTSTAMP_FILTER_ALL;
        uint64_t raised = rt_caps_raise(RT_CAP(CAP_NET_ADMIN));
        rc = interface_ioctl(device, SIOCSHWTSTAMP, &config);
        rt_caps_lower(raised);
        if (rc < 0)
            return rt_err_set(rc, "%s: switching hardware stamps on (SIOCSHWTSTAMP) failed: %s%s",
                              device, strerror(-rc),
                              rc == -EPERM ? "; the worker needs CAP_NET_ADMIN" : "");
    }
    phc->tx = config.tx_type == HWTSTAMP_TX_ON;
    phc->rx = config.rx_filter == HWTSTAMP_FILTER_ALL;
    return 0;
}

static int64_t ptp_ns(const struct ptp_clock_time *t)
{
    return t->sec * RT_NS_PER_S + t->nsec;
}

/* Of several readings the one with the tightest bracket: interrupts only ever widen it. */
static int read_point(phc_t *phc, const clock_map_t *map)
{
    struct ptp_sys_offset_extended req = {.n_samples = SAMPLES};
    if (ioctl(phc->fd, PTP_SYS_OFFSET_EXTENDED, &req) < 0)
        return -errno;
    int64_t best_width_ns = INT64_MAX, best_real_ns = 0, best_phc_ns = 0;
    for (unsigned i = 0; i < SAMPLES; i++) {
        int64_t before_ns = ptp_ns(&req.ts[i][0]);
        int64_t width_ns = ptp_ns(&req.ts[i][2]) - before_ns;
        if (width_ns < 0 || width_ns >= best_width_ns)
            continue;
        best_width_ns = width_ns;
        best_real_ns = before_ns + width_ns / 2;
        best_phc_ns = ptp_ns(&req.ts[i][1]);
    }
    if (best_width_ns == INT64_MAX)
        return -EAGAIN; /* REALTIME was stepped back during each sample */
    phc_filter_add(&phc->filter, best_phc_ns, clock_map_from_real(map, best_real_ns),
                   best_width_ns);
    return 0;
}

int phc_refresh(phc_t *phc, clock_map_t *map, int64_t now_mono_ns)
{
    if (phc->fd < 0 || now_mono_ns < phc->next_refresh_mono_ns)
        return 0;
    phc->next_refresh_mono_ns = now_mono_ns + PHC_REFRESH_NS;
    clock_map_check(map);
    return read_point(phc, map);
}

static int open_clock(phc_t *phc, clock_map_t *map)
{
    char path[32];
    snprintf(path, sizeof path, "/dev/ptp%d", phc->index);
    phc->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (phc->fd < 0 && errno == EMFILE)
        return rt_err_system(EMFILE, path);
    if (phc->fd < 0)
        return rt_err_set(-errno, "%s: %s; give the worker's user read access (udev rule)", path,
                          strerror(errno));
    clock_map_check(map);
    int rc = read_point(phc, map);
    if (rc < 0)
        return rt_err_set(rc, "%s: PTP_SYS_OFFSET_EXTENDED (Linux 5.0) failed: %s", path,
                          strerror(-rc));
    return 0;
}

int phc_open(phc_t *phc, const char *device, clock_map_t *map)
{
    *phc = (phc_t){.fd = -1, .index = -1};
    phc_filter_init(&phc->filter);
    struct ethtool_ts_info info;
    int rc = stamping_info(device, &info);
    if (rc < 0)
        return rc;
    phc->index = info.phc_index;
    phc->ifindex = if_nametoindex(device);
    rc = switch_on(phc, device, &info);
    rc = rc ? rc : open_clock(phc, map);
    if (rc < 0)
        phc_close(phc);
    return rc;
}

void phc_close(phc_t *phc)
{
    if (phc->fd >= 0)
        close(phc->fd);
    phc->fd = -1;
}
