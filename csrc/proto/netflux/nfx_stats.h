/* nfx_stats.h: the statistics of a link. Only its session writes them, in memory that other
 * processes read meanwhile: no word is torn, but they are not all of one instant. The session adds
 * to these values and bases no decision on them.
 *
 * Intervals of the partner are per number: the time between two accepted datagrams divided by the
 * difference of their numbers. So the mean is the partner's cycle, however much is lost on the way.
 * `gap` is the plain time between two of them. A watchdog must be longer than its maximum. */
#ifndef NFX_STATS_H
#define NFX_STATS_H

#include "base/rt_hist.h"

/* One table for enum, labels and documentation: id, unit, meaning. */
#define NFX_COUNTERS(X)                                                                      \
    X(sent, packets, "packets handed to the kernel")                                         \
    X(send_failed, packets, "packets refused by the kernel (no number is used up)")          \
    X(skipped, instants, "instants of the send grid that passed without a send")             \
    X(sent_stale, packets, "packets sent with values that were stale")                       \
    X(sent_failsafe, packets, "packets sent with the fail-safe values")                      \
    X(accepted, packets, "packets accepted from the partner")                                \
    X(rejected_short, packets, "packets shorter than the header and the agreed payload")     \
    X(rejected_repeated, packets, "packets with the number accepted last")                   \
    X(rejected_old, packets,                                                                 \
      "packets 128 or more numbers ahead: overtaken, or the partner restarted")              \
    X(rejected_foreign, packets, "packets from an unknown source")                           \
    X(oversize, packets, "accepted packets longer than agreed, whose rest was ignored")      \
    X(firsts, packets, "accepted packets that were the first, or the first after a timeout") \
    X(partner_lost, packets, "packets of the partner missing between two accepted ones")     \
    X(acknowledged, packets, "packets of ours whose number came back as feedback")           \
    X(passed_over, packets, "packets of ours covered only by the feedback of a later one")   \
    X(ack_lost, packets, "packets of ours never covered by feedback")                        \
    X(timeouts, times, "times the watchdog expired")                                         \
    X(unheard, times, "times the partner stopped acknowledging our packets")                 \
    X(stale, times, "times the values to send became too old or their owner died")

typedef enum nfx_counter_id {
#define NFX_COUNTER_ID(id, unit, text) NFX_COUNT_##id,
    NFX_COUNTERS(NFX_COUNTER_ID)
#undef NFX_COUNTER_ID
        NFX_COUNTER_TOTAL
} nfx_counter_id_t;

#define NFX_HISTOGRAMS(X)                                                                  \
    X(own_interval, "time between the starts of two sends of ours")                        \
    X(partner_interval,                                                                    \
      "time between two sends of the partner, by arrival timestamps, per number")          \
    X(gap, "time between two accepted packets")                                            \
    X(rtt, "time from the start of a send to the arrival of the feedback with its number")

typedef enum nfx_hist_id {
#define NFX_HIST_ID(id, text) NFX_HIST_##id,
    NFX_HISTOGRAMS(NFX_HIST_ID)
#undef NFX_HIST_ID
        NFX_HIST_TOTAL
} nfx_hist_id_t;

/* Rows: id, unit, the number that stands for "not known" if there is one, meaning. */
#define NFX_GAUGES(X)                                                                       \
    X(alive, flag, , "a packet was accepted within the watchdog time")                      \
    X(heard, flag, , "the partner acknowledges our packets")                                \
    X(fresh, flag, , "the values to send are not too old")                                  \
    X(own_number, number, , "number of the last packet built")                              \
    X(partner_number, number, , "number accepted last, which is our feedback")              \
    X(received_number, number, , "number received last, accepted or not")                   \
    X(feedback_number, number, , "feedback in the packet accepted last")                    \
    X(partner_known, flag, , "a packet was ever accepted")                                  \
    X(last_sent_mono_ns, ns, 0, "start of the last send, CLOCK_MONOTONIC")                  \
    X(last_accepted_mono_ns, ns, 0, "arrival of the packet accepted last, CLOCK_MONOTONIC") \
    X(last_rtt_ns, ns, 0, "last round-trip time")

typedef enum nfx_gauge_id {
#define NFX_GAUGE_ID(id, unit, none, text) NFX_GAUGE_##id,
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

/* Writer only: sets counters and histograms to zero. Gauges describe the present and stay. */
void nfx_stats_reset(nfx_stats_t *stats);

#endif
