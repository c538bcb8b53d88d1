/* The error queue: timestamps of sent packets, and errors of etf.
 *
 * A 32-bit id shows which timestamp belongs to which datagram. From Linux 6.13 on, we choose the id
 * and send it as a control message. Before, the kernel counts the datagrams with a request from 0,
 * and so do we. After a failed call it is unknown whether the kernel counted. Then both sides start
 * again (udp_stamp_ids_restart), and timestamps still on their way are lost.
 */
#include "io/udp_private.h"

#include <errno.h>
#include <linux/errqueue.h>

#define MESSAGES 16

typedef union control_space {
    struct cmsghdr align;
    char bytes[UDP_RX_CONTROL_BYTES];
} control_space_t;

/* What one message of the queue says. */
typedef struct error_entry {
    struct scm_timestamping stamps;
    struct sock_extended_err error;
    bool has_error;
} error_entry_t;

static void parse_entry(struct msghdr *msg, error_entry_t *entry)
{
    *entry = (error_entry_t){.has_error = false};
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
        bool v4 = c->cmsg_level == SOL_IP && c->cmsg_type == IP_RECVERR;
        bool v6 = c->cmsg_level == SOL_IPV6 && c->cmsg_type == IPV6_RECVERR;
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPING) {
            (void)udp_cmsg_copy(c, &entry->stamps, sizeof entry->stamps);
        } else if (v4 || v6) {
            entry->has_error = udp_cmsg_copy(c, &entry->error, sizeof entry->error);
        }
    }
}

static bool take_stamp(const udp_t *udp, const error_entry_t *entry, udp_tx_stamp_t *out)
{
    out->id = udp->own_stamp_ids ? entry->error.ee_data : udp->stamp_id_base + entry->error.ee_data;
    int64_t hardware_ns = udp_timespec_ns(&entry->stamps.ts[2]);
    int64_t kernel_ns = udp_timespec_ns(&entry->stamps.ts[0]);
    if (hardware_ns != 0 && udp->phc != NULL) {
        out->time_ns = phc_to_channel(udp->phc, hardware_ns);
        out->kind = UDP_STAMP_HARDWARE;
        return true;
    }
    if (kernel_ns == 0)
        return false;
    out->time_ns = clock_map_from_real(udp->clock_map, kernel_ns);
    out->kind = UDP_STAMP_KERNEL;
    return true;
}

static bool take_entry(udp_t *udp, struct msghdr *msg, udp_tx_stamp_t *out)
{
    error_entry_t entry;
    parse_entry(msg, &entry);
    if (!entry.has_error)
        return false;
    if (entry.error.ee_origin == SO_EE_ORIGIN_TIMESTAMPING)
        return udp->clock_map != NULL && take_stamp(udp, &entry, out);
    return false;
}

/* One system call. Returns the number of entries read, 0 when there are none; *taken grows by the
 * stamps among them. */
static int read_entries(udp_t *udp, unsigned want, udp_tx_stamp_t *out, unsigned *taken)
{
    struct mmsghdr messages[MESSAGES];
    control_space_t control[MESSAGES];
    unsigned n = want < MESSAGES ? want : MESSAGES;
    uint8_t payload; /* unread. Without room for one, qemu-user reads
                        nothing and reports success. */
    struct iovec room = {.iov_base = &payload, .iov_len = sizeof payload};
    for (unsigned i = 0; i < n; i++)
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &room,
                                              .msg_iovlen = 1,
                                              .msg_control = control[i].bytes,
                                              .msg_controllen = sizeof control[i].bytes};
    int got = recvmmsg(udp->fd, messages, n, MSG_ERRQUEUE | MSG_DONTWAIT, NULL);
    if (got > 0 && udp->clock_map != NULL)
        clock_map_check(udp->clock_map);
    for (int i = 0; i < got; i++)
        *taken += take_entry(udp, &messages[i].msg_hdr, &out[*taken]);
    return got < 0 ? 0 : got;
}

int udp_tx_stamps(udp_t *udp, udp_tx_stamp_t *out, unsigned max)
{
    unsigned taken = 0;
    for (unsigned seen = 0; seen < max;) { /* entries, which need not be stamps */
        unsigned want = max - seen;
        int got = read_entries(udp, want, out, &taken);
        if (got < (int)(want < MESSAGES ? want : MESSAGES))
            break;
        seen += (unsigned)got;
    }
    return (int)taken;
}
