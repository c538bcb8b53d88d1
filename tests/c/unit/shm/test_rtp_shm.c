/* What an RTP channel may be asked to be. */
#include "shm_test.h"

#include "shm/rtp_shm.h"

#include <math.h>

static shm_rtp_config_t good(void)
{
    return (shm_rtp_config_t){
        .config_bytes = sizeof(shm_rtp_config_t), .clock_rate = 8000, .samples_per_packet = 160};
}

static void test_a_clock_and_a_step_are_enough(void)
{
    shm_rtp_config_t c = good();
    CHECK_EQ(shm_rtp_config_check(&c), 0);
    c.clock_rate = 0;
    CHECK_EQ(shm_rtp_config_check(&c), -EINVAL);
    CHECK(strstr(rt_err_text(), "clock_rate") != NULL);
}

typedef struct spoil {
    size_t offset;
    size_t bytes;
    int64_t value;
    int expected;
    const char *word;
} spoil_t;

#define SPOIL(field, value, expected, word) \
    {offsetof(shm_rtp_config_t, field), sizeof(((shm_rtp_config_t *)0)->field), value, expected, word}

static const spoil_t spoils[] = {
    SPOIL(config_bytes, 4, -EPROTO, "4 bytes"),
    SPOIL(clock_rate, INT64_C(1) << 31, -EINVAL, "clock_rate"),
    SPOIL(samples_per_packet, 0, -EINVAL, "samples"),
    SPOIL(samples_per_packet, INT64_C(86400) * 8000 + 1, -EINVAL, "samples"),
    SPOIL(bytes_per_packet, 65496, -EINVAL, "bytes_per_packet"),
    SPOIL(payload_type, 128, -EINVAL, "payload_type"),
    SPOIL(flags, 0x40, -EINVAL, "flags"),
    SPOIL(flags, SHM_RTP_NACK_SEND, -EINVAL, "RTCP"),
    SPOIL(delivery, 3, -EINVAL, "delivery"),
    SPOIL(rtcp, 3, -EINVAL, "rtcp"),
    SPOIL(max_frames, 4097, -EINVAL, "max_frames"),
    SPOIL(underrun, 3, -EINVAL, "underrun"),
    SPOIL(underrun, SHM_RTP_FILL, -EINVAL, "bytes_per_packet"),
    SPOIL(start_delay_ns, -1, -EINVAL, "start_delay"),
    SPOIL(min_sequential, 1001, -EINVAL, "min_sequential"),
    SPOIL(max_dropout, 32768, -EINVAL, "max_dropout"),
    SPOIL(max_misorder, 32768, -EINVAL, "max_misorder"),
    SPOIL(switch_silence_ns, -1, -EINVAL, "switch_silence"),
    SPOIL(min_delay_ns, -2, -EINVAL, "min_delay"),
    SPOIL(max_delay_ns, 61 * RT_NS_PER_S, -EINVAL, "max_delay"),
    SPOIL(first_delay_ns, -1, -EINVAL, "first_delay"),
    SPOIL(shrink_ns_per_s, -1, -EINVAL, "shrink"),
    SPOIL(conceal_ns, -2, -EINVAL, "conceal"),
    SPOIL(resync_ns, -1, -EINVAL, "resync"),
    SPOIL(rtcp_interval_ns, -1, -EINVAL, "rtcp_interval"),
    SPOIL(rtcp_local, 5, -EINVAL, "rtcp_local"),
    SPOIL(rtcp_remote, 3, -EINVAL, "rtcp_remote"),
    SPOIL(history_packets, 3, -EINVAL, "power of two"),
    SPOIL(history_packets, 65536, -EINVAL, "history"),
    SPOIL(nack_max_requests, 101, -EINVAL, "nack_max"),
    SPOIL(nack_first_wait_ns, -1, -EINVAL, "nack_first"),
    SPOIL(nack_retry_ns, -1, -EINVAL, "nack_retry"),
    SPOIL(nack_give_up_ns, -1, -EINVAL, "nack_give_up"),
};

static void test_each_field_is_checked(void)
{
    for (size_t i = 0; i < sizeof spoils / sizeof spoils[0]; i++) {
        shm_rtp_config_t c = good();
        const spoil_t *s = &spoils[i];
        memcpy((uint8_t *)&c + s->offset, &s->value, s->bytes < 8 ? s->bytes : 8);
        CHECK_EQ(shm_rtp_config_check(&c), s->expected);
        if (!CHECK(strstr(rt_err_text(), s->word) != NULL))
            (void)printf("  \"%s\" is not in: %s\n", s->word, rt_err_text());
    }
}

static void test_numbers_that_are_none(void)
{
    shm_rtp_config_t c = good();
    c.percentile = NAN;
    CHECK_EQ(shm_rtp_config_check(&c), -EINVAL);
    c = good();
    c.rtcp_bandwidth_bps = INFINITY;
    CHECK_EQ(shm_rtp_config_check(&c), -EINVAL);
    c = good();
    memset(c.cname, 'x', sizeof c.cname);
    CHECK_EQ(shm_rtp_config_check(&c), -EINVAL);
}

static void test_a_shared_port_excludes_some_payload_types(void)
{
    shm_rtp_config_t c = good();
    c.rtcp = SHM_RTP_RTCP_MUX;
    for (unsigned type = 0; type < 128; type++) {
        c.payload_type = (uint8_t)type;
        CHECK_EQ(shm_rtp_config_check(&c), type >= 64 && type <= 95 ? -EINVAL : 0);
    }
}

int main(void)
{
    RUN(test_a_clock_and_a_step_are_enough);
    RUN(test_each_field_is_checked);
    RUN(test_numbers_that_are_none);
    RUN(test_a_shared_port_excludes_some_payload_types);
    return rt_test_result();
}
