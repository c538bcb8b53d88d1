/* observe_layout.h: what a worker leaves behind for observers, also after its death: the flight
 * recorder, the log of distinct errors, and each channel's latest late packets. Layout only.
 * LAYOUT.md draws it, and shm_layout.c checks every offset.
 *
 * All of it is written on exceptional events only, never waits, and is read by any process that may
 * map the file read-only. */
#ifndef SHM_OBSERVE_LAYOUT_H
#define SHM_OBSERVE_LAYOUT_H

#include "base/rt_atomic.h"
#include "shm/shm_config.h"

/* --- rings of slots with one writer --------------------------------------------------------- */

typedef struct shm_slot_cursors {
    _Alignas(RT_LINE_BYTES) rt_a64_t tail; /* slots written since the ring was made */
    rt_a64_t writing;                      /* tail + 1 while a slot is being written, else tail */
    rt_a64_t suppressed;                   /* events left out because too many came at once */
} shm_slot_cursors_t;

/* --- events --------------------------------------------------------------------------------- */

/* One table for the enum, the labels and the documentation: id, kind, meaning, names of the three
 * numbers with their units ("" if there is none). The numbers are stored in shared memory: add new
 * rows at the end only.
 *
 *   FACT   written each time
 *   BURST  events that follow each other closely become one event with a count
 *   ERROR  as BURST, and goes into the log of distinct errors
 *
 * Number a distinguishes bursts and errors of one kind and is that of the first event. b is the
 * largest of the burst. c is that of the first. */
#define SHM_EVENTS(X)                                                                              \
    X(none, FACT, "nothing", "", "", "")                                                           \
    X(worker_started, FACT, "the worker started", "cpu", "priority", "restarts")                   \
    X(worker_ended, FACT, "the worker ended normally", "channels", "", "")                         \
    X(pool_gone, FACT, "the process of the pool has ended", "private", "", "")                     \
    X(pool_adopted, FACT, "another process became the pool", "pid", "", "")                        \
    X(channel_opened, FACT, "the channel was opened", "epoch", "held", "")                         \
    X(channel_taken_over, FACT, "the channel was taken over from a dead worker",                   \
      "epoch", "held", "waiting_packets")                                                          \
    X(channel_closed, FACT, "the channel was closed", "", "", "")                                  \
    X(channel_held, FACT, "the channel was held", "", "", "")                                      \
    X(channel_released, FACT, "the channel was released", "", "", "")                              \
    X(channel_failed, ERROR, "the channel failed", "errno", "", "")                                \
    X(client_attached, BURST, "a client attached", "pid", "producer_slot", "reader_slot")          \
    X(client_detached, BURST, "a client detached", "pid", "producer_slot", "reader_slot")          \
    X(client_hung_up, BURST, "a client closed its control connection, or died",                    \
      "pid", "producer_slot", "reader_slot")                                                       \
    X(producer_died, ERROR, "a producer died before it finished a packet",                         \
      "producer_slot", "", "sequence")                                                             \
    X(packet_uncertain, ERROR, "a worker died while it sent a packet, which may have left",        \
      "producer_slot", "", "sequence")                                                             \
    X(record_corrupt, ERROR, "the record header of a packet was invalid",                          \
      "producer_slot", "", "sequence")                                                             \
    X(forced_rest, BURST, "the worker rested to stay below the real-time throttle",                \
      "", "rest_ns", "")                                                                           \
    X(missed_wake, BURST, "the worker woke up late", "", "late_ns", "asked_mono_ns")               \
    X(long_loop, BURST, "one pass of the event loop took long", "", "took_ns", "off_cpu_ns")       \
    X(late_packets, BURST, "packets were late", "verdict", "late_ns", "sequence")                  \
    X(send_failed, ERROR, "the kernel refused a packet for good", "errno", "", "sequence")         \
    X(send_no_room, ERROR, "the kernel had no room for a packet, and the send was repeated",       \
      "errno", "", "")                                                                             \
    X(receive_failed, ERROR, "a receive call failed", "errno", "", "")                             \
    X(kernel_drops, ERROR, "the kernel dropped packets because the socket buffer was full",        \
      "", "", "")                                                                                  \
    X(ring_overrun, ERROR, "packets were overwritten before their readers took them", "", "", "")  \
    X(request_refused, ERROR, "a request of a client was refused", "errno", "", "operation")       \
    X(core_refused, ERROR, "the worker does not run on its core", "errno", "", "cpu")              \
    X(fifo_refused, ERROR, "the worker has no real-time class", "errno", "", "priority")           \
    X(memory_not_locked, ERROR, "the memory of the worker is not locked", "errno", "", "")         \
    X(rtp_late, BURST, "RTP packets arrived after their playout time", "", "", "")                 \
    X(rtp_underrun, BURST, "the send queue was empty when a packet was due", "", "", "")           \
    X(netflux_timeout, ERROR, "the watchdog expired: nothing came from the partner", "", "", "")   \
    X(netflux_alive, FACT, "the partner is alive", "", "", "")                                     \
    X(udt_broken, ERROR, "a UDT connection broke", "udt_error", "", "socket_id")                   \
    X(worker_died, ERROR, "the worker died", "status", "", "pid")                                  \
    X(worker_not_started, ERROR, "the worker could not be restarted", "", "", "")                  \
    X(worker_stalled, ERROR, "the worker lives, but its heartbeat has stopped", "", "", "pid")     \
    X(worker_given_up, ERROR, "the worker died too often and is not restarted", "", "", "")        \
    X(channel_given_up, ERROR, "no worker serves the channel any more", "errno", "", "")           \
    X(takeover_failed, ERROR, "a new worker did not take over all channels", "errno", "", "")      \
    X(privileges_refused, ERROR, "the worker does not use the capabilities of its file",           \
      "errno", "", "")                                                                             \
    X(arrivals_lost, ERROR, "received packets were lost because a worker died", "", "", "")        \
    X(call_refused, ERROR, "the worker made a system call that is not allowed", "call", "", "")    \
    X(producer_halted, BURST, "a client stopped in the middle of a send, and others passed it",    \
      "pid", "halted_ns", "producer_slot")                                                         \
    X(socket_not_held, ERROR, "a socket cannot be kept for the next worker: too many descriptors", \
      "", "", "port")                                                                              \
    X(socket_reopened, ERROR, "a socket was reopened, and packets in the old one are lost",        \
      "", "", "port")                                                                              \
    X(flow_refused, ERROR, "a proxy had no room or no socket for the flow of a new client",        \
      "errno", "flows", "flows_most")

typedef enum shm_event_id {
#define SHM_EVENT_ID(id, kind, text, a, b, c) SHM_EVENT_##id,
    SHM_EVENTS(SHM_EVENT_ID)
#undef SHM_EVENT_ID
        SHM_EVENT_TOTAL
} shm_event_id_t;

typedef enum shm_event_kind {
    SHM_EVENT_KIND_FACT = 0,
    SHM_EVENT_KIND_BURST = 1,
    SHM_EVENT_KIND_ERROR = 2,
} shm_event_kind_t;

/* A name of SHM_NAME_MAX characters has no terminator. All zero: the worker itself. */
#define SHM_EVENT_NAME_BYTES SHM_NAME_MAX

/* The words that change during a burst are written one by one, each atomically. */
typedef struct shm_event {
    int64_t mono_ns;         /* the first of the burst */
    rt_ai64_t last_mono_ns;  /* the last */
    rt_a64_t count;          /* packets, calls or times in the burst */
    int64_t a;
    rt_ai64_t b;
    int64_t c;
    uint32_t id;  /* shm_event_id_t */
    uint32_t pid; /* of the worker */
    uint64_t channel_id; /* segment_id of its segment, 0: the worker itself */
    char channel[SHM_EVENT_NAME_BYTES];
} shm_event_t;

#define SHM_RECORDER_EVENTS 1024u /* a power of two */

typedef struct shm_recorder {
    shm_slot_cursors_t cursors;
    shm_event_t events[SHM_RECORDER_EVENTS];
} shm_recorder_t;

/* --- distinct errors ------------------------------------------------------------------------ */

/* One problem: what (id, a) and where (channel). Everything but the atomics is written once, before
 * state is set. */
typedef struct shm_error {
    rt_a32_t state; /* 0: free, 1: complete; stored last */
    uint32_t id;    /* shm_event_id_t */
    rt_a64_t count;
    int64_t first_mono_ns;
    rt_ai64_t last_mono_ns;
    int64_t a;
    uint64_t channel_id;
    char channel[SHM_EVENT_NAME_BYTES];
    char text[144]; /* text of the first time; "": the table's meaning says it all */
} shm_error_t;

#define SHM_ERRORS 64u

typedef struct shm_error_log {
    _Alignas(RT_LINE_BYTES) rt_a64_t others; /* times a problem found no free entry */
    rt_ai64_t others_last_mono_ns;
    _Alignas(RT_LINE_BYTES) shm_error_t errors[SHM_ERRORS];
} shm_error_log_t;

#endif
