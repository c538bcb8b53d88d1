/* endpoint.h: one process's end of a channel. It contains no Python: the hand-written extension,
 * cffi and libshmring (shmring.h) are thin layers over these calls, so all of them behave the same.
 *
 *   endpoint.c           life: open, attach to a worker's slots, shut, forget after fork; state
 *   endpoint_send.c      sending: one packet, many, replacing, the worker's bell
 *   endpoint_recv.c      receiving: one packet, many, the reader's doorbell
 *   endpoint_loan.c      receiving without copies
 *   endpoint_wait.c      waiting for a packet or for room
 *   endpoint_box.c       the payload of a channel that sends in cycles
 *   endpoint_netflux.c   the values that a link received
 *   endpoint_udt.c       the bytes and messages of a UDT connection
 *   endpoint_mux.c       the datagrams of many ports
 *
 * Life. The caller maps the segment and opens an endpoint on it. It attaches the endpoint to the
 * worker as a producer or reader when it first sends or receives, and again after a worker was
 * replaced. The per-packet calls never attach: they return -ESTALE, and the caller attaches.
 *
 * Threads. The caller holds one lock (for example CPython's own) for all calls on an endpoint,
 * except endpoint_sleep, which works on the copy that endpoint_before_sleep made.
 *
 * Selecting. With a doorbell (ctl_msg.h) the endpoint can take part in select and asyncio. The
 * descriptor is readable while there may be packets. The worker rings it once after bell_want was
 * set. The call that finds the ring empty, or takes the last packet, clears it and sets bell_want
 * again (endpoint_rearm), unless the owner polls (endpoint_poll_on).
 *
 * Errors. Calls return a count or 0, and -errno when they fail. Where a comment says "with a text",
 * rt_err_text has it. */
#ifndef CLIENT_ENDPOINT_H
#define CLIENT_ENDPOINT_H

#include "base/rt_clock.h"
#include "client/int_array.h"
#include "shm/rx_ring.h"
#include "shm/tx_ring.h"

/* What an endpoint waits for, or attaches as. */
#define ENDPOINT_TX 1
#define ENDPOINT_RX 2

/* The farthest deadline. A later one was meant for another clock or in another unit. */
#define ENDPOINT_HORIZON_NS (366 * 24 * 3600 * RT_NS_PER_S)
/* A deadline below the first and older than the second is in seconds: a clock read in seconds has
 * at most this many digits. */
#define ENDPOINT_SECONDS_NS (10 * RT_NS_PER_S)
#define ENDPOINT_PAST_NS (60 * RT_NS_PER_S)

/* A sleeper checks this often whether the channel was closed or a signal came. */
#define ENDPOINT_SLICE_NS (50 * RT_NS_PER_MS)

typedef struct endpoint {
    shm_segment_t *segment; /* NULL: closed by this process */
    uint32_t epoch;         /* of the worker this endpoint is attached to */
    uint8_t tx_ready;       /* attached as producer */
    uint8_t rx_ready;       /* may receive: attached as reader, or needs no attaching */
    uint8_t has_remote;     /* a packet needs no destination of its own */
    uint8_t spare_full;     /* spare holds a packet taken from the ring and not yet handed out */
    uint8_t polled;         /* the ring is looked at again soon: no doorbell is asked for */
    int bell_fd;            /* eventfd that wakes the worker */
    int reader_fd;          /* bell that the worker rings for this endpoint, or -1 */
    int own_fd;             /* eventfd beside it that the endpoint rings */
    uint8_t own_rung;
    shm_reader_t *reader; /* slot, or NULL */
    int64_t usual_gap_ns; /* learnt: the usual duration of waits for a packet */
    tx_producer_t tx;
    rx_reader_t rx;
    uint8_t *spare; /* max_payload_bytes */
    rx_packet_t spare_packet;
    uint64_t spare_lost_before;
} endpoint_t;

/* --- life (endpoint.c) ------------------------------------------------------------------------ */

/* The segment stays the caller's and must outlive the endpoint. mode: shm_read_mode_t. With
 * SHM_READ_EACH a reader on a writable mapping still has to be attached. It gets the packets that
 * arrive from now on, and with from_oldest also those that are in the ring already. Returns 0;
 * -ENOMEM, -EACCES with a text. */
int endpoint_open(endpoint_t *e, shm_segment_t *s, int mode, int from_oldest);

/* After this call no other call works, and sleepers of this process return. When they have
 * returned, the segment may be unmapped. */
void endpoint_shut(endpoint_t *e);

/* Frees what the endpoint owns. Call it after endpoint_shut and the last sleeper's return, or
 * without endpoint_shut. */
void endpoint_close(endpoint_t *e);

/* Attaches as producer in the slot that the worker gave. bell_fd stays the caller's. Returns 0;
 * -EINVAL, -EACCES with a text. */
int endpoint_attach_producer(endpoint_t *e, uint32_t slot, int bell_fd);

/* Attaches as reader in the slot that the worker gave. The position stays the same. Returns 0;
 * -EINVAL with a text. */
int endpoint_attach_reader(endpoint_t *e, uint32_t slot);

/* From now on the endpoint clears and rings these two bells, which stay the caller's. */
void endpoint_select(endpoint_t *e, int reader_fd, int own_fd);

/* For a child after fork: the slots belong to the parent, and so does a packet that shared reading
 * took. The position stays the same. */
void endpoint_forget_slots(endpoint_t *e);

/* shm_channel_state_t as the worker wrote it, or any number if another process overwrote it. */
unsigned endpoint_state(const endpoint_t *e);

/* 1: a worker serves the channel, and it is the one that this endpoint knows. */
int endpoint_in_force(const endpoint_t *e);

/* How long ago, in ns, the worker last reported that it serves the channel. Any process may have
 * overwritten that time, so the difference may have any value. */
int64_t endpoint_silence_ns(const endpoint_t *e, int64_t now_mono_ns);

/* 1: attached as reader, if that is needed, to the worker in charge. */
int endpoint_may_recv(const endpoint_t *e);

/* 1: the ring may be read without attaching first. No worker serves a closed channel. */
int endpoint_may_read(const endpoint_t *e);

/* --- sending (endpoint_send.c) ---------------------------------------------------------------- */

/* Wakes a sleeping worker after something was committed or cancelled. Only with tx_ready. */
void endpoint_ring_bell(endpoint_t *e);

/* 1: attached as producer to the worker in charge. */
int endpoint_may_send(const endpoint_t *e);

/* Queues one packet. due_ns: its deadline in the channel's clock, 0: as soon as possible. route:
 * NULL for the channel's remote. Its addresses were checked (endpoint_check_source). Returns 0 and
 * the sequence; -ESTALE (attach first), -EDESTADDRREQ (no dest and no remote), -ERANGE (due_ns is
 * farther ahead than ENDPOINT_HORIZON_NS, or in seconds), -ENOBUFS (the ring is full), -EMSGSIZE,
 * -EPROTO with a text. */
int endpoint_send(endpoint_t *e, const void *payload, size_t bytes, int64_t due_ns,
                  const tx_route_t *route, uint64_t *sequence);

/* Whether packets of this channel can have this source: an address of its family that stands for
 * one host, with port 0 or the channel's port. Whether it is an address of the worker's host is
 * seen when the packet is sent. Returns 0, -EINVAL or -EAFNOSUPPORT with a text. */
int endpoint_check_source(const endpoint_t *e, const shm_addr_t *source);

/* Many packets in one buffer. Packet i starts at offsets[i], or in row i of a matrix, or after
 * packet i - 1. It is sizes[i] long, or size. It is due at dues[i], or if due_ns is not 0 at
 * due_ns + i * span_ns / span_packets, rounded down: an interval is a span of one packet, and a
 * batch that is spread is a span of all of them. It goes to dests[i], or to route.dest, and leaves
 * from sources[i], or from route.source. An entry of family 0 in sources stands for none. */
typedef struct send_batch {
    const uint8_t *data;
    uint64_t data_bytes;
    uint64_t count;
    int64_t size;
    uint64_t row_stride; /* bytes from one row to the next; 0: no matrix */
    int64_t due_ns;
    int64_t span_ns;
    uint64_t span_packets; /* 0: 1 */
    int_array_t sizes;
    int_array_t offsets;
    int_array_t dues;
    tx_route_t route;
    const uint8_t *dests;   /* NULL, or count shm_addr_t, at any address */
    const uint8_t *sources; /* likewise */
    uint64_t *sequences;    /* NULL, or room for count */
    /* Progress. */
    uint64_t done;
    uint64_t data_done; /* bytes, if there are neither offsets nor rows */
    uint64_t first_sequence;
} send_batch_t;

/* The deadline of packet i. Below 0: there is no such time. */
int64_t send_batch_due_ns(const send_batch_t *b, uint64_t i);

/* Notes that packet `done` was queued and has this sequence. */
void send_batch_advance(send_batch_t *b, uint64_t sequence);

/* Continues a batch as far as there is room. Returns 0: all done; otherwise as endpoint_send, or
 * -EFAULT: packet `done` is not inside the data, -EAFNOSUPPORT: dests[done] is no address of the
 * channel's family, or -EADDRNOTAVAIL with a text: as endpoint_check_source of sources[done]. */
int endpoint_send_batch(endpoint_t *e, send_batch_t *b);

/* Replaces a packet that waits with a new one: either both happen or neither. keep_due: the new
 * packet gets the old one's deadline. Returns 0 and the new sequence; -ENOENT (the old packet no
 * longer waits), -EBUSY with a text (the queue could not be searched), otherwise as endpoint_send.
 */
int endpoint_replace(endpoint_t *e, uint64_t old, const void *payload, size_t bytes, int keep_due,
                     int64_t due_ns, const tx_route_t *route, uint64_t *sequence);

/* Reserves room for one packet, which the caller writes to claim->payload. Call endpoint_commit or
 * endpoint_abort at once: the worker passes a claim that stays open, but frees no room behind it.
 * Returns as endpoint_send; the sequence is claim->sequence. */
int endpoint_claim(endpoint_t *e, size_t bytes, int64_t due_ns, const tx_route_t *route,
                   tx_claim_t *claim);
void endpoint_commit(endpoint_t *e, tx_claim_t *claim);
void endpoint_abort(endpoint_t *e, tx_claim_t *claim);

/* --- receiving (endpoint_recv.c) -------------------------------------------------------------- */

/* Packets that could be taken now. */
uint64_t endpoint_waiting(const endpoint_t *e);

/* Brings the next packet to spare, unless one is there. Returns 1: there is one, 0: none. */
int endpoint_peek(endpoint_t *e);

/* Like endpoint_peek, for an endpoint that may have to be attached first. Also returns -ESTALE:
 * there is no packet that could be read without attaching. Attach and call again. */
int endpoint_poll(endpoint_t *e);

/* As endpoint_poll, but without a copy in spare if any packet of the channel fits into the bytes at
 * `to`, whose contents are undefined if there is none. Returns where the payload is, ENDPOINT_IN_*,
 * with the rest in spare_packet and spare_lost_before; 0 or -ESTALE. */
#define ENDPOINT_IN_SPARE 1
#define ENDPOINT_IN_BUFFER 2 /* the packet has been taken */
int endpoint_poll_into(endpoint_t *e, uint8_t *to, uint64_t bytes);

/* Keeps a packet that endpoint_poll_into put into a buffer and that cannot be handed out: it is the
 * next one again. */
void endpoint_put_back(endpoint_t *e, const uint8_t *from, const rx_packet_t *packet,
                       uint64_t lost_before);

/* Notes that the packet in spare was handed out. */
void endpoint_taken(endpoint_t *e);

/* After a packet in the caller's buffer was handed out: asks for the next ring if none is left. */
void endpoint_rearm_if_empty(endpoint_t *e);

/* Clears the doorbell and, unless the owner polls, asks for the next ring. Rings it itself if
 * packets are there. */
void endpoint_rearm(endpoint_t *e);

/* on: the owner looks for packets again and again, and no ring is asked for. Off: one is, now. */
void endpoint_poll_on(endpoint_t *e, bool on);

/* What endpoint_take_many and endpoint_loan report about each packet. It has 80 bytes, so that
 * fields of 8 bytes can be viewed as arrays with a stride of 10. Python knows this layout
 * (batch.py). */
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
    shm_addr_t local; /* family 0: the channel has one address */
} packet_record_t;

static inline void packet_record_fill(packet_record_t *r, const rx_packet_t *p, uint64_t offset)
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
        .local = p->local,
    };
}

/* Takes up to max packets and stores their payloads in to: one after the other, or each in its own
 * row of row_bytes bytes if that is not 0. Stops at the first that does not fit, which stays.
 * Returns how many it took; *used gets the bytes, whole rows included. 0 although packets wait: the
 * next one is longer than the buffer or row (spare_packet.payload_bytes). */
uint64_t endpoint_take_many(endpoint_t *e, uint8_t *to, uint64_t bytes, uint64_t row_bytes,
                            packet_record_t *records, uint64_t max, uint64_t *used);

/* --- lending (endpoint_loan.c) ---------------------------------------------------------------- */

/* 1: a loan has not ended yet. */
static inline int endpoint_loan_is_out(const endpoint_t *e)
{
    return e->rx.loan != RX_LOAN_NONE;
}

/* 1: there is a packet to lend; 0: none; -ESTALE as endpoint_poll. */
int endpoint_poll_loan(endpoint_t *e);

/* Takes up to max packets without copying their payloads: they stay in the ring, and offsets are
 * those in segment->rx_data. Returns how many, 0: none. -EBUSY: the last loan has not ended.
 * -EOPNOTSUPP with a text: nothing could hold back a writer that waits for shared readers. If a
 * packet waits in spare, the loan is this packet alone, and *in_spare is set: copy it, and call
 * endpoint_taken. There is no loan to end then. */
int64_t endpoint_loan(endpoint_t *e, packet_record_t *records, uint64_t max, bool *in_spare);

/* How many of count packets, from the oldest on, the worker may have overwritten until now. Works
 * on an endpoint that was shut, as long as the segment is mapped. */
uint64_t endpoint_loan_overwritten(const endpoint_t *e, const packet_record_t *records,
                                   uint64_t count);

/* Lets a worker that waits for this reader overwrite the packets. */
void endpoint_loan_end(endpoint_t *e);

/* --- waiting (endpoint_wait.c) ---------------------------------------------------------------- */

/* A copy of what a sleeper needs, because other threads use the endpoint meanwhile. The segment
 * must stay mapped. */
typedef struct endpoint_sleep {
    rx_reader_t rx;
    tx_producer_t tx;
    int what; /* ENDPOINT_TX: waits for room, ENDPOINT_RX: for a packet */
    int64_t spin_ns;
    int64_t until_mono_ns;
    int64_t began_mono_ns;
} endpoint_sleep_t;

/* until_mono_ns: the end of the caller's time-out. One sleep ends after ENDPOINT_SLICE_NS at the
 * latest. */
void endpoint_before_sleep(const endpoint_t *e, int what, int64_t until_mono_ns,
                           endpoint_sleep_t *s);

/* Needs no lock. Returns 0 (try again), -ETIMEDOUT, -EINTR. */
int endpoint_sleep(endpoint_sleep_t *s);

/* For an event loop, whose tasks wait for the doorbell: spins at most 50 us, and only if packets
 * usually come that soon (profile "balanced") or always ("latency"). Call endpoint_before_loop,
 * endpoint_spin (needs no lock; returns 1: there is a packet) and, when the wait has ended,
 * endpoint_after_sleep. */
void endpoint_before_loop(const endpoint_t *e, endpoint_sleep_t *s);
int endpoint_spin(const endpoint_sleep_t *s);

/* Learns from the duration of the sleep. */
void endpoint_after_sleep(endpoint_t *e, const endpoint_sleep_t *s);

#endif
