/* The best that a plain program achieves: SCHED_FIFO, sleep until a fixed margin before the
 * deadline, spin the rest, one sendto. The payload carries the deadline for bench_receive. */
#include "bench/bench.h"

#include "base/rt_atomic.h"
#include "base/rt_clock.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>

static void sleep_until(int64_t until_mono_ns)
{
    struct timespec ts = {.tv_sec = until_mono_ns / RT_NS_PER_S,
                          .tv_nsec = until_mono_ns % RT_NS_PER_S};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR) {
    }
}

int bench_timed(int argc, char **argv)
{
    int64_t count = bench_option(argc, argv, "--count", 1000);
    int64_t interval_ns = bench_option(argc, argv, "--interval-ns", RT_NS_PER_MS);
    int64_t margin_ns = bench_option(argc, argv, "--margin-ns", 150 * RT_NS_PER_US);
    int64_t ahead_ns = bench_option(argc, argv, "--ahead-ns", 0);
    uint8_t payload[64] = {0};
    int fd = bench_udp_connected((uint16_t)bench_option(argc, argv, "--port", 9000));
    bench_pin((int)bench_option(argc, argv, "--cpu", -1));
    mlockall(MCL_CURRENT | MCL_FUTURE);
    bench_fifo((int)bench_option(argc, argv, "--priority", 80));

    int64_t due_ns = rt_mono_ns() + 100 * RT_NS_PER_MS;
    for (int64_t i = 0; i < count; i++, due_ns += interval_ns) {
        memcpy(payload, &due_ns, sizeof due_ns);
        if (due_ns - margin_ns > rt_mono_ns())
            sleep_until(due_ns - margin_ns);
        while (rt_mono_ns() < due_ns - ahead_ns)
            rt_cpu_relax();
        if (send(fd, payload, sizeof payload, 0) < 0 && errno != ECONNREFUSED)
            bench_fail("send");
    }
    return 0;
}
