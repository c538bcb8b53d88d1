/* wire_offset.h: how long before its deadline a packet must be sent so that its transmit timestamp
 * meets the deadline (align="wire").
 *
 *      send_start                     stamp
 *          |<------- sample ---------->|          stamp = the kernel's or the card's
 *
 * The offset is the median of the last WIRE_OFFSET_WINDOW samples, held within [0,
 * WIRE_OFFSET_MAX_NS]: the median ignores the outliers (0.1 ms now and then) that would pull a
 * mean. Guarantee, once WIRE_OFFSET_WARM_UP samples exist and if the median is within the bounds:
 * among the samples in the window, as many are at or above the offset as at or below it, give or
 * take one. So the error of the timestamp, sample - offset, has the median 0. Before that the
 * offset is 0, so that no packet is early.
 *
 * One thread. Caller's memory. Pure arithmetic, no clock. */
#ifndef WIRE_OFFSET_H
#define WIRE_OFFSET_H

#include <stdint.h>

#define WIRE_OFFSET_WINDOW 127u
#define WIRE_OFFSET_WARM_UP 16u
#define WIRE_OFFSET_MAX_NS INT64_C(50000)

/* Zeroed: no samples. */
typedef struct wire_offset {
    int64_t offset_ns;
    uint32_t count; /* samples in the window */
    uint32_t next;  /* place in recent[] of the oldest, which goes next */
    int32_t recent[WIRE_OFFSET_WINDOW];
    int32_t sorted[WIRE_OFFSET_WINDOW];
} wire_offset_t;

/* sample_ns = stamp_ns - send_start_ns, both converted to one clock. About 50 ns of work. */
void wire_offset_observe(wire_offset_t *w, int64_t sample_ns);

/* The present offset: start the send at deadline - offset. */
static inline int64_t wire_offset_ns(const wire_offset_t *w)
{
    return w->offset_ns;
}

#endif
