/* channel_end.h: one process's end of a channel, as both bindings use it. No Python in here: hot.c
 * wraps these calls for CPython, ring_src.h passes them to cffi, and so both do the same.
 *
 * Life. Python (channel.py) maps the segment, opens an end on it, attaches it to the worker as a
 * producer or reader when it first sends or receives, and attaches it again after a worker was
 * replaced. The per-packet calls below never attach: they return -ESTALE, and Python does it.
 *
 * Threads. All calls want the caller's lock (CPython's own, or the lock of the cffi backend),
 * except end_sleep, which works on the copy that end_before_sleep made.
 *
 * Selecting. With a bell (ctl_msg.h) the end can take part in select and asyncio. It is readable
 * while packets may be there: the worker rings it once after bell_want was set; the call that finds
 * the ring empty, or takes the last packet, clears it and sets bell_want again (end_rearm). */
#ifndef CHANNEL_END_H
#define CHANNEL_END_H

#include "base/rt_err.h"
#include "base/rt_futex.h"
#include "python/int_array.h"
#include "shm/ctl_msg.h"
#include "shm/report_ring.h"
#include "shm/rx_ring.h"
#include "shm/tx_ring.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define END_TX 1
#define END_RX 2

/* How far ahead a deadline may lie. Farther ones are another clock's or another unit's. */
#define END_HORIZON_NS (366 * 24 * 3600 * RT_NS_PER_S)

/* A sleeper looks up this often, to see that the channel was closed or that a signal came. */
#define END_SLICE_NS (50 * RT_NS_PER_MS)

/* A worker says several times a second that it serves a channel. */
#define END_UNHEARD_NS (1 * RT_NS_PER_S)

/* Waiting for a packet in profile "balanced": spin for twice the usual gap if that is short, so
 * that a steady stream is met awake; the futex alone costs tens of microseconds. */
#define END_SPIN_START_NS (20 * RT_NS_PER_US)
#define END_SPIN_MOST_NS (200 * RT_NS_PER_US)

typedef struct channel_end {
    shm_segment_t *segment; /* NULL: closed by this process */
    uint32_t epoch;         /* of the worker this end is attached to */
    uint8_t tx_ready;       /* attached as producer */
    uint8_t rx_ready;       /* may receive: attached as reader, or needs no attaching */
    uint8_t has_remote;     /* packets without a destination of their own have one */
    uint8_t spare_full;     /* spare holds a packet taken from the ring and not yet handed out */
    int bell_fd;            /* eventfd that wakes the worker */
    int reader_fd;          /* bell that the worker rings for this end, or -1 */
    shm_reader_t *reader;   /* slot, or NULL */
    int64_t usual_gap_ns;   /* learnt: how long waits for a packet last */
    tx_producer_t tx;
    rx_reader_t rx;
    uint8_t *spare; /* max_payload_bytes */
    rx_packet_t spare_packet;
    uint64_t spare_lost_before;
} channel_end_t;

/* --- life ----------------------------------------------------------------------------------- */

/* The segment stays the caller's and must outlive the end. mode: shm_read_mode_t. A writable
 * broadcast reader still has to be attached; what arrives from now on (from_oldest: what is held
 * already, too) waits for it. Returns 0, -ENOMEM, -EACCES. */
static inline int end_open(channel_end_t *e, shm_segment_t *s, int mode, int from_oldest)
{
    *e = (channel_end_t){
        .epoch = rt_load_acquire(&s->status->epoch),
        .has_remote = s->config.remote.family != 0,
        .rx_ready = mode == SHM_READ_SHARED || !s->writable,
        .bell_fd = -1,
        .reader_fd = -1,
        .usual_gap_ns = END_SPIN_START_NS / 2,
    };
    int rc = rx_reader_init(&e->rx, s, CTL_NO_SLOT, mode, from_oldest);
    if (rc < 0)
        return rc;
    e->spare = malloc(s->config.max_payload_bytes + 1u);
    if (e->spare == NULL)
        return rt_err_set(-ENOMEM, "no memory for a packet of %u bytes",
                          s->config.max_payload_bytes);
    e->segment = s;
    return 0;
}

/* No call works any more after this, and sleepers of this process return. The segment may be
 * unmapped once they have. */
static inline void end_shut(channel_end_t *e)
{
    shm_segment_t *s = e->segment;
    if (s == NULL)
        return;
    e->segment = NULL;
    if (!s->writable)
        return;
    rt_futex_wake_all(&s->rx->data_event);
    rt_futex_wake_all(&s->tx->room_event);
}

/* After end_shut and the last sleeper's return, or without. */
static inline void end_close(channel_end_t *e)
{
    e->segment = NULL;
    free(e->spare);
    e->spare = NULL;
}

/* As producer in the slot that the worker gave. bell_fd stays the caller's. Returns 0, -EINVAL,
 * -EACCES. */
static inline int end_attach_producer(channel_end_t *e, uint32_t slot, int bell_fd)
{
    int rc = tx_producer_init(&e->tx, e->segment, slot);
    if (rc < 0)
        return rc;
    e->bell_fd = bell_fd;
    e->tx_ready = 1;
    return 0;
}

/* As reader in the slot that the worker gave; the position stays. reader_fd: bell that the
 * worker rings, or -1; stays the caller's. Returns 0, -EINVAL. */
static inline int end_attach_reader(channel_end_t *e, uint32_t slot, int reader_fd)
{
    rx_reader_t was = e->rx;
    int rc = rx_reader_init(&e->rx, e->segment, slot, was.mode, 0);
    if (rc < 0)
        return rc;
    e->rx.cursor = was.cursor;
    e->rx.sequence = was.sequence;
    e->rx.lost = was.lost;
    e->rx.lost_untold = was.lost_untold;
    e->reader = e->rx.slot;
    e->reader_fd = reader_fd;
    rt_store_release(&e->reader->cursor, was.cursor);
    e->rx_ready = 1;
    return 0;
}

/* In a child after fork: the slots are the parent's, and so is a packet that was taken from others.
 * The position stays. */
static inline void end_forget_slots(channel_end_t *e)
{
    int shared = e->rx.mode == SHM_READ_SHARED;
    e->tx_ready = 0;
    e->rx_ready = shared || e->rx.shared == NULL;
    e->spare_full = e->spare_full && !shared;
    e->rx.slot = NULL;
    e->reader = NULL;
    e->bell_fd = -1;
    e->reader_fd = -1;
}

static inline unsigned end_state(const channel_end_t *e)
{
    return rt_load_acquire(&e->segment->status->state);
}

/* Whether a worker serves the channel, and the one that this end knows. */
static inline int end_in_force(const channel_end_t *e)
{
    unsigned state = end_state(e);
    return (state == SHM_STATE_OPEN || state == SHM_STATE_HELD) &&
           rt_load_acquire(&e->segment->status->epoch) == e->epoch;
}

/* How long ago the worker said that it serves the channel. Any process may have scribbled over that: the
 * difference wraps around. */
static inline int64_t end_silence_ns(const channel_end_t *e, int64_t now_mono_ns)
{
    return (int64_t)((uint64_t)now_mono_ns -
                     rt_load_relaxed(&e->segment->status->heartbeat_mono_ns));
}

/* Whether nobody has said for a second that the channel is served. Its pool and its workers may
 * have died, or its worker stands still: ask before waiting on. */
static inline int end_unheard(const channel_end_t *e)
{
    unsigned state = end_state(e);
    return (state == SHM_STATE_OPEN || state == SHM_STATE_HELD) &&
           end_silence_ns(e, rt_mono_ns()) > END_UNHEARD_NS;
}

/* Whether what is in the ring may be read without attaching first; nobody serves a closed channel.
 */
static inline int end_may_read(const channel_end_t *e)
{
    return e->rx_ready || end_state(e) == SHM_STATE_CLOSED;
}

/* --- sending -------------------------------------------------------------------------------- */

/* Tells a sleeping worker that something was committed. */
static inline void end_ring_bell(channel_end_t *e)
{
    uint64_t one = 1;
    if (!tx_producer_must_ring(&e->tx))
        return;
    /* The counter only wakes: full (EAGAIN) does as well, and a vanished worker sees the ring when
     * it is replaced. */
    ssize_t ignored = write(e->bell_fd, &one, sizeof one);
    (void)ignored;
    tx_producer_rang(&e->tx);
}

static inline int end_may_send(const channel_end_t *e)
{
    return e->tx_ready && end_in_force(e);
}

/* Whether due_ns can be meant. Channels that count in CLOCK_MONOTONIC only: a deadline from any
 * other clock lies decades ahead there. */
static inline int end_due_plausible(const channel_end_t *e, int64_t due_ns, int64_t now_mono_ns)
{
    return e->segment->config.clock != RT_CLOCK_MONOTONIC || due_ns - now_mono_ns < END_HORIZON_NS;
}

/* Queues one packet. dest: NULL for the channel's remote. Returns 0 and the sequence; -ESTALE
 * (attach first), -EDESTADDRREQ, -ERANGE (due_ns is farther ahead than END_HORIZON_NS), -ENOBUFS
 * (full), -EMSGSIZE. */
static inline int end_send(channel_end_t *e, const void *payload, size_t bytes, int64_t due_ns,
                           const shm_addr_t *dest, uint64_t *sequence)
{
    if (!end_may_send(e))
        return -ESTALE;
    if (dest == NULL && !e->has_remote)
        return -EDESTADDRREQ;
    int64_t now = rt_mono_ns();
    if (!end_due_plausible(e, due_ns, now))
        return -ERANGE;
    uint32_t length = bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)bytes;
    int rc = tx_producer_push(&e->tx, payload, length, due_ns, now, dest, sequence);
    if (rc == 0)
        end_ring_bell(e);
    return rc;
}

/* Many packets in one buffer. Packet i lies at offsets[i], or behind packet i - 1; it is sizes[i]
 * long, or size. It is due at dues[i], or at due_ns + i * interval_ns, where due_ns is not 0. */
typedef struct send_batch {
    const uint8_t *data;
    uint64_t data_bytes;
    uint64_t count;
    int64_t size;
    int64_t due_ns;
    int64_t interval_ns;
    int_array_t sizes;
    int_array_t offsets;
    int_array_t dues;
    const shm_addr_t *dest;
    uint64_t *sequences; /* NULL, or room for count */
    /* Progress. */
    uint64_t done;
    uint64_t data_done; /* bytes, where there are no offsets */
    uint64_t first_sequence;
} send_batch_t;

/* Below 0: there is no such time. */
static inline int64_t batch_due_ns(const send_batch_t *b, uint64_t i)
{
    int64_t due_ns;
    if (b->dues.width)
        return int_at(&b->dues, i);
    if (b->due_ns == 0)
        return 0;
    if (__builtin_mul_overflow((int64_t)i, b->interval_ns, &due_ns) ||
        __builtin_add_overflow(due_ns, b->due_ns, &due_ns))
        return -1;
    return due_ns;
}

static inline void batch_advance(send_batch_t *b, uint64_t sequence)
{
    if (b->done == 0)
        b->first_sequence = sequence;
    if (b->sequences)
        b->sequences[b->done] = sequence;
    b->done++;
}

/* How often a batch reads the clock and looks whether the worker sleeps. */
#define BATCH_STRIDE 64u

/* Goes on with a batch as far as there is room. Returns 0: all done; otherwise as end_send, or
 * -EFAULT: packet `done` does not lie inside the data. */
static inline int end_send_batch(channel_end_t *e, send_batch_t *b)
{
    if (!end_may_send(e))
        return -ESTALE;
    if (b->dest == NULL && !e->has_remote)
        return -EDESTADDRREQ;
    int rc = 0;
    int64_t now = rt_mono_ns();
    while (rc == 0 && b->done < b->count) {
        uint64_t i = b->done;
        int64_t size = b->sizes.width ? int_at(&b->sizes, i) : b->size;
        int64_t offset = b->offsets.width ? int_at(&b->offsets, i) : (int64_t)b->data_done;
        int64_t due_ns = batch_due_ns(b, i);
        uint64_t sequence;
        if (size < 0 || offset < 0 || (uint64_t)offset > b->data_bytes ||
            (uint64_t)size > b->data_bytes - (uint64_t)offset) {
            rc = -EFAULT;
        } else if (due_ns < 0 || !end_due_plausible(e, due_ns, now)) {
            rc = -ERANGE;
        } else {
            uint32_t length = size > UINT32_MAX ? UINT32_MAX : (uint32_t)size;
            rc =
                tx_producer_push(&e->tx, b->data + offset, length, due_ns, now, b->dest, &sequence);
        }
        if (rc == 0) {
            batch_advance(b, sequence);
            b->data_done += (uint64_t)size;
            if (i % BATCH_STRIDE == 0) {
                end_ring_bell(e);
                now = rt_mono_ns();
            }
        }
    }
    end_ring_bell(e);
    return rc;
}

/* Puts a new packet in the place of one that waits: either both happen or neither. keep_due: it
 * gets the old one's deadline. Returns 0 and the new sequence; -ENOENT (the old one does not wait
 * any more), -EBUSY (the queue could not be searched), otherwise as end_send. */
static inline int end_replace(channel_end_t *e, uint64_t old, const void *payload, size_t bytes,
                              int keep_due, int64_t due_ns, const shm_addr_t *dest,
                              uint64_t *sequence)
{
    if (!end_may_send(e))
        return -ESTALE;
    if (dest == NULL && !e->has_remote)
        return -EDESTADDRREQ;
    int64_t now = rt_mono_ns();
    if (!end_due_plausible(e, due_ns, now))
        return -ERANGE;
    tx_claim_t claim;
    uint32_t length = bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)bytes;
    if (length <= e->tx.max_payload_bytes)
        tx_producer_touch(payload, length);
    int rc = tx_producer_claim(&e->tx, length, due_ns, now, dest, &claim);
    if (rc < 0)
        return rc;
    memcpy(claim.payload, payload, bytes);
    int replaced = tx_producer_replace(&e->tx, e->segment, &claim, old, keep_due);
    end_ring_bell(e);
    if (replaced <= 0)
        return replaced < 0 ? replaced : -ENOENT;
    *sequence = claim.sequence;
    return 0;
}

/* --- receiving ------------------------------------------------------------------------------ */

/* Packets that could be taken now. */
static inline uint64_t end_waiting(const channel_end_t *e)
{
    return rx_reader_waiting(&e->rx) + e->spare_full;
}

/* Brings the next packet to spare, unless one is there. Returns 1: there is one, 0: none. */
static inline int end_peek(channel_end_t *e)
{
    if (!e->spare_full && rx_reader_next(&e->rx, e->spare, e->segment->config.max_payload_bytes,
                                         &e->spare_packet, &e->spare_lost_before) == 1)
        e->spare_full = 1;
    return e->spare_full;
}

#define END_RINGS 8 /* taken at once: more than one is rare */

/* Clears the bell and asks for the next ring; rings it itself if packets are there. */
static inline void end_rearm(channel_end_t *e)
{
    uint8_t rings[END_RINGS];
    if (e->reader_fd < 0 || e->reader == NULL)
        return;
    ssize_t ignored = 1;
    for (int i = 0; i < END_RINGS && ignored > 0; i++)
        ignored = read(e->reader_fd, rings, sizeof rings);
    rt_store_relaxed(&e->reader->bell_want, 1);
    /* Pairs with the full fence in rx_writer_publish: either the worker sees bell_want or the
     * packet is seen here. */
    rt_fence_full();
    if (end_waiting(e))
        ignored = write(e->reader_fd, "", 1);
    (void)ignored;
}

/* The packet in spare was handed out. */
static inline void end_taken(channel_end_t *e)
{
    e->spare_full = 0;
    if (e->reader_fd >= 0 && rx_reader_waiting(&e->rx) == 0)
        end_rearm(e);
}

/* What recv_many says of each packet. 56 bytes, so that fields of 8 bytes can be viewed as arrays
 * with a stride of 7; Python knows this layout (batch.py). */
typedef struct packet_record {
    uint64_t sequence;
    int64_t timestamp_ns;
    uint64_t offset; /* in the payload buffer */
    uint32_t length;
    uint8_t stamp;
    uint8_t flags;
    uint8_t tos;
    uint8_t reserved;
    shm_addr_t source;
} packet_record_t;

_Static_assert(sizeof(packet_record_t) == 56, "batch.py has this layout");

static inline void record_fill(packet_record_t *r, const rx_packet_t *p, uint64_t offset)
{
    *r = (packet_record_t){
        .sequence = p->sequence,
        .timestamp_ns = p->time_ns,
        .offset = offset,
        .length = p->payload_bytes,
        .stamp = p->stamp,
        .flags = p->flags,
        .tos = p->tos,
        .source = p->source,
    };
}

/* Takes up to max packets, their payloads one behind the other in to. Ends early at the first that
 * does not fit, which stays. Returns how many; *used gets the bytes. 0 though packets wait: the
 * next one is longer than the buffer (spare_packet.payload_bytes). */
static inline uint64_t end_take_many(channel_end_t *e, uint8_t *to, uint64_t bytes,
                                     packet_record_t *records, uint64_t max, uint64_t *used)
{
    uint32_t longest = e->segment->config.max_payload_bytes;
    uint64_t n = 0, at = 0;
    while (n < max) {
        if (!e->spare_full && bytes - at >= longest) {
            rx_packet_t packet;
            if (rx_reader_next(&e->rx, to + at, longest, &packet, NULL) != 1)
                break;
            record_fill(&records[n++], &packet, at);
            at += packet.payload_bytes;
            continue;
        }
        if (!end_peek(e) || e->spare_packet.payload_bytes > bytes - at)
            break;
        memcpy(to + at, e->spare, e->spare_packet.payload_bytes);
        record_fill(&records[n++], &e->spare_packet, at);
        at += e->spare_packet.payload_bytes;
        e->spare_full = 0;
    }
    if (n && e->reader_fd >= 0 && end_waiting(e) == 0)
        end_rearm(e);
    *used = at;
    return n;
}

/* --- sleeping ------------------------------------------------------------------------------- */

/* What a sleeper needs, copied, because others use the end meanwhile. The segment must stay mapped.
 */
typedef struct end_sleep {
    rx_reader_t rx;
    tx_producer_t tx;
    int what; /* END_TX: for room, END_RX: for a packet */
    int64_t spin_ns;
    int64_t until_mono_ns;
    int64_t began_mono_ns;
} end_sleep_t;

static inline int64_t end_spin_ns(const channel_end_t *e)
{
    switch (e->segment->config.profile) {
    case SHM_PROFILE_LATENCY:
        return END_SLICE_NS;
    case SHM_PROFILE_POWER:
        return 0;
    default:
        return e->usual_gap_ns * 2 <= END_SPIN_MOST_NS ? e->usual_gap_ns * 2 : 0;
    }
}

/* until_mono_ns: when the caller gives up; one sleep ends after END_SLICE_NS at the latest. */
static inline void end_before_sleep(const channel_end_t *e, int what, int64_t until_mono_ns,
                                    end_sleep_t *s)
{
    int64_t now = rt_mono_ns();
    s->what = what;
    s->began_mono_ns = now;
    s->until_mono_ns = until_mono_ns - now < END_SLICE_NS ? until_mono_ns : now + END_SLICE_NS;
    if (what == END_TX) {
        s->tx = e->tx;
    } else {
        s->rx = e->rx;
        s->spin_ns = end_spin_ns(e);
    }
}

/* Without any lock. Returns 0 (look again), -ETIMEDOUT, -EINTR. */
static inline int end_sleep(end_sleep_t *s)
{
    if (s->what == END_TX)
        return tx_producer_wait_room(&s->tx, s->until_mono_ns);
    return rx_reader_wait(&s->rx, s->spin_ns, s->until_mono_ns);
}

/* Learns from how long it took. */
static inline void end_after_sleep(channel_end_t *e, const end_sleep_t *s)
{
    if (s->what == END_RX)
        e->usual_gap_ns += (rt_mono_ns() - s->began_mono_ns - e->usual_gap_ns) / 4;
}

#endif
