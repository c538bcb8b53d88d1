/* The flight recorder and the log of distinct errors, in virtual time. */
#include "shm_test.h"

#include "error_log_reader.h"

static shm_recorder_t shared;
static shm_error_log_t shared_errors;
static recorder_t rec;
static error_log_t errors;
static shm_event_t events[SHM_RECORDER_EVENTS];
static shm_error_t found[SHM_ERRORS];

static const recorder_subject_t WORKER = {0};
static const recorder_subject_t CTL = {.channel = "ctl", .channel_id = 7};
static const recorder_subject_t OTHER = {.channel = "other", .channel_id = 8};

static void begin(void)
{
    memset(&shared, 0, sizeof shared);
    memset(&shared_errors, 0, sizeof shared_errors);
    recorder_init(&rec, &shared, 42, 0);
    error_log_init(&errors, &shared_errors);
}

static unsigned read_events(void)
{
    slot_reader_t r;
    slot_reader_init(&r, &shared.cursors, shared.events, SHM_RECORDER_EVENTS, sizeof events[0]);
    return slot_reader_next(&r, events, SHM_RECORDER_EVENTS);
}

static void test_an_event_says_what_when_and_where(void)
{
    begin();
    recorder_note(&rec, SHM_EVENT_channel_opened, &CTL, 1, 2, 3, 4, 1000);
    REQUIRE(read_events() == 1);
    CHECK_EQ(events[0].id, SHM_EVENT_channel_opened);
    CHECK_EQ(events[0].mono_ns, 1000);
    CHECK_EQ(events[0].last_mono_ns, 1000);
    CHECK_EQ(events[0].count, 1);
    CHECK_EQ(events[0].a, 2);
    CHECK_EQ(events[0].b, 3);
    CHECK_EQ(events[0].c, 4);
    CHECK_EQ(events[0].pid, 42);
    CHECK_EQ(events[0].channel_id, 7);
    CHECK_STR_EQ(events[0].channel, "ctl");
}

static void test_the_longest_name_fills_its_field(void)
{
    begin();
    char name[SHM_NAME_BYTES] = {0};
    memset(name, 'n', SHM_NAME_MAX);
    const recorder_subject_t subject = {.channel = name, .channel_id = 1};
    recorder_note(&rec, SHM_EVENT_channel_opened, &subject, 1, 0, 0, 0, 1000);
    error_log_note(&errors, SHM_EVENT_channel_failed, &subject, 1, 5, NULL, 1000);
    REQUIRE(read_events() == 1);
    CHECK_MEM_EQ(events[0].channel, name, SHM_NAME_MAX);
    REQUIRE(error_log_read(&shared_errors, found) == 1);
    CHECK_MEM_EQ(found[0].channel, name, SHM_NAME_MAX);
}

static void test_facts_are_each_written(void)
{
    begin();
    for (int i = 0; i < 5; i++)
        recorder_note(&rec, SHM_EVENT_channel_held, &CTL, 1, 0, 0, 0, 1000 + i);
    CHECK_EQ(read_events(), 5);
}

static void test_a_burst_is_one_event(void)
{
    begin();
    for (int64_t i = 0; i < 1000; i++)
        recorder_note(&rec, SHM_EVENT_late_packets, &CTL, 1, 2, i == 500 ? 9000 : 100, 70 + i,
                      i * RT_NS_PER_MS);
    REQUIRE(read_events() == 1);
    CHECK_EQ(events[0].count, 1000);
    CHECK_EQ(events[0].mono_ns, 0);
    CHECK_EQ(events[0].last_mono_ns, 999 * RT_NS_PER_MS);
    CHECK_EQ(events[0].b, 9000); /* the worst */
    CHECK_EQ(events[0].c, 70);   /* of the first */
}

static void test_counts_of_a_burst_add_up(void)
{
    begin();
    recorder_note(&rec, SHM_EVENT_kernel_drops, &CTL, 17, 0, 0, 0, 1000);
    recorder_note(&rec, SHM_EVENT_kernel_drops, &CTL, 4, 0, 0, 0, 2000);
    REQUIRE(read_events() == 1);
    CHECK_EQ(events[0].count, 21);
}

static void test_bursts_are_kept_apart(void)
{
    begin();
    for (int64_t i = 0; i < 10; i++) {
        recorder_note(&rec, SHM_EVENT_late_packets, &CTL, 1, 2, 0, 0, i);
        recorder_note(&rec, SHM_EVENT_late_packets, &CTL, 1, 3, 0, 0, i);
        recorder_note(&rec, SHM_EVENT_late_packets, &OTHER, 1, 2, 0, 0, i);
        recorder_note(&rec, SHM_EVENT_missed_wake, &WORKER, 1, 0, 0, 0, i);
    }
    REQUIRE(read_events() == 4);
    for (unsigned i = 0; i < 4; i++)
        CHECK_EQ(events[i].count, 10);
}

static void test_a_pause_ends_a_burst(void)
{
    begin();
    recorder_note(&rec, SHM_EVENT_forced_rest, &WORKER, 1, 0, 5, 0, 0);
    recorder_note(&rec, SHM_EVENT_forced_rest, &WORKER, 1, 0, 5, 0, RECORDER_GAP_NS);
    recorder_note(&rec, SHM_EVENT_forced_rest, &WORKER, 1, 0, 5, 0, 2 * RECORDER_GAP_NS + 1);
    REQUIRE(read_events() == 2);
    CHECK_EQ(events[0].count, 2);
    CHECK_EQ(events[1].count, 1);
}

static void test_a_long_burst_begins_anew(void)
{
    begin();
    for (int64_t i = 0; i < 300; i++)
        recorder_note(&rec, SHM_EVENT_forced_rest, &WORKER, 1, 0, 5, 0, i * RT_NS_PER_S / 10);
    unsigned n = read_events();
    CHECK_EQ(n, 3);
    uint64_t sum = 0;
    for (unsigned i = 0; i < n; i++)
        sum += events[i].count;
    CHECK_EQ(sum, 300);
}

static void test_an_overwritten_burst_is_left_alone(void)
{
    begin();
    recorder_note(&rec, SHM_EVENT_late_packets, &CTL, 1, 2, 0, 0, 10);
    for (unsigned i = 0; i < SHM_RECORDER_EVENTS; i++)
        recorder_note(&rec, SHM_EVENT_channel_held, &OTHER, 1, 0, 0, 0, 11);
    recorder_note(&rec, SHM_EVENT_late_packets, &CTL, 1, 2, 0, 0, 12);
    REQUIRE(read_events() == SHM_RECORDER_EVENTS);
    const shm_event_t *last = &events[SHM_RECORDER_EVENTS - 1];
    CHECK_EQ(last->id, SHM_EVENT_late_packets);
    CHECK_EQ(last->count, 1);
    CHECK_EQ(events[0].id, SHM_EVENT_channel_held);
    CHECK_EQ(events[0].count, 1);
}

static void test_a_flood_of_different_ones_leaves_room(void)
{
    begin();
    for (uint64_t i = 0; i < 10000; i++) {
        const recorder_subject_t one = {.channel = "x", .channel_id = i + 1};
        recorder_note(&rec, SHM_EVENT_late_packets, &one, 1, 2, 0, 0, 10);
    }
    unsigned n = read_events();
    CHECK_EQ(n, RECORDER_AT_ONCE);
    CHECK_EQ(rt_load_relaxed(&shared.cursors.suppressed), 10000 - RECORDER_AT_ONCE);
    recorder_note(&rec, SHM_EVENT_worker_ended, &WORKER, 1, 0, 0, 0, 11); /* facts always */
    CHECK_EQ(read_events(), n + 1);
    /* and later again */
    recorder_note(&rec, SHM_EVENT_late_packets, &CTL, 1, 5, 0, 0, RT_NS_PER_S);
    CHECK_EQ(read_events(), n + 2);
}

static void test_time_that_goes_back_does_no_harm(void)
{
    begin();
    recorder_note(&rec, SHM_EVENT_late_packets, &CTL, 1, 2, 0, 0, 10 * RT_NS_PER_S);
    recorder_note(&rec, SHM_EVENT_late_packets, &CTL, 1, 2, 0, 0, 9 * RT_NS_PER_S);
    CHECK_EQ(read_events(), 1);
}

static void test_a_successor_goes_on(void)
{
    begin();
    recorder_note(&rec, SHM_EVENT_worker_started, &WORKER, 1, 0, 0, 0, 10);
    rt_store_relaxed(&shared.cursors.writing, 2); /* killed amid the second */
    recorder_init(&rec, &shared, 43, 20);
    recorder_note(&rec, SHM_EVENT_worker_started, &WORKER, 1, 0, 0, 1, 20);
    REQUIRE(read_events() == 2);
    CHECK_EQ(events[0].pid, 42);
    CHECK_EQ(events[1].pid, 43);
}

static void test_without_a_page_nothing_happens(void)
{
    static recorder_t none;
    static error_log_t no_log;
    recorder_note(&none, SHM_EVENT_late_packets, &CTL, 1, 2, 0, 0, 10);
    error_log_note(&no_log, SHM_EVENT_send_failed, &CTL, 1, 2, "text", 10);
}

/* --- the table ------------------------------------------------------------------------------- */

static void test_every_row_has_a_kind(void)
{
    for (unsigned i = 0; i < SHM_EVENT_TOTAL; i++)
        CHECK(shm_event_kind(i) <= SHM_EVENT_KIND_ERROR);
    CHECK_EQ(shm_event_kind(SHM_EVENT_kernel_drops), SHM_EVENT_KIND_ERROR);
    CHECK_EQ(shm_event_kind(SHM_EVENT_TOTAL), SHM_EVENT_KIND_FACT);
    CHECK_EQ(shm_event_kind(UINT32_MAX), SHM_EVENT_KIND_FACT);
}

/* --- distinct errors -------------------------------------------------------------------------- */

static void test_an_error_is_there_once(void)
{
    begin();
    for (int64_t i = 0; i < 1000000; i++)
        error_log_note(&errors, SHM_EVENT_send_failed, &CTL, 1, ENETUNREACH, "first words", i);
    error_log_note(&errors, SHM_EVENT_send_failed, &CTL, 1, ENETUNREACH, "other words", 2000000);
    REQUIRE(error_log_read(&shared_errors, found) == 1);
    CHECK_EQ(found[0].id, SHM_EVENT_send_failed);
    CHECK_EQ(found[0].a, ENETUNREACH);
    CHECK_EQ(found[0].count, 1000001);
    CHECK_EQ(found[0].first_mono_ns, 0);
    CHECK_EQ(found[0].last_mono_ns, 2000000);
    CHECK_STR_EQ(found[0].channel, "ctl");
    CHECK_STR_EQ(found[0].text, "first words");
}

static void test_errors_are_told_apart(void)
{
    begin();
    error_log_note(&errors, SHM_EVENT_send_failed, &CTL, 1, ENETUNREACH, NULL, 1);
    error_log_note(&errors, SHM_EVENT_send_failed, &CTL, 1, EPERM, NULL, 2);
    error_log_note(&errors, SHM_EVENT_send_failed, &OTHER, 1, EPERM, NULL, 3);
    error_log_note(&errors, SHM_EVENT_receive_failed, &CTL, 1, EPERM, NULL, 4);
    error_log_note(&errors, SHM_EVENT_send_failed, &CTL, 2, ENETUNREACH, NULL, 5);
    REQUIRE(error_log_read(&shared_errors, found) == 4);
    CHECK_EQ(found[0].count, 3);
    CHECK_EQ(found[3].id, SHM_EVENT_receive_failed);
}

static void test_what_finds_no_room_is_counted(void)
{
    begin();
    for (int64_t i = 0; i < SHM_ERRORS + 10; i++)
        error_log_note(&errors, SHM_EVENT_send_failed, &CTL, 2, i + 1, NULL, i);
    CHECK_EQ(error_log_read(&shared_errors, found), SHM_ERRORS);
    CHECK_EQ(rt_load_relaxed(&shared_errors.others), 20);
    CHECK_EQ(rt_load_relaxed(&shared_errors.others_last_mono_ns), SHM_ERRORS + 9);
    error_log_note(&errors, SHM_EVENT_send_failed, &CTL, 1, 1, NULL, 100); /* a known one */
    CHECK_EQ(rt_load_relaxed(&shared_errors.others), 20);
}

static void test_a_long_text_is_cut(void)
{
    begin();
    char text[1000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    error_log_note(&errors, SHM_EVENT_request_refused, &WORKER, 1, EPERM, text, 1);
    REQUIRE(error_log_read(&shared_errors, found) == 1);
    CHECK_EQ(strlen(found[0].text), sizeof found[0].text - 1);
}

static void test_a_successor_knows_the_errors(void)
{
    begin();
    error_log_note(&errors, SHM_EVENT_send_failed, &CTL, 1, EPERM, "text", 1);
    shared_errors.errors[1].id = SHM_EVENT_send_failed; /* killed amid the second */
    error_log_init(&errors, &shared_errors);
    error_log_note(&errors, SHM_EVENT_send_failed, &CTL, 1, EPERM, "text", 2);
    error_log_note(&errors, SHM_EVENT_send_failed, &OTHER, 1, EPERM, "text", 3);
    REQUIRE(error_log_read(&shared_errors, found) == 2);
    CHECK_EQ(found[0].count, 2);
    CHECK_STR_EQ(found[1].channel, "other");
}

static void test_texts_without_an_end_get_one(void)
{
    begin();
    memset(&shared_errors, 0xff, sizeof shared_errors);
    CHECK_EQ(error_log_read(&shared_errors, found), SHM_ERRORS);
    CHECK_EQ(found[5].text[sizeof found[5].text - 1], '\0');
    error_log_init(&errors, &shared_errors);
    error_log_note(&errors, SHM_EVENT_send_failed, &CTL, 1, EPERM, "text", 2);
}

int main(void)
{
    RUN(test_an_event_says_what_when_and_where);
    RUN(test_the_longest_name_fills_its_field);
    RUN(test_facts_are_each_written);
    RUN(test_a_burst_is_one_event);
    RUN(test_counts_of_a_burst_add_up);
    RUN(test_bursts_are_kept_apart);
    RUN(test_a_pause_ends_a_burst);
    RUN(test_a_long_burst_begins_anew);
    RUN(test_an_overwritten_burst_is_left_alone);
    RUN(test_a_flood_of_different_ones_leaves_room);
    RUN(test_time_that_goes_back_does_no_harm);
    RUN(test_a_successor_goes_on);
    RUN(test_without_a_page_nothing_happens);
    RUN(test_every_row_has_a_kind);
    RUN(test_an_error_is_there_once);
    RUN(test_errors_are_told_apart);
    RUN(test_what_finds_no_room_is_counted);
    RUN(test_a_long_text_is_cut);
    RUN(test_a_successor_knows_the_errors);
    RUN(test_texts_without_an_end_get_one);
    return rt_test_result();
}
