/* The bell of the tx ring: a producer that commits while the worker sleeps rings, even if another
 * one is about to ring and is stopped before it does. */
#include "shm_test.h"

static shm_segment_t seg;
static tx_queue_t queue;
static tx_producer_t first, second;
static int fd;

static void set_up(void)
{
    shm_config_t c = shm_test_config(65536, 64);
    fd = shm_test_open(&seg, &c);
    CHECK_EQ(tx_queue_init(&queue, &seg, 0), 0);
    CHECK_EQ(tx_producer_init(&first, &seg, 1), 0);
    CHECK_EQ(tx_producer_init(&second, &seg, 2), 0);
}

static void test_nobody_rings_a_worker_that_is_awake(void)
{
    set_up();
    CHECK_EQ(tx_producer_must_ring(&first), 0);
    tx_queue_arm_bell(&queue);
    tx_queue_disarm_bell(&queue);
    CHECK_EQ(tx_producer_must_ring(&first), 0);
    shm_test_close(&seg, fd);
}

static void test_one_ring_is_enough(void)
{
    set_up();
    tx_queue_arm_bell(&queue);
    CHECK_EQ(tx_producer_must_ring(&first), 1);
    tx_producer_rang(&first);
    CHECK_EQ(tx_producer_must_ring(&second), 0);
    CHECK_EQ(tx_producer_must_ring(&first), 0);
    shm_test_close(&seg, fd);
}

static void test_who_is_stopped_before_it_rings_silences_nobody(void)
{
    set_up();
    tx_queue_arm_bell(&queue);
    CHECK_EQ(tx_producer_must_ring(&first), 1); /* and stands still now */
    CHECK_EQ(tx_producer_must_ring(&second), 1);
    tx_producer_rang(&second);
    CHECK_EQ(tx_producer_must_ring(&second), 0);
    shm_test_close(&seg, fd);
}

static void test_who_comes_late_silences_no_later_arming(void)
{
    set_up();
    tx_queue_arm_bell(&queue);
    CHECK_EQ(tx_producer_must_ring(&first), 1);
    for (int i = 0; i < 3; i++) {
        tx_queue_disarm_bell(&queue);
        tx_queue_arm_bell(&queue);
    }
    tx_producer_rang(&first);
    CHECK_EQ(tx_producer_must_ring(&second), 1);
    tx_producer_rang(&first);
    CHECK_EQ(tx_producer_must_ring(&first), 1);
    shm_test_close(&seg, fd);
}

/* A successor counts on where its predecessor was. */
static void test_a_successor_arms_anew(void)
{
    set_up();
    tx_queue_arm_bell(&queue);
    CHECK_EQ(tx_producer_must_ring(&first), 1);
    tx_queue_t next;
    CHECK_EQ(tx_queue_init(&next, &seg, 1), 0);
    tx_queue_arm_bell(&next);
    tx_producer_rang(&first);
    CHECK_EQ(tx_producer_must_ring(&second), 1);
    shm_test_close(&seg, fd);
}

int main(void)
{
    RUN(test_nobody_rings_a_worker_that_is_awake);
    RUN(test_one_ring_is_enough);
    RUN(test_who_is_stopped_before_it_rings_silences_nobody);
    RUN(test_who_comes_late_silences_no_later_arming);
    RUN(test_a_successor_arms_anew);
    return rt_test_result();
}
