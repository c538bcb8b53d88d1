#include "proto/rtp/rtp_packet.h"

#include "proto/rtp/rtp_payload_list.h"

enum { EXT_HEADER_BYTES = 4, PROFILE_WORDS_AT = 2 };

#define RATE_OF(pt, rate, count, kind_of) \
    [pt] = {                              \
        .clock_rate = (rate),             \
        .sample_rate = (rate),            \
        .channels = (count),              \
        .kind = RTP_KIND_##kind_of,       \
    },
const rtp_payload_format_t rtp_payload_formats[128] = {RTP_PAYLOAD_LIST(RATE_OF)};
#undef RATE_OF

static rtp_parse_t parse_extension(const uint8_t *data, uint32_t size, rtp_view_t *view)
{
    uint32_t at = view->payload_offset;
    if (size < at + EXT_HEADER_BYTES)
        return RTP_PARSE_EXT_CUT;
    view->ext_profile = rt_get16(data + at);
    view->ext_bytes = 4u * rt_get16(data + at + PROFILE_WORDS_AT);
    view->ext_offset = at + EXT_HEADER_BYTES;
    view->payload_offset = view->ext_offset + view->ext_bytes;
    return RTP_PARSE_OK;
}

static rtp_parse_t parse_padding(const uint8_t *data, uint32_t size, rtp_view_t *view)
{
    if (size == view->payload_offset)
        return RTP_PARSE_PADDING_CUT;
    view->padding_bytes = data[size - 1];
    if (view->padding_bytes == 0)
        return RTP_PARSE_PADDING_ZERO;
    if (view->padding_bytes > size - view->payload_offset)
        return RTP_PARSE_PADDING_LONG;
    return RTP_PARSE_OK;
}

rtp_parse_t rtp_packet_parse(const uint8_t *data, size_t whole_size, rtp_view_t *view)
{
    if (whole_size < RTP_HEADER_BYTES || whole_size > UINT32_MAX)
        return RTP_PARSE_TOO_SHORT;
    if (data[0] >> 6 != RTP_VERSION)
        return RTP_PARSE_VERSION;

    uint32_t size = (uint32_t)whole_size;
    view->data = data;
    view->csrc_count = data[0] & 0x0f;
    view->has_ext = (data[0] & 0x10) != 0;
    view->ext_profile = 0;
    view->ext_offset = 0;
    view->ext_bytes = 0;
    view->padding_bytes = 0;
    view->payload_offset = RTP_HEADER_BYTES + 4u * view->csrc_count;
    if (view->has_ext) {
        rtp_parse_t cut = parse_extension(data, size, view);
        if (cut != RTP_PARSE_OK)
            return cut;
    }
    if (size < view->payload_offset)
        return RTP_PARSE_HEADER_CUT;
    if (data[0] & 0x20) {
        rtp_parse_t bad = parse_padding(data, size, view);
        if (bad != RTP_PARSE_OK)
            return bad;
    }
    view->marker = data[1] >> 7;
    view->payload_type = data[1] & 0x7f;
    view->seq = rt_get16(data + 2);
    view->ts = rt_get32(data + 4);
    view->ssrc = rt_get32(data + 8);
    view->payload_bytes = size - view->payload_offset - view->padding_bytes;
    return RTP_PARSE_OK;
}

const char *rtp_parse_text(int code)
{
    static const char *const texts[RTP_PARSE_CODES] = {
        "no error",
        "datagram shorter than an RTP header",
        "not RTP version 2",
        "datagram ends within the extension header",
        "datagram ends within the CSRC list or the extension",
        "padding flag set, but nothing follows the header",
        "more padding than there is after the header",
        "padding flag set, but its count is 0",
    };
    return code <= 0 && code > -(int)RTP_PARSE_CODES ? texts[-code] : "unknown error";
}

enum {
    PT_PCMU = 0,
    PT_GSM = 3,
    PT_G723 = 4,
    PT_PCMA = 8,
    PT_G722 = 9,
    PT_G729 = 18,
    G723_SAMPLES = 240,
    G729_SAMPLES = 80,
    G729_BYTES = 10,
    GSM_SAMPLES = 160,
    GSM_BYTES = 33,
};

static int32_t g723_samples(const uint8_t *payload, size_t bytes)
{
    static const uint8_t frame_bytes[4] = {24, 20, 4, 0};
    int32_t samples = 0;
    for (size_t at = 0; at < bytes;) {
        uint8_t step = frame_bytes[payload[at] & 3];
        if (step == 0 || samples > INT32_MAX - G723_SAMPLES)
            return RTP_SAMPLES_UNKNOWN;
        samples += G723_SAMPLES;
        at += step;
    }
    return samples;
}

int32_t rtp_payload_samples(unsigned payload_type, const uint8_t *payload, size_t bytes,
                            bool *appendable)
{
    *appendable = true;
    /* No datagram is that long, but the C library takes any size; a count must fit. */
    if (bytes == 0 || bytes > INT32_MAX / G729_SAMPLES)
        return RTP_SAMPLES_UNKNOWN;
    int32_t n = (int32_t)bytes;
    switch (payload_type) {
    case PT_PCMU:
    case PT_PCMA:
    case PT_G722:
        return n;
    case PT_G729:
        *appendable = n % G729_BYTES == 0;
        return (n / G729_BYTES + (*appendable ? 0 : 1)) * G729_SAMPLES;
    case PT_GSM:
        return n / GSM_BYTES * GSM_SAMPLES;
    case PT_G723:
        return g723_samples(payload, bytes);
    default:
        return RTP_SAMPLES_UNKNOWN;
    }
}
