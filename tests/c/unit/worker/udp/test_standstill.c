/* A worker that stood still past several deadlines: what was due first leaves first, whether it had
 * taken the packets in before or not. */
#include "unit/worker/worker_test.h"

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

int main(void)
{
    if (!wt_start(&worker, NULL))
        return 1;
    RUN(test_the_earlier_deadline_leaves_first);
    RUN(test_the_earliest_of_many_leaves_first);
    wt_stop(&worker);
    return rt_test_result();
}
