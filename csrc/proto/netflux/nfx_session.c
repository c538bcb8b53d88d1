/* How it works
 *
 * There are two times: the arrival of a datagram, and now. A delayed worker finds both a deadline
 * that has passed and datagrams that arrived before it. So each input first processes everything
 * that was due before its own time (advance), and then takes effect at that time. As long as the
 * caller reads its socket before it asks what is due, the watchdog judges the partner and not the
 * worker.
 *
 *     arrivals      a1     a2                     now
 *     --------------+------+-----------x-----------|      x = a2 + watch_ns: timeout, at x
 *     --------------+------+-----------x--+--------|      a3 came behind x: timeout at x, alive
 *                                         a3              again at a3
 */
#include "proto/netflux/nfx_session.h"

#include "base/rt_err.h"
#include "base/rt_math.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define HEAR_CYCLES 3

static int check_time(const char *name, int64_t ns)
{
    if (ns < 0 || ns > NFX_MAX_TIME_NS)
        return rt_err_set(-EINVAL, "%s is %" PRId64 "; it must be between 0 and %" PRId64 " (1 h)",
                          name, ns, NFX_MAX_TIME_NS);
    return 0;
}

static int check_config(const nfx_config_t *c)
{
    if (c->rx_payload_bytes > NFX_MAX_PAYLOAD_BYTES)
        return rt_err_set(-EINVAL, "rx_payload_bytes is %u; a datagram carries at most %u",
                          c->rx_payload_bytes, NFX_MAX_PAYLOAD_BYTES);
    if (c->cycle_ns < NFX_MIN_CYCLE_NS || c->cycle_ns > NFX_MAX_TIME_NS)
        return rt_err_set(-EINVAL,
                          "cycle_ns is %" PRId64 "; it must be between %" PRId64
                          " (100 us) and %" PRId64 " (1 h)",
                          c->cycle_ns, NFX_MIN_CYCLE_NS, NFX_MAX_TIME_NS);
    if (c->on_stale < NFX_STALE_CONTINUE || c->on_stale > NFX_STALE_STOP)
        return rt_err_set(-EINVAL, "on_stale is %d; 0 continues, 1 sends the fail-safe, 2 stops",
                          (int)c->on_stale);
    int rc = check_time("watch_ns", c->watch_ns);
    rc = rc ? rc : check_time("hear_ns", c->hear_ns);
    rc = rc ? rc : check_time("stale_ns", c->stale_ns);
    return rc;
}

/* The configuration with its defaults filled in. */
static nfx_config_t completed(const nfx_config_t *config)
{
    nfx_config_t c = *config;
    int64_t cycles_ns = HEAR_CYCLES * c.cycle_ns;
    if (c.hear_ns == 0 && c.watch_ns > 0)
        c.hear_ns = c.watch_ns > cycles_ns ? c.watch_ns : cycles_ns;
    return c;
}

int nfx_session_init(nfx_session_t *s, const nfx_config_t *config, nfx_stats_t *stats)
{
    int rc = check_config(config);
    if (rc < 0)
        return rc;
    *s = (nfx_session_t){
        .config = completed(config),
        .stats = stats,
        .now_ns = INT64_MIN,
        .last_sent_ns = RT_NEVER_NS,
        .last_arrival_ns = INT64_MIN,
        .refreshed_ns = INT64_MIN,
        .fresh = {.is = true, .reported = true},
        .alive_until_ns = RT_NEVER_NS,
        .heard_until_ns = RT_NEVER_NS,
        .fresh_until_ns = RT_NEVER_NS,
    };
    nfx_gauge(stats, NFX_GAUGE_alive, 0);
    nfx_gauge(stats, NFX_GAUGE_heard, 0);
    nfx_gauge(stats, NFX_GAUGE_fresh, 1);
    return 0;
}

/* --- what is watched ----------------------------------------------------------------------- */

static void become(nfx_session_t *s, nfx_flag_t *flag, nfx_gauge_id_t gauge, bool is, int64_t at_ns)
{
    if (flag->is == is)
        return;
    flag->is = is;
    flag->since_ns = at_ns;
    nfx_gauge(s->stats, gauge, is);
}

static int64_t until(int64_t from_ns, int64_t span_ns)
{
    return span_ns > 0 ? from_ns + span_ns : RT_NEVER_NS;
}

static void lose_partner(nfx_session_t *s, int64_t at_ns)
{
    become(s, &s->alive, NFX_GAUGE_alive, false, at_ns);
    s->alive_until_ns = RT_NEVER_NS;
    nfx_echo_unprime(&s->echo);
    if (!s->config.keep_window)
        nfx_window_reopen(&s->window);
}

static void time_out(nfx_session_t *s)
{
    lose_partner(s, s->alive_until_ns);
    nfx_count(s->stats, NFX_COUNT_timeouts, 1);
}

static void become_unheard(nfx_session_t *s)
{
    become(s, &s->heard, NFX_GAUGE_heard, false, s->heard_until_ns);
    s->heard_until_ns = RT_NEVER_NS;
    nfx_count(s->stats, NFX_COUNT_unheard, 1);
}

static void become_stale(nfx_session_t *s, int64_t at_ns)
{
    s->fresh_until_ns = RT_NEVER_NS;
    if (!s->fresh.is)
        return;
    become(s, &s->fresh, NFX_GAUGE_fresh, false, at_ns);
    nfx_count(s->stats, NFX_COUNT_stale, 1);
}

static void advance(nfx_session_t *s, int64_t to_ns)
{
    if (s->alive_until_ns <= to_ns)
        time_out(s);
    if (s->heard_until_ns <= to_ns)
        become_unheard(s);
    if (s->fresh_until_ns <= to_ns)
        become_stale(s, s->fresh_until_ns);
}

static int64_t move_clock(nfx_session_t *s, int64_t now_mono_ns)
{
    if (now_mono_ns > s->now_ns)
        s->now_ns = now_mono_ns;
    return s->now_ns;
}

/* --- receiving ----------------------------------------------------------------------------- */

static void count_rejected(nfx_session_t *s, nfx_verdict_t verdict)
{
    nfx_count(s->stats,
              verdict == NFX_REPEATED ? NFX_COUNT_rejected_repeated : NFX_COUNT_rejected_old, 1);
}

static void measure_partner(nfx_session_t *s, uint8_t numbers, int64_t arrival_ns)
{
    int64_t gap_ns = arrival_ns - s->last_arrival_ns;
    nfx_count(s->stats, NFX_COUNT_partner_lost, numbers - 1u);
    rt_hist_add(&s->stats->hists[NFX_HIST_gap], gap_ns);
    rt_hist_add(&s->stats->hists[NFX_HIST_partner_interval], gap_ns / numbers);
}

static void take_feedback(nfx_session_t *s, uint8_t feedback, int64_t arrival_ns)
{
    nfx_ack_t ack;
    nfx_gauge(s->stats, NFX_GAUGE_feedback_number, feedback);
    if (!nfx_echo_feedback(&s->echo, feedback, arrival_ns, &ack))
        return;
    nfx_count(s->stats, NFX_COUNT_acknowledged, 1);
    nfx_count(s->stats, NFX_COUNT_passed_over, ack.passed_over);
    rt_hist_add(&s->stats->hists[NFX_HIST_rtt], ack.rtt_ns);
    nfx_gauge(s->stats, NFX_GAUGE_last_rtt_ns, (uint64_t)ack.rtt_ns);
    become(s, &s->heard, NFX_GAUGE_heard, true, arrival_ns);
    s->heard_until_ns = until(arrival_ns, s->config.hear_ns);
}

static void accept(nfx_session_t *s, const nfx_frame_t *frame, int64_t arrival_ns)
{
    nfx_count(s->stats, NFX_COUNT_accepted, 1);
    nfx_gauge(s->stats, NFX_GAUGE_partner_number, frame->number);
    nfx_gauge(s->stats, NFX_GAUGE_partner_known, 1);
    nfx_gauge(s->stats, NFX_GAUGE_last_accepted_mono_ns, (uint64_t)arrival_ns);
    s->last_arrival_ns = arrival_ns;
    become(s, &s->alive, NFX_GAUGE_alive, true, arrival_ns);
    s->alive_until_ns = until(arrival_ns, s->config.watch_ns);
    take_feedback(s, frame->feedback, arrival_ns);
}

nfx_verdict_t nfx_session_receive(nfx_session_t *s, const void *data, size_t size,
                                  int64_t arrival_mono_ns, int64_t now_mono_ns, nfx_frame_t *frame)
{
    int64_t arrival_ns =
        rt_clamp64(arrival_mono_ns, s->last_arrival_ns, move_clock(s, now_mono_ns));
    advance(s, arrival_ns);
    int surplus = nfx_frame_parse(data, size, s->config.rx_payload_bytes, frame);
    if (surplus < 0) {
        nfx_count(s->stats, NFX_COUNT_rejected_short, 1);
        return NFX_SHORT;
    }
    nfx_gauge(s->stats, NFX_GAUGE_received_number, frame->number);

    uint8_t numbers = 0;
    nfx_verdict_t verdict = nfx_window_judge(&s->window, frame->number, &numbers);
    if (verdict < 0) {
        count_rejected(s, verdict);
        return verdict;
    }
    if (surplus > 0)
        nfx_count(s->stats, NFX_COUNT_oversize, 1);
    if (verdict == NFX_FIRST)
        nfx_count(s->stats, NFX_COUNT_firsts, 1);
    else if (s->alive.is) /* otherwise the numbers may have wrapped meanwhile */
        measure_partner(s, numbers, arrival_ns);
    accept(s, frame, arrival_ns);
    return verdict;
}

void nfx_session_stop_receiving(nfx_session_t *s)
{
    lose_partner(s, s->now_ns);
    become(s, &s->heard, NFX_GAUGE_heard, false, s->now_ns);
    s->heard_until_ns = RT_NEVER_NS;
    s->alive.reported = false;
    s->heard.reported = false;
}

/* --- values -------------------------------------------------------------------------------- */

static bool is_stopped_as_stale(const nfx_session_t *s)
{
    return !s->fresh.is && s->config.on_stale == NFX_STALE_STOP;
}

static void watch_age(nfx_session_t *s)
{
    bool watched = s->sending && s->fresh.is;
    s->fresh_until_ns = watched ? until(s->refreshed_ns, s->config.stale_ns) : RT_NEVER_NS;
}

static void renew(nfx_session_t *s, int64_t at_ns)
{
    if (s->sending &&
        is_stopped_as_stale(s)) /* a datagram that should not be sent was not skipped */
        (void)grid_skip_to(&s->grid, s->now_ns);
    s->refreshed_ns = at_ns;
    become(s, &s->fresh, NFX_GAUGE_fresh, true, at_ns);
    watch_age(s);
}

void nfx_session_refreshed(nfx_session_t *s, int64_t at_mono_ns, int64_t now_mono_ns)
{
    int64_t now_ns = move_clock(s, now_mono_ns);
    int64_t at_ns = at_mono_ns < now_ns ? at_mono_ns : now_ns;
    if (at_ns <= s->refreshed_ns)
        return;
    advance(s, at_ns);
    renew(s, at_ns);
}

void nfx_session_owner_died(nfx_session_t *s, int64_t now_mono_ns)
{
    int64_t now_ns = move_clock(s, now_mono_ns);
    if (s->config.stale_ns == 0)
        become_stale(s, now_ns);
}

void nfx_session_last(nfx_session_t *s, int64_t now_mono_ns)
{
    int64_t now_ns = move_clock(s, now_mono_ns);
    become_stale(s, now_ns);
    s->grid.due_ns = now_ns;
}

/* --- sending ------------------------------------------------------------------------------- */

void nfx_session_start_sending(nfx_session_t *s, int64_t origin_ns, int64_t now_mono_ns)
{
    int64_t now_ns = move_clock(s, now_mono_ns);
    s->sending = true;
    s->emitted = false;
    s->last_sent_ns = RT_NEVER_NS;
    s->grid = (grid_t){.period_ns = s->config.cycle_ns, .due_ns = origin_ns};
    (void)grid_skip_to(&s->grid, now_ns);
    if (s->fresh.is && s->refreshed_ns == INT64_MIN)
        s->refreshed_ns = now_ns;
    watch_age(s);
}

void nfx_session_stop_sending(nfx_session_t *s)
{
    s->sending = false;
    s->emitted = false;
    s->fresh_until_ns = RT_NEVER_NS;
}

int64_t nfx_session_send_due_ns(const nfx_session_t *s)
{
    return s->sending && !is_stopped_as_stale(s) ? s->grid.due_ns : RT_NEVER_NS;
}

int nfx_session_emit(nfx_session_t *s, nfx_out_t *out, int64_t now_mono_ns)
{
    int64_t now_ns = move_clock(s, now_mono_ns);
    advance(s, now_ns);
    int64_t due_ns = nfx_session_send_due_ns(s);
    if (now_ns < due_ns)
        return 0;
    uint64_t skipped = grid_serve(&s->grid, now_ns);
    nfx_count(s->stats, NFX_COUNT_skipped, skipped);
    s->emitted = true;
    s->emitted_stale = !s->fresh.is;
    s->emitted_failsafe = s->emitted_stale && s->config.on_stale == NFX_STALE_FAILSAFE;
    *out = (nfx_out_t){
        .source = s->emitted_failsafe ? NFX_FAILSAFE : NFX_VALUES,
        .due_ns = due_ns + (int64_t)skipped * s->grid.period_ns,
    };
    nfx_frame_header(out->header, nfx_echo_next(&s->echo), s->window.last);
    nfx_gauge(s->stats, NFX_GAUGE_own_number, out->header[0]);
    return 1;
}

void nfx_session_sent(nfx_session_t *s, int64_t sent_mono_ns)
{
    if (!s->emitted)
        return;
    s->emitted = false;
    if (nfx_echo_sent(&s->echo, sent_mono_ns))
        nfx_count(s->stats, NFX_COUNT_ack_lost, 1);
    if (s->last_sent_ns != RT_NEVER_NS)
        rt_hist_add(&s->stats->hists[NFX_HIST_own_interval], sent_mono_ns - s->last_sent_ns);
    s->last_sent_ns = sent_mono_ns;
    nfx_count(s->stats, NFX_COUNT_sent, 1);
    nfx_count(s->stats, NFX_COUNT_sent_stale, s->emitted_stale && !s->emitted_failsafe);
    nfx_count(s->stats, NFX_COUNT_sent_failsafe, s->emitted_failsafe);
    nfx_gauge(s->stats, NFX_GAUGE_last_sent_mono_ns, (uint64_t)sent_mono_ns);
}

void nfx_session_not_sent(nfx_session_t *s)
{
    if (!s->emitted)
        return;
    s->emitted = false;
    nfx_count(s->stats, NFX_COUNT_send_failed, 1);
}

/* --- another life, another configuration ---------------------------------------------------- */

void nfx_session_take_over(nfx_session_t *s, const nfx_past_t *past, int64_t now_mono_ns)
{
    int64_t now_ns = move_clock(s, now_mono_ns);
    nfx_echo_resume(&s->echo, past->own_number);
    s->window = (nfx_window_t){
        .last = past->partner_known ? past->partner_number : 0,
        .known = past->partner_known,
        .open = past->partner_known && (past->alive || s->config.keep_window),
    };
    if (past->alive) {
        s->last_arrival_ns = rt_clamp64(past->last_accepted_ns, 0, now_ns);
        become(s, &s->alive, NFX_GAUGE_alive, true, s->last_arrival_ns);
        s->alive_until_ns = until(s->last_arrival_ns, s->config.watch_ns);
    }
    if (past->alive && past->heard) {
        become(s, &s->heard, NFX_GAUGE_heard, true, s->last_arrival_ns);
        s->heard_until_ns = until(s->last_arrival_ns, s->config.hear_ns);
    }
    if (!past->fresh)
        become(s, &s->fresh, NFX_GAUGE_fresh, false, now_ns);
    s->alive.reported = s->alive.is;
    s->heard.reported = s->heard.is;
    s->fresh.reported = s->fresh.is;
}

static void change_cycle(nfx_session_t *s, int64_t cycle_ns)
{
    s->grid.due_ns += cycle_ns - s->grid.period_ns;
    s->grid.period_ns = cycle_ns;
}

int nfx_session_reconfigure(nfx_session_t *s, const nfx_config_t *config, int64_t now_mono_ns)
{
    int rc = check_config(config);
    if (rc < 0)
        return rc;
    int64_t now_ns = move_clock(s, now_mono_ns);
    advance(s, now_ns);
    nfx_config_t old = s->config;
    bool off_grid = is_stopped_as_stale(s);
    s->config = completed(config);
    if (s->alive.is && s->config.watch_ns != old.watch_ns)
        s->alive_until_ns = rt_max64(now_ns, until(s->last_arrival_ns, s->config.watch_ns));
    if (s->heard.is && s->config.hear_ns != old.hear_ns) {
        int64_t fed_ns = old.hear_ns > 0 ? s->heard_until_ns - old.hear_ns : now_ns;
        s->heard_until_ns = rt_max64(now_ns, until(fed_ns, s->config.hear_ns));
    }
    watch_age(s);
    s->fresh_until_ns = rt_max64(now_ns, s->fresh_until_ns);
    if (s->sending) {
        off_grid |= s->config.cycle_ns != old.cycle_ns;
        change_cycle(s, s->config.cycle_ns);
        if (off_grid)
            (void)grid_skip_to(&s->grid, now_ns);
    }
    return 0;
}

/* --- what comes next ----------------------------------------------------------------------- */

int64_t nfx_session_deadline_ns(const nfx_session_t *s)
{
    return rt_min64(rt_min64(nfx_session_send_due_ns(s), s->alive_until_ns),
                    rt_min64(s->heard_until_ns, s->fresh_until_ns));
}

static int report(nfx_flag_t *flag, nfx_event_kind_t yes, nfx_event_kind_t no, nfx_event_t *event)
{
    if (flag->reported == flag->is)
        return 0;
    flag->reported = flag->is;
    *event = (nfx_event_t){.kind = flag->is ? yes : no, .at_ns = flag->since_ns};
    return 1;
}

int nfx_session_next_event(nfx_session_t *s, nfx_event_t *event)
{
    return report(&s->alive, NFX_EVENT_ALIVE, NFX_EVENT_TIMEOUT, event) ||
           report(&s->heard, NFX_EVENT_HEARD, NFX_EVENT_UNHEARD, event) ||
           report(&s->fresh, NFX_EVENT_FRESH, NFX_EVENT_STALE, event);
}
