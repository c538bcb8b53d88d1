/* netflux_shm.h: what clients and the worker share of a channel whose engine is "netflux".
 *
 *   shm_config_t.engine_config    shm_netflux_config_t     the pool, once
 *   engine's part of the segment  drawn below              values, both ways, and how the link is
 *   rx record's payload           shm_netflux_rx_t, then the partner's values   worker -> readers
 *   ENGINE request                shm_netflux_request_t                         client -> worker
 *
 * The out box is no queue: in each cycle the worker sends the values that were put into it last.
 * Received values stay in the in box until newer ones come. The tx ring is not used. The rx ring
 * repeats the content of the in box, one record for each accepted datagram and for each change of
 * the link. It serves readers that wait or that must see every record.
 *
 *   engine part   0 +---------------------------------------+
 *                   | shm_netflux_head_t                    |  clients: line 1; worker: line 2
 *            4096   +---------------------------------------+
 *                   | statistics: nfx_stats_t               |  worker, SHM_NETFLUX_STATS_BYTES
 *                   +---------------------------------------+
 *                   | in box: 4 shm_netflux_in_t            |  worker, in turn
 *                   +---------------------------------------+
 *                   | fail-safe values: two halves          |  worker, on request
 *                   +---------------------------------------+
 *                   | out box [producers]: two halves each  |  the client that has the slot
 *                   +---------------------------------------+
 *
 * Out box. The box of latest_box.h. Its fail-safe values have halves of the same form.
 *
 * In box. Publication n is in slot n % 4, whose version contains n. `published` is n. If three more
 * publications come during a reader's copy, the reader sees that by the slot's version and takes
 * the newer one.
 *
 * The worker trusts none of it: it checks what `latest` names, takes sizes from the configuration
 * and bounds times by now. Times are CLOCK_MONOTONIC. */
#ifndef SHM_NETFLUX_H
#define SHM_NETFLUX_H

#include "rows/netflux.h"
#include "shm/latest_box.h"
#include "shm/shm_layout.h"

#define SHM_NETFLUX_ENGINE "netflux"
#define SHM_NETFLUX_MAX_PAYLOAD 1499u
#define SHM_NETFLUX_STATS_BYTES 49152u /* reserved for nfx_stats_t */
#define SHM_NETFLUX_IN_SLOTS 4u

/* --- configuration ------------------------------------------------------------------------ */

typedef enum shm_netflux_on_stale {
    SHM_NETFLUX_CONTINUE = 0, /* continue to send the last values */
    SHM_NETFLUX_FAILSAFE = 1, /* send the fail-safe values */
    SHM_NETFLUX_STOP = 2,     /* send nothing */
} shm_netflux_on_stale_t;

/* After a time-out: */
#define SHM_NETFLUX_KEEP_VALUES 0x01u /* the in box keeps the last values; otherwise zeros */
#define SHM_NETFLUX_KEEP_WINDOW 0x02u /* the numbers continue; otherwise the next is the first */
#define SHM_NETFLUX_FLAGS 0x03u

/* May be changed while the channel runs. Limits as in nfx_config_t. */
typedef struct shm_netflux_settings {
    int64_t cycle_ns; /* 100 us .. 1 h */
    int64_t watch_ns; /* watchdog; 0: none */
    int64_t hear_ns;  /* how long the partner is taken to hear us; 0: from watch_ns and cycle_ns */
    int64_t stale_ns; /* age at which values become stale; 0: only the death of their writer */
    uint32_t on_stale;
    uint32_t flags;
} shm_netflux_settings_t;

typedef struct shm_netflux_config {
    uint32_t config_bytes;     /* sizeof this struct */
    uint32_t tx_payload_bytes; /* 0 .. 1499, of what we send */
    uint32_t rx_payload_bytes; /* 0 .. 1499, of what the partner sends */
    uint32_t any_source;       /* 1: datagrams from anywhere; 0: from the remote's address only */
    shm_netflux_settings_t settings;
    uint8_t tx_layout[32]; /* clients' own: hash of their record type; zeros: none */
    uint8_t rx_layout[32];
    /* A link that was closed and is opened again continues with its numbers. All 0: it does not. */
    uint8_t own_number;     /* used last; the next number follows it */
    uint8_t partner_number; /* accepted last */
    uint8_t partner_known;  /* 1: partner_number is valid */
    uint8_t reserved[5];
} shm_netflux_config_t;

/* Checks every field; producers as in shm_config_t. Any thread. Returns 0 or -EINVAL, -EPROTO with
 * a text that names the value, the limit and the fix. */
int shm_netflux_settings_check(const shm_netflux_settings_t *s);
int shm_netflux_config_check(const shm_netflux_config_t *c);

/* --- engine part -------------------------------------------------------------------------- */

typedef enum shm_netflux_kind {
    SHM_NETFLUX_VALUES = 0, /* a datagram was accepted */
    SHM_NETFLUX_ALIVE =
        1, /* the first one, or the first after a time-out; comes before its VALUES */
    SHM_NETFLUX_TIMEOUT = 2, /* the watchdog expired; payload: the current content of the in box */
    SHM_NETFLUX_HEARD = 3,
    SHM_NETFLUX_UNHEARD = 4,
    SHM_NETFLUX_FRESH = 5,
    SHM_NETFLUX_STALE = 6,
} shm_netflux_kind_t;

#define SHM_NETFLUX_VOID 0x01u     /* zeros in place of values, after a time-out */
#define SHM_NETFLUX_FIRST 0x02u    /* the first datagram, or the first after a time-out */
#define SHM_NETFLUX_OVERSIZE 0x04u /* its datagram was longer than agreed */

/* Head of an rx record's payload. VALUES and TIMEOUT are followed by rx_payload_bytes. */
typedef struct shm_netflux_rx {
    uint8_t kind; /* shm_netflux_kind_t */
    uint8_t flags;
    uint8_t number;   /* number of the datagram */
    uint8_t feedback; /* our number that it acknowledges */
    uint32_t payload_bytes;
    uint64_t published; /* number of publications, including this one */
    int64_t at_mono_ns; /* arrival; of a change: the deadline that passed, or the time of the event
                           that caused it */
} shm_netflux_rx_t;

typedef struct shm_netflux_in {
    _Alignas(RT_LINE_BYTES) rt_a64_t version; /* published << 1; odd: being written */
    shm_netflux_rx_t head;                    /* VALUES or TIMEOUT */
    uint32_t stamp;                           /* of the arrival: shm_stamp of the rx record */
    uint8_t values[SHM_NETFLUX_MAX_PAYLOAD + 1];
} shm_netflux_in_t;

#define SHM_NETFLUX_GIVEN 0x100u

/* What the successor of a dead worker continues with, apart from the gauges in the statistics. */
typedef struct shm_netflux_state {
    int64_t origin_mono_ns; /* origin of the send grid; RT_NEVER_NS: sending has not begun */
    shm_netflux_settings_t settings; /* in use */
    shm_addr_t remote;               /* in use */
    shm_addr_t local; /* of this host: what the partner sends to. family 0: there is one */
    uint32_t sending;                /* 1: unless a request stopped it */
    uint32_t failsafe;               /* half + 1 that has them; 0: none set */
    uint32_t
        feedback; /* SHM_NETFLUX_GIVEN | number: this number is sent; 0: the number accepted last */
    uint32_t reserved;
} shm_netflux_state_t;

typedef struct shm_netflux_head {
    shm_box_head_t out;
    _Alignas(RT_LINE_BYTES) rt_a64_t published;
    rt_a32_t current; /* state[current % 2] is whole; 0: none yet */
    uint32_t reserved;
    shm_netflux_state_t state[2];
} shm_netflux_head_t;

#define SHM_NETFLUX_HEAD_BYTES 4096u

/* Engine bytes of a channel with this many producers; a multiple of the page. */
uint64_t shm_netflux_bytes(uint32_t producers);

static inline shm_netflux_head_t *shm_netflux_head(const uint8_t *engine)
{
    return (shm_netflux_head_t *)(uintptr_t)engine;
}

static inline uint8_t *shm_netflux_stats(uint8_t *engine)
{
    return engine + SHM_NETFLUX_HEAD_BYTES;
}

/* --- boxes --------------------------------------------------------------------------------
 * bytes: the configured size, at most SHM_NETFLUX_MAX_PAYLOAD, which the caller has checked once. A
 * reader gets a complete copy of its own, or none, and then the caller's memory is unchanged.
 */

/* The out box. Its payloads have the configured size. */
shm_box_t shm_netflux_box(const uint8_t *engine, uint32_t producers);

/* Any process: the values that were put last. Returns as shm_box_peek; -EAGAIN: continue with the
 * previous values; -EPROTO also if they have another size. *ticket identifies the set of values,
 * *slot their writer. *at_mono_ns is unchecked. */
int shm_netflux_peek(const uint8_t *engine, uint32_t producers, void *values, uint32_t bytes,
                     int64_t *at_mono_ns, uint64_t *ticket, uint32_t *slot);

/* Worker: publishes. Fills in head->published. */
void shm_netflux_publish(uint8_t *engine, shm_netflux_rx_t *head, uint32_t stamp,
                         const void *values, uint32_t bytes);

/* Any process: the newest publication. Returns 1; 0: nothing yet; -EAGAIN as above. */
int shm_netflux_snapshot(const uint8_t *engine, shm_netflux_rx_t *head, uint32_t *stamp,
                         void *values, uint32_t bytes);

/* Worker: the state from now on. It is stored completely or not at all, even if the worker dies. */
void shm_netflux_state_put(uint8_t *engine, const shm_netflux_state_t *state);

/* Any process, also a successor. Returns 1; 0: none yet; -EAGAIN as above. Unchecked. */
int shm_netflux_state_get(const uint8_t *engine, shm_netflux_state_t *state);

/* The fail-safe values of one half, 0 or 1. Worker: writes to the half that the state does not
 * name, then puts a state that names it. */
uint8_t *shm_netflux_failsafe(uint8_t *engine, unsigned half);

/* --- requests ----------------------------------------------------------------------------- */

typedef enum shm_netflux_op {
    SHM_NETFLUX_SET = 1,          /* settings */
    SHM_NETFLUX_AIM = 2,          /* remote */
    SHM_NETFLUX_SEND = 3,         /* on: 1 sends (from the first values on, the default), 0 stops */
    SHM_NETFLUX_SET_FAILSAFE = 4, /* bytes: tx_payload_bytes */
    SHM_NETFLUX_FEEDBACK = 5,     /* on: shm_netflux_state_t.feedback */
} shm_netflux_op_t;

/* Body of an ENGINE request: the fixed part, then the fail-safe values if op says so. */
typedef struct shm_netflux_request {
    uint32_t op; /* shm_netflux_op_t */
    uint32_t on;
    shm_netflux_settings_t settings;
    shm_addr_t remote;
} shm_netflux_request_t;

#endif
