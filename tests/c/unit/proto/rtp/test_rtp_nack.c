#include "proto/rtp/rtp_nack.h"

#include "rt_test.h"

#include <errno.h>

#define MS INT64_C(1000000)

static rtp_nack_receiver_t n;
static uint16_t asked[300];

static void begin(void)
{
    rtp_nack_receiver_init(&n, &(rtp_nack_config_t){0});
    rtp_nack_packet(&n, 65536 + 100, 0);
}

static void check_counted(void)
{
    const rtp_nack_counters_t *c = &n.counters;
    CHECK_EQ(c->missing, c->recovered + c->reordered + c->given_up + n.count);
}

static void test_missing_packets_are_asked_for_after_a_while(void)
{
    begin();
    CHECK_EQ(rtp_nack_due_ns(&n), INT64_MAX);
    rtp_nack_packet(&n, 65536 + 103, 0);
    CHECK_EQ(rtp_nack_due_ns(&n), 10 * MS);
    CHECK_EQ(rtp_nack_take(&n, 10 * MS - 1, asked, 300), 0);
    CHECK_EQ(rtp_nack_take(&n, 10 * MS, asked, 300), 2);
    CHECK_EQ(asked[0], 101);
    CHECK_EQ(asked[1], 102);
    CHECK_EQ(rtp_nack_due_ns(&n), 60 * MS);
    rtp_nack_packet(&n, 65536 + 101, 20 * MS);
    CHECK_EQ(n.counters.recovered, 1);
    CHECK_EQ(rtp_nack_take(&n, 60 * MS, asked, 300), 1);
    CHECK_EQ(asked[0], 102);
    check_counted();
}

static void test_overtaken_packets_are_not_asked_for(void)
{
    begin();
    rtp_nack_packet(&n, 65536 + 102, 0);
    rtp_nack_packet(&n, 65536 + 101, 5 * MS);
    CHECK_EQ(n.counters.reordered, 1);
    CHECK_EQ(rtp_nack_take(&n, 100 * MS, asked, 300), 0);
    rtp_nack_packet(&n, 65536 + 101, 5 * MS); /* a duplicate: nothing to find */
    check_counted();
}

static void test_requests_end(void)
{
    begin();
    rtp_nack_packet(&n, 65536 + 102, 0);
    unsigned requests = 0;
    for (int64_t at_ns = 0; at_ns < 2000 * MS; at_ns += MS)
        requests += (unsigned)rtp_nack_take(&n, at_ns, asked, 300);
    CHECK_EQ(requests, 3);
    CHECK_EQ(n.counters.given_up, 1);
    CHECK_EQ(rtp_nack_due_ns(&n), INT64_MAX);
    check_counted();
}

static void test_long_gaps_keep_their_end(void)
{
    begin();
    rtp_nack_packet(&n, 65536 + 100 + 1001, 0);
    CHECK_EQ(n.count, RTP_NACK_MAX_MISSING);
    CHECK_EQ(n.counters.given_up, 1000 - RTP_NACK_MAX_MISSING);
    rtp_nack_packet(&n, 65536 + 100 + 1011, 0);
    CHECK_EQ(n.count, RTP_NACK_MAX_MISSING);
    CHECK_EQ(rtp_nack_take(&n, 10 * MS, asked, 100), 100);
    CHECK_EQ(rtp_nack_take(&n, 10 * MS, asked, 300), RTP_NACK_MAX_MISSING - 100);
    CHECK_EQ(asked[RTP_NACK_MAX_MISSING - 101], 100 + 1010);
    check_counted();
}

static void test_what_was_played_is_forgotten(void)
{
    begin();
    rtp_nack_packet(&n, 65536 + 111, 0);
    rtp_nack_forget_before(&n, 65536 + 106);
    CHECK_EQ(n.count, 5);
    rtp_nack_restart(&n);
    CHECK_EQ(n.count, 0);
    rtp_nack_packet(&n, 5, 0);
    CHECK_EQ(n.count, 0);
    check_counted();
}

static void test_random_streams_conserve(void)
{
    uint64_t random = rt_test_env_u64("RT_TEST_SEED", 1);
    begin();
    uint64_t seq = 65536 + 100;
    for (unsigned i = 0; i < 20000; i++) {
        uint64_t r = rt_test_rand(&random);
        seq += r % 100 == 0 ? r >> 32 & 1023 : 1;
        if (r >> 8 & 7)
            rtp_nack_packet(&n, seq - (r >> 16 & 15) * (r >> 24 & 1), i * MS);
        if (r >> 25 & 1)
            (void)rtp_nack_take(&n, i * MS, asked, r >> 40 & 31);
        check_counted();
        CHECK(n.count <= RTP_NACK_MAX_MISSING);
    }
}

static void test_history_gives_what_was_sent(void)
{
    static int64_t memory[4096];
    rtp_history_t h;
    uint32_t bytes;
    REQUIRE(rtp_history_memory_bytes(16, 100) <= sizeof memory);
    rtp_history_init(&h, memory, 16, 100);
    CHECK(rtp_history_get(&h, 0, 0, 0, &bytes) == NULL);
    for (unsigned i = 0; i < 40; i++) {
        char text[16];
        (void)snprintf(text, sizeof text, "packet %u", i);
        CHECK_EQ(rtp_history_put(&h, (uint16_t)(65520 + i), text, (uint32_t)strlen(text)), 0);
    }
    CHECK(rtp_history_get(&h, (uint16_t)(65520 + 23), 0, 0, &bytes) == NULL);
    const uint8_t *p = rtp_history_get(&h, (uint16_t)(65520 + 24), 5 * MS, 10 * MS, &bytes);
    REQUIRE(p != NULL);
    CHECK_EQ(bytes, 9);
    CHECK_MEM_EQ(p, "packet 24", 9);
    CHECK(rtp_history_get(&h, (uint16_t)(65520 + 24), 14 * MS, 10 * MS, &bytes) == NULL);
    CHECK(rtp_history_get(&h, (uint16_t)(65520 + 24), 15 * MS, 10 * MS, &bytes) != NULL);
    CHECK_EQ(rtp_history_put(&h, 1, memory, 105), -EMSGSIZE);
    CHECK_EQ(rtp_history_put(&h, 1, memory, 0), -EMSGSIZE);
}

int main(void)
{
    RUN(test_missing_packets_are_asked_for_after_a_while);
    RUN(test_overtaken_packets_are_not_asked_for);
    RUN(test_requests_end);
    RUN(test_long_gaps_keep_their_end);
    RUN(test_what_was_played_is_forgotten);
    RUN(test_random_streams_conserve);
    RUN(test_history_gives_what_was_sent);
    return rt_test_result();
}
