/* rtp_agent_rtcp.c: RTCP on the media's port or the next one, and repair by generic NACK.
 *
 *   due      schedule (RFC 3550 section 6.3) -> SR or RR, SDES; a packet missing for a while ->
 * NACK arrival  checked as a whole, then: SR -> LSR, mapping; report about us -> RTT, losses; SDES
 * -> CNAME; BYE -> record for the readers; NACK -> history -> sent again
 *
 * Nobody's compound takes long: so many of its packets are looked at, so many numbers of its NACKs,
 * and what is sent again is paced by a bucket of tokens, however much is asked for. */
#include "worker/agents/agent_socket.h"
#include "worker/agents/rtp_agent.h"

#include "base/rt_err.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_BANDWIDTH_BPS 3200.0 /* 5 % of 64 kbit/s */
#define DEFAULT_HISTORY_PACKETS 512u
#define COMPOUND_BYTES 1200u
#define PACKETS_PER_COMPOUND 64u
#define ASKED_PER_COMPOUND 1024u
#define ASK_AT_ONCE 64u
#define RESEND_GAP_NS (10 * RT_NS_PER_MS)
#define RESENDS_AT_ONCE 32.0
#define RESENDS_PER_S 2000.0
#define SENDER_INTERVALS 2
#define TEXT_BYTES 255u

/* --- open ---------------------------------------------------------------------------------- */

static int make_history(wrk_channel_t *ch)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    rtp_control_t *c = &a->control;
    if ((a->config.flags & SHM_RTP_NACK_SEND) == 0 || !(ch->config.direction & SHM_TX))
        return 0;
    uint32_t packets = a->config.history_packets;
    packets = packets != 0 ? packets : DEFAULT_HISTORY_PACKETS;
    uint32_t longest =
        ch->config.max_payload_bytes - (uint32_t)sizeof(shm_rtp_tx_t) + SHM_RTP_HEAD_BYTES;
    size_t bytes = rtp_history_memory_bytes(packets, longest);
    c->history_memory = malloc(bytes);
    if (c->history_memory == NULL)
        return rt_err_set(
            -ENOMEM,
            "no memory for a history of %u packets of %u bytes: lower history_packets "
            "or the longest packet",
            packets, longest);
    return rtp_history_init(&c->history, c->history_memory, packets, longest);
}

static int make_asking(rtp_agent_t *a)
{
    rtp_control_t *c = &a->control;
    c->asks = a->rx.on && (a->config.flags & SHM_RTP_NACK_RECEIVE) != 0;
    rtp_nack_config_t config = {
        .first_wait_ns = a->config.nack_first_wait_ns,
        .retry_ns = a->config.nack_retry_ns,
        .give_up_ns = a->config.nack_give_up_ns,
        .max_requests = a->config.nack_max_requests,
    };
    return c->asks ? rtp_nack_receiver_init(&c->missing, &config) : 0;
}

/* The RTCP socket follows the media's in everything but what is about packets in time. */
static udp_config_t socket_config(wrk_channel_t *ch)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    udp_config_t u = agent_udp_config(ch, NULL);
    u.connected = u.sends_only = u.want_gso = u.want_gro = u.want_tos = u.tx_stamps = false;
    u.rx_stamps = UDP_RX_STAMPS_OFF;
    u.txtime = UDP_TXTIME_OFF;
    u.remote = a->control.remote;
    u.local = a->udp.eff.local;
    udp_addr_set_port(&u.local, (uint16_t)(udp_addr_port(&u.local) + 1));
    if (a->config.rtcp_local.family != 0)
        agent_addr_in(&u.local, &a->config.rtcp_local);
    return u;
}

static void find_remote(wrk_channel_t *ch)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    rtp_control_t *c = &a->control;
    if (a->config.rtcp_remote.family != 0) {
        agent_addr_in(&c->remote, &a->config.rtcp_remote);
        return;
    }
    agent_addr_in(&c->remote, &ch->config.remote);
    if (!c->mux && udp_addr_is_set(&c->remote))
        udp_addr_set_port(&c->remote, (uint16_t)(udp_addr_port(&c->remote) + 1));
}

int rtp_agent_rtcp_socket(wrk_channel_t *ch)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    rtp_control_t *c = &a->control;
    c->on = a->config.rtcp != SHM_RTP_RTCP_OFF;
    c->mux = a->config.rtcp == SHM_RTP_RTCP_MUX;
    find_remote(ch);
    if (!c->on || c->mux)
        return 0;
    udp_config_t config = socket_config(ch);
    int rc = udp_open(&c->udp, &config);
    c->open = rc == 0;
    if (rc < 0)
        rt_err_append("RTCP");
    return rc;
}

static void on_socket(wrk_source_t *source, uint32_t events, int64_t now_mono_ns);

static void name_ourselves(wrk_channel_t *ch)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    rtp_control_t *c = &a->control;
    if (a->config.cname[0] != '\0')
        (void)snprintf(c->cname, sizeof c->cname, "%s", a->config.cname);
    else
        (void)snprintf(c->cname, sizeof c->cname, "%016llx@shmring",
                       (unsigned long long)ch->segment.segment_id);
}

int rtp_agent_rtcp_open(wrk_channel_t *ch, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    rtp_control_t *c = &a->control;
    rtp_agent_gauge(a, SHM_RTP_GAUGE_rtt_ns, -1);
    rtp_agent_gauge(a, SHM_RTP_GAUGE_reported_fraction_lost, -1);
    if (!c->on)
        return 0;
    c->schedule_config = (rtcp_schedule_config_t){
        .bandwidth_bps =
            a->config.rtcp_bandwidth_bps > 0 ? a->config.rtcp_bandwidth_bps : DEFAULT_BANDWIDTH_BPS,
        .min_interval_ns = a->config.rtcp_interval_ns,
        .seed = ch->segment.segment_id ^ a->config.ssrc ^ (uint64_t)now_mono_ns,
    };
    name_ourselves(ch);
    int rc = rtcp_schedule_init(&c->schedule, &c->schedule_config, now_mono_ns);
    rc = rc ? rc : make_asking(a);
    rc = rc ? rc : make_history(ch);
    c->resend_tokens = RESENDS_AT_ONCE;
    c->resend_tokens_at_mono_ns = now_mono_ns;
    c->socket = (wrk_source_t){.on_event = on_socket, .fd = -1};
    if (rc == 0 && c->open)
        rc = wrk_watch(ch, &c->socket, c->udp.fd, a->held ? 0 : EPOLLIN);
    return rc;
}

void rtp_agent_rtcp_close(wrk_channel_t *ch)
{
    rtp_control_t *c = &rtp_agent_of(ch)->control;
    if (c->open) {
        wrk_unwatch(ch, &c->socket);
        udp_close(&c->udp);
        c->open = false;
    }
    free(c->history_memory);
    c->history_memory = NULL;
}

void rtp_agent_rtcp_watch(wrk_channel_t *ch)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    if (a->control.open)
        wrk_rewatch(ch, &a->control.socket, a->held ? 0 : EPOLLIN);
}

/* --- members ------------------------------------------------------------------------------- */

static rtp_member_t *find_member(rtp_control_t *c, uint32_t ssrc)
{
    for (uint32_t i = 0; i < c->member_count; i++)
        if (c->members[i].ssrc == ssrc)
            return &c->members[i];
    return NULL;
}

static void touch_member(rtp_agent_t *a, uint32_t ssrc, int64_t heard_mono_ns, bool sends)
{
    rtp_control_t *c = &a->control;
    if (ssrc == a->config.ssrc)
        return;
    rtp_member_t *m = find_member(c, ssrc);
    if (m == NULL) {
        if (c->member_count == RTP_AGENT_MEMBERS)
            return;
        m = &c->members[c->member_count++];
        *m = (rtp_member_t){.ssrc = ssrc};
    }
    m->heard_mono_ns = heard_mono_ns;
    if (sends)
        m->sent_mono_ns = heard_mono_ns;
}

static void remove_member(rtp_control_t *c, uint32_t ssrc)
{
    rtp_member_t *m = find_member(c, ssrc);
    if (m != NULL)
        *m = c->members[--c->member_count];
}

static bool we_sent(const rtp_control_t *c, int64_t now_mono_ns)
{
    int64_t lately = SENDER_INTERVALS * rtcp_schedule_interval_ns(&c->schedule);
    return c->media_sent_mono_ns != 0 && now_mono_ns - c->media_sent_mono_ns <= lately;
}

/* Forgets who was silent too long, and tells the schedule who is left. */
static void count_members(rtp_agent_t *a, int64_t now_mono_ns)
{
    rtp_control_t *c = &a->control;
    int64_t timeout = rtcp_schedule_timeout_ns(&c->schedule);
    int64_t lately = SENDER_INTERVALS * rtcp_schedule_interval_ns(&c->schedule);
    uint32_t senders = 0;
    if (a->rx.on && rtp_source_is_proved(&a->rx.source))
        touch_member(a, a->rx.source.current.ssrc, a->rx.source.last_valid_ns, true);
    for (uint32_t i = c->member_count; i-- > 0;) {
        const rtp_member_t *m = &c->members[i];
        if (now_mono_ns - m->heard_mono_ns > timeout)
            c->members[i] = c->members[--c->member_count];
        else
            senders += m->sent_mono_ns != 0 && now_mono_ns - m->sent_mono_ns <= lately;
    }
    bool ours = we_sent(c, now_mono_ns);
    rtcp_schedule_members(&c->schedule, c->member_count + 1, senders + ours, ours, now_mono_ns);
    rtp_agent_gauge(a, SHM_RTP_GAUGE_members, c->member_count + 1);
    rtp_agent_gauge(a, SHM_RTP_GAUGE_senders, senders + ours);
}

/* --- sending ------------------------------------------------------------------------------- */

/* NULL: not known yet. Without a configured remote it is where RTCP comes from, else next to where
 * the media come from (RFC 4961). */
static const udp_addr_t *destination(rtp_agent_t *a)
{
    rtp_control_t *c = &a->control;
    if (udp_addr_is_set(&c->remote))
        return &c->remote;
    if (!udp_addr_is_set(&c->heard) && a->rx.from.family != 0) {
        agent_addr_in(&c->heard, &a->rx.from);
        if (!c->mux)
            udp_addr_set_port(&c->heard, (uint16_t)(a->rx.from.port + 1));
    }
    return udp_addr_is_set(&c->heard) ? &c->heard : NULL;
}

static void send_compound(wrk_channel_t *ch, const uint8_t *data, size_t bytes, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    rtp_control_t *c = &a->control;
    udp_tx_t message = {.data = data, .len = (uint32_t)bytes, .dest = destination(a)};
    int error = 0;
    if (message.dest == NULL)
        return;
    if (c->mux && a->link.tx != NULL)
        agent_link_offer_tx(&a->link, &message, 1, now_mono_ns);
    else
        (void)udp_send(c->mux ? &a->udp : &c->udp, &message, 1, &error);
    rtp_agent_count(a, error == 0 ? SHM_RTP_COUNT_rtcp_sent : SHM_RTP_COUNT_rtcp_failed, 1);
    c->spoken = true;
}

static rtcp_sender_t sender_info(wrk_channel_t *ch, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    const rtp_stream_t *s = &a->plan.stream;
    int64_t now = rt_mono_ns();
    return (rtcp_sender_t){
        .ssrc = a->config.ssrc,
        .ntp = rtcp_ntp_from_real_ns(rt_real_ns() - (now - now_mono_ns)),
        .rtp_ts = rtp_stream_ts_at(s, now_mono_ns - wrk_clock_shift_ns(ch)),
        .packets = (uint32_t)s->packets,
        .octets = (uint32_t)s->octets,
    };
}

/* SR or RR, and who we are: what every compound begins with. */
static void begin_compound(wrk_channel_t *ch, rtcp_writer_t *w, const rtcp_report_t *report,
                           int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    rtp_control_t *c = &a->control;
    size_t reports = report != NULL;
    if (we_sent(c, now_mono_ns)) {
        rtcp_sender_t sender = sender_info(ch, now_mono_ns);
        (void)rtcp_put_sr(w, &sender, report, reports);
    } else {
        (void)rtcp_put_rr(w, a->config.ssrc, report, reports);
    }
    rtcp_sdes_item_t name = {.type = RTCP_SDES_CNAME,
                             .bytes = (uint8_t)strlen(c->cname),
                             .text = (const uint8_t *)c->cname};
    (void)rtcp_put_sdes(w, a->config.ssrc, &name, 1);
}

/* About the source, if anything of it came since the last report. */
static bool make_report(rtp_agent_t *a, int64_t now_mono_ns, rtcp_report_t *report)
{
    const rtp_source_t *s = &a->rx.source;
    if (!a->rx.on || s->counters.valid == a->control.reported_valid)
        return false;
    a->control.reported_valid = s->counters.valid;
    return rtp_source_report(&a->rx.source, now_mono_ns, report);
}

static void send_report(wrk_channel_t *ch, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    rtp_control_t *c = &a->control;
    uint8_t data[COMPOUND_BYTES];
    rtcp_writer_t w;
    rtcp_report_t report;
    rtcp_writer_init(&w, data, sizeof data);
    bool any = make_report(a, now_mono_ns, &report);
    begin_compound(ch, &w, any ? &report : NULL, now_mono_ns);
    send_compound(ch, data, w.used, now_mono_ns);
    rtcp_schedule_sent(&c->schedule, (uint32_t)w.used, now_mono_ns);
}

static void report_if_due(wrk_channel_t *ch, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    rtp_control_t *c = &a->control;
    if (c->left || now_mono_ns < rtcp_schedule_due_ns(&c->schedule))
        return;
    count_members(a, now_mono_ns);
    if (rtcp_schedule_expire(&c->schedule, now_mono_ns))
        send_report(ch, now_mono_ns);
    rtp_agent_gauge(a, SHM_RTP_GAUGE_rtcp_due_ns, rtcp_schedule_due_ns(&c->schedule));
}

void rtp_agent_bye(wrk_channel_t *ch, const uint8_t *reason, size_t bytes, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    rtp_control_t *c = &a->control;
    uint8_t data[COMPOUND_BYTES];
    rtcp_writer_t w;
    if (!c->on || c->left || !c->spoken)
        return;
    rtcp_writer_init(&w, data, sizeof data);
    begin_compound(ch, &w, NULL, now_mono_ns);
    (void)rtcp_put_bye(&w, &a->config.ssrc, 1, (const char *)reason,
                       bytes < TEXT_BYTES ? bytes : TEXT_BYTES);
    /* Among more than 50 members it would have to wait its turn (RFC 3550 section 6.3.7): then
     * those who are left find out by themselves. */
    if (rtcp_schedule_leave(&c->schedule, (uint32_t)w.used, now_mono_ns))
        send_compound(ch, data, w.used, now_mono_ns);
    c->left = true;
}

/* --- what we ask for ----------------------------------------------------------------------- */

static void ask(wrk_channel_t *ch, const uint16_t *seqs, size_t count, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    uint8_t data[COMPOUND_BYTES];
    rtcp_nack_pair_t pairs[ASK_AT_ONCE];
    rtcp_writer_t w;
    size_t used = 0;
    size_t n = rtcp_nack_pack(seqs, count, pairs, ASK_AT_ONCE, &used);
    rtcp_writer_init(&w, data, sizeof data);
    if ((a->config.flags & SHM_RTP_REDUCED_SIZE) == 0)
        begin_compound(ch, &w, NULL, now_mono_ns);
    (void)rtcp_put_nack(&w, a->config.ssrc, a->rx.source.current.ssrc, pairs, n);
    send_compound(ch, data, w.used, now_mono_ns);
}

static void ask_if_due(wrk_channel_t *ch, int64_t now_mono_ns)
{
    rtp_control_t *c = &rtp_agent_of(ch)->control;
    uint16_t seqs[ASK_AT_ONCE];
    if (!c->asks || rtp_nack_due_ns(&c->missing) > now_mono_ns)
        return;
    size_t n = rtp_nack_take(&c->missing, now_mono_ns, seqs, ASK_AT_ONCE);
    if (n > 0)
        ask(ch, seqs, n, now_mono_ns);
}

bool rtp_agent_note_valid(rtp_agent_t *a, rtp_verdict_t verdict, uint64_t seq, int64_t now_mono_ns)
{
    rtp_nack_receiver_t *n = &a->control.missing;
    if (!a->control.asks)
        return false;
    if (verdict == RTP_SOURCE_RESTARTED || verdict == RTP_SOURCE_CHANGED)
        rtp_nack_restart(n);
    uint64_t recovered = n->counters.recovered;
    rtp_nack_packet(n, seq, now_mono_ns);
    return n->counters.recovered != recovered;
}

void rtp_agent_note_played(rtp_agent_t *a)
{
    rtp_nack_receiver_t *n = &a->control.missing;
    if (!a->control.asks || n->count == 0 || !a->rx.buffer.playing)
        return;
    /* The buffer counts cycles in its own way. */
    int16_t ahead = (int16_t)((uint16_t)a->rx.buffer.next_seq - (uint16_t)n->next);
    rtp_nack_forget_before(n, n->next + (uint64_t)(int64_t)ahead);
}

/* --- what we are asked for ----------------------------------------------------------------- */

static void rejoin(rtp_control_t *c, int64_t now_mono_ns)
{
    c->left = false;
    (void)rtcp_schedule_init(&c->schedule, &c->schedule_config, now_mono_ns);
}

void rtp_agent_media_sent(rtp_agent_t *a, const uint8_t *packet, uint32_t bytes,
                          int64_t now_mono_ns)
{
    rtp_control_t *c = &a->control;
    if (!c->on)
        return;
    c->media_sent_mono_ns = now_mono_ns;
    c->spoken = true;
    if (c->left)
        rejoin(c, now_mono_ns);
    if (c->history_memory != NULL)
        (void)rtp_history_put(&c->history, rtp_get16(packet + 2), packet, bytes);
}

static bool may_resend(rtp_control_t *c, int64_t now_mono_ns)
{
    double more = (double)(now_mono_ns - c->resend_tokens_at_mono_ns) * (RESENDS_PER_S / 1e9);
    c->resend_tokens_at_mono_ns = now_mono_ns;
    c->resend_tokens += more;
    if (c->resend_tokens > RESENDS_AT_ONCE)
        c->resend_tokens = RESENDS_AT_ONCE;
    return c->resend_tokens >= 1.0;
}

static void resend(wrk_channel_t *ch, uint16_t seq, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    rtp_control_t *c = &a->control;
    udp_tx_t message = {.data = NULL};
    int error = 0;
    if (may_resend(c, now_mono_ns))
        message.data = rtp_history_get(&c->history, seq, now_mono_ns, RESEND_GAP_NS, &message.len);
    if (message.data == NULL) {
        rtp_agent_count(a, SHM_RTP_COUNT_nack_gone, 1);
        return;
    }
    c->resend_tokens -= 1.0;
    if (a->link.tx != NULL)
        agent_link_offer_tx(&a->link, &message, 1, now_mono_ns);
    else
        (void)udp_send(&a->udp, &message, 1, &error);
    if (error == 0)
        rtp_agent_count(a, SHM_RTP_COUNT_nack_resent, 1);
}

static void resend_pair(wrk_channel_t *ch, rtcp_nack_pair_t pair, unsigned *asked,
                        int64_t now_mono_ns)
{
    uint32_t wanted = 1u | (uint32_t)pair.blp << 1;
    for (unsigned i = 0; wanted >> i != 0; i++) {
        if ((wanted >> i & 1) == 0)
            continue;
        (*asked)++;
        resend(ch, (uint16_t)(pair.pid + i), now_mono_ns);
    }
}

static void on_nack(wrk_channel_t *ch, const rtcp_packet_t *p, unsigned *asked, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    rtcp_nack_t nack;
    if (p->count != RTCP_FMT_NACK || rtcp_read_nack(p, &nack) != RTCP_OK ||
        nack.media_ssrc != a->config.ssrc || a->control.history_memory == NULL)
        return;
    unsigned before = *asked;
    for (unsigned i = 0; i < nack.pair_count && *asked < ASKED_PER_COMPOUND; i++)
        resend_pair(ch, rtcp_nack_pair(&nack, i), asked, now_mono_ns);
    rtp_agent_count(a, SHM_RTP_COUNT_nack_heard, *asked - before);
}

/* --- arrivals ------------------------------------------------------------------------------ */

static bool is_source(const rtp_agent_t *a, uint32_t ssrc)
{
    return a->rx.on && rtp_source_is_proved(&a->rx.source) && a->rx.source.current.ssrc == ssrc;
}

/* How the remote receives us. */
static void on_report(rtp_agent_t *a, const rtcp_report_t *r, int64_t arrival_mono_ns)
{
    if (r->ssrc != a->config.ssrc)
        return;
    int64_t real = rt_real_ns() - (rt_mono_ns() - arrival_mono_ns);
    int64_t rtt = rtcp_rtt_ns(r, rtcp_ntp_mid(rtcp_ntp_from_real_ns(real)));
    if (rtt >= 0)
        rtp_agent_gauge(a, SHM_RTP_GAUGE_rtt_ns, rtt);
    rtp_agent_gauge(a, SHM_RTP_GAUGE_reported_fraction_lost, r->fraction_lost);
    rtp_agent_gauge(a, SHM_RTP_GAUGE_reported_lost, r->cumulative_lost);
    rtp_agent_gauge(a, SHM_RTP_GAUGE_reported_jitter_units, r->jitter);
    rtp_agent_gauge(a, SHM_RTP_GAUGE_reported_highest_seq, r->highest_seq);
    rtp_agent_gauge(a, SHM_RTP_GAUGE_report_mono_ns, arrival_mono_ns);
}

static void on_reports(rtp_agent_t *a, const rtcp_packet_t *p, int64_t arrival_mono_ns)
{
    for (unsigned i = 0; i < p->count; i++) {
        rtcp_report_t report;
        if (rtcp_read_report(p, i, &report) == RTCP_OK)
            on_report(a, &report, arrival_mono_ns);
    }
}

static void on_sr(rtp_agent_t *a, const rtcp_packet_t *p, int64_t arrival_mono_ns)
{
    rtcp_sender_t s;
    if (rtcp_read_sr(p, &s) != RTCP_OK)
        return;
    rtp_agent_count(a, SHM_RTP_COUNT_rtcp_sr_received, 1);
    touch_member(a, s.ssrc, arrival_mono_ns, true);
    on_reports(a, p, arrival_mono_ns);
    if (!is_source(a, s.ssrc))
        return;
    rtp_source_sr(&a->rx.source, s.ssrc, s.ntp, arrival_mono_ns);
    rtp_agent_gauge(a, SHM_RTP_GAUGE_sr_ntp, (int64_t)s.ntp);
    rtp_agent_gauge(a, SHM_RTP_GAUGE_sr_rtp_ts, s.rtp_ts);
    rtp_agent_gauge(a, SHM_RTP_GAUGE_sr_mono_ns, arrival_mono_ns);
    rtp_agent_gauge(a, SHM_RTP_GAUGE_sr_packets, s.packets);
    rtp_agent_gauge(a, SHM_RTP_GAUGE_sr_octets, s.octets);
}

static void on_rr(rtp_agent_t *a, const rtcp_packet_t *p, int64_t arrival_mono_ns)
{
    uint32_t ssrc;
    if (rtcp_read_rr(p, &ssrc) != RTCP_OK)
        return;
    rtp_agent_count(a, SHM_RTP_COUNT_rtcp_rr_received, 1);
    touch_member(a, ssrc, arrival_mono_ns, false);
    on_reports(a, p, arrival_mono_ns);
}

static void keep_cname(rtp_agent_t *a, const rtcp_sdes_item_t *item)
{
    shm_rtp_state_t *s = a->state;
    if (s->remote_cname[item->bytes] == '\0' &&
        memcmp(s->remote_cname, item->text, item->bytes) == 0)
        return;
    uint32_t changes = rt_load_relaxed(&s->cname_changes) | 1;
    rt_store_relaxed(&s->cname_changes, changes);
    rt_fence_release(); /* N1: pairs with N2 in ring_read_rtp_cname */
    memset(s->remote_cname, 0, sizeof s->remote_cname);
    memcpy(s->remote_cname, item->text, item->bytes);
    rt_store_release(&s->cname_changes, changes + 1);
}

/* The source's, or where nothing is received, that of whoever reports. */
static void on_sdes(rtp_agent_t *a, const rtcp_packet_t *p)
{
    rtcp_sdes_reader_t reader;
    rtcp_sdes_item_t item;
    bool proved = a->rx.on && rtp_source_is_proved(&a->rx.source);
    rtcp_sdes_reader_init(&reader, p);
    while (rtcp_sdes_next(&reader, &item) == 1) {
        bool theirs = proved ? is_source(a, item.ssrc) : item.ssrc != a->config.ssrc;
        if (item.type == RTCP_SDES_CNAME && theirs)
            keep_cname(a, &item);
    }
}

static void on_bye(wrk_channel_t *ch, const rtcp_packet_t *p, uint32_t bytes, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    rtcp_bye_t bye;
    if (rtcp_read_bye(p, &bye) != RTCP_OK)
        return;
    rtp_agent_count(a, SHM_RTP_COUNT_rtcp_bye_received, 1);
    rtcp_schedule_bye_heard(&a->control.schedule, bytes);
    for (unsigned i = 0; i < bye.sources; i++) {
        uint32_t ssrc = rtcp_bye_source(&bye, i);
        remove_member(&a->control, ssrc);
        if (is_source(a, ssrc))
            rtp_agent_source_left(ch, now_mono_ns);
    }
}

static void on_packet(wrk_channel_t *ch, const rtcp_packet_t *p, uint32_t bytes, unsigned *asked,
                      int64_t arrival_mono_ns, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    if (p->type == RTCP_SR)
        on_sr(a, p, arrival_mono_ns);
    else if (p->type == RTCP_RR)
        on_rr(a, p, arrival_mono_ns);
    else if (p->type == RTCP_SDES)
        on_sdes(a, p);
    else if (p->type == RTCP_BYE)
        on_bye(ch, p, bytes, now_mono_ns);
    else if (p->type == RTCP_RTPFB)
        on_nack(ch, p, asked, now_mono_ns);
}

void rtp_agent_on_rtcp(wrk_channel_t *ch, const rx_item_t *item, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    bool reduced = (a->config.flags & SHM_RTP_REDUCED_SIZE) != 0;
    if (rtcp_check(item->payload, item->payload_bytes, reduced) != RTCP_OK) {
        rtp_agent_count(a, SHM_RTP_COUNT_rtcp_malformed, 1);
        return;
    }
    rtp_agent_count(a, SHM_RTP_COUNT_rtcp_received, 1);
    rtcp_schedule_received(&a->control.schedule, item->payload_bytes);
    agent_addr_in(&a->control.heard, &item->source);
    int64_t arrival = item->time_ns + wrk_clock_shift_ns(ch);
    rtcp_reader_t reader;
    rtcp_packet_t packet;
    unsigned asked = 0;
    rtcp_reader_init(&reader, item->payload, item->payload_bytes);
    for (unsigned i = 0; i < PACKETS_PER_COMPOUND && rtcp_next(&reader, &packet) == 1; i++)
        on_packet(ch, &packet, item->payload_bytes, &asked, arrival, now_mono_ns);
    count_members(a, now_mono_ns);
}

/* Only from the remote of a connected channel, from whichever port. */
static bool wanted(wrk_channel_t *ch, const udp_rx_t *in)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    if (!ch->config.connect || !udp_addr_is_set(&a->control.remote) ||
        udp_addr_is_multicast(&a->control.remote) ||
        udp_addr_equal(&a->control.remote, &in->source))
        return true;
    wrk_count(ch, SHM_COUNT_rx_filtered, 1);
    return false;
}

static void on_socket(wrk_source_t *source, uint32_t events, int64_t now_mono_ns)
{
    wrk_channel_t *ch = source->channel;
    rtp_agent_t *a = rtp_agent_of(ch);
    if (events & EPOLLERR)
        agent_socket_take_error(&a->control.udp);
    if (a->held)
        return;
    int n = udp_recv_messages(&a->control.udp, a->rx.arrivals, AGENT_BATCH, AGENT_BATCH);
    for (int i = 0; i < n; i++) {
        const udp_rx_t *in = &a->rx.arrivals[i];
        rx_item_t item = agent_rx_item(in);
        if (wanted(ch, in))
            rtp_agent_on_rtcp(ch, &item, now_mono_ns);
    }
}

/* --- deadlines ----------------------------------------------------------------------------- */

void rtp_agent_rtcp_due(wrk_channel_t *ch, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    if (!a->control.on || a->held)
        return;
    report_if_due(ch, now_mono_ns);
    ask_if_due(ch, now_mono_ns);
}

int64_t rtp_agent_rtcp_deadline_ns(const wrk_channel_t *ch)
{
    const rtp_agent_t *a = rtp_agent_of(ch);
    const rtp_control_t *c = &a->control;
    if (!c->on || a->held)
        return RT_NEVER_NS;
    int64_t report = c->left ? RT_NEVER_NS : rtcp_schedule_due_ns(&c->schedule);
    int64_t asking = c->asks ? rtp_nack_due_ns(&c->missing) : RT_NEVER_NS;
    return report < asking ? report : asking;
}

void rtp_agent_rtcp_tell(rtp_agent_t *a)
{
    const rtp_nack_counters_t *n = &a->control.missing.counters;
    if (!a->control.asks)
        return;
    rtp_agent_tell(a, SHM_RTP_COUNT_nack_missing, n->missing);
    rtp_agent_tell(a, SHM_RTP_COUNT_nack_requested, n->requested);
    rtp_agent_tell(a, SHM_RTP_COUNT_nack_recovered, n->recovered);
    rtp_agent_tell(a, SHM_RTP_COUNT_nack_given_up, n->given_up);
}
