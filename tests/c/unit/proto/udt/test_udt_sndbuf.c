/* The send buffer: cutting, numbering, freeing, against the bytes that were given. */
#include "proto/udt/udt_sndbuf.h"

#include "rt_test.h"

#include <errno.h>

enum { SIZE = 1000, MAX_PACKETS = 24, PAYLOAD = 64, TOTAL = 200000 };

static udt_sndbuf_t b;
static uint8_t ring[SIZE];
static udt_snd_packet_t packets[32];

static void open_buffer(bool is_stream, uint32_t isn)
{
    CHECK_EQ(udt_sndbuf_memory_bytes(MAX_PACKETS), sizeof packets);
    udt_sndbuf_init(
        &b,
        &(udt_sndbuf_config_t){
            .is_stream = is_stream, .bytes = ring, .size = SIZE, .max_packets = MAX_PACKETS},
        packets);
    udt_sndbuf_start(&b, isn, PAYLOAD);
}

static void give(const char *text)
{
    uint32_t n = (uint32_t)strlen(text);
    CHECK_EQ(udt_sndbuf_write(&b, text, n), n);
}

static void test_small_portions_leave_in_one_packet(void)
{
    uint32_t seq;
    open_buffer(true, UDT_SEQ_MASK);
    CHECK_EQ(udt_sndbuf_new_packets(&b), 0);
    CHECK(udt_sndbuf_next(&b, &seq) == NULL);
    give("one ");
    give("two");
    CHECK_EQ(udt_sndbuf_new_packets(&b), 1);
    udt_snd_packet_t *p = udt_sndbuf_next(&b, &seq);
    CHECK_EQ(seq, UDT_SEQ_MASK);
    CHECK_EQ(p->bytes, 7);
    CHECK_EQ(p->word1, UDT_WORD1_SOLO | 1);
    CHECK_MEM_EQ(udt_sndbuf_payload(&b, p), "one two", 7);
    give("three");
    p = udt_sndbuf_next(&b, &seq);
    CHECK_EQ(seq, 0);
    CHECK_MEM_EQ(udt_sndbuf_payload(&b, p), "three", 5);
    CHECK(udt_sndbuf_get(&b, UDT_SEQ_MASK) != NULL);
    CHECK(udt_sndbuf_get(&b, 1) == NULL);
    CHECK_EQ(udt_sndbuf_ack(&b, 2), 0); /* never sent */
    CHECK_EQ(udt_sndbuf_ack(&b, 1), 2);
    CHECK_EQ(udt_sndbuf_ack(&b, 1), 0);
    CHECK_EQ(udt_sndbuf_ack(&b, UDT_SEQ_MASK), 0);
    CHECK(udt_sndbuf_is_empty(&b));
    CHECK_EQ(udt_sndbuf_free_bytes(&b), SIZE);
}

static void test_no_more_than_fits(void)
{
    uint8_t data[SIZE + 1] = {0};
    open_buffer(true, 0);
    CHECK_EQ(udt_sndbuf_write(&b, data, SIZE + 1), SIZE);
    CHECK_EQ(udt_sndbuf_write(&b, data, 1), 0);
}

static void test_a_stream_waits_for_a_descriptor(void)
{
    uint32_t seq;
    open_buffer(true, 0);
    for (int i = 0; i < MAX_PACKETS; i++) {
        give("x");
        CHECK(udt_sndbuf_next(&b, &seq) != NULL);
    }
    give("y");
    CHECK_EQ(udt_sndbuf_new_packets(&b), 0);
    CHECK(udt_sndbuf_next(&b, &seq) == NULL);
    CHECK_EQ(udt_sndbuf_ack(&b, 1), 1);
    CHECK_EQ(udt_sndbuf_new_packets(&b), 1);
    CHECK(udt_sndbuf_next(&b, &seq) != NULL);
    CHECK_EQ(seq, MAX_PACKETS);
}

/* Whatever is written, sent and acknowledged when: packet by packet the bytes as they were given.
 */
static void test_a_long_stream(void)
{
    uint64_t random = 5;
    uint32_t written = 0;
    uint32_t sent = 0;
    uint32_t next = UDT_SEQ_MASK - 1000;
    uint32_t oldest = next;
    uint32_t at_end = 0;
    open_buffer(true, next);
    while (sent < TOTAL) {
        uint8_t data[300];
        for (uint32_t i = 0; i < sizeof data; i++)
            data[i] = (uint8_t)((written + i) * 7 + ((written + i) >> 8));
        written += udt_sndbuf_write(&b, data, (uint32_t)(rt_test_rand(&random) % 300));
        for (uint64_t k = rt_test_rand(&random) % 6; k > 0; k--) {
            uint32_t seq;
            uint32_t expected = udt_sndbuf_new_packets(&b);
            udt_snd_packet_t *p = udt_sndbuf_next(&b, &seq);
            CHECK_EQ(p != NULL, expected > 0);
            if (p == NULL)
                break;
            CHECK_EQ(seq, next);
            next = udt_seq_next(next);
            CHECK(p->bytes >= 1 && p->bytes <= PAYLOAD && p->at + p->bytes <= SIZE);
            at_end += p->at + p->bytes == SIZE;
            const uint8_t *payload = udt_sndbuf_payload(&b, p);
            for (uint32_t i = 0; i < p->bytes; i++, sent++)
                CHECK_EQ(payload[i], (uint8_t)(sent * 7 + (sent >> 8)));
        }
        uint32_t unacknowledged = (uint32_t)udt_seq_diff(next, oldest);
        uint32_t ack = (uint32_t)(rt_test_rand(&random) % (unacknowledged + 1));
        CHECK_EQ(udt_sndbuf_ack(&b, udt_seq_skip(oldest, ack)), ack);
        oldest = udt_seq_skip(oldest, ack);
    }
    CHECK(at_end > 50);
}

static void test_a_message_is_cut_when_it_is_given(void)
{
    uint8_t data[200] = {0};
    uint32_t seq;
    open_buffer(false, 10);
    udt_sndbuf_copy_at(&b, 0, data, 150);
    CHECK_EQ(udt_sndbuf_commit_message(&b, 150, 20, true, 99), 0);
    udt_sndbuf_copy_at(&b, 0, data, 1);
    CHECK_EQ(udt_sndbuf_commit_message(&b, 1, -1, false, 100), 0);
    CHECK_EQ(udt_sndbuf_new_packets(&b), 4);
    const uint32_t words[] = {UDT_WORD1_FIRST | UDT_WORD1_IN_ORDER | 1, UDT_WORD1_IN_ORDER | 1,
                              UDT_WORD1_LAST | UDT_WORD1_IN_ORDER | 1, UDT_WORD1_SOLO | 2};
    const uint32_t sizes[] = {64, 64, 22, 1};
    for (uint32_t i = 0; i < 4; i++) {
        udt_snd_packet_t *p = udt_sndbuf_next(&b, &seq);
        CHECK_EQ(seq, 10 + i);
        CHECK_EQ(p->word1, words[i]);
        CHECK_EQ(p->bytes, sizes[i]);
        CHECK_EQ(p->ttl_ms, i < 3 ? 20 : -1);
        CHECK_EQ(p->born_ns, i < 3 ? 99 : 100);
    }
}

/* Over the end of the ring, too. */
static void test_a_message_given_in_portions(void)
{
    uint8_t message[300];
    uint8_t got[300];
    uint32_t seq;
    for (uint32_t i = 0; i < sizeof message; i++)
        message[i] = (uint8_t)(i * 3);
    open_buffer(false, 0);
    for (int round = 0; round < 20; round++) {
        uint32_t n = 0;
        for (uint32_t at = 0; at < sizeof message; at += 70)
            udt_sndbuf_copy_at(&b, at, message + at, at + 70 < 300 ? 70 : 300 - at);
        CHECK_EQ(udt_sndbuf_new_packets(&b), 0);
        CHECK_EQ(udt_sndbuf_commit_message(&b, sizeof message, -1, true, 0), 0);
        const udt_snd_packet_t *p;
        while ((p = udt_sndbuf_next(&b, &seq)) != NULL) {
            memcpy(got + n, udt_sndbuf_payload(&b, p), p->bytes);
            n += p->bytes;
        }
        CHECK_EQ(n, sizeof message);
        CHECK_MEM_EQ(got, message, sizeof message);
        udt_sndbuf_ack(&b, udt_seq_next(seq));
    }
}

static void test_messages_that_cannot_be_given(void)
{
    open_buffer(false, 0);
    uint32_t longest = udt_sndbuf_max_message_bytes(&b);
    CHECK_EQ(longest, SIZE);
    CHECK_EQ(udt_sndbuf_commit_message(&b, 0, -1, true, 0), -EINVAL);
    CHECK_EQ(udt_sndbuf_commit_message(&b, longest + 1, -1, true, 0), -EMSGSIZE);
    CHECK_EQ(udt_sndbuf_commit_message(&b, 600, -1, true, 0), 0);
    CHECK_EQ(udt_sndbuf_commit_message(&b, 401, -1, true, 0), -ENOSPC);
    CHECK_EQ(udt_sndbuf_free_bytes(&b), 400);
    for (int i = 0; i < 13; i++)
        CHECK_EQ(udt_sndbuf_commit_message(&b, 1, -1, true, 0), 0);
    CHECK_EQ(udt_sndbuf_commit_message(&b, 1, -1, true, 0), -ENOSPC);
    CHECK_EQ(udt_sndbuf_free_bytes(&b), 0); /* no descriptor is left */
}

static void test_passing_over_takes_the_rest_of_the_message_with_it(void)
{
    uint32_t seq;
    open_buffer(false, 100);
    CHECK_EQ(udt_sndbuf_commit_message(&b, 4 * PAYLOAD, 0, true, 0), 0);
    CHECK_EQ(udt_sndbuf_commit_message(&b, 5, 0, true, 0), 0);
    udt_sndbuf_next(&b, &seq);
    udt_sndbuf_next(&b, &seq);
    CHECK_EQ(udt_sndbuf_pass_over(&b, 100), 103);
    CHECK_EQ(udt_sndbuf_next_seq(&b), 104);
    CHECK_EQ(udt_sndbuf_pass_over(&b, 101), 103);
    CHECK_EQ(udt_sndbuf_next_seq(&b), 104);
    CHECK_EQ(udt_sndbuf_ack(&b, 104), 4);
    udt_sndbuf_next(&b, &seq);
    CHECK_EQ(seq, 104);
}

int main(void)
{
    RUN(test_small_portions_leave_in_one_packet);
    RUN(test_no_more_than_fits);
    RUN(test_a_stream_waits_for_a_descriptor);
    RUN(test_a_long_stream);
    RUN(test_a_message_is_cut_when_it_is_given);
    RUN(test_a_message_given_in_portions);
    RUN(test_messages_that_cannot_be_given);
    RUN(test_passing_over_takes_the_rest_of_the_message_with_it);
    return rt_test_result();
}
