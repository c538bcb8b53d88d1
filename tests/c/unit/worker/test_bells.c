/* The bells of a channel with many readers and watchers: all are rung, a
 * bounded number in each call. */
#include "rt_test.h"

#include "worker/bells.h"

#include <sys/socket.h>
#include <unistd.h>

enum { READERS = 40, WATCHERS = 50, BELLS = READERS + WATCHERS, MOST = 16 };

static worker_t w;
static wrk_bell_t bells[BELLS];
static int ends[BELLS]; /* of the clients */
static int fds[BELLS];  /* the worker's */
static shm_reader_t readers[READERS];
static wrk_channel_t ch;

static void attach(uint32_t i)
{
    int pair[2];
    CHECK_EQ(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    ends[i] = pair[0];
    fds[i] = pair[1];
    bells_add(&ch, i < READERS ? i : WRK_WATCHER, fds[i]);
}

static void start(void)
{
    memset(&w, 0, sizeof w);
    memset(readers, 0, sizeof readers);
    ch = (wrk_channel_t){.worker = &w, .bells = bells, .segment.readers = readers};
    for (uint32_t i = 0; i < BELLS; i++)
        attach(i);
}

static void end(void)
{
    while (ch.bell_count > 0)
        bells_close(&ch, ch.bells[0].fd);
    for (unsigned i = 0; i < BELLS; i++)
        close(ends[i]);
}

/* How often clients from .. to - 1 were rung since the last call, all
 * together; *most: one of them. */
static unsigned rung(unsigned from, unsigned to, unsigned *most)
{
    unsigned all = 0;
    *most = 0;
    for (unsigned i = from; i < to; i++) {
        char byte[8];
        unsigned times = 0;
        while (recv(ends[i], byte, sizeof byte, 0) > 0)
            times++;
        all += times;
        *most = times > *most ? times : *most;
    }
    return all;
}

static void test_watchers_are_rung_in_pieces(void)
{
    unsigned most;
    start();
    CHECK(!bells_step(&w));
    bells_ring_watchers(&ch);
    unsigned all = rung(0, BELLS, &most);
    CHECK_EQ(all, MOST);
    while (bells_step(&w)) {
        unsigned more = rung(READERS, BELLS, &most);
        CHECK(more <= MOST);
        CHECK(most <= 1);
        all += more;
    }
    CHECK_EQ(all, WATCHERS);
    CHECK_EQ(rung(0, READERS, &most), 0);
    end();
}

static void test_readers_that_asked_are_rung_in_pieces(void)
{
    unsigned most;
    start();
    for (unsigned i = 0; i < READERS; i++)
        rt_store_relaxed(&readers[i].bell_want, i != 7);
    bells_ring_readers(&ch);
    unsigned all = rung(0, BELLS, &most);
    CHECK_EQ(all, MOST);
    while (bells_step(&w)) {
    }
    all += rung(0, READERS, &most);
    CHECK_EQ(most, 1);
    CHECK_EQ(all, READERS - 1);
    CHECK_EQ(rung(READERS, BELLS, &most), 0);
    end();
}

/* A client that asks again and again takes nobody's turn. */
static void test_each_watcher_has_its_turn_if_rounds_never_end(void)
{
    unsigned most;
    start();
    for (unsigned i = 0; i < 2 * BELLS / MOST; i++)
        bells_ring_watchers(&ch);
    for (unsigned i = READERS; i < BELLS; i++)
        CHECK(rung(i, i + 1, &most) >= 1);
    end();
    bells_forget(&ch);
}

static void test_clients_that_leave_make_no_other_miss_its_ring(void)
{
    unsigned most;
    start();
    bells_ring_watchers(&ch);
    const unsigned gone = 10; /* they were rung, and the last bells take their places */
    for (unsigned i = READERS; i < READERS + gone; i++)
        bells_close(&ch, fds[i]);
    while (bells_step(&w)) {
    }
    for (unsigned i = READERS + gone; i < BELLS; i++)
        CHECK(rung(i, i + 1, &most) >= 1);
    end();
}

static void test_a_client_that_comes_makes_no_other_miss_its_ring(void)
{
    unsigned most;
    start();
    const unsigned last = BELLS - 1;
    bells_close(&ch, fds[last]);
    close(ends[last]);
    ch.rounds[WRK_BELL_WATCHERS].next = READERS + 10; /* a former round ended there */
    bells_ring_watchers(&ch);
    attach(last); /* before the round comes to the beginning */
    while (bells_step(&w)) {
    }
    for (unsigned i = READERS; i < last; i++)
        CHECK(rung(i, i + 1, &most) >= 1);
    end();
}

static void test_watchers_have_turns_between_readers_that_always_ask(void)
{
    unsigned most;
    start();
    bells_ring_watchers(&ch);
    for (unsigned pass = 0; pass < 2 * BELLS / MOST; pass++) {
        for (unsigned i = 0; i < READERS; i++)
            rt_store_relaxed(&readers[i].bell_want, 1);
        bells_ring_readers(&ch);
        CHECK(bells_step(&w));
    }
    for (unsigned i = 0; i < BELLS; i++)
        CHECK(rung(i, i + 1, &most) >= 1);
    end();
    bells_forget(&ch);
}

static void test_channels_take_turns(void)
{
    unsigned most;
    start();
    wrk_channel_t other = {.worker = &w, .bells = bells + READERS, .bell_count = WATCHERS};
    bells_ring_watchers(&ch);
    bells_ring_watchers(&other);
    CHECK(w.ringing == &ch);
    CHECK(bells_step(&w));
    CHECK(w.ringing == &other);
    CHECK(bells_step(&w));
    CHECK(w.ringing == &ch);
    bells_forget(&ch);
    CHECK(w.ringing == &other);
    bells_forget(&other);
    CHECK(!bells_step(&w));
    (void)rung(0, BELLS, &most);
    end();
}

int main(void)
{
    RUN(test_watchers_are_rung_in_pieces);
    RUN(test_readers_that_asked_are_rung_in_pieces);
    RUN(test_each_watcher_has_its_turn_if_rounds_never_end);
    RUN(test_clients_that_leave_make_no_other_miss_its_ring);
    RUN(test_a_client_that_comes_makes_no_other_miss_its_ring);
    RUN(test_watchers_have_turns_between_readers_that_always_ask);
    RUN(test_channels_take_turns);
    return rt_test_result();
}
