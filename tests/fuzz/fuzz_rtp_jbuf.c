/* Any bytes as a stream for both jitter buffers.
 *
 *     byte 0: capacity; byte 1: mode of the adaptive buffer; then steps of 5 bytes:
 *     what to do, sequence number (2), how the timestamp and the time move (2)
 *
 * Each item must come back exactly once from each buffer, and the counters must add up. */
#include "proto/rtp/rtp_jitter_buffer.h"
#include "proto/rtp/rtp_jbuf.h"
#include "proto/rtp/rtp_packet.h"

#include <stdlib.h>
#include <string.h>

#define REQUIRE(cond) \
    do {              \
        if (!(cond))  \
            abort();  \
    } while (0)

enum { STEP_BYTES = 5, MAX_STEPS = 4000, ENTRIES = 512, ADAPTIVE_ENTRIES = 32 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t ends[MAX_STEPS];
static size_t errors;

static void note(const rtp_jbuf_result_t *r)
{
    for (uint32_t i = 0; i < r->ready_count; i++) {
        ends[r->ready[i].item]++;
        REQUIRE(i == 0 || r->ready[i].lseq == r->ready[i - 1].lseq + 1);
    }
    for (uint32_t i = 0; i < r->dropped_count; i++)
        ends[r->dropped[i].item]++;
    if (r->has_erasure)
        REQUIRE(r->ready_count > 0 && r->erasure.last + 1 == r->ready[0].lseq &&
                r->erasure.first <= r->erasure.last);
}

static void check_ends(size_t steps)
{
    for (size_t i = 0; i < steps; i++)
        REQUIRE(ends[i] == 1);
}

static void play_compatible(const uint8_t *data, size_t steps, uint32_t capacity)
{
    static rtp_jbuf_entry_t entries[ENTRIES];
    rtp_jbuf_t jb;
    rtp_jbuf_result_t r;
    uint64_t given = 0;
    memset(ends, 0, sizeof ends);
    errors = 0;
    rtp_jbuf_init(&jb, capacity, entries, ENTRIES);
    for (size_t i = 0; i < steps; i++, data += STEP_BYTES) {
        if (data[0] % 8 == 7) {
            rtp_jbuf_offer_bad(&jb, &r);
            ends[i]++;
            errors++;
        } else if (rtp_jbuf_offer(&jb, rt_get16(data + 1), rt_get16(data + 3) * 65537u, i, &r)) {
            REQUIRE(capacity == 0);
            rtp_jbuf_flush(&jb, &r);
            ends[i]++;
            errors++;
        }
        note(&r);
        given += r.ready_count;
        if (data[0] == 0xf0) {
            rtp_jbuf_flush(&jb, &r);
            note(&r);
            given += r.ready_count;
        }
        REQUIRE(capacity == 0 || jb.held < capacity || (capacity == 1 && jb.held == 1));
    }
    while (rtp_jbuf_drain(&jb, &r)) {
        note(&r);
        given += r.ready_count;
    }
    check_ends(steps);
    const rtp_jbuf_counters_t *c = &jb.counters;
    REQUIRE(c->delivered == given);
    REQUIRE(c->offered == c->delivered + c->dropped + c->parse_errors);
    REQUIRE(c->dropped == c->duplicates + c->late + c->purged + c->flush_lost);
}

static void take(const rtp_jitter_buffer_event_t *e)
{
    if (e->kind == RTP_JITTER_BUFFER_FRAME)
        ends[e->item]++;
}

static void play_adaptive(const uint8_t *data, size_t steps, unsigned mode)
{
    static rtp_jitter_buffer_entry_t entries[ADAPTIVE_ENTRIES];
    static rtp_jitter_buffer_t b;
    rtp_jitter_buffer_event_t e;
    rtp_jitter_buffer_dropped_t dropped;
    rtp_jitter_buffer_config_t config = {
        .clock_rate = 1 + mode * 977,
        .mode = mode & 1 ? RTP_JITTER_BUFFER_IN_ORDER : RTP_JITTER_BUFFER_DEADLINE,
        .percentile = mode & 2 ? 1.0 : 0.5,
        .min_delay_ns = mode & 4 ? -1 : 0,
        .conceal_ns = mode & 8 ? -1 : 0,
    };
    int64_t now_ns = 1000000000;
    uint32_t ts = 0;
    memset(ends, 0, sizeof ends);
    REQUIRE(rtp_jitter_buffer_init(&b, &config, entries, ADAPTIVE_ENTRIES) == 0);
    for (size_t i = 0; i < steps; i++, data += STEP_BYTES) {
        ts += data[0] & 0x40 ? rt_get16(data + 3) * 65537u : config.clock_rate / 50;
        now_ns += data[0] & 0x20 ? rt_get16(data + 3) * INT64_C(100000) : 20000000;
        if (data[0] == 0xff)
            rtp_jitter_buffer_restart(&b);
        rtp_jitter_buffer_in_t in = {.item = i,
                                     .arrival_ns = now_ns,
                                     .ts = ts,
                                     .seq = data[0] & 0x10 ? rt_get16(data + 1) : (uint16_t)i,
                                     .flags = data[0] & 1};
        rtp_jitter_buffer_in(&b, &in, &dropped);
        for (unsigned k = 0; k < dropped.count; k++)
            ends[dropped.entry[k].item]++;
        for (unsigned events = 0; rtp_jitter_buffer_next(&b, now_ns, &e); events++) {
            REQUIRE(events < 100000);
            take(&e);
        }
        REQUIRE(rtp_jitter_buffer_deadline_ns(&b) > now_ns);
        const rtp_jitter_buffer_counters_t *c = &b.counters;
        REQUIRE(c->received == c->delivered + c->late + c->duplicates + c->overflow + c->discarded +
                                   rtp_jitter_buffer_held(&b));
    }
    b.config.conceal_ns = 0;
    while (rtp_jitter_buffer_next(&b, INT64_MAX, &e))
        take(&e);
    if (b.has_suspect)
        ends[b.suspect.item]++;
    check_ends(steps);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    size_t steps = (size - 2) / STEP_BYTES;
    if (steps > MAX_STEPS)
        steps = MAX_STEPS;
    play_compatible(data + 2, steps, data[0]);
    play_adaptive(data + 2, steps, data[1]);
    return 0;
}
