/* nfx_frame.h: the datagram of Netflux. One per update, and there is no other kind.
 *
 *      0          1          2                                  2 + N
 *     +----------+----------+------------------------------------+
 *     | number   | feedback | payload: N bytes, opaque           |
 *     +----------+----------+------------------------------------+
 *
 *   number    of the sender, counts up by one with each datagram, 255 is followed by 0
 *   feedback  number the sender has last accepted from its partner, 0 until there was one
 *
 * N is agreed beforehand, separately for each direction. There is no length, no version, no
 * checksum and no handshake. A controller's block accepts at most 1499 bytes of payload.
 *
 * Pure. */
#ifndef NFX_FRAME_H
#define NFX_FRAME_H

#include <stddef.h>
#include <stdint.h>

#define NFX_HEADER_BYTES 2u
#define NFX_MAX_PAYLOAD_BYTES 1499u
#define NFX_MAX_DATAGRAM_BYTES (NFX_HEADER_BYTES + NFX_MAX_PAYLOAD_BYTES)

typedef struct nfx_frame {
    uint8_t number;
    uint8_t feedback;
    const uint8_t *payload; /* in the datagram */
    uint32_t payload_bytes;
} nfx_frame_t;

static inline void nfx_frame_header(uint8_t header[NFX_HEADER_BYTES], uint8_t number,
                                    uint8_t feedback)
{
    header[0] = number;
    header[1] = feedback;
}

/* Reads a datagram that should carry payload_bytes. Returns how many bytes follow the payload (0:
 * it has the agreed size; more: they are ignored, as in all implementations), or -EMSGSIZE:
 * shorter. No text. */
int nfx_frame_parse(const void *data, size_t size, uint32_t payload_bytes, nfx_frame_t *frame);

#endif
