/* capture_plan.h: when each datagram of a capture is due, and on which lane it leaves. Pure
 * arithmetic: times in, times out.
 *
 *   CAPTURE_BY_TIME   start + (time in the file - time of the first) * scale
 *   CAPTURE_BY_COUNT  start + number of the packet * interval
 *   CAPTURE_BY_BITS   start + bits before it, IP and UDP headers included, * interval
 *   CAPTURE_AT_ONCE   no deadline
 *
 * Played in a loop, the first datagram of the next round follows the last one after the mean gap
 * of a round (CAPTURE_BY_TIME), or as any other would. */
#ifndef PROTO_CAPTURE_PLAN_H
#define PROTO_CAPTURE_PLAN_H

#include "proto/capture/capture.h"

/* No deadline is farther from the start. */
#define CAPTURE_MAX_SPAN_NS (INT64_C(365) * 24 * 3600 * 1000000000)

typedef enum capture_pace {
    CAPTURE_BY_TIME = 0,
    CAPTURE_BY_COUNT = 1,
    CAPTURE_BY_BITS = 2,
    CAPTURE_AT_ONCE = 3
} capture_pace_t;

typedef struct capture_plan {
    capture_pace_t pace;
    double scale;       /* CAPTURE_BY_TIME: gaps are multiplied by it */
    double interval_ns; /* per packet or per bit */
    int64_t start_ns;   /* in the clock of the deadlines, above 0 */
    /* Progress. */
    int64_t round_ns;  /* where this round begins, after start_ns */
    uint64_t planned;  /* datagrams, of all rounds */
    uint64_t bits;     /* of all rounds */
    uint64_t in_round; /* datagrams of this round */
    int64_t first_ns;  /* times in the file, of this round */
    int64_t last_ns;
    int64_t last_due_ns; /* the latest deadline so far */
} capture_plan_t;

/* Sorts the records into lanes[0] (IPv4) and lanes[1] (IPv6), each with room for as many as there
 * are records. A datagram that is older than the first one is due at the beginning of the round.
 * Returns 0; -ERANGE with a text: a deadline is more than a year after the start, and the lanes
 * have what was before it. */
int capture_plan_batch(capture_plan_t *p, const capture_t *c, const capture_record_t *records,
                       uint32_t count, due_lane_t *lanes);

/* The file begins again. Returns 0; -EDOM with a text: one packet alone has no gap, so it cannot be
 * repeated by time; -ERANGE as above. */
int capture_plan_next_round(capture_plan_t *p);

#endif
