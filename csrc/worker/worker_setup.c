#include "worker/worker_setup.h"

#include "base/rt_err.h"
#include "base/rt_linux.h"
#include "worker/agents/common/parked_sockets.h"
#include "worker/privileges.h"

#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define STACK_PREFAULT_BYTES (256u * 1024u)

static int pin(const worker_args_t *args, shm_worker_page_t *page)
{
    rt_store_relaxed(&page->cpu_wanted,
                     args->cpu == WRK_CPU_NONE ? WRK_UNPINNED : (uint32_t)args->cpu);
    rt_store_relaxed(&page->cpu, WRK_UNPINNED);
    if (args->cpu == WRK_CPU_NONE)
        return 0;
    cpu_set_t *set = CPU_ALLOC((size_t)args->cpu + 1);
    if (set == NULL)
        return rt_err_set(-ENOMEM, "no memory for a set of %d cores", args->cpu + 1);
    size_t bytes = CPU_ALLOC_SIZE((size_t)args->cpu + 1);
    CPU_ZERO_S(bytes, set);
    CPU_SET_S((size_t)args->cpu, bytes, set);
    int rc = sched_setaffinity(0, bytes, set) == 0 ? 0 : -errno;
    CPU_FREE(set);
    if (rc < 0)
        return rt_err_set(rc,
                          "core %d: %s; this host has %ld cores, numbered from 0, and the pool's "
                          "cpuset may allow fewer: use another core, or widen the cpuset",
                          args->cpu, strerror(-rc), sysconf(_SC_NPROCESSORS_CONF));
    rt_store_relaxed(&page->cpu, (uint32_t)args->cpu);
    return 0;
}

static int schedule(const worker_args_t *args, shm_worker_page_t *page)
{
    rt_store_relaxed(&page->sched_policy, SCHED_OTHER);
    rt_store_relaxed(&page->sched_priority, 0);
    if (!args->fifo)
        return 0;
    int highest = privileges_highest_priority();
    int priority = args->priority < highest ? args->priority : highest;
    struct sched_param param = {.sched_priority = priority};
    if (rt_set_scheduler(SCHED_FIFO | SCHED_RESET_ON_FORK, &param) != 0) {
        struct rlimit limit = {0};
        int rc = -errno;
        (void)getrlimit(RLIMIT_RTPRIO, &limit);
        return rt_err_set(rc,
                          "SCHED_FIFO priority %d: %s; RLIMIT_RTPRIO is %llu: raise it to %d, or "
                          "give the worker CAP_SYS_NICE",
                          priority, strerror(-rc), (unsigned long long)limit.rlim_cur, priority);
    }
    rt_store_relaxed(&page->sched_policy, SCHED_FIFO);
    rt_store_relaxed(&page->sched_priority, (uint32_t)priority);
    if (priority < args->priority)
        return rt_err_set(-EPERM,
                          "SCHED_FIFO priority %d became %d, the highest with file capabilities: "
                          "raise RLIMIT_RTPRIO to %d, or ask for %d",
                          args->priority, priority, args->priority, priority);
    return 0;
}

/* Touches the stack as deep as the loop will ever need, so that no page of it is missing then. */
static __attribute__((noinline)) void prefault_stack(void)
{
    volatile uint8_t space[STACK_PREFAULT_BYTES];
    for (size_t i = 0; i < sizeof space; i += SHM_PAGE_BYTES)
        space[i] = 0;
}

/* MCL_ONFAULT: the schedules of the channels reserve far more address space than they use, and
 * plain MCL_FUTURE would fill all of it. Code that maps memory touches the pages that must be
 * present. */
static int lock_memory(shm_worker_page_t *page)
{
    rt_store_relaxed(&page->memory_locked, 0);
    struct rlimit limit = {0};
    (void)getrlimit(RLIMIT_MEMLOCK, &limit);
    if (limit.rlim_cur != RLIM_INFINITY && !(rt_caps_get().effective & RT_CAP(CAP_IPC_LOCK)))
        return rt_err_set(-EPERM,
                          "memory is not locked: RLIMIT_MEMLOCK is %llu bytes and later mappings "
                          "would fail at that limit: set it to unlimited, or give the worker "
                          "CAP_IPC_LOCK",
                          (unsigned long long)limit.rlim_cur);
    if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0) {
        int rc = -errno;
        return rt_err_set(rc, "mlockall: %s", strerror(-rc));
    }
    rt_store_relaxed(&page->memory_locked, 1);
    return 0;
}

/* A Ctrl-C in the terminal goes to the whole process group. The pool decides, not the terminal. */
static void ignore_signals(void)
{
    (void)signal(SIGINT, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN);
    (void)signal(SIGPIPE, SIG_IGN);
}

/* A channel needs three descriptors. The usual soft limit of 1024 would allow 300 channels. */
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    agent_park_limit(limit.rlim_cur);
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* The function that returned rc has set rt_err_text. */
static void note_shortfall(worker_t *w, shm_event_id_t id, int rc, int64_t wanted)
{
    if (rc < 0)
        worker_note(w, NULL, id, 1, -rc, 0, wanted, rt_err_text(), rt_mono_ns());
}

int worker_setup(worker_t *w)
{
    const worker_args_t *args = &w->args;
    shm_worker_page_t *page = w->page;
    ignore_signals();
    raise_descriptors();
    char name[16];
    (void)snprintf(name, sizeof name, "shmring-w%u", args->slot);
    (void)prctl(PR_SET_NAME, name);
    (void)prctl(PR_SET_TIMERSLACK, 1UL);
    rt_store_relaxed(&page->profile, (uint32_t)args->profile);

    int rc = privileges_check_file();
    note_shortfall(w, SHM_EVENT_privileges_refused, rc, 0);
    if (rc < 0 && args->strict)
        return rc;
    rc = pin(args, page);
    note_shortfall(w, SHM_EVENT_core_refused, rc, args->cpu);
    if (rc < 0 && args->strict)
        return rc;
    rc = lock_memory(page);
    note_shortfall(w, SHM_EVENT_memory_not_locked, rc, 0);
    if (rc < 0 && args->strict)
        return rc;
    prefault_stack();
    rc = schedule(args, page);
    note_shortfall(w, SHM_EVENT_fifo_refused, rc, args->priority);
    if (rc < 0 && args->strict)
        return rc;
    rt_err_clear();
    return 0;
}

int worker_signal_fd(int number)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, number);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return rt_err_set(-errno, "sigprocmask: %s", strerror(errno));
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd >= 0 ? fd : rt_err_system(errno, "signalfd");
}
