/* A writer of the boxes dies between any two of its writes to shared memory, and another takes its
 * place. */
#include "shm_test.h"

#include "crash.h"
#include "shm/latest_box.c"
#include "shm/netflux_shm.c"

#include "netflux_put.h"

enum { BYTES = 40 };

static _Alignas(4096) uint8_t engine[1 << 17];
static uint8_t values[BYTES], got[BYTES];
static bool died;

static uint32_t peeked_n(void)
{
    int64_t at;
    uint64_t ticket;
    uint32_t slot, sender, n;
    if (shm_netflux_peek(engine, 4, got, BYTES, &at, &ticket, &slot) != 1)
        return 0;
    memcpy(&sender, got, 4);
    memcpy(&n, got + 4, 4);
    shm_test_fill(values, BYTES, sender, n);
    CHECK_MEM_EQ(got, values, BYTES);
    return n;
}

static void put(uint32_t slot, uint32_t n)
{
    uint8_t mine[BYTES];
    shm_test_fill(mine, BYTES, slot, n);
    netflux_put(engine, slot, mine, BYTES, n);
}

static void clear(void)
{
    crash_at(0);
    memset(engine, 0, sizeof engine);
    crash_at(0);
}

static unsigned long steps_of_put(void)
{
    clear();
    put(1, 1);
    return crash_steps;
}

/* Whether the act came to its k-th step, where it died. */
static bool dies_at(unsigned long k, void (*act)(void))
{
    died = true;
    crash_at(k);
    if (setjmp(crash_exit) == 0) {
        act();
        died = false;
    }
    crash_at(0);
    return died;
}

static void put_11(void)
{
    put(1, 11);
}

/* Before: the values of n - 1, by the same slot or by another. Dead at any step: still those. A
 * later writer, in the same slot or in another: its own, whatever the dead one left. */
static void test_a_dead_writer_changes_nothing(void)
{
    unsigned long steps = steps_of_put();
    CHECK(steps > 5);
    for (uint32_t before = 1; before <= 2; before++) {
        for (uint32_t after = 1; after <= 2; after++) {
            for (unsigned long k = 1; k <= steps; k++) {
                clear();
                put(2, 8);
                put(1, 9);
                put(before, 10);
                CHECK(dies_at(k, put_11));
                CHECK_EQ(peeked_n(), 10);
                put(after, 12);
                CHECK_EQ(peeked_n(), 12);
                put(1, 13);
                put(1, 14);
                CHECK_EQ(peeked_n(), 14);
            }
        }
    }
}

static void test_the_first_writer_may_die_too(void)
{
    for (unsigned long k = 1; k <= steps_of_put(); k++) {
        clear();
        CHECK(dies_at(k, put_11));
        CHECK_EQ(peeked_n(), 0);
        put(1, 2);
        CHECK_EQ(peeked_n(), 2);
    }
}

static void meddle_put(void)
{
    crash_at(0);
    put(2, 50);
    put(2, 51);
}

/* Another writer comes between any two steps: who drew the later ticket wins, and nothing is torn.
 */
static void test_a_writer_that_is_overtaken(void)
{
    unsigned long steps = steps_of_put();
    crash_meddle = meddle_put;
    for (unsigned long k = 1; k <= steps; k++) {
        clear();
        put(1, 9);
        crash_at(k);
        put(1, 10);
        crash_at(0);
        /* step 1 is the ticket's: whoever comes before it has the earlier one */
        CHECK_EQ(peeked_n(), k == 1 ? 10 : 51);
    }
    crash_meddle = NULL;
}

static void publish(uint32_t n)
{
    uint8_t mine[BYTES];
    shm_netflux_rx_t head = {.number = (uint8_t)n, .payload_bytes = BYTES, .at_mono_ns = n};
    shm_test_fill(mine, BYTES, 7, n);
    shm_netflux_publish(engine, &head, n, mine, BYTES);
}

static uint32_t snapshot_n(void)
{
    shm_netflux_rx_t head;
    uint32_t stamp;
    int rc = shm_netflux_snapshot(engine, &head, &stamp, got, BYTES);
    if (rc != 1)
        return 0;
    shm_test_fill(values, BYTES, 7, head.number);
    CHECK_MEM_EQ(got, values, BYTES);
    CHECK_EQ(stamp, head.number);
    CHECK_EQ(head.at_mono_ns, head.number);
    return head.number;
}

static void publish_100(void)
{
    publish(100);
}

static void test_a_dead_worker_leaves_the_last_publication(void)
{
    clear();
    publish(1);
    unsigned long steps = crash_steps;
    for (uint32_t before = 0; before <= 6; before++) {
        for (unsigned long k = 1; k <= steps; k++) {
            clear();
            for (uint32_t n = 1; n <= before; n++)
                publish(n);
            CHECK(dies_at(k, publish_100));
            CHECK_EQ(snapshot_n(), before);
            publish(101);
            CHECK_EQ(snapshot_n(), 101);
        }
    }
}

static void put_state(int64_t n)
{
    shm_netflux_state_t state = {.origin_mono_ns = n, .sending = (uint32_t)n};
    shm_netflux_state_put(engine, &state);
}

static void put_state_2(void)
{
    put_state(2);
}

static void test_a_dead_worker_leaves_a_whole_state(void)
{
    clear();
    put_state(1);
    unsigned long steps = crash_steps;
    for (unsigned long k = 1; k <= steps; k++) {
        shm_netflux_state_t found;
        put_state(1);
        CHECK(dies_at(k, put_state_2));
        CHECK_EQ(shm_netflux_state_get(engine, &found), 1);
        CHECK_EQ(found.origin_mono_ns, 1);
        CHECK_EQ(found.sending, 1);
    }
}

int main(void)
{
    RUN(test_a_dead_writer_changes_nothing);
    RUN(test_the_first_writer_may_die_too);
    RUN(test_a_writer_that_is_overtaken);
    RUN(test_a_dead_worker_leaves_the_last_publication);
    RUN(test_a_dead_worker_leaves_a_whole_state);
    return rt_test_result();
}
