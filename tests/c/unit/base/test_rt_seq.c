#include "base/rt_seq.h"
#include "rt_test.h"

static void test_difference_wraps(void)
{
    CHECK_EQ(rt_seq32_diff(5, 3), 2);
    CHECK_EQ(rt_seq32_diff(3, 5), -2);
    CHECK_EQ(rt_seq32_diff(1, UINT32_MAX), 2);
    CHECK_EQ(rt_seq32_diff(UINT32_MAX, 1), -2);
    CHECK_EQ(rt_seq32_diff(0x7fffffff, 0), INT32_MAX);
    CHECK_EQ(rt_seq32_diff(7, 7), 0);
}

static void test_widening_finds_the_nearest(void)
{
    uint64_t edge = UINT64_C(1) << 32;
    CHECK_EQ(rt_seq64_near(edge - 1, 0), edge);
    CHECK_EQ(rt_seq64_near(edge, UINT32_MAX), edge - 1);
    CHECK_EQ(rt_seq64_near(0, 17), 17);
    CHECK_EQ(rt_seq64_near(5 * edge + 3, 3), 5 * edge + 3);

    uint64_t state = 1;
    for (int i = 0; i < 100000; i++) {
        uint64_t near = rt_test_rand(&state) >> 8;
        int64_t step = (int64_t)(rt_test_rand(&state) % 0xffffffff) - 0x7fffffff;
        uint64_t far = near + (uint64_t)step;
        CHECK_EQ(rt_seq64_near(near, (uint32_t)far), far);
    }
}

int main(void)
{
    RUN(test_difference_wraps);
    RUN(test_widening_finds_the_nearest);
    return rt_test_result();
}
