#include "io_test.h"

/* A card whose clock runs `ppb` fast against the channel's and was set `start_ns` apart. */
typedef struct card {
    int64_t start_ns;
    double ppb;
} card_t;

static int64_t channel_time(const card_t *card, int64_t phc_ns)
{
    return phc_ns + card->start_ns - (int64_t)((double)phc_ns * card->ppb * 1e-9);
}

static void read_card(phc_filter_t *filter, const card_t *card, int64_t phc_ns, int64_t width_ns,
                      uint64_t *seed)
{
    int64_t error_ns = (int64_t)(rt_test_rand(seed) % (uint64_t)(width_ns + 1)) - width_ns / 2;
    phc_filter_add(filter, phc_ns, channel_time(card, phc_ns) + error_ns, width_ns);
}

static void test_one_reading_gives_the_offset(void)
{
    phc_filter_t filter;
    phc_filter_init(&filter);
    phc_filter_add(&filter, 1000, 5000, 10);
    CHECK_EQ(filter.count, 1);
    CHECK_EQ(phc_filter_map(&filter, 1000), 5000);
    CHECK_EQ(phc_filter_map(&filter, 2000), 6000);
}

static void test_rate_and_offset_are_learnt(void)
{
    const card_t cards[] = {{37 * RT_NS_PER_S, 0}, {-1700000000 * RT_NS_PER_S, 20000}, {5, -45000}};
    uint64_t seed = rt_test_env_u64("RT_TEST_SEED", 7);
    for (size_t c = 0; c < sizeof cards / sizeof cards[0]; c++) {
        phc_filter_t filter;
        phc_filter_init(&filter);
        int64_t phc_ns = 0;
        for (int i = 0; i < 40; i++, phc_ns += PHC_REFRESH_NS)
            read_card(&filter, &cards[c], phc_ns, 1000, &seed);
        CHECK_EQ(filter.count, PHC_FILTER_POINTS);
        CHECK(filter.slope * 1e9 > -cards[c].ppb - 500 && filter.slope * 1e9 < -cards[c].ppb + 500);
        for (int64_t at_ns = phc_ns - PHC_REFRESH_NS; at_ns < phc_ns + PHC_REFRESH_NS;
             at_ns += RT_NS_PER_MS * 50)
            CHECK(llabs(phc_filter_map(&filter, at_ns) - channel_time(&cards[c], at_ns)) < 500);
    }
}

static void test_a_wide_reading_weighs_little(void)
{
    card_t card = {.start_ns = 0, .ppb = 0};
    uint64_t seed = 3;
    phc_filter_t filter;
    phc_filter_init(&filter);
    int64_t phc_ns = 0;
    for (int i = 0; i < 10; i++, phc_ns += PHC_REFRESH_NS)
        read_card(&filter, &card, phc_ns, 200, &seed);
    phc_filter_add(&filter, phc_ns, phc_ns + 40000, 100000); /* interrupted while reading */
    CHECK(llabs(phc_filter_map(&filter, phc_ns) - phc_ns) < 300);
}

static void test_a_step_starts_anew(void)
{
    card_t card = {.start_ns = 1000, .ppb = 100};
    uint64_t seed = 5;
    phc_filter_t filter;
    phc_filter_init(&filter);
    int64_t phc_ns = 0;
    for (int i = 0; i < 20; i++, phc_ns += PHC_REFRESH_NS)
        read_card(&filter, &card, phc_ns, 500, &seed);
    card.start_ns += RT_NS_PER_S;
    read_card(&filter, &card, phc_ns, 500, &seed);
    CHECK_EQ(filter.count, 1);
    CHECK(llabs(phc_filter_map(&filter, phc_ns) - channel_time(&card, phc_ns)) <= 250);
}

static void test_interfaces_without_a_clock_say_so(void)
{
    CHECK_EQ(phc_index_of("lo"), -ENOTSUP);
    io_error_names("lo");
    CHECK_EQ(phc_index_of("no-such-if"), -ENODEV);
    io_error_names("no-such-if");

    int fds = io_open_fds();
    clock_map_t map;
    REQUIRE(clock_map_init(&map, RT_CLOCK_MONOTONIC) == 0);
    phc_t phc;
    CHECK_EQ(phc_open(&phc, "lo", &map), -ENOTSUP);
    CHECK_EQ(phc.fd, -1);
    CHECK_EQ(phc_refresh(&phc, &map, rt_mono_ns()), 0);
    phc_close(&phc);
    CHECK_EQ(io_open_fds(), fds);
}

int main(void)
{
    RUN(test_one_reading_gives_the_offset);
    RUN(test_rate_and_offset_are_learnt);
    RUN(test_a_wide_reading_weighs_little);
    RUN(test_a_step_starts_anew);
    RUN(test_interfaces_without_a_clock_say_so);
    return rt_test_result();
}
