#include "worker/channel.h"

#include "base/rt_err.h"
#include "base/rt_linux.h"
#include "base/rt_futex.h"
#include "shm/shm_engine.h"
#include "shm/tx_ring.h"
#include "worker/bells.h"
#include "worker/channel_memory.h"
#include "worker/channels.h"
#include "worker/pool_files.h"
#include "worker/slots.h"
#include "worker/uncounted.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define CUT_SHORT "its segment was cut short below its mapping"
#define PURGE_STEP 256u
#define PREFAULT_BYTES (UINT64_C(16) << 20)
#define PREFAULT_STEP_BYTES (UINT64_C(32) << 10) /* 4 to 12 us */

static void on_bell(wrk_source_t *source, uint32_t events, int64_t now_mono_ns)
{
    (void)events; /* edge-triggered: the count in the eventfd is never read */
    wrk_activate(source->channel, now_mono_ns);
}

/* --- memory -------------------------------------------------------------------------------- */

/* Makes pages that the loop will touch present before the first deadline. Otherwise each is zeroed
 * and mapped at its first use, which takes about 0.5 us. This is done in pieces while there is
 * nothing else to do, because other channels and the client that opens this one wait meanwhile. It
 * is bounded: the rest of a large ring becomes present when it is used. */
static void absent_add(wrk_channel_t *ch)
{
    worker_t *w = ch->worker;
    ch->absent_next = w->absent;
    w->absent = ch;
}

static void absent_remove(wrk_channel_t *ch)
{
    wrk_channel_t **at = &ch->worker->absent;
    while (*at != NULL && *at != ch)
        at = &(*at)->absent_next;
    if (*at != NULL)
        *at = ch->absent_next;
}

static void prefault_agent(wrk_channel_t *ch)
{
    size_t before = (uintptr_t)ch->agent % SHM_PAGE_BYTES; /* of its first page */
    (void)madvise((uint8_t *)ch->agent - before, before + ch->ops->state_bytes,
                  MADV_POPULATE_WRITE);
    ch->agent_present = true;
}

void channel_prefault_step(worker_t *w)
{
    wrk_channel_t *ch = w->absent;
    if (!ch->agent_present) {
        prefault_agent(ch);
        return;
    }
    const shm_segment_t *s = &ch->segment;
    uint64_t end = s->bytes < PREFAULT_BYTES ? s->bytes : PREFAULT_BYTES;
    uint64_t left = end - ch->present_bytes;
    uint64_t piece = left < PREFAULT_STEP_BYTES ? left : PREFAULT_STEP_BYTES;
    (void)madvise(s->base + ch->present_bytes, piece, MADV_POPULATE_WRITE);
    ch->present_bytes += piece;
    if (piece == left)
        absent_remove(ch);
}

/* --- open ---------------------------------------------------------------------------------- */

static int prepare_clock(worker_t *w, const shm_config_t *config)
{
    if (config->clock != RT_CLOCK_TAI || w->tai_known)
        return 0;
    int rc = clock_map_init(&w->clocks[RT_CLOCK_TAI], RT_CLOCK_TAI);
    w->tai_known = rc == 0;
    return rc;
}

static int check_belongs(const worker_t *w, const shm_config_t *config)
{
    if (strcmp(config->name_space, w->args.name_space) != 0 ||
        strcmp(config->pool, w->args.pool) != 0)
        return rt_err_set(
            -EINVAL,
            "channel \"%s\" belongs to pool \"%s\" in namespace \"%s\", this worker serves "
            "pool \"%s\" in \"%s\"",
            config->name, config->pool, config->name_space, w->args.pool, w->args.name_space);
    return 0;
}

/* Geometry and everything else come from the pool's message, because clients can write to the
 * segment's own description. */
static int map_segment(wrk_channel_t *ch, const shm_config_t *config)
{
    int rc = shm_segment_map_as(&ch->segment, ch->segment_fd, config);
    if (rc < 0)
        return rc;
    ch->config = *config;
    ch->stats = ch->segment.stats;
    ch->blocks = shm_engine_grows(config) ? 0 : ch->segment.bytes / 512;
    return 0;
}

static int start_rings(wrk_channel_t *ch, bool takeover)
{
    int rc = slots_open(ch, takeover);
    rc = rc ? rc : tx_queue_init(&ch->tx, &ch->segment, takeover);
    if (rc < 0)
        return rc;
    tx_queue_ask_slots(&ch->tx, slots_alive, ch);
    tx_queue_set_watchers(&ch->tx, bells_ring_watchers, ch);
    rc = rx_writer_init(&ch->rx, &ch->segment);
    slot_writer_init(&ch->reports, ch->segment.report, ch->segment.reports,
                     ch->segment.config.report_slots, (uint32_t)sizeof(shm_report_t));
    slot_writer_init(&ch->late, ch->segment.late, ch->segment.late_packets,
                     ch->config.late_slots, (uint32_t)sizeof(shm_late_packet_t));
    return rc;
}

static int start_agent(wrk_channel_t *ch, bool takeover)
{
    ch->ops = agent_find(ch->config.engine);
    if (ch->ops == NULL)
        return -EINVAL;
    ch->agent = wrk_take_memory(ch, ch->ops->state_bytes);
    if (ch->agent == NULL)
        return -ENOMEM;
    uncounted_open(ch, takeover);
    ch->tx_paused = ch->held;
    return ch->ops->open(ch, rt_mono_ns());
}

static void publish_status(wrk_channel_t *ch, bool takeover)
{
    shm_status_t *s = ch->segment.status;
    shm_worker_page_t *page = ch->worker->page;
    int64_t now = rt_mono_ns();
    rt_store_relaxed(&s->worker_pid, (uint32_t)getpid());
    rt_store_relaxed(&s->cpu, rt_load_relaxed(&page->cpu));
    rt_store_relaxed(&s->sched_policy, rt_load_relaxed(&page->sched_policy));
    rt_store_relaxed(&s->sched_priority, rt_load_relaxed(&page->sched_priority));
    rt_store_relaxed(&s->worker_slot, ch->worker->args.slot);
    rt_store_relaxed(&s->error, 0);
    memset(s->reason, 0, sizeof s->reason);
    rt_store_relaxed(&s->heartbeat_mono_ns, (uint64_t)now);
    if (!takeover) {
        rt_store_relaxed(&s->opened_mono_ns, (uint64_t)now);
        rt_store_relaxed(&ch->stats->reset_mono_ns, (uint64_t)now);
    }
    rt_store_release(&s->state, ch->held ? SHM_STATE_HELD : SHM_STATE_OPEN);
    rt_store_release(&s->epoch, rt_load_relaxed(&s->epoch) + 1);
    rt_futex_wake_all(&s->epoch);
}

/* The last packets that an agent sends may give its channel work and a deadline once more. */
static void close_agent(wrk_channel_t *ch)
{
    ch->ops->close(ch);
    ch->socket_fd = -1;
    ch->failed = true; /* no call of the agent follows */
    channel_deactivate(ch);
    channel_set_deadline(ch, RT_NEVER_NS);
}

static void note_open(wrk_channel_t *ch, bool takeover, int64_t now_mono_ns)
{
    wrk_note(ch, takeover ? SHM_EVENT_channel_taken_over : SHM_EVENT_channel_opened, 1,
             rt_load_relaxed(&ch->segment.status->epoch), ch->held,
             takeover ? (int64_t)tx_ring_waiting(&ch->segment) : 0, now_mono_ns);
}

/* A channel that is taken over continues whatever happened to its name, which it normally still
 * has. */
static int publish_name(const wrk_channel_t *ch, bool takeover)
{
    if (takeover && pool_file_is_published(ch->segment_fd, &ch->config))
        return 0;
    int rc = pool_file_publish_channel(ch->segment_fd, &ch->config);
    return takeover ? 0 : rc;
}

static void count_lost_arrivals(wrk_channel_t *ch)
{
    wrk_lost_with_predecessor(
        ch, udp_rx_pool_lost(ch->worker->rx_pool, ch->segment.segment_id, ch->rx.sequence));
}

static int open_prepared(wrk_channel_t *ch, const shm_config_t *config, bool takeover)
{
    int rc = map_segment(ch, config);
    if (rc < 0)
        return rc;
    ch->bells = wrk_take_memory(ch, (config->readers + config->producers) * sizeof *ch->bells);
    if (ch->bells == NULL)
        return -ENOMEM;
    ch->held = takeover ? rt_load_relaxed(&ch->segment.status->state) == SHM_STATE_HELD
                        : config->held != 0;
    rc = start_rings(ch, takeover);
    rc = rc ? rc : start_agent(ch, takeover);
    if (rc < 0)
        return rc;
    count_lost_arrivals(ch);
    rc = poller_watch(&ch->worker->poller, &ch->bell, ch->bell_fd, EPOLLIN | EPOLLET);
    rc = rc ? rc : publish_name(ch, takeover);
    if (rc < 0) {
        poller_forget(&ch->worker->poller, &ch->bell);
        close_agent(ch);
    }
    return rc;
}

static wrk_channel_t *new_channel(worker_t *w, int segment_fd, int bell_fd, int socket_fd)
{
    wrk_channel_t *ch = calloc(1, sizeof *ch);
    if (ch == NULL)
        return NULL;
    ch->worker = w;
    ch->segment_fd = segment_fd;
    ch->bell_fd = bell_fd;
    ch->socket_fd = socket_fd;
    ch->bell = (wrk_source_t){.on_event = on_bell, .channel = ch, .fd = -1, .at_once = true};
    ch->active_index = WRK_INACTIVE;
    deadline_node_init(&ch->deadline);
    deadline_node_init(&ch->pressing_deadline);
    return ch;
}

/* Without its descriptors of segment and bell, which the caller has, too. */
static void delete_channel(wrk_channel_t *ch)
{
    if (ch->socket_fd >= 0)
        close(ch->socket_fd);
    shm_segment_unmap(&ch->segment);
    slots_close(ch);
    channel_memory_end(ch);
    free(ch);
}

static int check_room(worker_t *w, const shm_config_t *config)
{
    if (channel_find(w, config->name) != NULL)
        return rt_err_set(-EEXIST, "channel \"%s\" is open in this worker already", config->name);
    if (w->channel_count >= WRK_MAX_CHANNELS)
        return rt_err_set(-ENOSPC, "this worker serves %u channels, the limit: use another core",
                          WRK_MAX_CHANNELS);
    return 0;
}

int channel_open(worker_t *w, const shm_config_t *config, const ctl_open_t *how, int segment_fd,
                 int bell_fd, int socket_fd, uint64_t *memory_bytes)
{
    bool takeover = (how->flags & CTL_OPEN_TAKEOVER) != 0;
    int rc = check_belongs(w, config);
    rc = rc ? rc : check_room(w, config);
    rc = rc ? rc : prepare_clock(w, config);
    wrk_channel_t *ch = rc ? NULL : new_channel(w, segment_fd, bell_fd, socket_fd);
    if (ch != NULL) {
        channel_memory_init(ch, how->memory_limit_bytes);
        rc = open_prepared(ch, config, takeover);
    } else if (rc == 0) {
        rc = rt_err_set(-ENOMEM, "no memory for a channel");
    }
    if (rc < 0) {
        if (ch != NULL)
            delete_channel(ch);
        else if (socket_fd >= 0)
            close(socket_fd);
        close(segment_fd);
        close(bell_fd);
        return rc;
    }
    channels_add(ch);
    w->opened_mono_ns = rt_mono_ns();
    *memory_bytes = channel_memory_settle(ch);
    if (ch->ops->memory_as_used)
        prefault_agent(ch);
    else
        absent_add(ch);
    publish_status(ch, takeover);
    note_open(ch, takeover, rt_mono_ns());
    wrk_activate(ch, rt_mono_ns());
    wrk_reschedule(ch);
    return 0;
}

/* --- close, hold, fail --------------------------------------------------------------------- */

void channel_end(wrk_channel_t *ch)
{
    wrk_note(ch, SHM_EVENT_channel_closed, 1, 0, 0, 0, rt_mono_ns());
    ch->ended = true;
    poller_forget(&ch->worker->poller, &ch->bell);
    close_agent(ch);
    rt_store_release(&ch->segment.status->state, SHM_STATE_CLOSED);
    channel_wake_all(ch);
}

void channel_free(wrk_channel_t *ch)
{
    if (!ch->worker->leaves_names)
        pool_file_withdraw_channel(ch->worker, ch->segment_fd, &ch->config);
    channels_remove(ch);
    absent_remove(ch);
    bells_forget(ch);
    if (ch->worker->turn_of == ch)
        ch->worker->turn_of = NULL;
    close(ch->segment_fd);
    close(ch->bell_fd);
    delete_channel(ch);
}

void channel_hold(wrk_channel_t *ch)
{
    if (ch->held || ch->failed)
        return;
    ch->held = true;
    ch->tx_paused = true;
    if (ch->ops->hold != NULL)
        ch->ops->hold(ch);
    channel_deactivate(ch);
    wrk_reschedule(ch);
    rt_store_release(&ch->segment.status->state, SHM_STATE_HELD);
    wrk_note(ch, SHM_EVENT_channel_held, 1, 0, 0, 0, rt_mono_ns());
}

void channel_release(wrk_channel_t *ch)
{
    if (!ch->held || ch->failed)
        return;
    int64_t now = rt_mono_ns();
    ch->held = false;
    ch->tx_paused = false;
    if (ch->ops->release != NULL)
        ch->ops->release(ch, now);
    rt_store_release(&ch->segment.status->state, SHM_STATE_OPEN);
    wrk_note(ch, SHM_EVENT_channel_released, 1, 0, 0, 0, now);
    wrk_activate(ch, now);
    wrk_reschedule(ch);
}

int channel_purge_step(wrk_channel_t *ch, int64_t now_mono_ns)
{
    int done = ch->ops->purge(ch, PURGE_STEP, now_mono_ns);
    wrk_reschedule(ch);
    return done;
}

void channel_purge_rx(wrk_channel_t *ch)
{
    rx_writer_purge(&ch->rx);
    wrk_reschedule(ch);
}

void channel_reset_stats(wrk_channel_t *ch)
{
    /* A worker that dies here leaves a count far too large for its successor to trust. */
    rt_store_relaxed(&ch->stats->finished_base, UINT64_MAX / 2);
    rt_fence_full(); /* for a successor: before and after all of them are 0 */
    for (unsigned i = 0; i < SHM_COUNTER_SPACE; i++)
        rt_store_relaxed(&ch->stats->counters[i], 0);
    for (unsigned i = 0; i < SHM_HIST_TOTAL; i++)
        rt_hist_reset(&ch->stats->hists[i]);
    rt_fence_full();
    tx_queue_mark_counted(&ch->tx);
    rt_store_relaxed(&ch->stats->reset_mono_ns, (uint64_t)rt_mono_ns());
    if (ch->ops->reset != NULL)
        ch->ops->reset(ch);
}

/* --- housekeeping -------------------------------------------------------------------------- */

/* A thread that uses a page of a hole waits until the hole is made, which takes 1 ms a MiB, and
 * pages that are removed and used again would make this one wait for ever. */
static void check_blocks(wrk_channel_t *ch)
{
    struct stat s;
    if (ch->failed || fstat(ch->segment_fd, &s) != 0)
        return;
    bool lost = (uint64_t)s.st_blocks < ch->blocks;
    ch->blocks = (uint64_t)s.st_blocks;
    if (!lost)
        return;
    bool cut = (uint64_t)s.st_size < ch->segment.bytes;
    wrk_channel_fail(ch, EFAULT, cut ? CUT_SHORT : "a client made holes in its segment");
    bus_guard_tear(ch->segment.guard);
}

void channel_housekeep(wrk_channel_t *ch, int64_t now_mono_ns)
{
    rt_store_relaxed(&ch->segment.status->heartbeat_mono_ns, (uint64_t)now_mono_ns);
    rt_store_relaxed(&ch->stats->wake_margin_ns, idle_margin_ns(&ch->worker->idle));
    if (shm_segment_torn(&ch->segment))
        wrk_channel_fail(ch, EFAULT, CUT_SHORT);
    check_blocks(ch);
    slots_check_cost(ch);
    if (ch->failed)
        return;
    ch->ops->refresh(ch, now_mono_ns);
    count_lost_arrivals(ch);
    uncounted_count(ch, now_mono_ns);
    wrk_reschedule(ch);
}
