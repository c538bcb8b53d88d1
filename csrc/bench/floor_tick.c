/* What a wake-up costs at best: a SCHED_FIFO thread spins until an instant and writes to an
 * eventfd, on which another thread waits with epoll. Nothing is done early. */
#include "bench/bench.h"

#include "base/rt_atomic.h"
#include "base/rt_clock.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define MARGIN_NS (150 * RT_NS_PER_US)

typedef struct grid_keeper {
    int fd;
    int cpu;
    int64_t count;
    int64_t period_ns;
    int64_t first_ns;
} grid_keeper_t;

static void *keep_grid(void *argument)
{
    const grid_keeper_t *k = argument;
    bench_pin(k->cpu);
    bench_fifo(80);
    for (int64_t i = 0; i < k->count; i++) {
        int64_t due_ns = k->first_ns + i * k->period_ns;
        struct timespec ts = {.tv_sec = (due_ns - MARGIN_NS) / RT_NS_PER_S,
                              .tv_nsec = (due_ns - MARGIN_NS) % RT_NS_PER_S};
        (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
        while (rt_mono_ns() < due_ns)
            rt_cpu_relax();
        if (write(k->fd, &(uint64_t){1}, sizeof(uint64_t)) < 0)
            bench_fail("write to an eventfd");
    }
    return NULL;
}

/* Takes the events. If several came together, only the last one has a lateness of its own. */
static size_t follow_grid(const grid_keeper_t *k, int epoll_fd, int64_t *late_ns)
{
    size_t n = 0;
    int64_t taken = 0;
    while (taken < k->count) {
        struct epoll_event event;
        uint64_t came = 0;
        if (epoll_wait(epoll_fd, &event, 1, -1) != 1 || read(k->fd, &came, sizeof came) < 0)
            continue;
        taken += (int64_t)came;
        late_ns[n++] = rt_mono_ns() - (k->first_ns + (taken - 1) * k->period_ns);
    }
    return n;
}

int bench_tick(int argc, char **argv)
{
    grid_keeper_t k = {.count = bench_option(argc, argv, "--count", 1000),
                       .period_ns = bench_option(argc, argv, "--interval-ns", RT_NS_PER_MS),
                       .cpu = (int)bench_option(argc, argv, "--cpu", -1)};
    int64_t *late_ns = malloc((size_t)k.count * sizeof *late_ns);
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    k.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (late_ns == NULL || k.fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, k.fd, &event) < 0)
        bench_fail("eventfd");
    bench_pin((int)bench_option(argc, argv, "--other-cpu", -1));
    k.first_ns = rt_mono_ns() + 20 * RT_NS_PER_MS;
    pthread_t thread;
    if (pthread_create(&thread, NULL, keep_grid, &k) != 0)
        bench_fail("pthread_create");
    bench_print_distribution("tick", late_ns, follow_grid(&k, epoll_fd, late_ns));
    (void)pthread_join(thread, NULL);
    free(late_ns);
    return 0;
}
