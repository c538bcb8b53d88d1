/* An emulated link as a separate program, so that systems without one can use the same network: the
 * link carries datagrams from the relay's port to another port, and a second link of the same kind
 * carries the answers back.
 *
 *    client 1 ---+                                      +--- way out 1 ---+
 *    client 2 ---+--- port of the relay --- [ link ] ---+--- way out 2 ---+--- --to PORT
 *       ...      |                      --- [ link ] ---|       ...       |
 *
 * Each client has its own way out, so that the far end sees as many peers as there are. All share
 * the two links. Runs until it is killed. */
#include "bench/bench.h"

#include "base/rt_clock.h"
#include "proto/impair/impair.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define MAX_CLIENTS 64
#define BATCH 32
#define MAX_DATAGRAM_BYTES 2048
#define BUFFER_BYTES (16 << 20)

typedef struct relay {
    struct pollfd ends[1 + MAX_CLIENTS]; /* the relay's port, then the ways out */
    struct sockaddr_in clients[MAX_CLIENTS];
    uint32_t count;
    uint16_t to;
    impair_t there;
    impair_t back;
} relay_t;

typedef struct batch {
    uint8_t data[BATCH][MAX_DATAGRAM_BYTES];
    struct iovec places[BATCH];
    struct sockaddr_in from[BATCH];
    struct mmsghdr messages[BATCH];
} batch_t;

static uint32_t client_number(relay_t *r, const struct sockaddr_in *from)
{
    for (uint32_t i = 0; i < r->count; i++)
        if (r->clients[i].sin_port == from->sin_port)
            return i;
    if (r->count == MAX_CLIENTS) {
        errno = EMFILE;
        bench_fail("too many clients for the relay");
    }
    int fd = bench_udp_bound(0, BUFFER_BYTES);
    struct sockaddr_in to = bench_loopback(r->to);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
        bench_fail("connect");
    r->clients[r->count] = *from;
    r->ends[1 + r->count] = (struct pollfd){.fd = fd, .events = POLLIN};
    return r->count++;
}

static void take_in(relay_t *r, batch_t *b, uint32_t end)
{
    for (unsigned i = 0; i < BATCH; i++) {
        b->places[i] = (struct iovec){b->data[i], sizeof b->data[i]};
        b->messages[i].msg_hdr = (struct msghdr){.msg_name = &b->from[i],
                                                 .msg_namelen = sizeof b->from[i],
                                                 .msg_iov = &b->places[i],
                                                 .msg_iovlen = 1};
    }
    int got = recvmmsg(r->ends[end].fd, b->messages, BATCH, MSG_DONTWAIT, NULL);
    int64_t now_ns = rt_mono_ns();
    for (int i = 0; i < got; i++) {
        uint32_t client = end == 0 ? client_number(r, &b->from[i]) : end - 1;
        impair_in_t in = {.data = b->data[i],
                          .len = b->messages[i].msg_len,
                          .tag = &client,
                          .tag_bytes = sizeof client};
        impair_offer(end == 0 ? &r->there : &r->back, &in, now_ns);
    }
}

/* A packet that the kernel has no room for is lost, as on any link. */
static void send_due(relay_t *r, impair_t *link)
{
    impair_out_t out[BATCH];
    size_t n;
    while ((n = impair_emit(link, out, BATCH, rt_mono_ns())) > 0)
        for (size_t i = 0; i < n; i++) {
            uint32_t client;
            memcpy(&client, out[i].tag, sizeof client);
            if (link == &r->there)
                send(r->ends[1 + client].fd, out[i].data, out[i].len, MSG_DONTWAIT);
            else
                sendto(r->ends[0].fd, out[i].data, out[i].len, MSG_DONTWAIT,
                       (struct sockaddr *)&r->clients[client], sizeof r->clients[client]);
        }
}

int bench_relay(int argc, char **argv)
{
    static relay_t r;
    static batch_t b;
    bench_open_links(&r.there, &r.back, MAX_DATAGRAM_BYTES, argc, argv);
    bench_pin((int)bench_option(argc, argv, "--cpu", -1));
    bench_fifo((int)bench_option(argc, argv, "--priority", 0));
    r.to = (uint16_t)bench_option(argc, argv, "--to", 9);
    int fd = bench_udp_bound(0, BUFFER_BYTES);
    r.ends[0] = (struct pollfd){.fd = fd, .events = POLLIN};
    printf("{\"port\": %u}\n", bench_udp_port(fd));
    fflush(stdout);
    for (;;) {
        bench_wait_for_links(&r.there, &r.back, r.ends, 1 + r.count);
        for (uint32_t end = 0; end <= r.count; end++)
            if (r.ends[end].revents != 0)
                take_in(&r, &b, end);
        send_due(&r, &r.there);
        send_due(&r, &r.back);
    }
}
