#include "proto/rtp/rtp_source.h"

#include "rows/rtp.h"

#include <string.h>

#define SEQ_CYCLE 65536u
#define NO_BAD_SEQ (SEQ_CYCLE + 1)
#define MAX_LOST 0x7fffff
#define MIN_LOST (-0x800000)

void rtp_source_init(rtp_source_t *s, const rtp_source_config_t *config)
{
    memset(s, 0, sizeof *s);
    s->config = *config;
    if (s->config.min_sequential == 0)
        s->config.min_sequential = RTP_DEFAULT_min_sequential;
    if (s->config.max_dropout == 0)
        s->config.max_dropout = RTP_DEFAULT_max_dropout;
    if (s->config.max_misorder == 0)
        s->config.max_misorder = RTP_DEFAULT_max_misorder;
    rtp_jitter_init(&s->jitter, config->clock_rate);
}

/* init_seq of appendix A.1: counting starts here. */
static void start_counting(rtp_sequence_t *q, uint16_t seq)
{
    q->base = SEQ_CYCLE + seq;
    q->max = q->base;
    q->max_seq = seq;
    q->bad_seq = NO_BAD_SEQ;
    q->received = 0;
}

static rtp_candidate_t *place_of(rtp_source_t *s, uint32_t ssrc)
{
    uint32_t spread = ssrc * 0x9e3779b1u; /* 2^32 over the golden ratio: the upper bits differ */
    return &s->candidates[spread / (UINT32_MAX / RTP_SOURCE_CANDIDATES + 1)];
}

/* Returns whether it has enough packets in order, including this one. After that it stays true. */
static bool try_source(rtp_source_t *s, const rtp_view_t *view)
{
    rtp_candidate_t *c = place_of(s, view->ssrc);
    uint16_t needed = s->config.min_sequential;
    bool known = c->in_order > 0 && c->ssrc == view->ssrc;
    if (known && c->in_order >= needed)
        return true;
    bool follows = known && view->seq == (uint16_t)(c->last_seq + 1);
    *c = (rtp_candidate_t){
        .ssrc = view->ssrc,
        .last_seq = view->seq,
        .in_order = follows ? (uint16_t)(c->in_order + 1) : 1,
    };
    return c->in_order >= needed;
}

static void begin_stream(rtp_source_t *s, int64_t now_ns)
{
    s->expected_prior = 0;
    s->received_prior = 0;
    s->last_valid_ns = now_ns;
    rtp_jitter_break(&s->jitter);
}

static void begin_source(rtp_source_t *s, const rtp_view_t *view, int64_t now_ns)
{
    place_of(s, view->ssrc)->in_order = 0;
    s->current = (rtp_sequence_t){.ssrc = view->ssrc, .used = true};
    start_counting(&s->current, view->seq);
    s->current.received = 1;
    begin_stream(s, now_ns);
}

static rtp_verdict_t first_source(rtp_source_t *s, const rtp_view_t *view, int64_t now_ns)
{
    if (!try_source(s, view)) {
        s->counters.on_probation++;
        return RTP_SOURCE_PROBATION;
    }
    begin_source(s, view, now_ns);
    return RTP_SOURCE_STARTED;
}

static rtp_verdict_t other_source(rtp_source_t *s, const rtp_view_t *view, int64_t now_ns)
{
    if (!try_source(s, view)) {
        s->counters.on_probation++;
        return RTP_SOURCE_PROBATION;
    }
    if (now_ns - s->last_valid_ns < s->config.switch_silence_ns) {
        s->counters.foreign++;
        return RTP_SOURCE_FOREIGN;
    }
    s->last_sr_mid = 0;
    rtp_jitter_init(&s->jitter, s->config.clock_rate);
    begin_source(s, view, now_ns);
    s->counters.changes++;
    return RTP_SOURCE_CHANGED;
}

static rtp_verdict_t update_sequence(rtp_source_t *s, uint16_t seq, int64_t now_ns)
{
    rtp_sequence_t *q = &s->current;
    uint16_t ahead = (uint16_t)(seq - q->max_seq);
    if (ahead < s->config.max_dropout) {
        q->max += ahead;
        q->max_seq = seq;
    } else if (ahead <= SEQ_CYCLE - s->config.max_misorder) {
        if (seq != q->bad_seq) {
            q->bad_seq = (uint16_t)(seq + 1);
            s->counters.jumps++;
            return RTP_SOURCE_JUMP;
        }
        start_counting(q, seq);
        q->received = 1;
        begin_stream(s, now_ns);
        s->counters.restarts++;
        return RTP_SOURCE_RESTARTED;
    }
    q->received++;
    return RTP_SOURCE_VALID;
}

static rtp_verdict_t judge(rtp_source_t *s, const rtp_view_t *view, int64_t now_ns)
{
    if (s->config.ssrc_fixed && view->ssrc != s->config.ssrc) {
        s->counters.foreign++;
        return RTP_SOURCE_FOREIGN;
    }
    if (!rtp_source_is_proved(s))
        return first_source(s, view, now_ns);
    if (view->ssrc != s->current.ssrc)
        return other_source(s, view, now_ns);
    return update_sequence(s, view->seq, now_ns);
}

rtp_verdict_t rtp_source_packet(rtp_source_t *s, const rtp_view_t *view, int64_t now_ns,
                                uint64_t *extended_seq)
{
    rtp_verdict_t verdict = judge(s, view, now_ns);
    if (verdict < 0)
        return verdict;
    s->counters.valid++;
    s->last_valid_ns = now_ns;
    rtp_jitter_add(&s->jitter, view->ts, now_ns);
    *extended_seq = s->current.max + (uint64_t)(int64_t)(int16_t)(view->seq - s->current.max_seq);
    return verdict;
}

void rtp_source_count_earlier(rtp_source_t *s, unsigned count)
{
    s->current.base -= count;
    s->current.received += count;
    s->counters.valid += count;
    s->counters.on_probation -= count;
}

void rtp_source_sr(rtp_source_t *s, uint32_t ssrc, uint64_t ntp, int64_t now_ns)
{
    if (!rtp_source_is_proved(s) || ssrc != s->current.ssrc)
        return;
    s->last_sr_mid = rtcp_ntp_mid(ntp);
    s->last_sr_ns = now_ns;
}

static uint64_t expected(const rtp_sequence_t *q)
{
    return q->max - q->base + 1;
}

int64_t rtp_source_lost(const rtp_source_t *s)
{
    if (!rtp_source_is_proved(s))
        return 0;
    return (int64_t)(expected(&s->current) - s->current.received);
}

static uint8_t fraction_lost(rtp_source_t *s)
{
    uint64_t now_expected = expected(&s->current);
    int64_t interval = (int64_t)(now_expected - s->expected_prior);
    int64_t lost = interval - (int64_t)(s->current.received - s->received_prior);
    s->expected_prior = now_expected;
    s->received_prior = s->current.received;
    if (interval <= 0 || lost <= 0)
        return 0;
    int64_t fraction = (lost << 8) / interval;
    return (uint8_t)(fraction < 255 ? fraction : 255);
}

bool rtp_source_report(rtp_source_t *s, int64_t now_ns, rtcp_report_t *report)
{
    if (!rtp_source_is_proved(s))
        return false;
    int64_t lost = rtp_source_lost(s);
    if (lost > MAX_LOST)
        lost = MAX_LOST;
    if (lost < MIN_LOST)
        lost = MIN_LOST;
    *report = (rtcp_report_t){
        .ssrc = s->current.ssrc,
        .fraction_lost = fraction_lost(s),
        .cumulative_lost = (int32_t)lost,
        /* On the wire the cycles count from 0. */
        .highest_seq = (uint32_t)(s->current.max - SEQ_CYCLE),
        .jitter = rtp_jitter_units(&s->jitter),
        .last_sr = s->last_sr_mid,
        .delay_since_sr = s->last_sr_mid != 0 ? rtcp_ns_to_mid(now_ns - s->last_sr_ns) : 0,
    };
    return true;
}
