/* Any bytes as the life of a Netflux session.
 *
 *     bytes 0 .. 3: configuration; then steps:
 *     what to do (4 bits) and how far the time moves (4 bits), and, for what is received, the size
 *     and the datagram itself
 *
 * Every datagram must end in one counter, every number of ours in one fate; what is due must be
 * served by one call; nothing may be sent twice in one cell of the grid. */
#include "proto/netflux/nfx_session.h"

#include <stdlib.h>
#include <string.h>

#define REQUIRE(cond) \
    do {              \
        if (!(cond))  \
            abort();  \
    } while (0)

enum { MAX_STEPS = 4000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct input {
    const uint8_t *at;
    const uint8_t *end;
} input_t;

static nfx_session_t s;
static nfx_stats_t stats;
static uint64_t offered;
static int64_t last_cell_ns; /* of the grid that was started last */

static uint8_t take(input_t *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

static uint64_t count(nfx_counter_id_t id)
{
    return rt_load_relaxed(&stats.counters[id]);
}

static void receive(input_t *in, int64_t now_ns)
{
    size_t size = take(in) % 32;
    size_t left = (size_t)(in->end - in->at);
    if (size > left)
        size = left;
    uint8_t *datagram = malloc(size + 1); /* on the heap, for the sanitizer to see its end */
    memcpy(datagram, in->at, size);
    in->at += size;
    int64_t arrival_ns = now_ns - take(in) * 10000;
    nfx_frame_t frame;
    nfx_verdict_t verdict = nfx_session_receive(&s, datagram, size, arrival_ns, now_ns, &frame);
    offered++;
    if (verdict >= 0) {
        REQUIRE(frame.number == datagram[0] && frame.feedback == datagram[1]);
        REQUIRE(frame.payload_bytes == s.config.rx_payload_bytes);
        REQUIRE(frame.payload + frame.payload_bytes <= datagram + size);
        REQUIRE(s.alive.is && s.window.last == datagram[0]);
    }
    free(datagram);
}

static void emit(uint8_t choice, int64_t now_ns)
{
    nfx_out_t out;
    uint8_t number = (uint8_t)(s.echo.sent + 1);
    if (nfx_session_emit(&s, &out, now_ns)) {
        REQUIRE(out.header[0] == number && out.header[1] == s.window.last);
        REQUIRE(out.due_ns <= s.now_ns && out.due_ns + s.config.cycle_ns > s.now_ns);
        REQUIRE(out.due_ns > last_cell_ns);
        last_cell_ns = out.due_ns;
        if (choice & 1)
            nfx_session_sent(&s, s.now_ns);
        else
            nfx_session_not_sent(&s);
    }
    REQUIRE(nfx_session_emit(&s, &out, now_ns) == 0);
    REQUIRE(nfx_session_deadline_ns(&s) > s.now_ns);
}

static void reconfigure(uint8_t how, int64_t now_ns)
{
    nfx_config_t config = s.config;
    config.cycle_ns = (1 + (how & 3)) * NFX_MIN_CYCLE_NS;
    config.watch_ns = (how >> 2 & 3) * INT64_C(700000);
    config.hear_ns = (how >> 4 & 1) * INT64_C(900000);
    config.stale_ns = (how >> 5 & 1) * INT64_C(400000);
    config.on_stale = (nfx_on_stale_t)((how >> 6) % 3);
    REQUIRE(nfx_session_reconfigure(&s, &config, now_ns) == 0);
}

static void step(input_t *in, uint8_t what, int64_t now_ns)
{
    switch (what) {
    case 0:
        nfx_session_start_sending(&s, now_ns + (int8_t)take(in) * INT64_C(100000), now_ns);
        last_cell_ns = INT64_MIN;
        break;
    case 1:
        nfx_session_stop_sending(&s);
        break;
    case 2:
        nfx_session_stop_receiving(&s);
        break;
    case 3:
        nfx_session_owner_died(&s, now_ns);
        break;
    case 4:
        nfx_session_refreshed(&s, now_ns + (int8_t)take(in) * INT64_C(10000), now_ns);
        break;
    case 5:
    case 6:
    case 7:
    case 8:
        emit(what, now_ns);
        break;
    case 15:
        reconfigure(take(in), now_ns);
        break;
    default:
        receive(in, now_ns);
        break;
    }
}

static void check(void)
{
    nfx_event_t event;
    unsigned events = 0;
    while (nfx_session_next_event(&s, &event))
        REQUIRE(++events <= 3);
    REQUIRE(count(NFX_COUNT_accepted) + count(NFX_COUNT_rejected_short) +
                count(NFX_COUNT_rejected_repeated) + count(NFX_COUNT_rejected_old) ==
            offered);
    REQUIRE(count(NFX_COUNT_acknowledged) + count(NFX_COUNT_passed_over) +
                count(NFX_COUNT_ack_lost) ==
            s.echo.covered);
    REQUIRE(count(NFX_COUNT_sent) == s.echo.sent && s.echo.sent - s.echo.covered <= 256);
    REQUIRE(s.alive.is || s.alive_until_ns == RT_NEVER_NS);
    REQUIRE(s.heard.is || s.heard_until_ns == RT_NEVER_NS);
    REQUIRE(s.fresh.is || s.fresh_until_ns == RT_NEVER_NS);
    REQUIRE(rt_load_relaxed(&stats.hists[NFX_HIST_rtt].count) == count(NFX_COUNT_acknowledged));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input_t in = {data, data + size};
    nfx_config_t config = {
        .rx_payload_bytes = take(&in) % 8,
        .cycle_ns = (1 + take(&in) % 8) * NFX_MIN_CYCLE_NS,
        .watch_ns = (take(&in) & 7) * INT64_C(500000),
    };
    uint8_t more = take(&in);
    config.on_stale = (nfx_on_stale_t)(more % 3);
    config.stale_ns = more & 0x10 ? 700000 : 0;
    config.keep_window = more & 0x20;
    offered = 0;
    memset(&stats, 0, sizeof stats);
    REQUIRE(nfx_session_init(&s, &config, &stats) == 0);
    int64_t now_ns = 0;
    for (int i = 0; i < MAX_STEPS && in.at < in.end; i++) {
        uint8_t op = take(&in);
        now_ns += INT64_C(3) << (op >> 4) << 6;
        step(&in, op & 15, now_ns);
        check();
    }
    return 0;
}
