#include "proto/traffic/traffic_sizes.h"

#include "base/rt_err.h"
#include "rt_test.h"

#include <errno.h>

static const traffic_sizes_t IMIX = {.sizes = {{18, 18, 7}, {548, 548, 4}, {1472, 1472, 1}},
                                     .size_count = 3};

static void test_each_cycle_has_the_shares_of_imix(void)
{
    traffic_cycle_t cycle = {0};
    rt_random_t r;
    rt_random_init(&r, 1);
    CHECK_EQ(traffic_sizes_check(&IMIX), 0);
    uint64_t first_large = 0;
    for (int i = 0; i < 1000; i++) {
        unsigned small = 0, middle = 0, large = 0;
        for (int packet = 0; packet < 12; packet++) {
            uint32_t bytes = traffic_size_next(&cycle, &IMIX, &r);
            small += bytes == 18;
            middle += bytes == 548;
            large += bytes == 1472;
            first_large += bytes == 1472 && packet == 0;
        }
        CHECK_EQ(small, 7);
        CHECK_EQ(middle, 4);
        CHECK_EQ(large, 1);
    }
    CHECK(first_large > 50 && first_large < 120); /* the order is random: 1 in 12 */
}

static void test_a_range_is_uniform(void)
{
    traffic_sizes_t range = {.sizes = {{100, 109, 1}}, .size_count = 1};
    traffic_cycle_t cycle = {0};
    rt_random_t r;
    rt_random_init(&r, 2);
    uint32_t seen[10] = {0};
    for (int i = 0; i < 100000; i++) {
        uint32_t bytes = traffic_size_next(&cycle, &range, &r);
        REQUIRE(bytes >= 100 && bytes <= 109);
        seen[bytes - 100]++;
    }
    double chi2 = 0;
    for (int i = 0; i < 10; i++)
        chi2 += (seen[i] - 10000.0) * (seen[i] - 10000.0) / 10000.0;
    CHECK(chi2 < 27.9); /* 9 degrees of freedom, p = 0.001 */
}

static void test_one_size_takes_no_chance(void)
{
    traffic_sizes_t fixed = {.sizes = {{200, 200, 3}}, .size_count = 1};
    traffic_cycle_t cycle = {0};
    rt_random_t r, before;
    rt_random_init(&r, 3);
    before = r;
    CHECK_EQ(traffic_size_next(&cycle, &fixed, &r), 200);
    CHECK_MEM_EQ(&r, &before, sizeof r);
}

static void refuses(traffic_size_t size, const char *text)
{
    traffic_sizes_t sizes = {.sizes = {size}, .size_count = 1};
    CHECK_EQ(traffic_sizes_check(&sizes), -EINVAL);
    CHECK(strstr(rt_err_text(), text) != NULL);
}

static void test_what_is_refused(void)
{
    refuses((traffic_size_t){8, 8, 1}, "size is 8 bytes: at least 16");
    refuses((traffic_size_t){70000, 70000, 1}, "size is 70000 bytes: a UDP datagram has at most");
    refuses((traffic_size_t){200, 100, 1}, "size is from 200 to 100 bytes: swap them");
    refuses((traffic_size_t){200, 200, 0}, "weight of a size is 0: it must be 1 to 1000000");
    refuses((traffic_size_t){200, 200, 1000001}, "weight of a size is 1000001");
    traffic_sizes_t none = {.size_count = 0};
    CHECK_EQ(traffic_sizes_check(&none), -EINVAL);
    none.size_count = TRAFFIC_MAX_SIZES + 1;
    CHECK_EQ(traffic_sizes_check(&none), -EINVAL);
}

int main(void)
{
    RUN(test_each_cycle_has_the_shares_of_imix);
    RUN(test_a_range_is_uniform);
    RUN(test_one_size_takes_no_chance);
    RUN(test_what_is_refused);
    return rt_test_result();
}
