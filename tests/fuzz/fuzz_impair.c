/* The emulated link with any configuration that passes its check. What must hold: conservation
 * after every step, what is given out is due and comes in order, and all of it comes in the end.
 *
 *      input: the configuration, then steps of offer, emit and clear with the time between them */
#include "base/rt_err.h"
#include "proto/impair/impair.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_MEMORY_BYTES (16u << 20) /* so that many runs a second are possible */
#define MAX_OUT 8u
#define LATEST_NS (INT64_C(1) << 59) /* CLOCK_MONOTONIC after 18 years */

typedef struct fuzz {
    const uint8_t *at;
    size_t left;
    impair_t link;
    int64_t now_ns;
} fuzz_t;

static void require(bool holds, const char *what)
{
    if (holds)
        return;
    (void)fprintf(stderr, "fuzz: does not hold: %s\n", what);
    abort();
}

static void take(fuzz_t *f, void *to, size_t bytes)
{
    memset(to, 0, bytes);
    size_t n = bytes < f->left ? bytes : f->left;
    memcpy(to, f->at, n);
    f->at += n;
    f->left -= n;
}

static uint32_t take_number(fuzz_t *f, unsigned bytes)
{
    uint32_t value = 0;
    take(f, &value, bytes);
    return value;
}

static void check_conservation(const fuzz_t *f)
{
    const impair_counters_t *c = &f->link.counters;
    require(c->offered + c->duplicated ==
                c->passed + c->lost + c->burst_lost + c->queue_dropped + impair_queued(&f->link),
            "what was offered is somewhere");
    require(c->store_dropped <= c->queue_dropped, "a full store is a full queue");
    require((impair_queued(&f->link) == 0) == (impair_deadline_ns(&f->link) == INT64_MAX),
            "what waits has a deadline");
}

static void offer(fuzz_t *f)
{
    static const uint8_t payload[IMPAIR_MAX_DATAGRAM_BYTES + 1];
    static const uint8_t tag[IMPAIR_TAG_BYTES + 1];
    impair_in_t in = {
        .data = payload,
        .len = take_number(f, 2),
        .tag = tag,
        .tag_bytes = take_number(f, 1) % (sizeof tag + 1),
        .time_ns = 1,
    };
    int rc = impair_offer(&f->link, &in, f->now_ns);
    require(rc >= -90 && rc <= 2, "an offer's answer");
}

static size_t emit(fuzz_t *f, size_t max)
{
    impair_out_t out[MAX_OUT];
    size_t n = impair_emit(&f->link, out, max, f->now_ns);
    require(n <= max, "no more than asked for");
    for (size_t i = 0; i < n; i++) {
        require(out[i].due_ns <= f->now_ns, "what comes out is due");
        require(i == 0 || out[i].due_ns >= out[i - 1].due_ns, "in order of the due time");
        require(out[i].held_ns >= 0, "nothing comes out before it went in");
        for (uint32_t k = 0; k < out[i].len; k++)
            out[i].data[k] ^= 1;
    }
    return n;
}

/* The time between two steps: up to 2^60 ns, most of it short. */
static void pass_time(fuzz_t *f)
{
    uint32_t how = take_number(f, 1);
    int64_t ns = (int64_t)(how & 15) << (how >> 4) * 3;
    f->now_ns = ns < LATEST_NS - f->now_ns ? f->now_ns + ns : LATEST_NS;
}

static void play(fuzz_t *f)
{
    uint32_t op = take_number(f, 1);
    pass_time(f);
    if (op < 160)
        offer(f);
    else if (op < 250)
        (void)emit(f, op % (MAX_OUT + 1));
    else
        impair_clear(&f->link);
    check_conservation(f);
}

static void empty(fuzz_t *f)
{
    while (impair_queued(&f->link) > 0) {
        int64_t due_ns = impair_deadline_ns(&f->link);
        f->now_ns = due_ns > f->now_ns ? due_ns : f->now_ns;
        require(emit(f, MAX_OUT) > 0, "what is due comes out");
        check_conservation(f);
    }
}

static bool open_link(fuzz_t *f, void **memory)
{
    impair_config_t config;
    take(f, &config, sizeof config);
    rt_err_clear();
    if (impair_config_check(&config) < 0) {
        require(rt_err_text()[0] != '\0' && impair_memory_bytes(&config) == 0,
                "a refusal says why");
        return false;
    }
    size_t bytes = impair_memory_bytes(&config);
    require(bytes > 0, "a link takes memory");
    if (bytes > MAX_MEMORY_BYTES)
        return false;
    *memory = malloc(bytes);
    require(*memory != NULL && impair_init(&f->link, &config, *memory, bytes - 1) < 0 &&
                impair_init(&f->link, &config, *memory, bytes) == 0,
            "a link that checks opens, with no less memory than it asks for");
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static fuzz_t f;
    void *memory = NULL;
    f = (fuzz_t){.at = data, .left = bytes};
    if (open_link(&f, &memory)) {
        while (f.left > 0)
            play(&f);
        empty(&f);
    }
    free(memory);
    return 0;
}
