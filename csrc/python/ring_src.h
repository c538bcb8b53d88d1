/* ring_src.h: the C side of shmring._ring (cffi, API mode). ring_cdef.txt lists the part that
 * Python sees. This file has a checksum that would take Python long. */
#include "base/rt_clock.h"
#include "base/rt_err.h"
#include "client/alarm.h"
#include "client/attachment.h"
#include "client/channel_stats.h"
#include "client/endpoint.h"
#include "client/endpoint_udt.h"
#include "client/engine_stats.h"
#include "client/host.h"
#include "client/monitor.h"
#include "client/rtp_rows.h"
#include "proto/pacing/soon.h"
#include "proto/rtp/g711.h"
#include "proto/rtp/rtp_packet.h"
#include "proto/rtp/rtp_stream.h"
#include "python/stamp_probes.h"
#include "shm/ctl_msg.h"
#include "shm/error_log.h"
#include "shm/recorder.h"
#include "shm/shm_engine.h"
#include "shm/slot_ring.h"
#include "shm/tap_ring.h"

#include <arpa/inet.h>

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
