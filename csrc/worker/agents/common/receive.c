#include "worker/agents/common/receive.h"

#include "worker/agents/common/socket.h"
#include "worker/agents/common/tap.h"

#include <errno.h>

void agent_receiver_filter(agent_receiver_t *r, const shm_config_t *config)
{
    if (config->connect)
        agent_addr_in(&r->only_from, &config->remote);
    r->filters = udp_addr_is_set(&r->only_from) && !udp_addr_is_multicast(&r->only_from);
}

static bool is_wanted(const agent_receiver_t *r, const udp_rx_t *in)
{
    return !r->filters || udp_addr_equal(&r->only_from, &in->source);
}

/* Removes the datagrams that a predecessor published. Returns how many are left. */
static __attribute__((noinline)) unsigned drop_published(agent_receiver_t *r, unsigned count)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < count; i++) {
        if (r->udp->rx_skip == 0)
            r->arrivals[kept++] = r->arrivals[i];
        else if (is_wanted(r, &r->arrivals[i]))
            r->udp->rx_skip--;
    }
    return kept;
}

/* Those that a predecessor has not counted. */
static void count_arrivals(wrk_channel_t *ch, agent_receiver_t *r, unsigned count)
{
    unsigned known = r->udp->rx_known < count ? (unsigned)r->udp->rx_known : count;
    uint64_t bytes = 0;
    uint64_t filtered = 0;
    r->udp->rx_known -= known;
    for (unsigned i = known; i < count; i++) {
        bytes += r->arrivals[i].len;
        filtered += !is_wanted(r, &r->arrivals[i]);
    }
    wrk_count(ch, SHM_COUNT_rx_received, count - known); /* first: rx_known follows from it */
    wrk_count(ch, SHM_COUNT_rx_bytes, bytes);
    wrk_count(ch, SHM_COUNT_rx_filtered, filtered);
    r->filtered += filtered;
    r->bytes += bytes;
}

static bool is_impaired(const agent_receiver_t *r)
{
    return r->path != NULL && r->path->rx != NULL;
}

static void hand_over(wrk_channel_t *ch, agent_receiver_t *r, const udp_rx_t *in, int64_t now_mono_ns)
{
    rx_item_t item;
    agent_rx_item(&item, in);
    item.tag = r->tag;
    if (is_impaired(r))
        agent_path_offer_rx(r->path, &item);
    else if (!r->deliver(ch, &item, now_mono_ns))
        wrk_count(ch, SHM_COUNT_rx_overwritten, 1);
}

static void finish(wrk_channel_t *ch, agent_receiver_t *r, unsigned count, uint64_t sequence)
{
    if (is_impaired(r)) {
        agent_path_took_rx(ch, r->path);
        return;
    }
    if (r->delivered != NULL)
        r->delivered(ch, r->arrivals, count);
    if (agent_tapped(ch))
        agent_tap_arrived(ch, r->udp, r->arrivals, count, r->filters ? &r->only_from : NULL,
                          r->one_to_one ? sequence : AGENT_TAP_NO_SEQUENCE);
}

/* The order: counted, published, udp_recv_done. So who has read a packet finds it counted. A worker
 * that dies before the last leaves the whole batch to its successor, which publishes those that are
 * not published (rx_skip) and counts those that are not counted (rx_known): each once, wherever it
 * died. Of bytes and filtered datagrams, those of one call may be missing after a death behind
 * rx_received; they are never counted twice. */
static void take(wrk_channel_t *ch, agent_receiver_t *r, unsigned came)
{
    int64_t now = rt_mono_ns(); /* they may have come since this pass began */
    uint64_t sequence = ch->rx.sequence;
    count_arrivals(ch, r, came);
    unsigned fresh = r->udp->rx_skip > 0 ? drop_published(r, came) : came;
    if (fresh == 0)
        return;
    for (unsigned i = 0; i < fresh; i++)
        if (is_wanted(r, &r->arrivals[i]))
            hand_over(ch, r, &r->arrivals[i], now);
    finish(ch, r, fresh, sequence);
}

unsigned agent_receive(wrk_channel_t *ch, agent_receiver_t *r, unsigned messages)
{
    unsigned total = 0;
    int n;
    do {
        n = udp_recv_messages(r->udp, r->arrivals, AGENT_ARRIVALS, messages);
        unsigned came = n > 0 ? (unsigned)n : 0;
        if (came > 0)
            take(ch, r, came);
        total += came;
        messages = 0;
    } while (n == AGENT_ARRIVALS);
    udp_recv_done(r->udp);
    wrk_count(ch, SHM_COUNT_rx_calls, 1);
    if (n < 0 && n != -EBUSY) /* busy: another socket's rest is fetched first */
        wrk_receive_failed(ch, -n, rt_mono_ns());
    return total;
}

static unsigned room_messages(wrk_channel_t *ch, bool gro)
{
    if (!ch->rx.wait_for_readers)
        return UINT32_MAX;
    if (gro)
        return rx_writer_room(&ch->rx, UDP_GRO_DATAGRAMS, UDP_GRO_BYTES);
    return rx_writer_room(&ch->rx, 1, ch->config.max_payload_bytes);
}

unsigned agent_receive_room(wrk_channel_t *ch, agent_stop_t *stop, bool gro, int64_t now_mono_ns)
{
    unsigned room = room_messages(ch, gro);
    stop->now = room == 0;
    stop->retry_mono_ns = now_mono_ns + AGENT_RX_RETRY_NS;
    return room;
}

bool agent_receive_again(wrk_channel_t *ch, agent_stop_t *stop, bool gro, int64_t now_mono_ns)
{
    return stop->now && now_mono_ns >= stop->retry_mono_ns &&
           agent_receive_room(ch, stop, gro, now_mono_ns) > 0;
}
