/* due_lane.h: packets with deadlines, as columns in the form that a send ring takes in one call.
 * IPv4 and IPv6 are two lanes, because a socket has one version. */
#ifndef DUE_LANE_H
#define DUE_LANE_H

#include <stdint.h>

#define DUE_LANES 2u
#define DUE_LANE_NONE 0u /* packets that are left out */
#define DUE_LANE_IPV4 1u
#define DUE_LANE_IPV6 2u

/* An address in the form that the send ring takes (shm_addr_t). Opaque here. */
typedef struct due_address {
    uint8_t packed[24];
} due_address_t;

/* The packets of one lane. The caller owns the columns and says how long they are. */
typedef struct due_lane {
    int64_t *due_ns;  /* 0: at once */
    uint32_t *offset; /* of the payload, in the memory that comes with the columns */
    uint32_t *length;
    due_address_t *to;
    uint32_t count;
    due_address_t *from; /* what each leaves from; NULL: the kernel chooses for all of them */
} due_lane_t;

#endif
