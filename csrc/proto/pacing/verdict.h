/* verdict.h: the result of sending a packet. Each packet gets exactly one verdict.
 *
 * A packet is on time when its send starts no later than due + tolerance, and the send call itself
 * does not take longer than max(tolerance, VERDICT_SLOW_SEND_NS). Otherwise it is late: the time
 * from due to the start of the send is divided among five causes, and the verdict names the largest
 * (the one listed first when two are equal):
 *
 *      due      enqueued    asleep_from     woken      previous      send_start   send_end
 *       |          |             |            |        send_end          |            |
 *       |-enqueued-|---queued----|----woke----|--queued---|-----send-----|............|
 *       |   late   |   behind    |    late    |  behind   |     slow     |
 *
 *   enqueued_late  the packet was queued after it was due
 *   woke_late      it was queued, and the worker slept, or had to rest
 *   queued_behind  the worker was awake, but busy with packets sent before this one
 *   send_slow      the worker was awake and free: the kernel refused the first attempts, or
 *                  the worker was preempted. Or the start was on time, but the call took too long
 *
 *   producer_halted  the worker could not read it: its own producer, or that of a packet in front
 *                    of it, had halted in mid-send; between enqueued and asleep_from
 *
 * A time that is earlier than the one to its left is set to that one, so the parts always add up to
 * send_start - due. Nearly always the worker slept before the packet was due, and the first
 * "queued behind" is empty. "due" is the time at which the send should start: the deadline with
 * align="start", the deadline less the wire offset with align="wire". A packet without a deadline
 * is due when it is enqueued.
 *
 * Pure; all times of one clock. */
#ifndef VERDICT_H
#define VERDICT_H

#include "rows/verdict.h"

#include <stdbool.h>
#include <stdint.h>

_Static_assert(VERDICT_ON_TIME == 0 && VERDICT_ENQUEUED_LATE == 1 && VERDICT_WOKE_LATE == 2 &&
                   VERDICT_SEND_SLOW == 3 && VERDICT_QUEUED_BEHIND == 4 &&
                   VERDICT_DROPPED_LATE == 5 && VERDICT_CANCELLED == 6 && VERDICT_FAILED == 7 &&
                   VERDICT_PRODUCER_HALTED == 8 && VERDICT_TOTAL == 9,
               "verdict numbers are part of the shared memory layout");

#define VERDICT_SLOW_SEND_NS INT64_C(100000)

/* The kernel refused this packet for the moment (EAGAIN, ENOBUFS) and the send was repeated: time
 * spent on other packets meanwhile belongs to the slow send. */
#define VERDICT_RETRIED 0x1u

typedef struct verdict_times {
    int64_t enqueued_ns;
    int64_t due_ns;         /* 0: no deadline */
    int64_t asleep_from_ns; /* the worker's last sleep before this send: its beginning */
    int64_t woken_ns;       /* and its end; both 0: never slept */
    int64_t send_start_ns;
    int64_t send_end_ns;
    int64_t previous_send_end_ns; /* end of this worker's send call before this one; 0: none */
    int64_t halted_from_ns;       /* a producer had halted, and this packet
                                     could not be read from then */
    int64_t halted_until_ns;      /* until then; 0: none had */
} verdict_times_t;

/* The verdict of a packet that was sent: one of the first five, or
 * producer_halted. tolerance_ns >= 0. */
verdict_t verdict_of(const verdict_times_t *t, int64_t tolerance_ns, unsigned flags);

/* Whether a packet with this verdict was sent. */
static inline bool verdict_is_sent(verdict_t verdict)
{
    return verdict <= VERDICT_QUEUED_BEHIND || verdict == VERDICT_PRODUCER_HALTED;
}

/* Whether a packet would be late if its send started now. late="drop" uses it. */
static inline bool verdict_is_late(int64_t due_ns, int64_t now_ns, int64_t tolerance_ns)
{
    return due_ns != 0 && now_ns - due_ns > tolerance_ns;
}

#endif
