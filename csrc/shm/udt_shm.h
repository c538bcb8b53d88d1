/* udt_shm.h: what clients and the worker share of channels whose engine is "udt-port" or "udt".
 *
 * A channel "udt-port" owns a UDP port. Any number of UDT sockets share it; one of them may listen.
 * A channel "udt" is one connection. It has no UDP socket of its own: it names the channel of its
 * port, which must be open on the same worker.
 *
 *      channel "udt-port"  <- port ---  channel "udt"      channel "udt" ...
 *        UDP socket                       tx ring: bytes or messages to send
 *        listener                         rx ring: bytes or messages that came, events
 *        rx ring: connection requests     engine part: shm_udt_state_t
 *
 *   shm_config_t.engine_config    shm_udt_port_config_t, shm_udt_config_t
 *   tx record's payload ("udt")   shm_udt_tx_t, then bytes                       client -> worker
 *   rx record's tag ("udt")       shm_udt_got_t; payload: bytes                  worker -> client
 *   rx record's payload (port)    shm_udt_request_t                              worker -> client
 *   ENGINE request                shm_udt_port_command_t, shm_udt_command_t      client -> worker
 *
 * Accepting: a datagram that requests a connection and has a valid cookie becomes a record with a
 * number in the port's rx ring. The peer has no answer yet. A client on this side opens a channel
 * "udt" with that number in its configuration, which answers, or it refuses the number. Requests
 * that nobody takes for 3 s are dropped. The peer repeats its request until its time-out.
 *
 * Connecting: the channel begins to connect when it is opened. SHM_UDT_GOT_CONNECTED or
 * SHM_UDT_GOT_FAILED comes in the rx ring.
 *
 * Sending: records with the flag SHM_TX_ENGINE (tx_producer_push_engine), in the order of the ring.
 * Stream: their bytes follow each other. Messages: records with SHM_UDT_MORE and the first one
 * without it are one message. They must follow each other in the ring. The worker takes in what its
 * send buffer has room for. The rest waits in the ring, which fills up, so a client waits for room
 * as on any channel.
 *
 * Receiving: bytes that are in order are put into the rx ring while it has room (overflow "wait").
 * The rest waits in the worker's receive buffer, whose room is advertised to the peer.
 *
 * The buffers of packets are in the worker's own memory and are lost when it dies: then connections
 * are broken, SHM_UDT_LOST, and ports listen again. */
#ifndef SHM_UDT_H
#define SHM_UDT_H

#include "rows/udt_port.h"
#include "shm/shm_layout.h"

#define SHM_UDT_PORT_ENGINE "udt-port"
#define SHM_UDT_ENGINE "udt"
#define SHM_UDT_STATS_BYTES 1024u /* reserved for udt_stats_t */
#define SHM_UDT_MAX_BACKLOG 4096u
#define SHM_UDT_MAX_SOCKETS 65536u
#define SHM_UDT_REQUEST_RING_BYTES 128u /* in the port's rx ring, per request that may wait */

typedef enum shm_udt_mode { SHM_UDT_STREAM = 1, SHM_UDT_MESSAGES = 2 } shm_udt_mode_t;

/* --- ports -------------------------------------------------------------------------------- */

/* The channel: direction duplex, overflow "oldest" (a full rx ring never stops a port from reading
 * its socket), rx_bytes of at least 128 bytes for each request that may wait. rcvbuf_bytes 0: 12
 * MB, enough for one window of packets. */
typedef struct shm_udt_port_config {
    uint32_t config_bytes;   /* sizeof this struct */
    uint32_t max_sockets;    /* 1 .. SHM_UDT_MAX_SOCKETS connections on this port at a time */
    uint32_t listens;        /* 0, or shm_udt_mode_t: listens from the beginning; otherwise
                                SHM_UDT_LISTEN starts it */
    uint32_t backlog;        /* requests that may wait, 1 .. SHM_UDT_MAX_BACKLOG */
    uint32_t max_per_source; /* requests and accepted connections of one IPv4 address or of one IPv6
                                network of 64 bits; 0: no limit */
    uint32_t reserved;
    uint64_t max_bytes; /* segments of all accepted connections together; 0: no limit */
} shm_udt_port_config_t;

/* A connection request. The record's source is the peer's address. */
typedef struct shm_udt_request {
    uint32_t number; /* for shm_udt_config_t.accepts; not 0 */
    uint32_t socket_id;
    uint32_t mss_bytes;
    uint32_t window_packets;
} shm_udt_request_t;

typedef enum shm_udt_port_op {
    SHM_UDT_LISTEN = 1,
    SHM_UDT_UNLISTEN = 2,
    SHM_UDT_REFUSE = 3,
} shm_udt_port_op_t;

typedef struct shm_udt_port_command {
    uint32_t op;      /* shm_udt_port_op_t */
    uint32_t mode;    /* LISTEN: shm_udt_mode_t */
    uint32_t backlog; /* LISTEN */
    uint32_t number;  /* REFUSE */
} shm_udt_port_command_t;

/* Engine part of a port: counters of the listener and of datagrams of no connection. */

#define SHM_UDT_PORT_COUNTER_SPACE 24u

typedef struct shm_udt_port_state {
    rt_a32_t listens; /* shm_udt_mode_t, 0: does not listen; a successor continues it */
    rt_a32_t backlog;
    rt_a32_t sockets; /* connections on the port */
    rt_a32_t waiting; /* requests that wait */
    rt_a64_t counters[SHM_UDT_PORT_COUNTER_SPACE];
} shm_udt_port_state_t;

/* --- connections -------------------------------------------------------------------------- */

typedef enum shm_udt_cc {
    SHM_UDT_CC_DAIMD = 0, /* UDT's own */
    SHM_UDT_CC_FIXED = 1,
    SHM_UDT_CC_BBR = 2,
} shm_udt_cc_t;

/* The channel: direction duplex, overflow "wait", engine_bytes of at least a page. Numbers of 0
 * mean the default in the comment. */
typedef struct shm_udt_config {
    uint32_t config_bytes; /* sizeof this struct */
    uint32_t accepts;      /* number of a shm_udt_request_t; 0: connects to the channel's remote */
    char port[SHM_NAME_BYTES];
    uint8_t mode;             /* shm_udt_mode_t */
    uint8_t rendezvous;       /* 1: both ends connect */
    uint8_t cc;               /* shm_udt_cc_t */
    uint32_t socket_id;       /* 0: random */
    uint32_t mss_bytes;       /* 76 .. 65535; 1500 */
    uint32_t window_packets;  /* UDT_FC, 32 .. 2^20: 25600 */
    uint32_t send_bytes;      /* size of the worker's send buffer, up to 2^31; 8192 packets */
    uint32_t receive_packets; /* size of its receive buffer, 32 .. 2^20; 8192 */
    uint64_t max_bandwidth;   /* bytes per second, 0: unlimited; with SHM_UDT_CC_FIXED: the rate */
    int64_t connect_ns;       /* time-out, 0: 3 s, rendezvous 30 s */
    int64_t burst_ns;         /* packets due within this time leave together; -1: 200 us */
} shm_udt_config_t;

/* Checks every field. Any thread. Returns 0 or -EINVAL, -EPROTO with a text that names the value,
 * the limit and the fix. */
int shm_udt_port_config_check(const shm_udt_port_config_t *c);
int shm_udt_config_check(const shm_udt_config_t *c);

#define SHM_UDT_MORE 0x01u     /* the message continues in the next record */
#define SHM_UDT_IN_ORDER 0x02u /* message mode: not delivered before messages sent earlier */

typedef struct shm_udt_tx {
    int32_t ttl_ms; /* message mode: -1: no limit */
    uint32_t flags; /* SHM_UDT_MORE, SHM_UDT_IN_ORDER; those of a message's first record count */
} shm_udt_tx_t;

/* Low byte of an rx record's tag. */
typedef enum shm_udt_got {
    SHM_UDT_GOT_BYTES = 0,     /* stream: the next bytes */
    SHM_UDT_GOT_MESSAGE = 1,   /* a message, or its last piece */
    SHM_UDT_GOT_PIECE = 2,     /* a piece of a message, and another follows */
    SHM_UDT_GOT_CONNECTED = 3, /* no payload, as in all below */
    SHM_UDT_GOT_FAILED = 4,    /* not connected; the tag's upper bytes:
                                  the protocol's error number */
    SHM_UDT_GOT_BROKEN = 5,    /* closed by the peer, or silent for too long:
                                  comes after the received data */
    SHM_UDT_GOT_PEER_ERROR = 6,
    SHM_UDT_GOT_CLOSED = 7, /* after SHM_UDT_CLOSE: everything was
                               sent, or the linger time is over */
} shm_udt_got_t;

/* Engine part of a connection. Written by the worker, each word atomically. */
typedef struct shm_udt_state {
    rt_a32_t state; /* shm_udt_conn_state_t, written last */
    rt_a32_t error; /* the protocol's number, 0: none */
    rt_a32_t socket_id;
    rt_a32_t peer_id;
    rt_a32_t mss_bytes;    /* agreed with the peer */
    rt_a32_t peer_errors;  /* times the peer reported that it could not store received data */
    rt_a64_t unsent_bytes; /* in the worker's send buffer, including unacknowledged bytes */
    rt_a64_t unread_bytes; /* in its receive buffer, in order; of a stream */
    shm_addr_t peer;       /* written before state leaves 0 */
    shm_addr_t local;      /* of this host: what the peer sends to. family 0: the port's */
    _Alignas(RT_LINE_BYTES) uint8_t stats[SHM_UDT_STATS_BYTES]; /* udt_stats_t */
} shm_udt_state_t;

typedef enum shm_udt_op {
    SHM_UDT_CLOSE = 1,         /* sends queued data within value ns, then tells the peer */
    SHM_UDT_SET_BANDWIDTH = 2, /* value: bytes per second, 0: unlimited */
    SHM_UDT_REPORT_ERROR = 3,  /* tells the peer that received data could not be stored */
} shm_udt_op_t;

typedef struct shm_udt_command {
    uint32_t op; /* shm_udt_op_t */
    uint32_t reserved;
    int64_t value; /* see above */
} shm_udt_command_t;

#endif
