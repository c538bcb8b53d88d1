#include "proto/pacing/wire_offset.h"

#include "base/rt_math.h"

#include <string.h>

#define MAX_SAMPLE_NS INT64_C(1000000000)

/* First place in sorted[] whose value is not below the given one. */
static uint32_t place_of(const wire_offset_t *w, int32_t value)
{
    uint32_t low = 0;
    uint32_t high = w->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (w->sorted[middle] < value)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void forget_oldest(wire_offset_t *w)
{
    uint32_t at = place_of(w, w->recent[w->next]);
    w->count--;
    memmove(&w->sorted[at], &w->sorted[at + 1], (w->count - at) * sizeof w->sorted[0]);
}

static void remember(wire_offset_t *w, int32_t sample)
{
    uint32_t at = place_of(w, sample);
    memmove(&w->sorted[at + 1], &w->sorted[at], (w->count - at) * sizeof w->sorted[0]);
    w->sorted[at] = sample;
    w->count++;
    w->recent[w->next] = sample;
    w->next = (w->next + 1) % WIRE_OFFSET_WINDOW;
}

void wire_offset_observe(wire_offset_t *w, int64_t sample_ns)
{
    if (w->count == WIRE_OFFSET_WINDOW)
        forget_oldest(w);
    remember(w, (int32_t)rt_clamp64(sample_ns, -MAX_SAMPLE_NS, MAX_SAMPLE_NS));
    if (w->count < WIRE_OFFSET_WARM_UP)
        return;
    int64_t lower = w->sorted[(w->count - 1) / 2];
    int64_t upper = w->sorted[w->count / 2];
    w->offset_ns = rt_clamp64((lower + upper) / 2, 0, WIRE_OFFSET_MAX_NS);
}
