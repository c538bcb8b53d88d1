/* udt_cc_tables.h: tables and conversions that the controllers' files
 * share. Private to udt_cc*.c. */
#ifndef UDT_CC_TABLES_H
#define UDT_CC_TABLES_H

#include "proto/udt/udt_cc_ops.h"

extern const udt_cc_ops_t udt_cc_daimd_ops;
extern const udt_cc_ops_t udt_cc_fixed_ops;
extern const udt_cc_ops_t udt_cc_bbr_ops;

#define UDT_CC_MOST_PACKETS 0x3fffffff /* half of the range of numbers */

/* A window in the engine's form: whole packets, at least one. */
static inline uint32_t udt_cc_packets(double packets)
{
    if (!(packets > 1.0))
        return 1;
    return packets < UDT_CC_MOST_PACKETS ? (uint32_t)packets : UDT_CC_MOST_PACKETS;
}

/* A period in the engine's form, at most 1000 s, which amounts to a stop. */
static inline int64_t udt_cc_period_ps(double ps)
{
    double most_ps = 1e3 * (double)UDT_CC_PS_PER_S;
    return (int64_t)(ps < most_ps ? ps : most_ps);
}

#endif
