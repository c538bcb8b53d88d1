/* schedule.c: how much the two heaps must hold. If n packets can wait and there are 1.5 n entries,
 * at least a third of the entries mean no packet. While the entries are moved over, SWEEP_PER_PUSH
 * a push, at most 1.5 n / 4 new ones come: 1.9 n entries altogether. A client that queues more than
 * n has bypassed the ring's own limit, and gets no more in than the heap holds. */
#include "worker/agents/common/schedule.h"

#include <errno.h>

#define LEAST_PACKETS 64u
#define SWEEP_PER_PUSH 4u

static uint64_t at_least(uint64_t most_packets)
{
    return most_packets > LEAST_PACKETS ? most_packets : LEAST_PACKETS;
}

uint64_t agent_schedule_most_bytes(uint64_t most_packets)
{
    return 2 * due_heap_most_bytes(2 * at_least(most_packets));
}

int agent_schedule_init(agent_schedule_t *s, uint64_t most_packets)
{
    uint64_t most = at_least(most_packets);
    *s = (agent_schedule_t){.sweep_from = most + most / 2};
    int rc = due_heap_init(&s->heaps[0], 2 * most);
    return rc ? rc : due_heap_init(&s->heaps[1], 2 * most);
}

void agent_schedule_close(agent_schedule_t *s)
{
    due_heap_close(&s->heaps[0]);
    due_heap_close(&s->heaps[1]);
}

static bool means_a_packet(const tx_queue_t *q, uint64_t ref)
{
    tx_item_t item;
    return tx_queue_peek(q, ref, &item) != -ESTALE;
}

/* An entry that cannot be moved over because memory is short stays in its heap. */
static void sweep(agent_schedule_t *s, const tx_queue_t *q)
{
    due_heap_t *from = &s->heaps[!s->filling];
    if (due_heap_count(from) == 0) {
        if (due_heap_count(&s->heaps[s->filling]) < s->sweep_from)
            return;
        s->filling = !s->filling;
        from = &s->heaps[!s->filling];
    }
    due_entry_t entry;
    for (unsigned i = 0; i < SWEEP_PER_PUSH && due_heap_pop(from, &entry); i++)
        if (means_a_packet(q, entry.ref) && due_heap_push(&s->heaps[s->filling], &entry) != 0)
            (void)due_heap_push(from, &entry);
}

int agent_schedule_push(agent_schedule_t *s, const tx_queue_t *q, const due_entry_t *entry)
{
    sweep(s, q);
    return due_heap_push(&s->heaps[s->filling], entry);
}

static bool earlier(const due_entry_t *a, const due_entry_t *b)
{
    if (a == NULL || b == NULL)
        return a != NULL;
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->order < b->order;
}

bool agent_schedule_pop_due(agent_schedule_t *s, int64_t until_ns, due_entry_t *out)
{
    unsigned first = !earlier(due_heap_peek(&s->heaps[0]), due_heap_peek(&s->heaps[1]));
    return due_heap_pop_due(&s->heaps[first], until_ns, out);
}
