/* The worker's side of the tx ring dies at every single step of a run that has everything in it:
 * packets of the near and the far future, moves, padding, cancels, an abort and a producer's death.
 * Successors take over and may die as well. Nothing may be sent twice, nothing be lost but what was
 * being sent at that instant, and every packet be counted once. Then the same with a client that
 * cancels at every step, and with a long packet of the far future at the head of a full ring, whose
 * move its workers die over: others must find room, and the packet must stay cancellable. */
#include "shm_test.h"

#include "crash.h"
#include "shm/tx_claims.c"
#include "shm/tx_move.c"
#include "shm/tx_queue.c"
#include "shm/tx_release.c"
#include "shm/tx_takeover.c"

#include <sys/wait.h>

enum {
    RING_BYTES = 4096,
    UNITS = RING_BYTES / SHM_UNIT_BYTES,
    MAX_PAYLOAD = 200,
    ROUNDS = 16, /* in which packets are pushed */
    PER_ROUND = 5,
    MAX_ROUNDS = 60, /* to the end, deaths included */
    MAX_PACKETS = 192,
    MANY = 8,         /* deaths in one run */
    FULL_ROUNDS = 14, /* with a full ring: more than two laps */
    AFTER_DEATH = 6,  /* of them, at least */
};

typedef enum kind { NEAR, FAR, CANCELLED, ABORTED, ORPHAN } kind_t;

typedef struct packet {
    kind_t kind;
    unsigned sent, unsure, cancelled, corrupt;
} packet_t;

static shm_segment_t seg;
static tx_producer_t producer, doomed;
static tx_queue_t queue;
static uint64_t schedule[MAX_PACKETS]; /* refs, in the worker's own memory */
static unsigned scheduled, moves, deaths, refused;
static packet_t packets[MAX_PACKETS];
static uint64_t first_sequence, next_sequence;
static int64_t now_ns;
static uint32_t dead_pid;
static const char *where = "";
static bool announce_first; /* as a worker that dies before it claims room for a move */

static bool expect(bool holds, const char *what)
{
    if (!holds)
        rt_test_fail(__FILE__, __LINE__, "%s: %s", where, what);
    return holds;
}

/* --- clients -------------------------------------------------------------------------------- */

static uint64_t push(kind_t kind)
{
    uint8_t payload[MAX_PAYLOAD];
    uint64_t sequence = 0;
    uint32_t n = (uint32_t)next_sequence;
    uint32_t bytes = shm_test_length(1, n, MAX_PAYLOAD);
    shm_test_fill(payload, bytes, 1, n);
    int rc = tx_producer_push(&producer, payload, bytes, kind == FAR ? INT64_MAX : 1 + n, 1, NULL,
                              &sequence);
    if (rc == -ENOBUFS) { /* room comes with time: a worker may have to take over first */
        refused++;
        return UINT64_MAX;
    }
    expect(rc == 0, "a push failed");
    expect(sequence == next_sequence, "a push got a wrong sequence");
    packets[next_sequence++].kind = kind;
    return sequence;
}

static void claim(tx_producer_t *p, kind_t kind)
{
    tx_claim_t c;
    if (tx_producer_claim(p, 60, 0, 1, NULL, &c) != 0)
        return;
    if (kind == ABORTED)
        tx_producer_abort(p, &c);
    packets[next_sequence++].kind = kind;
}

static void cancel(uint64_t sequence)
{
    if (sequence != UINT64_MAX && tx_ring_cancel(&seg, sequence, NULL) == 1)
        packets[sequence].kind = CANCELLED;
}

/* What clients do before the worker's n-th round. */
static void clients_act(unsigned n)
{
    if (n >= ROUNDS)
        return;
    static uint64_t far_away;
    if (n == 0) {
        (void)push(FAR);
        far_away = push(FAR);
    }
    for (int i = 0; i < PER_ROUND; i++)
        (void)push(NEAR);
    if (n == 2)
        cancel(far_away);
    if (n == 3)
        cancel(push(NEAR)); /* before it is taken in */
    if (n == 4)
        claim(&producer, ABORTED);
    if (n == 5) {
        if (announce_first)
            rt_store_relaxed(&seg.producers[SHM_WORKER_PRODUCER].intent,
                             rt_load_relaxed(&seg.tx->tail));
        claim(&doomed, ORPHAN);
    }
    if (n == 7)
        (void)push(FAR);
}

/* --- the worker ----------------------------------------------------------------------------- */

static void note(int outcome, const tx_item_t *item)
{
    packet_t *p = &packets[item->sequence];
    if (!expect(item->sequence < next_sequence, "a sequence that was never given out"))
        return;
    p->unsure += outcome == -EOWNERDEAD;
    p->cancelled += outcome == -ECANCELED;
    p->corrupt += outcome == -EBADMSG;
}

static void take_in(void)
{
    tx_item_t item;
    int rc;
    while ((rc = shm_test_next(&queue, now_ns, &item)) != 0) {
        now_ns += RT_NS_PER_MS;
        if (rc == 1 && expect(scheduled < MAX_PACKETS, "it takes in without end"))
            schedule[scheduled++] = item.ref;
        else
            note(rc, &item);
    }
}

static void send_one(uint64_t ref, bool all)
{
    tx_item_t item;
    int rc = tx_queue_peek(&queue, ref, &item);
    if (rc == 0 && item.due_ns == INT64_MAX && !all) {
        schedule[scheduled++] = ref;
        return;
    }
    rc = tx_queue_take(&queue, ref, &item);
    if (rc == -ECANCELED)
        note(rc, &item);
    if (rc != 0)
        return;
    uint32_t sender, n;
    expect(shm_test_check(item.payload, item.payload_bytes, MAX_PAYLOAD, &sender, &n) &&
               n == item.sequence,
           "a packet is torn or bears another's sequence");
    packets[item.sequence].sent++;
    tx_queue_finish(&queue, ref);
}

static void serve(bool all)
{
    tx_item_t item;
    unsigned budget = 200;
    take_in();
    unsigned n = scheduled;
    scheduled = 0;
    for (unsigned i = 0; i < n; i++)
        send_one(schedule[i], all);
    while (tx_queue_reap(&queue, &budget, &item))
        note(-ECANCELED, &item);
}

static void work(bool all)
{
    unsigned moved;
    serve(all);
    (void)tx_queue_release(&queue, 0, 1024, 2, &moved);
    moves += moved;
    now_ns += TX_OWNER_CHECK_NS;
}

/* --- one run -------------------------------------------------------------------------------- */

static void check_outcomes(void)
{
    unsigned unknown = 0;
    for (uint64_t i = first_sequence; i < next_sequence; i++) {
        const packet_t *p = &packets[i];
        bool sendable = p->kind == NEAR || p->kind == FAR;
        expect(p->sent <= sendable, "sent twice, or although it must not be sent");
        expect(p->unsure <= 1 && p->cancelled <= 1, "a verdict was given twice");
        expect(p->corrupt == 0, "a sound record counted as corrupt");
        expect(!p->cancelled || p->kind == CANCELLED, "a verdict cancelled that nobody asked for");
        unknown += (sendable && !p->sent) || (p->kind == CANCELLED && !p->cancelled) ||
                   (p->kind == ORPHAN && !p->unsure);
    }
    expect(unknown <= deaths, "more packets without an outcome than deaths");
}

static void check_empty(void)
{
    expect(tx_ring_waiting(&seg) == 0, "packets count as waiting");
    expect(rt_load_relaxed(&seg.stats->counters[SHM_COUNT_tx_corrupt]) == 0,
           "a sound packet counts as corrupt");
    expect(rt_load_relaxed(&seg.tx->finished) == next_sequence,
           "the count of finished packets is off");
    expect(tx_ring_next_sequence(&seg) == next_sequence, "the next sequence is off");
    expect(rt_load_relaxed(&seg.tx->head_place) == shm_cursor_place(rt_load_relaxed(&seg.tx->tail)),
           "space is not freed");
    expect(rt_load_relaxed(&seg.tx->freeing_to) == 0, "freeing is still noted");
    expect(rt_load_relaxed(&seg.producers[SHM_WORKER_PRODUCER].intent) == SHM_INTENT_NONE,
           "a move is still announced");
    for (uint32_t at = 0; at < UNITS; at++)
        expect(rt_load_relaxed(tx_word_at(seg.tx_data, at)) == 0, "a freed unit is not zero");
}

static unsigned long next_death(const unsigned long *steps)
{
    return deaths < MANY ? steps[deaths] : 0;
}

static int open_run(uint64_t sequence, uint32_t place)
{
    shm_config_t c = shm_test_config(RING_BYTES, MAX_PAYLOAD);
    int fd = shm_test_open(&seg, &c);
    memset(packets, 0, sizeof packets);
    first_sequence = next_sequence = sequence;
    now_ns = 1;
    deaths = moves = scheduled = refused = 0;
    shm_test_move_tx(&seg, sequence, place);
    (void)tx_producer_init(&producer, &seg, 1);
    (void)tx_producer_init(&doomed, &seg, 2);
    rt_store_relaxed(&seg.producers[2].owner, dead_pid);
    return fd;
}

static bool is_empty(void)
{
    return queue.head_ref == queue.read_ref && !tx_queue_pending(&queue);
}

/* Runs it to the end, worker number i dying at its step number steps[i] (0: it lives on). Returns
 * the steps of the last life. */
static unsigned long run(const unsigned long steps[MANY], uint32_t place)
{
    static volatile unsigned round;
    static volatile bool acted;
    int fd = open_run(0, place);

    round = 0;
    acted = false;
    if (setjmp(crash_exit) != 0) {
        deaths++;
        scheduled = 0;
    }
    crash_at(next_death(steps));
    expect(shm_test_queue_init(&queue, &seg, 1) == 0, "a successor refuses the ring");
    for (; round < MAX_ROUNDS && (round < ROUNDS || !is_empty()); round++, acted = false) {
        unsigned long left = crash_left;
        crash_left = 0;
        if (!acted)
            clients_act(round);
        acted = true;
        crash_left = left;
        work(round >= ROUNDS);
    }
    unsigned long done = crash_steps;
    crash_at(0);
    expect(round < MAX_ROUNDS, "it does not come to an end");
    check_outcomes();
    check_empty();
    shm_test_close(&seg, fd);
    return done;
}

static char label[128];

static void test_a_run_without_deaths(void)
{
    static const unsigned long nobody[MANY];
    where = "nobody dies";
    CHECK(run(nobody, 0) > 400);
    CHECK(moves >= 3);
    CHECK_EQ(deaths, 0);
    CHECK(refused < ROUNDS);
    CHECK(next_sequence > ROUNDS * (PER_ROUND - 1));
}

static void test_a_death_at_every_step(void)
{
    static unsigned long steps[MANY];
    static uint32_t place;
    where = label;
    memset(steps, 0, sizeof steps);
    for (place = 0; place < UNITS && rt_test_result() == 0; place += 101) {
        steps[0] = 0;
        unsigned long all = run(steps, place);
        for (steps[0] = 1; steps[0] <= all && rt_test_result() == 0; steps[0]++) {
            (void)snprintf(label, sizeof label, "start at %u, death at step %lu", place, steps[0]);
            (void)run(steps, place);
            CHECK_EQ(deaths, 1);
        }
    }
}

static uint64_t rng, rounds;

/* Short lives die in their takeover, long ones anywhere. */
static void test_many_deaths_in_one_run(void)
{
    static unsigned long steps[MANY];
    where = label;
    for (uint64_t i = 0; i < rounds && rt_test_result() == 0; i++) {
        uint64_t seed = rng;
        for (int n = 0; n < MANY; n++)
            steps[n] = 1 + rt_test_rand(&rng) % (rt_test_rand(&rng) % 2 ? 30 : 600);
        (void)snprintf(label, sizeof label, "RT_TEST_SEED=%" PRIu64 ", deaths at %lu %lu %lu ...",
                       seed, steps[0], steps[1], steps[2]);
        (void)run(steps, (uint32_t)(rt_test_rand(&rng) % UNITS));
    }
}

/* A worker announced a move and died before it had claimed room. A client claims that room and
 * dies over it: the successor passes the client's claim, and the announcement must go, or
 * nothing is ever moved again. */
static void test_an_announcement_goes_with_the_claim_that_is_passed(void)
{
    static const unsigned long nobody[MANY];
    where = "an announced move, then a client's claim";
    announce_first = true;
    (void)run(nobody, 0);
    announce_first = false;
}

static unsigned struck;

static bool orphan_in_the_way(void)
{
    for (uint64_t i = 0; i < next_sequence; i++)
        if (packets[i].kind == ORPHAN && packets[i].unsure == 0)
            return true;
    return false;
}

/* Cancels the packet of the far future that waits longest. A cancel that would walk into what the
 * worker is just zeroing, or has to resolve, waits for the worker, which stands still here. */
static void strike(void)
{
    if (rt_load_relaxed(&seg.tx->freeing_to) != 0 || orphan_in_the_way())
        return;
    for (uint64_t i = 0; i < next_sequence; i++) {
        if (packets[i].kind == FAR && packets[i].sent == 0) {
            cancel(i);
            struck += packets[i].kind == CANCELLED;
            return;
        }
    }
}

static void test_a_cancel_at_every_step(void)
{
    static unsigned long steps[MANY];
    memset(steps, 0, sizeof steps);
    where = label;
    unsigned long all = run(steps, 0);
    struck = 0;
    crash_meddle = strike;
    for (steps[0] = 1; steps[0] <= all && rt_test_result() == 0; steps[0]++) {
        (void)snprintf(label, sizeof label, "cancel at step %lu", steps[0]);
        (void)run(steps, 0);
    }
    crash_meddle = NULL;
    CHECK(struck > all / 4);
}

/* --- a full ring behind a packet of the far future ----------------------------------------------
 */

/* A long one: the reserve has room for it once. */
static uint64_t long_sequence(void)
{
    uint64_t best = 0;
    for (uint32_t n = 0; n < 32; n++)
        if (shm_test_length(1, n, MAX_PAYLOAD) > shm_test_length(1, (uint32_t)best, MAX_PAYLOAD))
            best = n;
    return best;
}

static void cancel_surely(uint64_t sequence)
{
    cancel(sequence);
    expect(packets[sequence].kind == CANCELLED, "too late for a packet that waits");
}

/* The first worker dies at that step of its move, the others at those of their lives. early: it is
 * cancelled before the first successor looks. Returns the steps of the last life. */
static unsigned long run_full(const unsigned long steps[MANY], uint32_t place, bool early)
{
    static volatile unsigned round, blocked;
    static volatile bool acted;
    static uint64_t far;
    int fd = open_run(long_sequence(), place);
    far = push(FAR);
    while (push(NEAR) != UINT64_MAX) {
    }
    round = blocked = 0;
    acted = true;
    if (setjmp(crash_exit) != 0) {
        crash_at(0);
        deaths++;
        scheduled = 0;
        round = round < FULL_ROUNDS - AFTER_DEATH ? round : FULL_ROUNDS - AFTER_DEATH;
        bool cut = rt_load_relaxed(&seg.tx->freeing_to) != 0; /* half zeroed: "try again" */
        if (early && !cut && packets[far].kind == FAR)
            cancel_surely(far);
    }
    if (deaths > 0)
        crash_at(next_death(steps));
    expect(shm_test_queue_init(&queue, &seg, 1) == 0, "a successor refuses the ring");
    if (deaths == 0) {
        serve(false);
        crash_at(next_death(steps));
    }
    for (; round < FULL_ROUNDS; round++, acted = false) {
        uint64_t before = next_sequence;
        for (int i = 0; !acted && i < PER_ROUND; i++)
            (void)push(NEAR);
        blocked = acted || next_sequence != before ? 0 : blocked + 1;
        acted = true;
        work(false);
    }
    unsigned long done = crash_steps;
    crash_at(0);
    expect(blocked < AFTER_DEATH / 2, "a packet of the far future keeps the ring full");
    if (packets[far].kind == FAR)
        cancel_surely(far);
    for (round = 0; round < MAX_ROUNDS && !is_empty(); round++)
        work(true);
    expect(packets[far].kind == CANCELLED && packets[far].cancelled + deaths >= 1,
           "a cancelled packet has no verdict");
    check_outcomes();
    check_empty();
    shm_test_close(&seg, fd);
    return done;
}

/* The first worker at each step of its first move, and those after it at steps of their own. */
static void die_over_a_move(bool early)
{
    enum { OF_A_MOVE = 60, OF_A_TAKEOVER = 48, APART = 6 };
    static unsigned long steps[MANY];
    static uint32_t place;
    where = label;
    for (place = 0; place < UNITS && rt_test_result() == 0; place += 23) {
        memset(steps, 0, sizeof steps);
        CHECK(run_full(steps, place, false) > OF_A_MOVE);
        CHECK(moves > 0);
        for (steps[0] = 1; steps[0] <= OF_A_MOVE && rt_test_result() == 0; steps[0]++) {
            for (unsigned long next = place % APART; next <= OF_A_TAKEOVER; next += APART) {
                steps[1] = steps[2] = steps[3] = next; /* 0: it lives on */
                (void)snprintf(label, sizeof label,
                               "full ring at %u, deaths at %lu and three times %lu", place,
                               steps[0], next);
                (void)run_full(steps, place, early);
            }
        }
    }
}

static void test_a_move_that_workers_die_over_is_finished(void)
{
    die_over_a_move(false);
}

static void test_what_is_being_moved_can_be_cancelled(void)
{
    die_over_a_move(true);
}

int main(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    if (pid < 0 || waitpid(pid, NULL, 0) != pid)
        return 1;
    dead_pid = (uint32_t)pid;
    rng = rt_test_env_u64("RT_TEST_SEED", (uint64_t)rt_mono_ns());
    rounds = rt_test_env_u64("RT_TEST_ROUNDS", 4000);
    (void)printf("seed %" PRIu64 "\n", rng);
    (void)fflush(stdout);
    RUN(test_a_run_without_deaths);
    RUN(test_a_death_at_every_step);
    RUN(test_an_announcement_goes_with_the_claim_that_is_passed);
    RUN(test_many_deaths_in_one_run);
    RUN(test_a_cancel_at_every_step);
    RUN(test_a_move_that_workers_die_over_is_finished);
    RUN(test_what_is_being_moved_can_be_cancelled);
    return rt_test_result();
}
