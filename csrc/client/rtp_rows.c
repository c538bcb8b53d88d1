#include "client/rtp_rows.h"

#include "shm/rtp_shm.h"

_Static_assert(sizeof(rtp_row_t) == 64, "rtp/batch.py has this layout");

/* The record's head. Lengths that exceed the record are set to 0. *before gets the number of bytes
 * before the payload. */
static shm_rtp_rx_t read_head(const uint8_t *at, uint32_t have, uint32_t *before)
{
    shm_rtp_rx_t head = {0};
    memcpy(&head, at, have < sizeof head ? have : sizeof head);
    *before = (uint32_t)sizeof head + 4u * head.csrc_count + head.extension_bytes;
    if (*before > have) {
        head.csrc_count = 0;
        head.extension_bytes = 0;
        *before = have < sizeof head ? have : (uint32_t)sizeof head;
    }
    return head;
}

static rtp_row_t make_row(const uint8_t *buffer, const packet_record_t *record)
{
    uint32_t before;
    shm_rtp_rx_t head = read_head(buffer + record->offset, record->length, &before);
    return (rtp_row_t){
        .sequence = head.seq,
        .timestamp_ns = record->timestamp_ns,
        .due_ns = head.due_ns,
        .offset = record->offset + before,
        .length = record->length - before,
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

void rtp_rows(const uint8_t *buffer, const packet_record_t *records, uint64_t count,
              rtp_row_t *rows)
{
    for (uint64_t i = 0; i < count; i++)
        rows[i] = make_row(buffer, &records[i]);
}
