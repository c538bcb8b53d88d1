/* Producer processes are killed at random instants while they write, and replaced.
 * Their half-written packets must be skipped, and nothing else may be lost, torn or
 * out of order. The worker's side runs in this process. RT_TEST_SEED repeats the
 * choice of victims, not the instants. */
#include "unit/shm/shm_test.h"


#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { RING_BYTES = 1 << 17, MAX_PAYLOAD = 300, SLOTS = 5, STALL_S = 20, LIVES = 1 << 16 };

typedef struct client {
    pid_t pid;
    uint32_t life; /* how many clients have had this slot */
    bool killed;   /* and its slot not free yet */
    bool unknown;  /* its death has not been told to the queue */
} client_t;

static shm_segment_t seg;
static tx_queue_t queue;
static client_t clients[SLOTS + 1];
static uint32_t next_n[SLOTS + 1][LIVES];
static uint64_t rng, orphans, received;

/* Writes into the ring itself and often dawdles there, so that much of its time is spent in the
 * middle of a claim, behind which the others pile up. */
static _Noreturn void be_client(uint32_t slot, uint32_t life)
{
    tx_producer_t p;
    uint32_t sender = slot * LIVES + life;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (tx_producer_init(&p, &seg, slot) < 0)
        _exit(1);
    for (uint32_t n = 0;;) {
        tx_claim_t claim;
        uint32_t bytes = shm_test_length(sender, n, MAX_PAYLOAD);
        int rc = tx_producer_claim(&p, bytes, 0, 1, NULL, &claim);
        if (rc == -ENOBUFS) {
            (void)tx_producer_wait_room(&p, rt_mono_ns() + RT_NS_PER_S);
        } else if (rc < 0) {
            _exit(1);
        } else if (n % 17 == 16 && bytes % 2) {
            tx_producer_abort(&p, &claim);
            bytes = 0;
            n++;
        } else {
            shm_test_fill(claim.payload, bytes, sender, n);
            if (n % 32 == 0)
                usleep(50);
            tx_producer_commit(&p, &claim);
            n++;
        }
    }
}

/* Numbers that be_client gives up instead of sending. */
static bool aborted(uint32_t sender, uint32_t n)
{
    return n % 17 == 16 && shm_test_length(sender, n, MAX_PAYLOAD) % 2;
}

static void start_client(uint32_t slot)
{
    client_t *c = &clients[slot];
    c->life++;
    c->killed = false;
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        be_client(slot, c->life);
    c->pid = pid;
    CHECK(pid > 0);
    rt_store_release(&seg.producers[slot].owner, (uint32_t)pid);
}

static void kill_client(uint32_t slot)
{
    client_t *c = &clients[slot];
    CHECK_EQ(kill(c->pid, SIGKILL), 0);
    CHECK_EQ(waitpid(c->pid, NULL, 0), c->pid);
    c->killed = true;
    /* Some deaths are noticed by their hang-up, some only by looking. */
    c->unknown = rt_test_rand(&rng) % 4 == 0;
    if (!c->unknown)
        (void)tx_queue_free_producer(&queue, slot);
}

static void take_in(const tx_item_t *item)
{
    uint32_t sender, n;
    if (!CHECK(shm_test_check(item->payload, item->payload_bytes, MAX_PAYLOAD, &sender, &n)))
        return;
    uint32_t slot = sender / LIVES, life = sender % LIVES;
    if (!CHECK(slot >= 1 && slot <= SLOTS && life <= clients[slot].life))
        return;
    uint32_t *expected = &next_n[slot][life];
    while (aborted(sender, *expected))
        (*expected)++;
    CHECK_EQ(n, *expected);
    *expected = n + 1;
    CHECK_EQ(item->producer, slot);
}

/* Serves until nothing comes or until_ns. Returns whether something came. */
static bool serve(int64_t until_ns)
{
    bool came = false;
    tx_item_t item;
    unsigned moved;
    do {
        int rc = shm_test_next(&queue, rt_mono_ns(), &item);
        if (rc == 1) {
            take_in(&item);
            CHECK_EQ(tx_queue_take(&queue, item.ref, &item), 0);
            tx_queue_finish(&queue, item.ref);
            received++;
        } else if (rc != 0) {
            CHECK_EQ(rc, -EOWNERDEAD);
            orphans++;
        }
        came = came || rc != 0;
        (void)tx_queue_release(&queue, 0, UINT32_MAX, 0, &moved);
    } while (rt_mono_ns() < until_ns);
    return came;
}

static void serve_until_killed_slots_are_free(void)
{
    int64_t deadline = rt_mono_ns() + STALL_S * RT_NS_PER_S;
    bool waiting = true;
    while (waiting && CHECK(rt_mono_ns() < deadline)) {
        (void)serve(0);
        waiting = false;
        for (uint32_t i = 1; i <= SLOTS; i++) {
            if (clients[i].killed && clients[i].unknown && !tx_queue_pending(&queue))
                clients[i].unknown = tx_queue_free_producer(&queue, i) == 0;
            waiting = waiting || tx_queue_pending(&queue) || rt_load_relaxed(&seg.producers[i].owner) != 0;
        }
    }
}

static void test_killed_producers_leave_nothing_behind(void)
{
    shm_config_t c = shm_test_config(RING_BYTES, MAX_PAYLOAD);
    int fd = shm_test_open(&seg, &c);
    CHECK_EQ(shm_test_queue_init(&queue, &seg, 0), 0);
    for (uint32_t i = 1; i <= SLOTS; i++)
        start_client(i);

    uint64_t kills = rt_test_env_u64("RT_TEST_ROUNDS", 400);
    int64_t progress = rt_mono_ns();
    for (uint64_t k = 0; k < kills && rt_test_result() == 0; k++) {
        if (serve(rt_mono_ns() + (int64_t)(rt_test_rand(&rng) % (4 * RT_NS_PER_MS))))
            progress = rt_mono_ns();
        if (!CHECK(rt_mono_ns() - progress < STALL_S * RT_NS_PER_S))
            break;
        usleep((useconds_t)(rt_test_rand(&rng) % 200)); /* while there is room: they are writing */
        uint32_t victim = 1 + (uint32_t)(rt_test_rand(&rng) % SLOTS);
        if (!clients[victim].killed)
            kill_client(victim);
        for (uint32_t i = 1; i <= SLOTS; i++) {
            if (clients[i].killed && clients[i].unknown && rt_test_rand(&rng) % 4 == 0) {
                clients[i].unknown = false;
                (void)tx_queue_free_producer(&queue, i);
            }
            if (clients[i].killed && rt_load_relaxed(&seg.producers[i].owner) == 0)
                start_client(i);
        }
    }
    for (uint32_t i = 1; i <= SLOTS; i++)
        if (!clients[i].killed)
            kill_client(i);
    serve_until_killed_slots_are_free();
    CHECK_EQ(tx_ring_waiting(&seg), 0);
    CHECK_EQ(rt_load_relaxed(&seg.stats->counters[SHM_COUNT_tx_corrupt]), 0);
    CHECK(orphans <= kills + SLOTS);
    CHECK(orphans > 0 && received > 0);
    (void)printf("kills %" PRIu64 ", orphans %" PRIu64 ", received %" PRIu64 "\n", kills, orphans, received);
    shm_test_close(&seg, fd);
}

int main(void)
{
    rng = rt_test_env_u64("RT_TEST_SEED", (uint64_t)rt_mono_ns());
    (void)printf("seed %" PRIu64 "\n", rng);
    (void)fflush(stdout);
    RUN(test_killed_producers_leave_nothing_behind);
    return rt_test_result();
}
