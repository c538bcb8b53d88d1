/* Producers die at every single step of a push, two of them in any combination, and a third
 * goes on behind them. What the dead had committed is sent, what they had claimed is skipped
 * and counted, what they had only announced leaves no trace; the third one's packets all
 * arrive, whole and in order. */
#include "shm_test.h"

#include "crash.h"
#include "shm/tx_parts.h"
#include "shm/tx_ring.c"

#include <limits.h>
#include <signal.h>
#include <sys/wait.h>

enum {
    RING_BYTES = 4096,
    UNITS = RING_BYTES / SHM_UNIT_BYTES,
    MAX_PAYLOAD = 200,
    CALLS = 20, /* more than it takes to come through everything */
};

typedef enum fate { NO_TRACE, SENT, SKIPPED, ABANDONED } fate_t;
typedef enum how { PUSH, TO_SOMEBODY, ABORT } how_t;

static shm_segment_t seg;
static tx_queue_t queue;
static tx_producer_t producers[4];
static uint32_t dead_pid;
static char label[160];

static bool expect(bool holds, const char *what)
{
    if (!holds)
        rt_test_fail(__FILE__, __LINE__, "%s: %s", label, what);
    return holds;
}

static void push_whole(tx_producer_t *p, how_t how, uint32_t n)
{
    const shm_addr_t dest = {.family = 4, .port = 9, .ip = {127, 0, 0, 1}};
    const tx_route_t route = {.dest = &dest};
    uint8_t payload[MAX_PAYLOAD];
    uint32_t bytes = shm_test_length(p->index, n, MAX_PAYLOAD);
    uint64_t sequence;
    shm_test_fill(payload, bytes, p->index, n);
    if (how == ABORT) {
        tx_claim_t claim;
        expect(tx_producer_claim(p, bytes, 0, 1, NULL, &claim) == 0, "no room");
        tx_producer_abort(p, &claim);
        return;
    }
    expect(tx_producer_push(p, payload, bytes, 0, 1, how == TO_SOMEBODY ? &route : NULL,
                            &sequence) == 0,
           "no room");
}

/* Lets a producer die at a step of its push. Returns what is to become of its packet. */
static fate_t push_and_die(uint32_t slot, how_t how, unsigned long step)
{
    static tx_producer_t *p;
    static shm_cursor_t before;
    p = &producers[slot];
    before = rt_load_relaxed(&seg.tx->tail);
    if (setjmp(crash_exit) == 0) {
        crash_at(step);
        push_whole(p, how, 0);
    }
    crash_at(0);
    rt_store_relaxed(&p->slot->owner, dead_pid);
    if (rt_load_relaxed(&seg.tx->tail) == before)
        return NO_TRACE;
    uint32_t place = shm_cursor_place(before);
    if (shm_word_state(rt_load_relaxed(tx_word_at(seg.tx_data, place))) == SHM_RECORD_PAD)
        place = 0;
    switch (shm_word_state(rt_load_relaxed(tx_word_at(seg.tx_data, place)))) {
    case SHM_RECORD_COMMITTED:
        return SENT;
    case SHM_RECORD_ABORTED:
        return ABANDONED;
    default:
        return SKIPPED;
    }
}

static unsigned skipped; /* claims of the dead, since the story began */

/* The next packet of the ring, or claim of a dead one; waits until the worker's
 * time-outs for them are over. */
static int next_outcome(tx_item_t *item)
{
    static int64_t now_ns = 1;
    for (int i = 0; i < CALLS; i++, now_ns += 10 * RT_NS_PER_MS) {
        int rc = shm_test_next(&queue, now_ns, item);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* A dead one's claim is found to be one before or after what follows it. */
static int next(tx_item_t *item)
{
    int rc;
    while ((rc = next_outcome(item)) == -EOWNERDEAD)
        skipped++;
    return rc;
}

static void check_packet(uint32_t slot, uint32_t n)
{
    tx_item_t item;
    uint32_t from = 0, number = 0;
    if (!expect(next(&item) == 1, "a packet is missing"))
        return;
    expect(shm_test_check(item.payload, item.payload_bytes, MAX_PAYLOAD, &from, &number) && from == slot &&
               number == n,
           "a packet is torn, or another's");
    expect(tx_queue_take(&queue, item.ref, &item) == 0, "it cannot be taken");
    tx_queue_finish(&queue, item.ref);
}

static void open_at(uint32_t place)
{
    shm_test_move_tx(&seg, 0, place);
    rt_store_relaxed(&seg.tx->freeing_to, 0);
    for (uint32_t i = 1; i <= 3; i++) {
        (void)tx_producer_init(&producers[i], &seg, i);
        rt_store_relaxed(&producers[i].slot->intent, SHM_INTENT_NONE);
        rt_store_relaxed(&producers[i].slot->owner, (uint32_t)getpid());
    }
    expect(shm_test_queue_init(&queue, &seg, 1) == 0, "the queue does not start");
}

static void check_all_clean(void)
{
    tx_item_t item;
    unsigned moved;
    expect(next(&item) == 0, "a packet too many");
    (void)tx_queue_release(&queue, 0, UINT32_MAX, 0, &moved);
    expect(tx_ring_waiting(&seg) == 0, "packets count as waiting");
    expect(rt_load_relaxed(&seg.stats->counters[SHM_COUNT_tx_corrupt]) == 0, "a sound packet counts as corrupt");
    expect(rt_load_relaxed(&seg.tx->head_place) == shm_cursor_place(rt_load_relaxed(&seg.tx->tail)),
           "space is not freed");
    for (uint32_t i = 1; i <= 2; i++) {
        expect(tx_queue_free_producer(&queue, i) == 1, "a dead one's slot is not free");
        expect(rt_load_relaxed(&seg.producers[i].owner) == 0 &&
                   rt_load_relaxed(&seg.producers[i].intent) == SHM_INTENT_NONE,
               "a free slot is not clean");
    }
    for (uint32_t at = 0; at < UNITS; at++)
        if (!expect(rt_load_relaxed(tx_word_at(seg.tx_data, at)) == 0, "a freed unit is not zero"))
            return;
}

typedef struct story {
    uint32_t place;
    how_t first, second;
    unsigned long first_step, second_step; /* second: 0, there is none */
    bool told;                             /* the deaths are known before the queue looks */
    bool third_first;                      /* the third has a claim open from before them */
} story_t;

static void run(const story_t *s)
{
    fate_t fates[3] = {NO_TRACE, NO_TRACE, NO_TRACE};
    open_at(s->place);
    skipped = 0;
    if (s->third_first)
        push_whole(&producers[3], PUSH, 99);
    fates[1] = push_and_die(1, s->first, s->first_step);
    if (s->second_step != 0)
        fates[2] = push_and_die(2, s->second, s->second_step);
    push_whole(&producers[3], PUSH, 0);
    if (s->told) {
        (void)tx_queue_free_producer(&queue, 1);
        if (s->second_step != 0)
            (void)tx_queue_free_producer(&queue, 2);
    }
    push_whole(&producers[3], TO_SOMEBODY, 1);
    if (s->third_first)
        check_packet(3, 99);
    for (uint32_t slot = 1; slot <= 2; slot++)
        if (fates[slot] == SENT)
            check_packet(slot, 0);
    check_packet(3, 0);
    check_packet(3, 1);
    check_all_clean();
    expect(skipped == (unsigned)((fates[1] == SKIPPED) + (fates[2] == SKIPPED)),
           "the claim of a dead one is not skipped");
}

static unsigned long steps_of(how_t how, uint32_t place)
{
    open_at(place);
    crash_at(ULONG_MAX);
    push_whole(&producers[1], how, 0);
    unsigned long steps = crash_steps;
    crash_at(0);
    tx_item_t item;
    unsigned moved;
    if (next(&item) == 1) {
        (void)tx_queue_take(&queue, item.ref, &item);
        tx_queue_finish(&queue, item.ref);
    }
    (void)tx_queue_release(&queue, 0, UINT32_MAX, 0, &moved);
    return steps;
}

/* Places from which the claims need no padding, and some from which
 * the first or the second does. */
static const uint32_t places[] = {0, 200, UNITS - 3, UNITS - 10, UNITS - 30, UNITS - 45};
enum { PLACES = sizeof places / sizeof places[0] };

static void open_segment(int *fd)
{
    shm_config_t c = shm_test_config(RING_BYTES, MAX_PAYLOAD);
    *fd = shm_test_open(&seg, &c);
}

static void test_one_dies_at_every_step(void)
{
    int fd;
    open_segment(&fd);
    for (unsigned i = 0; i < PLACES * 3 * 4; i++) {
        story_t s = {.place = places[i / 12], .first = (how_t)(i / 4 % 3), .told = i & 1, .third_first = i & 2};
        unsigned long all = steps_of(s.first, s.place);
        CHECK(all >= 5);
        for (s.first_step = 1; s.first_step <= all; s.first_step++) {
            (void)snprintf(label, sizeof label, "place %u, how %d, step %lu, told %d", s.place, s.first,
                           s.first_step, s.told);
            run(&s);
        }
    }
    shm_test_close(&seg, fd);
}

static void test_two_die_at_every_pair_of_steps(void)
{
    int fd;
    open_segment(&fd);
    for (unsigned i = 0; i < PLACES * 9 * 2 && rt_test_result() == 0; i++) {
        story_t s = {.place = places[i / 18],
                     .first = (how_t)(i / 2 % 3),
                     .second = (how_t)(i / 6 % 3),
                     .told = i & 1};
        unsigned long all = steps_of(s.first, s.place), others = steps_of(s.second, s.place);
        for (s.first_step = 1; s.first_step <= all; s.first_step++) {
            for (s.second_step = 1; s.second_step <= others; s.second_step++) {
                (void)snprintf(label, sizeof label, "place %u, how %d and %d, steps %lu and %lu, told %d", s.place,
                               s.first, s.second, s.first_step, s.second_step, s.told);
                run(&s);
            }
        }
    }
    shm_test_close(&seg, fd);
}

/* --- replacing ------------------------------------------------------------------------------- */

/* What the worker has done with the old packet before the other one takes its place. */
typedef enum before { UNREAD, READ, GONE } before_t;

static void replace(tx_producer_t *p, uint64_t old)
{
    uint8_t payload[MAX_PAYLOAD];
    uint32_t bytes = shm_test_length(p->index, 7, MAX_PAYLOAD);
    tx_claim_t claim;
    shm_test_fill(payload, bytes, p->index, 7);
    if (!expect(tx_producer_claim(p, bytes, 0, 1, NULL, &claim) == 0, "no room"))
        return;
    memcpy(claim.payload, payload, bytes);
    (void)tx_producer_replace(p, &seg, &claim, old, 1);
}

/* Takes all in that comes, with the deadline it is to have. */
static void note_packet(const tx_item_t *item, unsigned sent[3])
{
    uint32_t from = 0, number = 0;
    expect(shm_test_check(item->payload, item->payload_bytes, MAX_PAYLOAD, &from, &number), "torn");
    expect(number != 7 || item->due_ns == 77, "it did not get the old one's deadline");
    sent[number == 0 ? 0 : number == 7 ? 1 : 2]++;
}

/* Returns the steps of a whole replace; step 0: it does not die. */
static unsigned long run_replace(uint32_t place, before_t before, unsigned long step, bool takeover)
{
    static tx_producer_t *p;
    static uint64_t old;
    uint64_t refs[8];
    unsigned sent[3] = {0}, count = 0, moved, budget = 100;
    tx_item_t item;
    uint8_t payload[MAX_PAYLOAD];
    int rc;
    open_at(place);
    p = &producers[1];
    uint32_t bytes = shm_test_length(3, 0, MAX_PAYLOAD);
    shm_test_fill(payload, bytes, 3, 0);
    expect(tx_producer_push(&producers[3], payload, bytes, 77, 1, NULL, &old) == 0, "no room");
    if (before != UNREAD && next(&item) == 1)
        refs[count++] = item.ref;
    if (before == GONE) {
        expect(tx_queue_take(&queue, refs[--count], &item) == 0, "it cannot be taken");
        sent[0]++;
        tx_queue_finish(&queue, item.ref);
    }
    if (setjmp(crash_exit) == 0) {
        crash_at(step ? step : ULONG_MAX);
        replace(p, old);
    }
    unsigned long steps = crash_steps;
    crash_at(0);
    if (step)
        rt_store_relaxed(&p->slot->owner, dead_pid);
    push_whole(&producers[3], PUSH, 1);
    if (takeover) {
        count = 0;
        expect(shm_test_queue_init(&queue, &seg, 1) == 0, "a successor refuses the ring");
    }
    /* The old one's space would be free at once, were it not needed to decide. */
    (void)tx_queue_release(&queue, 0, UINT32_MAX, 0, &moved);
    while ((rc = next(&item)) != 0) {
        if (rc == 1)
            refs[count++] = item.ref;
        while (tx_queue_reap(&queue, &budget, &item)) {
        }
        (void)tx_queue_release(&queue, 0, UINT32_MAX, 0, &moved);
    }
    for (unsigned i = 0; i < count; i++) {
        rc = tx_queue_take(&queue, refs[i], &item);
        if (rc != 0)
            continue;
        note_packet(&item, sent);
        tx_queue_finish(&queue, refs[i]);
    }
    while (tx_queue_reap(&queue, &budget, &item)) {
    }
    expect(sent[0] + sent[1] == 1, "not one of the two packets went out");
    expect(before != GONE || sent[1] == 0, "it took the place of one that had gone");
    expect(sent[2] == 1, "the packet behind them did not go out");
    expect(tx_queue_free_producer(&queue, 1) == 1, "the slot is not free");
    (void)tx_queue_release(&queue, 0, UINT32_MAX, 0, &moved);
    check_all_clean();
    return steps;
}

static void test_of_two_packets_one_goes_out(void)
{
    int fd;
    open_segment(&fd);
    for (unsigned i = 0; i < PLACES * 6 && rt_test_result() == 0; i++) {
        uint32_t place = places[i / 6];
        before_t before = (before_t)(i / 2 % 3);
        unsigned long all = run_replace(place, before, 0, i & 1);
        for (unsigned long step = 1; step <= all; step++) {
            (void)snprintf(label, sizeof label, "place %u, before %d, step %lu of %lu, takeover %d", place, before, step,
                           all, i & 1);
            (void)run_replace(place, before, step, i & 1);
        }
    }
    shm_test_close(&seg, fd);
}

/* --- halted cancellers ---------------------------------------------------------------------- */

enum { EVEN_UNITS = 8 }; /* divides UNITS: each lap has its records at the same places */

static uint64_t push_even(void)
{
    uint8_t payload[EVEN_UNITS * SHM_UNIT_BYTES - sizeof(shm_tx_record_t)] = {0};
    uint64_t sequence = UINT64_MAX;
    expect(tx_producer_push(&producers[3], payload, sizeof payload, 77, 1, NULL, &sequence) == 0,
           "no room");
    return sequence;
}

static void send_next(void)
{
    tx_item_t item;
    unsigned moved;
    expect(next(&item) == 1 && tx_queue_take(&queue, item.ref, &item) == 0, "a packet is missing");
    tx_queue_finish(&queue, item.ref);
    (void)tx_queue_release(&queue, 0, UINT32_MAX, 0, &moved);
}

/* The packet leaves, and so do those of a lap behind it. The last one is at its place and waits. */
static void pass_a_lap(void)
{
    for (unsigned i = 0; i < UNITS / EVEN_UNITS; i++) {
        (void)push_even();
        send_next();
    }
}

/* The first packet of a ring is cancelled by one who halts before the swap. */
static int cancel_halted(void (*meanwhile)(void))
{
    open_at(0);
    uint64_t sequence = push_even();
    crash_meddle = meanwhile;
    crash_at(1);
    int rc = tx_ring_cancel(&seg, sequence, NULL);
    crash_at(0);
    crash_meddle = NULL;
    return rc;
}

static void test_a_cancel_that_halts_takes_no_other_packet(void)
{
    int fd;
    tx_item_t item;
    open_segment(&fd);
    (void)snprintf(label, sizeof label, "a cancel that halts");
    CHECK_EQ(cancel_halted(pass_a_lap), 0);
    CHECK_EQ(tx_ring_next_sequence(&seg), UNITS / EVEN_UNITS + 1);
    CHECK_EQ(next(&item), 1);
    CHECK_EQ(item.sequence, UNITS / EVEN_UNITS);
    shm_test_close(&seg, fd);
}

/* Moves the packet until the next place is its first one. There the worker dies over the copy. */
static void move_for_a_lap(void)
{
    tx_item_t item;
    unsigned moved;
    rt_a64_t *copy = tx_word_at(seg.tx_data, 0);
    for (uint32_t to = EVEN_UNITS; to < UNITS; to += EVEN_UNITS) {
        expect(next(&item) == 1, "it is not taken in");
        rt_store_relaxed(&seg.tx->tail, shm_cursor(1, (to + EVEN_UNITS) % UNITS));
        expect(tx_finish_move(&queue, to, EVEN_UNITS, 1), "it is not moved");
        (void)tx_queue_release(&queue, 0, UINT32_MAX, 0, &moved);
    }
    rt_store_relaxed(&seg.producers[SHM_WORKER_PRODUCER].intent_units, EVEN_UNITS);
    rt_store_relaxed(&seg.producers[SHM_WORKER_PRODUCER].intent, shm_cursor(1, 0));
    rt_store_relaxed(&seg.tx->tail, shm_cursor(1, EVEN_UNITS));
    rt_store_relaxed(copy, shm_word(0, EVEN_UNITS, SHM_TX_HAS_DUE | SHM_TX_RELOCATED,
                                    SHM_RECORD_CLAIMED));
}

static void test_a_cancel_that_halts_takes_no_later_copy(void)
{
    int fd;
    tx_item_t item;
    open_segment(&fd);
    (void)snprintf(label, sizeof label, "a cancel that halts while its packet is moved");
    CHECK_EQ(cancel_halted(move_for_a_lap), 1);
    CHECK_EQ(shm_test_queue_init(&queue, &seg, 1), 0);
    CHECK_EQ(next(&item), -ECANCELED);
    CHECK_EQ(item.sequence, 0);
    check_all_clean();
    shm_test_close(&seg, fd);
}

/* --- real processes -------------------------------------------------------------------------- */

/* Claims from a process of its own, which then only waits to be killed. */
static pid_t claim_in_a_child(uint32_t slot, uint32_t bytes)
{
    int ready[2];
    char byte = 0;
    if (pipe(ready) != 0)
        return -1;
    pid_t pid = fork();
    if (pid == 0) {
        tx_claim_t claim;
        byte = tx_producer_claim(&producers[slot], bytes, 0, 1, NULL, &claim) == 0;
        memset(claim.payload, 0xff, bytes);
        (void)!write(ready[1], &byte, 1);
        while (true)
            pause();
    }
    CHECK(pid > 0 && read(ready[0], &byte, 1) == 1 && byte == 1);
    close(ready[0]);
    close(ready[1]);
    rt_store_relaxed(&seg.producers[slot].owner, (uint32_t)pid);
    return pid;
}

/* A stopped process lives, and others pass it. A killed one is dead. */
static void test_a_stopped_process_keeps_its_claim_and_a_killed_one_not(void)
{
    int fd;
    tx_item_t item;
    open_segment(&fd);
    (void)snprintf(label, sizeof label, "real processes");
    open_at(0);
    pid_t pid = claim_in_a_child(1, 77);
    REQUIRE(pid > 0);
    push_whole(&producers[2], PUSH, 0);
    CHECK_EQ(kill(pid, SIGSTOP), 0);
    skipped = 0;
    check_packet(2, 0);
    CHECK_EQ(next(&item), 0);
    CHECK_EQ(skipped, 0);
    tx_halted_t halted;
    CHECK(tx_queue_halted(&queue, &halted));
    CHECK_EQ(halted.slot, 1);
    CHECK_EQ(halted.pid, pid);
    CHECK_EQ(halted.sequence, 0);
    CHECK(halted.halted_ns >= TX_OWNER_CHECK_NS);
    CHECK(!tx_queue_halted(&queue, &halted));
    CHECK_EQ(kill(pid, SIGKILL), 0);
    CHECK_EQ(waitpid(pid, NULL, 0), pid);
    CHECK_EQ(next(&item), 0);
    CHECK_EQ(skipped, 1);

    /* Its slot serves the next one. */
    CHECK_EQ(tx_queue_free_producer(&queue, 1), 1);
    CHECK_EQ(rt_load_relaxed(&seg.producers[1].owner), 0);
    CHECK_EQ(tx_producer_init(&producers[1], &seg, 1), 0);
    rt_store_relaxed(&seg.producers[1].owner, (uint32_t)getpid());
    push_whole(&producers[1], PUSH, 5);
    check_packet(1, 5);
    shm_test_close(&seg, fd);
}

int main(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    if (pid < 0 || waitpid(pid, NULL, 0) != pid)
        return 1;
    dead_pid = (uint32_t)pid;
    RUN(test_one_dies_at_every_step);
    RUN(test_two_die_at_every_pair_of_steps);
    RUN(test_of_two_packets_one_goes_out);
    RUN(test_a_cancel_that_halts_takes_no_other_packet);
    RUN(test_a_cancel_that_halts_takes_no_later_copy);
    RUN(test_a_stopped_process_keeps_its_claim_and_a_killed_one_not);
    return rt_test_result();
}
