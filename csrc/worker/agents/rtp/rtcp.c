/* rtcp.c: RTCP on the media's port or the next one, and retransmissions on request. The session
 * (proto/rtp/rtcp_session.h) decides when to send what to which member.
 *
 * A token bucket paces retransmissions, so that a remote that asks for many harms neither the other
 * channels of this core nor the network. */
#include "worker/agents/common/socket.h"
#include "worker/agents/rtp/rtp.h"

#include "base/rt_err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_BANDWIDTH_BPS 3200.0 /* 5 % of 64 kbit/s */
#define MEMBERS 64u
#define RESEND_GAP_NS (10 * RT_NS_PER_MS)
#define RESENDS_AT_ONCE 32.0
#define RESENDS_PER_S 2000.0

/* --- open ---------------------------------------------------------------------------------- */

static int make_history(wrk_channel_t *ch, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    rtp_control_t *c = &a->control;
    if ((a->config.flags & SHM_RTP_NACK_SEND) == 0 || !(ch->config.direction & SHM_TX))
        return 0;
    uint32_t packets = a->config.history_packets;
    packets = packets != 0 ? packets : RTP_DEFAULT_history_packets;
    uint32_t longest =
        ch->config.max_payload_bytes - (uint32_t)sizeof(shm_rtp_tx_t) + SHM_RTP_HEAD_BYTES;
    c->resend_tokens = RESENDS_AT_ONCE;
    c->resend_tokens_at_mono_ns = now_mono_ns;
    c->history_memory = wrk_take_memory(ch, rtp_history_memory_bytes(packets, longest));
    if (c->history_memory == NULL) {
        rt_err_append("a history of %u packets of %u bytes (history_packets, max_payload)", packets,
                      longest);
        return -ENOMEM;
    }
    rtp_history_init(&c->history, c->history_memory, packets, longest);
    return 0;
}

/* The RTCP socket has the media socket's settings, except those for timed packets. */
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

int rtp_agent_rtcp_socket(wrk_channel_t *ch, int fd)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    rtp_control_t *c = &a->control;
    c->on = a->config.rtcp != SHM_RTP_RTCP_OFF;
    c->mux = a->config.rtcp == SHM_RTP_RTCP_MUX;
    find_remote(ch);
    if (!c->on || c->mux) {
        if (fd >= 0)
            close(fd);
        return 0;
    }
    udp_config_t config = socket_config(ch);
    int rc = fd >= 0 ? udp_adopt(&c->udp, fd, &config) : udp_open(&c->udp, &config);
    c->open = rc == 0;
    if (rc == 0 && fd < 0)
        wrk_socket_reopened(ch, udp_addr_port(&c->udp.eff.local));
    if (rc < 0)
        rt_err_append("RTCP");
    return rc;
}

static int open_session(wrk_channel_t *ch, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    const shm_rtp_config_t *r = &a->config;
    rtp_control_t *c = &a->control;
    char drawn[40];
    (void)snprintf(drawn, sizeof drawn, "%016llx@shmring",
                   (unsigned long long)ch->segment.segment_id);
    c->members = wrk_take_memory(ch, MEMBERS * sizeof *c->members);
    if (c->members == NULL)
        return -ENOMEM;
    rtcp_session_config_t config = {
        .ssrc = r->ssrc,
        .cname = r->cname[0] != '\0' ? r->cname : drawn,
        .bandwidth_bps = r->rtcp_bandwidth_bps > 0 ? r->rtcp_bandwidth_bps : DEFAULT_BANDWIDTH_BPS,
        .min_interval_ns = r->rtcp_interval_ns,
        .reduced_size = (r->flags & SHM_RTP_REDUCED_SIZE) != 0,
        .nack_send = c->history_memory != NULL,
        .nack_receive = a->rx.on && (r->flags & SHM_RTP_NACK_RECEIVE) != 0,
        .nack =
            {
                .first_wait_ns = r->nack_first_wait_ns,
                .retry_ns = r->nack_retry_ns,
                .give_up_ns = r->nack_give_up_ns,
                .max_requests = r->nack_max_requests,
            },
        .members = c->members,
        .max_members = MEMBERS,
        .seed = ch->segment.segment_id ^ r->ssrc ^ (uint64_t)now_mono_ns,
    };
    rtcp_session_init(&c->session, &config, now_mono_ns);
    return 0;
}

int rtp_agent_rtcp_open(wrk_channel_t *ch, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    rtp_control_t *c = &a->control;
    rtp_agent_gauge(a, SHM_RTP_GAUGE_rtt_ns, -1);
    rtp_agent_gauge(a, SHM_RTP_GAUGE_reported_fraction_lost, -1);
    if (!c->on)
        return 0;
    int rc = make_history(ch, now_mono_ns);
    rc = rc ? rc : open_session(ch, now_mono_ns);
    if (rc == 0 && c->open)
        rc = wrk_watch(ch, &c->socket, c->udp.fd, ch->held ? 0 : EPOLLIN);
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
}

void rtp_agent_rtcp_watch(wrk_channel_t *ch)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    if (a->control.open)
        wrk_rewatch(ch, &a->control.socket, ch->held ? 0 : EPOLLIN);
}

/* --- sending ------------------------------------------------------------------------------- */

/* NULL: not known yet. Without a configured remote it is the source of the RTCP packets, otherwise
 * the port next to the media's source (RFC 4961). */
static const udp_addr_t *destination(rtp_agent_t *a)
{
    rtp_control_t *c = &a->control;
    if (udp_addr_is_set(&c->remote))
        return &c->remote;
    if (!udp_addr_is_set(&c->heard) && a->rx.from.family != 0) {
        agent_addr_in(&c->heard, &a->rx.from);
        agent_addr_in(&c->heard_at, &a->rx.came_to);
        if (!c->mux)
            udp_addr_set_port(&c->heard, (uint16_t)(a->rx.from.port + 1));
    }
    return udp_addr_is_set(&c->heard) ? &c->heard : NULL;
}

static void send_compound(wrk_channel_t *ch, const uint8_t *data, int bytes)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    rtp_control_t *c = &a->control;
    udp_tx_t message = {.data = data, .len = (uint32_t)bytes, .dest = destination(a)};
    if (bytes <= 0 || message.dest == NULL)
        return;
    if (udp_addr_is_set(&c->heard_at))
        message.source = &c->heard_at;
    else if (udp_addr_is_set(&a->asked_at))
        message.source = &a->asked_at;
    bool left =
        agent_send_extra(ch, c->mux ? &a->udp : &c->udp, c->mux ? &a->path : NULL, &message);
    if (!left) { /* this host may have lost the address */
        c->heard_at.sa.sa_family = AF_UNSPEC;
        rtp_agent_set_asked(a, NULL);
    }
    rtp_agent_count(a, left ? SHM_RTP_COUNT_rtcp_sent : SHM_RTP_COUNT_rtcp_failed, 1);
}

static rtcp_session_sent_t sent_so_far(const wrk_channel_t *ch, int64_t now_mono_ns)
{
    const rtp_stream_t *s = &rtp_agent_of(ch)->plan.stream;
    return (rtcp_session_sent_t){
        .packets = s->packets,
        .octets = s->octets,
        .rtp_ts = rtp_stream_ts_at(s, now_mono_ns - wrk_clock_shift_ns(ch)),
    };
}

static int64_t real_at(int64_t mono_ns)
{
    return rt_real_ns() - (rt_mono_ns() - mono_ns);
}

static rtp_source_t *source_of(rtp_agent_t *a)
{
    return a->rx.on ? &a->rx.source : NULL;
}

void rtp_agent_rtcp_due(wrk_channel_t *ch, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    if (now_mono_ns < rtp_agent_rtcp_deadline_ns(ch))
        return;
    uint8_t data[RTCP_SESSION_ROOM_BYTES];
    rtcp_session_sent_t sent = sent_so_far(ch, now_mono_ns);
    int bytes = rtcp_session_emit(&a->control.session, &sent, source_of(a), now_mono_ns,
                                  real_at(now_mono_ns), data, sizeof data);
    send_compound(ch, data, bytes);
}

int64_t rtp_agent_rtcp_deadline_ns(const wrk_channel_t *ch)
{
    const rtp_agent_t *a = rtp_agent_of(ch);
    return a->control.on && !ch->held ? rtcp_session_due_ns(&a->control.session) : RT_NEVER_NS;
}

void rtp_agent_bye(wrk_channel_t *ch, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    uint8_t data[RTCP_SESSION_ROOM_BYTES];
    if (!a->control.on)
        return;
    rtcp_session_sent_t sent = sent_so_far(ch, now_mono_ns);
    int bytes = rtcp_session_leave(&a->control.session, &sent, source_of(a), now_mono_ns,
                                   real_at(now_mono_ns), data, sizeof data);
    send_compound(ch, data, bytes);
}

/* --- media --------------------------------------------------------------------------------- */

void rtp_agent_media_sent(rtp_agent_t *a, const uint8_t *packet, uint32_t bytes,
                          int64_t now_mono_ns)
{
    rtp_control_t *c = &a->control;
    if (!c->on)
        return;
    if (c->session.has_left)
        rtcp_session_join(&c->session, now_mono_ns);
    if (c->history_memory != NULL)
        (void)rtp_history_put(&c->history, rt_get16(packet + 2), packet, bytes);
}

bool rtp_agent_note_valid(rtp_agent_t *a, rtp_verdict_t verdict, uint32_t ssrc, uint64_t seq,
                          int64_t now_mono_ns)
{
    return a->control.on &&
           rtcp_session_media(&a->control.session, verdict, ssrc, seq, now_mono_ns);
}

void rtp_agent_note_played(rtp_agent_t *a)
{
    const rtp_nack_receiver_t *n = &a->control.session.nack;
    if (n->count == 0 || !a->rx.buffer.playing)
        return;
    /* The buffer has its own count of cycles. */
    int16_t ahead = (int16_t)((uint16_t)a->rx.buffer.next_seq - (uint16_t)n->next);
    rtcp_session_forget_before(&a->control.session, n->next + (uint64_t)(int64_t)ahead);
}

static bool may_resend(rtp_control_t *c, int64_t now_mono_ns)
{
    c->resend_tokens += (double)(now_mono_ns - c->resend_tokens_at_mono_ns) * (RESENDS_PER_S / 1e9);
    c->resend_tokens_at_mono_ns = now_mono_ns;
    if (c->resend_tokens > RESENDS_AT_ONCE)
        c->resend_tokens = RESENDS_AT_ONCE;
    return c->resend_tokens >= 1.0;
}

static void resend(wrk_channel_t *ch, uint16_t seq, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    rtp_control_t *c = &a->control;
    udp_tx_t message = {.data = NULL};
    if (may_resend(c, now_mono_ns))
        message.data = rtp_history_get(&c->history, seq, now_mono_ns, RESEND_GAP_NS, &message.len);
    if (message.data == NULL) {
        rtp_agent_count(a, SHM_RTP_COUNT_nack_gone, 1);
        return;
    }
    c->resend_tokens -= 1.0;
    if (agent_send_extra(ch, &a->udp, &a->path, &message))
        rtp_agent_count(a, SHM_RTP_COUNT_nack_resent, 1);
}

/* --- arrivals ------------------------------------------------------------------------------ */

/* Reports how the remote receives us. */
static void publish_reported(rtp_agent_t *a)
{
    const rtcp_session_reported_t *r = &a->control.session.reported;
    rtp_agent_gauge(a, SHM_RTP_GAUGE_rtt_ns, r->rtt_ns);
    rtp_agent_gauge(a, SHM_RTP_GAUGE_reported_fraction_lost, r->report.fraction_lost);
    rtp_agent_gauge(a, SHM_RTP_GAUGE_reported_lost, r->report.cumulative_lost);
    rtp_agent_gauge(a, SHM_RTP_GAUGE_reported_jitter_units, r->report.jitter);
    rtp_agent_gauge(a, SHM_RTP_GAUGE_reported_highest_seq, r->report.highest_seq);
    rtp_agent_gauge(a, SHM_RTP_GAUGE_report_mono_ns, r->mono_ns);
}

static void keep_cname(shm_rtp_state_t *s, const char *cname)
{
    if (strncmp(s->remote_cname, cname, sizeof s->remote_cname) == 0)
        return;
    uint32_t changes = rt_load_relaxed(&s->cname_changes) | 1;
    rt_store_relaxed(&s->cname_changes, changes);
    rt_fence_release(); /* N1: pairs with N2 in ring_read_rtp_cname */
    memset(s->remote_cname, 0, sizeof s->remote_cname);
    memcpy(s->remote_cname, cname, strnlen(cname, sizeof s->remote_cname - 1));
    rt_store_release(&s->cname_changes, changes + 1);
}

/* The source, or if nothing is received another member. */
static const rtcp_member_t *other_side(const rtp_agent_t *a)
{
    const rtcp_session_t *s = &a->control.session;
    const rtcp_member_t *source = rtcp_session_source(s);
    bool any = source == NULL && !a->rx.on && s->members.count > 0;
    return any ? &s->members.slots[s->members.order[0]] : source;
}

static void publish_other_side(rtp_agent_t *a)
{
    const rtcp_member_t *m = other_side(a);
    if (m == NULL)
        return;
    keep_cname(a->state, m->cname);
    if (m->sr_ns == 0)
        return;
    rtp_agent_gauge(a, SHM_RTP_GAUGE_sr_ntp, (int64_t)m->sr.ntp);
    rtp_agent_gauge(a, SHM_RTP_GAUGE_sr_rtp_ts, m->sr.rtp_ts);
    rtp_agent_gauge(a, SHM_RTP_GAUGE_sr_mono_ns, m->sr_ns);
    rtp_agent_gauge(a, SHM_RTP_GAUGE_sr_packets, m->sr.packets);
    rtp_agent_gauge(a, SHM_RTP_GAUGE_sr_octets, m->sr.octets);
}

bool rtp_agent_on_rtcp(wrk_channel_t *ch, const rx_item_t *item, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    rtp_control_t *c = &a->control;
    rtcp_session_got_t got;
    int rc = rtcp_session_receive(&c->session, item->payload, item->payload_bytes,
                                  item->time_ns + wrk_clock_shift_ns(ch), source_of(a), &got);
    if (rc < 0)
        return false;
    if (!got.has_our_ssrc) {
        agent_addr_in(&c->heard, &item->source);
        agent_addr_in(&c->heard_at, &item->local);
    }
    if (got.is_about_us)
        publish_reported(a);
    publish_other_side(a);
    rtp_agent_rtcp_publish_stats(a); /* before a reader learns of it */
    for (uint32_t i = 0; i < got.resend_count; i++)
        resend(ch, got.resend[i], now_mono_ns);
    return got.source_left;
}

/* --- statistics ---------------------------------------------------------------------------- */

void rtp_agent_rtcp_publish_stats(rtp_agent_t *a)
{
    const rtcp_session_t *s = &a->control.session;
    const rtcp_session_counters_t *c = &s->counters;
    const rtp_nack_counters_t *n = &s->nack.counters;
    if (!a->control.on)
        return;
    rtp_agent_publish_counter(a, SHM_RTP_COUNT_rtcp_received, c->received);
    rtp_agent_publish_counter(a, SHM_RTP_COUNT_rtcp_malformed, c->malformed);
    rtp_agent_publish_counter(a, SHM_RTP_COUNT_rtcp_sr_received, c->sr_received);
    rtp_agent_publish_counter(a, SHM_RTP_COUNT_rtcp_rr_received, c->rr_received);
    rtp_agent_publish_counter(a, SHM_RTP_COUNT_rtcp_bye_received, c->bye_received);
    rtp_agent_publish_counter(a, SHM_RTP_COUNT_nack_heard, c->nack_heard);
    rtp_agent_publish_counter(a, SHM_RTP_COUNT_nack_missing, n->missing);
    rtp_agent_publish_counter(a, SHM_RTP_COUNT_nack_requested, n->requested);
    rtp_agent_publish_counter(a, SHM_RTP_COUNT_nack_recovered, n->recovered);
    rtp_agent_publish_counter(a, SHM_RTP_COUNT_nack_given_up, n->given_up);
    rtp_agent_gauge(a, SHM_RTP_GAUGE_members, rtcp_session_members(s));
    rtp_agent_gauge(a, SHM_RTP_GAUGE_senders, rtcp_session_senders(s));
    rtp_agent_gauge(a, SHM_RTP_GAUGE_rtcp_due_ns,
                    s->has_left ? 0 : rtcp_schedule_due_ns(&s->schedule));
}
