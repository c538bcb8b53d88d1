/* An impaired path: each impairment alone, all together, storage, configuration. */
#include "impair_test.h"

static uint64_t seed;

/* --- one thing at a time ------------------------------------------------------------------ */

static void test_nothing_set_passes_everything_at_once(void)
{
    impair_config_t config = {0};
    CHECK(!impair_config_active(&config));
    link_t l;
    REQUIRE(link_open(&l, &config));
    CHECK_EQ(impair_deadline_ns(&l.im), INT64_MAX);
    for (uint64_t i = 0; i < 20; i++)
        CHECK_EQ(offer(&l.im, i, (uint32_t)i * 100, 1000), 1);
    CHECK_EQ(impair_deadline_ns(&l.im), 1000);
    CHECK_EQ(impair_queued(&l.im), 20);
    impair_out_t out[32];
    CHECK_EQ(impair_emit(&l.im, out, 32, 1000), 20);
    for (uint64_t i = 0; i < 20; i++) {
        CHECK(is_whole(&out[i]));
        CHECK_EQ(number_of(&out[i]), i);
        CHECK_EQ(out[i].held_ns, 0);
    }
    CHECK(conserves(&l.im));
    link_close(&l);
}

static void test_delay_is_exact(void)
{
    impair_config_t config = {.delay_ns = 20 * RT_NS_PER_MS};
    link_t l;
    REQUIRE(link_open(&l, &config));
    impair_out_t out[4];
    for (int64_t i = 0; i < 1000; i++) {
        int64_t now = i * 40 * RT_NS_PER_MS;
        CHECK_EQ(offer(&l.im, (uint64_t)i, 100, now), 1);
        CHECK_EQ(impair_deadline_ns(&l.im), now + config.delay_ns);
        CHECK_EQ(impair_emit(&l.im, out, 4, now + config.delay_ns - 1), 0);
        CHECK_EQ(impair_emit(&l.im, out, 4, now + config.delay_ns), 1);
        CHECK_EQ(out[0].held_ns, config.delay_ns);
        CHECK_EQ(out[0].due_ns, now + config.delay_ns);
        CHECK(is_whole(&out[0]));
    }
    link_close(&l);
}

static void test_output_is_valid_until_the_next_offer(void)
{
    impair_config_t config = {.store_bytes = 2000, .max_datagram_bytes = 400};
    link_t l;
    REQUIRE(link_open(&l, &config));
    impair_out_t out[8];
    for (uint64_t i = 0; i < 1000; i += 3) {
        for (uint64_t k = 0; k < 3; k++)
            CHECK_EQ(offer(&l.im, i + k, (uint32_t)(rt_test_rand(&seed) % 401), 0), 1);
        CHECK_EQ(impair_emit(&l.im, out, 2, 0), 2);
        CHECK_EQ(impair_emit(&l.im, out + 2, 6, 0), 1);
        CHECK(is_whole(&out[0]) && is_whole(&out[1]) && is_whole(&out[2]));
        CHECK_EQ(number_of(&out[1]), i + 1);
        CHECK_EQ(number_of(&out[2]), i + 2);
    }
    link_close(&l);
}

static void test_clock_going_back_counts_as_standing(void)
{
    impair_config_t config = {.delay_ns = 1000};
    link_t l;
    REQUIRE(link_open(&l, &config));
    impair_out_t out[2];
    CHECK_EQ(offer(&l.im, 1, 10, 5000), 1);
    CHECK_EQ(offer(&l.im, 2, 10, 10), 1);
    CHECK_EQ(impair_emit(&l.im, out, 2, 6000), 2);
    CHECK_EQ(out[1].due_ns, 6000);
    link_close(&l);
}

static void test_jitter_spreads_and_keeps_the_order(void)
{
    enum { PACKETS = 20000 };
    impair_config_t config = {
        .delay_ns = 10 * RT_NS_PER_MS, .jitter_ns = 2 * RT_NS_PER_MS, .seed = seed};
    link_t l;
    REQUIRE(link_open(&l, &config));
    impair_out_t out;
    double sum = 0;
    int64_t least = INT64_MAX;
    int64_t most = 0;
    for (uint64_t i = 0; i < PACKETS; i++) {
        CHECK_EQ(offer(&l.im, i, 10, (int64_t)i * 50 * RT_NS_PER_MS), 1);
        REQUIRE(impair_emit(&l.im, &out, 1, impair_deadline_ns(&l.im)) == 1);
        sum += (double)out.held_ns;
        least = out.held_ns < least ? out.held_ns : least;
        most = out.held_ns > most ? out.held_ns : most;
    }
    CHECK(least >= 8 * RT_NS_PER_MS && least < 8 * RT_NS_PER_MS + 4000);
    CHECK(most <= 12 * RT_NS_PER_MS && most > 12 * RT_NS_PER_MS - 4000);
    /* Uniform: standard deviation 4 ms / sqrt(12), five of the mean's. */
    CHECK(fabs(sum / PACKETS - 10e6) < 5 * 4e6 / sqrt(12.0 * PACKETS));

    uint64_t next = PACKETS;
    for (uint64_t i = PACKETS; i < 2 * PACKETS; i++) {
        int64_t now = RT_NS_PER_S * 2000 + (int64_t)i * 20000;
        CHECK_EQ(offer(&l.im, i, 10, now), 1);
        while (impair_emit(&l.im, &out, 1, now) == 1) {
            REQUIRE(number_of(&out) == next++);
            REQUIRE(out.held_ns >= 8 * RT_NS_PER_MS && out.held_ns <= 12 * RT_NS_PER_MS);
        }
    }
    CHECK_EQ(l.im.counters.reordered, 0);
    link_close(&l);
}

static void test_jitter_above_the_delay_stops_at_zero(void)
{
    impair_config_t config = {.delay_ns = 10, .jitter_ns = 1000, .seed = seed};
    link_t l;
    REQUIRE(link_open(&l, &config));
    impair_out_t out;
    int at_once = 0;
    for (uint64_t i = 0; i < 1000; i++) {
        CHECK_EQ(offer(&l.im, i, 10, (int64_t)i * 10000), 1);
        REQUIRE(impair_emit(&l.im, &out, 1, impair_deadline_ns(&l.im)) == 1);
        REQUIRE(out.held_ns >= 0 && out.held_ns <= 1010);
        at_once += out.held_ns == 0;
    }
    CHECK(at_once > 400 && at_once < 600);
    link_close(&l);
}

static void test_held_back_datagrams_are_overtaken(void)
{
    enum { PACKETS = 50000 };
    impair_config_t config = {.reorder = 0.05, .delay_ns = RT_NS_PER_MS, .seed = seed};
    link_t l;
    REQUIRE(link_open(&l, &config));
    CHECK_EQ(l.im.config.reorder_extra_ns, IMPAIR_DEFAULT_REORDER_EXTRA_NS);
    impair_out_t out;
    uint64_t highest = 0;
    uint64_t overtaken = 0;
    int64_t last_due = 0;
    for (uint64_t i = 0; i < PACKETS; i++) {
        int64_t now = (int64_t)i * 100000;
        offer(&l.im, i, 10, now);
        while (impair_emit(&l.im, &out, 1, now) == 1) {
            bool held = (out.flags & IMPAIR_OUT_REORDERED) != 0;
            REQUIRE(out.held_ns == RT_NS_PER_MS + (held ? IMPAIR_DEFAULT_REORDER_EXTRA_NS : 0));
            REQUIRE(out.due_ns >= last_due);
            REQUIRE(held || number_of(&out) >= highest);
            overtaken += number_of(&out) < highest;
            highest = number_of(&out) > highest ? number_of(&out) : highest;
            last_due = out.due_ns;
        }
    }
    double expected = config.reorder * PACKETS;
    CHECK(fabs((double)l.im.counters.reordered - expected) < 5 * sqrt(expected));
    CHECK(overtaken + 10 >= l.im.counters.reordered && overtaken <= l.im.counters.reordered);
    CHECK(conserves(&l.im));
    link_close(&l);
}

static void test_corruption_flips_one_bit(void)
{
    enum { PACKETS = 20000, LEN = 25 };
    impair_config_t config = {.corrupt = 0.3, .seed = seed};
    link_t l;
    REQUIRE(link_open(&l, &config));
    impair_out_t out;
    uint64_t seen = 0;
    for (uint64_t i = 0; i < PACKETS; i++) {
        offer(&l.im, i, LEN, 0);
        REQUIRE(impair_emit(&l.im, &out, 1, 0) == 1);
        REQUIRE(is_whole(&out));
        seen += (uint64_t)flipped_bits(&out);
    }
    CHECK_EQ(seen, l.im.counters.corrupted);
    CHECK(fabs((double)seen - 0.3 * PACKETS) < 5 * sqrt(0.3 * 0.7 * PACKETS));
    config.corrupt = 1.0;
    link_close(&l);
    REQUIRE(link_open(&l, &config));
    CHECK_EQ(offer(&l.im, 1, 0, 0), 1);
    CHECK_EQ(l.im.counters.corrupted, 0);
    link_close(&l);
}

static void test_duplicates_follow_their_original(void)
{
    enum { PACKETS = 20000 };
    impair_config_t config = {.duplicate = 0.2, .seed = seed};
    link_t l;
    REQUIRE(link_open(&l, &config));
    impair_out_t out[3];
    uint64_t copies = 0;
    for (uint64_t i = 0; i < PACKETS; i++) {
        int passed = offer(&l.im, i, 40, (int64_t)i);
        REQUIRE(passed == 1 || passed == 2);
        REQUIRE(impair_emit(&l.im, out, 3, (int64_t)i) == (size_t)passed);
        REQUIRE(out[0].flags == 0);
        REQUIRE(passed == 1 || (out[1].flags == IMPAIR_OUT_COPY && is_whole(&out[1])));
        copies += passed == 2;
    }
    CHECK_EQ(l.im.counters.duplicated, copies);
    CHECK(fabs((double)copies - 0.2 * PACKETS) < 5 * sqrt(0.2 * 0.8 * PACKETS));
    CHECK(conserves(&l.im));
    link_close(&l);
}

static void test_single_loss_has_its_probability(void)
{
    enum { PACKETS = 200000 };
    static const double shares[] = {0.0, 0.001, 0.01, 0.3, 1.0};
    for (size_t s = 0; s < sizeof shares / sizeof shares[0]; s++) {
        impair_config_t config = {.loss = shares[s], .seed = seed};
        link_t l;
        REQUIRE(link_open(&l, &config));
        impair_out_t out;
        for (uint64_t i = 0; i < PACKETS; i++)
            if (offer(&l.im, i, 1, 0) == 1)
                REQUIRE(impair_emit(&l.im, &out, 1, 0) == 1);
        double expected = shares[s] * PACKETS;
        double limit = 5 * sqrt(expected * (1 - shares[s]));
        CHECK(fabs((double)l.im.counters.lost - expected) <= limit);
        CHECK_EQ(l.im.counters.burst_lost, 0);
        CHECK(conserves(&l.im));
        link_close(&l);
    }
}

/* Share and mean length of the bursts; the limits are five standard deviations, taken from the
 * variance of geometric burst and gap lengths. */
static void check_bursts(double share, double mean)
{
    enum { PACKETS = 1000000 };
    impair_config_t config = {.burst_loss = share, .burst_packets = mean, .seed = seed};
    link_t l;
    REQUIRE(link_open(&l, &config));
    impair_out_t out;
    uint64_t bursts = 0;
    bool was_lost = false;
    for (uint64_t i = 0; i < PACKETS; i++) {
        bool lost = offer(&l.im, i, 1, 0) == 0;
        bursts += lost && !was_lost;
        was_lost = lost;
        if (!lost)
            REQUIRE(impair_emit(&l.im, &out, 1, 0) == 1);
    }
    double lost = (double)l.im.counters.burst_lost;
    double correlation = 1 - 1 / mean - share / (mean * (1 - share));
    double sigma = sqrt(PACKETS * share * (1 - share) * (1 + correlation) / (1 - correlation));
    CHECK(fabs(lost - share * PACKETS) < 5 * sigma);
    double length = lost / (double)bursts;
    CHECK(fabs(length - mean) <= 5 * sqrt(mean * (mean - 1) / (double)bursts));
    CHECK_EQ(l.im.counters.lost, 0);
    link_close(&l);
}

static void test_bursts_have_their_share_and_length(void)
{
    check_bursts(0.01, 1);
    check_bursts(0.01, 5);
    check_bursts(0.2, 20);
    check_bursts(0.5, 1.5);
}

/* --- the bottleneck ----------------------------------------------------------------------- */

static void test_serialisation_time_is_exact(void)
{
    impair_config_t config = {.rate_bps = 3000000000, .queue_bytes = 1 << 20};
    link_t l;
    REQUIRE(link_open(&l, &config));
    for (uint64_t i = 0; i < 3000; i++)
        CHECK_EQ(offer(&l.im, i, 100, 500), 1);
    impair_out_t out;
    for (int64_t i = 1; i <= 3000; i++) {
        REQUIRE(impair_emit(&l.im, &out, 1, INT64_MAX) == 1);
        REQUIRE(out.due_ns == 500 + i * 800 / 3);
    }
    link_close(&l);
}

/* Offered just when the link is done with the one before: fractions of a nanosecond must not be
 * lost. */
static void test_fractions_of_a_nanosecond_are_carried(void)
{
    impair_config_t config = {.rate_bps = 3000000000};
    link_t l;
    REQUIRE(link_open(&l, &config));
    impair_out_t out;
    for (int64_t i = 0; i < 3000; i++) {
        int64_t now = 500 + i * 800 / 3;
        REQUIRE(offer(&l.im, (uint64_t)i, 100, now) == 1);
        REQUIRE(impair_emit(&l.im, &out, 1, impair_deadline_ns(&l.im)) == 1);
        REQUIRE(out.due_ns == 500 + (i + 1) * 800 / 3);
    }
    link_close(&l);
}

static void test_queue_is_bounded_in_bytes(void)
{
    impair_config_t config = {.rate_bps = 8000000, .queue_bytes = 10000};
    link_t l;
    REQUIRE(link_open(&l, &config));
    for (uint64_t i = 0; i < 50; i++)
        CHECK_EQ(offer(&l.im, i, 1000, 0), i < 10);
    CHECK_EQ(l.im.counters.queue_dropped, 40);
    CHECK_EQ(l.im.counters.store_dropped, 0);
    CHECK_EQ(offer(&l.im, 50, 1, 999), 0);
    CHECK_EQ(offer(&l.im, 51, 1, 1000), 1);
    CHECK_EQ(offer(&l.im, 52, 999, 1000 * 1000), 1);
    CHECK(conserves(&l.im));
    link_close(&l);
}

static void test_idle_link_takes_what_is_longer_than_its_queue(void)
{
    impair_config_t config = {.rate_bps = 8000000, .queue_bytes = 100};
    link_t l;
    REQUIRE(link_open(&l, &config));
    CHECK_EQ(offer(&l.im, 0, 1000, 0), 1);
    CHECK_EQ(offer(&l.im, 1, 1, 0), 0);
    CHECK_EQ(impair_deadline_ns(&l.im), 1000000);
    CHECK_EQ(offer(&l.im, 2, 1000, 1000000), 1);
    link_close(&l);
}

typedef struct departures {
    int count;
    int64_t at_ns[4000];
    int64_t bits[4000];
} departures_t;

static departures_t seen;

/* In no span leave more bits than rate * span, one datagram apart: here the first of each span. */
static bool keeps_rate(uint64_t rate_bps, int64_t slack_ns)
{
    for (int i = 0; i < seen.count; i++) {
        int64_t bits = 0;
        for (int j = i + 1; j < seen.count; j++) {
            bits += seen.bits[j];
            double span = (double)(seen.at_ns[j] - seen.at_ns[i] + 1 + slack_ns);
            if ((double)bits > span * (double)rate_bps / 1e9)
                return false;
        }
    }
    return true;
}

static void check_rate(uint64_t *state)
{
    impair_config_t config = {
        .rate_bps = 1000 + rt_test_rand(state) % 100000000,
        .queue_bytes = 2000 + rt_test_rand(state) % 100000,
        .delay_ns = (int64_t)(rt_test_rand(state) % 100000000),
        .duplicate = 0.1,
        .loss = 0.1,
        .seed = *state,
    };
    if (rt_test_rand(state) % 2 == 0)
        config.jitter_ns = (int64_t)(rt_test_rand(state) % 10000000);
    link_t l;
    REQUIRE(link_open(&l, &config));
    /* Offered at between a tenth of the rate and ten times as much. */
    int64_t gap = (int64_t)(8e9 * 700 / (double)config.rate_bps);
    uint64_t spread = (uint64_t)(rt_test_rand(state) % 2 == 0 ? 20 * gap : gap / 5) + 1;
    int64_t now = 0;
    impair_out_t out[16];
    seen.count = 0;
    for (uint64_t i = 0; seen.count < 700 && i < 100000; i++) {
        now += (int64_t)(rt_test_rand(state) % spread);
        offer(&l.im, i, (uint32_t)(rt_test_rand(state) % 1401), now);
        size_t n = impair_emit(&l.im, out, 16, now);
        for (size_t k = 0; k < n; k++) {
            seen.at_ns[seen.count] = out[k].due_ns;
            seen.bits[seen.count++] = (int64_t)out[k].len * 8;
        }
    }
    CHECK(seen.count > 600);
    CHECK(keeps_rate(config.rate_bps, 2 * config.jitter_ns));
    CHECK_EQ(l.im.counters.store_dropped, 0);
    link_close(&l);
}

static void test_rate_holds_in_every_window(void)
{
    for (uint64_t round = 0; round < rt_test_env_u64("RT_TEST_ROUNDS", 60); round++) {
        uint64_t state = seed + round;
        int before = atomic_load(&rt_test_failure_count);
        check_rate(&state);
        if (atomic_load(&rt_test_failure_count) != before) {
            printf("failed with RT_TEST_SEED=%" PRIu64 "\n", seed + round);
            return;
        }
    }
}

static void test_saturated_link_carries_its_rate(void)
{
    impair_config_t config = {.rate_bps = 10000000};
    link_t l;
    REQUIRE(link_open(&l, &config));
    impair_out_t out[16];
    uint64_t bytes = 0;
    for (int64_t now = 0; now < 10 * RT_NS_PER_S; now += 500000) {
        offer(&l.im, (uint64_t)now, 1250, now);
        size_t n = impair_emit(&l.im, out, 16, now);
        for (size_t k = 0; k < n; k++)
            bytes += out[k].len;
    }
    CHECK(bytes * 8 <= 100000000 && bytes * 8 >= 99900000);
    CHECK(l.im.counters.queue_dropped > 0);
    link_close(&l);
}

/* --- storage ------------------------------------------------------------------------------ */

static void test_full_storage_drops_and_says_so(void)
{
    impair_config_t config = {
        .delay_ns = RT_NS_PER_S, .store_bytes = 10000, .max_datagram_bytes = 1000};
    link_t l;
    REQUIRE(link_open(&l, &config));
    int accepted = 0;
    for (uint64_t i = 0; i < 20; i++)
        accepted += offer(&l.im, i, 1000, 0);
    CHECK_EQ(accepted, 9);
    CHECK_EQ(l.im.counters.store_dropped, 11);
    CHECK_EQ(l.im.counters.queue_dropped, 11);
    CHECK(conserves(&l.im));
    impair_out_t out[20];
    CHECK_EQ(impair_emit(&l.im, out, 20, RT_NS_PER_S), 9);
    CHECK_EQ(offer(&l.im, 30, 1000, RT_NS_PER_S), 1);
    impair_clear(&l.im);
    CHECK_EQ(impair_queued(&l.im), 0);
    CHECK_EQ(impair_deadline_ns(&l.im), INT64_MAX);
    CHECK_EQ(l.im.counters.queue_dropped, 12);
    CHECK(conserves(&l.im));
    CHECK_EQ(offer(&l.im, 31, 1000, RT_NS_PER_S), 1);
    link_close(&l);
}

static void test_default_storage_holds_what_the_link_carries(void)
{
    impair_config_t config = {.rate_bps = 1000000000, .delay_ns = 50 * RT_NS_PER_MS};
    link_t l;
    REQUIRE(link_open(&l, &config));
    impair_out_t out[64];
    for (int64_t i = 0; i < 300000; i++) {
        int64_t now = i * 1000;
        offer(&l.im, (uint64_t)i, 150, now);
        (void)impair_emit(&l.im, out, 64, now);
    }
    CHECK_EQ(l.im.counters.store_dropped, 0);
    CHECK(l.im.counters.queue_dropped > 0);
    link_close(&l);
}

static void test_refuses_what_it_cannot_take(void)
{
    impair_config_t config = {.max_datagram_bytes = 100};
    link_t l;
    REQUIRE(link_open(&l, &config));
    CHECK_EQ(offer(&l.im, 1, 101, 0), -EMSGSIZE);
    uint8_t tag[64] = {0};
    impair_in_t in = {.tag = tag, .tag_bytes = IMPAIR_TAG_BYTES + 1};
    CHECK_EQ(impair_offer(&l.im, &in, 0), -EINVAL);
    CHECK_EQ(l.im.counters.offered, 0);
    in.tag_bytes = IMPAIR_TAG_BYTES;
    CHECK_EQ(impair_offer(&l.im, &in, 0), 1);
    size_t bytes = impair_memory_bytes(&config);
    impair_t im;
    CHECK_EQ(impair_init(&im, &config, l.memory, bytes - 1), -ENOBUFS);
    CHECK(strstr(rt_err_text(), "it needs") != NULL);
    link_close(&l);
}

/* --- everything at once ------------------------------------------------------------------- */

static void check_everything(uint64_t *state)
{
    impair_config_t config = random_config(state);
    link_t l;
    REQUIRE(link_open(&l, &config));
    impair_out_t out[8];
    int64_t now = (int64_t)(rt_test_rand(state) % 1000000);
    int64_t last_due = INT64_MIN;
    uint64_t got = 0;
    for (uint64_t i = 0; i < 3000; i++) {
        now += (int64_t)(rt_test_rand(state) % 20000);
        int passed = offer(&l.im, i, (uint32_t)(rt_test_rand(state) % 1501), now);
        REQUIRE(passed >= 0 && passed <= 2 && conserves(&l.im));
        if (i % 3 != 0)
            continue;
        int64_t deadline = impair_deadline_ns(&l.im);
        size_t n = impair_emit(&l.im, out, 1 + rt_test_rand(state) % 8, now);
        REQUIRE((n > 0) == (deadline <= now));
        got += n;
        for (size_t k = 0; k < n; k++) {
            REQUIRE(is_whole(&out[k]) && out[k].due_ns >= last_due && out[k].due_ns <= now);
            last_due = out[k].due_ns;
        }
        REQUIRE(conserves(&l.im) && l.im.counters.passed == got);
    }
    size_t n;
    while ((n = impair_emit(&l.im, out, 8, INT64_MAX)) > 0)
        for (size_t k = 0; k < n; k++)
            REQUIRE(is_whole(&out[k]));
    CHECK_EQ(impair_queued(&l.im), 0);
    CHECK(conserves(&l.im));
    link_close(&l);
}

static void test_conservation_whatever_is_set(void)
{
    for (uint64_t round = 0; round < rt_test_env_u64("RT_TEST_ROUNDS", 100); round++) {
        uint64_t state = seed + round;
        int before = atomic_load(&rt_test_failure_count);
        check_everything(&state);
        if (atomic_load(&rt_test_failure_count) != before) {
            printf("failed with RT_TEST_SEED=%" PRIu64 "\n", seed + round);
            return;
        }
    }
}

enum { RECORDED = 5000 };

/* What chance does to each of many datagrams: lost alone, lost in a burst, copies on their way. */
static void record_fates(const impair_config_t *config, int64_t gap_ns, uint32_t len,
                         uint8_t *fates)
{
    link_t l;
    REQUIRE(link_open(&l, config));
    const impair_counters_t *c = &l.im.counters;
    for (uint64_t i = 0; i < RECORDED; i++) {
        uint64_t lost = c->lost;
        uint64_t burst_lost = c->burst_lost;
        int passed = offer(&l.im, i, len, (int64_t)i * gap_ns);
        fates[i] =
            (uint8_t)((unsigned)passed << 2 | (c->burst_lost - burst_lost) << 1 | (c->lost - lost));
    }
    CHECK_EQ(c->queue_dropped, 0);
    link_close(&l);
}

static void test_chance_depends_on_seed_and_position_only(void)
{
    static uint8_t a[RECORDED];
    static uint8_t b[RECORDED];
    impair_config_t config = {.loss = 0.1,
                              .burst_loss = 0.1,
                              .burst_packets = 4,
                              .duplicate = 0.1,
                              .corrupt = 0.1,
                              .jitter_ns = 1000,
                              .seed = seed,
                              .store_bytes = 32 << 20};
    record_fates(&config, 1000, 10, a);
    record_fates(&config, 1000, 10, b);
    CHECK_MEM_EQ(a, b, sizeof a);
    record_fates(&config, 77777, 1400, b);
    CHECK_MEM_EQ(a, b, sizeof a);
    config.corrupt = 0.9;
    config.reorder = 0.5;
    config.delay_ns = 100000;
    record_fates(&config, 1000, 10, b);
    CHECK_MEM_EQ(a, b, sizeof a);
    config.seed++;
    record_fates(&config, 1000, 10, b);
    CHECK(memcmp(a, b, sizeof a) != 0);
}

/* Delay and damage of the first copies, with and without second ones. */
static void test_copies_do_not_change_the_chance_of_others(void)
{
    enum { PACKETS = 3000 };
    static int64_t held_ns[2][PACKETS];
    static unsigned flags[2][PACKETS];
    for (int run = 0; run < 2; run++) {
        impair_config_t config = {.duplicate = run == 0 ? 0 : 0.5,
                                  .corrupt = 0.3,
                                  .reorder = 0.3,
                                  .delay_ns = 5000,
                                  .jitter_ns = 5000,
                                  .reorder_extra_ns = 1,
                                  .seed = seed};
        link_t l;
        REQUIRE(link_open(&l, &config));
        impair_out_t out[2];
        for (int64_t i = 0; i < PACKETS; i++) {
            int passed = offer(&l.im, (uint64_t)i, 100, i * 100000);
            size_t n = impair_emit(&l.im, out, 2, i * 100000 + 99999);
            REQUIRE(n == (size_t)passed);
            const impair_out_t *first = out[0].flags & IMPAIR_OUT_COPY ? &out[1] : &out[0];
            held_ns[run][i] = first->held_ns;
            flags[run][i] = first->flags;
        }
        link_close(&l);
    }
    CHECK_MEM_EQ(held_ns[0], held_ns[1], sizeof held_ns[0]);
    CHECK_MEM_EQ(flags[0], flags[1], sizeof flags[0]);
}

/* Two links, one seed, the same offers: the same bytes at the same times. */
static void test_runs_repeat_exactly(void)
{
    impair_config_t config = {.loss = 0.05,
                              .burst_loss = 0.05,
                              .burst_packets = 3,
                              .duplicate = 0.05,
                              .reorder = 0.1,
                              .corrupt = 0.1,
                              .delay_ns = 3000000,
                              .jitter_ns = 1000000,
                              .rate_bps = 50000000,
                              .queue_bytes = 20000,
                              .seed = seed};
    link_t a;
    link_t b;
    REQUIRE(link_open(&a, &config));
    REQUIRE(link_open(&b, &config));
    uint64_t state = seed;
    impair_out_t out_a;
    impair_out_t out_b;
    int64_t now = 0;
    for (uint64_t i = 0; i < 20000; i++) {
        now += (int64_t)(rt_test_rand(&state) % 100000);
        uint32_t len = (uint32_t)(rt_test_rand(&state) % 1000);
        REQUIRE(offer(&a.im, i, len, now) == offer(&b.im, i, len, now));
        while (impair_emit(&a.im, &out_a, 1, now) == 1) {
            REQUIRE(impair_emit(&b.im, &out_b, 1, now) == 1);
            REQUIRE(out_a.due_ns == out_b.due_ns && out_a.len == out_b.len &&
                    out_a.flags == out_b.flags && memcmp(out_a.data, out_b.data, out_a.len) == 0);
        }
    }
    CHECK_MEM_EQ(&a.im.counters, &b.im.counters, sizeof a.im.counters);
    CHECK(a.im.counters.queue_dropped > 0 && a.im.counters.passed > 1000);
    link_close(&a);
    link_close(&b);
}

/* --- configuration ------------------------------------------------------------------------ */

static void expect_refusal(impair_config_t config, const char *text)
{
    CHECK_EQ(impair_config_check(&config), -EINVAL);
    if (!CHECK(strstr(rt_err_text(), text) != NULL))
        printf("       %s\n", rt_err_text());
    CHECK_EQ(impair_memory_bytes(&config), 0);
    impair_t im;
    CHECK_EQ(impair_init(&im, &config, NULL, SIZE_MAX), -EINVAL);
}

static void test_refuses_bad_configurations(void)
{
    expect_refusal((impair_config_t){.loss = 1.5}, "loss is 1.5; set 0 .. 1");
    expect_refusal((impair_config_t){.loss = -0.1}, "loss is -0.1");
    expect_refusal((impair_config_t){.loss = NAN}, "loss is nan");
    expect_refusal((impair_config_t){.duplicate = 2}, "duplicate is 2");
    expect_refusal((impair_config_t){.reorder = 2}, "reorder is 2");
    expect_refusal((impair_config_t){.corrupt = INFINITY}, "corrupt is inf");
    expect_refusal((impair_config_t){.burst_loss = 0.1}, "burst_packets is 0");
    expect_refusal((impair_config_t){.burst_loss = 0.1, .burst_packets = NAN}, "burst_packets is");
    expect_refusal((impair_config_t){.burst_loss = 0.6, .burst_packets = 1},
                   "burst_loss is 0.6; bursts of 1 packets can make 0 .. 0.5");
    expect_refusal((impair_config_t){.burst_loss = 1, .burst_packets = 10}, "burst_loss is 1");
    expect_refusal((impair_config_t){.delay_ns = -1}, "delay_ns is -1; set 0 .. 60000000000");
    expect_refusal((impair_config_t){.jitter_ns = INT64_MAX}, "jitter_ns is 9223372036854775807");
    expect_refusal((impair_config_t){.reorder_extra_ns = -5}, "reorder_extra_ns is -5");
    expect_refusal((impair_config_t){.rate_bps = UINT64_MAX}, "rate_bps is 18446744073709551615");
    expect_refusal((impair_config_t){.queue_bytes = UINT64_MAX}, "queue_bytes is");
    expect_refusal((impair_config_t){.store_bytes = 100}, "store_bytes is 100");
    expect_refusal((impair_config_t){.store_bytes = UINT64_MAX}, "store_bytes is");
    expect_refusal((impair_config_t){.max_datagram_bytes = 65536}, "max_datagram_bytes is 65536");
}

static void test_extreme_configurations_work(void)
{
    impair_config_t config = {.loss = 0,
                              .burst_loss = 0.999,
                              .burst_packets = 1e6,
                              .duplicate = 1,
                              .reorder = 1,
                              .corrupt = 1,
                              .delay_ns = IMPAIR_MAX_DELAY_NS,
                              .jitter_ns = IMPAIR_MAX_DELAY_NS,
                              .reorder_extra_ns = IMPAIR_MAX_DELAY_NS,
                              .rate_bps = IMPAIR_MAX_RATE_BPS,
                              .queue_bytes = IMPAIR_MAX_QUEUE_BYTES,
                              .store_bytes = 1 << 20};
    CHECK(impair_config_active(&config));
    link_t l;
    REQUIRE(link_open(&l, &config));
    for (uint64_t i = 0; i < 100; i++)
        CHECK(offer(&l.im, i, IMPAIR_MAX_DATAGRAM_BYTES, (int64_t)i) >= 0);
    CHECK(conserves(&l.im));
    link_close(&l);
    config.rate_bps = 1;
    config.burst_loss = 0;
    config.store_bytes = 0;
    CHECK_EQ(impair_memory_bytes(&config), 2 * (UINT64_C(256) << 20));
    config.queue_bytes = 1000;
    REQUIRE(link_open(&l, &config));
    CHECK_EQ(offer(&l.im, 0, IMPAIR_MAX_DATAGRAM_BYTES, 0), 1);
    CHECK_EQ(offer(&l.im, 1, 1, 0), 0);
    CHECK(impair_deadline_ns(&l.im) >= INT64_C(65535) * 8 * RT_NS_PER_S);
    link_close(&l);
}

int main(void)
{
    uint64_t first = seed = rt_test_env_u64("RT_TEST_SEED", 1);
    printf("seed %" PRIu64 "\n", seed);
    RUN(test_nothing_set_passes_everything_at_once);
    RUN(test_delay_is_exact);
    RUN(test_output_is_valid_until_the_next_offer);
    seed = first;
    RUN(test_clock_going_back_counts_as_standing);
    RUN(test_jitter_spreads_and_keeps_the_order);
    RUN(test_jitter_above_the_delay_stops_at_zero);
    RUN(test_held_back_datagrams_are_overtaken);
    RUN(test_corruption_flips_one_bit);
    RUN(test_duplicates_follow_their_original);
    RUN(test_single_loss_has_its_probability);
    RUN(test_bursts_have_their_share_and_length);
    RUN(test_serialisation_time_is_exact);
    RUN(test_fractions_of_a_nanosecond_are_carried);
    RUN(test_queue_is_bounded_in_bytes);
    RUN(test_idle_link_takes_what_is_longer_than_its_queue);
    RUN(test_rate_holds_in_every_window);
    RUN(test_saturated_link_carries_its_rate);
    RUN(test_full_storage_drops_and_says_so);
    RUN(test_default_storage_holds_what_the_link_carries);
    RUN(test_refuses_what_it_cannot_take);
    RUN(test_conservation_whatever_is_set);
    RUN(test_chance_depends_on_seed_and_position_only);
    RUN(test_copies_do_not_change_the_chance_of_others);
    RUN(test_runs_repeat_exactly);
    RUN(test_refuses_bad_configurations);
    RUN(test_extreme_configurations_work);
    return rt_test_result();
}
