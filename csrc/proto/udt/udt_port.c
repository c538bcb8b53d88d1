#include "proto/udt/udt_port.h"

#include "base/rt_math.h"

#include <errno.h>
#include <string.h>

/* 2^32 / golden ratio: spreads ids that callers chose in order. */
#define ID_FACTOR UINT32_C(2654435761)

static uint32_t table_size(uint32_t connections)
{
    return rt_pow2_at_least(connections > 8 ? connections : 8);
}

size_t udt_port_memory_bytes(uint32_t connections)
{
    return connections * sizeof(udt_port_entry_t) + 3 * table_size(connections) * sizeof(uint32_t);
}

void udt_port_init(udt_port_t *p, void *memory, uint32_t connections, const udt_secret_t *secret)
{
    memset(memory, 0, udt_port_memory_bytes(connections));
    *p = (udt_port_t){
        .entries = memory,
        .capacity = connections,
        .mask = table_size(connections) - 1,
        .secret = *secret,
        .free = 1,
    };
    p->by_id = (uint32_t *)(void *)(p->entries + connections);
    p->by_peer = p->by_id + table_size(connections);
    p->sources = p->by_peer + table_size(connections);
    for (uint32_t i = 1; i < connections; i++)
        p->entries[i - 1].next_by_id = i + 1;
}

void udt_port_listen(udt_port_t *p, udt_listener_t *listener)
{
    p->listener = listener;
}

/* --- tables -------------------------------------------------------------------------------- */

static udt_port_entry_t *entry(const udt_port_t *p, uint32_t number)
{
    return number == 0 ? NULL : &p->entries[number - 1];
}

static uint32_t *id_bucket(const udt_port_t *p, uint32_t id)
{
    uint32_t mixed = id * ID_FACTOR;
    return &p->by_id[(mixed >> 12) & p->mask];
}

static uint32_t *peer_bucket(const udt_port_t *p, uint64_t hash)
{
    return &p->by_peer[hash & p->mask];
}

static udt_port_entry_t *find_entry(const udt_port_t *p, uint32_t id)
{
    udt_port_entry_t *e = entry(p, *id_bucket(p, id));
    while (e != NULL && e->conn->config.socket_id != id)
        e = entry(p, e->next_by_id);
    return e;
}

/* A rendezvous has no numbers to distinguish it before it is connected. */
static uint64_t hash_of(const udt_port_t *p, const udt_address_t *peer, uint32_t id, uint32_t isn)
{
    return udt_address_hash(&p->secret, peer, (uint64_t)id << 32 | isn);
}

static void link_peer(udt_port_t *p, udt_port_entry_t *e, uint32_t number)
{
    const udt_conn_t *conn = e->conn;
    bool accepted = conn->setup.is_server;
    if (!accepted && !conn->config.rendezvous)
        return;
    e->peer_hash = hash_of(p, &e->peer, accepted ? conn->peer_id : 0, accepted ? conn->isn : 0);
    uint32_t *bucket = peer_bucket(p, e->peer_hash);
    e->next_by_peer = *bucket;
    *bucket = number;
    e->in_peers = true;
}

static void unlink_peer(udt_port_t *p, udt_port_entry_t *e, uint32_t number)
{
    if (!e->in_peers)
        return;
    uint32_t *at = peer_bucket(p, e->peer_hash);
    while (*at != number)
        at = &entry(p, *at)->next_by_peer;
    *at = e->next_by_peer;
    e->in_peers = false;
}

uint32_t *udt_port_source(const udt_port_t *p, const udt_address_t *from)
{
    udt_address_t network = *from;
    network.port = 0;
    if (network.is_ipv6)
        memset(network.ip + 8, 0, 8);
    return &p->sources[udt_address_hash(&p->secret, &network, 0) & p->mask];
}

uint32_t udt_port_new_id(udt_port_t *p)
{
    uint32_t id;
    do {
        id = (uint32_t)rt_siphash(&p->secret, &p->ids, 1, UINT64_C(8) << 56) & UDT_SEQ_MASK;
        p->ids++;
    } while (id == 0 || find_entry(p, id) != NULL);
    return id;
}

int udt_port_add(udt_port_t *p, udt_conn_t *conn, const udt_address_t *peer)
{
    uint32_t id = conn->config.socket_id;
    if (find_entry(p, id) != NULL)
        return -EEXIST;
    if (p->count == p->capacity)
        return -ENOSPC;
    uint32_t number = p->free;
    udt_port_entry_t *e = entry(p, number);
    p->free = e->next_by_id;
    *e = (udt_port_entry_t){.conn = conn, .peer = *peer, .next_by_id = *id_bucket(p, id)};
    *id_bucket(p, id) = number;
    link_peer(p, e, number);
    if (conn->setup.is_server) {
        e->source = udt_port_source(p, peer);
        ++*e->source;
    }
    p->count++;
    return 0;
}

int udt_port_remove(udt_port_t *p, const udt_conn_t *conn)
{
    uint32_t *at = id_bucket(p, conn->config.socket_id);
    while (*at != 0 && entry(p, *at)->conn != conn)
        at = &entry(p, *at)->next_by_id;
    if (*at == 0)
        return -ENOENT;
    uint32_t number = *at;
    udt_port_entry_t *e = entry(p, number);
    *at = e->next_by_id;
    unlink_peer(p, e, number);
    if (e->source != NULL)
        --*e->source;
    *e = (udt_port_entry_t){.next_by_id = p->free};
    p->free = number;
    p->count--;
    return 0;
}

udt_conn_t *udt_port_find(const udt_port_t *p, uint32_t id)
{
    const udt_port_entry_t *e = find_entry(p, id);
    return e == NULL ? NULL : e->conn;
}

/* --- datagrams ----------------------------------------------------------------------------- */

/* The connection that this request has created already. */
static uint32_t find_accepted(const udt_port_t *p, const udt_address_t *from,
                              const udt_handshake_t *request)
{
    uint64_t hash = hash_of(p, from, request->socket_id, request->isn);
    uint32_t number = *peer_bucket(p, hash);
    for (; number != 0; number = entry(p, number)->next_by_peer) {
        const udt_port_entry_t *e = entry(p, number);
        if (e->peer_hash == hash && e->conn->setup.is_server &&
            e->conn->peer_id == request->socket_id && e->conn->isn == request->isn &&
            udt_address_equals(&e->peer, from))
            return number;
    }
    return 0;
}

static udt_port_entry_t *find_rendezvous(const udt_port_t *p, const udt_address_t *from)
{
    uint64_t hash = hash_of(p, from, 0, 0);
    udt_port_entry_t *e = entry(p, *peer_bucket(p, hash));
    for (; e != NULL; e = entry(p, e->next_by_peer)) {
        if (e->peer_hash == hash && e->conn->config.rendezvous &&
            e->conn->state == UDT_CONN_CONNECTING && udt_address_equals(&e->peer, from))
            return e;
    }
    return NULL;
}

/* A known request is answered again, unless its connection is over: then the client has restarted
 * with the same numbers. */
static udt_port_verdict_t take_request(udt_port_t *p, const udt_address_t *from,
                                       udt_port_result_t *result)
{
    uint32_t number = find_accepted(p, from, &result->request);
    if (number == 0)
        return UDT_PORT_REQUEST;
    udt_port_entry_t *e = entry(p, number);
    if (e->conn->state >= UDT_CONN_BROKEN) {
        unlink_peer(p, e, number);
        return UDT_PORT_REQUEST;
    }
    result->conn = e->conn;
    udt_conn_answer_again(e->conn);
    return UDT_PORT_CONN;
}

static udt_port_verdict_t take_for_listener(udt_port_t *p, const void *data, size_t size,
                                            const udt_address_t *from, int64_t now_mono_ns,
                                            udt_port_result_t *result)
{
    switch (udt_listener_receive(p->listener, data, size, from, now_mono_ns, result->reply,
                                 &result->request)) {
    case UDT_LISTENER_REPLY:
        return UDT_PORT_REPLY;
    case UDT_LISTENER_REQUEST:
        return take_request(p, from, result);
    case UDT_LISTENER_IGNORE:
        break;
    }
    return UDT_PORT_DROPPED;
}

static udt_conn_t *find_receiver(udt_port_t *p, uint32_t id, const udt_address_t *from)
{
    udt_port_entry_t *e = id != 0 ? find_entry(p, id) : find_rendezvous(p, from);
    if (e == NULL) {
        p->unknown_id++;
        return NULL;
    }
    if (!udt_address_equals(&e->peer, from)) {
        p->unknown_source++;
        return NULL;
    }
    return e->conn;
}

udt_port_verdict_t udt_port_receive(udt_port_t *p, const void *data, size_t size,
                                    const udt_address_t *from, int64_t arrival_mono_ns,
                                    int64_t now_mono_ns, udt_port_result_t *result)
{
    result->conn = NULL;
    if (size < UDT_HEADER_BYTES) {
        p->unknown_id++;
        return UDT_PORT_DROPPED;
    }
    uint32_t id = rt_get32((const uint8_t *)data + 12);
    if (id == 0 && p->listener != NULL)
        return take_for_listener(p, data, size, from, now_mono_ns, result);
    result->conn = find_receiver(p, id, from);
    if (result->conn == NULL)
        return UDT_PORT_DROPPED;
    udt_conn_receive(result->conn, data, size, arrival_mono_ns, now_mono_ns);
    return UDT_PORT_CONN;
}
