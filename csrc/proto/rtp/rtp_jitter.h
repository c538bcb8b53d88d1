/* rtp_jitter.h: interarrival jitter (RFC 3550 section 6.4.1 and appendix A.8), in units of the
 * media clock as RTCP reports it and in nanoseconds. One thread, caller's memory, no clock. */
#ifndef RTP_JITTER_H
#define RTP_JITTER_H

#include <stdbool.h>
#include <stdint.h>

typedef struct rtp_jitter {
    uint32_t clock_rate; /* Hz, 0: nothing is measured */
    uint32_t units_q4;   /* sixteen times the estimate, as in appendix A.8 */
    uint64_t ns_q4;
    uint32_t last_transit; /* arrival less timestamp, in clock units, modulo 2^32 */
    uint32_t last_ts;
    int64_t last_arrival_ns;
    bool started;
} rtp_jitter_t;

void rtp_jitter_init(rtp_jitter_t *j, uint32_t clock_rate);

/* One packet of the source, in order of arrival. */
void rtp_jitter_add(rtp_jitter_t *j, uint32_t ts, int64_t arrival_ns);

/* After a jump of the sender's clock: the next packet is compared with none. The estimate stays. */
void rtp_jitter_break(rtp_jitter_t *j);

static inline uint32_t rtp_jitter_units(const rtp_jitter_t *j)
{
    return j->units_q4 >> 4;
}

static inline int64_t rtp_jitter_ns(const rtp_jitter_t *j)
{
    return (int64_t)(j->ns_q4 >> 4);
}

/* units of a clock of that rate in ns, and back (rounded down), without overflow for any span
 * below 2^31 s. clock_rate > 0. */
static inline int64_t rtp_units_to_ns(int64_t units, uint32_t clock_rate)
{
    int64_t rate = (int64_t)clock_rate;
    return units / rate * INT64_C(1000000000) + units % rate * INT64_C(1000000000) / rate;
}

static inline int64_t rtp_ns_to_units(int64_t ns, uint32_t clock_rate)
{
    int64_t rate = (int64_t)clock_rate;
    return ns / INT64_C(1000000000) * rate + ns % INT64_C(1000000000) * rate / INT64_C(1000000000);
}

#endif
