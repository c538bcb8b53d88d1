#include "shm/bus_guard.h"

#include "base/rt_atomic.h"
#include "base/rt_err.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* How many faults in a row at one address are passed on before the default action is restored. A
 * handler that only prints and restores this one, like Python's faulthandler, would otherwise print
 * forever. */
#define PASSED_ON_MOST 2u

#define FREE ((uintptr_t)0)
#define BEING_FILLED ((uintptr_t)1) /* no mapping starts there */

typedef struct place {
    _Atomic uintptr_t base;
    rt_a64_t bytes;
    rt_a32_t torn;
} place_t;

typedef struct guard {
    place_t places[BUS_GUARD_PLACES];
    rt_a32_t used;           /* highest number of places ever in use: the others are free */
    rt_a32_t next;           /* where to look for a free place */
    struct sigaction before; /* the action before ours */
    rt_a64_t passed_on_at;
    rt_a32_t passed_on;
} guard_t;

static guard_t guard;

/* --- in the handler: stores and plain system calls only --------------------------------------- */

static place_t *place_of(uintptr_t at)
{
    uint32_t used = rt_load_acquire(&guard.used);
    for (uint32_t i = 0; i < used; i++) {
        place_t *p = &guard.places[i];
        uintptr_t base = rt_load_acquire(&p->base);
        if (base > BEING_FILLED && at >= base && at - base < rt_load_relaxed(&p->bytes))
            return p;
    }
    return NULL;
}

/* Locked memory counts twice while one mapping replaces another, so unlock it first. */
static bool replace(place_t *p)
{
    void *base = (void *)rt_load_relaxed(&p->base);
    size_t bytes = (size_t)rt_load_relaxed(&p->bytes);
    (void)munlock(base, bytes);
    if (mmap(base, bytes, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == MAP_FAILED)
        return false;
    rt_store_release(&p->torn, 1);
    return true;
}

static void default_action(int number, bool fault)
{
    (void)signal(number, SIG_DFL);
    if (!fault)
        (void)raise(number); /* a fault repeats by itself */
}

static bool passed_on_too_often(uintptr_t at)
{
    if (rt_load_relaxed(&guard.passed_on_at) != at) {
        rt_store_relaxed(&guard.passed_on_at, at);
        rt_store_relaxed(&guard.passed_on, 0);
    }
    return rt_fetch_add(&guard.passed_on, 1) >= PASSED_ON_MOST;
}

static void pass_on(int number, siginfo_t *info, void *context, bool fault)
{
    const struct sigaction *before = &guard.before;
    if (fault && passed_on_too_often((uintptr_t)info->si_addr))
        default_action(number, fault);
    else if (before->sa_flags & SA_SIGINFO)
        before->sa_sigaction(number, info, context);
    else if (before->sa_handler == SIG_DFL || (fault && before->sa_handler == SIG_IGN))
        default_action(number, fault);
    else if (before->sa_handler != SIG_IGN)
        before->sa_handler(number);
}

/* A signal that this process raised itself comes from an earlier handler. It printed, restored this
 * handler and raised the signal again: the access that follows shows the cause. */
static void on_sigbus(int number, siginfo_t *info, void *context)
{
    int saved_errno = errno;
    bool fault = info->si_code > 0;
    if (fault) {
        place_t *p = info->si_code == BUS_ADRALN ? NULL : place_of((uintptr_t)info->si_addr);
        if (p == NULL || !replace(p))
            pass_on(number, info, context, true);
    } else if (info->si_code != SI_TKILL || info->si_pid != getpid()) {
        pass_on(number, info, context, false);
    }
    errno = saved_errno;
}

/* --- the table ------------------------------------------------------------------------------- */

/* Two threads may do this at once: both do the same. */
static int install(void)
{
    struct sigaction now;
    struct sigaction ours = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    (void)sigemptyset(&ours.sa_mask);
    int rc = sigaction(SIGBUS, NULL, &now);
    if (rc == 0 && !((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_sigbus)) {
        guard.before = now;
        rc = sigaction(SIGBUS, &ours, NULL);
    }
    return rc == 0 ? 0 : rt_err_set(-errno, "sigaction(SIGBUS): %s", strerror(errno));
}

static void raise_used(uint32_t to)
{
    uint32_t used = rt_load_relaxed(&guard.used);
    while (used < to && !rt_cas(&guard.used, &used, to)) {
    }
}

static bool take(uint32_t i, void *base, uint64_t bytes)
{
    place_t *p = &guard.places[i];
    uintptr_t expected = FREE;
    if (!rt_cas(&p->base, &expected, BEING_FILLED))
        return false;
    rt_store_relaxed(&p->bytes, bytes);
    rt_store_relaxed(&p->torn, 0);
    rt_store_release(&p->base, (uintptr_t)base);
    raise_used(i + 1);
    return true;
}

int bus_guard_add(void *base, uint64_t bytes, uint32_t *place)
{
    int rc = install();
    if (rc < 0)
        return rc;
    uint32_t start = rt_load_relaxed(&guard.next) % BUS_GUARD_PLACES;
    for (uint32_t n = 0; n < BUS_GUARD_PLACES; n++) {
        uint32_t i = (start + n) % BUS_GUARD_PLACES;
        if (!take(i, base, bytes))
            continue;
        rt_store_relaxed(&guard.next, i + 1);
        *place = i + 1;
        return 0;
    }
    return rt_err_set(
        -ENOSPC, "this process has %u files of shared memory mapped, the limit: close channels",
        BUS_GUARD_PLACES);
}

void bus_guard_remove(uint32_t place)
{
    if (place == 0)
        return;
    rt_store_relaxed(&guard.next, place - 1);
    rt_store_release(&guard.places[place - 1].base, FREE);
}

void bus_guard_tear(uint32_t place)
{
    if (place != 0)
        (void)replace(&guard.places[place - 1]);
}

const rt_a32_t *bus_guard_torn(uint32_t place)
{
    return place != 0 ? &guard.places[place - 1].torn : NULL;
}
