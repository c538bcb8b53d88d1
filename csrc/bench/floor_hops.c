/* Round trip between two processes through a third, as packets of a local channel go: four hops.
 *
 *     asker --1--> relay --2--> answerer --3--> relay --4--> asker
 *
 * A hop is a word in shared memory and what is needed for its reader to see it: nothing but
 * spinning (--sleep 0), or futex calls (--sleep 1). The relay has a core of its own. The others
 * share the other core: one that spins offers it to the other. */
#include "bench/bench.h"

#include "base/rt_clock.h"
#include "base/rt_futex.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAYLOAD_BYTES 64
#define WARM_UP 1000u

typedef struct hop {
    _Alignas(RT_LINE_BYTES) rt_a32_t number;
    uint8_t payload[PAYLOAD_BYTES];
} hop_t;

typedef enum { ASKED, RELAYED, ANSWERED, RETURNED, HOPS } hop_name_t;

typedef enum { SLEEP, SPIN, SPIN_AND_OFFER } how_t;

static void pass_on(hop_t *hop, uint32_t number, how_t how)
{
    rt_store_release(&hop->number, number); /* pairs with the load in await */
    if (how == SLEEP)
        (void)rt_futex_wake_all(&hop->number);
}

static void await(hop_t *hop, uint32_t number, how_t how)
{
    uint32_t seen;
    while ((seen = rt_load_acquire(&hop->number)) != number) {
        if (how == SLEEP)
            (void)rt_futex_wait(&hop->number, seen, RT_NEVER_NS);
        else if (how == SPIN_AND_OFFER)
            (void)sched_yield();
        else
            rt_cpu_relax();
    }
}

static void forward(hop_t *from, hop_t *to, uint32_t number, how_t how)
{
    await(from, number, how);
    for (int i = 0; i < PAYLOAD_BYTES; i++)
        to->payload[i] = from->payload[i];
    pass_on(to, number, how);
}

/* Returns the process id of a child that forwards until it is killed. */
static pid_t start(hop_t *hops, bool relays, int cpu, how_t how)
{
    pid_t pid = fork();
    if (pid < 0)
        bench_fail("fork");
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    bench_pin(cpu);
    if (relays)
        bench_fifo(80);
    for (uint32_t number = 1;; number++) {
        if (relays)
            forward(&hops[ASKED], &hops[RELAYED], number, how);
        forward(&hops[relays ? ANSWERED : RELAYED], &hops[relays ? RETURNED : ANSWERED], number, how);
    }
}

int bench_hops(int argc, char **argv)
{
    uint32_t count = (uint32_t)bench_option(argc, argv, "--count", 50000);
    int cpu = (int)bench_option(argc, argv, "--cpu", 1);
    int other = (int)bench_option(argc, argv, "--other-cpu", 0);
    bool sleeps = bench_option(argc, argv, "--sleep", 1) != 0;
    how_t ends = sleeps ? SLEEP : SPIN_AND_OFFER;
    hop_t *hops = mmap(NULL, HOPS * sizeof *hops, PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int64_t *rtt_ns = calloc(count, sizeof *rtt_ns);
    if (hops == MAP_FAILED || rtt_ns == NULL)
        bench_fail("memory");
    bench_pin(other);
    pid_t children[] = {start(hops, true, cpu, sleeps ? SLEEP : SPIN),
                        start(hops, false, other, ends)};
    for (uint32_t number = 1; number <= WARM_UP + count; number++) {
        int64_t began = rt_mono_ns();
        pass_on(&hops[ASKED], number, ends);
        await(&hops[RETURNED], number, ends);
        if (number > WARM_UP)
            rtt_ns[number - WARM_UP - 1] = rt_mono_ns() - began;
    }
    for (unsigned i = 0; i < 2; i++) {
        (void)kill(children[i], SIGKILL);
        (void)waitpid(children[i], NULL, 0);
    }
    bench_print_distribution("hops", rtt_ns, count);
    free(rtt_ns);
    return 0;
}
