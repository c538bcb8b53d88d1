/* What a worker takes for a channel beside its segment: counted, and given back in steps. */
#include "rt_test.h"

#include "base/rt_err.h"
#include "worker/channel_memory.h"

enum { SMALL = 100, LARGE = 40 << 20 };

static worker_t worker;
static wrk_channel_t channel = {.worker = &worker};

/* So that nothing is touched for a head, and what follows is not shifted. */
static void test_a_large_piece_begins_with_a_page(void)
{
    channel_memory_init(&channel, 0);
    uint8_t *large = wrk_take_memory(&channel, LARGE);
    REQUIRE(large != NULL);
    CHECK_EQ((uintptr_t)large % SHM_PAGE_BYTES, 0);
    uint8_t *small = wrk_take_memory(&channel, SMALL);
    REQUIRE(small != NULL);
    CHECK_EQ((uintptr_t)small % RT_LINE_BYTES, 0);
    CHECK_EQ(channel.memory.used_bytes, LARGE + SMALL);
    wrk_give_memory(&channel, small);
    CHECK_EQ(channel.memory.used_bytes, LARGE);
    CHECK(!channel_memory_step(&worker)); /* what is small is freed at once */
    channel_memory_end(&channel);
    unsigned steps = 0;
    while (channel_memory_step(&worker))
        steps++;
    CHECK(steps > 10);
    CHECK_EQ(channel.memory.used_bytes, 0);
}

static void test_a_limit_is_kept(void)
{
    channel_memory_init(&channel, SMALL);
    void *small = wrk_take_memory(&channel, SMALL);
    CHECK(small != NULL);
    CHECK(wrk_take_memory(&channel, 1) == NULL);
    CHECK(rt_err_text()[0] != '\0');
    CHECK_EQ(channel.memory.used_bytes, SMALL);
    channel_memory_end(&channel);
}

int main(void)
{
    RUN(test_a_large_piece_begins_with_a_page);
    RUN(test_a_limit_is_kept);
    return rt_test_result();
}
