/* hostile.h: shared memory whose other side writes what it likes, whenever it likes.
 *
 * A target includes this and then the .c file under test. From there on each atomic load, swap and
 * exchange of that file is a moment at which the other side may have written: what is checked with
 * one load and used with the next is found, and each run can be repeated.
 *
 *      input:  op op op ...     an op is the target's, or one of hostile_plan():
 *
 *      +------+-------+-----------------+---------------------+
 *      | form | delay | area  |  word   | value, by its form  |
 *      +------+-------+-----------------+---------------------+
 *        write this value there, after so many further loads (0: now)
 *
 * Each part of the segment lies in a heap block of its own, so that AddressSanitizer sees a step
 * over any of its edges and not only over those of the mapping. */
#ifndef HOSTILE_H
#define HOSTILE_H

#include "base/rt_atomic.h"
#include "shm/shm_segment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOSTILE_AREAS 48
#define HOSTILE_PLANS 16
#define HOSTILE_LOADS_PER_CALL 2000000u /* far above what any call of these files needs */

/* --- the input ----------------------------------------------------------------------------- */

typedef struct fuzz_input {
    const uint8_t *at;
    size_t left;
} fuzz_input_t;

/* Little-endian; zeroes behind the end. */
static inline uint64_t fuzz_take(fuzz_input_t *in, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes && in->left > 0; i++, in->at++, in->left--)
        value |= (uint64_t)*in->at << (8 * i);
    return value;
}

static inline void fuzz_require(bool holds, const char *what)
{
    if (holds)
        return;
    (void)fprintf(stderr, "fuzz: does not hold: %s\n", what);
    abort();
}

/* --- the other side ------------------------------------------------------------------------ */

typedef struct hostile_area {
    uint8_t *at;
    size_t bytes;
} hostile_area_t;

typedef struct hostile_plan {
    uint8_t *at;
    uint64_t value;
    uint32_t delay; /* loads to go; meaningless when at is NULL */
    bool half;      /* 4 bytes instead of 8 */
} hostile_plan_t;

typedef struct hostile {
    hostile_area_t areas[HOSTILE_AREAS];
    unsigned area_count;
    hostile_plan_t plans[HOSTILE_PLANS];
    uint32_t loads; /* in the current call */
} hostile_t;

static hostile_t hostile;

static inline void hostile_write(hostile_plan_t *plan)
{
    if (plan->half)
        atomic_store((rt_a32_t *)(void *)plan->at, (uint32_t)plan->value);
    else
        atomic_store((rt_a64_t *)(void *)plan->at, plan->value);
    plan->at = NULL;
}

static inline void hostile_turn(void)
{
    for (unsigned i = 0; i < HOSTILE_PLANS; i++) {
        hostile_plan_t *plan = &hostile.plans[i];
        if (plan->at != NULL && plan->delay-- == 0)
            hostile_write(plan);
    }
    fuzz_require(++hostile.loads < HOSTILE_LOADS_PER_CALL, "a call ends");
}

/* Before each call of the code under test. */
static inline void hostile_new_call(void)
{
    hostile.loads = 0;
}

static inline bool hostile_is_quiet(void)
{
    for (unsigned i = 0; i < HOSTILE_PLANS; i++)
        if (hostile.plans[i].at != NULL)
            return false;
    return true;
}

static inline void hostile_stop(void)
{
    memset(hostile.plans, 0, sizeof hostile.plans);
}

enum { HOSTILE_RAW, HOSTILE_HALF, HOSTILE_CURSOR, HOSTILE_WORD, HOSTILE_SMALL, HOSTILE_FORMS };

/* A sequence at most 128 before or behind this one. */
static inline uint32_t hostile_near(fuzz_input_t *in, uint32_t seq)
{
    return seq + (uint32_t)fuzz_take(in, 1) - 128u;
}

/* A value of the given form. seq: the sequence that would be right at this moment; units: of the
 * ring. Most raw values are refused at the first look; cursors and words that are nearly right get
 * further. */
static inline uint64_t hostile_value(fuzz_input_t *in, unsigned form, uint32_t seq, uint32_t units)
{
    if (form == HOSTILE_CURSOR) {
        uint32_t near = hostile_near(in, seq);
        return shm_cursor(near, (uint32_t)fuzz_take(in, 2) % (units + 8));
    }
    if (form == HOSTILE_WORD) {
        uint32_t near = hostile_near(in, seq);
        uint32_t length = (uint32_t)fuzz_take(in, 1);
        unsigned flags = (unsigned)fuzz_take(in, 1);
        return shm_word(near, length, flags, (unsigned)fuzz_take(in, 1));
    }
    return fuzz_take(in, form == HOSTILE_RAW ? 8 : form == HOSTILE_HALF ? 4 : 1);
}

static inline void hostile_plan(fuzz_input_t *in, uint32_t seq, uint32_t units)
{
    unsigned form = (unsigned)fuzz_take(in, 1) % HOSTILE_FORMS;
    uint32_t delay = (uint32_t)fuzz_take(in, 1) % 32;
    hostile_area_t *area = &hostile.areas[fuzz_take(in, 1) % hostile.area_count];
    bool half = form == HOSTILE_HALF;
    size_t word = fuzz_take(in, 2) % (area->bytes / (half ? 4 : 8));
    hostile_plan_t plan = {.at = area->at + word * (half ? 4 : 8),
                           .value = hostile_value(in, form, seq, units),
                           .delay = delay,
                           .half = half};
    if (delay == 0) {
        hostile_write(&plan);
        return;
    }
    for (unsigned i = 0; i < HOSTILE_PLANS; i++) {
        if (hostile.plans[i].at == NULL) {
            hostile.plans[i] = plan;
            return;
        }
    }
}

/* --- a segment in pieces ------------------------------------------------------------------- */

static inline void *hostile_part(size_t bytes)
{
    void *part = NULL;
    if (posix_memalign(&part, RT_LINE_BYTES, bytes) != 0)
        abort();
    memset(part, 0, bytes);
    return part;
}

/* As shm_segment_format and shm_segment_map leave it. */
static inline void hostile_segment_make(shm_segment_t *s, const shm_config_t *config)
{
    *s = (shm_segment_t){.writable = 1, .config = *config};
    s->status = hostile_part(sizeof *s->status);
    s->tx = hostile_part(sizeof *s->tx);
    s->rx = hostile_part(sizeof *s->rx);
    s->report = hostile_part(sizeof *s->report);
    s->producers = hostile_part(config->producers * sizeof *s->producers);
    s->readers = hostile_part(config->readers * sizeof *s->readers);
    s->stats = hostile_part(sizeof *s->stats);
    s->reports = hostile_part(config->report_slots * sizeof *s->reports);
    s->late = hostile_part(sizeof *s->late);
    s->late_packets = hostile_part(config->late_slots * sizeof *s->late_packets);
    s->tx_data = hostile_part(config->tx_bytes);
    s->rx_data = hostile_part(config->rx_bytes);
    for (uint32_t i = 0; i < config->producers; i++)
        atomic_store(&s->producers[i].intent, SHM_INTENT_NONE);
}

static inline void hostile_segment_free(shm_segment_t *s)
{
    void *parts[] = {s->status,  s->tx,      s->rx,   s->report,       s->producers, s->readers,
                     s->stats,   s->reports, s->late, s->late_packets, s->tx_data,   s->rx_data};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        free(parts[i]);
}

static inline void hostile_reset(void)
{
    memset(&hostile, 0, sizeof hostile);
}

static inline void hostile_may_write(void *at, size_t bytes)
{
    hostile.areas[hostile.area_count++] = (hostile_area_t){.at = at, .bytes = bytes};
}

/* --- hooks --------------------------------------------------------------------------------- */

#undef rt_load_relaxed
#undef rt_load_acquire
#undef rt_exchange
#undef rt_cas
#define rt_load_relaxed(p) (hostile_turn(), atomic_load_explicit((p), memory_order_relaxed))
#define rt_load_acquire(p) (hostile_turn(), atomic_load_explicit((p), memory_order_acquire))
#define rt_exchange(p, v) (hostile_turn(), atomic_exchange_explicit((p), (v), memory_order_acq_rel))
#define rt_cas(p, expected, desired)                          \
    (hostile_turn(), atomic_compare_exchange_strong_explicit( \
                         (p), (expected), (desired), memory_order_acq_rel, memory_order_acquire))

#endif
