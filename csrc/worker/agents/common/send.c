#include "worker/agents/common/send.h"

#include "worker/agents/common/tap.h"

#include <errno.h>

#define RETRY_FIRST_NS (50 * RT_NS_PER_US)
#define RETRY_LONGEST_NS RT_NS_PER_MS

bool agent_is_no_room(int error)
{
    return error == EAGAIN || error == ENOBUFS || error == ENOMEM;
}

void agent_block(agent_block_t *b, int64_t now_mono_ns)
{
    b->now = true;
    b->after_ns = b->after_ns != 0 ? 2 * b->after_ns : RETRY_FIRST_NS;
    if (b->after_ns > RETRY_LONGEST_NS)
        b->after_ns = RETRY_LONGEST_NS;
    b->retry_mono_ns = now_mono_ns + b->after_ns;
}

static void block(wrk_channel_t *ch, const agent_way_t *way, uint64_t refused_ref, int error,
                  int64_t now_mono_ns)
{
    wrk_count(ch, SHM_COUNT_tx_retries, 1);
    if (way->put == NULL) /* a reader that is behind is no event */
        wrk_note(ch, SHM_EVENT_send_no_room, 1, error, 0, 0, now_mono_ns);
    way->ledger->refused_ref = refused_ref;
    agent_block(way->block, now_mono_ns);
    ch->tx_paused = true;
}

static void send_to_path(wrk_channel_t *ch, const agent_way_t *way, const agent_batch_t *b,
                         const agent_outcomes_t *outcomes)
{
    int64_t start = rt_mono_ns();
    agent_path_offer_tx(way->path, b->messages, b->count, start);
    int64_t end = rt_mono_ns();
    outcomes->left(ch, 0, b->count, start, end);
    wrk_note_send_end(ch, end);
    agent_path_emit(ch, way->path, end);
}

static int send_some(wrk_channel_t *ch, const agent_way_t *way, udp_tx_t *messages, unsigned count,
                     int *error)
{
    if (way->put != NULL)
        return way->put(ch, messages, count, error);
    return udp_send(way->udp, messages, count, error);
}

unsigned agent_next_call(const udp_t *udp, const agent_batch_t *b, unsigned at, int64_t join_ns,
                         int64_t now_mono_ns)
{
    if (join_ns == 0 || b->start_mono_ns[b->count - 1] <= now_mono_ns)
        return b->count - at;
    int64_t first = b->start_mono_ns[at];
    int64_t until = (first > now_mono_ns ? first : now_mono_ns) + join_ns;
    unsigned end = at;
    while (end < b->count && (end == at || b->start_mono_ns[end] <= now_mono_ns)) {
        unsigned joined = udp_joined(udp, &b->messages[end], b->count - end);
        while (joined > 1 && b->start_mono_ns[end + joined - 1] > until)
            joined--;
        end += joined;
    }
    return end - at;
}

static void send_now(wrk_channel_t *ch, const agent_way_t *way, agent_batch_t *b,
                     const agent_outcomes_t *outcomes)
{
    for (unsigned at = 0; at < b->count;) {
        int error = 0;
        unsigned count = agent_next_call(way->udp, b, at, way->join_ns, rt_mono_ns());
        if (way->join_ns != 0)
            agent_spin_until(b->start_mono_ns[at + count - 1]);
        int64_t start = rt_mono_ns();
        int sent = send_some(ch, way, &b->messages[at], count, &error);
        int64_t end = rt_mono_ns();
        wrk_count(ch, SHM_COUNT_tx_calls, 1);
        if (sent > 0) {
            outcomes->left(ch, at, (unsigned)sent, start, end);
            wrk_note_send_end(ch, end);
            way->block->after_ns = 0;
            at += (unsigned)sent;
        }
        if (error == 0 || at >= b->count)
            continue;
        if (agent_is_no_room(error)) {
            block(ch, way, b->items[at].ref, error, end);
            outcomes->put_back(ch, at);
            return;
        }
        outcomes->failed(ch, at++, error, end);
    }
}

void agent_send(wrk_channel_t *ch, const agent_way_t *way, agent_batch_t *batch,
                const agent_outcomes_t *outcomes)
{
    if (way->path->tx != NULL)
        send_to_path(ch, way, batch, outcomes);
    else
        send_now(ch, way, batch, outcomes);
    batch->count = 0;
    if (way->ledger->awaited_count > 0)
        agent_collect_stamps(ch, way->ledger, wrk_last_send_end_ns(ch));
}

bool agent_send_extra(wrk_channel_t *ch, udp_t *udp, agent_path_t *path, udp_tx_t *message)
{
    int error = 0;
    int64_t start = rt_mono_ns();
    if (path != NULL && path->tx != NULL)
        agent_path_offer_tx(path, message, 1, start);
    else
        (void)udp_send(udp, message, 1, &error);
    if (error == 0 && agent_tapped(ch))
        agent_tap_left(ch, udp, message, 1, start, rt_mono_ns());
    return error == 0;
}
