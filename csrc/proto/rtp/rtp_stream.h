/* rtp_stream.h: the sending side of a stream on the grid of its media clock: which packet is due
 * when, and its header.
 *
 *   grid time     0         1         2                   3         4
 *   due        origin    +ptime   +2 ptime             (grid)
 *              |---------|---------|---- silence ----|---------|---------|
 *   timestamp  t         t+s      t+2s                t+k*s    ...          s = samples per packet
 *   marker     1         0        0                   1        0            first of a talk spurt
 *   sequence   n         n+1      n+2                 n+3      n+4
 *
 * Timestamp and due time come from one 64-bit position in samples: due = origin + position /
 * clock rate, rounded down, so they cannot drift apart, and rounding errors do not add up. After
 * an underrun the sender continues at a later time of the same grid (rtp_stream_resume): the
 * timestamp jumps with the time, the sequence does not, and the marker is set.
 *
 * Caller's memory, one thread, no clock: times are of the origin's clock. */
#ifndef RTP_STREAM_H
#define RTP_STREAM_H

#include "base/rt_clock.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct rtp_stream_config {
    uint32_t clock_rate;         /* Hz, 1 .. 2^31 - 1, any */
    uint32_t samples_per_packet; /* timestamp step, above 0; at most one day of samples */
    uint32_t ssrc;
    uint32_t first_ts;
    uint16_t first_seq;
    uint8_t payload_type; /* 0 .. 127 */
    bool no_marker;       /* leave the first packet of a talk spurt unmarked */
} rtp_stream_config_t;

typedef struct rtp_stream {
    rtp_stream_config_t config;
    int64_t origin_ns; /* due time of position 0; RT_NEVER_NS: not started */
    uint64_t position; /* in samples, of the next packet */
    uint16_t seq;      /* of the next packet */
    bool marker;       /* of the next packet */
    uint64_t packets;  /* as SR counts them */
    uint64_t octets;
    uint64_t skipped_times;
    uint64_t spurts;
} rtp_stream_t;

void rtp_stream_init(rtp_stream_t *s, const rtp_stream_config_t *config);

/* Samples of a packet of ptime_ns at clock_rate, rounded to the nearest, at least 1. For
 * rtp_stream_config_t.samples_per_packet: 20 ms at 8 kHz: 160; 2.5 ms at 11025 Hz: 28. */
uint32_t rtp_stream_samples(uint32_t clock_rate, int64_t ptime_ns);

/* The first packet is due at origin_ns. */
void rtp_stream_start(rtp_stream_t *s, int64_t origin_ns);

/* When the next packet is due; RT_NEVER_NS before the start. */
int64_t rtp_stream_due_ns(const rtp_stream_t *s);

/* Writes the header (12 bytes) of the next packet and moves on by samples (0: samples_per_packet),
 * for payload_bytes of payload. Returns when the packet is due. */
int64_t rtp_stream_next(rtp_stream_t *s, uint32_t samples, size_t payload_bytes, uint8_t *header);

/* The queue was empty, or media pauses: the next packet takes the first grid time that is at or
 * after not_before_ns, and begins a talk spurt. Returns how many grid times were skipped:
 * 0, and nothing changes, if the next grid time is not yet past. */
uint64_t rtp_stream_resume(rtp_stream_t *s, int64_t not_before_ns);

/* RTP timestamp that belongs to an instant: for SR. */
uint32_t rtp_stream_ts_at(const rtp_stream_t *s, int64_t at_ns);

#endif
