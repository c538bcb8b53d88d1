/* Receiving: one recvmmsg into the pool, then datagrams are dealt out of it.
 *
 *   pool   [message 0: dddddd|dddddd|ddd] [message 1: ddd] [message 2] ...   as recvmmsg filled it
 *                            ^ cursor: next datagram of the GRO batch
 *
 * Message buffers are 64 KiB, what one UDP datagram or one GRO batch has at most, so that nothing
 * is ever cut off. They lie 64 KiB and three cache lines apart: a plain power of two would put the
 * first bytes of all of them into the same few cache sets.
 */
#include "io/udp_private.h"

#include "base/rt_err.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#define BUFFER_BYTES 65536u
#define STRIDE_BYTES (BUFFER_BYTES + 192u)
#define MESSAGES_MAX 64u

/* Pending ICMP errors one call swallows before it leaves the rest to the next. */
#define ERRORS_PER_CALL 8

typedef union control_space {
    struct cmsghdr align;
    char bytes[UDP_RX_CONTROL_BYTES];
} control_space_t;

/* What is left of the message being dealt out. */
typedef struct cursor {
    const uint8_t *next;
    uint32_t left;
    uint32_t segment; /* length of the datagrams, the last may be shorter */
    bool open;        /* a datagram is left, perhaps an empty one */
    udp_rx_t common;  /* what all datagrams of the message have in common */
} cursor_t;

struct udp_rx_pool {
    unsigned messages;
    unsigned filled; /* by the last recvmmsg */
    unsigned at;     /* next message to deal out */
    const udp_t *owner;
    int64_t read_ns; /* channel clock, when the last recvmmsg returned; for user stamps */
    cursor_t cursor;
    uint8_t *data;
    struct mmsghdr headers[MESSAGES_MAX];
    struct iovec iovecs[MESSAGES_MAX];
    udp_addr_t names[MESSAGES_MAX];
    control_space_t controls[MESSAGES_MAX];
};

/* ---- the pool --------------------------------------------------------------------------- */

/* The kernel writes lengths over the sizes it was given. */
static void make_ready(udp_rx_pool_t *pool, unsigned i)
{
    struct msghdr *msg = &pool->headers[i].msg_hdr;
    msg->msg_namelen = sizeof pool->names[i];
    msg->msg_controllen = sizeof pool->controls[i].bytes;
    msg->msg_flags = 0;
}

static void wire_up(udp_rx_pool_t *pool)
{
    for (unsigned i = 0; i < pool->messages; i++) {
        pool->iovecs[i] = (struct iovec){.iov_base = pool->data + (size_t)i * STRIDE_BYTES,
                                         .iov_len = BUFFER_BYTES};
        pool->headers[i].msg_hdr = (struct msghdr){.msg_name = &pool->names[i],
                                                   .msg_iov = &pool->iovecs[i],
                                                   .msg_iovlen = 1,
                                                   .msg_control = pool->controls[i].bytes};
        make_ready(pool, i);
    }
}

udp_rx_pool_t *udp_rx_pool_create(unsigned messages)
{
    if (messages == 0 || messages > MESSAGES_MAX) {
        errno = EINVAL;
        rt_err_set(-EINVAL, "a receive pool of %u messages: give 1..%u", messages, MESSAGES_MAX);
        return NULL;
    }
    size_t bytes = (size_t)messages * STRIDE_BYTES;
    udp_rx_pool_t *pool = calloc(1, sizeof *pool);
    void *data = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (pool == NULL || data == MAP_FAILED) {
        rt_err_set(-ENOMEM, "no memory for a receive pool of %zu bytes", bytes);
        if (data != MAP_FAILED)
            munmap(data, bytes);
        free(pool);
        errno = ENOMEM;
        return NULL;
    }
    pool->messages = messages;
    pool->data = data;
    wire_up(pool);
    return pool;
}

void udp_rx_pool_destroy(udp_rx_pool_t *pool)
{
    if (pool == NULL)
        return;
    munmap(pool->data, (size_t)pool->messages * STRIDE_BYTES);
    free(pool);
}

void udp_rx_pool_forget(udp_rx_pool_t *pool, const udp_t *udp)
{
    if (pool == NULL || pool->owner != udp)
        return;
    pool->owner = NULL;
    pool->cursor.open = false;
    pool->at = pool->filled;
}

/* ---- from the kernel to the pool -------------------------------------------------------- */

/* Returns messages read, 0 for none, or -errno. */
static int read_messages(udp_t *udp, udp_rx_pool_t *pool, unsigned want)
{
    for (int errors = 0; errors < ERRORS_PER_CALL; errors++) {
        int got = recvmmsg(udp->fd, pool->headers, want, MSG_DONTWAIT, NULL);
        if (got >= 0)
            return got;
        switch (errno) {
        case EAGAIN:
            return 0;
        case EBADF:
        case ENOTSOCK:
        case EFAULT:
        case EINVAL:
        case ENOMEM:
            return -errno;
        case EINTR:
            break;
        default: /* an ICMP answer to an earlier datagram: reported once, the queue is not touched
                  */
            udp->net_errors++;
            udp->net_errno = errno;
        }
    }
    udp->rx_more = true;
    return 0;
}

static int fill(udp_t *udp, udp_rx_pool_t *pool, unsigned messages)
{
    for (unsigned i = 0; i < pool->filled; i++)
        make_ready(pool, i);
    pool->filled = pool->at = 0;
    pool->owner = NULL;
    udp->rx_more = false;
    unsigned want = messages < pool->messages ? messages : pool->messages;
    int got = read_messages(udp, pool, want);
    if (got <= 0)
        return got;
    pool->owner = udp;
    pool->filled = (unsigned)got;
    udp->rx_more = (unsigned)got == want;
    if (udp->eff.rx_stamp == UDP_STAMP_USER)
        pool->read_ns = clock_now_ns(udp->clock);
    else
        clock_map_check(udp->clock_map);
    return got;
}

/* ---- from the pool to the caller -------------------------------------------------------- */

/* udp_drops_refresh may have read a newer value than a queued datagram carries. */
static void note_drops(udp_t *udp, uint32_t drops)
{
    int32_t more = (int32_t)(drops - udp->drops_seen);
    if (more <= 0)
        return;
    udp->kernel_drops += (uint32_t)more;
    udp->drops_seen = drops;
}

static void set_stamp(const udp_t *udp, const udp_rx_pool_t *pool, const udp_rx_control_t *control,
                      udp_rx_t *rx)
{
    if (udp->eff.rx_stamp != UDP_STAMP_USER && udp_rx_stamp(udp, control, &rx->time_ns, &rx->stamp))
        return;
    rx->stamp = UDP_STAMP_USER;
    rx->time_ns = udp->eff.rx_stamp == UDP_STAMP_USER ? pool->read_ns : clock_now_ns(udp->clock);
    rx->shared_stamp |= pool->filled > 1;
}

static void open_message(udp_t *udp, udp_rx_pool_t *pool)
{
    const struct mmsghdr *header = &pool->headers[pool->at];
    udp_rx_control_t control;
    udp_rx_control_parse(&header->msg_hdr, &control);
    if (control.has_drops)
        note_drops(udp, control.drops);

    cursor_t *c = &pool->cursor;
    c->next = pool->iovecs[pool->at].iov_base;
    c->left = header->msg_len;
    c->segment = control.segment_bytes != 0 ? control.segment_bytes : header->msg_len;
    c->open = true;
    c->common.source = pool->names[pool->at];
    c->common.tos = control.tos;
    c->common.truncated = (header->msg_hdr.msg_flags & MSG_TRUNC) != 0;
    c->common.shared_stamp = c->left > c->segment;
    udp->rx_truncated += c->common.truncated;
    set_stamp(udp, pool, &control, &c->common);
    pool->at++;
}

static void deal_one(cursor_t *c, udp_rx_t *out)
{
    uint32_t len = c->left < c->segment ? c->left : c->segment;
    *out = c->common;
    out->data = c->next;
    out->len = len;
    c->next += len;
    c->left -= len;
    c->open = c->left > 0;
}

int udp_recv(udp_t *udp, udp_rx_t *out, unsigned max)
{
    return udp_recv_messages(udp, out, max, max);
}

int udp_recv_messages(udp_t *udp, udp_rx_t *out, unsigned max, unsigned messages)
{
    udp_rx_pool_t *pool = udp->rx_pool;
    bool rest = pool->cursor.open || pool->at < pool->filled;
    if (rest && pool->owner != udp)
        return -EBUSY;
    if (!rest) {
        if (messages == 0)
            return 0;
        int got = fill(udp, pool, messages);
        if (got <= 0)
            return got;
    }
    unsigned count = 0;
    while (count < max && (pool->cursor.open || pool->at < pool->filled)) {
        if (!pool->cursor.open)
            open_message(udp, pool);
        deal_one(&pool->cursor, &out[count++]);
    }
    if (pool->cursor.open || pool->at < pool->filled)
        udp->rx_more = true;
    return (int)count;
}
