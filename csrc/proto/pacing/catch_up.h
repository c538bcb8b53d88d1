/* catch_up.h: how fast overdue packets leave after a hole, a time in
 * which the worker could not send.
 *
 *   scheduled   1---2---3---4---5---6---7---8---9---10
 *   hole            [~~~~~~~~~~~~~]
 *   factor 2    1                  2-3-4-5-6-7-8-9--10     "2-3": half of the gap between 2 and 3
 *
 * A packet starts at its due time, but not before
 *
 *      start of the packet before it + (due - due of the packet before it) / factor
 *
 * Guarantee: starts keep the order of the due times, and no packet is later than the one before it,
 * except by the lateness of the caller. A gap between two starts is at least the scheduled gap /
 * factor, unless the caller was late with the earlier of the two. With a steady schedule the hole
 * is made up for when hole * factor / (factor - 1) have passed since its beginning.
 *
 * During this the caller may be late by up to three scheduled gaps, or CATCH_UP_REST_NS, and makes
 * up for that: otherwise its own lateness, and the rests of its worker, would add up, and it would
 * never reach the schedule. Longer lateness is a new hole. If calls take longer than this, the
 * stream falls behind, and 1/64 of how far it is behind may be made up for, until that is enough.
 * Nothing above CATCH_UP_SLACK_NS is made up for.
 *
 * A packet that was queued after it was due counts as due when it was queued, and the caller passes
 * that time to catch_up_leave: it was in no hole, and packets behind it must not wait for it.
 *
 * Caller's memory, one thread, no clock. due is on the schedule's clock, start on another one. */
#ifndef PACING_CATCH_UP_H
#define PACING_CATCH_UP_H

#include <stdbool.h>
#include <stdint.h>

#define CATCH_UP_REST_NS INT64_C(50000)
#define CATCH_UP_SLACK_NS INT64_C(1000000)

/* Zeroed: everything that is overdue leaves at once. */
typedef struct catch_up {
    double share;     /* 1 / factor; 0: off */
    int64_t due_ns;   /* of the last packet */
    int64_t start_ns; /* and when it could start */
} catch_up_t;

/* factor above 1; 0: off. */
static inline void catch_up_init(catch_up_t *c, double factor)
{
    *c = (catch_up_t){.share = factor > 1.0 ? 1.0 / factor : 0.0};
}

static inline bool catch_up_is_on(const catch_up_t *c)
{
    return c->share != 0.0;
}

static inline int64_t catch_up_slack_ns(int64_t gap_ns, int64_t behind_ns)
{
    int64_t slack_ns = 3 * gap_ns > CATCH_UP_REST_NS ? 3 * gap_ns : CATCH_UP_REST_NS;
    slack_ns = behind_ns / 64 > slack_ns ? behind_ns / 64 : slack_ns;
    return slack_ns < CATCH_UP_SLACK_NS ? slack_ns : CATCH_UP_SLACK_NS;
}

/* When the next packet can start, if that is to be decided now. due_start_ns: its due time on the
 * clock of the starts. */
static inline int64_t catch_up_start_ns(const catch_up_t *c, int64_t due_ns, int64_t due_start_ns,
                                        int64_t now_ns)
{
    int64_t gap_ns = due_ns > c->due_ns ? due_ns - c->due_ns : 0;
    int64_t start_ns = c->start_ns + (int64_t)((double)gap_ns * c->share);
    if (c->start_ns == 0 || due_start_ns >= start_ns) /* not behind, or at the end of a hole */
        return due_start_ns > now_ns ? due_start_ns : now_ns;
    return start_ns < now_ns - catch_up_slack_ns(gap_ns, now_ns - due_start_ns) ? now_ns : start_ns;
}

/* A packet leaves. start_ns: as catch_up_start_ns returned it. */
static inline void catch_up_leave(catch_up_t *c, int64_t due_ns, int64_t start_ns)
{
    c->due_ns = due_ns;
    c->start_ns = start_ns;
}

#endif
