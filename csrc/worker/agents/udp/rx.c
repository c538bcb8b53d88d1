/* rx.c: from the socket to the rx ring.
 *
 * A call takes at most one batch of AGENT_BATCH messages, about 45 us without GRO, and no more than
 * fits before another channel is due. The socket stays readable and the poller calls again. If
 * deadlines leave no time at all, sockets are granted 50 us every 200 us (POLL_POSTPONE_MOST_NS):
 * with 8 messages each time, a third of 100 000 packets a second was lost to a full socket buffer.
 * A GRO batch that was begun is finished first, because it occupies the buffers that all sockets of
 * this worker share.
 *
 * With overflow="wait" no more messages are read than the ring has room for, even if each has the
 * maximum length. The rest stays in the kernel's socket buffer until readers make room. */
#include "worker/agents/udp/udp.h"

void udp_agent_watch_input(wrk_channel_t *ch)
{
    udp_agent_t *a = udp_agent_of(ch);
    uint32_t events = 0;
    if (a->receives && !ch->held && !a->stop.now)
        events |= EPOLLIN;
    if (a->sender.block.now)
        events |= EPOLLOUT;
    wrk_rewatch(ch, &a->socket, events);
}

void udp_agent_rx_retry(wrk_channel_t *ch, int64_t now_mono_ns)
{
    udp_agent_t *a = udp_agent_of(ch);
    if (!agent_receive_again(ch, &a->stop, a->udp.eff.gro, now_mono_ns))
        return;
    udp_agent_watch_input(ch);
    udp_agent_take_left(ch, now_mono_ns);
}

bool udp_agent_deliver(wrk_channel_t *ch, const rx_item_t *item, int64_t now_mono_ns)
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

void udp_agent_rx_open(wrk_channel_t *ch)
{
    udp_agent_t *a = udp_agent_of(ch);
    a->receiver = (agent_receiver_t){
        .udp = &a->udp,
        .path = &a->path,
        .deliver = udp_agent_deliver,
        .delivered = publish,
        .one_to_one = true,
    };
    agent_receiver_filter(&a->receiver, &ch->config);
}

void udp_agent_receive(wrk_channel_t *ch, int64_t now_mono_ns)
{
    udp_agent_t *a = udp_agent_of(ch);
    if (ch->held || a->stop.now)
        return;
    unsigned room = agent_receive_room(ch, &a->stop, a->udp.eff.gro, now_mono_ns);
    if (room == 0) {
        udp_agent_watch_input(ch);
        return;
    }
    unsigned fit = agent_intake_begin(&a->receiver.intake, ch, AGENT_BATCH);
    (void)agent_receive(ch, &a->receiver, room < fit ? room : fit);
    wrk_kernel_drops(ch, a->udp.kernel_drops, now_mono_ns);
    agent_intake_end(&a->receiver.intake, a->udp.rx_messages);
}

void udp_agent_take_left(wrk_channel_t *ch, int64_t now_mono_ns)
{
    if (udp_agent_of(ch)->udp.rx_left)
        udp_agent_receive(ch, now_mono_ns);
}
