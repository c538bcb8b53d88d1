/* udp_private.h: for the .c files of this folder only. */
#ifndef UDP_PRIVATE_H
#define UDP_PRIVATE_H

#include "io/udp_io.h"
#include "io/udp_route.h"

#include <string.h>
#include <time.h>

/* Names that C libraries of 2022 lack. The numbers are kernel ABI. */
#ifndef SO_TXTIME
#define SO_TXTIME 61
#define SCM_TXTIME SO_TXTIME
#endif
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef SCM_TS_OPT_ID
#define SCM_TS_OPT_ID 81 /* Linux 6.13 */
#endif
#ifndef SOL_UDP
#define SOL_UDP 17
#endif

#define UDP_HEADER_BYTES 8
#define UDP_V4_HEADERS_BYTES (20 + UDP_HEADER_BYTES)
#define UDP_V6_HEADERS_BYTES (40 + UDP_HEADER_BYTES)

/* Space for the control messages of one datagram received: three stamps, their interface, drop
 * counter, GRO size, TOS, local address (by both IP versions); and of one sent: segment size,
 * launch time, stamp request, stamp id, source. */
#define UDP_RX_CONTROL_BYTES 256
#define UDP_TX_CONTROL_BYTES 136

/* ---- udp_options.c ---- */

/* Range checks of the whole configuration. Returns 0 or -EINVAL, text set. */
int udp_config_check(const udp_config_t *cfg);

/* The family of the socket this configuration needs. */
sa_family_t udp_config_family(const udp_config_t *cfg);

/* The capabilities (RT_CAP) that a socket of this configuration may need; the kernel decides. */
uint64_t udp_options_caps(const udp_config_t *cfg);

/* Everything that can be set before the address is bound. is_new false: somebody else made the
 * socket, and what cfg does not ask for stays as it is. Returns 0 or -errno, text set. */
int udp_options_apply(int fd, const udp_config_t *cfg, bool is_new);

int udp_groups_join(int fd, const udp_config_t *cfg);

/* Asks for the local address of each datagram, if the socket is bound to all addresses. */
void udp_options_want_local(udp_t *udp);

/* Reads back the effective values. */
void udp_options_read(udp_t *udp);

int udp_get_int(int fd, int level, int option, int fallback);

/* ---- rx_timestamp.c ---- */

/* The contents of the control messages of one received message. */
typedef struct udp_rx_control {
    struct timespec kernel; /* CLOCK_REALTIME, 0: none */
    struct timespec hardware;
    uint32_t hardware_ifindex;
    uint32_t segment_bytes; /* GRO: length of each datagram but the last; 0: one datagram */
    uint32_t drops;
    bool has_drops;
    uint8_t tos;
    const struct cmsghdr *local; /* NULL: none */
} udp_rx_control_t;

/* Chooses and enables timestamps; fills udp->eff.rx_stamp / tx_stamp and their flags.
 * Returns 0 or -errno, text set. */
int udp_stamps_enable(udp_t *udp, const udp_config_t *cfg);

/* Sets the kernel's id counter to 0, and discards timestamps not fetched yet. Returns 0 or -errno.
 */
int udp_stamp_ids_restart(udp_t *udp);

void udp_rx_control_parse(const struct msghdr *msg, udp_rx_control_t *control);

/* The address that a datagram from `source` was sent to. Returns `to`, or NULL if it is not known.
 */
const udp_addr_t *udp_rx_local(const udp_t *udp, const struct cmsghdr *local,
                               const udp_addr_t *source, udp_addr_t *to);

/* The best timestamp of a datagram in the channel's clock. False: it has none. */
bool udp_rx_stamp(const udp_t *udp, const udp_rx_control_t *control, int64_t *time_ns,
                  udp_stamp_t *kind);

/* Copies the message's contents. False, and `to` is unchanged, if it was truncated. A socket that
 * was passed in may have options that make the kernel return more than there is room for. */
static inline bool udp_cmsg_copy(const struct cmsghdr *cmsg, void *to, size_t bytes)
{
    if (cmsg->cmsg_len < CMSG_LEN(bytes))
        return false;
    memcpy(to, CMSG_DATA(cmsg), bytes);
    return true;
}

static inline int64_t udp_timespec_ns(const struct timespec *ts)
{
    return (int64_t)ts->tv_sec * RT_NS_PER_S + ts->tv_nsec;
}

/* ---- udp_recv.c ---- */

/* Looks for a batch that a predecessor left for this socket: fills cookie and rx_left. */
void udp_rx_pool_claim(udp_t *udp);

/* The pool drops what it still holds of this socket. */
void udp_rx_pool_forget(udp_rx_pool_t *pool, udp_t *udp);

#endif
