#include "proto/udt/udt_timers.h"

#define EXP_MIN_NS (300 * RT_NS_PER_MS)
#define EXP_MAX_COUNT 16u
#define EXP_BROKEN_NS (5 * RT_NS_PER_S)

int64_t udt_exp_deadline_ns(const udt_exp_t *e, const udt_rtt_t *rtt)
{
    int64_t by_rtt_ns = e->count * udt_rtt_overdue_ns(rtt) + UDT_SYN_NS;
    int64_t least_ns = e->count * EXP_MIN_NS;
    return e->since_ns + (by_rtt_ns > least_ns ? by_rtt_ns : least_ns);
}

udt_exp_verdict_t udt_exp_check(udt_exp_t *e, const udt_rtt_t *rtt, int64_t now_ns)
{
    if (now_ns < udt_exp_deadline_ns(e, rtt))
        return UDT_EXP_WAIT;
    if (e->count > EXP_MAX_COUNT && now_ns - e->since_ns > EXP_BROKEN_NS)
        return UDT_EXP_BROKEN;
    e->count++;
    e->since_ns = now_ns;
    return UDT_EXP_SILENT;
}
