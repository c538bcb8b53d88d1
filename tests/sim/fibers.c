/* fibers.c: processes, virtual time, faults.
 *
 *     product code --SIM_POINT--> sim_slow --choose--> another process, or the same again
 *                                   |
 *                                   +-- faults: this process dies, or stands still for a while
 *
 * A process is a stack and a copy of the product's thread-locals, which are ordinary variables in
 * the section sim_own here. makecontext enters a stack for the first time. After that _setjmp and
 * _longjmp change between stacks, without a system call. errno goes with its process.
 *
 * Who may run: a process that is ready or woken, once its time has come. A wake-up takes some
 * microseconds, as on a real core. Among several the dice choose. The chosen one gets a slice of
 * points. If it is alone, it runs until the next alarm.
 *
 * A killed process never runs again: the kernel closes its descriptors, and what it left in shared
 * memory stays as it is. The rest of its stack and heap is forgotten.
 *
 * All that decides goes into a hash: who passed which site when. Two runs of a seed are the same if
 * their hashes are. */
#include "sim.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define STACK_BYTES (UINT64_C(1) << 20)
#define HEAP_BYTES (UINT64_C(16) << 20)
#define HEAP_CLEARED_BY_HAND (UINT64_C(1) << 20)
#define CALLS_MOST 4096
#define RUN_POINTS_MOST UINT64_C(400000000)

extern uint8_t __start_sim_own[], __stop_sim_own[];

sim_clock_t sim_clock;
sim_t sim;

typedef struct call {
    int64_t when_ns;
    void (*call)(uint64_t);
    uint64_t of;
} call_t;

static call_t calls[CALLS_MOST];
static unsigned call_count;
static uint8_t *own_first; /* the thread-locals as they were linked */

/* --- chance ---------------------------------------------------------------------------------- */

uint64_t chance_next(chance_t *c)
{
    uint64_t z = (c->state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint64_t chance_below(chance_t *c, uint64_t below)
{
    return below > 1 ? chance_next(c) % below : 0;
}

int64_t chance_between(chance_t *c, int64_t low, int64_t high)
{
    int64_t span = high - low;
    int64_t scale = span >> chance_below(c, 16);
    return low + (int64_t)chance_below(c, (uint64_t)(scale > 0 ? scale : span > 0) + 1);
}

bool chance_permille(chance_t *c, unsigned permille)
{
    return permille != 0 && chance_below(c, 1000) < permille;
}

/* --- the time of day -------------------------------------------------------------------------- */

int64_t sim_channel_offset_ns(void)
{
    return sim.plan.tai ? sim.real_offset_ns + TAI_S * NS_PER_S : 0;
}

static void step_clock(uint64_t of)
{
    (void)of;
    int64_t by = chance_between(&sim.order, NS_PER_US, 100 * NS_PER_MS);
    by = chance_permille(&sim.order, 500) ? by : -by;
    sim.real_offset_ns += by;
    sim.stepped_ns = sim_clock.now_ns;
    sim_trace("the time of day steps by %.3f us", (double)by / 1e3);
    files_clock_set();
}

void sim_steps_begin(void)
{
    for (uint32_t i = 0; i < sim.plan.clock_steps; i++)
        sim_at(sim_clock.now_ns + chance_between(&sim.order, 0, 100 * NS_PER_MS), step_clock, 0);
}

/* --- what is seen of a run -------------------------------------------------------------------- */

void sim_mix(uint64_t value)
{
    sim.hash = (sim.hash ^ value) * UINT64_C(0x100000001b3);
    sim.hash ^= sim.hash >> 29;
}

void sim_trace(const char *fmt, ...)
{
    va_list args;
    if (!sim.trace)
        return;
    (void)printf("%14.3f us  %-9s ", (double)sim_clock.now_ns / 1e3,
                 sim.running != NULL ? sim.running->name : "-");
    va_start(args, fmt);
    (void)vprintf(fmt, args);
    va_end(args);
    (void)putchar('\n');
}

void sim_fail(const char *fmt, ...)
{
    va_list args;
    char text[sizeof sim.failure];
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    sim_trace("FAILED: %s", text);
    if (!sim.failed) {
        memcpy(sim.failure, text, sizeof text);
        sim.failure_kind = fmt;
    }
    sim.failed = true;
}

/* --- memory of processes ---------------------------------------------------------------------- */

void *sim_reserve(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    return at;
}

void sim_move(void)
{
    size_t own = (size_t)(__stop_sim_own - __start_sim_own);
    if (own_first == NULL) {
        own_first = malloc(own);
        memcpy(own_first, __start_sim_own, own);
    }
    for (unsigned i = 0; i < ACTORS_MOST; i++) {
        sim.actors[i].stack = sim_reserve(STACK_BYTES);
        sim.actors[i].heap = sim_reserve(HEAP_BYTES);
        sim.actors[i].own = malloc(own);
        sim.actors[i].heap_used = 0;
    }
    files_move();
}

/* --- processes -------------------------------------------------------------------------------- */

static void clear_heap(actor_t *a)
{
    if (a->heap_used > HEAP_CLEARED_BY_HAND)
        (void)madvise(a->heap, a->heap_used, MADV_DONTNEED);
    else
        memset(a->heap, 0, a->heap_used);
    a->heap_used = 0;
}

actor_t *sim_spawn(const char *name, role_t role, unsigned index, void (*run)(actor_t *))
{
    actor_t *a = NULL;
    for (unsigned i = 0; i < ACTORS_MOST && a == NULL; i++)
        if (sim.actors[i].state == ACTOR_FREE)
            a = &sim.actors[i];
    if (a == NULL) {
        sim_fail("more processes than the simulation has");
        sim_over();
    }
    uint8_t *stack = a->stack, *heap = a->heap, *own = a->own;
    clear_heap(a);
    *a = (actor_t){.name = name,
                   .role = role,
                   .index = index,
                   .run = run,
                   .pid = 100 + sim.actor_count++,
                   .state = ACTOR_READY,
                   .start_ns = sim_clock.now_ns,
                   .stack = stack,
                   .heap = heap,
                   .own = own};
    memcpy(own, own_first, (size_t)(__stop_sim_own - __start_sim_own));
    return a;
}

void *sim_alloc(size_t bytes, size_t align)
{
    actor_t *a = sim.running;
    size_t at = (a->heap_used + sizeof(size_t) + align - 1) / align * align;
    if (bytes > HEAP_BYTES || at > HEAP_BYTES - bytes) {
        errno = ENOMEM;
        return NULL;
    }
    a->heap_used = at + bytes;
    memcpy(a->heap + at - sizeof bytes, &bytes, sizeof bytes); /* for realloc */
    return a->heap + at;
}

static void end_actor(actor_t *a)
{
    a->state = ACTOR_ENDED;
    fds_close_all(a);
    sim_changed();
}

static void enter(void)
{
    actor_t *a = sim.running;
    a->run(a);
    sim_exit(0);
}

static void change_to(actor_t *to)
{
    size_t own = (size_t)(__stop_sim_own - __start_sim_own);
    actor_t *from = sim.running;
    if (to == from)
        return;
    if (from != NULL) {
        from->error = errno;
        memcpy(from->own, __start_sim_own, own);
        if (_setjmp(from->at) != 0) {
            errno = sim.running->error;
            return;
        }
    }
    memcpy(__start_sim_own, to->own, own);
    sim.running = to;
    if (to->started)
        _longjmp(to->at, 1);
    to->started = true;
    (void)getcontext(&to->first);
    to->first.uc_stack.ss_sp = to->stack;
    to->first.uc_stack.ss_size = STACK_BYTES;
    to->first.uc_link = NULL;
    makecontext(&to->first, enter, 0);
    (void)setcontext(&to->first);
}

/* --- the scheduler ---------------------------------------------------------------------------- */

void sim_at(int64_t when_ns, void (*call)(uint64_t), uint64_t of)
{
    if (call_count == CALLS_MOST) {
        sim_fail("more events of the clock than the simulation has");
        return;
    }
    unsigned i = call_count++;
    for (; i > 0 && calls[i - 1].when_ns < when_ns; i--) /* the next one is the last */
        calls[i] = calls[i - 1];
    calls[i] = (call_t){.when_ns = when_ns, .call = call, .of = of};
    if (when_ns < sim_clock.alarm_ns)
        sim_clock.alarm_ns = when_ns;
}

static void run_calls(void)
{
    while (call_count > 0 && calls[call_count - 1].when_ns <= sim_clock.now_ns) {
        call_t next = calls[--call_count];
        next.call(next.of);
    }
}

static void grant(unsigned runnable, int64_t next_ns)
{
    chance_t *c = &sim.order;
    uint64_t fuel = runnable > 1 ? 1 + chance_below(c, 2 * (uint64_t)sim.plan.slice) : 100000;
    uint64_t fault = faults_next_point();
    if (fault <= sim.points)
        fuel = 1;
    else if (fault - sim.points < fuel)
        fuel = fault - sim.points;
    sim.granted = (int64_t)fuel;
    sim_clock.fuel = sim.granted;
    sim_clock.alarm_ns = next_ns;
    sim.slice_ns = sim_clock.now_ns;
}

static void account(void)
{
    sim.points += (uint64_t)(sim.granted - sim_clock.fuel);
    sim.granted = sim_clock.fuel;
    if (sim.running != NULL)
        sim.running->cpu_ns += sim_clock.now_ns - sim.slice_ns;
    sim.slice_ns = sim_clock.now_ns;
}

/* Lets somebody run. Returns when it is the caller's turn again; never, if the caller has ended. */
static void choose(void)
{
    actor_t *runnable[ACTORS_MOST];
    unsigned count = 0;
    int64_t next = NEVER;
    for (;;) {
        run_calls();
        count = 0;
        next = call_count > 0 ? calls[call_count - 1].when_ns : NEVER;
        for (unsigned i = 0; i < ACTORS_MOST; i++) {
            actor_t *a = &sim.actors[i];
            if (a->state != ACTOR_READY && a->state != ACTOR_BLOCKED)
                continue;
            if (a->start_ns <= sim_clock.now_ns)
                runnable[count++] = a;
            else if (a->start_ns < next)
                next = a->start_ns;
        }
        if (count > 0)
            break;
        if (next == NEVER) {
            sim_fail("nobody can run any more");
            sim_over();
        }
        sim_clock.now_ns = next;
    }
    if (sim.points > RUN_POINTS_MOST) {
        sim_fail("the run does not end");
        sim_over();
    }
    actor_t *to = runnable[chance_below(&sim.order, count)];
    grant(count, next);
    if (to != sim.running)
        sim_mix((uint64_t)sim_clock.now_ns << 8 ^ to->pid);
    change_to(to);
}

/* --- faults ----------------------------------------------------------------------------------- */

void sim_disturb(int64_t until_ns)
{
    if (until_ns > sim.calm_from_ns)
        sim.calm_from_ns = until_ns;
}

static void strike(fault_t *f, const sim_site_t *site)
{
    actor_t *a = sim.running;
    f->done = true;
    sim_mix(site->number << 4 ^ f->kind);
    if (f->kind == FAULT_STALL) {
        sim.stalls++;
        a->halted_until_ns = sim_clock.now_ns + f->length_ns;
        if (a->role == ROLE_WORKER)
            sim_disturb(a->halted_until_ns + CALM_NS);
        sim_trace("stands still for %.3f us at %s:%u", (double)f->length_ns / 1e3, site->file,
                  site->line);
        a->start_ns = a->halted_until_ns;
        if (a->role == ROLE_WORKER)
            sim.halted_until_ns = a->halted_until_ns;
        choose();
        return;
    }
    sim.deaths++;
    sim_trace("dies at %s:%u", site->file, site->line);
    a->killed = true;
    sim.worker_deaths += a->role == ROLE_WORKER;
    sim.no_worker |= a->role == ROLE_WORKER;
    if (a->role == ROLE_SENDER)
        judge_sender_left(a->index, true);
    end_actor(a);
    choose();
}

void sim_slow(sim_site_t *site)
{
    int error = errno;
    if (sim.running == NULL)
        return;
    account();
    site->hits++;
    sim_mix((uint64_t)site->number << 32 ^ sim.points);
    fault_t *f = faults_due(site);
    if (f != NULL)
        strike(f, site);
    else if (sim_clock.fuel <= 0 || sim_clock.now_ns >= sim_clock.alarm_ns)
        choose();
    errno = error;
}

/* The processor's hint in a loop that waits: others run, and nobody needs each turn of it. */
void sim_relax(sim_site_t *site)
{
    sim_clock.now_ns += 40 + (int64_t)chance_below(&sim.order, 400);
    if (sim_clock.fuel > 1) { /* the rest of the slice is given up */
        sim.granted -= sim_clock.fuel - 1;
        sim_clock.fuel = 1;
    }
    sim_pass(site);
}

/* So far, with the slice that is not over. */
uint64_t sim_points(void)
{
    account();
    return sim.points;
}

/* --- waiting ---------------------------------------------------------------------------------- */

/* From the event to the first instruction. */
static int64_t wake_up_ns(void)
{
    chance_t *c = &sim.order;
    if (chance_permille(c, 5))
        return chance_between(c, 50 * NS_PER_US, NS_PER_MS);
    return 500 + (int64_t)chance_below(c, 8 * NS_PER_US);
}

bool sim_block(int64_t until_ns, const void *key, bool (*ready)(void *), void *of)
{
    actor_t *a = sim.running;
    account();
    a->woken = false;
    a->key = key;
    a->ready = ready;
    a->ready_of = of;
    a->start_ns = until_ns == NEVER ? NEVER : until_ns + wake_up_ns();
    a->state = ACTOR_BLOCKED;
    choose();
    a = sim.running;
    a->state = ACTOR_READY;
    a->key = NULL;
    a->ready = NULL;
    return a->woken;
}

void sim_sleep_until(int64_t until_ns)
{
    (void)sim_block(until_ns, NULL, NULL, NULL);
}

static void wake(actor_t *a)
{
    int64_t at = sim_clock.now_ns + wake_up_ns();
    a->woken = true;
    a->key = NULL;
    a->ready = NULL;
    if (at < a->start_ns)
        a->start_ns = at;
    if (a->start_ns < sim_clock.alarm_ns)
        sim_clock.alarm_ns = a->start_ns;
}

unsigned sim_wake(const void *key)
{
    unsigned count = 0;
    for (unsigned i = 0; i < ACTORS_MOST; i++) {
        actor_t *a = &sim.actors[i];
        if (a->state != ACTOR_BLOCKED || a->key != key || key == NULL)
            continue;
        wake(a);
        count++;
    }
    return count;
}

void sim_changed(void)
{
    for (unsigned i = 0; i < ACTORS_MOST; i++) {
        actor_t *a = &sim.actors[i];
        if (a->state == ACTOR_BLOCKED && a->ready != NULL && a->ready(a->ready_of))
            wake(a);
    }
}

/* --- the run ---------------------------------------------------------------------------------- */

void sim_exit(int status)
{
    actor_t *a = sim.running;
    account();
    sim_trace("ends with status %d", status);
    a->status = status;
    end_actor(a);
    choose();
    abort();
}

void sim_over(void)
{
    _longjmp(sim.over, 1);
}

void sim_begin(const plan_t *plan)
{
    for (unsigned i = 0; i < ACTORS_MOST; i++) {
        actor_t *a = &sim.actors[i];
        clear_heap(a);
        a->state = ACTOR_FREE;
    }
    sim.plan = *plan;
    sim.running = NULL;
    sim.actor_count = 0;
    sim.order = (chance_t){plan->seed ^ 0x0de5};
    sim.calls = (chance_t){plan->seed ^ 0xca115};
    sim.net = (chance_t){plan->seed ^ 0x9e7};
    sim.points = 0;
    sim.granted = 0;
    sim.hash = plan->seed;
    sim.deaths = sim.worker_deaths = sim.stalls = 0;
    sim.real_offset_ns = 1700000000 * NS_PER_S;
    sim.net_until_ns = sim.stepped_ns = sim.halted_until_ns = sim.calm_from_ns = 0;
    sim.no_worker = false;
    sim.failed = false;
    sim.failure[0] = '\0';
    call_count = 0;
    sim_clock.now_ns = 1000 * NS_PER_S;
    sim_clock.alarm_ns = NEVER;
    sim_clock.fuel = 1;
    faults_begin();
}

void sim_run(void)
{
    if (_setjmp(sim.over) == 0)
        choose();
    sim.running = NULL;
}
