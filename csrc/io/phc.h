/* phc.h: the clock of a network card (PTP hardware clock) and its relation to a channel's clock.
 *
 * phc_open finds the card's clock, enables its timestamps, and compares the clock with
 * CLOCK_REALTIME by PTP_SYS_OFFSET_EXTENDED. Each refresh gives one point (phc time, channel
 * time). phc_filter fits a line through the last good points, which converts timestamps.
 *
 * One thread; one phc_t per interface and channel clock, shared by its sockets.
 */
#ifndef PHC_H
#define PHC_H

#include "io/clock_map.h"

#include <stdbool.h>
#include <stdint.h>

#define PHC_FILTER_POINTS 16
#define PHC_REFRESH_NS (250 * RT_NS_PER_MS)

typedef struct phc_point {
    int64_t phc_ns;
    int64_t offset_ns; /* channel clock - phc */
    int64_t width_ns;  /* bracket around the reading: its uncertainty */
} phc_point_t;

/* Line through the points: offset(t) = base_offset_ns + slope * (t - base_phc_ns). */
typedef struct phc_filter {
    phc_point_t points[PHC_FILTER_POINTS];
    unsigned count; /* valid points */
    unsigned next;  /* slot of the next one */
    int64_t base_phc_ns;
    int64_t base_offset_ns;
    double slope; /* relative rate error of the card, about 1e-9 .. 1e-5 */
} phc_filter_t;

/* Pure arithmetic, no clocks. */
void phc_filter_init(phc_filter_t *filter);

/* Adds one reading: at phc_ns on the card the channel's clock read target_ns, within
 * +-width_ns/2. A reading has the weight of its precision squared. If one is off the line by more
 * than its width, 100 us and 500 ppm of the time since the last, a clock was stepped, and the
 * filter restarts. */
void phc_filter_add(phc_filter_t *filter, int64_t phc_ns, int64_t target_ns, int64_t width_ns);

/* Channel time of a card's timestamp. Meaningful if count > 0. */
int64_t phc_filter_map(const phc_filter_t *filter, int64_t phc_ns);

typedef struct phc {
    int fd; /* /dev/ptpN, -1 closed */
    int index;
    uint32_t ifindex; /* of the card */
    bool rx;          /* the card stamps every received packet */
    bool tx;
    int64_t next_refresh_mono_ns;
    phc_filter_t filter;
} phc_t;

/* Cold. Index of the clock of an interface: >= 0; -ENODEV (no such interface), -ENOTSUP (no clock,
 * or it stamps nothing in hardware); text set. */
int phc_index_of(const char *device);

/* Cold. Enables timestamps of all sent and received packets (SIOCSHWTSTAMP, CAP_NET_ADMIN), opens
 * the clock and takes the first reading. If a card stamps only received PTP packets, rx stays
 * false. Returns 0; -ENODEV, -ENOTSUP, -EPERM, -EACCES; text set; phc->fd is -1 then. */
int phc_open(phc_t *phc, const char *device, clock_map_t *map);

void phc_close(phc_t *phc);

/* From the worker's loop: reads the clock when due (one ioctl of about 20 us every PHC_REFRESH_NS).
 * Returns 0 or -errno of the ioctl. */
int phc_refresh(phc_t *phc, clock_map_t *map, int64_t now_mono_ns);

static inline int64_t phc_to_channel(const phc_t *phc, int64_t phc_ns)
{
    return phc_filter_map(&phc->filter, phc_ns);
}

#endif
