/* The seam of the simulation. It lies before the product's rt_atomic.h on the include path, so that
 * every access of the product to shared memory becomes a point at which another process may run, or
 * this one may die. A copy of more than 16 bytes from or to shared memory is two halves with such
 * a point between them. The product's lines stay as they are.
 *
 * All accesses happen in one order. What a processor may see otherwise is the matter of
 * tests/model/litmus and of the thread sanitizer. */
#ifndef SIM_SEAM_RT_ATOMIC_H
#define SIM_SEAM_RT_ATOMIC_H

#include_next "base/rt_atomic.h"

#include "sim_point.h"

#undef rt_load_relaxed
#undef rt_load_acquire
#undef rt_store_relaxed
#undef rt_store_release
#undef rt_fetch_add
#undef rt_exchange
#undef rt_cas
#undef rt_read_once

#define rt_load_relaxed(p) (SIM_POINT, atomic_load_explicit((p), memory_order_seq_cst))
#define rt_load_acquire(p) (SIM_POINT, atomic_load_explicit((p), memory_order_seq_cst))
#define rt_store_relaxed(p, v) (SIM_POINT, atomic_store_explicit((p), (v), memory_order_relaxed))
#define rt_store_release(p, v) (SIM_POINT, atomic_store_explicit((p), (v), memory_order_relaxed))
#define rt_fetch_add(p, v) (SIM_POINT, atomic_fetch_add_explicit((p), (v), memory_order_relaxed))
#define rt_exchange(p, v) (SIM_POINT, atomic_exchange_explicit((p), (v), memory_order_relaxed))
#define rt_cas(p, expected, desired)                     \
    (SIM_POINT, atomic_compare_exchange_strong_explicit( \
                    (p), (expected), (desired), memory_order_relaxed, memory_order_relaxed))
#define rt_read_once(p) (SIM_POINT, *(const volatile __typeof__(*(p)) *)(p))

#define rt_copy_once(to, from, bytes) SIM_COPY(to, from, bytes)
#define rt_copy_racy(to, from, bytes) SIM_COPY(to, from, bytes)
#define rt_cpu_relax() SIM_RELAX
#define memcpy(to, from, bytes) SIM_COPY(to, from, bytes)
#define memset(to, byte, bytes) SIM_FILL(to, byte, bytes)

#endif
