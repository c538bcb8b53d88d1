/* rtp_rows.h: many items of an RTP channel as rows of a table, without a Python object for each. */
#ifndef CLIENT_RTP_ROWS_H
#define CLIENT_RTP_ROWS_H

#include "client/endpoint.h"

/* 64 bytes, so that each field can be viewed as an array with a stride. Python knows this layout
 * (rtp/batch.py). Header extension and contributing sources come before the payload. */
typedef struct rtp_row {
    uint64_t sequence;
    int64_t timestamp_ns; /* arrival, or the time when it was delivered */
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

/* Makes one row for each record that endpoint_take_many took into buffer. Any process may have
 * overwritten the records: lengths that exceed a record count as 0. Pure. */
void rtp_rows(const uint8_t *buffer, const packet_record_t *records, uint64_t count,
              rtp_row_t *rows);

#endif
