#include "proto/udt/udt_seq.h"

#include "rt_test.h"

static void test_behind_the_last_number_comes_0(void)
{
    CHECK_EQ(udt_seq_next(UDT_SEQ_MASK), 0);
    CHECK_EQ(udt_seq_prev(0), UDT_SEQ_MASK);
    CHECK_EQ(udt_seq_skip(UDT_SEQ_MASK - 1, 5), 3);
    CHECK_EQ(udt_seq_add(3, -5), UDT_SEQ_MASK - 1);
    CHECK(udt_seq_before(UDT_SEQ_MASK, 0));
    CHECK(!udt_seq_before(0, UDT_SEQ_MASK));
    CHECK(!udt_seq_before(9, 9));
}

static void test_distances_are_those_of_the_shorter_way(void)
{
    uint64_t random = 1;
    for (int i = 0; i < 10000; i++) {
        uint32_t a = (uint32_t)rt_test_rand(&random) & UDT_SEQ_MASK;
        int32_t d = (int32_t)(rt_test_rand(&random) % (1u << 30)) - (1 << 29);
        uint32_t b = (uint32_t)(((int64_t)a + d + (INT64_C(1) << 31)) % (INT64_C(1) << 31));
        CHECK_EQ(udt_seq_diff(b, a), d);
        CHECK_EQ(udt_seq_diff(a, b), -d);
        CHECK_EQ(udt_seq_before(a, b), d > 0);
        CHECK_EQ(udt_seq_add(a, d), b);
    }
}

static void test_messages_skip_the_numbers_that_name_none(void)
{
    CHECK_EQ(udt_message_next(1), 2);
    CHECK_EQ(udt_message_next(0x1ffffffd), 0x1ffffffe);
    CHECK_EQ(udt_message_next(0x1ffffffe), 1);
}

int main(void)
{
    RUN(test_behind_the_last_number_comes_0);
    RUN(test_distances_are_those_of_the_shorter_way);
    RUN(test_messages_skip_the_numbers_that_name_none);
    return rt_test_result();
}
