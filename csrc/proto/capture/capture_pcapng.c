#include "proto/capture/capture_pcapng.h"

#include "base/rt_clock.h"
#include "base/rt_err.h"
#include "proto/capture/capture_number.h"

#include <errno.h>
#include <inttypes.h>

#define BLOCK_HEAD_BYTES 8u
#define BLOCK_LEAST_BYTES 12u /* head, and the length again at the end */
#define SECTION_LEAST_BYTES 28u
#define DEFAULT_RESOLUTION 6u
#define LARGEST_POWER 18u /* 10^18 fits 64 bits */

typedef struct block {
    uint32_t type;
    uint32_t bytes; /* all of it */
    const uint8_t *body;
    uint32_t body_bytes;
} block_t;

static int damaged(const capture_file_t *f, const char *what, uint64_t value, const char *limit)
{
    return rt_err_set(-EBADMSG,
                      "the capture is damaged at byte %" PRIu64 " (packet %" PRIu64
                      "): %s is %" PRIu64 ", and must be %s",
                      f->taken_bytes, f->frames + 1, what, value, limit);
}

/* --- times ---------------------------------------------------------------------------------- */

static uint64_t power_of_10(unsigned n)
{
    uint64_t v = 1;
    for (; n > 0; n--)
        v *= 10;
    return v;
}

/* ticks of an interface in ns, at least 0. Returns -1: they do not fit. */
static int64_t ticks_ns(uint8_t resolution, uint64_t ticks)
{
    unsigned digits = resolution & 0x7fu;
    if (resolution & 0x80u) {
        unsigned __int128 ns = (unsigned __int128)ticks * (uint64_t)RT_NS_PER_S >> digits;
        return ns > INT64_MAX ? -1 : (int64_t)ns;
    }
    if (digits <= 9) {
        uint64_t ns;
        if (__builtin_mul_overflow(ticks, power_of_10(9 - digits), &ns) || ns > INT64_MAX)
            return -1;
        return (int64_t)ns;
    }
    if (digits - 9 > LARGEST_POWER)
        return 0;
    return (int64_t)(ticks / power_of_10(digits - 9));
}

static int frame_time(capture_file_t *f, const capture_interface_t *i, const uint8_t *high_low,
                      int64_t *time_ns)
{
    uint64_t ticks = (uint64_t)capture_get32(f, high_low) << 32 | capture_get32(f, high_low + 4);
    int64_t ns = ticks_ns(i->resolution, ticks);
    int64_t offset_ns;
    if (ns < 0 || __builtin_mul_overflow(i->offset_s, RT_NS_PER_S, &offset_ns) ||
        __builtin_add_overflow(ns, offset_ns, time_ns))
        return damaged(f, "a timestamp", ticks, "within 292 years of 1970, in its unit");
    return 0;
}

/* --- interfaces ----------------------------------------------------------------------------- */

static void take_option(capture_file_t *f, capture_interface_t *i, unsigned code,
                        const uint8_t *value, unsigned bytes)
{
    if (code == PCAPNG_IF_TSRESOL && bytes == 1)
        i->resolution = value[0];
    if (code == PCAPNG_IF_TSOFFSET && bytes == 8)
        i->offset_s = (int64_t)capture_get64(f, value);
}

static int take_options(capture_file_t *f, capture_interface_t *i, const uint8_t *p, uint32_t bytes)
{
    while (bytes >= 4) {
        unsigned code = capture_get16(f, p);
        unsigned length = capture_get16(f, p + 2);
        uint32_t padded = 4 + ((length + 3u) & ~3u);
        if (code == 0)
            break;
        if (padded > bytes)
            return damaged(f, "the length of an option", length, "inside its block");
        take_option(f, i, code, p + 4, length);
        p += padded;
        bytes -= padded;
    }
    return 0;
}

static int take_interface(capture_file_t *f, const block_t *b)
{
    if (b->body_bytes < 8)
        return damaged(f, "the length of an interface block", b->bytes, "20 or more");
    if (f->interface_count >= CAPTURE_MAX_INTERFACES)
        return damaged(f, "the number of interfaces", f->interface_count + UINT64_C(1),
                       "1024 or less: split the file, for example with editcap");
    capture_interface_t *i = &f->interfaces[f->interface_count++];
    *i = (capture_interface_t){
        .link = capture_get16(f, b->body),
        .snap_bytes = capture_get32(f, b->body + 4),
        .resolution = DEFAULT_RESOLUTION,
    };
    return take_options(f, i, b->body + 8, b->body_bytes - 8);
}

/* --- packets -------------------------------------------------------------------------------- */

/* NULL: there is none, and the text is set. */
static const capture_interface_t *find_interface(const capture_file_t *f, uint32_t number)
{
    if (number < f->interface_count)
        return &f->interfaces[number];
    (void)damaged(f, "the interface of a packet", number, "one that the section declares");
    return NULL;
}

/* The bytes of a packet, which follow `head` bytes in the block. */
static int set_frame(capture_file_t *f, const block_t *b, const capture_interface_t *i,
                     uint32_t head, uint32_t captured, uint32_t original, capture_frame_t *frame)
{
    if (captured > CAPTURE_MAX_FRAME_BYTES || captured > b->body_bytes - head)
        return damaged(f, "the captured length of a packet", captured,
                       "262144 or less, and inside its block");
    frame->data = b->body + head;
    frame->captured_bytes = captured;
    frame->original_bytes = original > captured ? original : captured;
    frame->link = i->link;
    f->last_time_ns = frame->time_ns;
    f->frames++;
    return 1;
}

static int take_packet(capture_file_t *f, const block_t *b, capture_frame_t *frame)
{
    if (b->body_bytes < 20)
        return damaged(f, "the length of a packet block", b->bytes, "32 or more");
    bool old = b->type == PCAPNG_OLD_PACKET;
    uint32_t number = old ? capture_get16(f, b->body) : capture_get32(f, b->body);
    const capture_interface_t *i = find_interface(f, number);
    if (i == NULL || frame_time(f, i, b->body + 4, &frame->time_ns) < 0)
        return -EBADMSG;
    return set_frame(f, b, i, 20, capture_get32(f, b->body + 12), capture_get32(f, b->body + 16),
                     frame);
}

static int take_simple(capture_file_t *f, const block_t *b, capture_frame_t *frame)
{
    if (b->body_bytes < 4)
        return damaged(f, "the length of a simple packet block", b->bytes, "16 or more");
    const capture_interface_t *i = find_interface(f, 0);
    if (i == NULL)
        return -EBADMSG;
    uint32_t original = capture_get32(f, b->body);
    uint32_t captured = b->body_bytes - 4;
    if (captured > original)
        captured = original;
    if (i->snap_bytes && captured > i->snap_bytes)
        captured = i->snap_bytes;
    frame->time_ns = f->last_time_ns;
    f->frames_without_time++;
    return set_frame(f, b, i, 4, captured, original, frame);
}

/* --- blocks --------------------------------------------------------------------------------- */

static bool is_needed(uint32_t type)
{
    return type == PCAPNG_SECTION || type == PCAPNG_INTERFACE || type == PCAPNG_PACKET ||
           type == PCAPNG_SIMPLE_PACKET || type == PCAPNG_OLD_PACKET;
}

/* The byte order of a section, from its first field. */
static int take_byte_order(capture_file_t *f, const uint8_t *magic)
{
    f->swapped = false;
    uint32_t found = capture_get32(f, magic);
    if (found == PCAPNG_BYTE_ORDER)
        return 0;
    f->swapped = true;
    if (capture_get32(f, magic) == PCAPNG_BYTE_ORDER)
        return 0;
    return damaged(f, "the byte-order magic of a section", found, "1a2b3c4d");
}

static int take_block(capture_file_t *f, const block_t *b, capture_frame_t *frame)
{
    switch (b->type) {
    case PCAPNG_SECTION:
        f->interface_count = 0;
        return b->bytes < SECTION_LEAST_BYTES
                   ? damaged(f, "the length of a section header", b->bytes, "28 or more")
                   : 0;
    case PCAPNG_INTERFACE:
        return take_interface(f, b);
    case PCAPNG_SIMPLE_PACKET:
        return take_simple(f, b, frame);
    default:
        return take_packet(f, b, frame);
    }
}

int capture_pcapng_block(capture_file_t *f, const uint8_t *data, size_t bytes, size_t *at,
                         capture_frame_t *frame)
{
    const uint8_t *p = data + *at;
    size_t left = bytes - *at;
    if (left < BLOCK_LEAST_BYTES)
        return 0;
    block_t b = {.type = capture_get32(f, p), .body = p + BLOCK_HEAD_BYTES};
    if (b.type == PCAPNG_SECTION && take_byte_order(f, p + BLOCK_HEAD_BYTES) < 0)
        return -EBADMSG;
    b.bytes = capture_get32(f, p + 4);
    if (b.bytes < BLOCK_LEAST_BYTES || b.bytes % 4 != 0)
        return damaged(f, "the length of a block", b.bytes, "a multiple of 4, and 12 or more");
    if (!is_needed(b.type)) {
        f->skip_bytes = b.bytes;
        return 2;
    }
    if (b.bytes > CAPTURE_MAX_BLOCK_BYTES)
        return damaged(f, "the length of a block", b.bytes, "1048576 or less");
    if (left < b.bytes)
        return 0;
    if (capture_get32(f, p + b.bytes - 4) != b.bytes)
        return damaged(f, "the second length of a block", capture_get32(f, p + b.bytes - 4),
                       "the same as its first");
    b.body_bytes = b.bytes - BLOCK_LEAST_BYTES;
    int rc = take_block(f, &b, frame);
    if (rc < 0)
        return rc;
    *at += b.bytes;
    f->taken_bytes += b.bytes;
    return rc == 1 ? 1 : 2;
}
