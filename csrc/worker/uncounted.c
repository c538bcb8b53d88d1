#include "worker/uncounted.h"

#include "base/rt_math.h"
#include "proto/pacing/verdict.h"

/* More than ever die in a row in full batches. A larger difference, or one of more packets than were
 * finished, comes from overwritten counters. */
#define MOST_UNCOUNTED (1 << 24)

/* tx_sent repeats what the verdicts of the sent packets say. The dead worker may have stored one of
 * the two without the other. */
static void repeat_verdicts(wrk_channel_t *ch)
{
    uint64_t sent = 0;
    for (unsigned v = 0; v < VERDICT_TOTAL; v++)
        if (verdict_is_sent((verdict_t)v))
            sent += rt_load_relaxed(&ch->stats->counters[SHM_COUNT_tx_on_time + v]);
    rt_store_relaxed(&ch->stats->counters[SHM_COUNT_tx_sent], sent);
}

void uncounted_open(wrk_channel_t *ch, bool takeover)
{
    ch->counted_all = !takeover || !ch->ops->counts_each;
    if (!ch->counted_all)
        repeat_verdicts(ch);
}

/* Each finished packet is counted directly after it, unless its worker died between the two steps.
 * It is unknown whether such a packet left: it counts as failed. */
void uncounted_count(wrk_channel_t *ch, int64_t now_mono_ns)
{
    if (ch->counted_all || !tx_queue_is_settled(&ch->tx))
        return;
    ch->counted_all = true;
    int64_t uncounted = tx_queue_uncounted(&ch->tx);
    int64_t most = rt_min64((int64_t)ch->tx.finished, MOST_UNCOUNTED);
    if (uncounted < 0 || uncounted > most) {
        tx_queue_mark_counted(&ch->tx);
    } else if (uncounted > 0) {
        wrk_count(ch, SHM_COUNT_tx_failed, (uint64_t)uncounted);
        wrk_note(ch, SHM_EVENT_packet_uncertain, (uint64_t)uncounted, SHM_WORKER_PRODUCER, 0,
                 (int64_t)ch->tx.sequence_high, now_mono_ns);
    }
}
