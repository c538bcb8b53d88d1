/* shm_config.h: the requested configuration of a channel. One struct serves the segment's first
 * page, the control message that opens the channel, and the binding that fills it.
 *
 * The pool checks it with shm_config_check before it creates anything. The worker checks its own
 * copy again, because it arrives over a socket. Zeroed and filled by shm_config_init. */
#ifndef SHM_CONFIG_H
#define SHM_CONFIG_H

#include "rows/config.h"

#include <stddef.h>
#include <stdint.h>

#define SHM_MAX_PAYLOAD 65507u
#define SHM_MAX_RECORD 65535u /* payload in a ring, including an engine's own header */
#define SHM_MAX_GROUPS 8u
#define SHM_MAX_CATCH_UP 1000000u
#define SHM_MAX_SLOTS 1024u /* of producers, and of readers */
#define SHM_ENGINE_CONFIG_BYTES 512u
#define SHM_MAX_ENGINE_BYTES (UINT64_C(1) << 32)

/* An address in a form that does not depend on the system's headers. 24 bytes. */
typedef struct shm_addr {
    uint16_t family;  /* 0 none, 4 or 6 */
    uint16_t port;    /* host order */
    uint32_t scope;   /* IPv6 scope id (interface index), else 0 */
    uint8_t ip[16];   /* network order; IPv4 in the first four bytes */
} shm_addr_t;

typedef struct shm_group {
    shm_addr_t group;    /* family 0 ends the list */
    uint32_t interface;  /* index, 0: the kernel chooses */
    uint32_t reserved;
} shm_group_t;

/* The emulated link. Fields as in proto/impair/impair.h. All zero: no impairment. Probabilities are
 * 0 .. 1. */
typedef struct shm_impair {
    double loss;
    double burst_loss;         /* share of packets lost in bursts */
    double burst_packets;      /* mean length of a burst, in packets */
    double duplicate;
    double reorder;
    double corrupt;
    int64_t delay_ns;
    int64_t jitter_ns;
    int64_t reorder_extra_ns;  /* extra delay of a reordered packet */
    uint64_t rate_bps;         /* 0: unlimited */
    uint64_t queue_bytes;      /* 0: a default */
    uint64_t seed;
} shm_impair_t;

typedef struct shm_config {
    uint32_t config_bytes; /* sizeof this struct: a message of another size is refused */
    char name[SHM_NAME_BYTES];
    char name_space[SHM_NAME_BYTES];
    char pool[SHM_NAME_BYTES];
    char engine[16]; /* "udp" */
    char device[16]; /* interface to bind to, "" any */
    uint8_t direction;
    uint8_t read_mode;
    uint8_t overflow;
    uint8_t late;
    uint8_t align;
    uint8_t clock;    /* rt_clock_id_t */
    uint8_t reports;
    uint8_t profile;
    uint8_t rx_stamp; /* best shm_stamp_t wanted */
    uint8_t tx_stamp; /* best shm_stamp_t wanted; NONE: no packet is stamped */
    uint8_t txtime;
    uint8_t connect;  /* 1: only datagrams from remote are received */
    uint8_t reuse;    /* 1: SO_REUSEADDR and SO_REUSEPORT */
    uint8_t broadcast;
    uint8_t dont_fragment;
    uint8_t v6only;
    uint8_t gso;
    uint8_t gro;
    uint8_t multicast_loop;
    uint8_t held;     /* 1: opens held, until the start command */
    uint8_t stamp_every; /* one packet in this many is stamped; 0: in 16, at most 1000 a second */
    int16_t ttl;          /* -1: the system's default */
    int16_t multicast_ttl;
    int16_t dscp;         /* 0 .. 63, -1 default */
    int16_t so_priority;  /* 0 .. 15, -1 default */
    uint32_t multicast_interface; /* index */
    uint32_t rcvbuf_bytes;        /* 0: the system's default */
    uint32_t sndbuf_bytes;
    uint32_t max_payload_bytes; /* longest packet that the rings in use accept */
    uint32_t report_slots;      /* power of two */
    uint32_t producers;         /* slots, the worker's own included */
    uint32_t readers;           /* slots */
    uint64_t tx_bytes;          /* ring size; multiple of the page */
    uint64_t rx_bytes;
    uint32_t tx_capacity; /* most packets that wait, whatever their
                             size; 0: limited by bytes only */
    uint32_t rx_capacity; /* most packets kept; 0: limited by bytes only */
    int64_t tolerance_ns; /* how late a packet may start and still be on_time */
    double catch_up; /* overdue packets leave at most this many times as
                        fast as scheduled; 0: at once */
    uint64_t engine_bytes; /* shared memory of the engine's own; multiple of the page, 0: none */
    uint32_t late_slots; /* late packets kept for observers; a power of two, 0: none */
    uint32_t opener_pid; /* process that opened it, as the pool sees
                            it, for observers; 0: unknown */
    shm_addr_t local;
    shm_addr_t remote;
    shm_group_t groups[SHM_MAX_GROUPS];
    shm_impair_t impair_tx;
    shm_impair_t impair_rx;
    uint8_t engine_config[SHM_ENGINE_CONFIG_BYTES];
} shm_config_t;

/* Defaults: an unconnected duplex "udp" channel without addresses. */
void shm_config_init(shm_config_t *c);

/* Checks every field. Any thread. Returns 0 or -EINVAL, -EMSGSIZE with a text that names the value,
 * the limit and the fix. */
int shm_config_check(const shm_config_t *c);

/* Returns 0, or -EINVAL with a text that names the field, its value and its limits. */
int shm_impair_check(const shm_impair_t *impair);

/* The longest payload that one ring of the channel accepts: max_payload_bytes, or less in the ring
 * of a direction that is not used. It is a quarter of the ring less SHM_RECORD_HEAD_BYTES, so that
 * one longest record, one in relocation and its padding fit. */
#define SHM_RECORD_HEAD_BYTES 88u /* of a record: header, addresses, rounding */
uint32_t shm_config_longest(const shm_config_t *c, uint64_t ring_bytes);

/* Checks that a name consists of 1 .. 64 of [A-Za-z0-9._-] and is neither "." nor "..", because
 * names of pools and namespaces are folders. Returns 0 or -EINVAL. */
int shm_name_check(const char *what, const char *name);

/* The checks of one value of a configuration, also of an engine's. Return 0, -EINVAL or -EPROTO
 * with a text that names the value and its limits. */
int shm_check_config_bytes(const char *what, uint32_t bytes, size_t expected);
int shm_check_range(const char *what, int64_t value, int64_t low, int64_t high);
int shm_check_family(const char *what, unsigned family); /* 0: no address */

#endif
