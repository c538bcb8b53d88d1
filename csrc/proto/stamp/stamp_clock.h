/* stamp_clock.h: how far another host's clock is from ours, with a bound, from STAMP exchanges.
 *
 * T1 is not after the departure of a request, T2 not before its arrival, T3 and T4 likewise for the
 * reply. So each exchange bounds offset = remote clock - local clock, whatever the delays were:
 *
 *     T3 - T4  <=  offset  <=  T2 - T1
 *
 * Two clocks drift apart by at most `drift` (a ratio), so both bounds widen by drift * time, and
 * the best of each so far is kept: their intersection always contains the truth. No window and no
 * estimate of delays is needed. The offset is said to be its middle.
 *
 * If the intersection is empty, a clock was stepped (or drifts more than stated): the comparison
 * begins again with the newest exchange. A step that leaves the intersection not empty stays
 * unnoticed for as long as the drift takes to make up for it, at most (step / drift).
 *
 * Replies are matched by sequence and by all 64 bits of T1, each request once. Strangers who do not
 * see the requests cannot guess both.
 *
 * Bytes and times in, no clock, no socket. The state has a fixed size. One thread at a time. */
#ifndef PROTO_STAMP_CLOCK_H
#define PROTO_STAMP_CLOCK_H

#include "proto/stamp/stamp_arrivals.h"
#include "proto/stamp/stamp_packet.h"
#include "rows/stamp.h"

/* Requests that wait for their reply, a power of two: at 10000 a second, of which up to 1024 are
 * still to be sent, replies may come after 3 s. */
#define STAMP_CLOCK_WAITING 32768u

typedef struct stamp_waiting {
    bool waits;
    uint32_t sequence;
    uint64_t t1_raw;
    int64_t t1_ns; /* local clock */
} stamp_waiting_t;

/* An interval that contains the offset at one time of the local clock. */
typedef struct stamp_offset {
    int64_t at_ns;
    int64_t low_ns;
    int64_t high_ns;
} stamp_offset_t;

/* All zero but the first two: nothing is known. */
typedef struct stamp_clock {
    double drift;      /* 1e-4 is 100 ppm */
    int64_t margin_ns; /* by how much a timestamp may be wrong in the wrong direction */
    /* Progress. */
    uint64_t counters[STAMP_CLOCK_COUNTER_TOTAL];
    bool known;
    bool restart;   /* the next exchange begins the comparison again */
    int64_t low_ns; /* the best bounds, and when they held */
    int64_t low_at_ns;
    int64_t high_ns;
    int64_t high_at_ns;
    int64_t since_ns;       /* when the comparison began */
    int64_t last_ns;        /* latest T4 */
    int64_t round_trip_ns;  /* without the time at the reflector: of the last exchange, */
    int64_t shortest_ns;    /* and the shortest one since it began */
    uint8_t request_ttl;    /* as the reflector saw it */
    stamp_error_t error;    /* what the other host says of its clock */
    stamp_offset_t base[2]; /* the offset some time ago, for the rate: older and newer */
    stamp_waiting_t waiting[STAMP_CLOCK_WAITING];
} stamp_clock_t;

/* A request leaves, or will leave, at t1_ns of the local clock. t1_raw: its timestamp in the
 * packet. It takes the place of the request that is STAMP_CLOCK_WAITING older. */
void stamp_clock_sent(stamp_clock_t *c, uint32_t sequence, uint64_t t1_raw, int64_t t1_ns);

/* Requests at even distances. */
typedef struct stamp_series {
    uint32_t first_sequence;
    uint32_t count;
    int64_t first_ns; /* of the first one, T1, local clock */
    int64_t interval_ns;
    int64_t to_world_ns; /* UTC or TAI - local clock */
    uint16_t ssid;
    stamp_error_t error; /* of T1, with its format */
} stamp_series_t;

/* Writes the requests of a series, 44 bytes each, and notes them as sent. */
void stamp_clock_ask(stamp_clock_t *c, const stamp_series_t *series, uint8_t *out);

/* A datagram arrived at t4_ns of the local clock. Returns what it counts as: STAMP_CLOCK_exchanges
 * or STAMP_CLOCK_steps (which is an exchange, too) if it was used. */
stamp_clock_counter_t stamp_clock_receive(stamp_clock_t *c, const uint8_t *packet, size_t size,
                                          int64_t t4_ns);

/* The time of day was set on this host at now_ns or shortly before. The kernel's timestamps are in
 * this time, so those of then may have been converted wrongly: open requests until now_ns are
 * forgotten, and the next exchange begins the comparison again. */
void stamp_clock_restart(stamp_clock_t *c, int64_t now_ns);

/* Receives a batch. after: NULL, or room for what is known after each datagram, at its arrival.
 * low_ns is above high_ns while nothing is known. */
void stamp_clock_receive_batch(stamp_clock_t *c, const stamp_arrivals_t *in, stamp_offset_t *after);

/* What is known of the offset at at_ns of the local clock, before or after the exchanges. Returns
 * whether anything is known. */
bool stamp_clock_offset(const stamp_clock_t *c, int64_t at_ns, stamp_offset_t *out);

/* The mean rate of the offset, in ns/ns, over some 30 to 60 s until the last exchange: between *low
 * and *high. At first they are the limits of the drift. */
void stamp_clock_rate(const stamp_clock_t *c, double *low, double *high);

#endif
