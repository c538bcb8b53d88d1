/* The C API, from attaching by name to a takeover, beside a worker that the test plays. */
#include "played_worker.h"

#include "client/shmring.h"

#include <sys/poll.h>

static shm_config_t config(void)
{
    return shm_test_config(65536, 200);
}

static shmring_t *attach(const played_worker_t *w, const shmring_options_t *options)
{
    shmring_t *c = shmring_attach(w->segment.config.name, options);
    if (c == NULL)
        CHECK_STR_EQ(shmring_error(), "");
    return c;
}

static void test_it_sends_and_receives(void)
{
    played_worker_t w;
    pw_open(&w, "both", config());
    shmring_t *c = attach(&w, NULL);
    REQUIRE(c != NULL);
    uint64_t sequence = 99;
    tx_item_t item;
    CHECK_EQ(shmring_send(c, "hello", 5, NULL, &sequence), 0);
    CHECK_EQ(sequence, 0);
    CHECK_EQ(shmring_unsent(c), 1);
    CHECK_EQ(shm_test_next(&w.queue, 1, &item), 1);

    shmring_packet_t packet;
    char buffer[200];
    CHECK_EQ(shmring_recv(c, buffer, sizeof buffer, 0, &packet), -EAGAIN);
    pw_arrive(&w, "answer");
    CHECK_EQ(shmring_recv(c, buffer, sizeof buffer, SHMRING_FOREVER, &packet), 0);
    CHECK_EQ(packet.bytes, 6);
    CHECK_EQ(memcmp(buffer, "answer", 6), 0);
    CHECK_EQ(shmring_recv(c, buffer, sizeof buffer, RT_NS_PER_MS, &packet), -ETIMEDOUT);
    CHECK_EQ(rt_load_relaxed(&w.attached), 2);
    shmring_close(c);
    pw_close(&w);
}

static void test_a_packet_longer_than_the_buffer_stays(void)
{
    played_worker_t w;
    pw_open(&w, "long", config());
    shmring_t *c = attach(&w, NULL);
    REQUIRE(c != NULL);
    shmring_packet_t packets[2];
    char buffer[8];
    CHECK_EQ(shmring_recv(c, buffer, 4, 0, packets), -EAGAIN);
    pw_arrive(&w, "longer");
    pw_arrive(&w, "x");
    CHECK_EQ(shmring_recv(c, buffer, 4, 0, packets), -EMSGSIZE);
    CHECK_EQ(packets[0].bytes, 6);
    CHECK_EQ(shmring_unread(c), 2);
    CHECK_EQ(shmring_recv_many(c, buffer, 8, 0, packets, 2), 2);
    CHECK_EQ(packets[1].offset, 6);
    CHECK_EQ(shmring_recv_many(c, buffer, 8, 0, packets, 0), -EINVAL);
    shmring_close(c);
    pw_close(&w);
}

static void test_it_attaches_to_the_successor_with_its_slot(void)
{
    played_worker_t w;
    pw_open(&w, "takeover", config());
    rt_store_relaxed(&w.producer, 3);
    shmring_t *c = attach(&w, NULL);
    REQUIRE(c != NULL);
    uint64_t sequence;
    CHECK_EQ(shmring_send(c, "a", 1, NULL, &sequence), 0);
    CHECK_EQ(rt_load_relaxed(&w.asked_producer), CTL_NO_SLOT);
    pw_die(&w);
    pw_serve(&w, 2);
    CHECK_EQ(shmring_send(c, "b", 1, NULL, &sequence), 0);
    CHECK_EQ(sequence, 1);
    CHECK_EQ(rt_load_relaxed(&w.asked_producer), 3);
    shmring_close(c);
    pw_close(&w);
}

static void test_what_stands_in_the_way_is_said(void)
{
    played_worker_t w;
    pw_open(&w, "refused", config());
    shmring_t *c = attach(&w, NULL);
    REQUIRE(c != NULL);
    rt_store_relaxed(&w.refuse, EUSERS);
    CHECK_EQ(shmring_send(c, "a", 1, NULL, NULL), -EUSERS);
    CHECK(strstr(shmring_error(), "the worker says no") != NULL);
    rt_store_relaxed(&w.refuse, 0);
    CHECK_EQ(shmring_send(c, "a", 1, NULL, NULL), 0);
    strcpy(w.segment.status->reason, "the cable is cut");
    rt_store_relaxed(&w.segment.status->error, EIO);
    rt_store_release(&w.segment.status->state, SHM_STATE_FAILED);
    CHECK_EQ(shmring_send(c, "a", 1, NULL, NULL), -EIO);
    CHECK(strstr(shmring_error(), "the cable is cut") != NULL);
    rt_store_release(&w.segment.status->state, SHM_STATE_CLOSED);
    CHECK_EQ(shmring_send(c, "a", 1, NULL, NULL), -EPIPE);
    CHECK(shmring_attach(w.segment.config.name, NULL) == NULL);
    CHECK_EQ(errno, EPIPE);
    shmring_close(c);
    pw_close(&w);
}

static void test_a_slot_that_does_not_exist_is_refused(void)
{
    played_worker_t w;
    pw_open(&w, "slots", config());
    rt_store_relaxed(&w.producer, SHM_TEST_PRODUCERS);
    shmring_t *c = attach(&w, NULL);
    REQUIRE(c != NULL);
    CHECK_EQ(shmring_send(c, "a", 1, NULL, NULL), -EINVAL);
    rt_store_relaxed(&w.producer, 1);
    CHECK_EQ(shmring_send(c, "a", 1, NULL, NULL), 0);
    shmring_close(c);
    pw_close(&w);
}

static void test_late_answers_are_passed_over(void)
{
    played_worker_t w;
    pw_open(&w, "late", config());
    rt_store_relaxed(&w.late_answers, 2);
    shmring_t *c = attach(&w, NULL);
    REQUIRE(c != NULL);
    CHECK_EQ(shmring_send(c, "a", 1, NULL, NULL), 0);
    shmring_close(c);
    pw_close(&w);
}

static void test_who_looks_on_asks_nobody(void)
{
    played_worker_t w;
    pw_open(&w, "watched", config());
    shmring_t *c = attach(&w, &(shmring_options_t){.readonly = 1});
    REQUIRE(c != NULL);
    shmring_packet_t packet;
    char buffer[200];
    CHECK_EQ(shmring_recv(c, buffer, sizeof buffer, 0, &packet), -EAGAIN);
    pw_arrive(&w, "seen");
    CHECK_EQ(shmring_recv(c, buffer, sizeof buffer, 0, &packet), 0);
    CHECK_EQ(shmring_send(c, "a", 1, NULL, NULL), -EPERM);
    CHECK_EQ(shmring_fileno(c), -EPERM);
    CHECK_EQ(rt_load_relaxed(&w.attached), 0);
    shmring_close(c);
    pw_close(&w);
}

static int is_readable(int fd)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    return poll(&ready, 1, 0);
}

static void test_a_descriptor_is_readable_while_packets_are_there(void)
{
    played_worker_t w;
    pw_open(&w, "select", config());
    shmring_t *c = attach(&w, NULL);
    REQUIRE(c != NULL);
    shmring_packet_t packet;
    char buffer[200];
    int fd = shmring_fileno(c);
    CHECK(fd >= 0);
    CHECK_EQ(shmring_fileno(c), fd);
    CHECK_EQ(is_readable(fd), 0);
    pw_die(&w);
    pw_serve(&w, 2);
    pw_arrive(&w, "a");
    CHECK_EQ(shmring_recv(c, buffer, sizeof buffer, 0, &packet), 0);
    CHECK_EQ(shmring_recv(c, buffer, sizeof buffer, 0, &packet), -EAGAIN);
    CHECK_EQ(is_readable(fd), 0); /* the new connection is watched, not the dead one */
    shmring_close(c);
    pw_close(&w);
}

static void test_waiting_for_room_and_packets(void)
{
    played_worker_t w;
    shm_config_t c = config();
    c.tx_capacity = 1;
    pw_open(&w, "wait", c);
    shmring_t *channel = attach(&w, NULL);
    REQUIRE(channel != NULL);
    tx_item_t item;
    unsigned moved;
    CHECK_EQ(shmring_wait(channel, SHMRING_ROOM, 0), 0);
    CHECK_EQ(shmring_send(channel, "a", 1, NULL, NULL), 0);
    CHECK_EQ(shmring_send(channel, "b", 1, NULL, NULL), -EAGAIN);
    CHECK_EQ(shmring_wait(channel, SHMRING_ROOM, RT_NS_PER_MS), -ETIMEDOUT);
    CHECK_EQ(shm_test_next(&w.queue, 1, &item), 1);
    CHECK_EQ(tx_queue_take(&w.queue, item.ref, &item), 0);
    tx_queue_finish(&w.queue, item.ref);
    (void)tx_queue_release(&w.queue, 0, 65536, 1, &moved);
    tx_queue_mark_counted(&w.queue);
    CHECK_EQ(shmring_wait(channel, SHMRING_ROOM, RT_NS_PER_S), 0);
    CHECK_EQ(shmring_wait(channel, SHMRING_PACKET, 0), -EAGAIN);
    pw_arrive(&w, "x");
    CHECK_EQ(shmring_wait(channel, SHMRING_PACKET, 0), 0);
    CHECK_EQ(shmring_wait(channel, 3, 0), -EINVAL);
    shmring_close(channel);
    pw_close(&w);
}

static void test_a_deserted_channel_ends_a_wait(void)
{
    played_worker_t w;
    pw_open(&w, "deserted", config());
    shmring_t *c = attach(&w, NULL);
    REQUIRE(c != NULL);
    shmring_packet_t packet;
    char buffer[200];
    CHECK_EQ(shmring_recv(c, buffer, sizeof buffer, 0, &packet), -EAGAIN);
    rt_store_relaxed(&w.segment.status->heartbeat_mono_ns,
                     (uint64_t)(rt_mono_ns() - 2 * RT_NS_PER_S));
    /* Unheard, but its lock is held: only the time ends the wait. */
    CHECK_EQ(shmring_recv(c, buffer, sizeof buffer, RT_NS_PER_MS, &packet), -ETIMEDOUT);
    CHECK_EQ(flock(w.segment_fd, LOCK_UN), 0);
    CHECK_EQ(shmring_recv(c, buffer, sizeof buffer, SHMRING_FOREVER, &packet), -EPIPE);
    shmring_close(c);
    pw_close(&w);
}

static void test_names_options_and_addresses_that_cannot_be(void)
{
    shmring_address_t address;
    CHECK(shmring_attach("a/b", NULL) == NULL && errno == EINVAL);
    CHECK(shmring_attach("none-such", NULL) == NULL && errno == ENOENT);
    CHECK(shmring_attach("a", &(shmring_options_t){.reading = 9}) == NULL && errno == EINVAL);
    CHECK(shmring_attach("a", &(shmring_options_t){.reserved = {1}}) == NULL && errno == EINVAL);
    CHECK_EQ(shmring_address(&address, "127.0.0.1", 9), 0);
    CHECK_EQ(address.family, 4);
    CHECK_EQ(shmring_address(&address, "::1", 9), 0);
    CHECK_EQ(address.family, 6);
    CHECK_EQ(shmring_address(&address, "localhost", 9), -EINVAL);
    CHECK(strlen(shmring_version()) >= 5);
}

int main(void)
{
    RUN(test_it_sends_and_receives);
    RUN(test_a_packet_longer_than_the_buffer_stays);
    RUN(test_it_attaches_to_the_successor_with_its_slot);
    RUN(test_what_stands_in_the_way_is_said);
    RUN(test_a_slot_that_does_not_exist_is_refused);
    RUN(test_late_answers_are_passed_over);
    RUN(test_who_looks_on_asks_nobody);
    RUN(test_a_descriptor_is_readable_while_packets_are_there);
    RUN(test_waiting_for_room_and_packets);
    RUN(test_a_deserted_channel_ends_a_wait);
    RUN(test_names_options_and_addresses_that_cannot_be);
    return rt_test_result();
}
