#include "proto/capture/capture_plan.h"

#include "base/rt_err.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>

#define IPV4_UDP_HEAD_BYTES 28u
#define IPV6_UDP_HEAD_BYTES 48u

static int refuse_span(const capture_plan_t *p, double after_ns)
{
    return rt_err_set(-ERANGE,
                      "packet %" PRIu64
                      " is due %.10g s after the start: at most a year is possible. "
                      "Check the times in the file, or use a smaller scale, pps or bps",
                      p->planned + 1, after_ns / 1e9);
}

/* Time from the start to the packet. Not a number of ns that fits: above CAPTURE_MAX_SPAN_NS. */
static double after_start(const capture_plan_t *p, int64_t time_ns)
{
    switch (p->pace) {
    case CAPTURE_BY_COUNT:
        return (double)p->planned * p->interval_ns;
    case CAPTURE_BY_BITS:
        return (double)p->bits * p->interval_ns;
    case CAPTURE_AT_ONCE:
        return 0;
    default:
        break;
    }
    int64_t since;
    if (__builtin_sub_overflow(time_ns, p->first_ns, &since))
        return time_ns < p->first_ns ? (double)p->round_ns : (double)INT64_MAX;
    return (double)p->round_ns + (since > 0 ? (double)since * p->scale : 0);
}

static void note_time(capture_plan_t *p, int64_t time_ns)
{
    if (p->in_round == 0)
        p->first_ns = p->last_ns = time_ns;
    if (time_ns > p->last_ns)
        p->last_ns = time_ns;
    p->in_round++;
}

static void count_bits(capture_plan_t *p, const capture_flow_t *flow, uint32_t payload_bytes)
{
    uint32_t head = flow->lane == DUE_LANE_IPV4 ? IPV4_UDP_HEAD_BYTES : IPV6_UDP_HEAD_BYTES;
    p->bits += ((uint64_t)payload_bytes + head) * 8;
    p->planned++;
}

static int plan_one(capture_plan_t *p, const capture_flow_t *flow, const capture_record_t *r,
                    due_lane_t *lane)
{
    note_time(p, r->time_ns);
    double after_ns = after_start(p, r->time_ns);
    if (!(after_ns <= (double)CAPTURE_MAX_SPAN_NS))
        return refuse_span(p, after_ns);
    int64_t due_ns = p->start_ns + llround(after_ns);
    if (due_ns > p->last_due_ns)
        p->last_due_ns = due_ns;
    uint32_t i = lane->count++;
    lane->due_ns[i] = p->pace == CAPTURE_AT_ONCE ? 0 : due_ns;
    lane->offset[i] = r->offset;
    lane->length[i] = r->length;
    lane->to[i] = flow->to;
    count_bits(p, flow, r->length);
    return 0;
}

int capture_plan_batch(capture_plan_t *p, const capture_t *c, const capture_record_t *records,
                       uint32_t count, due_lane_t *lanes)
{
    int rc = 0;
    for (uint32_t i = 0; i < DUE_LANES; i++)
        lanes[i].count = 0;
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        const capture_flow_t *flow = &c->flows.flows[records[i].flow];
        if (flow->lane != DUE_LANE_NONE)
            rc = plan_one(p, flow, &records[i], &lanes[flow->lane - 1]);
    }
    return rc;
}

int capture_plan_next_round(capture_plan_t *p)
{
    if (p->pace != CAPTURE_BY_TIME) {
        p->in_round = 0;
        return 0;
    }
    if (p->in_round < 2)
        return rt_err_set(-EDOM,
                          "the capture has %" PRIu64 " packets to send, which have no gap: a "
                          "loop needs 2 packets, or a rate (pps or bps)",
                          p->in_round);
    int64_t span; /* of the integers: doubles of times since 1970 are wrong by 256 ns */
    if (__builtin_sub_overflow(p->last_ns, p->first_ns, &span))
        span = INT64_MAX;
    double span_ns = (double)span * p->scale;
    double round_ns = span_ns + span_ns / (double)(p->in_round - 1);
    if (!((double)p->round_ns + round_ns <= (double)CAPTURE_MAX_SPAN_NS))
        return refuse_span(p, (double)p->round_ns + round_ns);
    p->round_ns += llround(round_ns);
    p->in_round = 0;
    return 0;
}
