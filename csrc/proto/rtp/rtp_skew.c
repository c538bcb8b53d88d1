#include "proto/rtp/rtp_skew.h"

#include "base/rt_clock.h"

#include <math.h>
#include <string.h>

#define BLOCK_NS (2 * RT_NS_PER_S)
#define LEAST_BLOCKS 6u
#define MAX_SKEW 1e-3
#define FLOOR_STEP_NS 1e6
#define FLOOR_STEP_FACTOR 4.0

int64_t rtp_skew_shift_ns(const rtp_skew_t *s, int64_t at_ns)
{
    return s->shift_ns + (int64_t)(s->rate * (double)(at_ns - s->shift_at_ns));
}

static double median(double *values, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        double v = values[i];
        uint32_t at = i;
        for (; at > 0 && values[at - 1] > v; at--)
            values[at] = values[at - 1];
        values[at] = v;
    }
    return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

/* Fills floor[] with the blocks' transits after removing steps: a difference far from the median
 * one is replaced by the median. */
static void flatten_steps(const rtp_skew_t *s, double *floor)
{
    double differences[RTP_SKEW_BLOCKS] = {0};
    double scratch[RTP_SKEW_BLOCKS] = {0};
    uint32_t n = s->count - 1;
    for (uint32_t i = 0; i < n; i++)
        scratch[i] = differences[i] = (double)(s->transit_ns[i + 1] - s->transit_ns[i]);
    double middle = median(scratch, n);
    for (uint32_t i = 0; i < n; i++)
        scratch[i] = fabs(differences[i] - middle);
    double limit = fmax(FLOOR_STEP_FACTOR * median(scratch, n), FLOOR_STEP_NS);
    floor[0] = 0;
    for (uint32_t i = 0; i < n; i++)
        floor[i + 1] = floor[i] + (fabs(differences[i] - middle) > limit ? middle : differences[i]);
}

static double slope(const rtp_skew_t *s)
{
    double floor[RTP_SKEW_BLOCKS];
    double mean_t = 0;
    double mean_y = 0;
    flatten_steps(s, floor);
    for (uint32_t i = 0; i < s->count; i++) {
        mean_t += (double)(s->at_ns[i] - s->at_ns[0]) / s->count;
        mean_y += floor[i] / s->count;
    }
    double above = 0;
    double below = 0;
    for (uint32_t i = 0; i < s->count; i++) {
        double t = (double)(s->at_ns[i] - s->at_ns[0]) - mean_t;
        above += t * (floor[i] - mean_y);
        below += t * t;
    }
    return below > 0 ? fmax(-MAX_SKEW, fmin(MAX_SKEW, above / below)) : 0;
}

static void close_block(rtp_skew_t *s, int64_t now_ns)
{
    if (s->count == RTP_SKEW_BLOCKS) {
        s->count--;
        memmove(&s->at_ns[0], &s->at_ns[1], s->count * sizeof s->at_ns[0]);
        memmove(&s->transit_ns[0], &s->transit_ns[1], s->count * sizeof s->transit_ns[0]);
    }
    s->at_ns[s->count] = s->block_at_ns;
    s->transit_ns[s->count] = s->block_transit_ns;
    s->count++;
    s->block_open = false;
    if (s->count < LEAST_BLOCKS)
        return;
    s->shift_ns = rtp_skew_shift_ns(s, now_ns);
    s->shift_at_ns = now_ns;
    s->rate = slope(s);
}

void rtp_skew_add(rtp_skew_t *s, int64_t transit_ns, int64_t arrival_ns)
{
    if (s->block_open && arrival_ns - s->block_start_ns >= BLOCK_NS)
        close_block(s, arrival_ns);
    if (!s->block_open) {
        s->block_open = true;
        s->block_start_ns = arrival_ns;
    } else if (transit_ns >= s->block_transit_ns) {
        return;
    }
    s->block_transit_ns = transit_ns;
    s->block_at_ns = arrival_ns;
}

void rtp_skew_restart(rtp_skew_t *s, int64_t now_ns)
{
    s->count = 0;
    s->block_open = false;
    s->shift_ns = 0;
    s->shift_at_ns = now_ns;
}
