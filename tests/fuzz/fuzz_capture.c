/* Any bytes as a capture file that comes in pieces, with a plan for what is in it.
 *
 *     byte 0: size of the pieces; byte 1: the pace; then the file
 *
 * Every payload must lie in the bytes given, every packet must have one fate, each call must take
 * something or ask for more, and no deadline may lie before the start or more than a year after. */
#include "proto/capture/capture_plan.h"

#include <stdlib.h>
#include <string.h>

#define REQUIRE(cond) \
    do {              \
        if (!(cond))  \
            abort();  \
    } while (0)

#define BATCH 16u
#define START_NS 1000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static capture_t c;
static capture_plan_t plan;
static uint32_t routed;

static void route_new_flows(void)
{
    for (; routed < c.flows.count; routed++) {
        due_address_t to = {{0}};
        capture_route(&c, routed, routed % (DUE_LANES + 1), &to);
    }
}

/* Returns whether the plan goes on. */
static bool make_plan(const capture_record_t *records, uint32_t count)
{
    int64_t due_ns[DUE_LANES][BATCH];
    uint32_t offset[DUE_LANES][BATCH];
    uint32_t length[DUE_LANES][BATCH];
    due_address_t to[DUE_LANES][BATCH];
    due_lane_t lanes[DUE_LANES];
    for (unsigned i = 0; i < DUE_LANES; i++)
        lanes[i] = (due_lane_t){due_ns[i], offset[i], length[i], to[i], 0, NULL};
    int rc = capture_plan_batch(&plan, &c, records, count, lanes);
    for (unsigned i = 0; i < DUE_LANES; i++)
        for (uint32_t n = 0; n < lanes[i].count; n++)
            REQUIRE(plan.pace == CAPTURE_AT_ONCE
                        ? due_ns[i][n] == 0
                        : due_ns[i][n] >= START_NS &&
                              due_ns[i][n] - START_NS <= CAPTURE_MAX_SPAN_NS);
    return rc == 0;
}

static void check_counts(void)
{
    uint64_t sum = 0;
    uint64_t of_flows = 0;
    for (unsigned i = 0; i < CAPTURE_FATE_TOTAL; i++)
        sum += c.fates[i];
    for (uint32_t i = 0; i < c.flows.count; i++)
        of_flows += c.flows.flows[i].packets;
    REQUIRE(sum == c.file.frames && of_flows == c.fates[CAPTURE_FATE_udp]);
}

/* A piece on the heap, so that the sanitizer sees its end. Returns the bytes used, or -1: the end.
 */
static int64_t take(const uint8_t *data, size_t size)
{
    capture_record_t records[BATCH];
    size_t used;
    uint32_t count;
    uint8_t *piece = malloc(size + 1);
    REQUIRE(piece != NULL);
    memcpy(piece, data, size);
    int rc = capture_read(&c, piece, size, records, BATCH, &used, &count);
    REQUIRE(used <= size && count <= BATCH);
    for (uint32_t i = 0; i < count; i++)
        REQUIRE(records[i].offset <= used && records[i].length <= used - records[i].offset &&
                records[i].flow < c.flows.count);
    free(piece);
    route_new_flows();
    return make_plan(records, count) && rc == 0 ? (int64_t)used : -1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    size_t piece = data[0] + 1u;
    capture_init(&c, 1);
    routed = 0;
    plan = (capture_plan_t){.pace = (capture_pace_t)(data[1] % 4),
                            .scale = 1.5,
                            .interval_ns = 1e6,
                            .start_ns = START_NS};
    size_t at = 2;
    for (size_t end = at; end <= size;) {
        int64_t used = take(data + at, end - at);
        check_counts();
        if (used < 0 || (used == 0 && end == size))
            break;
        at += (size_t)used;
        if (used == 0)
            end = end + piece < size ? end + piece : size;
    }
    (void)capture_plan_next_round(&plan);
    return 0;
}
