#include "proto/rtp/rtcp.h"

#include "proto/rtp/rtp_packet.h"

#include <errno.h>
#include <string.h>

#define NS_PER_S UINT64_C(1000000000)

enum {
    HEADER_BYTES = 4,
    SENDER_BYTES = 24,
    REPORT_BYTES = 24,
    APP_BYTES = 8,
    NACK_BYTES = 8,
    PAIR_BYTES = 4,
    PADDING_FLAG = 0x20,
};

/* ---- reading ---- */

void rtcp_reader_init(rtcp_reader_t *reader, const uint8_t *data, size_t size)
{
    reader->at = data;
    reader->end = data + size;
}

static int end_with(rtcp_reader_t *reader, rtcp_error_t error)
{
    reader->at = reader->end;
    return error;
}

int rtcp_next(rtcp_reader_t *reader, rtcp_packet_t *packet)
{
    const uint8_t *at = reader->at;
    size_t left = (size_t)(reader->end - at);
    if (left == 0)
        return 0;
    if (left < HEADER_BYTES)
        return end_with(reader, RTCP_ERR_SHORT);
    if (at[0] >> 6 != RTP_VERSION)
        return end_with(reader, RTCP_ERR_VERSION);
    size_t bytes = 4 * ((size_t)rt_get16(at + 2) + 1);
    if (bytes > left)
        return end_with(reader, RTCP_ERR_LENGTH);

    packet->type = at[1];
    packet->count = at[0] & 0x1f;
    packet->body = at + HEADER_BYTES;
    packet->body_bytes = (uint32_t)(bytes - HEADER_BYTES);
    if (at[0] & PADDING_FLAG) {
        unsigned padding = at[bytes - 1];
        if (bytes != left || padding == 0 || padding % 4 != 0 || padding > packet->body_bytes)
            return end_with(reader, RTCP_ERR_PADDING);
        packet->body_bytes -= padding;
    }
    reader->at = at + bytes;
    return 1;
}

uint32_t rtcp_packet_source(const rtcp_packet_t *packet)
{
    return rt_get32(packet->body);
}

void rtcp_read_sr(const rtcp_packet_t *packet, rtcp_sender_t *sender)
{
    const uint8_t *b = packet->body;
    sender->ssrc = rt_get32(b);
    sender->ntp = (uint64_t)rt_get32(b + 4) << 32 | rt_get32(b + 8);
    sender->rtp_ts = rt_get32(b + 12);
    sender->packets = rt_get32(b + 16);
    sender->octets = rt_get32(b + 20);
}

void rtcp_read_report(const rtcp_packet_t *packet, unsigned i, rtcp_report_t *report)
{
    const uint8_t *b =
        packet->body + (packet->type == RTCP_SR ? SENDER_BYTES : 4u) + (size_t)i * REPORT_BYTES;
    uint32_t lost = rt_get32(b + 4);
    report->ssrc = rt_get32(b);
    report->fraction_lost = (uint8_t)(lost >> 24);
    report->cumulative_lost = (int32_t)(lost << 8) >> 8;
    report->highest_seq = rt_get32(b + 8);
    report->jitter = rt_get32(b + 12);
    report->last_sr = rt_get32(b + 16);
    report->delay_since_sr = rt_get32(b + 20);
}

void rtcp_sdes_reader_init(rtcp_sdes_reader_t *reader, const rtcp_packet_t *packet)
{
    *reader = (rtcp_sdes_reader_t){
        .start = packet->body,
        .at = packet->body,
        .end = packet->body + packet->body_bytes,
        .chunks_left = packet->count,
    };
}

static int break_off(rtcp_sdes_reader_t *reader)
{
    reader->chunks_left = 0;
    reader->in_chunk = false;
    return RTCP_ERR_BODY;
}

/* A chunk ends with one to four zero bytes, up to a whole word. */
static bool skip_chunk_end(rtcp_sdes_reader_t *reader)
{
    size_t used = (size_t)(reader->at - reader->start);
    size_t step = 4 - used % 4;
    if (step > (size_t)(reader->end - reader->at))
        return false;
    reader->at += step;
    reader->in_chunk = false;
    return true;
}

int rtcp_sdes_next(rtcp_sdes_reader_t *reader, rtcp_sdes_item_t *item)
{
    for (;;) {
        size_t left = (size_t)(reader->end - reader->at);
        if (!reader->in_chunk) {
            if (reader->chunks_left == 0)
                return 0;
            if (left < 4)
                return break_off(reader);
            reader->ssrc = rt_get32(reader->at);
            reader->at += 4;
            reader->chunks_left--;
            reader->in_chunk = true;
        } else if (left == 0) {
            return break_off(reader);
        } else if (reader->at[0] == RTCP_SDES_END) {
            if (!skip_chunk_end(reader))
                return break_off(reader);
        } else {
            if (left < 2 || left - 2 < reader->at[1])
                return break_off(reader);
            *item = (rtcp_sdes_item_t){.ssrc = reader->ssrc,
                                       .type = reader->at[0],
                                       .bytes = reader->at[1],
                                       .text = reader->at + 2};
            reader->at += 2 + item->bytes;
            return 1;
        }
    }
}

uint32_t rtcp_bye_source(const rtcp_packet_t *packet, unsigned i)
{
    return rt_get32(packet->body + (size_t)4 * i);
}

uint32_t rtcp_nack_media_source(const rtcp_packet_t *packet)
{
    return rt_get32(packet->body + 4);
}

unsigned rtcp_nack_pair_count(const rtcp_packet_t *packet)
{
    return (packet->body_bytes - NACK_BYTES) / PAIR_BYTES;
}

rtcp_nack_pair_t rtcp_nack_pair(const rtcp_packet_t *packet, unsigned i)
{
    const uint8_t *at = packet->body + NACK_BYTES + (size_t)PAIR_BYTES * i;
    return (rtcp_nack_pair_t){.pid = rt_get16(at), .blp = rt_get16(at + 2)};
}

/* ---- checking ---- */

static rtcp_error_t check_sdes(const rtcp_packet_t *packet)
{
    rtcp_sdes_reader_t reader;
    rtcp_sdes_item_t item;
    rtcp_sdes_reader_init(&reader, packet);
    int rc;
    do
        rc = rtcp_sdes_next(&reader, &item);
    while (rc == 1);
    return (rtcp_error_t)rc;
}

/* A BYE may end with a reason. */
static rtcp_error_t check_bye(const rtcp_packet_t *packet)
{
    uint32_t at = 4u * packet->count;
    if (packet->body_bytes == at)
        return RTCP_OK;
    return packet->body_bytes < at || packet->body[at] > packet->body_bytes - at - 1 ? RTCP_ERR_BODY
                                                                                     : RTCP_OK;
}

static rtcp_error_t check_body(const rtcp_packet_t *packet)
{
    uint32_t least = 0;
    switch (packet->type) {
    case RTCP_SR:
        least = SENDER_BYTES + (uint32_t)packet->count * REPORT_BYTES;
        break;
    case RTCP_RR:
        least = 4 + (uint32_t)packet->count * REPORT_BYTES;
        break;
    case RTCP_SDES:
        return check_sdes(packet);
    case RTCP_BYE:
        return check_bye(packet);
    case RTCP_APP:
        least = APP_BYTES;
        break;
    case RTCP_RTPFB:
        least = packet->count == RTCP_FMT_NACK ? NACK_BYTES + PAIR_BYTES : 0;
        break;
    default:
        break;
    }
    return packet->body_bytes < least ? RTCP_ERR_BODY : RTCP_OK;
}

static rtcp_error_t check_first(const uint8_t *data, bool reduced_size)
{
    if (data[0] >> 6 != RTP_VERSION)
        return RTCP_ERR_VERSION;
    unsigned type = data[1];
    bool may_begin =
        type == RTCP_SR || type == RTCP_RR || type == RTCP_BYE || type == RTCP_APP || reduced_size;
    return may_begin ? RTCP_OK : RTCP_ERR_FIRST;
}

rtcp_error_t rtcp_check(const uint8_t *data, size_t size, bool reduced_size)
{
    if (size < HEADER_BYTES)
        return RTCP_ERR_SHORT;
    rtcp_error_t error = check_first(data, reduced_size);
    if (error != RTCP_OK)
        return error;
    rtcp_reader_t reader;
    rtcp_packet_t packet;
    rtcp_reader_init(&reader, data, size);
    for (;;) {
        int rc = rtcp_next(&reader, &packet);
        if (rc == RTCP_ERR_SHORT)
            return RTCP_ERR_LENGTH;
        if (rc <= 0)
            return (rtcp_error_t)rc;
        error = check_body(&packet);
        if (error != RTCP_OK)
            return error;
    }
}

bool rtcp_is_rtcp(const uint8_t *data, size_t size)
{
    /* 64 .. 95 in place of the payload type: values that RTP may not use together with RTCP. */
    return size >= 2 && data[0] >> 6 == RTP_VERSION && data[1] >= 192 && data[1] <= 223;
}

/* ---- building ---- */

void rtcp_writer_init(rtcp_writer_t *writer, uint8_t *out, size_t room)
{
    *writer = (rtcp_writer_t){.out = out, .room = room};
}

/* Writes the header of a packet with that body. Returns where the body goes, NULL: no room. */
static uint8_t *begin(rtcp_writer_t *w, rtcp_type_t type, size_t count, size_t body_bytes)
{
    size_t bytes = HEADER_BYTES + body_bytes;
    if (bytes > w->room - w->used)
        return NULL;
    uint8_t *at = w->out + w->used;
    at[0] = (uint8_t)(RTP_VERSION << 6 | count);
    at[1] = (uint8_t)type;
    rt_put16(at + 2, (uint32_t)(bytes / 4 - 1));
    w->used += bytes;
    return at + HEADER_BYTES;
}

static uint8_t *put_reports(uint8_t *to, const rtcp_report_t *reports, size_t count)
{
    for (size_t i = 0; i < count; i++, to += REPORT_BYTES) {
        const rtcp_report_t *r = &reports[i];
        rt_put32(to, r->ssrc);
        rt_put32(to + 4, (uint32_t)r->fraction_lost << 24 |
                             ((uint32_t)r->cumulative_lost & UINT32_C(0xffffff)));
        rt_put32(to + 8, r->highest_seq);
        rt_put32(to + 12, r->jitter);
        rt_put32(to + 16, r->last_sr);
        rt_put32(to + 20, r->delay_since_sr);
    }
    return to;
}

int rtcp_put_sr(rtcp_writer_t *w, const rtcp_sender_t *sender, const rtcp_report_t *reports,
                size_t report_count)
{
    if (report_count > RTCP_MAX_REPORTS)
        return -EINVAL;
    uint8_t *to = begin(w, RTCP_SR, report_count, SENDER_BYTES + report_count * REPORT_BYTES);
    if (to == NULL)
        return -ENOSPC;
    rt_put32(to, sender->ssrc);
    rt_put32(to + 4, (uint32_t)(sender->ntp >> 32));
    rt_put32(to + 8, (uint32_t)sender->ntp);
    rt_put32(to + 12, sender->rtp_ts);
    rt_put32(to + 16, sender->packets);
    rt_put32(to + 20, sender->octets);
    put_reports(to + SENDER_BYTES, reports, report_count);
    return 0;
}

int rtcp_put_rr(rtcp_writer_t *w, uint32_t ssrc, const rtcp_report_t *reports, size_t report_count)
{
    if (report_count > RTCP_MAX_REPORTS)
        return -EINVAL;
    uint8_t *to = begin(w, RTCP_RR, report_count, 4 + report_count * REPORT_BYTES);
    if (to == NULL)
        return -ENOSPC;
    rt_put32(to, ssrc);
    put_reports(to + 4, reports, report_count);
    return 0;
}

int rtcp_put_cname(rtcp_writer_t *w, uint32_t ssrc, const char *cname, size_t bytes)
{
    if (bytes > RTCP_MAX_TEXT_BYTES)
        return -EINVAL;
    /* The SSRC, the item and at least one zero byte, in whole words. */
    size_t chunk_bytes = (4 + 2 + bytes) / 4 * 4 + 4;
    uint8_t *to = begin(w, RTCP_SDES, 1, chunk_bytes);
    if (to == NULL)
        return -ENOSPC;
    memset(to + chunk_bytes - 4, 0, 4);
    rt_put32(to, ssrc);
    to[4] = RTCP_SDES_CNAME;
    to[5] = (uint8_t)bytes;
    memcpy(to + 6, cname, bytes);
    return 0;
}

int rtcp_put_bye(rtcp_writer_t *w, uint32_t ssrc)
{
    uint8_t *to = begin(w, RTCP_BYE, 1, 4);
    if (to == NULL)
        return -ENOSPC;
    rt_put32(to, ssrc);
    return 0;
}

int rtcp_put_nack(rtcp_writer_t *w, uint32_t sender_ssrc, uint32_t media_ssrc,
                  const rtcp_nack_pair_t *pairs, size_t count)
{
    if (count == 0 || count > UINT16_MAX - NACK_BYTES / 4)
        return -EINVAL;
    uint8_t *to = begin(w, RTCP_RTPFB, RTCP_FMT_NACK, NACK_BYTES + count * PAIR_BYTES);
    if (to == NULL)
        return -ENOSPC;
    rt_put32(to, sender_ssrc);
    rt_put32(to + 4, media_ssrc);
    to += NACK_BYTES;
    for (size_t i = 0; i < count; i++, to += PAIR_BYTES) {
        rt_put16(to, pairs[i].pid);
        rt_put16(to + 2, pairs[i].blp);
    }
    return 0;
}

size_t rtcp_nack_pack(const uint16_t *seqs, size_t count, rtcp_nack_pair_t *pairs)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        uint16_t ahead = n > 0 ? (uint16_t)(seqs[i] - pairs[n - 1].pid) : 0;
        if (n == 0 || ahead > 16)
            pairs[n++] = (rtcp_nack_pair_t){.pid = seqs[i]};
        else if (ahead > 0)
            pairs[n - 1].blp |= (uint16_t)(1u << (ahead - 1));
    }
    return n;
}

/* ---- times ---- */

uint64_t rtcp_ntp_from_real_ns(int64_t real_ns)
{
    uint64_t ns = real_ns > 0 ? (uint64_t)real_ns : 0;
    uint64_t fraction = (((ns % NS_PER_S) << 32) + NS_PER_S / 2) / NS_PER_S;
    return ((ns / NS_PER_S + RTCP_NTP_UNIX_OFFSET_S) << 32) + fraction;
}

uint32_t rtcp_ns_to_mid(int64_t ns)
{
    if (ns <= 0)
        return 0;
    uint64_t seconds = (uint64_t)ns / NS_PER_S;
    if (seconds > UINT16_MAX)
        return UINT32_MAX;
    return (uint32_t)(seconds << 16 | (((uint64_t)ns % NS_PER_S) << 16) / NS_PER_S);
}
