#include "proto/stamp/stamp_reflector.h"

#include "rt_test.h"

#define US INT64_C(1000)
#define MS INT64_C(1000000)
#define S INT64_C(1000000000)
#define NOW_NS (5000 * S)
#define UTC_NS (1795435200 * S)
#define TAI_NS (UTC_NS + 37 * S)
#define MOST 64u
#define SLOTS 64u

static stamp_session_t sessions[SLOTS];
static stamp_reflector_t r;
static uint8_t payload[MOST * 64];
static uint64_t offsets[MOST];
static uint64_t lengths[MOST]; /* 8 bytes apart, as in records */
static int64_t arrived_ns[MOST];
static stamp_end_t sources[MOST];
static stamp_arrivals_t in;
static stamp_times_t times;
static int64_t due_ns[MOST];
static uint32_t out_offsets[MOST], out_lengths[MOST];
static due_address_t to[MOST], from[MOST];
static due_lane_t out = {due_ns, out_offsets, out_lengths, to, 0, NULL};

static void begin(void)
{
    memset(&r, 0, sizeof r);
    memset(sessions, 0, sizeof sessions);
    r.sessions = sessions;
    r.session_slots = SLOTS;
    r.idle_ns = 60 * S;
    r.hold_ns = 300 * US;
    r.lead_ns = 50 * US;
    r.seed = 7;
    in = (stamp_arrivals_t){
        .payload = payload,
        .payload_bytes = sizeof payload,
        .stride = 8,
        .offset = offsets,
        .time_ns = arrived_ns,
    };
    in.length = (const uint32_t *)lengths;
    times = (stamp_times_t){.now_ns = NOW_NS,
                            .utc_ns = UTC_NS,
                            .tai_ns = TAI_NS,
                            .error_ns = 1,
                            .utc_synchronised = true};
}

/* Puts a request into the batch. Each batch has one here, unless said otherwise. */
static uint8_t *request(uint32_t i, uint32_t sequence, stamp_format_t format, uint16_t port,
                        uint32_t length)
{
    offsets[i] = i * 64;
    lengths[i] = length;
    arrived_ns[i] = NOW_NS - 20 * US;
    sources[i] = (stamp_end_t){.family = 4, .port = port, .ip = {10, 0, 0, 7}};
    uint8_t *packet = payload + offsets[i];
    memset(packet, 'x', 64);
    stamp_request_t fields = {
        .sequence = sequence,
        .ssid = 9,
        .error = stamp_error_from_ns(MS, true, format),
        .t1_ns = UTC_NS,
    };
    stamp_put_request(packet, &fields);
    return packet;
}

/* Sources are 24 bytes apart, the other columns 8: so each packet is a batch of its own. */
static stamp_fate_t answer_one(uint32_t i)
{
    uint64_t before[STAMP_FATE_TOTAL];
    memcpy(before, r.fates, sizeof before);
    stamp_arrivals_t one = in;
    one.count = 1;
    one.offset += i;
    one.length = (const uint32_t *)&lengths[i];
    one.time_ns += i;
    one.source = &sources[i];
    stamp_reflector_answer(&r, &one, &times, &out);
    for (unsigned fate = 0; fate < STAMP_FATE_TOTAL; fate++)
        if (r.fates[fate] == before[fate] + 1)
            return (stamp_fate_t)fate;
    return STAMP_FATE_TOTAL;
}

static void test_a_reply_leaves_a_fixed_time_after_the_arrival(void)
{
    begin();
    uint8_t *packet = request(0, 3, STAMP_NTP, 40000, 60);
    CHECK_EQ(answer_one(0), STAMP_FATE_answered);
    CHECK_EQ(out.count, 1);
    CHECK_EQ(due_ns[0], NOW_NS + 280 * US);
    CHECK_EQ(out_offsets[0], 0);
    CHECK_EQ(out_lengths[0], 60);
    CHECK_MEM_EQ(&to[0], &sources[0], sizeof to[0]);
    stamp_reply_t reply;
    CHECK_EQ(stamp_get_reply(packet, 60, &reply), STAMP_FINE);
    CHECK_EQ(reply.sequence, 3);
    CHECK_EQ(reply.request_sequence, 3);
    CHECK_EQ(reply.ssid, 9);
    CHECK_EQ(reply.request_ttl, 255);
    CHECK_EQ(reply.t2_ns, NOW_NS - 20 * US + UTC_NS);
    CHECK_EQ(reply.t3_ns, NOW_NS + 280 * US + UTC_NS);
    CHECK_EQ(stamp_error_raw(reply.error), 0x8005); /* 1 ns is 4.3 units of 2**-32 s */
    CHECK(packet[44] == 'x' && packet[59] == 'x');
    arrived_ns[0] = NOW_NS - MS; /* too late for it */
    stamp_put_request(packet, &(stamp_request_t){.error = {.multiplier = 1}});
    CHECK_EQ(answer_one(0), STAMP_FATE_answered);
    CHECK_EQ(due_ns[0], NOW_NS + 50 * US);
    stamp_put_request(packet, &(stamp_request_t){.error = {.multiplier = 1}});
    arrived_ns[0] = NOW_NS + S; /* nothing arrives in the future */
    CHECK_EQ(answer_one(0), STAMP_FATE_answered);
    CHECK_EQ(due_ns[0], NOW_NS + 300 * US);
}

static void test_ptp_requests_get_tai(void)
{
    begin();
    uint8_t *packet = request(0, 3, STAMP_PTP, 40000, 44);
    CHECK_EQ(answer_one(0), STAMP_FATE_answered);
    stamp_reply_t reply;
    CHECK_EQ(stamp_get_reply(packet, 44, &reply), STAMP_FINE);
    CHECK_EQ(reply.error.format, STAMP_PTP);
    CHECK(!reply.error.synchronised);
    CHECK_EQ(reply.t2_ns, NOW_NS - 20 * US + TAI_NS);
}

static void test_what_is_not_answered(void)
{
    begin();
    request(0, 0, STAMP_NTP, 40000, 40);
    CHECK_EQ(answer_one(0), STAMP_FATE_too_short);
    request(0, 0, STAMP_NTP, 40000, 41); /* of TWAMP, symmetric */
    CHECK_EQ(answer_one(0), STAMP_FATE_answered);
    CHECK_EQ(out.length[0], 41);
    request(0, 0, STAMP_NTP, 40000, 44)[13] = 0;
    CHECK_EQ(answer_one(0), STAMP_FATE_corrupt);
    memset(request(0, 0, STAMP_NTP, 40000, 44) + 4, 0, 8);
    CHECK_EQ(answer_one(0), STAMP_FATE_corrupt);
    offsets[0] = sizeof payload - 40;
    CHECK_EQ(answer_one(0), STAMP_FATE_too_short);
    request(0, 0, STAMP_NTP, 19, 44); /* chargen */
    CHECK_EQ(answer_one(0), STAMP_FATE_source_port);
    request(0, 0, STAMP_NTP, 0, 44);
    CHECK_EQ(answer_one(0), STAMP_FATE_source_port);
    request(0, 0, STAMP_NTP, 862, 44);
    CHECK_EQ(answer_one(0), STAMP_FATE_answered);
    request(0, 0, STAMP_NTP, 40000, 44);
    arrived_ns[0] = NOW_NS - 60 * S;
    CHECK_EQ(answer_one(0), STAMP_FATE_held_long);
    request(0, 0, STAMP_NTP, 40000, 44);
    arrived_ns[0] = INT64_MIN; /* the ring is memory of others */
    CHECK_EQ(answer_one(0), STAMP_FATE_held_long);
}

/* What a reflector sends, another one does not answer, on whatever ports they are. */
static void test_two_reflectors_end_after_one_reply(void)
{
    stamp_format_t formats[] = {STAMP_NTP, STAMP_PTP};
    int64_t waited_ns[] = {0, 20 * US, 58 * S};
    for (unsigned i = 0; i < 6; i++) {
        begin();
        request(0, 1, formats[i / 3], 862, 64);
        arrived_ns[0] = NOW_NS - waited_ns[i % 3];
        CHECK_EQ(answer_one(0), STAMP_FATE_answered);
        arrived_ns[0] = NOW_NS + MS;
        times.now_ns = NOW_NS + 2 * MS;
        CHECK_EQ(answer_one(0), STAMP_FATE_reply);
        sources[0].port = 8620;
        CHECK_EQ(answer_one(0), STAMP_FATE_reply);
        CHECK_EQ(out.count, 0);
    }
}

static void test_sequences_of_sessions(void)
{
    begin();
    r.stateful = true;
    stamp_reply_t reply;
    for (uint32_t i = 0; i < 3; i++) {
        uint8_t *packet = request(0, 100 + i * 7, STAMP_NTP, 40000, 44);
        CHECK_EQ(answer_one(0), STAMP_FATE_answered);
        stamp_get_reply(packet, 44, &reply);
        CHECK_EQ(reply.sequence, i);
        CHECK_EQ(reply.request_sequence, 100 + i * 7);
    }
    uint8_t *other = request(0, 100, STAMP_NTP, 40001, 44);
    answer_one(0);
    stamp_get_reply(other, 44, &reply);
    CHECK_EQ(reply.sequence, 0);
    CHECK_EQ(r.session_total, 2);
    CHECK_EQ(stamp_reflector_sessions(&r, NOW_NS), 2);
    times.now_ns = NOW_NS + 61 * S; /* it was silent too long */
    CHECK_EQ(stamp_reflector_sessions(&r, times.now_ns), 0);
    other = request(0, 101, STAMP_NTP, 40001, 44);
    arrived_ns[0] = times.now_ns;
    answer_one(0);
    stamp_get_reply(other, 44, &reply);
    CHECK_EQ(reply.sequence, 0);
}

static void test_the_table_of_sessions_is_bounded(void)
{
    begin();
    r.stateful = true;
    uint32_t answered = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        request(0, 0, STAMP_NTP, (uint16_t)(40000 + i), 44);
        stamp_fate_t fate = answer_one(0);
        answered += fate == STAMP_FATE_answered;
        CHECK(fate == STAMP_FATE_answered || fate == STAMP_FATE_no_session);
    }
    CHECK(answered >= STAMP_SESSION_PROBES && answered <= SLOTS);
    request(0, 0, STAMP_NTP, 40000, 44); /* the first one stays */
    CHECK_EQ(answer_one(0), STAMP_FATE_answered);
    CHECK_EQ(r.session_total, answered);
    times.now_ns = NOW_NS + 61 * S;
    request(0, 0, STAMP_NTP, 40999, 44);
    arrived_ns[0] = times.now_ns;
    CHECK_EQ(answer_one(0), STAMP_FATE_answered);
}

static void test_allowed_networks(void)
{
    begin();
    r.network_count = 2;
    r.networks[0] = (stamp_network_t){.family = 4, .bits = 23, .ip = {10, 0, 2}};
    r.networks[1] = (stamp_network_t){.family = 6, .bits = 64, .ip = {0xfd, 0, 2, 3}};
    struct {
        stamp_end_t from;
        stamp_fate_t fate;
    } cases[] = {
        {{.family = 4, .port = 5000, .ip = {10, 0, 3, 255}}, STAMP_FATE_answered},
        {{.family = 4, .port = 5000, .ip = {10, 0, 4, 0}}, STAMP_FATE_not_allowed},
        {{.family = 6, .port = 5000, .ip = {0xfd, 0, 2, 3, 0, 0, 0, 0, 9}}, STAMP_FATE_answered},
        {{.family = 6, .port = 5000, .ip = {0xfd, 0, 2, 3, 0, 0, 0, 1}}, STAMP_FATE_not_allowed},
        {{.family = 6, .port = 5000, .ip = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 2, 1}},
         STAMP_FATE_answered},
        {{.family = 6, .port = 5000, .ip = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 1, 1}},
         STAMP_FATE_not_allowed},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        request(0, 0, STAMP_NTP, 0, 44);
        sources[0] = cases[i].from;
        CHECK_EQ(answer_one(0), cases[i].fate);
    }
    r.networks[0] = (stamp_network_t){.family = 4, .bits = 0};
    request(0, 0, STAMP_NTP, 40000, 44);
    CHECK_EQ(answer_one(0), STAMP_FATE_answered);
}

static void test_the_rate_is_limited(void)
{
    begin();
    r.max_pps = 100; /* and 10 at once */
    unsigned answered = 0;
    for (uint32_t i = 0; i < 30; i++) {
        request(0, i, STAMP_NTP, 40000, 44);
        answered += answer_one(0) == STAMP_FATE_answered;
    }
    CHECK_EQ(answered, 10);
    for (uint32_t i = 0; i < 1000; i++) {
        times.now_ns += MS;
        request(0, i, STAMP_NTP, 40000, 44);
        arrived_ns[0] = times.now_ns;
        answered += answer_one(0) == STAMP_FATE_answered;
    }
    CHECK(answered >= 109 && answered <= 110);
    CHECK_EQ(r.fates[STAMP_FATE_answered] + r.fates[STAMP_FATE_rate_limited], 1030);
}

static void test_a_batch_keeps_only_what_is_answered(void)
{
    begin();
    struct {
        uint64_t offset;
        int64_t arrived_ns;
        uint32_t length, padding;
        stamp_end_t source;
    } records[4];
    for (uint32_t i = 0; i < 4; i++) {
        request(i, i, STAMP_NTP, 40000, i == 1 ? 10 : 50);
        records[i].offset = offsets[i];
        records[i].arrived_ns = arrived_ns[i] + i;
        records[i].length = (uint32_t)lengths[i];
        records[i].source = sources[i];
    }
    in.count = 4;
    in.stride = sizeof records[0];
    in.offset = &records[0].offset;
    in.time_ns = &records[0].arrived_ns;
    in.length = &records[0].length;
    in.source = &records[0].source;
    CHECK_EQ(stamp_reflector_answer(&r, &in, &times, &out), 3);
    CHECK_EQ(out_offsets[1], 128);
    CHECK_EQ(due_ns[2], due_ns[0] + 3); /* the gaps stay */
}

static void test_a_reply_leaves_from_the_address_that_was_asked(void)
{
    begin();
    stamp_end_t local = {.family = 4, .port = 862, .ip = {10, 0, 0, 20}};
    const stamp_end_t unknown = {.family = 0};
    out.from = from;
    (void)request(0, 0, STAMP_NTP, 40000, 50);
    in.local = &local;
    CHECK_EQ(answer_one(0), STAMP_FATE_answered);
    CHECK_MEM_EQ(&from[0], &local, sizeof local);
    (void)request(0, 1, STAMP_NTP, 40000, 50);
    in.local = NULL;
    CHECK_EQ(answer_one(0), STAMP_FATE_answered);
    CHECK_MEM_EQ(&from[0], &unknown, sizeof unknown);
    out.from = NULL;
}

int main(void)
{
    RUN(test_a_reply_leaves_a_fixed_time_after_the_arrival);
    RUN(test_ptp_requests_get_tai);
    RUN(test_what_is_not_answered);
    RUN(test_two_reflectors_end_after_one_reply);
    RUN(test_sequences_of_sessions);
    RUN(test_the_table_of_sessions_is_bounded);
    RUN(test_allowed_networks);
    RUN(test_the_rate_is_limited);
    RUN(test_a_batch_keeps_only_what_is_answered);
    RUN(test_a_reply_leaves_from_the_address_that_was_asked);
    return rt_test_result();
}
