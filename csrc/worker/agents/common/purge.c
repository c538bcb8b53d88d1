#include "worker/agents/common/purge.h"

#include "base/rt_seq.h"

#include <errno.h>

#define SEARCH_PER_CALL 512u /* records examined for cancelled ones: about 5 us */
#define RELEASE_BYTES 65536u /* zeroing this much takes about 5 us */

void agent_count_unsent(wrk_channel_t *ch, const tx_item_t *item, int why, int64_t now_mono_ns)
{
    (void)now_mono_ns;
    shm_counter_id_t id = SHM_COUNT_tx_cancelled;
    if (why == -EBADMSG)
        id = SHM_COUNT_tx_corrupt;
    else if (why ==
             -EOWNERDEAD) /* a producer died, or a worker during the send, which may have sent it */
        id = item->payload == NULL ? SHM_COUNT_tx_orphans : SHM_COUNT_tx_failed;
    wrk_count(ch, id, 1);
}

unsigned agent_free_space(wrk_channel_t *ch, unsigned max_moves, agent_end_t *end, int64_t now_mono_ns)
{
    tx_item_t item;
    unsigned moved = 0;
    unsigned budget = SEARCH_PER_CALL;
    while (tx_queue_reap(&ch->tx, &budget, &item) == 1)
        end(ch, &item, -ECANCELED, now_mono_ns);
    unsigned freed = tx_queue_release(&ch->tx, now_mono_ns - wrk_clock_shift_ns(ch), RELEASE_BYTES,
                                      max_moves, &moved);
    if (moved > 0)
        wrk_count(ch, SHM_COUNT_tx_relocated, moved);
    return freed + (SEARCH_PER_CALL - budget);
}

unsigned agent_refuse_strays(wrk_channel_t *ch, unsigned max, agent_end_t *end, int64_t now_mono_ns)
{
    unsigned budget = max;
    tx_item_t item;
    int rc;
    while ((rc = tx_queue_next(&ch->tx, now_mono_ns, &budget, &item)) != 0) {
        if (rc == 1)
            tx_queue_finish(&ch->tx, item.ref);
        end(ch, &item, rc == 1 ? -EOPNOTSUPP : rc, now_mono_ns);
    }
    (void)agent_free_space(ch, 0, end, now_mono_ns);
    return max - budget;
}

uint64_t agent_sequence_at_tail(const wrk_channel_t *ch)
{
    shm_cursor_t tail = rt_load_acquire(&ch->segment.tx->tail);
    return rt_seq64_near(ch->tx.sequence_high, shm_cursor_seq(tail));
}

bool agent_purge_begin(const wrk_channel_t *ch, agent_purge_t *p)
{
    if (p->on)
        return false;
    p->on = true;
    p->before = agent_sequence_at_tail(ch);
    return true;
}

void agent_purge_taken(wrk_channel_t *ch, uint64_t ref, uint64_t sequence, agent_end_t *end,
                       int64_t now_mono_ns)
{
    tx_item_t item;
    int rc = tx_queue_take(&ch->tx, ref, &item);
    if (rc == -ESTALE)
        return;
    if (rc == 0)
        tx_queue_finish(&ch->tx, ref);
    item.sequence = sequence;
    end(ch, &item, rc == -EBADMSG ? rc : -ECANCELED, now_mono_ns);
}

bool agent_purge_unread(wrk_channel_t *ch, const agent_purge_t *p, unsigned max, agent_end_t *end,
                        agent_keep_t *keep, int64_t now_mono_ns)
{
    unsigned budget = max;
    tx_item_t item;
    while (budget > 0) {
        if (keep == NULL && rt_seq32_diff(ch->tx.read_seq, (uint32_t)p->before) >= 0)
            return true;
        int rc = tx_queue_next(&ch->tx, now_mono_ns, &budget, &item);
        if (rc == 0)
            return budget > 0; /* a claim without its commit is not a waiting packet yet */
        if (rc < 0) {
            end(ch, &item, rc, now_mono_ns);
        } else if (keep == NULL || item.sequence < p->before) {
            agent_purge_taken(ch, item.ref, item.sequence, end, now_mono_ns);
        } else {
            keep(ch, &item, now_mono_ns);
            return true;
        }
    }
    return false;
}
