/* crash.h: a party that dies, or is interfered with, between any two
 * of its writes to shared memory.
 *
 * A test includes this and then the .c file under test. From there on each store, swap and half of
 * a memset or memcpy of that file is a step:
 *
 *     crash_at(k);                  the k-th step from here on is not done: its party is dead
 *     if (setjmp(crash_exit) == 0)
 *         ... calls of the code under test ...
 *     crash_at(0);                  no more deaths
 *
 * Loads are no steps: a death after one is a death before the next write. What the dead one had in
 * its own memory is for the test to forget; what it wrote to the segment stays. Variables that are
 * set between setjmp and the death must be static. */
#ifndef CRASH_H
#define CRASH_H

#include "base/rt_atomic.h"

#include <setjmp.h>

static jmp_buf crash_exit;
static unsigned long crash_left;  /* steps to the death, it included; 0: nobody dies */
static unsigned long crash_steps; /* done, for a test to know how many deaths there are */
static void (*crash_meddle)(void); /* called at the step instead of dying, when set */

static inline void crash_at(unsigned long step)
{
    crash_left = step;
    crash_steps = 0;
}

static inline void crash_step(void)
{
    crash_steps++;
    if (crash_left == 0 || --crash_left > 0)
        return;
    if (crash_meddle == NULL)
        longjmp(crash_exit, 1);
    crash_meddle();
}

static inline void crash_copy(void *to, const void *from, size_t bytes)
{
    size_t half = bytes / 16 * 8;
    crash_step();
    memcpy(to, from, half);
    crash_step();
    memcpy((uint8_t *)to + half, (const uint8_t *)from + half, bytes - half);
}

static inline void crash_set(void *to, int value, size_t bytes)
{
    size_t half = bytes / 16 * 8;
    crash_step();
    memset(to, value, half);
    crash_step();
    memset((uint8_t *)to + half, value, bytes - half);
}

#undef rt_store_relaxed
#undef rt_store_release
#undef rt_fetch_add
#undef rt_exchange
#undef rt_cas
#define rt_store_relaxed(p, v) \
    (crash_step(), atomic_store_explicit((p), (v), memory_order_relaxed))
#define rt_store_release(p, v) \
    (crash_step(), atomic_store_explicit((p), (v), memory_order_release))
#define rt_fetch_add(p, v) \
    (crash_step(), atomic_fetch_add_explicit((p), (v), memory_order_relaxed))
#define rt_exchange(p, v) \
    (crash_step(), atomic_exchange_explicit((p), (v), memory_order_acq_rel))
#define rt_cas(p, expected, desired)                        \
    (crash_step(), atomic_compare_exchange_strong_explicit( \
                       (p), (expected), (desired), memory_order_acq_rel, memory_order_acquire))
#define memcpy(to, from, bytes) crash_copy((to), (from), (bytes))
#define memset(to, value, bytes) crash_set((to), (value), (bytes))

#endif
