#include "proto/pacing/verdict.h"

enum { ENQUEUED, HALTED, WOKE, QUEUED, SLOW, PARTS };

/* The time from *upto_ns to the moment, at most to the end. Moves *upto_ns there. */
static int64_t step_to(int64_t *upto_ns, int64_t moment_ns, int64_t end_ns)
{
    int64_t to_ns = moment_ns < end_ns ? moment_ns : end_ns;
    int64_t part_ns = to_ns - *upto_ns;
    if (part_ns <= 0)
        return 0;
    *upto_ns = to_ns;
    return part_ns;
}

static verdict_t largest_cause(const int64_t parts_ns[PARTS])
{
    static const verdict_t verdicts[PARTS] = {
        [ENQUEUED] = VERDICT_ENQUEUED_LATE,
        [HALTED] = VERDICT_PRODUCER_HALTED,
        [WOKE] = VERDICT_WOKE_LATE,
        [QUEUED] = VERDICT_QUEUED_BEHIND,
        [SLOW] = VERDICT_SEND_SLOW,
    };
    unsigned largest = 0;
    for (unsigned i = 1; i < PARTS; i++)
        if (parts_ns[i] > parts_ns[largest])
            largest = i;
    return verdicts[largest];
}

static verdict_t cause_of(const verdict_times_t *t, int64_t due_ns, unsigned flags)
{
    int64_t upto_ns = due_ns;
    int64_t end_ns = t->send_start_ns;
    int64_t parts_ns[PARTS] = {0};
    unsigned busy = flags & VERDICT_RETRIED ? SLOW : QUEUED;
    parts_ns[ENQUEUED] += step_to(&upto_ns, t->enqueued_ns, end_ns);
    if (t->halted_until_ns != 0) {
        parts_ns[busy] += step_to(&upto_ns, t->halted_from_ns, end_ns);
        parts_ns[HALTED] += step_to(&upto_ns, t->halted_until_ns, end_ns);
    }
    parts_ns[busy] += step_to(&upto_ns, t->asleep_from_ns, end_ns);
    parts_ns[WOKE] += step_to(&upto_ns, t->woken_ns, end_ns);
    parts_ns[busy] += step_to(&upto_ns, t->previous_send_end_ns, end_ns);
    parts_ns[SLOW] += step_to(&upto_ns, end_ns, end_ns);
    return largest_cause(parts_ns);
}

verdict_t verdict_of(const verdict_times_t *t, int64_t tolerance_ns, unsigned flags)
{
    int64_t due_ns = t->due_ns != 0 ? t->due_ns : t->enqueued_ns;
    if (t->send_start_ns - due_ns > tolerance_ns)
        return cause_of(t, due_ns, flags);
    int64_t slow_ns = tolerance_ns > VERDICT_SLOW_SEND_NS ? tolerance_ns : VERDICT_SLOW_SEND_NS;
    return t->send_end_ns - t->send_start_ns > slow_ns ? VERDICT_SEND_SLOW : VERDICT_ON_TIME;
}
