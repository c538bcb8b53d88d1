/* How it works
 *
 *   read <= write <= read + capacity      both only grow (64 bits), slot = index & mask
 *
 * The producer stores the slot, then publishes it by `write` (release). A consumer reads `read`,
 * then `write` (acquire: the slots below it are visible), copies the slots it wants, and claims
 * them by moving `read` from the value that it found. If that fails, another consumer was faster,
 * the copies are invalid and it tries again. If it succeeds, no other consumer took them, and the
 * producer has not overwritten them either, because it goes no further than `read` + capacity and
 * `read` had not moved.
 *
 * The release of the claim ensures that the copies are really read before the claim is seen. It
 * pairs with the producer's acquire of `read` (pairs Q1, Q2). Slots are atomic, because copies may
 * race with a producer that is a whole lap ahead: such a copy is discarded, but must not be
 * undefined behaviour.
 *
 * No ABA: an index does not come back in 2^64 pushes. */
#include "librtpsynth/SPMCQueue.h"

#include "base/rt_atomic.h"

#include <stdlib.h>

typedef _Atomic(void *) slot_t;

struct SPMCQueue {
    size_t mask;
    char line_1[RT_LINE_BYTES - sizeof(size_t)];
    rt_a64_t write;
    uint64_t read_seen; /* the producer's: `read` when last seen */
    char line_2[RT_LINE_BYTES - sizeof(rt_a64_t) - sizeof(uint64_t)];
    rt_a64_t read;
    char line_3[RT_LINE_BYTES - sizeof(rt_a64_t)];
    slot_t slots[];
};

SPMCQueue *create_queue(size_t capacity)
{
    if (capacity == 0 || (capacity & (capacity - 1)) != 0)
        return NULL;
    if (capacity > (PTRDIFF_MAX - sizeof(SPMCQueue) - RT_LINE_BYTES) / sizeof(slot_t))
        return NULL;
    size_t bytes = sizeof(SPMCQueue) + capacity * sizeof(slot_t);
    bytes = (bytes + RT_LINE_BYTES - 1) / RT_LINE_BYTES * RT_LINE_BYTES;
    SPMCQueue *q = aligned_alloc(RT_LINE_BYTES, bytes);
    if (q == NULL)
        return NULL;
    q->mask = capacity - 1;
    q->read_seen = 0;
    rt_store_relaxed(&q->write, 0);
    rt_store_relaxed(&q->read, 0);
    return q;
}

void destroy_queue(SPMCQueue *q)
{
    free(q);
}

bool try_push(SPMCQueue *q, void *value)
{
    uint64_t write = rt_load_relaxed(&q->write);
    if (write - q->read_seen > q->mask) {
        q->read_seen = rt_load_acquire(&q->read); /* Q2: pairs with Q1 */
        if (write - q->read_seen > q->mask)
            return false;
    }
    rt_store_relaxed(&q->slots[write & q->mask], value);
    rt_store_release(&q->write, write + 1); /* P1: publishes the slot; pairs with P2 */
    return true;
}

size_t try_pop_many(SPMCQueue *q, void **values, size_t howmany)
{
    uint64_t read = rt_load_acquire(&q->read);
    for (;;) {
        uint64_t count = rt_load_acquire(&q->write) - read; /* P2: pairs with P1 */
        /* More than the capacity: `read` has moved since, and the claim will fail. */
        if (count > q->mask + 1)
            count = q->mask + 1;
        if (count > howmany)
            count = howmany;
        if (count == 0)
            return 0;
        for (uint64_t i = 0; i < count; i++)
            values[i] = rt_load_relaxed(&q->slots[(read + i) & q->mask]);
        if (rt_cas(&q->read, &read, read + count)) /* Q1: pairs with Q2 */
            return (size_t)count;
    }
}

bool try_pop(SPMCQueue *q, void **value)
{
    void *taken;
    if (try_pop_many(q, &taken, 1) == 0)
        return false;
    *value = taken;
    return true;
}
