#include "base/rt_clock.h"
#include "base/rt_futex.h"
#include "rt_test.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SLEEPERS = 3 };

/* Far more than anything here takes; a test that needs it has failed. */
#define TOO_LONG (20 * RT_NS_PER_S)

static rt_a32_t word;
static atomic_uint asleep;
static atomic_uint woken;

static int64_t in_ns(int64_t ns)
{
    return rt_mono_ns() + ns;
}

static void test_a_changed_word_is_not_slept_on(void)
{
    rt_store_relaxed(&word, 5);
    CHECK_EQ(rt_futex_wait(&word, 4, RT_NEVER_NS), 0);
    CHECK_EQ(rt_futex_wait(&word, 6, in_ns(TOO_LONG)), 0);
}

static void test_the_time_limit_is_a_point_on_the_monotonic_clock(void)
{
    rt_store_relaxed(&word, 5);
    static const int64_t spans[] = {-RT_NS_PER_S, 0, 1, RT_NS_PER_US, 3 * RT_NS_PER_MS};
    for (size_t i = 0; i < sizeof spans / sizeof spans[0]; i++) {
        int64_t until = in_ns(spans[i]);
        CHECK_EQ(rt_futex_wait(&word, 5, until), -ETIMEDOUT);
        CHECK(rt_mono_ns() >= until); /* never early */
    }
    CHECK_EQ(rt_futex_wait(&word, 5, 0), -ETIMEDOUT);
    /* No time at all is the caller's mistake and must not become an endless sleep. */
    CHECK_EQ(rt_futex_wait(&word, 5, -1), -EINVAL);
}

static void *sleep_on_word(void *arg)
{
    int64_t until = *(const int64_t *)arg;
    atomic_fetch_add(&asleep, 1);
    while (rt_load_acquire(&word) == 7)
        if (rt_futex_wait(&word, 7, until) != 0)
            return NULL;
    atomic_fetch_add(&woken, 1);
    return NULL;
}

/* The sleepers are counted before they sleep: what counts them asleep is the wake's own answer. */
static void wake_sleepers(int64_t until)
{
    pthread_t threads[SLEEPERS];
    atomic_store(&asleep, 0);
    atomic_store(&woken, 0);
    rt_store_relaxed(&word, 7);
    for (int i = 0; i < SLEEPERS; i++)
        REQUIRE(pthread_create(&threads[i], NULL, sleep_on_word, &until) == 0);
    while (atomic_load(&asleep) < SLEEPERS)
        usleep(100);
    int heard = 0;
    int64_t deadline = in_ns(TOO_LONG);
    /* The word still says 7: woken sleepers go back to sleep, as after a spurious wake. */
    while (heard < SLEEPERS && CHECK(rt_mono_ns() < deadline)) {
        heard = rt_futex_wake_all(&word);
        CHECK(heard <= SLEEPERS);
    }
    rt_store_release(&word, 8);
    (void)rt_futex_wake_all(&word);
    for (int i = 0; i < SLEEPERS; i++)
        pthread_join(threads[i], NULL);
    CHECK_EQ(atomic_load(&woken), SLEEPERS);
}

static void test_a_wake_reaches_every_sleeper(void)
{
    CHECK_EQ(rt_futex_wake_all(&word), 0);
    wake_sleepers(RT_NEVER_NS);
    wake_sleepers(in_ns(TOO_LONG));
}

/* The same word at two addresses, in two processes: a PRIVATE futex would never be woken. */
static void test_processes_wake_each_other(void)
{
    int fd = memfd_create("test_rt_futex", MFD_CLOEXEC);
    REQUIRE(fd >= 0 && ftruncate(fd, 4096) == 0);
    rt_a32_t *here = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    REQUIRE(here != MAP_FAILED);
    pid_t pid = fork();
    if (pid == 0) {
        rt_a32_t *there = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        int rc = there == MAP_FAILED || there == here;
        while (rc == 0 && rt_load_acquire(there) == 0)
            rc = rt_futex_wait(there, 0, in_ns(TOO_LONG));
        _exit(rc == 0 ? 0 : 1);
    }
    REQUIRE(pid > 0);
    int64_t deadline = in_ns(TOO_LONG);
    while (rt_futex_wake_all(here) == 0 && CHECK(rt_mono_ns() < deadline))
        usleep(100);
    rt_store_release(here, 1);
    (void)rt_futex_wake_all(here);
    int status = 1;
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    munmap(here, 4096);
    close(fd);
}

static void on_signal(int number)
{
    (void)number;
}

static void *interrupt_until_it_ends(void *arg)
{
    pthread_t sleeper = *(pthread_t *)arg;
    while (rt_load_acquire(&word) == 0) {
        (void)pthread_kill(sleeper, SIGUSR1);
        usleep(500);
    }
    return NULL;
}

/* Python's signal handlers run between two calls only: a sleep must not outlast a Ctrl-C. */
static void test_a_signal_ends_the_sleep(void)
{
    struct sigaction act = {.sa_handler = on_signal};
    CHECK_EQ(sigaction(SIGUSR1, &act, NULL), 0);
    pthread_t self = pthread_self(), thread;
    rt_store_relaxed(&word, 0);
    REQUIRE(pthread_create(&thread, NULL, interrupt_until_it_ends, &self) == 0);
    CHECK_EQ(rt_futex_wait(&word, 0, in_ns(TOO_LONG)), -EINTR);
    CHECK_EQ(rt_futex_wait(&word, 0, RT_NEVER_NS), -EINTR);
    rt_store_release(&word, 1);
    pthread_join(thread, NULL);
}

int main(void)
{
    RUN(test_a_changed_word_is_not_slept_on);
    RUN(test_the_time_limit_is_a_point_on_the_monotonic_clock);
    RUN(test_a_wake_reaches_every_sleeper);
    RUN(test_processes_wake_each_other);
    RUN(test_a_signal_ends_the_sleep);
    return rt_test_result();
}
