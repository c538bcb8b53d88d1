/* rtp_source.h: which packets belong to the stream (RFC 3550 section 6.4.1 and appendices A.1, A.3
 * and A.8), and what a receiver reports about them.
 *
 *                    probation: min_sequential in order
 *   unknown SSRC --------------------------------------> current source
 *                                                         |  jump of sequence numbers: two in
 *                                                         |  order at the new place: restarted
 *   other SSRC: a separate candidate on probation --------+  probation passed, and the current
 *                                                            one silent for switch_silence_ns:
 *                                                            the candidate becomes current
 *
 * Sources on probation are in a table, each in a separate place by a hash of its
 * SSRC. So interleaved packets of other sources, or a flood of made-up SSRCs, do not
 * prevent the validation of a source.
 *
 * Caller's memory, one thread at a time, no clock: now_ns is the arrival time, of any clock that
 * does not go back. Sequence numbers are extended to 64 bits: cycles * 65536 + seq, the first
 * cycle being 1, so that stragglers from before the start never go below 0. */
#ifndef RTP_SOURCE_H
#define RTP_SOURCE_H

#include "proto/rtp/rtcp.h"
#include "proto/rtp/rtp_jitter.h"
#include "proto/rtp/rtp_packet.h"

#include <stdbool.h>
#include <stdint.h>

/* All zero: the values of RFC 3550, and a switch as soon as a new source is proved. */
typedef struct rtp_source_config {
    uint32_t clock_rate;       /* Hz, for the jitter; 0: none is measured */
    uint16_t min_sequential;   /* packets in order that prove a source; 0: 2; 1: the first does */
    uint16_t max_dropout;      /* a gap up to here is loss; 0: 3000; below 32768 */
    uint16_t max_misorder;     /* packets this far behind are late, not a restart; 0: 100 */
    bool ssrc_fixed;           /* take packets of `ssrc` only */
    uint32_t ssrc;             /* see ssrc_fixed */
    int64_t switch_silence_ns; /* how long the current source must be silent before another one
                                  takes over; 0: not at all */
} rtp_source_config_t;

typedef enum rtp_verdict {
    RTP_SOURCE_VALID = 0,      /* belongs to the stream */
    RTP_SOURCE_STARTED = 1,    /* valid, and the first of the first source */
    RTP_SOURCE_RESTARTED = 2,  /* valid, first after a jump of sequence numbers */
    RTP_SOURCE_CHANGED = 3,    /* valid, first of a new SSRC */
    RTP_SOURCE_PROBATION = -1, /* not yet proved */
    RTP_SOURCE_JUMP = -2,      /* far off; if the next packet follows it, this is a restart */
    RTP_SOURCE_FOREIGN = -3,   /* of another source */
} rtp_verdict_t;

typedef struct rtp_sequence {
    uint32_t ssrc;
    uint16_t max_seq;
    bool used;
    uint32_t bad_seq; /* where a restart would continue; 65537: none expected */
    uint64_t base;    /* extended number of the first valid packet */
    uint64_t max;     /* extended number of the highest */
    uint64_t received;
} rtp_sequence_t;

/* Enough to prove a second source of 50 packets/s in about a second
 * despite 30 000 made-up packets. */
enum { RTP_SOURCE_CANDIDATES = 256 };

typedef struct rtp_candidate {
    uint32_t ssrc;
    uint16_t last_seq;
    uint16_t in_order; /* packets so far; 0: free */
} rtp_candidate_t;

typedef struct rtp_source_counters {
    uint64_t valid;
    uint64_t on_probation;
    uint64_t jumps;
    uint64_t foreign;
    uint64_t restarts;
    uint64_t changes;
} rtp_source_counters_t;

typedef struct rtp_source {
    rtp_source_config_t config; /* with the defaults filled in */
    rtp_sequence_t current;
    rtp_jitter_t jitter;
    int64_t last_valid_ns;
    uint64_t expected_prior;
    uint64_t received_prior;
    uint32_t last_sr_mid; /* middle 32 bits of the NTP stamp of the last SR, 0: none */
    int64_t last_sr_ns;
    rtp_source_counters_t counters;
    rtp_candidate_t candidates[RTP_SOURCE_CANDIDATES];
} rtp_source_t;

void rtp_source_init(rtp_source_t *s, const rtp_source_config_t *config);

/* Judges one packet. Returns a verdict; below 0: not part of the stream. *extended_seq is written
 * if the packet is valid. Packets of the stream count for loss and jitter. */
rtp_verdict_t rtp_source_packet(rtp_source_t *s, const rtp_view_t *view, int64_t now_ns,
                                uint64_t *extended_seq);

/* The caller kept the packets on probation that came right before the one that began the source,
 * which was judged last. They belong to the stream after all. */
void rtp_source_count_earlier(rtp_source_t *s, unsigned count);

static inline bool rtp_source_is_proved(const rtp_source_t *s)
{
    return s->current.used;
}

/* A sender report of the source, received at now_ns: for LSR and DLSR. Others are ignored. */
void rtp_source_sr(rtp_source_t *s, uint32_t ssrc, uint64_t ntp, int64_t now_ns);

/* Packets lost so far: expected minus received. Below 0 if there were duplicates. */
int64_t rtp_source_lost(const rtp_source_t *s);

/* Fills a report block and begins a new interval for the fraction lost. Returns false and does
 * nothing if no source is proved. */
bool rtp_source_report(rtp_source_t *s, int64_t now_ns, rtcp_report_t *report);

#endif
