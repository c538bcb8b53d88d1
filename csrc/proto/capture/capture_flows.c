#include "proto/capture/capture_flows.h"

#include <string.h>

_Static_assert(sizeof(capture_ends_t) == 40, "compared and hashed as bytes");

static uint64_t mix(uint64_t h)
{
    h ^= h >> 30;
    h *= UINT64_C(0xBF58476D1CE4E5B9);
    h ^= h >> 27;
    h *= UINT64_C(0x94D049BB133111EB);
    return h ^ h >> 31;
}

static uint32_t slot_of(const capture_flows_t *t, const capture_ends_t *ends)
{
    uint64_t words[sizeof *ends / sizeof(uint64_t)];
    uint64_t h = t->seed;
    memcpy(words, ends, sizeof words);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        h = mix(h + words[i] + UINT64_C(0x9E3779B97F4A7C15));
    return (uint32_t)h % CAPTURE_FLOW_SLOTS;
}

int64_t capture_flow_find(capture_flows_t *t, const capture_ends_t *ends)
{
    uint32_t slot = slot_of(t, ends);
    for (unsigned i = 0; i < CAPTURE_FLOW_PROBES; i++, slot = (slot + 1) % CAPTURE_FLOW_SLOTS) {
        uint32_t entry = t->slots[slot];
        if (entry != 0 && memcmp(&t->flows[entry - 1].ends, ends, sizeof *ends) == 0)
            return entry - 1;
        if (entry != 0)
            continue;
        if (t->count >= CAPTURE_MAX_FLOWS)
            return -1;
        t->flows[t->count] = (capture_flow_t){.ends = *ends};
        t->slots[slot] = ++t->count;
        return t->count - 1;
    }
    return -1;
}

void capture_flow_count(capture_flows_t *t, uint32_t index, uint32_t payload_bytes, int64_t time_ns)
{
    capture_flow_t *f = &t->flows[index];
    if (f->packets == 0)
        f->first_ns = f->last_ns = time_ns;
    if (time_ns < f->first_ns)
        f->first_ns = time_ns;
    if (time_ns > f->last_ns)
        f->last_ns = time_ns;
    f->packets++;
    f->payload_bytes += payload_bytes;
}
