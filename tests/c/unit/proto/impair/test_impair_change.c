/* An impaired path whose impairments change while datagrams are on their way. */
#include "impair_test.h"

static uint64_t seed;

static void change(link_t *l, const impair_config_t *config, int64_t now_ns)
{
    free(impair_old_memory(&l->im));
    size_t bytes = impair_change_bytes(&l->im, config);
    void *memory = bytes > 0 ? malloc(bytes) : NULL;
    CHECK_EQ(impair_change(&l->im, config, memory, bytes, now_ns), 0);
    if (memory != NULL)
        l->memory = memory;
}

/* A change moves nothing: it takes the same time however much is on the way. */
static void test_what_is_on_the_way_stays_where_it_is(void)
{
    impair_config_t config = {.delay_ns = 100 * RT_NS_PER_MS};
    link_t l;
    REQUIRE(link_open(&l, &config));
    void *first = l.memory;
    CHECK_EQ(offer(&l.im, 0, 100, 0), 1);
    config = (impair_config_t){.delay_ns = 1000 * RT_NS_PER_MS};
    change(&l, &config, RT_NS_PER_MS);
    CHECK(l.memory != first && impair_old_memory(&l.im) == NULL);
    config = (impair_config_t){.delay_ns = RT_NS_PER_MS, .reorder = 1};
    CHECK_EQ(impair_change_bytes(&l.im, &config), 0); /* not now */
    change(&l, &config, 2 * RT_NS_PER_MS);
    CHECK_EQ(offer(&l.im, 1, 100, 3 * RT_NS_PER_MS), 1);
    CHECK_EQ(impair_queued(&l.im), 2);
    CHECK_EQ(l.im.counters.reordered, 0);
    impair_out_t out[4];
    CHECK_EQ(impair_emit(&l.im, out, 4, 100 * RT_NS_PER_MS), 2);
    CHECK(number_of(&out[0]) == 0 && number_of(&out[1]) == 1);
    CHECK(is_whole(&out[0]) && is_whole(&out[1]));
    void *old = impair_old_memory(&l.im);
    CHECK(old == first && impair_old_memory(&l.im) == NULL);
    free(old);
    CHECK(impair_change_bytes(&l.im, &config) > 0);
    change(&l, &config, 101 * RT_NS_PER_MS);
    CHECK_EQ(offer(&l.im, 2, 100, 102 * RT_NS_PER_MS), 1);
    CHECK_EQ(l.im.counters.reordered, 1);
    link_close(&l);
}

static void test_a_shorter_delay_does_not_let_later_ones_overtake(void)
{
    impair_config_t config = {.delay_ns = 100 * RT_NS_PER_MS};
    link_t l;
    REQUIRE(link_open(&l, &config));
    CHECK_EQ(offer(&l.im, 0, 100, 0), 1);
    config.delay_ns = 10 * RT_NS_PER_MS;
    change(&l, &config, RT_NS_PER_MS);
    CHECK_EQ(offer(&l.im, 1, 100, 2 * RT_NS_PER_MS), 1);
    CHECK_EQ(offer(&l.im, 2, 100, 95 * RT_NS_PER_MS), 1);
    impair_out_t out[4];
    CHECK_EQ(impair_emit(&l.im, out, 4, 100 * RT_NS_PER_MS - 1), 0);
    CHECK_EQ(impair_emit(&l.im, out, 4, 100 * RT_NS_PER_MS), 2);
    CHECK(number_of(&out[0]) == 0 && number_of(&out[1]) == 1);
    CHECK_EQ(impair_deadline_ns(&l.im), 105 * RT_NS_PER_MS);
    link_close(&l);
}

/* The same chances as without any change, and other ones after another seed. */
static void test_a_change_continues_the_chances(void)
{
    impair_config_t config = {.loss = 0.3, .seed = seed};
    impair_config_t other = {.loss = 0.3, .delay_ns = 1000, .rate_bps = 1000000000, .seed = seed};
    link_t a;
    link_t b;
    REQUIRE(link_open(&a, &config));
    REQUIRE(link_open(&b, &config));
    for (uint64_t i = 0; i < 3000; i++) {
        if (i % 100 == 50)
            change(&b, i % 200 == 50 ? &other : &config, (int64_t)i * RT_NS_PER_MS);
        int lost = offer(&a.im, i, 10, (int64_t)i * RT_NS_PER_MS);
        CHECK_EQ(offer(&b.im, i, 10, (int64_t)i * RT_NS_PER_MS), lost);
        impair_out_t out[4];
        (void)impair_emit(&a.im, out, 4, (int64_t)i * RT_NS_PER_MS);
        (void)impair_emit(&b.im, out, 4, (int64_t)i * RT_NS_PER_MS);
    }
    CHECK(a.im.counters.lost > 500 && a.im.counters.lost == b.im.counters.lost);
    config.seed++;
    change(&b, &config, INT64_C(4) * RT_NS_PER_S);
    unsigned differ = 0;
    for (uint64_t i = 0; i < 1000; i++)
        differ += offer(&a.im, i, 0, 5 * RT_NS_PER_S) != offer(&b.im, i, 0, 5 * RT_NS_PER_S);
    CHECK(differ > 100);
    link_close(&a);
    link_close(&b);
}

static void test_a_burst_ends_when_bursts_are_switched_off(void)
{
    impair_config_t config = {.burst_loss = 0.9, .burst_packets = 1000, .seed = seed};
    link_t l;
    REQUIRE(link_open(&l, &config));
    for (uint64_t i = 0; i < 100000 && !l.im.in_burst; i++)
        (void)offer(&l.im, i, 0, 0);
    CHECK(l.im.in_burst);
    config.burst_loss = 0;
    change(&l, &config, 0);
    for (uint64_t i = 0; i < 100; i++)
        CHECK_EQ(offer(&l.im, i, 0, 0), 1);
    link_close(&l);
}

/* 1 Mbit/s: 8 ms for 1000 bytes. What waits leaves at the old rate, and fills the queue until
 * then. */
static void test_another_rate_keeps_what_waits(void)
{
    impair_config_t config = {.rate_bps = 1000000, .queue_bytes = 10000};
    link_t l;
    REQUIRE(link_open(&l, &config));
    for (uint64_t i = 0; i < 10; i++)
        CHECK_EQ(offer(&l.im, i, 1000, 0), 1);
    CHECK_EQ(offer(&l.im, 10, 1000, 0), 0);
    config.rate_bps = 100000000;
    change(&l, &config, 0);
    CHECK_EQ(offer(&l.im, 11, 1000, 0), 0); /* full */
    CHECK_EQ(offer(&l.im, 12, 900, 9 * RT_NS_PER_MS), 1);
    impair_out_t out[20];
    CHECK_EQ(impair_emit(&l.im, out, 20, 79 * RT_NS_PER_MS), 9);
    CHECK_EQ(out[8].due_ns, 72 * RT_NS_PER_MS);
    CHECK_EQ(impair_emit(&l.im, out, 20, 81 * RT_NS_PER_MS), 2);
    CHECK_EQ(out[0].due_ns, 80 * RT_NS_PER_MS);
    CHECK_EQ(out[1].due_ns, 80 * RT_NS_PER_MS + 900 * 8 * 10);
    link_close(&l);
}

/* An empty bottleneck that was used in this very nanosecond. */
static void test_another_rate_drops_the_fraction_of_the_old_one(void)
{
    impair_config_t config = {.rate_bps = IMPAIR_MAX_RATE_BPS};
    link_t l;
    REQUIRE(link_open(&l, &config));
    CHECK_EQ(offer(&l.im, 0, 1, 0), 1);
    config.rate_bps = 1;
    change(&l, &config, 0);
    CHECK_EQ(offer(&l.im, 1, 1, 0), 1);
    impair_out_t out[2];
    CHECK_EQ(impair_emit(&l.im, out, 2, 20 * RT_NS_PER_S), 2);
    CHECK_EQ(out[1].due_ns, 8 * RT_NS_PER_S);
    link_close(&l);
}

static void test_a_refused_change_changes_nothing(void)
{
    impair_config_t config = {.delay_ns = RT_NS_PER_MS};
    link_t l;
    REQUIRE(link_open(&l, &config));
    impair_config_t bad = {.loss = 2};
    CHECK_EQ(impair_change(&l.im, &bad, NULL, 0, 0), -EINVAL);
    impair_config_t large = {.delay_ns = 10 * RT_NS_PER_S, .reorder = 0.5};
    uint64_t memory[2];
    CHECK(impair_change_bytes(&l.im, &large) > sizeof memory);
    CHECK_EQ(impair_change(&l.im, &large, memory, sizeof memory, 0), -ENOBUFS);
    CHECK_EQ(impair_change(&l.im, &large, NULL, 0, 0), -ENOBUFS);
    CHECK_EQ(offer(&l.im, 0, 1, 0), 1);
    CHECK_EQ(impair_deadline_ns(&l.im), RT_NS_PER_MS);
    link_close(&l);
}

static void check_changes(uint64_t *state)
{
    impair_config_t config = random_config(state);
    link_t l;
    REQUIRE(link_open(&l, &config));
    impair_out_t out[8];
    int64_t now = 0;
    int64_t last_due = INT64_MIN;
    for (uint64_t i = 0; i < 3000; i++) {
        now += (int64_t)(rt_test_rand(state) % 20000);
        if (rt_test_rand(state) % 50 == 0) {
            uint64_t queued = impair_queued(&l.im);
            int64_t deadline = impair_deadline_ns(&l.im);
            impair_config_t next = random_config(state);
            change(&l, &next, now);
            REQUIRE(impair_queued(&l.im) == queued && impair_deadline_ns(&l.im) == deadline);
        }
        int passed = offer(&l.im, i, (uint32_t)(rt_test_rand(state) % 1501), now);
        REQUIRE(passed >= 0 && passed <= 2 && conserves(&l.im));
        size_t n = impair_emit(&l.im, out, rt_test_rand(state) % 8, now);
        for (size_t k = 0; k < n; k++) {
            REQUIRE(is_whole(&out[k]) && out[k].due_ns >= last_due && out[k].due_ns <= now);
            last_due = out[k].due_ns;
        }
    }
    size_t n;
    while ((n = impair_emit(&l.im, out, 8, INT64_MAX)) > 0)
        for (size_t k = 0; k < n; k++)
            REQUIRE(is_whole(&out[k]));
    CHECK(impair_queued(&l.im) == 0 && conserves(&l.im));
    link_close(&l);
}

static void test_changes_lose_nothing_whatever_is_set(void)
{
    for (uint64_t round = 0; round < rt_test_env_u64("RT_TEST_ROUNDS", 100); round++) {
        uint64_t state = seed + round;
        int before = atomic_load(&rt_test_failure_count);
        check_changes(&state);
        if (atomic_load(&rt_test_failure_count) != before) {
            printf("failed with RT_TEST_SEED=%" PRIu64 "\n", seed + round);
            return;
        }
    }
}

/* Offers may have the time of arrival, before the latest emission. */
static void test_an_offer_may_be_earlier_than_an_emission(void)
{
    impair_config_t config = {.delay_ns = RT_NS_PER_MS};
    link_t l;
    REQUIRE(link_open(&l, &config));
    impair_out_t out[2];
    CHECK_EQ(impair_emit(&l.im, out, 2, 10 * RT_NS_PER_MS), 0);
    CHECK_EQ(offer(&l.im, 0, 1, 9 * RT_NS_PER_MS + 500), 1);
    CHECK_EQ(impair_deadline_ns(&l.im), 10 * RT_NS_PER_MS + 500);
    CHECK_EQ(impair_emit(&l.im, out, 2, 11 * RT_NS_PER_MS), 1);
    link_close(&l);
}

int main(void)
{
    seed = rt_test_env_u64("RT_TEST_SEED", 1);
    printf("seed %" PRIu64 "\n", seed);
    RUN(test_what_is_on_the_way_stays_where_it_is);
    RUN(test_a_shorter_delay_does_not_let_later_ones_overtake);
    RUN(test_a_change_continues_the_chances);
    RUN(test_a_burst_ends_when_bursts_are_switched_off);
    RUN(test_another_rate_keeps_what_waits);
    RUN(test_another_rate_drops_the_fraction_of_the_old_one);
    RUN(test_a_refused_change_changes_nothing);
    RUN(test_changes_lose_nothing_whatever_is_set);
    RUN(test_an_offer_may_be_earlier_than_an_emission);
    return rt_test_result();
}
