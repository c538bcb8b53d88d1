#include "python/stamp_probes.h"

#include "proto/pacing/verdict.h"

#include <string.h>

#define NUMBER_BITS 48
#define NUMBER_MASK ((UINT64_C(1) << NUMBER_BITS) - 1)

static stamp_stats_t *flow_of(const stamp_probes_t *p, uint16_t ssid)
{
    return ssid >= 1 && ssid <= p->flow_count ? &p->flows[ssid - 1] : NULL;
}

static int64_t to_channel(const stamp_probes_t *p, int64_t at_ns, stamp_format_t format)
{
    return at_ns + (format == STAMP_PTP ? p->tai_offset_ns : p->utc_offset_ns);
}

void stamp_probes_planned(stamp_probes_t *p, uint64_t first, const uint8_t *data,
                          uint64_t data_bytes, const uint32_t *offsets, const int64_t *due_ns,
                          uint64_t count)
{
    p->next = first;
    for (uint64_t i = 0; i < count; i++) {
        stamp_request_t request;
        uint64_t size = offsets[i] < data_bytes ? data_bytes - offsets[i] : 0;
        bool fine = stamp_get_request(data + offsets[i], size, &request) == STAMP_FINE;
        stamp_stats_t *flow = fine ? flow_of(p, request.ssid) : NULL;
        uint64_t entry = 0;
        if (flow == NULL)
            p->malformed++;
        else
            entry = (uint64_t)request.ssid << NUMBER_BITS | stamp_stats_plan(flow, due_ns[i]);
        p->sent[p->next++ & (p->window - 1)] = entry;
    }
}

static void report(stamp_probes_t *p, const shm_report_t *r)
{
    if (r->sequence >= p->next || p->next - r->sequence > p->window)
        return;
    uint64_t entry = p->sent[r->sequence & (p->window - 1)];
    stamp_stats_t *flow = flow_of(p, (uint16_t)(entry >> NUMBER_BITS));
    if (flow == NULL)
        return;
    int64_t left_ns = p->use_stamps && r->stamped_ns != 0 ? r->stamped_ns : r->sent_ns;
    if (r->sent_ns != 0)
        stamp_stats_sent(flow, entry & NUMBER_MASK, left_ns);
    else
        stamp_stats_not_sent(flow, entry & NUMBER_MASK, r->verdict == VERDICT_FAILED);
}

void stamp_probes_reported(stamp_probes_t *p, const shm_report_t *reports, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        report(p, &reports[i]);
}

/* The bytes of a packet, 0 if its record contradicts the buffer. */
static size_t size_in(const packet_record_t *r, uint64_t data_bytes)
{
    return r->offset <= data_bytes && r->length <= data_bytes - r->offset ? r->length : 0;
}

/* A reflector that does not echo the SSID writes 0. Its replies are told by sequence and T1. If
 * probes of two flows have both in common, one reply is for each. */
static stamp_stats_t *flow_of_reply(const stamp_probes_t *p, const stamp_reply_t *made)
{
    if (made->ssid != 0)
        return flow_of(p, made->ssid);
    for (unsigned answered = 0; answered < 2; answered++)
        for (uint32_t i = 0; i < p->flow_count; i++)
            if (stamp_stats_expects(&p->flows[i], made->request_sequence, made->t1_ns, answered))
                return &p->flows[i];
    return NULL;
}

static void reply(stamp_probes_t *p, const uint8_t *data, uint64_t data_bytes,
                  const packet_record_t *r)
{
    stamp_reply_t made;
    size_t size = size_in(r, data_bytes);
    if (size == 0 || stamp_get_reply(data + r->offset, size, &made) != STAMP_FINE) {
        p->malformed++;
        return;
    }
    made.t1_ns = to_channel(p, made.t1_ns, made.request_error.format);
    stamp_stats_t *flow = flow_of_reply(p, &made);
    if (flow == NULL) {
        p->malformed++;
        return;
    }
    made.t2_ns = to_channel(p, made.t2_ns, made.error.format);
    made.t3_ns = to_channel(p, made.t3_ns, made.error.format);
    stamp_stats_reply(flow, &made, r->timestamp_ns);
}

void stamp_probes_replied(stamp_probes_t *p, const uint8_t *data, uint64_t data_bytes,
                          const packet_record_t *packets, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        reply(p, data, data_bytes, &packets[i]);
}

static bool is_sender(stamp_probes_t *p, const shm_addr_t *source)
{
    if (p->sender.family == 0)
        p->sender = *source;
    return p->sender.family == source->family && p->sender.port == source->port &&
           memcmp(p->sender.ip, source->ip, sizeof source->ip) == 0;
}

void stamp_probes_arrived(stamp_probes_t *p, const uint8_t *data, uint64_t data_bytes,
                          const packet_record_t *packets, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        const packet_record_t *r = &packets[i];
        stamp_request_t request;
        size_t size = size_in(r, data_bytes);
        bool fine = size > 0 && stamp_get_head(data + r->offset, size, &request) == STAMP_FINE;
        stamp_stats_t *flow = fine ? flow_of(p, request.ssid) : NULL;
        if (flow == NULL) {
            p->malformed++;
            continue;
        }
        if (!is_sender(p, &r->source)) {
            p->strangers++;
            continue;
        }
        stamp_stats_arrival(flow, request.sequence,
                            to_channel(p, request.t1_ns, request.error.format), r->timestamp_ns);
    }
}

void stamp_probes_settle(stamp_probes_t *p, int64_t now_ns)
{
    for (uint32_t i = 0; i < p->flow_count; i++)
        stamp_stats_settle(&p->flows[i], now_ns);
}

void stamp_probes_finish(stamp_probes_t *p)
{
    for (uint32_t i = 0; i < p->flow_count; i++)
        stamp_stats_finish(&p->flows[i]);
}
