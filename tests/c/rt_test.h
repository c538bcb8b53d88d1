/*
 * The harness of the C tests. One test program is one .c file:
 *
 *     #include "rt_test.h"
 *
 *     static void test_empty_ring_has_nothing(void)
 *     {
 *         CHECK(ring_is_empty(&ring));
 *         CHECK_EQ(ring_count(&ring), 0);
 *     }
 *
 *     int main(void)
 *     {
 *         RUN(test_empty_ring_has_nothing);
 *         return rt_test_result();
 *     }
 *
 * A failed CHECK is printed and counted, and the test goes on; a failed REQUIRE is printed and
 * counted, and the test function (which must return void) returns. Checks may be made from any
 * thread. A forked child counts for itself only: let it _exit(rt_test_result()) and check its
 * status.
 *
 * Exit status: 0 all checks held, 1 some failed, 77 skipped (TEST_SKIP, TEST_NEEDS), which ctest
 * shows as skipped. "make test" adds up the lines "skipped: REASON" in its table.
 */
#ifndef RT_TEST_H
#define RT_TEST_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RT_TEST_SKIP_STATUS = 77, RT_TEST_DUMP_BYTES = 32 };

static atomic_int rt_test_failure_count;

#define RT_TEST_PRINTF(fmt_at, args_at) __attribute__((format(printf, fmt_at, args_at)))

static inline RT_TEST_PRINTF(3, 4) void rt_test_fail(const char *file, int line, const char *fmt,
                                                     ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    /* One call, so that lines of several threads do not mix. */
    (void)fprintf(stderr, "%s:%d: %s\n", file, line, text);
    atomic_fetch_add(&rt_test_failure_count, 1);
}

static inline bool rt_test_check(bool held, const char *text, const char *file, int line)
{
    if (!held)
        rt_test_fail(file, line, "CHECK(%s) failed", text);
    return held;
}

static inline bool rt_test_check_eq(intmax_t a, intmax_t b, const char *a_text, const char *b_text,
                                    const char *file, int line)
{
    if (a != b)
        rt_test_fail(file, line,
                     "%s is %" PRIdMAX " (0x%" PRIxMAX "), expected %s = %" PRIdMAX " (0x%" PRIxMAX
                     ")",
                     a_text, a, (uintmax_t)a, b_text, b, (uintmax_t)b);
    return a == b;
}

static inline bool rt_test_check_str(const char *a, const char *b, const char *a_text,
                                     const char *file, int line)
{
    bool same = a != NULL && b != NULL && strcmp(a, b) == 0;
    if (!same)
        rt_test_fail(file, line, "%s is \"%s\", expected \"%s\"", a_text, a ? a : "(null)",
                     b ? b : "(null)");
    return same;
}

static inline bool rt_test_check_mem(const void *a, const void *b, size_t len, const char *a_text,
                                     const char *file, int line)
{
    const uint8_t *got = (const uint8_t *)a;
    const uint8_t *want = (const uint8_t *)b;
    size_t at = 0;
    while (at < len && got[at] == want[at])
        at++;
    if (at == len)
        return true;
    char got_hex[2 * RT_TEST_DUMP_BYTES + 1] = "";
    char want_hex[2 * RT_TEST_DUMP_BYTES + 1] = "";
    for (size_t i = 0; i < RT_TEST_DUMP_BYTES && at + i < len; i++) {
        (void)snprintf(got_hex + 2 * i, 3, "%02x", got[at + i]);
        (void)snprintf(want_hex + 2 * i, 3, "%02x", want[at + i]);
    }
    rt_test_fail(file, line, "%s differs from byte %zu of %zu on: %s, expected %s", a_text, at, len,
                 got_hex, want_hex);
    return false;
}

/* A line for the table of "make test". */
static inline bool rt_test_has(const char *need, bool has)
{
    if (!has) {
        (void)printf("skipped: needs %s\n", need);
        (void)fflush(stdout);
    }
    return has;
}

/* Ends the program as skipped. Call it before any thread is started. */
static inline RT_TEST_PRINTF(1, 2) _Noreturn void rt_test_skip(const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    (void)printf("skipped: %s\n", text);
    (void)fflush(stdout);
    exit(RT_TEST_SKIP_STATUS);
}

static inline void rt_test_run(void (*test_fn)(void), const char *name)
{
    int before = atomic_load(&rt_test_failure_count);
    test_fn();
    int failed = atomic_load(&rt_test_failure_count) - before;
    (void)printf("%s %s\n", failed == 0 ? "ok    " : "FAILED", name);
    (void)fflush(stdout);
}

/* What main() returns: 0 when every check held, else 1. */
static inline int rt_test_result(void)
{
    return atomic_load(&rt_test_failure_count) == 0 ? 0 : 1;
}

/*
 * A whole number from the environment, or the default. A stress or simulation test takes its seed
 * from "RT_TEST_SEED" and its length from "RT_TEST_ROUNDS", and prints the seed, so that a failure
 * can be repeated.
 */
static inline uint64_t rt_test_env_u64(const char *name, uint64_t def)
{
    const char *text = getenv(name);
    return text != NULL && *text != '\0' ? strtoull(text, NULL, 0) : def;
}

/* splitmix64: every seed, 0 too, gives a good sequence. Not for anything but tests. */
static inline uint64_t rt_test_rand(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

#define CHECK(cond) rt_test_check(!!(cond), #cond, __FILE__, __LINE__)

/* For integers of any type and for pointers. Values above INT64_MAX compare by their bits. */
#define CHECK_EQ(a, b) rt_test_check_eq((intmax_t)(a), (intmax_t)(b), #a, #b, __FILE__, __LINE__)

#define CHECK_STR_EQ(a, b) rt_test_check_str((a), (b), #a, __FILE__, __LINE__)

#define CHECK_MEM_EQ(a, b, len) rt_test_check_mem((a), (b), (len), #a, __FILE__, __LINE__)

#define REQUIRE(cond)     \
    do {                  \
        if (!CHECK(cond)) \
            return;       \
    } while (0)

#define RUN(test_fn) rt_test_run((test_fn), #test_fn)

#define TEST_SKIP(...) rt_test_skip(__VA_ARGS__)

/*
 * What a program needs of the machine, in a word of tests/py/needs.py or as "program NAME". It is
 * tried, and what is skipped without it is told. TEST_NEEDS skips all of the program:
 *
 *     TEST_NEEDS("netns", unshare(CLONE_NEWNET) == 0);
 *     if (TEST_HAS("userfaultfd", late_memory(&at) >= 0))
 *         RUN(test_memory_that_comes_late);
 */
#define TEST_HAS(need, has) rt_test_has((need), (has))
#define TEST_NEEDS(need, has)          \
    do {                               \
        if (!TEST_HAS((need), (has)))  \
            exit(RT_TEST_SKIP_STATUS); \
    } while (0)

#endif
