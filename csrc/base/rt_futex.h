/* rt_futex.h: sleeping on a word in shared memory, across processes. futex(2), the shared (not
 * PRIVATE) form, because the same word is mapped at different addresses in different processes. */
#ifndef RT_FUTEX_H
#define RT_FUTEX_H

#include "base/rt_atomic.h"

/* Sleeps while *word == value, until woken or until until_mono_ns on CLOCK_MONOTONIC
 * (RT_NEVER_NS: no limit). Returns 0 woken or the word had changed, -ETIMEDOUT, -EINTR.
 * Spurious returns of 0 happen: check the condition again. */
int rt_futex_wait(rt_a32_t *word, uint32_t value, int64_t until_mono_ns);

/* Wakes every sleeper on word. Returns how many there were. */
int rt_futex_wake_all(rt_a32_t *word);

#endif
