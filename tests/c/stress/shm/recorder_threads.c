/* One writer floods a flight recorder, a ring of late packets and an error log; readers copy all
 * the while. Every copy must be whole: what belongs to one event, packet or error stays together,
 * and the numbers that change in place only grow. */
#include "rt_test.h"

#include "base/rt_clock.h"
#include "error_log_reader.h"
#include "shm/shm_layout.h"

#include <pthread.h>

enum { READERS = 3, LATE_SLOTS = 16, ERRORS = 80 };

static shm_recorder_t recorder;
static shm_error_log_t error_log;
static shm_slot_cursors_t late_cursors;
static shm_late_packet_t late_slots[LATE_SLOTS];
static atomic_bool over;

static void fill_name(char name[SHM_NAME_BYTES], uint64_t n)
{
    memset(name, 0, SHM_NAME_BYTES);
    memset(name, 'a' + (char)(n % 26), 1 + n % SHM_NAME_MAX);
}

static bool name_is_of(const char *got, uint64_t n)
{
    char name[SHM_NAME_BYTES];
    fill_name(name, n);
    return memcmp(got, name, SHM_NAME_MAX) == 0;
}

static void *write_all(void *unused)
{
    (void)unused;
    static recorder_t r;
    static error_log_t l;
    static slot_writer_t late;
    uint64_t rounds = rt_test_env_u64("RT_TEST_ROUNDS", 1000000);
    recorder_init(&r, &recorder, 1, 0);
    error_log_init(&l, &error_log);
    slot_writer_init(&late, &late_cursors, late_slots, LATE_SLOTS, sizeof(shm_late_packet_t));
    for (uint64_t n = 1; n <= rounds; n++) {
        char name[SHM_NAME_BYTES];
        fill_name(name, n);
        const recorder_subject_t subject = {.channel = name, .channel_id = n};
        int64_t number = (int64_t)n;
        recorder_note(&r, SHM_EVENT_channel_opened, &subject, n, number, number, number, number);
        for (int64_t i = 0; i < 3; i++) /* a burst, in place */
            recorder_note(&r, SHM_EVENT_late_packets, &subject, 1, number, i, number,
                          number * RT_NS_PER_S);
        uint64_t which = n % ERRORS + 1;
        fill_name(name, which);
        const recorder_subject_t wrong = {.channel = name, .channel_id = which};
        error_log_note(&l, SHM_EVENT_send_failed, &wrong, 1, (int64_t)which, name, number);
        shm_late_packet_t packet = {.noted_mono_ns = number, .producer = (uint32_t)n};
        packet.report.sequence = n;
        packet.report.stamped_ns = number;
        (void)slot_writer_put(&late, &packet);
    }
    atomic_store(&over, true);
    return NULL;
}

static bool event_is_whole(const shm_event_t *e)
{
    uint64_t n = e->channel_id;
    bool numbers = e->a == (int64_t)n && e->c == (int64_t)n;
    if (e->id == SHM_EVENT_late_packets)
        numbers = numbers && e->count >= 1 && e->count <= 3 && e->b >= 0 && e->b < 3;
    else
        numbers = numbers && e->count == n && e->b == (int64_t)n;
    return numbers && name_is_of(e->channel, n);
}

static bool packet_is_whole(const shm_late_packet_t *p)
{
    return p->report.sequence == (uint64_t)p->noted_mono_ns &&
           p->report.stamped_ns == p->noted_mono_ns && p->producer == (uint32_t)p->noted_mono_ns;
}

static bool error_is_whole(const shm_error_t *e)
{
    return e->a == (int64_t)e->channel_id && name_is_of(e->channel, e->channel_id) &&
           name_is_of(e->text, e->channel_id) && e->count > 0 &&
           e->last_mono_ns >= e->first_mono_ns;
}

static void read_once(shm_event_t *events, slot_reader_t *at, slot_reader_t *late)
{
    shm_late_packet_t packets[LATE_SLOTS];
    shm_error_t errors[SHM_ERRORS];
    unsigned n = slot_reader_next(at, events, 64);
    for (unsigned i = 0; i < n; i++)
        CHECK(event_is_whole(&events[i]));
    n = slot_reader_next(late, packets, LATE_SLOTS);
    for (unsigned i = 0; i < n; i++)
        CHECK(packet_is_whole(&packets[i]));
    n = error_log_read(&error_log, errors);
    for (unsigned i = 0; i < n; i++)
        CHECK(error_is_whole(&errors[i]));
}

static void *read_all(void *unused)
{
    (void)unused;
    shm_event_t events[64];
    slot_reader_t at, late;
    slot_reader_init(&at, &recorder.cursors, recorder.events, SHM_RECORDER_EVENTS, sizeof events[0]);
    slot_reader_init(&late, &late_cursors, late_slots, LATE_SLOTS, sizeof(shm_late_packet_t));
    while (!atomic_load(&over))
        read_once(events, &at, &late);
    read_once(events, &at, &late);
    return NULL;
}

static void test_what_is_read_is_whole(void)
{
    pthread_t writer, readers[READERS];
    for (unsigned i = 0; i < READERS; i++)
        REQUIRE(pthread_create(&readers[i], NULL, read_all, NULL) == 0);
    REQUIRE(pthread_create(&writer, NULL, write_all, NULL) == 0);
    pthread_join(writer, NULL);
    for (unsigned i = 0; i < READERS; i++)
        pthread_join(readers[i], NULL);
}

int main(void)
{
    RUN(test_what_is_read_is_whole);
    return rt_test_result();
}
