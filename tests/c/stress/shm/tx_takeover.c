/* Worker processes are killed at random instants and replaced, while producers push, a
 * canceller takes packets back, and packets are moved inside the ring. A log in shared memory,
 * written where the send would be, says what was sent: nothing twice, nothing cancelled; at
 * most one packet a death is unsure. */
#include "unit/shm/shm_test.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { RING_BYTES = 16384, MAX_PAYLOAD = 400, PRODUCERS = 2, WINDOW = 24, MAX_PACKETS = 1 << 22, STALL_S = 20 };

typedef struct outcome {
    rt_a32_t sent, cancelled, unsure;
} outcome_t;

typedef struct log {
    rt_a32_t stop;     /* producers push no more */
    rt_a32_t producing; /* producers that have not ended */
    rt_a32_t failed;   /* checks that failed in a child */
    rt_a64_t moved;
    outcome_t of[MAX_PACKETS];
} log_t;

static shm_segment_t seg;
static log_t *logged;
static int bell;
static uint64_t rng;

static void note_failures(void)
{
    if (rt_test_result() != 0)
        rt_store_relaxed(&logged->failed, 1);
}

static _Noreturn void be_producer(uint32_t slot)
{
    tx_producer_t p;
    uint8_t payload[MAX_PAYLOAD];
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    CHECK_EQ(tx_producer_init(&p, &seg, slot), 0);
    for (uint32_t n = 0; rt_load_relaxed(&logged->stop) == 0 && rt_test_result() == 0;) {
        uint32_t bytes = shm_test_length(slot, n, MAX_PAYLOAD);
        uint64_t sequence;
        shm_test_fill(payload, bytes, slot, n);
        int rc = tx_producer_push(&p, payload, bytes, 1, 1, NULL, &sequence);
        if (rc == -ENOBUFS) {
            CHECK_EQ(tx_producer_wait_room(&p, rt_mono_ns() + STALL_S * RT_NS_PER_S), 0);
            continue;
        }
        CHECK_EQ(rc, 0);
        n++;
        if (tx_producer_must_ring(&p)) {
            CHECK_EQ(eventfd_write(bell, 1), 0);
            tx_producer_rang(&p);
        }
    }
    note_failures();
    rt_fetch_add(&logged->producing, (uint32_t)-1);
    _exit(0);
}

/* --- the worker ------------------------------------------------------------------------------- */

static tx_queue_t queue;
static uint64_t window[WINDOW];
static unsigned waiting;

static void take_in(void)
{
    tx_item_t item;
    while (waiting < WINDOW) {
        int rc = shm_test_next(&queue, rt_mono_ns(), &item);
        if (rc == 0)
            return;
        if (rc == 1)
            window[waiting++] = item.ref;
        else if (rc == -EOWNERDEAD)
            rt_fetch_add(&logged->of[item.sequence].unsure, 1);
        else
            CHECK_EQ(rc, -ECANCELED); /* the canceller logs it */
    }
}

static void send_one(unsigned i)
{
    tx_item_t item;
    uint64_t ref = window[i];
    window[i] = window[--waiting];
    if (tx_queue_take(&queue, ref, &item) != 0)
        return;
    uint32_t slot, n;
    CHECK(shm_test_check(item.payload, item.payload_bytes, MAX_PAYLOAD, &slot, &n));
    CHECK(item.sequence < MAX_PACKETS);
    if (rt_test_rand(&rng) % 16 == 0) {
        tx_queue_untake(&queue, ref);
        window[waiting++] = ref;
        return;
    }
    rt_fetch_add(&logged->of[item.sequence].sent, 1);
    tx_queue_finish(&queue, ref);
}

static _Noreturn void be_worker(uint64_t life)
{
    tx_item_t item;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    rng ^= life;
    CHECK_EQ(shm_test_queue_init(&queue, &seg, life > 0), 0);
    while (rt_test_result() == 0) {
        unsigned budget = 32, moved;
        take_in();
        if (waiting > 0) /* the first of the window stays longest: it is there to be moved */
            send_one(waiting > 1 && rt_test_rand(&rng) % 200 ? waiting - 1 : 0);
        while (tx_queue_reap(&queue, &budget, &item)) {
        }
        (void)tx_queue_release(&queue, -RT_NS_PER_S, 2048, 2, &moved);
        rt_fetch_add(&logged->moved, moved);
        if (waiting > 0 || tx_queue_pending(&queue))
            continue;
        struct pollfd p = {.fd = bell, .events = POLLIN};
        eventfd_t rings;
        tx_queue_arm_bell(&queue);
        if (!tx_queue_pending(&queue)) {
            (void)poll(&p, 1, 20);
            (void)eventfd_read(bell, &rings);
        }
        tx_queue_disarm_bell(&queue);
    }
    note_failures();
    _exit(0);
}

/* --- the parent: fate, and the canceller ------------------------------------------------------ */

static pid_t start_worker(uint64_t life)
{
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        be_worker(life);
    CHECK(pid > 0);
    return pid;
}

static void cancel_for(int64_t until_ns)
{
    while (rt_mono_ns() < until_ns) {
        uint64_t back = 1 + rt_test_rand(&rng) % 40, next = tx_ring_next_sequence(&seg);
        if (next > back && next < MAX_PACKETS && tx_ring_cancel(&seg, next - back, NULL) == 1)
            rt_fetch_add(&logged->of[next - back].cancelled, 1);
        usleep(100);
    }
}

static void judge(uint64_t total, uint64_t deaths)
{
    uint64_t sent = 0, cancelled = 0, unsure = 0, unlogged = 0;
    for (uint64_t i = 0; i < total; i++) {
        uint32_t s = rt_load_relaxed(&logged->of[i].sent), c = rt_load_relaxed(&logged->of[i].cancelled);
        uint32_t u = rt_load_relaxed(&logged->of[i].unsure);
        if (!CHECK(s <= 1 && c <= 1 && u <= 1 && !(s && c) && !(c && u)))
            (void)fprintf(stderr, "  packet %" PRIu64 ": sent %u, cancelled %u, unsure %u\n", i, s, c, u);
        sent += s;
        cancelled += c;
        unsure += u;
        unlogged += !s && !c && !u;
    }
    CHECK(unsure + unlogged <= deaths); /* died before it could log that it was unsure */
    CHECK_EQ(tx_ring_waiting(&seg), 0);
    CHECK_EQ(rt_load_relaxed(&seg.stats->counters[SHM_COUNT_tx_corrupt]), 0);
    CHECK(sent > 0 && cancelled > 0);
    (void)printf("deaths %" PRIu64 ", sent %" PRIu64 ", cancelled %" PRIu64 ", unsure %" PRIu64 "+%" PRIu64
                 ", moved %" PRIu64 "\n",
                 deaths, sent, cancelled, unsure, unlogged, rt_load_relaxed(&logged->moved));
}

static void test_killed_workers_send_nothing_twice(void)
{
    shm_config_t c = shm_test_config(RING_BYTES, MAX_PAYLOAD);
    int fd = shm_test_open(&seg, &c);
    logged = mmap(NULL, sizeof *logged, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(logged != MAP_FAILED);
    bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    rt_store_relaxed(&logged->producing, PRODUCERS);
    pid_t producers[PRODUCERS];
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        producers[i] = fork();
        if (producers[i] == 0)
            be_producer(i + 1);
    }

    uint64_t deaths = 0, rounds = rt_test_env_u64("RT_TEST_ROUNDS", 400);
    pid_t worker = start_worker(0);
    while (deaths < rounds && rt_load_relaxed(&logged->failed) == 0 &&
           tx_ring_next_sequence(&seg) < MAX_PACKETS - 1000) {
        cancel_for(rt_mono_ns() + (int64_t)(rt_test_rand(&rng) % (5 * RT_NS_PER_MS)));
        CHECK_EQ(kill(worker, SIGKILL), 0);
        CHECK_EQ(waitpid(worker, NULL, 0), worker);
        worker = start_worker(++deaths);
    }
    rt_store_relaxed(&logged->stop, 1);
    int64_t deadline = rt_mono_ns() + STALL_S * RT_NS_PER_S;
    while ((rt_load_relaxed(&logged->producing) > 0 || tx_ring_waiting(&seg) > 0) &&
           rt_load_relaxed(&logged->failed) == 0 && CHECK(rt_mono_ns() < deadline))
        usleep(1000);
    CHECK_EQ(rt_load_relaxed(&logged->failed), 0);
    CHECK_EQ(kill(worker, SIGKILL), 0);
    CHECK_EQ(waitpid(worker, NULL, 0), worker);
    for (int i = 0; i < PRODUCERS; i++) {
        (void)kill(producers[i], SIGKILL);
        CHECK_EQ(waitpid(producers[i], NULL, 0), producers[i]);
    }
    judge(tx_ring_next_sequence(&seg), deaths);
    munmap(logged, sizeof *logged);
    close(bell);
    shm_test_close(&seg, fd);
}

int main(void)
{
    rng = rt_test_env_u64("RT_TEST_SEED", (uint64_t)rt_mono_ns());
    (void)printf("seed %" PRIu64 "\n", rng);
    (void)fflush(stdout);
    RUN(test_killed_workers_send_nothing_twice);
    return rt_test_result();
}
