#include "shm_test.h"

#include <math.h>
#include <stddef.h>

static shm_config_t good(void)
{
    return shm_test_config(1 << 16, 1000);
}

static void test_defaults_pass_once_they_have_names(void)
{
    shm_config_t c;
    shm_config_init(&c);
    CHECK_EQ(shm_config_check(&c), -EINVAL);
    strcpy(c.name, "ch");
    strcpy(c.name_space, "default");
    strcpy(c.pool, "p");
    CHECK_EQ(shm_config_check(&c), 0);
    c = good();
    CHECK_EQ(shm_config_check(&c), 0);
}

static void test_names(void)
{
    static const char *const right[] = {"a", "A.b_c-9", "0", "_", "-x", ".hidden", "..."};
    static const char *const wrong[] = {"", ".", "..", "a/b", "a b", "\xc3\xa4", "a\n", ":"};
    for (size_t i = 0; i < sizeof right / sizeof right[0]; i++)
        CHECK_EQ(shm_name_check("name", right[i]), 0);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        CHECK_EQ(shm_name_check("thing", wrong[i]), -EINVAL);
        CHECK(strstr(rt_err_text(), "thing") != NULL);
    }
    char name[SHM_NAME_BYTES + 1];
    memset(name, 'x', sizeof name);
    name[SHM_NAME_MAX] = '\0';
    CHECK_EQ(shm_name_check("name", name), 0);
    name[SHM_NAME_MAX] = 'x';
    CHECK_EQ(shm_name_check("name", name), -EINVAL); /* and does not look for its end */
}

/* One field of a good configuration is set to a value; what the check says, and a word of why. */
typedef struct spoil {
    size_t offset;
    size_t bytes;
    int64_t value;
    int expected;
    const char *word;
} spoil_t;

#define SPOIL(field, value, expected, word) \
    {offsetof(shm_config_t, field), sizeof(((shm_config_t *)0)->field), value, expected, word}

static const spoil_t spoils[] = {
    SPOIL(config_bytes, 4, -EPROTO, "4 bytes"),
    SPOIL(direction, 0, -EINVAL, "direction"),
    SPOIL(direction, 4, -EINVAL, "direction"),
    SPOIL(read_mode, 2, -EINVAL, "reading"),
    SPOIL(overflow, 2, -EINVAL, "overflow"),
    SPOIL(late, 2, -EINVAL, "late"),
    SPOIL(align, 2, -EINVAL, "align"),
    SPOIL(clock, 2, -EINVAL, "clock"),
    SPOIL(reports, 3, -EINVAL, "reports"),
    SPOIL(profile, 3, -EINVAL, "profile"),
    SPOIL(rx_stamp, 4, -EINVAL, "rx_stamp"),
    SPOIL(tx_stamp, 4, -EINVAL, "tx_stamp"),
    SPOIL(txtime, 3, -EINVAL, "txtime"),
    SPOIL(ttl, 256, -EINVAL, "ttl"),
    SPOIL(ttl, -2, -EINVAL, "ttl"),
    SPOIL(multicast_ttl, 256, -EINVAL, "multicast_ttl"),
    SPOIL(dscp, 64, -EINVAL, "dscp"),
    SPOIL(so_priority, 16, -EINVAL, "so_priority"),
    SPOIL(tolerance_ns, -1, -EINVAL, "tolerance"),
    SPOIL(catch_up, 1, -EINVAL, "catch_up"),
    SPOIL(catch_up, -2, -EINVAL, "catch_up"),
    SPOIL(catch_up, 1000001, -EINVAL, "catch_up"),
    SPOIL(tx_bytes, 0, -EINVAL, "tx ring"),
    SPOIL(tx_bytes, 4097, -EINVAL, "tx ring"),
    SPOIL(tx_bytes, INT64_C(9) << 30, -EINVAL, "tx ring"),
    SPOIL(rx_bytes, -4096, -EINVAL, "rx ring"),
    SPOIL(rx_bytes, 4096, -EMSGSIZE, "1000"),
    SPOIL(engine_bytes, 4095, -EINVAL, "engine"),
    SPOIL(engine_bytes, (INT64_C(4) << 30) + 4096, -EINVAL, "engine"),
    SPOIL(max_payload_bytes, 65536, -EINVAL, "max_payload"),
    SPOIL(max_payload_bytes, 16384, -EMSGSIZE, "16384"),
    SPOIL(producers, 0, -EINVAL, "producer"),
    SPOIL(producers, 1025, -EINVAL, "producer"),
    SPOIL(readers, 1025, -EINVAL, "reader"),
    SPOIL(report_slots, 3, -EINVAL, "power of two"),
    SPOIL(report_slots, 1 << 25, -EINVAL, "report_capacity"),
    SPOIL(late_slots, 3, -EINVAL, "power of two"),
    SPOIL(late_slots, 1 << 17, -EINVAL, "late_slots"),
    SPOIL(local.family, 5, -EINVAL, "local"),
    SPOIL(remote.family, 2, -EINVAL, "remote"),
    SPOIL(connect, 1, -EINVAL, "remote address"),
    SPOIL(impair_tx.delay_ns, -1, -EINVAL, "delay"),
    SPOIL(impair_rx.jitter_ns, INT64_MAX, -EINVAL, "jitter"),
    SPOIL(impair_tx.rate_bps, -1, -EINVAL, "rate_bps"),
    SPOIL(impair_rx.queue_bytes, INT64_MAX, -EINVAL, "queue_bytes"),
    SPOIL(engine[0], 0, -EINVAL, "engine"),
    SPOIL(name[0], '/', -EINVAL, "channel name"),
    SPOIL(name_space[0], ' ', -EINVAL, "namespace"),
    SPOIL(pool[0], 0, -EINVAL, "pool"),
};

static void test_each_field_is_checked(void)
{
    for (size_t i = 0; i < sizeof spoils / sizeof spoils[0]; i++) {
        const spoil_t *s = &spoils[i];
        shm_config_t c = good();
        /* little-endian, as the segment is */
        memcpy((uint8_t *)&c + s->offset, &s->value, s->bytes);
        bool right = CHECK_EQ(shm_config_check(&c), s->expected);
        right = CHECK(strstr(rt_err_text(), s->word) != NULL) && right;
        if (!right)
            (void)fprintf(stderr, "  row %zu (%s): %s\n", i, s->word, rt_err_text());
    }
}

static void test_shares_are_shares(void)
{
    static const double wrong[] = {-0.01, 1.01, (double)NAN, (double)INFINITY};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        shm_config_t c = good();
        c.impair_tx.loss = wrong[i];
        CHECK_EQ(shm_config_check(&c), -EINVAL);
        c = good();
        c.impair_rx.corrupt = wrong[i];
        CHECK_EQ(shm_config_check(&c), -EINVAL);
    }
}

static void test_families_must_agree(void)
{
    shm_config_t c = good();
    c.local.family = 4;
    c.remote.family = 6;
    CHECK_EQ(shm_config_check(&c), -EINVAL);
    c.remote.family = 4;
    CHECK_EQ(shm_config_check(&c), 0);
}

static void test_unended_strings_are_refused(void)
{
    shm_config_t c = good();
    memset(c.engine, 'x', sizeof c.engine);
    CHECK_EQ(shm_config_check(&c), -EINVAL);
    c = good();
    memset(c.device, 'x', sizeof c.device);
    CHECK_EQ(shm_config_check(&c), -EINVAL);
    c = good();
    memset(c.name, 'x', sizeof c.name);
    CHECK_EQ(shm_config_check(&c), -EINVAL);
}

static void test_tai_needs_an_offset(void)
{
    shm_config_t c = good();
    c.clock = RT_CLOCK_TAI;
    CHECK_EQ(shm_config_check(&c), rt_tai_offset_s() == 0 ? -EINVAL : 0);
}

static int burst(double loss, double packets)
{
    shm_config_t c = good();
    c.impair_rx.burst_loss = loss;
    c.impair_rx.burst_packets = packets;
    rt_err_clear();
    return shm_config_check(&c);
}

static void test_bursts_must_be_possible(void)
{
    CHECK_EQ(burst(0.5, 4), 0);
    CHECK_EQ(burst(0.8, 4), 0);
    CHECK_EQ(burst(0, -1), 0); /* not looked at */
    CHECK_EQ(burst(0.9, 4), -EINVAL);
    CHECK(strstr(rt_err_text(), "at most 0.8") != NULL);
    CHECK_EQ(burst(0.5, 0.9), -EINVAL);
    CHECK(strstr(rt_err_text(), "burst_packets is 0.9") != NULL);
    CHECK_EQ(burst(0.5, 1e7), -EINVAL);
    CHECK_EQ(burst(0.5, nan("")), -EINVAL);
    CHECK_EQ(burst(nan(""), 4), -EINVAL);
}

static void test_a_ring_that_is_not_used_may_be_small(void)
{
    shm_config_t c = good();
    c.max_payload_bytes = 10000;
    c.tx_bytes = 65536;
    c.rx_bytes = 4096;
    CHECK_EQ(shm_config_check(&c), -EMSGSIZE);
    c.direction = SHM_TX;
    CHECK_EQ(shm_config_check(&c), 0);
    CHECK_EQ(shm_config_longest(&c, c.tx_bytes), 10000);
    CHECK_EQ(shm_config_longest(&c, c.rx_bytes), 936);
    c.direction = SHM_RX;
    CHECK_EQ(shm_config_check(&c), -EMSGSIZE);
}

int main(void)
{
    RUN(test_defaults_pass_once_they_have_names);
    RUN(test_names);
    RUN(test_each_field_is_checked);
    RUN(test_bursts_must_be_possible);
    RUN(test_a_ring_that_is_not_used_may_be_small);
    RUN(test_shares_are_shares);
    RUN(test_families_must_agree);
    RUN(test_unended_strings_are_refused);
    RUN(test_tai_needs_an_offset);
    return rt_test_result();
}
