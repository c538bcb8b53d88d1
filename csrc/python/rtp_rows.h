/* rtp_rows.h: many items of an RTP channel as rows of a table, without a Python object for each. */
#ifndef RTP_ROWS_H
#define RTP_ROWS_H

#include "python/channel_end.h"
#include "shm/rtp_shm.h"

/* 64 bytes, so that each field can be viewed as an array with a stride; Python knows this layout
 * (rtp/batch.py). Header extension and contributing sources stand in front of the payload. */
typedef struct rtp_row {
    uint64_t sequence;
    int64_t timestamp_ns; /* arrival, or when it was given out */
    int64_t due_ns;
    uint64_t offset; /* of the payload in the buffer */
    uint32_t length;
    uint32_t timestamp;
    uint32_t ssrc;
    int32_t samples; /* ts_span */
    uint32_t frames;
    uint16_t extension_profile;
    uint16_t extension_bytes;
    uint8_t kind;
    uint8_t stamp;
    uint8_t flags;
    uint8_t marker;
    uint8_t payload_type;
    uint8_t csrc_count;
    uint8_t reserved[2];
} rtp_row_t;

_Static_assert(sizeof(rtp_row_t) == 64, "rtp/batch.py has this layout");

/* One row for each record that recv_many took into buffer. Any process may have scribbled over the
 * records: what a head claims beyond its record counts as 0. Pure. */
static inline void rtp_rows(const uint8_t *buffer, const packet_record_t *records, uint64_t count,
                            rtp_row_t *rows)
{
    for (uint64_t i = 0; i < count; i++) {
        const packet_record_t *record = &records[i];
        shm_rtp_rx_t head = {0};
        uint32_t have = record->length;
        memcpy(&head, buffer + record->offset, have < sizeof head ? have : sizeof head);
        uint32_t before = (uint32_t)sizeof head + 4u * head.csrc_count + head.extension_bytes;
        if (before > have) {
            head.csrc_count = 0;
            head.extension_bytes = 0;
            before = have < sizeof head ? have : (uint32_t)sizeof head;
        }
        rows[i] = (rtp_row_t){
            .sequence = head.seq,
            .timestamp_ns = record->timestamp_ns,
            .due_ns = head.due_ns,
            .offset = record->offset + before,
            .length = have - before,
            .timestamp = head.ts,
            .ssrc = head.ssrc,
            .samples = head.ts_span,
            .frames = head.frames,
            .extension_profile = head.extension_profile,
            .extension_bytes = head.extension_bytes,
            .kind = head.kind,
            .stamp = record->stamp,
            .flags = head.flags,
            .marker = head.marker,
            .payload_type = head.payload_type,
            .csrc_count = head.csrc_count,
        };
    }
}

#endif
