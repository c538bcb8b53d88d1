/* rtp_packet.h: the RTP header on the wire (RFC 3550 section 5.1).
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

#include "base/rt_bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RTP_HEADER_BYTES 12u
#define RTP_VERSION 2u
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
    rt_put16(out + 2, seq);
    rt_put32(out + 4, ts);
    rt_put32(out + 8, ssrc);
}

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

#endif
