/* traffic_sizes.h: how long packets are. Sizes come from a table of ranges with weights. In each
 * cycle of as many packets as the sum of the weights, every entry is used exactly as often as its
 * weight says, in an order that chance chooses. Within a range all sizes are equally likely. */
#ifndef PROTO_TRAFFIC_SIZES_H
#define PROTO_TRAFFIC_SIZES_H

#include "base/rt_random.h"

#include <stdint.h>

#define TRAFFIC_MAX_SIZES 64u
#define TRAFFIC_MAX_WEIGHT 1000000u
/* What a packet needs for its sequence number, timestamp, error estimate and SSID. */
#define TRAFFIC_LEAST_BYTES 16u
/* What UDP over IPv4 can carry. */
#define TRAFFIC_MOST_BYTES 65507u

typedef struct traffic_size {
    uint32_t least_bytes; /* TRAFFIC_LEAST_BYTES .. most_bytes, of the UDP payload */
    uint32_t most_bytes;  /* .. TRAFFIC_MOST_BYTES */
    uint32_t weight;      /* 1 .. TRAFFIC_MAX_WEIGHT */
} traffic_size_t;

typedef struct traffic_sizes {
    traffic_size_t sizes[TRAFFIC_MAX_SIZES];
    uint32_t size_count; /* 1 .. TRAFFIC_MAX_SIZES */
} traffic_sizes_t;

/* What is left of a cycle. All zero: the first one begins. */
typedef struct traffic_cycle {
    uint32_t left[TRAFFIC_MAX_SIZES];
    uint32_t total;
} traffic_cycle_t;

/* Returns 0, or -EINVAL with a text. */
int traffic_sizes_check(const traffic_sizes_t *sizes);

/* Returns the size of the next packet, bytes of payload. */
uint32_t traffic_size_next(traffic_cycle_t *cycle, const traffic_sizes_t *sizes, rt_random_t *r);

#endif
