#include "proto/netflux/nfx_echo.h"

#include "rt_test.h"

#define MS INT64_C(1000000)

static nfx_echo_t e;
static nfx_ack_t ack;

/* Sends one datagram a millisecond; number n of the first wrap goes out at n ms. */
static void send_up_to(uint64_t number)
{
    while (e.sent < number)
        (void)nfx_echo_sent(&e, (int64_t)(e.sent + 1) * MS);
}

static void begin(uint64_t sent)
{
    e = (nfx_echo_t){0};
    send_up_to(sent);
    CHECK(!nfx_echo_feedback(&e, 0, 0, &ack)); /* the partner's first: only remembered */
}

static void test_the_first_number_is_1(void)
{
    begin(0);
    CHECK_EQ(nfx_echo_next(&e), 1);
    send_up_to(255);
    CHECK_EQ(nfx_echo_next(&e), 0);
}

static void test_a_number_that_comes_back_gives_the_round_trip(void)
{
    begin(10);
    CHECK(nfx_echo_feedback(&e, 7, 12 * MS, &ack));
    CHECK_EQ(ack.rtt_ns, 5 * MS);
    CHECK_EQ(ack.passed_over, 6);
    CHECK(nfx_echo_feedback(&e, 8, 12 * MS + 1, &ack));
    CHECK_EQ(ack.rtt_ns, 4 * MS + 1);
    CHECK_EQ(ack.passed_over, 0);
    CHECK_EQ(e.covered, 8);
}

static void test_number_0_gives_one_too(void)
{
    begin(256);
    CHECK(nfx_echo_feedback(&e, 255, 257 * MS, &ack));
    CHECK(nfx_echo_feedback(&e, 0, 258 * MS, &ack));
    CHECK_EQ(ack.rtt_ns, 2 * MS);
    CHECK_EQ(e.covered, 256);
}

static void test_feedback_0_of_a_partner_that_heard_nothing_is_no_number_0(void)
{
    begin(256);
    for (int i = 0; i < 3; i++)
        CHECK(!nfx_echo_feedback(&e, 0, 300 * MS, &ack));
    CHECK_EQ(e.covered, 0);
}

static void test_the_same_feedback_again_says_nothing(void)
{
    begin(10);
    CHECK(nfx_echo_feedback(&e, 10, 11 * MS, &ack));
    CHECK(!nfx_echo_feedback(&e, 10, 12 * MS, &ack));
    /* nor when the number has been used again since: the partner is deaf */
    for (int i = 0; i < 256; i++)
        (void)nfx_echo_sent(&e, (11 + i) * MS);
    CHECK_EQ((uint8_t)e.sent, 10);
    CHECK(!nfx_echo_feedback(&e, 10, 300 * MS, &ack));
}

static void test_older_feedback_says_nothing(void)
{
    begin(10);
    CHECK(nfx_echo_feedback(&e, 8, 11 * MS, &ack));
    CHECK(!nfx_echo_feedback(&e, 7, 11 * MS, &ack));
    CHECK(nfx_echo_feedback(&e, 9, 12 * MS, &ack));
    CHECK_EQ(ack.passed_over, 0);
}

static void test_numbers_never_sent_say_nothing(void)
{
    begin(10);
    for (unsigned f = 11; f < 256; f++)
        CHECK(!nfx_echo_feedback(&e, (uint8_t)f, 11 * MS, &ack));
    CHECK(nfx_echo_feedback(&e, 1, 11 * MS, &ack));
    begin(0);
    CHECK(!nfx_echo_feedback(&e, 5, 1 * MS, &ack));
}

static void test_a_number_sent_after_the_arrival_is_not_meant(void)
{
    begin(10);
    CHECK(!nfx_echo_feedback(&e, 10, 10 * MS - 1, &ack));
    CHECK_EQ(e.covered, 0);
}

static void test_a_partner_started_anew_is_primed_again(void)
{
    begin(300);
    CHECK(nfx_echo_feedback(&e, 300 % 256, 301 * MS, &ack));
    send_up_to(520);
    nfx_echo_unprime(&e);
    CHECK(!nfx_echo_feedback(&e, 0, 521 * MS, &ack)); /* would be number 512 */
    CHECK(nfx_echo_feedback(&e, 520 % 256, 522 * MS, &ack));
    CHECK_EQ(ack.rtt_ns, 2 * MS);
}

static void test_acknowledgements_are_lost_only_when_a_number_is_used_again(void)
{
    begin(256);
    CHECK_EQ(e.covered, 0);
    CHECK(nfx_echo_sent(&e, 257 * MS)); /* uses 1 again: the first of them was never covered */
    CHECK_EQ(e.covered, 1);
    CHECK(nfx_echo_feedback(&e, 2, 258 * MS, &ack));
    CHECK_EQ(ack.rtt_ns, 256 * MS);
    CHECK_EQ(ack.passed_over, 0);
    CHECK(!nfx_echo_sent(&e, 258 * MS));
    CHECK(nfx_echo_feedback(&e, 2, 259 * MS, &ack) == false);
    CHECK(nfx_echo_feedback(&e, 1, 259 * MS, &ack));
    CHECK_EQ(ack.passed_over, 254); /* 3 .. 256: late, but covered */
    CHECK_EQ(ack.rtt_ns, 2 * MS);
}

static void test_going_on_behind_a_number(void)
{
    for (unsigned number = 0; number < 256; number++) {
        e = (nfx_echo_t){0};
        nfx_echo_resume(&e, (uint8_t)number);
        CHECK_EQ(nfx_echo_next(&e), (uint8_t)(number + 1));
        CHECK(!nfx_echo_feedback(&e, (uint8_t)(number - 1), 1, &ack));
        CHECK(!nfx_echo_feedback(&e, (uint8_t)number, 1, &ack)); /* of the life before */
        CHECK(!nfx_echo_sent(&e, 2));
        CHECK(nfx_echo_feedback(&e, (uint8_t)(number + 1), 3, &ack));
        CHECK_EQ(ack.rtt_ns, 1);
        CHECK_EQ(ack.passed_over, 0);
    }
}

/* Every number ends once: its own feedback, passed over, lost, or still in flight. */
static void test_random_feedback_conserves(void)
{
    uint64_t random = rt_test_env_u64("RT_TEST_SEED", 1);
    uint64_t acknowledged = 0;
    uint64_t passed_over = 0;
    uint64_t lost = 0;
    e = (nfx_echo_t){0};
    for (int64_t i = 0; i < 200000; i++) {
        uint64_t r = rt_test_rand(&random);
        if (r % 100 < 55)
            lost += nfx_echo_sent(&e, i * MS);
        uint64_t lag = r >> 8 & (r >> 16 & 7 ? 7 : 511);
        if (r >> 20 & 1 && nfx_echo_feedback(&e, (uint8_t)(e.sent - lag), i * MS, &ack)) {
            acknowledged++;
            passed_over += ack.passed_over;
            CHECK(ack.rtt_ns >= 0);
        }
        CHECK(e.sent - e.covered <= 256);
        CHECK_EQ(acknowledged + passed_over + lost, e.covered);
    }
    CHECK(acknowledged > 10000 && passed_over > 10000);
}

int main(void)
{
    RUN(test_the_first_number_is_1);
    RUN(test_a_number_that_comes_back_gives_the_round_trip);
    RUN(test_number_0_gives_one_too);
    RUN(test_feedback_0_of_a_partner_that_heard_nothing_is_no_number_0);
    RUN(test_the_same_feedback_again_says_nothing);
    RUN(test_older_feedback_says_nothing);
    RUN(test_numbers_never_sent_say_nothing);
    RUN(test_a_number_sent_after_the_arrival_is_not_meant);
    RUN(test_a_partner_started_anew_is_primed_again);
    RUN(test_acknowledgements_are_lost_only_when_a_number_is_used_again);
    RUN(test_going_on_behind_a_number);
    RUN(test_random_feedback_conserves);
    return rt_test_result();
}
