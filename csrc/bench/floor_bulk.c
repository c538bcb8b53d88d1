/* How many small datagrams two cores transfer over loopback when both sides batch: one thread sends
 * GSO batches, another receives GRO batches and counts. */
#include "bench/bench.h"

#include "base/rt_atomic.h"
#include "base/rt_clock.h"

#include <errno.h>
#include <netinet/udp.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

#define MAX_BATCH_BYTES 65000
#define RCVBUF_BYTES (64 << 20)

typedef struct counter {
    int fd;
    int64_t bytes_per_packet;
    _Atomic int stop;
    int64_t packets;
} counter_t;

static void *count_packets(void *arg)
{
    counter_t *c = arg;
    static uint8_t buffer[1 << 16];
    while (!atomic_load(&c->stop)) {
        ssize_t n = recv(c->fd, buffer, sizeof buffer, MSG_DONTWAIT);
        if (n > 0)
            c->packets += n / c->bytes_per_packet;
    }
    return NULL;
}

static int64_t send_for(int fd, int64_t seconds, size_t batch_bytes, int segment_bytes)
{
    static uint8_t buffer[MAX_BATCH_BYTES];
    int64_t sent = 0;
    if (setsockopt(fd, SOL_UDP, UDP_SEGMENT, &segment_bytes, sizeof segment_bytes) < 0)
        bench_fail("UDP_SEGMENT");
    int64_t until = rt_mono_ns() + seconds * RT_NS_PER_S;
    while (rt_mono_ns() < until)
        if (send(fd, buffer, batch_bytes, 0) > 0)
            sent += (int64_t)batch_bytes / segment_bytes;
    return sent;
}

int bench_bulk(int argc, char **argv)
{
    int64_t seconds = bench_option(argc, argv, "--seconds", 2);
    int64_t bytes = bench_option(argc, argv, "--bytes", 64);
    int64_t segments = bench_option(argc, argv, "--segments", 64);
    if (bytes < 1 || bytes * segments > MAX_BATCH_BYTES) {
        errno = EINVAL;
        bench_fail("--bytes times --segments must be at most 65000");
    }
    int cpu = (int)bench_option(argc, argv, "--cpu", -1);
    uint16_t port = (uint16_t)bench_option(argc, argv, "--port", 0);
    counter_t c = {.fd = bench_udp_bound(port, RCVBUF_BYTES), .bytes_per_packet = bytes};
    int on = 1;
    if (setsockopt(c.fd, SOL_UDP, UDP_GRO, &on, sizeof on) < 0)
        bench_fail("UDP_GRO");

    pthread_t receiver;
    if (pthread_create(&receiver, NULL, count_packets, &c) != 0)
        bench_fail("pthread_create");
    bench_pin(cpu);
    int64_t start = rt_mono_ns();
    int64_t sent = send_for(bench_udp_connected(bench_udp_port(c.fd)), seconds,
                            (size_t)(bytes * segments), (int)bytes);
    double elapsed_s = (double)(rt_mono_ns() - start) / 1e9;
    atomic_store(&c.stop, 1);
    pthread_join(receiver, NULL);
    bench_print_value("bulk", "sent", (double)sent / elapsed_s, "pps");
    bench_print_value("bulk", "received", (double)c.packets / elapsed_s, "pps");
    return 0;
}
