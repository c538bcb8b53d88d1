#include "base/rt_random.h"
#include "rt_test.h"

/* First outputs of the authors' reference code for the state 1, 2, 3, 4. */
static void test_matches_the_reference(void)
{
    static const uint64_t expected[] = {
        UINT64_C(11520),
        UINT64_C(0),
        UINT64_C(1509978240),
        UINT64_C(1215971899390074240),
        UINT64_C(1216172134540287360),
        UINT64_C(607988272756665600),
        UINT64_C(16172922978634559625),
        UINT64_C(8476171486693032832),
        UINT64_C(10595114339597558777),
        UINT64_C(2904607092377533576),
    };
    rt_random_t r = {{1, 2, 3, 4}};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        CHECK_EQ(rt_random_next(&r), expected[i]);
}

static void test_seeding_matches_the_reference(void)
{
    uint64_t state = UINT64_C(1477776061723855037);
    CHECK_EQ(rt_random_split(&state), UINT64_C(1985237415132408290));
    CHECK_EQ(rt_random_split(&state), UINT64_C(2979275885539914483));
    CHECK_EQ(rt_random_split(&state), UINT64_C(13511426838097143398));
}

static void test_seeds_are_independent(void)
{
    rt_random_t a;
    rt_random_t b;
    for (uint64_t seed = 0; seed < 100; seed++) {
        rt_random_init(&a, seed);
        rt_random_init(&b, seed + 1);
        CHECK(rt_random_next(&a) != rt_random_next(&b));
    }
    rt_random_init(&a, 7);
    rt_random_init(&b, 7);
    for (int i = 0; i < 100; i++)
        CHECK_EQ(rt_random_next(&a), rt_random_next(&b));
}

/* Limits are five standard deviations. */
static void test_values_are_spread_evenly(void)
{
    enum { DRAWS = 700000 };
    rt_random_t r;
    rt_random_init(&r, 1);
    int counts[7] = {0};
    int hits = 0;
    double sum = 0;
    for (int i = 0; i < DRAWS; i++) {
        uint32_t below = rt_random_below(&r, 7);
        REQUIRE(below < 7);
        counts[below]++;
        double unit = rt_random_unit(&r);
        REQUIRE(unit >= 0.0 && unit < 1.0);
        sum += unit;
        hits += rt_random_chance(&r, 0.01);
    }
    for (int i = 0; i < 7; i++)
        CHECK(counts[i] > 100000 - 1464 && counts[i] < 100000 + 1464);
    CHECK(sum > DRAWS * 0.5 - 1208 && sum < DRAWS * 0.5 + 1208);
    CHECK(hits > 7000 - 416 && hits < 7000 + 416);
}

static void test_edges(void)
{
    rt_random_t r;
    rt_random_init(&r, 1);
    for (int i = 0; i < 1000; i++) {
        CHECK(!rt_random_chance(&r, 0.0));
        CHECK(rt_random_chance(&r, 1.0));
        CHECK_EQ(rt_random_below(&r, 0), 0);
        CHECK_EQ(rt_random_below(&r, 1), 0);
    }
}

int main(void)
{
    RUN(test_matches_the_reference);
    RUN(test_seeding_matches_the_reference);
    RUN(test_seeds_are_independent);
    RUN(test_values_are_spread_evenly);
    RUN(test_edges);
    return rt_test_result();
}
