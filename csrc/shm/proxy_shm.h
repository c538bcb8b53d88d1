/* proxy_shm.h: what clients and the worker share of a channel whose engine is "proxy": a UDP proxy
 * with an impaired path in each direction.
 *
 *      client A --\                                     /-- socket of A's flow --\
 *                  [ local ] ==== forward path ====>                              [ to ]
 *      client B --/          <=== backward path ====    \-- socket of B's flow --/
 *
 * All flows share the two paths, as they would share a link. Datagrams never enter the rings.
 *
 *   shm_config_t.local                   where clients send to
 *   shm_config_t.impair_tx, impair_rx    the forward and the backward path, as opened
 *   shm_config_t.engine_config           shm_proxy_config_t, the pool, once
 *   engine's part of the segment         shm_proxy_state_t, the worker
 *   ENGINE request                       shm_proxy_command_t, client -> worker
 *
 * The counters impair_tx_* of the channel are those of the forward path, impair_rx_* of the
 * backward path. Each word below is written by the worker and read by observers and by its
 * successor, which checks what it takes from here. */
#ifndef SHM_PROXY_H
#define SHM_PROXY_H

#include "rows/proxy.h"
#include "shm/shm_layout.h"

#define SHM_PROXY_ENGINE "proxy"

typedef enum shm_proxy_way { SHM_PROXY_FORWARD = 0, SHM_PROXY_BACKWARD = 1 } shm_proxy_way_t;
#define SHM_PROXY_WAYS 2u

typedef struct shm_proxy_config {
    uint32_t config_bytes; /* sizeof this struct */
    uint32_t flows;        /* at a time, at most */
    int64_t idle_ns;       /* a flow without datagrams for so long ends */
    shm_addr_t to;
} shm_proxy_config_t;

/* Checks every field. Any thread. Returns 0 or -EINVAL, -EPROTO with a text that names the value,
 * the limit and the fix. */
int shm_proxy_config_check(const shm_proxy_config_t *c);

/* Room for more counters and gauges without moving what follows. */
#define SHM_PROXY_COUNTER_SPACE 32u
#define SHM_PROXY_GAUGE_SPACE 16u
#define SHM_PROXY_IMPAIR_WORDS 12u /* of a shm_impair_t */

typedef struct shm_proxy_state {
    rt_a64_t taken[SHM_PROXY_WAYS]; /* received datagrams that are on a path or counted, for a
                                       successor */
    rt_a64_t flow_drops;            /* of the kernel at the sockets of all flows, for a successor */
    rt_a64_t set;                   /* 1: `impair` is valid, for a successor */
    rt_a64_t impair[SHM_PROXY_WAYS][SHM_PROXY_IMPAIR_WORDS]; /* in effect, each a shm_impair_t */
    rt_a64_t counters[SHM_PROXY_COUNTER_SPACE];
    rt_a64_t gauges[SHM_PROXY_GAUGE_SPACE];
} shm_proxy_state_t;

/* The impairment of one way, word by word: during a change, some fields may be older than others.
 */
void shm_proxy_get_impair(const shm_proxy_state_t *state, unsigned way, shm_impair_t *out);
void shm_proxy_put_impair(shm_proxy_state_t *state, unsigned way, const shm_impair_t *in);

typedef enum shm_proxy_op {
    SHM_PROXY_SET = 1, /* changes the impairments of these ways */
} shm_proxy_op_t;

/* Body of an ENGINE request. */
typedef struct shm_proxy_command {
    uint32_t op;   /* shm_proxy_op_t */
    uint32_t ways; /* bit 0: forward, bit 1: backward; at least one */
    shm_impair_t impair[SHM_PROXY_WAYS];
} shm_proxy_command_t;

#endif
