#include "worker/agents/common/input.h"

void agent_input_watch(wrk_channel_t *ch, agent_input_t *in)
{
    uint32_t events = 0;
    if (in->on && !ch->held && !in->stop.now)
        events |= EPOLLIN;
    if (in->block->now)
        events |= EPOLLOUT;
    wrk_rewatch(ch, in->socket, events);
}

int64_t agent_input_deadline_ns(const wrk_channel_t *ch, const agent_input_t *in)
{
    return in->stop.now && !ch->held ? in->stop.retry_mono_ns : RT_NEVER_NS;
}

void agent_input_retry(wrk_channel_t *ch, agent_input_t *in, int64_t now_mono_ns)
{
    if (!agent_receive_again(ch, &in->stop, in->receiver.udp->eff.gro, now_mono_ns))
        return;
    agent_input_watch(ch, in);
    agent_input_take_left(ch, in, now_mono_ns);
}

bool agent_input_deliver(wrk_channel_t *ch, const rx_item_t *item, int64_t now_mono_ns)
{
    (void)now_mono_ns;
    rx_item_t cut;
    if (item->payload_bytes > ch->config.max_payload_bytes) {
        cut = *item;
        cut.payload_bytes = ch->config.max_payload_bytes;
        cut.flags |= SHM_RX_TRUNCATED;
        item = &cut;
    }
    if (item->flags & SHM_RX_TRUNCATED)
        wrk_count(ch, SHM_COUNT_rx_truncated, 1);
    return rx_writer_put(&ch->rx, item) == 0;
}

static void publish(wrk_channel_t *ch, const udp_rx_t *in, unsigned count)
{
    wrk_rx_publish(ch);
    int64_t now = rt_mono_ns() - wrk_clock_shift_ns(ch);
    for (unsigned i = 0; i < count; i++)
        wrk_hist(ch, SHM_HIST_rx_delivery, now - in[i].time_ns);
}

void agent_input_open(const wrk_channel_t *ch, agent_input_t *in, udp_t *udp, agent_path_t *path)
{
    in->receiver = (agent_receiver_t){
        .udp = udp,
        .path = path,
        .deliver = agent_input_deliver,
        .delivered = publish,
        .one_to_one = true,
    };
    agent_receiver_filter(&in->receiver, &ch->config);
}

void agent_input_receive(wrk_channel_t *ch, agent_input_t *in, int64_t now_mono_ns)
{
    udp_t *udp = in->receiver.udp;
    if (ch->held || in->stop.now)
        return;
    unsigned room = agent_receive_room(ch, &in->stop, udp->eff.gro, now_mono_ns);
    if (room == 0) {
        agent_input_watch(ch, in);
        return;
    }
    unsigned fit = agent_intake_begin(&in->receiver.intake, ch, AGENT_BATCH);
    (void)agent_receive(ch, &in->receiver, room < fit ? room : fit);
    wrk_kernel_drops(ch, udp->kernel_drops, now_mono_ns);
    agent_intake_end(&in->receiver.intake, udp->rx_messages);
}

void agent_input_take_left(wrk_channel_t *ch, agent_input_t *in, int64_t now_mono_ns)
{
    if (in->receiver.udp->rx_left)
        agent_input_receive(ch, in, now_mono_ns);
}
