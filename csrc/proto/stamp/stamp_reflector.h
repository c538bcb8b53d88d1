/* stamp_reflector.h: a Session-Reflector (RFC 8762 section 4.3): requests in, replies with
 * deadlines out, batch by batch.
 *
 * A reply takes the place of its request and has its length, so a reflector amplifies nothing. It
 * leaves a fixed time after the request arrived, if that lies ahead, so the gaps between replies
 * are those between requests. T3 is the deadline: nothing is sent before it.
 *
 * What is not answered:
 *   - packets in the form of a reply (stamp_is_reply). All that a reflector sends has this form, so
 *     two reflectors, or a reflector and an echo, cannot answer each other for ever.
 *   - packets from ports below 1024 other than 862. There are services that answer anything.
 *   - sources outside of the allowed networks, and all above a rate.
 *
 * The state has a fixed size. One thread at a time. */
#ifndef PROTO_STAMP_REFLECTOR_H
#define PROTO_STAMP_REFLECTOR_H

#include "proto/pacing/due_lane.h"
#include "proto/stamp/stamp_arrivals.h"
#include "proto/stamp/stamp_packet.h"
#include "rows/stamp.h"

#define STAMP_MAX_NETWORKS 64u
/* So many slots are searched for a session. */
#define STAMP_SESSION_PROBES 32u

typedef struct stamp_network {
    uint32_t family; /* 4 or 6 */
    uint32_t bits;   /* length of the prefix, up to 32 or 128 */
    uint8_t ip[16];
} stamp_network_t;

/* A session: packets with the same source address, source port and SSID. */
typedef struct stamp_session {
    stamp_end_t source;
    uint16_t ssid;
    bool used;
    uint32_t next_sequence;
    int64_t last_ns;
} stamp_session_t;

/* The caller fills the first part and zeroes the rest. */
typedef struct stamp_reflector {
    bool stateful;             /* replies have the reflector's own sequence, per session */
    uint32_t network_count;    /* 0: all sources are allowed */
    stamp_session_t *sessions; /* zeroed, session_slots of them */
    uint32_t session_slots;    /* a power of two */
    int64_t idle_ns;           /* a session ends when it is silent so long */
    int64_t hold_ns;           /* from the arrival of a request to its reply */
    int64_t lead_ns;           /* from now to the reply at least */
    double max_pps;            /* 0: no limit */
    uint64_t seed;             /* random, so that nobody can fill one place of the table */
    stamp_network_t networks[STAMP_MAX_NETWORKS];
    /* Progress. */
    uint64_t fates[STAMP_FATE_TOTAL];
    uint64_t session_total; /* that began */
    double tokens;          /* requests that may be answered now */
    int64_t tokens_at_ns;
} stamp_reflector_t;

/* How the clock of arrivals and deadlines relates to the world at present. */
typedef struct stamp_times {
    int64_t now_ns;
    int64_t utc_ns;   /* UTC - clock */
    int64_t tai_ns;   /* TAI - clock */
    int64_t error_ns; /* of UTC and TAI, from the program that keeps the host's time */
    bool utc_synchronised;
    bool tai_synchronised;
} stamp_times_t;

/* Answers a batch. out has room for as many packets as arrived. Its offsets refer to the payload of
 * the batch, in which requests become replies, in the format of their request. They leave from the
 * address that the request came to, if both columns are there. Returns how many. */
uint32_t stamp_reflector_answer(stamp_reflector_t *r, const stamp_arrivals_t *in,
                                const stamp_times_t *times, due_lane_t *out);

/* Cold. Sessions that have not ended yet. */
uint32_t stamp_reflector_sessions(const stamp_reflector_t *r, int64_t now_ns);

#endif
