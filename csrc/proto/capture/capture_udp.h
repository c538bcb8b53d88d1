/* capture_udp.h: the UDP datagram in a captured packet: link header, VLAN tags, IPv4 with options,
 * IPv6 with extension headers, UDP. Pure: every byte is inside the packet, every loop is bounded.
 */
#ifndef PROTO_CAPTURE_UDP_H
#define PROTO_CAPTURE_UDP_H

#include "proto/capture/capture_file.h"
#include "rows/capture.h"

/* Who sent it to whom. Compared as bytes: no padding, unused bytes are 0. */
typedef struct capture_ends {
    uint8_t source[16]; /* IPv4 in the first four bytes */
    uint8_t destination[16];
    uint16_t source_port;
    uint16_t destination_port;
    uint32_t family; /* 4 or 6 */
} capture_ends_t;

typedef struct capture_datagram {
    capture_ends_t ends;
    const uint8_t *payload; /* in the frame */
    uint32_t payload_bytes;
} capture_datagram_t;

/* Only with CAPTURE_FATE_udp is *out valid. */
capture_fate_t capture_udp(const capture_frame_t *frame, capture_datagram_t *out);

#endif
