/* Generated traffic with any configuration that passes its check. What must hold: packets come in
 * the order of their deadlines, within the time and the sizes that the configuration allows, and as
 * many as it counts.
 *
 *      input: the number of flows, then their configurations */
#include "base/rt_err.h"
#include "proto/traffic/traffic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FLOWS 4u
#define BATCH 64u
#define BATCHES 40u

static traffic_flow_t flows[MAX_FLOWS];
static uint32_t heap[MAX_FLOWS];
static traffic_t t;
static uint8_t payloads[4 * TRAFFIC_MOST_BYTES];
static int64_t due_ns[DUE_LANES][BATCH];
static uint32_t offsets[DUE_LANES][BATCH], lengths[DUE_LANES][BATCH];
static due_address_t to[DUE_LANES][BATCH];
static due_lane_t lanes[DUE_LANES];

static void require(bool holds, const char *what)
{
    if (holds)
        return;
    (void)fprintf(stderr, "fuzz: does not hold: %s\n", what);
    abort();
}

static size_t take(void *to_here, size_t bytes, const uint8_t **data, size_t *size)
{
    size_t n = bytes < *size ? bytes : *size;
    memset(to_here, 0, bytes);
    memcpy(to_here, *data, n);
    *data += n;
    *size -= n;
    return n;
}

/* Small counts are likelier than they would be in any bytes. */
static void configure(traffic_flow_t *flow, uint32_t number, const uint8_t **data, size_t *size)
{
    traffic_flow_config_t *c = &flow->config;
    uint8_t small[6];
    memset(flow, 0, sizeof *flow);
    take(small, sizeof small, data, size);
    c->rate.phase_count = small[0] % 4 + (small[0] == 255 ? TRAFFIC_MAX_PHASES : 1);
    c->rate.repeat = small[1] & 1;
    c->poisson = small[1] & 2;
    c->lane = number % DUE_LANES + 1;
    c->burst = small[2] + 1u;
    c->sizes.size_count = small[3] % 4 + 1u;
    c->count = small[4];
    for (uint32_t i = 0; i < 5; i++) {
        take(&c->rate.phases[i].duration_ns, 1 + small[5] % 8, data, size);
        take(&c->rate.phases[i].from_upps, 7, data, size);
        take(&c->rate.phases[i].to_upps, 7, data, size);
        if (small[5] & 16)
            c->rate.phases[i].to_upps = c->rate.phases[i].from_upps;
    }
    for (uint32_t i = 0; i < 4; i++) {
        take(&c->sizes.sizes[i].least_bytes, 1, data, size);
        take(&c->sizes.sizes[i].most_bytes, 2, data, size);
        take(&c->sizes.sizes[i].weight, 1, data, size);
    }
    take(&c->spacing_ns, small[5] >> 5, data, size);
    take(&c->begin_ns, 7, data, size);
    take(&c->duration_ns, 7, data, size);
    take(&c->seed, 1, data, size);
}

static void check_batch(uint32_t count, int64_t *last_ns)
{
    uint32_t found = 0;
    int64_t most_ns = *last_ns;
    for (uint32_t lane = 0; lane < DUE_LANES; lane++) {
        for (uint32_t i = 0; i < lanes[lane].count; i++) {
            require(due_ns[lane][i] >= *last_ns, "batches are in order");
            require(i == 0 || due_ns[lane][i] >= due_ns[lane][i - 1], "a lane is in order");
            require(due_ns[lane][i] <= 3 * TRAFFIC_MAX_SPAN_NS, "deadlines are bounded");
            require(lengths[lane][i] >= TRAFFIC_LEAST_BYTES &&
                        lengths[lane][i] <= TRAFFIC_MOST_BYTES &&
                        offsets[lane][i] <= sizeof payloads - lengths[lane][i],
                    "payloads are within their memory");
            most_ns = due_ns[lane][i] > most_ns ? due_ns[lane][i] : most_ns;
            found++;
        }
    }
    require(found == count, "packets are counted");
    *last_ns = most_ns;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    uint32_t count = *data % MAX_FLOWS + 1;
    bool random_padding = *data & 128;
    data++;
    size--;
    for (uint32_t i = 0; i < count; i++)
        configure(&flows[i], i, &data, &size);
    if (traffic_init(&t, flows, heap, count) != 0) {
        require(rt_err_text()[0] != '\0', "a refusal has a text");
        return 0;
    }
    t.start_ns = 1;
    t.random_padding = random_padding;
    for (unsigned i = 0; i < DUE_LANES; i++)
        lanes[i] = (due_lane_t){due_ns[i], offsets[i], lengths[i], to[i], 0, NULL};
    int64_t last_ns = 0;
    uint32_t made = 1;
    for (uint32_t i = 0; i < BATCHES && made > 0; i++) {
        made = traffic_batch(&t, payloads, sizeof payloads, BATCH, lanes);
        check_batch(made, &last_ns);
    }
    for (uint32_t i = 0; i < count; i++) {
        const traffic_flow_t *flow = &flows[i];
        require(flow->config.count == 0 || flow->planned <= flow->config.count, "count holds");
        require(made > 0 || flow->next_ns == RT_NEVER_NS, "the end is the end");
    }
    return 0;
}
