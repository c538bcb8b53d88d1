#include "proto/rtp/rtp_nack.h"

#include "rows/rtp.h"

#include <errno.h>
#include <string.h>

void rtp_nack_receiver_init(rtp_nack_receiver_t *n, const rtp_nack_config_t *config)
{
    memset(n, 0, sizeof *n);
    n->config = *config;
    if (n->config.first_wait_ns == 0)
        n->config.first_wait_ns = RTP_DEFAULT_nack_first_wait_ns;
    if (n->config.retry_ns == 0)
        n->config.retry_ns = RTP_DEFAULT_nack_retry_ns;
    if (n->config.give_up_ns == 0)
        n->config.give_up_ns = RTP_DEFAULT_nack_give_up_ns;
    if (n->config.max_requests == 0)
        n->config.max_requests = RTP_DEFAULT_nack_max_requests;
}

void rtp_nack_restart(rtp_nack_receiver_t *n)
{
    n->counters.given_up += n->count;
    n->count = 0;
    n->started = false;
}

static void remove_at(rtp_nack_receiver_t *n, uint32_t at, uint32_t count)
{
    n->count -= count;
    memmove(&n->missing[at], &n->missing[at + count], (n->count - at) * sizeof n->missing[0]);
}

static void add_missing(rtp_nack_receiver_t *n, uint64_t from, uint64_t to, int64_t now_ns)
{
    uint64_t gap = to - from;
    n->counters.missing += gap;
    if (gap > RTP_NACK_MAX_MISSING) {
        n->counters.given_up += gap - RTP_NACK_MAX_MISSING;
        from = to - RTP_NACK_MAX_MISSING;
        gap = RTP_NACK_MAX_MISSING;
    }
    uint32_t room = RTP_NACK_MAX_MISSING - n->count;
    if (gap > room) {
        n->counters.given_up += gap - room;
        remove_at(n, 0, (uint32_t)gap - room);
    }
    for (; from < to; from++)
        n->missing[n->count++] = (rtp_nack_missing_t){
            .seq = from, .seen_ns = now_ns, .ask_ns = now_ns + n->config.first_wait_ns};
}

static void found(rtp_nack_receiver_t *n, uint64_t seq)
{
    for (uint32_t i = n->count; i-- > 0 && n->missing[i].seq >= seq;) {
        if (n->missing[i].seq != seq)
            continue;
        if (n->missing[i].requests > 0)
            n->counters.recovered++;
        else
            n->counters.reordered++;
        remove_at(n, i, 1);
        return;
    }
}

void rtp_nack_packet(rtp_nack_receiver_t *n, uint64_t seq, int64_t now_ns)
{
    if (!n->started) {
        n->started = true;
        n->next = seq + 1;
    } else if (seq < n->next) {
        found(n, seq);
    } else {
        add_missing(n, n->next, seq, now_ns);
        n->next = seq + 1;
    }
}

void rtp_nack_forget_before(rtp_nack_receiver_t *n, uint64_t seq)
{
    uint32_t old = 0;
    while (old < n->count && n->missing[old].seq < seq)
        old++;
    n->counters.given_up += old;
    remove_at(n, 0, old);
}

int64_t rtp_nack_due_ns(const rtp_nack_receiver_t *n)
{
    int64_t due_ns = INT64_MAX;
    for (uint32_t i = 0; i < n->count; i++) {
        if (n->missing[i].ask_ns < due_ns)
            due_ns = n->missing[i].ask_ns;
    }
    return due_ns;
}

size_t rtp_nack_take(rtp_nack_receiver_t *n, int64_t now_ns, uint16_t *seqs, size_t max)
{
    size_t taken = 0;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n->count; i++) {
        rtp_nack_missing_t m = n->missing[i];
        bool is_due = m.ask_ns <= now_ns;
        if (is_due &&
            (m.requests == n->config.max_requests || now_ns - m.seen_ns >= n->config.give_up_ns)) {
            n->counters.given_up++;
            continue;
        }
        if (is_due && taken < max) {
            seqs[taken++] = (uint16_t)m.seq;
            m.requests++;
            m.ask_ns = now_ns + n->config.retry_ns;
        }
        n->missing[kept++] = m;
    }
    n->count = kept;
    n->counters.requested += taken;
    return taken;
}

/* The head of a slot, before the bytes. */
typedef struct slot_head {
    int64_t given_ns;
    uint32_t bytes; /* 0: empty */
    uint16_t seq;
    uint16_t was_given;
} slot_head_t;

static uint32_t slot_bytes_for(uint32_t max_bytes)
{
    uint32_t whole_words = (max_bytes + 7u) & ~UINT32_C(7);
    return (uint32_t)sizeof(slot_head_t) + whole_words;
}

size_t rtp_history_memory_bytes(uint32_t packets, uint32_t max_bytes)
{
    return (size_t)packets * slot_bytes_for(max_bytes);
}

void rtp_history_init(rtp_history_t *h, void *memory, uint32_t packets, uint32_t max_bytes)
{
    *h = (rtp_history_t){
        .slots = memory, .slot_bytes = slot_bytes_for(max_bytes), .mask = packets - 1};
}

static slot_head_t *slot_of(const rtp_history_t *h, uint16_t seq)
{
    return (slot_head_t *)(void *)(h->slots + (size_t)(seq & h->mask) * h->slot_bytes);
}

int rtp_history_put(rtp_history_t *h, uint16_t seq, const void *data, uint32_t bytes)
{
    if (bytes == 0 || bytes > h->slot_bytes - sizeof(slot_head_t))
        return -EMSGSIZE;
    slot_head_t *slot = slot_of(h, seq);
    *slot = (slot_head_t){.bytes = bytes, .seq = seq};
    memcpy(slot + 1, data, bytes);
    return 0;
}

const uint8_t *rtp_history_get(rtp_history_t *h, uint16_t seq, int64_t now_ns, int64_t min_gap_ns,
                               uint32_t *bytes)
{
    slot_head_t *slot = slot_of(h, seq);
    if (slot->bytes == 0 || slot->seq != seq)
        return NULL;
    if (slot->was_given && now_ns - slot->given_ns < min_gap_ns)
        return NULL;
    slot->was_given = 1;
    slot->given_ns = now_ns;
    *bytes = slot->bytes;
    return (const uint8_t *)(slot + 1);
}
