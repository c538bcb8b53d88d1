/* udt_packet.h: the packets of UDT version 4, as libudt 4.11 writes them.
 *
 *   one UDP datagram = header of four big-endian words, then the body
 *
 *              data                                     control
 *   word 0 | 0 |  sequence number : 31       |    | 1 | type : 15 | extended type : 16 |
 *   word 1 |FF | O | message number : 29     |    |  info: ACK number, message, error  |
 *   word 2 |  microseconds since opened      |    |  0                                 |
 *   word 3 |  socket id of the receiver      |    |  socket id of the receiver         |
 *   body   |  bytes of the application       |    |  words, big-endian                 |
 *
 *   FF: 10 first packet of a message, 00 in the middle, 01 last, 11 the only one
 *   O:  the message must be delivered in order
 *
 *   type                 info          body in words
 *   0 handshake          -             12: udt_handshake_t
 *   1 keep-alive         -             -
 *   2 ACK, light         0             1:  number before which all has arrived
 *   2 ACK                ACK number    4:  that, RTT, its variance, free packets
 *   2 ACK, full          ACK number    6:  those, arrival rate, capacity of the link
 *   3 NAK                -             1 ..: numbers, or flagged first and last of a range
 *   4 congestion warning -             -
 *   5 shutdown           -             -
 *   6 ACK2               ACK number    -
 *   7 message drop       message       2:  first and last packet number
 *   8 peer error         error code    -
 *   0x7fff user-defined  any           any
 *
 * If the body has no words, libudt sends one word of zero, and so do we. A packet without it is
 * valid, too.
 *
 * Pure functions over bytes. Any thread. Nothing is copied: a view points into the datagram and is
 * valid as long as the datagram. Nothing outside [data, data + size) is ever read. */
#ifndef UDT_PACKET_H
#define UDT_PACKET_H

#include "base/rt_bytes.h"
#include "proto/udt/udt_seq.h"

#include <stddef.h>

#define UDT_HEADER_BYTES 16u
#define UDT_IP_UDP_BYTES 28u /* the part of the MSS for IP and UDP, also with IPv6 */
#define UDT_HANDSHAKE_WORDS 12u
#define UDT_HANDSHAKE_BYTES (UDT_HEADER_BYTES + 4 * UDT_HANDSHAKE_WORDS)
#define UDT_VERSION 4u
#define UDT_MIN_MSS 76u

/* The part of the MSS for the bytes of the application in one packet. */
#define UDT_PAYLOAD_BYTES(mss) ((mss)-UDT_IP_UDP_BYTES - UDT_HEADER_BYTES)

typedef enum udt_type {
    UDT_TYPE_HANDSHAKE = 0,
    UDT_TYPE_KEEPALIVE = 1,
    UDT_TYPE_ACK = 2,
    UDT_TYPE_NAK = 3,
    UDT_TYPE_CONGESTION = 4,
    UDT_TYPE_SHUTDOWN = 5,
    UDT_TYPE_ACK2 = 6,
    UDT_TYPE_DROP = 7,
    UDT_TYPE_ERROR = 8,
    UDT_TYPE_USER = 0x7fff,
} udt_type_t;

#define UDT_WORD1_FIRST UINT32_C(0x80000000)
#define UDT_WORD1_LAST UINT32_C(0x40000000)
#define UDT_WORD1_SOLO (UDT_WORD1_FIRST | UDT_WORD1_LAST)
#define UDT_WORD1_IN_ORDER UINT32_C(0x20000000)

/* Why a datagram is none of these packets, in the order of the checks. */
typedef enum udt_parse {
    UDT_PARSE_OK = 0,
    UDT_PARSE_TOO_SHORT = -1, /* fewer than 16 bytes */
    UDT_PARSE_TOO_LONG = -2,  /* more than a UDP datagram carries */
    UDT_PARSE_ID = -3,        /* no socket has such an id: its highest bit is set */
    UDT_PARSE_EMPTY = -4,     /* data without bytes */
    UDT_PARSE_TYPE = -5,      /* unknown control type */
    UDT_PARSE_BODY = -6,      /* control body of a size that its type does not have */
    UDT_PARSE_FIELD = -7, /* a number above 31 bits, a range without end or in the wrong order */
} udt_parse_t;

typedef struct udt_view {
    bool is_control;
    uint16_t type;  /* control: udt_type_t */
    uint32_t seq;   /* data */
    uint32_t word1; /* data: flags and message number; control: info */
    uint32_t socket_id;
    const uint8_t *body;
    uint32_t body_bytes;
} udt_view_t;

/* Checks the header, that the body has a size its type allows, and every number in it: the values
 * that the functions below read from a valid view need no further check. A handshake body shorter
 * than 48 bytes is BODY, a longer one is OK (a listener refuses it). Returns UDT_PARSE_OK or the
 * first reason found; then *view is partly written. */
udt_parse_t udt_packet_parse(const uint8_t *data, size_t size, udt_view_t *view);

/* --- data ---------------------------------------------------------------------------------- */

static inline void udt_put_data_header(uint8_t out[UDT_HEADER_BYTES], uint32_t seq, uint32_t word1,
                                       uint32_t timestamp_us, uint32_t socket_id)
{
    rt_put32(out, seq & UDT_SEQ_MASK);
    rt_put32(out + 4, word1);
    rt_put32(out + 8, timestamp_us);
    rt_put32(out + 12, socket_id);
}

static inline uint32_t udt_message_of(uint32_t word1)
{
    return word1 & UDT_MESSAGE_MASK;
}

/* --- control ------------------------------------------------------------------------------- */

#define UDT_CONTROL_BYTES (UDT_HEADER_BYTES + 4) /* of a packet whose body has no word */
#define UDT_ACK_MAX_BYTES (UDT_HEADER_BYTES + 24)
#define UDT_DROP_BYTES (UDT_HEADER_BYTES + 8)

/* Header only. */
void udt_put_control_header(uint8_t out[UDT_HEADER_BYTES], udt_type_t type, uint32_t info,
                            uint32_t socket_id);

/* A keep-alive, congestion warning, shutdown, ACK2 or peer error. Returns its size. */
size_t udt_put_control(uint8_t out[UDT_CONTROL_BYTES], udt_type_t type, uint32_t info,
                       uint32_t socket_id);

typedef enum udt_ack_form {
    UDT_ACK_LIGHT = 1, /* in words of the body */
    UDT_ACK_SHORT = 4,
    UDT_ACK_FULL = 6,
} udt_ack_form_t;

typedef struct udt_ack {
    udt_ack_form_t form;
    uint32_t number; /* of this ACK; the ACK2 repeats it; 0 if light */
    uint32_t seq;    /* everything before it has arrived */
    uint32_t rtt_us; /* from here on 0 if light */
    uint32_t rtt_var_us;
    uint32_t free_packets;
    uint32_t arrival_pps; /* 0: unknown; 0 if not full */
    uint32_t capacity_pps;
} udt_ack_t;

/* From a view of type ACK. */
void udt_ack_read(const udt_view_t *view, udt_ack_t *ack);

/* Returns the size. */
size_t udt_put_ack(uint8_t out[UDT_ACK_MAX_BYTES], const udt_ack_t *ack, uint32_t socket_id);

/* The ranges of a NAK, one after the other; *at starts as 0. Returns false at the end. */
bool udt_nak_next(const udt_view_t *view, uint32_t *at, uint32_t *first, uint32_t *last);

/* Writes a range as words of a body, one or two. Returns the bytes written. */
size_t udt_put_nak_range(uint8_t *out, uint32_t first, uint32_t last);

typedef struct udt_drop {
    uint32_t message;
    uint32_t first;
    uint32_t last; /* included; libudt sends one too many */
} udt_drop_t;

/* From a view of type DROP. */
void udt_drop_read(const udt_view_t *view, udt_drop_t *drop);
size_t udt_put_drop(uint8_t out[UDT_DROP_BYTES], const udt_drop_t *drop, uint32_t socket_id);

/* --- handshake ----------------------------------------------------------------------------- */

typedef enum udt_mode {
    UDT_MODE_STREAM = 1,
    UDT_MODE_MESSAGE = 2,
} udt_mode_t;

typedef enum udt_request {
    UDT_REQUEST_RENDEZVOUS = 0,
    UDT_REQUEST_REGULAR = 1,
    UDT_REQUEST_RESPONSE = -1, /* and a client's or rendezvous side's second phase */
    UDT_REQUEST_AGREED = -2,   /* rendezvous: "I am connected already" */
    UDT_REQUEST_REFUSED = 1002,
} udt_request_t;

typedef struct udt_handshake {
    uint32_t version;
    uint32_t mode; /* udt_mode_t, or any value received */
    uint32_t isn;
    uint32_t mss;
    uint32_t window_packets; /* most packets that the other side may have in flight */
    int32_t request;         /* udt_request_t, or any value received */
    uint32_t socket_id;      /* of the sender */
    uint32_t cookie;
    uint8_t address[16]; /* of the receiver as the sender sees it; IPv4 in the first 4 bytes */
} udt_handshake_t;

/* From a view of type HANDSHAKE. The values are as received, with isn cut to 31 bits. */
void udt_handshake_read(const udt_view_t *view, udt_handshake_t *hs);

/* Whether packet size, window and socket id are possible values for a connection. */
static inline bool udt_handshake_is_valid(const udt_handshake_t *hs)
{
    return hs->mss >= UDT_MIN_MSS && hs->window_packets > 0 && hs->socket_id > 0 &&
           hs->socket_id <= UDT_SEQ_MASK;
}

/* socket_id: destination. Returns the size, UDT_HANDSHAKE_BYTES. */
size_t udt_put_handshake(uint8_t out[UDT_HANDSHAKE_BYTES], const udt_handshake_t *hs,
                         uint32_t socket_id);

#endif
