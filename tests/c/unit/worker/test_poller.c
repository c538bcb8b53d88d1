/* How long the poller sleeps, and what wakes it, with epoll_pwait2 and without (Linux before 5.11).
 */
#include "rt_test.h"

#include "base/rt_clock.h"
#include "worker/poller.h"

#include <sys/eventfd.h>
#include <unistd.h>

static poller_t poller;
static wrk_source_t source;

static void open_with(bool sleeps_in_poll)
{
    CHECK_EQ(poller_open(&poller), 0);
    poller.sleeps_in_poll = sleeps_in_poll;
    int fd = eventfd(0, EFD_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_EQ(poller_watch(&poller, &source, fd, EPOLLIN), 0);
}

static void end(void)
{
    close(source.fd);
    poller_close(&poller);
}

static void check_sleep(bool sleeps_in_poll)
{
    open_with(sleeps_in_poll);
    int64_t begin = rt_mono_ns();
    CHECK_EQ(poller_wait(&poller, 300 * 1000), 0); /* below epoll_wait's millisecond */
    CHECK(rt_mono_ns() - begin >= 300 * 1000);
    end();
}

static void check_event(bool sleeps_in_poll)
{
    open_with(sleeps_in_poll);
    uint32_t events = 0;
    CHECK_EQ(eventfd_write(source.fd, 1), 0);
    CHECK_EQ(poller_wait(&poller, 60 * RT_NS_PER_S), 1);
    CHECK(poller_next(&poller, &events) == &source);
    CHECK_EQ(events, EPOLLIN);
    end();
}

static void test_with_epoll_pwait2(void)
{
    check_sleep(false);
    check_event(false);
}

static void test_without_epoll_pwait2(void)
{
    check_sleep(true);
    check_event(true);
}

int main(void)
{
    RUN(test_with_epoll_pwait2);
    RUN(test_without_epoll_pwait2);
    return rt_test_result();
}
