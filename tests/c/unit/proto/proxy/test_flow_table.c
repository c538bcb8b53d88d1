#include "proto/proxy/flow_table.h"
#include "rt_test.h"

#include <inttypes.h>

enum { FLOWS = 100, KEYS = 300, STEPS = 60000 };

static uint64_t seed;
static const rt_secret_t SECRET = {{1, 2}};

static flow_key_t key_of(uint64_t number)
{
    return (flow_key_t){{number % 3, number, number * number}};
}

static void test_a_key_has_one_flow(void)
{
    void *memory = malloc(flow_table_bytes(2));
    flow_table_t t;
    flow_table_init(&t, memory, 2, &SECRET);
    flow_key_t a = key_of(1);
    flow_key_t b = key_of(2);
    flow_key_t c = key_of(3);
    CHECK_EQ(flow_table_find(&t, &a), FLOW_NONE);
    CHECK_EQ(flow_table_oldest(&t), FLOW_NONE);
    uint32_t first = flow_table_add(&t, &a, 10);
    uint32_t second = flow_table_add(&t, &b, 20);
    CHECK(first < 2 && second < 2 && first != second);
    CHECK_EQ(flow_table_find(&t, &a), first);
    CHECK_EQ(flow_table_find(&t, &b), second);
    CHECK_EQ(flow_table_add(&t, &c, 30), FLOW_NONE);
    CHECK_EQ(flow_table_oldest(&t), first);
    flow_table_touch(&t, first, 40);
    CHECK_EQ(flow_table_oldest(&t), second);
    CHECK_EQ(flow_table_used_ns(&t, first), 40);
    flow_table_remove(&t, second);
    CHECK_EQ(flow_table_find(&t, &b), FLOW_NONE);
    CHECK_EQ(flow_table_add(&t, &c, 50), second);
    CHECK_EQ(flow_table_find(&t, &c), second);
    free(memory);
}

static void test_each_word_of_a_key_counts(void)
{
    void *memory = malloc(flow_table_bytes(8));
    flow_table_t t;
    flow_table_init(&t, memory, 8, &SECRET);
    for (unsigned i = 0; i < 3; i++) {
        flow_key_t key = {{0, 0, 0}};
        key.word[i] = 7;
        CHECK(flow_table_add(&t, &key, 0) != FLOW_NONE);
    }
    for (unsigned i = 0; i < 3; i++) {
        flow_key_t key = {{0, 0, 0}};
        key.word[i] = 7;
        CHECK_EQ(flow_table_find(&t, &key), i);
    }
    free(memory);
}

/* Against a table that is only an array. */
typedef struct model {
    uint32_t place[KEYS];
    uint32_t rank[KEYS];
    int64_t used[KEYS];
} model_t;

/* rank: FLOW_RANKS: of all ranks. */
static uint32_t oldest_of(const model_t *m, uint32_t rank)
{
    unsigned oldest = KEYS;
    for (unsigned i = 0; i < KEYS; i++) {
        bool counts = m->place[i] != FLOW_NONE && (rank == FLOW_RANKS || m->rank[i] == rank);
        if (counts && (oldest == KEYS || m->used[i] < m->used[oldest]))
            oldest = i;
    }
    return oldest == KEYS ? FLOW_NONE : m->place[oldest];
}

static void step(flow_table_t *t, model_t *m, uint32_t *count, int64_t now)
{
    unsigned k = (unsigned)(rt_test_rand(&seed) % KEYS);
    uint32_t rank = (uint32_t)(rt_test_rand(&seed) % FLOW_RANKS);
    flow_key_t key = key_of(k);
    REQUIRE(flow_table_find(t, &key) == m->place[k]);
    if (m->place[k] == FLOW_NONE) {
        m->place[k] = flow_table_add(t, &key, now);
        REQUIRE((m->place[k] == FLOW_NONE) == (*count == FLOWS));
        *count += m->place[k] != FLOW_NONE;
        m->rank[k] = 0;
    } else if (rt_test_rand(&seed) % 4 == 0) {
        flow_table_remove(t, m->place[k]);
        m->place[k] = FLOW_NONE;
        --*count;
    } else if (rt_test_rand(&seed) % 2 == 0) {
        flow_table_touch(t, m->place[k], now);
    } else {
        flow_table_use(t, m->place[k], rank, now);
        m->rank[k] = rank;
    }
    m->used[k] = now;
}

static void test_random_steps(void)
{
    void *memory = malloc(flow_table_bytes(FLOWS));
    flow_table_t t;
    flow_table_init(&t, memory, FLOWS, &SECRET);
    static model_t m;
    uint32_t count = 0;
    for (unsigned i = 0; i < KEYS; i++)
        m.place[i] = FLOW_NONE;
    for (int64_t now = 1; now <= STEPS; now++) {
        step(&t, &m, &count, now);
        REQUIRE(t.count == count);
        uint32_t oldest = oldest_of(&m, FLOW_RANKS);
        REQUIRE(flow_table_oldest(&t) == oldest);
        for (uint32_t rank = 0; rank < FLOW_RANKS; rank++)
            REQUIRE(flow_table_oldest_of(&t, rank) == oldest_of(&m, rank));
        for (unsigned i = 0; oldest != FLOW_NONE && i < KEYS; i++)
            if (m.place[i] == oldest)
                REQUIRE(flow_table_used_ns(&t, oldest) == m.used[i] &&
                        flow_table_rank(&t, oldest) == m.rank[i]);
    }
    free(memory);
}

int main(void)
{
    seed = rt_test_env_u64("RT_TEST_SEED", 1);
    printf("seed %" PRIu64 "\n", seed);
    RUN(test_a_key_has_one_flow);
    RUN(test_each_word_of_a_key_counts);
    RUN(test_random_steps);
    return rt_test_result();
}
