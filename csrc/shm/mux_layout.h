/* mux_layout.h: what the engine "mux" and its client share: many UDP sockets ("ports") on one
 * channel. Structs and pure arithmetic; mux_layout.c pins the offsets, LAYOUT.md draws them.
 *
 * The client assigns the ports' places and generations, asks the worker to open, aim and close the
 * ports (ENGINE requests), and counts what it sends through each:
 *
 *   tx record   flag SHM_TX_ENGINE; payload: mux_head_t, then the datagram
 *   rx record   tag: mux_tag(port, generation); payload: the datagram
 *   drained     per port: the number after the last packet that the worker is done with,
 *               whether it was sent or not; packets with later numbers wait
 *
 * A place that is closed and opened again gets another generation, so that packets in a ring for
 * its former port are not delivered. Repeating a request changes nothing, because a worker may die
 * after it acted and before it answered.
 *
 *   engine part    0 +----------------------------------+
 *                    | mux_facts_t                      |  worker
 *                128 +----------------------------------+
 *                    | drained [ports]    4 bytes each  |  worker
 *               page +----------------------------------+
 *                    | mux_port_t [ports] 64 bytes each |  worker; its successor opens what is OPEN
 *                    +----------------------------------+
 */
#ifndef SHM_MUX_LAYOUT_H
#define SHM_MUX_LAYOUT_H

#include "shm/shm_layout.h"

#define MUX_ENGINE "mux"
#define MUX_MAX_PORTS 32768u

/* In shm_config_t.engine_config. */
typedef struct mux_config {
    uint32_t ports; /* places, 1 .. MUX_MAX_PORTS */
    uint32_t reserved;
} mux_config_t;

/* Before every datagram to send. */
typedef struct mux_head {
    uint32_t number; /* counts the packets of a port from 0, mod 2^32 */
    uint16_t port;   /* place */
    uint16_t generation;
} mux_head_t;

/* Longest datagram of a port: the maximum of IPv6. */
#define MUX_MAX_DATAGRAM (SHM_MAX_RECORD - (uint32_t)sizeof(mux_head_t))

typedef enum mux_op {
    MUX_ADD = 1,    /* opens a socket bound to address; closes the socket that was at this place */
    MUX_REMOVE = 2, /* closes it; drops packets that wait to be sent through it */
    MUX_AIM = 3,    /* sends to address from now on, also packets that wait already */
} mux_op_t;

/* Body of an ENGINE request. */
typedef struct mux_request {
    uint32_t op; /* mux_op_t */
    uint16_t port;
    uint16_t generation;
    shm_addr_t address;
} mux_request_t;

/* The answer. Its result is 0 even if the socket could not be opened. */
typedef struct mux_reply {
    int32_t error; /* 0, or the errno of socket or bind; ENOENT: no such port (MUX_AIM) */
    uint32_t reserved;
    shm_addr_t address; /* where the port is bound */
} mux_reply_t;

typedef enum mux_port_state { MUX_PORT_FREE = 0, MUX_PORT_OPEN = 1 } mux_port_state_t;

typedef struct mux_port {
    rt_a32_t state; /* mux_port_state_t, written last */
    uint32_t generation;
    shm_addr_t local;  /* address in use, with the port number filled in */
    shm_addr_t target; /* family 0: none yet */
    shm_addr_t
        source; /* what the target sends to, so replies leave from there; family 0: not known */
    uint64_t drops;    /* the part of the kernel's drop count at this
                          socket that is in the counters */
} mux_port_t;

typedef struct mux_facts {
    rt_a32_t open; /* ports in use */
    rt_a32_t lost; /* ports that a successor could not bind again and still retries */
    uint32_t reserved[30];
} mux_facts_t;

/* --- offsets of the parts ------------------------------------------------------------- */

static inline uint64_t mux_ports_offset(uint32_t ports)
{
    uint64_t bytes = sizeof(mux_facts_t) + ports * sizeof(rt_a32_t);
    return (bytes + SHM_PAGE_BYTES - 1) / SHM_PAGE_BYTES * SHM_PAGE_BYTES;
}

/* Engine bytes of a channel with this many places; a multiple of the page. */
static inline uint64_t mux_bytes(uint32_t ports)
{
    uint64_t bytes = mux_ports_offset(ports) + ports * sizeof(mux_port_t);
    return (bytes + SHM_PAGE_BYTES - 1) / SHM_PAGE_BYTES * SHM_PAGE_BYTES;
}

static inline mux_facts_t *mux_facts(uint8_t *engine)
{
    return (mux_facts_t *)(void *)engine;
}

static inline rt_a32_t *mux_drained(uint8_t *engine)
{
    return (rt_a32_t *)(void *)(engine + sizeof(mux_facts_t));
}

static inline mux_port_t *mux_ports(uint8_t *engine, uint32_t ports)
{
    return (mux_port_t *)(void *)(engine + mux_ports_offset(ports));
}

/* --- tags ---------------------------------------------------------------------------------- */

static inline uint32_t mux_tag(uint16_t port, uint16_t generation)
{
    return (uint32_t)generation << 16 | port;
}

static inline uint16_t mux_tag_port(uint32_t tag)
{
    return (uint16_t)tag;
}

static inline uint16_t mux_tag_generation(uint32_t tag)
{
    return (uint16_t)(tag >> 16);
}

#endif
