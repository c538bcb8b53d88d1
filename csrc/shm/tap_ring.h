/* tap_ring.h: the log of a tap: copies of a channel's datagrams, in memory that the worker
 * has made and the tapping tool can read. One writer (the worker), any number of readers (of that
 * tool).
 * tap_ring.c explains how it works, LAYOUT.md describes the layout.
 *
 * Trust: the writer never reads from this memory. It knows from its own numbers where to write, so
 * a process that overwrites the memory damages only the copy. */
#ifndef SHM_TAP_RING_H
#define SHM_TAP_RING_H

#include "shm/shm_layout.h"

#define TAP_MAGIC UINT64_C(0x7061746d68730001)
#define TAP_VERSION 1u
#define TAP_HEAD_BYTES 4096u
#define TAP_MARKS 64u
#define TAP_LEAST_BYTES (TAP_HEAD_BYTES + (UINT64_C(256) << 10)) /* of the whole memory */
#define TAP_MOST_BYTES (UINT64_C(1) << 30)

typedef enum tap_kind {
    TAP_PAD = 0,      /* fills the ring up to its end; has only bytes and kind */
    TAP_SENT = 1,     /* handed to the kernel, or to the emulated link */
    TAP_ARRIVED = 2,  /* from the socket, or from the emulated link */
    TAP_NOT_SENT = 3, /* dropped_late, cancelled or failed; no payload */
    TAP_STAMPED = 4,  /* the stamp of an earlier TAP_SENT has come, or never will; no payload */
    TAP_MARK = 5,     /* requested by a client; the payload is text */
} tap_kind_t;

#define TAP_HAS_SEQUENCE 0x01u /* report.sequence is that of send() or recv() */
#define TAP_AWAITS_STAMP 0x02u /* TAP_SENT: a TAP_STAMPED of the same number follows */
#define TAP_FILTERED 0x04u     /* TAP_ARRIVED, but not from the remote of a connected channel */
#define TAP_SHARED_STAMP 0x08u /* TAP_ARRIVED: one stamp covers several datagrams */
#define TAP_TRUNCATED 0x10u    /* TAP_ARRIVED: it was longer than the channel takes */

#define TAP_NO_VERDICT 255u /* of engines whose datagrams have no verdict */

/* Before the copy. The length with the copy is a multiple of 8 bytes. */
typedef struct tap_record {
    uint32_t bytes; /* up to the next record */
    uint8_t kind;   /* tap_kind_t */
    uint8_t flags;  /* TAP_* */
    uint8_t tos;    /* TAP_ARRIVED */
    uint8_t reserved;
    uint64_t index;  /* datagrams logged here before this one: a gap means they were overwritten */
    uint64_t number; /* the channel's own number, the same in each of its logs; from 1 */
    uint32_t payload_bytes;  /* of the datagram */
    uint32_t captured_bytes; /* bytes of it that follow: all, or as many as the tap wanted, or fewer
                              * because a deadline was near */
    shm_addr_t local;
    shm_addr_t remote;
    /* From TAP_SENT on: as in the ring of reports. TAP_ARRIVED: sequence, stamped_ns and stamp.
     * Times are in the channel's clock. */
    shm_report_t report;
} tap_record_t;

typedef enum tap_state {
    TAP_NEW = 0,
    TAP_LIVE = 1,
    TAP_CLOSED = 2, /* the channel was closed */
    TAP_FAILED = 3, /* it failed */
} tap_state_t;

typedef struct tap_head {
    uint64_t magic;
    rt_a32_t version; /* last */
    uint32_t head_bytes;
    uint64_t ring_bytes;
    uint32_t epoch; /* of the worker that writes */
    uint32_t clock; /* rt_clock_id_t of all times */
    uint8_t line0[96];
    /* W */
    rt_a64_t tail;      /* bytes written so far: everything before is complete */
    rt_a64_t writing;   /* everything more than ring_bytes before it is overwritten */
    rt_a64_t datagrams; /* logged so far */
    rt_a32_t state;     /* tap_state_t */
    rt_a32_t reserved;
    uint8_t line1[96];
    rt_a64_t marks[TAP_MARKS]; /* where the latest records begin, one for each part of the ring */
} tap_head_t;

/* --- writer: the worker's thread only --- */

typedef struct tap_writer {
    tap_head_t *head;
    uint8_t *ring;
    uint64_t ring_bytes;
    uint64_t part_bytes; /* ring_bytes / TAP_MARKS */
    uint64_t at;         /* bytes written so far */
    uint64_t place;      /* place of at in the ring */
    uint64_t part;       /* the last record began there */
    uint64_t datagrams;
} tap_writer_t;

/* Checks the size of a tap's memory. Returns 0 or -EINVAL with a text. */
int tap_bytes_check(uint64_t bytes);

/* memory: bytes of it, zeroed, page aligned. tap_bytes_check has accepted bytes. */
void tap_writer_init(tap_writer_t *w, void *memory, uint64_t bytes, uint32_t epoch, uint32_t clock);

/* Copies a record and the parts of its payload, captured_bytes in all. The caller has bounded them:
 * record->captured_bytes <= SHM_MAX_RECORD, and the parts have at least as many. Sets bytes and
 * index. Never waits. Overwrites the oldest records. */
void tap_writer_put(tap_writer_t *w, tap_record_t *record, const void *first, uint32_t first_bytes,
                    const void *second);

/* Says that nothing more will come, and why. */
void tap_writer_end(tap_writer_t *w, tap_state_t why);

/* --- readers: one struct per thread --- */

typedef struct tap_reader {
    const tap_head_t *head;
    const uint8_t *ring;
    uint64_t ring_bytes;
    uint64_t at;
    uint64_t next_index;
    uint64_t lost; /* datagrams overwritten before they were read, so far */
} tap_reader_t;

/* What tap_reader_take copied. */
typedef struct tap_batch {
    uint32_t bytes;   /* in the buffer */
    uint32_t records; /* complete ones, one after the other */
    uint32_t datagrams;
    uint32_t late;  /* of those records: with a verdict that means late */
    uint32_t marks; /* of those records: TAP_MARK */
    uint32_t reserved;
    uint64_t lost_before; /* overwritten between the record before the first and this */
} tap_batch_t;

/* Starts with the first record ever written. Returns 0; -EPROTO (no worker has made this a log of
 * this version) with a text. */
int tap_reader_init(tap_reader_t *r, const void *memory, uint64_t bytes);

/* Copies as many records as are there and fit. Any record fits a buffer of TAP_RECORD_MOST. Returns
 * how many; 0: there is none. */
uint32_t tap_reader_take(tap_reader_t *r, void *buffer, uint32_t buffer_bytes, tap_batch_t *batch);

#define TAP_RECORD_MOST 65696u

/* tap_state_t */
uint32_t tap_reader_state(const tap_reader_t *r);

/* How many overwritten datagrams a reader at the end of the log has not been told of, because no
 * record follows them. */
uint64_t tap_reader_unreported(const tap_reader_t *r);

#endif
