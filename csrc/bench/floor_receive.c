/* An independent receiver: its own process and socket, kernel stamps, a buffer so large that it may be
 * slow. The first eight bytes of each packet are the time it was due (CLOCK_MONOTONIC, host order);
 * lateness = kernel stamp - due, whatever the speed of this program. On loopback the kernel stamps
 * inside the sender's call. */
#include "bench/bench.h"

#include "base/rt_clock.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define BATCH 64
#define RCVBUF_BYTES (256 << 20)

typedef struct slot {
    uint8_t payload[2048];
    char control[64];
    struct iovec iov;
} slot_t;

typedef struct receiver {
    int fd;
    size_t wanted, n, losses;
    int64_t *late_ns;
    int64_t *stamp_ns;
    struct mmsghdr msgs[BATCH];
    slot_t slots[BATCH];
} receiver_t;

static void prepare(receiver_t *r)
{
    for (int i = 0; i < BATCH; i++) {
        r->slots[i].iov = (struct iovec){r->slots[i].payload, sizeof r->slots[i].payload};
        r->msgs[i].msg_hdr = (struct msghdr){.msg_iov = &r->slots[i].iov,
                                             .msg_iovlen = 1,
                                             .msg_control = r->slots[i].control,
                                             .msg_controllen = sizeof r->slots[i].control};
    }
}

static int64_t kernel_stamp_ns(struct msghdr *m)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPNS)
            continue;
        struct timespec ts;
        memcpy(&ts, CMSG_DATA(c), sizeof ts);
        return (int64_t)ts.tv_sec * RT_NS_PER_S + ts.tv_nsec;
    }
    return 0;
}

static void take(receiver_t *r, int i, int64_t real_minus_mono_ns)
{
    int64_t due_ns;
    memcpy(&due_ns, r->slots[i].payload, sizeof due_ns);
    int64_t stamp = kernel_stamp_ns(&r->msgs[i].msg_hdr) - real_minus_mono_ns;
    if (r->n < r->wanted && due_ns != 0) {
        r->late_ns[r->n] = stamp - due_ns;
        r->stamp_ns[r->n++] = stamp;
    }
    r->msgs[i].msg_hdr.msg_controllen = sizeof r->slots[i].control;
}

/* Until all have come, or nothing has for idle_ms after the first (60 s before it). */
static void receive_all(receiver_t *r, int64_t idle_ms, int64_t real_minus_mono_ns)
{
    while (r->n < r->wanted) {
        struct pollfd p = {.fd = r->fd, .events = POLLIN};
        if (poll(&p, 1, r->n ? (int)idle_ms : 60000) <= 0)
            return;
        int got = recvmmsg(r->fd, r->msgs, BATCH, MSG_DONTWAIT, NULL);
        for (int i = 0; i < got; i++)
            take(r, i, real_minus_mono_ns);
    }
}

static int64_t longest_gap_ns(const receiver_t *r)
{
    int64_t longest = 0;
    for (size_t i = 1; i < r->n; i++)
        if (r->stamp_ns[i] - r->stamp_ns[i - 1] > longest)
            longest = r->stamp_ns[i] - r->stamp_ns[i - 1];
    return longest;
}

int bench_receive(int argc, char **argv)
{
    static receiver_t r;
    r.wanted = (size_t)bench_option(argc, argv, "--count", 1000);
    r.fd = bench_udp_bound((uint16_t)bench_option(argc, argv, "--port", 9000), RCVBUF_BYTES);
    int on = 1;
    if (setsockopt(r.fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) < 0)
        bench_fail("SO_TIMESTAMPNS");
    bench_pin((int)bench_option(argc, argv, "--cpu", -1));
    r.late_ns = calloc(r.wanted, sizeof *r.late_ns);
    r.stamp_ns = calloc(r.wanted, sizeof *r.stamp_ns);
    if (r.late_ns == NULL || r.stamp_ns == NULL)
        bench_fail("memory");
    memset(r.late_ns, 0xff, r.wanted * sizeof *r.late_ns);
    memset(r.stamp_ns, 0xff, r.wanted * sizeof *r.stamp_ns);
    prepare(&r);
    printf("{\"ready\": true}\n");
    fflush(stdout);
    receive_all(&r, bench_option(argc, argv, "--idle-ms", 1000), bench_real_minus_mono_ns());

    int64_t span = r.n > 1 ? r.stamp_ns[r.n - 1] - r.stamp_ns[0] : 0;
    bench_print_value("gap", "longest", (double)longest_gap_ns(&r), "ns");
    bench_print_value("rate", "mean", span > 0 ? (double)(r.n - 1) * 1e9 / (double)span : 0, "pps");
    bench_print_distribution("lateness", r.late_ns, r.n);
    free(r.late_ns);
    free(r.stamp_ns);
    return 0;
}
