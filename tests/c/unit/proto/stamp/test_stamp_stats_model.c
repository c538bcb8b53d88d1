/* Random paths in virtual time: stamp_stats against a model that keeps everything and counts by the
 * definitions. RT_TEST_SEED chooses other paths. */
#include "proto/stamp/stamp_stats.h"

#include "base/rt_random.h"
#include "rt_test.h"

#define PROBES 3000u
#define WINDOW 1024u
#define GAP_NS 10000
#define TIMEOUT_NS 5000000 /* 500 probes */
#define MOST_EVENTS (PROBES * 6)

typedef struct path {
    double lost_forward, lost_backward, duplicated, gone, late;
    int64_t jitter_ns; /* above GAP_NS it reorders */
} path_t;

enum { PLAN, REPORT, REPLY };

typedef struct event {
    int64_t at_ns;
    unsigned kind, number, reflected;
    int64_t t2_ns, t3_ns;
} event_t;

typedef struct model {
    bool gone, reported, replied, lost_forward, lost_backward;
    int64_t due_ns, left_ns;
    unsigned reflected;
    event_t reply;
} model_t;

static event_t events[MOST_EVENTS], forth[MOST_EVENTS];
static size_t event_count, forth_count;
static model_t model[PROBES];
static unsigned arrivals[PROBES];
static stamp_stats_t s;
static stamp_probe_t window[WINDOW];

static int by_time(const void *a, const void *b)
{
    const event_t *x = a;
    const event_t *y = b;
    if (x->at_ns != y->at_ns)
        return x->at_ns < y->at_ns ? -1 : 1;
    return x->kind != y->kind ? (int)x->kind - (int)y->kind : (int)x->number - (int)y->number;
}

static int64_t delay(rt_random_t *r, const path_t *path)
{
    return 20000 + (int64_t)(rt_random_unit(r) * (double)path->jitter_ns);
}

static void send_all(rt_random_t *r, const path_t *path)
{
    for (unsigned i = 0; i < PROBES; i++) {
        model_t *m = &model[i];
        *m = (model_t){.due_ns = 1000000000 + (int64_t)i * GAP_NS};
        m->gone = rt_random_chance(r, path->gone);
        m->left_ns = m->due_ns + (rt_random_chance(r, path->late) ? 90000 : 1500);
        events[event_count++] = (event_t){.at_ns = m->due_ns - 500000, .kind = PLAN, .number = i};
        events[event_count++] = (event_t){
            .at_ns = m->left_ns + (int64_t)rt_random_below(r, 200000), .kind = REPORT, .number = i};
        m->lost_forward = !m->gone && rt_random_chance(r, path->lost_forward);
        if (m->gone || m->lost_forward)
            continue;
        for (int copy = rt_random_chance(r, path->duplicated) ? 2 : 1; copy > 0; copy--)
            forth[forth_count++] =
                (event_t){.at_ns = m->left_ns + delay(r, path), .kind = REPLY, .number = i};
    }
}

static void reflect_all(rt_random_t *r, const path_t *path)
{
    qsort(forth, forth_count, sizeof *forth, by_time);
    for (unsigned i = 0; i < forth_count; i++) {
        event_t e = forth[i];
        e.reflected = i;
        e.t2_ns = e.at_ns;
        e.t3_ns = e.at_ns + 3000;
        bool lost = rt_random_chance(r, path->lost_backward);
        model[e.number].lost_backward |= lost;
        for (int copy = rt_random_chance(r, path->duplicated) ? 2 : 1; !lost && copy > 0; copy--) {
            e.at_ns = e.t3_ns + delay(r, path);
            events[event_count++] = e;
        }
    }
    qsort(events, event_count, sizeof *events, by_time);
}

static void feed(const event_t *e, uint32_t first)
{
    const model_t *m = &model[e->number];
    uint64_t number = (uint64_t)first + e->number;
    stamp_reply_t reply = {.sequence = e->reflected,
                           .request_sequence = (uint32_t)number,
                           .t1_ns = m->due_ns,
                           .t2_ns = e->t2_ns,
                           .t3_ns = e->t3_ns};
    if (e->kind == PLAN)
        CHECK_EQ(stamp_stats_plan(&s, m->due_ns), number);
    else if (e->kind == REPLY)
        stamp_stats_reply(&s, &reply, e->at_ns);
    else if (m->gone)
        stamp_stats_not_sent(&s, number, false);
    else
        stamp_stats_sent(&s, number, m->left_ns);
    stamp_stats_settle(&s, e->at_ns);
}

/* RFC 4737, 3.3 and 4.2.2, word by word. */
static void check_order(size_t count)
{
    uint64_t reordered = 0;
    uint64_t most = 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (arrivals[j] < arrivals[i])
                continue;
            reordered++;
            if (i - j > most)
                most = i - j;
            break;
        }
    }
    CHECK_EQ(s.counts.reordered, reordered);
    CHECK_EQ(s.counts.most_extent, most);
    CHECK_EQ(s.extents.count, reordered);
}

/* The delays of the way forth in the order in which they became known. */
static void check_delays(void)
{
    uint64_t count = 0;
    int64_t min_ns = INT64_MAX;
    int64_t max_ns = 0;
    int64_t last_ns = 0;
    double jitter_ns = 0;
    for (unsigned i = 0; i < PROBES; i++)
        model[i].reported = model[i].replied = false;
    for (size_t i = 0; i < event_count; i++) {
        const event_t *e = &events[i];
        model_t *m = &model[e->number];
        if (e->kind == PLAN || m->gone || (e->kind == REPLY && m->replied))
            continue;
        if (e->kind == REPLY) {
            m->replied = true;
            m->reply = *e;
        } else {
            m->reported = true;
        }
        if (!m->replied || !m->reported || m->left_ns - m->due_ns > 50000)
            continue;
        int64_t forward_ns = m->reply.t2_ns - m->left_ns;
        if (count++ > 0)
            jitter_ns += ((double)llabs(forward_ns - last_ns) - jitter_ns) / 16;
        last_ns = forward_ns;
        min_ns = forward_ns < min_ns ? forward_ns : min_ns;
        max_ns = forward_ns > max_ns ? forward_ns : max_ns;
    }
    CHECK_EQ(s.forward.count, count);
    CHECK_EQ(s.round.count, count);
    CHECK_EQ(s.backward.hist.count, count);
    if (count == 0)
        return;
    CHECK_EQ(s.forward.min_ns, min_ns);
    CHECK_EQ(s.forward.max_ns, max_ns);
    double off_ns = (double)s.forward.jitter_16 / 16 - jitter_ns;
    CHECK(off_ns > -1 && off_ns < 1); /* integers of 1/16 ns */
    CHECK(s.offset_low_ns < 0 && s.offset_high_ns > 0);
}

static void run(const path_t *path, uint32_t first, uint64_t seed)
{
    rt_random_t r;
    rt_random_init(&r, seed);
    event_count = forth_count = 0;
    send_all(&r, path);
    reflect_all(&r, path);
    stamp_settings_t settings = {
        .window = WINDOW, .reflector_counts = true, .late_ns = 50000, .timeout_ns = TIMEOUT_NS};
    REQUIRE(stamp_stats_init(&s, &settings, window, first) == 0);
    for (size_t i = 0; i < event_count; i++)
        feed(&events[i], first);
    stamp_stats_finish(&s);

    uint64_t replies = 0;
    size_t distinct = 0;
    uint64_t sent = 0;
    unsigned last = 0; /* behind the last that was answered */
    for (size_t i = 0; i < event_count; i++) {
        const event_t *e = &events[i];
        if (e->kind != REPLY)
            continue;
        replies++;
        if (model[e->number].replied)
            continue;
        model[e->number].replied = true;
        arrivals[distinct++] = e->number;
        last = e->number >= last ? e->number + 1 : last;
    }
    uint64_t forward = 0;
    for (unsigned i = 0; i < PROBES; i++) {
        sent += !model[i].gone;
        forward += i < last && model[i].lost_forward;
    }
    stamp_counts_t counts;
    stamp_stats_count(&s, &counts);
    CHECK_EQ(counts.sent, sent);
    CHECK_EQ(counts.not_sent, PROBES - sent);
    CHECK_EQ(counts.received, distinct);
    CHECK_EQ(counts.lost, sent - distinct);
    CHECK_EQ(counts.duplicates, replies - distinct);
    CHECK_EQ(counts.duplicates_forward + counts.duplicates_backward, counts.duplicates);
    CHECK_EQ(counts.reordered_forward + counts.reordered_backward, counts.reordered);
    CHECK_EQ(s.burst_sizes.sum_ns, counts.lost);
    CHECK_EQ(s.burst_sizes.max_ns, counts.longest_burst);
    CHECK_EQ(counts.foreign + counts.impossible + counts.too_old + counts.overdue, 0);
    CHECK_EQ(counts.restarts, 0);
    check_order(distinct);
    check_delays();
    if (path->jitter_ns < GAP_NS && path->duplicated == 0 && path->late == 0)
        CHECK_EQ(counts.lost_forward, forward);
    else /* a reply that is lost behind the last one is taken for a loss on the way forth */
        CHECK(llabs((int64_t)counts.lost_forward - (int64_t)forward) <= 100);
}

static void test_random_paths(void)
{
    static const path_t paths[] = {
        {.jitter_ns = 5000},
        {.lost_forward = 0.05, .lost_backward = 0.02, .jitter_ns = 5000},
        {.lost_forward = 0.5, .lost_backward = 0.5, .jitter_ns = 100},
        {.lost_forward = 0.05,
         .lost_backward = 0.02,
         .gone = 0.03,
         .late = 0.05,
         .jitter_ns = 5000},
        {.duplicated = 0.1, .jitter_ns = 50000},
        {.lost_forward = 0.02,
         .lost_backward = 0.02,
         .duplicated = 0.02,
         .gone = 0.01,
         .late = 0.02,
         .jitter_ns = 1000000},
        {.lost_forward = 1},
    };
    const char *text = getenv("RT_TEST_SEED");
    uint64_t seed = text == NULL ? 1 : strtoull(text, NULL, 0);
    printf("RT_TEST_SEED=%" PRIu64 "\n", seed);
    for (uint64_t turn = 0; turn < 5; turn++)
        for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
            run(&paths[i], turn % 2 ? UINT32_MAX - 1000 : 0, seed + turn * 100 + i);
}

/* Whatever arrives: no count runs away and nothing is read outside (for the sanitizers). */
static void test_random_replies(void)
{
    rt_random_t r;
    rt_random_init(&r, 7);
    stamp_settings_t settings = {.window = 64, .late_ns = 1, .timeout_ns = 1000};
    REQUIRE(stamp_stats_init(&s, &settings, window, UINT32_MAX - 500) == 0);
    for (int i = 0; i < 300000; i++) {
        uint64_t what = rt_random_next(&r);
        uint64_t number = s.next - rt_random_below(&r, 100);
        int64_t any[4];
        for (int k = 0; k < 4; k++)
            any[k] = (int64_t)(rt_random_next(&r) >> (rt_random_next(&r) % 64));
        stamp_reply_t reply = {
            .sequence = (uint32_t)any[0],
            .request_sequence = (uint32_t)(what % 2 ? number : rt_random_next(&r)),
            .t1_ns = what & 64 ? any[1] : 5,
            .t2_ns = what & 128 ? any[2] : -any[2],
            .t3_ns = any[3],
        };
        if (what % 16 < 4)
            stamp_stats_plan(&s, 5);
        else if (what % 16 < 6)
            stamp_stats_sent(&s, number, any[1]);
        else if (what % 16 == 6)
            stamp_stats_not_sent(&s, number, what & 32);
        else if (what % 16 == 7)
            stamp_stats_settle(&s, any[0] / 4);
        else if (what % 16 == 8)
            stamp_stats_arrival(&s, reply.request_sequence, any[1], any[2]);
        else
            stamp_stats_reply(&s, &reply, any[0]);
    }
    stamp_stats_finish(&s);
    stamp_counts_t counts;
    stamp_stats_count(&s, &counts);
    CHECK(counts.received + counts.lost == counts.sent);
    CHECK(counts.lost_forward + counts.lost_backward <= counts.lost);
}

int main(void)
{
    RUN(test_random_paths);
    RUN(test_random_replies);
    return rt_test_result();
}
