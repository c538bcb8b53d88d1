/* rx.c: from the socket to the rx ring.
 *
 * A call takes at most one batch of AGENT_BATCH messages, about 45 us without GRO, and no more than
 * fits before another channel is due; the socket stays readable and the poller calls again. Where
 * deadlines leave no time at all, sockets are granted 50 us every 200 us (POLL_PATIENCE_NS): 8
 * messages each time lost a third of 100 000 packets a second to a full socket buffer. A GRO batch
 * that was begun is finished first: it occupies the buffers that all sockets of this worker share.
 *
 * With overflow="wait" no more messages are read than the ring has room for, were each the longest
 * there can be; what the readers do not make room for stays in the kernel's socket buffer. */
#include "worker/agents/common/socket.h"
#include "worker/agents/common/tap.h"
#include "worker/agents/udp/agent.h"

#include <errno.h>

void udp_agent_watch_input(wrk_channel_t *ch)
{
    udp_agent_t *a = udp_agent_of(ch);
    uint32_t events = 0;
    if (a->receives && !a->held && !a->rx_stopped)
        events |= EPOLLIN;
    if (a->block.now)
        events |= EPOLLOUT;
    wrk_rewatch(ch, &a->socket, events);
}

/* Messages that the ring has room for; any number where old packets are overwritten. */
static unsigned room_messages(const wrk_channel_t *ch)
{
    if (!ch->rx.wait_for_readers)
        return UINT32_MAX;
    if (udp_agent_of(ch)->udp.eff.gro)
        return rx_writer_room(&ch->rx, UDP_GRO_DATAGRAMS, UDP_GRO_BYTES);
    return rx_writer_room(&ch->rx, 1, ch->config.max_payload_bytes);
}

static void stop_reading(wrk_channel_t *ch, int64_t now_mono_ns)
{
    udp_agent_t *a = udp_agent_of(ch);
    a->rx_stopped = true;
    a->rx_retry_mono_ns = now_mono_ns + AGENT_RX_RETRY_NS;
    udp_agent_watch_input(ch);
}

void udp_agent_rx_retry(wrk_channel_t *ch, int64_t now_mono_ns)
{
    udp_agent_t *a = udp_agent_of(ch);
    if (!a->rx_stopped || now_mono_ns < a->rx_retry_mono_ns)
        return;
    if (room_messages(ch) == 0) {
        a->rx_retry_mono_ns = now_mono_ns + AGENT_RX_RETRY_NS;
        return;
    }
    a->rx_stopped = false;
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

static bool is_from_remote(const udp_agent_t *a, const udp_rx_t *in)
{
    return !udp_addr_is_set(&a->only_from) || udp_addr_equal(&a->only_from, &in->source);
}

static bool wanted(wrk_channel_t *ch, const udp_rx_t *in)
{
    if (is_from_remote(udp_agent_of(ch), in))
        return true;
    wrk_count(ch, SHM_COUNT_rx_filtered, 1);
    return false;
}

static void measure_delivery(wrk_channel_t *ch, const udp_rx_t *in, unsigned count)
{
    int64_t now = rt_mono_ns() - wrk_clock_shift_ns(ch);
    for (unsigned i = 0; i < count; i++)
        wrk_hist(ch, SHM_HIST_rx_delivery, now - in[i].time_ns);
}

static void take_arrivals(wrk_channel_t *ch, unsigned count, int64_t now_mono_ns)
{
    udp_agent_t *a = udp_agent_of(ch);
    uint64_t bytes = 0;
    uint64_t sequence = ch->rx.sequence;
    for (unsigned i = 0; i < count; i++) {
        const udp_rx_t *in = &a->arrivals[i];
        bytes += in->len;
        if (!wanted(ch, in))
            continue;
        rx_item_t item;
        agent_rx_item(&item, in);
        if (a->link.rx != NULL)
            agent_link_offer_rx(&a->link, &item);
        else if (!udp_agent_deliver(ch, &item, now_mono_ns))
            wrk_count(ch, SHM_COUNT_rx_overwritten, 1);
    }
    if (a->link.rx != NULL)
        agent_link_took_rx(ch, &a->link);
    else
        wrk_rx_publish(ch);
    wrk_count(ch, SHM_COUNT_rx_received, count);
    wrk_count(ch, SHM_COUNT_rx_bytes, bytes);
    if (a->link.rx != NULL)
        return;
    measure_delivery(ch, a->arrivals, count);
    if (agent_tapped(ch))
        agent_tap_arrived(ch, &a->udp, a->arrivals, count, &a->only_from, sequence);
}

/* Removes those that a predecessor published. Returns how many are left. */
static __attribute__((noinline)) unsigned drop_published(udp_agent_t *a, unsigned count)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < count; i++) {
        if (a->udp.rx_skip == 0)
            a->arrivals[kept++] = a->arrivals[i];
        else if (is_from_remote(a, &a->arrivals[i]))
            a->udp.rx_skip--;
    }
    return kept;
}

/* Returns whether the call came back full, so that the buffers may hold a rest. */
static bool receive_once(wrk_channel_t *ch, unsigned messages, int64_t now_mono_ns)
{
    udp_agent_t *a = udp_agent_of(ch);
    int n = udp_recv_messages(&a->udp, a->arrivals, AGENT_BATCH, messages);
    wrk_count(ch, SHM_COUNT_rx_calls, 1);
    if (n < 0) {
        if (n == -EBUSY) /* another socket's rest is fetched first */
            return false;
        wrk_receive_failed(ch, -n, now_mono_ns);
        return false;
    }
    unsigned fresh = n > 0 && a->udp.rx_skip > 0 ? drop_published(a, (unsigned)n) : (unsigned)n;
    if (fresh > 0)
        take_arrivals(ch, fresh, now_mono_ns);
    wrk_kernel_drops(ch, a->udp.kernel_drops, now_mono_ns);
    return n == AGENT_BATCH;
}

void udp_agent_receive(wrk_channel_t *ch, int64_t now_mono_ns)
{
    udp_agent_t *a = udp_agent_of(ch);
    if (a->held || a->rx_stopped)
        return;
    unsigned room = room_messages(ch);
    if (room == 0) {
        stop_reading(ch, now_mono_ns);
        return;
    }
    unsigned messages = agent_intake_begin(&a->intake, ch, AGENT_BATCH);
    bool rest = receive_once(ch, room < messages ? room : messages, now_mono_ns);
    while (rest)
        rest = receive_once(ch, 0, now_mono_ns);
    udp_recv_done(&a->udp);
    agent_intake_end(&a->intake, a->udp.rx_messages);
}

void udp_agent_take_left(wrk_channel_t *ch, int64_t now_mono_ns)
{
    if (udp_agent_of(ch)->udp.rx_left)
        udp_agent_receive(ch, now_mono_ns);
}
