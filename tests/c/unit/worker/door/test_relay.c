/* What a relay passes on, and how often. */
#include "rt_test.h"

#include "base/rt_err.h"
#include "shm/ctl_msg.h"
#include "worker/door/relay.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void test_a_user_has_a_burst_and_then_a_rate(void)
{
    rt_a64_t schedule = 0;
    int64_t now = 5 * RT_NS_PER_S;
    for (int i = 0; i < RELAY_BURST; i++)
        CHECK_EQ(relay_take_turn(&schedule, now), 0);
    CHECK_EQ(relay_take_turn(&schedule, now), RELAY_PERIOD_NS);
    CHECK_EQ(relay_take_turn(&schedule, now), 2 * RELAY_PERIOD_NS);
    now += 3 * RELAY_PERIOD_NS;
    CHECK_EQ(relay_take_turn(&schedule, now), 0);
    CHECK_EQ(relay_take_turn(&schedule, now), RELAY_PERIOD_NS);
    now += RT_NS_PER_S; /* a long rest brings a burst and no more */
    for (int i = 0; i < RELAY_BURST; i++)
        CHECK_EQ(relay_take_turn(&schedule, now), 0);
    CHECK_EQ(relay_take_turn(&schedule, now), RELAY_PERIOD_NS);
}

static void test_only_requests_go_to_a_worker(void)
{
    struct {
        ctl_header_t head;
        uint8_t body[sizeof(ctl_channel_t) + CTL_ENGINE_BYTES + 1];
    } message = {.head = {.magic = CTL_MAGIC, .op = CTL_PING}};
    CHECK_EQ(relay_check(&message, sizeof message.head, false), 0);
    const size_t most = sizeof message.head + sizeof message.body - 1;
    CHECK_EQ(relay_check(&message, most, false), 0);
    CHECK_EQ(relay_check(&message, most + 1, false), -EBADMSG);
    CHECK_EQ(relay_check(&message, most + 1, true), 0);
    CHECK_EQ(relay_check(&message, sizeof message.head - 1, false), -EBADMSG);
    message.head.op = CTL_CLIENT; /* it says nothing about who it is */
    CHECK_EQ(relay_check(&message, sizeof message.head, false), -EBADMSG);
    message.head.op = 4711; /* the worker knows what it knows */
    CHECK_EQ(relay_check(&message, sizeof message.head, false), 0);
    message.head.magic++;
    CHECK_EQ(relay_check(&message, sizeof message.head, false), -EBADMSG);
}

static void test_only_udp_sockets_go_to_the_pool(void)
{
    const struct {
        int fd;
        bool good;
    } all[] = {
        {socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), true},
        {socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0), true},
        {socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), false},
        {socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), false},
        {eventfd(0, EFD_CLOEXEC), false},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (all[i].fd >= 0)
            CHECK_EQ(relay_is_udp(all[i].fd), all[i].good);
        close(all[i].fd);
    }
}

int main(void)
{
    RUN(test_a_user_has_a_burst_and_then_a_rate);
    RUN(test_only_requests_go_to_a_worker);
    RUN(test_only_udp_sockets_go_to_the_pool);
    return rt_test_result();
}
