/* rx.c: from the sockets to the rx ring.
 *
 * A round takes a bounded number of messages, and at most MESSAGES_PER_PORT from each ready port,
 * in the order in which the kernel reports them as ready. Ports that have more move to the end of
 * that order. So a flooded port does not delay the others. The datagrams of a round are published
 * at its end, with one call to wake the reader.
 *
 * The ring waits for its reader: no more messages are read than it has room for, even if each has
 * the maximum length. The rest stays in the sockets' buffers, separately for each port, until the
 * reader makes room. */
#include "worker/agents/mux/mux.h"

#include "worker/agents/common/socket.h"

#include <stddef.h>

#define MESSAGES_PER_PORT 16u
#define MESSAGES_PER_ROUND 256u /* about 200 us; fewer if a deadline is near */

void mux_agent_watch_input(wrk_channel_t *ch)
{
    mux_agent_t *m = mux_agent_of(ch);
    wrk_rewatch(ch, &m->input, ch->held || m->stop.now ? 0 : EPOLLIN);
}

void mux_agent_rx_retry(wrk_channel_t *ch, int64_t now_mono_ns)
{
    mux_agent_t *m = mux_agent_of(ch);
    if (agent_receive_again(ch, &m->stop, m->gro, now_mono_ns))
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

static bool deliver(wrk_channel_t *ch, const rx_item_t *item, int64_t now_mono_ns)
{
    (void)now_mono_ns;
    return rx_writer_put(&ch->rx, item) == 0;
}

void mux_agent_leave_from(mux_agent_t *m, mux_socket_t *s, const udp_addr_t *local)
{
    s->from.sa.sa_family = AF_UNSPEC;
    if (local != NULL)
        s->from = *local;
    agent_addr_out(&m->table[s->port].source, &s->from);
}

/* Packets leave from the address that the target sends to. Before there is a target, it may become
 * anybody who sends. */
static void note_sender(mux_agent_t *m, const udp_rx_t *in)
{
    mux_socket_t *s =
        (mux_socket_t *)(void *)((char *)m->receiver.udp - offsetof(mux_socket_t, udp));
    bool is_target = udp_addr_equal(&in->source, &s->target);
    if (in->local == NULL || (udp_addr_is_set(&s->target) && !is_target))
        return;
    if (!udp_addr_equal(&s->heard, &in->source) || !udp_addr_equal(&s->from, in->local)) {
        s->heard = in->source;
        mux_agent_leave_from(m, s, in->local);
    }
}

static void show(wrk_channel_t *ch, const udp_rx_t *in, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        note_sender(mux_agent_of(ch), &in[i]);
    rx_writer_show(&ch->rx);
}

void mux_agent_rx_open(wrk_channel_t *ch)
{
    mux_agent_of(ch)->receiver =
        (agent_receiver_t){.deliver = deliver, .delivered = show, .one_to_one = true};
}

/* Asking for a message that is not there costs a fifth of a call that finds one, and most ports
 * have one at a time. A port that is ready again in the same round has more. */
static void expect_more(const mux_agent_t *m, mux_socket_t *s)
{
    if (s->round == m->round && s->expected < MESSAGES_PER_PORT)
        s->expected = (uint16_t)(2 * s->expected);
    s->round = m->round;
}

/* Takes what one call delivers, complete batches of the kernel.
 * Returns the messages it asked for. */
static unsigned receive(wrk_channel_t *ch, mux_socket_t *s, unsigned room)
{
    mux_agent_t *m = mux_agent_of(ch);
    expect_more(m, s);
    unsigned messages = room < s->expected ? room : s->expected;
    uint64_t drops = s->udp.kernel_drops;
    m->receiver.udp = &s->udp;
    m->receiver.tag = mux_tag(s->port, s->generation);
    unsigned packets = agent_receive(ch, &m->receiver, messages);
    mux_agent_note_drops(ch, s, drops);
    if (packets < messages)
        s->expected = packets > 1 ? (uint16_t)packets : 1;
    return messages;
}

/* Serves the ports that the last epoll call found ready. Returns the messages taken. */
static unsigned serve_ready(wrk_channel_t *ch, unsigned taken, unsigned most, int64_t now_mono_ns)
{
    mux_agent_t *m = mux_agent_of(ch);
    wrk_source_t *source;
    uint32_t events;
    while (taken < most && (source = poller_next(&m->poller, &events)) != NULL) {
        unsigned room = agent_receive_room(ch, &m->stop, m->gro, now_mono_ns);
        if (room == 0) {
            mux_agent_watch_input(ch);
            return most;
        }
        taken += receive(ch, (mux_socket_t *)source, room < most - taken ? room : most - taken);
    }
    return taken;
}

void mux_agent_take_left(wrk_channel_t *ch)
{
    mux_agent_t *m = mux_agent_of(ch);
    if (ch->held)
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
    if (ch->held || m->stop.now)
        return;
    unsigned most = agent_intake_begin(&m->receiver.intake, ch, MESSAGES_PER_ROUND);
    /* Ports left over from a round come first in the next: a new epoll call would begin with the
     * same ports. */
    while (taken < most && (poller_has_rest(&m->poller) || poller_wait(&m->poller, 0) > 0))
        taken = serve_ready(ch, taken, most, now_mono_ns);
    wrk_rx_publish(ch);
    agent_intake_end(&m->receiver.intake, taken);
}
