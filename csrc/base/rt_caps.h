/* rt_caps.h: capabilities of this thread, as sets of bits. Cold: each function makes one or two
 * system calls.
 *
 * A capability that is permitted and not effective does nothing until it is raised. A program that
 * needs one for rare calls keeps it permitted and raises it around those calls, so that a request
 * for anything else cannot use it. */
#ifndef RT_CAPS_H
#define RT_CAPS_H

#include <stdbool.h>
#include <stdint.h>

#define RT_CAP(number) (UINT64_C(1) << (number))

typedef struct rt_caps {
    uint64_t effective;
    uint64_t permitted;
    uint64_t inheritable;
} rt_caps_t;

/* All sets are empty if the kernel does not report them. */
rt_caps_t rt_caps_get(void);

/* Returns 0 or -errno. -EPERM: more than is permitted. */
int rt_caps_set(const rt_caps_t *caps);

/* Makes those of wanted effective that are permitted. Returns the ones that were not effective
 * before, for rt_caps_lower. 0: nothing changed. No system call if wanted is 0. */
uint64_t rt_caps_raise(uint64_t wanted);

void rt_caps_lower(uint64_t raised);

#endif
