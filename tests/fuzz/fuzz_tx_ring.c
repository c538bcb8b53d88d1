/* A client's side of the tx ring while others write anything anywhere. The segment is no more
 * trustworthy to a client than to the worker: what must hold is that it stays inside of it and that
 * every call ends. */
#include "hostile.h"

#include "base/rt_clock.h"

#include <time.h>

static int64_t now_ns = RT_NS_PER_S;

/* A canceller naps while a walk is cut short. Here the others act instead, and time passes at once. */
static int nap_of_fuzz(const struct timespec *length, struct timespec *rest)
{
    (void)rest;
    now_ns += RT_NS_PER_MS + length->tv_nsec;
    hostile_turn();
    return 0;
}

static int64_t time_of_fuzz(void)
{
    return now_ns;
}

#define nanosleep nap_of_fuzz
#define rt_mono_ns time_of_fuzz
#include "shm/tx_ring.c"
#undef rt_mono_ns
#undef nanosleep

#include "shm/tx_queue.h"

#define RING_BYTES 1024u /* smaller than a real one, so that its end is near */
#define PRODUCERS 3u
#define MAX_PAYLOAD 100u

typedef struct fuzz {
    fuzz_input_t in;
    shm_segment_t segment;
    tx_producer_t clients[PRODUCERS];
    tx_queue_t worker;
    uint64_t sequence; /* of the last packet queued */
} fuzz_t;

static void start(fuzz_t *f)
{
    shm_config_t config;
    shm_config_init(&config);
    config.tx_bytes = config.rx_bytes = RING_BYTES;
    config.producers = PRODUCERS;
    config.readers = 1;
    config.report_slots = 1;
    config.max_payload_bytes = MAX_PAYLOAD;
    config.tx_capacity = (uint32_t)fuzz_take(&f->in, 1);
    hostile_reset();
    hostile_segment_make(&f->segment, &config);
    hostile_may_write(f->segment.tx, sizeof *f->segment.tx);
    hostile_may_write(f->segment.producers, PRODUCERS * sizeof *f->segment.producers);
    hostile_may_write(f->segment.tx_data, RING_BYTES);
    for (uint32_t i = 1; i < PRODUCERS; i++)
        fuzz_require(tx_producer_init(&f->clients[i], &f->segment, i) == 0, "a slot is ready");
    fuzz_require(tx_producer_init(&f->clients[0], &f->segment, 0) < 0 &&
                     tx_producer_init(&f->clients[0], &f->segment, PRODUCERS) < 0,
                 "the worker's slot and those that are not there are refused");
    (void)tx_queue_init(&f->worker, &f->segment, 0);
}

/* The whole payload is written before the commit: AddressSanitizer watches the ring's edges. */
static void claim(fuzz_t *f, bool commit)
{
    static const shm_addr_t dest = {.family = 6, .port = 9, .ip = {[15] = 1}};
    unsigned how = (unsigned)fuzz_take(&f->in, 1);
    uint32_t bytes = (uint32_t)fuzz_take(&f->in, 1);
    tx_producer_t *client = &f->clients[1 + how % (PRODUCERS - 1)];
    tx_claim_t claimed;
    const tx_route_t route = {.dest = how & 0x80 ? &dest : NULL,
                              .source = how & 0x20 ? &dest : NULL};
    int rc = tx_producer_claim(client, bytes, how & 0x40 ? 1 : 0, 1, &route, &claimed);
    fuzz_require(rc == 0 || rc == -ENOBUFS || rc == -EMSGSIZE || rc == -EPROTO, "a claim's answer");
    fuzz_require(bytes <= MAX_PAYLOAD || rc == -EMSGSIZE, "what is too long is refused");
    if (rc < 0)
        return;
    memset(claimed.payload, 0xa5, bytes);
    f->sequence = claimed.sequence;
    if (commit)
        tx_producer_commit(client, &claimed);
    else
        tx_producer_abort(client, &claimed);
}

static void cancel(fuzz_t *f)
{
    int64_t due_ns;
    (void)tx_ring_cancel(&f->segment, f->sequence - fuzz_take(&f->in, 1), &due_ns);
}

static void wait_room(fuzz_t *f)
{
    int rc = tx_producer_wait_room(&f->clients[1 + fuzz_take(&f->in, 1) % (PRODUCERS - 1)], 0);
    fuzz_require(rc == 0 || rc == -ETIMEDOUT || rc == -EINTR, "a wait's answer");
}

/* An honest worker, so that rings get full and empty as they do in real life. */
static void serve(fuzz_t *f)
{
    tx_item_t item;
    unsigned moved, budget = 64;
    if (tx_queue_next(&f->worker, 1, &budget, &item) == 1 &&
        tx_queue_take(&f->worker, item.ref, &item) == 0)
        tx_queue_finish(&f->worker, item.ref);
    (void)tx_queue_release(&f->worker, 0, RING_BYTES, 1, &moved);
}

static void play(fuzz_t *f)
{
    enum { PUSH, GIVE_UP, CANCEL, WAIT, RING, LOOK, SERVE, HOSTILE, OPS };
    hostile_new_call();
    switch (fuzz_take(&f->in, 1) % OPS) {
    case PUSH:
        claim(f, true);
        break;
    case GIVE_UP:
        claim(f, false);
        break;
    case CANCEL:
        cancel(f);
        break;
    case WAIT:
        wait_room(f);
        break;
    case RING:
        (void)tx_producer_must_ring(&f->clients[1]);
        break;
    case LOOK:
        (void)tx_ring_waiting(&f->segment);
        break;
    case SERVE:
        serve(f);
        break;
    default:
        hostile_plan(&f->in, (uint32_t)f->sequence, f->clients[1].units);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static fuzz_t f;
    f = (fuzz_t){.in = {.at = data, .left = bytes}};
    start(&f);
    while (f.in.left > 0)
        play(&f);
    hostile_segment_free(&f.segment);
    return 0;
}
