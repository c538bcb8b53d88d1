/* udp.c: UDP sockets, and the network behind them.
 *
 * What leaves is the judge's at once: whatever a network does to it is no matter of the sender.
 * What comes is drawn beforehand: at its time a datagram, or several that the kernel merged (GRO),
 * is queued at the socket, unless it is lost, doubled, late, or the socket is full. */
#include "sim.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#define RX_MOST 96u
#define GRO_MOST 8u

static struct sockaddr_in address(uint8_t host, uint16_t port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons(port),
                                .sin_addr.s_addr = htonl(0x0a000000u | host)};
}

/* --- out -------------------------------------------------------------------------------------- */

static uint16_t segment_of(const struct msghdr *m)
{
    struct msghdr *mutable = (struct msghdr *)(uintptr_t)m;
    uint16_t segment = 0;
    if (m->msg_controllen == 0)
        return 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(mutable); c != NULL; c = CMSG_NXTHDR(mutable, c))
        if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_SEGMENT)
            memcpy(&segment, CMSG_DATA(c), sizeof segment);
    return segment;
}

static void writable_again(uint64_t of)
{
    (void)of;
    file_t *file = udp_of_port(OWN_PORT);
    if (file != NULL)
        file_edge(file);
}

/* Full for a while, as a socket is whose card is slow. Returns the error. */
static int full(file_t *file)
{
    chance_t *c = &sim.calls;
    if (chance_permille(c, 500))
        return ENOBUFS;
    file->blocked_until_ns = sim_clock.now_ns + chance_between(c, NS_PER_US, 3 * NS_PER_MS);
    sim_at(file->blocked_until_ns, writable_again, 0);
    return EAGAIN;
}

static int trouble(file_t *file, bool merged)
{
    chance_t *c = &sim.calls;
    if (sim_clock.now_ns < file->blocked_until_ns)
        return EAGAIN;
    if (!chance_permille(c, sim.plan.send_trouble))
        return 0;
    switch (chance_below(c, 4)) {
    case 0:
        return merged ? EIO
                      : ECONNREFUSED; /* the card cannot do it; an old answer of a closed port */
    default:
        return full(file);
    }
}

ssize_t udp_put(file_t *file, const struct msghdr *m)
{
    static uint8_t bytes[65536];
    size_t total = 0;
    uint16_t segment = segment_of(m);
    int error = trouble(file, segment != 0);
    if (error != 0) {
        sim_trace("send fails: %s", strerror(error));
        errno = error;
        return -1;
    }
    for (size_t i = 0; i < m->msg_iovlen; i++) {
        if (m->msg_iov[i].iov_len != 0)
            memcpy(bytes + total, m->msg_iov[i].iov_base, m->msg_iov[i].iov_len);
        total += m->msg_iov[i].iov_len;
    }
    const struct sockaddr_in *to = m->msg_name;
    uint16_t port = to != NULL ? ntohs(to->sin_port) : file->connected ? PEER_PORT : 0;
    size_t step = segment != 0 ? segment : total;
    for (size_t at = 0; at < total || total == 0; at += step) {
        judge_wire(bytes + at, total - at < step ? total - at : step, port);
        if (total == 0)
            break;
    }
    return (ssize_t)total;
}

/* --- in --------------------------------------------------------------------------------------- */

static void put_control(struct msghdr *m, size_t *used, int level, int type, const void *data,
                        size_t bytes)
{
    if (*used + CMSG_SPACE(bytes) > m->msg_controllen)
        return;
    struct cmsghdr *c = (struct cmsghdr *)(void *)((char *)m->msg_control + *used);
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(bytes);
    memcpy(CMSG_DATA(c), data, bytes);
    *used += CMSG_SPACE(bytes);
}

int udp_get(file_t *file, struct msghdr *m)
{
    datagram_t *d = file->rx_first;
    if (d == NULL) {
        errno = EAGAIN;
        return -1;
    }
    size_t bytes = d->bytes < m->msg_iov[0].iov_len ? d->bytes : m->msg_iov[0].iov_len;
    memcpy(m->msg_iov[0].iov_base, d->data, bytes);
    if (m->msg_name != NULL) {
        struct sockaddr_in from = address(2, d->from_port);
        memcpy(m->msg_name, &from, sizeof from);
        m->msg_namelen = sizeof from;
    }
    size_t used = 0;
    if (m->msg_control != NULL) {
        struct timespec stamps[3] = {
            {.tv_sec = d->real_ns / NS_PER_S, .tv_nsec = d->real_ns % NS_PER_S}};
        int segment = (int)d->segment;
        put_control(m, &used, SOL_SOCKET, SCM_TIMESTAMPING, stamps, sizeof stamps);
        if (file->drops != 0)
            put_control(m, &used, SOL_SOCKET, SO_RXQ_OVFL, &file->drops, sizeof file->drops);
        if (segment != 0)
            put_control(m, &used, SOL_UDP, UDP_GRO, &segment, sizeof segment);
    }
    m->msg_controllen = used;
    m->msg_flags = 0;
    file->rx_first = d->next;
    file->rx_queued--;
    return (int)bytes;
}

file_t *udp_of_port(uint16_t port)
{
    for (unsigned i = 0; i < FILES_MOST; i++)
        if (file_at(i)->kind == FILE_UDP && file_at(i)->port == port)
            return file_at(i);
    return NULL;
}

unsigned net_waiting(void)
{
    const file_t *file = udp_of_port(OWN_PORT);
    unsigned waiting = 0;
    for (const datagram_t *d = file != NULL ? file->rx_first : NULL; d != NULL; d = d->next)
        waiting += d->segment != 0 ? d->bytes / d->segment : 1;
    return waiting;
}

/* A batch of one size. */
static void bring(file_t *file, uint32_t each, uint32_t count)
{
    if (file->rx_queued >= RX_MOST) {
        file->drops += count;
        for (uint32_t i = 0; i < count; i++)
            judge_no_room();
        return;
    }
    datagram_t *d = kernel_alloc(sizeof *d + (size_t)each * count);
    *d = (datagram_t){.bytes = each * count,
                      .segment = count > 1 ? each : 0,
                      .from_port = PEER_PORT,
                      .real_ns = sim_clock.now_ns + sim.real_offset_ns};
    for (uint32_t i = 0; i < count; i++)
        judge_arrival(d->data + (size_t)i * each, each);
    if (file->rx_first == NULL)
        file->rx_first = d;
    else
        file->rx_last->next = d;
    file->rx_last = d;
    file->rx_queued++;
    file_edge(file);
}

static void arrive(uint64_t packed)
{
    uint32_t each = (uint32_t)packed & 0xffff, count = (uint32_t)(packed >> 16);
    file_t *file = udp_of_port(OWN_PORT);
    if (file == NULL || !file->bound)
        return;
    if (file->gro)
        bring(file, each, count);
    for (uint32_t i = 0; i < count && !file->gro; i++)
        bring(file, each, 1);
}

void net_begin(void)
{
    chance_t *c = &sim.net;
    int64_t at = sim_clock.now_ns;
    for (uint32_t i = 0; i < sim.plan.arrivals;) {
        uint32_t count = 1, left = sim.plan.arrivals - i;
        uint32_t each =
            PAYLOAD_LEAST + (uint32_t)chance_below(c, sim.plan.payload_most - PAYLOAD_LEAST);
        if (sim.plan.gro && chance_permille(c, 300))
            count = 1 + (uint32_t)chance_below(c, left < GRO_MOST ? left : GRO_MOST);
        at += chance_between(c, 0, sim.plan.arrival_gap_ns);
        uint64_t packed = (uint64_t)count << 16 | each;
        int64_t late =
            chance_permille(c, sim.plan.net_trouble) ? chance_between(c, 0, NS_PER_MS) : 0;
        if (!chance_permille(c, sim.plan.net_trouble))
            sim_at(at + late, arrive, packed);
        if (chance_permille(c, sim.plan.net_trouble))
            sim_at(at + late + chance_between(c, 0, NS_PER_MS), arrive, packed);
        i += count;
    }
    sim.net_until_ns = at + 2 * NS_PER_MS;
}
