/* udp_io.h: UDP sockets for the worker's loop: open, send a batch, receive a batch, tx stamps.
 *
 *   udp_config_t --udp_open / udp_adopt--> udp_t (caller's memory) --> udp_effective_t: what holds
 *
 *   udp_send       n datagrams to the kernel, in order, with the fewest calls (GSO, sendmmsg)
 *   udp_recv       up to max datagrams from the kernel (recvmmsg, GRO batches already split)
 *   udp_tx_stamps  the times of sending, by the kernel or the card, from the error queue
 *
 * Thread: a udp_t, the pool and the maps it points to belong to one thread; nothing here is
 * locked. No call waits (MSG_DONTWAIT everywhere, whatever the descriptor's flags). The caller
 * waits for readiness: EPOLLIN -> udp_recv, EPOLLERR -> udp_tx_stamps, EPOLLOUT after EAGAIN.
 * Only the calls marked "cold" set rt_err_text(); hot ones give an errno and count.
 *
 * Times are nanoseconds of the channel's clock (cfg.clock) unless a name says otherwise.
 */
#ifndef UDP_IO_H
#define UDP_IO_H

#include "base/rt_atomic.h"
#include "base/rt_clock.h"
#include "io/clock_map.h"
#include "io/phc.h"
#include "io/udp_addr.h"

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#define UDP_MAX_PAYLOAD 65507 /* IPv4: 65535 - 20 - 8; IPv6 could carry 20 bytes more */
#define UDP_MAX_GROUPS 8      /* multicast groups a socket joins */
#define UDP_MAX_SEGMENTS 64   /* datagrams in one GSO call (what every kernel since 4.18 takes) */
#define UDP_GRO_DATAGRAMS 128 /* datagrams in one GRO batch: a loopback sender's whole call */
#define UDP_GRO_BYTES 65535   /* their payload together */
#define UDP_SEND_BATCH_MAX 64 /* messages in one sendmmsg; udp_send takes any n */
#define UDP_REASON_BYTES 96

/* ---- configuration ---------------------------------------------------------------------- */

/* Where a timestamp was taken. */
typedef enum udp_stamp {
    UDP_STAMP_USER = 0,     /* by this process, when it made the call */
    UDP_STAMP_KERNEL = 1,   /* by the kernel, software */
    UDP_STAMP_HARDWARE = 2, /* by the network card */
} udp_stamp_t;

/* The values of udp_config_t.rx_stamps: a timestamp of this kind, or of the next less exact one.
 * The first socket on the host that requests it enables kernel timestamps in the background (about
 * a millisecond). Datagrams that arrive before have UDP_STAMP_USER. */
typedef enum udp_rx_stamps {
    UDP_RX_STAMPS_OFF = 0, /* UDP_STAMP_USER: one clock read per udp_recv call */
    UDP_RX_STAMPS_KERNEL = 1,
    UDP_RX_STAMPS_HARDWARE = 2, /* prefer the card, fall back to the kernel */
} udp_rx_stamps_t;

typedef enum udp_txtime_mode {
    UDP_TXTIME_OFF = 0,
    UDP_TXTIME_AUTO = 1,    /* use SO_TXTIME when the egress queueing discipline honours it */
    UDP_TXTIME_REQUIRE = 2, /* or fail at open and name the fix */
} udp_txtime_mode_t;

typedef struct udp_group {
    udp_addr_t group;     /* multicast address, port ignored */
    uint32_t ifindex;     /* interface to join on, 0: by iface_v4 or the routing table */
    uint32_t iface_v4_be; /* IPv4 address of the interface, network order; used when ifindex == 0 */
} udp_group_t;

typedef struct udp_rx_pool udp_rx_pool_t;

/* Start from udp_config_default(). */
typedef struct udp_config {
    udp_addr_t local;  /* none: the wildcard address of the remote's family, port by the kernel */
    udp_addr_t remote; /* none: destinations per datagram only */
    bool connected;    /* connect(2) to remote: only its datagrams are received, ICMP errors come */
    bool sends_only;   /* it does not receive: connected if that works, for speed */
    bool reuse_addr;
    bool reuse_port;
    bool broadcast;
    bool v6only;
    bool dont_fragment; /* datagrams above the path MTU fail with EMSGSIZE instead of fragmenting */
    bool mcast_loop;    /* default true: own datagrams reach receivers on this host */
    bool want_gso;
    bool want_gro;
    bool want_tos; /* fill udp_rx_t.tos (costs a control message per datagram) */
    /* Fill udp_rx_t.local if the socket is bound to all addresses (if not, nothing changes: there
     * is one answer). It costs a control message per datagram. */
    bool want_local;
    bool tx_stamps;
    udp_rx_stamps_t rx_stamps;
    udp_txtime_mode_t txtime;
    rt_clock_id_t clock; /* the channel's clock; txtime needs the one its qdisc counts in */

    int ttl;               /* unicast TTL / hop limit 1..255, -1: system default */
    int mcast_ttl;         /* multicast TTL 0..255, -1: system default (1) */
    int dscp;              /* 0..63, -1: leave */
    int so_priority;       /* 0..15, -1: leave; above 6 needs CAP_NET_ADMIN */
    uint32_t rcvbuf_bytes; /* 0: system default */
    uint32_t sndbuf_bytes;

    uint32_t mcast_ifindex;     /* egress interface for multicast, 0: by the next field */
    uint32_t mcast_iface_v4_be; /* its IPv4 address, network order, 0: by the routing table */
    unsigned group_count;
    udp_group_t groups[UDP_MAX_GROUPS];
    char device[IFNAMSIZ]; /* SO_BINDTODEVICE, "" for none */

    /* Owned by the caller, outlive the udp_t, used by its thread only. */
    udp_rx_pool_t *rx_pool; /* needed by udp_recv; NULL for a socket that only sends */
    /* The channel that the journal of the receive pool names, and where the caller counts arrivals
     * it is done with for good (NULL: nowhere). Read before each system call. */
    uint64_t rx_channel;
    const uint64_t *rx_position;
    const rt_a64_t *rx_counted; /* where the caller counts all of them; NULL: nowhere */
    clock_map_t *clock_map;     /* CLOCK_REALTIME -> cfg.clock; needed with any kernel stamp */
    const phc_t *phc;       /* the card's clock -> cfg.clock; NULL: hardware stamps are not used */
} udp_config_t;

/* What the kernel granted. Written by udp_open, udp_adopt and udp_set_remote. */
typedef struct udp_effective {
    udp_addr_t local;      /* bound address and port */
    uint32_t rcvbuf_bytes; /* in the unit of the request: half of what the kernel books */
    uint32_t sndbuf_bytes;
    int ttl;
    int dscp;
    uint32_t mtu; /* of the path or interface, bytes; 0 unknown */
    bool gso;
    bool gro;
    bool txtime;
    udp_stamp_t rx_stamp;
    udp_stamp_t tx_stamp;    /* UDP_STAMP_USER: the kernel gives none */
    uint32_t egress_ifindex; /* towards remote; 0 unknown */
    char egress_device[IFNAMSIZ];
    char qdisc[16];                         /* root queueing discipline there, "" unknown */
    char txtime_reason[UDP_REASON_BYTES];   /* why txtime is false, "" when true or off */
    char hw_stamp_reason[UDP_REASON_BYTES]; /* why no hardware stamps, "" when used or not asked */
} udp_effective_t;

/* ---- the socket ------------------------------------------------------------------------- */

/* Fields below the line are private. */
typedef struct udp {
    int fd; /* -1 when closed; for epoll, and for the pool's duplicate */
    udp_effective_t eff;

    /* Datagrams the kernel dropped at this socket since it was created: buffer full, bad
     * checksum. Survives a worker, as the socket does. udp_recv and udp_drops_refresh update it. */
    uint64_t kernel_drops;
    bool rx_more;         /* after udp_recv: there may be more in pool or kernel, call again */
    bool rx_left;         /* a predecessor left a batch: the next udp_recv returns it */
    unsigned rx_messages; /* that the last call took from the socket; a GRO batch is one */
    uint64_t rx_skip;     /* datagrams of that batch already delivered, by *rx_position */
    uint64_t rx_known;    /* datagrams of that batch already counted, by *rx_counted */
    /* -------- */
    udp_addr_t remote;
    socklen_t remote_len; /* 0: connected, or no default remote */
    bool connected;
    bool adopted;             /* no capability is used for it */
    bool gso;                 /* false: not asked, or refused for good */
    bool stamps_set;          /* ts_flags are set in the kernel */
    bool own_stamp_ids;       /* the kernel takes ids from us (SCM_TS_OPT_ID, 6.13) */
    uint32_t gso_segment_max; /* longest payload that fits the MTU; 0: GSO never */
    uint32_t next_stamp_id;
    uint32_t stamp_id_base; /* without own_stamp_ids: our id of the kernel's 0 */
    uint32_t ts_flags;      /* SO_TIMESTAMPING of the socket */
    uint32_t
        tx_stamp_flags;  /* SOF_TIMESTAMPING_TX_* of a datagram that wants a stamp; 0: none do */
    uint32_t drops_seen; /* the kernel's 32-bit counter */
    bool hw_any_device;  /* every card stamp is phc's: the socket is bound to its interface */
    rt_clock_id_t clock;
    uint64_t cookie; /* the kernel's name for the socket, for as long as it lives */
    uint64_t rx_channel;
    const uint64_t *rx_position;
    const rt_a64_t *rx_counted;
    udp_rx_pool_t *rx_pool;
    clock_map_t *clock_map;
    const phc_t *phc;
} udp_t;

/* The destination of datagrams that name none. Not set: they are not sent. */
static inline const udp_addr_t *udp_default_remote(const udp_t *udp)
{
    return &udp->remote;
}

/* All options off, all values at the system's default. */
udp_config_t udp_config_default(void);

/* Cold. Opens and binds a socket as cfg says and fills udp (closed state before: memory may be
 * uninitialised). Optional features (gso, gro, stamps, buffer sizes, txtime auto) fall back, and
 * udp->eff shows it. Failures of others are errors. cfg itself is not kept. Returns 0; -EINVAL (a
 * value out of range, families that do not fit), -EADDRINUSE, -EADDRNOTAVAIL, -EACCES, -ENODEV,
 * -ENOTSUP (txtime required), or the kernel's error. On failure udp->fd is -1, nothing is left
 * open, and the text names the address or option and the fix. */
int udp_open(udp_t *udp, const udp_config_t *cfg);

/* Cold. The same for an existing socket: one passed in, already bound, or one that outlived a
 * worker. Options that cfg asks for are set (idempotent: groups may be joined already), and all
 * others stay as the owner set them. No capability is used, so an option that needs one must be set
 * already. Datagrams in its queue stay, old transmit timestamps are discarded. cfg.local is not
 * bound again. If it has a port, it must equal the bound address. The function owns fd from now on,
 * and closes it on failure. Returns as udp_open; -ENOTSOCK, -EPROTOTYPE (not UDP). */
int udp_adopt(udp_t *udp, int fd, const udp_config_t *cfg);

/* Closes the descriptor, and drops datagrams of this socket in the pool. May be called twice. */
void udp_close(udp_t *udp);

/* Cold. Sets the default remote (and, on a connected socket, the peer; packets of the old one that
 * are already queued are still received). cfg is that of udp_open with the new remote: the egress
 * interface, MTU and txtime are looked up again. Returns 0. On -EINVAL or an error of connect the
 * old remote stays. On -ENOTSUP or -EPERM txtime is required and the new path has none: then the
 * new remote is set, and packets to it leave at once. */
int udp_set_remote(udp_t *udp, const udp_config_t *cfg);

/* Reads the kernel's drop counter (one system call, not per packet). It includes drops after which
 * nothing was received yet. Returns udp->kernel_drops. */
uint64_t udp_drops_refresh(udp_t *udp);

/* ---- sending ---------------------------------------------------------------------------- */

typedef struct udp_tx {
    const void *data;         /* may be in shared memory; read by the kernel once */
    const udp_addr_t *dest;   /* NULL: the default remote (or connected peer) */
    const udp_addr_t *source; /* an address of this host, port ignored; NULL: the kernel's choice */
    int64_t
        txtime_ns; /* launch time in the channel's clock, 0: at once. Ignored unless eff.txtime */
    uint32_t len;  /* of data; with the head 0 .. 65507 (IPv6 65527) */
    uint32_t head_bytes; /* 0: no head */
    const void *head;    /* what goes before data in the same datagram */
    bool want_stamp;     /* needs cfg.tx_stamps, otherwise ignored */
    uint32_t stamp_id;   /* out: id that udp_tx_stamps will report, 0: none will come */
} udp_tx_t;

/* Whether both go the same way: dest and source are equal, by pointer or by value. */
static inline bool udp_same_way(const udp_tx_t *a, const udp_tx_t *b)
{
    bool same_dest = a->dest == b->dest ||
                     (a->dest != NULL && b->dest != NULL && udp_addr_equal(a->dest, b->dest));
    return same_dest && (a->source == b->source || (a->source != NULL && b->source != NULL &&
                                                    udp_addr_equal(a->source, b->source)));
}

/* Hot. Passes batch[0..n-1] to the kernel in this order. Consecutive datagrams with the same dest
 * and source (pointer or value), txtime, want_stamp and length (the last may be shorter, not empty)
 * leave in one GSO message, up to 64 of them and 65507 bytes; sendmmsg sends the messages. n == 1
 * is one send/sendto.
 *
 * Returns the number passed on, 0 .. n. *err_out is 0 when all were, otherwise the errno that
 * stopped batch[return value]: EAGAIN             socket buffer full: call again when writable
 *   ENOBUFS, ENOMEM    no memory for it now: call again later
 *   EMSGSIZE           longer than the protocol, or than the path MTU with dont_fragment
 *   EDESTADDRREQ       no dest and no default remote
 *   EADDRNOTAVAIL      source is not an address of this host
 *   ENETUNREACH, EHOSTUNREACH, ENETDOWN, EPERM, EACCES, EINVAL, ...  this datagram cannot be sent
 * For all but the first two lines the caller counts batch[return value] as failed and continues
 * after it.
 *
 * Errors of earlier datagrams: on connected sockets an ICMP error (ECONNREFUSED from a closed port)
 * becomes the result of a later call, once, and that call's datagram is not sent. So a failed
 * message is tried again. If that succeeds, the error was an old one, and *err_out stays 0. This
 * loses no datagram and sends none twice.
 *
 * If the kernel refuses GSO, the same datagrams leave plain, and the socket remembers it. EINVAL,
 * EIO: no more GSO. EMSGSIZE: none for payloads of that length and above (they exceed the MTU and
 * fragment).
 */
int udp_send(udp_t *udp, udp_tx_t *batch, unsigned n, int *err_out);

/* Hot. How many of run[0..n-1], from the first on, udp_send puts into one GSO message:
 * 1 .. UDP_MAX_SEGMENTS. */
unsigned udp_joined(const udp_t *udp, const udp_tx_t *run, unsigned n);

/* Hot. The kernel looks up the route to the default remote as for a datagram, and sends none:
 * what the next udp_send touches is in the core's caches then. The next call reports errors.
 */
void udp_warm(const udp_t *udp);

typedef struct udp_tx_stamp {
    int64_t time_ns;  /* in the channel's clock */
    uint32_t id;      /* udp_tx_t.stamp_id of the datagram (or of all datagrams of its GSO call) */
    udp_stamp_t kind; /* KERNEL or HARDWARE */
} udp_tx_stamp_t;

/* Hot. Takes up to max timestamps from the socket's error queue. Call it after sends with
 * want_stamp (on loopback the timestamp exists when udp_send returns, on a card microseconds later)
 * and on EPOLLERR. Timestamps in the queue use space of the receive buffer. They come in sending
 * order, each once, some never (the packet was dropped before it left). Also counts errors of etf.
 * Returns 0 .. max. */
int udp_tx_stamps(udp_t *udp, udp_tx_stamp_t *out, unsigned max);

/* ---- receiving -------------------------------------------------------------------------- */

typedef struct udp_rx {
    const uint8_t *data; /* in the pool, valid until the next udp_recv with the same pool */
    /* The address of this host that it came to, likewise, with the socket's port. Of a group or a
     * broadcast it is an address of the interface. NULL: not known, or not asked. */
    const udp_addr_t *local;
    uint32_t len; /* 0: an empty datagram */
    udp_stamp_t stamp;
    int64_t time_ns; /* arrival in the channel's clock */
    udp_addr_t source;
    uint8_t tos;       /* with cfg.want_tos, otherwise 0 */
    bool shared_stamp; /* one GRO batch, or one udp_recv call with user stamps: one stamp for all */
    bool truncated;
} udp_rx_t;

/* Buffers for receiving, one pool for all sockets of a worker. messages: how many recvmmsg takes at
 * once, 1 .. 64. Each costs 64 KiB, touched (pre-faulted) here, and as much address space. 32 is a
 * good number. memory_fd: the memory file of the buffers (sized here), or -1: private memory.
 * Datagrams that a predecessor took from the kernel into that file, and did not finish, wait there
 * for their socket. Returns NULL with errno and text set. */
udp_rx_pool_t *udp_rx_pool_create(unsigned messages, int memory_fd);

/* Call it after the last udp_t that uses it is closed. May be NULL. */
void udp_rx_pool_destroy(udp_rx_pool_t *pool);

/* Hot. Takes up to max datagrams from the socket (max >= 1), with at most one successful system
 * call. udp->rx_more says whether the queue may hold more. When a call returns max, the rest of a
 * GRO batch may still be in the pool, and the pool serves no other socket until it is taken: call
 * again for this one while it returns max (a call that finds a rest in the pool makes no
 * system call). Returns 0 .. max, -EBUSY (the pool holds a rest of another socket), or -errno for a
 * socket that is broken (EBADF, ENOMEM...). ICMP errors are not returned. */
int udp_recv(udp_t *udp, udp_rx_t *out, unsigned max);

/* The same, but it reads at most this number of messages: single datagrams, or with GRO batches of
 * up to UDP_GRO_DATAGRAMS and UDP_GRO_BYTES. messages 0: only what is already in the pool. */
int udp_recv_messages(udp_t *udp, udp_rx_t *out, unsigned max, unsigned messages);

/* Hot. The caller has published, counted or dropped all datagrams that it got. Until this call a
 * successor would get them again. */
void udp_recv_done(udp_t *udp);

/* Cold. Drops a predecessor's remaining arrivals for this channel that have no socket any more.
 * position: the value of *rx_position. Returns the number of these datagrams, plus those that were
 * dropped since the last call because they were not fetched. */
uint64_t udp_rx_pool_lost(udp_rx_pool_t *pool, uint64_t channel, uint64_t position);

#endif
