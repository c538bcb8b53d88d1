/* Layout
 *
 *   run:    first -> chunk -> chunk -> last       entries [begin .. | .... | .. end)
 *   heap:   heap[0], heap[1] ... chunks           entry p is in heap[p / 1024] at p % 1024
 *   spare:  chunk -> chunk                        taken and returned without the allocator
 *
 * The root of the heap is at position 3, so that the four children of p begin at 4 * (p - 2):
 * four siblings start at a multiple of four and are never in two chunks. */
#include "proto/pacing/due_heap.h"

#include "base/rt_err.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define HEAP_SOURCE DUE_HEAP_RUNS
#define ROOT 3u
#define MAX_ENTRIES (UINT64_C(1) << 32)

struct due_chunk {
    due_chunk_t *next;
    due_entry_t entries[DUE_HEAP_CHUNK_ENTRIES];
};

/* The ends of the runs, and that of the heap. */
#define PARTLY_USED_CHUNKS (2u * DUE_HEAP_RUNS + 1u)

static size_t directory_bytes(uint64_t max_entries)
{
    uint64_t chunks = (max_entries + ROOT) / DUE_HEAP_CHUNK_ENTRIES + 1;
    return (size_t)chunks * sizeof(due_chunk_t *);
}

uint64_t due_heap_most_bytes(uint64_t max_entries)
{
    uint64_t chunks = max_entries / DUE_HEAP_CHUNK_ENTRIES + PARTLY_USED_CHUNKS;
    return directory_bytes(max_entries) + chunks * sizeof(due_chunk_t);
}

int due_heap_init(due_heap_t *h, uint64_t max_entries)
{
    memset(h, 0, sizeof *h);
    if (max_entries == 0 || max_entries > MAX_ENTRIES)
        return rt_err_set(-EINVAL, "schedule of %" PRIu64 " entries; set 1 .. %" PRIu64,
                          max_entries, MAX_ENTRIES);
    h->max_entries = max_entries;
    h->heap = malloc(directory_bytes(max_entries));
    if (h->heap == NULL)
        return rt_err_set(-ENOMEM, "no %zu bytes for a schedule of %" PRIu64 " entries",
                          directory_bytes(max_entries), max_entries);
    return 0;
}

static bool earlier(const due_entry_t *a, const due_entry_t *b)
{
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->order < b->order;
}

/* --- chunks ------------------------------------------------------------------------------- */

static void give_chunk(due_heap_t *h, due_chunk_t *chunk)
{
    chunk->next = h->spare;
    h->spare = chunk;
}

static due_chunk_t *take_chunk(due_heap_t *h)
{
    due_chunk_t *chunk = h->spare;
    if (chunk != NULL)
        h->spare = chunk->next;
    else
        chunk = malloc(sizeof *chunk);
    if (chunk != NULL)
        chunk->next = NULL;
    return chunk;
}

static void free_chunks(due_chunk_t *chunk)
{
    while (chunk != NULL) {
        due_chunk_t *next = chunk->next;
        free(chunk);
        chunk = next;
    }
}

/* --- runs --------------------------------------------------------------------------------- */

static bool run_is_empty(const due_run_t *run)
{
    return run->first == NULL;
}

static const due_entry_t *run_front(const due_run_t *run)
{
    return &run->first->entries[run->begin];
}

/* The run with the greatest end not later than the entry, or an empty one, or NULL. */
static due_run_t *run_for(due_heap_t *h, const due_entry_t *entry)
{
    due_run_t *best = NULL;
    due_run_t *empty = NULL;
    for (unsigned i = 0; i < DUE_HEAP_RUNS; i++) {
        due_run_t *run = &h->runs[i];
        if (run_is_empty(run))
            empty = run;
        else if (!earlier(entry, &run->back) && (best == NULL || earlier(&best->back, &run->back)))
            best = run;
    }
    return best != NULL ? best : empty;
}

/* Returns the place of the entry, NULL: no memory. */
static const due_entry_t *run_append(due_heap_t *h, due_run_t *run, const due_entry_t *entry)
{
    if (run_is_empty(run) || run->end == DUE_HEAP_CHUNK_ENTRIES) {
        due_chunk_t *chunk = take_chunk(h);
        if (chunk == NULL)
            return NULL;
        if (run_is_empty(run)) {
            run->first = chunk;
            run->begin = 0;
        } else {
            run->last->next = chunk;
        }
        run->last = chunk;
        run->end = 0;
    }
    due_entry_t *at = &run->last->entries[run->end++];
    *at = *entry;
    run->back = *entry;
    return at;
}

static void run_drop_front(due_heap_t *h, due_run_t *run)
{
    run->begin++;
    bool drained = run->first == run->last && run->begin == run->end;
    if (!drained && run->begin < DUE_HEAP_CHUNK_ENTRIES)
        return;
    due_chunk_t *done = run->first;
    run->first = drained ? NULL : done->next;
    run->begin = 0;
    give_chunk(h, done);
}

/* --- heap --------------------------------------------------------------------------------- */

static due_entry_t *heap_at(const due_heap_t *h, uint64_t position)
{
    return &h->heap[position / DUE_HEAP_CHUNK_ENTRIES]->entries[position % DUE_HEAP_CHUNK_ENTRIES];
}

static const due_entry_t *heap_insert(due_heap_t *h, const due_entry_t *entry)
{
    uint64_t hole = h->heap_count + ROOT;
    if (hole / DUE_HEAP_CHUNK_ENTRIES == h->heap_chunks) {
        due_chunk_t *chunk = take_chunk(h);
        if (chunk == NULL)
            return NULL;
        h->heap[h->heap_chunks++] = chunk;
    }
    h->heap_count++;
    while (hole > ROOT) {
        uint64_t parent = hole / 4 + 2;
        if (!earlier(entry, heap_at(h, parent)))
            break;
        *heap_at(h, hole) = *heap_at(h, parent);
        hole = parent;
    }
    due_entry_t *at = heap_at(h, hole);
    *at = *entry;
    return at;
}

/* Earliest of the children that start at position first. */
static uint64_t earliest_child(const due_heap_t *h, uint64_t first, uint64_t end)
{
    uint64_t best = first;
    uint64_t stop = first + 4 < end ? first + 4 : end;
    for (uint64_t child = first + 1; child < stop; child++)
        if (earlier(heap_at(h, child), heap_at(h, best)))
            best = child;
    return best;
}

static void heap_drop_root(due_heap_t *h)
{
    uint64_t end = --h->heap_count + ROOT; /* also the position of the entry that must move */
    due_entry_t moved = *heap_at(h, end);
    uint64_t hole = ROOT;
    for (uint64_t first = 4 * (hole - 2); first < end; first = 4 * (hole - 2)) {
        uint64_t child = earliest_child(h, first, end);
        if (!earlier(heap_at(h, child), &moved))
            break;
        *heap_at(h, hole) = *heap_at(h, child);
        hole = child;
    }
    *heap_at(h, hole) = moved;
    if (h->heap_count == 0 || end == (h->heap_chunks - 1) * DUE_HEAP_CHUNK_ENTRIES)
        give_chunk(h, h->heap[--h->heap_chunks]);
}

/* --- the whole ---------------------------------------------------------------------------- */

static void offer_min(due_heap_t *h, const due_entry_t *entry, unsigned source)
{
    if (h->min != NULL && !earlier(entry, h->min))
        return;
    h->min = entry;
    h->min_source = source;
}

static void find_min(due_heap_t *h)
{
    h->min = NULL;
    for (unsigned i = 0; i < DUE_HEAP_RUNS; i++)
        if (!run_is_empty(&h->runs[i]))
            offer_min(h, run_front(&h->runs[i]), i);
    if (h->heap_count > 0)
        offer_min(h, heap_at(h, ROOT), HEAP_SOURCE);
}

int due_heap_push(due_heap_t *h, const due_entry_t *entry)
{
    if (h->count == h->max_entries)
        return -ENOSPC;
    due_run_t *run = run_for(h, entry);
    const due_entry_t *at = run != NULL ? run_append(h, run, entry) : heap_insert(h, entry);
    if (at == NULL)
        return -ENOMEM;
    h->count++;
    offer_min(h, at, run != NULL ? (unsigned)(run - h->runs) : HEAP_SOURCE);
    return 0;
}

bool due_heap_pop(due_heap_t *h, due_entry_t *out)
{
    if (h->min == NULL)
        return false;
    *out = *h->min;
    h->count--;
    if (h->min_source == HEAP_SOURCE)
        heap_drop_root(h);
    else
        run_drop_front(h, &h->runs[h->min_source]);
    find_min(h);
    return true;
}

bool due_heap_pop_due(due_heap_t *h, int64_t until_ns, due_entry_t *out)
{
    return h->min != NULL && h->min->due_ns <= until_ns && due_heap_pop(h, out);
}

void due_heap_close(due_heap_t *h)
{
    for (unsigned i = 0; i < DUE_HEAP_RUNS; i++)
        free_chunks(h->runs[i].first);
    free_chunks(h->spare);
    while (h->heap_chunks > 0)
        free(h->heap[--h->heap_chunks]);
    free(h->heap);
    memset(h, 0, sizeof *h);
}
