/* capture_file.h: the packets in a capture file, pcap or pcapng, from bytes that come in pieces.
 * Sans-IO: no file, no clock, no memory of its own. The caller owns the state and the bytes.
 *
 *   pcap    magic a1b2c3d4 (us) or a1b23c4d (ns), either byte order; then records
 *   pcapng  blocks: sections, interfaces (link type, unit and offset of times), packets
 *           https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-03.html
 *
 * A file is hostile input. Every length is checked once, against what is there, before it is used.
 * One thread at a time. */
#ifndef PROTO_CAPTURE_FILE_H
#define PROTO_CAPTURE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The longest captured packet, as of tcpdump and Wireshark. */
#define CAPTURE_MAX_FRAME_BYTES 262144u
/* The longest block that is read. Blocks of types that nobody needs may be longer. */
#define CAPTURE_MAX_BLOCK_BYTES (1u << 20)
#define CAPTURE_MAX_INTERFACES 1024u

/* pcapng. The writer of taps uses the same numbers. */
#define PCAPNG_SECTION 0x0A0D0D0Au
#define PCAPNG_INTERFACE 1u
#define PCAPNG_OLD_PACKET 2u
#define PCAPNG_SIMPLE_PACKET 3u
#define PCAPNG_STATISTICS 5u
#define PCAPNG_PACKET 6u
#define PCAPNG_BYTE_ORDER 0x1A2B3C4Du
#define PCAPNG_IF_TSRESOL 9u
#define PCAPNG_IF_TSOFFSET 14u

#define CAPTURE_LINK_NULL 0u
#define CAPTURE_LINK_ETHERNET 1u
/* Raw IP, as systems wrote it before it had a number of its own. */
#define CAPTURE_LINK_RAW_OLD 12u
#define CAPTURE_LINK_RAW_OPENBSD 14u
#define CAPTURE_LINK_RAW 101u
#define CAPTURE_LINK_LOOP 108u
#define CAPTURE_LINK_LINUX_SLL 113u
#define CAPTURE_LINK_IPV4 228u
#define CAPTURE_LINK_IPV6 229u
#define CAPTURE_LINK_LINUX_SLL2 276u

typedef struct capture_interface {
    int64_t offset_s; /* if_tsoffset */
    uint32_t snap_bytes;
    uint16_t link;
    uint8_t resolution; /* if_tsresol */
} capture_interface_t;

typedef enum capture_format {
    CAPTURE_UNKNOWN = 0,
    CAPTURE_PCAP = 1,
    CAPTURE_PCAPNG = 2
} capture_format_t;

/* All zero: before the first byte. */
typedef struct capture_file {
    capture_format_t format;
    bool swapped;     /* numbers are in the other byte order than this machine's */
    uint32_t unit_ns; /* pcap: of the fraction of a second */
    uint16_t link;    /* pcap */
    uint32_t interface_count;
    uint64_t skip_bytes;    /* to come, of a block that nobody needs */
    uint64_t skipped_bytes; /* of it so far; 0: none is being passed over */
    uint64_t taken_bytes;
    uint64_t frames;
    uint64_t frames_without_time;
    int64_t last_time_ns;
    capture_interface_t interfaces[CAPTURE_MAX_INTERFACES];
} capture_file_t;

typedef struct capture_frame {
    int64_t time_ns; /* since 1970, UTC, as the file has it */
    const uint8_t *data;
    uint32_t captured_bytes;
    uint32_t original_bytes;
    uint16_t link;
} capture_frame_t;

/* Takes the next packet from data[*at .. bytes) and moves *at behind what was used. Returns 1:
 * there is one, which lies in data; 0: more bytes are needed, data[*at ..) must come again before
 * them; -EBADMSG with a text: the file is no capture, or damaged here. A packet without a time
 * (simple packet block) has that of the one before. */
int capture_file_next(capture_file_t *f, const uint8_t *data, size_t bytes, size_t *at,
                      capture_frame_t *frame);

#endif
