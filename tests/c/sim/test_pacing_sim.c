/* A worker in virtual time, driven by the five parts of proto/pacing together.
 *
 *      arrivals -> due_heap -> sleep (wake_margin) -> spin -> send -> verdict
 *                                   \____ spin_budget ____/
 *
 * It wakes up late by random amounts, its sends take random time, and now and then its core is
 * taken away. Checked all along: no packet starts early, the budget is kept over every window,
 * every packet gets one verdict; at the end: how many were on time, against limits that are
 * numbers. */
#include "base/rt_clock.h"
#include "proto/pacing/due_heap.h"
#include "proto/pacing/spin_budget.h"
#include "proto/pacing/verdict.h"
#include "proto/pacing/wake_margin.h"
#include "proto/pacing/wire_offset.h"
#include "rt_test.h"

static uint64_t seed;

enum { MAX_PACKETS = 200000, WINDOW_SLOTS = 1 << 16, TAKE_IN_AT_ONCE = 64 };
static const int64_t TOLERANCE_NS = 50000;

typedef struct packet {
    int64_t enqueued_ns; /* arrivals are in this order */
    int64_t due_ns;
    int verdicts;
} packet_t;

static packet_t packets[MAX_PACKETS];

typedef struct scenario {
    const char *name;
    int count;
    int64_t period_ns;
    int64_t ahead_ns;     /* queued so long before they are due, give or take half */
    int burst;            /* packets due at the same time */
    int64_t send_ns;      /* least time of a send */
    int64_t steal_every;  /* sends per time that the core is taken away for 0.2 ms; 0: never */
    bool always_spin;     /* profile latency */
    bool wire;            /* align="wire" */
    double least_on_time; /* share of packets */
    int64_t most_late_ns; /* start after due */
} scenario_t;

typedef struct worker {
    const scenario_t *scenario;
    uint64_t random;
    int64_t now;
    int64_t asleep_from;
    int64_t woken;
    int64_t previous_send_end;
    int next_arrival;
    due_heap_t schedule;
    wake_margin_t margin;
    spin_budget_t budget;
    wire_offset_t offset;
    int64_t longest_loop;
    int64_t worst_late;
    int64_t wire_error_signs;
    int64_t sent;
    uint64_t counts[VERDICT_TOTAL];
    /* Busy time within the last window: a ring of what the worker did. */
    int64_t span_from[WINDOW_SLOTS];
    int64_t span_to[WINDOW_SLOTS];
    uint32_t span_first;
    uint32_t span_end;
    int64_t span_busy;
    bool kept_budget;
} worker_t;

static worker_t worker;

static int64_t draw(worker_t *w, int64_t n)
{
    return (int64_t)(rt_test_rand(&w->random) % (uint64_t)n);
}

/* 20 .. 55 us, one in 500 up to 150 us: what the reference machine shows. */
static int64_t wake_latency(worker_t *w)
{
    int64_t latency = 20000 + draw(w, 20000) + draw(w, 15000);
    return draw(w, 500) == 0 ? latency + draw(w, 100000) : latency;
}

/* Busy time in the window that ends now; checked at the end of every busy span. */
static void check_window(worker_t *w)
{
    int64_t begin = w->now - w->budget.config.window_ns;
    while (w->span_first != w->span_end && w->span_to[w->span_first % WINDOW_SLOTS] <= begin) {
        uint32_t i = w->span_first++ % WINDOW_SLOTS;
        w->span_busy -= w->span_to[i] - w->span_from[i];
    }
    int64_t busy = w->span_busy;
    if (w->span_first != w->span_end) {
        int64_t cut = begin - w->span_from[w->span_first % WINDOW_SLOTS];
        busy -= cut > 0 ? cut : 0;
    }
    int64_t allowed = w->budget.config.window_ns * w->budget.config.limit_permille * 1000 +
                      (1000000 - w->budget.rate_ppm) * w->longest_loop;
    if (busy * 1000000 > allowed)
        w->kept_budget = false;
}

static void run_for(worker_t *w, int64_t ns)
{
    uint32_t last = (w->span_end - 1) % WINDOW_SLOTS;
    if (w->span_end == w->span_first || w->span_to[last] != w->now) {
        REQUIRE(w->span_end - w->span_first < WINDOW_SLOTS);
        last = w->span_end++ % WINDOW_SLOTS;
        w->span_from[last] = w->now;
    }
    w->now += ns;
    w->span_to[last] = w->now;
    w->span_busy += ns;
    check_window(w);
}

static int64_t next_arrival_ns(const worker_t *w)
{
    return w->next_arrival < w->scenario->count ? packets[w->next_arrival].enqueued_ns
                                                : RT_NEVER_NS;
}

/* Sleeps until the asked time or, if a bell may wake it, until the next arrival. */
static void sleep_until(worker_t *w, int64_t asked, bool bell)
{
    int64_t from = w->now;
    int64_t rung = bell ? next_arrival_ns(w) : RT_NEVER_NS;
    int64_t end = rung < asked ? rung : asked;
    int64_t latency = wake_latency(w);
    w->now = (end > from ? end : from) + latency;
    w->asleep_from = from;
    w->woken = w->now;
    spin_budget_slept(&w->budget, from, w->now);
    if (end == asked)
        wake_margin_observe(&w->margin, latency);
}

/* When the send of a packet should start. */
static int64_t start_ns(const worker_t *w, int64_t due_ns)
{
    return w->scenario->wire ? due_ns - wire_offset_ns(&w->offset) : due_ns;
}

static void take_in(worker_t *w)
{
    for (int i = 0; i < TAKE_IN_AT_ONCE && next_arrival_ns(w) <= w->now; i++) {
        const packet_t *p = &packets[w->next_arrival];
        due_entry_t e = {p->due_ns != 0 ? p->due_ns : p->enqueued_ns, (uint64_t)w->next_arrival,
                         (uint64_t)w->next_arrival};
        REQUIRE(due_heap_push(&w->schedule, &e) == 0);
        w->next_arrival++;
        run_for(w, 60);
    }
}

static void learn_wire(worker_t *w, int64_t due, int64_t begin)
{
    int64_t to_wire = 1500 + draw(w, 800) + (draw(w, 30) == 0 ? draw(w, 100000) : 0);
    int64_t error = begin + to_wire - due;
    if (w->scenario->wire && w->sent > 500)
        w->wire_error_signs += error > 0 ? 1 : -1;
    wire_offset_observe(&w->offset, to_wire);
}

static void send_one(worker_t *w, const due_entry_t *e)
{
    packet_t *p = &packets[e->ref];
    int64_t due = start_ns(w, e->due_ns);
    verdict_times_t t = {
        .enqueued_ns = p->enqueued_ns,
        .due_ns = p->due_ns != 0 ? due : 0,
        .asleep_from_ns = w->asleep_from,
        .woken_ns = w->woken,
        .send_start_ns = w->now,
        .previous_send_end_ns = w->previous_send_end,
    };
    REQUIRE(w->now >= due && w->now >= p->enqueued_ns);
    learn_wire(w, e->due_ns, w->now);
    int64_t took = w->scenario->send_ns + draw(w, 3000);
    if (w->scenario->steal_every > 0 && draw(w, w->scenario->steal_every) == 0)
        took += 200000;
    run_for(w, took);
    t.send_end_ns = w->now;
    w->previous_send_end = w->now;
    verdict_t verdict = verdict_of(&t, TOLERANCE_NS, 0);
    w->counts[verdict]++;
    p->verdicts++;
    w->sent++;
    int64_t late = t.send_start_ns - due;
    w->worst_late = late > w->worst_late ? late : w->worst_late;
    CHECK(verdict != VERDICT_ON_TIME || late <= TOLERANCE_NS);
}

/* With nothing due: sleep, rest a little, or spin. */
static void wait_a_while(worker_t *w, int64_t next_ns)
{
    int64_t wake = next_ns == RT_NEVER_NS ? RT_NEVER_NS : next_ns - wake_margin_ns(&w->margin);
    int64_t rest = spin_budget_wants_rest_ns(&w->budget, w->now, wake);
    if (rest > 0) {
        sleep_until(w, w->now + rest, true);
    } else if (!w->scenario->always_spin && wake > w->now) {
        sleep_until(w, wake, true);
    } else {
        int64_t to = next_ns < next_arrival_ns(w) ? next_ns : next_arrival_ns(w);
        int64_t left = to > w->now ? to - w->now : 50;
        run_for(w, left < 2000 ? left : 2000);
    }
}

static void one_loop(worker_t *w)
{
    int64_t begin = w->now;
    take_in(w);
    due_entry_t e;
    int64_t next_ns = due_heap_next_ns(&w->schedule);
    if (next_ns != RT_NEVER_NS && start_ns(w, next_ns) <= w->now) {
        REQUIRE(due_heap_pop(&w->schedule, &e));
        send_one(w, &e);
    } else {
        wait_a_while(w, next_ns != RT_NEVER_NS ? start_ns(w, next_ns) : RT_NEVER_NS);
    }
    int64_t took = w->now - begin;
    int64_t rest = spin_budget_rest_ns(&w->budget, w->now);
    if (rest > 0) {
        w->longest_loop = took > w->longest_loop ? took : w->longest_loop;
        sleep_until(w, w->now + rest, false);
    }
}

static int by_enqueue_time(const void *a, const void *b)
{
    int64_t x = ((const packet_t *)a)->enqueued_ns;
    int64_t y = ((const packet_t *)b)->enqueued_ns;
    return (x > y) - (x < y);
}

static void make_packets(const scenario_t *s, uint64_t *random)
{
    for (int i = 0; i < s->count; i++) {
        int64_t due = RT_NS_PER_MS + (i / s->burst) * s->period_ns;
        int64_t ahead = s->ahead_ns / 2 + (int64_t)(rt_test_rand(random) % (uint64_t)s->ahead_ns);
        packets[i] = (packet_t){.enqueued_ns = due > ahead ? due - ahead : 1, .due_ns = due};
        if (s->ahead_ns == 1)
            packets[i].due_ns = 0;
    }
    qsort(packets, (size_t)s->count, sizeof packets[0], by_enqueue_time);
}

static void run_scenario(const scenario_t *s)
{
    worker_t *w = &worker;
    memset(w, 0, sizeof *w);
    w->scenario = s;
    w->random = seed;
    w->kept_budget = true;
    make_packets(s, &w->random);
    CHECK_EQ(due_heap_init(&w->schedule, MAX_PACKETS), 0);
    wake_margin_config_t margin = wake_margin_config_default();
    wake_margin_init(&w->margin, &margin);
    spin_budget_init(&w->budget,
                     &(spin_budget_config_t){.limit_permille = 930,
                                             .window_ns = 10 * RT_NS_PER_MS,
                                             .burst_ns = 300 * RT_NS_PER_US,
                                             .rest_ns = 100 * RT_NS_PER_US,
                                             .lag_ns = 10 * RT_NS_PER_MS},
                     0);
    int before = atomic_load(&rt_test_failure_count);
    while (w->sent < s->count && atomic_load(&rt_test_failure_count) == before)
        one_loop(w);
    due_heap_close(&w->schedule);

    uint64_t verdicts = 0;
    for (unsigned v = 0; v < VERDICT_TOTAL; v++)
        verdicts += w->counts[v];
    CHECK_EQ(verdicts, s->count);
    for (int i = 0; i < s->count; i++)
        REQUIRE(packets[i].verdicts == 1);
    CHECK(w->kept_budget);
    double on_time = (double)w->counts[VERDICT_ON_TIME] / s->count;
    CHECK(on_time >= s->least_on_time);
    CHECK(w->worst_late <= s->most_late_ns);
    if (s->wire)
        CHECK(llabs(w->wire_error_signs) <= w->sent / 20);
    printf("       %s: %.4f s, on_time %.2f %%, worst %" PRId64 " us, margin %" PRId64 " us;",
           s->name, (double)w->now / 1e9, on_time * 100, w->worst_late / 1000,
           wake_margin_ns(&w->margin) / 1000);
    printf(" enqueued_late %" PRIu64 " woke_late %" PRIu64 " send_slow %" PRIu64
           " queued_behind %" PRIu64 "\n",
           w->counts[VERDICT_ENQUEUED_LATE], w->counts[VERDICT_WOKE_LATE],
           w->counts[VERDICT_SEND_SLOW], w->counts[VERDICT_QUEUED_BEHIND]);
}

static void test_one_kilohertz(void)
{
    run_scenario(&(scenario_t){.name = "1 kHz",
                               .count = 20000,
                               .period_ns = RT_NS_PER_MS,
                               .ahead_ns = 5 * RT_NS_PER_MS,
                               .burst = 1,
                               .send_ns = 2000,
                               .least_on_time = 0.998,
                               .most_late_ns = 200000});
}

static void test_one_kilohertz_on_the_wire(void)
{
    run_scenario(&(scenario_t){.name = "1 kHz, wire",
                               .count = 20000,
                               .period_ns = RT_NS_PER_MS,
                               .ahead_ns = 5 * RT_NS_PER_MS,
                               .burst = 1,
                               .send_ns = 2000,
                               .wire = true,
                               .least_on_time = 0.998,
                               .most_late_ns = 200000});
}

static void test_latency_profile_never_stands_still_for_long(void)
{
    run_scenario(&(scenario_t){.name = "1 kHz, always spinning",
                               .count = 20000,
                               .period_ns = RT_NS_PER_MS,
                               .ahead_ns = 5 * RT_NS_PER_MS,
                               .burst = 1,
                               .send_ns = 2000,
                               .always_spin = true,
                               .least_on_time = 0.998,
                               .most_late_ns = 300000});
}

static void test_twenty_kilohertz_leaves_no_room_to_rest(void)
{
    run_scenario(&(scenario_t){.name = "20 kHz",
                               .count = 100000,
                               .period_ns = 50000,
                               .ahead_ns = 5 * RT_NS_PER_MS,
                               .burst = 1,
                               .send_ns = 2000,
                               .least_on_time = 0.85,
                               .most_late_ns = 400000});
}

static void test_everything_queued_long_before(void)
{
    run_scenario(&(scenario_t){.name = "2 kHz, all queued seconds ahead",
                               .count = 40000,
                               .period_ns = 500000,
                               .ahead_ns = 15 * RT_NS_PER_S,
                               .burst = 1,
                               .send_ns = 2000,
                               .least_on_time = 0.998,
                               .most_late_ns = 200000});
}

static void test_bursts_queue_behind_each_other(void)
{
    run_scenario(&(scenario_t){.name = "bursts of 50",
                               .count = 50000,
                               .period_ns = 2 * RT_NS_PER_MS,
                               .ahead_ns = 5 * RT_NS_PER_MS,
                               .burst = 50,
                               .send_ns = 2000,
                               .least_on_time = 0.2,
                               .most_late_ns = 800000});
    CHECK(worker.counts[VERDICT_QUEUED_BEHIND] > 10 * worker.counts[VERDICT_WOKE_LATE]);
}

static void test_stolen_core_makes_slow_sends(void)
{
    run_scenario(&(scenario_t){.name = "core taken away",
                               .count = 20000,
                               .period_ns = RT_NS_PER_MS,
                               .ahead_ns = 5 * RT_NS_PER_MS,
                               .burst = 1,
                               .send_ns = 2000,
                               .steal_every = 100,
                               .least_on_time = 0.98,
                               .most_late_ns = 300000});
    CHECK(worker.counts[VERDICT_SEND_SLOW] > 100 && worker.counts[VERDICT_SEND_SLOW] < 400);
}

static void test_immediate_packets_wait_for_the_wake_up_only(void)
{
    run_scenario(&(scenario_t){.name = "immediate",
                               .count = 10000,
                               .period_ns = 700000,
                               .ahead_ns = 1,
                               .burst = 1,
                               .send_ns = 2000,
                               .least_on_time = 0.75,
                               .most_late_ns = 200000});
    CHECK_EQ(worker.counts[VERDICT_ENQUEUED_LATE], 0);
}

/* More work than the core can do: everything goes out late, in order, and the budget is kept. */
static void test_overload_keeps_the_budget(void)
{
    run_scenario(&(scenario_t){.name = "overload",
                               .count = 50000,
                               .period_ns = 10000,
                               .ahead_ns = RT_NS_PER_MS,
                               .burst = 1,
                               .send_ns = 14000,
                               .least_on_time = 0,
                               .most_late_ns = RT_NS_PER_S});
    CHECK(worker.counts[VERDICT_QUEUED_BEHIND] > 45000);
    CHECK(worker.now < INT64_C(50000) * 16000 * 100 / 80);
}

int main(void)
{
    seed = rt_test_env_u64("RT_TEST_SEED", 1);
    printf("seed %" PRIu64 "\n", seed);
    RUN(test_one_kilohertz);
    RUN(test_one_kilohertz_on_the_wire);
    RUN(test_latency_profile_never_stands_still_for_long);
    RUN(test_twenty_kilohertz_leaves_no_room_to_rest);
    RUN(test_everything_queued_long_before);
    RUN(test_bursts_queue_behind_each_other);
    RUN(test_stolen_core_makes_slow_sends);
    RUN(test_immediate_packets_wait_for_the_wake_up_only);
    RUN(test_overload_keeps_the_budget);
    return rt_test_result();
}
