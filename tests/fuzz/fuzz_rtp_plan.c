/* What a hostile client can queue on an RTP channel, and a state that somebody scribbled over. What
 * must hold: nothing outside of a record is read or written, every packet is RTP and numbered in
 * turn, no time goes back or overflows, a record ends after finitely many packets.
 *
 *      input:  configuration, then step step ...   each a kind and what it needs, see play() */
#include "worker/agents/rtp/plan.h"

#include "proto/rtp/rtp_packet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_RECORD 200u
#define FAR_NS (24 * 3600 * RT_NS_PER_S) /* what lies beyond is not waited for */

typedef struct fuzz {
    const uint8_t *at;
    size_t left;
    shm_rtp_config_t config;
    rtp_plan_t plan;
    int64_t now_ns;
    int64_t last_due_ns;
    uint8_t *record; /* a block of its own, of the record's length */
    uint32_t record_bytes;
    uint64_t sequence;
} fuzz_t;

static void require(bool holds, const char *what)
{
    if (holds)
        return;
    (void)fprintf(stderr, "fuzz: does not hold: %s\n", what);
    abort();
}

static uint64_t take(fuzz_t *f, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes && f->left > 0; i++, f->at++, f->left--)
        value |= (uint64_t)*f->at << (8 * i);
    return value;
}

static bool configure(fuzz_t *f)
{
    static const uint32_t rates[] = {8000, 90000, 1, INT32_MAX, 44100};
    shm_rtp_config_t *c = &f->config;
    *c = (shm_rtp_config_t){.config_bytes = sizeof *c, .ssrc = 1, .first_seq = 65530};
    c->clock_rate = rates[take(f, 1) % 5];
    c->samples_per_packet = (uint32_t)take(f, 4);
    c->bytes_per_packet = (uint32_t)take(f, 1);
    c->underrun = (uint8_t)(take(f, 1) % 3);
    c->rtcp = (uint8_t)(take(f, 1) % 3);
    c->fill_packets = 4;
    c->start_delay_ns = (int64_t)take(f, 4);
    if (shm_rtp_config_check(c) < 0)
        return false;
    rtp_plan_init(&f->plan, c);
    return true;
}

/* --- steps --------------------------------------------------------------------------------- */

static void queue(fuzz_t *f)
{
    uint32_t bytes = (uint32_t)take(f, 1) % MAX_RECORD;
    unsigned how = (unsigned)take(f, 1);
    tx_item_t item = {.sequence = how & 0x80 ? f->sequence : ++f->sequence, .payload_bytes = bytes};
    free(f->record);
    f->record = malloc(bytes > 0 ? bytes : 1);
    f->record_bytes = bytes;
    if (f->record == NULL)
        abort();
    memset(f->record, 0, bytes);
    for (uint32_t i = 0; i < bytes && i < 40; i++)
        f->record[i] = (uint8_t)take(f, 1);
    item.payload = f->record;
    item.due_ns = how & 1 ? (int64_t)take(f, 8) : how & 2 ? f->now_ns + (int64_t)take(f, 4) : 0;
    int64_t enqueued = f->now_ns - (how & 4 ? (int64_t)take(f, 4) : 0);
    int what = rtp_plan_read(&f->plan, &item);
    require(what < 0 || what <= SHM_RTP_BYE, "a record is of a known kind");
    require(f->plan.has_record == (what == SHM_RTP_FRAME || what == SHM_RTP_BLOCK),
            "a frame or a block is under way");
    if (what == SHM_RTP_PAUSE || what == SHM_RTP_BYE)
        rtp_plan_pause(&f->plan, f->plan.head.samples, f->now_ns);
    else if (what >= 0)
        rtp_plan_place(&f->plan, enqueued, f->now_ns, 50000);
}

/* Whether the packet's time comes. */
static bool wait(fuzz_t *f)
{
    int64_t due = rtp_plan_due_ns(&f->plan);
    int64_t slot = rtp_stream_due_ns(&f->plan.stream);
    require(slot >= 0 && slot >= f->last_due_ns, "no slot lies before the last one");
    require(due >= slot && due - slot <= UINT32_MAX, "an offset is added to the slot");
    if (due > f->now_ns + FAR_NS)
        return false;
    f->last_due_ns = slot;
    f->now_ns = due > f->now_ns ? due : f->now_ns;
    return true;
}

static void check_packet(const fuzz_t *f, const rtp_plan_packet_t *p, uint16_t seq)
{
    rtp_view_t view;
    require(p->data >= f->record + sizeof(shm_rtp_tx_t) - SHM_RTP_HEAD_BYTES &&
                p->data + p->bytes <= f->record + f->record_bytes,
            "a packet lies in its record");
    require(rtp_packet_parse(p->data, p->bytes, &view) == RTP_PARSE_OK, "a packet is RTP");
    require(view.seq == seq && view.ssrc == 1, "packets are numbered in turn");
}

static void packet(fuzz_t *f, bool undo)
{
    if (!f->plan.has_record || !wait(f))
        return;
    rtp_plan_t before = f->plan;
    uint16_t seq = f->plan.stream.seq;
    bool last = rtp_plan_is_last(&f->plan);
    rtp_plan_packet_t p;
    rtp_plan_packet(&f->plan, &p);
    check_packet(f, &p, seq);
    require(p.ends_record == last && f->plan.has_record != last,
            "the last packet is known as that");
    if (undo)
        f->plan = before;
}

static void whole_record(fuzz_t *f)
{
    unsigned packets = 0;
    while (f->plan.has_record && rtp_plan_due_ns(&f->plan) <= f->now_ns + FAR_NS) {
        packet(f, false);
        require(++packets <= MAX_RECORD, "a record ends");
    }
}

static void fill(fuzz_t *f)
{
    uint8_t header[SHM_RTP_HEAD_BYTES];
    if (rtp_plan_filling(&f->plan) && wait(f))
        rtp_plan_fill(&f->plan, header);
}

/* The next worker's plan, from what this one saved or from noise. */
static void take_over(fuzz_t *f, bool noise)
{
    shm_rtp_sender_t sender;
    rtp_plan_save(&f->plan, &sender);
    for (size_t i = 0; noise && i < sizeof sender; i++)
        ((uint8_t *)&sender)[i] = (uint8_t)take(f, 1);
    rtp_plan_init(&f->plan, &f->config);
    rtp_plan_restore(&f->plan, &sender);
    f->last_due_ns = noise ? 0 : f->last_due_ns;
}

static void play(fuzz_t *f)
{
    enum {
        QUEUE,
        PACKET,
        UNDONE,
        WHOLE,
        DROP,
        FILL,
        GIVE_UP,
        PURGE,
        GO_ON,
        TAKE_OVER,
        NOISE,
        TIME
    };
    switch (take(f, 1) % (TIME + 1)) {
    case QUEUE:
        queue(f);
        break;
    case PACKET:
        packet(f, false);
        break;
    case UNDONE:
        packet(f, true);
        break;
    case WHOLE:
        whole_record(f);
        break;
    case DROP:
        if (f->plan.has_record && wait(f))
            rtp_plan_drop(&f->plan);
        break;
    case FILL:
        fill(f);
        break;
    case GIVE_UP:
        rtp_plan_give_up(&f->plan);
        f->last_due_ns = 0;
        break;
    case PURGE:
        rtp_plan_purge(&f->plan);
        rtp_plan_pause(&f->plan, 0, f->now_ns);
        f->last_due_ns = 0;
        break;
    case GO_ON:
        rtp_plan_resume(&f->plan, f->now_ns);
        break;
    case TAKE_OVER:
        take_over(f, false);
        break;
    case NOISE:
        take_over(f, true);
        break;
    default:
        f->now_ns += (int64_t)take(f, 5);
    }
    require(!f->plan.has_record || rtp_plan_due_ns(&f->plan) != RT_NEVER_NS, "a record has a slot");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static fuzz_t f;
    f = (fuzz_t){.at = data, .left = bytes, .now_ns = RT_NS_PER_S};
    if (configure(&f))
        while (f.left > 0)
            play(&f);
    free(f.record);
    return 0;
}
