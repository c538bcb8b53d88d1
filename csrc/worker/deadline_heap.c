#include "worker/deadline_heap.h"

void deadline_heap_init(deadline_heap_t *heap, deadline_entry_t *entries, uint32_t capacity)
{
    *heap = (deadline_heap_t){.entries = entries, .capacity = capacity};
}

static void place(deadline_heap_t *heap, uint32_t at, deadline_entry_t entry)
{
    heap->entries[at] = entry;
    entry.node->index = at;
}

static void sift_up(deadline_heap_t *heap, uint32_t at, deadline_entry_t entry)
{
    while (at > 0) {
        uint32_t parent = (at - 1) / 2;
        if (heap->entries[parent].at_mono_ns <= entry.at_mono_ns)
            break;
        place(heap, at, heap->entries[parent]);
        at = parent;
    }
    place(heap, at, entry);
}

static void sift_down(deadline_heap_t *heap, uint32_t at, deadline_entry_t entry)
{
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= heap->count)
            break;
        if (child + 1 < heap->count &&
            heap->entries[child + 1].at_mono_ns < heap->entries[child].at_mono_ns)
            child++;
        if (heap->entries[child].at_mono_ns >= entry.at_mono_ns)
            break;
        place(heap, at, heap->entries[child]);
        at = child;
    }
    place(heap, at, entry);
}

static void settle(deadline_heap_t *heap, uint32_t at, deadline_entry_t entry)
{
    if (at > 0 && heap->entries[(at - 1) / 2].at_mono_ns > entry.at_mono_ns)
        sift_up(heap, at, entry);
    else
        sift_down(heap, at, entry);
}

static void take_out(deadline_heap_t *heap, deadline_node_t *node)
{
    uint32_t at = node->index;
    deadline_node_init(node);
    deadline_entry_t last = heap->entries[--heap->count];
    if (at != heap->count)
        settle(heap, at, last);
}

void deadline_heap_set(deadline_heap_t *heap, deadline_node_t *node, int64_t at_mono_ns)
{
    if (at_mono_ns == node->at_mono_ns)
        return;
    if (at_mono_ns == RT_NEVER_NS) {
        take_out(heap, node);
        return;
    }
    uint32_t at = node->index;
    node->at_mono_ns = at_mono_ns;
    deadline_entry_t entry = {.at_mono_ns = at_mono_ns, .node = node};
    if (at == DEADLINE_NOWHERE)
        sift_up(heap, heap->count++, entry);
    else
        settle(heap, at, entry);
}
