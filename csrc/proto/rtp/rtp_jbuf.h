/* rtp_jbuf.h: the jitter buffer with a capacity in packets, compatible with the C library's
 * rtpjbuf_ calls and the Python class RtpJBuf to the last decision.
 *
 *   offered -> [ purge | late? duplicate? | sorted by extended sequence number ] -> ready
 *                  |          |                                                      + erasure
 *                  +----------+---------------------> dropped
 *
 * It does not use time. It delivers frames in order, waits at a gap until `capacity` frames have
 * arrived, and then declares the gap lost. Before the first release (warm-up) it collects
 * `capacity` frames, so that reordering at the start does no harm. rtp_jitter_buffer.h is the
 * buffer with playout times.
 *
 * It holds descriptions of frames, never their bytes: `item` is the caller's, and comes back with
 * the frame, once: as ready or as dropped. Conservation: after a flush,
 *     offered = delivered + dropped + parse errors (rtp_jbuf_counters_t).
 *
 * Caller's memory, one thread at a time, no clock, no allocation: the entries are in an array of
 * the caller that can be replaced by a longer one (rtp_jbuf_grow). */
#ifndef RTP_JBUF_H
#define RTP_JBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RTP_JBUF_NONE UINT64_MAX

typedef struct rtp_jbuf_entry {
    uint64_t lseq; /* sequence number, extended by 65536 per wrap */
    uint64_t item; /* the caller's: a pointer, an index */
    uint32_t ts;
    uint32_t age; /* offers for which this frame was the highest of a nearly full buffer */
} rtp_jbuf_entry_t;

typedef struct rtp_jbuf_erasure {
    uint64_t first; /* lseq of the first missing frame; 0 if a flush ends the warm-up */
    uint64_t last;
    uint32_t ts_diff; /* timestamp units of the missing frames */
} rtp_jbuf_erasure_t;

/* The frames and the erasure that one call delivers. The arrays are in the buffer and stay valid
 * until the next call. An erasure comes before the ready frames. */
typedef struct rtp_jbuf_result {
    const rtp_jbuf_entry_t *ready;
    const rtp_jbuf_entry_t *dropped; /* the offered frame, if it is among them, comes first */
    uint32_t ready_count;
    uint32_t dropped_count;
    bool has_erasure;
    rtp_jbuf_erasure_t erasure;
} rtp_jbuf_result_t;

typedef struct rtp_jbuf_counters {
    uint64_t offered;
    uint64_t parse_errors;
    uint64_t delivered;
    uint64_t erasures;
    uint64_t erased;  /* sequence numbers in them */
    uint64_t dropped; /* the sum of the four below */
    uint64_t duplicates;
    uint64_t late;
    uint64_t purged;     /* too far ahead of all others for too long */
    uint64_t flush_lost; /* dropped by rtp_jbuf_flush before the last run */
    uint64_t wraps;
} rtp_jbuf_counters_t;

typedef struct rtp_jbuf {
    rtp_jbuf_entry_t *entries; /* [first .. first + held) in ascending order of lseq */
    uint32_t entry_count;
    uint32_t first;
    uint32_t held;
    uint32_t capacity;
    uint64_t last_lseq; /* of the newest released frame; RTP_JBUF_NONE: warm-up */
    uint64_t top_lseq;  /* the highest accepted; RTP_JBUF_NONE: nothing yet */
    uint64_t epoch;     /* the extension of the next sequence number */
    uint32_t last_ts;
    uint32_t drop_count;
    rtp_jbuf_entry_t drops[2];
    rtp_jbuf_counters_t counters;
} rtp_jbuf_t;

/* How many entries a buffer of that capacity can ever need. 0: no bound (capacity 0), so grow. */
uint32_t rtp_jbuf_entries_for(uint32_t capacity);

/* capacity: frames that end the wait at a gap; 0: no limit. entries: at least 2 (any number from
 * there on works, rtp_jbuf_is_full tells when more are needed). */
void rtp_jbuf_init(rtp_jbuf_t *jb, uint32_t capacity, rtp_jbuf_entry_t *entries,
                   uint32_t entry_count);

/* True if the next offer may find no free entry: call rtp_jbuf_grow first. Never true with
 * rtp_jbuf_entries_for(capacity) entries. */
static inline bool rtp_jbuf_is_full(const rtp_jbuf_t *jb)
{
    return jb->held == jb->entry_count;
}

/* Moves the held frames into a longer array. The old one belongs to the caller again. Results
 * delivered before become invalid. */
void rtp_jbuf_grow(rtp_jbuf_t *jb, rtp_jbuf_entry_t *entries, uint32_t entry_count);

/* Offers one frame. The buffer must not be full: then it returns -ENOSPC and does nothing.
 * Otherwise 0. */
int rtp_jbuf_offer(rtp_jbuf_t *jb, uint16_t seq, uint32_t ts, uint64_t item,
                   rtp_jbuf_result_t *result);

/* Replaces rtp_jbuf_offer for a datagram that is not RTP: it ages the buffer like any other. */
void rtp_jbuf_offer_bad(rtp_jbuf_t *jb, rtp_jbuf_result_t *result);

/* Compatible flush: the last run of consecutive frames is ready, all runs before it are dropped
 * (the newest of them first), and in warm-up an erasure from 0 comes first. The buffer stays
 * usable. */
void rtp_jbuf_flush(rtp_jbuf_t *jb, rtp_jbuf_result_t *result);

/* The flush that loses nothing: delivers one run with the erasure before it (none during warm-up).
 * Returns false if nothing was held. Call it until then. */
bool rtp_jbuf_drain(rtp_jbuf_t *jb, rtp_jbuf_result_t *result);

/* Many datagrams at once. */
typedef struct rtp_jbuf_in {
    const uint8_t *data;
    uint32_t size;
    uint32_t reserved;
    uint64_t item;
} rtp_jbuf_in_t;

typedef enum rtp_jbuf_kind {
    RTP_JBUF_FRAME = 0,
    RTP_JBUF_ERASURE = 1,
    RTP_JBUF_DROPPED = 2,
    RTP_JBUF_ERROR = 3,
} rtp_jbuf_kind_t;

/* One event of many, in order. Fits a NumPy structured type field by field. */
typedef struct rtp_jbuf_event {
    uint64_t lseq; /* frame, dropped: its own; erasure: first; error: 0 */
    uint64_t item; /* frame, dropped, error: as offered; erasure: the last lseq */
    uint32_t ts;   /* frame, dropped: its own; erasure: ts_diff */
    uint8_t kind;  /* rtp_jbuf_kind_t */
    int8_t error;  /* rtp_parse_t, if kind is RTP_JBUF_ERROR */
    uint16_t reserved;
} rtp_jbuf_event_t;

_Static_assert(sizeof(rtp_jbuf_event_t) == 24, "a row without holes");

/* Writes the result of one call: the dropped, then the erasure, then the frames. Returns the place
 * after the last one. */
rtp_jbuf_event_t *rtp_jbuf_put_events(const rtp_jbuf_result_t *result, rtp_jbuf_event_t *to);

/* Parses and offers up to count datagrams. It stops if the events of one more might not fit in
 * max_events (frames held + 4) or the buffer is full. Returns how many were taken. *event_count
 * gets the number of events. Per datagram: an error, or the dropped, then the erasure, then the
 * frames. */
size_t rtp_jbuf_offer_many(rtp_jbuf_t *jb, const rtp_jbuf_in_t *in, size_t count,
                           rtp_jbuf_event_t *events, size_t max_events, size_t *event_count);

#endif
