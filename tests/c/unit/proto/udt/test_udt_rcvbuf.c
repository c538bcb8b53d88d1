/* The receive buffer: streams read back, and messages against a model that looks at everything anew
 * each time. */
#include "proto/udt/udt_rcvbuf.h"

#include "rt_test.h"
#include "udt_app.h"

#include <errno.h>

enum { CAPACITY = 40, SLOT = 16, PACKETS = 4000 };

static udt_rcvbuf_t b;
static udt_rcv_slot_t slots[CAPACITY];
static uint8_t bytes[CAPACITY * SLOT];
static uint32_t isn;

static void open_buffer(bool is_stream, uint32_t first)
{
    isn = first;
    memset(bytes, 0xee, sizeof bytes);
    udt_rcvbuf_init(
        &b,
        &(udt_rcvbuf_config_t){
            .is_stream = is_stream, .bytes = bytes, .slot_bytes = SLOT, .capacity = CAPACITY},
        slots);
    udt_rcvbuf_start(&b, isn);
}

static int put(uint32_t offset, uint32_t word1, const void *data, uint32_t size)
{
    udt_view_t view = {
        .seq = udt_seq_skip(isn, offset), .word1 = word1, .body = data, .body_bytes = size};
    return udt_rcvbuf_put(&b, &view);
}

static uint32_t make_ready(uint32_t offset)
{
    return udt_rcvbuf_make_ready(&b, udt_seq_skip(isn, offset));
}

/* --- streams ------------------------------------------------------------------------------- */

static void test_bytes_come_out_in_order_whatever_order_they_came_in(void)
{
    char out[64] = "";
    open_buffer(true, UDT_SEQ_MASK - 1);
    CHECK_EQ(put(2, 0, "second", 6), 1);
    CHECK_EQ(put(0, 0, "0123456789abcdef", 16), 1);
    CHECK(!udt_rcvbuf_is_readable(&b));
    CHECK_EQ(make_ready(1), 1);
    CHECK_EQ(udt_rcvbuf_read(&b, out, 4), 4);
    CHECK_EQ(put(1, 0, "first", 5), 1);
    CHECK_EQ(make_ready(3), 2);
    CHECK_EQ(udt_rcvbuf_read(&b, out + 4, sizeof out - 4), 12 + 5 + 6);
    CHECK_STR_EQ(out, "0123456789abcdeffirstsecond");
    CHECK_EQ(udt_rcvbuf_read(&b, out, sizeof out), 0);
    CHECK(!udt_rcvbuf_is_readable(&b));
}

static void test_what_does_not_fit_is_said_to_be_so(void)
{
    open_buffer(true, 100);
    CHECK_EQ(put(0, 0, "a", 1), 1);
    CHECK_EQ(put(0, 0, "a", 1), 0);
    make_ready(1);
    CHECK_EQ(put(0, 0, "a", 1), -ERANGE);
    CHECK_EQ(udt_rcvbuf_available(&b), CAPACITY - 2);
    CHECK_EQ(put(CAPACITY - 1, 0, "z", 1), -ENOBUFS);
    CHECK_EQ(put(CAPACITY - 2, 0, "z", 1), 1);
    CHECK_EQ(put(5, 0, "0123456789abcdefg", 17), -EMSGSIZE);
    CHECK_EQ(put(UDT_SEQ_MASK, 0, "a", 1), -ERANGE);
}

static void test_slots_are_read_in_part(void)
{
    static uint8_t out[200];
    open_buffer(true, 0);
    for (uint32_t i = 0; i < 10; i++)
        put(i, 0, "0123456789abcdef", 16);
    put(10, 0, "short", 5);
    put(11, 0, "0123456789abcdef", 16);
    make_ready(12);
    CHECK_EQ(udt_rcvbuf_read(&b, out, 3), 3);
    CHECK_EQ(udt_rcvbuf_available(&b), CAPACITY - 13);
    CHECK_EQ(udt_rcvbuf_read(&b, out + 3, 162), 162);
    CHECK_MEM_EQ(out, "0123456789abcdef0123", 20);
    CHECK_MEM_EQ(out + 155, "bcdefshort", 10);
    CHECK_EQ(udt_rcvbuf_available(&b), CAPACITY - 2);
    CHECK_EQ(udt_rcvbuf_read(&b, out, sizeof out), 16);
    CHECK_EQ(udt_rcvbuf_read(&b, out, sizeof out), 0);
}

static void test_a_long_stream_round_the_buffer_and_the_circle(void)
{
    uint64_t random = 3;
    uint8_t stream[PACKETS * SLOT];
    uint32_t start[PACKETS + 1] = {0};
    for (uint32_t i = 0; i < PACKETS; i++)
        start[i + 1] = start[i] + 1 + (uint32_t)(rt_test_rand(&random) % SLOT);
    for (uint32_t i = 0; i < start[PACKETS]; i++)
        stream[i] = (uint8_t)rt_test_rand(&random);
    bool there[PACKETS + CAPACITY] = {false};
    uint32_t ready = 0;
    uint32_t taken = 0;
    open_buffer(true, UDT_SEQ_MASK - PACKETS / 2);
    while (taken < start[PACKETS]) {
        uint32_t at = ready + (uint32_t)(rt_test_rand(&random) % 8);
        if (at < PACKETS && put(at, 0, stream + start[at], start[at + 1] - start[at]) == 1)
            there[at] = true;
        while (there[ready])
            ready++;
        make_ready(ready);
        uint8_t out[70];
        size_t n = udt_rcvbuf_read(&b, out, rt_test_rand(&random) % sizeof out);
        CHECK_MEM_EQ(out, stream + taken, n);
        taken += (uint32_t)n;
    }
    CHECK_EQ(ready, PACKETS);
}

/* --- messages against a model -------------------------------------------------------------- */

typedef struct model_packet {
    uint32_t word1;
    uint8_t size;
    bool there;
    bool spent; /* given out or given up */
} model_packet_t;

static model_packet_t model[PACKETS + CAPACITY];
static uint32_t model_ready;

static uint8_t content(uint32_t offset, uint32_t i)
{
    return (uint8_t)(offset * 31 + i);
}

static void plan_messages(uint64_t *random)
{
    memset(model, 0, sizeof model);
    uint32_t number = 0x1ffffff0; /* soon to go round */
    for (uint32_t at = 0; at < PACKETS;) {
        uint32_t packets = 1 + (uint32_t)(rt_test_rand(random) % 6);
        uint32_t order = rt_test_rand(random) % 2 ? UDT_WORD1_IN_ORDER : 0;
        for (uint32_t i = 0; i < packets && at < PACKETS; i++, at++) {
            model[at].word1 = number | order | (i == 0 ? UDT_WORD1_FIRST : 0) |
                              (i + 1 == packets ? UDT_WORD1_LAST : 0);
            model[at].size = (uint8_t)(1 + rt_test_rand(random) % SLOT);
        }
        number = udt_message_next(number);
    }
}

/* The message that is to be read next: first and last packet. */
static bool model_message(uint32_t *first, uint32_t *last)
{
    uint32_t end = model_ready + CAPACITY;
    for (uint32_t at = 0; at < end && at < PACKETS; at++) {
        if (!(model[at].word1 & UDT_WORD1_FIRST))
            continue;
        uint32_t to = at;
        while (to < PACKETS && model[to].there && !model[to].spent &&
               !(model[to].word1 & UDT_WORD1_LAST))
            to++;
        if (to >= PACKETS || !model[to].there || model[to].spent)
            continue;
        if (to >= model_ready && (model[to].word1 & UDT_WORD1_IN_ORDER))
            continue;
        *first = at;
        *last = to;
        return true;
    }
    return false;
}

static void read_one(void)
{
    uint8_t out[CAPACITY * SLOT];
    uint8_t want[CAPACITY * SLOT];
    uint32_t first;
    uint32_t last;
    uint32_t n = 0;
    bool there_is = model_message(&first, &last);
    CHECK_EQ(udt_rcvbuf_is_readable(&b), there_is);
    size_t got = app_take_message(&b, out, sizeof out);
    if (there_is) {
        for (uint32_t at = first; at <= last; at++) {
            for (uint32_t i = 0; i < model[at].size; i++)
                want[n++] = content(at, i);
            model[at].spent = true;
        }
    }
    CHECK_EQ(got, n);
    CHECK_MEM_EQ(out, want, n);
}

static void advance_ready(void)
{
    while (model_ready < PACKETS && model[model_ready].there)
        model_ready++;
    make_ready(model_ready);
}

static void give_up_one(uint64_t *random)
{
    uint32_t first = model_ready;
    if (first >= PACKETS || rt_test_rand(random) % 4 != 0)
        return;
    uint32_t last = first;
    while (last + 1 < PACKETS && !(model[last].word1 & UDT_WORD1_LAST))
        last++;
    if (last >= model_ready + udt_rcvbuf_available(&b))
        return;
    udt_drop_t drop = {.message = udt_message_of(model[first].word1),
                       .first = udt_seq_skip(isn, first),
                       .last = udt_seq_skip(isn, last)};
    udt_rcvbuf_give_up(&b, &drop);
    for (uint32_t at = first; at <= last; at++) {
        model[at].there = true;
        model[at].spent = true;
    }
    advance_ready();
}

static void run_messages(uint64_t *random, uint32_t start)
{
    uint8_t data[SLOT];
    open_buffer(false, start);
    plan_messages(random);
    model_ready = 0;
    for (uint32_t stuck = 0; model_ready < PACKETS && stuck < 100 * PACKETS; stuck++) {
        uint32_t at = model_ready + (uint32_t)(rt_test_rand(random) % 25);
        if (at >= PACKETS || rt_test_rand(random) % 3 == 0)
            at = model_ready;
        for (uint32_t i = 0; i < SLOT; i++)
            data[i] = content(at, i);
        bool is_room = at - model_ready < udt_rcvbuf_available(&b);
        bool is_new = !model[at].there;
        int rc = put(at, model[at].word1, data, model[at].size);
        CHECK_EQ(rc, !is_room ? -ENOBUFS : is_new ? 1 : 0);
        if (rc == 1)
            model[at].there = true;
        advance_ready();
        if (rt_test_rand(random) % 100 == 0)
            give_up_one(random);
        for (uint64_t reads = rt_test_rand(random) % 3; reads > 0; reads--)
            read_one();
    }
    CHECK_EQ(model_ready, PACKETS);
}

static void test_messages_as_in_the_model(void)
{
    uint64_t random = rt_test_env_u64("RT_TEST_SEED", 1);
    for (int i = 0; i < 6; i++)
        run_messages(&random, i % 2 ? UDT_SEQ_MASK - (uint32_t)(rt_test_rand(&random) % PACKETS)
                                    : (uint32_t)rt_test_rand(&random) & UDT_SEQ_MASK);
}

static void test_a_message_longer_than_the_reader_wants_is_cut(void)
{
    char out[10] = "";
    open_buffer(false, 0);
    put(0, UDT_WORD1_FIRST | 1, "0123456789abcdef", 16);
    put(1, UDT_WORD1_LAST | 1, "rest", 4);
    put(2, UDT_WORD1_SOLO | 2, "two", 3);
    make_ready(3);
    CHECK_EQ(app_take_message(&b, out, 5), 5);
    CHECK_STR_EQ(out, "01234");
    CHECK_EQ(app_take_message(&b, out, 9), 3);
    CHECK_MEM_EQ(out, "two", 3);
}

static void test_a_message_that_fills_the_buffer_is_given_out_in_part(void)
{
    char out[CAPACITY * SLOT];
    open_buffer(false, 0);
    for (uint32_t i = 0; i < CAPACITY - 1; i++)
        CHECK_EQ(put(i, (i == 0 ? UDT_WORD1_FIRST : 0) | 1, "0123456789abcdef", 16), 1);
    make_ready(CAPACITY - 1);
    CHECK_EQ(udt_rcvbuf_available(&b), 0);
    CHECK(udt_rcvbuf_is_readable(&b));
    CHECK_EQ(app_take_message(&b, out, sizeof out), (CAPACITY - 1) * 16);
    CHECK_EQ(put(CAPACITY - 1, UDT_WORD1_LAST | 1, "end", 3), 1);
    CHECK_EQ(put(CAPACITY, UDT_WORD1_SOLO | 2, "next", 4), 1);
    make_ready(CAPACITY + 1);
    CHECK_EQ(app_take_message(&b, out, sizeof out), 4);
    CHECK_MEM_EQ(out, "next", 4);
}

/* What libudt names as the end is the first packet of the message behind. */
static void test_giving_up_leaves_other_messages_alone(void)
{
    char out[16];
    open_buffer(false, 0);
    put(1, UDT_WORD1_LAST | 1, "b", 1);
    put(2, UDT_WORD1_SOLO | 2, "next", 4);
    udt_rcvbuf_give_up(&b, &(udt_drop_t){.message = 1, .first = 0, .last = 2});
    make_ready(3);
    CHECK_EQ(app_take_message(&b, out, sizeof out), 4);
    CHECK_EQ(app_take_message(&b, out, sizeof out), 0);
}

/* While it is read, more comes, becomes ready, and the sender gives it up: too late. */
static void test_a_message_read_over_some_time(void)
{
    const uint8_t *at;
    udt_message_t message;
    char out[16];
    for (uint32_t start = 0; start < 2 * CAPACITY; start++) {
        open_buffer(false, UDT_SEQ_MASK - 3);
        for (uint32_t i = 0; i < start; i++) {
            put(i, UDT_WORD1_SOLO | 9, "x", 1);
            make_ready(i + 1);
            CHECK_EQ(app_take_message(&b, out, sizeof out), 1);
        }
        put(start + 1, UDT_WORD1_FIRST | 5, "0123456789abcdef", 16);
        put(start + 2, UDT_WORD1_LAST | 5, "end", 3);
        CHECK_EQ(udt_rcvbuf_message(&b, &message), 1);
        udt_rcvbuf_message_keep(&b, &message);
        CHECK_EQ(message.bytes, 19);
        put(start, UDT_WORD1_SOLO | 4, "before", 6);
        put(start + 3, UDT_WORD1_SOLO | 6, "behind", 6);
        make_ready(start + 4);
        udt_rcvbuf_give_up(&b, &(udt_drop_t){.message = 5,
                                             .first = udt_seq_skip(isn, start + 1),
                                             .last = udt_seq_skip(isn, start + 2)});
        CHECK_EQ(udt_rcvbuf_message_piece(&b, &message, 0, &at), 16);
        CHECK_MEM_EQ(at, "0123456789abcdef", 16);
        CHECK_EQ(udt_rcvbuf_message_piece(&b, &message, 1, &at), 3);
        CHECK_MEM_EQ(at, "end", 3);
        udt_rcvbuf_message_done(&b, &message);
        CHECK_EQ(app_take_message(&b, out, sizeof out), 6);
        CHECK_MEM_EQ(out, "before", 6);
        CHECK_EQ(app_take_message(&b, out, sizeof out), 6);
        CHECK_MEM_EQ(out, "behind", 6);
        CHECK_EQ(b.ready, 0);
        CHECK_EQ(b.early, 0);
    }
}

static void test_hostile_flags_make_no_message(void)
{
    char out[64];
    open_buffer(false, 0);
    put(0, 1, "m", 1);
    put(1, UDT_WORD1_LAST | 1, "l", 1);
    put(2, UDT_WORD1_FIRST | 2, "f", 1);
    put(3, UDT_WORD1_FIRST | 2, "f", 1);
    put(4, UDT_WORD1_LAST | 3, "other number", 12);
    put(5, UDT_WORD1_SOLO | 3, "good", 4);
    make_ready(6);
    CHECK_EQ(app_take_message(&b, out, sizeof out), 4);
    CHECK_MEM_EQ(out, "good", 4);
    CHECK_EQ(b.ready, 0);
}

int main(void)
{
    RUN(test_bytes_come_out_in_order_whatever_order_they_came_in);
    RUN(test_what_does_not_fit_is_said_to_be_so);
    RUN(test_slots_are_read_in_part);
    RUN(test_a_long_stream_round_the_buffer_and_the_circle);
    RUN(test_messages_as_in_the_model);
    RUN(test_a_message_longer_than_the_reader_wants_is_cut);
    RUN(test_a_message_that_fills_the_buffer_is_given_out_in_part);
    RUN(test_giving_up_leaves_other_messages_alone);
    RUN(test_a_message_read_over_some_time);
    RUN(test_hostile_flags_make_no_message);
    return rt_test_result();
}
