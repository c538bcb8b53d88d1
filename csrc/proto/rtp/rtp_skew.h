/* rtp_skew.h: how much faster or slower a sender's clock runs than ours.
 *
 * The fastest packets of a path have equal transits, if both clocks run alike. So the slope of the
 * smallest transits is the skew: a least squares line through the fastest packet of each two
 * seconds, of the last sixteen. A step (another path) is removed first, because it would look like
 * slope.
 *
 * Caller's memory, all zero at first, one thread, no clock. */
#ifndef RTP_SKEW_H
#define RTP_SKEW_H

#include <stdbool.h>
#include <stdint.h>

#define RTP_SKEW_BLOCKS 16u

typedef struct rtp_skew {
    int64_t at_ns[RTP_SKEW_BLOCKS]; /* of the fastest packet of each block of time */
    int64_t transit_ns[RTP_SKEW_BLOCKS];
    uint32_t count;
    int64_t block_start_ns;
    int64_t block_at_ns;
    int64_t block_transit_ns;
    bool block_open;
    double rate;      /* ns per ns */
    int64_t shift_ns; /* at shift_at_ns */
    int64_t shift_at_ns;
} rtp_skew_t;

/* A packet arrived after so long a transit, from any origin. */
void rtp_skew_add(rtp_skew_t *s, int64_t transit_ns, int64_t arrival_ns);

/* By how much transits have grown through the skew, from rtp_skew_restart until then. */
int64_t rtp_skew_shift_ns(const rtp_skew_t *s, int64_t at_ns);

/* A new timeline: transits before and after it are not comparable. The rate is still the clock's.
 */
void rtp_skew_restart(rtp_skew_t *s, int64_t now_ns);

#endif
