/* udt.h: the engines "udt-port" and "udt": UDT connections over shared UDP ports. shm/udt_shm.h
 * describes what clients and the worker share, proto/udt is the protocol. Used by these parts only:
 *
 *   port.c         life of a port
 *   port_send.c    connections -> socket, and what the kernel refused
 *   demultiplex.c  socket -> connections, by the socket id in each datagram
 *   listen.c       requests for connections
 *   agent.c        life of a connection's channel
 *   connection.c   serving a connection; the port's connections
 *   open.c         its beginning
 *   tx.c           tx ring -> connection -> port
 *   rx.c           connection -> rx ring
 *   address.c      addresses in their three forms
 *
 *          udt channels                      port
 *     tx ring -> udt_conn_send    ---.
 *                udt_conn_emit        >--- udt_port_agent_send -> udp_send, or the impaired path
 *     rx ring <- udt_conn_receive <--'---- udt_port_receive <---- udp_recv, or the impaired path
 *
 * A connection is served (udt_agent_serve: its timers, what it sends, what it tells its client)
 * after its own deadline, after records came in its tx ring, and once per round of reading in which
 * datagrams came for it: so one answer covers a whole batch.
 *
 * A port and its connections are on one worker, and so on one thread. The port knows its
 * connections, each connection its port. The one that ends first unregisters with the other. */
#ifndef UDT_AGENT_H
#define UDT_AGENT_H

#include "proto/udt/udt_conn.h"
#include "proto/udt/udt_port.h"
#include "shm/udt_shm.h"
#include "worker/agents/common/receive.h"
#include "worker/agents/common/send.h"

/* Two segmented sends of packets of 1500 bytes. */
enum { UDT_AGENT_BATCH = 88, UDT_AGENT_PLACE_BYTES = 65536 };

/* --- a port --------------------------------------------------------------------------------- */

typedef struct udt_agent udt_agent_t;

/* Both ends of a connection's datagrams. */
typedef struct udt_ends {
    udp_addr_t peer;
    udp_addr_t local; /* of this host: what the peer sends to. Not set: the kernel chooses */
} udt_ends_t;

/* A valid request that no client has taken yet. */
typedef struct udt_waiting {
    udt_handshake_t handshake;
    udt_ends_t ends;
    uint32_t *source; /* where it counts */
    uint32_t bucket;
    uint32_t next; /* next in the same bucket */
    int64_t heard_mono_ns;
    uint32_t number; /* 0: a free place */
    uint32_t before; /* in the order in which they were last received; UDT_NO_PLACE */
    uint32_t behind;
} udt_waiting_t;

#define UDT_NO_PLACE UINT32_MAX

/* Packets that the kernel had no room for. They are copies, because their connections continue. */
typedef struct udt_refused {
    uint8_t *bytes; /* UDT_AGENT_BATCH places of UDT_AGENT_PLACE_BYTES, touched when first used */
    udp_tx_t messages[UDT_AGENT_BATCH];
    udt_ends_t ends[UDT_AGENT_BATCH];
    unsigned at;
    unsigned count;      /* number of messages, from the first; 0: none */
    wrk_channel_t *from; /* the connection's channel; NULL: it is gone, or there is none */
} udt_refused_t;

typedef struct udt_port_agent {
    wrk_channel_t *channel;
    udp_t udp;
    wrk_source_t socket;
    const phc_t *phc; /* NULL: none */
    agent_path_t path;
    agent_block_t block; /* the kernel has no room */
    udt_refused_t refused;
    int64_t flow_mono_ns; /* since then the receiver counts bytes */
    bool flows;           /* so much that waking for each datagram would cost more than it saves */
    int64_t rest_mono_ns; /* the socket is not watched, but read at this time; 0: it is watched */
    shm_udt_port_state_t *state;

    udt_secret_t secret;
    udt_port_t sockets; /* the connections of this port */
    void *sockets_memory;
    udt_agent_t *agents;        /* all their agents */
    udt_agent_t *touched;       /* those to serve at the end of this round */
    shm_addr_t last_source;     /* of the last datagram */
    udp_addr_t last_from;       /* the same in the form of its socket */
    udt_address_t last_address; /* and in the form of the protocol */

    bool listens;
    uint32_t max_per_source;   /* 0: no limit */
    uint64_t max_bytes;        /* 0: no limit */
    uint64_t accepted_bytes;   /* of the segments of accepted connections */
    uint64_t connection_bytes; /* of the last one */
    udt_listener_t listener;
    udt_waiting_t *waiting; /* SHM_UDT_MAX_BACKLOG places */
    uint32_t *buckets;      /* first request of each bucket, as many as places; UDT_NO_PLACE */
    uint32_t backlog;
    uint32_t waiting_count;
    uint32_t oldest;
    uint32_t newest;
    uint32_t next_place;
    uint32_t generation; /* of request numbers */

    agent_receiver_t receiver;
    udp_tx_t messages[UDT_AGENT_BATCH];
    udt_out_t out[UDT_AGENT_BATCH];
    uint8_t whole[UINT16_MAX + 1]; /* a datagram assembled for the impaired path */
} udt_port_agent_t;

static inline udt_port_agent_t *udt_port_agent_of(const wrk_channel_t *ch)
{
    return ch->agent;
}

static inline void udt_port_agent_count(udt_port_agent_t *p, shm_udt_port_counter_id_t id)
{
    rt_bump(&p->state->counters[id], 1);
}

/* --- a connection --------------------------------------------------------------------------- */

/* Notices that the client has not got yet, because the rx ring has no room or something else comes
 * first. */
#define UDT_NOTICE_CONNECTED 0x01u
#define UDT_NOTICE_FAILED 0x02u
#define UDT_NOTICE_PEER_ERROR 0x04u
#define UDT_NOTICE_BROKEN 0x08u
#define UDT_NOTICE_CLOSED 0x10u

struct udt_agent {
    wrk_channel_t *channel;
    udt_port_agent_t *port; /* NULL: gone, or it never had one; the connection does nothing more */
    udt_agent_t *next;      /* next agent of the port */
    udt_agent_t **at;       /* the pointer to this agent */
    udt_agent_t *touched_next;
    shm_udt_config_t config;
    udt_conn_t conn;
    void *memory; /* of its buffers; NULL: none */
    udt_ends_t ends;
    shm_addr_t peer_shm;
    bool notifies_loss; /* LOST: its port and its peer are still to be notified */
    shm_udt_state_t *state;
    int64_t served_mono_ns;
    bool touched;
    bool more; /* a batch was not enough: do_work continues */

    /* sending */
    bool has_item;
    bool has_first; /* in a message of several records: the first one is there */
    bool skips;     /* the rest of this message is dropped */
    bool waits_for_room;
    agent_purge_t purge;
    tx_item_t item;   /* taken, and not completely sent on */
    uint32_t item_at; /* bytes of it sent on */
    shm_udt_tx_t first;
    uint32_t gathered; /* bytes of the message, copied after the data given to send */

    /* closing: when the ring is taken in up to close_before, or at close_mono_ns */
    int64_t close_mono_ns;
    uint32_t close_before;
    bool closes;

    /* receiving */
    bool rx_waits; /* the ring is full: checked again at rx_retry_mono_ns */
    bool has_message;
    int64_t rx_retry_mono_ns;
    int64_t rx_retry_ns;
    unsigned notices; /* UDT_NOTICE_* */
    uint32_t notice_error;
    udt_message_t message;  /* being delivered in pieces */
    uint32_t message_piece; /* next */
    uint32_t message_at;    /* bytes of it delivered */
    uint64_t message_left;
};

static inline udt_agent_t *udt_agent_of(const wrk_channel_t *ch)
{
    return ch->agent;
}

static inline udt_agent_t *udt_agent_with(udt_conn_t *conn)
{
    return (udt_agent_t *)(void *)((char *)conn - offsetof(udt_agent_t, conn));
}

/* --- address.c --- */

/* The form of addresses that the port's socket uses. */
void udt_port_agent_address(const udt_port_agent_t *p, const shm_addr_t *in, udp_addr_t *out);
/* The IPv4 address in an IPv4-mapped one. Other addresses stay unchanged. */
shm_addr_t udt_plain_address(const udp_addr_t *in);
udt_address_t udt_address_of(const udp_addr_t *in);

/* --- port_send.c --- */

/* Sends what a connection emitted, or keeps it until the kernel has room: then p->block.now is set,
 * and no connection may emit. */
void udt_port_agent_send(udt_port_agent_t *p, wrk_channel_t *from, const udt_out_t *out,
                         size_t count, const udt_ends_t *ends);
/* One datagram that belongs to no connection. It is lost if the kernel has no room. */
void udt_port_agent_send_one(udt_port_agent_t *p, const void *data, uint32_t bytes,
                             const udt_ends_t *ends);
/* Hands over as many as possible. Returns how many are done: fewer than count if the kernel has no
 * room now. from: the connection's channel, NULL: none. */
unsigned udt_port_agent_hand_over(udt_port_agent_t *p, wrk_channel_t *from, udp_tx_t *messages,
                                  unsigned count);
void udt_port_agent_watch(udt_port_agent_t *p); /* depends on held, rest and block */
/* Marks this connection to be served at the end of the round. */
void udt_port_agent_touch(udt_port_agent_t *p, udt_agent_t *a);

/* --- demultiplex.c --- */

void udt_port_agent_rx_open(udt_port_agent_t *p);
void udt_port_agent_on_socket(wrk_source_t *source, uint32_t events, int64_t now_mono_ns);
bool udt_port_agent_deliver(wrk_channel_t *ch, const rx_item_t *item, int64_t now_mono_ns);
/* Serves the connections that got datagrams or waited for the kernel. */
void udt_port_agent_serve_touched(udt_port_agent_t *p);

/* --- listen.c --- */

int udt_port_agent_listen(udt_port_agent_t *p, uint32_t mode, uint32_t backlog);
void udt_port_agent_unlisten(udt_port_agent_t *p);
/* A valid request for which there is no connection yet. */
void udt_port_agent_request(udt_port_agent_t *p, const udt_handshake_t *hs, const udt_ends_t *ends,
                            const udt_address_t *address, int64_t now_mono_ns);
/* Adds what listener and sockets have counted since the last call. */
void udt_port_agent_counters(udt_port_agent_t *p);
/* Whether accepted connections may take so many bytes more. */
static inline bool udt_port_agent_has_bytes(const udt_port_agent_t *p, uint64_t bytes)
{
    return p->max_bytes == 0 || p->accepted_bytes + bytes <= p->max_bytes;
}
/* NULL: no request of that number waits. */
udt_waiting_t *udt_port_agent_waiting(udt_port_agent_t *p, uint32_t number);
void udt_port_agent_forget(udt_port_agent_t *p, udt_waiting_t *w);
void udt_port_agent_refuse(udt_port_agent_t *p, udt_waiting_t *w);
void udt_port_agent_expire(udt_port_agent_t *p, int64_t now_mono_ns);
int64_t udt_port_agent_expiry_ns(const udt_port_agent_t *p);

/* --- connection.c --- */

/* Handles what is due, sends, tells the client. Afterwards the channel's deadline may have changed.
 * Returns how much was taken in. */
unsigned udt_agent_serve(wrk_channel_t *ch);
bool udt_agent_takes_in(const udt_agent_t *a); /* from the tx ring */
/* Closes without lingering. */
void udt_agent_shut_down(udt_agent_t *a);
/* Its port closes. */
void udt_agent_port_gone(udt_agent_t *a);
/* Nothing more will be sent: tells the client, with the reason. */
void udt_agent_end(udt_agent_t *a, shm_udt_conn_state_t state, unsigned notice, uint32_t error);
/* Tells clients. Called after everything else that they are told was written. */
void udt_agent_publish_state(udt_agent_t *a, shm_udt_conn_state_t state);
/* NULL with a text. */
udt_port_agent_t *udt_agent_find_port(const wrk_channel_t *ch, const char *name);
/* Datagrams for it are given to it from now on. Returns 0, -EEXIST or -ENOSPC with a text. */
int udt_agent_join(udt_port_agent_t *p, udt_agent_t *a);
void udt_agent_leave_port(udt_agent_t *a);
/* The peer of a connection that died with its worker gets a goodbye if the port is open. Otherwise
 * a->notifies_loss stays. */
void udt_agent_notify_lost(udt_agent_t *a);

/* --- open.c --- */

/* As agent_ops_t.open. */
int udt_agent_open(wrk_channel_t *ch, int64_t now_mono_ns);

/* --- tx.c --- */

/* Takes a bounded amount from the tx ring into the send buffer. Returns how much it found to do. */
unsigned udt_agent_take_in(wrk_channel_t *ch, int64_t now_mono_ns);
/* Emits what is due, at most one batch. */
void udt_agent_emit(wrk_channel_t *ch, int64_t now_mono_ns);
int udt_agent_purge(wrk_channel_t *ch, unsigned max, int64_t now_mono_ns);

/* --- rx.c --- */

/* Delivers into the rx ring as far as it has room. */
void udt_agent_deliver(wrk_channel_t *ch, int64_t now_mono_ns);

#endif
