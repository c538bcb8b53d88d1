#include "proto/rtp/resample.h"

#include "rt_test.h"

#include <errno.h>
#include <math.h>

/* The formula, one double operation after the other. */
static int16_t in_words(const int16_t *in, size_t count, int64_t i, int64_t in_rate,
                        int64_t out_rate)
{
    volatile double ratio = (double)in_rate / (double)out_rate;
    volatile double pos = (double)i * ratio;
    int64_t index = (int64_t)pos;
    if (index >= (int64_t)count - 1)
        return in[count - 1];
    volatile double fraction = pos - (double)index;
    volatile double rise = (double)in[index + 1] - (double)in[index];
    volatile double part = rise * fraction;
    double value = rint((double)in[index] + part);
    return (int16_t)(value > 32767 ? 32767 : value < -32768 ? -32768 : value);
}

static void check_all(const int16_t *in, size_t count, int64_t in_rate, int64_t out_rate)
{
    static int16_t out[200000];
    int64_t n = resample_linear_count(count, in_rate, out_rate);
    REQUIRE(n >= 0 && n < 199999);
    out[n] = 0x5a5a;
    CHECK_EQ(resample_linear(out, in, count, in_rate, out_rate), n);
    CHECK_EQ(out[n], 0x5a5a);
    for (int64_t i = 0; i < n; i++) {
        if (out[i] != in_words(in, count, i, in_rate, out_rate)) {
            CHECK_EQ(out[i], in_words(in, count, i, in_rate, out_rate));
            (void)fprintf(stderr, "sample %d of %d, %d to %d Hz\n", (int)i, (int)count,
                          (int)in_rate, (int)out_rate);
            return;
        }
    }
}

static void test_every_way_gives_what_the_formula_gives(void)
{
    static const int64_t rates[] = {8000,  11025, 12000, 16000, 22050, 24000,
                                    32000, 44100, 48000, 96000, 1,     3};
    static int16_t in[400];
    uint64_t random = rt_test_env_u64("RT_TEST_SEED", 1);
    for (unsigned round = 0; round < 4000; round++) {
        size_t count = 1 + rt_test_rand(&random) % 400;
        for (size_t i = 0; i < count; i++) {
            uint64_t r = rt_test_rand(&random);
            in[i] = (int16_t)(r % 8 == 0 ? (r & 8 ? INT16_MIN : INT16_MAX) : (int16_t)(r >> 16));
        }
        int64_t from = rates[rt_test_rand(&random) % 10];
        int64_t to = rates[rt_test_rand(&random) % 10];
        if (round % 4 == 0) {
            from = 1 + (int64_t)(rt_test_rand(&random) % 200);
            to = 1 + (int64_t)(rt_test_rand(&random) % 200);
        }
        check_all(in, count, from, to);
    }
}

static void test_ties_go_to_even(void)
{
    static const int16_t in[] = {0, 1, 2, 3, -1, -2, 32767, -32768, 32766, 32767};
    int16_t out[20];
    CHECK_EQ(resample_linear(out, in, 10, 8000, 16000), 20);
    static const int16_t expected[] = {0,  0,     1,     2, 2,      2,  3,     1,     -1,    -2,
                                       -2, 16382, 32767, 0, -32768, -1, 32766, 32766, 32767, 32767};
    CHECK_MEM_EQ(out, expected, sizeof out);
}

static void test_counts(void)
{
    CHECK_EQ(resample_linear_count(0, 8000, 16000), 0);
    CHECK_EQ(resample_linear_count(1, 48000, 8000), 1);
    CHECK_EQ(resample_linear_count(160, 8000, 16000), 320);
    CHECK_EQ(resample_linear_count(160, 8000, 11025), 220); /* 220.5: to even */
    CHECK_EQ(resample_linear_count(5, 2, 1), 2);
    CHECK_EQ(resample_linear_count(7, 2, 1), 4);
    CHECK_EQ(resample_linear_count(10, 0, 1), -EINVAL);
    CHECK_EQ(resample_linear_count(10, 1, -1), -EINVAL);
    CHECK_EQ(resample_linear_count(10, 1, INT64_MAX), -EOVERFLOW);
    CHECK_EQ(resample_linear_count(SIZE_MAX, 1, 1), -EOVERFLOW);
    CHECK_EQ(resample_linear_count(10, INT64_MAX, 1), 1);
    int16_t in[2] = {3, 4};
    int16_t out[2] = {0, 0};
    CHECK_EQ(resample_linear(out, in, 2, INT64_MAX, 1), 1);
    CHECK_EQ(out[0], 3);
    CHECK_EQ(resample_linear(out, in, 2, 0, 1), -EINVAL);
    CHECK_EQ(resample_linear(out, in, 2, 7, 7), 2);
    CHECK_EQ(out[1], 4);
}

int main(void)
{
    RUN(test_every_way_gives_what_the_formula_gives);
    RUN(test_ties_go_to_even);
    RUN(test_counts);
    return rt_test_result();
}
