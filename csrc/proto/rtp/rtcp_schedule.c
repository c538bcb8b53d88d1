#include "proto/rtp/rtcp_schedule.h"

#include "rows/rtp.h"

#include <math.h>

#define SENDER_SHARE 0.25
/* e - 3/2: timer reconsideration converges below the intended
 * bandwidth. This compensates for it. */
#define COMPENSATION 1.21828
#define MAX_INTERVAL_NS 1e15 /* eleven days: no sum of times overflows */
#define DEFAULT_FIRST_BYTES 128u
#define BYE_AT_ONCE_MEMBERS 50u

void rtcp_schedule_init(rtcp_schedule_t *s, const rtcp_schedule_config_t *config, int64_t now_ns)
{
    *s = (rtcp_schedule_t){
        .bytes_per_s = config->bandwidth_bps / 8,
        .average_bytes = config->first_bytes > 0 ? config->first_bytes : DEFAULT_FIRST_BYTES,
        .min_interval_ns =
            config->min_interval_ns > 0 ? config->min_interval_ns : RTP_DEFAULT_rtcp_interval_ns,
        .previous_ns = now_ns,
        .members = 1,
        .members_before = 1,
        .initial = true,
    };
    rt_random_init(&s->random, config->seed);
    s->due_ns = now_ns;
    (void)rtcp_schedule_expire(s, now_ns);
}

int64_t rtcp_schedule_interval_ns(const rtcp_schedule_t *s)
{
    double n = s->members;
    double share = s->bytes_per_s;
    if (s->senders <= s->members * SENDER_SHARE) {
        share *= s->we_sent ? SENDER_SHARE : 1 - SENDER_SHARE;
        n = s->we_sent ? s->senders : s->members - s->senders;
    }
    double least = (double)s->min_interval_ns * (s->initial ? 0.5 : 1.0);
    double ns = fmin(s->average_bytes * n / share * 1e9, MAX_INTERVAL_NS);
    return (int64_t)fmax(ns, least);
}

static int64_t draw_interval_ns(rtcp_schedule_t *s)
{
    double spread = rt_random_unit(&s->random) + 0.5;
    return (int64_t)((double)rtcp_schedule_interval_ns(s) * spread / COMPENSATION);
}

bool rtcp_schedule_expire(rtcp_schedule_t *s, int64_t now_ns)
{
    int64_t due_ns = s->previous_ns + draw_interval_ns(s);
    s->members_before = s->members;
    if (due_ns <= now_ns)
        return true;
    s->due_ns = due_ns;
    return false;
}

static void average_in(rtcp_schedule_t *s, uint32_t bytes)
{
    s->average_bytes += (bytes + RTCP_UDP_IP_BYTES - s->average_bytes) / 16;
}

void rtcp_schedule_sent(rtcp_schedule_t *s, uint32_t bytes, int64_t now_ns)
{
    average_in(s, bytes);
    s->previous_ns = now_ns;
    s->initial = false;
    s->due_ns = now_ns + draw_interval_ns(s);
    s->members_before = s->members;
}

void rtcp_schedule_received(rtcp_schedule_t *s, uint32_t bytes)
{
    /* While we leave, only BYEs count: rtcp_schedule_bye_heard. */
    if (!s->leaving)
        average_in(s, bytes);
}

void rtcp_schedule_members(rtcp_schedule_t *s, uint32_t members, uint32_t senders, bool we_sent,
                           int64_t now_ns)
{
    if (s->leaving)
        return;
    s->members = members > 0 ? members : 1;
    s->senders = senders < s->members ? senders : s->members;
    s->we_sent = we_sent;
    if (s->members >= s->members_before)
        return;
    double ratio = (double)s->members / s->members_before;
    if (s->due_ns > now_ns)
        s->due_ns = now_ns + (int64_t)(ratio * (double)(s->due_ns - now_ns));
    s->previous_ns = now_ns - (int64_t)(ratio * (double)(now_ns - s->previous_ns));
    s->members_before = s->members;
}

bool rtcp_schedule_leave(rtcp_schedule_t *s, uint32_t bye_bytes, int64_t now_ns)
{
    if (s->members <= BYE_AT_ONCE_MEMBERS)
        return true;
    s->leaving = true;
    s->previous_ns = now_ns;
    s->members = 1;
    s->members_before = 1;
    s->senders = 0;
    s->we_sent = false;
    s->initial = true;
    s->average_bytes = bye_bytes + RTCP_UDP_IP_BYTES;
    s->due_ns = now_ns + draw_interval_ns(s);
    return false;
}

void rtcp_schedule_bye_heard(rtcp_schedule_t *s, uint32_t bytes)
{
    if (!s->leaving)
        return;
    s->members++;
    average_in(s, bytes);
}
