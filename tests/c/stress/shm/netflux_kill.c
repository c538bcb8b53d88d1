/* Processes that put values are killed at random instants and replaced in their slots, while one
 * that nobody kills goes on. What is read is whole at every moment, and a new writer's values come
 * through, whatever the killed ones left. RT_TEST_SEED repeats the choice of victims, not the
 * instants. */
#include "unit/shm/shm_test.h"

#include "netflux_put.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { WRITERS = 3, SIZE = SHM_NETFLUX_MAX_PAYLOAD, MINE = WRITERS + 1, SLOTS = MINE + 1 };

static uint8_t *engine;
static pid_t pids[WRITERS + 1];
static uint64_t rng;

static _Noreturn void be_writer(uint32_t slot)
{
    uint8_t values[SIZE];
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (uint32_t n = 1;; n++) {
        shm_test_fill(values, SIZE, slot, n);
        netflux_put(engine, slot, values, SIZE, n);
    }
}

static void start_writer(uint32_t slot)
{
    (void)fflush(NULL);
    pids[slot] = fork();
    if (pids[slot] == 0)
        be_writer(slot);
    CHECK(pids[slot] > 0);
}

static void kill_writer(uint32_t slot)
{
    CHECK_EQ(kill(pids[slot], SIGKILL), 0);
    CHECK_EQ(waitpid(pids[slot], NULL, 0), pids[slot]);
}

/* Returns the ticket, 0: none to be had. */
static uint64_t look(void)
{
    uint8_t values[SIZE], expected[SIZE];
    int64_t at;
    uint64_t ticket;
    uint32_t slot, n;
    int rc = shm_netflux_peek(engine, SLOTS, values, SIZE, &at, &ticket, &slot);
    CHECK(rc == 1 || rc == 0 || rc == -EAGAIN);
    if (rc != 1)
        return 0;
    memcpy(&n, values + 4, 4);
    shm_test_fill(expected, SIZE, slot, n);
    CHECK_MEM_EQ(values, expected, SIZE);
    CHECK_EQ(at, n);
    return ticket;
}

static void test_killed_writers_change_nothing(void)
{
    uint64_t kills = rt_test_env_u64("RT_TEST_ROUNDS", 300), last = 0, looks = 0;
    uint8_t values[SIZE];
    engine = mmap(NULL, shm_netflux_bytes(SLOTS), PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(engine != MAP_FAILED);
    for (uint32_t i = 1; i <= WRITERS; i++)
        start_writer(i);
    for (uint32_t k = 1; k <= kills && rt_test_result() == 0; k++) {
        int64_t until = rt_mono_ns() + (int64_t)(rt_test_rand(&rng) % RT_NS_PER_MS);
        do {
            uint64_t ticket = look();
            CHECK(ticket == 0 || ticket >= last);
            last = ticket ? ticket : last;
            looks++;
        } while (rt_mono_ns() < until);
        uint32_t victim = 1 + (uint32_t)(rt_test_rand(&rng) % WRITERS);
        kill_writer(victim);
        shm_test_fill(values, SIZE, MINE, k);
        uint64_t mine = netflux_put(engine, MINE, values, SIZE, k);
        for (uint64_t ticket = 0; ticket == 0;)
            CHECK((ticket = look()) == 0 || ticket >= mine);
        start_writer(victim);
    }
    for (uint32_t i = 1; i <= WRITERS; i++)
        kill_writer(i);
    shm_test_fill(values, SIZE, MINE, 7);
    last = look();
    CHECK(last > 0); /* all are dead: still whole, and at rest */
    CHECK_EQ(look(), last);
    last = netflux_put(engine, MINE, values, SIZE, 7);
    CHECK_EQ(look(), last);
    (void)printf("kills %" PRIu64 ", looks %" PRIu64 "\n", kills, looks);
    munmap(engine, shm_netflux_bytes(SLOTS));
}

int main(void)
{
    rng = rt_test_env_u64("RT_TEST_SEED", (uint64_t)rt_mono_ns());
    (void)printf("seed %" PRIu64 "\n", rng);
    RUN(test_killed_writers_change_nothing);
    return rt_test_result();
}
