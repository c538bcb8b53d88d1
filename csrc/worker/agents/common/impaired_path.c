/* Packets stay in the path's own storage until they are due. Their deadline is one of the channel's
 * deadlines. */
#include "worker/agents/common/impaired_path.h"

#include "base/rt_err.h"
#include "base/rt_seq.h"
#include "worker/agents/common/tap.h"

#include <errno.h>
#include <string.h>

enum { TX, RX };

#define EMIT_BATCH 64u

/* The data of an arrival that is needed when it leaves the path. */
typedef struct arrival_tag {
    shm_addr_t source;
    shm_addr_t local;
    uint8_t stamp;
    uint8_t flags;
    uint8_t tos;
} arrival_tag_t;

/* Of a packet to be sent. AF_UNSPEC: it has none of its own. */
typedef struct route_tag {
    udp_addr_t dest;
    udp_addr_t source;
} route_tag_t;

_Static_assert(sizeof(arrival_tag_t) <= IMPAIR_TAG_BYTES, "an arrival's tag fits");
_Static_assert(sizeof(route_tag_t) <= IMPAIR_TAG_BYTES, "a packet's route fits");

impair_config_t agent_path_config(const shm_impair_t *c)
{
    return (impair_config_t){
        .loss = c->loss,
        .burst_loss = c->burst_loss,
        .burst_packets = c->burst_packets,
        .duplicate = c->duplicate,
        .reorder = c->reorder,
        .corrupt = c->corrupt,
        .delay_ns = c->delay_ns,
        .jitter_ns = c->jitter_ns,
        .reorder_extra_ns = c->reorder_extra_ns,
        .rate_bps = c->rate_bps,
        .queue_bytes = c->queue_bytes,
        .seed = c->seed,
    };
}

bool agent_path_is_impaired(const shm_config_t *c)
{
    impair_config_t tx = agent_path_config(&c->impair_tx), rx = agent_path_config(&c->impair_rx);
    return impair_config_active(&tx) || impair_config_active(&rx);
}

static int open_one(wrk_channel_t *ch, const shm_impair_t *wanted, impair_t **path)
{
    impair_config_t config = agent_path_config(wanted);
    int rc = impair_config_check(&config);
    if (rc < 0 || !impair_config_active(&config))
        return rc;
    size_t bytes = impair_memory_bytes(&config);
    void *memory = wrk_take_memory(ch, bytes);
    *path = memory != NULL ? wrk_take_memory(ch, sizeof **path) : NULL;
    if (*path == NULL) {
        rt_err_append("an impaired path of %zu bytes (delay, rate, queue)", bytes);
        return -ENOMEM;
    }
    return impair_init(*path, &config, memory, bytes);
}

void agent_path_show(wrk_channel_t *ch, const impair_t *path, const impair_counters_t *base,
                     shm_counter_id_t first)
{
    if (path == NULL)
        return;
    const impair_counters_t *c = &path->counters;
    const uint64_t values[] = {
        c->offered - base->offered,
        c->lost - base->lost,
        c->burst_lost - base->burst_lost,
        c->duplicated - base->duplicated,
        c->reordered - base->reordered,
        c->corrupted - base->corrupted,
        c->queue_dropped - base->queue_dropped,
    };
    for (unsigned i = 0; i < sizeof values / sizeof values[0]; i++)
        rt_store_relaxed(&ch->stats->counters[(unsigned)first + i], values[i]);
}

_Static_assert(SHM_COUNT_impair_tx_queue_dropped - SHM_COUNT_impair_tx_offered == 6 &&
                   SHM_COUNT_impair_rx_queue_dropped - SHM_COUNT_impair_rx_offered == 6,
               "counters of the path are in this order");

static uint64_t delivered(const agent_path_t *l)
{
    return l->delivered != NULL ? *l->delivered : 0;
}

/* A packet that is delivered leaves this word as it is: the ring's tail alone moves it out of the
 * path. So a worker that dies before or after it publishes leaves the right count. */
void agent_path_took_rx(wrk_channel_t *ch, agent_path_t *l)
{
    uint64_t last = delivered(l) + impair_queued(l->rx);
    rt_store_relaxed(&ch->stats->rx_path, l->rx_taken << 32 | (uint32_t)last);
    agent_path_show(ch, l->rx, &l->base[RX], SHM_COUNT_impair_rx_offered);
}

void agent_path_counters(wrk_channel_t *ch, const agent_path_t *l)
{
    agent_path_show(ch, l->tx, &l->base[TX], SHM_COUNT_impair_tx_offered);
    if (l->tx != NULL)
        wrk_count(ch, SHM_COUNT_impair_tx_queue_dropped, l->refused);
    agent_path_show(ch, l->rx, &l->base[RX], SHM_COUNT_impair_rx_offered);
}

void agent_path_resume(const wrk_channel_t *ch, impair_counters_t *base, shm_counter_id_t first)
{
    uint64_t *const values[] = {&base->offered,      &base->lost,      &base->burst_lost,
                                &base->duplicated,   &base->reordered, &base->corrupted,
                                &base->queue_dropped};
    for (unsigned i = 0; i < sizeof values / sizeof values[0]; i++)
        *values[i] = 0 - rt_load_relaxed(&ch->stats->counters[(unsigned)first + i]);
}

/* After a takeover: the packets in the path were lost with the dead worker. */
static void take_over(wrk_channel_t *ch, agent_path_t *l)
{
    agent_path_resume(ch, &l->base[TX], SHM_COUNT_impair_tx_offered);
    agent_path_resume(ch, &l->base[RX], SHM_COUNT_impair_rx_offered);
    if (l->rx == NULL)
        return;
    uint64_t word = rt_load_relaxed(&ch->stats->rx_path);
    l->rx_taken = word >> 32;
    int32_t in_transit = rt_seq32_diff((uint32_t)word, (uint32_t)delivered(l));
    wrk_lost_with_predecessor(ch, in_transit > 0 ? (uint64_t)in_transit : 0);
    agent_path_took_rx(ch, l);
}

int agent_path_open(wrk_channel_t *ch, agent_path_t *l)
{
    int rc = 0;
    if (ch->config.direction & SHM_TX)
        rc = open_one(ch, &ch->config.impair_tx, &l->tx);
    if (rc == 0 && ch->config.direction & SHM_RX)
        rc = open_one(ch, &ch->config.impair_rx, &l->rx);
    if (rc == 0 && rt_load_relaxed(&ch->segment.status->epoch) != 0)
        take_over(ch, l);
    return rc;
}

void agent_path_clear(wrk_channel_t *ch, agent_path_t *l)
{
    if (l->tx != NULL)
        impair_clear(l->tx);
    if (l->rx == NULL)
        return;
    impair_clear(l->rx);
    agent_path_took_rx(ch, l);
}

void agent_path_reset(agent_path_t *l)
{
    l->refused = 0;
    if (l->tx != NULL)
        l->base[TX] = l->tx->counters;
    if (l->rx != NULL)
        l->base[RX] = l->rx->counters;
}

/* --- in ------------------------------------------------------------------------------------ */

static void keep_address(udp_addr_t *to, const udp_addr_t *address)
{
    if (address != NULL)
        *to = *address;
    else
        to->sa.sa_family = AF_UNSPEC;
}

void agent_path_offer_tx(agent_path_t *l, const udp_tx_t *messages, unsigned count,
                         int64_t now_mono_ns)
{
    for (unsigned i = 0; i < count; i++) {
        const udp_tx_t *m = &messages[i];
        route_tag_t tag;
        keep_address(&tag.dest, m->dest);
        keep_address(&tag.source, m->source);
        impair_in_t in = {.data = m->data, .len = m->len, .tag = &tag, .tag_bytes = sizeof tag};
        (void)impair_offer(l->tx, &in, now_mono_ns);
    }
}

void agent_path_offer_rx(agent_path_t *l, const rx_item_t *item)
{
    arrival_tag_t tag = {.source = item->source,
                         .local = item->local,
                         .stamp = item->stamp,
                         .flags = item->flags,
                         .tos = item->tos};
    impair_in_t in = {
        .data = item->payload,
        .len = item->payload_bytes,
        .tag = &tag,
        .tag_bytes = sizeof tag,
        .time_ns = item->time_ns,
    };
    (void)impair_offer(l->rx, &in, rt_mono_ns());
    l->rx_taken = (uint32_t)(l->rx_taken + 1);
}

/* --- out ----------------------------------------------------------------------------------- */

/* The path has released these packets and they have their verdict: packets that the kernel has no
 * room for now are lost on the way, as on any other path. */
static void emit_tx(wrk_channel_t *ch, agent_path_t *l, int64_t now_mono_ns)
{
    impair_out_t out[EMIT_BATCH];
    udp_tx_t messages[EMIT_BATCH];
    route_tag_t tags[EMIT_BATCH];
    size_t n = impair_emit(l->tx, out, EMIT_BATCH, now_mono_ns);
    for (size_t i = 0; i < n; i++) {
        memcpy(&tags[i], out[i].tag, sizeof tags[i]);
        messages[i] = (udp_tx_t){
            .data = out[i].data,
            .len = out[i].len,
            .dest = udp_addr_is_set(&tags[i].dest) ? &tags[i].dest : NULL,
            .source = udp_addr_is_set(&tags[i].source) ? &tags[i].source : NULL,
        };
    }
    for (size_t at = 0; at < n;) {
        int error = 0;
        int sent = udp_send(l->udp, &messages[at], (unsigned)(n - at), &error);
        wrk_count(ch, SHM_COUNT_tx_calls, 1);
        at += (size_t)sent;
        if (error != 0) {
            l->refused++;
            at++;
        }
    }
}

/* A packet that came later than it was sent: its stamp is shifted by the time it was held. */
static void emit_rx(wrk_channel_t *ch, agent_path_t *l, int64_t now_mono_ns)
{
    impair_out_t out[EMIT_BATCH];
    size_t most = EMIT_BATCH;
    if (ch->rx.wait_for_readers) {
        uint32_t room = rx_writer_room(&ch->rx, 1, ch->config.max_payload_bytes);
        most = room < most ? room : most;
    }
    if (most == 0) {
        l->rx_retry_mono_ns = now_mono_ns + AGENT_RX_RETRY_NS;
        return;
    }
    size_t n = impair_emit(l->rx, out, most, now_mono_ns);
    bool tapped = agent_tapped(ch);
    for (size_t i = 0; i < n; i++) {
        arrival_tag_t tag;
        memcpy(&tag, out[i].tag, sizeof tag);
        rx_item_t item = {
            .payload = out[i].data,
            .payload_bytes = out[i].len,
            .source = tag.source,
            .local = tag.local,
            .time_ns = out[i].time_ns + out[i].held_ns,
            .stamp = tag.stamp,
            .flags = tag.flags,
            .tos = tag.tos,
        };
        uint64_t sequence = ch->rx.sequence;
        if (!l->deliver(ch, &item, now_mono_ns))
            wrk_count(ch, SHM_COUNT_rx_overwritten, 1);
        if (tapped) /* it may have become one packet in the ring, or anything else */
            agent_tap_item(ch, l->udp, &item,
                           ch->rx.sequence == sequence + 1 ? sequence : AGENT_TAP_NO_SEQUENCE);
    }
    if (n == 0)
        return;
    wrk_rx_publish(ch);
    agent_path_took_rx(ch, l);
}

/* When the next arrival may leave the path. */
static int64_t rx_deadline_ns(const agent_path_t *l)
{
    if (l->rx == NULL)
        return RT_NEVER_NS;
    int64_t at = impair_deadline_ns(l->rx);
    return at > l->rx_retry_mono_ns ? at : l->rx_retry_mono_ns;
}

void agent_path_emit(wrk_channel_t *ch, agent_path_t *l, int64_t now_mono_ns)
{
    if (l->tx != NULL && impair_deadline_ns(l->tx) <= now_mono_ns)
        emit_tx(ch, l, now_mono_ns);
    if (rx_deadline_ns(l) <= now_mono_ns)
        emit_rx(ch, l, now_mono_ns);
}

int64_t agent_path_deadline_ns(const agent_path_t *l)
{
    int64_t tx = l->tx != NULL ? impair_deadline_ns(l->tx) : RT_NEVER_NS;
    int64_t rx = rx_deadline_ns(l);
    return tx < rx ? tx : rx;
}
