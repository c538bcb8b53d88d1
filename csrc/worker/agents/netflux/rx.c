/* rx.c: from the socket to the in box and the rx ring.
 *
 * Arrivals count by the kernel's timestamp. So a worker that was held up must read everything that
 * has come before it lets a watchdog expire. Otherwise it would blame the partner for its own
 * delay. At other times one batch a call is enough, as in the engine udp.
 *
 * Readers are woken after the send, not before it, because waking one takes a system call. */
#include "worker/agents/common/socket.h"
#include "worker/agents/netflux/netflux.h"

#include <string.h>

#define CATCH_UP_BATCHES 32 /* of 32 datagrams: a second of 1 ms cycles; a flood takes 1 ms */

_Static_assert(offsetof(netflux_record_t, values) == sizeof(shm_netflux_rx_t),
               "values follow the head of a record");
_Static_assert(SHM_NETFLUX_ALIVE == NFX_EVENT_ALIVE + 1 &&
                   SHM_NETFLUX_TIMEOUT == NFX_EVENT_TIMEOUT + 1 &&
                   SHM_NETFLUX_HEARD == NFX_EVENT_HEARD + 1 &&
                   SHM_NETFLUX_UNHEARD == NFX_EVENT_UNHEARD + 1 &&
                   SHM_NETFLUX_FRESH == NFX_EVENT_FRESH + 1 &&
                   SHM_NETFLUX_STALE == NFX_EVENT_STALE + 1,
               "kinds of records are in the order of the session's events");

/* --- records -------------------------------------------------------------------------------- */

static void put_record(wrk_channel_t *ch, rx_item_t *item, uint32_t values_bytes)
{
    netflux_agent_t *a = netflux_agent_of(ch);
    item->payload = &a->record;
    item->payload_bytes = (uint32_t)sizeof a->record.head + values_bytes;
    if (rx_writer_put(&ch->rx, item) < 0)
        wrk_count(ch, SHM_COUNT_rx_overwritten, 1);
    a->unpublished = true;
}

void netflux_agent_publish(wrk_channel_t *ch)
{
    netflux_agent_t *a = netflux_agent_of(ch);
    if (!a->unpublished)
        return;
    a->unpublished = false;
    wrk_rx_publish(ch);
}

static void publish_values(wrk_channel_t *ch, rx_item_t *item)
{
    netflux_agent_t *a = netflux_agent_of(ch);
    uint32_t bytes = a->config.rx_payload_bytes;
    a->record.head.payload_bytes = bytes;
    shm_netflux_publish(a->engine, &a->record.head, item->stamp, a->record.values, bytes);
    put_record(ch, item, bytes);
}

static void put_event(wrk_channel_t *ch, const nfx_event_t *event)
{
    netflux_agent_t *a = netflux_agent_of(ch);
    shm_netflux_rx_t *head = &a->record.head;
    rx_item_t item = {.time_ns = event->at_ns - wrk_clock_shift_ns(ch), .stamp = SHM_STAMP_USER};
    head->kind = (uint8_t)(event->kind + 1);
    head->at_mono_ns = event->at_ns;
    head->flags = 0;
    head->payload_bytes = 0;
    if (event->kind == NFX_EVENT_ALIVE)
        wrk_note(ch, SHM_EVENT_netflux_alive, 1, 0, 0, 0, event->at_ns);
    if (event->kind != NFX_EVENT_TIMEOUT) {
        put_record(ch, &item, 0);
        return;
    }
    wrk_note(ch, SHM_EVENT_netflux_timeout, 1, 0, 0, 0, event->at_ns);
    if (!(a->state.settings.flags & SHM_NETFLUX_KEEP_VALUES)) {
        head->flags = SHM_NETFLUX_VOID;
        memset(a->record.values, 0, a->config.rx_payload_bytes);
    }
    publish_values(ch, &item);
}

void netflux_agent_put_events(wrk_channel_t *ch)
{
    nfx_event_t event;
    while (nfx_session_next_event(&netflux_agent_of(ch)->session, &event))
        put_event(ch, &event);
}

/* --- arrivals ------------------------------------------------------------------------------- */

void netflux_agent_set_local(netflux_agent_t *a, const shm_addr_t *local)
{
    a->state.local = local != NULL ? *local : (shm_addr_t){.family = 0};
    agent_addr_in(&a->local, &a->state.local);
}

/* The partner expects values from where it sends its own to. */
static void note_local(netflux_agent_t *a, const rx_item_t *item)
{
    if (item->local.family == 0 || memcmp(&item->local, &a->state.local, sizeof item->local) == 0)
        return;
    udp_addr_t source;
    agent_addr_in(&source, &item->source);
    if (!udp_addr_equal(&source, &a->remote))
        return;
    netflux_agent_set_local(a, &item->local);
    shm_netflux_state_put(a->engine, &a->state);
}

bool netflux_agent_arrived(wrk_channel_t *ch, const rx_item_t *item, int64_t now_mono_ns)
{
    netflux_agent_t *a = netflux_agent_of(ch);
    nfx_frame_t frame;
    int64_t arrival_ns = item->time_ns + wrk_clock_shift_ns(ch);
    nfx_verdict_t verdict = nfx_session_receive(&a->session, item->payload, item->payload_bytes,
                                                arrival_ns, now_mono_ns, &frame);
    netflux_agent_put_events(ch); /* the resulting changes come before its values */
    if (verdict < 0)
        return true;
    note_local(a, item);
    rx_item_t values = *item;
    bool oversize = item->payload_bytes > NFX_HEADER_BYTES + frame.payload_bytes;
    a->record.head.kind = SHM_NETFLUX_VALUES;
    a->record.head.flags = (uint8_t)((verdict == NFX_FIRST ? SHM_NETFLUX_FIRST : 0) |
                                     (oversize ? SHM_NETFLUX_OVERSIZE : 0));
    a->record.head.number = frame.number;
    a->record.head.feedback = frame.feedback;
    a->record.head.at_mono_ns = a->session.last_arrival_ns;
    memcpy(a->record.values, frame.payload, frame.payload_bytes);
    publish_values(ch, &values);
    rx_writer_show(&ch->rx); /* from here on its number is known as taken */
    return true;
}

static void measure(wrk_channel_t *ch, const udp_rx_t *in, unsigned count)
{
    int64_t now = rt_mono_ns() - wrk_clock_shift_ns(ch);
    for (unsigned i = 0; i < count; i++)
        wrk_hist(ch, SHM_HIST_rx_delivery, now - in[i].time_ns);
}

void netflux_agent_rx_open(wrk_channel_t *ch)
{
    netflux_agent_t *a = netflux_agent_of(ch);
    a->receiver = (agent_receiver_t){
        .udp = &a->udp,
        .path = &a->path,
        .deliver = netflux_agent_arrived,
        .delivered = measure,
        .filters = !a->config.any_source,
    };
}

/* whole: even if other channels are due. */
static void receive_batch(wrk_channel_t *ch, bool whole, int64_t now_mono_ns)
{
    netflux_agent_t *a = netflux_agent_of(ch);
    agent_receiver_t *r = &a->receiver;
    r->filtered = 0;
    unsigned fit = agent_intake_begin(&r->intake, ch, AGENT_BATCH);
    (void)agent_receive(ch, r, whole ? AGENT_BATCH : fit);
    nfx_session_foreign(&a->session, r->filtered);
    wrk_kernel_drops(ch, a->udp.kernel_drops, now_mono_ns);
    agent_intake_end(&r->intake, a->udp.rx_messages);
}

static bool watchdog_waits(const netflux_agent_t *a, int64_t now_mono_ns)
{
    return a->session.alive_until_ns <= now_mono_ns || a->session.heard_until_ns <= now_mono_ns;
}

void netflux_agent_receive(wrk_channel_t *ch, int64_t now_mono_ns)
{
    netflux_agent_t *a = netflux_agent_of(ch);
    if (!a->receives || ch->held || ch->failed)
        return;
    receive_batch(ch, false, now_mono_ns);
    /* After a stall all other channels are overdue, and would allow one message at a time. */
    for (int i = 1; i < CATCH_UP_BATCHES && a->udp.rx_more && watchdog_waits(a, now_mono_ns); i++)
        receive_batch(ch, true, now_mono_ns);
}
