/* An independent receiver: its own process and socket, kernel timestamps, and a buffer so large
 * that it may be slow. The first eight bytes of each packet are the time it was due
 * (CLOCK_MONOTONIC, host order; 0: not counted). lateness = kernel timestamp - due, independent of
 * this program's speed. On loopback the kernel takes the timestamp inside the sender's call.
 *
 * --count 0 keeps no lateness: it measures rate, longest gap and kernel drops of any stream.
 * --cycle-ns N keeps, instead of lateness, how much longer than N the interval before each packet
 * was. The packets need not carry a time then. The first counts as 0.
 * --word-at N keeps arrivals instead of lateness: for each packet the 8 bytes at N of its payload
 * (big-endian) and its kernel timestamp. Shorter packets count as received without being kept. No
 * more of a packet is copied, so of a coalesced batch only the first is kept. It
 * naps instead of sleeping in the kernel, so that no sender pays for waking it.
 * --any 1 listens on all addresses instead of loopback, for a network namespace of its own.
 * --gro 1 takes batches as the kernel coalesced them, so that it keeps up with a saturated sender.
 * All packets of a batch have the timestamp of the batch. --echo 1 sends each packet back. */
#include "bench/bench.h"

#include "base/rt_bytes.h"
#include "base/rt_clock.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH 64
#define PAYLOAD_BYTES 65536
#define CONTROL_BYTES 128
#define RCVBUF_BYTES (256 << 20)
#define NAP_NS RT_NS_PER_MS
#define CLOCK_SET_NS (100 * RT_NS_PER_US)

typedef struct slot {
    struct sockaddr_in from;
    char control[CONTROL_BYTES];
    struct iovec iov;
    uint8_t payload[PAYLOAD_BYTES];
} slot_t;

typedef struct receiver {
    int fd;
    int echo;
    int64_t cycle_ns;     /* 0: the packets carry the times they were due */
    int64_t word_at;      /* -1: keep lateness; otherwise where the word of an arrival is */
    size_t payload_bytes; /* to copy, at most */
    size_t wanted;        /* packets to keep values of */
    size_t kept;
    int64_t *values; /* lateness; or word, timestamp, word, timestamp, ... */
    size_t packets;
    int64_t first_ns, last_ns, longest_gap_ns; /* kernel stamps */
    uint32_t kernel_drops;
    struct mmsghdr msgs[BATCH];
    slot_t slots[BATCH];
} receiver_t;

/* The control messages that came with a packet. */
typedef struct facts {
    int64_t stamp_ns;
    size_t segment_bytes;
    uint32_t drops;
} facts_t;

static void arm(const receiver_t *r, struct mmsghdr *m, slot_t *s)
{
    s->iov = (struct iovec){s->payload, r->payload_bytes};
    m->msg_hdr = (struct msghdr){.msg_name = &s->from,
                                 .msg_namelen = sizeof s->from,
                                 .msg_iov = &s->iov,
                                 .msg_iovlen = 1,
                                 .msg_control = s->control,
                                 .msg_controllen = sizeof s->control};
}

static facts_t facts_of(struct mmsghdr *m, int64_t real_minus_mono_ns)
{
    facts_t f = {.segment_bytes = m->msg_len};
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m->msg_hdr); c; c = CMSG_NXTHDR(&m->msg_hdr, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
            struct timespec ts;
            memcpy(&ts, CMSG_DATA(c), sizeof ts);
            f.stamp_ns = (int64_t)ts.tv_sec * RT_NS_PER_S + ts.tv_nsec - real_minus_mono_ns;
        } else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL) {
            memcpy(&f.drops, CMSG_DATA(c), sizeof f.drops);
        } else if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) {
            int bytes;
            memcpy(&bytes, CMSG_DATA(c), sizeof bytes);
            f.segment_bytes = (size_t)bytes;
        }
    }
    return f;
}

/* Returns whether the packet counts. */
static bool keep_lateness(receiver_t *r, const uint8_t *payload, int64_t stamp_ns)
{
    int64_t due_ns;
    memcpy(&due_ns, payload, sizeof due_ns);
    if (r->cycle_ns != 0)
        due_ns = r->packets > 0 ? r->last_ns + r->cycle_ns : stamp_ns;
    else if (due_ns == 0)
        return false;
    if (r->kept < r->wanted)
        r->values[r->kept++] = stamp_ns - due_ns;
    return true;
}

static void keep_arrival(receiver_t *r, const uint8_t *payload, size_t bytes, int64_t stamp_ns)
{
    size_t at = (size_t)r->word_at;
    if (r->kept >= r->wanted || at + sizeof(uint64_t) > bytes)
        return;
    r->values[2 * r->kept] =
        (int64_t)((uint64_t)rt_get32(payload + at) << 32 | rt_get32(payload + at + 4));
    r->values[2 * r->kept++ + 1] = stamp_ns;
}

static void count(receiver_t *r, const uint8_t *payload, size_t bytes, int64_t stamp_ns)
{
    if (r->word_at >= 0)
        keep_arrival(r, payload, bytes, stamp_ns);
    else if (!keep_lateness(r, payload, stamp_ns))
        return;
    if (r->packets == 0)
        r->first_ns = stamp_ns;
    else if (stamp_ns - r->last_ns > r->longest_gap_ns)
        r->longest_gap_ns = stamp_ns - r->last_ns;
    r->last_ns = stamp_ns;
    r->packets++;
}

static void take(receiver_t *r, int i, int64_t real_minus_mono_ns)
{
    struct mmsghdr *m = &r->msgs[i];
    slot_t *s = &r->slots[i];
    facts_t f = facts_of(m, real_minus_mono_ns);
    r->kernel_drops = f.drops;
    for (size_t at = 0; at + sizeof(int64_t) <= m->msg_len; at += f.segment_bytes) {
        size_t end = at + f.segment_bytes < m->msg_len ? at + f.segment_bytes : m->msg_len;
        if (end > s->iov.iov_len) /* no more was copied */
            end = s->iov.iov_len;
        count(r, s->payload + at, end > at ? end - at : 0, f.stamp_ns);
    }
    if (r->echo)
        sendto(r->fd, s->payload, m->msg_len, 0, (struct sockaddr *)&s->from, sizeof s->from);
    arm(r, m, s);
}

/* Waits for packets. Returns false if none came for too long: idle_ms, or 60 s before the first. */
static bool wait_for_packets(const receiver_t *r, int64_t idle_ms)
{
    int64_t wait_ms = r->packets > 0 ? idle_ms : 60000;
    struct pollfd p = {.fd = r->fd, .events = POLLIN};
    if (r->word_at < 0)
        return poll(&p, 1, (int)wait_ms) > 0;
    int64_t until_ns = rt_mono_ns() + wait_ms * RT_NS_PER_MS;
    while (poll(&p, 1, 0) <= 0) {
        if (rt_mono_ns() > until_ns)
            return false;
        nanosleep(&(struct timespec){.tv_nsec = NAP_NS}, NULL);
    }
    return true;
}

/* Receives until all have come, or no more do. */
static void receive_all(receiver_t *r, int64_t idle_ms, int64_t real_minus_mono_ns)
{
    while ((r->wanted == 0 || r->packets < r->wanted) && wait_for_packets(r, idle_ms)) {
        int got = recvmmsg(r->fd, r->msgs, BATCH, MSG_DONTWAIT | MSG_TRUNC, NULL);
        for (int i = 0; i < got; i++)
            take(r, i, real_minus_mono_ns);
    }
}

static void set_option(int fd, int level, int name, const char *what)
{
    int on = 1;
    if (setsockopt(fd, level, name, &on, sizeof on) < 0)
        bench_fail(what);
}

/* Of each packet. */
static size_t value_bytes(const receiver_t *r)
{
    return (r->word_at >= 0 ? 2 : 1) * sizeof *r->values;
}

static void open_receiver(receiver_t *r, int argc, char **argv)
{
    r->wanted = (size_t)bench_option(argc, argv, "--count", 1000);
    r->echo = (int)bench_option(argc, argv, "--echo", 0);
    r->cycle_ns = bench_option(argc, argv, "--cycle-ns", 0);
    r->word_at = bench_option(argc, argv, "--word-at", -1);
    if (r->word_at > (int64_t)(PAYLOAD_BYTES - sizeof(uint64_t)))
        r->word_at = PAYLOAD_BYTES - sizeof(uint64_t);
    r->payload_bytes = r->word_at < 0 ? PAYLOAD_BYTES : (size_t)r->word_at + sizeof(uint64_t);
    uint16_t port = (uint16_t)bench_option(argc, argv, "--port", 9000);
    r->fd = bench_option(argc, argv, "--any", 0) ? bench_udp_bound_any(port, RCVBUF_BYTES)
                                                 : bench_udp_bound(port, RCVBUF_BYTES);
    set_option(r->fd, SOL_SOCKET, SO_TIMESTAMPNS, "SO_TIMESTAMPNS");
    set_option(r->fd, SOL_SOCKET, SO_RXQ_OVFL, "SO_RXQ_OVFL");
    if (bench_option(argc, argv, "--gro", 0))
        set_option(r->fd, SOL_UDP, UDP_GRO, "UDP_GRO");
    bench_pin((int)bench_option(argc, argv, "--cpu", -1));
    r->values = calloc(r->wanted + 1, value_bytes(r));
    if (r->values == NULL)
        bench_fail("memory");
    memset(r->values, 0xff, r->wanted * value_bytes(r)); /* no page fault while receiving */
    for (int i = 0; i < BATCH; i++)
        arm(r, &r->msgs[i], &r->slots[i]);
}

static void write_samples(const receiver_t *r, int fd)
{
    const uint8_t *at = (const uint8_t *)r->values;
    size_t left = r->kept * value_bytes(r);
    while (left > 0) {
        ssize_t n = write(fd, at, left);
        if (n < 0)
            bench_fail("--samples-fd");
        at += n;
        left -= (size_t)n;
    }
}

int bench_receive(int argc, char **argv)
{
    static receiver_t r;
    open_receiver(&r, argc, argv);
    int64_t real_minus_mono_ns = bench_real_minus_mono_ns();
    printf("{\"ready\": true, \"port\": %d}\n", bench_udp_port(r.fd));
    fflush(stdout);
    receive_all(&r, bench_option(argc, argv, "--idle-ms", 1000), real_minus_mono_ns);
    if (llabs(bench_real_minus_mono_ns() - real_minus_mono_ns) > CLOCK_SET_NS) {
        fprintf(stderr, "shmring-floor: the wall clock was set during the run: measure again\n");
        return 1;
    }

    int samples_fd = (int)bench_option(argc, argv, "--samples-fd", -1);
    if (samples_fd >= 0)
        write_samples(&r, samples_fd);
    int64_t span = r.last_ns - r.first_ns;
    bench_print_value("gap", "longest", (double)r.longest_gap_ns, "ns");
    bench_print_value("rate", "mean", span > 0 ? (double)(r.packets - 1) * 1e9 / (double)span : 0,
                      "pps");
    bench_print_value("packets", "received", (double)r.packets, "packets");
    bench_print_value("packets", "dropped", (double)r.kernel_drops, "packets");
    if (r.wanted > 0 && r.word_at < 0)
        bench_print_distribution("lateness", r.values, r.kept);
    free(r.values);
    return 0;
}
