/* waits.h: which thread waits for which other, so that callbacks never wait for each other in a
 * circle.
 *
 * A callback of an RtpServer may wait, in close or shutdown, for a callback of another server or of
 * RtpProc, and that one for the first. A thread that finds itself at the end of its own chain
 * continues without waiting. It checks repeatedly, because a wait that cannot be left
 * (RtpProc.create_channel) may close the circle later.
 *
 * All functions need the global lock. */
#ifndef PYTHON_RTPSYNTH_WAITS_H
#define PYTHON_RTPSYNTH_WAITS_H

#include "base/rt_atomic.h"

#include <stdbool.h>

typedef struct waiting {
    unsigned long thread;
    unsigned long awaited; /* 0: no thread */
    struct waiting *next;
} waiting_t;

/* The calling thread waits for that one until wait_end. A signal handler in between may wait, too.
 */
void wait_begin(waiting_t *w, unsigned long awaited);
void wait_end(waiting_t *w);

/* Whether that thread is the calling one, or waits for it directly or through others. */
bool waits_for_us(unsigned long thread);

/* What threads wait for that a callback ends. */
typedef struct turns {
    rt_a32_t count; /* of turns_signal */
    uint32_t waiters;
} turns_t;

/* Wakes the threads in turns_wait. */
void turns_signal(turns_t *t);

/* Gives the global lock up until the next turns_signal, or for a moment: a wait may have become one
 * in a circle, and another thread may have got a signal. -1: its handler raised. */
int turns_wait(turns_t *t);

/* For a child after fork: the threads belong to the parent. */
void waits_forget(void);

#endif
