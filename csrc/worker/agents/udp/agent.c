#include "worker/agents/udp/udp.h"

#include "worker/agents/common/socket.h"

static void watch_input(wrk_channel_t *ch)
{
    agent_input_watch(ch, &udp_agent_of(ch)->input);
}

/* --- events -------------------------------------------------------------------------------- */

static void on_socket(wrk_source_t *source, uint32_t events, int64_t now_mono_ns)
{
    wrk_channel_t *ch = source->channel;
    udp_agent_t *a = udp_agent_of(ch);
    if (events & EPOLLERR)
        agent_take_errors(ch, &a->sender.ledger, now_mono_ns);
    if (events & EPOLLOUT)
        agent_sender_unblock(ch, now_mono_ns);
    if (events & (EPOLLIN | EPOLLERR))
        agent_input_receive(ch, &a->input, now_mono_ns);
}

static void on_deadline(wrk_channel_t *ch, int64_t now_mono_ns)
{
    udp_agent_t *a = udp_agent_of(ch);
    agent_sender_on_deadline(ch, now_mono_ns);
    agent_path_emit(ch, &a->path, now_mono_ns);
    agent_input_retry(ch, &a->input, now_mono_ns);
    agent_collect_overdue_stamps(ch, &a->sender.ledger, now_mono_ns);
}

static int64_t deadline_ns(const wrk_channel_t *ch)
{
    const udp_agent_t *a = udp_agent_of(ch);
    int64_t at = agent_earlier_ns(agent_input_deadline_ns(ch, &a->input),
                                  agent_sender_deadline_ns(ch));
    at = agent_earlier_ns(at, agent_path_deadline_ns(&a->path));
    return agent_earlier_ns(at, agent_stamp_deadline_ns(&a->sender.ledger));
}

/* --- open ---------------------------------------------------------------------------------- */

static void close_socket(wrk_channel_t *ch)
{
    udp_agent_t *a = udp_agent_of(ch);
    wrk_unwatch(ch, &a->socket);
    agent_socket_close(&a->udp, a->phc);
}

static int start(wrk_channel_t *ch, int64_t now_mono_ns)
{
    udp_agent_t *a = udp_agent_of(ch);
    a->socket = (wrk_source_t){.on_event = on_socket, .fd = -1};
    a->path = (agent_path_t){
        .udp = &a->udp, .deliver = agent_input_deliver, .delivered = &ch->rx.sequence};
    a->sender = (agent_sender_t){
        .udp = &a->udp, .path = &a->path, .block_changed = watch_input};
    int rc = agent_path_open(ch, &a->path);
    rc = rc ? rc : agent_sender_open(ch, a->path.tx != NULL, now_mono_ns);
    if (rc < 0)
        return rc;
    a->udp.rx_position = a->path.rx != NULL ? &a->path.rx_taken : &ch->rx.sequence;
    wrk_kernel_drops_resume(ch, udp_drops_refresh(&a->udp), now_mono_ns);
    a->input.socket = &a->socket;
    a->input.block = &a->sender.block;
    agent_input_open(ch, &a->input, &a->udp, &a->path);
    rc = wrk_watch(ch, &a->socket, a->udp.fd, 0);
    if (rc == 0)
        watch_input(ch);
    return rc;
}

static int open_channel(wrk_channel_t *ch, int64_t now_mono_ns)
{
    udp_agent_t *a = udp_agent_of(ch);
    a->input.on = ch->config.direction & SHM_RX;
    int rc = agent_socket_open(ch, wrk_take_socket(ch), false, &a->udp, &a->phc);
    if (rc < 0)
        return rc;
    rc = start(ch, now_mono_ns);
    if (rc < 0) {
        agent_sender_close(ch);
        close_socket(ch);
        return rc;
    }
    agent_socket_facts(ch, &a->udp);
    agent_input_take_left(ch, &a->input, now_mono_ns);
    return 0;
}

static void close_channel(wrk_channel_t *ch)
{
    udp_agent_t *a = udp_agent_of(ch);
    agent_give_up_stamps(ch, &a->sender.ledger);
    agent_path_counters(ch, &a->path);
    close_socket(ch);
    agent_sender_close(ch);
}

/* --- hold, duties -------------------------------------------------------------------------- */

static void hold(wrk_channel_t *ch)
{
    watch_input(ch);
}

static void release(wrk_channel_t *ch, int64_t now_mono_ns)
{
    udp_agent_t *a = udp_agent_of(ch);
    agent_sender_release(ch);
    watch_input(ch);
    agent_input_take_left(ch, &a->input, now_mono_ns);
}

static void reset(wrk_channel_t *ch)
{
    udp_agent_t *a = udp_agent_of(ch);
    wrk_kernel_drops_reset(ch, udp_drops_refresh(&a->udp));
    agent_path_reset(&a->path);
}

static void refresh(wrk_channel_t *ch, int64_t now_mono_ns)
{
    udp_agent_t *a = udp_agent_of(ch);
    agent_sender_refresh(ch, now_mono_ns);
    if (a->input.on)
        wrk_kernel_drops(ch, udp_drops_refresh(&a->udp), now_mono_ns);
    agent_path_counters(ch, &a->path);
}

static const agent_ops_t UDP_AGENT = {
    .engine = "udp",
    .counts_each = true,
    .state_bytes = sizeof(udp_agent_t),
    .open = open_channel,
    .close = close_channel,
    .do_work = agent_sender_take_in,
    .on_deadline = on_deadline,
    .deadline_ns = deadline_ns,
    .hold = hold,
    .release = release,
    .purge = agent_sender_purge,
    .reset = reset,
    .refresh = refresh,
};
AGENT_REGISTER(UDP_AGENT)
