/* The boxes of a Netflux channel: what it may be asked to be, what readers find, and what they make
 * of rubbish. */
#include "shm_test.h"

#include "netflux_put.h"

enum { PRODUCERS = 4, SIZE = 20 };

static _Alignas(4096) uint8_t engine[1 << 17];

static void clear(void)
{
    CHECK(shm_netflux_bytes(PRODUCERS) <= sizeof engine);
    memset(engine, 0, sizeof engine);
}

static shm_netflux_config_t good(void)
{
    return (shm_netflux_config_t){
        .config_bytes = sizeof(shm_netflux_config_t),
        .tx_payload_bytes = 20,
        .rx_payload_bytes = 20,
        .settings = {.cycle_ns = 5 * RT_NS_PER_MS, .watch_ns = 30 * RT_NS_PER_MS},
    };
}

typedef struct spoil {
    size_t offset;
    size_t bytes;
    int64_t value;
    int expected;
    const char *word;
} spoil_t;

#define SPOIL(field, value, expected, word)                                                       \
    {                                                                                             \
        offsetof(shm_netflux_config_t, field), sizeof(((shm_netflux_config_t *)0)->field), value, \
            expected, word                                                                        \
    }

static const spoil_t spoils[] = {
    SPOIL(config_bytes, 4, -EPROTO, "4 bytes"),
    SPOIL(tx_payload_bytes, 1500, -EINVAL, "tx_payload_bytes is 1500"),
    SPOIL(rx_payload_bytes, 1500, -EINVAL, "rx_payload_bytes is 1500"),
    SPOIL(any_source, 2, -EINVAL, "any_source"),
    SPOIL(partner_known, 2, -EINVAL, "partner_known"),
    SPOIL(settings.cycle_ns, 99999, -EINVAL, "cycle_ns"),
    SPOIL(settings.cycle_ns, 3600 * RT_NS_PER_S + 1, -EINVAL, "cycle_ns"),
    SPOIL(settings.watch_ns, -1, -EINVAL, "watchdog_ns"),
    SPOIL(settings.hear_ns, -1, -EINVAL, "hear_ns"),
    SPOIL(settings.stale_ns, 3600 * RT_NS_PER_S + 1, -EINVAL, "stale_ns"),
    SPOIL(settings.on_stale, 3, -EINVAL, "on_stale"),
    SPOIL(settings.flags, 4, -EINVAL, "flags"),
};

static void test_each_field_is_checked(void)
{
    shm_netflux_config_t c = good();
    CHECK_EQ(shm_netflux_config_check(&c), 0);
    for (size_t i = 0; i < sizeof spoils / sizeof spoils[0]; i++) {
        const spoil_t *s = &spoils[i];
        c = good();
        memcpy((uint8_t *)&c + s->offset, &s->value, s->bytes);
        CHECK_EQ(shm_netflux_config_check(&c), s->expected);
        if (!CHECK(strstr(rt_err_text(), s->word) != NULL))
            (void)printf("  \"%s\" is not in: %s\n", s->word, rt_err_text());
    }
}

static void test_limits_are_allowed(void)
{
    shm_netflux_config_t c = good();
    c.tx_payload_bytes = 0;
    c.rx_payload_bytes = SHM_NETFLUX_MAX_PAYLOAD;
    c.settings = (shm_netflux_settings_t){.cycle_ns = 100 * RT_NS_PER_US,
                                          .watch_ns = 3600 * RT_NS_PER_S,
                                          .on_stale = SHM_NETFLUX_STOP,
                                          .flags = SHM_NETFLUX_FLAGS};
    CHECK_EQ(shm_netflux_config_check(&c), 0);
}

static void test_parts_lie_apart_and_in_whole_pages(void)
{
    for (uint32_t producers = 1; producers <= SHM_MAX_SLOTS; producers++) {
        uint64_t bytes = shm_netflux_bytes(producers);
        CHECK_EQ(bytes % SHM_PAGE_BYTES, 0);
        CHECK(shm_netflux_failsafe(engine, 1) + SHM_NETFLUX_MAX_PAYLOAD <=
              engine + bytes - shm_box_halves_bytes(producers, SHM_NETFLUX_MAX_PAYLOAD));
    }
    CHECK_EQ(shm_netflux_failsafe(engine, 1) - shm_netflux_failsafe(engine, 0),
             (ptrdiff_t)shm_box_half_bytes(SHM_NETFLUX_MAX_PAYLOAD));
}

/* What a peek gives; 0 where it gives nothing. */
static uint64_t peeked(uint8_t *values, uint32_t bytes, int64_t *at, uint32_t *slot)
{
    uint64_t ticket = 0;
    return shm_netflux_peek(engine, PRODUCERS, values, bytes, at, &ticket, slot) == 1 ? ticket : 0;
}

static void test_the_last_writer_wins(void)
{
    uint8_t values[SIZE], got[SIZE];
    int64_t at;
    uint32_t slot;
    clear();
    CHECK_EQ(peeked(got, SIZE, &at, &slot), 0);
    for (uint32_t n = 1; n <= 100; n++) {
        uint32_t writer = 1 + n * 7 / 3 % (PRODUCERS - 1);
        shm_test_fill(values, SIZE, writer, n);
        uint64_t ticket = netflux_put(engine, writer, values, SIZE, 1000 + n);
        CHECK_EQ(ticket, n);
        CHECK_EQ(peeked(got, SIZE, &at, &slot), ticket);
        CHECK_MEM_EQ(got, values, SIZE);
        CHECK_EQ(at, 1000 + n);
        CHECK_EQ(slot, writer);
        CHECK_EQ(peeked(got, SIZE, &at, &slot), ticket);
    }
}

static void test_values_of_any_size(void)
{
    static const uint32_t sizes[] = {0, 1, 20, 1458, SHM_NETFLUX_MAX_PAYLOAD};
    uint8_t values[SHM_NETFLUX_MAX_PAYLOAD], got[SHM_NETFLUX_MAX_PAYLOAD + 1];
    int64_t at;
    uint32_t slot;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        clear();
        for (uint32_t b = 0; b < sizes[i]; b++)
            values[b] = (uint8_t)(b * 13 + 1);
        for (uint32_t writer = 1; writer < PRODUCERS; writer++) {
            memset(got, 0xee, sizeof got);
            netflux_put(engine, writer, values, sizes[i], 1);
            netflux_put(engine, writer, values, sizes[i], 1);
            CHECK(peeked(got, sizes[i], &at, &slot) > 0);
            CHECK_MEM_EQ(got, values, sizes[i]);
            CHECK_EQ(got[sizes[i]], 0xee);
        }
        shm_netflux_rx_t head = {.number = 9}, found;
        uint32_t stamp;
        shm_netflux_publish(engine, &head, SHM_STAMP_KERNEL, values, sizes[i]);
        memset(got, 0xee, sizeof got);
        CHECK_EQ(shm_netflux_snapshot(engine, &found, &stamp, got, sizes[i]), 1);
        CHECK_MEM_EQ(got, values, sizes[i]);
        CHECK_EQ(got[sizes[i]], 0xee);
    }
}

static void test_the_newest_publication_is_found(void)
{
    uint8_t values[SIZE], got[SIZE];
    shm_netflux_rx_t found = {.number = 77};
    uint32_t stamp = 5;
    clear();
    CHECK_EQ(shm_netflux_snapshot(engine, &found, &stamp, got, SIZE), 0);
    CHECK_EQ(found.number, 77);
    for (uint32_t n = 1; n <= 20; n++) {
        shm_netflux_rx_t head = {
            .number = (uint8_t)n, .feedback = 3, .payload_bytes = SIZE, .at_mono_ns = n};
        shm_test_fill(values, SIZE, 1, n);
        shm_netflux_publish(engine, &head, SHM_STAMP_HARDWARE, values, SIZE);
        CHECK_EQ(head.published, n);
        CHECK_EQ(shm_netflux_snapshot(engine, &found, &stamp, got, SIZE), 1);
        CHECK_MEM_EQ(&found, &head, sizeof head);
        CHECK_MEM_EQ(got, values, SIZE);
        CHECK_EQ(stamp, SHM_STAMP_HARDWARE);
    }
}

static void test_a_state_is_replaced_whole(void)
{
    shm_netflux_state_t state = {.origin_mono_ns = 1}, found;
    clear();
    CHECK_EQ(shm_netflux_state_get(engine, &found), 0);
    for (int64_t n = 1; n < 10; n++) {
        state.origin_mono_ns = n;
        shm_netflux_state_put(engine, &state);
        CHECK_EQ(shm_netflux_state_get(engine, &found), 1);
        CHECK_EQ(found.origin_mono_ns, n);
    }
    rt_store_relaxed(&shm_netflux_head(engine)->current, UINT32_MAX);
    shm_netflux_state_put(engine, &state);
    CHECK_EQ(shm_netflux_state_get(engine, &found), 1);
    CHECK(rt_load_relaxed(&shm_netflux_head(engine)->current) % 2 == 0);
}

/* --- rubbish -------------------------------------------------------------------------------- */

static void test_a_half_that_is_not_what_latest_says_is_not_taken(void)
{
    uint8_t values[SIZE] = {1}, got[SIZE] = {9};
    int64_t at = 5;
    uint32_t slot = 6;
    uint64_t ticket = 7;
    clear();
    netflux_put(engine, 1, values, SIZE, 1);
    shm_netflux_head_t *head = shm_netflux_head(engine);
    uint64_t sound = rt_load_relaxed(&head->out.latest);

    rt_store_relaxed(&head->out.latest, sound ^ 1u); /* the half never written to */
    CHECK_EQ(shm_netflux_peek(engine, PRODUCERS, got, SIZE, &at, &ticket, &slot), -EAGAIN);
    rt_store_relaxed(&head->out.latest, sound + (UINT64_C(1) << (SHM_BOX_SLOT_BITS + 1)));
    CHECK_EQ(shm_netflux_peek(engine, PRODUCERS, got, SIZE, &at, &ticket, &slot), -EAGAIN);
    rt_store_relaxed(&head->out.latest, sound | (uint64_t)PRODUCERS << 1); /* one slot too far */
    CHECK_EQ(shm_netflux_peek(engine, PRODUCERS, got, SIZE, &at, &ticket, &slot), -EPROTO);
    CHECK_EQ(got[0], 9);
    CHECK_EQ(at, 5);
    CHECK_EQ(slot, 6);
    CHECK_EQ(ticket, 7);

    rt_store_relaxed(&head->out.latest, sound);
    CHECK_EQ(shm_netflux_peek(engine, PRODUCERS, got, SIZE, &at, &ticket, &slot), 1);
}

static void test_rubbish_leads_nobody_astray(void)
{
    uint64_t rng = rt_test_env_u64("RT_TEST_SEED", 20240611);
    shm_netflux_head_t *head = shm_netflux_head(engine);
    uint8_t *guarded = malloc(shm_netflux_bytes(PRODUCERS)); /* a sanitizer sees what goes beyond */
    uint8_t got[SIZE];
    REQUIRE(guarded != NULL);
    for (int round = 0; round < 20000; round++) {
        for (size_t i = 0; i < sizeof *head / 8; i++) {
            uint64_t v = rt_test_rand(&rng);
            memcpy((uint8_t *)head + 8 * i, &v, 8);
        }
        if (round % 2) /* a slot that exists, so that more is looked at */
            rt_store_relaxed(&head->out.latest, rt_test_rand(&rng) % (PRODUCERS * 2) |
                                                rt_test_rand(&rng) << (SHM_BOX_SLOT_BITS + 1));
        uint8_t *block = round % 2 ? engine : guarded;
        if (block == guarded)
            memcpy(guarded, engine, shm_netflux_bytes(PRODUCERS));
        int64_t at;
        uint64_t ticket;
        uint32_t slot, stamp;
        shm_netflux_rx_t rx = {.number = 1};
        shm_netflux_state_t state;
        int rc = shm_netflux_peek(block, PRODUCERS, got, SIZE, &at, &ticket, &slot);
        CHECK(rc == 1 || rc == 0 || rc == -EAGAIN || rc == -EPROTO);
        CHECK(rc != 1 || slot < PRODUCERS);
        (void)shm_netflux_snapshot(block, &rx, &stamp, got, SIZE);
        (void)shm_netflux_state_get(block, &state);
        (void)netflux_put(block, 1 + (uint32_t)round % (PRODUCERS - 1), got, SIZE, 1);
        shm_netflux_publish(block, &rx, 1, got, SIZE);
        CHECK_EQ(shm_netflux_snapshot(block, &rx, &stamp, got, SIZE), rx.published == 0 ? 0 : 1);
        shm_netflux_state_put(block, &(shm_netflux_state_t){.origin_mono_ns = 1});
    }
    free(guarded);
}

int main(void)
{
    RUN(test_each_field_is_checked);
    RUN(test_limits_are_allowed);
    RUN(test_parts_lie_apart_and_in_whole_pages);
    RUN(test_the_last_writer_wins);
    RUN(test_values_of_any_size);
    RUN(test_the_newest_publication_is_found);
    RUN(test_a_state_is_replaced_whole);
    RUN(test_a_half_that_is_not_what_latest_says_is_not_taken);
    RUN(test_rubbish_leads_nobody_astray);
    return rt_test_result();
}
