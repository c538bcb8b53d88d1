#include "proto/rtp/rtp_synth.h"

#include "proto/rtp/rtp_packet.h"

#include <errno.h>
#include <string.h>

#define NS_PER_S 1000000000u
#define TS_STEP_PER_MS 8

void rtp_synth_init(rtp_synth_t *s, int clock_rate, int ptime_ms,
                    const uint32_t draws[RTP_SYNTH_DRAWS], int64_t now_ns)
{
    *s = (rtp_synth_t){
        .ssrc = draws[0],
        .ts = draws[1] & ~UINT32_C(1),
        .seq = draws[2] & 0xffffu,
        .ts_step = (int64_t)TS_STEP_PER_MS * ptime_ms,
        .clock_rate = clock_rate > 0 ? (uint32_t)clock_rate : 0,
        .last_ns = now_ns,
        .marker = true,
    };
}

static void put_header(const rtp_synth_t *s, uint8_t *out, int payload_type)
{
    rtp_put_header(out, s->marker, (unsigned)payload_type, (uint32_t)s->seq, (uint32_t)s->ts, 0);
    memcpy(out + 8, &s->ssrc, sizeof s->ssrc);
}

static void step(rtp_synth_t *s)
{
    s->marker = false;
    s->seq++;
    s->ts += (uint64_t)s->ts_step;
}

int rtp_synth_next(rtp_synth_t *s, int payload_bytes, int payload_type, uint8_t *out, size_t room,
                   bool payload_in_place, int64_t now_ns)
{
    if (payload_bytes < 0)
        return -EINVAL;
    size_t payload = (size_t)payload_bytes;
    if (payload > INT32_MAX - RTP_HEADER_BYTES || RTP_HEADER_BYTES + payload > room)
        return -EMSGSIZE;
    size_t kept = 0;
    if (payload_in_place) {
        memmove(out + RTP_HEADER_BYTES, out, payload);
        kept = payload;
    }
    memset(out + RTP_HEADER_BYTES + kept, 0, room - RTP_HEADER_BYTES - kept);
    put_header(s, out, payload_type);
    step(s);
    s->last_ns = now_ns;
    return (int)(RTP_HEADER_BYTES + payload);
}

size_t rtp_synth_next_many(rtp_synth_t *s, size_t count, size_t payload_bytes, int payload_type,
                           const uint8_t *payload, uint8_t *out, size_t stride, int64_t now_ns)
{
    if (stride < RTP_HEADER_BYTES || payload_bytes > stride - RTP_HEADER_BYTES)
        return 0;
    for (size_t i = 0; i < count; i++, out += stride) {
        put_header(s, out, payload_type);
        step(s);
        if (payload == NULL) {
            memset(out + RTP_HEADER_BYTES, 0, payload_bytes);
        } else {
            memcpy(out + RTP_HEADER_BYTES, payload, payload_bytes);
            payload += payload_bytes;
        }
    }
    if (count > 0)
        s->last_ns = now_ns;
    return count;
}

void rtp_synth_skip(rtp_synth_t *s, int packets)
{
    s->ts += (uint64_t)s->ts_step * (uint64_t)(int64_t)packets;
}

bool rtp_synth_set_marker(rtp_synth_t *s, bool marker)
{
    bool before = s->marker;
    s->marker = marker;
    return before;
}

void rtp_synth_resync(rtp_synth_t *s, int64_t now_ns)
{
    if (now_ns <= s->last_ns)
        return;
    uint64_t elapsed_ns = (uint64_t)now_ns - (uint64_t)s->last_ns;
    /* In two parts: the product of the whole overflows after 4.4 days at 48 kHz. */
    s->ts += elapsed_ns / NS_PER_S * s->clock_rate;
    s->ts += elapsed_ns % NS_PER_S * s->clock_rate / NS_PER_S;
}
