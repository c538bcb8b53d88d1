/* Any datagrams into an RTP channel of a worker, at any times, in every way of delivery, RTCP on
 * the same port, and a reader. What must hold: nothing outside of a datagram or a slot is read or
 * written, all that came is somewhere and counted once, time never stands still at a deadline, and
 * what readers get is whole.
 *
 *      input:  configuration, then step step ...   each a kind and what it needs, see play()
 *
 * The agent's own code runs, without worker and without sockets: what it sends goes nowhere. */
#include "worker/agents/rtp/rtp.h"
#include "channel_end.h"
#include "worker/worker.h"

#include "base/rt_err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RX_BYTES 4096u
#define MAX_RECORD 200u
#define MAX_DATAGRAM 400u
#define LOOKS_PER_INSTANT 100u

typedef struct fuzz {
    const uint8_t *at;
    size_t left;
    worker_t worker;
    wrk_channel_t channel;
    rtp_agent_t agent;
    rx_reader_t reader;
    int64_t now_ns;
    uint16_t seq;
    uint32_t ts;
} fuzz_t;

static void require(bool holds, const char *what)
{
    if (holds)
        return;
    (void)fprintf(stderr, "fuzz: does not hold: %s (%s)\n", what, rt_err_text());
    abort();
}

static uint64_t take(fuzz_t *f, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes && f->left > 0; i++, f->at++, f->left--)
        value |= (uint64_t)*f->at << (8 * i);
    return value;
}

/* --- the channel --------------------------------------------------------------------------- */

static void *part(size_t bytes)
{
    void *memory = NULL;
    if (posix_memalign(&memory, RT_LINE_BYTES, bytes) != 0)
        abort();
    memset(memory, 0, bytes);
    return memory;
}

static void make_segment(shm_segment_t *s, const shm_config_t *config)
{
    *s = (shm_segment_t){.writable = 1, .config = *config, .segment_id = 1};
    s->rx = part(sizeof *s->rx);
    s->readers = part(sizeof *s->readers);
    s->stats = part(sizeof *s->stats);
    s->status = part(sizeof *s->status);
    s->rx_data = part(RX_BYTES);
    s->engine = part(sizeof(shm_rtp_state_t));
}

static void free_segment(shm_segment_t *s)
{
    void *parts[] = {s->rx, s->readers, s->stats, s->status, s->rx_data, s->engine};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        free(parts[i]);
}

static shm_rtp_config_t configuration(fuzz_t *f)
{
    static const uint32_t rates[] = {8000, 90000, 1, INT32_MAX};
    shm_rtp_config_t c = {.config_bytes = sizeof c,
                          .clock_rate = rates[take(f, 1) % 4],
                          .samples_per_packet = 160,
                          .ssrc = 7,
                          .expected_ssrc = 1};
    c.delivery = (uint8_t)(take(f, 1) % 3);
    c.rtcp = take(f, 1) % 2 ? SHM_RTP_RTCP_MUX : SHM_RTP_RTCP_OFF;
    c.flags = (uint8_t)(take(f, 1) &
                        (SHM_RTP_FIXED_SOURCE | SHM_RTP_REDUCED_SIZE | SHM_RTP_EVENT_TYPES));
    c.event_types[0] = 2;
    if (c.rtcp != SHM_RTP_RTCP_OFF)
        c.flags |= SHM_RTP_NACK_RECEIVE;
    c.max_frames = (uint16_t)(4 + take(f, 1) % 16);
    c.min_sequential = (uint16_t)(take(f, 1) % 4);
    c.conceal_ns = take(f, 1) % 2 ? -1 : 0;
    return c;
}

static void start(fuzz_t *f)
{
    shm_config_t config;
    shm_config_init(&config);
    config.direction = SHM_RX;
    config.readers = 1;
    config.rx_bytes = RX_BYTES;
    config.max_payload_bytes = MAX_RECORD;
    shm_rtp_config_t rtp = configuration(f);
    require(shm_rtp_config_check(&rtp) == 0, "the configuration is sound");
    wrk_channel_t *ch = &f->channel;
    ch->worker = &f->worker;
    ch->config = config;
    make_segment(&ch->segment, &config);
    ch->stats = ch->segment.stats;
    ch->agent = &f->agent;
    require(rx_writer_init(&ch->rx, &ch->segment) == 0, "the ring is usable");
    require(rx_reader_init(&f->reader, &ch->segment, 0, SHM_READ_EACH, 0) == 0, "a reader");
    f->agent.config = rtp;
    f->agent.state = (shm_rtp_state_t *)(void *)ch->segment.engine;
    f->agent.udp.fd = -1;
    rtp_plan_init(&f->agent.plan, &f->agent.config);
    require(rtp_agent_rtcp_socket(ch, -1) == 0 && rtp_agent_rx_open(ch) == 0 &&
                rtp_agent_rtcp_open(ch, f->now_ns) == 0,
            "the agent opens");
}

static void end(fuzz_t *f)
{
    rtp_agent_rtcp_close(&f->channel);
    end_channel_memory(&f->channel);
    free_segment(&f->channel.segment);
}

/* --- what must hold ------------------------------------------------------------------------ */

static void check_conservation(const fuzz_t *f)
{
    const rtp_receiver_t *r = &f->agent.rx;
    const rtp_jitter_buffer_counters_t *c = &r->buffer.counters;
    uint32_t held = rtp_jitter_buffer_held(&r->buffer);
    require(c->received ==
                c->delivered + c->late + c->duplicates + c->overflow + c->discarded + held,
            "all that came into the buffer is somewhere");
    require(r->free_count + held == r->buffer.entry_count + 2, "no slot is lost or given twice");
}

static void check_record(const shm_rtp_rx_t *head, uint32_t bytes)
{
    uint32_t lists = 4u * head->csrc_count + head->extension_bytes;
    require(head->kind <= SHM_RTP_GOT_BYE, "a record is of a known kind");
    require(lists <= bytes && head->csrc_count <= 15, "lists lie in their record");
    require(head->kind == SHM_RTP_GOT_FRAME || bytes == 0, "only frames bear anything");
}

static void read_all(fuzz_t *f)
{
    uint8_t buffer[MAX_RECORD];
    rx_packet_t packet;
    shm_rtp_rx_t head;
    while (rx_reader_next(&f->reader, buffer, sizeof buffer, &packet, NULL) == 1) {
        require(packet.payload_bytes >= sizeof head && packet.payload_bytes <= MAX_RECORD,
                "a record has its head");
        memcpy(&head, buffer, sizeof head);
        check_record(&head, packet.payload_bytes - (uint32_t)sizeof head);
    }
}

/* --- steps --------------------------------------------------------------------------------- */

static void arrive(fuzz_t *f, const uint8_t *data, uint32_t bytes)
{
    /* A block of its own: a step over its end is seen. */
    uint8_t *datagram = malloc(bytes > 0 ? bytes : 1);
    if (datagram == NULL)
        abort();
    memcpy(datagram, data, bytes);
    rx_item_t item = {.payload = datagram,
                      .payload_bytes = bytes,
                      .time_ns = f->now_ns - (int64_t)take(f, 2),
                      .source = {.family = 4, .port = 9, .ip = {127, 0, 0, 1}}};
    (void)rtp_agent_arrived(&f->channel, &item, f->now_ns);
    free(datagram);
}

static void noise(fuzz_t *f)
{
    uint8_t data[MAX_DATAGRAM];
    uint32_t bytes = (uint32_t)take(f, 1);
    for (uint32_t i = 0; i < bytes; i++)
        data[i] = (uint8_t)take(f, 1);
    arrive(f, data, bytes);
}

/* Nearly as it should be: numbers and times go on, with leaps. */
static void media(fuzz_t *f)
{
    uint8_t data[MAX_DATAGRAM] = {0};
    unsigned how = (unsigned)take(f, 1);
    f->seq = (uint16_t)(f->seq + 1 + (how & 1 ? (int8_t)take(f, 1) : 0));
    f->ts += 160;
    f->ts += how & 2 ? (uint32_t)take(f, 4) : 0;
    rtp_put_header(data, how & 4, (unsigned)take(f, 1), how & 8 ? (uint32_t)take(f, 2) : f->seq,
                   f->ts, how & 16 ? (uint32_t)take(f, 1) : 1);
    arrive(f, data, RTP_HEADER_BYTES + (uint32_t)(how & 32 ? take(f, 1) : 8));
}

static void control(fuzz_t *f)
{
    uint8_t data[MAX_DATAGRAM];
    rtcp_writer_t w;
    uint32_t ssrc = (uint32_t)take(f, 1) % 9;
    unsigned how = (unsigned)take(f, 1);
    rtcp_report_t report = {.ssrc = 7, .last_sr = (uint32_t)take(f, 4)};
    rtcp_sender_t sender = {.ssrc = ssrc, .ntp = take(f, 8)};
    rtcp_writer_init(&w, data, sizeof data);
    if (how & 1)
        (void)rtcp_put_sr(&w, &sender, &report, how >> 7);
    else
        (void)rtcp_put_rr(&w, ssrc, &report, how >> 7);
    if (how & 2)
        (void)rtcp_put_cname(&w, ssrc, "abc", 3);
    if (how & 4)
        (void)rtcp_put_bye(&w, ssrc);
    arrive(f, data, (uint32_t)w.used);
}

/* As the worker does it: everything that is due, until nothing is. */
static void serve(fuzz_t *f)
{
    wrk_channel_t *ch = &f->channel;
    rtp_agent_play(ch, f->now_ns);
    unsigned looks = 0;
    while (rtp_agent_rx_deadline_ns(ch) <= f->now_ns ||
           rtp_agent_rtcp_deadline_ns(ch) <= f->now_ns) {
        rtp_agent_play(ch, f->now_ns);
        rtp_agent_rtcp_due(ch, f->now_ns);
        require(++looks < LOOKS_PER_INSTANT, "what is due at an instant comes to an end");
    }
    rtp_agent_publish_stats(ch);
}

/* To the next deadline. */
static void next_deadline(fuzz_t *f)
{
    int64_t rx = rtp_agent_rx_deadline_ns(&f->channel);
    int64_t rtcp = rtp_agent_rtcp_deadline_ns(&f->channel);
    int64_t at = rx < rtcp ? rx : rtcp;
    if (at != RT_NEVER_NS && at > f->now_ns && at < f->now_ns + 600 * RT_NS_PER_S)
        f->now_ns = at;
    serve(f);
}

static void play(fuzz_t *f)
{
    enum { NOISE, MEDIA, CONTROL, DEADLINE, READ, TIME };
    switch (take(f, 1) % (TIME + 1)) {
    case NOISE:
        noise(f);
        break;
    case MEDIA:
        media(f);
        break;
    case CONTROL:
        control(f);
        break;
    case DEADLINE:
        next_deadline(f);
        break;
    case READ:
        read_all(f);
        break;
    default:
        f->now_ns += (int64_t)take(f, 4);
        serve(f);
    }
    check_conservation(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static fuzz_t f;
    memset(&f, 0, sizeof f);
    f = (fuzz_t){.at = data, .left = bytes, .now_ns = 1000 * RT_NS_PER_S, .seq = 65530};
    start(&f);
    while (f.left > 0)
        play(&f);
    f.now_ns += 100 * RT_NS_PER_S;
    serve(&f);
    read_all(&f);
    check_conservation(&f);
    end(&f);
    return 0;
}
