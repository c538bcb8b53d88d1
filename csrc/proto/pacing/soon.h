/* soon.h: whether to stay awake, because what comes next usually comes sooner than a sleep and its
 * end would take.
 *
 *     begin  end                   begin
 *       |=====|  awake, and it paid  |=============|........  in vain: asleep from here on
 *                                    |<- 2 usual ->|
 *
 * Whoever waits stays awake for twice the usual time, if that is short, and if such waits succeed:
 * three of four. Otherwise one in SOON_TRIAL is a trial. So what is slower, or cannot come because
 * it needs the core that is kept busy by waiting, costs a little and not a core.
 *
 * Caller's memory, one thread, no clock. */
#ifndef PACING_SOON_H
#define PACING_SOON_H

#include <stdbool.h>
#include <stdint.h>

/* A usual time that is short, for an answer of a peer to what was sent, or of a program to what
 * arrived. A round trip has four such waits, and a sleep in one of them makes it that much longer.
 */
#define SOON_ANSWER_NS INT64_C(200000)
#define SOON_LONG_NS INT64_C(1000000) /* longer times count as this */
#define SOON_SURE 1024u
#define SOON_TRIAL 64u

typedef struct soon {
    int64_t most_ns;  /* a usual time that is short */
    int64_t usual_ns; /* smoothed */
    int64_t began_ns;
    int64_t until_ns; /* awake until then, 0: not at all */
    uint32_t success; /* of SOON_SURE, smoothed */
    uint32_t waits;   /* without success, for the next trial */
    bool awake;       /* since it began, and so far */
} soon_t;

static inline void soon_init(soon_t *s, int64_t most_ns, int64_t now_ns)
{
    *s = (soon_t){
        .most_ns = most_ns, .usual_ns = SOON_LONG_NS, .began_ns = now_ns, .success = SOON_SURE};
}

static inline bool soon_pays(soon_t *s)
{
    if (s->usual_ns > s->most_ns)
        return false;
    return s->success >= SOON_SURE * 3 / 4 || ++s->waits % SOON_TRIAL == 0;
}

/* A wait begins. */
static inline void soon_begin(soon_t *s, int64_t now_ns)
{
    s->began_ns = now_ns;
    s->until_ns = soon_pays(s) ? now_ns + 2 * s->usual_ns : 0;
}

/* Whether to stay awake. Asked again and again while nothing comes. */
static inline bool soon_lasts(soon_t *s, int64_t now_ns)
{
    if (now_ns < s->until_ns) {
        s->awake = true;
        return true;
    }
    if (s->awake)
        s->success -= s->success / 8;
    s->awake = false;
    s->until_ns = 0;
    return false;
}

/* What was waited for has come. */
static inline void soon_end(soon_t *s, int64_t now_ns)
{
    int64_t took_ns = now_ns - s->began_ns;
    took_ns = took_ns < SOON_LONG_NS ? took_ns : SOON_LONG_NS;
    s->usual_ns += (took_ns - s->usual_ns) / 8;
    if (s->awake)
        s->success += (SOON_SURE - s->success) / 8;
    s->awake = false;
    s->until_ns = 0;
}

#endif
