/* Death at every step of the ring protocol. A process is single-stepped through one operation of a
 * producer, a worker or a reader. After each instruction that changed the shared memory everything
 * is as if it had been killed there: the survivors go on from that image, and what they find must
 * balance. In some tests those who go on are single-stepped and killed as well: two deaths. Nothing
 * here is left to chance: all images are visited. */
#include "unit/shm/shm_test.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

enum { RING_BYTES = 4096, MAX_PAYLOAD = 200, SEQUENCES = 512, DEPTHS = 3, TIMEOUT_MS = 25 };

typedef struct log {
    uint32_t sent[SEQUENCES];  /* put on the wire */
    uint32_t ended[SEQUENCES]; /* got a verdict without being sent by whoever gave it */
    uint64_t received;         /* of the reader: packets it took */
} log_t;

static shm_segment_t seg;
static log_t *noted;
static tx_queue_t queue;   /* of the worker that lives, as the scene begins */
static uint32_t dead_mask; /* producer slots whose owners are dead */
static uint8_t *kept[DEPTHS];
static unsigned depth, images, deepest;
static int fd;
static bool gives_up; /* the first packet is given up by its producer: no verdict is due */
/* A worker may end a packet in the ring and die before it counts it. The next one finds out that
 * one is missing, and counts it. */
static int64_t workers_died;
static uint64_t untold;

/* --- images ----------------------------------------------------------------------------------- */

static void save(uint8_t *to)
{
    memcpy(to, seg.base, seg.bytes);
    memcpy(to + seg.bytes, noted, sizeof *noted);
}

static void restore(const uint8_t *from)
{
    memcpy(seg.base, from, seg.bytes);
    memcpy(noted, from + seg.bytes, sizeof *noted);
}

static bool changed(const uint8_t *since)
{
    return memcmp(since, seg.base, seg.bytes) != 0 ||
           memcmp(since + seg.bytes, noted, sizeof *noted) != 0;
}

static pid_t start_traced(void (*operation)(void))
{
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
            _exit(77);
        (void)raise(SIGSTOP);
        operation();
        _exit(rt_test_result());
    }
    return pid;
}

/* Calls survivors with the shared memory as it is before the first and after each instruction of
 * operation that changed it; puts back how it was. */
static void at_every_step(void (*operation)(void), void (*survivors)(void))
{
    int status = 0;
    unsigned at = depth++;
    deepest = depth > deepest ? depth : deepest;
    uint8_t *before = kept[at], *last = before + seg.bytes + sizeof *noted;
    save(before);
    save(last);
    pid_t pid = start_traced(operation);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    TEST_NEEDS("ptrace", !WIFEXITED(status) || WEXITSTATUS(status) != 77);
    images++;
    survivors();
    restore(last);
    while (WIFSTOPPED(status) && rt_test_result() == 0) {
        if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) < 0 || waitpid(pid, &status, 0) != pid)
            break;
        if (!WIFSTOPPED(status) || !changed(last))
            continue;
        save(last);
        images++;
        survivors();
        restore(last);
    }
    if (WIFSTOPPED(status)) {
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, &status, 0);
    } else {
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    restore(before);
    depth--;
}

/* --- the parties ------------------------------------------------------------------------------ */

static bool slot_alive(void *of, uint32_t slot)
{
    (void)of;
    return !(dead_mask & 1u << slot);
}

static void open_scene(uint64_t sequence, uint32_t place)
{
    shm_config_t c = shm_test_config(RING_BYTES, MAX_PAYLOAD);
    fd = shm_test_open(&seg, &c);
    shm_test_move_tx(&seg, sequence, place);
    noted = mmap(NULL, sizeof *noted, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (unsigned i = 0; i < DEPTHS; i++)
        kept[i] = calloc(2, seg.bytes + sizeof *noted);
    CHECK_EQ(tx_queue_init(&queue, &seg, 1), 0);
    tx_queue_ask_slots(&queue, slot_alive, NULL);
    tx_queue_mark_counted(&queue);
    dead_mask = images = deepest = 0;
}

static void close_scene(const char *what)
{
    (void)printf("%s: %u images\n", what, images);
    CHECK(images >= 3);
    for (unsigned i = 0; i < DEPTHS; i++)
        free(kept[i]);
    munmap(noted, sizeof *noted);
    shm_test_close(&seg, fd);
}

/* Returns 0 or -ENOBUFS. */
static int try_push(uint32_t slot, uint32_t n, int64_t due_ns)
{
    tx_producer_t p;
    uint8_t payload[MAX_PAYLOAD];
    uint64_t sequence;
    uint32_t bytes = shm_test_length(slot, n, MAX_PAYLOAD);
    shm_test_fill(payload, bytes, slot, n);
    CHECK_EQ(tx_producer_init(&p, &seg, slot), 0);
    return tx_producer_push(&p, payload, bytes, due_ns, 1, NULL, &sequence);
}

static void push(uint32_t slot, uint32_t n, int64_t due_ns)
{
    CHECK_EQ(try_push(slot, n, due_ns), 0);
}

static void push_one(void)
{
    push(1, 0, 0);
}

static void push_other(void)
{
    push(2, 1, 0);
}

static void claim_and_abort(void)
{
    tx_producer_t p;
    tx_claim_t claim;
    CHECK_EQ(tx_producer_init(&p, &seg, 1), 0);
    CHECK_EQ(tx_producer_claim(&p, 100, 0, 1, NULL, &claim), 0);
    tx_producer_abort(&p, &claim);
}

static uint32_t *entry(uint32_t *of, uint64_t sequence)
{
    return &of[sequence % SEQUENCES];
}

static void count(shm_counter_id_t id)
{
    rt_bump(&seg.stats->counters[id], 1);
}

/* As agents do: what the queue says has ended is counted after it. */
static void not_sent(uint64_t sequence)
{
    (*entry(noted->ended, sequence))++;
    count(SHM_COUNT_tx_failed);
}

static void send_item(tx_queue_t *q, const tx_item_t *found)
{
    tx_item_t item;
    uint32_t sender = 0, n = 0;
    int rc = tx_queue_take(q, found->ref, &item);
    if (rc == -ECANCELED)
        not_sent(found->sequence);
    if (rc != 0)
        return;
    CHECK(shm_test_check(item.payload, item.payload_bytes, MAX_PAYLOAD, &sender, &n));
    CHECK_EQ(item.producer, sender);
    (*entry(noted->sent, item.sequence))++;
    tx_queue_finish(q, item.ref);
    count(SHM_COUNT_tx_on_time);
}

static void release(tx_queue_t *q)
{
    unsigned moved;
    (void)tx_queue_release(q, 0, UINT32_MAX, 1, &moved);
}

/* Runs a worker until nothing comes any more, however often it looks. */
static void serve(tx_queue_t *q)
{
    int64_t now = RT_NS_PER_S;
    for (int quiet = 0; quiet < 8 && rt_test_result() == 0;) {
        tx_item_t item;
        int rc = shm_test_next(q, now, &item);
        if (rc == 1)
            send_item(q, &item);
        else if (rc != 0)
            not_sent(item.sequence);
        release(q);
        quiet = rc == 0 ? quiet + 1 : 0;
        now += TIMEOUT_MS * RT_NS_PER_MS;
    }
}

static void free_dead(tx_queue_t *q)
{
    for (uint32_t slot = 1; slot < SHM_TEST_PRODUCERS; slot++)
        if (dead_mask & 1u << slot)
            (void)tx_queue_free_producer(q, slot);
}

/* Each number has one end: sent once, or a verdict that says so, or one that cannot know; or it is
 * among those that a dead worker left uncounted. Nothing is counted twice. */
static void judge(const tx_queue_t *q, uint64_t from)
{
    uint64_t next = tx_ring_next_sequence(&seg);
    int64_t missing = tx_queue_uncounted(q), lacking = 0;
    for (uint64_t s = from; s < next; s++) {
        uint32_t sent = *entry(noted->sent, s), ended = *entry(noted->ended, s);
        lacking += sent + ended == 0 && !(gives_up && s == from);
        if (!CHECK(sent <= 1 && ended <= 1))
            (void)fprintf(stderr, "  image %u: packet %" PRIu64 " sent %u, ended %u\n", images, s,
                          sent, ended);
    }
    CHECK(tx_queue_is_settled(q));
    if (!CHECK(lacking <= missing && missing <= workers_died))
        (void)fprintf(stderr,
                      "  image %u: %" PRId64 " have no end, %" PRId64 " are said to be missing\n",
                      images, lacking, missing);
    untold += (uint64_t)missing;
    CHECK_EQ(tx_ring_waiting(&seg), 0);
    CHECK_EQ(rt_load_relaxed(&seg.stats->counters[SHM_COUNT_tx_corrupt]), 0);
}

/* The ring is as good as new: others fill it, several times over. */
static void use_ring(tx_queue_t *q)
{
    for (uint32_t n = 0; n < 40 && rt_test_result() == 0; n++) {
        uint64_t sequence = tx_ring_next_sequence(&seg);
        push(3, n, 0);
        tx_item_t item;
        CHECK_EQ(shm_test_next(q, 1, &item), 1);
        CHECK_EQ(item.sequence, sequence);
        send_item(q, &item);
        release(q);
    }
    for (uint32_t slot = 1; slot < SHM_TEST_PRODUCERS; slot++)
        if (dead_mask & 1u << slot)
            CHECK_EQ(rt_load_relaxed(&seg.producers[slot].owner), 0);
}

static uint64_t first_sequence;

static void go_on_with(tx_queue_t *q)
{
    uint64_t queued = tx_ring_next_sequence(&seg);
    bool full = try_push(3, 7, 0) != 0; /* behind whatever was left */
    free_dead(q);
    serve(q);
    if (full)
        push(3, 7, 0);
    serve(q);
    free_dead(q);
    release(q);
    CHECK_EQ(*entry(noted->sent, queued), 1);
    judge(q, first_sequence);
    use_ring(q);
}

/* --- deaths of producers -----------------------------------------------------------------------
 */

/* The worker lives. */
static void worker_goes_on(void)
{
    tx_queue_t q = queue;
    go_on_with(&q);
}

/* The worker died at the same instant. */
static void successor_goes_on(void)
{
    tx_queue_t q;
    workers_died++;
    CHECK_EQ(tx_queue_init(&q, &seg, 1), 0);
    tx_queue_ask_slots(&q, slot_alive, NULL);
    go_on_with(&q);
    workers_died--;
}

static void producer_dies(void (*operation)(void), const char *what, uint32_t place)
{
    open_scene(first_sequence, place);
    dead_mask = 1u << 1;
    at_every_step(operation, worker_goes_on);
    at_every_step(operation, successor_goes_on);
    close_scene(what);
}

static void test_a_producer_dies_at_every_step(void)
{
    producer_dies(push_one, "a producer", 0);
    producer_dies(push_one, "a producer at the end of the ring", RING_BYTES / SHM_UNIT_BYTES - 3);
    gives_up = true;
    producer_dies(claim_and_abort, "a producer that gives up", 0);
    gives_up = false;
}

static void test_a_producer_dies_where_sequences_wrap(void)
{
    first_sequence = UINT32_MAX;
    producer_dies(push_one, "a producer at 2^32", 0);
    first_sequence = 0;
}

static void other_dies_too(void)
{
    at_every_step(push_other, worker_goes_on);
    at_every_step(push_other, successor_goes_on);
}

static void test_two_producers_die_at_every_two_steps(void)
{
    open_scene(0, 0);
    dead_mask = 1u << 1 | 1u << 2;
    at_every_step(push_one, other_dies_too);
    close_scene("two producers");
}

/* It is halted, not dead: packets of others leave nevertheless, and nothing
 * of its own is taken from it. */
static void others_pass_it(void)
{
    tx_queue_t q = queue;
    uint64_t queued = tx_ring_next_sequence(&seg);
    push(3, 7, 0);
    serve(&q);
    CHECK_EQ(*entry(noted->sent, queued), 1);
    CHECK_EQ(rt_load_relaxed(&seg.producers[1].owner), (uint32_t)getpid());
    for (uint64_t s = first_sequence; s < queued; s++)
        CHECK_EQ(*entry(noted->ended, s), 0);
}

static void test_a_producer_is_halted_at_every_step(void)
{
    open_scene(0, 0);
    at_every_step(push_one, others_pass_it);
    close_scene("a halted producer");
}

/* --- deaths of workers --------------------------------------------------------------------------
 */

static void serve_as_successor(void)
{
    tx_queue_t q;
    CHECK_EQ(tx_queue_init(&q, &seg, 1), 0);
    tx_queue_ask_slots(&q, slot_alive, NULL);
    free_dead(&q);
    serve(&q);
}

static void successor_dies_too(void)
{
    workers_died++;
    at_every_step(serve_as_successor, successor_goes_on);
    workers_died--;
}

static void test_a_worker_dies_at_every_step(void)
{
    open_scene(0, 0);
    for (uint32_t n = 0; n < 4; n++)
        push(2, n, n % 2);
    at_every_step(serve_as_successor, successor_goes_on);
    close_scene("a worker");
}

/* One packet is due in the far future, those behind it are done: it is moved. */
static void move_one(void)
{
    tx_queue_t q;
    tx_item_t item;
    unsigned moved;
    CHECK_EQ(tx_queue_init(&q, &seg, 1), 0);
    for (int i = 0; shm_test_next(&q, 1, &item) == 1; i++)
        if (i > 0)
            send_item(&q, &item);
    (void)tx_queue_release(&q, 0, UINT32_MAX, 4, &moved);
    CHECK_EQ(moved, 1);
}

static void prepare_move(void)
{
    open_scene(0, 0);
    push(2, 0, INT64_C(3600) * RT_NS_PER_S);
    for (uint32_t n = 1; try_push(2, n, 0) == 0; n++) {
    }
}

static void test_a_worker_dies_at_every_step_of_a_move(void)
{
    prepare_move();
    at_every_step(move_one, successor_goes_on);
    close_scene("a worker that moves a packet");
}

static void test_a_worker_and_its_successor_die_at_every_two_steps(void)
{
    open_scene(0, 0);
    push(2, 0, 0);
    untold = 0;
    at_every_step(serve_as_successor, successor_dies_too);
    CHECK(untold > 0);
    close_scene("a worker and its successor");
    (void)printf("ended by a worker that died before it counted: %" PRIu64 "\n", untold);
}

static void test_a_producer_and_the_worker_die_at_every_two_steps(void)
{
    open_scene(0, 0);
    push(2, 0, 0);
    dead_mask = 1u << 1;
    at_every_step(push_one, successor_dies_too);
    close_scene("a producer and the worker");
}

/* --- a canceller --------------------------------------------------------------------------------
 */

static void cancel_one(void)
{
    (void)tx_ring_cancel(&seg, 1, NULL);
}

static void test_a_canceller_dies_at_every_step(void)
{
    open_scene(0, 0);
    for (uint32_t n = 0; n < 3; n++)
        push(2, n, 0);
    at_every_step(cancel_one, successor_goes_on);
    close_scene("a canceller");
}

/* --- the ring of arrivals ------------------------------------------------------------------------
 */

enum { WRITER = 9 };

static void put(rx_writer_t *w, uint32_t n)
{
    uint8_t payload[MAX_PAYLOAD];
    uint32_t bytes = shm_test_length(WRITER, n, MAX_PAYLOAD);
    shm_test_fill(payload, bytes, WRITER, n);
    rx_item_t item = {
        .payload = payload, .payload_bytes = bytes, .source = {.family = 4}, .time_ns = 1};
    CHECK_EQ(rx_writer_put(w, &item), 0);
}

/* noted->ended[0]: packets that were published, in the writer's own count. */
static void write_some(void)
{
    rx_writer_t w;
    CHECK_EQ(rx_writer_init(&w, &seg), 0);
    for (uint32_t n = noted->ended[0]; n < 60; n++) {
        put(&w, n);
        if (n % 3 != 2)
            continue;
        (void)rx_writer_publish(&w);
        noted->ended[0] = n + 1;
    }
}

static rx_reader_t reader_as_it_was;

/* What a reader finds is whole and in order; each number is there, or said to be lost. The dead
 * writer may have published a batch that it had not counted yet. */
static void reader_goes_on(void)
{
    rx_writer_t w;
    rx_packet_t packet;
    uint8_t buffer[MAX_PAYLOAD];
    uint64_t lost, lost_before, got = 0;
    rx_reader_t r = reader_as_it_was;
    CHECK_EQ(rx_writer_init(&w, &seg), 0);
    uint32_t sender = 0, n = 0, expected = 0;
    put(&w, 1000);
    (void)rx_writer_publish(&w);
    for (lost = 0; rx_reader_next(&r, buffer, sizeof buffer, &packet, &lost_before) == 1; got++) {
        lost += lost_before;
        CHECK(shm_test_check(buffer, packet.payload_bytes, MAX_PAYLOAD, &sender, &n) &&
              sender == WRITER);
        CHECK_EQ(packet.sequence, got + lost);
        CHECK(n == 1000 || n == packet.sequence);
        expected = n == 1000 ? expected : n + 1;
    }
    CHECK_EQ(n, 1000);
    CHECK(expected == noted->ended[0] || expected == noted->ended[0] + 3);
}

static void test_a_worker_dies_at_every_step_of_receiving(void)
{
    open_scene(0, 0);
    CHECK_EQ(rx_reader_init(&reader_as_it_was, &seg, 1, SHM_READ_EACH, 1), 0);
    at_every_step(write_some, reader_goes_on);
    close_scene("a worker that receives");
}

static void take_shared(void)
{
    rx_reader_t r;
    rx_packet_t packet;
    uint8_t buffer[MAX_PAYLOAD];
    CHECK_EQ(rx_reader_init(&r, &seg, CTL_NO_SLOT, SHM_READ_SHARED, 1), 0);
    while (noted->received < 3 && rx_reader_next(&r, buffer, sizeof buffer, &packet, NULL) == 1)
        noted->received++;
}

/* Of what the dead one did not take, the others get everything. It may have taken one and not have
 * told. */
static void others_take_the_rest(void)
{
    uint64_t before = noted->received;
    rx_reader_t r;
    rx_packet_t packet;
    uint8_t buffer[MAX_PAYLOAD];
    CHECK_EQ(rx_reader_init(&r, &seg, CTL_NO_SLOT, SHM_READ_SHARED, 1), 0);
    uint64_t rest = 0;
    for (; rx_reader_next(&r, buffer, sizeof buffer, &packet, NULL) == 1; rest++)
        CHECK(packet.sequence == before + rest || packet.sequence == before + rest + 1);
    CHECK(before + rest == 6 || before + rest == 5);
}

static void test_a_reader_that_shares_dies_at_every_step(void)
{
    rx_writer_t w;
    open_scene(0, 0);
    CHECK_EQ(rx_writer_init(&w, &seg), 0);
    for (uint32_t n = 0; n < 6; n++)
        put(&w, n);
    (void)rx_writer_publish(&w);
    at_every_step(take_shared, others_take_the_rest);
    close_scene("a reader that shares");
}

int main(void)
{
    RUN(test_a_worker_dies_at_every_step_of_receiving);
    RUN(test_a_reader_that_shares_dies_at_every_step);
    RUN(test_a_producer_dies_at_every_step);
    RUN(test_a_producer_dies_where_sequences_wrap);
    RUN(test_two_producers_die_at_every_two_steps);
    RUN(test_a_producer_is_halted_at_every_step);
    RUN(test_a_worker_dies_at_every_step);
    RUN(test_a_worker_dies_at_every_step_of_a_move);
    RUN(test_a_worker_and_its_successor_die_at_every_two_steps);
    RUN(test_a_producer_and_the_worker_die_at_every_two_steps);
    RUN(test_a_canceller_dies_at_every_step);
    return rt_test_result();
}
