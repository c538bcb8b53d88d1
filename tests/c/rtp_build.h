/* rtp_build.h: whole RTP packets, for tests of what reads them, and NTP times read back. */
#ifndef RTP_BUILD_H
#define RTP_BUILD_H

#include "base/rt_clock.h"
#include "proto/rtp/rtcp.h"
#include "proto/rtp/rtp_packet.h"

#include <string.h>

/* All zero but the numbers: a plain header. */
typedef struct rtp_fields {
    uint32_t ts;
    uint32_t ssrc;
    uint16_t seq;
    uint8_t payload_type; /* 0 .. 127 */
    bool marker;
    uint8_t csrc_count; /* 0 .. 15 */
    const uint32_t *csrc;
    bool has_ext;
    uint16_t ext_profile;
    const uint8_t *ext;
    size_t ext_bytes;      /* multiple of 4 */
    uint8_t padding_bytes; /* appended, its count included; 0: no padding */
} rtp_fields_t;

/* Returns the length, 0 if it exceeds room (then nothing is written). */
static inline size_t rtp_build(const rtp_fields_t *f, const void *payload, size_t payload_bytes,
                               uint8_t *out, size_t room)
{
    size_t bytes = RTP_HEADER_BYTES + 4u * f->csrc_count + (f->has_ext ? 4 + f->ext_bytes : 0) +
                   payload_bytes + f->padding_bytes;
    if (bytes > room)
        return 0;
    rtp_put_header(out, f->marker, f->payload_type, f->seq, f->ts, f->ssrc);
    out[0] |=
        (uint8_t)((f->padding_bytes > 0 ? 0x20 : 0) | (f->has_ext ? 0x10 : 0) | f->csrc_count);
    uint8_t *to = out + RTP_HEADER_BYTES;
    for (unsigned i = 0; i < f->csrc_count; i++, to += 4)
        rt_put32(to, f->csrc[i]);
    if (f->has_ext) {
        rt_put16(to, f->ext_profile);
        rt_put16(to + 2, (uint32_t)(f->ext_bytes / 4));
        if (f->ext_bytes > 0)
            memcpy(to + 4, f->ext, f->ext_bytes);
        to += 4 + f->ext_bytes;
    }
    memcpy(to, payload, payload_bytes);
    memset(to + payload_bytes, 0, f->padding_bytes);
    if (f->padding_bytes > 0)
        out[bytes - 1] = f->padding_bytes;
    return bytes;
}

static inline uint32_t rtp_csrc(const rtp_view_t *view, unsigned i)
{
    return rt_get32(view->data + RTP_HEADER_BYTES + (size_t)4 * i);
}

/* CLOCK_REALTIME of an NTP time. Below 1968 in era 0 it is era 1, which begins in 2036. */
static inline int64_t rtp_real_ns_from_ntp(uint64_t ntp)
{
    uint64_t seconds = ntp >> 32;
    if (seconds < UINT64_C(0x80000000))
        seconds += UINT64_C(1) << 32;
    const uint64_t ns_per_s = RT_NS_PER_S;
    uint64_t ns = ((ntp & UINT32_MAX) * ns_per_s + (UINT64_C(1) << 31)) >> 32;
    return (int64_t)((seconds - RTCP_NTP_UNIX_OFFSET_S) * ns_per_s + ns);
}

#endif
