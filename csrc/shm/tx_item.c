/* tx_item.c: reads the header of a record of the tx ring, each field once. */
#include "shm/tx_parts.h"

static void find_halt(const tx_queue_t *q, tx_item_t *item)
{
    unsigned count = q->halts_made < TX_HALTS ? q->halts_made : TX_HALTS;
    for (unsigned i = 0; i < count; i++) {
        const tx_halt_t *h = &q->halts[i];
        bool later = h->until_mono_ns > item->halted_until_mono_ns;
        if (item->ref < h->from_ref || item->ref >= h->until_ref || !later)
            continue;
        item->halted_from_mono_ns = h->from_mono_ns;
        item->halted_until_mono_ns = h->until_mono_ns;
    }
}

/* Reads an address before the payload. false: it is none. */
static bool read_address(tx_item_t *item, shm_addr_t *to)
{
    rt_copy_once(to, item->payload, sizeof *to);
    item->payload += sizeof *to;
    return to->family == 4 || to->family == 6;
}

int tx_read_record(tx_queue_t *q, uint64_t ref, uint64_t word, tx_item_t *item)
{
    const shm_tx_record_t *r = (const shm_tx_record_t *)(const void *)tx_word_of(q, ref);
    unsigned flags = shm_word_flags(word);
    uint32_t payload_bytes = rt_read_once(&r->payload_bytes);

    item->ref = ref;
    item->sequence = tx_widen(q, shm_word_seq(word));
    item->due_ns = flags & SHM_TX_HAS_DUE ? rt_read_once(&r->time_ns) : 0;
    item->enqueued_mono_ns = rt_read_once(&r->enqueued_mono_ns);
    item->payload_bytes = payload_bytes;
    item->producer = rt_read_once(&r->producer);
    item->flags = (uint8_t)flags;
    item->payload = (const uint8_t *)(r + 1);
    item->dest.family = item->source.family = 0;
    item->halted_from_mono_ns = item->halted_until_mono_ns = 0;
    if (ref < q->halts_until_ref)
        find_halt(q, item);
    if (payload_bytes > q->max_payload_bytes ||
        tx_record_units(payload_bytes, tx_record_addresses(flags)) > shm_word_units(word))
        return -EBADMSG;
    if (flags & SHM_TX_HAS_DEST && !read_address(item, &item->dest))
        return -EBADMSG;
    return flags & SHM_TX_HAS_SOURCE && !read_address(item, &item->source) ? -EBADMSG : 0;
}
