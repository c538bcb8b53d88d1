#include "worker/agents/common/parked_sockets.h"
#include "worker/agents/common/socket.h"
#include "worker/agents/common/tap.h"
#include "worker/agents/rtp/rtp.h"

#include "base/rt_err.h"
#include "shm/shm_engine.h"
#include "shm/tx_ring.h"

#include <errno.h>
#include <string.h>

/* --- events -------------------------------------------------------------------------------- */

static void on_socket(wrk_source_t *source, uint32_t events, int64_t now_mono_ns)
{
    wrk_channel_t *ch = source->channel;
    rtp_agent_t *a = rtp_agent_of(ch);
    if (events & EPOLLERR)
        agent_take_errors(ch, &a->ledger, now_mono_ns);
    if (events & EPOLLOUT)
        rtp_agent_unblock(ch, now_mono_ns);
    if (events & (EPOLLIN | EPOLLERR))
        rtp_agent_receive(ch, now_mono_ns);
}

/* On a connected channel only from its remote. */
static bool is_from_rtcp_remote(wrk_channel_t *ch, const udp_rx_t *in)
{
    const udp_addr_t *remote = &rtp_agent_of(ch)->control.remote;
    if (!ch->config.connect || !udp_addr_is_set(remote) || udp_addr_is_multicast(remote) ||
        udp_addr_equal(remote, &in->source))
        return true;
    wrk_count(ch, SHM_COUNT_rx_filtered, 1);
    return false;
}

static void on_rtcp_socket(wrk_source_t *source, uint32_t events, int64_t now_mono_ns)
{
    wrk_channel_t *ch = source->channel;
    rtp_agent_t *a = rtp_agent_of(ch);
    if (events & EPOLLERR)
        agent_socket_take_error(&a->control.udp);
    if (ch->held)
        return;
    int n = udp_recv_messages(&a->control.udp, a->rx.receiver.arrivals, AGENT_ARRIVALS, AGENT_ARRIVALS);
    for (int i = 0; i < n; i++) {
        const udp_rx_t *in = &a->rx.receiver.arrivals[i];
        rx_item_t item;
        agent_rx_item(&item, in);
        if (is_from_rtcp_remote(ch, in) && rtp_agent_on_rtcp(ch, &item, now_mono_ns))
            rtp_agent_source_left(ch, now_mono_ns);
    }
    udp_recv_done(&a->control.udp);
    rtp_agent_rtcp_publish_stats(a);
    if (n > 0 && agent_tapped(ch))
        agent_tap_arrived(ch, &a->control.udp, a->rx.receiver.arrivals, (unsigned)n,
                          ch->config.connect ? &a->control.remote : NULL, AGENT_TAP_NO_SEQUENCE);
}

static void on_deadline(wrk_channel_t *ch, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    if (a->block.now && now_mono_ns >= a->block.retry_mono_ns)
        rtp_agent_unblock(ch, now_mono_ns);
    rtp_agent_send_due(ch, now_mono_ns);
    agent_path_emit(ch, &a->path, now_mono_ns);
    rtp_agent_play(ch, now_mono_ns);
    rtp_agent_rtcp_due(ch, now_mono_ns);
    agent_collect_overdue_stamps(ch, &a->ledger, now_mono_ns);
}

static int64_t deadline_ns(const wrk_channel_t *ch)
{
    const rtp_agent_t *a = rtp_agent_of(ch);
    int64_t at = rtp_agent_tx_deadline_ns(ch);
    at = agent_earlier_ns(at, agent_path_deadline_ns(&a->path));
    at = agent_earlier_ns(at, rtp_agent_rx_deadline_ns(ch));
    at = agent_earlier_ns(at, rtp_agent_rtcp_deadline_ns(ch));
    return agent_earlier_ns(at, agent_stamp_deadline_ns(&a->ledger));
}

/* --- open ---------------------------------------------------------------------------------- */

static int check_config(const wrk_channel_t *ch)
{
    const shm_config_t *c = &ch->config;
    uint32_t least = sizeof(shm_rtp_rx_t) + SHM_RTP_HEAD_BYTES;
    if (c->max_payload_bytes < least)
        return rt_err_set(-EINVAL, "max_payload is %u; engine rtp takes at least %u",
                          c->max_payload_bytes, least);
    if (c->direction & SHM_RX && c->overflow == SHM_OVERFLOW_WAIT)
        return rt_err_set(-EINVAL, "overflow is \"wait\": a playout time waits for no reader, use "
                                   "\"oldest\" with engine rtp");
    shm_rtp_config_t r;
    memcpy(&r, c->engine_config, sizeof r);
    int rc = shm_rtp_config_check(&r);
    return rc ? rc : shm_engine_check(c);
}

static void take_config(wrk_channel_t *ch)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    shm_rtp_config_t *r = &a->config;
    memcpy(r, ch->config.engine_config, sizeof *r);
    if (r->fill_packets == 0)
        r->fill_packets = RTP_DEFAULT_fill_packets;
    a->state = (shm_rtp_state_t *)(void *)ch->segment.engine;
}

static void close_parts(wrk_channel_t *ch)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    wrk_unwatch(ch, &a->socket);
    agent_socket_close(&a->udp, a->phc);
    agent_park_close(a->control.park);
    a->control.park = -1;
    rtp_agent_rtcp_close(ch);
}

static int open_parts(wrk_channel_t *ch, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    a->path = (agent_path_t){.udp = &a->udp, .deliver = rtp_agent_arrived};
    a->socket = (wrk_source_t){.on_event = on_socket, .fd = -1};
    a->control.socket = (wrk_source_t){.on_event = on_rtcp_socket, .fd = -1};
    int rc = agent_path_open(ch, &a->path);
    rc = rc ? rc : rtp_agent_tx_open(ch, now_mono_ns);
    rc = rc ? rc : rtp_agent_rx_open(ch);
    rc = rc ? rc : rtp_agent_rtcp_open(ch, now_mono_ns);
    rc = rc ? rc : wrk_watch(ch, &a->socket, a->udp.fd, 0);
    if (rc < 0)
        close_parts(ch);
    /* otherwise the numbers tell */
    a->udp.rx_position = a->path.rx != NULL ? &a->path.rx_taken : NULL;
    return rc;
}

static int open_channel(wrk_channel_t *ch, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    int rc = check_config(ch);
    if (rc < 0)
        return rc;
    take_config(ch);
    rc = rtp_agent_open_sockets(ch);
    rc = rc ? rc : open_parts(ch, now_mono_ns);
    if (rc < 0)
        return rc;
    agent_socket_facts(ch, &a->udp);
    if (a->control.park >= 0)
        ch->socket_fd = a->control.park;
    rtp_agent_watch(ch);
    if (a->udp.rx_left)
        rtp_agent_receive(ch, now_mono_ns);
    return 0;
}

static void close_channel(wrk_channel_t *ch)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    rtp_agent_bye(ch, rt_mono_ns());
    agent_give_up_stamps(ch, &a->ledger);
    rtp_agent_tx_gauges(ch);
    rtp_agent_publish_stats(ch);
    agent_path_counters(ch, &a->path);
    close_parts(ch);
}

/* --- hold, duties -------------------------------------------------------------------------- */

static void hold(wrk_channel_t *ch)
{
    rtp_agent_tx_hold(ch);
    rtp_agent_watch(ch);
}

static void release(wrk_channel_t *ch, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    ch->tx_paused = a->block.now;
    rtp_agent_tx_release(ch, now_mono_ns);
    rtp_agent_watch(ch);
}

static void reset(wrk_channel_t *ch)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    agent_path_reset(&a->path);
    rtp_agent_tx_gauges(ch);
    rtp_agent_publish_stats(ch);
    rtp_agent_rx_reset(ch);
    for (unsigned i = 0; i < SHM_RTP_COUNTER_SPACE; i++)
        rt_store_relaxed(&a->state->counters[i], 0);
}

static void refresh(wrk_channel_t *ch, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    rt_store_relaxed(&ch->stats->scheduled, tx_ring_waiting(&ch->segment));
    (void)agent_free_space(ch, 0, agent_refused, now_mono_ns); /* also if the channel is held */
    rtp_agent_tx_gauges(ch);
    rtp_agent_rx_refresh(ch);
    agent_path_counters(ch, &a->path);
}

static const agent_ops_t RTP_AGENT = {
    .engine = SHM_RTP_ENGINE,
    .state_bytes = sizeof(rtp_agent_t),
    .open = open_channel,
    .close = close_channel,
    .do_work = rtp_agent_take_in,
    .on_deadline = on_deadline,
    .deadline_ns = deadline_ns,
    .hold = hold,
    .release = release,
    .purge = rtp_agent_purge,
    .reset = reset,
    .refresh = refresh,
};
AGENT_REGISTER(RTP_AGENT)
