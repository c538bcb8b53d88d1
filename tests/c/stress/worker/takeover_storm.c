/* Workers are killed again and again while packets flow at full speed, timed and immediate mixed.
 * Nothing may be sent twice, and only what was in the kernel's hands at a death may be missing;
 * that is reported. */
#include "unit/worker/worker_test.h"

#include "proto/pacing/verdict.h"

#include <pthread.h>

enum { PER_ROUND = 20000, BATCH = 64, MOST_UNDER_WAY = 4000, BYTES_EACH = 1024 };

static uint8_t *seen;
static uint32_t seen_max;
static _Atomic unsigned twice, strange, received, deaths;
static atomic_bool all_sent;
static int sink;
static uint32_t
    under_way; /* at most, what was lost with a worker not counted: the sink holds them */

static void *receive_all(void *none)
{
    (void)none;
    uint32_t value = 0;
    for (;;) {
        bool last_look = all_sent;
        if (wt_recv(sink, &value, sizeof value, 50) != sizeof value) {
            if (last_look)
                return NULL;
            continue;
        }
        atomic_fetch_add(&received, 1);
        if (value >= seen_max)
            atomic_fetch_add(&strange, 1);
        else if (seen[value]++ != 0)
            atomic_fetch_add(&twice, 1);
    }
}

static void push_round(wt_channel_t *ch, uint32_t first, uint64_t *seed)
{
    for (uint32_t i = 0; i < PER_ROUND; i++) {
        uint32_t value = first + i;
        uint64_t r = rt_test_rand(seed);
        int64_t due = r % 2 ? rt_mono_ns() + (int64_t)(r % (20 * RT_NS_PER_MS)) : 0;
        while (wt_push(ch, &value, sizeof value, due, NULL) != 0)
            (void)poll(NULL, 0, 1);
        while (i % 64 == 0 && value > received + under_way + deaths * BATCH)
            (void)poll(NULL, 0, 1);
        if (i % 64 == 0)
            (void)poll(NULL, 0, 1); /* time for some deaths */
    }
}

static bool replace_worker(wt_worker_t *w, wt_channel_t *ch)
{
    (void)kill(w->pid, SIGKILL);
    (void)waitpid(w->pid, NULL, 0);
    wt_forget(w);
    if (!wt_launch(w, NULL) || wt_reply(w, w->pool, 0, NULL, 0, NULL, NULL) != 0)
        return false;
    return wt_send_open(w, ch, CTL_OPEN_TAKEOVER) == 0;
}

typedef struct storm {
    wt_channel_t *ch;
    uint64_t seed;
    uint32_t rounds;
    _Atomic uint32_t done;
} storm_t;

static void *produce(void *storm)
{
    storm_t *s = storm;
    for (uint32_t round = 0; round < s->rounds; round++)
        push_round(s->ch, round * PER_ROUND, &s->seed);
    s->done = 1;
    return NULL;
}

static unsigned count_lost_in_sending(wt_channel_t *ch)
{
    static shm_report_t reports[4096];
    unsigned lost = 0, n = 0;
    while ((n = slot_reader_next(&ch->reports, reports, 4096)) > 0)
        for (unsigned i = 0; i < n; i++)
            lost += reports[i].verdict == VERDICT_FAILED && reports[i].error == EOWNERDEAD;
    return lost;
}

static void test_storm(void)
{
    uint64_t seed = rt_test_env_u64("RT_TEST_SEED", (uint64_t)rt_mono_ns());
    uint32_t rounds = (uint32_t)rt_test_env_u64("RT_TEST_ROUNDS", 5);
    (void)printf("seed %" PRIu64 "\n", seed);
    seen_max = rounds * PER_ROUND;
    seen = calloc(seen_max, 1);
    uint16_t port = 0;
    sink = wt_udp(&port);
    int room = 0;
    REQUIRE(getsockopt(sink, SOL_SOCKET, SO_RCVBUF, &room, &(socklen_t){sizeof room}) == 0);
    under_way = (uint32_t)(room / BYTES_EACH);
    under_way = under_way < MOST_UNDER_WAY ? under_way : MOST_UNDER_WAY;
    wt_worker_t w;
    REQUIRE(wt_start(&w, NULL));
    wt_channel_t ch = {.config = wt_config("storm", port)};
    ch.config.report_slots = 1u << 18;
    REQUIRE(wt_open(&w, &ch));

    storm_t s = {.ch = &ch, .seed = seed, .rounds = rounds};
    pthread_t receiver, producer;
    REQUIRE(pthread_create(&receiver, NULL, receive_all, NULL) == 0);
    REQUIRE(pthread_create(&producer, NULL, produce, &s) == 0);
    while (!s.done) {
        wt_nap_ms(20 + (int)(rt_test_rand(&seed) % 100));
        deaths++;
        REQUIRE(replace_worker(&w, &ch));
    }
    pthread_join(producer, NULL);
    for (int i = 0; i < WT_TIMEOUT_MS / 10 && tx_ring_waiting(&ch.segment) > 0; i++)
        wt_nap_ms(10);
    wt_settle(&w);
    all_sent = true;
    pthread_join(receiver, NULL);

    unsigned missing = 0;
    for (uint32_t i = 0; i < seen_max; i++)
        missing += seen[i] == 0;
    unsigned lost = count_lost_in_sending(&ch);
    (void)printf("%u deaths, %u of %u packets missing, %u in a send call when it happened\n",
                 deaths, missing, seen_max, lost);
    CHECK_EQ(twice, 0);
    CHECK_EQ(strange, 0);
    CHECK_EQ(tx_ring_waiting(&ch.segment), 0);
    CHECK(missing <= deaths * BATCH);
    CHECK(missing <= lost);
    CHECK_EQ(wt_command(&w, &ch, CTL_CLOSE), 0);
    wt_drop(&ch);
    wt_stop(&w);
    close(sink);
    free(seen);
}

int main(void)
{
    RUN(test_storm);
    return rt_test_result();
}
