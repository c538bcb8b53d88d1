/* deadline_heap.h: finds the channel that is due next. An indexed binary heap: a channel's deadline
 * can be set, moved and removed in O(log n). Equal deadlines come in no particular order. Pure. */
#ifndef WRK_DEADLINE_HEAP_H
#define WRK_DEADLINE_HEAP_H

#include "base/rt_clock.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DEADLINE_NOWHERE UINT32_MAX

/* Embedded in each struct that has a deadline. */
typedef struct deadline_node {
    int64_t at_mono_ns; /* RT_NEVER_NS while not in the heap */
    uint32_t index;
} deadline_node_t;

typedef struct deadline_entry {
    int64_t at_mono_ns; /* copy of the node's: comparing does not touch the node */
    deadline_node_t *node;
} deadline_entry_t;

typedef struct deadline_heap {
    deadline_entry_t *entries; /* caller's memory */
    uint32_t count;
    uint32_t capacity;
} deadline_heap_t;

static inline void deadline_node_init(deadline_node_t *node)
{
    node->at_mono_ns = RT_NEVER_NS;
    node->index = DEADLINE_NOWHERE;
}

void deadline_heap_init(deadline_heap_t *heap, deadline_entry_t *entries, uint32_t capacity);

/* Moves the node to its new time. RT_NEVER_NS removes it. There must be room for a node that is not
 * in the heap yet (capacity = number of nodes). */
void deadline_heap_set(deadline_heap_t *heap, deadline_node_t *node, int64_t at_mono_ns);

static inline int64_t deadline_heap_next_ns(const deadline_heap_t *heap)
{
    return heap->count > 0 ? heap->entries[0].at_mono_ns : RT_NEVER_NS;
}

/* The earliest deadline of the others. The node need not be in the heap. */
static inline int64_t deadline_heap_next_besides_ns(const deadline_heap_t *heap,
                                                    const deadline_node_t *node)
{
    if (node->index != 0)
        return deadline_heap_next_ns(heap);
    int64_t left = heap->count > 1 ? heap->entries[1].at_mono_ns : RT_NEVER_NS;
    int64_t right = heap->count > 2 ? heap->entries[2].at_mono_ns : RT_NEVER_NS;
    return left < right ? left : right;
}

/* NULL when empty. */
static inline deadline_node_t *deadline_heap_top(const deadline_heap_t *heap)
{
    return heap->count > 0 ? heap->entries[0].node : NULL;
}

/* Deadlines are served in their order. On a core that is behind, a channel with a short period
 * would wait for all that were due before it. So the pressing channels are in a heap of their own,
 * too, and a pressing one that is due is served next, unless the last one served was pressing: the
 * others continue, however many are pressing. */
static inline bool deadline_pressing_next(const deadline_heap_t *pressing, bool last_was_pressing,
                                          int64_t now_mono_ns)
{
    return !last_was_pressing && deadline_heap_next_ns(pressing) <= now_mono_ns;
}

#endif
