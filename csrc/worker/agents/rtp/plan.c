#include "worker/agents/rtp/plan.h"

#include "base/rt_seq.h"
#include "proto/rtp/rtp_packet.h"

#include <errno.h>
#include <string.h>

#define DAY_S UINT64_C(86400)
#define SECONDS_PER_YEAR (365 * 86400)
/* A record is not due later than this from now, so that nothing computed from a position overflows
 * at any clock rate. */
#define LONGEST_WAIT_NS (10 * SECONDS_PER_YEAR * RT_NS_PER_S)
#define LONGEST_STREAM_S (60 * (uint64_t)SECONDS_PER_YEAR)
#define EXTENSION_HEAD_BYTES 4u
#define EXTENSION_BIT 0x10u
#define MARKER_BIT 0x80u
/* On a port shared with RTCP these payload types would be mistaken
 * for RTCP (RFC 5761 section 4). */
#define LEAST_RTCP_TYPE 64u
#define MOST_RTCP_TYPE 95u

void rtp_plan_init(rtp_plan_t *p, const shm_rtp_config_t *config)
{
    rtp_stream_config_t stream = {
        .clock_rate = config->clock_rate,
        .samples_per_packet = config->samples_per_packet,
        .ssrc = config->ssrc,
        .first_ts = config->first_ts,
        .first_seq = config->first_seq,
        .payload_type = config->payload_type,
        .no_marker = (config->flags & SHM_RTP_NO_MARKER) != 0,
    };
    *p = (rtp_plan_t){.config = config, .block_sequence = UINT64_MAX};
    rtp_stream_init(&p->stream, &stream);
}

/* --- takeover ------------------------------------------------------------------------------ */

void rtp_plan_save(const rtp_plan_t *p, shm_rtp_sender_t *out)
{
    bool in_block = p->has_record && p->done > 0 && p->done < p->bytes;
    *out = (shm_rtp_sender_t){
        .origin_ns = p->stream.origin_ns,
        .position = p->stream.position,
        .packets = p->stream.packets,
        .octets = p->stream.octets,
        .block_sequence = in_block ? p->item.sequence : UINT64_MAX,
        .block_bytes = in_block ? p->done : 0,
        .seq = p->stream.seq,
        .marker = p->stream.marker,
        .paused = p->paused,
    };
}

static bool is_sound(const rtp_plan_t *p, const shm_rtp_sender_t *in)
{
    return in->origin_ns > 0 && in->origin_ns <= INT64_MAX / 2 &&
           in->position / p->config->clock_rate < LONGEST_STREAM_S;
}

void rtp_plan_restore(rtp_plan_t *p, const shm_rtp_sender_t *in)
{
    p->stream.seq = in->seq;
    p->stream.packets = in->packets;
    p->stream.octets = in->octets;
    if (in->origin_ns == RT_NEVER_NS || !is_sound(p, in))
        return;
    p->stream.origin_ns = in->origin_ns;
    p->stream.position = in->position;
    p->stream.marker = in->marker != 0;
    p->paused = in->paused != 0;
    p->block_sequence = in->block_sequence;
    p->block_bytes = in->block_bytes;
}

/* --- reading ------------------------------------------------------------------------------- */

static uint32_t most_samples(const rtp_plan_t *p)
{
    uint64_t day = DAY_S * p->config->clock_rate;
    return day < UINT32_MAX ? (uint32_t)day : UINT32_MAX;
}

static bool type_is_usable(const rtp_plan_t *p, unsigned type)
{
    if (type == SHM_RTP_DEFAULT_PT)
        return true;
    bool like_rtcp = type >= LEAST_RTCP_TYPE && type <= MOST_RTCP_TYPE;
    return type <= 127 && !(like_rtcp && p->config->rtcp == SHM_RTP_RTCP_MUX);
}

static bool head_is_sound(const rtp_plan_t *p, const shm_rtp_tx_t *h)
{
    return h->what <= SHM_RTP_BYE && h->marker <= SHM_RTP_MARKER_CLEAR &&
           (h->flags & ~SHM_RTP_TX_FLAGS) == 0 && h->samples <= most_samples(p) &&
           type_is_usable(p, h->payload_type);
}

/* Length of the header extension at the beginning of a frame. UINT32_MAX: it is incomplete. */
static uint32_t extension_bytes(const uint8_t *media, uint32_t bytes)
{
    if (bytes < EXTENSION_HEAD_BYTES)
        return UINT32_MAX;
    uint32_t whole = EXTENSION_HEAD_BYTES + 4u * rt_get16(media + 2);
    return whole <= bytes ? whole : UINT32_MAX;
}

static int begin_frame(rtp_plan_t *p)
{
    p->extension_bytes = 0;
    if (p->head.flags & SHM_RTP_EXTENSION)
        p->extension_bytes = extension_bytes(p->media, p->bytes);
    if (p->extension_bytes == UINT32_MAX)
        return -EBADMSG;
    p->has_record = true;
    return SHM_RTP_FRAME;
}

static int begin_block(rtp_plan_t *p)
{
    if (p->head.bytes_per_packet == 0)
        p->head.bytes_per_packet = p->config->bytes_per_packet;
    if (p->head.bytes_per_packet == 0 || p->bytes == 0 || p->head.flags != 0 ||
        p->head.offset_ns != 0)
        return -EBADMSG;
    p->extension_bytes = 0;
    p->has_record = true;
    if (p->item.sequence == p->block_sequence && p->block_bytes < p->bytes)
        p->done = p->block_bytes;
    p->block_sequence = UINT64_MAX;
    return SHM_RTP_BLOCK;
}

int rtp_plan_read(rtp_plan_t *p, const tx_item_t *item)
{
    p->has_record = false;
    if (item->payload_bytes < sizeof p->head)
        return -EBADMSG;
    memcpy(&p->head, item->payload, sizeof p->head);
    if (!head_is_sound(p, &p->head))
        return -EBADMSG;
    p->item = *item;
    p->media = (uint8_t *)(uintptr_t)item->payload + sizeof p->head;
    p->bytes = item->payload_bytes - (uint32_t)sizeof p->head;
    p->done = 0;
    if (p->head.samples == 0 && p->head.what != SHM_RTP_PAUSE)
        p->head.samples = p->config->samples_per_packet;
    if (p->head.what == SHM_RTP_FRAME)
        return begin_frame(p);
    return p->head.what == SHM_RTP_BLOCK ? begin_block(p) : p->head.what;
}

/* --- placing ------------------------------------------------------------------------------- */

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* The earliest time, if it is plausible; 0: at any time. */
static int64_t wanted_ns(const rtp_plan_t *p, int64_t now_ns)
{
    int64_t due = p->item.due_ns;
    if (due == 0)
        return 0;
    int64_t most = now_ns + LONGEST_WAIT_NS;
    return due < 1 ? 1 : due < most ? due : most;
}

/* Starts a talk spurt at the first grid time at or after that time. */
static void begin_spurt(rtp_plan_t *p, int64_t not_before_ns)
{
    if (rtp_stream_resume(&p->stream, not_before_ns) > 0)
        return;
    p->stream.marker = !p->stream.config.no_marker;
    p->stream.spurts++;
}

static void remember(rtp_plan_t *p)
{
    p->before = (rtp_plan_before_t){
        .stream = p->stream,
        .counters = p->counters,
        .filled = p->filled,
        .paused = p->paused,
        .dry = p->dry,
    };
}

void rtp_plan_give_up(rtp_plan_t *p)
{
    const rtp_plan_before_t *b = &p->before;
    if (p->has_record && p->done == 0) {
        p->stream = b->stream;
        p->counters = b->counters;
        p->filled = b->filled;
        p->paused = b->paused;
        p->dry = b->dry;
    }
    p->has_record = false;
}

void rtp_plan_place(rtp_plan_t *p, int64_t enqueued_ns, int64_t now_ns, int64_t tolerance_ns)
{
    int64_t wanted = wanted_ns(p, now_ns);
    int64_t earliest = later(later(enqueued_ns + p->config->start_delay_ns, now_ns), wanted);
    int64_t due_ns = rtp_stream_due_ns(&p->stream);
    remember(p);
    if (p->same_time || p->done > 0)
        return;
    if (due_ns == RT_NEVER_NS) {
        rtp_stream_start(&p->stream, wanted != 0 ? wanted : earliest);
    } else if (p->paused) {
        begin_spurt(p, earliest);
    } else if (enqueued_ns - due_ns > tolerance_ns) {
        p->counters.underruns += !p->dry;
        if (p->config->underrun != SHM_RTP_CATCH_UP)
            (void)rtp_stream_resume(&p->stream, earliest);
    } else {
        (void)rtp_stream_resume(&p->stream, wanted);
    }
    p->paused = false;
    p->dry = false;
    p->filled = 0;
}

void rtp_plan_pause(rtp_plan_t *p, uint32_t samples, int64_t now_ns)
{
    p->paused = true;
    p->same_time = false;
    int64_t due_ns = rtp_stream_due_ns(&p->stream);
    if (due_ns == RT_NEVER_NS || due_ns >= now_ns + LONGEST_WAIT_NS)
        return;
    p->stream.position += samples;
    p->pause_samples += samples;
}

void rtp_plan_purge(rtp_plan_t *p)
{
    rtp_plan_give_up(p);
    p->stream.position -= p->pause_samples;
    p->pause_samples = 0;
}

void rtp_plan_resume(rtp_plan_t *p, int64_t now_ns)
{
    if (!p->has_record || !p->paused)
        return;
    begin_spurt(p, now_ns);
    p->paused = false;
}

/* --- packets ------------------------------------------------------------------------------- */

static uint32_t piece_bytes(const rtp_plan_t *p)
{
    uint32_t left = p->bytes - p->done;
    if (p->head.what == SHM_RTP_FRAME || left < p->head.bytes_per_packet)
        return left;
    return p->head.bytes_per_packet;
}

/* The last packet of a block may be shorter: its samples, rounded up. */
static uint32_t piece_samples(const rtp_plan_t *p, uint32_t bytes)
{
    if (p->head.what == SHM_RTP_FRAME || bytes == p->head.bytes_per_packet)
        return p->head.samples;
    uint64_t whole = p->head.bytes_per_packet;
    return (uint32_t)(((uint64_t)p->head.samples * bytes + whole - 1) / whole);
}

static void move_on(rtp_plan_t *p, uint32_t bytes)
{
    p->pause_samples = 0;
    p->done += bytes;
    p->has_record = p->done < p->bytes;
    p->same_time = (p->head.flags & SHM_RTP_SAME_TIME) != 0;
}

bool rtp_plan_is_last(const rtp_plan_t *p)
{
    return p->done + piece_bytes(p) == p->bytes;
}

void rtp_plan_packet(rtp_plan_t *p, rtp_plan_packet_t *out)
{
    uint32_t bytes = piece_bytes(p);
    uint8_t *header = p->media + p->done - SHM_RTP_HEAD_BYTES;
    uint64_t position = p->stream.position;
    if (p->done == 0 && p->head.marker != SHM_RTP_MARKER_AUTO)
        p->stream.marker = p->head.marker == SHM_RTP_MARKER_SET;
    (void)rtp_stream_next(&p->stream, piece_samples(p, bytes), bytes - p->extension_bytes, header);
    if (p->head.payload_type != SHM_RTP_DEFAULT_PT)
        header[1] = (uint8_t)((header[1] & MARKER_BIT) | p->head.payload_type);
    if (p->extension_bytes > 0)
        header[0] |= EXTENSION_BIT;
    if (p->head.flags & SHM_RTP_SAME_TIME)
        p->stream.position = position;
    move_on(p, bytes);
    *out = (rtp_plan_packet_t){
        .data = header, .bytes = SHM_RTP_HEAD_BYTES + bytes, .ends_record = !p->has_record};
}

void rtp_plan_drop(rtp_plan_t *p)
{
    uint32_t bytes = piece_bytes(p);
    if (!(p->head.flags & SHM_RTP_SAME_TIME))
        p->stream.position += piece_samples(p, bytes);
    p->stream.skipped_times++;
    move_on(p, bytes);
}

void rtp_plan_not_sent(rtp_plan_t *p, uint32_t bytes)
{
    p->stream.packets--;
    p->stream.octets -= bytes - SHM_RTP_HEAD_BYTES;
}

/* --- filling ------------------------------------------------------------------------------- */

bool rtp_plan_filling(const rtp_plan_t *p)
{
    return !p->has_record && p->config->underrun == SHM_RTP_FILL && !p->paused && !p->same_time &&
           p->stream.origin_ns != RT_NEVER_NS && p->filled < p->config->fill_packets;
}

void rtp_plan_fill(rtp_plan_t *p, uint8_t *header)
{
    p->counters.underruns += !p->dry;
    p->counters.filled++;
    p->dry = true;
    p->filled++;
    (void)rtp_stream_next(&p->stream, 0, p->config->bytes_per_packet, header);
}
