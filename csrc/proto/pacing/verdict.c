#include "proto/pacing/verdict.h"

typedef struct lateness {
    int64_t upto_ns; /* explained so far */
    int64_t start_ns;
    int64_t largest_ns;
    verdict_t verdict;
} lateness_t;

/* The time from what is explained already to this moment is the fault of this cause. */
static void blame(lateness_t *l, int64_t moment_ns, verdict_t cause)
{
    if (moment_ns > l->start_ns)
        moment_ns = l->start_ns;
    int64_t part_ns = moment_ns - l->upto_ns;
    if (part_ns <= 0)
        return;
    l->upto_ns = moment_ns;
    if (part_ns > l->largest_ns) {
        l->largest_ns = part_ns;
        l->verdict = cause;
    }
}

verdict_t verdict_of(const verdict_times_t *t, int64_t tolerance_ns, unsigned flags)
{
    int64_t due_ns = t->due_ns != 0 ? t->due_ns : t->enqueued_ns;
    if (t->send_start_ns - due_ns <= tolerance_ns) {
        int64_t slow_ns = tolerance_ns > VERDICT_SLOW_SEND_NS ? tolerance_ns : VERDICT_SLOW_SEND_NS;
        return t->send_end_ns - t->send_start_ns > slow_ns ? VERDICT_SEND_SLOW : VERDICT_ON_TIME;
    }
    lateness_t l = {.upto_ns = due_ns, .start_ns = t->send_start_ns, .verdict = VERDICT_SEND_SLOW};
    blame(&l, t->enqueued_ns, VERDICT_ENQUEUED_LATE);
    blame(&l, t->woken_ns, VERDICT_WOKE_LATE);
    if ((flags & VERDICT_RETRIED) == 0)
        blame(&l, t->previous_send_end_ns, VERDICT_QUEUED_BEHIND);
    blame(&l, t->send_start_ns, VERDICT_SEND_SLOW);
    return l.verdict;
}

const char *verdict_name(unsigned verdict)
{
    static const char *const names[VERDICT_TOTAL] = {
        [VERDICT_ON_TIME] = "on_time",
        [VERDICT_ENQUEUED_LATE] = "enqueued_late",
        [VERDICT_WOKE_LATE] = "woke_late",
        [VERDICT_SEND_SLOW] = "send_slow",
        [VERDICT_QUEUED_BEHIND] = "queued_behind",
        [VERDICT_DROPPED_LATE] = "dropped_late",
        [VERDICT_CANCELLED] = "cancelled",
        [VERDICT_FAILED] = "failed",
    };
    return verdict < VERDICT_TOTAL ? names[verdict] : "unknown";
}
