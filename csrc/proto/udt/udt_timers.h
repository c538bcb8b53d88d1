/* udt_timers.h: the timers of the protocol, including EXP, and the pacing of packets.
 *
 * Caller's memory, one thread, no clock. */
#ifndef UDT_TIMERS_H
#define UDT_TIMERS_H

#include "base/rt_clock.h"
#include "proto/udt/udt_estimate.h"

#define UDT_SYN_NS (10 * RT_NS_PER_MS)       /* between two ACKs */
#define UDT_REQUEST_NS (250 * RT_NS_PER_MS)  /* between two handshakes */
#define UDT_CONNECT_NS (3 * RT_NS_PER_S)     /* default time-out of a client */
#define UDT_RENDEZVOUS_NS (30 * RT_NS_PER_S) /* and of a side of a rendezvous */
#define UDT_FIRST_WORD_NS (5 * RT_NS_PER_S)  /* for an accepted peer to say anything */
#define UDT_LEAVE_NS (10 * RT_NS_PER_MS)     /* between two shutdowns */
#define UDT_KEEPALIVE_NS                                                \
    RT_NS_PER_S /* between two signs of life; libudt's 300 ms would do, \
                   and cost three times as much */
#define UDT_LIGHT_ACK_PACKETS 64u

/* --- silence ------------------------------------------------------------------------------- */

/* EXP: runs out when nothing was heard for n * (RTT + 4 variances) + 10 ms, n * 300 ms at least; n
 * counts the times it ran out in a row. The connection is broken when n has come to 16 and more
 * than 5 s have passed since the time before: 46 s of silence on a short path. */
typedef struct udt_exp {
    int64_t since_ns; /* something was heard, or the timer ran out */
    uint32_t count;   /* n, 1 at first */
} udt_exp_t;

typedef enum udt_exp_verdict {
    UDT_EXP_WAIT,
    UDT_EXP_SILENT, /* ran out: repeat what is not acknowledged, or give a sign of life */
    UDT_EXP_BROKEN,
} udt_exp_verdict_t;

static inline void udt_exp_heard(udt_exp_t *e, int64_t now_ns)
{
    *e = (udt_exp_t){.since_ns = now_ns, .count = 1};
}

int64_t udt_exp_deadline_ns(const udt_exp_t *e, const udt_rtt_t *rtt);

/* Lets the timer expire if it is time. */
udt_exp_verdict_t udt_exp_check(udt_exp_t *e, const udt_rtt_t *rtt, int64_t now_ns);

/* --- pace ---------------------------------------------------------------------------------- */

/* Packets leave on a schedule, one each period. Who comes late may catch up on at most 10 ms of it;
 * while there is nothing to send or no permission to, the schedule waits. */
typedef struct udt_pacer {
    int64_t next_ns; /* when the next packet may leave */
    int32_t rest_ps; /* and this much later, 0 .. 999 */
} udt_pacer_t;

/* A packet leaves, the next one a period later. */
static inline void udt_pacer_sent(udt_pacer_t *p, int64_t period_ps, int64_t now_ns)
{
    if (p->next_ns < now_ns - UDT_SYN_NS)
        p->next_ns = now_ns - UDT_SYN_NS;
    int64_t rest_ps = p->rest_ps + period_ps % 1000;
    p->next_ns += period_ps / 1000 + rest_ps / 1000;
    p->rest_ps = (int32_t)(rest_ps % 1000);
}

/* Nothing can leave now, for another reason. */
static inline void udt_pacer_idle(udt_pacer_t *p, int64_t now_ns)
{
    if (p->next_ns < now_ns)
        p->next_ns = now_ns;
}

#endif
