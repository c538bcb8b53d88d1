/* shm_layout.h: structs and constants of the channel segment and the worker segment. It contains
 * only layout. LAYOUT.md draws it, shm_layout.c checks every offset.
 *
 * Trust: several processes write everything below except the first page. The worker reads each
 * index, length and offset once, checks it, and continues with its copy. A client that overwrites
 * its own channel's segment damages that channel and no other.
 *
 * Writers, one per cache line (W worker, P any producer, R any reader, O the pool that created it):
 *
 *   offset 0        shm_identity_t     O, once, before the version word; then read-only
 *                   shm_status_t       W
 *                   shm_tx_cursors_t   P: tail        W: head, consumed, wake words
 *                   shm_rx_cursors_t   W: tail, floor R: shared head, wake request
 *                   shm_slot_cursors_t  W
 *                   shm_producer_t[n]  the one producer that owns the slot
 *                   shm_reader_t[n]    the one reader that owns the slot
 *                   shm_stats_t        W
 *                   report slots       W
 *                   late ring          W
 *                   tx ring            P and W in turn, handed over by the record's word
 *                   rx ring            W
 *                   engine             defined by the engine: its own header next to its agent
 */
#ifndef SHM_LAYOUT_H
#define SHM_LAYOUT_H

#include "base/rt_atomic.h"
#include "base/rt_clock.h"
#include "base/rt_hist.h"
#include "rows/channel.h"
#include "shm/observe_layout.h"
#include "shm/shm_config.h"

#define SHM_PAGE_BYTES 4096u
#define SHM_UNIT_BYTES 8u

/* --- cursors ------------------------------------------------------------------------------
 * Ring places are counted in 8-byte units from the start of the ring. A cursor is one 64-bit word
 *
 *      63                    32 31                     0
 *     +------------------------+------------------------+
 *     | sequence of the next   | its place in units     |
 *     | record, mod 2^32       | 0 .. ring_units - 1    |
 *     +------------------------+------------------------+
 *
 * so that one compare-and-swap moves both, packets between two cursors can be counted by
 * subtraction, and two cursors can be ordered although the places wrap. */
typedef uint64_t shm_cursor_t;

static inline shm_cursor_t shm_cursor(uint32_t seq, uint32_t place)
{
    return (uint64_t)seq << 32 | place;
}
static inline uint32_t shm_cursor_seq(shm_cursor_t c)
{
    return (uint32_t)(c >> 32);
}
static inline uint32_t shm_cursor_place(shm_cursor_t c)
{
    return (uint32_t)c;
}

/* --- record word --------------------------------------------------------------------------
 *      63                32 31            16 15      8 7       0
 *     +--------------------+----------------+---------+---------+
 *     | sequence, mod 2^32 | length in units| flags   | state   |
 *     +--------------------+----------------+---------+---------+
 *
 * The first 8 bytes of every record of both rings. In the tx ring its state hands the record over
 * between producer and worker. In the rx ring the state is always SHM_RECORD_COMMITTED. */
#define SHM_RECORD_MAX_UNITS 0xffffu

typedef enum shm_record_state {
    SHM_RECORD_EMPTY = 0,     /* zeroed by the worker, or claimed and not yet marked so */
    SHM_RECORD_CLAIMED = 1,   /* a producer is writing */
    SHM_RECORD_COMMITTED = 2, /* complete; the worker or a canceller may take it */
    SHM_RECORD_SENDING = 3,   /* the worker is handing it to the kernel */
    SHM_RECORD_DONE = 4,      /* has its verdict; space not yet freed */
    SHM_RECORD_CANCELLED = 5, /* a client took it back; the worker has not noticed yet */
    SHM_RECORD_PAD = 6,       /* fills the ring up to its end */
    SHM_RECORD_ABORTED = 7,   /* claimed, then given up by its producer */
} shm_record_state_t;

/* Flags of a tx record. */
#define SHM_TX_HAS_DEST 0x01u   /* shm_addr_t before the payload: where it goes */
#define SHM_TX_HAS_DUE 0x02u    /* time_ns is a deadline; otherwise: as soon as possible */
#define SHM_TX_RELOCATED 0x04u  /* moved here by the worker: keeps an older sequence */
#define SHM_TX_ENGINE 0x08u     /* the engine defines the meaning of the payload */
#define SHM_TX_ORPHAN 0x10u     /* aborted by the worker on behalf of a dead producer */
#define SHM_TX_REPLACES 0x20u   /* claimed, complete: takes the place of the
                                   packet of sequence tail_seq */
#define SHM_TX_REPLACED 0x40u   /* cancelled, or done: another packet took its place */
#define SHM_TX_HAS_SOURCE                                    \
    0x80u /* shm_addr_t before the payload, after the one of \
             HAS_DEST: the address of this host that it leaves from */

/* Flags of an rx record. */
#define SHM_RX_V6 0x01u           /* addresses are IPv6 (24 bytes, else 8) */
#define SHM_RX_SHARED_STAMP 0x02u /* one kernel stamp covers several packets of a GRO batch */
#define SHM_RX_TRUNCATED 0x04u
#define SHM_RX_HAS_LOCAL 0x08u /* after the source: the address of this host that it came to */

static inline uint64_t shm_word(uint32_t seq, uint32_t units, unsigned flags, unsigned state)
{
    return (uint64_t)seq << 32 | (uint64_t)(units & 0xffffu) << 16 | (flags & 0xffu) << 8 |
           (state & 0xffu);
}
static inline uint32_t shm_word_seq(uint64_t w)
{
    return (uint32_t)(w >> 32);
}
static inline uint32_t shm_word_units(uint64_t w)
{
    return (uint32_t)(w >> 16) & 0xffffu;
}
static inline unsigned shm_word_flags(uint64_t w)
{
    return (unsigned)(w >> 8) & 0xffu;
}
static inline unsigned shm_word_state(uint64_t w)
{
    return (unsigned)w & 0xffu;
}

/* tx record: this header, then shm_addr_t if SHM_TX_HAS_DEST, then shm_addr_t if
 * SHM_TX_HAS_SOURCE, then the payload. */
typedef struct shm_tx_record {
    rt_a64_t word;
    int64_t time_ns;          /* deadline in the channel's clock, or 0 */
    int64_t enqueued_mono_ns; /* CLOCK_MONOTONIC at the call */
    uint16_t payload_bytes;
    uint16_t producer; /* slot of the producer */
    /* Of a relocated record: the tail's sequence when this place was claimed. SHM_TX_REPLACES: the
     * sequence of the other packet. Otherwise 0. */
    uint32_t tail_seq;
} shm_tx_record_t;

/* rx record: this header, then the source address (8 bytes for IPv4: family, port, address; 24 for
 * IPv6: shm_addr_t), then in the same form the local address if SHM_RX_HAS_LOCAL, then the payload.
 * Only sockets that are bound to all addresses have it: the others have one address. */
typedef struct shm_rx_record {
    rt_a64_t word;
    int64_t time_ns; /* arrival in the channel's clock */
    uint16_t payload_bytes;
    uint8_t stamp; /* shm_stamp_t */
    uint8_t tos;
    uint32_t tag; /* the engine defines the meaning; plain UDP: 0 */
} shm_rx_record_t;

/* Each complete packet that the worker sends ends with one of these, in order, at the place (index
 * % slots). */
typedef struct shm_report {
    uint64_t sequence;
    int64_t scheduled_ns; /* 0: as soon as possible */
    int64_t enqueued_ns;
    int64_t woken_ns;   /* when the worker started to handle this packet */
    int64_t sent_ns;    /* start of the send call */
    int64_t handed_ns;  /* return of the send call */
    int64_t stamped_ns; /* on the wire, see stamp; 0 if there is none */
    int32_t error;      /* errno of VERDICT_FAILED */
    uint8_t verdict;    /* numbers in LAYOUT.md */
    uint8_t stamp;      /* shm_stamp_t of stamped_ns */
    uint16_t batch;     /* packets that left in the same call */
} shm_report_t;

/* A packet that was late, dropped or failed, with or without reports. The latest late_slots of them
 * are kept. */
typedef struct shm_late_packet {
    shm_report_t report;
    int64_t noted_mono_ns; /* when the verdict was given: relates the
                              report's clock to the worker's */
    uint32_t producer;     /* slot it came from */
    uint32_t producer_pid; /* the owner of that slot then; 0: it has no owner any more */
} shm_late_packet_t;

/* --- segment parts ------------------------------------------------------------------------ */

/* Written by the pool, all but the opener once. version is stored last with RELEASE. A process that
 * maps the segment reads it first with ACQUIRE and refuses any other number
 * before it reads anything else. */
typedef struct shm_identity {
    uint64_t magic;
    rt_a32_t version;
    uint32_t reserved;
    uint64_t segment_bytes;
    uint64_t segment_id; /* random, differs for every segment ever made under a name */
    shm_config_t config;
    /* Written again, with config.opener_pid, when the oldest of its openers that run is another one
     * (shm_segment_change_opener). For observers: the pool believes its own notes. */
    rt_a32_t openers; /* how often they were written */
    uint32_t reserved2;
    rt_a64_t opener_mono_ns; /* when they were written last */
} shm_identity_t;

#define SHM_REASON_BYTES 96u

/* What the worker reports about the channel. Facts that do not change per packet. */
typedef struct shm_status {
    rt_a32_t state; /* shm_channel_state_t */
    rt_a32_t epoch; /* raised each time a worker takes the channel over; futex for waiters */
    rt_a32_t worker_pid;
    rt_a32_t cpu;          /* core in use, UINT32_MAX: not pinned */
    rt_a32_t sched_policy; /* SCHED_OTHER 0, SCHED_FIFO 1 */
    rt_a32_t sched_priority;
    rt_a32_t error;          /* errno that led to SHM_STATE_FAILED */
    rt_a32_t socket_fd;      /* number inside the worker, for diagnosis only */
    rt_a32_t rcvbuf_bytes;   /* the size that the kernel actually gave */
    rt_a32_t sndbuf_bytes;
    rt_a32_t gso;            /* 1: segments are coalesced */
    rt_a32_t gro;
    rt_a32_t txtime;         /* 1: the queueing discipline launches the packets */
    rt_a32_t rx_stamp;       /* shm_stamp_t promised for arrivals */
    rt_a32_t tx_stamp;
    rt_a32_t worker_slot; /* which worker of the pool: names its control socket */
    rt_a64_t heartbeat_mono_ns;
    rt_a64_t opened_mono_ns;
    shm_addr_t bound; /* local address in use; written before state becomes OPEN */
    char txtime_reason[64];
    char interface[16];
    char qdisc[16];
    /* Why the state is FAILED, for a person to read; "" before. Written before the state. */
    char reason[SHM_REASON_BYTES];
} shm_status_t;

typedef struct shm_tx_cursors {
    /* P */
    _Alignas(RT_LINE_BYTES) rt_a64_t tail; /* next record to claim */
    rt_a64_t cancels; /* packets cancelled by clients, so that the worker notices */
    /* W: read by producers to know the room left */
    _Alignas(RT_LINE_BYTES) rt_a32_t head_place; /* oldest record not yet freed */
    rt_a32_t room_event;                         /* futex: counts the times room was freed */
    rt_a64_t finished;                           /* packets that have their verdict, and are counted */
    rt_a64_t read;                               /* cursor: next record that the worker takes in */
    rt_a64_t freeing_to;     /* 1 + place: being zeroed up to there; 0: not freeing */
    rt_a64_t sequence_high;  /* a 64-bit sequence within 2^31 of every one in the ring */
    /* P: rarely, on a full ring */
    _Alignas(RT_LINE_BYTES) rt_a32_t room_wanted; /* 1: a producer sleeps on room_event */
    rt_a32_t watch_wanted; /* 1: ring the watchers' bells at the next event of room_event */
    /* W arms, P rings: number of the arming * 4 + SHM_BELL_* */
    _Alignas(RT_LINE_BYTES) rt_a32_t bell_armed;
} shm_tx_cursors_t;

#define SHM_BELL_AWAKE 0u   /* the worker is awake, or was rung */
#define SHM_BELL_ARMED 1u   /* it sleeps and must be rung */
#define SHM_BELL_RINGING 2u /* a producer is about to ring and may be stopped:
                               others that commit ring, too */
#define SHM_BELL_STATE 3u

typedef struct shm_rx_cursors {
    /* W */
    _Alignas(RT_LINE_BYTES) rt_a64_t tail; /* cursor: next record to be written */
    rt_a64_t floor;                        /* cursor: oldest record that is still complete */
    rt_a64_t sequence_high;                /* 64-bit form of the tail's sequence */
    rt_a64_t purged_sequence;              /* everything before it was purged, not lost */
    rt_a32_t data_event;                   /* futex: counts the times sleepers were woken */
    rt_a32_t reserved;
    /* R: the cursor of all readers in shared mode */
    _Alignas(RT_LINE_BYTES) rt_a64_t shared_head;
    rt_a64_t shared_lost; /* overwritten before any reader of the group took them */
    /* R: rarely, before sleeping */
    _Alignas(RT_LINE_BYTES) rt_a32_t data_wanted; /* 1: a reader sleeps on data_event */
} shm_rx_cursors_t;

/* A producer announces what it is about to claim before it does so. After a death this tells the
 * worker whose unfinished claim blocks the ring and how long it is. */
#define SHM_INTENT_NONE UINT64_MAX
typedef struct shm_producer {
    _Alignas(RT_LINE_BYTES) rt_a64_t intent; /* the tail it tries to move, SHM_INTENT_NONE: idle */
    rt_a32_t intent_units;                   /* by how much, including padding at the ring's end */
    rt_a32_t owner;                          /* process id as the worker sees it; 0: free */
    uint64_t reserved;
} shm_producer_t;

typedef struct shm_reader {
    _Alignas(RT_LINE_BYTES) rt_a64_t cursor; /* next record this reader takes; mode each */
    rt_a64_t lost;                           /* overwritten before this reader took them */
    rt_a64_t taken;
    rt_a32_t owner;     /* process id as the worker sees it; 0: free */
    rt_a32_t bell_want; /* 1: ring this reader's bell at the next packet */
    uint64_t reserved;
} shm_reader_t;

/* Where the locks are: a byte for each producer slot, then, after SHM_MAX_SLOTS bytes, one for each
 * reader slot. */
#define SHM_SLOT_LOCKS (UINT64_C(1) << 40)

/* Slot 0 of the producers is the worker's own, for relocations. */
#define SHM_WORKER_PRODUCER 0u

/* --- statistics --------------------------------------------------------------------------- */

/* The worker counts since the segment was made or since statistics were reset. */
#define SHM_COUNTER_SPACE 120u /* room for more counters without a new layout */

typedef struct shm_stats {
    rt_a64_t counters[SHM_COUNTER_SPACE];
    rt_a64_t drops_base; /* the kernel's count at the socket when rx_kernel_drops was 0 */
    rt_a64_t rx_path; /* impaired path: arrivals offered to it << 32 | arrivals delivered, once
                         those in transit are, too */
    rt_a64_t finished_base; /* packets that had their verdict when the counters were 0 */
    rt_a64_t reserved[5];
    rt_a64_t scheduled;          /* gauge: packets waiting for their deadline */
    rt_ai64_t wake_margin_ns;    /* gauge: how long before a deadline the worker now wakes */
    rt_ai64_t wire_offset_ns;    /* gauge: how much earlier align="wire" now sends */
    rt_a64_t reset_mono_ns;
    rt_hist_t hists[SHM_HIST_TOTAL];
} shm_stats_t;

/* --- worker segment -----------------------------------------------------------------------
 * One small segment per worker. It outlives the worker. If all processes of a pool were killed, it
 * outlives the pool, until "shmring gc" removes it. Each part has one writer. */
typedef struct shm_worker_segment {
    shm_worker_page_t page; /* worker */
    uint8_t pad_a[SHM_RECORDER_OFFSET - sizeof(shm_worker_page_t)];
    shm_recorder_t recorder; /* worker */
    shm_error_log_t errors;  /* worker */
    uint8_t pad_b[SHM_POOL_ERRORS_OFFSET - SHM_RECORDER_OFFSET - sizeof(shm_recorder_t) -
                  sizeof(shm_error_log_t)];
    shm_error_log_t pool_errors; /* the pool's process */
    uint8_t pad_c[SHM_WORKER_SEGMENT_BYTES - SHM_POOL_ERRORS_OFFSET - sizeof(shm_error_log_t)];
} shm_worker_segment_t;

#endif
