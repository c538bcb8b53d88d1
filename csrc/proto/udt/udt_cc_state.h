/* udt_cc_state.h: the state of each congestion controller, in one place so that a connection can
 * hold any of them without allocating. Private to udt_cc_*.c. */
#ifndef UDT_CC_STATE_H
#define UDT_CC_STATE_H

#include "base/rt_random.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct udt_cc_daimd {
    double period_us;
    double cwnd;
    double last_dec_period_us;
    double avg_nak;
    int64_t last_rate_ns; /* of the last rate control */
    uint32_t last_ack;
    uint32_t last_dec_seq;
    uint32_t nak_count;
    uint32_t dec_random;
    uint32_t dec_count;
    bool slow_start;
    bool loss;
    rt_random_t chance;
} udt_cc_daimd_t;

typedef union udt_cc_state {
    udt_cc_daimd_t daimd;
} udt_cc_state_t;

#endif
