/* ring_src.h: the C side of shmring._ring (cffi, API mode); ring_cdef.h says what Python sees of
 * it. Here are the tables of names, and a sum that would take Python long. */
#include "base/rt_clock.h"
#include "base/rt_err.h"
#include "client/channel_stats.h"
#include "client/endpoint.h"
#include "client/endpoint_netflux.h"
#include "client/endpoint_udt.h"
#include "client/engine_stats.h"
#include "client/readiness.h"
#include "client/rtp_rows.h"
#include "proto/rtp/g711.h"
#include "proto/rtp/rtp_packet.h"
#include "proto/rtp/rtp_stream.h"
#include "shm/ctl_msg.h"
#include "shm/error_log.h"
#include "shm/recorder.h"
#include "shm/report_ring.h"
#include "shm/tap_ring.h"

#include <arpa/inet.h>

#define RING_COUNTER_NAME(id, unit, text) #id,
static const char *const ring_counter_names[] = {SHM_COUNTERS(RING_COUNTER_NAME) NULL};
#define RING_COUNTER_UNIT(id, unit, text) #unit,
static const char *const ring_counter_units[] = {SHM_COUNTERS(RING_COUNTER_UNIT) NULL};
#define RING_COUNTER_TEXT(id, unit, text) text,
static const char *const ring_counter_texts[] = {SHM_COUNTERS(RING_COUNTER_TEXT) NULL};
#define RING_HIST_NAME(id, text) #id,
static const char *const ring_hist_names[] = {SHM_HISTOGRAMS(RING_HIST_NAME) NULL};
#define RING_HIST_TEXT(id, text) text,
static const char *const ring_hist_texts[] = {SHM_HISTOGRAMS(RING_HIST_TEXT) NULL};

#define RING_RTP_NAME(id, unit, text) #id,
static const char *const ring_rtp_counter_names[] = {SHM_RTP_COUNTERS(RING_RTP_NAME) NULL};
static const char *const ring_rtp_gauge_names[] = {SHM_RTP_GAUGES(RING_RTP_NAME) NULL};
#define RING_RTP_UNIT(id, unit, text) #unit,
static const char *const ring_rtp_counter_units[] = {SHM_RTP_COUNTERS(RING_RTP_UNIT) NULL};
static const char *const ring_rtp_gauge_units[] = {SHM_RTP_GAUGES(RING_RTP_UNIT) NULL};
#define RING_RTP_TEXT(id, unit, text) text,
static const char *const ring_rtp_counter_texts[] = {SHM_RTP_COUNTERS(RING_RTP_TEXT) NULL};
static const char *const ring_rtp_gauge_texts[] = {SHM_RTP_GAUGES(RING_RTP_TEXT) NULL};

#define RING_NFX_COUNTER_NAME(id, unit, text) #id,
static const char *const ring_netflux_counter_names[] = {NFX_COUNTERS(RING_NFX_COUNTER_NAME) NULL};
#define RING_NFX_COUNTER_UNIT(id, unit, text) #unit,
static const char *const ring_netflux_counter_units[] = {NFX_COUNTERS(RING_NFX_COUNTER_UNIT) NULL};
#define RING_NFX_COUNTER_TEXT(id, unit, text) text,
static const char *const ring_netflux_counter_texts[] = {NFX_COUNTERS(RING_NFX_COUNTER_TEXT) NULL};
#define RING_NFX_NAME(id, text) #id,
static const char *const ring_netflux_gauge_names[] = {NFX_GAUGES(RING_NFX_NAME) NULL};
static const char *const ring_netflux_hist_names[] = {NFX_HISTOGRAMS(RING_NFX_NAME) NULL};
#define RING_NFX_TEXT(id, text) text,
static const char *const ring_netflux_gauge_texts[] = {NFX_GAUGES(RING_NFX_TEXT) NULL};
static const char *const ring_netflux_hist_texts[] = {NFX_HISTOGRAMS(RING_NFX_TEXT) NULL};

static const char *const ring_udt_counter_names[] = {UDT_COUNTERS(RING_COUNTER_NAME) NULL};
static const char *const ring_udt_counter_units[] = {UDT_COUNTERS(RING_COUNTER_UNIT) NULL};
static const char *const ring_udt_counter_texts[] = {UDT_COUNTERS(RING_COUNTER_TEXT) NULL};
static const char *const ring_udt_gauge_names[] = {UDT_GAUGES(RING_HIST_NAME) NULL};
static const char *const ring_udt_gauge_texts[] = {UDT_GAUGES(RING_HIST_TEXT) NULL};
static const char *const ring_udt_port_names[] = {SHM_UDT_PORT_COUNTERS(RING_COUNTER_NAME) NULL};
static const char *const ring_udt_port_units[] = {SHM_UDT_PORT_COUNTERS(RING_COUNTER_UNIT) NULL};
static const char *const ring_udt_port_texts[] = {SHM_UDT_PORT_COUNTERS(RING_COUNTER_TEXT) NULL};

/* The ones' complement sum of data as 16-bit words in network order (RFC 1071), 0 to 0xffff. */
static uint32_t ring_sum16(const uint8_t *data, uint64_t bytes)
{
    uint64_t sum = 0;
    uint64_t at = 0;
    for (; at + 4 <= bytes; at += 4) {
        uint32_t word;
        memcpy(&word, data + at, sizeof word);
        sum += word;
    }
    uint8_t rest[4] = {0};
    memcpy(rest, data + at, bytes - at);
    uint32_t last;
    memcpy(&last, rest, sizeof last);
    sum += last;
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return htons((uint16_t)sum); /* the sum may be taken in either order of bytes */
}
