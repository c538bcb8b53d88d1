/* The cyclic test of worker_examine.h. Deadlines are on whole milliseconds and, every second one,
 * between them. So some of them coincide with the kernel's tick, which is aligned to its own
 * multiples in CLOCK_MONOTONIC (Linux 6.4), and compete with its work:
 *
 *      |         .          |         .          |         .          |      ticks of 4 ms: 0, 4, 8
 *      0 ms      1.37       2         3.37       4         5.37       6
 *   on_tick                                   on_tick
 *
 * A deadline that passes during the wait for an earlier one counts with all of its lateness. */
#include "worker/worker_examine.h"

#include "base/rt_caps.h"
#include "base/rt_err.h"
#include "base/rt_hist.h"
#include "io/udp_probe.h"
#include "proto/pacing/wake_margin.h"
#include "worker/file_guard.h"
#include "worker/privileges.h"
#include "worker/syscall_filter.h"
#include "worker/worker_setup.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define CYCLE_NS RT_NS_PER_MS
#define BETWEEN_NS (370 * RT_NS_PER_US)
#define READINGS 2000
#define READING_ROUNDS 20

static const char *yes_no(bool yes)
{
    return yes ? "true" : "false";
}

static void print_text(const char *text)
{
    putchar('"');
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            printf("\\%c", c);
        else if (c < 0x20)
            printf("\\u%04x", c);
        else
            putchar(c);
    }
    putchar('"');
}

static void print_capabilities(void)
{
    static const struct {
        unsigned number;
        const char *name;
    } capabilities[] = {
        {CAP_SYS_NICE, "cap_sys_nice"},
        {CAP_NET_ADMIN, "cap_net_admin"},
        {CAP_IPC_LOCK, "cap_ipc_lock"},
        {CAP_NET_BIND_SERVICE, "cap_net_bind_service"},
    };
    const char *separator = "";
    uint64_t effective = rt_caps_get().effective;
    printf("\"capabilities\": [");
    for (size_t i = 0; i < sizeof capabilities / sizeof capabilities[0]; i++) {
        if (!(effective & RT_CAP(capabilities[i].number)))
            continue;
        printf("%s\"%s\"", separator, capabilities[i].name);
        separator = ", ";
    }
    printf("]");
}

static void print_setup(const shm_worker_page_t *page)
{
    uint32_t cpu = rt_load_relaxed(&page->cpu);
    bool fifo = rt_load_relaxed(&page->sched_policy) == SCHED_FIFO;
    printf("{\"fact\": \"setup\", \"policy\": \"%s\", \"priority\": %" PRIu32 ", \"cpu\": ",
           fifo ? "fifo" : "other", rt_load_relaxed(&page->sched_priority));
    if (cpu == WRK_UNPINNED)
        printf("null");
    else
        printf("%" PRIu32, cpu);
    printf(", \"memory_locked\": %s, ", yes_no(rt_load_relaxed(&page->memory_locked) != 0));
    print_capabilities();
    printf("}\n");
}

/* The fastest of several rounds, because an interruption only adds time. */
static double clock_read_ns(void)
{
    int64_t best_ns = INT64_MAX;
    for (int round = 0; round < READING_ROUNDS; round++) {
        int64_t start_ns = rt_mono_ns();
        int64_t end_ns = start_ns;
        for (int i = 0; i < READINGS; i++)
            end_ns = rt_mono_ns();
        if (end_ns - start_ns < best_ns)
            best_ns = end_ns - start_ns;
    }
    return (double)best_ns / READINGS;
}

static void print_clock(void)
{
    rt_clock_state_t state;
    if (rt_clock_state(&state) < 0)
        return;
    printf("{\"fact\": \"clock\", \"read_ns\": %.1f, \"tick_ns\": %" PRId64
           ", \"tai_offset_s\": %d, \"synchronised\": %s, \"max_error_ns\": %" PRId64 "}\n",
           clock_read_ns(), rt_clock_tick_ns(), state.tai_offset_s, yes_no(state.synchronised),
           state.max_error_ns);
}

static void print_features(const char *device)
{
    udp_probe_result_t results[UDP_FEATURES];
    udp_probe(results, device);
    for (int i = 0; i < UDP_FEATURES; i++) {
        printf("{\"fact\": \"feature\", \"name\": \"%s\", \"works\": %s, \"reason\": ",
               results[i].name, yes_no(results[i].works));
        print_text(results[i].reason);
        printf("}\n");
    }
}

static void print_limit(const char *name, bool wanted, int rc)
{
    printf("\"%s\": ", name);
    print_text(!wanted ? "switched off, or a build with sanitizers" : rc < 0 ? rt_err_text() : "");
}

/* For the rest of this process, as in a worker. */
static void print_confinement(worker_t *w)
{
    bool wanted = syscall_filter_is_wanted();
    (void)privileges_drop();
    printf("{\"fact\": \"confinement\", ");
    print_limit("files", wanted, wanted ? file_guard_install(w->args.runtime_dir) : 0);
    printf(", ");
    print_limit("calls", wanted, syscall_filter_install(w));
    printf("}\n");
}

typedef struct latencies {
    rt_hist_t hist;
    uint64_t beyond_margin;
} latencies_t;

static void print_latencies(const latencies_t *l, bool on_tick)
{
    printf("{\"fact\": \"latency\", \"on_tick\": %s, \"n\": %" PRIu64 ", \"min_ns\": %" PRIu64
           ", \"p50_ns\": %" PRId64 ", \"p99_ns\": %" PRId64 ", \"max_ns\": %" PRIu64
           ", \"beyond_margin\": %" PRIu64 "}\n",
           yes_no(on_tick), rt_load_relaxed(&l->hist.count), rt_load_relaxed(&l->hist.min_ns),
           rt_hist_quantile_ns(&l->hist, 0.5), rt_hist_quantile_ns(&l->hist, 0.99),
           rt_load_relaxed(&l->hist.max_ns), l->beyond_margin);
}

static void sleep_until(int64_t until_mono_ns)
{
    struct timespec ts = {.tv_sec = until_mono_ns / RT_NS_PER_S,
                          .tv_nsec = until_mono_ns % RT_NS_PER_S};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR) {
    }
}

static void measure(int for_ms, latencies_t latencies[2])
{
    wake_margin_config_t margin = wake_margin_config_default();
    int64_t tick_ns = rt_clock_tick_ns();
    int64_t start_ns = (rt_mono_ns() / tick_ns + 2) * tick_ns;
    for (int64_t i = 0; i < for_ms; i++) {
        int64_t due_ns = start_ns + i * CYCLE_NS + (i % 2 == 0 ? 0 : BETWEEN_NS);
        sleep_until(due_ns);
        int64_t late_ns = rt_mono_ns() - due_ns;
        latencies_t *l = &latencies[due_ns % tick_ns == 0];
        rt_hist_add(&l->hist, late_ns);
        l->beyond_margin += late_ns > margin.max_ns;
    }
}

int worker_examine(const worker_args_t *args)
{
    static shm_worker_page_t page;
    static worker_t w; /* without recorder and error log: nothing is noted */
    static latencies_t latencies[2];
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* Ctrl-C is for the process that started this one */
    w.args = *args;
    w.page = &page;
    (void)worker_setup(&w);
    print_setup(&page);
    print_clock();
    print_features(args->device);
    if (args->examine_ms > 0) {
        measure(args->examine_ms, latencies);
        print_latencies(&latencies[false], false);
        print_latencies(&latencies[true], true);
    }
    print_confinement(&w);
    return fflush(stdout) == 0 ? 0 : -EIO;
}
