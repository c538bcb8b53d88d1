/* Receiving: one recvmmsg into the pool, then the caller takes datagrams from it.
 *
 *   bank   [message 0: dddddd|dddddd|ddd] [message 1: ddd] [message 2] ...   as recvmmsg filled it
 *                            ^ cursor: next datagram of the GRO batch
 *
 * Message buffers are 64 KiB, the maximum of a UDP datagram or a GRO batch, so that nothing
 * is ever truncated. They are 64 KiB and three cache lines apart: a plain power of two would put
 * the first bytes of all of them into the same few cache sets.
 *
 * Datagrams that recvmmsg took are no longer in the kernel. To outlive this process, the banks are
 * in a memory file that the pool holds, too. A journal before each bank names its channel:
 *
 *   idle -> lengths preset to NOT_TAKEN -> journal: cookie, position, counted -> taking -> recvmmsg
 *        -> counted, delivered -> udp_recv_done -> idle
 *
 * The kernel writes the length of each message when it has copied it. The next process that maps
 * the file sees which messages were taken, even if the call never returned. The bank is "left"
 * then. The socket with that cookie gets the batch again from its first udp_recv, and udp->rx_skip
 * and rx_known say how much of it the predecessor had delivered and counted. Until then the other
 * bank is used. Nothing in a left bank is trusted: pointers are set again, lengths are bounded. */
#include "io/udp_private.h"

#include "base/rt_atomic.h"
#include "base/rt_err.h"
#include "base/rt_linux.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER_BYTES 65536u
#define STRIDE_BYTES (BUFFER_BYTES + 192u)
#define MESSAGES_MAX 64u
#define BANKS 2u
#define NO_BANK BANKS
#define NO_POSITION UINT64_MAX
#define NOT_TAKEN UINT32_MAX
#define JOURNAL_TAKING UINT64_C(0x676e696b61740002) /* "taking", version */

/* If both banks are left: how long sockets wait until the older batch is fetched. Its socket may
 * not come back, or its channel may be held, or have no room. */
#define PATIENCE_NS RT_NS_PER_S

/* Pending ICMP errors one call swallows before it leaves the rest to the next. */
#define ERRORS_PER_CALL 8

typedef union control_space {
    struct cmsghdr align;
    char bytes[UDP_RX_CONTROL_BYTES];
} control_space_t;

typedef enum bank_use {
    BANK_OURS = 0,
    BANK_LEFT,    /* by a predecessor, and not claimed yet */
    BANK_CLAIMED, /* by the socket it belongs to */
} bank_use_t;

/* What is left of the message being delivered. */
typedef struct cursor {
    const uint8_t *next;
    uint32_t left;
    uint32_t segment; /* length of the datagrams, the last may be shorter */
    bool open;        /* a datagram is left, perhaps an empty one */
    udp_rx_t common;  /* what all datagrams of the message have in common */
} cursor_t;

typedef struct journal {
    rt_a64_t state;   /* JOURNAL_TAKING: the rest is valid, and the lengths count; otherwise idle */
    uint64_t cookie;  /* of the socket */
    uint64_t channel; /* udp_config_t.rx_channel */
    uint64_t position; /* *udp_config_t.rx_position before the call */
    uint64_t counted;  /* *udp_config_t.rx_counted before the call */
    uint64_t began;    /* counts the batches of both banks: the older one is less */
} journal_t;

/* In the memory file, each at the beginning of a page; the buffers follow. */
typedef struct bank {
    journal_t journal;
    struct mmsghdr headers[MESSAGES_MAX];
    struct iovec iovecs[MESSAGES_MAX];
    udp_addr_t names[MESSAGES_MAX];
    control_space_t controls[MESSAGES_MAX];
    _Alignas(4096) uint8_t data[];
} bank_t;

struct udp_rx_pool {
    unsigned messages;
    unsigned filled; /* by the last recvmmsg */
    unsigned at;     /* next message to deliver */
    const udp_t *owner;
    int64_t read_ns; /* channel clock, when the last recvmmsg returned; for user stamps */
    cursor_t cursor;
    udp_addr_t locals[MESSAGES_MAX];
    bank_t *bank; /* in use; NULL: a predecessor's batches are in the way */
    bank_t *banks[BANKS];
    bank_use_t use[BANKS];
    unsigned left_messages[BANKS];
    unsigned left; /* banks that are not ours */
    udp_t *claimant[BANKS];
    struct {
        uint64_t channel;
        uint64_t datagrams;
    } given_up[BANKS]; /* and not counted yet */
    int64_t since_mono_ns;
    uint64_t began;
    size_t bytes; /* of the mapping */
};

/* ---- the pool --------------------------------------------------------------------------- */

/* The kernel writes lengths over the sizes it was given. */
static void make_ready(bank_t *bank, unsigned i)
{
    struct msghdr *msg = &bank->headers[i].msg_hdr;
    msg->msg_namelen = sizeof bank->names[i];
    msg->msg_controllen = sizeof bank->controls[i].bytes;
    msg->msg_flags = 0;
    bank->headers[i].msg_len = NOT_TAKEN;
}

static void wire_up(bank_t *bank, unsigned i)
{
    bank->iovecs[i] =
        (struct iovec){.iov_base = bank->data + (size_t)i * STRIDE_BYTES, .iov_len = BUFFER_BYTES};
    struct msghdr *msg = &bank->headers[i].msg_hdr;
    msg->msg_name = &bank->names[i];
    msg->msg_iov = &bank->iovecs[i];
    msg->msg_iovlen = 1;
    msg->msg_control = bank->controls[i].bytes;
}

/* A message that a predecessor took: its pointers belong to another process, its sizes get bounded.
 */
static void wire_up_left(bank_t *bank, unsigned i)
{
    struct mmsghdr *header = &bank->headers[i];
    wire_up(bank, i);
    if (header->msg_len > BUFFER_BYTES)
        header->msg_len = 0;
    if (header->msg_hdr.msg_controllen > sizeof bank->controls[i].bytes)
        header->msg_hdr.msg_controllen = 0;
    if (header->msg_hdr.msg_namelen > sizeof bank->names[i])
        header->msg_hdr.msg_namelen = 0;
}

static unsigned taken_messages(const bank_t *bank, unsigned messages)
{
    unsigned n = 0;
    while (n < messages && bank->headers[n].msg_len != NOT_TAKEN)
        n++;
    return n;
}

static void make_idle(udp_rx_pool_t *pool, unsigned b)
{
    bank_t *bank = pool->banks[b];
    rt_store_release(&bank->journal.state, 0);
    for (unsigned i = 0; i < pool->messages; i++) {
        wire_up(bank, i);
        make_ready(bank, i);
    }
}

static void give_up_left(udp_rx_pool_t *pool, unsigned b)
{
    pool->use[b] = BANK_OURS;
    pool->claimant[b] = NULL;
    pool->left--;
    make_idle(pool, b);
}

static void check_bank(udp_rx_pool_t *pool, unsigned b)
{
    bank_t *bank = pool->banks[b];
    unsigned taken = 0;
    if (rt_load_acquire(&bank->journal.state) == JOURNAL_TAKING)
        taken = taken_messages(bank, pool->messages);
    if (taken == 0) {
        make_idle(pool, b);
        return;
    }
    for (unsigned i = 0; i < taken; i++)
        wire_up_left(bank, i);
    pool->use[b] = BANK_LEFT;
    pool->left_messages[b] = taken;
    pool->left++;
    if (bank->journal.began > pool->began)
        pool->began = bank->journal.began;
}

static size_t bank_bytes(unsigned messages)
{
    size_t bytes = sizeof(bank_t) + (size_t)messages * STRIDE_BYTES;
    return (bytes + 4095) / 4096 * 4096;
}

/* Only this function grows the file. An access after its end would be a fault. */
static int size_file(int fd, size_t bytes)
{
    struct stat facts;
    if (fstat(fd, &facts) != 0)
        return -errno;
    if ((size_t)facts.st_size == bytes)
        return 0;
    if (ftruncate(fd, 0) != 0 || ftruncate(fd, (off_t)bytes) != 0)
        return -errno;
    return 0;
}

static void *map_banks(int fd, size_t bytes)
{
    if (fd < 0)
        return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int rc = size_file(fd, bytes);
    if (rc == 0)
        return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    errno = -rc;
    return MAP_FAILED;
}

udp_rx_pool_t *udp_rx_pool_create(unsigned messages, int memory_fd)
{
    if (messages == 0 || messages > MESSAGES_MAX) {
        errno = EINVAL;
        rt_err_set(-EINVAL, "a receive pool of %u messages: give 1..%u", messages, MESSAGES_MAX);
        return NULL;
    }
    size_t bytes = BANKS * bank_bytes(messages);
    udp_rx_pool_t *pool = calloc(1, sizeof *pool);
    uint8_t *memory = pool == NULL ? MAP_FAILED : map_banks(memory_fd, bytes);
    if (memory == MAP_FAILED) {
        rt_err_set(-ENOMEM, "no memory for a receive pool of %zu bytes: %s", bytes,
                   strerror(errno));
        free(pool);
        errno = ENOMEM;
        return NULL;
    }
    pool->messages = messages;
    pool->bytes = bytes;
    pool->since_mono_ns = rt_mono_ns();
    for (unsigned b = 0; b < BANKS; b++) {
        pool->banks[b] = (bank_t *)(void *)(memory + b * bank_bytes(messages));
        check_bank(pool, b);
    }
    if (pool->left < BANKS) /* the other one is needed after a death only */
        pool->bank = pool->banks[pool->use[0] == BANK_OURS ? 0 : 1];
    if (pool->bank != NULL)
        (void)madvise(pool->bank, bank_bytes(messages), MADV_POPULATE_WRITE);
    return pool;
}

void udp_rx_pool_destroy(udp_rx_pool_t *pool)
{
    if (pool == NULL)
        return;
    munmap(pool->banks[0], pool->bytes);
    free(pool);
}

/* ---- what a predecessor took ------------------------------------------------------------- */

static unsigned left_of(const udp_rx_pool_t *pool, const udp_t *udp)
{
    for (unsigned b = 0; b < BANKS; b++)
        if (pool->use[b] != BANK_OURS && pool->banks[b]->journal.cookie == udp->cookie)
            return b;
    return NO_BANK;
}

void udp_rx_pool_claim(udp_t *udp)
{
    udp_rx_pool_t *pool = udp->rx_pool;
    socklen_t bytes = sizeof udp->cookie;
    udp->rx_left = false;
    if (pool == NULL || getsockopt(udp->fd, SOL_SOCKET, SO_COOKIE, &udp->cookie, &bytes) != 0)
        return;
    unsigned b = left_of(pool, udp);
    if (b == NO_BANK)
        return;
    udp->rx_left = true;
    pool->use[b] = BANK_CLAIMED;
    pool->claimant[b] = udp;
}

void udp_rx_pool_forget(udp_rx_pool_t *pool, udp_t *udp)
{
    if (pool == NULL)
        return;
    if (udp->rx_left)
        give_up_left(pool, left_of(pool, udp));
    udp->rx_left = false;
    if (pool->owner != udp)
        return;
    pool->owner = NULL;
    pool->cursor.open = false;
    pool->at = pool->filled;
    rt_store_release(&pool->bank->journal.state, 0);
}

/* Datagrams that were delivered since the position was noted: fewer than a batch, so 32 bits tell,
 * and some positions have no more. */
static uint64_t done_since(uint64_t position, uint64_t noted)
{
    return (uint32_t)(position - noted);
}

/* Number of datagrams in a left bank. A GRO batch counts as the datagrams it delivers. */
static unsigned left_datagrams(udp_rx_pool_t *pool, unsigned b)
{
    unsigned n = 0;
    for (unsigned i = 0; i < pool->left_messages[b]; i++) {
        const struct mmsghdr *header = &pool->banks[b]->headers[i];
        udp_rx_control_t control;
        udp_rx_control_parse(&header->msg_hdr, &control);
        uint32_t segment = control.segment_bytes != 0 ? control.segment_bytes : header->msg_len;
        n += segment == 0 ? 1 : (header->msg_len + segment - 1) / segment;
    }
    return n;
}

/* Of a left bank, those that the predecessor was not done with. */
static uint64_t undone(udp_rx_pool_t *pool, unsigned b, uint64_t position)
{
    const journal_t *j = &pool->banks[b]->journal;
    uint64_t taken = left_datagrams(pool, b);
    uint64_t done = j->position == NO_POSITION ? 0 : done_since(position, j->position);
    return done < taken ? taken - done : 0;
}

uint64_t udp_rx_pool_lost(udp_rx_pool_t *pool, uint64_t channel, uint64_t position)
{
    uint64_t lost = 0;
    for (unsigned b = 0; pool != NULL && b < BANKS; b++) {
        if (pool->given_up[b].channel == channel) {
            lost += pool->given_up[b].datagrams;
            pool->given_up[b].datagrams = 0;
        }
        if (pool->use[b] != BANK_LEFT || pool->banks[b]->journal.channel != channel)
            continue;
        lost += undone(pool, b, position);
        give_up_left(pool, b);
    }
    return lost;
}

/* A claimed batch that is not fetched. Its channel counts it through udp_rx_pool_lost. */
static void give_up_claimed(udp_rx_pool_t *pool, unsigned b)
{
    udp_t *udp = pool->claimant[b];
    uint64_t position = udp->rx_position != NULL ? *udp->rx_position : 0;
    pool->given_up[b].channel = udp->rx_channel;
    pool->given_up[b].datagrams = undone(pool, b, position);
    udp->rx_left = false;
    give_up_left(pool, b);
}

/* ---- from the kernel to the pool -------------------------------------------------------- */

/* Returns messages read, 0 for none, or -errno. */
static int read_messages(udp_t *udp, bank_t *bank, unsigned want)
{
    for (int errors = 0; errors < ERRORS_PER_CALL; errors++) {
        int got = recvmmsg(udp->fd, bank->headers, want, MSG_DONTWAIT, NULL);
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
        default: /* EINTR, or an ICMP answer to an earlier datagram, reported once */
            break;
        }
    }
    udp->rx_more = true;
    return 0;
}

/* While both banks are left, sockets wait for a moment: the channels are being opened one by one.
 */
static __attribute__((noinline)) bool find_bank(udp_rx_pool_t *pool)
{
    if (rt_mono_ns() - pool->since_mono_ns < PATIENCE_NS)
        return false;
    unsigned older = pool->banks[0]->journal.began < pool->banks[1]->journal.began ? 0 : 1;
    if (pool->use[older] == BANK_CLAIMED)
        give_up_claimed(pool, older);
    else
        give_up_left(pool, older);
    pool->bank = pool->banks[older];
    return true;
}

static uint64_t counted(const udp_t *udp)
{
    return udp->rx_counted != NULL ? rt_load_relaxed(udp->rx_counted) : 0;
}

static void start_batch(udp_t *udp, udp_rx_pool_t *pool)
{
    journal_t *j = &pool->bank->journal;
    rt_store_release(&j->state, 0);
    rt_fence_release();
    for (unsigned i = 0; i < pool->filled; i++)
        make_ready(pool->bank, i);
    pool->filled = pool->at = 0;
    j->cookie = udp->cookie;
    j->channel = udp->rx_channel;
    j->position = udp->rx_position != NULL ? *udp->rx_position : NO_POSITION;
    j->counted = counted(udp);
    j->began = ++pool->began;
    rt_store_release(&j->state, JOURNAL_TAKING);
}

/* The rest that a predecessor left of this socket, as if it had just been read. */
static __attribute__((noinline)) int take_left(udp_t *udp, udp_rx_pool_t *pool)
{
    unsigned b = left_of(pool, udp);
    udp->rx_left = false;
    if (pool->bank != NULL)
        rt_store_release(&pool->bank->journal.state, 0);
    pool->use[b] = BANK_OURS;
    pool->claimant[b] = NULL;
    pool->left--;
    pool->bank = pool->banks[b];
    uint64_t position = pool->bank->journal.position;
    if (udp->rx_position != NULL && position != NO_POSITION)
        udp->rx_skip = done_since(*udp->rx_position, position);
    udp->rx_known = counted(udp) - pool->bank->journal.counted;
    if (udp->rx_known > left_datagrams(pool, b)) /* the counter was reset, or written by a client */
        udp->rx_known = udp->rx_skip;
    pool->filled = pool->left_messages[b];
    pool->at = 0;
    return (int)pool->filled;
}

static int fill(udp_t *udp, udp_rx_pool_t *pool, unsigned messages)
{
    int got = udp->rx_left ? take_left(udp, pool) : 0;
    unsigned want = messages < pool->messages ? messages : pool->messages;
    udp->rx_more = got > 0;
    pool->owner = NULL;
    if (got == 0) {
        if (pool->bank == NULL && !find_bank(pool))
            return 0;
        start_batch(udp, pool);
        got = read_messages(udp, pool->bank, want);
        udp->rx_more |= got > 0 && (unsigned)got == want;
    }
    if (got <= 0) {
        rt_store_release(&pool->bank->journal.state, 0);
        return got;
    }
    pool->owner = udp;
    pool->filled = (unsigned)got;
    if (udp->eff.rx_stamp == UDP_STAMP_USER)
        pool->read_ns = clock_now_ns(udp->clock);
    else
        clock_map_check(udp->clock_map);
    return got;
}

void udp_recv_done(udp_t *udp)
{
    udp_rx_pool_t *pool = udp->rx_pool;
    udp->rx_skip = udp->rx_known = 0;
    if (pool->owner == udp && !pool->cursor.open && pool->at == pool->filled)
        rt_store_release(&pool->bank->journal.state, 0);
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
    const struct mmsghdr *header = &pool->bank->headers[pool->at];
    udp_rx_control_t control;
    udp_rx_control_parse(&header->msg_hdr, &control);
    if (control.has_drops)
        note_drops(udp, control.drops);

    cursor_t *c = &pool->cursor;
    c->next = pool->bank->iovecs[pool->at].iov_base;
    c->left = header->msg_len;
    c->segment = control.segment_bytes != 0 ? control.segment_bytes : header->msg_len;
    c->open = true;
    c->common.source = pool->bank->names[pool->at];
    c->common.local = control.local == NULL ? NULL
                                            : udp_rx_local(udp, control.local, &c->common.source,
                                                           &pool->locals[pool->at]);
    c->common.tos = control.tos;
    c->common.truncated = (header->msg_hdr.msg_flags & MSG_TRUNC) != 0;
    c->common.shared_stamp = c->left > c->segment;
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
    if (rest && pool->owner != udp) {
        udp->rx_messages = 0;
        return -EBUSY;
    }
    if (!rest) {
        if (messages == 0)
            return 0;
        int got = fill(udp, pool, messages);
        udp->rx_messages = got > 0 ? (unsigned)got : 0;
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
