/* The table of names against the plainest possible model of it. */
#include "rt_test.h"

#include "worker/name_table.h"

enum { NAMES = 64, PLACES = 128 };

static name_node_t nodes[NAMES];
static char names[NAMES][16];
static bool present[NAMES];
static name_node_t *places[PLACES];
static name_table_t table;

static void start(void)
{
    memset(places, 0, sizeof places);
    memset(present, 0, sizeof present);
    name_table_init(&table, places, PLACES);
    for (int i = 0; i < NAMES; i++)
        (void)snprintf(names[i], sizeof names[i], "ch-%d", i);
}

static void test_empty(void)
{
    start();
    CHECK(name_table_find(&table, "ch-1") == NULL);
    CHECK(name_table_find(&table, "") == NULL);
}

static void test_all_are_found_and_nothing_else(void)
{
    start();
    for (int i = 0; i < NAMES; i++)
        name_table_add(&table, &nodes[i], names[i]);
    for (int i = 0; i < NAMES; i++) {
        char copy[16];
        memcpy(copy, names[i], sizeof copy);
        CHECK(name_table_find(&table, copy) == &nodes[i]);
    }
    CHECK(name_table_find(&table, "ch-") == NULL);
    CHECK(name_table_find(&table, "ch-64") == NULL);
}

static int first_wrong(void)
{
    for (int i = 0; i < NAMES; i++)
        if (name_table_find(&table, names[i]) != (present[i] ? &nodes[i] : NULL))
            return i;
    return -1;
}

static void test_come_and_go(void)
{
    start();
    uint64_t seed = rt_test_env_u64("RT_TEST_SEED", 21);
    for (int round = 0; round < 20000; round++) {
        uint64_t i = rt_test_rand(&seed) % NAMES;
        if (present[i])
            name_table_remove(&table, &nodes[i]);
        else
            name_table_add(&table, &nodes[i], names[i]);
        present[i] = !present[i];
        int wrong = first_wrong();
        if (wrong >= 0) {
            CHECK_EQ(wrong, -1);
            return;
        }
    }
}

/* All have one home, the last place: they wrap round, and any may leave first. */
static void test_one_home(void)
{
    start();
    name_node_t *same[NAMES];
    static char found[NAMES][16];
    static name_node_t made[NAMES];
    int count = 0;
    for (int i = 0; count < NAMES && i < 100000; i++) {
        (void)snprintf(found[count], sizeof found[count], "x%d", i);
        name_table_add(&table, &made[count], found[count]);
        name_table_remove(&table, &made[count]);
        if ((made[count].hash & (PLACES - 1)) == PLACES - 1) {
            same[count] = &made[count];
            count++;
        }
    }
    REQUIRE(count == NAMES);
    for (int i = 0; i < NAMES; i++)
        name_table_add(&table, same[i], found[i]);
    for (int i = 0; i < NAMES; i += 2)
        name_table_remove(&table, same[i]);
    for (int i = 0; i < NAMES; i++)
        CHECK(name_table_find(&table, found[i]) == (i % 2 ? same[i] : NULL));
}

int main(void)
{
    RUN(test_empty);
    RUN(test_all_are_found_and_nothing_else);
    RUN(test_come_and_go);
    RUN(test_one_home);
    return rt_test_result();
}
