/* rtp_shm.h: what clients and the worker share of a channel whose engine is "rtp".
 *
 *   shm_config_t.engine_config   shm_rtp_config_t     the pool, once
 *   tx record's payload          shm_rtp_tx_t, then the frame or block          client -> worker
 *   rx record's payload          shm_rtp_rx_t, CSRC list, extension, payload    worker -> readers
 *   engine's part of the segment shm_rtp_state_t      the worker; any process reads
 *
 * Times are in the channel's clock. The worker checks all of it again: a client may have written
 * anything. LAYOUT.md draws it, rtp_shm.c checks the offsets. */
#ifndef SHM_RTP_H
#define SHM_RTP_H

#include "rows/rtp.h"
#include "shm/shm_layout.h"

#define SHM_RTP_ENGINE "rtp"
#define SHM_RTP_CNAME_BYTES 128u
#define SHM_RTP_HEAD_BYTES 12u  /* the header that the worker writes */
#define SHM_RTP_DEFAULT_PT 255u /* shm_rtp_tx_t: the channel's payload type */

/* --- configuration ------------------------------------------------------------------------ */

typedef enum shm_rtp_delivery {
    SHM_RTP_AT_PLAYOUT = 0, /* each frame at its playout time, gaps as erasures */
    SHM_RTP_IN_ORDER = 1,   /* as soon as it is in order; the playout time
                               only ends the wait at a gap */
    SHM_RTP_AS_ARRIVED = 2, /* no buffer: every valid packet at once, in order of arrival */
} shm_rtp_delivery_t;

typedef enum shm_rtp_rtcp {
    SHM_RTP_RTCP_OFF = 0,
    SHM_RTP_RTCP_MUX = 1,       /* on the port of the media (RFC 5761) */
    SHM_RTP_RTCP_NEXT_PORT = 2, /* on the port above it */
} shm_rtp_rtcp_t;

/* What happens to the grid when the queue is empty in the middle of a talk spurt. */
typedef enum shm_rtp_underrun {
    SHM_RTP_RESUME = 0,   /* continues at the first grid time that is not past, with a marker */
    SHM_RTP_CATCH_UP = 1, /* no grid time is skipped: late packets leave at once */
    SHM_RTP_FILL = 2,     /* the worker sends fill_packets packets of filling at
                             those times, then as RESUME */
} shm_rtp_underrun_t;

#define SHM_RTP_NO_MARKER 0x01u    /* the first packet of a talk spurt has none */
#define SHM_RTP_FIXED_SOURCE 0x02u /* take packets of expected_ssrc only */
#define SHM_RTP_NACK_SEND 0x04u    /* keep sent packets, send them again on request */
#define SHM_RTP_NACK_RECEIVE 0x08u /* request missing packets */
#define SHM_RTP_REDUCED_SIZE 0x10u /* RFC 5506: feedback without SR or RR before it */
#define SHM_RTP_EVENT_TYPES 0x20u  /* event_types is given */
#define SHM_RTP_FLAGS 0x3fu

/* A number of 0 means its default, of rows/rtp.toml or in the comment. -1 means none if the comment
 * says so. The process that opens the channel has drawn ssrc, first_ts and first_seq. */
typedef struct shm_rtp_config {
    uint32_t config_bytes; /* sizeof this struct */
    uint32_t clock_rate;   /* Hz, 1 .. 2^31 - 1; no default */
    uint32_t samples_per_packet; /* timestamp step of a frame that does not set one; no default */
    uint32_t bytes_per_packet;   /* of a block that does not set it; 0: each block must */
    uint32_t ssrc;               /* ours */
    uint32_t first_ts;
    uint16_t first_seq;
    uint8_t payload_type; /* 0 .. 127 */
    uint8_t flags;        /* SHM_RTP_* */
    uint8_t delivery;     /* shm_rtp_delivery_t */
    uint8_t rtcp;         /* shm_rtp_rtcp_t */
    uint16_t max_frames;  /* capacity of the jitter buffer; 0: enough
                             for max_delay_ns, at most 4096 */
    int64_t start_delay_ns; /* from a talk spurt's first frame to its time,
                               so that a queue can build up */

    /* validation */
    uint32_t expected_ssrc;
    uint16_t min_sequential;   /* packets in order that prove a source */
    uint16_t max_dropout;
    uint16_t max_misorder;
    uint8_t codec;             /* clients' own: the encoding of the samples; 0: none */
    uint8_t channels;          /* clients' own: audio channels */
    uint8_t underrun;          /* sending: shm_rtp_underrun_t */
    uint8_t fill_byte;         /* SHM_RTP_FILL: what fills bytes_per_packet */
    uint16_t fill_packets;     /* most in a row */
    int64_t switch_silence_ns; /* silence before another source takes over; 0: at once */

    /* jitter buffer */
    double percentile;       /* share of frames that must be in time, above 0, up to 1; 0.98 */
    int64_t min_delay_ns;    /* -1: none */
    int64_t max_delay_ns;
    int64_t first_delay_ns;
    int64_t shrink_ns_per_s;
    int64_t conceal_ns; /* -1: none */
    int64_t resync_ns;

    /* RTCP */
    double rtcp_bandwidth_bps;   /* of the whole session; 3200 */
    int64_t rtcp_interval_ns;    /* minimum */
    shm_addr_t rtcp_local;       /* NEXT_PORT: family 0: the media's, port + 1 */
    shm_addr_t rtcp_remote;      /* same default */
    char cname[SHM_RTP_CNAME_BYTES]; /* terminated; "": user@host drawn from the segment's id */

    /* NACK (RFC 4585) */
    uint32_t history_packets; /* kept for sending again, power of two */
    uint32_t nack_max_requests;
    int64_t nack_first_wait_ns;
    int64_t nack_retry_ns;
    int64_t nack_give_up_ns;

    /* Bit n: packets of payload type n carry no media frames. Not given: those of a dynamic type,
     * not ours, that have 4 bytes. */
    uint64_t event_types[2];
} shm_rtp_config_t;

/* Checks every field. Any thread. Returns 0 or -EINVAL, -EPROTO with a text that names the value,
 * the limit and the fix. */
int shm_rtp_config_check(const shm_rtp_config_t *c);

/* --- what is sent ------------------------------------------------------------------------- */

typedef enum shm_rtp_what {
    SHM_RTP_FRAME = 0, /* one packet */
    SHM_RTP_BLOCK = 1, /* encoded samples of a constant rate, cut by the worker */
    SHM_RTP_PAUSE = 2, /* the talk spurt ends after the packets queued before; no payload */
    SHM_RTP_BYE = 3,   /* the stream ends after them; RTCP sends a BYE */
} shm_rtp_what_t;

typedef enum shm_rtp_marker {
    SHM_RTP_MARKER_AUTO = 0, /* on the first packet of a talk spurt */
    SHM_RTP_MARKER_SET = 1,
    SHM_RTP_MARKER_CLEAR = 2,
} shm_rtp_marker_t;

#define SHM_RTP_SAME_TIME 0x01u /* frame: the next packet in the queue has the
                                   same timestamp and due time */
#define SHM_RTP_EXTENSION 0x02u /* frame: starts with a header extension, in wire format */
#define SHM_RTP_TX_FLAGS 0x03u

/* Each packet has a report with its record's sequence, so a block has several reports with one
 * sequence, in order. scheduled_ns is the packet's grid time plus its offset. Pauses and BYEs are
 * not packets and have none.
 *
 * A due time in the record is the earliest time: the packet takes the first time of the grid at or
 * after it. Before the very first packet it is the grid's origin.
 *
 * The worker writes each packet's RTP header in front of its payload, so that both leave the ring
 * in one piece: into `header`, and in a block over the end of the previous packet, which has been
 * sent by then. */
typedef struct shm_rtp_tx {
    uint8_t what;         /* shm_rtp_what_t */
    uint8_t marker;       /* shm_rtp_marker_t; of a block's first packet */
    uint8_t payload_type; /* SHM_RTP_DEFAULT_PT: the channel's */
    uint8_t flags;        /* SHM_RTP_SAME_TIME, SHM_RTP_EXTENSION */
    uint32_t samples;          /* timestamp step of a frame, of each full packet of a
                                  block; 0: the channel's. Of a pause: time until the next
                                  packet, 0: until one is queued */
    uint32_t bytes_per_packet; /* of a block; 0: the channel's */
    uint32_t offset_ns;        /* of a frame: it is due this long after
                                  its grid time. Of others: 0 */
    uint8_t header[SHM_RTP_HEAD_BYTES];
} shm_rtp_tx_t;

/* --- what is received --------------------------------------------------------------------- */

typedef enum shm_rtp_kind {
    SHM_RTP_GOT_FRAME = 0,
    SHM_RTP_GOT_ERASURE = 1, /* frames that did not come in time */
    SHM_RTP_GOT_RESYNC = 2,  /* the timeline jumps: what follows starts a new one */
    SHM_RTP_GOT_BYE = 3,     /* the source left; comes after its packets */
} shm_rtp_kind_t;

#define SHM_RTP_RECOVERED 0x01u  /* sent again on request */
#define SHM_RTP_NEW_SOURCE 0x02u /* first of another SSRC, or resync because of one */
#define SHM_RTP_RESTARTED 0x04u  /* resync: the source restarted */
#define SHM_RTP_DRY 0x08u        /* erasure: the buffer had run dry */
#define SHM_RTP_EVENT 0x10u      /* frame: no media, so it has not waited in the jitter buffer */

/* For a packet, the rx record's own time and stamp are its arrival. For an erasure and a resync the
 * time is when it was delivered, stamp SHM_STAMP_NONE. After this struct: csrc_count * 4 bytes of
 * CSRC list, extension_bytes of the header extension's body (both in network order, as on the
 * wire), the payload. */
typedef struct shm_rtp_rx {
    uint8_t kind; /* shm_rtp_kind_t */
    uint8_t flags;
    uint8_t marker;
    uint8_t payload_type;
    uint32_t ssrc;
    uint64_t seq;     /* extended; erasure: of the first missing frame */
    uint32_t ts;      /* erasure: its start; resync: of the first frame after the jump */
    int32_t ts_span;  /* erasure: timestamp units; resync: jump of the timestamp */
    uint32_t frames;  /* erasure: missing frames, 0 if the buffer ran dry; frame: 1 */
    uint16_t extension_profile; /* 0xBEDE, 0x100x: RFC 8285 */
    uint16_t extension_bytes;   /* 0: none, or an empty one */
    int64_t due_ns;   /* playout time; SHM_RTP_AS_ARRIVED, SHM_RTP_EVENT: the arrival */
    uint8_t csrc_count;
    uint8_t reserved[7];
} shm_rtp_rx_t;

/* --- state -------------------------------------------------------------------------------- */

#define SHM_RTP_COUNTER_SPACE 64u
#define SHM_RTP_GAUGE_SPACE 64u

/* What the next worker needs to continue the same stream. It is written before each send, so that a
 * packet is skipped rather than sent twice. There are two copies, written alternately:
 * sender[current % 2] is complete. With current 0 there is none yet. */
typedef struct shm_rtp_sender {
    int64_t origin_ns;  /* origin of the grid; RT_NEVER_NS: not started */
    uint64_t position;  /* position of the next packet, in samples */
    uint64_t packets;   /* packet count for the SR */
    uint64_t octets;
    uint64_t block_sequence; /* of the record in progress; UINT64_MAX: none */
    uint32_t block_bytes;    /* bytes of it that have been sent */
    uint16_t seq;            /* of the next packet */
    uint8_t marker;          /* of the next packet */
    uint8_t paused;
} shm_rtp_sender_t;

/* Written by the worker, each word atomically. Sums may lack the packet in progress. cname: an odd
 * `cname_changes` means that it is being written. Read the name, and again if the count has
 * changed. */
typedef struct shm_rtp_state {
    rt_a32_t current;
    rt_a32_t cname_changes;
    shm_rtp_sender_t sender[2];
    rt_a64_t counters[SHM_RTP_COUNTER_SPACE];
    rt_ai64_t gauges[SHM_RTP_GAUGE_SPACE];
    char remote_cname[256]; /* as sent by the source; terminated */
} shm_rtp_state_t;

#endif
