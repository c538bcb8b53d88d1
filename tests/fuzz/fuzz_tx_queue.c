/* The worker's side of the tx ring while its clients write anything anywhere. What must hold: no
 * access outside of the part it belongs to, every call ends, and once the clients stop writing the
 * ring is read to its end in finitely many steps. */
#include "hostile.h"

#include "shm/tx_claims.c"
#include "shm/tx_item.c"
#include "shm/tx_move.c"
#include "shm/tx_queue.c"
#include "shm/tx_release.c"
#include "shm/tx_takeover.c"

#include "shm/tx_ring.h"

#include <unistd.h>

#define RING_BYTES 1024u /* smaller than a real one, so that its end is near */
#define PRODUCERS 4u
#define MAX_PAYLOAD 100u
#define KEPT 32u

typedef struct fuzz {
    fuzz_input_t in;
    shm_segment_t segment;
    tx_queue_t queue;
    tx_producer_t clients[PRODUCERS];
    uint64_t waiting[KEPT]; /* refs handed out by tx_queue_next */
    unsigned waiting_count;
    uint64_t taken[KEPT]; /* refs handed out by tx_queue_take */
    unsigned taken_count;
    int64_t now_mono_ns;
} fuzz_t;

static volatile uint8_t sink;

/* AddressSanitizer objects when any byte of it is not of the ring. */
static void read_payload(const tx_item_t *item)
{
    for (uint32_t i = 0; i < item->payload_bytes; i++)
        sink ^= item->payload[i];
    fuzz_require(item->payload_bytes <= MAX_PAYLOAD, "a payload keeps to the channel's limit");
    fuzz_require(item->dest.family == 0 || item->dest.family == 4 || item->dest.family == 6,
                 "a destination has a family");
    fuzz_require(item->source.family == 0 || item->source.family == 4 || item->source.family == 6,
                 "a source has a family");
}

static void keep(uint64_t *refs, unsigned *count, uint64_t ref)
{
    if (*count < KEPT)
        refs[(*count)++] = ref;
}

static void forget(uint64_t *refs, unsigned *count, unsigned i)
{
    refs[i] = refs[--*count];
}

static bool is_alive(void *of, uint32_t slot)
{
    const fuzz_t *f = of;
    return atomic_load(&f->segment.producers[slot].owner) == (uint32_t)getpid();
}

static int start_queue(fuzz_t *f, bool again)
{
    int rc = tx_queue_init(&f->queue, &f->segment, again);
    tx_queue_ask_slots(&f->queue, is_alive, f);
    return rc;
}

static void start(fuzz_t *f)
{
    shm_config_t config;
    shm_config_init(&config);
    config.tx_bytes = config.rx_bytes = RING_BYTES;
    config.producers = PRODUCERS;
    config.readers = 1;
    config.report_slots = 1;
    config.max_payload_bytes = MAX_PAYLOAD;
    hostile_reset();
    hostile_segment_make(&f->segment, &config);
    hostile_may_write(f->segment.tx, sizeof *f->segment.tx);
    hostile_may_write(f->segment.producers, PRODUCERS * sizeof *f->segment.producers);
    hostile_may_write(f->segment.tx_data, RING_BYTES);
    for (uint32_t i = 1; i < PRODUCERS; i++) {
        (void)tx_producer_init(&f->clients[i], &f->segment, i);
        atomic_store(&f->segment.producers[i].owner, (uint32_t)getpid());
    }
    f->now_mono_ns = RT_NS_PER_S;
    (void)start_queue(f, false);
}

/* --- what clients do as they should --------------------------------------------------------- */

static int claim(fuzz_t *f, tx_producer_t **client, tx_claim_t *claimed)
{
    static const shm_addr_t dest = {.family = 4, .port = 9, .ip = {127, 0, 0, 1}};
    unsigned how = (unsigned)fuzz_take(&f->in, 1);
    uint32_t bytes = (uint32_t)fuzz_take(&f->in, 1) % (MAX_PAYLOAD + 1);
    *client = &f->clients[1 + how % (PRODUCERS - 1)];
    const tx_route_t route = {.dest = how & 0x80 ? &dest : NULL,
                              .source = how & 0x20 ? &dest : NULL};
    return tx_producer_claim(*client, bytes, how & 0x40 ? f->now_mono_ns : 0, f->now_mono_ns,
                             &route, claimed);
}

static void push(fuzz_t *f)
{
    tx_producer_t *client;
    tx_claim_t claimed;
    if (claim(f, &client, &claimed) == 0)
        tx_producer_commit(client, &claimed);
}

static void give_up_a_claim(fuzz_t *f)
{
    tx_producer_t *client;
    tx_claim_t claimed;
    if (claim(f, &client, &claimed) == 0)
        tx_producer_abort(client, &claimed);
}

/* The process of this producer is no more; some of them die in the middle of a claim. */
static void die(fuzz_t *f)
{
    tx_producer_t *client;
    tx_claim_t claimed;
    (void)claim(f, &client, &claimed);
    atomic_store(&client->slot->owner, UINT32_MAX - 1);
}

static void cancel(fuzz_t *f)
{
    if (f->waiting_count == 0)
        return;
    uint64_t ref = f->waiting[fuzz_take(&f->in, 1) % f->waiting_count];
    rt_a64_t *word = tx_word_at(f->segment.tx_data, (uint32_t)(ref % f->queue.units));
    uint64_t was = atomic_load(word);
    if (shm_word_state(was) == SHM_RECORD_COMMITTED)
        atomic_store(word, was - SHM_RECORD_COMMITTED + SHM_RECORD_CANCELLED);
}

/* --- what the worker does ------------------------------------------------------------------ */

static int next(fuzz_t *f)
{
    tx_item_t item;
    hostile_new_call();
    unsigned budget = 64;
    int rc = tx_queue_next(&f->queue, f->now_mono_ns, &budget, &item);
    if (rc == 1) {
        read_payload(&item);
        keep(f->waiting, &f->waiting_count, item.ref);
    }
    return rc;
}

static void take(fuzz_t *f, bool only_look)
{
    if (f->waiting_count == 0)
        return;
    unsigned i = (unsigned)fuzz_take(&f->in, 1) % f->waiting_count;
    uint64_t ref = f->waiting[i];
    tx_item_t item;
    int rc =
        only_look ? tx_queue_peek(&f->queue, ref, &item) : tx_queue_take(&f->queue, ref, &item);
    if (rc == 0)
        read_payload(&item);
    if (only_look)
        return;
    forget(f->waiting, &f->waiting_count, i);
    if (rc == 0)
        keep(f->taken, &f->taken_count, ref);
}

static void finish(fuzz_t *f, bool give_back)
{
    if (f->taken_count == 0)
        return;
    unsigned i = (unsigned)fuzz_take(&f->in, 1) % f->taken_count;
    uint64_t ref = f->taken[i];
    forget(f->taken, &f->taken_count, i);
    if (!give_back) {
        tx_queue_finish(&f->queue, ref);
        return;
    }
    tx_queue_untake(&f->queue, ref);
    keep(f->waiting, &f->waiting_count, ref);
}

static void reap(fuzz_t *f)
{
    tx_item_t item;
    (void)tx_queue_reap(&f->queue, &(unsigned){16}, &item);
}

static void release(fuzz_t *f)
{
    unsigned moved;
    unsigned how = (unsigned)fuzz_take(&f->in, 1);
    (void)tx_queue_release(&f->queue, 0, how & 0x80 ? RING_BYTES : (how & 0xf) * 64, how >> 4 & 7,
                           &moved);
}

/* The worker died at this point and another goes on. One that finds the ring beyond repair fails
 * the channel; here it starts again with what the clients left. */
static void restart(fuzz_t *f, bool again)
{
    f->waiting_count = f->taken_count = 0;
    if (start_queue(f, again) < 0)
        (void)start_queue(f, false);
}

static void bell(fuzz_t *f)
{
    tx_queue_arm_bell(&f->queue);
    (void)tx_queue_pending(&f->queue);
    tx_queue_disarm_bell(&f->queue);
}

static void play(fuzz_t *f)
{
    enum {
        PUSH,
        GIVE_UP,
        DIE,
        CANCEL,
        NEXT,
        TAKE,
        PEEK,
        FINISH,
        UNTAKE,
        REAP,
        RELEASE,
        FREE_PRODUCER,
        BELL,
        TAKE_OVER,
        TIME,
        HOSTILE,
        OPS
    };
    hostile_new_call();
    switch (fuzz_take(&f->in, 1) % OPS) {
    case PUSH:
        push(f);
        break;
    case GIVE_UP:
        give_up_a_claim(f);
        break;
    case DIE:
        die(f);
        break;
    case CANCEL:
        cancel(f);
        break;
    case NEXT:
        (void)next(f);
        break;
    case TAKE:
        take(f, false);
        break;
    case PEEK:
        take(f, true);
        break;
    case FINISH:
        finish(f, false);
        break;
    case UNTAKE:
        finish(f, true);
        break;
    case REAP:
        reap(f);
        break;
    case RELEASE:
        release(f);
        break;
    case FREE_PRODUCER:
        (void)tx_queue_free_producer(&f->queue, (uint32_t)fuzz_take(&f->in, 1) % (PRODUCERS + 1));
        break;
    case BELL:
        bell(f);
        break;
    case TAKE_OVER:
        restart(f, true);
        break;
    case TIME:
        f->now_mono_ns += (int64_t)fuzz_take(&f->in, 1) * RT_NS_PER_MS;
        break;
    default:
        hostile_plan(&f->in, f->queue.read_seq, f->queue.units);
    }
    fuzz_require(f->queue.head_ref <= f->queue.read_ref, "the head does not pass the read cursor");
}

/* Every outcome but "nothing there" takes at least one unit of the ring. */
static void read_to_the_end(fuzz_t *f)
{
    hostile_stop();
    unsigned steps = 0;
    while (next(f) != 0)
        fuzz_require(++steps <= f->queue.units, "a ring is read to its end");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static fuzz_t f;
    f = (fuzz_t){.in = {.at = data, .left = bytes}};
    start(&f);
    while (f.in.left > 0)
        play(&f);
    read_to_the_end(&f);
    hostile_segment_free(&f.segment);
    return 0;
}
