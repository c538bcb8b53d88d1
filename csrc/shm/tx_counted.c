/* Whether each finished packet was counted. A worker ends a packet in the ring first and counts it
 * afterwards: if it dies between the two, one count is missing. The hot path records nothing for
 * that, because the number of finished packets follows from the ring (take_over), and each of them
 * is in one counter. */
#include "shm/tx_queue.h"

static uint64_t counted_packets(const tx_queue_t *q)
{
    const rt_a64_t *counters = q->segment->stats->counters;
    uint64_t sum = rt_load_relaxed(&counters[SHM_COUNT_tx_orphans]) +
                   rt_load_relaxed(&counters[SHM_COUNT_tx_aborted]) +
                   rt_load_relaxed(&counters[SHM_COUNT_tx_corrupt]);
    for (unsigned id = SHM_COUNT_tx_on_time; id <= SHM_COUNT_tx_producer_halted; id++)
        sum += rt_load_relaxed(&counters[id]);
    return sum;
}

int64_t tx_queue_uncounted(const tx_queue_t *q)
{
    uint64_t base = rt_load_relaxed(&q->segment->stats->finished_base);
    return (int64_t)(q->finished - base - counted_packets(q));
}

bool tx_queue_is_settled(const tx_queue_t *q)
{
    return q->read_ref >= q->replay_until_ref && q->read_ref >= q->moved_until_ref;
}

void tx_queue_mark_counted(tx_queue_t *q)
{
    rt_store_relaxed(&q->segment->stats->finished_base, q->finished - counted_packets(q));
}
