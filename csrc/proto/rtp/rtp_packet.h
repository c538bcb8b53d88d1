/* rtp_packet.h: the RTP header on the wire (RFC 3550 section 5.1, extensions as in RFC 8285).
 *
 *   0                   1                   2                   3
 *  |V=2|P|X|  CC   |M|     PT      |        sequence number        |
 *  |                           timestamp                           |
 *  |                             SSRC                              |
 *  |                      CSRC, CC times                           |
 *  |       profile of extension    |  words that follow            |   if X
 *  |                      extension words                          |
 *  |              payload, then padding (its last byte: how much)  |   if P
 *
 * Pure functions over bytes. Any thread. Nothing is copied: a view points into the datagram and is
 * valid as long as the datagram. Nothing outside [data, data + size) is ever read. */
#ifndef RTP_PACKET_H
#define RTP_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RTP_HEADER_BYTES 12u
#define RTP_VERSION 2u
#define RTP_MAX_CSRC 15u
#define RTP_MAX_PACKET_BYTES 65535u
#define RTP_EXT_ONE_BYTE 0xBEDEu
#define RTP_EXT_TWO_BYTE 0x1000u /* the low four bits belong to the application */
#define RTP_SAMPLES_UNKNOWN (-1)

/* Why a datagram is not RTP. The checks are in this order: TOO_SHORT, VERSION, EXT_CUT, HEADER_CUT,
 * PADDING_CUT, PADDING_ZERO, PADDING_LONG. The numbers are the C library's. */
typedef enum rtp_parse {
    RTP_PARSE_OK = 0,
    RTP_PARSE_TOO_SHORT = -1,    /* fewer than 12 bytes */
    RTP_PARSE_VERSION = -2,      /* not version 2 */
    RTP_PARSE_EXT_CUT = -3,      /* X set, no 4 bytes after the CSRCs */
    RTP_PARSE_HEADER_CUT = -4,   /* CSRCs or extension words longer than the datagram */
    RTP_PARSE_PADDING_CUT = -5,  /* P set, and nothing left after the header */
    RTP_PARSE_PADDING_LONG = -6, /* more padding than there is after the header */
    RTP_PARSE_PADDING_ZERO = -7, /* P set, and the count of padding is 0 */
} rtp_parse_t;

#define RTP_PARSE_CODES 8u /* for counters indexed by -code */

typedef struct rtp_view {
    const uint8_t *data;
    uint32_t ts;
    uint32_t ssrc;
    uint16_t seq;
    uint8_t payload_type;
    uint8_t csrc_count;
    bool marker;
    bool has_ext;
    uint16_t ext_profile;    /* 0 without extension */
    uint32_t ext_offset;     /* of the first extension word */
    uint32_t ext_bytes;      /* 0, or a multiple of 4 */
    uint32_t payload_offset; /* up to the size of the datagram */
    uint32_t payload_bytes;  /* 0 is valid */
    uint32_t padding_bytes;
} rtp_view_t;

/* Reads the header of a datagram of size bytes. Returns RTP_PARSE_OK or the first reason found;
 * on a failure *view is partly written. A datagram longer than 4 GiB is TOO_SHORT. */
rtp_parse_t rtp_packet_parse(const uint8_t *data, size_t size, rtp_view_t *view);

/* English for a code; "unknown error" for any other number. Never NULL. */
const char *rtp_parse_text(int code);

static inline uint16_t rtp_get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t rtp_get32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline void rtp_put16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static inline void rtp_put32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

/* Contributing source number i, i < view->csrc_count. */
static inline uint32_t rtp_view_csrc(const rtp_view_t *view, unsigned i)
{
    return rtp_get32(view->data + RTP_HEADER_BYTES + (size_t)4 * i);
}

static inline const uint8_t *rtp_view_payload(const rtp_view_t *view)
{
    return view->data + view->payload_offset;
}

/* Writes only the fixed header: no padding, extension or CSRC. payload_type is masked to 7 bits.
 * Inline, because most senders need no more per packet. */
static inline void rtp_put_header(uint8_t *out, bool marker, unsigned payload_type, uint32_t seq,
                                  uint32_t ts, uint32_t ssrc)
{
    out[0] = RTP_VERSION << 6;
    out[1] = (uint8_t)((marker ? 0x80u : 0u) | (payload_type & 0x7fu));
    rtp_put16(out + 2, seq);
    rtp_put32(out + 4, ts);
    rtp_put32(out + 8, ssrc);
}

/* The fields of a packet to build. All zero but the numbers: a plain header. */
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
    const uint8_t *ext;    /* made by rtp_ext_writer_t, or an application's own */
    size_t ext_bytes;      /* multiple of 4, up to 4 * 65535 */
    uint8_t padding_bytes; /* appended, its count included; 0: no padding */
} rtp_fields_t;

/* Writes header, payload (may be NULL if payload_bytes is 0; otherwise NULL means zeroes) and
 * padding to out. Returns the length, -EMSGSIZE if it exceeds room (nothing written), or -EINVAL if
 * a field is out of its range (nothing written). */
int rtp_packet_build(const rtp_fields_t *fields, const void *payload, size_t payload_bytes,
                     uint8_t *out, size_t room);

/* Elements of a header extension, RFC 8285:
 *
 *     one-byte form (profile 0xBEDE):  | id:4 | len-1:4 | data |   byte 0: padding, id 15: stop
 *     two-byte form (profile 0x100a):  | id:8 | len:8   | data |   byte 0: padding, has no length
 */
typedef struct rtp_ext_element {
    uint8_t id;
    uint8_t bytes;
    const uint8_t *data;
} rtp_ext_element_t;

typedef struct rtp_ext_reader {
    const uint8_t *at;
    const uint8_t *end;
    bool two_byte;
} rtp_ext_reader_t;

/* Returns 0, or -ENOENT if the packet has no extension of either form. */
int rtp_ext_reader_init(rtp_ext_reader_t *reader, const rtp_view_t *view);

/* Returns 1 and the next element, 0 at the end, -EBADMSG if an element is longer than the rest (the
 * elements before it are valid; the reader stays at its end). */
int rtp_ext_next(rtp_ext_reader_t *reader, rtp_ext_element_t *element);

/* Finds the first element of that id. Returns 1, 0 (not there), -ENOENT or -EBADMSG as above. */
int rtp_ext_find(const rtp_view_t *view, unsigned id, rtp_ext_element_t *element);

typedef struct rtp_ext_writer {
    uint8_t *out;
    size_t room;
    size_t used;
    bool two_byte;
} rtp_ext_writer_t;

/* The caller's memory holds the elements until the packet is built. */
void rtp_ext_writer_init(rtp_ext_writer_t *writer, bool two_byte, uint8_t *out, size_t room);

/* One-byte form: id 1 .. 14, 1 .. 16 bytes; two-byte form: id 1 .. 255, 0 .. 255 bytes. Returns 0,
 * -EINVAL (not in these ranges) or -ENOSPC (room, padding to a whole word included). */
int rtp_ext_add(rtp_ext_writer_t *writer, unsigned id, const void *data, size_t bytes);

/* Pads to a whole word and enters the extension into fields. */
void rtp_ext_finish(rtp_ext_writer_t *writer, rtp_fields_t *fields);

/* Static payload types of RFC 3551. */
typedef enum rtp_payload_kind {
    RTP_KIND_AUDIO = 0, /* also for unknown types */
    RTP_KIND_VIDEO = 1,
    RTP_KIND_SIGN = 2,
    RTP_KIND_RES = 3,
} rtp_payload_kind_t;

typedef struct rtp_payload_format {
    int32_t clock_rate; /* Hz; 0: not static */
    int32_t sample_rate;
    int32_t channels;
    int32_t kind;
} rtp_payload_format_t;

extern const rtp_payload_format_t rtp_payload_formats[128];

/* Samples in a payload, for the static payload types whose frames can be counted (PCMU, PCMA, G722,
 * G729, GSM, G723). RTP_SAMPLES_UNKNOWN for any other, for an empty payload, and for G.723 data
 * with an undefined frame size. *appendable becomes false if no frame can follow in the same
 * payload (a G.729 comfort noise frame ends it), otherwise true. */
int32_t rtp_payload_samples(unsigned payload_type, const uint8_t *payload, size_t bytes,
                            bool *appendable);

/* One row of a table of headers; fits a NumPy structured type field by field. */
typedef struct rtp_header_row {
    uint32_t ts;
    uint32_t ssrc;
    uint16_t seq;
    uint8_t payload_type;
    uint8_t marker;
    int8_t error; /* rtp_parse_t; if it is not RTP_PARSE_OK, everything else is 0 */
    uint8_t csrc_count;
    uint16_t ext_profile;
    uint32_t payload_offset;
    uint32_t payload_bytes;
    uint32_t padding_bytes;
    uint32_t size;
} rtp_header_row_t;

_Static_assert(sizeof(rtp_header_row_t) == 32, "a row without holes");

/* Reads count headers. Datagram i starts at base + offsets[i] and has sizes[i] bytes. Returns how
 * many of them are RTP. */
size_t rtp_packet_parse_many(const uint8_t *base, const uint64_t *offsets, const uint32_t *sizes,
                             size_t count, rtp_header_row_t *rows);

#endif
