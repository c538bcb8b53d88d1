#include "rx_ring_test.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

static void test_init_refuses_what_cannot_read(void)
{
    open_ring();
    rx_reader_t r;
    CHECK_EQ(rx_reader_init(&r, &seg, SHM_TEST_READERS, SHM_READ_EACH, 0), -EINVAL);
    CHECK_EQ(rx_reader_init(&r, &seg, CTL_NO_SLOT, SHM_READ_SHARED, 0), 0);
    shm_segment_t tap;
    REQUIRE(shm_segment_map(&tap, seg_fd, 0) == 0);
    CHECK_EQ(rx_reader_init(&r, &tap, CTL_NO_SLOT, SHM_READ_SHARED, 0), -EACCES);
    CHECK_EQ(rx_reader_init(&r, &tap, CTL_NO_SLOT, SHM_READ_EACH, 0), 0);
    shm_segment_unmap(&tap);

    rt_store_relaxed(&seg.rx->tail, shm_cursor(0, UNITS));
    CHECK_EQ(rx_writer_init(&writer, &seg), -EPROTO);
    rt_store_relaxed(&seg.rx->tail, 0);
    rt_store_relaxed(&seg.rx->floor, shm_cursor(0, UNITS));
    CHECK_EQ(rx_writer_init(&writer, &seg), -EPROTO);
    close_ring();
}

static void test_a_packet_arrives_as_it_was_put(void)
{
    open_ring();
    rx_item_t item = {
        .payload = "datagram",
        .payload_bytes = 8,
        .source = {.family = 6, .port = 53, .scope = 2, .ip = {0xfe, 0x80, 1}},
        .time_ns = -5,
        .stamp = SHM_STAMP_HARDWARE,
        .flags = SHM_RX_SHARED_STAMP,
        .tos = 0xb8,
    };
    CHECK_EQ(rx_writer_put(&writer, &item), 0);
    CHECK_EQ(rx_reader_next(&reader, buffer, sizeof buffer, &packet, NULL), 0); /* not published */
    CHECK_EQ(rx_writer_publish(&writer), 0);
    CHECK_EQ(rx_reader_waiting(&reader), 1);
    uint64_t lost = 9;
    CHECK_EQ(rx_reader_next(&reader, buffer, sizeof buffer, &packet, &lost), 1);
    CHECK_EQ(lost, 0);
    CHECK_EQ(packet.sequence, 0);
    CHECK_EQ(packet.time_ns, -5);
    CHECK_EQ(packet.stamp, SHM_STAMP_HARDWARE);
    CHECK(packet.flags & SHM_RX_SHARED_STAMP);
    CHECK_EQ(packet.tos, 0xb8);
    CHECK_MEM_EQ(&packet.source, &item.source, sizeof item.source);
    CHECK_MEM_EQ(buffer, "datagram", 8);
    CHECK_EQ(rx_reader_waiting(&reader), 0);
    CHECK_EQ(rt_load_relaxed(&seg.readers[0].taken), 1);

    item.source = (shm_addr_t){.family = 4, .port = 7, .ip = {10, 1, 2, 3}};
    CHECK_EQ(rx_writer_put(&writer, &item), 0);
    CHECK_EQ(rx_writer_publish(&writer), 0);
    CHECK_EQ(rx_reader_next(&reader, buffer, 4, &packet, NULL), 1); /* cut at the buffer's size */
    CHECK_EQ(packet.payload_bytes, 8);
    CHECK_MEM_EQ(buffer, "data", 4);
    CHECK_MEM_EQ(&packet.source, &item.source, sizeof item.source);
    close_ring();
}

static void test_the_local_address_needs_room_only_if_it_is_known(void)
{
    static const struct {
        uint16_t source, local; /* families */
        uint32_t units, seen;   /* 8 bytes of payload; the family that is read */
    } CASES[] = {{4, 0, 5, 0},  {4, 4, 6, 4}, {6, 0, 7, 0},
                 {6, 6, 10, 6}, {4, 6, 5, 0}, {0, 4, 5, 0}};
    open_ring();
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        uint32_t before = shm_cursor_place(writer.tail);
        rx_item_t item = {.payload = "datagram",
                          .payload_bytes = 8,
                          .source = {.family = CASES[i].source, .port = 53, .ip = {1, 2, 3, 4}},
                          .local = {.family = CASES[i].local, .port = 7, .ip = {5, 6, 7, 8}}};
        item.source.scope = CASES[i].source == 6 ? 2 : 0;
        item.local.scope = CASES[i].local == 6 ? 3 : 0;
        CHECK_EQ(rx_writer_put(&writer, &item), 0);
        CHECK_EQ(shm_cursor_place(writer.tail) - before, CASES[i].units);
        CHECK_EQ(rx_writer_publish(&writer), 0);
        CHECK_EQ(rx_reader_next(&reader, buffer, sizeof buffer, &packet, NULL), 1);
        CHECK_EQ(packet.local.family, CASES[i].seen);
        if (CASES[i].seen != 0)
            CHECK_MEM_EQ(&packet.local, &item.local, sizeof item.local);
        CHECK_EQ(packet.source.port, 53);
        CHECK_MEM_EQ(buffer, "datagram", 8);
    }
    close_ring();
}

static void test_a_payload_is_filled_in_in_place(void)
{
    open_ring();
    for (unsigned family = 4; family <= 6; family += 2) {
        uint8_t *to = NULL;
        rx_item_t item = {
            .payload_bytes = 11, .source = {.family = (uint16_t)family, .port = 7}, .tag = 5};
        CHECK_EQ(rx_writer_begin(&writer, &item, &to), 0);
        memcpy(to, "hello ", 6);
        memcpy(to + 6, "world", 5);
        (void)rx_writer_publish(&writer);
        CHECK_EQ(rx_reader_next(&reader, buffer, sizeof buffer, &packet, NULL), 1);
        CHECK_EQ(packet.payload_bytes, 11);
        CHECK_EQ(packet.tag, 5);
        CHECK_EQ(packet.source.family, family);
        CHECK_EQ(packet.source.port, 7);
        CHECK_MEM_EQ(buffer, "hello world", 11);
    }
    uint8_t *to = NULL;
    rx_item_t item = {.payload_bytes = MAX_PAYLOAD + 1};
    CHECK_EQ(rx_writer_begin(&writer, &item, &to), -EMSGSIZE);
    CHECK(to == NULL);
    close_ring();
}

static void test_too_long_a_packet_is_refused(void)
{
    open_ring();
    CHECK_EQ(put(MAX_PAYLOAD), 0);
    CHECK_EQ(put(MAX_PAYLOAD + 1), -EMSGSIZE);
    close_ring();
}

/* Random lengths for many laps; the reader sometimes falls behind and must know by how much. */
static void read_for_long(int mode)
{
    open_ring();
    rt_store_relaxed(&seg.rx->tail, shm_cursor(UINT32_MAX - 300, 11));
    rt_store_relaxed(&seg.rx->floor, shm_cursor(UINT32_MAX - 300, 11));
    rt_store_relaxed(&seg.rx->shared_head, shm_cursor(UINT32_MAX - 300, 11));
    uint64_t base = (UINT64_C(3) << 32 | (UINT32_MAX - 300));
    rt_store_relaxed(&seg.rx->sequence_high, base);
    CHECK_EQ(rx_writer_init(&writer, &seg), 0);
    rx_reader_t r;
    CHECK_EQ(rx_reader_init(&r, &seg, 1, mode, 0), 0);
    uint64_t rng = 3, next = 0, all_lost = 0;
    uint32_t written = 0;
    while (written < 20000) {
        for (uint64_t n = rt_test_rand(&rng) % 40; n > 0; n--) {
            CHECK_EQ(put_numbered(written++), 0);
            if (rt_test_rand(&rng) % 4 == 0)
                (void)rx_writer_publish(&writer);
        }
        (void)rx_writer_publish(&writer);
        for (uint64_t n = rt_test_rand(&rng) % 40; n > 0; n--) {
            uint64_t lost = 0;
            int64_t got = read_numbered(&r, &lost);
            if (got < 0)
                break;
            all_lost += (uint64_t)got - next;
            if (mode == SHM_READ_EACH)
                CHECK_EQ((uint64_t)got, next + lost);
            CHECK_EQ(packet.sequence, base + (uint64_t)got);
            next = (uint64_t)got + 1;
        }
    }
    while (read_numbered(&r, NULL) >= 0) {
    }
    CHECK(all_lost > 0);
    uint64_t taken = rt_load_relaxed(&seg.readers[1].taken);
    uint64_t lost = mode == SHM_READ_SHARED ? rt_load_relaxed(&seg.rx->shared_lost) : r.lost;
    CHECK_EQ(taken + lost, written);
    close_ring();
}

static void test_a_lapped_reader_knows_what_it_lost(void)
{
    read_for_long(SHM_READ_EACH);
}

/* The loss may come to light in a call that finds nothing to read: the next packet tells. */
static void test_a_loss_found_before_its_packet_is_told_with_it(void)
{
    open_ring();
    uint32_t n = 0;
    uint64_t lost;
    while (n < 6)
        CHECK_EQ(put_numbered(n++), 0);
    (void)rx_writer_publish(&writer);
    CHECK_EQ(read_numbered(&reader, &lost), 0);
    while (shm_cursor_seq(writer.floor) != 6) /* all that was published makes
                                                 room for what was not */
        CHECK_EQ(put_numbered(n++), 0);
    CHECK_EQ(read_numbered(&reader, NULL), -1);
    CHECK_EQ(reader.lost, 5);
    CHECK_EQ(rt_load_relaxed(&seg.readers[0].lost), 5);
    (void)rx_writer_publish(&writer);
    int64_t got = read_numbered(&reader, &lost);
    CHECK_EQ((int64_t)lost, got - 1);
    CHECK_EQ(reader.lost, lost);
    CHECK_EQ(read_numbered(&reader, &lost), got + 1);
    CHECK_EQ(lost, 0);
    close_ring();
}

static void test_a_lapped_group_knows_what_it_lost(void)
{
    read_for_long(SHM_READ_SHARED);
}

static void test_each_reader_gets_all(void)
{
    open_ring();
    rx_reader_t late;
    for (uint32_t i = 0; i < 5; i++)
        CHECK_EQ(put_numbered(i), 0);
    (void)rx_writer_publish(&writer);
    CHECK_EQ(rx_reader_init(&late, &seg, 1, SHM_READ_EACH, 1), 0);
    rx_reader_t later;
    CHECK_EQ(rx_reader_init(&later, &seg, 2, SHM_READ_EACH, 0), 0);
    for (int64_t i = 0; i < 5; i++) {
        CHECK_EQ(read_numbered(&reader, NULL), i);
        CHECK_EQ(read_numbered(&late, NULL), i);
    }
    CHECK_EQ(read_numbered(&later, NULL), -1);
    close_ring();
}

static void test_each_shared_packet_goes_to_one(void)
{
    open_ring();
    rx_reader_t a, b;
    CHECK_EQ(rx_reader_init(&a, &seg, 1, SHM_READ_SHARED, 0), 0);
    CHECK_EQ(rx_reader_init(&b, &seg, CTL_NO_SLOT, SHM_READ_SHARED, 0), 0);
    for (uint32_t i = 0; i < 6; i++)
        CHECK_EQ(put_numbered(i), 0);
    (void)rx_writer_publish(&writer);
    CHECK_EQ(rx_reader_waiting(&a), 6);
    for (int64_t i = 0; i < 6; i += 2) {
        CHECK_EQ(read_numbered(&a, NULL), i);
        CHECK_EQ(read_numbered(&b, NULL), i + 1);
    }
    CHECK_EQ(read_numbered(&a, NULL), -1);
    CHECK_EQ(rx_reader_waiting(&b), 0);
    close_ring();
}

static void test_capacity_counts_packets(void)
{
    shm_config_t c = shm_test_config(RING_BYTES, MAX_PAYLOAD);
    c.rx_capacity = 4;
    open_with(&c);
    for (uint32_t i = 0; i < 10; i++)
        CHECK_EQ(put_numbered(i), 0);
    (void)rx_writer_publish(&writer);
    CHECK_EQ(rx_writer_lost(&writer), 6);
    CHECK_EQ(rx_writer_lost(&writer), 0);
    uint64_t lost;
    CHECK_EQ(read_numbered(&reader, &lost), 6);
    CHECK_EQ(lost, 6);
    close_ring();
}

static void test_waiting_writer_overwrites_nothing_unread(void)
{
    shm_config_t c = shm_test_config(RING_BYTES, MAX_PAYLOAD);
    c.overflow = SHM_OVERFLOW_WAIT;
    open_with(&c);
    uint64_t rng = 11;
    uint32_t written = 0;
    int64_t read = 0;
    unsigned refused = 0;
    while (written < 5000) {
        uint32_t room = rx_writer_room(&writer, 1, MAX_PAYLOAD);
        int rc = put_numbered(written);
        CHECK(room == 0 || rc == 0);
        written += rc == 0;
        refused += rc == -ENOBUFS;
        (void)rx_writer_publish(&writer);
        for (uint64_t n = rc == 0 ? rt_test_rand(&rng) % 2 : 3; n > 0; n--) {
            int64_t got = read_numbered(&reader, NULL);
            if (got >= 0)
                CHECK_EQ(got, read++);
        }
    }
    CHECK(refused > 0);
    CHECK_EQ(reader.lost, 0);

    rt_store_relaxed(&seg.readers[0].owner, 0); /* nobody reads any more: nobody is waited for */
    for (uint32_t i = 0; i < 100; i++)
        CHECK_EQ(put_numbered(i), 0);
    close_ring();
}

static void test_purged_packets_are_not_lost(void)
{
    open_ring();
    for (uint32_t i = 0; i < 5; i++)
        CHECK_EQ(put_numbered(i), 0);
    (void)rx_writer_publish(&writer);
    rx_writer_purge(&writer);
    CHECK_EQ(rx_reader_waiting(&reader), 0);
    CHECK_EQ(read_numbered(&reader, NULL), -1);
    CHECK_EQ(put_numbered(5), 0);
    (void)rx_writer_publish(&writer);
    uint64_t lost;
    CHECK_EQ(read_numbered(&reader, &lost), 5);
    CHECK_EQ(lost, 0);
    CHECK_EQ(reader.lost, 0);
    close_ring();
}

static void test_a_successor_goes_on(void)
{
    open_ring();
    for (uint32_t i = 0; i < 5; i++)
        CHECK_EQ(put_numbered(i), 0);
    (void)rx_writer_publish(&writer);
    CHECK_EQ(put_numbered(99), 0); /* never published: the next one takes its number */
    CHECK_EQ(rx_writer_init(&writer, &seg), 0);
    CHECK_EQ(put_numbered(5), 0);
    (void)rx_writer_publish(&writer);
    for (int64_t i = 0; i <= 5; i++)
        CHECK_EQ(read_numbered(&reader, NULL), i);
    close_ring();
}

/* The dead writer had filled the ring more than once without publishing, or up to its padding. */
static void test_a_successor_skips_more_than_a_ring_full(void)
{
    for (uint32_t unpublished = 1; unpublished < 150; unpublished++) {
        open_ring();
        CHECK_EQ(put_numbered(0), 0);
        (void)rx_writer_publish(&writer);
        CHECK_EQ(read_numbered(&reader, NULL), 0);
        rx_reader_t slow, fast;
        CHECK_EQ(rx_reader_init(&slow, &seg, 1, SHM_READ_EACH, 1), 0);
        CHECK_EQ(rx_reader_init(&fast, &seg, 2, SHM_READ_EACH, 0), 0);
        for (uint32_t i = 1; i <= unpublished; i++)
            CHECK_EQ(put_numbered(1000 + i), 0);
        (void)rx_reader_waiting(&fast);
        CHECK_EQ(read_numbered(&fast, NULL), -1);
        CHECK_EQ(rx_writer_init(&writer, &seg), 0);
        uint64_t next = writer.sequence;
        CHECK_EQ(put_numbered(7), 0);
        (void)rx_writer_publish(&writer);
        rx_reader_t *readers[] = {&reader, &slow, &fast};
        for (int i = 0; i < 3; i++) {
            int64_t got = read_numbered(readers[i], NULL);
            if (i == 1 && got == 0)
                got = read_numbered(readers[i], NULL);
            CHECK_EQ(got, 7);
            CHECK_EQ(packet.sequence, next);
            CHECK_EQ(read_numbered(readers[i], NULL), -1);
        }
        close_ring();
    }
}

static void *publish_later(void *arg)
{
    (void)arg;
    while (rt_load_relaxed(&seg.rx->data_wanted) == 0)
        usleep(100);
    usleep(2000);
    CHECK_EQ(put_numbered(0), 0);
    CHECK_EQ(rx_writer_publish(&writer), 1);
    return NULL;
}

static void test_waiting_ends_with_a_packet_or_in_time(void)
{
    open_ring();
    CHECK_EQ(rx_reader_wait(&reader, 0, rt_mono_ns() + RT_NS_PER_MS), -ETIMEDOUT);
    CHECK_EQ(rx_reader_wait(&reader, RT_NS_PER_MS, rt_mono_ns() + 2 * RT_NS_PER_MS), -ETIMEDOUT);
    pthread_t thread;
    rt_store_relaxed(&seg.rx->data_wanted, 0);
    REQUIRE(pthread_create(&thread, NULL, publish_later, NULL) == 0);
    while (rx_reader_waiting(&reader) == 0)
        CHECK_EQ(rx_reader_wait(&reader, 0, rt_mono_ns() + 10 * RT_NS_PER_S), 0);
    pthread_join(thread, NULL);
    CHECK_EQ(rx_reader_wait(&reader, 0, rt_mono_ns() + 10 * RT_NS_PER_S), 0);
    CHECK_EQ(read_numbered(&reader, NULL), 0);
    close_ring();
}

static void test_a_tap_sees_and_changes_nothing(void)
{
    open_ring();
    shm_segment_t map;
    REQUIRE(shm_segment_map(&map, seg_fd, 0) == 0);
    rx_reader_t tap;
    CHECK_EQ(rx_reader_init(&tap, &map, CTL_NO_SLOT, SHM_READ_EACH, 0), 0);
    CHECK_EQ(rx_reader_wait(&tap, 0, rt_mono_ns() + RT_NS_PER_MS / 2), 0); /* a nap */
    CHECK_EQ(rx_reader_wait(&tap, 0, rt_mono_ns()), -ETIMEDOUT);
    for (uint32_t i = 0; i < 100; i++) {
        CHECK_EQ(put_numbered(i), 0);
        (void)rx_writer_publish(&writer);
    }
    CHECK_EQ(rx_reader_wait(&tap, 0, rt_mono_ns()), 0);
    uint64_t lost;
    int64_t got = read_numbered(&tap, &lost);
    CHECK_EQ((int64_t)lost, got);
    CHECK(lost > 0);
    shm_segment_unmap(&map);
    close_ring();
}

/* The reader's cursor points at the last unit of the ring, where padding of one unit lay
 * until the writer came by again and put payload there that looks like a record: nothing
 * behind the ring's end may be read. */
static void test_a_header_at_the_very_end_is_not_followed(void)
{
    open_ring();
    rt_store_relaxed(&seg.rx->tail, shm_cursor(1, 0));
    rt_a64_t *last = (rt_a64_t *)(seg.rx_data + RING_BYTES - SHM_UNIT_BYTES);
    rt_store_relaxed(last, shm_word(0, 1, 0, SHM_RECORD_COMMITTED));
    reader.cursor = shm_cursor(0, UNITS - 1);
    CHECK_EQ(rx_reader_next(&reader, buffer, sizeof buffer, &packet, NULL), 0);
    CHECK_EQ(reader.lost, 1);
    CHECK_EQ(rt_load_relaxed(&seg.readers[0].cursor), shm_cursor(1, 0));
    close_ring();
}

/* --- what is lost, by whom ------------------------------------------------------------------- */

static void test_the_writer_counts_what_a_reader_missed(void)
{
    shm_config_t c = shm_test_config(RING_BYTES, MAX_PAYLOAD);
    c.rx_capacity = 10;
    open_with(&c);
    rx_reader_t slow;
    CHECK_EQ(rx_reader_init(&slow, &seg, 3, SHM_READ_EACH, 0), 0);
    rt_store_relaxed(&seg.readers[3].owner, (uint32_t)getpid());
    for (uint32_t i = 0; i < 10; i++)
        CHECK_EQ(put_numbered(i), 0);
    (void)rx_writer_publish(&writer);
    CHECK_EQ(rx_writer_lost(&writer), 0);
    for (int64_t i = 0; i < 10; i++)
        CHECK_EQ(read_numbered(&reader, NULL), i);
    for (int64_t i = 0; i < 4; i++)
        CHECK_EQ(read_numbered(&slow, NULL), i);
    for (uint32_t i = 10; i < 17; i++)
        CHECK_EQ(put_numbered(i), 0);
    CHECK_EQ(rx_writer_lost(&writer), 3); /* 0 .. 3 were taken, 4 .. 6 not by the slow one */
    rt_store_relaxed(&seg.readers[3].owner, 0);
    for (uint32_t i = 17; i < 20; i++)
        CHECK_EQ(put_numbered(i), 0);
    CHECK_EQ(rx_writer_lost(&writer), 0); /* the one that is left has all that were removed */
    rt_store_relaxed(&seg.readers[0].owner, 0);
    for (uint32_t i = 20; i < 40; i++)
        CHECK_EQ(put_numbered(i), 0);
    CHECK_EQ(rx_writer_lost(&writer), 0); /* nobody reads: nobody misses them */
    close_ring();
}

static void test_the_writer_counts_what_the_group_missed(void)
{
    shm_config_t c = shm_test_config(RING_BYTES, MAX_PAYLOAD);
    c.rx_capacity = 10;
    c.read_mode = SHM_READ_SHARED;
    open_with(&c);
    rx_reader_t one;
    CHECK_EQ(rx_reader_init(&one, &seg, CTL_NO_SLOT, SHM_READ_SHARED, 0), 0);
    for (uint32_t i = 0; i < 10; i++)
        CHECK_EQ(put_numbered(i), 0);
    (void)rx_writer_publish(&writer);
    for (int64_t i = 0; i < 4; i++)
        CHECK_EQ(read_numbered(&one, NULL), i);
    for (uint32_t i = 10; i < 17; i++)
        CHECK_EQ(put_numbered(i), 0);
    CHECK_EQ(rx_writer_lost(&writer), 3);
    (void)rx_writer_publish(&writer);
    CHECK_EQ(read_numbered(&one, NULL), 7);
    CHECK_EQ(rt_load_relaxed(&seg.rx->shared_lost), 3);
    close_ring();
}

static void test_a_purge_keeps_apart_what_was_lost_before(void)
{
    shm_config_t c = shm_test_config(RING_BYTES, MAX_PAYLOAD);
    c.rx_capacity = 10;
    c.read_mode = SHM_READ_SHARED;
    open_with(&c);
    rx_reader_t one;
    CHECK_EQ(rx_reader_init(&one, &seg, CTL_NO_SLOT, SHM_READ_SHARED, 0), 0);
    for (uint32_t i = 0; i < 14; i++) /* four lost, ten purged */
        CHECK_EQ(put_numbered(i), 0);
    (void)rx_writer_publish(&writer);
    rx_writer_purge(&writer);
    CHECK_EQ(rt_load_relaxed(&seg.rx->shared_lost), 4);
    CHECK_EQ(rx_reader_waiting(&one), 0);
    CHECK_EQ(put_numbered(14), 0);
    (void)rx_writer_publish(&writer);
    CHECK_EQ(read_numbered(&one, NULL), 14);
    CHECK_EQ(rt_load_relaxed(&seg.rx->shared_lost), 4);
    close_ring();
}

/* --- room ------------------------------------------------------------------------------------ */

static void test_waiting_for_the_group(void)
{
    shm_config_t c = shm_test_config(RING_BYTES, MAX_PAYLOAD);
    c.overflow = SHM_OVERFLOW_WAIT;
    c.read_mode = SHM_READ_SHARED;
    open_with(&c);
    rx_reader_t one;
    CHECK_EQ(rx_reader_init(&one, &seg, CTL_NO_SLOT, SHM_READ_SHARED, 0), 0);
    uint32_t n = 0, read = 0;
    while (n < 500) {
        while (put_numbered(n) == 0)
            n++;
        (void)rx_writer_publish(&writer);
        CHECK_EQ(rx_writer_room(&writer, 1, MAX_PAYLOAD), 0);
        for (int i = 0; i < 3; i++)
            CHECK_EQ(read_numbered(&one, NULL), read++);
    }
    CHECK_EQ(rt_load_relaxed(&seg.rx->shared_lost), 0);
    CHECK_EQ(rx_writer_lost(&writer), 0);
    close_ring();
}

/* As many as it promises do fit, whatever their lengths, from wherever the tail stands. */
static void test_room_is_a_promise(void)
{
    shm_config_t c = shm_test_config(RING_BYTES, MAX_PAYLOAD);
    c.overflow = SHM_OVERFLOW_WAIT;
    for (uint32_t place = 0; place < UNITS; place++) {
        open_with(&c);
        rt_store_relaxed(&seg.rx->tail, shm_cursor(0, place));
        rt_store_relaxed(&seg.rx->floor, shm_cursor(0, place));
        CHECK_EQ(rx_writer_init(&writer, &seg), 0);
        CHECK_EQ(rx_reader_init(&reader, &seg, 0, SHM_READ_EACH, 0), 0);
        uint64_t rng = place;
        for (int lap = 0; lap < 4; lap++) {
            uint32_t room = rx_writer_room(&writer, 1, MAX_PAYLOAD);
            CHECK(lap > 0 || room > 5);
            for (uint32_t i = 0; i < room; i++)
                CHECK_EQ(put((uint32_t)(rt_test_rand(&rng) % 2 * MAX_PAYLOAD)), 0);
            (void)rx_writer_publish(&writer);
            while (rx_reader_next(&reader, buffer, sizeof buffer, &packet, NULL) == 1) {
            }
        }
        close_ring();
    }
}

/* It becomes a reader at an old packet while the room is being used: it loses that one, and knows.
 * The packet for which there was room is not lost for all. */
static void test_room_stays_when_an_end_becomes_a_reader(void)
{
    shm_config_t c = shm_test_config(RING_BYTES, MAX_PAYLOAD);
    c.overflow = SHM_OVERFLOW_WAIT;
    c.rx_capacity = 4;
    rx_reader_t late;
    uint64_t lost;
    open_with(&c);
    CHECK_EQ(rx_reader_init(&late, &seg, 1, SHM_READ_EACH, 0), 0);
    for (uint32_t i = 0; i < 4; i++) {
        CHECK_EQ(put_numbered(i), 0);
        (void)rx_writer_publish(&writer);
        CHECK_EQ(read_numbered(&reader, NULL), i);
    }
    CHECK_EQ(rx_writer_room(&writer, 1, MAX_PAYLOAD), 4);
    rt_store_relaxed(&seg.readers[1].owner, (uint32_t)getpid());
    CHECK_EQ(put_numbered(4), 0);
    (void)rx_writer_publish(&writer);
    CHECK_EQ(rx_writer_lost(&writer), 1);
    CHECK_EQ(rx_writer_room(&writer, 1, MAX_PAYLOAD), 0); /* now it is waited for */
    CHECK_EQ(put_numbered(5), -ENOBUFS);
    CHECK_EQ(read_numbered(&late, &lost), 1);
    CHECK_EQ(lost, 1);
    CHECK_EQ(put_numbered(5), 0);
    (void)rx_writer_publish(&writer);
    for (int64_t i = 4; i < 6; i++)
        CHECK_EQ(read_numbered(&reader, NULL), i);
    CHECK_EQ(reader.lost, 0);
    close_ring();
}

static void test_room_by_count_and_for_lapped_readers(void)
{
    shm_config_t c = shm_test_config(RING_BYTES, MAX_PAYLOAD);
    c.overflow = SHM_OVERFLOW_WAIT;
    c.rx_capacity = 7;
    open_with(&c);
    CHECK_EQ(rx_writer_room(&writer, 1, 10), 7);
    CHECK_EQ(rx_writer_room(&writer, 3, 30), 2); /* messages of three packets */
    for (int i = 0; i < 5; i++)
        CHECK_EQ(put(10), 0);
    CHECK_EQ(rx_writer_room(&writer, 1, 10), 2);
    CHECK_EQ(rx_writer_room(&writer, 3, 30), 0);
    (void)rx_writer_publish(&writer);
    rx_writer_purge(&writer); /* the reader's cursor stays behind until it calls */
    CHECK_EQ(rx_writer_room(&writer, 1, 10), 7);
    CHECK_EQ(put(10), 0);
    rt_store_relaxed(&seg.readers[0].cursor, shm_cursor(5, UNITS)); /* overwritten: no promise */
    CHECK_EQ(rx_writer_room(&writer, 1, 10), 0);
    close_ring();
}

/* --- lengths --------------------------------------------------------------------------------- */

static uint8_t longest[SHM_MAX_PAYLOAD], arrived[SHM_MAX_PAYLOAD];

/* All lengths near the ends and every 97th between, over many laps. */
static void test_every_length_up_to_the_longest_datagram(void)
{
    shm_config_t c = shm_test_config(65u * SHM_PAGE_BYTES, SHM_MAX_PAYLOAD);
    open_with(&c);
    for (uint32_t i = 0; i < sizeof longest; i++)
        longest[i] = (uint8_t)(i * 7 + i / 256);
    for (uint32_t bytes = 0; bytes <= SHM_MAX_PAYLOAD;
         bytes += bytes < 300 || bytes >= SHM_MAX_PAYLOAD - 40 ? 1 : 37) {
        rx_item_t item = {
            .payload = longest, .payload_bytes = bytes, .source = {.family = bytes % 2 ? 4 : 6}};
        CHECK_EQ(rx_writer_put(&writer, &item), 0);
        (void)rx_writer_publish(&writer);
        uint64_t lost = 1;
        REQUIRE(rx_reader_next(&reader, arrived, sizeof arrived, &packet, &lost) == 1);
        CHECK_EQ(lost, 0);
        CHECK_EQ(packet.payload_bytes, bytes);
        CHECK_MEM_EQ(arrived, longest, bytes);
    }
    CHECK_EQ(reader.lost, 0);
    close_ring();
}

/* --- damage ---------------------------------------------------------------------------------- */

/* A record whose word was overwritten: its reader starts again at the tail
 * and tells what that costs it. */
static void check_damage(uint64_t word, int mode)
{
    open_ring();
    rx_reader_t r;
    CHECK_EQ(rx_reader_init(&r, &seg, 1, mode, 0), 0);
    for (uint32_t i = 0; i < 3; i++)
        CHECK_EQ(put_numbered(i), 0);
    (void)rx_writer_publish(&writer);
    rt_store_relaxed((rt_a64_t *)seg.rx_data, word);
    CHECK_EQ(read_numbered(&r, NULL), -1);
    if (mode == SHM_READ_EACH)
        CHECK_EQ(r.lost, 3);
    CHECK_EQ(rx_reader_waiting(&r), 0);
    CHECK_EQ(put_numbered(3), 0);
    (void)rx_writer_publish(&writer);
    CHECK_EQ(read_numbered(&r, NULL), 3);
    close_ring();
}

static void test_a_damaged_record_is_left_behind(void)
{
    const uint64_t words[] = {
        0,
        UINT64_MAX,
        shm_word(1, 8, 0, SHM_RECORD_COMMITTED),         /* another's sequence */
        shm_word(0, UNITS + 1, 0, SHM_RECORD_COMMITTED), /* past the ring's end */
        shm_word(0, 2, 0, SHM_RECORD_COMMITTED),         /* shorter than a header */
        shm_word(0, 5, SHM_RX_V6, SHM_RECORD_COMMITTED), /* shorter than its address */
        shm_word(0, 6, 0, SHM_RECORD_COMMITTED),         /* shorter than its payload */
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        check_damage(words[i], SHM_READ_EACH);
        check_damage(words[i], SHM_READ_SHARED);
    }
}

/* Word and length agree, and yet no datagram of this channel is that long. */
static void test_a_length_above_max_payload_is_damage(void)
{
    enum { LIE = MAX_PAYLOAD + 1800 };
    for (int shared = 0; shared < 2; shared++) {
        open_ring();
        rx_reader_t r;
        CHECK_EQ(rx_reader_init(&r, &seg, 1, shared ? SHM_READ_SHARED : SHM_READ_EACH, 0), 0);
        CHECK_EQ(put_numbered(0), 0);
        (void)rx_writer_publish(&writer);
        shm_rx_record_t *record = (shm_rx_record_t *)(void *)seg.rx_data;
        record->payload_bytes = LIE;
        rt_store_relaxed(&record->word, shm_word(0, UNITS - 1, 0, SHM_RECORD_COMMITTED));
        CHECK_EQ(rx_reader_next(&r, buffer, sizeof buffer, &packet, NULL), 0);
        CHECK_EQ(rx_reader_waiting(&r), 0);
        close_ring();
    }
}

static void test_no_more_packets_wait_than_the_ring_has_units(void)
{
    open_ring();
    rt_store_relaxed(&seg.rx->tail, shm_cursor(INT32_MAX, 0));
    CHECK_EQ(rx_reader_waiting(&reader), UNITS);
    close_ring();
}

static void test_a_cursor_outside_is_left_behind(void)
{
    open_ring();
    rx_reader_t shared;
    CHECK_EQ(rx_reader_init(&shared, &seg, CTL_NO_SLOT, SHM_READ_SHARED, 0), 0);
    for (uint32_t i = 0; i < 3; i++)
        CHECK_EQ(put_numbered(i), 0);
    (void)rx_writer_publish(&writer);
    rt_store_relaxed(&seg.rx->shared_head, shm_cursor(1, UNITS));
    CHECK_EQ(read_numbered(&shared, NULL), -1);
    rt_store_relaxed(&seg.rx->shared_head, shm_cursor(1, UINT32_MAX));
    CHECK_EQ(read_numbered(&shared, NULL), -1);
    CHECK_EQ(rt_load_relaxed(&seg.rx->shared_head), rt_load_relaxed(&seg.rx->tail));
    rt_store_relaxed(&seg.rx->floor, shm_cursor(2, UNITS)); /* led there by the floor */
    rx_reader_t late;
    CHECK_EQ(rx_reader_init(&late, &seg, 2, SHM_READ_EACH, 1), 0);
    CHECK_EQ(read_numbered(&late, NULL), -1);
    CHECK_EQ(late.lost, 1);
    close_ring();
}

static void test_a_damaged_length_empties_the_ring_for_the_writer(void)
{
    const uint64_t words[] = {0, UINT64_MAX, shm_word(0, UNITS, 0, SHM_RECORD_PAD),
                              shm_word(0, 3, 0, SHM_RECORD_PAD)};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        open_ring();
        uint32_t n = 0;
        CHECK_EQ(put_numbered(n++), 0);
        rt_store_relaxed((rt_a64_t *)seg.rx_data, words[i]);
        rt_store_relaxed((rt_a64_t *)(seg.rx_data + 3 * SHM_UNIT_BYTES), 0);
        while (n < 60)
            CHECK_EQ(put_numbered(n++), 0);
        (void)rx_writer_publish(&writer);
        uint64_t lost;
        int64_t got = read_numbered(&reader, &lost);
        CHECK(got > 0 && (uint64_t)got == lost);
        for (int64_t next = got + 1; next < n; next++)
            CHECK_EQ(read_numbered(&reader, NULL), next);
        close_ring();
    }
}

/* --- waiting --------------------------------------------------------------------------------- */

static void on_signal(int number)
{
    (void)number;
}

static void *interrupt_until_stopped(void *arg)
{
    pthread_t sleeper = *(pthread_t *)arg;
    while (rt_load_acquire(&seg.rx->reserved) == 0) {
        (void)pthread_kill(sleeper, SIGUSR1);
        usleep(500);
    }
    return NULL;
}

static void test_a_signal_ends_the_wait_of_readers_and_taps(void)
{
    open_ring();
    struct sigaction act = {.sa_handler = on_signal};
    CHECK_EQ(sigaction(SIGUSR1, &act, NULL), 0);
    shm_segment_t map;
    rx_reader_t tap;
    REQUIRE(shm_segment_map(&map, seg_fd, 0) == 0);
    CHECK_EQ(rx_reader_init(&tap, &map, CTL_NO_SLOT, SHM_READ_EACH, 0), 0);
    pthread_t self = pthread_self(), thread;
    REQUIRE(pthread_create(&thread, NULL, interrupt_until_stopped, &self) == 0);
    CHECK_EQ(rx_reader_wait(&reader, 0, rt_mono_ns() + 20 * RT_NS_PER_S), -EINTR);
    CHECK_EQ(rx_reader_wait(&reader, 0, RT_NEVER_NS), -EINTR);
    int rc = 0;
    for (int naps = 0; naps < 10000 && rc == 0; naps++) /* a tap sleeps a little at a time */
        rc = rx_reader_wait(&tap, 0, RT_NEVER_NS);
    CHECK_EQ(rc, -EINTR);
    rt_store_release(&seg.rx->reserved, 1);
    pthread_join(thread, NULL);
    shm_segment_unmap(&map);
    close_ring();
}

static void *wait_for_a_packet(void *wished)
{
    int64_t start = rt_mono_ns();
    CHECK_EQ(rx_reader_wait(&reader, 100 * RT_NS_PER_S, RT_NEVER_NS), 0);
    CHECK(rt_mono_ns() - start < 50 * RT_NS_PER_S);
    *(uint32_t *)wished = rt_load_relaxed(&seg.rx->data_wanted);
    return NULL;
}

/* In a thread of its own: one that found its core busy in an earlier test does not spin for a
 * while.
 */
static void test_a_packet_ends_the_spinning(void)
{
    open_ring();
    CHECK_EQ(put_numbered(0), 0);
    (void)rx_writer_publish(&writer);
    uint32_t wished = 1;
    pthread_t thread;
    REQUIRE(pthread_create(&thread, NULL, wait_for_a_packet, &wished) == 0);
    pthread_join(thread, NULL);
    CHECK_EQ(wished, 0); /* no system call for the worker */
    close_ring();
}

/* A wish that somebody else's wake has already answered costs the worker no second call. */
static void test_one_wish_one_wake(void)
{
    open_ring();
    rt_store_relaxed(&seg.rx->data_wanted, 1);
    CHECK_EQ(put_numbered(0), 0);
    uint32_t event = rt_load_relaxed(&seg.rx->data_event);
    CHECK_EQ(rx_writer_publish(&writer), 1);
    CHECK(rt_load_relaxed(&seg.rx->data_event) != event);
    CHECK_EQ(rx_writer_publish(&writer), 0); /* nothing new */
    CHECK_EQ(put_numbered(1), 0);
    CHECK_EQ(rx_writer_publish(&writer), 0);
    close_ring();
}

/* The ring of a direction that is not used may be too small for the channel's longest packet. */
static void test_what_can_never_fit_is_refused(void)
{
    shm_config_t c = shm_test_config(1 << 16, 10000);
    c.direction = SHM_TX;
    c.rx_bytes = 4096;
    shm_segment_t s;
    int fd = shm_test_open(&s, &c);
    rx_writer_t w;
    CHECK_EQ(rx_writer_init(&w, &s), 0);
    static const uint8_t payload[10000];
    rx_item_t item = {.payload = payload, .payload_bytes = 10000};
    CHECK_EQ(rx_writer_put(&w, &item), -EMSGSIZE);
    item.payload_bytes = 900;
    CHECK_EQ(rx_writer_put(&w, &item), 0);
    shm_test_close(&s, fd);
}

static uint8_t *closed_page;

/* What the writer did while the reader was stopped amid its copying: 2^31 packets and more. */
static void on_copy(int number)
{
    (void)number;
    const uint32_t far = UINT32_C(0x80000010);
    memset(seg.rx_data + sizeof(shm_rx_record_t), 0, MAX_PAYLOAD);
    rt_store_relaxed(&seg.rx->floor, shm_cursor(far, 0));
    rt_store_relaxed(&seg.rx->sequence_high, far);
    rt_store_relaxed(&seg.rx->tail, shm_cursor(far, 0));
    if (mprotect(closed_page, SHM_PAGE_BYTES, PROT_READ | PROT_WRITE) != 0)
        abort();
}

static void test_a_reader_stopped_for_half_of_all_sequences_believes_nothing_torn(void)
{
    open_ring();
    CHECK_EQ(put_numbered(0), 0);
    (void)rx_writer_publish(&writer);
    closed_page = mmap(NULL, SHM_PAGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(closed_page != MAP_FAILED);
    struct sigaction before, amid = {.sa_handler = on_copy};
    REQUIRE(sigaction(SIGSEGV, &amid, &before) == 0);
    CHECK_EQ(rx_reader_next(&reader, closed_page, MAX_PAYLOAD, &packet, NULL), 0);
    REQUIRE(sigaction(SIGSEGV, &before, NULL) == 0);
    CHECK_EQ(reader.lost, UINT64_C(0x80000010));
    munmap(closed_page, SHM_PAGE_BYTES);
    close_ring();
}

static void test_cursors_that_somebody_overwrote_promise_no_packet(void)
{
    open_ring();
    CHECK_EQ(put_numbered(0), 0);
    (void)rx_writer_publish(&writer);
    CHECK_EQ(rx_reader_waiting(&reader), 1);
    rt_store_relaxed(&seg.rx->sequence_high, UINT64_C(3) << 62);
    CHECK_EQ(rx_reader_waiting(&reader), 0);
    CHECK_EQ(rx_reader_next(&reader, NULL, 0, &packet, NULL), 0);
    close_ring();
}

int main(void)
{
    RUN(test_what_can_never_fit_is_refused);
    RUN(test_init_refuses_what_cannot_read);
    RUN(test_a_packet_arrives_as_it_was_put);
    RUN(test_the_local_address_needs_room_only_if_it_is_known);
    RUN(test_a_payload_is_filled_in_in_place);
    RUN(test_too_long_a_packet_is_refused);
    RUN(test_a_lapped_reader_knows_what_it_lost);
    RUN(test_a_loss_found_before_its_packet_is_told_with_it);
    RUN(test_a_lapped_group_knows_what_it_lost);
    RUN(test_each_reader_gets_all);
    RUN(test_each_shared_packet_goes_to_one);
    RUN(test_capacity_counts_packets);
    RUN(test_waiting_writer_overwrites_nothing_unread);
    RUN(test_purged_packets_are_not_lost);
    RUN(test_a_successor_goes_on);
    RUN(test_a_successor_skips_more_than_a_ring_full);
    RUN(test_waiting_ends_with_a_packet_or_in_time);
    RUN(test_a_tap_sees_and_changes_nothing);
    RUN(test_a_header_at_the_very_end_is_not_followed);
    RUN(test_the_writer_counts_what_a_reader_missed);
    RUN(test_the_writer_counts_what_the_group_missed);
    RUN(test_a_purge_keeps_apart_what_was_lost_before);
    RUN(test_waiting_for_the_group);
    RUN(test_room_is_a_promise);
    RUN(test_room_stays_when_an_end_becomes_a_reader);
    RUN(test_room_by_count_and_for_lapped_readers);
    RUN(test_every_length_up_to_the_longest_datagram);
    RUN(test_a_damaged_record_is_left_behind);
    RUN(test_a_length_above_max_payload_is_damage);
    RUN(test_no_more_packets_wait_than_the_ring_has_units);
    RUN(test_a_cursor_outside_is_left_behind);
    RUN(test_a_reader_stopped_for_half_of_all_sequences_believes_nothing_torn);
    RUN(test_cursors_that_somebody_overwrote_promise_no_packet);
    RUN(test_a_damaged_length_empties_the_ring_for_the_writer);
    RUN(test_a_signal_ends_the_wait_of_readers_and_taps);
    RUN(test_a_packet_ends_the_spinning);
    RUN(test_one_wish_one_wake);
    return rt_test_result();
}
