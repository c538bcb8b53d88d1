#include "worker/agents/rtp/probation.h"

#include "base/rt_clock.h"

#include <errno.h>
#include <string.h>

/* A packet that waited longer is no use to a listener. */
#define PROBATION_NS RT_NS_PER_S

int probation_init(probation_t *p, wrk_channel_t *ch, unsigned min_sequential, uint32_t place_bytes)
{
    unsigned before = min_sequential - 1;
    *p = (probation_t){
        .place_bytes = place_bytes,
        .room = before < PROBATION_MOST ? before : PROBATION_MOST,
    };
    if (p->room == 0)
        return 0;
    p->store = wrk_take_memory(ch, (uint64_t)p->room * place_bytes);
    return p->store != NULL ? 0 : -ENOMEM;
}

static bool follows(const probation_t *p, const rtp_view_t *v)
{
    return p->count > 0 && v->ssrc == p->ssrc && v->seq == (uint16_t)(p->last_seq + 1);
}

/* The place of the oldest item becomes that of the newest. */
static void drop_oldest(probation_t *p)
{
    rx_item_t oldest = p->items[0];
    p->count--;
    memmove(p->items, p->items + 1, p->count * sizeof *p->items);
    p->items[p->count] = oldest;
}

void probation_keep(probation_t *p, const rx_item_t *item, const rtp_view_t *v)
{
    if (!follows(p, v))
        p->count = 0;
    if (p->room == 0 || item->payload_bytes > p->place_bytes) {
        p->count = 0;
        return;
    }
    if (p->count == p->room)
        drop_oldest(p);
    rx_item_t *kept = &p->items[p->count];
    uint8_t *place = kept->payload != NULL ? (uint8_t *)(uintptr_t)kept->payload
                                           : p->store + (size_t)p->count * p->place_bytes;
    memcpy(place, item->payload, item->payload_bytes);
    *kept = *item;
    kept->payload = place;
    p->count++;
    p->ssrc = v->ssrc;
    p->last_seq = v->seq;
}

unsigned probation_end(probation_t *p, const rtp_view_t *v, int64_t time_ns)
{
    while (p->count > 0 && time_ns - p->items[0].time_ns > PROBATION_NS)
        drop_oldest(p);
    unsigned count = follows(p, v) ? p->count : 0;
    p->count = 0;
    return count;
}
