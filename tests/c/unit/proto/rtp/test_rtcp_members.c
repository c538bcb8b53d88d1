#include "proto/rtp/rtcp_members.h"

#include "rt_test.h"

#include <errno.h>

#define SECOND INT64_C(1000000000)

static rtcp_member_t slots[RTCP_MAX_MEMBERS];
static rtcp_members_t t;

static void begin(uint32_t max)
{
    rtcp_members_init(&t, slots, max);
}

static void test_a_full_table_takes_nobody(void)
{
    begin(2);
    CHECK(rtcp_members_add(&t, 7, 1) != NULL);
    CHECK(rtcp_members_add(&t, 3, 2) != NULL);
    CHECK(rtcp_members_add(&t, 5, 3) == NULL);
    CHECK(rtcp_members_add(&t, 7, 4) == rtcp_members_find(&t, 7));
    rtcp_members_make_room(&t);
    CHECK(rtcp_members_find(&t, 7) == NULL); /* silent longest */
    CHECK(rtcp_members_add(&t, 5, 5) != NULL);
    rtcp_members_drop(&t, rtcp_members_find(&t, 3), false);
    rtcp_members_make_room(&t); /* there is room */
    CHECK_EQ(t.count, 1);
}

static void test_counts_follow_the_states(void)
{
    begin(8);
    rtcp_member_t *a = rtcp_members_add(&t, 1, 0);
    rtcp_member_t *b = rtcp_members_add(&t, 2, 0);
    CHECK_EQ(t.present, 0);
    rtcp_members_set_present(&t, a);
    rtcp_members_set_present(&t, a);
    rtcp_members_set_sender(&t, b);
    CHECK_EQ(t.present, 2);
    CHECK_EQ(t.senders, 1);
    rtcp_members_drop(&t, b, true);
    CHECK_EQ(b->state, RTCP_MEMBER_GONE);
    CHECK_EQ(t.count, 2);
    CHECK_EQ(t.present, 1);
    CHECK_EQ(t.senders, 0);
    rtcp_members_set_sender(&t, b);
    CHECK_EQ(t.present, 2);
}

static void test_silence_ends_it(void)
{
    static const uint32_t kept = 2;
    rtcp_members_limits_t limits = {.silent_ns = 25 * SECOND, .no_media_ns = 10 * SECOND};
    begin(8);
    for (uint32_t ssrc = 1; ssrc <= 3; ssrc++)
        rtcp_members_set_sender(&t, rtcp_members_add(&t, ssrc, SECOND));
    (void)rtcp_members_add(&t, 4, SECOND); /* never proved */
    rtcp_members_find(&t, 3)->heard_ns = 20 * SECOND;
    CHECK_EQ(rtcp_members_sweep(&t, &limits, 12 * SECOND), 0);
    CHECK_EQ(t.senders, 0);
    CHECK_EQ(t.present, 3);
    limits.keep = &kept;
    CHECK_EQ(rtcp_members_sweep(&t, &limits, 26 * SECOND), 2);
    CHECK_EQ(t.count, 2);
    CHECK_EQ(t.present, 1);
    CHECK_EQ(rtcp_members_find(&t, kept)->state, RTCP_MEMBER_GONE);
    CHECK(rtcp_members_find(&t, 4) == NULL);
}

/* Against a table without order. */
static void test_random_changes(void)
{
    uint64_t random = rt_test_env_u64("RT_TEST_SEED", 1);
    bool in[64] = {false};
    uint32_t count = 0;
    begin(40);
    for (unsigned i = 0; i < 20000; i++) {
        uint64_t r = rt_test_rand(&random);
        uint32_t who = (uint32_t)(r % 64);
        uint32_t ssrc = who * UINT32_C(0x9e3779b9);
        if (r >> 32 & 1) {
            bool fits = in[who] || count < 40;
            rtcp_member_t *m = rtcp_members_add(&t, ssrc, i);
            CHECK(fits == (m != NULL));
            count += fits && !in[who];
            in[who] = fits;
            if (m != NULL && (r >> 33 & 1))
                rtcp_members_set_present(&t, m);
        } else if (in[who]) {
            rtcp_members_drop(&t, rtcp_members_find(&t, ssrc), false);
            in[who] = false;
            count--;
        }
        CHECK_EQ(t.count, count);
        CHECK(t.present <= t.count);
        CHECK((rtcp_members_find(&t, ssrc) != NULL) == in[who]);
    }
}

int main(void)
{
    RUN(test_a_full_table_takes_nobody);
    RUN(test_counts_follow_the_states);
    RUN(test_silence_ends_it);
    RUN(test_random_changes);
    return rt_test_result();
}
