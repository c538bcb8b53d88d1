/* demultiplex.c: from the socket to the connections.
 *
 * A round reads a bounded number of messages, gives their datagrams to the connections, and then
 * serves each connection that got some, once. It reads no more than fits before another channel is
 * due. If one is due, no further round follows. */
#include "worker/agents/common/socket.h"
#include "worker/agents/common/tap.h"
#include "worker/agents/udt/udt.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#define MESSAGES_PER_ROUND 16u /* of up to 64 KiB: about 300 us */
#define ROUNDS_PER_CALL 4u

/* Nearly every datagram has the same source as the one before. */
static void note_source(udt_port_agent_t *p, const shm_addr_t *source)
{
    if (memcmp(&p->last_source, source, sizeof *source) == 0)
        return;
    p->last_source = *source;
    udt_port_agent_address(p, source, &p->last_from);
    p->last_address = udt_address_of(&p->last_from);
}

/* Of an arrival whose source was noted. */
static void note_ends(const udt_port_agent_t *p, const rx_item_t *item, udt_ends_t *ends)
{
    ends->peer = p->last_from;
    udt_port_agent_address(p, &item->local, &ends->local);
}

/* --- demultiplexing --------------------------------------------------------------------------- */

void udt_port_agent_serve_touched(udt_port_agent_t *p)
{
    udt_agent_t *a = p->touched;
    p->touched = NULL;
    while (a != NULL) {
        udt_agent_t *next = a->touched_next;
        a->touched = false;
        (void)udt_agent_serve(a->channel);
        wrk_reschedule(a->channel);
        a = next;
    }
}

/* Returns the channel of its connection. NULL: it belongs to none. */
static wrk_channel_t *demultiplex(udt_port_agent_t *p, const rx_item_t *item,
                                  int64_t arrival_mono_ns, int64_t now_mono_ns)
{
    udt_port_result_t result;
    udt_ends_t ends;
    const udt_address_t *address = &p->last_address;
    note_source(p, &item->source);
    switch (udt_port_receive(&p->sockets, item->payload, item->payload_bytes, address,
                             arrival_mono_ns, now_mono_ns, &result)) {
    case UDT_PORT_CONN:
        udt_port_agent_touch(p, udt_agent_with(result.conn));
        return udt_agent_with(result.conn)->channel;
    case UDT_PORT_REPLY:
        note_ends(p, item, &ends);
        udt_port_agent_send_one(p, result.reply, sizeof result.reply, &ends);
        break;
    case UDT_PORT_REQUEST:
        note_ends(p, item, &ends);
        udt_port_agent_request(p, &result.request, &ends, address, now_mono_ns);
        break;
    case UDT_PORT_DROPPED:
        break;
    }
    return NULL;
}

bool udt_port_agent_deliver(wrk_channel_t *ch, const rx_item_t *item, int64_t now_mono_ns)
{
    udt_port_agent_t *p = udt_port_agent_of(ch);
    int64_t arrival_mono_ns = item->time_ns + wrk_clock_shift_ns(ch);
    wrk_channel_t *to = demultiplex(p, item, arrival_mono_ns, now_mono_ns);
    if (to != NULL && agent_tapped(to)) {
        rx_item_t seen = *item;
        seen.time_ns = arrival_mono_ns - wrk_clock_shift_ns(to);
        agent_tap_item(to, &p->udp, &seen, AGENT_TAP_NO_SEQUENCE);
    }
    return true;
}

/* --- reading ------------------------------------------------------------------------------- */

void udt_port_agent_rx_open(udt_port_agent_t *p)
{
    p->receiver = (agent_receiver_t){
        .udp = &p->udp, .path = &p->path, .deliver = udt_port_agent_deliver};
}

/* Returns how many datagrams came. */
static unsigned read_round(udt_port_agent_t *p)
{
    wrk_channel_t *ch = p->channel;
    return agent_receive(ch, &p->receiver,
                         agent_intake_begin(&p->receiver.intake, ch, MESSAGES_PER_ROUND));
}

void udt_port_agent_on_socket(wrk_source_t *source, uint32_t events, int64_t now_mono_ns)
{
    (void)now_mono_ns;
    udt_port_agent_t *p = udt_port_agent_of(source->channel);
    if (events & EPOLLERR)
        agent_socket_take_error(&p->udp);
    if (p->channel->held || !(events & (EPOLLIN | EPOLLERR)))
        return;
    for (unsigned round = 0; round < ROUNDS_PER_CALL; round++) {
        if (read_round(p) == 0)
            break;
        udt_port_agent_counters(p);
        wrk_rx_publish(p->channel);
        udt_port_agent_serve_touched(p);
        agent_intake_end(&p->receiver.intake, p->udp.rx_messages);
        if (!p->udp.rx_more || rt_mono_ns() + AGENT_LEAD_NS >= wrk_free_until_ns(p->channel))
            break;
    }
}
