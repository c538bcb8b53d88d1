/* worker.h: the state of the one worker in this process. Its thread only. */
#ifndef WRK_WORKER_H
#define WRK_WORKER_H

#include "shm/error_log.h"
#include "worker/agent.h"
#include "worker/idle.h"
#include "worker/worker_args.h"

#include <sys/types.h>

#define WRK_MAX_CHANNELS 8192u
#define WRK_NAME_PLACES (2 * WRK_MAX_CHANNELS)
#define WRK_RX_MESSAGES 32u /* of 64 KiB each, for all sockets together */

typedef struct wrk_conn wrk_conn_t;

typedef struct worker {
    worker_args_t args;
    shm_worker_page_t *page;
    recorder_t recorder; /* both in the file of the page */
    error_log_t errors;
    poller_t poller;
    idle_t idle;
    udp_rx_pool_t *rx_pool;

    /* Clocks by rt_clock_id_t. TAI's is set up with the first channel that uses it. */
    clock_map_t clocks[RT_CLOCK_TAI + 1];
    bool tai_known;

    wrk_channel_t **channels; /* WRK_MAX_CHANNELS places, channel_count in use */
    uint32_t channel_count;
    name_table_t names; /* of the channels */
    uint32_t waiting_as[SHM_PROFILE_POWER + 1]; /* channels by waiting profile in use */
    uint32_t rotation; /* next channel of the housekeeping's turn */
    deadline_heap_t deadlines;
    deadline_heap_t pressing; /* of them, those of channels with a short period */

    int64_t opened_mono_ns; /* when a channel was last opened */
    int64_t checks_ns;      /* CPU time of this pass for checks of slot holders */
    uint32_t orphans;       /* slots whose connection is gone, of all channels (slots.h) */
    uint32_t orphan_place;  /* channel whose orphans are checked next */
    wrk_channel_t *absent; /* channels whose memory is not all present yet, the latest first */
    wrk_channel_t **active; /* channels polled in every pass */
    uint32_t active_count;
    uint32_t active_next;
    int64_t nap_ns; /* an armed channel has an uncommitted claim: check again by then; 0: none */

    int64_t granted_until_mono_ns; /* granted to events that waited too
                                      long, whatever is due; 0: none */
    int64_t last_send_end_mono_ns;
    uint32_t agent_sources; /* descriptors that agents watch: sockets, as a rule */
    int64_t poll_cost_ns; /* cost of an empty poll, smoothed */
    int64_t last_poll_mono_ns;
    int64_t next_housekeeping_mono_ns;
    int64_t housekept_mono_ns; /* the last time; and until then: */
    int64_t housekept_cpu_ns;  /* on the core */
    int64_t housekept_slept_ns;
    int64_t off_cpu_ns; /* in the time before it: neither on the core nor asleep */
    int64_t control_waits_since_mono_ns; /* 0: no control message was postponed */
    int64_t steps_wait_since_mono_ns; /* the next piece of what such messages left to do; 0: none */

    bool control_postponed; /* one of the events that were fetched last */
    bool accept_failed; /* a client may still wait to be accepted */
    int lock_fd;
    int listen_fd;
    int spare_fd; /* closed for the moment in which a client is refused at the limit */
    wrk_source_t listener;
    wrk_source_t signals;
    wrk_source_t clock_set;
    wrk_conn_t *conns;
    wrk_conn_t *gone; /* hung up; what they held is dropped in pieces */
    wrk_conn_t *pool; /* NULL: hung up, and no connection was adopted since */
    uint32_t conn_count;
    char socket_path[256];

    wrk_piece_t *given_back; /* memory of channels that is still to be unmapped, in steps */

    wrk_channel_t *jobs_of; /* a channel with deferred commands, NULL: none anywhere */
    uint32_t job_count;

    wrk_channel_t *ringing; /* channels with bells left to ring, in the order of their turns */
    wrk_channel_t *ringing_last;

    const wrk_channel_t *turn_of; /* whose functions the loop calls now; NULL: none */
    wrk_tap_t *taps;              /* of all channels, the latest first */
    uint32_t tap_pass_bytes; /* left of those that taps may copy in this pass whatever is due */
    uint32_t tap_steps; /* of them, those whose memory is being made present or unmapped */
    bool stop;
    bool leaves_names; /* of its channels, for the worker that its pool
                          will start as its replacement */
} worker_t;

/* Like wrk_note, for the worker itself if ch is NULL. text: for the log of distinct errors, NULL:
 * none. */
void worker_note(worker_t *w, const wrk_channel_t *ch, shm_event_id_t id, uint64_t count, int64_t a,
                 int64_t b, int64_t c, const char *text, int64_t now_mono_ns);

#endif
