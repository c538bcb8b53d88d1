/* agent.h: what an engine is to the worker, and what the worker offers it.
 *
 * A channel's configuration names its engine; the agent of that name does the channel's work: it
 * takes packets from the tx ring, owns the sockets, fills the rx ring, and says when it wants to be
 * called again. One folder below csrc/proto (the protocol, sans-IO) and one here below agents/
 * make an engine; nothing else in the worker changes:
 *
 *     static const agent_ops_t OPS = {.engine = "udt", ...};
 *     AGENT_REGISTER(OPS)
 *
 * The registration lies in a section of its own, which the linker collects. The agents are linked
 * as object files (CMake: an OBJECT library), because nobody refers to them by name and an archive
 * would leave them out.
 *
 * Thread: everything happens on the worker's one thread. Time: now_mono_ns was read once in this
 * pass of the loop. No function here may wait, none but open, close, hold, release, reset and
 * refresh may allocate or log.
 *
 * Budgets. No call does more than a bounded piece, whatever clients and peers do, so that another
 * channel's deadline waits for one piece at most:
 *
 *     loop       64 deadlines, 64 active channels, 64 events a pass, each only while no deadline is
 *                near; 16 to 256 channels a turn of the housekeeping; 1 look at a slot's holder
 *     tx ring    512 records searched for cancelled ones, 64 KiB zeroed, 8 records moved a call
 *     sockets    as many messages as fit before another channel is due, and into 300 us
 *                (agents/common/intake.h)
 *     udp        256 records taken in, 64 packets a send call, 4 entries of the schedule swept a push
 *     mux        128 records taken in, 256 messages a round
 *     rtp        256 records taken in, 256 looked at for one that waits, 64 without a packet
 *                dealt with
 *     udt        256 records or 512 KiB taken in, 4 rounds of 16 messages, each only while no
 *                deadline is near
 *     netflux    64 stray records; one datagram a cycle
 *     hang-up    8 attachments
 *     attach     64 looks at orphaned slots, when none is free
 *     looks      50 us of CPU time a pass, of all channels; beyond it one look at a time
 *     purge      256 packets
 *     nonsense   1000 things in the tx ring that cannot be, since the worker opened the channel: then
 *                it fails (channel_reschedule), for looking at them would never end
 *
 * When what is called:
 *
 *   on_deadline   at the time deadline_ns() gave. May spin for the last AGENT_LEAD_NS before a
 *                 send, so that nothing stands between the clock and the send call.
 *   do_work       again and again while the channel is active (something was found lately, a
 *                 client rang the bell, a deadline was served). Takes in from the tx ring, sends
 *                 what needs no deadline, frees ring space: a bounded piece of each. Returns how
 *                 much it found to do; 0: the channel may go to sleep.
 *   sources       events of descriptors the agent watches (wrk_watch).
 *   deadline_ns   after each of these: RT_NEVER_NS or when on_deadline is due.
 */
#ifndef WRK_AGENT_H
#define WRK_AGENT_H

#include "io/udp_io.h"
#include "shm/report_ring.h"
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

typedef struct agent_ops {
    const char *engine; /* as in shm_config_t.engine */

    /* Memory of the segment comes as it is used, not ahead of that: for engines whose channels are
     * many, with large rings, and mostly idle. */
    bool memory_as_used;

    /* Each packet of the tx ring is counted once, by its verdict or as lost. A successor counts those that
     * were not. */
    bool counts_each;

    /* Size of the state; it is zeroed, lies at ch->agent and is aligned to a cache line. */
    size_t state_bytes;

    /* Cold. socket_fd: a bound socket or a park to go on with, the agent's from now on whatever happens, or
     * -1: open one. Fills the socket facts of ch->segment.status. The queue and rings of ch are
     * ready. Returns 0 or -errno with a text; then close is not called. */
    int (*open)(wrk_channel_t *ch, int socket_fd, int64_t now_mono_ns);
    void (*close)(wrk_channel_t *ch);

    /* The descriptor the pool keeps a duplicate of: a socket, or a park of several; -1: none. NULL: this
     * engine never has one. */
    int (*socket_fd)(const wrk_channel_t *ch);

    unsigned (*do_work)(wrk_channel_t *ch, int64_t now_mono_ns);
    void (*on_deadline)(wrk_channel_t *ch, int64_t now_mono_ns);
    int64_t (*deadline_ns)(const wrk_channel_t *ch);

    /* Transmission and reception stop or go on, as ch->held says by now; what is queued stays queued. NULL:
     * nothing is to be done beside looking at ch->held. */
    void (*hold)(wrk_channel_t *ch);
    void (*release)(wrk_channel_t *ch, int64_t now_mono_ns);

    /* Cancels waiting packets, about max of them. Returns 1 when none of those that waited at the
     * first call is left, 0: call again. Sent packets whose report waits for a stamp are let go. */
    int (*purge)(wrk_channel_t *ch, unsigned max, int64_t now_mono_ns);

    /* Counters were set to zero. NULL: the engine counts up what it counts, and keeps no sums of its own. */
    void (*reset)(wrk_channel_t *ch);

    /* A client's request to this engine (CTL_ENGINE); NULL: the engine takes none. Cold, may
     * allocate; the body is unchecked. fd: a descriptor that came along, the agent's from now on,
     * or -1. Writes at most CTL_ENGINE_BYTES of answer, *reply_bytes is 0 at first. Returns a
     * result >= 0, or -errno with a text. */
    int (*request)(wrk_channel_t *ch, const uint8_t *body, size_t bytes, int fd, uint8_t *reply,
                   uint32_t *reply_bytes);

    /* A client's producer slot is free again: it detached, hung up or died. NULL: the engine does
     * not care whose its values are. */
    void (*producer_gone)(wrk_channel_t *ch, uint32_t slot, int64_t now_mono_ns);

    /* A few times a second: facts and gauges that cost a system call. */
    void (*refresh)(wrk_channel_t *ch, int64_t now_mono_ns);

    /* A private pool died, and its worker ends with it: what is to be sent in the end is sent now.
     * close follows. NULL: nothing is. */
    void (*last_words)(wrk_channel_t *ch, int64_t now_mono_ns);
} agent_ops_t;

typedef struct wrk_reader_bell {
    uint32_t slot;
    int fd;
} wrk_reader_bell_t;

/* The slots of one kind, and who holds them (slots.h). */
typedef struct wrk_slots {
    uint32_t count;
    uint32_t orphans;
    uint32_t next;  /* looked at next */
    uint32_t *pids; /* of who holds each, 0: nobody */
    uint64_t given[SHM_MAX_SLOTS / 64];
    uint64_t orphaned[SHM_MAX_SLOTS / 64];
} wrk_slots_t;

/* One channel as the worker sees it. Agents read config, segment, worker and held, use tx, rx, reports
 * and stats, own agent and tx_paused, and leave the rest alone. */
struct wrk_channel {
    worker_t *worker;
    shm_config_t config;
    shm_segment_t segment;
    shm_stats_t *stats;
    tx_queue_t tx;
    rx_writer_t rx;
    report_writer_t reports;
    slot_writer_t late; /* shm_late_packet_t */
    void *agent;
    bool tx_paused; /* nothing is taken in for now (held, blocked): no need to be rung or polled */
    bool held;      /* by command, from the beginning, or because it failed: nothing is sent or received */

    const agent_ops_t *ops;
    bool failed;
    uint64_t drops_base; /* the kernel's count at the socket when rx_kernel_drops was 0 */
    int segment_fd;
    int bell_fd;
    wrk_source_t bell;
    deadline_node_t deadline;
    int64_t last_work_mono_ns;
    uint32_t active_index; /* in the worker's active set, or WRK_INACTIVE */
    uint32_t place;        /* in the worker's table */
    name_node_t by_name;
    uint64_t present_bytes; /* of the segment: touched so far, ahead of use */
    bool agent_present;     /* so is the state */
    size_t agent_bytes;
    void *agent_memory; /* what agent lies in */
    wrk_channel_t *absent_next;
    wrk_reader_bell_t *bells; /* one per reader slot, bell_count in use */
    uint32_t bell_count;
    wrk_slots_t slots[2]; /* by wrk_slot_kind_t */
    bool untold_known;    /* what its last worker had finished and not counted is counted */
    bool readers_next;    /* of their orphans one is looked at next */
    uint32_t dear_looks;  /* in a row: a look that cost too much (slots.c) */
    wrk_job_t *jobs; /* deferred commands, oldest first */
    wrk_tap_t *taps; /* NULL: nobody taps, as nearly always */
    uint64_t tap_number; /* datagrams that were tapped */
};

#define WRK_INACTIVE UINT32_MAX

/* --- registration -------------------------------------------------------------------------- */

#define AGENT_REGISTER(ops)                                \
    static const agent_ops_t *const agent_registered_##ops \
        __attribute__((used, section("wrk_agents"))) = &(ops);

/* NULL with a text that lists the engines there are. */
const agent_ops_t *agent_find(const char *engine);

/* --- services ------------------------------------------------------------------------------ */

/* Sources of an agent: channel is set here, on_event by the agent. As poller_watch. */
int wrk_watch(wrk_channel_t *ch, wrk_source_t *source, int fd, uint32_t events);
void wrk_rewatch(wrk_channel_t *ch, wrk_source_t *source, uint32_t events);
void wrk_unwatch(wrk_channel_t *ch, wrk_source_t *source);

/* The channel has work that do_work will find: it is polled in every pass from now on. */
void wrk_activate(wrk_channel_t *ch, int64_t now_mono_ns);

/* Whether somebody holds the producer slot. A system call: on need only. */
bool wrk_producer_alive(wrk_channel_t *ch, uint32_t slot);

/* The process that holds it, 0: none. */
uint32_t wrk_producer_pid(const wrk_channel_t *ch, uint32_t slot);

/* Another channel of this worker; NULL: none of that name. */
wrk_channel_t *wrk_find(const wrk_channel_t *ch, const char *name);

/* An agent has done something for another channel, whose deadline may be another now. */
void wrk_reschedule(wrk_channel_t *ch);

/* Publishes what was put into the rx ring, wakes readers, counts what they lost. */
void wrk_rx_publish(wrk_channel_t *ch);

/* The channel is broken for good: state FAILED. Its clients and those who look on learn error (an
 * errno) and reason (one clause for a person, with the value that was wrong; cut to
 * SHM_REASON_BYTES - 1). Other channels go on. The first failure stays. Costs a few system calls,
 * once. Returns with ch still valid: the caller does no more work for it. */
void wrk_channel_fail(wrk_channel_t *ch, int error, const char *reason);

/* Something exceptional: it goes into the flight recorder and, of kind ERROR, into the log of
 * distinct errors. count: how many of it at once; a, b, c: as the table SHM_EVENTS says. Costs some
 * 20 ns, however often it comes. */
void wrk_note(wrk_channel_t *ch, shm_event_id_t id, uint64_t count, int64_t a, int64_t b, int64_t c,
              int64_t now_mono_ns);

/* The kernel counts what it drops for as long as the socket lives; total: that count. What a channel
 * counts goes on over a takeover, drops between two workers included. */
void wrk_kernel_drops_begin(wrk_channel_t *ch, uint64_t total, int64_t now_mono_ns);
/* Statistics were reset: counts from here on. */
void wrk_kernel_drops_reset(wrk_channel_t *ch, uint64_t total);
/* Counted, and noted when it rose. */
void wrk_kernel_drops(wrk_channel_t *ch, uint64_t total, int64_t now_mono_ns);

/* What a predecessor took from the kernel and nobody can deliver any more. */
void wrk_lost_with_predecessor(wrk_channel_t *ch, uint64_t packets);

/* A receiving socket was opened that nobody had held. After another worker: counted, and noted. */
void wrk_socket_reopened(wrk_channel_t *ch, uint16_t port);

/* A receive call failed with this errno: counted and noted; a channel without its socket fails. */
void wrk_receive_failed(wrk_channel_t *ch, int error, int64_t now_mono_ns);

/* No other channel is due on this core before this time: how long a handler may take. Later where
 * a deadline is near too often, and this event has waited for long. */
int64_t wrk_free_until_ns(const wrk_channel_t *ch);

/* How many pieces of that cost fit into the time until then: at most most; 1 where none fits, or
 * nothing would ever move. */
static inline unsigned agent_pieces_before(int64_t until_mono_ns, int64_t now_mono_ns,
                                           int64_t cost_ns, unsigned most)
{
    int64_t left = until_mono_ns - now_mono_ns;
    if (left >= most * cost_ns)
        return most;
    return left > cost_ns ? (unsigned)(left / cost_ns) : 1;
}

/* End of the last send call on this core, and the last sleep, both its ends: for verdicts. */
int64_t wrk_last_send_end_ns(const wrk_channel_t *ch);
void wrk_note_send_end(wrk_channel_t *ch, int64_t end_mono_ns);
int64_t wrk_asleep_from_ns(const wrk_channel_t *ch);
int64_t wrk_woken_ns(const wrk_channel_t *ch);

/* What to add to a time of the channel's clock to get CLOCK_MONOTONIC. Changes when somebody sets
 * the time. */
int64_t wrk_clock_shift_ns(const wrk_channel_t *ch);
clock_map_t *wrk_clock_map(wrk_channel_t *ch);

/* Buffers for udp_recv, shared by all sockets of the worker. */
udp_rx_pool_t *wrk_rx_pool(wrk_channel_t *ch);

/* Copies a record into the channel's logs that want its kind; bytes, index and captured_bytes are set
 * here. The parts of its payload: first_bytes of first, the rest of second. */
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
