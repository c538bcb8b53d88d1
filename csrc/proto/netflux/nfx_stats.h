/* nfx_stats.h: what is known of a link. Written by its session only; made to lie in memory that
 * other processes read while it is written: each word is whole, not all of them of one instant. The
 * session adds to what lies there and bases no decision on it.
 *
 * Intervals of the partner are per number: the time between two accepted datagrams divided by how
 * far their numbers are apart. So the mean is the partner's cycle however much is lost on the way;
 * `gap` is the plain time between two of them, and its maximum is what a watchdog must bear. */
#ifndef NFX_STATS_H
#define NFX_STATS_H

#include "base/rt_hist.h"

/* One table for enum, labels and documentation: id, unit, meaning. */
#define NFX_COUNTERS(X)                                                                            \
    X(sent, packets, "handed to the kernel")                                                       \
    X(send_failed, packets, "refused by the kernel; no number is used up")                         \
    X(skipped, instants, "of the send grid that passed without a send")                            \
    X(sent_stale, packets, "of sent: while the values to send were stale")                         \
    X(sent_failsafe, packets, "of sent: with the fail-safe payload")                               \
    X(accepted, packets, "news from the partner")                                                  \
    X(rejected_short, packets, "shorter than header and agreed payload")                           \
    X(rejected_repeated, packets, "with the number accepted last")                                 \
    X(rejected_old, packets, "128 numbers or more ahead: overtaken, or of a partner started anew") \
    X(rejected_foreign, packets, "from another address than the partner's")                        \
    X(oversize, packets, "of accepted: longer than agreed, the rest was ignored")                  \
    X(firsts, packets, "of accepted: the first, or the first behind a time-out")                   \
    X(partner_lost, packets, "of the partner's, missing between two accepted ones")                \
    X(acknowledged, packets, "of ours whose own number came back")                                 \
    X(passed_over, packets, "of ours covered by the feedback of a later one only")                 \
    X(ack_lost, packets, "of ours never covered by a feedback")                                    \
    X(timeouts, times, "the watchdog ran out")                                                     \
    X(unheard, times, "the partner ceased to acknowledge us")                                      \
    X(stale, times, "the values to send became too old, or their owner died")

typedef enum nfx_counter_id {
#define NFX_COUNTER_ID(id, unit, text) NFX_COUNT_##id,
    NFX_COUNTERS(NFX_COUNTER_ID)
#undef NFX_COUNTER_ID
        NFX_COUNTER_TOTAL
} nfx_counter_id_t;

#define NFX_HISTOGRAMS(X)                                                                  \
    X(own_interval, "between the starts of two sends of ours")                             \
    X(partner_interval, "between two sends of the partner, by arrival stamps, per number") \
    X(gap, "between two accepted datagrams")                                               \
    X(rtt, "start of a send to the arrival of the feedback with its number")

typedef enum nfx_hist_id {
#define NFX_HIST_ID(id, text) NFX_HIST_##id,
    NFX_HISTOGRAMS(NFX_HIST_ID)
#undef NFX_HIST_ID
        NFX_HIST_TOTAL
} nfx_hist_id_t;

/* Times are CLOCK_MONOTONIC in ns, 0: never. */
#define NFX_GAUGES(X)                                                     \
    X(alive, "1: a datagram was accepted within the watchdog's interval") \
    X(heard, "1: the partner acknowledges what we send")                  \
    X(fresh, "1: the values to send are not too old")                     \
    X(own_number, "number of the last datagram built")                    \
    X(partner_number, "number accepted last, and our feedback")           \
    X(received_number, "number received last, accepted or not")           \
    X(feedback_number, "feedback in the datagram accepted last")          \
    X(partner_known, "1: a datagram was ever accepted")                   \
    X(last_sent_mono_ns, "start of the last send")                        \
    X(last_accepted_mono_ns, "arrival of the datagram accepted last")     \
    X(last_rtt_ns, "the last round trip")

typedef enum nfx_gauge_id {
#define NFX_GAUGE_ID(id, text) NFX_GAUGE_##id,
    NFX_GAUGES(NFX_GAUGE_ID)
#undef NFX_GAUGE_ID
        NFX_GAUGE_TOTAL
} nfx_gauge_id_t;

/* Room for more counters and gauges without moving what follows. */
#define NFX_COUNTER_SPACE 32u
#define NFX_GAUGE_SPACE 16u

_Static_assert(NFX_COUNTER_TOTAL <= NFX_COUNTER_SPACE && NFX_GAUGE_TOTAL <= NFX_GAUGE_SPACE,
               "nfx_stats_t has room for its counters and gauges");

/* All zero: nothing happened yet. */
typedef struct nfx_stats {
    rt_a64_t counters[NFX_COUNTER_SPACE];
    rt_a64_t gauges[NFX_GAUGE_SPACE];
    rt_hist_t hists[NFX_HIST_TOTAL];
} nfx_stats_t;

static inline void nfx_count(nfx_stats_t *stats, nfx_counter_id_t id, uint64_t n)
{
    rt_bump(&stats->counters[id], n);
}

static inline void nfx_gauge(nfx_stats_t *stats, nfx_gauge_id_t id, uint64_t value)
{
    rt_store_relaxed(&stats->gauges[id], value);
}

/* Writer only: counters and histograms to zero; gauges say how things are and stay. */
void nfx_stats_reset(nfx_stats_t *stats);

#endif
