#include "proto/capture/capture.h"

#include <string.h>

void capture_init(capture_t *c, uint64_t seed)
{
    memset(c, 0, sizeof *c);
    c->flows.seed = seed;
}

void capture_rewind(capture_t *c)
{
    memset(&c->file, 0, sizeof c->file);
}

/* Returns whether the packet became a record. */
static bool take_frame(capture_t *c, const uint8_t *data, const capture_frame_t *frame,
                       capture_record_t *record)
{
    capture_datagram_t d;
    capture_fate_t fate = capture_udp(frame, &d);
    int64_t flow = -1;
    if (fate == CAPTURE_FATE_other_link)
        c->other_link = frame->link;
    if (fate == CAPTURE_FATE_udp) {
        flow = capture_flow_find(&c->flows, &d.ends);
        if (flow < 0)
            fate = CAPTURE_FATE_too_many_flows;
    }
    c->fates[fate]++;
    if (flow < 0)
        return false;
    capture_flow_count(&c->flows, (uint32_t)flow, d.payload_bytes, frame->time_ns);
    *record = (capture_record_t){
        .time_ns = frame->time_ns,
        .offset = (uint32_t)(d.payload - data),
        .length = d.payload_bytes,
        .flow = (uint32_t)flow,
    };
    return true;
}

int capture_read(capture_t *c, const uint8_t *data, size_t bytes, capture_record_t *records,
                 uint32_t max, size_t *used, uint32_t *count)
{
    capture_frame_t frame;
    int rc = 1;
    *used = 0;
    *count = 0;
    if (bytes > UINT32_MAX)
        bytes = UINT32_MAX;
    while (rc == 1 && *count < max) {
        rc = capture_file_next(&c->file, data, bytes, used, &frame);
        if (rc == 1 && take_frame(c, data, &frame, &records[*count]))
            ++*count;
    }
    return rc < 0 ? rc : 0;
}

void capture_route(capture_t *c, uint32_t flow, uint32_t lane, const due_address_t *to)
{
    c->flows.flows[flow].lane = lane;
    c->flows.flows[flow].to = *to;
}
