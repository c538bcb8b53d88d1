/* udt_port.h: finds the UDT socket of a UDP port to which a datagram belongs.
 *
 *     datagram -> id of the receiver
 *                  0    a listener here?  yes: first requests, repeated and new ones
 *                                         no:  a rendezvous with that address that is connecting
 *                  > 0  the connection of that id, if the datagram is from its peer's address
 *
 *     entries    one for each connection, in two chained tables:
 *     by id      its own id
 *     by peer    address, the peer's id and first packet number (accepted ones: a request may be
 *                repeated), or the address alone (a rendezvous)
 *
 *     sources    how many requests and accepted connections there are from each network: one IPv4
 *                address, or 64 bits of IPv6. Two networks may share a place, rarely
 *
 * The keys of the last two come from the network, so their hash has a secret: nobody can choose
 * addresses that collide.
 *
 * Caller's memory, one thread, no clock, no socket. */
#ifndef UDT_PORT_H
#define UDT_PORT_H

#include "proto/udt/udt_conn.h"
#include "proto/udt/udt_listener.h"

typedef struct udt_port_entry {
    udt_conn_t *conn; /* NULL: free */
    udt_address_t peer;
    uint64_t peer_hash;
    uint32_t next_by_id; /* entries count from 1 here; 0: end of the chain */
    uint32_t next_by_peer;
    uint32_t *source; /* accepted ones: where they count */
    bool in_peers;
} udt_port_entry_t;

typedef struct udt_port {
    udt_port_entry_t *entries;
    uint32_t *by_id;
    uint32_t *by_peer;
    uint32_t *sources;
    uint32_t capacity;
    uint32_t mask;  /* of the tables */
    uint32_t free;  /* chain of free entries, by next_by_id */
    uint32_t count; /* connections */
    uint64_t ids;   /* drawn so far */
    udt_secret_t secret;
    udt_listener_t *listener;
    uint64_t unknown_source; /* datagrams for another peer's id, or from an unknown address */
    uint64_t unknown_id;     /* datagrams for an unknown id */
} udt_port_t;

typedef enum udt_port_verdict {
    UDT_PORT_DROPPED = 0, /* it belongs to no socket */
    UDT_PORT_CONN = 1,    /* *conn has taken it, or refused it; call its udt_conn_emit */
    UDT_PORT_REPLY = 2,   /* send the reply to where the datagram came from */
    UDT_PORT_REQUEST = 3, /* a request for a new connection: call udt_conn_accept and udt_port_add,
                             or udt_listener_refuse */
} udt_port_verdict_t;

typedef struct udt_port_result {
    udt_conn_t *conn;
    udt_handshake_t request;
    uint8_t reply[UDT_HANDSHAKE_BYTES];
} udt_port_result_t;

/* Memory for that many connections, at least 1. */
size_t udt_port_memory_bytes(uint32_t connections);

/* memory: aligned to 8, owned by the caller. */
void udt_port_init(udt_port_t *p, void *memory, uint32_t connections, const udt_secret_t *secret);

/* NULL: stop listening. The caller owns the listener. */
void udt_port_listen(udt_port_t *p, udt_listener_t *listener);

/* The number of requests and accepted connections of an address's network. Accepted connections are
 * counted here while they are in the tables. The caller counts requests. */
uint32_t *udt_port_source(const udt_port_t *p, const udt_address_t *from);

/* An id that no connection here has, 1 .. 2^31 - 1. Nobody can guess it from others: for most
 * control packets the id is all that a peer must know besides its own address (udt_conn.c). */
uint32_t udt_port_new_id(udt_port_t *p);

/* conn: connecting, or just accepted. The caller owns it, and must not move it until it is removed.
 * Returns 0, -EEXIST (its id is in use), -ENOSPC (no memory for more connections). */
int udt_port_add(udt_port_t *p, udt_conn_t *conn, const udt_address_t *peer);

/* Returns 0, -ENOENT. */
int udt_port_remove(udt_port_t *p, const udt_conn_t *conn);

/* The connection with that id, or NULL. */
udt_conn_t *udt_port_find(const udt_port_t *p, uint32_t id);

/* Passes a datagram from that address to its connection. */
udt_port_verdict_t udt_port_receive(udt_port_t *p, const void *data, size_t size,
                                    const udt_address_t *from, int64_t arrival_mono_ns,
                                    int64_t now_mono_ns, udt_port_result_t *result);

#endif
