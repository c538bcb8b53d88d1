#include "shm_test.h"

#include "shm/report_ring.h"

static shm_segment_t seg;
static int seg_fd;

static void open_with(uint32_t slots)
{
    shm_config_t c = shm_test_config(4096, 100);
    c.report_slots = slots;
    seg_fd = shm_test_open(&seg, &c);
}

static void put(report_writer_t *w, uint64_t first, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        shm_report_t report = {.sequence = first + i, .error = (int32_t)(first + i)};
        report_writer_put(w, &report);
    }
}

static void check_reports(const shm_report_t *reports, unsigned n, uint64_t first)
{
    for (unsigned i = 0; i < n; i++) {
        CHECK_EQ(reports[i].sequence, first + i);
        CHECK_EQ(reports[i].error, (int32_t)(first + i));
    }
}

static void test_reports_come_in_order(void)
{
    open_with(8);
    report_writer_t w;
    report_reader_t r;
    shm_report_t got[16];
    report_writer_init(&w, &seg);
    report_reader_init(&r, &seg);
    CHECK_EQ(report_reader_next(&r, got, 16), 0);
    put(&w, 0, 5);
    CHECK_EQ(report_reader_next(&r, got, 2), 2);
    check_reports(got, 2, 0);
    CHECK_EQ(report_reader_next(&r, got, 16), 3);
    check_reports(got, 3, 2);
    CHECK_EQ(report_reader_next(&r, got, 16), 0);
    CHECK_EQ(r.lost, 0);
    shm_test_close(&seg, seg_fd);
}

static void test_a_slow_reader_knows_what_it_lost(void)
{
    open_with(8);
    report_writer_t w;
    report_reader_t r;
    shm_report_t got[16];
    report_writer_init(&w, &seg);
    report_reader_init(&r, &seg);
    put(&w, 0, 20);
    CHECK_EQ(report_reader_next(&r, got, 16), 8);
    check_reports(got, 8, 12);
    CHECK_EQ(r.lost, 12);

    report_reader_init(&r, &seg); /* a new one begins at the oldest and has lost nothing */
    CHECK_EQ(report_reader_next(&r, got, 16), 8);
    CHECK_EQ(r.lost, 0);
    shm_test_close(&seg, seg_fd);
}

static void test_a_slot_being_written_is_not_read(void)
{
    open_with(8);
    report_writer_t w;
    report_reader_t r;
    shm_report_t got[16];
    report_writer_init(&w, &seg);
    put(&w, 0, 8);
    report_reader_init(&r, &seg);
    rt_store_relaxed(&seg.report->writing, 9); /* the writer stands in the middle of report 8 */
    CHECK_EQ(report_reader_next(&r, got, 16), 7);
    check_reports(got, 7, 1);
    CHECK_EQ(r.lost, 1);
    shm_test_close(&seg, seg_fd);
}

static void test_a_successor_goes_on(void)
{
    open_with(8);
    report_writer_t w;
    report_reader_t r;
    shm_report_t got[16];
    report_writer_init(&w, &seg);
    report_reader_init(&r, &seg);
    put(&w, 0, 3);
    rt_store_relaxed(&seg.report->writing, 4); /* died in the fourth */
    report_writer_init(&w, &seg);
    put(&w, 3, 2);
    CHECK_EQ(report_reader_next(&r, got, 16), 5);
    check_reports(got, 5, 0);
    shm_test_close(&seg, seg_fd);
}

static void test_a_tail_somebody_scribbled_over_has_an_end(void)
{
    open_with(8);
    report_writer_t w;
    report_reader_t r;
    shm_report_t got[16];
    report_writer_init(&w, &seg);
    report_reader_init(&r, &seg);
    put(&w, 0, 3);
    rt_store_relaxed(&seg.report->tail, UINT64_MAX / 2);
    CHECK_EQ(report_reader_next(&r, got, 16), 8);
    CHECK_EQ(report_reader_next(&r, got, 16), 0);
    shm_test_close(&seg, seg_fd);
}

static void test_no_slots_no_reports(void)
{
    open_with(0);
    report_writer_t w;
    report_reader_t r;
    shm_report_t got[1];
    report_writer_init(&w, &seg);
    report_reader_init(&r, &seg);
    put(&w, 0, 3);
    CHECK_EQ(report_reader_next(&r, got, 1), 0);
    shm_test_close(&seg, seg_fd);
}

int main(void)
{
    RUN(test_reports_come_in_order);
    RUN(test_a_slow_reader_knows_what_it_lost);
    RUN(test_a_slot_being_written_is_not_read);
    RUN(test_a_successor_goes_on);
    RUN(test_a_tail_somebody_scribbled_over_has_an_end);
    RUN(test_no_slots_no_reports);
    return rt_test_result();
}
