#include "python/rtpsynth/waits.h"

#include "base/rt_clock.h"
#include "base/rt_futex.h"

#include <Python.h>

/* A circle of other threads, which they have not noticed yet, has no end. */
#define LONGEST_CHAIN 64
#define TURN_NS (10 * RT_NS_PER_MS)

static waiting_t *waits; /* the newest first */

void wait_begin(waiting_t *w, unsigned long awaited)
{
    *w = (waiting_t){PyThread_get_thread_ident(), awaited, waits};
    waits = w;
}

void wait_end(waiting_t *w)
{
    waiting_t **at = &waits;
    while (*at && *at != w)
        at = &(*at)->next;
    if (*at)
        *at = w->next;
}

static unsigned long awaited_by(unsigned long thread)
{
    const waiting_t *w = waits;
    while (w && w->thread != thread)
        w = w->next;
    return w ? w->awaited : 0;
}

bool waits_for_us(unsigned long thread)
{
    unsigned long us = PyThread_get_thread_ident();
    for (int i = 0; i < LONGEST_CHAIN && thread != 0; i++) {
        if (thread == us)
            return true;
        thread = awaited_by(thread);
    }
    return false;
}

void turns_signal(turns_t *t)
{
    if (t->waiters == 0)
        return;
    rt_fetch_add(&t->count, 1);
    rt_futex_wake_all(&t->count);
}

int turns_wait(turns_t *t)
{
    uint32_t count = rt_load_relaxed(&t->count);
    t->waiters++;
    PyThreadState *state = PyEval_SaveThread();
    (void)rt_futex_wait(&t->count, count, rt_mono_ns() + TURN_NS);
    PyEval_RestoreThread(state);
    t->waiters--;
    return PyErr_CheckSignals();
}

void waits_forget(void)
{
    waits = NULL;
}
