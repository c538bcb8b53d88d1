#include "proto/udt/udt_sndbuf.h"

#include "base/rt_math.h"

#include <errno.h>
#include <string.h>

size_t udt_sndbuf_memory_bytes(uint32_t max_packets)
{
    return rt_pow2_at_least(max_packets) * sizeof(udt_snd_packet_t);
}

void udt_sndbuf_init(udt_sndbuf_t *b, const udt_sndbuf_config_t *config, void *memory)
{
    *b = (udt_sndbuf_t){
        .bytes = config->bytes,
        .packets = memory,
        .size = config->size,
        .mask = rt_pow2_at_least(config->max_packets) - 1,
        .max_packets = config->max_packets,
        .payload_bytes = 1,
        .is_stream = config->is_stream,
        .message = 1,
    };
}

void udt_sndbuf_start(udt_sndbuf_t *b, uint32_t isn, uint32_t payload_bytes)
{
    b->first = isn;
    b->payload_bytes = payload_bytes;
}

static udt_snd_packet_t *packet_at(const udt_sndbuf_t *b, uint32_t off)
{
    return &b->packets[udt_seq_skip(b->first, off) & b->mask];
}

/* --- the application's side ---------------------------------------------------------------- */

/* The end of the ring may split one packet in two, which takes one more descriptor. */
static uint32_t packets_for(const udt_sndbuf_t *b, uint32_t bytes)
{
    return bytes == 0 ? 0 : (bytes - 1) / b->payload_bytes + 2;
}

static uint32_t bytes_for(const udt_sndbuf_t *b, uint32_t packets)
{
    if (packets < 2)
        return 0;
    uint64_t bytes = (uint64_t)(packets - 1) * b->payload_bytes;
    return bytes < b->size ? (uint32_t)bytes : b->size;
}

uint32_t udt_sndbuf_free_bytes(const udt_sndbuf_t *b)
{
    uint32_t bytes = b->size - b->used;
    return b->is_stream ? bytes : rt_min32(bytes, bytes_for(b, b->max_packets - b->count));
}

uint32_t udt_sndbuf_max_message_bytes(const udt_sndbuf_t *b)
{
    return bytes_for(b, b->max_packets);
}

static void advance(const udt_sndbuf_t *b, uint32_t *at, uint32_t bytes)
{
    uint32_t left = b->size - *at;
    *at = bytes < left ? *at + bytes : bytes - left;
}

static void commit(udt_sndbuf_t *b, uint32_t bytes)
{
    advance(b, &b->write_at, bytes);
    b->used += bytes;
    b->uncut += bytes;
}

/* Cuts the next packet from the uncut bytes. There must be some. */
static udt_snd_packet_t *cut(udt_sndbuf_t *b, uint32_t bytes)
{
    udt_snd_packet_t *p = packet_at(b, b->count++);
    uint32_t n = rt_min32(rt_min32(b->payload_bytes, bytes), b->size - b->cut_at);
    *p = (udt_snd_packet_t){.at = b->cut_at, .bytes = (uint16_t)n, .ttl_ms = -1};
    advance(b, &b->cut_at, n);
    b->uncut -= n;
    return p;
}

int udt_sndbuf_commit_message(udt_sndbuf_t *b, uint32_t bytes, int32_t ttl_ms, bool in_order,
                              int64_t now_ns)
{
    if (bytes == 0)
        return -EINVAL;
    if (bytes > udt_sndbuf_max_message_bytes(b))
        return -EMSGSIZE;
    if (packets_for(b, bytes) > b->max_packets - b->count || bytes > b->size - b->used)
        return -ENOSPC;
    commit(b, bytes);
    uint32_t word1 = UDT_WORD1_FIRST | b->message | (in_order ? UDT_WORD1_IN_ORDER : 0);
    while (b->uncut > 0) {
        udt_snd_packet_t *p = cut(b, b->uncut);
        p->word1 = word1 | (b->uncut == 0 ? UDT_WORD1_LAST : 0);
        p->ttl_ms = ttl_ms;
        p->born_ns = now_ns;
        word1 &= ~UDT_WORD1_FIRST;
    }
    b->message = udt_message_next(b->message);
    return 0;
}

void udt_sndbuf_copy_at(udt_sndbuf_t *b, uint32_t skip, const void *data, uint32_t bytes)
{
    uint32_t at = b->write_at;
    advance(b, &at, skip);
    uint32_t to_end = rt_min32(bytes, b->size - at);
    memcpy(b->bytes + at, data, to_end);
    memcpy(b->bytes, (const uint8_t *)data + to_end, bytes - to_end);
}

uint32_t udt_sndbuf_write(udt_sndbuf_t *b, const void *data, uint32_t bytes)
{
    bytes = rt_min32(bytes, b->size - b->used);
    udt_sndbuf_copy_at(b, 0, data, bytes);
    commit(b, bytes);
    return bytes;
}

/* --- the protocol's side ------------------------------------------------------------------- */

uint32_t udt_sndbuf_new_packets(const udt_sndbuf_t *b)
{
    uint32_t cut_already = b->count - b->sent;
    if (b->uncut == 0)
        return cut_already;
    uint32_t room = b->max_packets - b->count;
    return cut_already + rt_min32(room, (b->uncut - 1) / b->payload_bytes + 1);
}

udt_snd_packet_t *udt_sndbuf_next(udt_sndbuf_t *b, uint32_t *seq)
{
    if (b->sent == b->count) {
        if (b->uncut == 0 || b->count == b->max_packets)
            return NULL;
        udt_snd_packet_t *p = cut(b, b->uncut);
        p->word1 = UDT_WORD1_SOLO | b->message;
        b->message = udt_message_next(b->message);
    }
    *seq = udt_sndbuf_next_seq(b);
    return packet_at(b, b->sent++);
}

udt_snd_packet_t *udt_sndbuf_get(const udt_sndbuf_t *b, uint32_t seq)
{
    int32_t off = udt_seq_diff(seq, b->first);
    return off >= 0 && (uint32_t)off < b->sent ? packet_at(b, (uint32_t)off) : NULL;
}

uint32_t udt_sndbuf_ack(udt_sndbuf_t *b, uint32_t seq)
{
    int32_t freed = udt_seq_diff(seq, b->first);
    if (freed <= 0 || (uint32_t)freed > b->sent)
        return 0;
    for (int32_t i = 0; i < freed; i++)
        b->used -= packet_at(b, (uint32_t)i)->bytes;
    b->first = seq;
    b->sent -= (uint32_t)freed;
    b->count -= (uint32_t)freed;
    return (uint32_t)freed;
}

uint32_t udt_sndbuf_pass_over(udt_sndbuf_t *b, uint32_t seq)
{
    uint32_t off = (uint32_t)udt_seq_diff(seq, b->first);
    while (off + 1 < b->count && !(packet_at(b, off)->word1 & UDT_WORD1_LAST))
        off++;
    if (b->sent < off + 1)
        b->sent = off + 1;
    return udt_seq_skip(b->first, off);
}
