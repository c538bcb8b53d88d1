#include "proto/rtp/rtp_packet.h"

#include "proto/rtp/rtp_payload_list.h"

#include <errno.h>
#include <string.h>

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
    view->ext_profile = rtp_get16(data + at);
    view->ext_bytes = 4u * rtp_get16(data + at + PROFILE_WORDS_AT);
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
    view->seq = rtp_get16(data + 2);
    view->ts = rtp_get32(data + 4);
    view->ssrc = rtp_get32(data + 8);
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

static bool fields_are_good(const rtp_fields_t *f)
{
    return f->payload_type <= 127 && f->csrc_count <= RTP_MAX_CSRC &&
           (f->csrc_count == 0 || f->csrc != NULL) &&
           (!f->has_ext || (f->ext_bytes % 4 == 0 && f->ext_bytes / 4 <= UINT16_MAX));
}

static uint8_t *put_extension(uint8_t *to, const rtp_fields_t *f)
{
    rtp_put16(to, f->ext_profile);
    rtp_put16(to + PROFILE_WORDS_AT, (uint32_t)(f->ext_bytes / 4));
    if (f->ext_bytes > 0)
        memcpy(to + EXT_HEADER_BYTES, f->ext, f->ext_bytes);
    return to + EXT_HEADER_BYTES + f->ext_bytes;
}

int rtp_packet_build(const rtp_fields_t *f, const void *payload, size_t payload_bytes, uint8_t *out,
                     size_t room)
{
    if (!fields_are_good(f))
        return -EINVAL;
    size_t header = RTP_HEADER_BYTES + 4u * f->csrc_count;
    if (f->has_ext)
        header += EXT_HEADER_BYTES + f->ext_bytes;
    size_t rest = header + f->padding_bytes;
    if (room > INT32_MAX)
        room = INT32_MAX;
    if (rest > room || payload_bytes > room - rest)
        return -EMSGSIZE;

    rtp_put_header(out, f->marker, f->payload_type, f->seq, f->ts, f->ssrc);
    out[0] |=
        (uint8_t)((f->padding_bytes > 0 ? 0x20 : 0) | (f->has_ext ? 0x10 : 0) | f->csrc_count);
    uint8_t *to = out + RTP_HEADER_BYTES;
    for (unsigned i = 0; i < f->csrc_count; i++, to += 4)
        rtp_put32(to, f->csrc[i]);
    if (f->has_ext)
        to = put_extension(to, f);
    if (payload != NULL)
        memmove(to, payload, payload_bytes);
    else
        memset(to, 0, payload_bytes);
    to += payload_bytes;
    if (f->padding_bytes > 0) {
        memset(to, 0, f->padding_bytes);
        to += f->padding_bytes;
        to[-1] = f->padding_bytes;
    }
    return (int)(to - out);
}

int rtp_ext_reader_init(rtp_ext_reader_t *reader, const rtp_view_t *view)
{
    bool two_byte = (view->ext_profile & 0xfff0u) == RTP_EXT_TWO_BYTE;
    if (!view->has_ext || (!two_byte && view->ext_profile != RTP_EXT_ONE_BYTE))
        return -ENOENT;
    reader->at = view->data + view->ext_offset;
    reader->end = reader->at + view->ext_bytes;
    reader->two_byte = two_byte;
    return 0;
}

static int end_reader(rtp_ext_reader_t *reader, int result)
{
    reader->at = reader->end;
    return result;
}

int rtp_ext_next(rtp_ext_reader_t *reader, rtp_ext_element_t *element)
{
    while (reader->at < reader->end && *reader->at == 0)
        reader->at++;
    if (reader->at == reader->end)
        return 0;

    const uint8_t *data = reader->at + 1;
    unsigned id = *reader->at;
    unsigned bytes;
    if (reader->two_byte) {
        if (data == reader->end)
            return end_reader(reader, -EBADMSG);
        bytes = *data++;
    } else {
        bytes = (id & 0x0f) + 1;
        id >>= 4;
        /* 15 is reserved, 0 has no length: either ends the processing (RFC 8285 section 4.2). */
        if (id == 15 || id == 0)
            return end_reader(reader, 0);
    }
    if (bytes > (size_t)(reader->end - data))
        return end_reader(reader, -EBADMSG);
    reader->at = data + bytes;
    element->id = (uint8_t)id;
    element->bytes = (uint8_t)bytes;
    element->data = data;
    return 1;
}

int rtp_ext_find(const rtp_view_t *view, unsigned id, rtp_ext_element_t *element)
{
    rtp_ext_reader_t reader;
    int rc = rtp_ext_reader_init(&reader, view);
    if (rc < 0)
        return rc;
    do
        rc = rtp_ext_next(&reader, element);
    while (rc == 1 && element->id != id);
    return rc;
}

void rtp_ext_writer_init(rtp_ext_writer_t *writer, bool two_byte, uint8_t *out, size_t room)
{
    writer->out = out;
    writer->room = room / 4 * 4;
    writer->used = 0;
    writer->two_byte = two_byte;
}

int rtp_ext_add(rtp_ext_writer_t *writer, unsigned id, const void *data, size_t bytes)
{
    size_t head = writer->two_byte ? 2 : 1;
    unsigned last_id = writer->two_byte ? 255 : 14;
    size_t least = writer->two_byte ? 0 : 1;
    size_t most = writer->two_byte ? 255 : 16;
    if (id < 1 || id > last_id || bytes < least || bytes > most)
        return -EINVAL;
    if (head + bytes > writer->room - writer->used)
        return -ENOSPC;
    uint8_t *to = writer->out + writer->used;
    if (writer->two_byte) {
        to[0] = (uint8_t)id;
        to[1] = (uint8_t)bytes;
    } else {
        to[0] = (uint8_t)(id << 4 | (bytes - 1));
    }
    if (bytes > 0)
        memcpy(to + head, data, bytes);
    writer->used += head + bytes;
    return 0;
}

void rtp_ext_finish(rtp_ext_writer_t *writer, rtp_fields_t *fields)
{
    while (writer->used % 4 != 0)
        writer->out[writer->used++] = 0;
    fields->has_ext = true;
    fields->ext_profile = writer->two_byte ? RTP_EXT_TWO_BYTE : RTP_EXT_ONE_BYTE;
    fields->ext = writer->out;
    fields->ext_bytes = writer->used;
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

size_t rtp_packet_parse_many(const uint8_t *base, const uint64_t *offsets, const uint32_t *sizes,
                             size_t count, rtp_header_row_t *rows)
{
    size_t good = 0;
    for (size_t i = 0; i < count; i++) {
        rtp_view_t view;
        rtp_header_row_t *row = &rows[i];
        rtp_parse_t error = rtp_packet_parse(base + offsets[i], sizes[i], &view);
        if (error != RTP_PARSE_OK) {
            *row = (rtp_header_row_t){.error = (int8_t)error, .size = sizes[i]};
            continue;
        }
        *row = (rtp_header_row_t){
            .ts = view.ts,
            .ssrc = view.ssrc,
            .seq = view.seq,
            .payload_type = view.payload_type,
            .marker = view.marker,
            .csrc_count = view.csrc_count,
            .ext_profile = view.ext_profile,
            .payload_offset = view.payload_offset,
            .payload_bytes = view.payload_bytes,
            .padding_bytes = view.padding_bytes,
            .size = sizes[i],
        };
        good++;
    }
    return good;
}
