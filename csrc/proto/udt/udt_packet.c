#include "proto/udt/udt_packet.h"

#include <string.h>

#define CONTROL_BIT UINT32_C(0x80000000)
#define RANGE_BIT UINT32_C(0x80000000)
#define MAX_DATAGRAM_BYTES 65535u

static uint32_t body_word(const udt_view_t *view, uint32_t i)
{
    return rt_get32(view->body + (size_t)4 * i);
}

static udt_parse_t check_ack(const udt_view_t *view)
{
    if (view->body_bytes != 4 && view->body_bytes < 16)
        return UDT_PARSE_BODY;
    return body_word(view, 0) > UDT_SEQ_MASK ? UDT_PARSE_FIELD : UDT_PARSE_OK;
}

static udt_parse_t check_nak(const udt_view_t *view)
{
    if (view->body_bytes < 4 || view->body_bytes % 4 != 0)
        return UDT_PARSE_BODY;
    uint32_t words = view->body_bytes / 4;
    for (uint32_t i = 0; i < words; i++) {
        uint32_t first = body_word(view, i);
        if (!(first & RANGE_BIT))
            continue;
        if (++i == words)
            return UDT_PARSE_FIELD;
        uint32_t last = body_word(view, i);
        if ((last & RANGE_BIT) || udt_seq_before(last, first & UDT_SEQ_MASK))
            return UDT_PARSE_FIELD;
    }
    return UDT_PARSE_OK;
}

static udt_parse_t check_drop(const udt_view_t *view)
{
    if (view->body_bytes < 8)
        return UDT_PARSE_BODY;
    uint32_t first = body_word(view, 0);
    uint32_t last = body_word(view, 1);
    if (first > UDT_SEQ_MASK || last > UDT_SEQ_MASK || udt_seq_before(last, first))
        return UDT_PARSE_FIELD;
    return UDT_PARSE_OK;
}

static udt_parse_t check_control(const udt_view_t *view)
{
    switch (view->type) {
    case UDT_TYPE_HANDSHAKE:
        return view->body_bytes < 4 * UDT_HANDSHAKE_WORDS ? UDT_PARSE_BODY : UDT_PARSE_OK;
    case UDT_TYPE_ACK:
        return check_ack(view);
    case UDT_TYPE_NAK:
        return check_nak(view);
    case UDT_TYPE_DROP:
        return check_drop(view);
    case UDT_TYPE_KEEPALIVE:
    case UDT_TYPE_CONGESTION:
    case UDT_TYPE_SHUTDOWN:
    case UDT_TYPE_ACK2:
    case UDT_TYPE_ERROR:
    case UDT_TYPE_USER:
        return UDT_PARSE_OK;
    default:
        return UDT_PARSE_TYPE;
    }
}

udt_parse_t udt_packet_parse(const uint8_t *data, size_t size, udt_view_t *view)
{
    if (size < UDT_HEADER_BYTES)
        return UDT_PARSE_TOO_SHORT;
    if (size > MAX_DATAGRAM_BYTES)
        return UDT_PARSE_TOO_LONG;
    uint32_t word0 = rt_get32(data);
    *view = (udt_view_t){
        .is_control = (word0 & CONTROL_BIT) != 0,
        .word1 = rt_get32(data + 4),
        .socket_id = rt_get32(data + 12),
        .body = data + UDT_HEADER_BYTES,
        .body_bytes = (uint32_t)size - UDT_HEADER_BYTES,
    };
    if (view->socket_id > UDT_SEQ_MASK)
        return UDT_PARSE_ID;
    if (view->is_control) {
        view->type = (uint16_t)(word0 >> 16 & 0x7fff);
        return check_control(view);
    }
    view->seq = word0;
    return view->body_bytes == 0 ? UDT_PARSE_EMPTY : UDT_PARSE_OK;
}

void udt_put_control_header(uint8_t out[UDT_HEADER_BYTES], udt_type_t type, uint32_t info,
                            uint32_t socket_id)
{
    rt_put32(out, CONTROL_BIT | (uint32_t)type << 16);
    rt_put32(out + 4, info);
    rt_put32(out + 8, 0);
    rt_put32(out + 12, socket_id);
}

size_t udt_put_control(uint8_t out[UDT_CONTROL_BYTES], udt_type_t type, uint32_t info,
                       uint32_t socket_id)
{
    udt_put_control_header(out, type, info, socket_id);
    rt_put32(out + UDT_HEADER_BYTES, 0);
    return UDT_CONTROL_BYTES;
}

void udt_ack_read(const udt_view_t *view, udt_ack_t *ack)
{
    *ack = (udt_ack_t){.form = UDT_ACK_LIGHT, .seq = body_word(view, 0)};
    if (view->body_bytes < 16)
        return;
    ack->form = UDT_ACK_SHORT;
    ack->number = view->word1;
    ack->rtt_us = body_word(view, 1);
    ack->rtt_var_us = body_word(view, 2);
    ack->free_packets = body_word(view, 3);
    if (view->body_bytes < 24)
        return;
    ack->form = UDT_ACK_FULL;
    ack->arrival_pps = body_word(view, 4);
    ack->capacity_pps = body_word(view, 5);
}

size_t udt_put_ack(uint8_t out[UDT_ACK_MAX_BYTES], const udt_ack_t *ack, uint32_t socket_id)
{
    const uint32_t words[UDT_ACK_FULL] = {
        ack->seq,          ack->rtt_us,      ack->rtt_var_us,
        ack->free_packets, ack->arrival_pps, ack->capacity_pps,
    };
    udt_put_control_header(out, UDT_TYPE_ACK, ack->number, socket_id);
    for (size_t i = 0; i < (size_t)ack->form; i++)
        rt_put32(out + UDT_HEADER_BYTES + 4 * i, words[i]);
    return UDT_HEADER_BYTES + 4 * (size_t)ack->form;
}

bool udt_nak_next(const udt_view_t *view, uint32_t *at, uint32_t *first, uint32_t *last)
{
    if (*at >= view->body_bytes / 4)
        return false;
    uint32_t word = body_word(view, (*at)++);
    *first = word & UDT_SEQ_MASK;
    *last = word & RANGE_BIT ? body_word(view, (*at)++) : *first;
    return true;
}

size_t udt_put_nak_range(uint8_t *out, uint32_t first, uint32_t last)
{
    if (first == last) {
        rt_put32(out, first);
        return 4;
    }
    rt_put32(out, first | RANGE_BIT);
    rt_put32(out + 4, last);
    return 8;
}

void udt_drop_read(const udt_view_t *view, udt_drop_t *drop)
{
    *drop = (udt_drop_t){
        .message = udt_message_of(view->word1),
        .first = body_word(view, 0),
        .last = body_word(view, 1),
    };
}

size_t udt_put_drop(uint8_t out[UDT_DROP_BYTES], const udt_drop_t *drop, uint32_t socket_id)
{
    udt_put_control_header(out, UDT_TYPE_DROP, drop->message, socket_id);
    rt_put32(out + UDT_HEADER_BYTES, drop->first);
    rt_put32(out + UDT_HEADER_BYTES + 4, drop->last);
    return UDT_DROP_BYTES;
}

/* libudt reads four address bytes as a number of a little-endian machine before it writes that
 * number like every other, so the bytes of each word are reversed. */
static void reverse_words(uint8_t out[16], const uint8_t in[16])
{
    for (size_t i = 0; i < 16; i++)
        out[i] = in[i ^ 3];
}

void udt_handshake_read(const udt_view_t *view, udt_handshake_t *hs)
{
    *hs = (udt_handshake_t){
        .version = body_word(view, 0),
        .mode = body_word(view, 1),
        .isn = body_word(view, 2) & UDT_SEQ_MASK,
        .mss = body_word(view, 3),
        .window_packets = body_word(view, 4),
        .request = (int32_t)body_word(view, 5),
        .socket_id = body_word(view, 6),
        .cookie = body_word(view, 7),
    };
    reverse_words(hs->address, view->body + 32);
}

size_t udt_put_handshake(uint8_t out[UDT_HANDSHAKE_BYTES], const udt_handshake_t *hs,
                         uint32_t socket_id)
{
    const uint32_t words[8] = {
        hs->version,           hs->mode,      hs->isn,    hs->mss, hs->window_packets,
        (uint32_t)hs->request, hs->socket_id, hs->cookie,
    };
    udt_put_control_header(out, UDT_TYPE_HANDSHAKE, 0, socket_id);
    for (size_t i = 0; i < 8; i++)
        rt_put32(out + UDT_HEADER_BYTES + 4 * i, words[i]);
    reverse_words(out + UDT_HEADER_BYTES + 32, hs->address);
    return UDT_HANDSHAKE_BYTES;
}
