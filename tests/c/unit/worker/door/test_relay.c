/* What a relay passes on, and how often. */
#include "rt_test.h"

#include "base/rt_err.h"
#include "shm/ctl_msg.h"
#include "worker/door/relay.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
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

/* --- a refusal ------------------------------------------------------------------------------- */

static const char reason[] = "{\"error\": \"the limit is 4\"}";

static int listen_as_pool(const char *folder)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof at.sun_path, "%s/pool.sock", folder);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    CHECK_EQ(bind(fd, (const struct sockaddr *)&at, sizeof at), 0);
    CHECK_EQ(listen(fd, 4), 0);
    return fd;
}

static void relay_in_child(int client, const char *folder)
{
    static rt_a64_t schedule;
    struct ucred peer = {.pid = getpid(), .uid = getuid()};
    if (fork() != 0)
        return;
    relay_run(client, &peer, folder, &schedule);
    _exit(0);
}

static void say_hello(int fd)
{
    struct {
        ctl_header_t head;
        ctl_hello_t body;
    } hello = {.head = {.magic = CTL_MAGIC, .op = CTL_HELLO, .body_bytes = sizeof hello.body},
               .body = {.slot = CTL_HELLO_POOL}};
    CHECK_EQ(send(fd, &hello, sizeof hello, MSG_NOSIGNAL), (ssize_t)sizeof hello);
    CHECK(recv(fd, &hello, sizeof hello, 0) > 0);
}

/* The pool refuses a client when it is introduced. At that time the client's request may have come
 * (unread), or may come after the pool has hung up (late). */
static void check_refusal(const char *folder, int listener, bool late)
{
    int ends[2];
    char text[256] = {0};
    CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    relay_in_child(ends[1], folder);
    close(ends[1]);
    say_hello(ends[0]);
    int pool = accept(listener, NULL, NULL);
    CHECK(recv(pool, text, sizeof text, 0) > 0); /* the introduction */
    if (!late) {
        CHECK(send(ends[0], "{}", 2, MSG_NOSIGNAL) == 2);
        CHECK(recv(pool, text, sizeof text, MSG_PEEK) > 0);
    }
    CHECK_EQ(send(pool, reason, sizeof reason, MSG_NOSIGNAL), (ssize_t)sizeof reason);
    close(pool);
    if (late)
        (void)send(ends[0], "{}", 2, MSG_NOSIGNAL);
    memset(text, 0, sizeof text);
    ssize_t got = recv(ends[0], text, sizeof text, 0);
    if (got < 0)
        got = recv(ends[0], text, sizeof text, 0);
    CHECK_EQ(got, (ssize_t)sizeof reason);
    CHECK(strcmp(text, reason) == 0);
    close(ends[0]);
    CHECK(wait(NULL) > 0);
}

static void test_the_reason_of_a_refusal_is_passed_on(void)
{
    char folder[] = "/tmp/shmring-test-relay-XXXXXX", path[64];
    CHECK(mkdtemp(folder) != NULL);
    int listener = listen_as_pool(folder);
    for (int i = 0; i < 50; i++)
        check_refusal(folder, listener, i % 2 != 0);
    close(listener);
    snprintf(path, sizeof path, "%s/pool.sock", folder);
    unlink(path);
    rmdir(folder);
}

int main(void)
{
    RUN(test_a_user_has_a_burst_and_then_a_rate);
    RUN(test_only_requests_go_to_a_worker);
    RUN(test_only_udp_sockets_go_to_the_pool);
    RUN(test_the_reason_of_a_refusal_is_passed_on);
    return rt_test_result();
}
