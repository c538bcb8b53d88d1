/* Any datagrams for a STAMP reflector and for the comparison of clocks, at any times. What must
 * hold: one fate for each packet, each reply lies inside of its request and has the form of a
 * reply, no reply is due before now, sessions stay in their table, and the bounds of the clock are
 * in order.
 *
 *      input: options, then datagrams: length, kind, time since the last, port, bytes */
#include "proto/stamp/stamp_clock.h"
#include "proto/stamp/stamp_reflector.h"

#include <stdlib.h>
#include <string.h>

#define SLOTS 8u
#define REQUIRE(cond) \
    do {              \
        if (!(cond))  \
            abort();  \
    } while (0)

typedef struct fuzz {
    const uint8_t *at;
    size_t left;
    int64_t now_ns;
    uint64_t asked;
    uint32_t sequence;
    stamp_session_t sessions[SLOTS];
    stamp_reflector_t reflector;
    stamp_clock_t clock;
} fuzz_t;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t take(fuzz_t *f, unsigned bytes)
{
    uint64_t value = 0;
    for (; bytes > 0 && f->left > 0; bytes--, f->left--)
        value = value << 8 | *f->at++;
    return value;
}

static void begin(fuzz_t *f)
{
    uint64_t options = take(f, 1);
    f->now_ns = INT64_C(1000000000000);
    f->reflector = (stamp_reflector_t){
        .stateful = (options & 1) != 0,
        .network_count = options >> 1 & 1,
        .sessions = f->sessions,
        .session_slots = SLOTS,
        .idle_ns = 1000000,
        .hold_ns = (int64_t)(options >> 4) * 1000,
        .max_pps = options & 4 ? 100 : 0,
        .networks = {{.family = 4, .bits = (uint32_t)(options >> 3) % 33, .ip = {10}}},
    };
    f->clock.drift = options & 8 ? 1e-4 : 0;
    f->clock.margin_ns = 100;
}

static void reflect(fuzz_t *f, const stamp_arrivals_t *in)
{
    int64_t due_ns;
    uint32_t offset, length, sent = *in->length;
    due_address_t to, from;
    due_lane_t out = {&due_ns, &offset, &length, &to, 0, &from};
    stamp_times_t times = {
        .now_ns = f->now_ns,
        .utc_ns = INT64_C(1795435200000000000),
        .tai_ns = INT64_C(1795435237000000000),
        .error_ns = 1000,
        .utc_synchronised = true,
    };
    f->asked++;
    if (stamp_reflector_answer(&f->reflector, in, &times, &out) == 1) {
        REQUIRE(offset == *in->offset && length == sent);
        REQUIRE(due_ns >= f->now_ns);
        REQUIRE(stamp_is_reply(in->payload + offset, length));
        REQUIRE(memcmp(&to, in->source, sizeof to) == 0);
    }
    uint64_t fates = 0;
    for (unsigned i = 0; i < STAMP_FATE_TOTAL; i++)
        fates += f->reflector.fates[i];
    REQUIRE(fates == f->asked);
    REQUIRE(stamp_reflector_sessions(&f->reflector, f->now_ns) <= SLOTS);
}

static void compare(fuzz_t *f, stamp_arrivals_t *in, unsigned kind)
{
    if (kind & 1) { /* a request of ours, which the datagram may answer */
        stamp_request_t request = {
            .sequence = f->sequence++, .error = {.multiplier = 1}, .t1_ns = f->now_ns};
        uint64_t raw = stamp_from_ns(f->now_ns, STAMP_NTP);
        stamp_clock_sent(&f->clock, request.sequence, raw, f->now_ns - (kind >> 2) * 1000);
        if (kind & 2 && *in->length >= STAMP_BYTES) {
            stamp_put_request(in->payload, &request);
            stamp_reflection_t how = {.error = {.multiplier = 1},
                                      .t2_ns = f->now_ns + (int64_t)take(f, 3),
                                      .t3_ns = f->now_ns + (int64_t)take(f, 3)};
            stamp_reflect(in->payload, *in->length, &how);
        }
    }
    stamp_offset_t after;
    stamp_clock_receive_batch(&f->clock, in, &after);
    REQUIRE(!f->clock.known || after.low_ns <= after.high_ns);
    double low, high;
    stamp_clock_rate(&f->clock, &low, &high);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_t *f = calloc(1, sizeof *f);
    REQUIRE(f != NULL);
    f->at = data;
    f->left = size;
    begin(f);
    while (f->left > 0) {
        uint32_t length = (uint32_t)take(f, 1) % 64;
        unsigned kind = (unsigned)take(f, 1);
        f->now_ns += (int64_t)take(f, 3) * 100;
        uint64_t offset = 0;
        int64_t time_ns = f->now_ns + 5000 - (int64_t)take(f, 2);
        stamp_end_t source = {.family = 4, .port = (uint16_t)take(f, 2), .ip = {10, 0, 0, 1}};
        uint8_t *payload = malloc(length + 1);
        REQUIRE(payload != NULL);
        for (uint32_t i = 0; i < length; i++)
            payload[i] = (uint8_t)take(f, 1);
        stamp_arrivals_t in = {
            .payload = payload,
            .payload_bytes = length,
            .count = 1,
            .stride = sizeof(uint64_t),
            .offset = &offset,
            .length = &length,
            .time_ns = &time_ns,
            .source = &source,
        };
        if (kind & 0x80)
            compare(f, &in, kind);
        else
            reflect(f, &in);
        free(payload);
    }
    free(f);
    return 0;
}
