#include "proto/proxy/flow_table.h"

#include "base/rt_math.h"

#define KEY_WORDS 3u
#define LEAST_BUCKETS 8u

static uint32_t bucket_count(uint32_t flows)
{
    return rt_pow2_at_least(flows > LEAST_BUCKETS ? flows : LEAST_BUCKETS);
}

size_t flow_table_bytes(uint32_t flows)
{
    return flows * sizeof(flow_entry_t) + bucket_count(flows) * sizeof(uint32_t);
}

void flow_table_init(flow_table_t *t, void *memory, uint32_t flows, const rt_secret_t *secret)
{
    *t = (flow_table_t){
        .entries = memory,
        .secret = *secret,
        .capacity = flows,
        .mask = bucket_count(flows) - 1,
    };
    for (uint32_t rank = 0; rank < FLOW_RANKS; rank++)
        t->by_use[rank] = (flow_list_t){.oldest = FLOW_NONE, .newest = FLOW_NONE};
    t->buckets = (uint32_t *)(void *)(t->entries + flows);
    for (uint32_t i = 0; i <= t->mask; i++)
        t->buckets[i] = FLOW_NONE;
    for (uint32_t i = 0; i < flows; i++)
        t->entries[i] = (flow_entry_t){.next_in_bucket = i + 1 < flows ? i + 1 : FLOW_NONE};
}

/* --- by key -------------------------------------------------------------------------------- */

static uint32_t bucket_of(const flow_table_t *t, const flow_key_t *key)
{
    uint64_t last = (uint64_t)sizeof key->word << 56;
    return (uint32_t)rt_siphash(&t->secret, key->word, KEY_WORDS, last) & t->mask;
}

static bool same_key(const flow_key_t *a, const flow_key_t *b)
{
    return a->word[0] == b->word[0] && a->word[1] == b->word[1] && a->word[2] == b->word[2];
}

uint32_t flow_table_find(const flow_table_t *t, const flow_key_t *key)
{
    uint32_t flow = t->buckets[bucket_of(t, key)];
    while (flow != FLOW_NONE && !same_key(&t->entries[flow].key, key))
        flow = t->entries[flow].next_in_bucket;
    return flow;
}

/* --- by use -------------------------------------------------------------------------------- */

static void unlink_use(flow_table_t *t, const flow_entry_t *e)
{
    flow_list_t *list = &t->by_use[e->rank];
    if (e->older != FLOW_NONE)
        t->entries[e->older].newer = e->newer;
    else
        list->oldest = e->newer;
    if (e->newer != FLOW_NONE)
        t->entries[e->newer].older = e->older;
    else
        list->newest = e->older;
}

static void link_newest(flow_table_t *t, uint32_t flow, uint32_t rank, int64_t now_ns)
{
    flow_entry_t *e = &t->entries[flow];
    flow_list_t *list = &t->by_use[rank];
    e->used_ns = now_ns;
    e->rank = rank;
    e->older = list->newest;
    e->newer = FLOW_NONE;
    if (list->newest != FLOW_NONE)
        t->entries[list->newest].newer = flow;
    else
        list->oldest = flow;
    list->newest = flow;
}

void flow_table_use(flow_table_t *t, uint32_t flow, uint32_t rank, int64_t now_ns)
{
    if (t->by_use[rank].newest == flow) {
        t->entries[flow].used_ns = now_ns;
        return;
    }
    unlink_use(t, &t->entries[flow]);
    link_newest(t, flow, rank, now_ns);
}

uint32_t flow_table_oldest(const flow_table_t *t)
{
    uint32_t found = FLOW_NONE;
    for (uint32_t rank = 0; rank < FLOW_RANKS; rank++) {
        uint32_t flow = t->by_use[rank].oldest;
        if (found == FLOW_NONE ||
            (flow != FLOW_NONE && t->entries[flow].used_ns < t->entries[found].used_ns))
            found = flow;
    }
    return found;
}

/* --- add, remove --------------------------------------------------------------------------- */

uint32_t flow_table_add(flow_table_t *t, const flow_key_t *key, int64_t now_ns)
{
    if (t->count == t->capacity)
        return FLOW_NONE;
    uint32_t flow = t->free;
    flow_entry_t *e = &t->entries[flow];
    t->free = e->next_in_bucket;
    e->key = *key;
    e->bucket = bucket_of(t, key);
    e->next_in_bucket = t->buckets[e->bucket];
    t->buckets[e->bucket] = flow;
    link_newest(t, flow, 0, now_ns);
    t->count++;
    return flow;
}

void flow_table_remove(flow_table_t *t, uint32_t flow)
{
    flow_entry_t *e = &t->entries[flow];
    uint32_t *at = &t->buckets[e->bucket];
    while (*at != flow)
        at = &t->entries[*at].next_in_bucket;
    *at = e->next_in_bucket;
    unlink_use(t, e);
    e->next_in_bucket = t->free;
    t->free = flow;
    t->count--;
}
