#include "worker/agents/common/tap.h"

#include "worker/agents/common/socket.h"

/* This host's end of a datagram. own: its address, of which the port is ignored, or NULL. */
static void put_local(shm_addr_t *to, const udp_t *udp, const udp_addr_t *own)
{
    agent_addr_out(to, own != NULL ? own : &udp->eff.local);
    to->port = udp_addr_port(&udp->eff.local);
}

static tap_record_t sent_record(wrk_channel_t *ch, const udp_t *udp, const udp_tx_t *m,
                                const shm_report_t *report)
{
    tap_record_t record = {
        .kind = TAP_SENT,
        .number = ++ch->tap_number,
        .payload_bytes = m->head_bytes + m->len,
        .report = *report,
    };
    put_local(&record.local, udp, m->source);
    agent_addr_out(&record.remote, m->dest != NULL ? m->dest : udp_default_remote(udp));
    return record;
}

uint64_t agent_tap_sent(wrk_channel_t *ch, const udp_t *udp, const udp_tx_t *message,
                        const shm_report_t *report, bool awaits_stamp)
{
    tap_record_t record = sent_record(ch, udp, message, report);
    record.flags = (uint8_t)(TAP_HAS_SEQUENCE | (awaits_stamp ? TAP_AWAITS_STAMP : 0));
    wrk_tap_put(ch, &record, message->head, message->head_bytes, message->data);
    return record.number;
}

void agent_tap_left(wrk_channel_t *ch, const udp_t *udp, const udp_tx_t *messages, unsigned count,
                    int64_t start_mono_ns, int64_t end_mono_ns)
{
    int64_t shift = wrk_clock_shift_ns(ch);
    const shm_report_t report = {
        .sent_ns = start_mono_ns - shift,
        .handed_ns = end_mono_ns - shift,
        .verdict = TAP_NO_VERDICT,
        .batch = (uint16_t)count,
    };
    for (unsigned i = 0; i < count; i++) {
        tap_record_t record = sent_record(ch, udp, &messages[i], &report);
        wrk_tap_put(ch, &record, messages[i].head, messages[i].head_bytes, messages[i].data);
    }
}

void agent_tap_stamped(wrk_channel_t *ch, uint64_t number, const shm_report_t *report)
{
    tap_record_t record = {.kind = TAP_STAMPED, .number = number, .report = *report};
    wrk_tap_put(ch, &record, NULL, 0, NULL);
}

void agent_tap_not_sent(wrk_channel_t *ch, const tx_item_t *item, const shm_report_t *report)
{
    tap_record_t record = {
        .kind = TAP_NOT_SENT,
        .flags = TAP_HAS_SEQUENCE,
        .number = ++ch->tap_number,
        .payload_bytes = item->payload_bytes,
        .local = ch->segment.status->bound,
        .remote = item->dest.family != 0 ? item->dest : ch->config.remote,
        .report = *report,
    };
    if (item->source.family != 0) {
        record.local = item->source;
        record.local.port = ch->segment.status->bound.port;
    }
    wrk_tap_put(ch, &record, NULL, 0, NULL);
}

/* local: set, or family 0. */
static void put_arrival(wrk_channel_t *ch, const udp_t *udp, tap_record_t *record, const void *data,
                        uint64_t sequence)
{
    record->kind = TAP_ARRIVED;
    record->number = ++ch->tap_number;
    record->report.verdict = TAP_NO_VERDICT;
    if (record->local.family == 0)
        agent_addr_out(&record->local, &udp->eff.local);
    if (sequence != AGENT_TAP_NO_SEQUENCE) {
        record->flags |= TAP_HAS_SEQUENCE;
        record->report.sequence = sequence;
    }
    wrk_tap_put(ch, record, data, record->payload_bytes, NULL);
}

void agent_tap_arrived(wrk_channel_t *ch, const udp_t *udp, const udp_rx_t *in, unsigned count,
                       const udp_addr_t *only_from, uint64_t sequence)
{
    bool filters = only_from != NULL && udp_addr_is_set(only_from);
    for (unsigned i = 0; i < count; i++, in++) {
        bool filtered = filters && !udp_addr_equal(only_from, &in->source);
        unsigned flags = (filtered ? TAP_FILTERED : 0) | (in->shared_stamp ? TAP_SHARED_STAMP : 0) |
                         (in->truncated ? TAP_TRUNCATED : 0);
        tap_record_t record = {
            .flags = (uint8_t)flags,
            .tos = in->tos,
            .payload_bytes = in->len,
            .report = {.stamped_ns = in->time_ns,
                       .stamp = (uint8_t)(in->stamp + SHM_STAMP_USER - UDP_STAMP_USER)},
        };
        agent_addr_out(&record.remote, &in->source);
        if (in->local != NULL)
            agent_addr_out(&record.local, in->local);
        bool counts = !filtered && sequence != AGENT_TAP_NO_SEQUENCE;
        put_arrival(ch, udp, &record, in->data, counts ? sequence++ : AGENT_TAP_NO_SEQUENCE);
    }
}

void agent_tap_item(wrk_channel_t *ch, const udp_t *udp, const rx_item_t *item, uint64_t sequence)
{
    unsigned flags = (item->flags & SHM_RX_SHARED_STAMP ? TAP_SHARED_STAMP : 0) |
                     (item->flags & SHM_RX_TRUNCATED ? TAP_TRUNCATED : 0);
    tap_record_t record = {
        .flags = (uint8_t)flags,
        .tos = item->tos,
        .payload_bytes = item->payload_bytes,
        .local = item->local,
        .remote = item->source,
        .report = {.stamped_ns = item->time_ns, .stamp = item->stamp},
    };
    put_arrival(ch, udp, &record, item->payload, sequence);
}
