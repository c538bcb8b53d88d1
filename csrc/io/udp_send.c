/* Sending: the batch is divided into messages, which go to the kernel in one call.
 *
 *   batch      a a a a | b | a a a' | c          letters: destination; a': shorter than a
 *   messages   [aaaa]   [b]  [aaa']   [c]        [] one msghdr: GSO if it holds more than one
 *   calls      `--------- sendmmsg ---------'    one message: sendmsg; one plain datagram: sendto
 *
 * A message is all or nothing, so "how many messages went" gives "how many datagrams went". When a
 * call fails, its first message is settled alone (settle_failure): an old ICMP error is swallowed,
 * a refused GSO message starts again as a plain datagram, the caller gets other errors.
 *
 * All arrays are on the stack, and only their used part is written: nothing is cleared per
 * call.
 */
#include "io/udp_private.h"

#include <errno.h>
#include <linux/net_tstamp.h>
#include <unistd.h>

/* The kernel's own (include/linux/socket.h); the C library calls the same bit MSG_PROXY. UDP gives
 * up where it would make the packet: ip_make_skb() and ip6_make_skb() return nothing. */
#define PROBE_ONLY 0x10

/* A closed port answers every datagram; its answers may come between two attempts. */
#define REFUSED_ATTEMPTS 8

typedef union control_space {
    struct cmsghdr align;
    char bytes[UDP_TX_CONTROL_BYTES];
} control_space_t;

/* ---- one message ------------------------------------------------------------------------ */

/* Of the datagram. */
static uint32_t length_of(const udp_tx_t *tx)
{
    return tx->head_bytes + tx->len;
}

static void set_dest(const udp_t *udp, const udp_tx_t *tx, struct msghdr *msg)
{
    if (tx->dest != NULL) {
        msg->msg_name = (void *)(uintptr_t)tx->dest;
        msg->msg_namelen = udp_addr_len(tx->dest);
    } else {
        msg->msg_name = udp->remote_len != 0 ? (void *)(uintptr_t)&udp->remote : NULL;
        msg->msg_namelen = udp->remote_len;
    }
}

/* Appends one control message; the space is known to suffice (UDP_TX_CONTROL_BYTES). */
static void put_control(struct msghdr *msg, int level, int type, const void *data, size_t len)
{
    struct cmsghdr *c = (struct cmsghdr *)(void *)((char *)msg->msg_control + msg->msg_controllen);
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(len);
    memcpy(CMSG_DATA(c), data, len);
    msg->msg_controllen += CMSG_SPACE(len);
}

static uint32_t next_stamp_id(udp_t *udp)
{
    uint32_t id = udp->next_stamp_id++;
    if (udp->next_stamp_id == 0)
        udp->next_stamp_id = 1;
    return id;
}

static bool wants_stamp(const udp_t *udp, const udp_tx_t *tx)
{
    return tx->want_stamp && udp->tx_stamp_flags != 0;
}

static void put_stamp_request(udp_t *udp, struct msghdr *msg, udp_tx_t *run, unsigned count)
{
    uint32_t flags = udp->tx_stamp_flags;
    /* Another destination may leave by another card, whose clock is not ours. */
    if (run->dest != NULL && !udp->hw_any_device)
        flags &= ~(uint32_t)SOF_TIMESTAMPING_TX_HARDWARE;
    uint32_t id = next_stamp_id(udp);
    put_control(msg, SOL_SOCKET, SO_TIMESTAMPING, &flags, sizeof flags);
    if (udp->own_stamp_ids)
        put_control(msg, SOL_SOCKET, SCM_TS_OPT_ID, &id, sizeof id);
    for (unsigned i = 0; i < count; i++)
        run[i].stamp_id = id;
}

static void mark_unstamped(udp_tx_t *run, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        run[i].stamp_id = 0;
}

static void put_part(struct iovec *iov, const void *data, uint32_t bytes)
{
    iov->iov_base = (void *)(uintptr_t)data;
    iov->iov_len = bytes;
}

/* Returns how many. */
static unsigned put_parts(const udp_tx_t *run, unsigned count, struct iovec *iov)
{
    unsigned parts = 0;
    for (unsigned i = 0; i < count; i++) {
        if (run[i].head_bytes != 0)
            put_part(&iov[parts++], run[i].head, run[i].head_bytes);
        put_part(&iov[parts++], run[i].data, run[i].len);
    }
    return parts;
}

static void put_source(struct msghdr *msg, const udp_addr_t *source)
{
    if (source->sa.sa_family == AF_INET) {
        struct in_pktinfo v4 = {.ipi_spec_dst = source->v4.sin_addr};
        put_control(msg, SOL_IP, IP_PKTINFO, &v4, sizeof v4);
    } else {
        struct in6_pktinfo v6 = {.ipi6_addr = source->v6.sin6_addr,
                                 .ipi6_ifindex = source->v6.sin6_scope_id};
        put_control(msg, SOL_IPV6, IPV6_PKTINFO, &v6, sizeof v6);
    }
}

/* iov: room for two parts of each datagram. */
static void build_message(udp_t *udp, udp_tx_t *run, unsigned count, struct msghdr *msg,
                          struct iovec *iov, control_space_t *control)
{
    set_dest(udp, run, msg);
    msg->msg_iov = iov;
    msg->msg_iovlen = put_parts(run, count, iov);
    msg->msg_control = control->bytes;
    msg->msg_controllen = 0;
    msg->msg_flags = 0;
    if (count > 1) {
        uint16_t segment = (uint16_t)length_of(run);
        put_control(msg, SOL_UDP, UDP_SEGMENT, &segment, sizeof segment);
    }
    if (udp->eff.txtime && run->txtime_ns != 0)
        put_control(msg, SOL_SOCKET, SCM_TXTIME, &run->txtime_ns, sizeof run->txtime_ns);
    if (run->source != NULL)
        put_source(msg, run->source);
    if (wants_stamp(udp, run))
        put_stamp_request(udp, msg, run, count);
    else
        mark_unstamped(run, count);
}

/* ---- cutting the batch ------------------------------------------------------------------ */

static bool same_terms(const udp_t *udp, const udp_tx_t *a, const udp_tx_t *b)
{
    return udp_same_way(a, b) && a->want_stamp == b->want_stamp &&
           (!udp->eff.txtime || a->txtime_ns == b->txtime_ns);
}

unsigned udp_joined(const udp_t *udp, const udp_tx_t *run, unsigned n)
{
    uint32_t segment = length_of(run);
    if (!udp->gso || segment == 0 || segment > udp->gso_segment_max)
        return 1;
    unsigned limit = n < UDP_MAX_SEGMENTS ? n : UDP_MAX_SEGMENTS;
    uint32_t total = segment;
    unsigned count = 1;
    while (count < limit && same_terms(udp, run, &run[count])) {
        uint32_t len = length_of(&run[count]);
        if (len > segment || len == 0 || total + len > UDP_MAX_PAYLOAD)
            break;
        total += len;
        count++;
        if (len < segment)
            break;
    }
    return count;
}

/* ---- handing over ----------------------------------------------------------------------- */

/* Without own ids a failed call may or may not have used up one of the kernel's. */
static void settle_stamp_ids(udp_t *udp, const udp_tx_t *unsent, unsigned count)
{
    if (udp->own_stamp_ids)
        return;
    for (unsigned i = 0; i < count; i++) {
        if (unsent[i].stamp_id != 0) {
            udp->next_stamp_id = unsent[i].stamp_id;
            udp_stamp_ids_restart(udp);
            return;
        }
    }
}

/* One message of count datagrams. Returns count or -errno. */
static int send_message(udp_t *udp, udp_tx_t *run, unsigned count)
{
    struct msghdr msg;
    struct iovec iov[2 * UDP_MAX_SEGMENTS];
    control_space_t control;
    build_message(udp, run, count, &msg, iov, &control);
    if (sendmsg(udp->fd, &msg, MSG_DONTWAIT) >= 0)
        return (int)count;
    int error = errno;
    settle_stamp_ids(udp, run, count);
    return -error;
}

/* One datagram. Returns 1 or -errno. */
static int send_single(udp_t *udp, udp_tx_t *tx)
{
    bool has_terms =
        wants_stamp(udp, tx) || (udp->eff.txtime && tx->txtime_ns != 0) || tx->source != NULL;
    if (has_terms || tx->head_bytes != 0)
        return send_message(udp, tx, 1);
    mark_unstamped(tx, 1);
    const udp_addr_t *dest = tx->dest;
    socklen_t dest_len = udp->remote_len;
    if (dest != NULL)
        dest_len = udp_addr_len(dest);
    else if (dest_len != 0)
        dest = &udp->remote;
    ssize_t sent =
        sendto(udp->fd, tx->data, tx->len, MSG_DONTWAIT, dest != NULL ? &dest->sa : NULL, dest_len);
    return sent >= 0 ? 1 : -errno;
}

static int send_run(udp_t *udp, udp_tx_t *run, unsigned count)
{
    return count == 1 ? send_single(udp, run) : send_message(udp, run, count);
}

/* One system call for as many messages as fit into it. Returns datagrams handed over or -errno. */
static int send_some(udp_t *udp, udp_tx_t *batch, unsigned n)
{
    unsigned count = udp_joined(udp, batch, n);
    if (count == n)
        return send_run(udp, batch, n);

    struct mmsghdr messages[UDP_SEND_BATCH_MAX];
    control_space_t control[UDP_SEND_BATCH_MAX];
    struct iovec iov[2 * (UDP_SEND_BATCH_MAX + UDP_MAX_SEGMENTS)];
    unsigned counts[UDP_SEND_BATCH_MAX];
    unsigned used = 0;
    unsigned end = 0;
    while (used < UDP_SEND_BATCH_MAX && end < UDP_SEND_BATCH_MAX) {
        build_message(udp, &batch[end], count, &messages[used].msg_hdr, &iov[2 * end],
                      &control[used]);
        counts[used++] = count;
        end += count;
        if (end == n)
            break;
        count = udp_joined(udp, &batch[end], n - end);
    }
    int went = sendmmsg(udp->fd, messages, used, MSG_DONTWAIT);
    int error = errno;
    unsigned done = 0;
    for (int i = 0; i < went; i++)
        done += counts[i];
    if (went < (int)used)
        settle_stamp_ids(udp, &batch[done], end - done);
    return went > 0 ? (int)done : -error;
}

/* ---- what went wrong -------------------------------------------------------------------- */

static bool asks_to_wait(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK || error == ENOBUFS || error == ENOMEM;
}

static void learn_refusal(udp_t *udp, int error, uint32_t segment)
{
    /* Kernels before 6.11 say EINVAL for segments above the MTU too. Up to what every path on an
     * Ethernet carries, EINVAL and EIO mean the socket or its interface. */
    uint32_t common = 1500 - UDP_V6_HEADERS_BYTES;
    if (error == EMSGSIZE || (error == EINVAL && segment > common))
        udp->gso_segment_max = segment - 1;
    else if (error == EINVAL || error == EIO)
        udp->gso = udp->eff.gso = false;
}

/* The message failed: again, for the error may have been an old one. Returns count or -errno. */
static int send_again(udp_t *udp, udp_tx_t *run, unsigned count)
{
    int result = send_run(udp, run, count);
    for (int i = 1; result == -ECONNREFUSED && i < REFUSED_ATTEMPTS; i++)
        result = send_run(udp, run, count);
    return result;
}

/* The message that begins at run failed with error. Returns datagrams handed over nonetheless, or
 * -errno for good. */
static int settle_failure(udp_t *udp, udp_tx_t *run, unsigned n, int error)
{
    if (asks_to_wait(error))
        return -error;
    unsigned count = udp_joined(udp, run, n);
    int result = send_again(udp, run, count);
    if (result > 0 || count == 1 || asks_to_wait(-result))
        return result;

    int plain = send_single(udp, run);
    if (plain > 0)
        learn_refusal(udp, -result, length_of(run));
    return plain;
}

/* Whether a socket could be bound to it. true: also if that is not known. */
static bool is_of_this_host(const udp_addr_t *source)
{
    udp_addr_t address = *source;
    int fd = socket(address.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return true;
    udp_addr_set_port(&address, 0);
    bool foreign = bind(fd, &address.sa, udp_addr_len(&address)) < 0 && errno == EADDRNOTAVAIL;
    close(fd);
    return !foreign;
}

/* For a source that is not this host's, the kernel says what it also says for other reasons. */
static __attribute__((noinline, cold)) int error_of(const udp_tx_t *tx, int error)
{
    bool may_be = error == EINVAL || error == ENETUNREACH || error == EADDRNOTAVAIL;
    return tx->source != NULL && may_be && !is_of_this_host(tx->source) ? EADDRNOTAVAIL : error;
}

int udp_send(udp_t *udp, udp_tx_t *batch, unsigned n, int *err_out)
{
    unsigned done = 0;
    *err_out = 0;
    while (done < n) {
        int result =
            n - done == 1 ? send_single(udp, &batch[done]) : send_some(udp, &batch[done], n - done);
        if (result < 0)
            result = settle_failure(udp, &batch[done], n - done, -result);
        if (result < 0) {
            *err_out = error_of(&batch[done], -result);
            break;
        }
        done += (unsigned)result;
    }
    return (int)done;
}

void udp_warm(const udp_t *udp)
{
    const struct sockaddr *to = udp->remote_len != 0 ? &udp->remote.sa : NULL;
    (void)sendto(udp->fd, NULL, 0, PROBE_ONLY | MSG_DONTWAIT, to, udp->remote_len);
}
