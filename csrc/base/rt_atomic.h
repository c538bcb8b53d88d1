/* rt_atomic.h: the only place where memory orders are named.
 *
 * ACQUIRE load:  nothing that follows it in program order may be seen to happen before it.
 * RELEASE store: everything that precedes it in program order is visible to a thread that reads
 *                the stored value with an ACQUIRE load.
 * FENCE_FULL:    the one order the two above do not give: an earlier store is visible before
 *                a later load is done (needed where two parties each write a flag and then
 *                read the other's).
 *
 * Words shared between processes are declared with the rt_a* types below, so that an accidental
 * plain access to one of them cannot compile into a torn or cached one. All of them
 * are lock-free on every machine this builds for; the assertions at the end of rt_clock.c
 * refuse a build where they are not, because a lock inside a C11 atomic lives in one process.
 */
#ifndef RT_ATOMIC_H
#define RT_ATOMIC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef _Atomic uint32_t rt_a32_t;
typedef _Atomic uint64_t rt_a64_t;
typedef _Atomic int64_t rt_ai64_t;

/* One writer per line: two 64-byte lines, because adjacent-line prefetchers fetch in pairs. */
#define RT_LINE_BYTES 128

#define rt_load_relaxed(p) atomic_load_explicit((p), memory_order_relaxed)
#define rt_load_acquire(p) atomic_load_explicit((p), memory_order_acquire)
#define rt_store_relaxed(p, v) atomic_store_explicit((p), (v), memory_order_relaxed)
#define rt_store_release(p, v) atomic_store_explicit((p), (v), memory_order_release)
#define rt_fetch_add(p, v) atomic_fetch_add_explicit((p), (v), memory_order_relaxed)
#define rt_exchange(p, v) atomic_exchange_explicit((p), (v), memory_order_acq_rel)

/* On failure *expected becomes the value that was found (an ACQUIRE load of it). */
#define rt_cas(p, expected, desired)                                                   \
    atomic_compare_exchange_strong_explicit((p), (expected), (desired),                \
                                            memory_order_acq_rel, memory_order_acquire)

#define rt_fence_acquire() atomic_thread_fence(memory_order_acquire)
#define rt_fence_release() atomic_thread_fence(memory_order_release)
#define rt_fence_full() atomic_thread_fence(memory_order_seq_cst)

/* A counter with one writer: a plain add. Readers in other processes never see it torn. */
#define rt_bump(p, v) rt_store_relaxed((p), rt_load_relaxed(p) + (v))

/* A field that another process may be overwriting: loaded once, here, and the compiler cannot load
 * it again. For whole words that others wait for, use the loads above. */
#define rt_read_once(p) (*(const volatile __typeof__(*(p)) *)(p))

/* The same for more than a word: afterwards `to` holds what was read, even if `from` changes. */
static inline void rt_copy_once(void *to, const void *from, size_t bytes)
{
    memcpy(to, from, bytes);
    atomic_signal_fence(memory_order_seq_cst);
}

static inline void rt_cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#if defined(__SANITIZE_THREAD__)
#define RT_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RT_TSAN 1
#endif
#endif

/* Before the definition of a function that reads memory that may be overwritten meanwhile, and
 * trusts it only after a check that detects that (the ring's floor, a compare-and-swap of the same
 * word). The race is intended. Only this macro tells the thread sanitizer so. */
#ifdef RT_TSAN
#define RT_RACY __attribute__((no_sanitize("thread"), noinline, unused))
#else
#define RT_RACY
#endif

/* Copies such bytes once. The barrier keeps the compiler from reading the source again where
 * the copy is used. In ordinary builds it is a memcpy. */
#ifdef RT_TSAN
RT_RACY static void rt_copy_racy(void *to, const void *from, size_t bytes)
{
    volatile unsigned char *t = to;
    const volatile unsigned char *f = from;
    for (size_t i = 0; i < bytes; i++)
        t[i] = f[i];
}
#else
static inline void rt_copy_racy(void *to, const void *from, size_t bytes)
{
    memcpy(to, from, bytes);
    __asm__ volatile("" ::: "memory");
}
#endif

#endif
