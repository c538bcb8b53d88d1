/* The session against the partners of netflux_peers.h over two emulated links, in virtual time.
 *
 *     session --> [ out: loss, delay, ... ] --> partner
 *             <-- [ in: loss, delay, ...  ] <--
 *
 * A worker serves the session: late by some microseconds, at times by many milliseconds. What it
 * counts is compared with what the links and the partner know. RT_TEST_SEED, RT_TEST_ROUNDS. */
#include "netflux_peers.h"

#include "proto/impair/impair.h"
#include "proto/netflux/nfx_session.h"
#include "rt_test.h"

#define US RT_NS_PER_US
#define MS RT_NS_PER_MS
#define SEC RT_NS_PER_S

enum { SOCKET_DATAGRAMS = 1024, KINDS = 4 };

static uint64_t seed;

typedef struct waiting {
    uint8_t data[PEER_DATAGRAM];
    uint32_t size;
    int64_t arrival_ns;
} waiting_t;

typedef struct world {
    nfx_session_t s;
    nfx_stats_t stats;
    peer_t peer;
    impair_t out;
    impair_t in;
    void *out_memory;
    void *in_memory;
    bool cut_out;
    bool cut_in;
    rt_random_t chance;
    int64_t now_ns;
    int64_t latency_ns; /* of the worker's next wake-up */
    int64_t stalled_until_ns;
    waiting_t socket[SOCKET_DATAGRAMS];
    unsigned waiting;
    uint64_t lost_on_cut;
    uint64_t timeouts_told;
    int64_t timeout_ns;  /* of the last one told */
    int64_t arrival_ns;  /* of the last datagram accepted */
    bool payload_spoilt; /* something was accepted that the partner did not send */
} world_t;

static world_t w;

static uint64_t count(nfx_counter_id_t id)
{
    return rt_load_relaxed(&w.stats.counters[id]);
}

static double mean_ns(nfx_hist_id_t id)
{
    const rt_hist_t *h = &w.stats.hists[id];
    uint64_t n = rt_load_relaxed(&h->count);
    return n == 0 ? 0 : (double)rt_load_relaxed(&h->sum_ns) / (double)n;
}

static void offer(impair_t *link, const uint8_t *data, uint32_t size, int64_t now_ns)
{
    CHECK(impair_offer(link, &(impair_in_t){.data = data, .len = size}, now_ns) >= 0);
}

static void partner_sends(void *context, const uint8_t *data, uint32_t size, int64_t now_ns)
{
    world_t *world = context;
    world->lost_on_cut += world->cut_in;
    if (!world->cut_in)
        offer(&world->in, data, size, now_ns);
}

static void *open_link(impair_t *link, impair_config_t config, uint64_t link_seed)
{
    config.max_datagram_bytes = 64;
    config.store_bytes = 1 << 20;
    config.seed = link_seed;
    size_t bytes = impair_memory_bytes(&config);
    void *memory = malloc(bytes);
    CHECK_EQ(impair_init(link, &config, memory, bytes), 0);
    return memory;
}

typedef struct setting {
    peer_kind_t kind;
    int64_t partner_interval_ns;
    int64_t scan_ns;
    double unconfirmed;
    nfx_config_t link;
    impair_config_t net;
} setting_t;

static void begin(const setting_t *setting)
{
    memset(&w, 0, sizeof w);
    rt_random_init(&w.chance, seed);
    w.peer.kind = setting->kind;
    w.peer.interval_ns = setting->partner_interval_ns;
    w.peer.scan_ns = setting->scan_ns;
    w.peer.unconfirmed = setting->unconfirmed;
    w.peer.send = partner_sends;
    w.peer.context = &w;
    rt_random_init(&w.peer.chance, seed + 1);
    w.out_memory = open_link(&w.out, setting->net, seed + 2);
    w.in_memory = open_link(&w.in, setting->net, seed + 3);
    nfx_config_t link = setting->link;
    link.rx_payload_bytes = PEER_PAYLOAD;
    CHECK_EQ(nfx_session_init(&w.s, &link, &w.stats), 0);
    nfx_session_start_sending(&w.s, 0, 0);
    peer_start(&w.peer, 300 * US);
}

static void end(void)
{
    CHECK(!w.payload_spoilt);
    free(w.out_memory);
    free(w.in_memory);
}

static bool is_the_partners(const nfx_frame_t *frame)
{
    for (unsigned i = 0; i < PEER_PAYLOAD; i++) {
        if (frame->payload[i] != (uint8_t)(frame->number + i))
            return false;
    }
    return true;
}

static void read_socket(void)
{
    for (unsigned i = 0; i < w.waiting; i++) {
        const waiting_t *d = &w.socket[i];
        nfx_frame_t frame;
        if (nfx_session_receive(&w.s, d->data, d->size, d->arrival_ns, w.now_ns, &frame) < 0)
            continue;
        w.arrival_ns = d->arrival_ns;
        w.payload_spoilt |= !is_the_partners(&frame);
    }
    w.waiting = 0;
}

static void tell_events(void)
{
    nfx_event_t event;
    while (nfx_session_next_event(&w.s, &event)) {
        if (event.kind != NFX_EVENT_TIMEOUT)
            continue;
        w.timeouts_told++;
        w.timeout_ns = event.at_ns;
        CHECK_EQ(event.at_ns, w.arrival_ns + w.s.config.watch_ns);
    }
}

static void serve(void)
{
    nfx_out_t out;
    read_socket();
    if (nfx_session_emit(&w.s, &out, w.now_ns)) {
        uint8_t data[PEER_DATAGRAM] = {out.header[0], out.header[1]};
        if (!w.cut_out)
            offer(&w.out, data, sizeof data, w.now_ns);
        nfx_session_sent(&w.s, w.now_ns);
    }
    tell_events();
    w.latency_ns = rt_random_below(&w.chance, 50 * US);
}

static void arrivals(void)
{
    impair_out_t d;
    while (impair_emit(&w.out, &d, 1, w.now_ns))
        peer_deliver(&w.peer, d.data, d.len, w.now_ns);
    while (impair_emit(&w.in, &d, 1, w.now_ns)) {
        if (w.waiting == SOCKET_DATAGRAMS)
            continue;
        waiting_t *slot = &w.socket[w.waiting++];
        memcpy(slot->data, d.data, d.len);
        slot->size = d.len;
        slot->arrival_ns = d.due_ns;
    }
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t wake_ns(void)
{
    int64_t ns = nfx_session_deadline_ns(&w.s);
    if (w.waiting > 0)
        ns = w.now_ns;
    if (ns == RT_NEVER_NS)
        return ns;
    ns += w.latency_ns;
    return ns < w.stalled_until_ns ? w.stalled_until_ns : ns;
}

static void run_until(int64_t end_ns)
{
    for (;;) {
        int64_t wake = wake_ns();
        int64_t next = earlier(earlier(wake, peer_next_ns(&w.peer)),
                               earlier(impair_deadline_ns(&w.out), impair_deadline_ns(&w.in)));
        if (next > end_ns)
            break;
        if (next > w.now_ns)
            w.now_ns = next;
        arrivals();
        if (peer_next_ns(&w.peer) <= w.now_ns)
            peer_run(&w.peer, w.now_ns);
        if (wake <= w.now_ns)
            serve();
    }
    w.now_ns = end_ns;
}

/* What the partner sent ends exactly once: rejected, accepted, missing, or never to be known. */
static void check_conservation(void)
{
    uint64_t seen = count(NFX_COUNT_accepted) + count(NFX_COUNT_rejected_old) +
                    count(NFX_COUNT_rejected_repeated) + count(NFX_COUNT_rejected_short);
    CHECK_EQ(seen, w.in.counters.passed - w.waiting);
    CHECK_EQ(count(NFX_COUNT_acknowledged) + count(NFX_COUNT_passed_over) +
                 count(NFX_COUNT_ack_lost),
             w.s.echo.covered);
    CHECK(w.timeouts_told <= count(NFX_COUNT_timeouts)); /* those over when found are not told */
}

static bool about(double value, double wanted, double share)
{
    bool ok = value >= wanted * (1 - share) && value <= wanted * (1 + share);
    if (!ok)
        printf("       %s: %g, wanted %g within %g %%\n", peer_names[w.peer.kind], value, wanted,
               share * 100);
    return ok;
}

static setting_t usual(unsigned kind)
{
    return (setting_t){
        .kind = (peer_kind_t)kind,
        .partner_interval_ns = 2 * MS,
        .scan_ns = MS,
        .link = {.cycle_ns = 2 * MS, .watch_ns = 30 * MS},
        .net = {.delay_ns = 200 * US},
    };
}

/* --- scenarios, each with every partner ---------------------------------------------------- */

static void test_a_good_link(void)
{
    for (unsigned kind = 0; kind < KINDS; kind++) {
        setting_t setting = usual(kind);
        begin(&setting);
        run_until(20 * SEC);
        check_conservation();
        CHECK(w.s.alive.is && w.s.heard.is);
        CHECK_EQ(count(NFX_COUNT_sent), 10000);
        CHECK_EQ(count(NFX_COUNT_skipped), 0);
        CHECK_EQ(count(NFX_COUNT_timeouts) + count(NFX_COUNT_unheard), 0);
        CHECK_EQ(count(NFX_COUNT_accepted) + impair_queued(&w.in) + w.waiting, w.peer.sent);
        CHECK_EQ(count(NFX_COUNT_partner_lost) + count(NFX_COUNT_ack_lost), 0);
        CHECK(about(mean_ns(NFX_HIST_own_interval), 2e6, 0.0005));
        CHECK(about(mean_ns(NFX_HIST_partner_interval), peer_period_ns(&w.peer),
                    kind == PEER_PYTHON ? 0.02 : 0.0005));
        CHECK(mean_ns(NFX_HIST_rtt) > 400e3 && mean_ns(NFX_HIST_rtt) < 10e6);
        if (kind == PEER_CODESYS4) { /* deaf from the wrap until its watchdog helps */
            CHECK(w.peer.timeouts > 5 && w.peer.refused > 1000);
        } else {
            CHECK_EQ(w.peer.timeouts + w.peer.refused + w.peer.missed, 0);
            CHECK(!w.peer.error);
            CHECK(w.peer.accepted + 2 >= count(NFX_COUNT_sent));
        }
        end();
    }
}

static void test_a_bad_link(void)
{
    for (unsigned kind = 0; kind < KINDS; kind++) {
        setting_t setting = usual(kind);
        setting.net = (impair_config_t){.loss = 0.1, .delay_ns = 50 * MS, .jitter_ns = 2 * MS};
        setting.link.watch_ns = 200 * MS;
        begin(&setting);
        run_until(60 * SEC);
        check_conservation();
        CHECK_EQ(count(NFX_COUNT_timeouts) + count(NFX_COUNT_unheard), 0);
        uint64_t lost = count(NFX_COUNT_partner_lost);
        CHECK(lost <= w.in.counters.lost && lost + 20 >= w.in.counters.lost);
        CHECK(about((double)lost, 0.1 * (double)w.peer.sent, 0.1));
        CHECK(about(mean_ns(NFX_HIST_partner_interval), peer_period_ns(&w.peer), 0.05));
        /* 100 ms on the way; the partner waits for its own turn meanwhile */
        double turn_ns = kind == PEER_PYTHON ? 1.5 * 2.5e6 : 2.5e6;
        CHECK(about(mean_ns(NFX_HIST_rtt), 100e6 + turn_ns, 0.05));
        end();
    }
}

static void test_duplicates_and_disorder(void)
{
    for (unsigned kind = 0; kind < KINDS; kind++) {
        setting_t setting = usual(kind);
        setting.net = (impair_config_t){
            .duplicate = 0.2, .reorder = 0.1, .reorder_extra_ns = 9 * MS, .delay_ns = MS};
        begin(&setting);
        run_until(20 * SEC);
        check_conservation();
        CHECK(w.in.counters.duplicated > 100 && w.in.counters.reordered > 100);
        CHECK(count(NFX_COUNT_rejected_repeated) > 100);
        CHECK(count(NFX_COUNT_rejected_old) > 100);
        CHECK_EQ(count(NFX_COUNT_timeouts) + count(NFX_COUNT_unheard), 0);
        /* What came too late was missing when its successor was taken. */
        CHECK(count(NFX_COUNT_partner_lost) <= w.in.counters.reordered);
        /* Accepted and missing together reach from the first number to the last. */
        uint64_t reach = count(NFX_COUNT_accepted) + count(NFX_COUNT_partner_lost) - 1;
        CHECK((uint8_t)(w.s.window.last - reach) <= 5);
        CHECK(reach < w.peer.sent && reach + 12 >= w.peer.sent);
        end();
    }
}

static void test_the_partner_is_switched_off_and_on(void)
{
    for (unsigned kind = 0; kind < KINDS; kind++) {
        setting_t setting = usual(kind);
        begin(&setting);
        run_until(3 * SEC + 1);
        peer_stop(&w.peer);
        run_until(4 * SEC);
        CHECK_EQ(count(NFX_COUNT_timeouts), 1);
        CHECK_EQ(w.timeouts_told, 1);
        CHECK_EQ(w.timeout_ns, w.arrival_ns + 30 * MS);
        CHECK_EQ(count(NFX_COUNT_unheard), 1);
        peer_start(&w.peer, 4 * SEC);
        run_until(4 * SEC + 10 * MS);
        CHECK(w.s.alive.is && w.s.heard.is);
        CHECK_EQ(count(NFX_COUNT_firsts), 2);
        run_until(8 * SEC);
        CHECK(w.s.alive.is && w.s.heard.is);
        CHECK_EQ(count(NFX_COUNT_rejected_old) + count(NFX_COUNT_partner_lost), 0);
        CHECK_EQ(count(NFX_COUNT_timeouts), 1);
        check_conservation();
        end();
    }
}

/* Without a watchdog a restart within the refused half costs at most 129 datagrams. */
static void test_a_quick_restart_without_a_watchdog(void)
{
    for (unsigned kind = 0; kind < KINDS; kind++) {
        for (unsigned at = 0; at < 256; at += 5) {
            setting_t setting = usual(kind);
            setting.link.watch_ns = 0;
            begin(&setting);
            while (w.peer.sent < 256 + at)
                run_until(w.now_ns + MS);
            run_until(w.now_ns + MS);
            uint64_t accepted = count(NFX_COUNT_accepted);
            peer_start(&w.peer, w.now_ns);
            run_until(w.now_ns + 600 * MS);
            CHECK(count(NFX_COUNT_accepted) > accepted);
            CHECK(count(NFX_COUNT_rejected_old) + count(NFX_COUNT_rejected_repeated) <= 129);
            check_conservation();
            end();
        }
    }
}

static void test_our_datagrams_do_not_arrive(void)
{
    for (unsigned kind = 0; kind < KINDS; kind++) {
        setting_t setting = usual(kind);
        begin(&setting);
        run_until(300 * MS); /* before the first wrap, for the sake of codesys4 */
        CHECK(w.s.heard.is && !w.peer.error);
        w.cut_out = true;
        run_until(400 * MS);
        CHECK(w.s.alive.is);
        CHECK(!w.s.heard.is);
        run_until(4 * SEC);
        CHECK(w.s.alive.is && !w.s.heard.is);
        CHECK_EQ(count(NFX_COUNT_unheard), 1);
        CHECK_EQ(count(NFX_COUNT_timeouts), 0);
        CHECK(count(NFX_COUNT_ack_lost) > 1000);
        CHECK_EQ(w.peer.timeouts, 1);
        w.cut_out = false;
        run_until(8 * SEC);
        CHECK(w.s.heard.is);
        check_conservation();
        end();
    }
}

static void test_the_partners_datagrams_do_not_arrive(void)
{
    for (unsigned kind = 0; kind < KINDS; kind++) {
        setting_t setting = usual(kind);
        begin(&setting);
        run_until(300 * MS);
        uint64_t timeouts = w.peer.timeouts;
        w.cut_in = true;
        run_until(400 * MS);
        CHECK(!w.s.alive.is && !w.s.heard.is);
        CHECK_EQ(count(NFX_COUNT_timeouts), 1);
        run_until(2 * SEC);
        /* We go on sending, with the same feedback: those who watch it know that we are deaf. */
        bool watches_feedback = kind == PEER_CODESYS4 || kind == PEER_SIEMENS;
        CHECK_EQ(w.peer.timeouts > timeouts, watches_feedback);
        w.cut_in = false;
        run_until(3 * SEC);
        CHECK(w.s.alive.is);
        CHECK_EQ(count(NFX_COUNT_timeouts), 1);
        check_conservation();
        end();
    }
}

/* Our worker is held up longer than the watchdog's interval, and finds the partner's datagrams in
 * the socket: the partner was there all the time. */
static void test_our_own_stall_is_no_time_out(void)
{
    for (unsigned kind = 0; kind < KINDS; kind++) {
        setting_t setting = usual(kind);
        begin(&setting);
        run_until(SEC);
        uint64_t sent = count(NFX_COUNT_sent);
        w.stalled_until_ns = SEC + 100 * MS;
        run_until(SEC + 200 * MS);
        CHECK_EQ(count(NFX_COUNT_timeouts), 0);
        CHECK(count(NFX_COUNT_skipped) >= 48 && count(NFX_COUNT_skipped) <= 50);
        CHECK_EQ(count(NFX_COUNT_sent) + count(NFX_COUNT_skipped), sent + 100);
        CHECK_EQ(count(NFX_COUNT_partner_lost), 0);
        check_conservation();
        end();
    }
}

/* A successor that goes on with the numbers loses nothing; one that starts anew is refused. */
static void test_our_worker_is_replaced(void)
{
    for (unsigned kind = 0; kind < KINDS; kind++) {
        for (int go_on = 0; go_on < 2; go_on++) {
            setting_t setting = usual(kind);
            begin(&setting);
            run_until(250 * MS);
            uint64_t refused = w.peer.refused;
            const rt_a64_t *gauges = w.stats.gauges;
            nfx_past_t past = {
                .own_number = (uint8_t)rt_load_relaxed(&gauges[NFX_GAUGE_own_number]),
                .partner_number = (uint8_t)rt_load_relaxed(&gauges[NFX_GAUGE_partner_number]),
                .partner_known = true,
                .alive = true,
                .heard = true,
                .fresh = true,
                .last_accepted_ns =
                    (int64_t)rt_load_relaxed(&gauges[NFX_GAUGE_last_accepted_mono_ns]),
            };
            nfx_config_t link = w.s.config;
            CHECK_EQ(nfx_session_init(&w.s, &link, &w.stats), 0);
            if (go_on)
                nfx_session_take_over(&w.s, &past, w.now_ns);
            nfx_session_start_sending(&w.s, w.now_ns, w.now_ns);
            run_until(350 * MS);
            CHECK_EQ(w.peer.refused > refused, !go_on && kind != PEER_CODESYS5);
            CHECK(w.s.alive.is);
            CHECK_EQ(count(NFX_COUNT_partner_lost), 0);
            end();
        }
    }
}

/* Sends that the partner never confirms to itself are sent again under the same number. */
static void test_siemens_repeats_what_it_did_not_confirm(void)
{
    setting_t setting = usual(PEER_SIEMENS);
    setting.unconfirmed = 0.05;
    begin(&setting);
    run_until(20 * SEC);
    CHECK(count(NFX_COUNT_rejected_repeated) > 100);
    CHECK_EQ(count(NFX_COUNT_accepted) + count(NFX_COUNT_rejected_repeated), w.peer.sent);
    CHECK_EQ(count(NFX_COUNT_partner_lost), 0);
    CHECK_EQ(count(NFX_COUNT_timeouts), 0);
    check_conservation();
    end();
}

/* Whatever the numbers: a partner that starts with 0 loses nothing with us, and we lose nothing
 * with one that throws a first 0 away, because we start with 1. */
static void test_nobody_loses_a_first_datagram(void)
{
    for (unsigned kind = 0; kind < KINDS; kind++) {
        setting_t setting = usual(kind);
        begin(&setting);
        run_until(100 * MS);
        CHECK_EQ(count(NFX_COUNT_accepted) + impair_queued(&w.in) + w.waiting, w.peer.sent);
        CHECK_EQ(w.peer.refused, 0);
        CHECK(w.peer.accepted + 2 >= count(NFX_COUNT_sent));
        end();
    }
}

/* Anything goes; what must always hold is looked at all along. */
static void test_random_networks(void)
{
    uint64_t rounds = rt_test_env_u64("RT_TEST_ROUNDS", 40);
    uint64_t random = seed;
    for (uint64_t i = 0; i < rounds; i++) {
        uint64_t r = rt_test_rand(&random);
        setting_t setting = {
            .kind = (peer_kind_t)(r % KINDS),
            .partner_interval_ns = (int64_t)(1 + (r >> 4 & 15)) * MS,
            .scan_ns = r >> 8 & 1 ? MS : 4 * MS,
            .unconfirmed = r >> 9 & 1 ? 0.02 : 0,
            .link = {.cycle_ns = (int64_t)(1 + (r >> 10 & 31)) * 250 * US,
                     .watch_ns = r >> 15 & 3 ? 60 * MS : 0,
                     .keep_window = r >> 17 & 1},
            .net = {.loss = (double)(r >> 18 & 15) / 64,
                    .burst_loss = r >> 22 & 1 ? 0.05 : 0,
                    .burst_packets = 20,
                    .duplicate = (double)(r >> 23 & 7) / 32,
                    .reorder = (double)(r >> 26 & 7) / 32,
                    .corrupt = 0,
                    .delay_ns = (int64_t)(r >> 29 & 63) * MS,
                    .jitter_ns = (int64_t)(r >> 35 & 7) * MS},
        };
        begin(&setting);
        for (int step = 0; step < 20; step++) {
            uint64_t q = rt_test_rand(&random);
            if (q % 8 == 0)
                peer_stop(&w.peer);
            if (q % 8 == 1 || (q % 8 == 2 && !w.peer.running))
                peer_start(&w.peer, w.now_ns);
            w.cut_out = (q >> 8) % 8 == 0;
            w.cut_in = (q >> 16) % 8 == 0;
            if (q >> 24 & 1)
                w.stalled_until_ns = w.now_ns + (int64_t)(q >> 32 & 127) * MS;
            run_until(w.now_ns + 100 * MS + (int64_t)(q >> 40 & 1023) * MS / 4);
            check_conservation();
            CHECK(count(NFX_COUNT_partner_lost) <= 127 * count(NFX_COUNT_accepted));
        }
        /* In the end it is well again. */
        w.cut_in = w.cut_out = false;
        w.out.config.loss = w.in.config.loss = 0;
        w.out.p_enter = w.in.p_enter = 0;
        peer_start(&w.peer, w.now_ns);
        run_until(w.now_ns + 4 * SEC);
        CHECK(w.s.alive.is);
        check_conservation();
        end();
    }
}

int main(void)
{
    seed = rt_test_env_u64("RT_TEST_SEED", 1);
    printf("seed %" PRIu64 "\n", seed);
    RUN(test_a_good_link);
    RUN(test_a_bad_link);
    RUN(test_duplicates_and_disorder);
    RUN(test_the_partner_is_switched_off_and_on);
    RUN(test_a_quick_restart_without_a_watchdog);
    RUN(test_our_datagrams_do_not_arrive);
    RUN(test_the_partners_datagrams_do_not_arrive);
    RUN(test_our_own_stall_is_no_time_out);
    RUN(test_our_worker_is_replaced);
    RUN(test_siemens_repeats_what_it_did_not_confirm);
    RUN(test_nobody_loses_a_first_datagram);
    RUN(test_random_networks);
    return rt_test_result();
}
