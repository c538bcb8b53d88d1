/* rtp_jitter_buffer.h: the jitter buffer with playout times. It delays each frame just enough
 * that a stated share of all frames arrives in time.
 *
 *   frames --in--> [ late? duplicate? | held, by sequence ] --next--> frames, erasures, resync
 *                     |                                       each at its playout time, or as soon
 *                     +--> dropped (result of the call)       as it is in order
 *
 * Playout time of a frame = its media time + transit of the fastest frames + delay.
 *
 *   delay      the `percentile` of the delay variation of the last RTP_JITTER_BUFFER_WINDOW frames,
 *              within [min_delay_ns, max_delay_ns]. It grows at once (the next frame waits longer),
 *              and shrinks by shrink_ns_per_s at most.
 *   clock skew of the sender is measured over half a minute and removed from all times, so the
 *              delay does not drift over hours.
 *   loss       a frame that is missing at its playout time, with a later one already there, is an
 *              erasure. Nothing waits longer for it, so a loss does not change the delay. Frames
 *              whose time passed before a later one arrived form one erasure together, and so do
 *              those of the same millisecond.
 *   running dry  an empty buffer gives erasures without a frame for up to
 *              conceal_ns. Then this counts as a pause of the sender.
 *   discontinuity  a jump of the sender's timestamps or sequence numbers, proved by a second packet
 *              after the jump, a change of the path that the delay cannot follow, or first packets
 *              that came so early that the others would all be late: held frames
 *              are delivered, an RTP_JITTER_BUFFER_RESYNC reports it, and timing restarts.
 *   signals    packets without media, such as telephone events (RFC 4733), have no playout time.
 *              Each is given out as soon as the packets just before it have come. A missing one is
 *              awaited for the delay at most. They are never late, and no erasure stands for them.
 *
 * It holds descriptions of frames, never their bytes: `item` is the caller's, and each comes back
 * once, delivered or dropped. Conservation, at any time:
 *     received = delivered + late + duplicates + overflow + discarded + rtp_jitter_buffer_held().
 *
 * Caller's memory, one thread, no clock, no allocation. Times are ns of any clock that does not
 * go back; arrival times may come from the kernel and be a little older than now_ns. */
#ifndef RTP_JITTER_BUFFER_H
#define RTP_JITTER_BUFFER_H

#include "base/rt_clock.h"
#include "proto/rtp/rtp_jitter.h"
#include "proto/rtp/rtp_skew.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RTP_JITTER_BUFFER_WINDOW 256u
#define RTP_JITTER_BUFFER_SEEN 1024u

typedef enum rtp_jitter_buffer_mode {
    RTP_JITTER_BUFFER_DEADLINE = 0, /* each frame at its playout time */
    RTP_JITTER_BUFFER_IN_ORDER =
        1, /* at once if in order; playout time only ends the wait at a gap */
} rtp_jitter_buffer_mode_t;

/* All zero but clock_rate: the defaults. */
typedef struct rtp_jitter_buffer_config {
    uint32_t clock_rate; /* Hz */
    rtp_jitter_buffer_mode_t mode;
    double percentile;       /* share of frames that should be in time, above 0, up to 1; 0: 0.98 */
    int64_t min_delay_ns;    /* 0: 5 ms; -1: none */
    int64_t max_delay_ns;    /* 0: 200 ms; up to 60 s */
    int64_t first_delay_ns;  /* before enough is known; 0: 40 ms, within the two above */
    int64_t shrink_ns_per_s; /* 0: 10 ms per second */
    int64_t conceal_ns;      /* 0: 100 ms; -1: none */
    int64_t resync_ns;       /* deviation too large to be delay; 0: 1 s */
} rtp_jitter_buffer_config_t;

typedef struct rtp_jitter_buffer_entry {
    uint64_t seq;  /* extended */
    int64_t media; /* timestamp, extended */
    uint64_t item;
    int64_t arrival_ns;
    bool signal;
} rtp_jitter_buffer_entry_t;

#define RTP_JITTER_BUFFER_NO_TIMING 0x1u /* a retransmission: has no information about the path */
#define RTP_JITTER_BUFFER_SIGNAL 0x2u    /* carries no media */

typedef struct rtp_jitter_buffer_in {
    uint64_t item;
    int64_t arrival_ns;
    uint32_t ts;
    uint16_t seq;
    uint16_t flags;
} rtp_jitter_buffer_in_t;

typedef enum rtp_jitter_buffer_reason {
    RTP_JITTER_BUFFER_LATE = 0,
    RTP_JITTER_BUFFER_DUPLICATE = 1,
    RTP_JITTER_BUFFER_OVERFLOW = 2,  /* the oldest held frame was removed to make room */
    RTP_JITTER_BUFFER_DISCARDED = 3, /* in doubt, and no frame followed it */
} rtp_jitter_buffer_reason_t;

/* Items that one call returned undelivered. */
typedef struct rtp_jitter_buffer_dropped {
    unsigned count;
    struct {
        uint64_t item;
        rtp_jitter_buffer_reason_t reason;
    } entry[4];
} rtp_jitter_buffer_dropped_t;

typedef enum rtp_jitter_buffer_kind {
    RTP_JITTER_BUFFER_FRAME = 0,
    RTP_JITTER_BUFFER_ERASURE = 1,
    RTP_JITTER_BUFFER_RESYNC = 2,
} rtp_jitter_buffer_kind_t;

/* The part that an erasure of a dry buffer has covered is not erased again when a later frame shows
 * that it was a loss. */
typedef struct rtp_jitter_buffer_event {
    rtp_jitter_buffer_kind_t kind;
    uint32_t ts;        /* erasure: its start; resync: of the first frame after the jump */
    uint64_t seq;       /* extended; erasure: the first missing frame,
                           or the one that was not there */
    uint32_t frames;    /* erasure: missing frames, 0: the buffer had run dry; frame: 1 */
    int32_t ts_span;    /* erasure: timestamp units; resync: jump of the timestamp */
    uint64_t item;      /* frame */
    int64_t due_ns;     /* playout time; of a signal, and of a frame before a resync, which have
                           none: the arrival; resync: playout time of the first frame after it */
    int64_t arrival_ns; /* frame */
} rtp_jitter_buffer_event_t;

typedef struct rtp_jitter_buffer_counters {
    uint64_t received;
    uint64_t delivered;
    uint64_t lost; /* skipped, and not arrived later either */
    uint64_t late;
    uint64_t duplicates;
    uint64_t overflow;
    uint64_t discarded;
    uint64_t erasures;     /* events */
    uint64_t concealed_ns; /* media time that was missing at playout */
    uint64_t pause_ns;     /* the buffer was dry, and the sender had paused */
    uint64_t resyncs;
} rtp_jitter_buffer_counters_t;

/* Transits of the last frames, less the clock skew; in order of arrival, and sorted. Private. */
typedef struct rtp_jitter_buffer_window {
    int64_t recent[RTP_JITTER_BUFFER_WINDOW];
    int64_t sorted[RTP_JITTER_BUFFER_WINDOW];
    uint32_t count;
    uint32_t next;
} rtp_jitter_buffer_window_t;

typedef struct rtp_jitter_buffer {
    rtp_jitter_buffer_config_t config; /* with the defaults filled in */
    rtp_jitter_buffer_counters_t counters;
    rtp_jitter_t jitter;
    rtp_jitter_buffer_window_t window;
    rtp_skew_t skew;

    rtp_jitter_buffer_entry_t *entries; /* [first .. first + held), ascending */
    uint32_t entry_count;
    uint32_t first;
    uint32_t held;    /* frames and signals */
    uint32_t signals; /* of them */

    bool started; /* a packet has come */
    bool playing; /* something has been delivered since the start or the last resync */
    bool restart; /* the next packet starts a new timeline */
    uint64_t top_seq;
    int64_t top_media;
    /* Which of the last numbers up to top_seq have come, and which of these were signals. */
    uint64_t seen[RTP_JITTER_BUFFER_SEEN / 64];
    uint64_t signal[RTP_JITTER_BUFFER_SEEN / 64];
    int64_t origin_media; /* media time 0 */
    int64_t offset_ns;    /* playout time less media time and skew: transit + delay */
    int64_t offset_at_ns;
    int64_t shift_ns; /* skew taken out as of the last arrival */

    uint64_t next_seq;    /* to be delivered */
    int64_t last_media;   /* of the frame delivered last */
    int64_t concealed_to; /* media up to here was delivered as erasures of a dry buffer */
    int64_t dry_ns;       /* of it, since the last frame */
    uint32_t step;        /* timestamp units from one frame to the next; 0: not known */
    int64_t step_before;
    uint64_t counted_from;  /* the first frame delivered of this timeline */
    uint64_t resync_seq;    /* entries below belong to the timeline before; 0: none */
    int32_t resync_ts_jump; /* reported at the next resync */

    bool has_suspect;
    rtp_jitter_buffer_entry_t suspect;
    int64_t suspect_transit_ns;
    bool in_late_run;
    int64_t late_since_ns;
} rtp_jitter_buffer_t;

/* entries: at least 4, for all frames that may be held: max_delay_ns of frames, and a few more.
 * Returns 0, or -EINVAL with text if the least delay, filled in, is above the longest. */
int rtp_jitter_buffer_init(rtp_jitter_buffer_t *b, const rtp_jitter_buffer_config_t *config,
                           rtp_jitter_buffer_entry_t *entries, uint32_t entry_count);

/* Takes one packet of the stream. Check for events afterwards. */
void rtp_jitter_buffer_in(rtp_jitter_buffer_t *b, const rtp_jitter_buffer_in_t *in,
                          rtp_jitter_buffer_dropped_t *dropped);

/* The next packet begins a new timeline, whatever its numbers: a new SSRC, or a restart found by
 * the source validation. */
void rtp_jitter_buffer_restart(rtp_jitter_buffer_t *b);

/* Returns true and an event that is due by now. false: none. Call it until then. */
bool rtp_jitter_buffer_next(rtp_jitter_buffer_t *b, int64_t now_ns,
                            rtp_jitter_buffer_event_t *event);

/* When to call rtp_jitter_buffer_next again, if no packet comes before. RT_NEVER_NS: not needed. */
int64_t rtp_jitter_buffer_deadline_ns(const rtp_jitter_buffer_t *b);

/* Frames inside, one in doubt included. */
static inline uint32_t rtp_jitter_buffer_held(const rtp_jitter_buffer_t *b)
{
    return b->held + (b->has_suspect ? 1u : 0u);
}

/* The present delay above the transit of the fastest frames, and the target delay. */
int64_t rtp_jitter_buffer_delay_ns(const rtp_jitter_buffer_t *b);
int64_t rtp_jitter_buffer_target_ns(const rtp_jitter_buffer_t *b);

/* The deviation of the sender's clock from ours, in parts per million. Above 0: it is slow. */
static inline double rtp_jitter_buffer_skew_ppm(const rtp_jitter_buffer_t *b)
{
    return b->skew.rate * 1e6;
}

#endif
