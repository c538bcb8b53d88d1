/* capture.h: a capture file as batches of UDP datagrams: bytes in, records out. Sans-IO: the caller
 * reads the file, in pieces of any size, and keeps the bytes while it uses the records. Nothing is
 * copied or allocated, so a file of any length takes the same memory.
 *
 *   capture_file   the packets of pcap and pcapng
 *   capture_udp    the datagram in a packet
 *   capture_flows  who sends to whom
 *   capture_plan   when each is due
 *
 * One thread at a time. */
#ifndef PROTO_CAPTURE_H
#define PROTO_CAPTURE_H

#include "proto/capture/capture_flows.h"

typedef struct capture {
    capture_file_t file;
    uint64_t fates[CAPTURE_FATE_TOTAL]; /* what became of the packets, since capture_init */
    uint32_t other_link;                /* the last link type that is not read */
    capture_flows_t flows;
} capture_t;

typedef struct capture_record {
    int64_t time_ns; /* since 1970, as the file has it */
    uint32_t offset; /* of the payload, in the bytes given */
    uint32_t length;
    uint32_t flow;
    uint32_t reserved;
} capture_record_t;

/* seed: any random number. */
void capture_init(capture_t *c, uint64_t seed);

/* Starts the file again from its beginning. The flows, their counts and the fates stay. */
void capture_rewind(capture_t *c);

/* Takes packets from `data` until `max` datagrams are found or what is left is no whole packet. At
 * most UINT32_MAX bytes at once. *used gets the bytes that were taken: the others must come again,
 * in front of what follows. A packet takes at most CAPTURE_MAX_BLOCK_BYTES. *count gets
 * the number of records. Returns 0; -EBADMSG with a text: the file is no capture, or damaged behind
 * the *used bytes. */
int capture_read(capture_t *c, const uint8_t *data, size_t bytes, capture_record_t *records,
                 uint32_t max, size_t *used, uint32_t *count);

/* Chooses where the datagrams of a flow go: `lane` (DUE_LANE_*) and the destination as it is in the
 * send ring. */
void capture_route(capture_t *c, uint32_t flow, uint32_t lane, const due_address_t *to);

#endif
