#include "proto/rtp/rtcp_session.h"

#include "base/rt_clock.h"

#include <errno.h>
#include <string.h>

#define MAX_PAIRS 64u
#define SR_BYTES 52u   /* with one report */
#define RR_BYTES 32u   /* likewise */
#define SDES_BYTES 14u /* and the CNAME's */
#define NACK_BYTES 12u
#define BYE_BYTES 8u
/* RFC 3550 section 6.2.1: delayed packets do not bring back a member that has left. */
#define STRAGGLERS_NS INT64_C(2000000000)

/* So no rtcp_put_ below fails. */
_Static_assert(SR_BYTES + SDES_BYTES + RTCP_MAX_TEXT_BYTES + NACK_BYTES + 4 * MAX_PAIRS <=
                   RTCP_SESSION_ROOM_BYTES,
               "the longest compound fits");

static void start_schedule(rtcp_session_t *s, int64_t now_mono_ns)
{
    rtcp_schedule_config_t schedule = {
        .bandwidth_bps = s->config.bandwidth_bps,
        .min_interval_ns = s->config.min_interval_ns,
        .first_bytes = RTCP_UDP_IP_BYTES + RR_BYTES + SDES_BYTES + (uint32_t)strlen(s->cname),
        .seed = s->config.seed,
    };
    rtcp_schedule_init(&s->schedule, &schedule, now_mono_ns);
}

void rtcp_session_init(rtcp_session_t *s, const rtcp_session_config_t *config,
                       int64_t now_mono_ns)
{
    memset(s, 0, sizeof *s);
    memcpy(s->cname, config->cname, strlen(config->cname));
    s->config = *config;
    s->config.cname = s->cname;
    rtcp_members_init(&s->members, config->members, config->max_members);
    rtp_nack_receiver_init(&s->nack, &config->nack);
    start_schedule(s, now_mono_ns);
    s->config.nack = s->nack.config;
    s->reported.rtt_ns = -1;
    s->nack_sent_ns = now_mono_ns - RTCP_SESSION_NACK_GAP_NS;
}

static void count_members(rtcp_session_t *s, int64_t now_mono_ns)
{
    rtcp_schedule_members(&s->schedule, rtcp_session_members(s), rtcp_session_senders(s),
                          s->we_sent, now_mono_ns);
}

void rtcp_session_join(rtcp_session_t *s, int64_t now_mono_ns)
{
    s->config.seed = rt_random_next(&s->schedule.random);
    start_schedule(s, now_mono_ns);
    s->reported_packets[1] = s->reported_packets[0];
    s->we_sent = false;
    s->spoke = false;
    s->has_left = false;
    count_members(s, now_mono_ns);
}

const rtcp_member_t *rtcp_session_source(const rtcp_session_t *s)
{
    return s->has_source ? rtcp_members_find(&s->members, s->source_ssrc) : NULL;
}

/* ---- receiving ---- */

static void collided(rtcp_session_t *s, rtcp_session_got_t *got)
{
    s->counters.collisions += got->has_our_ssrc ? 0 : 1;
    got->has_our_ssrc = true;
}

static bool is_straggler(const rtcp_member_t *m, int64_t now_mono_ns)
{
    return m->state == RTCP_MEMBER_GONE && m->bye_ns != 0 &&
           now_mono_ns - m->bye_ns < STRAGGLERS_NS;
}

bool rtcp_session_media(rtcp_session_t *s, rtp_verdict_t verdict, uint32_t ssrc,
                        uint64_t extended_seq, int64_t now_mono_ns)
{
    if (verdict < 0)
        return false;
    if (ssrc == s->config.ssrc) {
        s->counters.collisions++;
        return false;
    }
    bool is_new = !s->has_source || ssrc != s->source_ssrc;
    if (is_new || verdict == RTP_SOURCE_RESTARTED)
        rtp_nack_restart(&s->nack);
    s->has_source = true;
    s->source_ssrc = ssrc;

    rtcp_member_t *m = rtcp_members_find(&s->members, ssrc);
    if (m == NULL) {
        rtcp_members_make_room(&s->members);
        m = rtcp_members_add(&s->members, ssrc, now_mono_ns);
    }
    if (!is_straggler(m, now_mono_ns)) {
        m->heard_ns = now_mono_ns;
        m->media_ns = now_mono_ns;
        if (!m->is_sender) {
            rtcp_members_set_sender(&s->members, m);
            count_members(s, now_mono_ns);
        }
    }
    if (!s->config.nack_receive)
        return false;
    uint64_t recovered = s->nack.counters.recovered;
    rtp_nack_packet(&s->nack, extended_seq, now_mono_ns);
    return s->nack.counters.recovered > recovered;
}

/* A member that speaks in the present compound. Returns NULL for ourselves, for stragglers and if
 * the table is full. */
static rtcp_member_t *find_speaker(rtcp_session_t *s, uint32_t ssrc, int64_t now_mono_ns,
                                   rtcp_session_got_t *got)
{
    if (ssrc == s->config.ssrc) {
        collided(s, got);
        return NULL;
    }
    rtcp_member_t *m = rtcp_members_add(&s->members, ssrc, now_mono_ns);
    if (m == NULL) {
        s->counters.unlisted++;
        return NULL;
    }
    if (is_straggler(m, now_mono_ns))
        return NULL;
    if (m->compound != 0 && m->compound != s->counters.received)
        rtcp_members_set_present(&s->members, m);
    m->compound = s->counters.received;
    m->heard_ns = now_mono_ns;
    return m;
}

static void take_rtt(rtcp_session_t *s, const rtcp_report_t *report, int64_t now_mono_ns)
{
    if (report->last_sr == 0)
        return;
    for (unsigned i = 0; i < RTCP_SESSION_SRS; i++) {
        const rtcp_session_sr_t *sr = &s->srs[i];
        if (sr->ntp_mid != report->last_sr)
            continue;
        /* Measured by our own record of when it was sent, so that steps of the wall clock do not
         * matter. */
        int64_t held_ns = (int64_t)(((uint64_t)report->delay_since_sr * RT_NS_PER_S) >> 16);
        int64_t rtt_ns = now_mono_ns - sr->mono_ns - held_ns;
        s->reported.rtt_ns = rtt_ns > 0 ? rtt_ns : 0;
        int64_t retry_ns = s->config.nack.retry_ns;
        s->nack.config.retry_ns = rtt_ns > retry_ns ? rtt_ns : retry_ns;
        return;
    }
}

static void take_reports(rtcp_session_t *s, const rtcp_packet_t *packet, int64_t now_mono_ns,
                         rtcp_session_got_t *got)
{
    for (unsigned i = 0; i < packet->count; i++) {
        rtcp_report_t report;
        rtcp_read_report(packet, i, &report);
        if (report.ssrc != s->config.ssrc)
            continue;
        s->reported.report = report;
        s->reported.mono_ns = now_mono_ns;
        got->is_about_us = true;
        take_rtt(s, &report, now_mono_ns);
    }
}

static void take_sr(rtcp_session_t *s, const rtcp_packet_t *packet, int64_t now_mono_ns,
                    rtp_source_t *received, rtcp_session_got_t *got)
{
    rtcp_sender_t sender;
    s->counters.sr_received++;
    rtcp_read_sr(packet, &sender);
    rtcp_member_t *m = find_speaker(s, sender.ssrc, now_mono_ns, got);
    if (m != NULL) {
        m->sr = sender;
        m->sr_ns = now_mono_ns;
    }
    if (sender.ssrc == s->config.ssrc)
        return;
    if (received != NULL)
        rtp_source_sr(received, sender.ssrc, sender.ntp, now_mono_ns);
    take_reports(s, packet, now_mono_ns, got);
}

static void take_rr(rtcp_session_t *s, const rtcp_packet_t *packet, int64_t now_mono_ns,
                    rtcp_session_got_t *got)
{
    uint32_t ssrc = rtcp_packet_source(packet);
    s->counters.rr_received++;
    (void)find_speaker(s, ssrc, now_mono_ns, got);
    if (ssrc != s->config.ssrc)
        take_reports(s, packet, now_mono_ns, got);
}

static void take_cname(rtcp_session_t *s, const rtcp_sdes_item_t *item, int64_t now_mono_ns,
                       rtcp_session_got_t *got)
{
    rtcp_member_t *m = find_speaker(s, item->ssrc, now_mono_ns, got);
    if (m == NULL || item->bytes == 0)
        return;
    char cname[RTCP_MAX_TEXT_BYTES + 1] = "";
    memcpy(cname, item->text, item->bytes);
    if (m->cname[0] != '\0' && strcmp(m->cname, cname) != 0)
        s->counters.collisions++;
    memcpy(m->cname, cname, sizeof cname);
    rtcp_members_set_present(&s->members, m);
}

static void take_sdes(rtcp_session_t *s, const rtcp_packet_t *packet, int64_t now_mono_ns,
                      rtcp_session_got_t *got)
{
    rtcp_sdes_reader_t reader;
    rtcp_sdes_item_t item;
    rtcp_sdes_reader_init(&reader, packet);
    while (rtcp_sdes_next(&reader, &item) == 1) {
        if (item.type == RTCP_SDES_CNAME)
            take_cname(s, &item, now_mono_ns, got);
    }
}

static void take_bye(rtcp_session_t *s, const rtcp_packet_t *packet, int64_t now_mono_ns,
                     rtcp_session_got_t *got)
{
    s->counters.bye_received++;
    for (unsigned i = 0; i < packet->count; i++) {
        uint32_t ssrc = rtcp_bye_source(packet, i);
        if (ssrc == s->config.ssrc) {
            collided(s, got);
            continue;
        }
        rtcp_member_t *m = rtcp_members_find(&s->members, ssrc);
        if (m == NULL || m->state == RTCP_MEMBER_GONE)
            continue;
        bool is_source = s->has_source && ssrc == s->source_ssrc;
        m->bye_ns = now_mono_ns;
        rtcp_members_drop(&s->members, m, is_source);
        got->source_left = got->source_left || is_source;
    }
}

static void take_nack_pair(rtcp_session_t *s, rtcp_nack_pair_t pair, rtcp_session_got_t *got)
{
    for (unsigned i = 0; i <= 16; i++) {
        if (i > 0 && !(pair.blp >> (i - 1) & 1))
            continue;
        s->counters.nack_heard++;
        if (s->config.nack_send && got->resend_count < RTCP_SESSION_MAX_RESEND)
            got->resend[got->resend_count++] = (uint16_t)(pair.pid + i);
        else
            s->counters.nack_dropped++;
    }
}

static void take_feedback(rtcp_session_t *s, const rtcp_packet_t *packet, int64_t now_mono_ns,
                          rtcp_session_got_t *got)
{
    if (packet->count != RTCP_FMT_NACK) {
        s->counters.other_received++;
        return;
    }
    uint32_t sender = rtcp_packet_source(packet);
    (void)find_speaker(s, sender, now_mono_ns, got);
    if (sender == s->config.ssrc || rtcp_nack_media_source(packet) != s->config.ssrc)
        return;
    for (unsigned i = 0; i < rtcp_nack_pair_count(packet); i++)
        take_nack_pair(s, rtcp_nack_pair(packet, i), got);
}

int rtcp_session_receive(rtcp_session_t *s, const uint8_t *data, size_t size, int64_t now_mono_ns,
                         rtp_source_t *received, rtcp_session_got_t *got)
{
    got->source_left = false;
    got->is_about_us = false;
    got->has_our_ssrc = false;
    got->resend_count = 0;
    rtcp_error_t error = rtcp_check(data, size, s->config.reduced_size);
    if (error != RTCP_OK) {
        s->counters.malformed++;
        return error;
    }
    s->counters.received++;
    uint64_t byes = s->counters.bye_received;
    rtcp_reader_t reader;
    rtcp_packet_t packet;
    rtcp_reader_init(&reader, data, size);
    while (rtcp_next(&reader, &packet) == 1) {
        switch (packet.type) {
        case RTCP_SR:
            take_sr(s, &packet, now_mono_ns, received, got);
            break;
        case RTCP_RR:
            take_rr(s, &packet, now_mono_ns, got);
            break;
        case RTCP_SDES:
            take_sdes(s, &packet, now_mono_ns, got);
            break;
        case RTCP_BYE:
            take_bye(s, &packet, now_mono_ns, got);
            break;
        case RTCP_RTPFB:
            take_feedback(s, &packet, now_mono_ns, got);
            break;
        case RTCP_APP:
            s->counters.app_received++;
            break;
        default:
            s->counters.other_received++;
            break;
        }
    }
    if (s->counters.bye_received > byes)
        rtcp_schedule_bye_heard(&s->schedule, (uint32_t)size);
    count_members(s, now_mono_ns);
    rtcp_schedule_received(&s->schedule, (uint32_t)size);
    return 0;
}

/* ---- sending ---- */

static int64_t nack_due_ns(const rtcp_session_t *s)
{
    if (s->schedule.leaving)
        return RT_NEVER_NS;
    int64_t due_ns = rtp_nack_due_ns(&s->nack);
    int64_t free_ns = s->nack_sent_ns + RTCP_SESSION_NACK_GAP_NS;
    return due_ns > free_ns ? due_ns : free_ns;
}

int64_t rtcp_session_due_ns(const rtcp_session_t *s)
{
    if (s->has_left)
        return RT_NEVER_NS;
    int64_t report_ns = rtcp_schedule_due_ns(&s->schedule);
    int64_t nack_ns = nack_due_ns(s);
    return report_ns < nack_ns ? report_ns : nack_ns;
}

/* At the end of each interval, before it is reconsidered. */
static void expire_members(rtcp_session_t *s, const rtcp_session_sent_t *sent, int64_t now_mono_ns)
{
    int64_t interval_ns = rtcp_schedule_interval_ns(&s->schedule);
    /* RFC 3550 section 6.2: others may report at the fixed minimum, whatever ours is. */
    if (interval_ns < RTCP_MIN_INTERVAL_NS)
        interval_ns = RTCP_MIN_INTERVAL_NS;
    rtcp_members_limits_t limits = {
        .silent_ns = 5 * interval_ns,
        .no_media_ns = 2 * interval_ns,
        .keep = s->has_source ? &s->source_ssrc : NULL,
    };
    s->counters.timed_out += rtcp_members_sweep(&s->members, &limits, now_mono_ns);
    s->we_sent = sent->packets != s->reported_packets[1];
    count_members(s, now_mono_ns);
}

/* A member that sends no media now gets no report block (RFC 3550 section 6.4). */
static size_t make_report(rtcp_session_t *s, rtp_source_t *received, int64_t now_mono_ns,
                          rtcp_report_t *report)
{
    if (received == NULL || !rtp_source_is_proved(received))
        return 0;
    const rtcp_member_t *m = rtcp_members_find(&s->members, received->current.ssrc);
    if (m == NULL || !m->is_sender)
        return 0;
    return rtp_source_report(received, now_mono_ns, report) ? 1 : 0;
}

static void note_sr(rtcp_session_t *s, uint64_t ntp, int64_t now_mono_ns)
{
    s->srs[s->sr_count++ % RTCP_SESSION_SRS] =
        (rtcp_session_sr_t){.ntp_mid = rtcp_ntp_mid(ntp), .mono_ns = now_mono_ns};
}

/* SR or RR, and SDES. */
static void put_report(rtcp_session_t *s, rtcp_writer_t *w, const rtcp_session_sent_t *sent,
                       rtp_source_t *received, int64_t now_mono_ns, int64_t now_real_ns)
{
    rtcp_report_t report;
    size_t count = make_report(s, received, now_mono_ns, &report);
    if (s->we_sent) {
        rtcp_sender_t sender = {
            .ssrc = s->config.ssrc,
            .ntp = rtcp_ntp_from_real_ns(now_real_ns),
            .rtp_ts = sent->rtp_ts,
            .packets = (uint32_t)sent->packets,
            .octets = (uint32_t)sent->octets,
        };
        (void)rtcp_put_sr(w, &sender, &report, count);
        note_sr(s, sender.ntp, now_mono_ns);
    } else {
        (void)rtcp_put_rr(w, s->config.ssrc, &report, count);
    }
    (void)rtcp_put_cname(w, s->config.ssrc, s->cname, strlen(s->cname));
    s->reported_packets[1] = s->reported_packets[0];
    s->reported_packets[0] = sent->packets;
}

/* Returns false if there is nothing to request. alone: it is the whole compound. */
static bool put_nack(rtcp_session_t *s, rtcp_writer_t *w, bool alone, int64_t now_mono_ns)
{
    uint16_t seqs[MAX_PAIRS]; /* this many fit even if each needs a pair */
    rtcp_nack_pair_t pairs[MAX_PAIRS];
    if (nack_due_ns(s) > now_mono_ns)
        return false;
    size_t count = rtp_nack_take(&s->nack, now_mono_ns, seqs, MAX_PAIRS);
    if (count == 0)
        return false;
    size_t pair_count = rtcp_nack_pack(seqs, count, pairs);
    if (alone && !s->config.reduced_size) {
        /* Without a block: the interval of the fraction lost continues until the next report. */
        (void)rtcp_put_rr(w, s->config.ssrc, NULL, 0);
        (void)rtcp_put_cname(w, s->config.ssrc, s->cname, strlen(s->cname));
    }
    (void)rtcp_put_nack(w, s->config.ssrc, s->source_ssrc, pairs, pair_count);
    s->nack_sent_ns = now_mono_ns;
    s->counters.nack_sent++;
    return true;
}

static int finish(rtcp_session_t *s, const rtcp_writer_t *w)
{
    s->counters.sent++;
    s->spoke = true;
    return (int)w->used;
}

static int emit_bye(rtcp_session_t *s, rtcp_writer_t *w, const rtcp_session_sent_t *sent,
                    rtp_source_t *received, int64_t now_mono_ns, int64_t now_real_ns)
{
    put_report(s, w, sent, received, now_mono_ns, now_real_ns);
    (void)rtcp_put_bye(w, s->config.ssrc);
    s->has_left = true;
    return finish(s, w);
}

static int emit_report(rtcp_session_t *s, rtcp_writer_t *w, const rtcp_session_sent_t *sent,
                       rtp_source_t *received, int64_t now_mono_ns, int64_t now_real_ns)
{
    put_report(s, w, sent, received, now_mono_ns, now_real_ns);
    (void)put_nack(s, w, false, now_mono_ns);
    rtcp_schedule_sent(&s->schedule, (uint32_t)w->used, now_mono_ns);
    return finish(s, w);
}

int rtcp_session_emit(rtcp_session_t *s, const rtcp_session_sent_t *sent, rtp_source_t *received,
                      int64_t now_mono_ns, int64_t now_real_ns, uint8_t *out, size_t room)
{
    if (room < RTCP_SESSION_ROOM_BYTES)
        return -ENOSPC;
    if (rtcp_session_due_ns(s) > now_mono_ns)
        return 0;
    rtcp_writer_t w;
    rtcp_writer_init(&w, out, room);
    if (rtcp_schedule_due_ns(&s->schedule) <= now_mono_ns) {
        expire_members(s, sent, now_mono_ns);
        if (rtcp_schedule_expire(&s->schedule, now_mono_ns))
            return s->schedule.leaving
                       ? emit_bye(s, &w, sent, received, now_mono_ns, now_real_ns)
                       : emit_report(s, &w, sent, received, now_mono_ns, now_real_ns);
    }
    if (!put_nack(s, &w, true, now_mono_ns))
        return 0;
    rtcp_schedule_received(&s->schedule, (uint32_t)w.used);
    return finish(s, &w);
}

int rtcp_session_leave(rtcp_session_t *s, const rtcp_session_sent_t *sent, rtp_source_t *received,
                       int64_t now_mono_ns, int64_t now_real_ns, uint8_t *out, size_t room)
{
    if (room < RTCP_SESSION_ROOM_BYTES)
        return -ENOSPC;
    if (s->has_left || s->schedule.leaving)
        return 0;
    if (!s->spoke && sent->packets == s->reported_packets[0]) {
        s->has_left = true;
        return 0;
    }
    expire_members(s, sent, now_mono_ns);
    uint32_t bye_bytes = RR_BYTES + SDES_BYTES + BYE_BYTES + (uint32_t)strlen(s->cname);
    if (!rtcp_schedule_leave(&s->schedule, bye_bytes, now_mono_ns))
        return 0;
    rtcp_writer_t w;
    rtcp_writer_init(&w, out, room);
    return emit_bye(s, &w, sent, received, now_mono_ns, now_real_ns);
}
