#include "worker/channels.h"

#include "base/rt_err.h"
#include "base/rt_futex.h"
#include "worker/bells.h"
#include "worker/tap.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define MOST_DAMAGE 1000u

/* --- table --------------------------------------------------------------------------------- */

int channels_init(worker_t *w)
{
    w->channels = calloc(WRK_MAX_CHANNELS, sizeof(wrk_channel_t *));
    w->active = calloc(WRK_MAX_CHANNELS, sizeof(wrk_channel_t *));
    name_node_t **names = calloc(WRK_NAME_PLACES, sizeof(name_node_t *));
    deadline_entry_t *entries = calloc(2 * WRK_MAX_CHANNELS, sizeof *entries);
    if (w->channels == NULL || w->active == NULL || names == NULL || entries == NULL)
        return rt_err_set(-ENOMEM, "no memory for the table of %u channels", WRK_MAX_CHANNELS);
    name_table_init(&w->names, names, WRK_NAME_PLACES);
    deadline_heap_init(&w->deadlines, entries, WRK_MAX_CHANNELS);
    deadline_heap_init(&w->pressing, entries + WRK_MAX_CHANNELS, WRK_MAX_CHANNELS);
    return 0;
}

static wrk_channel_t *channel_of(name_node_t *node)
{
    return (wrk_channel_t *)((char *)node - offsetof(wrk_channel_t, by_name));
}

wrk_channel_t *channel_find(worker_t *w, const char *name)
{
    name_node_t *node = name_table_find(&w->names, name);
    return node != NULL ? channel_of(node) : NULL;
}

/* The worker uses the profile of its most demanding channel. Without channels it uses the least
 * demanding one. */
static void choose_profile(worker_t *w)
{
    shm_profile_t chosen = w->waiting_as[SHM_PROFILE_LATENCY] > 0    ? SHM_PROFILE_LATENCY
                           : w->waiting_as[SHM_PROFILE_BALANCED] > 0 ? SHM_PROFILE_BALANCED
                                                                     : SHM_PROFILE_POWER;
    w->idle.profile = chosen;
    rt_store_relaxed(&w->page->profile, (uint32_t)(w->channel_count ? chosen : w->args.profile));
}

/* "balanced" in a channel is the default and means: the pool's profile. */
static shm_profile_t profile_of(const wrk_channel_t *ch)
{
    shm_profile_t own = (shm_profile_t)ch->config.profile;
    return own == SHM_PROFILE_BALANCED ? ch->worker->args.profile : own;
}

void channels_add(wrk_channel_t *ch)
{
    worker_t *w = ch->worker;
    ch->place = w->channel_count;
    w->channels[w->channel_count++] = ch;
    name_table_add(&w->names, &ch->by_name, ch->config.name);
    rt_store_relaxed(&w->page->channels, w->channel_count);
    w->waiting_as[profile_of(ch)]++;
    choose_profile(w);
}

void channels_remove(wrk_channel_t *ch)
{
    worker_t *w = ch->worker;
    wrk_channel_t *last = w->channels[--w->channel_count];
    w->channels[ch->place] = last;
    last->place = ch->place;
    name_table_remove(&w->names, &ch->by_name);
    rt_store_relaxed(&w->page->channels, w->channel_count);
    w->waiting_as[profile_of(ch)]--;
    choose_profile(w);
}

/* --- active set ---------------------------------------------------------------------------- */

void channel_deactivate(wrk_channel_t *ch)
{
    worker_t *w = ch->worker;
    if (ch->active_index == WRK_INACTIVE)
        return;
    wrk_channel_t *last = w->active[--w->active_count];
    w->active[ch->active_index] = last;
    last->active_index = ch->active_index;
    ch->active_index = WRK_INACTIVE;
}

void wrk_activate(wrk_channel_t *ch, int64_t now_mono_ns)
{
    worker_t *w = ch->worker;
    ch->last_work_mono_ns = now_mono_ns;
    if (ch->active_index != WRK_INACTIVE || ch->tx_paused || ch->failed)
        return;
    tx_queue_disarm_bell(&ch->tx);
    ch->active_index = w->active_count;
    w->active[w->active_count++] = ch;
}

bool channel_arm_bell(wrk_channel_t *ch, int64_t now_mono_ns)
{
    if (!ch->tx_paused && !ch->failed) {
        tx_queue_arm_bell(&ch->tx);
        if (tx_queue_pending(&ch->tx)) {
            if (ch->ops->do_work(ch, now_mono_ns) > 0) {
                tx_queue_disarm_bell(&ch->tx);
                wrk_reschedule(ch);
                return false;
            }
            if (!ch->tx_paused) {
                /* A claim without its commit. The commit will ring, but its owner may be dead. */
                int64_t nap_ns = tx_queue_nap_ns(&ch->tx, now_mono_ns);
                if (ch->worker->nap_ns == 0 || nap_ns < ch->worker->nap_ns)
                    ch->worker->nap_ns = nap_ns;
                wrk_reschedule(ch);
                return true;
            }
        }
    }
    channel_deactivate(ch);
    wrk_reschedule(ch);
    return true;
}

/* --- deadlines ----------------------------------------------------------------------------- */

static void note_halted(wrk_channel_t *ch)
{
    tx_halted_t halted;
    if (tx_queue_halted(&ch->tx, &halted))
        wrk_note(ch, SHM_EVENT_producer_halted, 1, halted.pid, halted.halted_ns, halted.slot,
                 rt_mono_ns());
}

/* Not within the call of the agent that noticed it: here no work on the channel is in progress. */
static __attribute__((noinline, cold)) void fail_overwritten(wrk_channel_t *ch)
{
    char reason[SHM_REASON_BYTES];
    (void)snprintf(reason, sizeof reason,
                   "%u invalid entries in its tx ring (limit %u): a client overwrites it",
                   ch->tx.damage, MOST_DAMAGE);
    ch->tx.damage = 0;
    wrk_channel_fail(ch, EPROTO, reason);
}

void channel_set_deadline(wrk_channel_t *ch, int64_t at_mono_ns)
{
    deadline_heap_set(&ch->worker->deadlines, &ch->deadline, at_mono_ns);
    if (ch->pressing)
        deadline_heap_set(&ch->worker->pressing, &ch->pressing_deadline, at_mono_ns);
}

void wrk_reschedule(wrk_channel_t *ch)
{
    if (ch->tx.halted_unreported)
        note_halted(ch);
    if (ch->tx.damage > MOST_DAMAGE && !ch->failed)
        fail_overwritten(ch);
    channel_set_deadline(ch, ch->failed ? RT_NEVER_NS : ch->ops->deadline_ns(ch));
}

/* --- fail, free ---------------------------------------------------------------------------- */

void channel_wake_all(wrk_channel_t *ch)
{
    shm_segment_t *s = &ch->segment;
    rt_fetch_add(&s->tx->room_event, 1);
    rt_futex_wake_all(&s->tx->room_event);
    rt_fetch_add(&s->rx->data_event, 1);
    rt_futex_wake_all(&s->rx->data_event);
    rt_futex_wake_all(&s->status->epoch);
    for (uint32_t i = 0; i < ch->bell_count; i++)
        wrk_ring(ch->bells[i].fd);
}

void wrk_channel_fail(wrk_channel_t *ch, int error, const char *reason)
{
    if (ch->failed)
        return;
    shm_status_t *status = ch->segment.status;
    worker_note(ch->worker, ch, SHM_EVENT_channel_failed, 1, error, 0, 0, reason, rt_mono_ns());
    ch->held = true;
    if (ch->ops->hold != NULL)
        ch->ops->hold(ch);
    ch->failed = true;
    tap_channel_failed(ch);
    ch->tx_paused = true;
    channel_deactivate(ch);
    wrk_reschedule(ch);
    (void)snprintf(status->reason, sizeof status->reason, "%s", reason);
    rt_store_relaxed(&status->error, (uint32_t)error);
    rt_store_release(&status->state, SHM_STATE_FAILED);
    if (shm_segment_torn(&ch->segment)) /* no other process sees what was written */
        (void)shm_segment_write_state(ch->segment_fd, SHM_STATE_FAILED, (uint32_t)error, reason);
    channel_wake_all(ch);
}

int channel_free_producer(wrk_channel_t *ch, uint32_t slot)
{
    int rc = tx_queue_free_producer(&ch->tx, slot);
    if (ch->ops->producer_gone != NULL && !ch->failed) {
        ch->ops->producer_gone(ch, slot, rt_mono_ns());
        wrk_reschedule(ch);
    }
    return rc;
}

/* --- for agents ---------------------------------------------------------------------------- */

wrk_channel_t *wrk_find(const wrk_channel_t *ch, const char *name)
{
    wrk_channel_t *found = channel_find(ch->worker, name);
    return found != NULL && !found->ended ? found : NULL;
}

void wrk_receive_failed(wrk_channel_t *ch, int error, int64_t now_mono_ns)
{
    wrk_count(ch, SHM_COUNT_rx_errors, 1);
    wrk_note(ch, SHM_EVENT_receive_failed, 1, error, 0, 0, now_mono_ns);
    if (error == EBADF || error == ENOTSOCK)
        wrk_channel_fail(ch, error, "the worker has lost its socket");
}
