/* services.c: the functions of agent.h that need no table of channels (the others: channels.c). */
#include "worker/bells.h"
#include "worker/connection.h"
#include "worker/worker.h"

int wrk_watch(wrk_channel_t *ch, wrk_source_t *source, int fd, uint32_t events)
{
    source->channel = ch;
    int rc = poller_watch(&ch->worker->poller, source, fd, events);
    if (rc == 0)
        ch->worker->agent_sources++;
    return rc;
}

void wrk_rewatch(wrk_channel_t *ch, wrk_source_t *source, uint32_t events)
{
    poller_change(&ch->worker->poller, source, events);
}

void wrk_unwatch(wrk_channel_t *ch, wrk_source_t *source)
{
    if (source->fd >= 0)
        ch->worker->agent_sources--;
    poller_forget(&ch->worker->poller, source);
}

void wrk_rx_publish(wrk_channel_t *ch)
{
    (void)rx_writer_publish(&ch->rx);
    idle_note_came(&ch->worker->idle, IDLE_ARRIVED);
    uint64_t lost = rx_writer_lost(&ch->rx);
    if (lost > 0) {
        wrk_count(ch, SHM_COUNT_rx_overwritten, lost);
        wrk_note(ch, SHM_EVENT_ring_overrun, lost, 0, 0, 0, rt_mono_ns());
    }
    if (ch->bell_count > 0)
        bells_ring_readers(ch);
}

void wrk_sent_at_once(wrk_channel_t *ch)
{
    idle_note_came(&ch->worker->idle, IDLE_SENT);
}

void worker_note(worker_t *w, const wrk_channel_t *ch, shm_event_id_t id, uint64_t count, int64_t a,
                 int64_t b, int64_t c, const char *text, int64_t now_mono_ns)
{
    recorder_subject_t subject = {0};
    if (ch != NULL)
        subject =
            (recorder_subject_t){.channel = ch->config.name, .channel_id = ch->segment.segment_id};
    recorder_note(&w->recorder, id, &subject, count, a, b, c, now_mono_ns);
    if (shm_event_kind(id) == SHM_EVENT_KIND_ERROR)
        error_log_note(&w->errors, id, &subject, count, a, text, now_mono_ns);
}

void wrk_note(wrk_channel_t *ch, shm_event_id_t id, uint64_t count, int64_t a, int64_t b, int64_t c,
              int64_t now_mono_ns)
{
    worker_note(ch->worker, ch, id, count, a, b, c, NULL, now_mono_ns);
}

void wrk_note_error(wrk_channel_t *ch, shm_event_id_t id, int64_t a, int64_t c, const char *text,
                    int64_t now_mono_ns)
{
    worker_note(ch->worker, ch, id, 1, a, 0, c, text, now_mono_ns);
}

void wrk_kernel_drops_reset(wrk_channel_t *ch, uint64_t total)
{
    ch->drops_base = total;
    rt_store_relaxed(&ch->stats->drops_base, total);
}

/* A predecessor counted up to base + counter. The kernel's counter has 32 bits: a step backwards
 * means that this is another socket. */
void wrk_kernel_drops_resume(wrk_channel_t *ch, uint64_t total, int64_t now_mono_ns)
{
    if (rt_load_relaxed(&ch->segment.status->epoch) == 0) {
        wrk_kernel_drops_reset(ch, total);
        return;
    }
    uint64_t counted = rt_load_relaxed(&ch->stats->counters[SHM_COUNT_rx_kernel_drops]);
    uint64_t seen = rt_load_relaxed(&ch->stats->drops_base) + counted;
    int32_t more = (int32_t)((uint32_t)total - (uint32_t)seen);
    wrk_kernel_drops_reset(ch, total - counted - (more > 0 ? (uint32_t)more : 0));
    wrk_kernel_drops(ch, total, now_mono_ns);
}

void wrk_kernel_drops(wrk_channel_t *ch, uint64_t kernel_total, int64_t now_mono_ns)
{
    uint64_t total = kernel_total - ch->drops_base;
    uint64_t before = rt_load_relaxed(&ch->stats->counters[SHM_COUNT_rx_kernel_drops]);
    if (total == before)
        return;
    rt_store_relaxed(&ch->stats->counters[SHM_COUNT_rx_kernel_drops], total);
    if (total > before)
        wrk_note(ch, SHM_EVENT_kernel_drops, total - before, 0, 0, 0, now_mono_ns);
}

void wrk_lost_with_predecessor(wrk_channel_t *ch, uint64_t packets)
{
    if (packets == 0)
        return;
    wrk_count(ch, SHM_COUNT_rx_lost_takeover, packets);
    wrk_note(ch, SHM_EVENT_arrivals_lost, packets, 0, 0, 0, rt_mono_ns());
}

void wrk_socket_reopened(wrk_channel_t *ch, uint16_t port)
{
    if (rt_load_relaxed(&ch->segment.status->epoch) == 0)
        return;
    wrk_count(ch, SHM_COUNT_rx_sockets_reopened, 1);
    wrk_note(ch, SHM_EVENT_socket_reopened, 1, 0, 0, port, rt_mono_ns());
}

int64_t wrk_free_until_ns(const wrk_channel_t *ch)
{
    const worker_t *w = ch->worker;
    int64_t next = deadline_heap_next_besides_ns(&w->deadlines, &ch->deadline);
    return next > w->granted_until_mono_ns ? next : w->granted_until_mono_ns;
}

int64_t wrk_last_send_end_ns(const wrk_channel_t *ch)
{
    return ch->worker->last_send_end_mono_ns;
}

void wrk_note_send_end(wrk_channel_t *ch, int64_t end_mono_ns)
{
    ch->worker->last_send_end_mono_ns = end_mono_ns;
}

int64_t wrk_asleep_from_ns(const wrk_channel_t *ch)
{
    return ch->worker->idle.asleep_from_mono_ns;
}

int64_t wrk_woken_ns(const wrk_channel_t *ch)
{
    return ch->worker->idle.woken_mono_ns;
}

int64_t wrk_clock_shift_ns(const wrk_channel_t *ch)
{
    const clock_map_t *clocks = ch->worker->clocks;
    return clocks[ch->config.clock].offset_ns - clocks[RT_CLOCK_MONOTONIC].offset_ns;
}

clock_map_t *wrk_clock_map(wrk_channel_t *ch)
{
    return &ch->worker->clocks[ch->config.clock];
}

udp_rx_pool_t *wrk_rx_pool(wrk_channel_t *ch)
{
    return ch->worker->rx_pool;
}

bool wrk_is_ending(const wrk_channel_t *ch)
{
    return ch->jobs != NULL && ch->jobs->op == CTL_CLOSE;
}
