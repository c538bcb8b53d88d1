/* stamp_packet.h: test packets of STAMP (RFC 8762 sections 4.2 and 4.3, unauthenticated), with the
 * session identifier of RFC 8972 section 3.
 *
 *        request (Session-Sender)         reply (Session-Reflector)
 *    0   sequence                         sequence
 *    4   timestamp T1                     timestamp T3
 *   12   error estimate                   error estimate
 *   14   SSID                             SSID
 *   16   zero                             receive timestamp T2
 *   24   zero                             sequence of the request
 *   28   zero                             T1
 *   36   zero                             error estimate of the request
 *   38   zero                             zero
 *   40   zero                             TTL of the request when it arrived
 *   41   zero                             zero
 *   44   padding or extensions, any       the same bytes
 *
 * Packets of TWAMP (RFC 5357, unauthenticated) have the same fields, without the last three zeros:
 * a reply has 41 bytes at least, and a request of 41 (RFC 6038, symmetric) is answered by as many.
 * The padding of TWAMP may be anything, so the zeros are not checked. Reflectors of TWAMP and of
 * RFC 8762 alone write 0 in the place of the SSID.
 *
 * A timestamp is NTP's (Z = 0: seconds since 1900 UTC, and 2**-32 s) or PTP's, truncated (Z = 1:
 * seconds since 1970 TAI, and ns). Here a time is int64_t ns since 1970 in UTC or TAI.
 *
 * Pure functions over bytes. Any thread. */
#ifndef PROTO_STAMP_PACKET_H
#define PROTO_STAMP_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STAMP_PORT 862u
#define STAMP_BYTES 44u
#define STAMP_LEAST_BYTES 41u /* of TWAMP's replies, and of requests that can be answered */
#define STAMP_HEAD_BYTES 16u  /* sequence, timestamp, error estimate, SSID */
/* What a reply says of the TTL of its request when the receiver does not know it. */
#define STAMP_TTL_UNKNOWN 255u
/* A reflector keeps a packet no longer. See stamp_is_reply. */
#define STAMP_MAX_HELD_NS INT64_C(60000000000)

typedef enum stamp_format { STAMP_NTP = 0, STAMP_PTP = 1 } stamp_format_t;

/* The error of a timestamp is at most multiplier * 2**(scale - 32) s. */
typedef struct stamp_error {
    bool synchronised;     /* S: the clock is synchronised to UTC or TAI by an external source */
    stamp_format_t format; /* Z: of the timestamps in this packet (reply: T2 and T3) */
    uint8_t scale;         /* 0 .. 63 */
    uint8_t multiplier;    /* 1 .. 255 */
} stamp_error_t;

typedef struct stamp_request {
    uint32_t sequence;
    uint16_t ssid; /* 0: none */
    stamp_error_t error;
    int64_t t1_ns;
} stamp_request_t;

typedef struct stamp_reply {
    uint32_t sequence;         /* stateless reflector: the request's. Stateful: its own count */
    uint32_t request_sequence; /* of the request that it answers */
    uint16_t ssid;
    uint8_t request_ttl;
    stamp_error_t error;
    stamp_error_t request_error;
    uint64_t t1_raw; /* the bytes of T1, to compare with what was sent */
    int64_t t1_ns;
    int64_t t2_ns;
    int64_t t3_ns;
} stamp_reply_t;

/* Why a packet is refused. */
typedef enum stamp_fault {
    STAMP_FINE = 0,
    STAMP_TOO_SHORT = 1, /* fewer than 41 bytes, or 16 */
    STAMP_CORRUPT = 2,   /* a multiplier of 0 (RFC 4656 section 4.1.2), a time of 0, or
                            10**9 ns and more, or a compound of RTCP */
} stamp_fault_t;

/* --- times ------------------------------------------------------------------------------------ */

/* The 64 bits of a timestamp. Rounds to the nearest of NTP's units, so that stamp_to_ns gives the
 * same ns back. NTP's range is 1968-01-20T03:14:08Z to 2104-02-26T09:42:23Z, PTP's is 1970 to 2106.
 * A time beyond it is another one within. */
uint64_t stamp_from_ns(int64_t ns, stamp_format_t format);

/* The nearest ns. NTP: seconds without the highest bit lie in era 1, which begins 2036-02-07. PTP:
 * ns of 10**9 and more count as such. */
int64_t stamp_to_ns(uint64_t raw, stamp_format_t format);

/* --- error estimates -------------------------------------------------------------------------- */

/* The smallest estimate that is not below error_ns, at most about 68 years. The least is 2**-32 s,
 * because a multiplier of 0 is not allowed. */
stamp_error_t stamp_error_from_ns(int64_t error_ns, bool synchronised, stamp_format_t format);

/* Rounded up. INT64_MAX if it is longer than 68 years. */
int64_t stamp_error_ns(stamp_error_t error);

uint16_t stamp_error_raw(stamp_error_t error);
stamp_error_t stamp_error_from_raw(uint16_t raw);

/* --- packets ---------------------------------------------------------------------------------- */

/* Writes the 44 bytes of a request. Padding after them is the caller's. */
void stamp_put_request(uint8_t *out, const stamp_request_t *request);

/* Read the first 41 bytes of size. Nothing else is read. On a fault *out is undefined. */
stamp_fault_t stamp_get_request(const uint8_t *packet, size_t size, stamp_request_t *out);
stamp_fault_t stamp_get_reply(const uint8_t *packet, size_t size, stamp_reply_t *out);

/* stamp_get_request for those who only listen: the packet may be cut off behind its first 16 bytes,
 * as short packets of generators are. */
stamp_fault_t stamp_get_head(const uint8_t *packet, size_t size, stamp_request_t *out);

/* Whether a packet of at least 41 bytes has the form of a reply: its receive timestamp lies up to
 * STAMP_MAX_HELD_NS before its timestamp. Requests have zeros or padding in this place. A reflector
 * that never answers such a packet, and never holds one longer, cannot play ping-pong with anybody
 * who sends its replies back, whether it is a reflector or an echo. */
bool stamp_is_reply(const uint8_t *packet, size_t size);

typedef struct stamp_reflection {
    uint32_t sequence; /* stateless: that of the request */
    uint8_t request_ttl;
    stamp_error_t error; /* with the format of T2 and T3 */
    int64_t t2_ns;
    int64_t t3_ns;
} stamp_reflection_t;

/* Makes a reply of a request that stamp_get_request accepted, in its place. The reply has the same
 * size, the same SSID and the same bytes after the first 44. */
void stamp_reflect(uint8_t *packet, size_t size, const stamp_reflection_t *how);

#endif
