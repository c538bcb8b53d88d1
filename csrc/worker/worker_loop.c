/* worker_loop.c: how the loop works.
 *
 * One pass:
 *
 *     clock -> what is due -> tx rings of active channels -> sockets, bells, control
 *           -> some readers and watchers that are left to ring -> duties -> rest
 *
 * The clock is read once and passed down. Work nearer to the deadline comes first, and each stage
 * runs only if it fits before the next deadline:
 *
 *     left until the next deadline     what is still done
 *     more than 300 us                 everything
 *     less                             no control messages (opening a channel takes that long)
 *     less than 50 us                  no housekeeping, no pieces of what control messages left
 *     less than 10 us + a poll         no sockets (and without any, a poll each 5 us)
 *     less than 10 us                  no tx rings
 *     5 us (AGENT_LEAD_NS)             the deadline is served: the agent prepares, spins and sends
 *
 * Under load deadlines are never far away, so a stage is postponed for a limited time, after which
 * it runs a bounded amount anyway: transmission, reception and control all make progress. What
 * serves no packet (control, housekeeping) then takes the longest gap there is (postpone.h). A
 * stage checks the next deadline between any two channels and any two control messages. Fetched
 * events that would come too near to it are handled after it.
 *
 * Any pass may end with a short rest for the budget of a real-time worker: a forced one, or one
 * that fits before the next deadline (idle.h). Apart from that only a pass that found nothing
 * rests. If a channel was opened lately, it makes a part of that channel's memory present instead,
 * if nothing is due soon.
 *
 * Channels are "active" (their tx ring is checked in every pass) or "armed": then the channel's
 * bell wakes the poller, and an idle channel costs nothing at all. A channel is armed after
 * ACTIVE_FOR_NS without work, or as soon as the worker wants to sleep. */
#include "worker/worker_loop.h"

#include "worker/bells.h"
#include "worker/card_clock.h"
#include "worker/channel.h"
#include "worker/channel_memory.h"
#include "worker/channels.h"
#include "worker/clock_watch.h"
#include "worker/control_run.h"
#include "worker/postpone.h"
#include "worker/slots.h"
#include "worker/tap.h"

#define QUIET_NS (10 * RT_NS_PER_US)
#define POLL_POSTPONE_MOST_NS (200 * RT_NS_PER_US)
/* Without any socket only control messages and bells are polled for, which may wait this long. */
#define POLL_CONTROL_EVERY_NS (5 * RT_NS_PER_US)
#define OVERDUE_EVENTS_NS (50 * RT_NS_PER_US) /* granted to them after that */
#define ACTIVE_FOR_NS RT_NS_PER_MS
#define HOUSEKEEPING_NS (50 * RT_NS_PER_MS)
#define PREFAULT_NEEDS_NS (50 * RT_NS_PER_US)
#define PREFAULT_BEHIND_OPEN_NS (5 * RT_NS_PER_MS)
#define FIRST_POLL_COST_NS (1 * RT_NS_PER_US)
#define LONG_LOOP_NS RT_NS_PER_MS

enum {
    DEADLINES_PER_PASS = 64,
    ACTIVE_PER_PASS = 64,
    HOUSEKEEPING_CHANNELS = 16, /* each about 1 us, a system call included */
    HOUSEKEEPING_ROUNDS =
        20, /* after this many turns each channel had its turn: about once a second ... */
    HOUSEKEEPING_MOST = 256, /* ... unless there are too many */
};

static wrk_channel_t *channel_of(deadline_node_t *node, size_t offset)
{
    return (wrk_channel_t *)((char *)node - offset);
}

static int64_t next_deadline(const worker_t *w)
{
    return deadline_heap_next_ns(&w->deadlines);
}

/* --- stages -------------------------------------------------------------------------------- */

static wrk_channel_t *due_channel(const worker_t *w, bool pressing)
{
    if (pressing)
        return channel_of(deadline_heap_top(&w->pressing),
                          offsetof(wrk_channel_t, pressing_deadline));
    return channel_of(deadline_heap_top(&w->deadlines), offsetof(wrk_channel_t, deadline));
}

static bool serve_deadlines(worker_t *w, int64_t *now_mono_ns)
{
    unsigned served = 0;
    bool pressing = false;
    while (served < DEADLINES_PER_PASS && next_deadline(w) <= *now_mono_ns) {
        pressing = deadline_pressing_next(&w->pressing, pressing, *now_mono_ns);
        wrk_channel_t *ch = due_channel(w, pressing);
        w->turn_of = ch;
        ch->ops->on_deadline(ch, *now_mono_ns);
        wrk_reschedule(ch);
        *now_mono_ns = rt_mono_ns();
        wrk_activate(ch, *now_mono_ns); /* the space of sent packets waits to be freed */
        served++;
    }
    return served > 0;
}

static bool serve_active(worker_t *w, int64_t now_mono_ns)
{
    bool found = false;
    unsigned turns = w->active_count < ACTIVE_PER_PASS ? w->active_count : ACTIVE_PER_PASS;
    for (unsigned i = 0; i < turns && w->active_count > 0; i++) {
        if (w->active_next >= w->active_count)
            w->active_next = 0;
        wrk_channel_t *ch = w->active[w->active_next++];
        w->turn_of = ch;
        if (ch->ops->do_work(ch, now_mono_ns) > 0) {
            ch->last_work_mono_ns = now_mono_ns;
            found = true;
            wrk_reschedule(ch);
            now_mono_ns = rt_mono_ns();
            if (next_deadline(w) - now_mono_ns < QUIET_NS)
                break;
        } else if (now_mono_ns - ch->last_work_mono_ns > ACTIVE_FOR_NS) {
            found |= !channel_arm_bell(ch, now_mono_ns);
        } else if (ch->deadline.at_mono_ns != RT_NEVER_NS) {
            wrk_reschedule(ch);
        }
    }
    return found;
}

/* Handles fetched events until a deadline is near, or for as long as was granted. Channels that
 * were rung are checked before sockets are read: their packets may be due soon. */
static bool dispatch(worker_t *w, int64_t now_mono_ns)
{
    bool found = false;
    uint32_t events = 0;
    wrk_source_t *source = NULL;
    while ((next_deadline(w) - now_mono_ns > QUIET_NS || now_mono_ns < w->granted_until_mono_ns) &&
           (source = poller_next(&w->poller, &events)) != NULL) {
        wrk_channel_t *ch = source->channel;
        if (ch == NULL && !source->at_once &&
            !postpone_ends(&POSTPONE_CONTROL, &w->control_waits_since_mono_ns, now_mono_ns,
                           next_deadline(w))) {
            w->control_postponed = true;
            if (source->events & EPOLLET) /* otherwise its edge would be lost */
                poller_rearm(&w->poller, source);
            continue;
        }
        w->turn_of = ch;
        bool at_once = source->at_once; /* the source may be freed by its event */
        source->on_event(source, events, now_mono_ns);
        found = true;
        if (ch != NULL)
            wrk_reschedule(ch);
        now_mono_ns = rt_mono_ns();
        if (at_once && !poller_next_is_at_once(&w->poller))
            break;
    }
    if (!poller_has_rest(&w->poller)) {
        if (!w->control_postponed)
            w->control_waits_since_mono_ns = 0;
        w->control_postponed = false;
    }
    return found;
}

/* Returns whether there are events. */
static bool fetch_events(worker_t *w, int64_t now_mono_ns)
{
    if (poller_has_rest(&w->poller) || poller_wait(&w->poller, 0) > 0)
        return true;
    int64_t cost = rt_mono_ns() - now_mono_ns;
    w->poll_cost_ns += (cost - w->poll_cost_ns) / 16;
    return false;
}

static bool poll_if_it_fits(worker_t *w, int64_t now_mono_ns)
{
    bool fits = next_deadline(w) - now_mono_ns > QUIET_NS + w->poll_cost_ns;
    int64_t since_ns = now_mono_ns - w->last_poll_mono_ns;
    bool waited = since_ns > POLL_POSTPONE_MOST_NS;
    if (!fits && !waited)
        return false;
    if (w->agent_sources == 0 && since_ns < POLL_CONTROL_EVERY_NS && !poller_has_rest(&w->poller))
        return false;
    w->last_poll_mono_ns = now_mono_ns;
    if (!fetch_events(w, now_mono_ns))
        return false;
    w->granted_until_mono_ns = fits ? 0 : now_mono_ns + OVERDUE_EVENTS_NS;
    bool found = dispatch(w, now_mono_ns);
    w->granted_until_mono_ns = 0;
    return found;
}

/* What control messages left to do, in pieces. */
static bool control_step(worker_t *w)
{
    if (w->gone == NULL && w->jobs_of == NULL && w->given_back == NULL)
        return false;
    int64_t now = rt_mono_ns();
    const postpone_limits_t *limits =
        control_closes_next(w) ? &POSTPONE_CONTROL : &POSTPONE_CONTROL_STEP;
    if (!postpone_ends(limits, &w->steps_wait_since_mono_ns, now, next_deadline(w)))
        return false;
    return control_drop_step(w) || channel_memory_step(w) || control_jobs_step(w, now);
}

/* --- duties -------------------------------------------------------------------------------- */

static unsigned housekeeping_turns(const worker_t *w, int64_t now_mono_ns)
{
    unsigned turns = w->channel_count / HOUSEKEEPING_ROUNDS;
    bool free = next_deadline(w) - now_mono_ns > RT_NS_PER_MS;
    if (turns > HOUSEKEEPING_MOST)
        turns = HOUSEKEEPING_MOST;
    if (turns < HOUSEKEEPING_CHANNELS || !free)
        turns = HOUSEKEEPING_CHANNELS;
    return turns < w->channel_count ? turns : w->channel_count;
}

/* Time since the last housekeeping in which the worker did not sleep: another process had the core,
 * or the worker was stopped. Cold: reading the CPU clock is a system call. */
static int64_t off_cpu_ns(const worker_t *w, int64_t cpu_ns, int64_t now_mono_ns)
{
    int64_t slept_ns = (int64_t)rt_load_relaxed(&w->page->slept_ns) - w->housekept_slept_ns;
    int64_t off_ns = now_mono_ns - w->housekept_mono_ns - (cpu_ns - w->housekept_cpu_ns) - slept_ns;
    return off_ns > 0 ? off_ns : 0;
}

static void account_core(worker_t *w, int64_t now_mono_ns)
{
    int64_t cpu_ns = rt_thread_cpu_ns();
    if (w->housekept_mono_ns != 0)
        w->off_cpu_ns = off_cpu_ns(w, cpu_ns, now_mono_ns);
    w->housekept_mono_ns = now_mono_ns;
    w->housekept_cpu_ns = cpu_ns;
    w->housekept_slept_ns = (int64_t)rt_load_relaxed(&w->page->slept_ns);
    rt_store_relaxed(&w->page->cpu_ns, (uint64_t)cpu_ns);
}

static void housekeep(worker_t *w, int64_t now_mono_ns)
{
    rt_store_relaxed(&w->page->heartbeat_mono_ns, (uint64_t)now_mono_ns);
    account_core(w, now_mono_ns);
    clock_watch_refresh(w, now_mono_ns);
    card_clock_refresh(w, now_mono_ns);
    unsigned turns = housekeeping_turns(w, now_mono_ns);
    for (unsigned i = 0; i < turns; i++) {
        if (w->rotation >= w->channel_count)
            w->rotation = 0;
        channel_housekeep(w->channels[w->rotation++], now_mono_ns);
    }
    slots_check_orphan(w);
    (void)tap_step(w); /* also on a core that is never free */
    w->next_housekeeping_mono_ns = now_mono_ns + HOUSEKEEPING_NS;
}

static void housekeep_if_due(worker_t *w, int64_t now_mono_ns)
{
    if (now_mono_ns < w->next_housekeeping_mono_ns)
        return;
    now_mono_ns = rt_mono_ns(); /* events may have taken long */
    if (postpone_fits(&POSTPONE_HOUSEKEEPING, w->next_housekeeping_mono_ns, now_mono_ns,
                      next_deadline(w)))
        housekeep(w, now_mono_ns);
}

/* Never urgent: otherwise a page costs the same at its first use. */
static bool prefault_if_it_fits(worker_t *w, int64_t now_mono_ns)
{
    if ((w->absent == NULL && w->tap_steps == 0) ||
        next_deadline(w) - now_mono_ns <= PREFAULT_NEEDS_NS)
        return false;
    if (w->absent == NULL)
        return tap_step(w);
    if (now_mono_ns - w->opened_mono_ns < PREFAULT_BEHIND_OPEN_NS)
        return false; /* after a death channels arrive one after the other: serve them first */
    channel_prefault_step(w);
    return true;
}

/* --- rest ---------------------------------------------------------------------------------- */

/* Every possible source of work must be able to end the sleep. False: work came in. */
static bool arm_all(worker_t *w, int64_t now_mono_ns)
{
    w->nap_ns = 0;
    for (uint32_t i = w->active_count; i-- > 0;)
        if (!channel_arm_bell(w->active[i], now_mono_ns))
            return false;
    return true;
}

static int64_t next_appointment(const worker_t *w)
{
    int64_t next = next_deadline(w);
    int64_t duties = w->next_housekeeping_mono_ns + idle_margin_ns(&w->idle);
    next = duties < next ? duties : next;
    int64_t prefault = w->opened_mono_ns + PREFAULT_BEHIND_OPEN_NS;
    next = w->absent != NULL && prefault < next ? prefault : next;
    return next;
}

/* A sleep would drop or delay them. */
static bool has_events_or_bells(const worker_t *w)
{
    return poller_has_rest(&w->poller) || w->ringing != NULL;
}

static void rest(worker_t *w, int64_t now_mono_ns)
{
    if (has_events_or_bells(w))
        return;
    int64_t sleep_ns = idle_sleep_ns(&w->idle, now_mono_ns, next_appointment(w));
    if (sleep_ns == 0) {
        rt_cpu_relax();
        return;
    }
    if (!arm_all(w, now_mono_ns))
        return;
    if (w->nap_ns != 0 && sleep_ns > w->nap_ns)
        sleep_ns = w->nap_ns;
    idle_sleep(&w->idle, &w->poller, now_mono_ns, sleep_ns);
    w->last_poll_mono_ns = w->idle.woken_mono_ns;
    if (dispatch(w, w->idle.woken_mono_ns))
        idle_note_event(&w->idle, w->idle.woken_mono_ns);
}

static bool rest_ahead(worker_t *w, int64_t now_mono_ns)
{
    return !has_events_or_bells(w) && idle_rest_ahead(&w->idle, now_mono_ns, next_deadline(w));
}

static __attribute__((noinline)) void note_long_pass(worker_t *w, int64_t from_mono_ns,
                                                     int64_t to_mono_ns)
{
    bool kept = w->housekept_mono_ns >= from_mono_ns;
    int64_t off_ns = kept ? w->off_cpu_ns : off_cpu_ns(w, rt_thread_cpu_ns(), to_mono_ns);
    worker_note(w, NULL, SHM_EVENT_long_loop, 1, 0, to_mono_ns - from_mono_ns, off_ns, NULL,
                to_mono_ns);
    w->next_housekeeping_mono_ns = to_mono_ns; /* a client may have taken pages away */
}

static __attribute__((noinline)) void note_missed_wake(worker_t *w)
{
    worker_note(w, NULL, SHM_EVENT_missed_wake, 1, 0, w->idle.missed_by_ns, w->idle.asked_mono_ns,
                NULL, w->idle.woken_mono_ns);
    w->idle.missed_by_ns = 0;
}

static void note_pass(worker_t *w, int64_t from_mono_ns, int64_t to_mono_ns, bool busy)
{
    rt_bump(&w->page->loops, 1);
    uint64_t took = (uint64_t)(to_mono_ns - from_mono_ns);
    if (took > LONG_LOOP_NS)
        note_long_pass(w, from_mono_ns, to_mono_ns);
    if (took > rt_load_relaxed(&w->page->longest_loop_ns))
        rt_store_relaxed(&w->page->longest_loop_ns, took);
    if (!busy)
        rt_bump(&w->page->spun_ns, took);
}

static void pass(worker_t *w)
{
    int64_t began = rt_mono_ns();
    int64_t now = began;
    w->checks_ns = 0;
    tap_begin_pass(w);
    bool busy = serve_deadlines(w, &now);
    if (next_deadline(w) - now > QUIET_NS || now - w->last_poll_mono_ns > POLL_POSTPONE_MOST_NS) {
        busy |= serve_active(w, now);
        now = busy ? rt_mono_ns() : now;
        busy |= poll_if_it_fits(w, now);
        busy |= bells_step(w);
        busy |= control_step(w);
        housekeep_if_due(w, now);
    }
    int64_t end = rt_mono_ns();
    note_pass(w, began, end, busy);
    if (busy)
        idle_note_event(&w->idle, end);
    if (idle_forced_rest(&w->idle, end))
        worker_note(w, NULL, SHM_EVENT_forced_rest, 1, 0, w->idle.woken_mono_ns - end, 0, NULL,
                    w->idle.woken_mono_ns);
    else if (!rest_ahead(w, end) && !busy && !prefault_if_it_fits(w, end))
        rest(w, end);
    if (w->idle.missed_by_ns > 0)
        note_missed_wake(w);
}

void worker_loop(worker_t *w)
{
    int64_t now = rt_mono_ns();
    w->poll_cost_ns = FIRST_POLL_COST_NS;
    w->last_poll_mono_ns = now;
    housekeep(w, now);
    while (!w->stop)
        pass(w);
}
