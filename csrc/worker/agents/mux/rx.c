/* rx.c: from the sockets to the rx ring.
 *
 * A round takes a bounded number of messages, and no more than MESSAGES_PER_PORT from each port
 * that has some, in the order in which the kernel says that they are ready; it puts ports that have
 * more to the end of that order. So a flooded port holds up no other. What a round has read is
 * published at its end, with one call to wake the reader.
 *
 * The ring waits for its reader: no more messages are read than it has room for, were each the
 * longest there can be. What the reader does not make room for stays in the sockets' own buffers,
 * each port's in its own. */
#include "worker/agents/mux/agent.h"

#include "worker/agents/common/socket.h"
#include "worker/agents/common/tap.h"

#include <errno.h>

#define RX_RETRY_NS RT_NS_PER_MS
#define MESSAGES_PER_PORT 16u
#define MESSAGES_PER_ROUND 256u /* about 200 us; less where a deadline is near */

void mux_agent_watch_input(wrk_channel_t *ch)
{
    mux_agent_t *m = mux_agent_of(ch);
    wrk_rewatch(ch, &m->input, m->held || m->rx_stopped ? 0 : EPOLLIN);
}

static unsigned room_messages(const wrk_channel_t *ch)
{
    if (!ch->rx.wait_for_readers)
        return MESSAGES_PER_PORT;
    if (mux_agent_of(ch)->gro)
        return rx_writer_room(&ch->rx, UDP_GRO_DATAGRAMS, UDP_GRO_BYTES);
    return rx_writer_room(&ch->rx, 1, ch->config.max_payload_bytes);
}

static void stop_reading(wrk_channel_t *ch, int64_t now_mono_ns)
{
    mux_agent_t *m = mux_agent_of(ch);
    m->rx_stopped = true;
    m->rx_retry_mono_ns = now_mono_ns + RX_RETRY_NS;
    mux_agent_watch_input(ch);
}

void mux_agent_rx_retry(wrk_channel_t *ch, int64_t now_mono_ns)
{
    mux_agent_t *m = mux_agent_of(ch);
    if (!m->rx_stopped || now_mono_ns < m->rx_retry_mono_ns)
        return;
    if (room_messages(ch) == 0) {
        m->rx_retry_mono_ns = now_mono_ns + RX_RETRY_NS;
        return;
    }
    m->rx_stopped = false;
    mux_agent_watch_input(ch);
}

void mux_agent_note_drops(wrk_channel_t *ch, mux_socket_t *s, uint64_t before)
{
    uint64_t dropped = s->udp.kernel_drops - before;
    if (dropped == 0)
        return;
    wrk_count(ch, SHM_COUNT_rx_kernel_drops, dropped);
    mux_agent_of(ch)->table[s->port].drops = s->udp.kernel_drops;
    wrk_note(ch, SHM_EVENT_kernel_drops, dropped, 0, 0, 0, rt_mono_ns());
}

static void deliver(wrk_channel_t *ch, const mux_socket_t *s, const udp_rx_t *in)
{
    rx_item_t item = {
        .payload = in->data,
        .payload_bytes = in->len,
        .time_ns = in->time_ns,
        .stamp = (uint8_t)(in->stamp + SHM_STAMP_USER - UDP_STAMP_USER),
        .flags = in->shared_stamp ? SHM_RX_SHARED_STAMP : 0,
        .tag = mux_tag(s->port, s->generation),
    };
    agent_addr_out(&item.source, &in->source);
    if (rx_writer_put(&ch->rx, &item) < 0)
        wrk_count(ch, SHM_COUNT_rx_overwritten, 1);
}

/* To look for a message that is not there costs a fifth of a call that finds one, and most ports have
 * one at a time. A port that is ready again in the same round has more. */
static void expect_more(const mux_agent_t *m, mux_socket_t *s)
{
    if (s->round == m->round && s->expected < MESSAGES_PER_PORT)
        s->expected = (uint16_t)(2 * s->expected);
    s->round = m->round;
}

/* Takes what one call brings, whole batches of the kernel's. Returns the messages it asked for. */
static unsigned receive(wrk_channel_t *ch, mux_socket_t *s, unsigned room)
{
    mux_agent_t *m = mux_agent_of(ch);
    expect_more(m, s);
    unsigned messages = room < s->expected ? room : s->expected;
    uint64_t drops = s->udp.kernel_drops;
    uint64_t bytes = 0, packets = 0;
    int n;
    unsigned ask = messages;
    do {
        n = udp_recv_messages(&s->udp, m->arrivals, MUX_AGENT_BATCH, ask);
        uint64_t sequence = ch->rx.sequence;
        for (int i = 0; i < n; i++) {
            if (s->udp.rx_skip > 0) { /* a predecessor published it */
                s->udp.rx_skip--;
                continue;
            }
            deliver(ch, s, &m->arrivals[i]);
            bytes += m->arrivals[i].len;
        }
        if (n > 0 && agent_tapped(ch))
            agent_tap_arrived(ch, &s->udp, m->arrivals, (unsigned)n, NULL, sequence);
        packets += n > 0 ? (unsigned)n : 0;
        ask = 0;
    } while (n == MUX_AGENT_BATCH);
    rx_writer_show(&ch->rx);
    udp_recv_done(&s->udp);
    wrk_count(ch, SHM_COUNT_rx_calls, 1);
    wrk_count(ch, SHM_COUNT_rx_received, packets);
    wrk_count(ch, SHM_COUNT_rx_bytes, bytes);
    if (n < 0 && n != -EBUSY) {
        wrk_count(ch, SHM_COUNT_rx_errors, 1);
        wrk_note(ch, SHM_EVENT_receive_failed, 1, -n, 0, 0, rt_mono_ns());
    }
    mux_agent_note_drops(ch, s, drops);
    if (packets < messages)
        s->expected = packets > 1 ? (uint16_t)packets : 1;
    return messages;
}

/* Serves what the last look at the ports found. Returns the messages taken. */
static unsigned serve_ready(wrk_channel_t *ch, unsigned taken, unsigned most, int64_t now_mono_ns)
{
    mux_agent_t *m = mux_agent_of(ch);
    wrk_source_t *source;
    uint32_t events;
    while (taken < most && (source = poller_next(&m->poller, &events)) != NULL) {
        unsigned room = room_messages(ch);
        if (room == 0) {
            stop_reading(ch, now_mono_ns);
            return most;
        }
        taken += receive(ch, (mux_socket_t *)source, room < most - taken ? room : most - taken);
    }
    return taken;
}

void mux_agent_take_left(wrk_channel_t *ch)
{
    mux_agent_t *m = mux_agent_of(ch);
    if (m->held)
        return;
    for (uint32_t port = 0; port < m->port_count; port++)
        if (m->sockets[port] != NULL && m->sockets[port]->udp.rx_left)
            (void)receive(ch, m->sockets[port], MESSAGES_PER_PORT);
    wrk_rx_publish(ch);
}

void mux_agent_on_input(wrk_source_t *source, uint32_t events, int64_t now_mono_ns)
{
    (void)events;
    wrk_channel_t *ch = source->channel;
    mux_agent_t *m = mux_agent_of(ch);
    unsigned taken = 0;
    m->round++;
    if (m->held || m->rx_stopped)
        return;
    unsigned most = agent_intake_begin(&m->intake, ch, MESSAGES_PER_ROUND);
    /* What a round left goes first in the next: a new look begins with the same ports. */
    while (taken < most && (poller_has_rest(&m->poller) || poller_wait(&m->poller, 0) > 0))
        taken = serve_ready(ch, taken, most, now_mono_ns);
    wrk_rx_publish(ch);
    agent_intake_end(&m->intake, taken);
}
