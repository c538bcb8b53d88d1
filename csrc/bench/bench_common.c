#include "bench/bench.h"

#include "base/rt_clock.h"
#include "base/rt_linux.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

int64_t bench_option(int argc, char **argv, const char *name, int64_t fallback)
{
    for (int i = 0; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return strtoll(argv[i + 1], NULL, 10);
    return fallback;
}

_Noreturn void bench_fail(const char *what)
{
    fprintf(stderr, "shmring-floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

void bench_pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((unsigned)cpu, &set);
    if (cpu >= 0 && sched_setaffinity(0, sizeof set, &set) < 0)
        fprintf(stderr, "shmring-floor: core %d cannot be used, running unpinned\n", cpu);
}

void bench_fifo(int priority)
{
    struct sched_param p = {.sched_priority = priority};
    prctl(PR_SET_TIMERSLACK, 1UL);
    if (priority > 0 && rt_set_scheduler(SCHED_FIFO, &p) < 0)
        fprintf(stderr, "shmring-floor: SCHED_FIFO is not allowed here, running without it\n");
}

struct sockaddr_in bench_loopback(uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

static int bound(struct sockaddr_in a, int rcvbuf_bytes)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0)
        bench_fail("bind");
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &rcvbuf_bytes, sizeof rcvbuf_bytes) < 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf_bytes, sizeof rcvbuf_bytes);
    return fd;
}

int bench_udp_bound(uint16_t port, int rcvbuf_bytes)
{
    return bound(bench_loopback(port), rcvbuf_bytes);
}

int bench_udp_bound_any(uint16_t port, int rcvbuf_bytes)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    return bound(a, rcvbuf_bytes);
}

uint16_t bench_udp_port(int fd)
{
    struct sockaddr_in a = {0};
    socklen_t bytes = sizeof a;
    if (getsockname(fd, (struct sockaddr *)&a, &bytes) < 0)
        bench_fail("getsockname");
    return ntohs(a.sin_port);
}

int bench_udp_connected(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = bench_loopback(port);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) < 0)
        bench_fail("connect");
    return fd;
}

int64_t bench_real_minus_mono_ns(void)
{
    int64_t best_width = INT64_MAX, offset = 0;
    for (int i = 0; i < 2000; i++) {
        int64_t before = rt_mono_ns();
        int64_t real = rt_real_ns();
        int64_t width = rt_mono_ns() - before;
        if (width < best_width) {
            best_width = width;
            offset = real - (before + width / 2);
        }
    }
    return offset;
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int64_t at_share(const int64_t *sorted, size_t n, double q)
{
    size_t i = (size_t)(q * (double)n);
    return sorted[i < n ? i : n - 1];
}

void bench_print_distribution(const char *name, int64_t *v, size_t n)
{
    if (n == 0) {
        printf("{\"case\": \"%s\", \"n\": 0}\n", name);
        return;
    }
    qsort(v, n, sizeof *v, compare);
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)v[i];
    printf("{\"case\": \"%s\", \"n\": %zu, \"min\": %" PRId64 ", \"p50\": %" PRId64
           ", \"p90\": %" PRId64 ", \"p99\": %" PRId64 ", \"p999\": %" PRId64 ", \"max\": %" PRId64
           ", \"mean\": %.1f}\n",
           name, n, v[0], at_share(v, n, 0.5), at_share(v, n, 0.9), at_share(v, n, 0.99),
           at_share(v, n, 0.999), v[n - 1], sum / (double)n);
}

void bench_print_value(const char *name, const char *metric, double value, const char *unit)
{
    printf("{\"case\": \"%s\", \"metric\": \"%s\", \"value\": %.1f, \"unit\": \"%s\"}\n", name,
           metric, value, unit);
}
