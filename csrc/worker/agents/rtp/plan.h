/* plan.h: converts the records of an RTP channel to packets on the grid of its media clock: which
 * packet is next, when it is due, where its header goes. No socket, no clock, no ring: records come
 * in as the tx queue returns them, checked only against the ring.
 *
 *      record --read--> --place--> grid time --packet--> packet, packet, ... --> record done
 *                                           |
 *                                   undo: as if it had not happened
 *
 * A record that is there before its grid time takes the next one. One that comes later ends an
 * underrun: depending on the policy the stream continues at the first grid time that is not past,
 * or catches up. The same happens after a pause, but does not count as an underrun. The worker
 * itself fills a grid time (rtp_plan_filling).
 *
 * Times are the channel's clock. */
#ifndef RTP_AGENT_PLAN_H
#define RTP_AGENT_PLAN_H

#include "proto/rtp/rtp_stream.h"
#include "shm/rtp_shm.h"
#include "shm/tx_queue.h"

typedef struct rtp_plan_counters {
    uint64_t underruns;
    uint64_t filled;
} rtp_plan_counters_t;

/* The fields that change when a record gets its grid time. */
typedef struct rtp_plan_before {
    rtp_stream_t stream;
    rtp_plan_counters_t counters;
    uint32_t filled;
    bool paused;
    bool dry;
} rtp_plan_before_t;

typedef struct rtp_plan {
    const shm_rtp_config_t *config;
    rtp_stream_t stream;
    rtp_plan_counters_t counters;
    bool paused;            /* the next record begins a talk spurt, because its sender paused */
    bool dry;               /* the present underrun is counted */
    bool same_time;         /* the next record has the timestamp and the
                               grid time of the last packet */
    uint32_t filled;        /* consecutive filled grid times */
    uint64_t pause_samples; /* of pauses after the last packet */
    /* A block that the previous worker began. */
    uint64_t block_sequence;
    uint32_t block_bytes;
    /* The record in progress, while has_record. */
    bool has_record;
    tx_item_t item;
    uint64_t behind_ref; /* where to look for the next record */
    shm_rtp_tx_t head;
    uint8_t *media;
    uint32_t bytes;
    uint32_t done;
    uint32_t extension_bytes;
    rtp_plan_before_t before; /* the record got its grid time */
} rtp_plan_t;

typedef struct rtp_plan_packet {
    uint8_t *data; /* in the ring */
    uint32_t bytes;
    bool ends_record;
} rtp_plan_packet_t;

/* config outlives the plan, and has passed shm_rtp_config_check. */
void rtp_plan_init(rtp_plan_t *p, const shm_rtp_config_t *config);

/* What the next worker needs, and back. Invalid values are not taken over. */
void rtp_plan_save(const rtp_plan_t *p, shm_rtp_sender_t *out);
void rtp_plan_restore(rtp_plan_t *p, const shm_rtp_sender_t *in);

/* Reads a record. Returns its shm_rtp_what_t. A frame or a block is then in progress. -EBADMSG: it
 * is invalid for this engine. */
int rtp_plan_read(rtp_plan_t *p, const tx_item_t *item);

/* Finds the grid time of the record just read. enqueued_ns: when it was queued. */
void rtp_plan_place(rtp_plan_t *p, int64_t enqueued_ns, int64_t now_ns, int64_t tolerance_ns);

/* The record in progress will not be sent. One that has not begun leaves no trace: its grid time,
 * which may be far ahead, is free for the next one. */
void rtp_plan_give_up(rtp_plan_t *p);

/* The talk spurt ends here. samples: the time until the next one begins, 0: until a record comes.
 */
void rtp_plan_pause(rtp_plan_t *p, uint32_t samples, int64_t now_ns);

/* Queued records are discarded, and so are the pauses before them. */
void rtp_plan_purge(rtp_plan_t *p);

/* The record in progress continues after a pause. */
void rtp_plan_resume(rtp_plan_t *p, int64_t now_ns);

/* When the next packet of the record in progress is due, or filling: its grid time, and in a
 * picture that is spread its offset. */
static inline int64_t rtp_plan_due_ns(const rtp_plan_t *p)
{
    int64_t grid_ns = rtp_stream_due_ns(&p->stream);
    return p->has_record && grid_ns != RT_NEVER_NS ? grid_ns + p->head.offset_ns : grid_ns;
}

/* Whether the next packet is the last of its record. */
bool rtp_plan_is_last(const rtp_plan_t *p);

/* Builds the next packet of the record in progress and advances. A copy of the plan from before
 * undoes it, if nothing else was built since. */
void rtp_plan_packet(rtp_plan_t *p, rtp_plan_packet_t *out);

/* Advances without a packet: its grid time passes, its sequence number is not used. */
void rtp_plan_drop(rtp_plan_t *p);

/* The kernel refused a packet for good: the SR does not count it. */
void rtp_plan_not_sent(rtp_plan_t *p, uint32_t bytes);

/* Whether the next grid time must be filled. */
bool rtp_plan_filling(const rtp_plan_t *p);

/* The header of a filling packet, 12 bytes in front of config->bytes_per_packet. */
void rtp_plan_fill(rtp_plan_t *p, uint8_t *header);

#endif
