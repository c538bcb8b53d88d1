#include "python/rtpsynth/waits.h"

#include <Python.h>

/* A circle of other threads, which they have not noticed yet, has no end. */
#define LONGEST_CHAIN 64

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

void waits_forget(void)
{
    waits = NULL;
}
