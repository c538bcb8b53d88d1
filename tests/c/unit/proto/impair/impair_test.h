/* What the tests of impaired paths share: a path with its memory, numbered datagrams, chances. */
#ifndef IMPAIR_TEST_H
#define IMPAIR_TEST_H

#include "base/rt_clock.h"
#include "base/rt_err.h"
#include "proto/impair/impair.h"
#include "rt_test.h"

#include <errno.h>
#include <math.h>

typedef struct link {
    impair_t im;
    void *memory;
} link_t;

static inline bool link_open(link_t *l, const impair_config_t *config)
{
    size_t bytes = impair_memory_bytes(config);
    l->memory = malloc(bytes);
    if (CHECK_EQ(impair_init(&l->im, config, l->memory, bytes), 0))
        return true;
    printf("       %s\n", rt_err_text());
    free(l->memory);
    return false;
}

static inline void link_close(link_t *l)
{
    impair_clear(&l->im);
    free(impair_old_memory(&l->im));
    free(l->memory);
}

/* A datagram whose bytes can be told from its number. */
static inline int offer(impair_t *im, uint64_t number, uint32_t len, int64_t now_ns)
{
    static uint8_t data[IMPAIR_MAX_DATAGRAM_BYTES + 1];
    for (uint32_t i = 0; i < len; i++)
        data[i] = (uint8_t)(number + i);
    impair_in_t in = {
        .data = data,
        .len = len,
        .tag = &number,
        .tag_bytes = sizeof number,
        .time_ns = (int64_t)number * 3,
    };
    return impair_offer(im, &in, now_ns);
}

static inline uint64_t number_of(const impair_out_t *out)
{
    uint64_t number;
    memcpy(&number, out->tag, sizeof number);
    return number;
}

static inline int flipped_bits(const impair_out_t *out)
{
    int bits = 0;
    for (uint32_t i = 0; i < out->len; i++)
        bits += __builtin_popcount((unsigned)(out->data[i] ^ (uint8_t)(number_of(out) + i)));
    return bits;
}

static inline bool is_whole(const impair_out_t *out)
{
    return out->tag_bytes == sizeof(uint64_t) && out->time_ns == (int64_t)number_of(out) * 3 &&
           flipped_bits(out) == ((out->flags & IMPAIR_OUT_CORRUPTED) != 0);
}

static inline bool conserves(const impair_t *im)
{
    const impair_counters_t *c = &im->counters;
    return c->offered + c->duplicated ==
           c->passed + c->lost + c->burst_lost + c->queue_dropped + impair_queued(im);
}

static inline double sometimes(uint64_t *state, double most)
{
    double r = (double)(rt_test_rand(state) % 1000) / 1000;
    return rt_test_rand(state) % 2 == 0 ? 0 : r * most;
}

static inline impair_config_t random_config(uint64_t *state)
{
    impair_config_t c = {
        .loss = sometimes(state, 0.3),
        .burst_loss = sometimes(state, 0.4),
        .burst_packets = 1 + (double)(rt_test_rand(state) % 20),
        .duplicate = sometimes(state, 0.5),
        .reorder = sometimes(state, 0.5),
        .corrupt = sometimes(state, 0.5),
        .delay_ns = (int64_t)sometimes(state, 5e6),
        .jitter_ns = (int64_t)sometimes(state, 5e6),
        .reorder_extra_ns = (int64_t)sometimes(state, 5e6),
        .rate_bps = (uint64_t)sometimes(state, 1e9),
        .queue_bytes = (uint64_t)sometimes(state, 1e5),
        .seed = rt_test_rand(state),
        .max_datagram_bytes = 1500,
    };
    if (rt_test_rand(state) % 2 == 0)
        c.store_bytes = 1600 + rt_test_rand(state) % 100000;
    return c;
}

#endif
