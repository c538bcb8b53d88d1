/* sim_point.h: scheduling points. The running process continues behind almost all of them, so the
 * way through costs a few instructions: virtual time advances, and the process gives way if its
 * slice is used up, if somebody is due to wake, or if a fault waits for it here. */
#ifndef SIM_POINT_H
#define SIM_POINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_STEP_NS 8

/* A place in the code, known by file and line: another build must be the same run. */
typedef struct sim_site {
    const char *file;
    uint32_t line;
    uint32_t number; /* the same for all copies of an inline function */
    uint32_t trap;   /* a fault waits here for the process that passes so often */
    uint32_t hits;   /* slow ones */
} __attribute__((aligned(32))) sim_site_t; /* no gaps between them in their section */

typedef struct sim_clock {
    int64_t now_ns;
    int64_t alarm_ns; /* when another process, or the network, is next due */
    int64_t fuel;     /* points until the running process gives way */
    uintptr_t shared; /* where the memory files lie */
} sim_clock_t;

#define SIM_SHARED_BYTES (UINT64_C(16) << 20)

extern sim_clock_t sim_clock;

/* The rest of a point: errno stays as it is. */
void sim_slow(sim_site_t *site);
void sim_relax(sim_site_t *site);

#define SIM_HERE                                                                                \
    __extension__({                                                                             \
        static sim_site_t sim_here                                                              \
            __attribute__((section("sim_sites"), used)) = {.file = __FILE__, .line = __LINE__}; \
        &sim_here;                                                                              \
    })
#define SIM_POINT sim_pass(SIM_HERE)
#define SIM_RELAX sim_relax(SIM_HERE)
#define SIM_COPY(to, from, bytes) sim_copy(SIM_HERE, (to), (from), (bytes))
#define SIM_FILL(to, byte, bytes) sim_fill(SIM_HERE, (to), (byte), (bytes))

static inline void sim_pass(sim_site_t *site)
{
    sim_clock.now_ns += SIM_STEP_NS;
    if (__builtin_expect(
            --sim_clock.fuel <= 0 || sim_clock.now_ns >= sim_clock.alarm_ns || site->trap != 0, 0))
        sim_slow(site);
}

static inline bool sim_is_shared(const void *at)
{
    return (uintptr_t)at - sim_clock.shared < SIM_SHARED_BYTES;
}

static inline void *sim_copy(sim_site_t *site, void *to, const void *from, size_t bytes)
{
    size_t half = bytes > 16 && (sim_is_shared(to) || sim_is_shared(from)) ? bytes / 2 & ~7UL : 0;
    if (half != 0) {
        __builtin_memcpy(to, from, half);
        sim_pass(site);
    }
    __builtin_memcpy((char *)to + half, (const char *)from + half, bytes - half);
    return to;
}

static inline void *sim_fill(sim_site_t *site, void *to, int byte, size_t bytes)
{
    size_t half = bytes > 16 && sim_is_shared(to) ? bytes / 2 & ~7UL : 0;
    if (half != 0) {
        __builtin_memset(to, byte, half);
        sim_pass(site);
    }
    __builtin_memset((char *)to + half, byte, bytes - half);
    return to;
}

#endif
