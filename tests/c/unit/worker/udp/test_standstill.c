/* A worker that stood still past several deadlines: what was due first leaves first, whether it had
 * taken the packets in before or not, or had moved them to the ring's end. */
#include "unit/worker/worker_test.h"

#include "shm/tx_record.h"

enum { ROUNDS = 20 };

static wt_worker_t worker;

static void stand_still(bool still)
{
    CHECK_EQ(kill(worker.pid, still ? SIGSTOP : SIGCONT), 0);
    int status = 0;
    CHECK_EQ(waitpid(worker.pid, &status, still ? WUNTRACED : WCONTINUED), worker.pid);
}

static void nap_until(int64_t mono_ns)
{
    while (rt_mono_ns() < mono_ns)
        wt_nap_ms(1);
}

static int first_to_come(int sink)
{
    char first = 0;
    CHECK_EQ(wt_recv(sink, &first, 1, WT_TIMEOUT_MS), 1);
    return first;
}

/* Packets with a later deadline, the first of them taken in; and one that is due before all of
 * them, queued last. */
static int stand_still_past(wt_channel_t *ch, int sink, unsigned later)
{
    int64_t now = rt_mono_ns();
    CHECK_EQ(wt_push(ch, "Y", 1, now + 60 * RT_NS_PER_MS, NULL), 0);
    wt_nap_ms(5);
    stand_still(true);
    for (unsigned i = 1; i < later; i++)
        CHECK_EQ(wt_push(ch, "Y", 1, now + 60 * RT_NS_PER_MS + (int64_t)i, NULL), 0);
    CHECK_EQ(wt_push(ch, "X", 1, now + 50 * RT_NS_PER_MS, NULL), 0);
    nap_until(now + 65 * RT_NS_PER_MS);
    stand_still(false);
    int first = first_to_come(sink);
    for (unsigned i = 0; i < later; i++)
        (void)first_to_come(sink);
    return first;
}

static void check_order(const char *name, unsigned later, unsigned rounds)
{
    uint16_t port = 0;
    int sink = wt_udp(&port);
    wt_channel_t ch = {.config = wt_config(name, port)};
    REQUIRE(wt_open(&worker, &ch));
    unsigned in_order = 0;
    for (unsigned i = 0; i < rounds; i++)
        in_order += stand_still_past(&ch, sink, later) == 'X';
    CHECK_EQ(in_order, rounds);
    CHECK_EQ(wt_command(&worker, &ch, CTL_CLOSE), 0);
    wt_drop(&ch);
    close(sink);
}

static void test_the_earlier_deadline_leaves_first(void)
{
    check_order("two", 1, ROUNDS);
}

/* More than is taken in at once. */
static void test_the_earliest_of_many_leaves_first(void)
{
    check_order("many", 1500, 5);
}

/* As the worker moves a record that it has taken in, but for the freeing. */
static void move_to_tail(const shm_segment_t *s, uint32_t from)
{
    shm_cursor_t tail = rt_load_acquire(&s->tx->tail);
    uint32_t to = shm_cursor_place(tail);
    uint64_t word = rt_load_acquire(tx_word_at(s->tx_data, from));
    uint32_t units = shm_word_units(word);
    CHECK_EQ(shm_word_state(word), SHM_RECORD_COMMITTED);
    rt_store_release(&s->tx->tail, shm_cursor(shm_cursor_seq(tail), to + units));
    memcpy(tx_word_at(s->tx_data, to), tx_word_at(s->tx_data, from),
           (size_t)units * SHM_UNIT_BYTES);
    rt_store_release(tx_word_at(s->tx_data, to),
                     shm_word(shm_word_seq(word), units, shm_word_flags(word) | SHM_TX_RELOCATED,
                              SHM_RECORD_COMMITTED));
    rt_store_release(tx_word_at(s->tx_data, from),
                     shm_word(shm_word_seq(word), units, shm_word_flags(word), SHM_RECORD_DONE));
}

static void test_a_moved_packet_keeps_its_turn(void)
{
    uint16_t port = 0;
    int sink = wt_udp(&port);
    wt_channel_t ch = {.config = wt_config("moved", port)};
    REQUIRE(wt_open(&worker, &ch));
    shm_tx_cursors_t *tx = ch.segment.tx;
    int64_t now = rt_mono_ns();
    CHECK_EQ(wt_push(&ch, "X", 1, now + 400 * RT_NS_PER_MS, NULL), 0);
    CHECK_EQ(wt_push(&ch, "Y", 1, now + 410 * RT_NS_PER_MS, NULL), 0);
    while (rt_load_acquire(&tx->read) != rt_load_acquire(&tx->tail))
        wt_nap_ms(1);
    stand_still(true);
    move_to_tail(&ch.segment, 0);
    nap_until(now + 420 * RT_NS_PER_MS);
    stand_still(false);
    CHECK_EQ(first_to_come(sink), 'X');
    CHECK_EQ(first_to_come(sink), 'Y');
    CHECK_EQ(wt_command(&worker, &ch, CTL_CLOSE), 0);
    wt_drop(&ch);
    close(sink);
}

int main(void)
{
    if (!wt_start(&worker, NULL))
        return 1;
    RUN(test_the_earlier_deadline_leaves_first);
    RUN(test_the_earliest_of_many_leaves_first);
    RUN(test_a_moved_packet_keeps_its_turn);
    wt_stop(&worker);
    return rt_test_result();
}
