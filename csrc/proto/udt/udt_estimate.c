#include "proto/udt/udt_estimate.h"

#include "base/rt_clock.h"

#include <string.h>

void udt_rtt_sample(udt_rtt_t *r, uint32_t sample_us)
{
    if (sample_us > UDT_MAX_RTT_US)
        sample_us = UDT_MAX_RTT_US;
    uint32_t off = sample_us > r->rtt_us ? sample_us - r->rtt_us : r->rtt_us - sample_us;
    r->var_us = (3 * r->var_us + off) / 4;
    r->rtt_us = (7 * r->rtt_us + sample_us) / 8;
}

/* --- ACKs on the way ----------------------------------------------------------------------- */

void udt_ack_history_put(udt_ack_history_t *h, uint32_t number, uint32_t seq, int64_t now_ns)
{
    h->acks[number % UDT_ACK_HISTORY] =
        (udt_sent_ack_t){.sent_ns = now_ns, .number = number, .seq = seq};
}

bool udt_ack_history_take(udt_ack_history_t *h, uint32_t number, udt_sent_ack_t *ack)
{
    udt_sent_ack_t *entry = &h->acks[number % UDT_ACK_HISTORY];
    if (entry->number != number || entry->sent_ns == 0)
        return false;
    *ack = *entry;
    entry->sent_ns = 0;
    return true;
}

/* --- rates --------------------------------------------------------------------------------- */

#define FIRST_GAP_NS RT_NS_PER_S
#define FIRST_PROBE_NS RT_NS_PER_MS
#define PROBE_PERIOD 16u
#define MAX_GAP_NS RT_NS_PER_S

void udt_arrivals_init(udt_arrivals_t *a, int64_t now_ns)
{
    *a = (udt_arrivals_t){.last_ns = now_ns};
    for (uint32_t i = 0; i < UDT_ARRIVAL_SLOTS; i++)
        a->gaps_ns[i] = FIRST_GAP_NS;
    for (uint32_t i = 0; i < UDT_PROBE_SLOTS; i++)
        a->probes_ns[i] = FIRST_PROBE_NS;
}

static void add_gap(udt_arrivals_t *a, int64_t gap_ns, uint32_t packets)
{
    gap_ns /= packets;
    if (gap_ns > MAX_GAP_NS)
        gap_ns = MAX_GAP_NS;
    for (uint32_t i = 0; i < packets && i < UDT_ARRIVAL_SLOTS; i++)
        a->gaps_ns[a->gap_at++ % UDT_ARRIVAL_SLOTS] = gap_ns;
}

/* Two packets with one stamp have no information about the path: the card or the kernel joined
 * them. */
static void probe(udt_arrivals_t *a, uint32_t seq, int64_t arrival_ns)
{
    if (seq % PROBE_PERIOD == 0) {
        a->probe_ns = arrival_ns;
        a->probe_seq = seq;
    } else if (seq % PROBE_PERIOD == 1 && a->probe_ns != 0 && seq == udt_seq_next(a->probe_seq)) {
        int64_t gap_ns = arrival_ns - a->probe_ns;
        a->probe_ns = 0;
        if (gap_ns > 0)
            a->probes_ns[a->probe_at++ % UDT_PROBE_SLOTS] = gap_ns;
    }
}

void udt_arrivals_packet(udt_arrivals_t *a, uint32_t seq, int64_t arrival_ns)
{
    int64_t gap_ns = arrival_ns - a->last_ns;
    if (gap_ns <= 0) {
        a->together++;
    } else {
        if (a->together > 0)
            add_gap(a, gap_ns, a->together);
        a->last_ns = arrival_ns;
        a->together = 1;
    }
    probe(a, seq, arrival_ns);
}

/* The middle one of count numbers; sorts them. Few numbers, a hundred times a second. */
static int64_t median(int64_t *v, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        int64_t moving = v[i];
        uint32_t at = i;
        for (; at > 0 && v[at - 1] > moving; at--)
            v[at] = v[at - 1];
        v[at] = moving;
    }
    return v[count / 2];
}

static uint32_t per_second(int64_t sum_ns, uint32_t count)
{
    int64_t mean_ns = sum_ns / count;
    if (mean_ns <= 0)
        mean_ns = 1;
    return (uint32_t)((RT_NS_PER_S + mean_ns - 1) / mean_ns);
}

/* Sum of those near the median, and how many. */
static uint32_t near_median(const int64_t *gaps_ns, uint32_t count, int64_t median_ns,
                            int64_t *sum_ns)
{
    uint32_t kept = 0;
    *sum_ns = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (gaps_ns[i] <= median_ns / 8 || gaps_ns[i] >= median_ns * 8)
            continue;
        *sum_ns += gaps_ns[i];
        kept++;
    }
    return kept;
}

uint32_t udt_arrivals_rate_pps(const udt_arrivals_t *a)
{
    int64_t moved[UDT_ARRIVAL_SLOTS];
    int64_t sum_ns;
    memcpy(moved, a->gaps_ns, sizeof moved);
    int64_t median_ns = median(moved, UDT_ARRIVAL_SLOTS);
    uint32_t kept = near_median(a->gaps_ns, UDT_ARRIVAL_SLOTS, median_ns, &sum_ns);
    return kept > UDT_ARRIVAL_SLOTS / 2 ? per_second(sum_ns, kept) : 0;
}

uint32_t udt_arrivals_capacity_pps(const udt_arrivals_t *a)
{
    int64_t moved[UDT_PROBE_SLOTS];
    int64_t sum_ns;
    memcpy(moved, a->probes_ns, sizeof moved);
    int64_t median_ns = median(moved, UDT_PROBE_SLOTS);
    uint32_t kept = near_median(a->probes_ns, UDT_PROBE_SLOTS, median_ns, &sum_ns);
    return per_second(sum_ns + median_ns, kept + 1);
}
