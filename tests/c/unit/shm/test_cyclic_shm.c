/* The box of a cyclic channel: payloads of any length, the fail-safe payload, and what a reader
 * makes of rubbish. */
#include "shm_test.h"

#include "shm/cyclic_shm.h"

enum { PRODUCERS = 3, MOST = 300 };

static _Alignas(4096) uint8_t engine[1 << 15];
static uint8_t got[MOST];

static shm_box_t begin(void)
{
    CHECK(shm_cyclic_bytes(PRODUCERS, MOST) <= sizeof engine);
    memset(engine, 0, sizeof engine);
    return shm_cyclic_box(engine, PRODUCERS, MOST);
}

static void test_each_field_is_checked(void)
{
    shm_cyclic_config_t good = {.config_bytes = sizeof good, .period_ns = 100 * RT_NS_PER_US};
    CHECK_EQ(shm_cyclic_config_check(&good), 0);
    shm_cyclic_config_t bad[] = {good, good, good, good, good, good, good, good};
    bad[0].config_bytes = 4;
    bad[1].payload_bytes = SHM_MAX_PAYLOAD + 1;
    bad[2].period_ns = 99999;
    bad[3].phase_ns = good.period_ns;
    bad[4].phase_ns = -2;
    bad[5].stale_after_ns = -1;
    bad[6].early_ns = SHM_CYCLIC_MOST_EARLY_NS + 1;
    bad[7].on_stale = 3;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK(shm_cyclic_config_check(&bad[i]) < 0);
}

static void test_payloads_of_any_length(void)
{
    shm_box_t box = begin();
    shm_box_found_t found;
    uint8_t payload[MOST];
    uint32_t sizes[] = {0, 1, MOST, 17, 0};
    CHECK_EQ(shm_box_peek(&box, got, &found), 0);
    for (uint32_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        shm_test_fill(payload, sizes[i], 1, i);
        CHECK_EQ(shm_box_put(&box, 1 + i % 2, payload, sizes[i], 7), i + 1);
        CHECK_EQ(shm_box_peek(&box, got, &found), 1);
        CHECK_EQ(found.bytes, sizes[i]);
        CHECK_EQ(found.slot, 1 + i % 2);
        CHECK_EQ(found.ticket, i + 1);
        CHECK_MEM_EQ(got, payload, sizes[i]);
    }
}

static void test_the_failsafe_payload_is_no_update(void)
{
    shm_box_t box = begin();
    shm_box_found_t found;
    uint32_t bytes = 0;
    CHECK_EQ(shm_cyclic_get_failsafe(&box, got, &bytes), 0);
    shm_cyclic_put_failsafe(&box, "safe", 4);
    CHECK_EQ(shm_box_peek(&box, got, &found), 0);
    CHECK_EQ(shm_cyclic_get_failsafe(&box, got, &bytes), 1);
    CHECK_EQ(bytes, 4);
    CHECK_MEM_EQ(got, "safe", 4);
    rt_store_relaxed(&shm_cyclic_head(engine)->failsafe, MOST + 2);
    CHECK_EQ(shm_cyclic_get_failsafe(&box, got, &bytes), 0);
    rt_store_relaxed(&shm_cyclic_head(engine)->failsafe, UINT64_MAX);
    CHECK_EQ(shm_cyclic_get_failsafe(&box, got, &bytes), 0);
}

static void test_a_length_beyond_the_limit_is_refused(void)
{
    shm_box_t box = begin();
    shm_box_found_t found = {.ticket = 9};
    (void)shm_box_put(&box, 1, "x", 1, 7);
    uint64_t stride = shm_box_half_bytes(MOST);
    for (unsigned half = 2; half < 4; half++)
        ((shm_box_half_t *)(void *)(box.halves + half * stride))->bytes = MOST + 1;
    CHECK_EQ(shm_box_peek(&box, got, &found), -EPROTO);
    CHECK_EQ(found.ticket, 9);
    rt_store_relaxed(&box.head->latest, (uint64_t)PRODUCERS << 1 | 1u << 11);
    CHECK_EQ(shm_box_peek(&box, got, &found), -EPROTO);
}

static void test_rubbish_leads_nobody_astray(void)
{
    uint64_t rng = rt_test_env_u64("RT_TEST_SEED", 20241123);
    uint64_t bytes = shm_cyclic_bytes(PRODUCERS, MOST);
    uint8_t *guarded = malloc(bytes); /* a sanitizer sees what goes beyond */
    REQUIRE(guarded != NULL);
    shm_box_t box = shm_cyclic_box(guarded, PRODUCERS, MOST);
    for (int round = 0; round < 2000; round++) {
        for (size_t i = 0; i < bytes / 8; i++) {
            uint64_t v = rt_test_rand(&rng);
            memcpy(guarded + 8 * i, &v, 8);
        }
        shm_box_found_t found;
        uint32_t length;
        if (round % 2)
            rt_store_relaxed(&box.head->latest, rt_test_rand(&rng) % (PRODUCERS * 2) | 5u << 11);
        if (round % 3)
            rt_store_relaxed(&shm_cyclic_head(guarded)->failsafe, rt_test_rand(&rng) % 400);
        int rc = shm_box_peek(&box, got, &found);
        CHECK(rc == 1 || rc == 0 || rc == -EAGAIN || rc == -EPROTO);
        CHECK(shm_cyclic_get_failsafe(&box, got, &length) == 0 || length <= MOST);
        (void)shm_box_put(&box, 1 + (uint32_t)round % 2, got, MOST, 1);
    }
    free(guarded);
}

int main(void)
{
    RUN(test_each_field_is_checked);
    RUN(test_payloads_of_any_length);
    RUN(test_the_failsafe_payload_is_no_update);
    RUN(test_a_length_beyond_the_limit_is_refused);
    RUN(test_rubbish_leads_nobody_astray);
    return rt_test_result();
}
