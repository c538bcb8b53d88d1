#include "proto/rtp/rtp_stream.h"

#include "proto/rtp/rtp_jitter.h"
#include "proto/rtp/rtp_packet.h"


#define MAX_PACKET_S 86400u

void rtp_stream_init(rtp_stream_t *s, const rtp_stream_config_t *config)
{
    *s = (rtp_stream_t){
        .config = *config,
        .origin_ns = RT_NEVER_NS,
        .seq = config->first_seq,
        .marker = !config->no_marker,
    };
}

uint32_t rtp_stream_samples(uint32_t clock_rate, int64_t ptime_ns)
{
    if (ptime_ns <= 0 || ptime_ns > (int64_t)MAX_PACKET_S * RT_NS_PER_S)
        return 1;
    uint64_t ns = (uint64_t)ptime_ns;
    uint64_t samples = ns / RT_NS_PER_S * clock_rate;
    samples += (ns % RT_NS_PER_S * clock_rate + RT_NS_PER_S / 2) / RT_NS_PER_S;
    if (samples > UINT32_MAX)
        return UINT32_MAX;
    return samples > 0 ? (uint32_t)samples : 1;
}

void rtp_stream_start(rtp_stream_t *s, int64_t origin_ns)
{
    s->origin_ns = origin_ns;
    s->position = 0;
    s->marker = !s->config.no_marker;
    s->spurts++;
}

int64_t rtp_stream_due_ns(const rtp_stream_t *s)
{
    if (s->origin_ns == RT_NEVER_NS)
        return RT_NEVER_NS;
    return s->origin_ns + rtp_units_to_ns((int64_t)s->position, s->config.clock_rate);
}

int64_t rtp_stream_next(rtp_stream_t *s, uint32_t samples, size_t payload_bytes, uint8_t *header)
{
    int64_t due_ns = rtp_stream_due_ns(s);
    uint32_t ts = s->config.first_ts + (uint32_t)s->position;
    rtp_put_header(header, s->marker, s->config.payload_type, s->seq, ts, s->config.ssrc);
    s->marker = false;
    s->seq++;
    s->position += samples > 0 ? samples : s->config.samples_per_packet;
    s->packets++;
    s->octets += payload_bytes;
    return due_ns;
}

uint64_t rtp_stream_resume(rtp_stream_t *s, int64_t not_before_ns)
{
    int64_t late_ns = not_before_ns - rtp_stream_due_ns(s);
    if (s->origin_ns == RT_NEVER_NS || late_ns <= 0)
        return 0;
    /* rtp_ns_to_units rounds down, so one more grid time may be needed, but never fewer. */
    uint64_t step = s->config.samples_per_packet;
    uint64_t times = (uint64_t)rtp_ns_to_units(late_ns, s->config.clock_rate) / step;
    s->position += times * step;
    while (rtp_stream_due_ns(s) < not_before_ns) {
        s->position += step;
        times++;
    }
    s->marker = !s->config.no_marker;
    s->skipped_times += times;
    s->spurts++;
    return times;
}

uint32_t rtp_stream_ts_at(const rtp_stream_t *s, int64_t at_ns)
{
    if (s->origin_ns == RT_NEVER_NS)
        return s->config.first_ts;
    int64_t units = rtp_ns_to_units(at_ns - s->origin_ns, s->config.clock_rate);
    return s->config.first_ts + (uint32_t)units;
}
