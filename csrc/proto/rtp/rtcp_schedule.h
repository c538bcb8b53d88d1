/* rtcp_schedule.h: when to send RTCP (RFC 3550 sections 6.2, 6.3 and appendix A.7): the interval
 * grows with the members, so that all of them together stay within the session's RTCP bandwidth. It
 * is drawn at random, reconsidered when it ends, and shortened when members leave.
 *
 * How the caller uses it:
 *
 *     rtcp_schedule_due_ns() reached -> rtcp_schedule_expire() -> true: build and send a compound,
 *                                                                then rtcp_schedule_sent()
 *                                                              false: there is a new due time
 *     a compound received             -> rtcp_schedule_received()
 *     members or senders changed      -> rtcp_schedule_members()
 *
 * The caller keeps the table of members. Caller's memory, one thread, no clock: now_ns is any clock
 * that does not go back. */
#ifndef RTCP_SCHEDULE_H
#define RTCP_SCHEDULE_H

#include "base/rt_random.h"

#include <stdbool.h>
#include <stdint.h>

#define RTCP_MIN_INTERVAL_NS INT64_C(5000000000)
#define RTCP_UDP_IP_BYTES 28u /* counted with each compound */

typedef struct rtcp_schedule_config {
    double bandwidth_bps;    /* of RTCP for the whole session, bits/s, above 0 (5 % of all) */
    int64_t min_interval_ns; /* 0: 5 s. 360 s / (session kbit/s) is the RFC's shorter one */
    uint32_t first_bytes;    /* guess at the size of a compound, headers included; 0: 128 */
    uint64_t seed;
} rtcp_schedule_config_t;

typedef struct rtcp_schedule {
    double bytes_per_s;
    double average_bytes;
    int64_t min_interval_ns;
    int64_t previous_ns; /* tp of the RFC */
    int64_t due_ns;      /* tn */
    uint32_t members;    /* ourselves included */
    uint32_t senders;
    uint32_t members_before; /* pmembers */
    bool we_sent;
    bool initial;
    bool leaving;
    rt_random_t random;
} rtcp_schedule_t;

/* The first report is due after half an interval. */
void rtcp_schedule_init(rtcp_schedule_t *s, const rtcp_schedule_config_t *config, int64_t now_ns);

static inline int64_t rtcp_schedule_due_ns(const rtcp_schedule_t *s)
{
    return s->due_ns;
}

/* Timer reconsideration at the due time. */
bool rtcp_schedule_expire(rtcp_schedule_t *s, int64_t now_ns);

/* A compound of that many bytes of UDP payload went out, and the next one is scheduled. */
void rtcp_schedule_sent(rtcp_schedule_t *s, uint32_t bytes, int64_t now_ns);
void rtcp_schedule_received(rtcp_schedule_t *s, uint32_t bytes);

/* Sets new counts, including ourselves in both (in senders if we_sent). Fewer members than before
 * bring the next report forward (reverse reconsideration). */
void rtcp_schedule_members(rtcp_schedule_t *s, uint32_t members, uint32_t senders, bool we_sent,
                           int64_t now_ns);

/* We leave. Returns true if the BYE may be sent at once (at most 50 members). Otherwise it is due
 * like any report, and rtcp_schedule_bye_heard counts the members that leave at the same time. */
bool rtcp_schedule_leave(rtcp_schedule_t *s, uint32_t bye_bytes, int64_t now_ns);
void rtcp_schedule_bye_heard(rtcp_schedule_t *s, uint32_t bytes);

/* The interval without its randomness. A silent member has left after five of it. Senders leave the
 * list of senders after two of it. */
int64_t rtcp_schedule_interval_ns(const rtcp_schedule_t *s);

#endif
