/* An endpoint beside a worker that is played by the test: its rings are served by hand. */
#include "../shm/shm_test.h"

#include "client/channel_stats.h"
#include "client/endpoint.h"
#include "client/readiness.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>

typedef struct rig {
    shm_segment_t segment;
    int fd;
    tx_queue_t queue;
    rx_writer_t writer;
    int bell_fd;
    endpoint_t end;
} rig_t;

static const shm_addr_t REMOTE = {.family = 4, .port = 9, .ip = {127, 0, 0, 1}};

static void serve(rig_t *r, uint32_t epoch)
{
    rt_store_release(&r->segment.status->epoch, epoch);
    rt_store_release(&r->segment.status->state, SHM_STATE_OPEN);
}

static void open_rig_as(rig_t *r, shm_config_t c, int mode)
{
    c.remote = REMOTE;
    r->fd = shm_test_open(&r->segment, &c);
    CHECK_EQ(shm_test_queue_init(&r->queue, &r->segment, 0), 0);
    CHECK_EQ(rx_writer_init(&r->writer, &r->segment), 0);
    r->bell_fd = eventfd(0, EFD_NONBLOCK);
    serve(r, 1);
    CHECK_EQ(endpoint_open(&r->end, &r->segment, mode, 0), 0);
}

static void open_rig(rig_t *r)
{
    open_rig_as(r, shm_test_config(65536, 200), SHM_READ_EACH);
}

static void close_rig(rig_t *r)
{
    endpoint_shut(&r->end);
    endpoint_close(&r->end);
    close(r->bell_fd);
    shm_test_close(&r->segment, r->fd);
}

static void arrive(rig_t *r, const char *text)
{
    rx_item_t item = {.payload = text, .payload_bytes = (uint32_t)strlen(text), .source = REMOTE};
    CHECK_EQ(rx_writer_put(&r->writer, &item), 0);
    (void)rx_writer_publish(&r->writer);
}

static int send_text(rig_t *r, const char *text, uint64_t *sequence)
{
    return endpoint_send(&r->end, text, strlen(text), 0, NULL, sequence);
}

/* --- sending ---------------------------------------------------------------------------------- */

static void test_sending_needs_to_be_attached_to_the_worker_in_charge(void)
{
    rig_t r;
    uint64_t sequence = 99;
    open_rig(&r);
    CHECK_EQ(send_text(&r, "x", &sequence), -ESTALE);
    CHECK_EQ(endpoint_attach_producer(&r.end, 0, r.bell_fd), -EINVAL); /* the worker's own */
    CHECK_EQ(endpoint_attach_producer(&r.end, SHM_TEST_PRODUCERS, r.bell_fd), -EINVAL);
    CHECK_EQ(endpoint_attach_producer(&r.end, 1, r.bell_fd), 0);
    CHECK_EQ(send_text(&r, "x", &sequence), 0);
    CHECK_EQ(sequence, 0);
    serve(&r, 2); /* another worker took over */
    CHECK_EQ(send_text(&r, "y", &sequence), -ESTALE);
    r.end.epoch = 2;
    CHECK_EQ(send_text(&r, "y", &sequence), 0);
    CHECK_EQ(sequence, 1);
    rt_store_release(&r.segment.status->state, SHM_STATE_CLOSED);
    CHECK_EQ(send_text(&r, "z", &sequence), -ESTALE);
    close_rig(&r);
}

static void test_times_and_destinations_that_cannot_be_meant(void)
{
    rig_t r;
    uint64_t sequence;
    open_rig(&r);
    CHECK_EQ(endpoint_attach_producer(&r.end, 1, r.bell_fd), 0);
    int64_t far = rt_mono_ns() + ENDPOINT_HORIZON_NS + RT_NS_PER_S;
    CHECK_EQ(endpoint_send(&r.end, "x", 1, far, NULL, &sequence), -ERANGE);
    int64_t in_seconds = rt_mono_ns() / RT_NS_PER_S;
    if (in_seconds * RT_NS_PER_S > 2 * ENDPOINT_PAST_NS)
        CHECK_EQ(endpoint_send(&r.end, "x", 1, in_seconds, NULL, &sequence), -ERANGE);
    r.end.has_remote = 0;
    CHECK_EQ(send_text(&r, "x", &sequence), -EDESTADDRREQ);
    CHECK_EQ(endpoint_send(&r.end, "x", 1, 0, &(tx_route_t){.dest = &REMOTE}, &sequence), 0);
    static const uint8_t longer[201];
    CHECK_EQ(endpoint_send(&r.end, longer, 201, 0, &(tx_route_t){.dest = &REMOTE}, &sequence),
             -EMSGSIZE);
    close_rig(&r);
}

static void test_a_sleeping_worker_is_rung_once(void)
{
    rig_t r;
    uint64_t sequence, rings = 0;
    open_rig(&r);
    CHECK_EQ(endpoint_attach_producer(&r.end, 1, r.bell_fd), 0);
    CHECK_EQ(send_text(&r, "x", &sequence), 0);
    CHECK(read(r.bell_fd, &rings, sizeof rings) < 0); /* it is awake */
    tx_queue_arm_bell(&r.queue);
    CHECK_EQ(send_text(&r, "x", &sequence), 0);
    CHECK_EQ(send_text(&r, "x", &sequence), 0);
    CHECK_EQ(read(r.bell_fd, &rings, sizeof rings), sizeof rings);
    CHECK_EQ(rings, 1);
    close_rig(&r);
}

static void test_a_claim_is_sent_when_it_is_committed(void)
{
    rig_t r;
    tx_claim_t claim;
    tx_item_t item;
    open_rig(&r);
    CHECK_EQ(endpoint_attach_producer(&r.end, 1, r.bell_fd), 0);
    CHECK_EQ(endpoint_claim(&r.end, 2, 0, NULL, &claim), 0);
    endpoint_abort(&r.end, &claim);
    CHECK_EQ(endpoint_claim(&r.end, 2, 0, NULL, &claim), 0);
    memcpy(claim.payload, "ab", 2);
    endpoint_commit(&r.end, &claim);
    CHECK_EQ(claim.sequence, 1);
    REQUIRE(shm_test_next(&r.queue, 1, &item) == 1);
    CHECK_EQ(item.sequence, 1);
    CHECK_EQ(shm_test_next(&r.queue, 1, &item), 0);
    close_rig(&r);
}

static void test_a_batch_ends_at_what_lies_outside(void)
{
    rig_t r;
    static const uint8_t data[10];
    const uint16_t sizes[] = {4, 4, 4};
    uint64_t sequences[3];
    open_rig(&r);
    CHECK_EQ(endpoint_attach_producer(&r.end, 1, r.bell_fd), 0);
    send_batch_t b = {.data = data, .data_bytes = sizeof data, .count = 3, .sequences = sequences};
    b.sizes = (int_array_t){(const char *)sizes, sizeof *sizes, sizeof *sizes, 0};
    CHECK_EQ(endpoint_send_batch(&r.end, &b), -EFAULT);
    CHECK_EQ(b.done, 2);
    CHECK_EQ(sequences[1], 1);
    send_batch_t late = {.data = data, .data_bytes = 10, .count = 3, .size = 1};
    late.due_ns = INT64_MAX - 1;
    late.span_ns = 2;
    CHECK_EQ(send_batch_due_ns(&late, 0), INT64_MAX - 1);
    CHECK(send_batch_due_ns(&late, 1) < 0); /* there is no such time */
    close_rig(&r);
}

/* The remainder of a division is not lost: every packet is at its exact share, rounded down. */
static void test_a_batch_is_spread_exactly(void)
{
    static const uint64_t counts[] = {1, 2, 7, 720, 4319, 1000003};
    static const int64_t spans[] = {0, 1, 6, 16683333, 20 * RT_NS_PER_MS, 3600 * RT_NS_PER_S};
    for (size_t n = 0; n < sizeof counts / sizeof *counts; n++) {
        for (size_t s = 0; s < sizeof spans / sizeof *spans; s++) {
            send_batch_t b = {.count = counts[n], .due_ns = 5};
            b.span_ns = spans[s];
            b.span_packets = counts[n];
            uint64_t step = counts[n] / 1000 + 1;
            for (uint64_t i = 0; i < counts[n]; i += step)
                CHECK_EQ(send_batch_due_ns(&b, i),
                         5 + (int64_t)((__int128)i * spans[s] / (int64_t)counts[n]));
        }
    }
    send_batch_t far = {.due_ns = 1, .span_ns = INT64_MAX, .span_packets = 3, .count = 3};
    CHECK(send_batch_due_ns(&far, 2) < 0);
}

static void test_one_packet_takes_anothers_place(void)
{
    rig_t r;
    uint64_t first, second;
    open_rig(&r);
    CHECK_EQ(endpoint_attach_producer(&r.end, 1, r.bell_fd), 0);
    CHECK_EQ(send_text(&r, "old", &first), 0);
    CHECK_EQ(endpoint_replace(&r.end, first, "new", 3, 1, 0, NULL, &second), 0);
    CHECK_EQ(second, first + 1);
    CHECK_EQ(endpoint_replace(&r.end, first, "new", 3, 1, 0, NULL, &second), -ENOENT);
    close_rig(&r);
}

/* --- receiving -------------------------------------------------------------------------------- */

static void test_a_reader_attaches_first_and_misses_nothing(void)
{
    rig_t r;
    open_rig(&r);
    CHECK_EQ(endpoint_poll(&r.end), -ESTALE);
    arrive(&r, "one");
    CHECK_EQ(endpoint_poll(&r.end), -ESTALE);
    CHECK_EQ(endpoint_attach_reader(&r.end, SHM_TEST_READERS), -EINVAL);
    CHECK_EQ(endpoint_attach_reader(&r.end, 0), 0);
    CHECK_EQ(endpoint_poll(&r.end), 1);
    CHECK_EQ(r.end.spare_packet.payload_bytes, 3);
    CHECK_EQ(memcmp(r.end.spare, "one", 3), 0);
    CHECK_EQ(endpoint_poll(&r.end), 1); /* the same one */
    endpoint_taken(&r.end);
    CHECK_EQ(endpoint_poll(&r.end), 0);
    serve(&r, 2);
    arrive(&r, "two");
    CHECK_EQ(endpoint_poll(&r.end), 1); /* what is there goes before attaching */
    endpoint_taken(&r.end);
    CHECK_EQ(endpoint_poll(&r.end), -ESTALE);
    close_rig(&r);
}

static void test_a_closed_channel_is_read_to_its_end(void)
{
    rig_t r;
    open_rig(&r);
    arrive(&r, "left");
    rt_store_release(&r.segment.status->state, SHM_STATE_CLOSED);
    CHECK_EQ(endpoint_poll(&r.end), 1);
    endpoint_taken(&r.end);
    CHECK_EQ(endpoint_poll(&r.end), -ESTALE);
    close_rig(&r);
}

static void test_what_does_not_fit_stays(void)
{
    rig_t r;
    uint8_t to[5];
    packet_record_t records[4];
    uint64_t used;
    open_rig(&r);
    CHECK_EQ(endpoint_attach_reader(&r.end, 0), 0);
    arrive(&r, "abc");
    arrive(&r, "defg");
    CHECK_EQ(endpoint_waiting(&r.end), 2);
    CHECK_EQ(endpoint_take_many(&r.end, to, sizeof to, 0, records, 4, &used), 1);
    CHECK_EQ(used, 3);
    CHECK_EQ(records[0].length, 3);
    CHECK_EQ(endpoint_waiting(&r.end), 1);
    CHECK_EQ(endpoint_take_many(&r.end, to, 2, 0, records, 4, &used), 0);
    CHECK_EQ(r.end.spare_packet.payload_bytes, 4);
    CHECK_EQ(endpoint_take_many(&r.end, to, sizeof to, 0, records, 4, &used), 1);
    CHECK_EQ(records[0].sequence, 1);
    CHECK_EQ(memcmp(to, "defg", 4), 0);
    close_rig(&r);
}

static void test_each_packet_has_its_own_row(void)
{
    rig_t r;
    uint8_t to[3 * 4 + 3] = {0};
    packet_record_t records[4];
    uint64_t used;
    open_rig(&r);
    CHECK_EQ(endpoint_attach_reader(&r.end, 0), 0);
    arrive(&r, "a");
    arrive(&r, "bcde");
    arrive(&r, "f");
    arrive(&r, "g");
    CHECK_EQ(endpoint_take_many(&r.end, to, sizeof to, 3, records, 4, &used), 1);
    CHECK_EQ(used, 3);
    CHECK_EQ(r.end.spare_packet.payload_bytes, 4); /* longer than a row */
    CHECK_EQ(endpoint_take_many(&r.end, to, sizeof to, 4, records, 4, &used), 3);
    CHECK_EQ(used, 12);
    CHECK_EQ(records[2].offset, 8);
    CHECK_EQ(memcmp(to, "bcde", 4), 0);
    CHECK_EQ(to[4], 'f');
    CHECK_EQ(to[8], 'g');
    close_rig(&r);
}

static void test_a_batch_takes_the_rows_of_a_matrix(void)
{
    rig_t r;
    tx_item_t item;
    static const uint8_t data[] = "ab--cd--e";
    const uint8_t sizes[] = {2, 1, 2};
    open_rig(&r);
    CHECK_EQ(endpoint_attach_producer(&r.end, 1, r.bell_fd), 0);
    send_batch_t b = {.data = data, .data_bytes = 9, .count = 3, .row_stride = 4};
    b.sizes = (int_array_t){(const char *)sizes, 1, 1, 0};
    CHECK_EQ(endpoint_send_batch(&r.end, &b), -EFAULT); /* the last row ends after one byte */
    CHECK_EQ(b.done, 2);
    REQUIRE(shm_test_next(&r.queue, 1, &item) == 1);
    CHECK_EQ(item.payload_bytes, 2);
    REQUIRE(shm_test_next(&r.queue, 1, &item) == 1);
    CHECK_EQ(item.payload_bytes, 1);
    close_rig(&r);
}

static void test_a_payload_is_copied_once_where_every_packet_fits(void)
{
    rig_t r;
    uint8_t to[SHM_MAX_PAYLOAD] = {0};
    open_rig(&r);
    CHECK_EQ(endpoint_attach_reader(&r.end, 0), 0);
    uint32_t longest = r.segment.config.max_payload_bytes;
    r.end.spare[0] = '-';
    arrive(&r, "abc");
    CHECK_EQ(endpoint_poll_into(&r.end, to, longest), ENDPOINT_IN_BUFFER);
    CHECK_EQ(memcmp(to, "abc", 3), 0);
    CHECK_EQ(r.end.spare_packet.payload_bytes, 3);
    CHECK_EQ(r.end.spare[0], '-');
    CHECK_EQ(endpoint_waiting(&r.end), 0);
    rx_packet_t taken = r.end.spare_packet;
    r.end.spare_packet.payload_bytes = 0; /* another thread looked for a packet, meanwhile */
    endpoint_put_back(&r.end, to, &taken, 7);
    CHECK_EQ(r.end.spare_packet.payload_bytes, 3);
    CHECK_EQ(r.end.spare_lost_before, 7);
    CHECK_EQ(endpoint_waiting(&r.end), 1);
    CHECK_EQ(endpoint_poll_into(&r.end, to, longest), ENDPOINT_IN_SPARE);
    endpoint_taken(&r.end);
    arrive(&r, "defg");
    CHECK_EQ(endpoint_poll_into(&r.end, to, longest - 1), ENDPOINT_IN_SPARE);
    CHECK_EQ(memcmp(r.end.spare, "defg", 4), 0);
    endpoint_taken(&r.end);
    CHECK_EQ(endpoint_poll_into(&r.end, to, longest), 0);
    close_rig(&r);
}

/* A reader that may wait for its bells: *own, and ends[1], which the worker rings by ends[0]. */
static void open_waiting_rig(rig_t *r, int *own, int ends[2])
{
    *own = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    CHECK(*own >= 0 &&
          socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    open_rig(r);
    CHECK_EQ(endpoint_attach_reader(&r->end, 0), 0);
    endpoint_select(&r->end, ends[1], *own);
}

static void close_waiting_rig(rig_t *r, int own, const int ends[2])
{
    close_rig(r);
    close(own);
    close(ends[0]);
    close(ends[1]);
}

static void test_the_bells_are_readable_while_packets_are_there(void)
{
    rig_t r;
    uint64_t rings;
    int own, ends[2];
    open_waiting_rig(&r, &own, ends);
    CHECK(read(own, &rings, sizeof rings) < 0);
    arrive(&r, "a");
    endpoint_rearm(&r.end); /* finds the packet that came without a ring */
    CHECK_EQ(read(own, &rings, sizeof rings), sizeof rings);
    endpoint_rearm(&r.end);
    CHECK_EQ(send(ends[0], "", 1, 0), 1);
    CHECK_EQ(endpoint_poll(&r.end), 1);
    endpoint_taken(&r.end);
    CHECK(read(own, &rings, sizeof rings) < 0);
    CHECK(read(ends[1], &rings, sizeof rings) < 0);
    CHECK_EQ(rt_load_relaxed(&r.end.reader->bell_want), 1);
    close_waiting_rig(&r, own, ends);
}

static void test_an_end_that_polls_asks_for_no_ring(void)
{
    rig_t r;
    uint64_t rings;
    int own, ends[2];
    open_waiting_rig(&r, &own, ends);
    CHECK_EQ(send(ends[0], "", 1, 0), 1);
    endpoint_poll_on(&r.end, true);
    CHECK(read(ends[1], &rings, sizeof rings) < 0);
    for (int i = 0; i < 2; i++) {
        arrive(&r, "a");
        CHECK_EQ(rt_load_relaxed(&r.end.reader->bell_want), 0);
        CHECK_EQ(endpoint_poll(&r.end), 1);
        endpoint_taken(&r.end);
    }
    endpoint_rearm(&r.end); /* a call that found nothing */
    CHECK_EQ(rt_load_relaxed(&r.end.reader->bell_want), 0);
    arrive(&r, "a");
    endpoint_poll_on(&r.end, false);
    CHECK_EQ(rt_load_relaxed(&r.end.reader->bell_want), 1);
    CHECK_EQ(read(own, &rings, sizeof rings), sizeof rings);
    close_waiting_rig(&r, own, ends);
}

static bool is_readable(int fd, int within_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, within_ms) == 1;
}

/* Also where this process has no descriptor left for a timer. */
static void test_it_is_readable_from_one_bell_to_the_next(void)
{
    readiness_t r;
    int ends[2];
    struct rlimit was, none;
    REQUIRE(getrlimit(RLIMIT_NOFILE, &was) == 0);
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    for (int without_timer = 0; without_timer < 2; without_timer++) {
        REQUIRE(readiness_open(&r) == 0);
        CHECK_EQ(readiness_watch_bell(&r, ends[1]), 0);
        CHECK(!is_readable(r.epoll_fd, 0));
        none = (struct rlimit){.rlim_cur = 0, .rlim_max = was.rlim_max};
        CHECK_EQ(setrlimit(RLIMIT_NOFILE, without_timer ? &none : &was), 0);
        readiness_await_successor(&r);
        CHECK_EQ(setrlimit(RLIMIT_NOFILE, &was), 0);
        CHECK_EQ(r.timer_fd < 0, without_timer);
        CHECK(is_readable(r.epoll_fd, 1000));
        CHECK_EQ(readiness_watch_bell(&r, ends[1]), 0);
        CHECK(!is_readable(r.epoll_fd, 0));
        readiness_close(&r);
    }
    close(ends[0]);
    close(ends[1]);
}

/* --- life ------------------------------------------------------------------------------------- */

static void test_a_child_is_a_party_of_its_own(void)
{
    rig_t r;
    uint64_t sequence;
    open_rig(&r);
    CHECK_EQ(endpoint_attach_producer(&r.end, 1, r.bell_fd), 0);
    CHECK_EQ(endpoint_attach_reader(&r.end, 0), 0);
    arrive(&r, "kept");
    CHECK_EQ(endpoint_poll(&r.end), 1);
    endpoint_forget_slots(&r.end);
    CHECK_EQ(send_text(&r, "x", &sequence), -ESTALE);
    CHECK(r.end.reader == NULL);
    CHECK_EQ(endpoint_attach_reader(&r.end, 1), 0);
    CHECK_EQ(endpoint_poll(&r.end), 1); /* reading each, it has a copy of its own */
    close_rig(&r);
    open_rig_as(&r, shm_test_config(65536, 200), SHM_READ_SHARED);
    arrive(&r, "taken");
    CHECK_EQ(endpoint_poll(&r.end), 1);
    endpoint_forget_slots(&r.end);
    CHECK_EQ(endpoint_poll(&r.end), 0); /* of a group's the parent has it */
    close_rig(&r);
}

static void test_a_worker_that_says_nothing_for_a_second_is_unheard(void)
{
    rig_t r;
    open_rig(&r);
    uint64_t now = (uint64_t)rt_mono_ns();
    rt_store_relaxed(&r.segment.status->heartbeat_mono_ns, now);
    CHECK_EQ(channel_is_unheard(r.end.segment), 0);
    rt_store_relaxed(&r.segment.status->heartbeat_mono_ns, now - 2 * (uint64_t)RT_NS_PER_S);
    CHECK_EQ(channel_is_unheard(r.end.segment), 1);
    rt_store_relaxed(&r.segment.status->state, SHM_STATE_CLOSED);
    CHECK_EQ(channel_is_unheard(r.end.segment), 0);
    close_rig(&r);
}

static void test_a_sleep_ends_in_time_and_when_something_comes(void)
{
    rig_t r;
    endpoint_sleep_t s;
    open_rig(&r);
    CHECK_EQ(endpoint_attach_reader(&r.end, 0), 0);
    int64_t until = rt_mono_ns() + 5 * RT_NS_PER_MS;
    endpoint_before_sleep(&r.end, ENDPOINT_RX, until, &s);
    CHECK_EQ(endpoint_sleep(&s), -ETIMEDOUT);
    CHECK(rt_mono_ns() >= until);
    endpoint_after_sleep(&r.end, &s);
    arrive(&r, "x");
    endpoint_before_sleep(&r.end, ENDPOINT_RX, RT_NEVER_NS, &s);
    CHECK(s.until_mono_ns <= rt_mono_ns() + ENDPOINT_SLICE_NS);
    CHECK_EQ(endpoint_sleep(&s), 0);
    close_rig(&r);
}

int main(void)
{
    RUN(test_sending_needs_to_be_attached_to_the_worker_in_charge);
    RUN(test_times_and_destinations_that_cannot_be_meant);
    RUN(test_a_sleeping_worker_is_rung_once);
    RUN(test_a_claim_is_sent_when_it_is_committed);
    RUN(test_a_batch_ends_at_what_lies_outside);
    RUN(test_a_batch_is_spread_exactly);
    RUN(test_one_packet_takes_anothers_place);
    RUN(test_a_reader_attaches_first_and_misses_nothing);
    RUN(test_a_closed_channel_is_read_to_its_end);
    RUN(test_what_does_not_fit_stays);
    RUN(test_each_packet_has_its_own_row);
    RUN(test_a_batch_takes_the_rows_of_a_matrix);
    RUN(test_a_payload_is_copied_once_where_every_packet_fits);
    RUN(test_the_bells_are_readable_while_packets_are_there);
    RUN(test_an_end_that_polls_asks_for_no_ring);
    RUN(test_it_is_readable_from_one_bell_to_the_next);
    RUN(test_a_child_is_a_party_of_its_own);
    RUN(test_a_worker_that_says_nothing_for_a_second_is_unheard);
    RUN(test_a_sleep_ends_in_time_and_when_something_comes);
    return rt_test_result();
}
