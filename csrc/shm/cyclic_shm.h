/* cyclic_shm.h: what clients and the worker share of a channel whose engine is "cyclic".
 *
 *   shm_config_t.engine_config    shm_cyclic_config_t      the pool, once
 *   engine's part of the segment  drawn below              the payload to send, and how it is sent
 *   ENGINE request                shm_cyclic_op_t          client -> worker
 *
 *   engine part   0 +---------------------------------------+
 *                   | shm_cyclic_head_t                     |  clients: line 1, failsafe (once) and
 *                   |                                       |  early_wanted_ns; worker: the rest
 *            4096   +---------------------------------------+
 *                   | box [producers]: two halves each      |  the client that has the slot
 *                   +---------------------------------------+
 *
 * The box (latest_box.h) has the payload: the worker sends in each cycle what was put last. Slot 0
 * belongs to no client. The opener puts the fail-safe payload into its first half, then asks the
 * worker to keep it (SHM_CYCLIC_KEEP_FAILSAFE), once. The worker copies it to its own memory. Only
 * a successor of the worker reads it again.
 *
 * A channel without a remote address sends nothing. Its cycles are put into its own rx ring, with
 * the payload if there is one: time_ns is the instant, tag how much later the worker
 * showed it (ns, as int32_t, below 0 if it was early).
 *
 * The tx ring is not used. The worker trusts nothing here: it takes sizes from the configuration
 * and bounds times by now. Times are CLOCK_MONOTONIC. */
#ifndef SHM_CYCLIC_H
#define SHM_CYCLIC_H

#include "rows/cyclic.h"
#include "shm/latest_box.h"
#include "shm/shm_layout.h"

#define SHM_CYCLIC_ENGINE "cyclic"
#define SHM_CYCLIC_ANY_PHASE (-1)
#define SHM_CYCLIC_MOST_EARLY_NS (200 * RT_NS_PER_US)

typedef enum shm_cyclic_on_stale {
    SHM_CYCLIC_STOP = 0,     /* send nothing */
    SHM_CYCLIC_CONTINUE = 1, /* continue with the last payload */
    SHM_CYCLIC_FAILSAFE = 2, /* send the fail-safe payload */
} shm_cyclic_on_stale_t;

typedef struct shm_cyclic_config {
    uint32_t config_bytes;  /* sizeof this struct */
    uint32_t payload_bytes; /* longest payload, 0 .. SHM_MAX_PAYLOAD */
    int64_t period_ns;      /* 100 us .. 1 h */
    int64_t phase_ns;       /* instants are k * period_ns + phase_ns;
                               below period_ns, or ANY_PHASE */
    int64_t stale_after_ns; /* age at which a payload is stale; 0: only when its writer is gone */
    int64_t early_ns;       /* without a remote: a cycle is shown at most this long before its
                               instant, as early as readers want it; 0 .. MOST_EARLY_NS */
    uint32_t on_stale;
    uint32_t failsafe_crc; /* CRC-32 of the fail-safe payload; 0: none. Who opens the channel again
                              must have the same one. */
} shm_cyclic_config_t;

/* Checks every field. Any thread. Returns 0 or -EINVAL, -EPROTO with a text that names the value,
 * the limit and the fix. */
int shm_cyclic_config_check(const shm_cyclic_config_t *c);

/* Room for more counters and gauges without moving what follows. */
#define SHM_CYCLIC_COUNTER_SPACE 32u
#define SHM_CYCLIC_GAUGE_SPACE 16u

typedef struct shm_cyclic_head {
    shm_box_head_t box;
    rt_a64_t begun;    /* 1: origin and number are valid, for a successor */
    rt_a64_t failsafe; /* bytes of the fail-safe payload + 1; 0: there is none */
    rt_a64_t early_wanted_ns; /* how early readers of ticks want them;
                                 the worker lowers it slowly */
    rt_a64_t counters[SHM_CYCLIC_COUNTER_SPACE];
    rt_a64_t gauges[SHM_CYCLIC_GAUGE_SPACE];
    rt_a64_t counted_before; /* number of the first cycle that is in sent, failed or missed, for a
                                successor: the cycles up to `number` that are missing there were
                                begun and not counted */
} shm_cyclic_head_t;

#define SHM_CYCLIC_HEAD_BYTES 4096u

/* Engine bytes of a channel with this many producers; a multiple of the page. */
uint64_t shm_cyclic_bytes(uint32_t producers, uint32_t payload_bytes);

static inline shm_cyclic_head_t *shm_cyclic_head(const uint8_t *engine)
{
    return (shm_cyclic_head_t *)(uintptr_t)engine;
}

/* The box. Producers and size are the caller's copy of the configuration. */
shm_box_t shm_cyclic_box(const uint8_t *engine, uint32_t producers, uint32_t payload_bytes);

/* The opener: stores the fail-safe payload, for the worker to keep. */
void shm_cyclic_put_failsafe(const shm_box_t *box, const void *payload, uint32_t bytes);

/* Worker: copies it. Returns 1, or 0: there is none, or its length is invalid. */
int shm_cyclic_get_failsafe(const shm_box_t *box, void *payload, uint32_t *bytes);

/* Body of an ENGINE request: one word. */
typedef enum shm_cyclic_op {
    SHM_CYCLIC_KEEP_FAILSAFE = 1,
} shm_cyclic_op_t;

#endif
