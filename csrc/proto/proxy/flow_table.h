/* flow_table.h: the flows of a proxy: finds the flow of a client's address, and the flow of a rank
 * that was idle for the longest time.
 *
 *     buckets  [ . | 3 | . | 1 | ... ]          by a hash of the key, chained
 *                    |       `-> 7
 *     by use   oldest 7 <-> 3 <-> 1 newest      one list a rank; flow_table_use moves a flow to the
 *                                               end of its list, or of another rank's
 *
 * A flow is a number, its place: below the capacity, the same for as long as it exists. What
 * belongs to a flow is in arrays of the caller.
 *
 * Keys come from the network, so their hash has a secret: nobody can choose addresses that collide.
 *
 * Caller's memory, one thread, no clock: times are any that do not go back. */
#ifndef FLOW_TABLE_H
#define FLOW_TABLE_H

#include "base/rt_siphash.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FLOW_NONE UINT32_MAX
#define FLOW_TABLE_MOST 65536u
#define FLOW_RANKS 3u

/* An address with port and zone, in a form in which equal addresses have equal bits. */
typedef struct flow_key {
    uint64_t word[3];
} flow_key_t;

typedef struct flow_entry {
    flow_key_t key;
    int64_t used_ns;
    uint32_t bucket;
    uint32_t next_in_bucket; /* of a free place: the next free one */
    uint32_t older;
    uint32_t newer;
    uint32_t rank;
} flow_entry_t;

typedef struct flow_list {
    uint32_t oldest;
    uint32_t newest;
} flow_list_t;

typedef struct flow_table {
    flow_entry_t *entries;
    uint32_t *buckets;
    rt_secret_t secret;
    uint32_t capacity;
    uint32_t mask;
    uint32_t count;
    uint32_t free;
    flow_list_t by_use[FLOW_RANKS];
} flow_table_t;

/* flows: 1 .. FLOW_TABLE_MOST. */
size_t flow_table_bytes(uint32_t flows);

/* memory: flow_table_bytes(flows), aligned to 8, owned by the caller. */
void flow_table_init(flow_table_t *t, void *memory, uint32_t flows, const rt_secret_t *secret);

/* The flow of that key, or FLOW_NONE. */
uint32_t flow_table_find(const flow_table_t *t, const flow_key_t *key);

/* A new flow of rank 0, used now. The key has none yet. FLOW_NONE: there are as many as fit. */
uint32_t flow_table_add(flow_table_t *t, const flow_key_t *key, int64_t now_ns);

/* The flow is used now, and has this rank. */
void flow_table_use(flow_table_t *t, uint32_t flow, uint32_t rank, int64_t now_ns);

/* The same, and it keeps its rank. */
static inline void flow_table_touch(flow_table_t *t, uint32_t flow, int64_t now_ns)
{
    flow_table_use(t, flow, t->entries[flow].rank, now_ns);
}

void flow_table_remove(flow_table_t *t, uint32_t flow);

/* The flow whose last use is longest ago, FLOW_NONE if there is none. */
uint32_t flow_table_oldest(const flow_table_t *t);

static inline uint32_t flow_table_oldest_of(const flow_table_t *t, uint32_t rank)
{
    return t->by_use[rank].oldest;
}

static inline uint32_t flow_table_rank(const flow_table_t *t, uint32_t flow)
{
    return t->entries[flow].rank;
}

static inline int64_t flow_table_used_ns(const flow_table_t *t, uint32_t flow)
{
    return t->entries[flow].used_ns;
}

#endif
