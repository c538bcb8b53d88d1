/* rtp_nack.h: both sides of repair by generic NACK (RFC 4585): what a receiver requests and when,
 * and which packets a sender keeps for repetition.
 *
 * Caller's memory, one thread each, no clock, no allocation. */
#ifndef RTP_NACK_H
#define RTP_NACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RTP_NACK_MAX_MISSING 256u

/* All zero: the defaults. */
typedef struct rtp_nack_config {
    int64_t first_wait_ns; /* how long a packet may be overtaken before it is requested; 0: 10 ms */
    int64_t retry_ns;      /* between two requests, at least a round trip; 0: 50 ms */
    int64_t give_up_ns;    /* after the gap was seen; 0: 500 ms */
    uint32_t max_requests; /* for one packet; 0: 3 */
} rtp_nack_config_t;

typedef struct rtp_nack_missing {
    uint64_t seq; /* extended */
    int64_t seen_ns;
    int64_t ask_ns;
    uint32_t requests;
} rtp_nack_missing_t;

typedef struct rtp_nack_counters {
    uint64_t missing;   /* packets that were overtaken */
    uint64_t requested; /* requests, repetitions included */
    uint64_t recovered; /* arrived after a request */
    uint64_t reordered; /* arrived without one */
    uint64_t given_up;  /* missing = recovered + reordered + given_up + those still awaited */
} rtp_nack_counters_t;

typedef struct rtp_nack_receiver {
    rtp_nack_config_t config;
    rtp_nack_counters_t counters;
    uint64_t next; /* the number after the highest received */
    bool started;
    uint32_t count;
    rtp_nack_missing_t missing[RTP_NACK_MAX_MISSING]; /* ascending */
} rtp_nack_receiver_t;

void rtp_nack_receiver_init(rtp_nack_receiver_t *n, const rtp_nack_config_t *config);

/* Sequence numbers restart. The missing packets are given up. */
void rtp_nack_restart(rtp_nack_receiver_t *n);

/* A valid packet of the stream, by its extended sequence number. A gap longer than
 * RTP_NACK_MAX_MISSING keeps its end. */
void rtp_nack_packet(rtp_nack_receiver_t *n, uint64_t seq, int64_t now_ns);

/* Everything below that number was played or skipped: it is not worth requesting any more. */
void rtp_nack_forget_before(rtp_nack_receiver_t *n, uint64_t seq);

/* When to call rtp_nack_take next; INT64_MAX: nothing is missing. */
int64_t rtp_nack_due_ns(const rtp_nack_receiver_t *n);

/* Sequence numbers to request now, ascending: ready for rtcp_nack_pack. Returns how many, at most
 * max (the rest stays due). */
size_t rtp_nack_take(rtp_nack_receiver_t *n, int64_t now_ns, uint16_t *seqs, size_t max);

/* The last packets sent, each in a slot of a fixed size. */
typedef struct rtp_history {
    uint8_t *slots;
    uint32_t slot_bytes; /* head included */
    uint32_t mask;
} rtp_history_t;

/* Bytes for that many packets (a power of two up to 32768) of up to max_bytes (1 .. 65535) each. */
size_t rtp_history_memory_bytes(uint32_t packets, uint32_t max_bytes);

/* memory: rtp_history_memory_bytes(...) bytes of zeroes, aligned for int64_t, kept by the caller.
 * Only what is put is touched. */
void rtp_history_init(rtp_history_t *h, void *memory, uint32_t packets, uint32_t max_bytes);

/* Copies a packet just sent over the one `packets` numbers before it. Returns 0, or -EMSGSIZE
 * (nothing is kept). */
int rtp_history_put(rtp_history_t *h, uint16_t seq, const void *data, uint32_t bytes);

/* A packet that was requested. Returns NULL if it is gone, or was repeated less than min_gap_ns
 * ago (a duplicate request). Valid until the next put. */
const uint8_t *rtp_history_get(rtp_history_t *h, uint16_t seq, int64_t now_ns, int64_t min_gap_ns,
                               uint32_t *bytes);

#endif
