/* rx.c: from the socket to the rx ring.
 *
 * The jitter buffer computes in CLOCK_MONOTONIC. Arrival stamps are converted on the way in,
 * playout times on the way out.
 *
 * A successor begins with an empty buffer and an unknown source: the packets that its predecessor
 * held are lost, and a resync precedes the first frame. */
#include "worker/agents/common/socket.h"
#include "worker/agents/rtp/rtp.h"

#include "base/rt_err.h"

#include <errno.h>
#include <string.h>

#define LEAST_ENTRIES 4u /* of rtp_jitter_buffer_init */
#define LEAST_FRAMES 64u
#define MOST_FRAMES 4096u
#define SPARE_FRAMES 16u
#define SPARE_SLOTS 2u /* one for the packet that comes in, and one whose place is in doubt */
#define SEQ_CYCLE UINT64_C(65536)
#define FIRST_DYNAMIC_TYPE 96u /* RFC 3551 */
#define EVENT_BYTES 4u

_Static_assert(offsetof(rtp_slot_t, body) == offsetof(rtp_slot_t, head) + sizeof(shm_rtp_rx_t),
               "head and body are contiguous");

/* --- open ---------------------------------------------------------------------------------- */

/* Enough for max_delay_ns if the remote's packets are as long as ours, plus a reserve. */
static uint32_t frames_wanted(const shm_rtp_config_t *c, const rtp_jitter_buffer_config_t *b)
{
    if (c->max_frames != 0)
        return c->max_frames > LEAST_ENTRIES ? c->max_frames : LEAST_ENTRIES;
    int64_t step_ns = rtp_units_to_ns(c->samples_per_packet, c->clock_rate);
    int64_t frames = 2 * b->max_delay_ns / (step_ns > 0 ? step_ns : 1) + SPARE_FRAMES;
    if (frames < LEAST_FRAMES)
        return LEAST_FRAMES;
    return frames < MOST_FRAMES ? (uint32_t)frames : MOST_FRAMES;
}

static rtp_jitter_buffer_config_t buffer_config(const shm_rtp_config_t *c)
{
    return (rtp_jitter_buffer_config_t){
        .clock_rate = c->clock_rate,
        .mode = c->delivery == SHM_RTP_IN_ORDER ? RTP_JITTER_BUFFER_IN_ORDER
                                                : RTP_JITTER_BUFFER_DEADLINE,
        .percentile = c->percentile,
        .min_delay_ns = c->min_delay_ns,
        .max_delay_ns = c->max_delay_ns,
        .first_delay_ns = c->first_delay_ns,
        .shrink_ns_per_s = c->shrink_ns_per_s,
        .conceal_ns = c->conceal_ns,
        .resync_ns = c->resync_ns,
    };
}

static int make_store(wrk_channel_t *ch, rtp_receiver_t *r, uint32_t frames)
{
    uint32_t slots = frames + SPARE_SLOTS;
    r->room = ch->config.max_payload_bytes - (uint32_t)sizeof(shm_rtp_rx_t);
    r->slot_bytes = ((uint32_t)sizeof(rtp_slot_t) + r->room + 7u) & ~7u;
    r->entries = wrk_take_memory(ch, frames * sizeof *r->entries);
    r->free_slots = r->entries ? wrk_take_memory(ch, slots * sizeof *r->free_slots) : NULL;
    r->store = r->free_slots ? wrk_take_memory(ch, (uint64_t)slots * r->slot_bytes) : NULL;
    if (r->store == NULL) {
        rt_err_append("a jitter buffer of %u frames of %u bytes (max_frames, max_payload)", frames,
                      r->slot_bytes);
        return -ENOMEM;
    }
    while (r->free_count < slots) {
        r->free_slots[r->free_count] = r->free_count;
        r->free_count++;
    }
    return 0;
}

static int make_buffer(wrk_channel_t *ch, rtp_receiver_t *r, const shm_rtp_config_t *c)
{
    rtp_jitter_buffer_config_t config = buffer_config(c);
    rtp_jitter_buffer_entry_t few[LEAST_ENTRIES];
    int rc =
        rtp_jitter_buffer_init(&r->buffer, &config, few, LEAST_ENTRIES); /* fills in the defaults */
    if (rc < 0)
        return rc;
    uint32_t frames = r->buffered ? frames_wanted(c, &r->buffer.config) : LEAST_ENTRIES;
    rc = make_store(ch, r, frames);
    return rc ? rc : rtp_jitter_buffer_init(&r->buffer, &config, r->entries, frames);
}

static rtp_source_config_t source_config(const shm_rtp_config_t *c)
{
    return (rtp_source_config_t){
        .clock_rate = c->clock_rate,
        .min_sequential = c->min_sequential,
        .max_dropout = c->max_dropout,
        .max_misorder = c->max_misorder,
        .ssrc_fixed = (c->flags & SHM_RTP_FIXED_SOURCE) != 0,
        .ssrc = c->expected_ssrc,
        .switch_silence_ns = c->switch_silence_ns,
    };
}

/* After a takeover: the content of the dead worker's jitter buffer is lost. */
static void lose_buffered(wrk_channel_t *ch)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    int64_t held = rt_load_relaxed(&a->state->gauges[SHM_RTP_GAUGE_depth]);
    if (held > 0 && held <= UINT32_MAX)
        wrk_lost_with_predecessor(ch, (uint64_t)held);
    rtp_agent_gauge(a, SHM_RTP_GAUGE_depth, 0);
}

static void publish(wrk_channel_t *ch, const udp_rx_t *in, unsigned count)
{
    (void)in;
    (void)count;
    rtp_agent_publish_stats(ch); /* the content of the buffer is reported as its depth */
    if (rtp_agent_of(ch)->rx.on && !rtp_agent_of(ch)->rx.buffered)
        wrk_rx_publish(ch);
}

static void open_receiver(wrk_channel_t *ch)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    a->rx.receiver = (agent_receiver_t){
        .udp = &a->udp,
        .path = &a->path,
        .deliver = rtp_agent_arrived,
        .delivered = publish,
    };
    if (a->rx.on)
        agent_receiver_filter(&a->rx.receiver, &ch->config);
}

int rtp_agent_rx_open(wrk_channel_t *ch)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    rtp_receiver_t *r = &a->rx;
    r->on = (ch->config.direction & SHM_RX) != 0;
    open_receiver(ch);
    if (!r->on)
        return 0;
    r->buffered = a->config.delivery != SHM_RTP_AS_ARRIVED;
    lose_buffered(ch);
    rtp_source_config_t source = source_config(&a->config);
    rtp_source_init(&r->source, &source);
    int rc = make_buffer(ch, r, &a->config);
    rc = rc ? rc
            : probation_init(&r->probation, ch, r->source.config.min_sequential,
                             RTP_HEADER_BYTES + r->room);
    r->resync_first = ch->rx.sequence > 0;
    wrk_kernel_drops_resume(ch, udp_drops_refresh(&a->udp), rt_mono_ns());
    return rc;
}

/* --- slots --------------------------------------------------------------------------------- */

static rtp_slot_t *slot_at(const rtp_receiver_t *r, uint64_t number)
{
    return (rtp_slot_t *)(void *)(r->store + number * r->slot_bytes);
}

static void free_slot(rtp_receiver_t *r, uint64_t number)
{
    r->free_slots[r->free_count++] = (uint32_t)number;
}

/* Copies what readers get. Returns false if not even the lists before the media fit. */
static bool fill_slot(wrk_channel_t *ch, rtp_slot_t *s, const rx_item_t *item, const rtp_view_t *v)
{
    uint32_t room = rtp_agent_of(ch)->rx.room;
    uint32_t csrc = 4u * v->csrc_count;
    uint32_t before = csrc + v->ext_bytes;
    if (before > room)
        return false;
    uint32_t media = v->payload_bytes < room - before ? v->payload_bytes : room - before;
    *s = (rtp_slot_t){
        .source = item->source,
        .local = item->local,
        .time_ns = item->time_ns,
        .stamp = item->stamp,
        .flags = item->flags,
        .tos = item->tos,
        .bytes = before + media,
        .head =
            {
                .kind = SHM_RTP_GOT_FRAME,
                .marker = v->marker,
                .payload_type = v->payload_type,
                .ssrc = v->ssrc,
                .ts = v->ts,
                .frames = 1,
                .extension_profile = v->ext_profile,
                .extension_bytes = (uint16_t)v->ext_bytes,
                .csrc_count = v->csrc_count,
            },
    };
    memcpy(s->body, v->data + RTP_HEADER_BYTES, csrc);
    memcpy(s->body + csrc, v->data + v->ext_offset, v->ext_bytes);
    memcpy(s->body + before, rtp_view_payload(v), media);
    if (media < v->payload_bytes)
        s->flags |= SHM_RX_TRUNCATED;
    if (s->flags & SHM_RX_TRUNCATED)
        wrk_count(ch, SHM_COUNT_rx_truncated, 1);
    return true;
}

/* --- into the ring ------------------------------------------------------------------------- */

static int64_t to_channel(const wrk_channel_t *ch, int64_t mono_ns)
{
    return mono_ns - wrk_clock_shift_ns(ch);
}

static void put(wrk_channel_t *ch, const shm_rtp_rx_t *head, uint32_t bytes, const rx_item_t *how)
{
    rx_item_t item = *how;
    item.payload = head;
    item.payload_bytes = (uint32_t)sizeof *head + bytes;
    if (rx_writer_put(&ch->rx, &item) < 0)
        wrk_count(ch, SHM_COUNT_rx_overwritten, 1);
}

/* A record without a packet, not yet published. */
static void put_event(wrk_channel_t *ch, const shm_rtp_rx_t *head, int64_t now_mono_ns)
{
    rx_item_t how = {
        .source = rtp_agent_of(ch)->rx.from,
        .local = rtp_agent_of(ch)->rx.came_to,
        .time_ns = to_channel(ch, now_mono_ns),
        .stamp = SHM_STAMP_NONE,
    };
    put(ch, head, 0, &how);
}

static void put_frame(wrk_channel_t *ch, rtp_slot_t *s, uint64_t seq, int64_t due_ns,
                      int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    rtp_receiver_t *r = &a->rx;
    rx_item_t how = {.source = s->source,
                     .local = s->local,
                     .time_ns = s->time_ns,
                     .stamp = s->stamp,
                     .flags = s->flags,
                     .tos = s->tos};
    s->head.seq = seq;
    s->head.due_ns = due_ns;
    if (r->new_source)
        s->head.flags |= SHM_RTP_NEW_SOURCE;
    r->new_source = false;
    r->ssrc = s->head.ssrc;
    r->from = s->source;
    r->came_to = s->local;
    put(ch, &s->head, s->bytes, &how);
    wrk_hist(ch, SHM_HIST_rx_delivery, to_channel(ch, now_mono_ns) - s->time_ns);
}

static void put_resync(wrk_channel_t *ch, const shm_rtp_rx_t *like, int64_t now_mono_ns)
{
    rtp_receiver_t *r = &rtp_agent_of(ch)->rx;
    shm_rtp_rx_t head = *like;
    head.kind = SHM_RTP_GOT_RESYNC;
    head.flags = r->resync_flags;
    r->new_source = (r->resync_flags & SHM_RTP_NEW_SOURCE) != 0;
    r->resync_flags = 0;
    r->resync_first = false;
    put_event(ch, &head, now_mono_ns);
}

/* --- out of the jitter buffer -------------------------------------------------------------- */

static void give_frame(wrk_channel_t *ch, const rtp_jitter_buffer_event_t *e, int64_t now_mono_ns)
{
    rtp_receiver_t *r = &rtp_agent_of(ch)->rx;
    rtp_slot_t *s = slot_at(r, e->item);
    int64_t due_ns = to_channel(ch, e->due_ns);
    if (r->resync_first && !(s->head.flags & SHM_RTP_EVENT)) {
        shm_rtp_rx_t head = {.ssrc = s->head.ssrc, .seq = e->seq, .ts = e->ts, .due_ns = due_ns};
        put_resync(ch, &head, now_mono_ns);
    }
    put_frame(ch, s, e->seq, due_ns, now_mono_ns);
    free_slot(r, e->item);
}

static void give(wrk_channel_t *ch, const rtp_jitter_buffer_event_t *e, int64_t now_mono_ns)
{
    rtp_receiver_t *r = &rtp_agent_of(ch)->rx;
    shm_rtp_rx_t head = {
        .kind = SHM_RTP_GOT_ERASURE,
        .flags = e->frames == 0 ? SHM_RTP_DRY : 0,
        .ssrc = r->ssrc,
        .seq = e->seq,
        .ts = e->ts,
        .ts_span = e->ts_span,
        .frames = e->frames,
        .due_ns = to_channel(ch, e->due_ns),
    };
    if (e->kind == RTP_JITTER_BUFFER_FRAME) {
        give_frame(ch, e, now_mono_ns);
    } else if (e->kind == RTP_JITTER_BUFFER_RESYNC) {
        head.ssrc = r->source.current.ssrc;
        put_resync(ch, &head, now_mono_ns);
    } else {
        put_event(ch, &head, now_mono_ns);
    }
}

static void put_bye(wrk_channel_t *ch)
{
    rtp_receiver_t *r = &rtp_agent_of(ch)->rx;
    shm_rtp_rx_t head = {
        .kind = SHM_RTP_GOT_BYE,
        .ssrc = r->bye_ssrc,
        .seq = r->bye_seq,
        .due_ns = to_channel(ch, r->bye_mono_ns),
    };
    r->bye_waits = false;
    put_event(ch, &head, r->bye_mono_ns);
}

void rtp_agent_source_left(wrk_channel_t *ch, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    rtp_receiver_t *r = &a->rx;
    r->bye_ssrc = r->source.current.ssrc;
    r->bye_seq = r->buffered ? r->buffer.top_seq : r->raw_top;
    r->bye_mono_ns = now_mono_ns;
    r->bye_waits = r->buffered && rtp_jitter_buffer_held(&r->buffer) > 0;
    rtp_agent_gauge(a, SHM_RTP_GAUGE_bye_mono_ns, now_mono_ns);
    if (r->bye_waits)
        return;
    put_bye(ch);
    wrk_rx_publish(ch);
}

void rtp_agent_play(wrk_channel_t *ch, int64_t now_mono_ns)
{
    rtp_receiver_t *r = &rtp_agent_of(ch)->rx;
    rtp_jitter_buffer_event_t event;
    bool any = false;
    if (!r->on || !r->buffered)
        return;
    while (rtp_jitter_buffer_next(&r->buffer, now_mono_ns, &event)) {
        if (r->bye_waits && event.seq > r->bye_seq)
            put_bye(ch);
        give(ch, &event, now_mono_ns);
        any = true;
    }
    if (!any)
        return;
    if (r->bye_waits && rtp_jitter_buffer_held(&r->buffer) == 0)
        put_bye(ch);
    rtp_agent_note_played(rtp_agent_of(ch));
    rtp_agent_publish_stats(ch); /* first: a reader that gets a frame finds it counted */
    wrk_rx_publish(ch);
}

int64_t rtp_agent_rx_deadline_ns(const wrk_channel_t *ch)
{
    const rtp_receiver_t *r = &rtp_agent_of(ch)->rx;
    return r->on && r->buffered ? rtp_jitter_buffer_deadline_ns(&r->buffer) : RT_NEVER_NS;
}

/* --- arrivals ------------------------------------------------------------------------------ */

/* Whether a packet carries no media frame. Types that nobody named tell by their size: an event
 * (RFC 4733) has 4 bytes. */
static bool is_event(const shm_rtp_config_t *c, const rtp_view_t *v)
{
    if (c->flags & SHM_RTP_EVENT_TYPES)
        return c->event_types[v->payload_type / 64] >> (v->payload_type % 64) & 1;
    return v->payload_type >= FIRST_DYNAMIC_TYPE && v->payload_type != c->payload_type &&
           v->payload_bytes == EVENT_BYTES;
}

static uint8_t flags_of(const wrk_channel_t *ch, const rtp_view_t *v, bool recovered)
{
    return (recovered ? SHM_RTP_RECOVERED : 0) |
           (is_event(&rtp_agent_of(ch)->config, v) ? SHM_RTP_EVENT : 0);
}

static void into_buffer(wrk_channel_t *ch, const rx_item_t *item, const rtp_view_t *v,
                        int64_t arrival_mono_ns, bool recovered)
{
    rtp_receiver_t *r = &rtp_agent_of(ch)->rx;
    uint32_t number = r->free_slots[r->free_count - 1];
    if (!fill_slot(ch, slot_at(r, number), item, v)) {
        wrk_count(ch, SHM_COUNT_rx_truncated, 1);
        return;
    }
    r->free_count--;
    uint8_t flags = flags_of(ch, v, recovered);
    slot_at(r, number)->head.flags = flags;
    rtp_jitter_buffer_in_t in = {
        .item = number,
        .arrival_ns = arrival_mono_ns,
        .ts = v->ts,
        .seq = v->seq,
        .flags = (uint16_t)((recovered ? RTP_JITTER_BUFFER_NO_TIMING : 0) |
                            (flags & SHM_RTP_EVENT ? RTP_JITTER_BUFFER_SIGNAL : 0)),
    };
    rtp_jitter_buffer_dropped_t dropped;
    rtp_jitter_buffer_in(&r->buffer, &in, &dropped);
    for (unsigned i = 0; i < dropped.count; i++)
        free_slot(r, dropped.entry[i].item);
}

/* Without a buffer: one slot is enough. */
static void as_arrived(wrk_channel_t *ch, const rx_item_t *item, const rtp_view_t *v, uint64_t seq,
                       bool recovered, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    rtp_receiver_t *r = &a->rx;
    rtp_slot_t *s = slot_at(r, 0);
    if (!fill_slot(ch, s, item, v)) {
        wrk_count(ch, SHM_COUNT_rx_truncated, 1);
        return;
    }
    if (r->resync_flags != 0)
        r->raw_offset = (r->raw_top / SEQ_CYCLE + 1) * SEQ_CYCLE;
    seq += r->raw_offset;
    r->raw_top = seq > r->raw_top ? seq : r->raw_top;
    if (r->resync_flags != 0 || r->resync_first) {
        shm_rtp_rx_t head = {.ssrc = v->ssrc, .seq = seq, .ts = v->ts, .due_ns = item->time_ns};
        rtp_agent_count(a, SHM_RTP_COUNT_resyncs, r->resync_flags != 0);
        put_resync(ch, &head, now_mono_ns);
    }
    s->head.flags = flags_of(ch, v, recovered);
    put_frame(ch, s, seq, item->time_ns, now_mono_ns);
    rtp_agent_count(a, SHM_RTP_COUNT_delivered, 1);
}

/* RFC 3551 table 5: 72 to 76 are RTCP's; on a port shared with it 64 to 95 (RFC 5761 section 4). */
static bool type_is_media(const rtp_agent_t *a, unsigned type)
{
    if (a->config.rtcp == SHM_RTP_RTCP_MUX)
        return type < 64 || type > 95;
    return type < 72 || type > 76;
}

static void note_verdict(rtp_receiver_t *r, rtp_verdict_t verdict)
{
    if (verdict == RTP_SOURCE_RESTARTED)
        r->resync_flags |= SHM_RTP_RESTARTED;
    else if (verdict == RTP_SOURCE_CHANGED)
        r->resync_flags |= SHM_RTP_NEW_SOURCE;
    else
        return;
    rtp_jitter_buffer_restart(&r->buffer);
}

static void deliver(wrk_channel_t *ch, const rx_item_t *item, const rtp_view_t *v, uint64_t seq,
                    bool recovered, int64_t now_mono_ns)
{
    if (rtp_agent_of(ch)->rx.buffered)
        into_buffer(ch, item, v, item->time_ns + wrk_clock_shift_ns(ch), recovered);
    else
        as_arrived(ch, item, v, seq, recovered, now_mono_ns);
}

/* v, which is packet seq, validated its source. */
static void deliver_from_probation(wrk_channel_t *ch, const rx_item_t *item, const rtp_view_t *v,
                                   uint64_t seq, int64_t now_mono_ns)
{
    rtp_receiver_t *r = &rtp_agent_of(ch)->rx;
    unsigned count = probation_end(&r->probation, v, item->time_ns);
    rtp_source_count_earlier(&r->source, count);
    for (unsigned i = 0; i < count; i++) {
        const rx_item_t *kept = &r->probation.items[i];
        rtp_view_t view;
        if (rtp_packet_parse(kept->payload, kept->payload_bytes, &view) == RTP_PARSE_OK)
            deliver(ch, kept, &view, seq - count + i, false, now_mono_ns);
    }
}

/* The remote expects our packets from where it sends its own to. It may send from another port. */
static void note_asked(rtp_agent_t *a, const rx_item_t *item)
{
    if (item->local.family == 0 || memcmp(&item->local, &a->asked, sizeof item->local) == 0)
        return;
    udp_addr_t from;
    agent_addr_in(&from, &item->source);
    udp_addr_set_port(&from, udp_addr_port(&a->udp.remote));
    if (udp_addr_equal(&from, &a->udp.remote))
        rtp_agent_set_asked(a, &item->local);
}

static void on_media(wrk_channel_t *ch, const rx_item_t *item, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    rtp_receiver_t *r = &a->rx;
    rtp_view_t view;
    if (rtp_packet_parse(item->payload, item->payload_bytes, &view) != RTP_PARSE_OK) {
        rtp_agent_count(a, SHM_RTP_COUNT_malformed, 1);
        return;
    }
    rtp_agent_count(a, SHM_RTP_COUNT_received, 1);
    if (!type_is_media(a, view.payload_type)) {
        rtp_agent_count(a, SHM_RTP_COUNT_unexpected_pt, 1);
        return;
    }
    int64_t arrival = item->time_ns + wrk_clock_shift_ns(ch);
    uint64_t seq = 0;
    rtp_verdict_t verdict = rtp_source_packet(&r->source, &view, arrival, &seq);
    if (verdict == RTP_SOURCE_PROBATION)
        probation_keep(&r->probation, item, &view);
    if (verdict < 0)
        return;
    note_verdict(r, verdict);
    note_asked(a, item);
    bool recovered = rtp_agent_note_valid(a, verdict, view.ssrc, seq, now_mono_ns);
    if (verdict == RTP_SOURCE_STARTED || verdict == RTP_SOURCE_CHANGED)
        deliver_from_probation(ch, item, &view, seq, now_mono_ns);
    deliver(ch, item, &view, seq, recovered, now_mono_ns);
}

bool rtp_agent_arrived(wrk_channel_t *ch, const rx_item_t *item, int64_t now_mono_ns)
{
    const rtp_agent_t *a = rtp_agent_of(ch);
    if (a->control.mux && rtcp_is_rtcp(item->payload, item->payload_bytes)) {
        if (rtp_agent_on_rtcp(ch, item, now_mono_ns))
            rtp_agent_source_left(ch, now_mono_ns);
    } else if (a->rx.on) {
        on_media(ch, item, now_mono_ns);
    }
    return true;
}

/* --- socket -------------------------------------------------------------------------------- */

void rtp_agent_receive(wrk_channel_t *ch, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    agent_receiver_t *r = &a->rx.receiver;
    if (!rtp_agent_listens(ch))
        return;
    (void)agent_receive(ch, r, agent_intake_begin(&r->intake, ch, AGENT_BATCH));
    wrk_kernel_drops(ch, a->udp.kernel_drops, now_mono_ns);
    if (a->rx.buffered)
        rtp_agent_play(ch, now_mono_ns);
    agent_intake_end(&r->intake, a->udp.rx_messages);
}

/* --- statistics ---------------------------------------------------------------------------- */

static void publish_source(rtp_agent_t *a)
{
    const rtp_source_t *s = &a->rx.source;
    const rtp_source_counters_t *c = &s->counters;
    rtp_agent_publish_counter(a, SHM_RTP_COUNT_valid, c->valid);
    rtp_agent_publish_counter(a, SHM_RTP_COUNT_on_probation, c->on_probation);
    rtp_agent_publish_counter(a, SHM_RTP_COUNT_foreign, c->foreign);
    rtp_agent_publish_counter(a, SHM_RTP_COUNT_jumps, c->jumps);
    rtp_agent_publish_counter(a, SHM_RTP_COUNT_restarts, c->restarts);
    rtp_agent_publish_counter(a, SHM_RTP_COUNT_source_changes, c->changes);
    bool proved = rtp_source_is_proved(s);
    rtp_agent_gauge(a, SHM_RTP_GAUGE_remote_ssrc, proved ? (int64_t)s->current.ssrc : -1);
    rtp_agent_gauge(a, SHM_RTP_GAUGE_highest_seq,
                    proved ? (int64_t)(s->current.max - SEQ_CYCLE) : 0);
    rtp_agent_gauge(a, SHM_RTP_GAUGE_cumulative_lost, rtp_source_lost(s));
    rtp_agent_gauge(a, SHM_RTP_GAUGE_jitter_units, rtp_jitter_units(&s->jitter));
    rtp_agent_gauge(a, SHM_RTP_GAUGE_jitter_ns, rtp_jitter_ns(&s->jitter));
}

static void publish_buffer(wrk_channel_t *ch)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    const rtp_jitter_buffer_t *b = &a->rx.buffer;
    const rtp_jitter_buffer_counters_t *c = &b->counters;
    if (c->late > a->published[SHM_RTP_COUNT_late])
        wrk_note(ch, SHM_EVENT_rtp_late, c->late - a->published[SHM_RTP_COUNT_late], 0, 0, 0,
                 rt_mono_ns());
    rtp_agent_publish_counter(a, SHM_RTP_COUNT_delivered, c->delivered);
    rtp_agent_publish_counter(a, SHM_RTP_COUNT_lost, c->lost);
    rtp_agent_publish_counter(a, SHM_RTP_COUNT_late, c->late);
    rtp_agent_publish_counter(a, SHM_RTP_COUNT_duplicates, c->duplicates);
    rtp_agent_publish_counter(a, SHM_RTP_COUNT_overflow, c->overflow);
    rtp_agent_publish_counter(a, SHM_RTP_COUNT_discarded, c->discarded);
    rtp_agent_publish_counter(a, SHM_RTP_COUNT_erasures, c->erasures);
    rtp_agent_publish_counter(a, SHM_RTP_COUNT_concealed_ns, c->concealed_ns);
    rtp_agent_publish_counter(a, SHM_RTP_COUNT_pause_ns, c->pause_ns);
    rtp_agent_publish_counter(a, SHM_RTP_COUNT_resyncs, c->resyncs);
    rtp_agent_gauge(a, SHM_RTP_GAUGE_delay_ns, rtp_jitter_buffer_delay_ns(b));
    rtp_agent_gauge(a, SHM_RTP_GAUGE_target_ns, rtp_jitter_buffer_target_ns(b));
    rtp_agent_gauge(a, SHM_RTP_GAUGE_depth, rtp_jitter_buffer_held(b));
    rtp_agent_gauge(a, SHM_RTP_GAUGE_skew_ppb, (int64_t)(rtp_jitter_buffer_skew_ppm(b) * 1000));
}

void rtp_agent_publish_stats(wrk_channel_t *ch)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    rtp_agent_rtcp_publish_stats(a);
    if (!a->rx.on)
        return;
    publish_source(a);
    if (a->rx.buffered)
        publish_buffer(ch);
}

void rtp_agent_rx_reset(wrk_channel_t *ch)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    if (a->rx.on)
        wrk_kernel_drops_reset(ch, udp_drops_refresh(&a->udp));
}

void rtp_agent_rx_refresh(wrk_channel_t *ch)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    if (a->rx.on)
        wrk_kernel_drops(ch, udp_drops_refresh(&a->udp), rt_mono_ns());
    rtp_agent_publish_stats(ch);
}
