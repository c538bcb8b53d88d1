/* schedule.h: the packets with a deadline that a channel has taken in. What decides (due time,
 * order) is kept here, in the worker's memory, as it was when the packet was taken in.
 *
 * A packet that is cancelled or moved leaves its entry behind until the entry comes due. Such
 * entries must not fill the schedule, so it has two heaps. One takes new entries. When it holds 1.5
 * times as many as can wait in the ring, the other heap takes its place, and each push moves over a
 * few entries that still mean a packet. No call ever touches all entries at once. */
#ifndef AGENT_SCHEDULE_H
#define AGENT_SCHEDULE_H

#include "proto/pacing/due_heap.h"
#include "shm/tx_queue.h"

typedef struct agent_schedule {
    due_heap_t heaps[2];
    unsigned filling;    /* heap that takes new entries; the other is being emptied */
    uint64_t sweep_from; /* number of entries in the filling heap at which they change places */
} agent_schedule_t;

/* most_packets: the most that can wait in the ring. Returns 0 or -errno with a text. It never takes
 * more memory than agent_schedule_most_bytes. */
uint64_t agent_schedule_most_bytes(uint64_t most_packets);
int agent_schedule_init(agent_schedule_t *s, uint64_t most_packets);
/* Safe on a zeroed struct. */
void agent_schedule_close(agent_schedule_t *s);

/* Returns 0; -ENOSPC (more wait than the channel was opened for), -ENOMEM. */
int agent_schedule_push(agent_schedule_t *s, const tx_queue_t *q, const due_entry_t *entry);

/* The earliest entry that is due at or before until_ns (INT64_MAX: any). False: none. */
bool agent_schedule_pop_due(agent_schedule_t *s, int64_t until_ns, due_entry_t *out);

static inline uint64_t agent_schedule_count(const agent_schedule_t *s)
{
    return due_heap_count(&s->heaps[0]) + due_heap_count(&s->heaps[1]);
}

/* INT64_MAX: nothing is scheduled. */
static inline int64_t agent_schedule_next_ns(const agent_schedule_t *s)
{
    int64_t a = due_heap_next_ns(&s->heaps[0]);
    int64_t b = due_heap_next_ns(&s->heaps[1]);
    return a < b ? a : b;
}

#endif
