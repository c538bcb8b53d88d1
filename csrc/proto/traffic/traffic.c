#include "proto/traffic/traffic.h"

#include "base/rt_bytes.h"
#include "base/rt_err.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define TLV_BYTES 4u
#define TLV_UNRECOGNIZED 0x80u /* the sender sets it, who knows the type clears it */
#define TLV_EXTRA_PADDING 1u

/* --- the heap -----------------------------------------------------------------------------------
 */

static bool earlier(const traffic_t *t, uint32_t a, uint32_t b)
{
    int64_t a_ns = t->flows[a].next_ns;
    int64_t b_ns = t->flows[b].next_ns;
    return a_ns != b_ns ? a_ns < b_ns : a < b;
}

static void sink(traffic_t *t, uint32_t at)
{
    uint32_t flow = t->heap[at];
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= t->heap_count)
            break;
        if (child + 1 < t->heap_count && earlier(t, t->heap[child + 1], t->heap[child]))
            child++;
        if (!earlier(t, t->heap[child], flow))
            break;
        t->heap[at] = t->heap[child];
        at = child;
    }
    t->heap[at] = flow;
}

int traffic_init(traffic_t *t, traffic_flow_t *flows, uint32_t *heap, uint32_t flow_count)
{
    if (flow_count < 1 || flow_count > TRAFFIC_MAX_FLOWS)
        return rt_err_set(-EINVAL, "there are %" PRIu32 " flows: give 1 to %u", flow_count,
                          TRAFFIC_MAX_FLOWS);
    *t = (traffic_t){.flows = flows, .heap = heap, .flow_count = flow_count};
    for (uint32_t i = 0; i < flow_count; i++) {
        int rc = traffic_flow_check(&flows[i].config);
        if (rc != 0) {
            if (flow_count > 1)
                rt_err_append("flow %" PRIu32, i + 1);
            return rc;
        }
        traffic_flow_init(&flows[i]);
        if (flows[i].next_ns != RT_NEVER_NS)
            t->heap[t->heap_count++] = i;
    }
    for (uint32_t at = t->heap_count / 2; at-- > 0;)
        sink(t, at);
    return 0;
}

/* --- payloads -----------------------------------------------------------------------------------
 */

static void pad(traffic_t *t, traffic_flow_t *flow, uint8_t *out, size_t bytes)
{
    if (!t->random_padding) {
        memset(out, 0, bytes);
        return;
    }
    for (size_t at = 0; at < bytes; at += sizeof(uint64_t)) {
        uint64_t word = rt_random_next(&flow->padding_chance);
        memcpy(out + at, &word, bytes - at < sizeof word ? bytes - at : sizeof word);
    }
}

static void fill(traffic_t *t, uint32_t number, stamp_error_t error, uint8_t *out)
{
    traffic_flow_t *flow = &t->flows[number];
    uint32_t bytes = flow->next_bytes;
    uint8_t head[STAMP_BYTES];
    stamp_put_request(head,
                      &(stamp_request_t){.sequence = (uint32_t)flow->planned,
                                         .ssid = (uint16_t)(number + 1),
                                         .error = error,
                                         .t1_ns = t->start_ns + flow->next_ns + t->clock.ahead_ns});
    memcpy(out, head, bytes < STAMP_BYTES ? bytes : STAMP_BYTES);
    if (bytes <= STAMP_BYTES)
        return;
    uint32_t at = STAMP_BYTES;
    if (bytes >= STAMP_BYTES + TLV_BYTES) {
        out[at] = TLV_UNRECOGNIZED;
        out[at + 1] = TLV_EXTRA_PADDING;
        at += TLV_BYTES;
        rt_put16(out + at - 2, (uint16_t)(bytes - at));
    }
    pad(t, flow, out + at, bytes - at);
}

/* --- batches ------------------------------------------------------------------------------------
 */

static void append(due_lane_t *lane, const traffic_t *t, const traffic_flow_t *flow, size_t offset)
{
    uint32_t i = lane->count++;
    lane->due_ns[i] = t->start_ns + flow->next_ns;
    lane->offset[i] = (uint32_t)offset;
    lane->length[i] = flow->next_bytes;
    lane->to[i] = flow->config.to;
}

static void next_of_top(traffic_t *t)
{
    traffic_flow_t *flow = &t->flows[t->heap[0]];
    traffic_flow_next(flow);
    if (flow->next_ns == RT_NEVER_NS)
        t->heap[0] = t->heap[--t->heap_count];
    sink(t, 0);
}

uint32_t traffic_batch(traffic_t *t, uint8_t *payloads, size_t bytes, uint32_t max,
                       due_lane_t *lanes)
{
    stamp_error_t error = stamp_error_from_ns(t->clock.error_ns, t->clock.synchronised,
                                              (stamp_format_t)t->clock.format);
    size_t used = 0;
    uint32_t count = 0;
    for (uint32_t i = 0; i < DUE_LANES; i++)
        lanes[i].count = 0;
    while (count < max && t->heap_count > 0) {
        uint32_t number = t->heap[0];
        const traffic_flow_t *flow = &t->flows[number];
        uint32_t length = flow->next_bytes;
        if (length > bytes - used)
            break;
        fill(t, number, error, payloads + used);
        append(&lanes[flow->config.lane - 1], t, flow, used);
        used += length;
        count++;
        next_of_top(t);
    }
    return count;
}
