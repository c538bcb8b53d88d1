/* agent.h: what the worker calls in an engine, and what it offers to it.
 *
 * A channel's configuration names its engine. The agent of that name does the channel's work: it
 * takes packets from the tx ring, owns the sockets, fills the rx ring, and says when it wants to be
 * called again. An engine consists of one folder below csrc/proto (the protocol, sans-IO) and one
 * below agents/. Nothing else in the worker changes:
 *
 *     static const agent_ops_t OPS = {.engine = "udt", ...};
 *     AGENT_REGISTER(OPS)
 *
 * The linker collects the registrations in a section of their own. The agents are linked as object
 * files (CMake: an OBJECT library), because no code refers to them by name and an archive would
 * leave them out.
 *
 * Thread: everything happens on the worker's one thread. Time: now_mono_ns was read once in this
 * pass of the loop. No function here may wait. Only open, close, hold, release, reset and refresh
 * may allocate or log.
 *
 * Budgets. Each call does a bounded amount of work, whatever clients and peers do, so that a
 * deadline of another channel waits for at most one such call:
 *
 *     loop       64 deadlines, 64 active channels, 64 events a pass, each only while no deadline is
 *                near; 16 to 256 channels a turn of the housekeeping; 1 look at a slot's holder;
 *                of two deadlines served one after the other, one is in its order
 *     tx ring    512 records searched for cancelled ones, 64 KiB zeroed, 8 records moved a call
 *     sockets    as many messages as fit before another channel is due, and into 300 us
 *                (agents/common/intake.h)
 *     udp, local 256 records taken in, 64 packets a send call, 4 entries of
 *                the schedule swept a push
 *     mux        128 records taken in, 256 messages a round
 *     rtp        256 records taken in, 256 examined for one that waits, 64 without a packet handled
 *     udt        256 records or 512 KiB taken in, 4 rounds of 16 messages, each only while no
 *                deadline is near
 *     netflux    64 stray records; one datagram a cycle
 *     proxy      16 messages of clients, 4 while their flows are new; 256 messages of servers; 64
 *                datagrams handed over in each direction, 8 flows ended, 16 when the channel ends;
 *                another impairment moves no datagram
 *     cyclic     64 stray records; one datagram a cycle; 256 KiB
 *                copied in search of a whole payload
 *     bells      16 readers and 16 watchers a call, 16 bells a pass between deadlines; all of them
 *                once when the channel ends or fails
 *     hang-up    8 attachments
 *     attach     64 checks of orphaned slots, when none is free
 *     taps       64 KiB of payloads copied a pass, for all taps; more
 *                only while no deadline is near
 *     checks     50 us of CPU time a pass, for all channels; beyond that one check at a time
 *     purge      256 packets
 *     damage     1000 invalid entries in the tx ring since the worker opened the channel: then it
 *                fails (wrk_reschedule), because handling them would never end
 *
 * When each function is called:
 *
 *   on_deadline   at the time that deadline_ns() returned. May spin for the last
 *                 AGENT_LEAD_NS before a send, so that nothing happens between
 *                 reading the clock and the send call.
 *   do_work       repeatedly while the channel is active (it found work lately, a client rang the
 *                 bell, a deadline was served). Takes in from the tx ring, sends packets without a
 *                 deadline, frees ring space: a bounded amount of each. Returns how much it found
 *                 to do. 0: the channel may go to sleep.
 *   sources       on events of descriptors that the agent watches (wrk_watch).
 *   deadline_ns   after each of these: returns when on_deadline is due, or RT_NEVER_NS.
 */
#ifndef WRK_AGENT_H
#define WRK_AGENT_H

#include "io/udp_io.h"
#include "shm/rx_ring.h"
#include "shm/slot_ring.h"
#include "shm/tap_ring.h"
#include "shm/tx_queue.h"
#include "worker/deadline_heap.h"
#include "worker/name_table.h"
#include "worker/poller.h"

#include <stdbool.h>
#include <stddef.h>

#define AGENT_LEAD_NS (5 * RT_NS_PER_US)

typedef struct worker worker_t;
typedef struct wrk_job wrk_job_t;
typedef struct wrk_tap wrk_tap_t;
typedef struct wrk_piece wrk_piece_t;

typedef struct agent_ops {
    const char *engine; /* as in shm_config_t.engine */

    /* The segment's memory is made present when it is used, not in advance: for engines with many
     * channels and large rings that are mostly idle. */
    bool memory_as_used;

    /* Each packet of the tx ring is counted once, by its verdict or as lost. A successor counts
     * those that were not counted. */
    bool counts_each;

    /* Requests may make a channel take so much more memory than it took at first. It counts for
     * its user from the beginning. */
    uint64_t room_bytes;

    /* Size of the state. It is zeroed, is at ch->agent and is aligned to a cache line. */
    size_t state_bytes;

    /* Cold. Continues with the socket or park in ch->socket_fd (wrk_take_socket), or opens a new
     * one, and leaves there what the pool is to keep. Fills the socket facts of ch->segment.status.
     * The queue and rings of ch are ready. Returns 0 or -errno with a text; then close is not
     * called. */
    int (*open)(wrk_channel_t *ch, int64_t now_mono_ns);
    void (*close)(wrk_channel_t *ch);

    unsigned (*do_work)(wrk_channel_t *ch, int64_t now_mono_ns);
    void (*on_deadline)(wrk_channel_t *ch, int64_t now_mono_ns);
    int64_t (*deadline_ns)(const wrk_channel_t *ch);

    /* Transmission and reception stop or continue, as ch->held now says. Queued packets stay
     * queued. NULL: the engine only needs to check ch->held. */
    void (*hold)(wrk_channel_t *ch);
    void (*release)(wrk_channel_t *ch, int64_t now_mono_ns);

    /* Cancels waiting packets, about max of them. Returns 1 if none of those that waited at the
     * first call is left, 0: call again. Stops waiting for the stamps of sent packets. */
    int (*purge)(wrk_channel_t *ch, unsigned max, int64_t now_mono_ns);

    /* Counters were set to zero. NULL: the engine only increments its counters,
     * and keeps no sums of its own. */
    void (*reset)(wrk_channel_t *ch);

    /* A client's request to this engine (CTL_ENGINE). NULL: the engine accepts none. Cold, may
     * allocate. The body is unchecked. Writes at most CTL_ENGINE_BYTES of answer, *reply_bytes is 0
     * at first. Returns a result >= 0, or -errno with a text. Not -ENOENT: clients take it for a
     * worker that does not serve the channel yet, and ask again for seconds. */
    int (*request)(wrk_channel_t *ch, const uint8_t *body, size_t bytes, uint8_t *reply,
                   uint32_t *reply_bytes);

    /* A client's producer slot is free again: it detached, hung up or died. NULL: the engine does
     * not depend on the owner of its values. */
    void (*producer_gone)(wrk_channel_t *ch, uint32_t slot, int64_t now_mono_ns);

    /* A few times a second: facts and gauges that cost a system call. */
    void (*refresh)(wrk_channel_t *ch, int64_t now_mono_ns);

    /* A private pool died, and its worker ends with it: sends the final packets now. close follows.
     * NULL: there are none. */
    void (*send_final)(wrk_channel_t *ch, int64_t now_mono_ns);
} agent_ops_t;

/* What the worker took for a channel beside its segment (channel_memory.h). */
typedef struct wrk_memory {
    wrk_piece_t *pieces;
    uint64_t used_bytes;
    uint64_t limit_bytes; /* 0: none */
} wrk_memory_t;

typedef struct wrk_bell {
    uint32_t slot; /* of the reader, or WRK_WATCHER */
    int fd;
} wrk_bell_t;

#define WRK_WATCHER UINT32_MAX

typedef enum wrk_bell_kind {
    WRK_BELL_READERS,
    WRK_BELL_WATCHERS,
    WRK_BELL_KINDS
} wrk_bell_kind_t;

/* Bells that are still to be looked at. */
typedef struct wrk_round {
    uint32_t next;
    uint32_t left;
} wrk_round_t;

/* The slots of one kind, and their holders (slots.h). */
typedef struct wrk_slots {
    uint32_t count;
    uint32_t orphans;
    uint32_t next;  /* checked next */
    uint32_t *pids; /* process id of each holder, 0: none */
    uint64_t given[SHM_MAX_SLOTS / 64];
    uint64_t orphaned[SHM_MAX_SLOTS / 64];
} wrk_slots_t;

/* One channel as the worker sees it. Agents read config, segment, worker and held, use tx, rx,
 * reports and stats, own agent, socket_fd, tx_paused and (in open) pressing, and must not touch the
 * rest. */
struct wrk_channel {
    worker_t *worker;
    shm_config_t config;
    shm_segment_t segment;
    shm_stats_t *stats;
    tx_queue_t tx;
    rx_writer_t rx;
    slot_writer_t reports;
    slot_writer_t late; /* shm_late_packet_t */
    void *agent;
    bool tx_paused; /* nothing is taken in for now (held, blocked): the
                       bell and polling are not needed */
    bool held;      /* by command, from the beginning, or because it failed:
                       nothing is sent or received */
    bool pressing;  /* has a short period: when the core is behind, its deadlines come first */

    bool failed;
    bool ended; /* closed: only its memory is left */
    const agent_ops_t *ops;
    uint64_t drops_base; /* the kernel's count at the socket when rx_kernel_drops was 0 */
    int segment_fd;
    int bell_fd;
    int socket_fd; /* a socket or a park: before open a predecessor's, afterwards the pool keeps a
                      duplicate of it; -1: none */
    wrk_source_t bell;
    deadline_node_t deadline;
    deadline_node_t pressing_deadline; /* the same, if pressing */
    int64_t last_work_mono_ns;
    uint32_t active_index; /* in the worker's active set, or WRK_INACTIVE */
    uint32_t place;        /* in the worker's table */
    name_node_t by_name;
    uint64_t present_bytes; /* bytes of the segment made present so far, in advance of their use */
    wrk_memory_t memory;
    uint64_t blocks; /* of 512 bytes that the segment's file had at least */
    uint64_t left_bytes; /* of the segment of an ended channel: its pages below are unmapped */
    wrk_channel_t *absent_next;
    wrk_bell_t *bells; /* of readers and watchers, bell_count in use; room for one per slot */
    uint32_t bell_count;
    wrk_round_t rounds[WRK_BELL_KINDS];
    wrk_bell_kind_t rung_last; /* by the loop, in the latest turn */
    bool agent_present; /* the state is, as present_bytes says of the segment */
    bool ringing;       /* in the worker's list */
    wrk_channel_t *ringing_next;
    wrk_slots_t slots[2]; /* by wrk_slot_kind_t */
    bool counted_all;     /* what its last worker had finished and not counted is counted */
    bool readers_next;    /* the next slot check is for an orphaned reader */
    uint32_t expensive_checks;  /* consecutive slot checks that cost too much (slots.c) */
    wrk_job_t *jobs; /* deferred commands, oldest first */
    wrk_job_t *jobs_last;
    wrk_tap_t *taps; /* NULL: no taps, the usual case */
    uint64_t tap_number; /* datagrams that were tapped */
};

#define WRK_INACTIVE UINT32_MAX

/* --- registration -------------------------------------------------------------------------- */

/* Linkers that drop unused sections need `retain`, since no code refers to this one by name. */
#if defined __has_attribute
#if __has_attribute(retain)
#define AGENT_RETAIN retain,
#endif
#endif
#ifndef AGENT_RETAIN
#define AGENT_RETAIN
#endif
#define AGENT_REGISTER(ops)                                \
    static const agent_ops_t *const agent_registered_##ops \
        __attribute__((AGENT_RETAIN used, section("wrk_agents"))) = &(ops);

/* NULL with a text that lists the existing engines. */
const agent_ops_t *agent_find(const char *engine);

/* --- services ------------------------------------------------------------------------------ */

/* Sources of an agent: channel is set here, on_event by the agent. As poller_watch. */
int wrk_watch(wrk_channel_t *ch, wrk_source_t *source, int fd, uint32_t events);
void wrk_rewatch(wrk_channel_t *ch, wrk_source_t *source, uint32_t events);
void wrk_unwatch(wrk_channel_t *ch, wrk_source_t *source);

/* The socket or park that a predecessor left, owned by the caller from now on. -1: none. */
static inline int wrk_take_socket(wrk_channel_t *ch)
{
    int fd = ch->socket_fd;
    ch->socket_fd = -1;
    return fd;
}

/* The channel has work for do_work: from now on it is polled in every pass. */
void wrk_activate(wrk_channel_t *ch, int64_t now_mono_ns);

/* Whether a process holds the producer slot. Costs a system call: only call it when needed. */
bool wrk_producer_alive(wrk_channel_t *ch, uint32_t slot);

/* The process that holds the slot, 0: none. */
uint32_t wrk_producer_pid(const wrk_channel_t *ch, uint32_t slot);

/* A client has ended the channel: purge is called until nothing is left, then close. What takes long
 * to end may end in purge, piece by piece. */
bool wrk_is_ending(const wrk_channel_t *ch);

/* Another channel of this worker. NULL: there is none of that name. */
wrk_channel_t *wrk_find(const wrk_channel_t *ch, const char *name);

/* Reschedules the channel's deadline. The worker calls it after any of the channel's code has run,
 * an agent after it worked on another channel. */
void wrk_reschedule(wrk_channel_t *ch);

/* Publishes the records that were put into the rx ring, wakes readers, counts what they lost. */
void wrk_rx_publish(wrk_channel_t *ch);

/* Packets without a deadline were sent: an answer may come soon. */
void wrk_sent_at_once(wrk_channel_t *ch);

/* The channel has failed for good: state FAILED. Its clients and observers learn error (an errno)
 * and reason (one clause for a person, with the wrong value, cut to SHM_REASON_BYTES - 1). Other
 * channels continue. The first failure stays. Costs a few system calls, once. Returns with ch still
 * valid: the caller does no more work for it. */
void wrk_channel_fail(wrk_channel_t *ch, int error, const char *reason);

/* Notes an exceptional event in the flight recorder and, if its kind is ERROR, in the log of
 * distinct errors. count: how many happened at once. a, b, c: as in the table SHM_EVENTS. Costs
 * about 20 ns, however often it happens. */
void wrk_note(wrk_channel_t *ch, shm_event_id_t id, uint64_t count, int64_t a, int64_t b, int64_t c,
              int64_t now_mono_ns);

/* The same for one error, with a text for the log of distinct errors (NULL: none). */
void wrk_note_error(wrk_channel_t *ch, shm_event_id_t id, int64_t a, int64_t c, const char *text,
                    int64_t now_mono_ns);

/* The kernel counts its drops for as long as the socket lives. total: that count. The channel's
 * counter continues after a takeover, including drops between two workers. */
void wrk_kernel_drops_resume(wrk_channel_t *ch, uint64_t total, int64_t now_mono_ns);
/* Statistics were reset: counts from here on. */
void wrk_kernel_drops_reset(wrk_channel_t *ch, uint64_t total);
/* Adds new drops to the counter, and notes them. */
void wrk_kernel_drops(wrk_channel_t *ch, uint64_t total, int64_t now_mono_ns);

/* Packets that a predecessor took from the kernel and that can no longer be delivered. */
void wrk_lost_with_predecessor(wrk_channel_t *ch, uint64_t packets);

/* A receiving socket was opened that no predecessor had. After a takeover this is counted and
 * noted. */
void wrk_socket_reopened(wrk_channel_t *ch, uint16_t port);

/* A receive call failed with this errno: counts and notes it. A
 * channel without its socket fails. */
void wrk_receive_failed(wrk_channel_t *ch, int error, int64_t now_mono_ns);

/* Until this time no other channel is due on this core: a handler may take that long. The time is
 * later if a deadline is near too often and this event has waited for long. */
int64_t wrk_free_until_ns(const wrk_channel_t *ch);

/* How many pieces of that cost fit into the time until then, at most most. 1 if none fits, because
 * otherwise nothing would ever be done. */
static inline unsigned agent_pieces_before(int64_t until_mono_ns, int64_t now_mono_ns,
                                           int64_t cost_ns, unsigned most)
{
    int64_t left = until_mono_ns - now_mono_ns;
    if (left >= most * cost_ns)
        return most;
    return left > cost_ns ? (unsigned)(left / cost_ns) : 1;
}

/* The new estimate of the cost of a piece, smoothed. most_ns: a longer time was an interruption. */
static inline int64_t agent_cost_learnt_ns(int64_t cost_ns, int64_t took_ns, unsigned pieces,
                                           int64_t most_ns)
{
    int64_t each = took_ns / pieces;
    each = each < most_ns ? each : most_ns;
    return cost_ns + (each - cost_ns) / 8;
}

static inline int64_t agent_earlier_ns(int64_t a_ns, int64_t b_ns)
{
    return a_ns < b_ns ? a_ns : b_ns;
}

/* End of the last send call on this core, and both ends of the last sleep: for verdicts. */
int64_t wrk_last_send_end_ns(const wrk_channel_t *ch);
void wrk_note_send_end(wrk_channel_t *ch, int64_t end_mono_ns);
int64_t wrk_asleep_from_ns(const wrk_channel_t *ch);
int64_t wrk_woken_ns(const wrk_channel_t *ch);

/* What to add to a time of the channel's clock to get CLOCK_MONOTONIC. It changes when the time of
 * day is set. */
int64_t wrk_clock_shift_ns(const wrk_channel_t *ch);
clock_map_t *wrk_clock_map(wrk_channel_t *ch);

/* Memory for the channel, zeroed, at the start of a cache line. It counts for the user who opened
 * the channel, and is given back with it at the latest. Pages become present as they are used.
 * NULL with a text, for -ENOMEM: there is none, or it is more than the user may have. */
void *wrk_take_memory(wrk_channel_t *ch, uint64_t bytes);
/* NULL: nothing happens. */
void wrk_give_memory(wrk_channel_t *ch, void *memory);
/* Counts memory that something else allocates for the channel, at most so much at any time. Returns
 * 0, or -ENOMEM with a text. */
int wrk_count_memory(wrk_channel_t *ch, uint64_t bytes);

/* Buffers for udp_recv, shared by all sockets of the worker. */
udp_rx_pool_t *wrk_rx_pool(wrk_channel_t *ch);

/* Copies a record into the channel's logs that want its kind. Sets bytes, index and captured_bytes.
 * The payload has two parts: first_bytes of first, the rest of second. */
void wrk_tap_put(wrk_channel_t *ch, tap_record_t *record, const void *first, uint32_t first_bytes,
                 const void *second);

static inline void wrk_count(wrk_channel_t *ch, shm_counter_id_t id, uint64_t n)
{
    rt_bump(&ch->stats->counters[id], n);
}

static inline void wrk_hist(wrk_channel_t *ch, shm_hist_id_t id, int64_t ns)
{
    rt_hist_add(&ch->stats->hists[id], ns);
}

#endif
