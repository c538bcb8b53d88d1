/* The best that a plain program achieves: SCHED_FIFO, sleep until a fixed margin before the
 * deadline, spin the rest, one sendto. The payload carries the deadline for bench_receive.
 *
 * --times-fd FD reads when each packet is due, after the first one, as int64 in ns. The payload
 * then begins with the number of the packet (big-endian). --address N: an IPv4 address as a number,
 * instead of loopback. --departure 1: the payload carries the time right before the send call
 * instead of the deadline, for the delay of the path alone. */
#include "bench/bench.h"

#include "base/rt_atomic.h"
#include "base/rt_clock.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void sleep_until(int64_t until_mono_ns)
{
    struct timespec ts = {.tv_sec = until_mono_ns / RT_NS_PER_S,
                          .tv_nsec = until_mono_ns % RT_NS_PER_S};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR) {
    }
}

/* NULL: there are none. */
static int64_t *read_times(int fd, int64_t count)
{
    if (fd < 0)
        return NULL;
    size_t bytes = (size_t)count * sizeof(int64_t);
    int64_t *times = malloc(bytes + 1);
    if (times == NULL)
        bench_fail("memory");
    for (size_t at = 0; at < bytes;) {
        ssize_t n = pread(fd, (uint8_t *)times + at, bytes - at, (off_t)at);
        if (n <= 0)
            bench_fail("--times-fd");
        at += (size_t)n;
    }
    return times;
}

static int connected_to(int64_t address, uint16_t port)
{
    if (address < 0)
        return bench_udp_connected(port);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    a.sin_addr.s_addr = htonl((uint32_t)address);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) < 0)
        bench_fail("connect");
    return fd;
}

int bench_timed(int argc, char **argv)
{
    int64_t count = bench_option(argc, argv, "--count", 1000);
    int64_t interval_ns = bench_option(argc, argv, "--interval-ns", RT_NS_PER_MS);
    int64_t margin_ns = bench_option(argc, argv, "--margin-ns", 150 * RT_NS_PER_US);
    int64_t ahead_ns = bench_option(argc, argv, "--ahead-ns", 0);
    uint8_t payload[64] = {0};
    int fd = connected_to(bench_option(argc, argv, "--address", -1),
                          (uint16_t)bench_option(argc, argv, "--port", 9000));
    int64_t *times = read_times((int)bench_option(argc, argv, "--times-fd", -1), count);
    bench_pin((int)bench_option(argc, argv, "--cpu", -1));
    mlockall(MCL_CURRENT | MCL_FUTURE);
    bench_fifo((int)bench_option(argc, argv, "--priority", 80));

    bool departure = bench_option(argc, argv, "--departure", 0);
    int64_t start_ns = rt_mono_ns() + 100 * RT_NS_PER_MS;
    for (int64_t i = 0; i < count; i++) {
        int64_t due_ns = start_ns + (times != NULL ? times[i] : i * interval_ns);
        uint64_t word = times != NULL ? htobe64((uint64_t)i) : (uint64_t)due_ns;
        memcpy(payload, &word, sizeof word);
        if (due_ns - margin_ns > rt_mono_ns())
            sleep_until(due_ns - margin_ns);
        while (rt_mono_ns() < due_ns - ahead_ns)
            rt_cpu_relax();
        if (departure) {
            int64_t now_ns = rt_mono_ns();
            memcpy(payload, &now_ns, sizeof now_ns);
        }
        if (send(fd, payload, sizeof payload, 0) < 0 && errno != ECONNREFUSED)
            bench_fail("send");
    }
    free(times);
    return 0;
}
