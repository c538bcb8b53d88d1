/* The compatible jitter buffer against a second one, written from its description step by step, as
 * plainly as possible: linked list, signed nothing, one function per step. Random streams with
 * loss, duplication, reordering, jumps, wraps, corrupted headers, capacities 1 to 64. Every
 * decision must be the same, and every datagram must come to exactly one end. */
#include "proto/rtp/rtp_jbuf.h"

#include "rt_test.h"

#define NONE UINT64_MAX
#define MAX_OUT 200u

typedef struct node {
    struct node *next;
    uint64_t lseq;
    uint64_t item;
    uint64_t age;
    uint32_t ts;
} node_t;

typedef struct model {
    uint32_t capacity;
    node_t *held;
    uint64_t last;
    uint64_t top;
    uint64_t epoch;
    uint32_t last_ts;
} model_t;

typedef struct outcome {
    unsigned ready;
    unsigned drop;
    uint64_t ready_item[MAX_OUT];
    uint64_t ready_lseq[MAX_OUT];
    uint64_t drop_item[MAX_OUT];
    bool has_erasure;
    uint64_t start;
    uint64_t end;
    uint32_t ts_diff;
} outcome_t;

static unsigned length(const node_t *list)
{
    unsigned n = 0;
    for (; list != NULL; list = list->next)
        n++;
    return n;
}

static node_t **tail_of(node_t **list)
{
    while ((*list)->next != NULL)
        list = &(*list)->next;
    return list;
}

static void put_in_front(outcome_t *o, uint64_t item)
{
    memmove(&o->drop_item[1], &o->drop_item[0], o->drop * sizeof o->drop_item[0]);
    o->drop_item[0] = item;
    o->drop++;
}

static void step_1_purge(model_t *m, outcome_t *o)
{
    if (m->held == NULL || length(m->held) + 1 < m->capacity)
        return;
    node_t **tail = tail_of(&m->held);
    node_t *old = *tail;
    old->age++;
    if (old->age < m->capacity)
        return;
    *tail = NULL;
    put_in_front(o, old->item);
    if (m->held != NULL)
        m->top = (*tail_of(&m->held))->lseq;
    else
        m->top = m->last; /* NONE while nothing has been released */
    free(old);
}

static void take_run(model_t *m, outcome_t *o)
{
    uint64_t expected = m->held->lseq;
    while (m->held != NULL && m->held->lseq == expected) {
        node_t *n = m->held;
        o->ready_item[o->ready] = n->item;
        o->ready_lseq[o->ready] = n->lseq;
        o->ready++;
        m->last = n->lseq;
        m->last_ts = n->ts;
        m->held = n->next;
        expected++;
        free(n);
    }
}

static void erase_up_to(const model_t *m, uint64_t lseq, uint32_t ts, outcome_t *o)
{
    o->has_erasure = true;
    o->start = m->last + 1;
    o->end = lseq - 1;
    uint64_t missing = (o->end - o->start + 1) & 0xffffffffu;
    uint64_t span = (uint32_t)(ts - m->last_ts);
    o->ts_diff = (uint32_t)(span * missing / (missing + 1));
}

static void step_9_release(model_t *m, outcome_t *o)
{
    bool warm_up = m->last == NONE;
    bool follows = !warm_up && m->held->lseq == m->last + 1;
    if (length(m->held) != m->capacity && !follows)
        return;
    if (!warm_up && !follows)
        erase_up_to(m, m->held->lseq, m->held->ts, o);
    take_run(m, o);
}

static node_t *new_node(uint64_t lseq, uint32_t ts, uint64_t item)
{
    node_t *n = calloc(1, sizeof *n);
    n->lseq = lseq;
    n->ts = ts;
    n->item = item;
    return n;
}

static void steps_7_to_9(model_t *m, uint64_t lseq, uint32_t ts, uint64_t item, outcome_t *o)
{
    if (m->held == NULL) {
        m->top = lseq;
        m->held = new_node(lseq, ts, item);
        if ((m->last == NONE && lseq == 0) || (m->last != NONE && lseq == m->last + 1))
            take_run(m, o);
        return;
    }
    node_t **place = &m->held;
    while (*place != NULL && (*place)->lseq < lseq)
        place = &(*place)->next;
    if (*place != NULL && (*place)->lseq == lseq) {
        put_in_front(o, item);
        return;
    }
    node_t *n = new_node(lseq, ts, item);
    n->next = *place;
    *place = n;
    if (n->next == NULL)
        m->top = lseq;
    step_9_release(m, o);
}

static void model_in(model_t *m, bool parsed, uint16_t seq, uint32_t ts, uint64_t item,
                     outcome_t *o)
{
    memset(o, 0, sizeof *o);
    step_1_purge(m, o);
    if (!parsed)
        return;
    uint64_t lseq = m->epoch | seq;
    if (m->top != NONE) {
        if ((m->top & 0xffff) < 536 && seq > 65000) {
            if (m->epoch == 0) {
                put_in_front(o, item);
                return;
            }
            lseq -= 65536;
        } else if (m->top > 65000 && lseq < m->top - 65000) {
            m->epoch += 65536;
            lseq += 65536;
        }
        if (m->last != NONE && lseq <= m->last) {
            put_in_front(o, item);
            return;
        }
    }
    steps_7_to_9(m, lseq, ts, item, o);
}

static void model_flush(model_t *m, outcome_t *o)
{
    uint64_t runs[MAX_OUT][2];
    unsigned count = 0;
    memset(o, 0, sizeof *o);
    if (m->held == NULL)
        return;
    for (const node_t *n = m->held; n != NULL; n = n->next) {
        if (count > 0 && n->lseq == runs[count - 1][1] + 1)
            runs[count - 1][1]++;
        else
            runs[count][0] = runs[count][1] = n->lseq, count++;
    }
    for (unsigned i = count - 1; i-- > 0;) {
        for (const node_t *n = m->held; n != NULL; n = n->next) {
            if (n->lseq >= runs[i][0] && n->lseq <= runs[i][1])
                o->drop_item[o->drop++] = n->item;
        }
    }
    while (m->held->lseq < runs[count - 1][0]) {
        node_t *n = m->held;
        m->held = n->next;
        free(n);
    }
    if (m->held->lseq != m->last + 1)
        erase_up_to(m, m->held->lseq, m->held->ts, o);
    take_run(m, o);
}

static bool same(const rtp_jbuf_result_t *r, const outcome_t *o)
{
    if (r->ready_count != o->ready || r->dropped_count != o->drop ||
        r->has_erasure != o->has_erasure)
        return false;
    for (unsigned i = 0; i < o->ready; i++) {
        if (r->ready[i].item != o->ready_item[i] || r->ready[i].lseq != o->ready_lseq[i])
            return false;
    }
    for (unsigned i = 0; i < o->drop; i++) {
        if (r->dropped[i].item != o->drop_item[i])
            return false;
    }
    return !o->has_erasure || (r->erasure.first == o->start && r->erasure.last == o->end &&
                               r->erasure.ts_diff == o->ts_diff);
}

typedef struct habits {
    unsigned loss;
    unsigned twice;
    unsigned reorder;
    unsigned depth;
    unsigned jump;
    unsigned corrupt;
    unsigned broken;
} habits_t;

static uint64_t random_state;

static unsigned below(unsigned n)
{
    return (unsigned)(rt_test_rand(&random_state) % n);
}

static bool chance(unsigned per_mille)
{
    return below(1000) < per_mille;
}

static unsigned some_of(unsigned a, unsigned b, unsigned c)
{
    unsigned pick = below(3);
    return pick == 0 ? a : pick == 1 ? b : c;
}

typedef struct offered {
    uint32_t order;
    uint32_t seq; /* unwrapped */
} offered_t;

static int by_order(const void *a, const void *b)
{
    const offered_t *x = a;
    const offered_t *y = b;
    return x->order < y->order ? -1 : x->order > y->order;
}

static size_t make_stream(const habits_t *h, offered_t *stream, unsigned packets)
{
    static const uint32_t starts[] = {0, 1, 100, 530, 540, 30000, 64900, 65000, 65300, 65535};
    uint32_t seq = below(4) == 0 ? below(65536) : starts[below(10)];
    size_t count = 0;
    for (unsigned i = 0; i < packets; i++, seq++) {
        if (chance(h->jump))
            seq += below(70000);
        if (chance(h->loss))
            continue;
        uint32_t order = 64 * i + (chance(h->reorder) ? below(64 * h->depth) : 0);
        stream[count++] = (offered_t){.order = order, .seq = seq};
        if (chance(h->twice))
            stream[count++] = (offered_t){.order = order + below(64 * h->depth), .seq = seq};
    }
    qsort(stream, count, sizeof *stream, by_order);
    return count;
}

static bool check_conserved(const rtp_jbuf_t *jb, const uint8_t *ends, size_t count)
{
    const rtp_jbuf_counters_t *c = &jb->counters;
    bool good = CHECK_EQ(c->offered, count);
    good &= CHECK_EQ(c->offered, c->delivered + c->dropped + c->parse_errors);
    good &= CHECK_EQ(c->dropped, c->duplicates + c->late + c->purged + c->flush_lost);
    for (size_t i = 0; i < count && good; i++)
        good &= CHECK_EQ(ends[i], 1);
    return good;
}

static void note_ends(uint8_t *ends, const rtp_jbuf_result_t *r)
{
    for (uint32_t i = 0; i < r->ready_count; i++)
        ends[r->ready[i].item]++;
    for (uint32_t i = 0; i < r->dropped_count; i++)
        ends[r->dropped[i].item]++;
}

static bool play_stream(uint64_t seed)
{
    static offered_t stream[4000];
    static uint8_t ends[4000];
    static rtp_jbuf_entry_t entries[128];
    random_state = seed;
    habits_t h = {
        .loss = some_of(0, 20, 300),
        .twice = some_of(0, 20, 200),
        .reorder = some_of(0, 50, 500),
        .depth = some_of(2, 10, 80),
        .jump = some_of(0, 0, 5),
        .corrupt = some_of(0, 2, 30),
        .broken = some_of(0, 5, 100),
    };
    uint32_t capacity = 1 + below(64);
    if (chance(300))
        capacity = 1 + below(4);
    size_t count = make_stream(&h, stream, 10 + below(1500));
    model_t model = {.capacity = capacity, .last = NONE, .top = NONE};
    rtp_jbuf_t jb;
    rtp_jbuf_result_t r;
    outcome_t o;
    bool good = true;
    memset(ends, 0, sizeof ends);
    rtp_jbuf_init(&jb, capacity, entries, rtp_jbuf_entries_for(capacity));
    for (size_t i = 0; i < count && good; i++) {
        bool parsed = !chance(h.broken);
        uint16_t seq = (uint16_t)stream[i].seq;
        uint32_t ts = chance(10) ? (uint32_t)rt_test_rand(&random_state) : stream[i].seq * 160;
        if (chance(h.corrupt))
            seq ^= (uint16_t)(1u << below(16));
        if (parsed) {
            good &= CHECK_EQ(rtp_jbuf_offer(&jb, seq, ts, i, &r), 0);
        } else {
            rtp_jbuf_offer_bad(&jb, &r);
            ends[i]++;
        }
        model_in(&model, parsed, seq, ts, i, &o);
        note_ends(ends, &r);
        good &= CHECK(same(&r, &o));
        if (chance(1) && good) {
            rtp_jbuf_flush(&jb, &r);
            model_flush(&model, &o);
            note_ends(ends, &r);
            good &= CHECK(same(&r, &o));
        }
    }
    rtp_jbuf_flush(&jb, &r);
    model_flush(&model, &o);
    note_ends(ends, &r);
    good = good && CHECK(same(&r, &o)) && check_conserved(&jb, ends, count);
    while (model.held != NULL) {
        node_t *n = model.held;
        model.held = n->next;
        free(n);
    }
    if (!good)
        (void)fprintf(stderr, "stream of seed %" PRIu64 ", capacity %u\n", seed, capacity);
    return good;
}

static void test_every_decision_is_the_models(void)
{
    uint64_t seed = rt_test_env_u64("RT_TEST_SEED", 1);
    uint64_t rounds = rt_test_env_u64("RT_TEST_ROUNDS", 2000);
    (void)printf("seed %" PRIu64 ", %" PRIu64 " streams\n", seed, rounds);
    for (uint64_t i = 0; i < rounds; i++) {
        if (!play_stream(seed + i))
            return;
    }
}

int main(void)
{
    RUN(test_every_decision_is_the_models);
    return rt_test_result();
}
