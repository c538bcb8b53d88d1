/* A channel whose tx ring holds what cannot be: its packets get their verdicts, and after 1000 of
 * it the channel fails, with a reason. A channel beside it goes on. */
#include "unit/worker/rtp/rtp_test.h"

#include "proto/pacing/verdict.h"
#include "shm/tx_record.h"

enum { LIMIT = 1000, PACKETS = 100 };

static wt_worker_t worker;
static wt_channel_t beside;
static int sink;
static uint16_t port;

static bool fails(const wt_channel_t *ch)
{
    for (int i = 0; i < 3 * WT_TIMEOUT_MS / 10; i++) {
        if (rt_load_acquire(&ch->segment.status->state) == SHM_STATE_FAILED)
            return true;
        wt_nap_ms(10);
    }
    return false;
}

static void check_fence(const wt_channel_t *ch)
{
    unsigned count = 0, limit = 0;
    CHECK(fails(ch));
    CHECK_EQ(rt_load_relaxed(&ch->segment.status->error), EPROTO);
    /* NOLINTNEXTLINE(cert-err34-c) */
    CHECK_EQ(sscanf(ch->segment.status->reason, "%u invalid entries in its tx ring (limit %u)", &count, &limit),
             2);
    CHECK(count > LIMIT);
    CHECK_EQ(limit, LIMIT);
}

static void check_others(void)
{
    char byte = 0;
    CHECK_EQ(wt_push(&beside, "x", 1, 0, NULL), 0);
    while (CHECK_EQ(wt_recv(sink, &byte, 1, WT_TIMEOUT_MS), 1) && byte != 'x') {
    }
    CHECK_EQ(rt_load_acquire(&beside.segment.status->state), SHM_STATE_OPEN);
}

static bool push_spoilt(wt_channel_t *ch)
{
    tx_claim_t claim;
    int rc;
    while ((rc = tx_producer_claim(&ch->producer, 8, 0, rt_mono_ns(), NULL, &claim)) == -ENOBUFS)
        (void)tx_producer_wait_room(&ch->producer, rt_mono_ns() + RT_NS_PER_S);
    if (rc != 0)
        return false;
    claim.record->payload_bytes = UINT16_MAX;
    tx_producer_commit(&ch->producer, &claim);
    wt_ring(ch);
    return true;
}

static bool taken_in(const wt_channel_t *ch, uint32_t packets)
{
    for (int i = 0; i < WT_TIMEOUT_MS && shm_cursor_seq(rt_load_acquire(&ch->segment.tx->read)) < packets; i++)
        wt_nap_ms(1);
    return shm_cursor_seq(rt_load_acquire(&ch->segment.tx->read)) == packets;
}

/* Gives every other packet in the ring another state and number. */
static void overwrite_every_other(const wt_channel_t *ch, shm_record_state_t state)
{
    uint32_t end = shm_cursor_place(rt_load_relaxed(&ch->segment.tx->tail));
    unsigned n = 0;
    for (uint32_t at = 0; at < end; n++) {
        rt_a64_t *word = (rt_a64_t *)(ch->segment.tx_data + (size_t)at * SHM_UNIT_BYTES);
        uint64_t seen = rt_load_relaxed(word);
        if (n % 2 == 0)
            rt_store_relaxed(word, shm_word(shm_word_seq(seen) + 1, shm_word_units(seen),
                                            shm_word_flags(seen), state));
        at += shm_word_units(seen);
    }
}

static bool open_one(wt_channel_t *ch, const char *name)
{
    *ch = (wt_channel_t){.config = wt_config(name, port)};
    ch->config.overflow = SHM_OVERFLOW_WAIT;
    return wt_open(&worker, ch);
}

static void close_one(wt_channel_t *ch)
{
    CHECK_EQ(wt_command(&worker, ch, CTL_CLOSE), 0);
    wt_drop(ch);
}

static void test_spoilt_records_end_in_a_failed_channel(void)
{
    wt_channel_t ch;
    REQUIRE(open_one(&ch, "records"));
    for (int i = 0; i < LIMIT; i++)
        REQUIRE(push_spoilt(&ch));
    CHECK(wt_count_to(&ch, SHM_COUNT_tx_corrupt, LIMIT));
    wt_settle(&worker);
    CHECK_EQ(rt_load_acquire(&ch.segment.status->state), SHM_STATE_OPEN);
    REQUIRE(push_spoilt(&ch));
    check_fence(&ch);
    CHECK_EQ(wt_exact(&worker, &ch, SHM_COUNT_tx_corrupt), LIMIT + 1);
    check_others();
    close_one(&ch);
}

static void test_a_tail_outside_of_the_ring_ends_in_a_failed_channel(void)
{
    wt_channel_t ch;
    REQUIRE(open_one(&ch, "tail"));
    rt_store_relaxed(&ch.segment.tx->tail, shm_cursor(1, UINT32_MAX));
    wt_ring(&ch);
    check_fence(&ch);
    check_others();
    close_one(&ch);
}

static void test_a_ring_that_is_given_up_again_and_again_fails(void)
{
    wt_channel_t ch;
    REQUIRE(open_one(&ch, "given-up"));
    uint64_t given_up = 0;
    for (; given_up <= LIMIT; given_up++) {
        tx_claim_t claim;
        REQUIRE(tx_producer_claim(&ch.producer, 8, 0, rt_mono_ns(), NULL, &claim) == 0);
        claim.commit_word ^= UINT64_C(1) << 63; /* out of sequence */
        tx_producer_commit(&ch.producer, &claim);
        wt_ring(&ch);
        for (int i = 0; i < 100 && wt_counter(&ch, SHM_COUNT_tx_corrupt) <= given_up; i++)
            (void)usleep(20);
        REQUIRE(wt_count_to(&ch, SHM_COUNT_tx_corrupt, given_up + 1));
    }
    check_fence(&ch);
    check_others();
    close_one(&ch);
}

/* Opens a channel with packets that wait for their deadlines, half of them overwritten. If that
 * took longer than they waited, it is done again with later ones. */
static bool open_overwritten(wt_channel_t *ch, const char *name, shm_record_state_t state)
{
    for (int64_t ahead = RT_NS_PER_S / 4; ahead < 100 * RT_NS_PER_S; ahead *= 4) {
        if (!open_one(ch, name))
            return false;
        int64_t due = rt_mono_ns() + ahead;
        for (int i = 0; i < PACKETS; i++)
            CHECK_EQ(wt_push(ch, "y", 1, due, NULL), 0);
        if (!CHECK(taken_in(ch, PACKETS)))
            return false;
        overwrite_every_other(ch, state);
        if (rt_mono_ns() < due - 10 * RT_NS_PER_MS)
            return true;
        close_one(ch);
    }
    return false;
}

static void check_half_is_corrupt(wt_channel_t *ch)
{
    CHECK(wt_count_to(ch, SHM_COUNT_tx_corrupt, PACKETS / 2));
    CHECK_EQ(wt_exact(&worker, ch, SHM_COUNT_tx_sent), PACKETS / 2);
    CHECK_EQ(wt_exact(&worker, ch, SHM_COUNT_tx_corrupt), PACKETS / 2);
    CHECK_EQ(tx_ring_waiting(&ch->segment), 0);
    check_others();
    close_one(ch);
}

/* Each sequence gets one report, of its own. */
static void check_overwritten(const char *name, shm_record_state_t state)
{
    wt_channel_t ch;
    uint8_t seen[PACKETS] = {0};
    shm_report_t reports[PACKETS];
    REQUIRE(open_overwritten(&ch, name, state));
    REQUIRE(wt_reports(&ch, reports, PACKETS) == PACKETS);
    for (int i = 0; i < PACKETS; i++)
        if (CHECK(reports[i].sequence < PACKETS)) {
            seen[reports[i].sequence]++;
            CHECK_EQ(reports[i].error, reports[i].sequence % 2 == 0 ? EBADMSG : 0);
        }
    for (int i = 0; i < PACKETS; i++)
        CHECK_EQ(seen[i], 1);
    check_half_is_corrupt(&ch);
}

static void test_overwritten_packets_get_their_verdicts(void)
{
    check_overwritten("sending", SHM_RECORD_SENDING);
    check_overwritten("aborted", SHM_RECORD_ABORTED);
    check_overwritten("numbers", SHM_RECORD_COMMITTED);
}

/* A client marks waiting packets as done: nobody knows their numbers any
 * more, but they are counted. */
static void test_packets_marked_as_done_are_counted(void)
{
    wt_channel_t ch;
    REQUIRE(open_overwritten(&ch, "done", SHM_RECORD_DONE));
    check_half_is_corrupt(&ch);
}

static void test_an_rtp_channel_fails_too(void)
{
    shm_rtp_config_t stream = rtpt_stream();
    wt_channel_t ch = {.config = rtpt_config("rtp", port, SHM_TX, &stream)};
    ch.config.overflow = SHM_OVERFLOW_WAIT;
    REQUIRE(wt_open(&worker, &ch));
    for (int i = 0; i <= LIMIT; i++)
        REQUIRE(push_spoilt(&ch));
    check_fence(&ch);
    check_others();
    close_one(&ch);
}

int main(void)
{
    if (!wt_start(&worker, NULL))
        return 1;
    sink = wt_udp(&port);
    if (!open_one(&beside, "beside"))
        return 1;
    RUN(test_spoilt_records_end_in_a_failed_channel);
    RUN(test_a_tail_outside_of_the_ring_ends_in_a_failed_channel);
    RUN(test_a_ring_that_is_given_up_again_and_again_fails);
    RUN(test_overwritten_packets_get_their_verdicts);
    RUN(test_packets_marked_as_done_are_counted);
    RUN(test_an_rtp_channel_fails_too);
    close_one(&beside);
    close(sink);
    wt_stop(&worker);
    return rt_test_result();
}
