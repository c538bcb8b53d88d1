/* due_heap.h: the schedule. It returns the entry that is due first, and among equal due times the
 * one with the lower order.
 *
 * Most entries are queued in order. So DUE_HEAP_RUNS queues (runs), sorted by construction, precede
 * a 4-ary heap. An entry that is due after the last one of a run is appended to it in O(1), and
 * leaves from its front in O(1). An entry that fits no run goes to the heap. One run is enough for
 * a single sender. The others take entries that interleave with it (a packet far in the future, a
 * second channel), so that they do not end the first run.
 *
 *      run 0   [10 20 30 40 50 ...]  <- 60 goes here: the run with the greatest end not above 60
 *      run 1   [900000]
 *      run 2   [12 14 18]
 *      run 3   [ ]
 *      heap    everything else: 4-ary, O(log n)
 *
 * Memory is allocated in chunks of DUE_HEAP_CHUNK_ENTRIES, is shared by runs and heap, and is kept
 * for reuse until close: n entries take at most 24 bytes * n plus 9 chunks of 24 KiB and 8 bytes
 * for every 1024 of max_entries. A push allocates at most one chunk. Nothing is ever moved to grow.
 *
 * One thread. */
#ifndef DUE_HEAP_H
#define DUE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DUE_HEAP_RUNS 4u
#define DUE_HEAP_CHUNK_ENTRIES 1024u

typedef struct due_entry {
    int64_t due_ns;
    uint64_t order; /* breaks ties; unique, otherwise equal entries come out in any order */
    uint64_t ref;   /* the caller's */
} due_entry_t;

_Static_assert(sizeof(due_entry_t) == 24, "a million queued packets take 24 MB");

typedef struct due_chunk due_chunk_t;

typedef struct due_run {
    due_chunk_t *first;
    due_chunk_t *last;
    uint32_t begin; /* of the entries in first */
    uint32_t end;   /* of the entries in last */
    due_entry_t back;
} due_run_t;

typedef struct due_heap {
    uint64_t max_entries;
    uint64_t count;
    due_chunk_t *spare;
    due_run_t runs[DUE_HEAP_RUNS];
    due_chunk_t **heap; /* directory, one pointer a chunk */
    uint64_t heap_chunks;
    uint64_t heap_count;
    const due_entry_t *min; /* NULL: empty */
    unsigned min_source;    /* run of min, DUE_HEAP_RUNS: the heap */
} due_heap_t;

/* max_entries 1 .. 2^32. Returns 0, or -EINVAL, -ENOMEM with a text. */
int due_heap_init(due_heap_t *h, uint64_t max_entries);

/* The most memory that it takes. */
uint64_t due_heap_most_bytes(uint64_t max_entries);

/* Frees all memory. Safe on a zeroed struct, and may be called twice. */
void due_heap_close(due_heap_t *h);

/* Returns 0, -ENOSPC (max_entries reached), -ENOMEM. No text. After a
 * failure nothing has changed. */
int due_heap_push(due_heap_t *h, const due_entry_t *entry);

/* The earliest entry, NULL if there is none. Valid until the next push or pop. */
static inline const due_entry_t *due_heap_peek(const due_heap_t *h)
{
    return h->min;
}

/* When the earliest entry is due, INT64_MAX if there is none. */
static inline int64_t due_heap_next_ns(const due_heap_t *h)
{
    return h->min != NULL ? h->min->due_ns : INT64_MAX;
}

/* Takes out the earliest entry. False if there is none; then *out is unchanged. */
bool due_heap_pop(due_heap_t *h, due_entry_t *out);

/* As due_heap_pop, but only if the entry is due at or before until_ns. */
bool due_heap_pop_due(due_heap_t *h, int64_t until_ns, due_entry_t *out);

static inline uint64_t due_heap_count(const due_heap_t *h)
{
    return h->count;
}

#endif
