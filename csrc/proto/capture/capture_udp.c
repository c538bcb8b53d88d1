#include "proto/capture/capture_udp.h"

#include "base/rt_bytes.h"

#include <string.h>

#define ETHER_IPV4 0x0800u
#define ETHER_IPV6 0x86DDu
#define ETHER_VLAN 0x8100u
#define ETHER_QINQ 0x88A8u
#define ETHER_OLD_QINQ 0x9100u
#define MOST_TAGS 8
#define MOST_EXTENSIONS 16

#define IP_UDP 17u
#define IP_HOP_BY_HOP 0u
#define IP_ROUTING 43u
#define IP_FRAGMENT 44u
#define IP_AUTHENTICATION 51u
#define IP_DESTINATION 60u
#define IP_MOBILITY 135u

#define UDP_HEAD_BYTES 8u
#define MOST_PAYLOAD_BYTES 65507u /* of what a channel sends */

/* What is left of a packet. `wire` bytes were there when it was captured, `left` are in the file.
 */
typedef struct rest {
    const uint8_t *at;
    uint32_t left;
    uint32_t wire;
} rest_t;

/* Whether n bytes follow. If not, *fate says why. */
static bool has(const rest_t *r, uint32_t n, capture_fate_t *fate)
{
    if (r->left >= n)
        return true;
    *fate = r->wire >= n ? CAPTURE_FATE_truncated : CAPTURE_FATE_malformed;
    return false;
}

static void advance(rest_t *r, uint32_t n)
{
    r->at += n;
    r->left -= n;
    r->wire -= n;
}

/* Leaves out what is behind the first n bytes on the wire: padding of the link. */
static void limit(rest_t *r, uint32_t n)
{
    r->wire = n;
    if (r->left > n)
        r->left = n;
}

/* --- UDP ------------------------------------------------------------------------------------ */

static capture_fate_t take_udp(rest_t *r, capture_datagram_t *out)
{
    capture_fate_t fate = CAPTURE_FATE_udp;
    if (!has(r, UDP_HEAD_BYTES, &fate))
        return fate;
    uint32_t bytes = rt_get16(r->at + 4);
    if (bytes < UDP_HEAD_BYTES || bytes > r->wire || bytes > UDP_HEAD_BYTES + MOST_PAYLOAD_BYTES)
        return CAPTURE_FATE_malformed;
    if (!has(r, bytes, &fate))
        return fate;
    out->ends.source_port = rt_get16(r->at);
    out->ends.destination_port = rt_get16(r->at + 2);
    out->payload = r->at + UDP_HEAD_BYTES;
    out->payload_bytes = bytes - UDP_HEAD_BYTES;
    return CAPTURE_FATE_udp;
}

/* --- IP ------------------------------------------------------------------------------------- */

static capture_fate_t take_ipv4(rest_t *r, capture_datagram_t *out)
{
    capture_fate_t fate = CAPTURE_FATE_udp;
    if (!has(r, 20, &fate))
        return fate;
    uint32_t head = (r->at[0] & 15u) * 4u;
    uint32_t total = rt_get16(r->at + 2);
    if (total == 0) /* the card cuts it later: segmentation offload */
        total = r->wire;
    if (r->at[0] >> 4 != 4 || head < 20 || total < head || total > r->wire)
        return CAPTURE_FATE_malformed;
    if (r->at[9] != IP_UDP)
        return CAPTURE_FATE_not_udp;
    if (rt_get16(r->at + 6) & 0x3FFFu) /* more fragments, or an offset */
        return CAPTURE_FATE_fragment;
    out->ends.family = 4;
    memcpy(out->ends.source, r->at + 12, 4);
    memcpy(out->ends.destination, r->at + 16, 4);
    limit(r, total);
    if (!has(r, head, &fate))
        return fate;
    advance(r, head);
    return take_udp(r, out);
}

static bool is_extension(unsigned header)
{
    return header == IP_HOP_BY_HOP || header == IP_ROUTING || header == IP_FRAGMENT ||
           header == IP_AUTHENTICATION || header == IP_DESTINATION || header == IP_MOBILITY;
}

static uint32_t extension_bytes(unsigned header, const uint8_t *p)
{
    if (header == IP_FRAGMENT)
        return 8;
    return header == IP_AUTHENTICATION ? (p[1] + 2u) * 4u : (p[1] + 1u) * 8u;
}

/* Passes over extension headers. Returns CAPTURE_FATE_udp if a whole UDP datagram follows. */
static capture_fate_t pass_extensions(rest_t *r, unsigned header)
{
    capture_fate_t fate = CAPTURE_FATE_udp;
    for (int i = 0; is_extension(header); i++) {
        if (i >= MOST_EXTENSIONS)
            return CAPTURE_FATE_malformed;
        if (!has(r, 8, &fate))
            return fate;
        unsigned next = r->at[0];
        bool in_pieces = header == IP_FRAGMENT && (rt_get16(r->at + 2) & 0xFFF9u);
        if (in_pieces)
            return next == IP_UDP ? CAPTURE_FATE_fragment : CAPTURE_FATE_not_udp;
        uint32_t bytes = extension_bytes(header, r->at);
        if (!has(r, bytes, &fate))
            return fate;
        advance(r, bytes);
        header = next;
    }
    return header == IP_UDP ? CAPTURE_FATE_udp : CAPTURE_FATE_not_udp;
}

static capture_fate_t take_ipv6(rest_t *r, capture_datagram_t *out)
{
    capture_fate_t fate = CAPTURE_FATE_udp;
    if (!has(r, 40, &fate))
        return fate;
    uint32_t bytes = rt_get16(r->at + 4);
    if (r->at[0] >> 4 != 6 || bytes > r->wire - 40)
        return CAPTURE_FATE_malformed;
    unsigned header = r->at[6];
    out->ends.family = 6;
    memcpy(out->ends.source, r->at + 8, 16);
    memcpy(out->ends.destination, r->at + 24, 16);
    advance(r, 40);
    if (bytes != 0) /* 0: segmentation offload, or a jumbogram */
        limit(r, bytes);
    fate = pass_extensions(r, header);
    return fate == CAPTURE_FATE_udp ? take_udp(r, out) : fate;
}

static capture_fate_t take_ip(rest_t *r, capture_datagram_t *out)
{
    capture_fate_t fate = CAPTURE_FATE_udp;
    if (!has(r, 1, &fate))
        return fate;
    if (r->at[0] >> 4 == 4)
        return take_ipv4(r, out);
    return r->at[0] >> 4 == 6 ? take_ipv6(r, out) : CAPTURE_FATE_not_ip;
}

/* --- links ---------------------------------------------------------------------------------- */

/* What an Ethernet type announces, behind its VLAN tags. */
static capture_fate_t take_ether(rest_t *r, unsigned type, capture_datagram_t *out)
{
    capture_fate_t fate = CAPTURE_FATE_udp;
    for (int i = 0; type == ETHER_VLAN || type == ETHER_QINQ || type == ETHER_OLD_QINQ; i++) {
        if (i >= MOST_TAGS)
            return CAPTURE_FATE_malformed;
        if (!has(r, 4, &fate))
            return fate;
        type = rt_get16(r->at + 2);
        advance(r, 4);
    }
    if (type == ETHER_IPV4)
        return take_ipv4(r, out);
    return type == ETHER_IPV6 ? take_ipv6(r, out) : CAPTURE_FATE_not_ip;
}

/* A link header of so many bytes with an Ethernet type at `type_at`. */
static capture_fate_t take_link(rest_t *r, uint32_t head, uint32_t type_at, capture_datagram_t *out)
{
    capture_fate_t fate = CAPTURE_FATE_udp;
    if (!has(r, head, &fate))
        return fate;
    unsigned type = rt_get16(r->at + type_at);
    advance(r, head);
    return take_ether(r, type, out);
}

/* The address family of the system that captured, in its byte order: the one below 65536. */
static capture_fate_t take_null(rest_t *r, capture_datagram_t *out)
{
    capture_fate_t fate = CAPTURE_FATE_udp;
    if (!has(r, 4, &fate))
        return fate;
    uint32_t family = rt_get32(r->at);
    if (family > 0xFFFFu)
        family = __builtin_bswap32(family);
    advance(r, 4);
    if (family == 2)
        return take_ipv4(r, out);
    bool is_ipv6 = family == 10 || family == 24 || family == 28 || family == 30;
    return is_ipv6 ? take_ipv6(r, out) : CAPTURE_FATE_not_ip;
}

capture_fate_t capture_udp(const capture_frame_t *frame, capture_datagram_t *out)
{
    rest_t r = {frame->data, frame->captured_bytes, frame->original_bytes};
    memset(out, 0, sizeof *out);
    switch (frame->link) {
    case CAPTURE_LINK_ETHERNET:
        return take_link(&r, 14, 12, out);
    case CAPTURE_LINK_LINUX_SLL:
        return take_link(&r, 16, 14, out);
    case CAPTURE_LINK_LINUX_SLL2:
        return take_link(&r, 20, 0, out);
    case CAPTURE_LINK_RAW_OLD:
    case CAPTURE_LINK_RAW_OPENBSD:
    case CAPTURE_LINK_RAW:
    case CAPTURE_LINK_IPV4:
    case CAPTURE_LINK_IPV6:
        return take_ip(&r, out);
    case CAPTURE_LINK_NULL:
    case CAPTURE_LINK_LOOP:
        return take_null(&r, out);
    default:
        return CAPTURE_FATE_other_link;
    }
}
