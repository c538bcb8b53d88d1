#include "proto/traffic/traffic.h"

#include "base/rt_err.h"
#include "rt_test.h"

#include <errno.h>

#define S RT_NS_PER_S
#define PPS TRAFFIC_UPPS
#define MOST 64u
#define FLOWS 50u
#define START_NS 1000000

static traffic_flow_t flows[FLOWS];
static uint32_t heap[FLOWS];
static traffic_t t;
static uint8_t payloads[2 * TRAFFIC_MOST_BYTES];
static int64_t due_ns[DUE_LANES][MOST];
static uint32_t offsets[DUE_LANES][MOST], lengths[DUE_LANES][MOST];
static due_address_t to[DUE_LANES][MOST];
static due_lane_t lanes[DUE_LANES];

static void configure(uint32_t number, uint64_t pps, uint32_t bytes)
{
    memset(&flows[number], 0, sizeof flows[number]);
    flows[number].config = (traffic_flow_config_t){
        .rate = {.phases = {{S, pps * PPS, pps * PPS}}, .phase_count = 1},
        .sizes = {.sizes = {{bytes, bytes, 1}}, .size_count = 1},
        .burst = 1,
        .duration_ns = S,
        .lane = number % 2 + 1,
        .to = {{(uint8_t)number}},
    };
}

static void begin(uint32_t count)
{
    CHECK_EQ(traffic_init(&t, flows, heap, count), 0);
    t.start_ns = START_NS;
    t.clock = (traffic_clock_t){.ahead_ns = 7, .error_ns = 1000, .format = STAMP_NTP};
    for (unsigned i = 0; i < DUE_LANES; i++)
        lanes[i] = (due_lane_t){due_ns[i], offsets[i], lengths[i], to[i], 0, NULL};
}

static uint32_t batch(uint32_t max)
{
    return traffic_batch(&t, payloads, sizeof payloads, max, lanes);
}

static stamp_request_t request(uint32_t lane, uint32_t i)
{
    stamp_request_t found;
    CHECK_EQ(stamp_get_request(payloads + offsets[lane][i], lengths[lane][i], &found), STAMP_FINE);
    return found;
}

static void test_a_packet_is_a_request_of_stamp(void)
{
    configure(0, 100, 200);
    configure(1, 100, 44);
    begin(2);
    CHECK_EQ(batch(4), 4);
    CHECK_EQ(lanes[0].count, 2);
    CHECK_EQ(lanes[1].count, 2);
    CHECK_EQ(due_ns[0][1], START_NS + S / 100);
    CHECK_EQ(to[1][1].packed[0], 1);
    stamp_request_t found = request(0, 1);
    CHECK_EQ(found.sequence, 1);
    CHECK_EQ(found.ssid, 1);
    CHECK_EQ(found.t1_ns, due_ns[0][1] + 7);
    CHECK(!found.error.synchronised);
    CHECK(stamp_error_ns(found.error) >= 1000);
    CHECK_EQ(request(1, 0).ssid, 2);
    const uint8_t *tlv = payloads + offsets[0][0] + 44;
    CHECK_EQ(tlv[0], 0x80);
    CHECK_EQ(tlv[1], 1);
    CHECK_EQ(tlv[2] << 8 | tlv[3], 200 - 48);
    CHECK_EQ(tlv[4], 0);
}

static void test_padding_is_zero_or_random(void)
{
    memset(payloads, 0xEE, sizeof payloads);
    configure(0, 100, 47);
    begin(1);
    CHECK_EQ(batch(1), 1);
    CHECK_EQ(payloads[44] | payloads[45] | payloads[46], 0);
    CHECK_EQ(payloads[47], 0xEE);
    configure(0, 100, 1000);
    begin(1);
    t.random_padding = true;
    CHECK_EQ(batch(2), 2);
    unsigned ones = 0;
    for (int i = 48; i < 1000; i++)
        ones += (unsigned)__builtin_popcount(payloads[i]);
    CHECK(ones > 952 * 4 - 200 && ones < 952 * 4 + 200);
    CHECK(memcmp(payloads + 48, payloads + 1048, 952) != 0);
    CHECK_EQ(payloads[2000], 0xEE);
}

static void test_a_short_packet_is_the_beginning_of_a_request(void)
{
    configure(0, 100, 18);
    begin(1);
    memset(payloads, 0xEE, sizeof payloads);
    CHECK_EQ(batch(2), 2);
    CHECK_EQ(payloads[18 + 3], 1);
    CHECK_EQ(payloads[18 + 15], 1);
    CHECK_EQ(payloads[18 + 17], 0);
    CHECK_EQ(payloads[18 + 18], 0xEE);
}

static void test_flows_merge_in_order(void)
{
    uint64_t expected = 0;
    for (uint32_t i = 0; i < FLOWS; i++) {
        configure(i, 1 + i * 7 % 40, 44);
        flows[i].config.begin_ns = i % 3 * 1000;
        flows[i].config.poisson = i % 5 == 0;
        flows[i].config.seed = i;
        if (i % 5 != 0)
            expected += 1 + i * 7 % 40;
    }
    begin(FLOWS);
    uint64_t even = 0;
    int64_t before_ns[DUE_LANES] = {0};
    int64_t last_of_batch_ns = 0;
    while (batch(MOST) > 0) {
        int64_t until_ns = last_of_batch_ns;
        for (uint32_t lane = 0; lane < DUE_LANES; lane++) {
            for (uint32_t i = 0; i < lanes[lane].count; i++) {
                CHECK(due_ns[lane][i] >= before_ns[lane]);
                CHECK(due_ns[lane][i] >= last_of_batch_ns);
                before_ns[lane] = due_ns[lane][i];
                until_ns = due_ns[lane][i] > until_ns ? due_ns[lane][i] : until_ns;
                even += to[lane][i].packed[0] % 5 != 0;
            }
        }
        last_of_batch_ns = until_ns;
    }
    CHECK_EQ(even, expected);
    CHECK_EQ(batch(MOST), 0);
}

static void test_ties_go_to_the_lower_flow(void)
{
    for (uint32_t i = 0; i < 6; i++) {
        configure(i, 10, 44);
        flows[i].config.lane = DUE_LANE_IPV4;
    }
    begin(6);
    CHECK_EQ(batch(12), 12);
    for (uint32_t i = 0; i < 12; i++)
        CHECK_EQ(to[0][i].packed[0], i % 6);
}

static void test_batches_do_not_exceed_the_room(void)
{
    configure(0, 100, TRAFFIC_MOST_BYTES);
    begin(1);
    CHECK_EQ(batch(MOST), 2);
    CHECK_EQ(offsets[0][1], TRAFFIC_MOST_BYTES);
    CHECK_EQ(traffic_batch(&t, payloads, TRAFFIC_MOST_BYTES, MOST, lanes), 1);
    CHECK_EQ(request(0, 0).sequence, 2);
}

static void test_what_is_refused(void)
{
    CHECK_EQ(traffic_init(&t, flows, heap, 0), -EINVAL);
    CHECK_EQ(traffic_init(&t, flows, heap, TRAFFIC_MAX_FLOWS + 1), -EINVAL);
    CHECK(strstr(rt_err_text(), "there are 65536 flows: give 1 to 65535") != NULL);
    configure(0, 100, 44);
    configure(1, 100, 4);
    CHECK_EQ(traffic_init(&t, flows, heap, 2), -EINVAL);
    CHECK(strstr(rt_err_text(), "flow 2: size is 4 bytes") != NULL);
}

int main(void)
{
    RUN(test_a_packet_is_a_request_of_stamp);
    RUN(test_padding_is_zero_or_random);
    RUN(test_a_short_packet_is_the_beginning_of_a_request);
    RUN(test_flows_merge_in_order);
    RUN(test_ties_go_to_the_lower_flow);
    RUN(test_batches_do_not_exceed_the_room);
    RUN(test_what_is_refused);
    return rt_test_result();
}
