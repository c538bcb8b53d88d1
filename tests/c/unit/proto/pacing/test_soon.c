/* Waiting awake in virtual time: for what, how long, and until when it pays. */
#include "proto/pacing/soon.h"

#include "base/rt_clock.h"
#include "rt_test.h"

#define US RT_NS_PER_US
#define MOST_NS (150 * US)

static soon_t s;
static int64_t now;

/* A wait of so long. Returns how much of it was awake. */
static int64_t wait_for(int64_t each_ns)
{
    int64_t from = now;
    now += each_ns;
    int64_t asleep_from = from;
    soon_begin(&s, from);
    while (asleep_from < now && soon_lasts(&s, asleep_from))
        asleep_from += US;
    soon_end(&s, now);
    return asleep_from - from;
}

static int64_t waits(unsigned count, int64_t each_ns)
{
    int64_t awake_ns = 0;
    for (unsigned i = 0; i < count; i++)
        awake_ns += wait_for(each_ns);
    return awake_ns;
}

static void begin(void)
{
    now = RT_NS_PER_S;
    soon_init(&s, MOST_NS, now);
}

static void test_what_takes_long_is_slept_for(void)
{
    begin();
    CHECK_EQ(waits(1000, MOST_NS + 20 * US), 0);
}

static void test_what_comes_soon_finds_it_awake(void)
{
    begin();
    waits(30, 100 * US);
    CHECK_EQ(waits(100, 100 * US), 100 * 100 * US);
    CHECK_EQ(wait_for(RT_NS_PER_S) / (100 * US), 2); /* it did not come soon this time */
}

static void test_a_few_waits_in_vain_do_not_matter(void)
{
    begin();
    waits(30, 20 * US);
    for (unsigned i = 0; i < 100; i++) {
        wait_for(MOST_NS * 2);
        CHECK_EQ(waits(9, 20 * US), 9 * 20 * US);
    }
}

/* It comes soon after this side has fallen asleep, and not while it is awake: it needs the core. */
static void test_waits_in_vain_end(void)
{
    begin();
    waits(30, 100 * US);
    int64_t awake_ns = 0;
    for (unsigned i = 0; i < 1000; i++) {
        soon_begin(&s, now);
        for (; soon_lasts(&s, now); awake_ns += US)
            now += US;
        now += 100 * US;
        soon_end(&s, now);
    }
    CHECK(awake_ns < 1000 * 100 * US / 10);
    waits(20 * SOON_TRIAL, 100 * US);
    CHECK_EQ(waits(100, 100 * US), 100 * 100 * US);
}

int main(void)
{
    RUN(test_what_takes_long_is_slept_for);
    RUN(test_what_comes_soon_finds_it_awake);
    RUN(test_a_few_waits_in_vain_do_not_matter);
    RUN(test_waits_in_vain_end);
    return rt_test_result();
}
