/* port_send.c: from the connections to the port's socket, and packets that the kernel has no room
 * for. */
#include "worker/agents/common/tap.h"
#include "worker/agents/udt/udt.h"

#include <string.h>

void udt_port_agent_touch(udt_port_agent_t *p, udt_agent_t *a)
{
    if (a->touched)
        return;
    a->touched = true;
    a->touched_next = p->touched;
    p->touched = a;
}

/* Without data. */
static udp_tx_t message_to(const udt_ends_t *ends)
{
    return (udp_tx_t){.dest = &ends->peer,
                      .source = udp_addr_is_set(&ends->local) ? &ends->local : NULL};
}

static void keep_refused(udt_port_agent_t *p, wrk_channel_t *from, const udp_tx_t *messages,
                         unsigned count)
{
    udt_refused_t *r = &p->refused;
    r->from = from;
    r->at = 0;
    r->count = count;
    for (unsigned i = 0; i < count; i++) {
        const udp_tx_t *m = &messages[i];
        uint8_t *to = r->bytes + (size_t)i * UDT_AGENT_PLACE_BYTES;
        memcpy(to, m->head, m->head_bytes);
        if (m->len > 0)
            memcpy(to + m->head_bytes, m->data, m->len);
        udt_ends_t *ends = &r->ends[i];
        ends->peer = *m->dest;
        ends->local.sa.sa_family = AF_UNSPEC;
        if (m->source != NULL)
            ends->local = *m->source;
        r->messages[i] = message_to(ends);
        r->messages[i].data = to;
        r->messages[i].len = m->head_bytes + m->len;
    }
}

/* Shows it to the port's taps and to those of its connection (NULL: it has none). */
static void tap(const udt_port_agent_t *p, wrk_channel_t *from, const udp_tx_t *messages,
                unsigned count, int64_t start_mono_ns, int64_t end_mono_ns)
{
    if (agent_tapped(p->channel))
        agent_tap_left(p->channel, &p->udp, messages, count, start_mono_ns, end_mono_ns);
    if (from != NULL && agent_tapped(from))
        agent_tap_left(from, &p->udp, messages, count, start_mono_ns, end_mono_ns);
}

/* Hands over as many as possible. Returns how many are done: fewer than count if the kernel has no
 * room now. */
unsigned udt_port_agent_hand_over(udt_port_agent_t *p, wrk_channel_t *from, udp_tx_t *messages,
                          unsigned count)
{
    wrk_channel_t *ch = p->channel;
    unsigned at = 0;
    while (at < count) {
        int error = 0;
        int64_t start = rt_mono_ns();
        int sent = udp_send(&p->udp, &messages[at], count - at, &error);
        int64_t end = rt_mono_ns();
        wrk_count(ch, SHM_COUNT_tx_calls, 1);
        wrk_count(ch, SHM_COUNT_tx_sent, (uint64_t)sent);
        wrk_hist(ch, SHM_HIST_send_call, end - start);
        wrk_note_send_end(ch, end);
        tap(p, from, &messages[at], (unsigned)sent, start, end);
        at += (unsigned)sent;
        if (error == 0)
            continue;
        if (agent_is_no_room(error))
            break;
        wrk_count(ch, SHM_COUNT_tx_failed, 1); /* lost, as on the way */
        wrk_note(ch, SHM_EVENT_send_failed, 1, error, 0, 0, end);
        at++;
    }
    return at;
}

void udt_port_agent_watch(udt_port_agent_t *p)
{
    bool reads = !p->channel->held && p->rest_mono_ns == 0;
    uint32_t events = (reads ? EPOLLIN : 0u) | (p->block.now ? EPOLLOUT : 0u);
    wrk_rewatch(p->channel, &p->socket, events);
}

static void send_now(udt_port_agent_t *p, wrk_channel_t *from, udp_tx_t *messages, unsigned count)
{
    if (p->block.now) { /* of a connection that ends: lost, as on the way */
        wrk_count(p->channel, SHM_COUNT_tx_failed, count);
        return;
    }
    unsigned done = udt_port_agent_hand_over(p, from, messages, count);
    if (done == count)
        return;
    wrk_count(p->channel, SHM_COUNT_tx_retries, 1);
    keep_refused(p, from, &messages[done], count - done);
    agent_block(&p->block, rt_mono_ns());
    udt_port_agent_watch(p);
    wrk_reschedule(p->channel);
}

static void offer(udt_port_agent_t *p, wrk_channel_t *from, const udt_out_t *out,
                  const udt_ends_t *ends, int64_t now_mono_ns)
{
    memcpy(p->whole, out->head, out->head_bytes);
    if (out->payload_bytes > 0)
        memcpy(p->whole + out->head_bytes, out->payload, out->payload_bytes);
    udp_tx_t message = message_to(ends);
    message.data = p->whole;
    message.len = out->head_bytes + out->payload_bytes;
    agent_path_offer_tx(&p->path, &message, 1, now_mono_ns);
    tap(p, from, &message, 1, now_mono_ns, now_mono_ns);
}

void udt_port_agent_send(udt_port_agent_t *p, wrk_channel_t *from, const udt_out_t *out,
                         size_t count, const udt_ends_t *ends)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += out[i].head_bytes + out[i].payload_bytes;
    wrk_count(p->channel, SHM_COUNT_tx_bytes, bytes);
    if (from != NULL)
        wrk_count(from, SHM_COUNT_tx_calls, 1);
    if (p->path.tx != NULL) {
        int64_t now = rt_mono_ns();
        for (size_t i = 0; i < count; i++)
            offer(p, from, &out[i], ends, now);
        wrk_reschedule(p->channel);
        return;
    }
    const udp_tx_t way = message_to(ends);
    for (size_t i = 0; i < count; i++)
        p->messages[i] = (udp_tx_t){
            .head = out[i].head,
            .head_bytes = out[i].head_bytes,
            .data = out[i].payload,
            .len = out[i].payload_bytes,
            .dest = way.dest,
            .source = way.source,
        };
    send_now(p, from, p->messages, (unsigned)count);
}

void udt_port_agent_send_one(udt_port_agent_t *p, const void *data, uint32_t bytes,
                             const udt_ends_t *ends)
{
    udp_tx_t message = message_to(ends);
    message.data = data;
    message.len = bytes;
    wrk_count(p->channel, SHM_COUNT_tx_bytes, bytes);
    if (p->path.tx != NULL) {
        int64_t now = rt_mono_ns();
        agent_path_offer_tx(&p->path, &message, 1, now);
        tap(p, NULL, &message, 1, now, now);
        wrk_reschedule(p->channel);
        return;
    }
    (void)udt_port_agent_hand_over(p, NULL, &message, 1);
}
