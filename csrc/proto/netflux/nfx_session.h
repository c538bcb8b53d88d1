/* nfx_session.h: one link to one partner that exchanges its values in cycles.
 *
 *                 fresh?                          number, feedback, payload
 *     values -------------+                                  | datagram
 *                         v                                  v
 *     deadline ---> [ grid: due? ] -- emit -->        [ window: news? ] -- receive --> payload
 *                         ^       header: our next      |         |
 *                         |       number, and the       |         +--> alive: watchdog
 *                         |       number accepted last  v feedback
 *     sent --------> [ echo: 256 send times ] <---------+
 *                         +--> heard, round trips, losses
 *
 * What the caller does (an agent with clock, socket and memory of values):
 *
 *   at nfx_session_deadline_ns()  read all that has arrived, tell whether the values were
 *                                 renewed (nfx_session_refreshed), then nfx_session_emit: 1: put
 *                                 the payload after the header, send, nfx_session_sent (or
 *                                 nfx_session_not_sent)
 *   a datagram of the partner     nfx_session_receive: >= 0: the payload is the newest
 *   after each of these           nfx_session_next_event until it has none
 *
 * Three conditions are watched, each with an exact deadline:
 *
 *   alive   fed by accepted datagrams. Out of date watch_ns after the arrival of the last one.
 *           Never fed by short, repeated or old ones, and never starved by them.
 *   heard   fed by feedback that acknowledges something new: the partner hears us. Out of date
 *           hear_ns after that.
 *   fresh   fed by nfx_session_refreshed: the application still writes what we send. Out of date
 *           stale_ns after that, or, if that is 0, when the owner dies. The application chooses
 *           what happens then: on_stale.
 *
 * Numbers: ours start at 1. Only successful sends use them up, not attempts. The feedback is the
 * number accepted last, read when the datagram is built.
 *
 * Limits of the protocol: it detects loss and reordering, and repairs neither. Datagrams carry
 * the latest values, not a history.
 *
 * Caller's memory, one thread, no clock, no allocation. All times are of CLOCK_MONOTONIC or of any
 * other clock that does not go back; a now_mono_ns below an earlier one counts as that one. Arrival
 * times may come from the kernel and be older than now_mono_ns. */
#ifndef NFX_SESSION_H
#define NFX_SESSION_H

#include "base/rt_clock.h"
#include "proto/netflux/nfx_echo.h"
#include "proto/netflux/nfx_frame.h"
#include "proto/pacing/grid.h"
#include "proto/netflux/nfx_stats.h"
#include "proto/netflux/nfx_window.h"

#define NFX_MIN_CYCLE_NS (100 * RT_NS_PER_US)
#define NFX_MAX_TIME_NS (3600 * RT_NS_PER_S)

typedef enum nfx_on_stale {
    NFX_STALE_CONTINUE = 0, /* continue sending the last values */
    NFX_STALE_FAILSAFE = 1, /* send the fail-safe payload instead */
    NFX_STALE_STOP = 2,     /* send nothing: the partner's watchdog expires */
} nfx_on_stale_t;

typedef struct nfx_config {
    uint32_t rx_payload_bytes; /* agreed size of what the partner sends, 0 .. 1499 */
    int64_t cycle_ns;          /* between two sends, 100 us .. 1 h */
    int64_t watch_ns;          /* watchdog, up to 1 h; 0: none, alive once is alive forever */
    int64_t hear_ns;           /* as watch_ns, for heard; 0: the longer of watch_ns and three
                                  cycles, and none if watch_ns is 0 */
    int64_t stale_ns;          /* age at which values to send are stale, up to 1 h; 0: no age is */
    nfx_on_stale_t on_stale;
    bool keep_window; /* numbers continue after a timeout: a partner that restarts is refused
                         until its numbers reach the window. Otherwise its next datagram counts as
                         the first */
} nfx_config_t;

/* A condition that is, or was, true. */
typedef struct nfx_flag {
    bool is;
    bool reported;    /* as last returned by next_event */
    int64_t since_ns; /* when it last became true */
} nfx_flag_t;

typedef struct nfx_session {
    nfx_config_t config; /* with the defaults filled in */
    nfx_stats_t *stats;
    int64_t now_ns;
    nfx_window_t window;
    nfx_echo_t echo;
    grid_t grid;
    bool sending;
    bool emitted; /* sent or not_sent must follow */
    bool emitted_stale;
    bool emitted_failsafe;
    int64_t last_sent_ns;    /* RT_NEVER_NS: none since sending began */
    int64_t last_arrival_ns; /* of the datagram accepted last */
    int64_t refreshed_ns;
    nfx_flag_t alive;
    nfx_flag_t heard;
    nfx_flag_t fresh;
    int64_t alive_until_ns; /* RT_NEVER_NS: not watched now */
    int64_t heard_until_ns;
    int64_t fresh_until_ns;
} nfx_session_t;

/* The gauges of a session that died, see nfx_session_take_over. */
typedef struct nfx_past {
    uint8_t own_number; /* of its last datagram; 0: there was none */
    uint8_t partner_number;
    bool partner_known;
    bool alive;
    bool heard;
    bool fresh;
    int64_t last_accepted_ns;
} nfx_past_t;

typedef enum nfx_source {
    NFX_VALUES = 0,
    NFX_FAILSAFE = 1,
} nfx_source_t;

typedef struct nfx_out {
    uint8_t header[NFX_HEADER_BYTES];
    nfx_source_t source; /* what to put after the header */
    int64_t due_ns;      /* instant of the grid */
} nfx_out_t;

typedef enum nfx_event_kind {
    NFX_EVENT_ALIVE,   /* the first datagram, or the first after a timeout */
    NFX_EVENT_TIMEOUT, /* the watchdog expired: values that are not kept are now void */
    NFX_EVENT_HEARD,
    NFX_EVENT_UNHEARD,
    NFX_EVENT_FRESH,
    NFX_EVENT_STALE,
} nfx_event_kind_t;

typedef struct nfx_event {
    nfx_event_kind_t kind;
    int64_t at_ns; /* the deadline that passed, or the arrival that changed it */
} nfx_event_t;

/* stats: zeroed, or with the values of a previous session; owned by the caller, in use until the
 * caller stops using the session. Neither sending nor receiving has begun: see
 * nfx_session_start_sending. Returns 0, or -EINVAL with a text that names field, value and limit.
 */
int nfx_session_init(nfx_session_t *s, const nfx_config_t *config, nfx_stats_t *stats);

/* Replaces a session that died with its worker, before anything is sent or received. Datagrams that
 * the partner sent meanwhile count if they still wait in the socket. Events that were reported
 * already are not repeated. */
void nfx_session_take_over(nfx_session_t *s, const nfx_past_t *past, int64_t now_mono_ns);

/* Changes the configuration of the running session. The grid continues from its last instant. The
 * deadlines of the watched conditions are computed again from their last update, and are not
 * earlier than now. Stale values stay stale. Returns 0, or -EINVAL as init and then nothing has
 * changed. */
int nfx_session_reconfigure(nfx_session_t *s, const nfx_config_t *config, int64_t now_mono_ns);

/* The first datagram is due at origin_ns, or at the first instant of its grid that is not past. The
 * values have the age of the last call of nfx_session_refreshed. If there was none, they are new
 * now. */
void nfx_session_start_sending(nfx_session_t *s, int64_t origin_ns, int64_t now_mono_ns);
void nfx_session_stop_sending(nfx_session_t *s);

/* Nothing will be received for a while: alive and heard end, without events and without counting as
 * timeouts. The window is reopened. Reception continues with the next datagram offered. */
void nfx_session_stop_receiving(nfx_session_t *s);

/* Processes a datagram from the partner's address. arrival_mono_ns: when it arrived; its effects
 * count from then. Returns a verdict. If it is >= 0, *frame is filled in and points into data.
 * Otherwise only a counter has changed. */
nfx_verdict_t nfx_session_receive(nfx_session_t *s, const void *data, size_t size,
                                  int64_t arrival_mono_ns, int64_t now_mono_ns, nfx_frame_t *frame);

/* Counts datagrams that are not from the partner. */
static inline void nfx_session_foreign(nfx_session_t *s, uint64_t datagrams)
{
    nfx_count(s->stats, NFX_COUNT_rejected_foreign, datagrams);
}

/* The values to send were written at at_mono_ns (at the latest now). */
void nfx_session_refreshed(nfx_session_t *s, int64_t at_mono_ns, int64_t now_mono_ns);

/* The process that writes the values died. If an age is set, the age decides, because another
 * process may continue to write. Otherwise the values are stale at once. */
void nfx_session_owner_died(nfx_session_t *s, int64_t now_mono_ns);

/* The next datagram is the last: it is due now, and the values are stale at any age. */
void nfx_session_last(nfx_session_t *s, int64_t now_mono_ns);

/* Runs the timers that have expired, such as the watchdog. Returns 1 if a datagram is due, with its
 * header and which payload to put after it, otherwise 0. Instants that are late by whole cycles are
 * skipped. */
int nfx_session_emit(nfx_session_t *s, nfx_out_t *out, int64_t now_mono_ns);

/* The result of the datagram emitted last. sent_mono_ns: start of the send call. Only the first of
 * these calls after an emission counts. */
void nfx_session_sent(nfx_session_t *s, int64_t sent_mono_ns);
void nfx_session_not_sent(nfx_session_t *s);

/* When to call nfx_session_emit next. RT_NEVER_NS: there is nothing to wait for. */
int64_t nfx_session_deadline_ns(const nfx_session_t *s);

/* When the next datagram is due: the deadline that is worth spinning for. RT_NEVER_NS: none is. */
int64_t nfx_session_send_due_ns(const nfx_session_t *s);

/* The changes since the last call: each condition at most once, with its present value. A condition
 * that changed twice meanwhile is not reported (the counters contain it). Returns 1, or 0: no more.
 */
int nfx_session_next_event(nfx_session_t *s, nfx_event_t *event);

#endif
