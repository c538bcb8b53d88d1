/* Round trip of one small datagram between two threads that never
 * sleep, with plain send and recv. */
#include "bench/bench.h"

#include "base/rt_atomic.h"
#include "base/rt_clock.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>

typedef struct echo {
    int fd;
    int cpu;
    _Atomic int stop;
} echo_t;

static void *answer(void *arg)
{
    echo_t *e = arg;
    uint8_t buffer[64];
    bench_pin(e->cpu);
    while (!atomic_load_explicit(&e->stop, memory_order_relaxed)) {
        struct sockaddr_in from;
        socklen_t from_bytes = sizeof from;
        ssize_t n = recvfrom(e->fd, buffer, sizeof buffer, MSG_DONTWAIT, (struct sockaddr *)&from,
                             &from_bytes);
        if (n > 0)
            sendto(e->fd, buffer, (size_t)n, 0, (struct sockaddr *)&from, from_bytes);
    }
    return NULL;
}

int bench_rtt(int argc, char **argv)
{
    size_t count = (size_t)bench_option(argc, argv, "--count", 20000);
    echo_t e = {.fd = bench_udp_bound((uint16_t)bench_option(argc, argv, "--port", 0), 1 << 20),
                .cpu = (int)bench_option(argc, argv, "--cpu", 1)};
    int64_t *rtt_ns = calloc(count, sizeof *rtt_ns);
    pthread_t thread;
    if (rtt_ns == NULL || pthread_create(&thread, NULL, answer, &e) != 0)
        bench_fail("set-up");
    bench_pin(0);
    int fd = bench_udp_connected(bench_udp_port(e.fd));
    uint8_t buffer[64] = {0};
    for (size_t i = 0; i < count; i++) {
        int64_t start = rt_mono_ns();
        if (send(fd, buffer, sizeof buffer, 0) < 0)
            bench_fail("send");
        while (recv(fd, buffer, sizeof buffer, MSG_DONTWAIT) < 0) {
        }
        rtt_ns[i] = rt_mono_ns() - start;
    }
    atomic_store(&e.stop, 1);
    pthread_join(thread, NULL);
    bench_print_distribution("rtt", rtt_ns, count);
    free(rtt_ns);
    return 0;
}
