/* impair.h: an impaired path. It takes datagrams, impairs them, and emits them when they are due.
 *
 *              lost                      queue_dropped
 *               ^                              ^
 *  offer -> [ loss ] -> [ duplicate ] -> [ queue | rate ] -> [ delay +- jitter ] ---+--> emit
 *            bursts,     also: corrupt    bottleneck          keeps the order       |
 *            then single                                         [ reorder: extra ]-+
 *
 * What each field does, in the order in which a datagram meets them:
 *
 * burst_loss, burst_packets
 *     Gilbert's two-state chain, one step per offered datagram: in the bad state everything is
 *     lost, in the good state nothing. burst_loss is the share of datagrams that meet the bad state
 *     in the long run, burst_packets the mean length of a burst. They give
 *     p_leave = 1 / burst_packets and p_enter = p_leave * burst_loss / (1 - burst_loss); the chain
 *     starts in the good state. p_enter <= 1 bounds burst_loss by b / (1 + b), b = burst_packets.
 * loss
 *     Probability of losing a single datagram that the bursts spared.
 * duplicate
 *     Probability that a second copy follows the first; from here on each copy is independent.
 * corrupt
 *     Probability, for each copy, that one bit of it is flipped (empty datagrams have none).
 * rate_bps
 *     Payload bits per second through the bottleneck; 0: unlimited. Headers do not count.
 * queue_bytes
 *     Payload that may wait for the bottleneck, including the datagram being serialised. More is
 *     dropped (tail drop). An idle path accepts any datagram. 0: what the rate carries in 50 ms,
 *     at least 128 KiB and at most 64 MiB. No effect without rate_bps.
 * delay_ns, jitter_ns
 *     Transit time: uniform over [delay - jitter, delay + jitter], negative values count as 0.
 *     Jitter never reorders: a datagram that would overtake the one before it leaves at the same
 *     time, after it. (In netem jitter reorders, so that one cannot be had without the other.)
 * reorder, reorder_extra_ns
 *     Probability, for each copy, of an additional delay of reorder_extra_ns, so that later ones
 *     overtake it. 0 extra: 5 ms. It is counted when held back, overtaken or not.
 * seed
 *     The only source of chance. Each kind of decision has a separate generator that advances by
 *     the same steps for each offered datagram. So decisions depend only on seed and position,
 *     never on time, length or result, and enabling one impairment does not change the others.
 *
 * Guarantees:
 *   - conservation, at any time:
 *       offered + duplicated = passed + lost + burst_lost + queue_dropped + impair_queued()
 *   - rate: those that leave the bottleneck in any span, except the first, have at most rate * span
 *     bits. The same holds at the exit without jitter and reorder. With jitter it is at
 *     most rate * (span + 2 * jitter_ns).
 *   - delay: without jitter, rate and reorder, a datagram is due exactly delay_ns after its offer.
 *
 * Datagrams are copied into storage of a fixed size in memory the caller provides. When it is full,
 * they are dropped, counted as queue_dropped and also as store_dropped.
 *
 * impair_change gives the path another configuration while datagrams are on their way. They keep
 * their due times, and later ones still do not overtake them (except reordered ones): after the
 * delay was shortened, what is offered at once leaves together with the last datagram that had the
 * longer one. What waits for the bottleneck leaves at the old rate. The generators continue, unless
 * the seed is another one.
 *
 * One thread. No clock: now_ns is any clock that does not go back (a value below an earlier one
 * counts as that one). Offers may be behind emissions: they may have the time at which datagrams
 * arrived. What is due in the past is emitted next. */
#ifndef IMPAIR_H
#define IMPAIR_H

#include "base/rt_random.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IMPAIR_TAG_BYTES 56u
#define IMPAIR_MAX_DATAGRAM_BYTES 65535u
#define IMPAIR_MAX_DELAY_NS INT64_C(60000000000)
#define IMPAIR_MAX_RATE_BPS UINT64_C(1000000000000)
#define IMPAIR_MAX_QUEUE_BYTES (UINT64_C(1) << 30)
#define IMPAIR_MAX_BURST_PACKETS 1e6
#define IMPAIR_DEFAULT_REORDER_EXTRA_NS INT64_C(5000000)

/* All zero: a link that passes everything at once. */
typedef struct impair_config {
    double loss;              /* 0 .. 1 */
    double burst_loss;        /* 0 .. burst_packets / (1 + burst_packets), below 1 */
    double burst_packets;     /* 1 .. 1e6 where burst_loss > 0 */
    double duplicate;         /* 0 .. 1 */
    double reorder;           /* 0 .. 1 */
    double corrupt;           /* 0 .. 1 */
    int64_t delay_ns;         /* 0 .. 60 s */
    int64_t jitter_ns;        /* 0 .. 60 s */
    int64_t reorder_extra_ns; /* 0 .. 60 s */
    uint64_t rate_bps;        /* 0, or up to 1 Tbit/s */
    uint64_t queue_bytes;     /* 0 .. 1 GiB */
    uint64_t seed;
    uint64_t store_bytes;        /* storage for datagrams on the way, 0: by rate and delay, see
                                    impair_memory_bytes */
    uint32_t max_datagram_bytes; /* longest datagram that will be offered; 0: 65535 */
} impair_config_t;

typedef struct impair_counters {
    uint64_t offered;
    uint64_t passed; /* emitted by impair_emit */
    uint64_t lost;
    uint64_t burst_lost;
    uint64_t duplicated;
    uint64_t reordered;
    uint64_t corrupted;
    uint64_t queue_dropped;
    uint64_t store_dropped; /* of queue_dropped: because the storage was full, not the queue */
} impair_counters_t;

typedef struct impair_in {
    const void *data;
    uint32_t len;
    uint32_t tag_bytes; /* 0 .. IMPAIR_TAG_BYTES */
    const void *tag;    /* the caller's, such as an address; comes out as it went in */
    int64_t time_ns;    /* the caller's, such as an arrival stamp */
} impair_in_t;

#define IMPAIR_OUT_COPY 0x1u /* the second copy of a duplicated datagram */
#define IMPAIR_OUT_CORRUPTED 0x2u
#define IMPAIR_OUT_REORDERED 0x4u

typedef struct impair_out {
    uint8_t *data; /* in the link's storage; the caller may change it */
    uint32_t len;
    uint32_t tag_bytes;
    const void *tag;
    int64_t time_ns; /* as offered */
    int64_t held_ns; /* due time less the time at which it was offered */
    int64_t due_ns;
    unsigned flags; /* IMPAIR_OUT_* */
} impair_out_t;

/* A queue of datagrams in a byte ring, in order of their due time. Private. */
typedef struct impair_line {
    uint8_t *store;
    uint64_t bytes;
    uint64_t head;  /* next to be delivered; places count up without wrapping */
    uint64_t tail;  /* where the next entry goes */
    uint64_t wrap;  /* place from which on the end of the ring is left unused */
    uint64_t count; /* entries between head and tail */
} impair_line_t;

typedef struct impair {
    impair_config_t config; /* with the defaults filled in */
    impair_counters_t counters;
    double p_enter;
    double p_leave;
    bool in_burst;
    rt_random_t burst_chance;
    rt_random_t loss_chance;
    rt_random_t duplicate_chance;
    rt_random_t corrupt_chance;
    rt_random_t jitter_chance;
    rt_random_t reorder_chance;
    int64_t now_ns;
    int64_t link_free_ns;    /* the bottleneck has nothing to do from here on */
    uint64_t link_free_rest; /* and this much later, in 1/rate_bps ns */
    int64_t last_exit_ns;    /* exit of the datagram before, which must not be overtaken */
    int64_t last_held_ns;    /* the same of those that were held back */
    double old_bytes;        /* what waited for the bottleneck when its rate was changed last ... */
    int64_t old_from_ns;     /* ... and leaves it evenly from here ... */
    int64_t old_until_ns;    /* ... to here */
    impair_line_t line;      /* on the way in order */
    impair_line_t held_back; /* reordered */
    impair_line_t old_line;  /* the same in the storage before, until they are due */
    impair_line_t old_held_back;
} impair_t;

/* Checks every field. Returns 0, or -EINVAL with a text that names field, value and limit. */
int impair_config_check(const impair_config_t *config);

/* Whether the link would change anything at all; the seed and the storage do not count. */
bool impair_config_active(const impair_config_t *config);

/* Memory impair_init needs. By default it is for what the queue holds, and what the rate (1 Gbit/s
 * if unlimited) carries during the longest time on the way, twice to allow for small datagrams, at
 * least 1 MiB and at most 256 MiB; again as much for reordered ones if reorder is on. 0 for a
 * configuration that does not check. */
size_t impair_memory_bytes(const impair_config_t *config);

/* memory: bytes >= impair_memory_bytes(config), aligned to 8, the caller's, in use until the caller
 * stops using the link. Returns 0, or -EINVAL, -ENOBUFS (memory too small) with a text. */
int impair_init(impair_t *im, const impair_config_t *config, void *memory, size_t bytes);

/* Memory that impair_change needs for this configuration, 0 if the present storage suffices, and as
 * long as the storage before is in use. The configuration checks. It must name neither store_bytes
 * nor max_datagram_bytes: the latter stays. */
size_t impair_change_bytes(const impair_t *im, const impair_config_t *config);

/* Changes the configuration from now on, whatever is on the way, in bounded time. memory: NULL if
 * impair_change_bytes says 0, otherwise at least so many bytes, as for impair_init, for what is
 * offered from now on. Datagrams on the way stay where they are: see impair_old_memory. If more
 * storage is needed while the one before is in use, the path keeps what it has, and the caller
 * changes it to the same again later: until then more may be dropped for lack of storage, and
 * nothing is reordered if it was not before. Returns 0, or -EINVAL, -ENOBUFS with a text: nothing
 * is changed. */
int impair_change(impair_t *im, const impair_config_t *config, void *memory, size_t bytes,
                  int64_t now_ns);

/* The memory that was replaced, once nothing is in it: the caller's again, as is what was emitted
 * from it. NULL: there is none, or it is in use. */
void *impair_old_memory(impair_t *im);

/* Offers one datagram, which is copied. Returns the number of copies that are on their way: 0 (lost
 * or dropped), 1 or 2; -EMSGSIZE (longer than max_datagram_bytes), -EINVAL (tag too long): not
 * offered, not counted, no text. */
int impair_offer(impair_t *im, const impair_in_t *in, int64_t now_ns);

/* Returns at most max datagrams due at or before now_ns, in order of their due time. Their data is
 * valid until the next call of impair_offer or impair_clear. Returns how many. */
size_t impair_emit(impair_t *im, impair_out_t *out, size_t max, int64_t now_ns);

/* When the next datagram is due; INT64_MAX: nothing to wait for. */
int64_t impair_deadline_ns(const impair_t *im);

/* Datagrams on the way. */
uint64_t impair_queued(const impair_t *im);

/* The present storage that they use, bytes. */
uint64_t impair_stored_bytes(const impair_t *im);

/* Loses all datagrams on the way, counted as queue_dropped, and idles the bottleneck. The
 * generators keep their state. */
void impair_clear(impair_t *im);

#endif
