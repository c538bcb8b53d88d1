/* Packets: the datagrams in tests/vectors/udt/packets.txt, what is built against what is read, and
 * any bytes. */
#include "proto/udt/udt_packet.h"

#include "udt_vectors.h"

/* What libudt wrote, our own functions write the same. */
static void check_rebuilt(const uint8_t *data, size_t size, const udt_view_t *view)
{
    uint8_t out[VECTOR_BYTES];
    size_t n = 0;
    udt_ack_t ack;
    udt_drop_t drop;
    udt_handshake_t hs;
    uint32_t at = 0;
    uint32_t first;
    uint32_t last;
    if (!view->is_control) {
        udt_put_data_header(out, view->seq, view->word1, rt_get32(data + 8), view->socket_id);
        CHECK_MEM_EQ(out, data, UDT_HEADER_BYTES);
        return;
    }
    switch (view->type) {
    case UDT_TYPE_HANDSHAKE:
        udt_handshake_read(view, &hs);
        n = udt_put_handshake(out, &hs, view->socket_id);
        break;
    case UDT_TYPE_ACK:
        udt_ack_read(view, &ack);
        n = udt_put_ack(out, &ack, view->socket_id);
        break;
    case UDT_TYPE_DROP:
        udt_drop_read(view, &drop);
        n = udt_put_drop(out, &drop, view->socket_id);
        break;
    case UDT_TYPE_NAK:
        udt_put_control_header(out, UDT_TYPE_NAK, view->word1, view->socket_id);
        n = UDT_HEADER_BYTES;
        while (udt_nak_next(view, &at, &first, &last))
            n += udt_put_nak_range(out + n, first, last);
        break;
    case UDT_TYPE_USER:
        return;
    default:
        n = udt_put_control(out, (udt_type_t)view->type, view->word1, view->socket_id);
        break;
    }
    CHECK_EQ(n, size);
    CHECK_MEM_EQ(out, data, size);
}

static void test_vectors(void)
{
    static char line[VECTOR_LINE];
    char name[100];
    static char hex[VECTOR_LINE];
    int code;
    unsigned count = 0;
    FILE *f = open_vectors("packets.txt");
    while (fgets(line, sizeof line, f) != NULL) {
        if (line[0] == '#' || line[0] == '\n')
            continue;
        CHECK_EQ(sscanf(line, "%99s %d %s", name, &code, hex), 3);
        size_t size;
        uint8_t *data = from_hex(hex, &size);
        udt_view_t view;
        int before = atomic_load(&rt_test_failure_count);
        CHECK_EQ(udt_packet_parse(data, size, &view), code);
        if (code == 0 && strstr(name, "-made") == NULL)
            check_rebuilt(data, size, &view);
        if (atomic_load(&rt_test_failure_count) > before)
            (void)fprintf(stderr, "in %s\n", name);
        free(data);
        count++;
    }
    (void)fclose(f);
    CHECK(count >= 55);
}

static udt_view_t parsed(const uint8_t *data, size_t size)
{
    udt_view_t view = {0};
    CHECK_EQ(udt_packet_parse(data, size, &view), 0);
    return view;
}

static void test_the_forms_of_an_ack(void)
{
    const udt_ack_form_t forms[] = {UDT_ACK_LIGHT, UDT_ACK_SHORT, UDT_ACK_FULL};
    for (int i = 0; i < 3; i++) {
        uint8_t data[UDT_ACK_MAX_BYTES];
        udt_ack_t in = {.form = forms[i], .seq = 77};
        udt_ack_t out;
        if (forms[i] != UDT_ACK_LIGHT) {
            in.number = 9;
            in.rtt_us = 1;
            in.rtt_var_us = 2;
            in.free_packets = 3;
        }
        if (forms[i] == UDT_ACK_FULL) {
            in.arrival_pps = 4;
            in.capacity_pps = 5;
        }
        udt_view_t view = parsed(data, udt_put_ack(data, &in, 1));
        udt_ack_read(&view, &out);
        CHECK_MEM_EQ(&out, &in, sizeof in);
    }
}

static void test_a_nak_is_read_range_by_range(void)
{
    static const uint8_t body[] = {0, 0, 0, 2, 0x80, 0, 0, 6, 0, 0, 0, 11, 0, 0, 0, 14};
    uint8_t data[UDT_HEADER_BYTES + sizeof body];
    const uint32_t want[][2] = {{2, 2}, {6, 11}, {14, 14}};
    udt_put_control_header(data, UDT_TYPE_NAK, 0, 5);
    memcpy(data + UDT_HEADER_BYTES, body, sizeof body);
    udt_view_t view = parsed(data, sizeof data);
    uint32_t at = 0;
    uint32_t first;
    uint32_t last;
    for (int i = 0; i < 3; i++) {
        CHECK(udt_nak_next(&view, &at, &first, &last));
        CHECK_EQ(first, want[i][0]);
        CHECK_EQ(last, want[i][1]);
    }
    CHECK(!udt_nak_next(&view, &at, &first, &last));
}

static void test_addresses_stand_in_reverse(void)
{
    uint8_t data[UDT_HANDSHAKE_BYTES];
    udt_handshake_t in = {.version = 4, .request = -1, .address = {127, 0, 0, 1, 5, 6, 7, 8}};
    udt_handshake_t out;
    udt_view_t view = parsed(data, udt_put_handshake(data, &in, 3));
    CHECK_MEM_EQ(data + UDT_HEADER_BYTES + 32, "\1\0\0\x7f\x08\7\6\5", 8);
    udt_handshake_read(&view, &out);
    CHECK_MEM_EQ(&out, &in, sizeof in);
}

/* Of what parses, everything can be read; the sanitizer sees to the bounds. */
static void read_everything(const udt_view_t *view)
{
    udt_ack_t ack;
    udt_drop_t drop;
    udt_handshake_t hs;
    uint32_t at = 0;
    uint32_t first;
    uint32_t last;
    if (!view->is_control)
        CHECK(view->body_bytes > 0 && view->seq <= UDT_SEQ_MASK);
    else if (view->type == UDT_TYPE_ACK)
        udt_ack_read(view, &ack);
    else if (view->type == UDT_TYPE_DROP)
        udt_drop_read(view, &drop);
    else if (view->type == UDT_TYPE_HANDSHAKE)
        udt_handshake_read(view, &hs);
    else if (view->type == UDT_TYPE_NAK) {
        while (udt_nak_next(view, &at, &first, &last))
            CHECK(!udt_seq_before(last, first) && last <= UDT_SEQ_MASK);
        CHECK_EQ(at, view->body_bytes / 4);
    }
}

static void test_any_bytes(void)
{
    uint64_t random = rt_test_env_u64("RT_TEST_SEED", 1);
    for (int round = 0; round < 100000; round++) {
        size_t size = rt_test_rand(&random) % 80;
        uint8_t *data = malloc(size + 1);
        for (size_t i = 0; i < size; i++)
            data[i] = (uint8_t)rt_test_rand(&random);
        if (size > 16 && rt_test_rand(&random) % 4 != 0) {
            data[0] = 0x80;
            data[1] = (uint8_t)(rt_test_rand(&random) % 10);
            data[12] &= 0x7f;
            data[16] &= 0x7f;
        }
        udt_view_t view;
        uint8_t *exact = realloc(data, size > 0 ? size : 1);
        if (udt_packet_parse(exact, size, &view) == 0)
            read_everything(&view);
        free(exact);
    }
}

static void test_sizes_beyond_a_datagram(void)
{
    static uint8_t data[65536];
    udt_view_t view;
    CHECK_EQ(udt_packet_parse(data, 65535, &view), UDT_PARSE_OK);
    CHECK_EQ(udt_packet_parse(data, 65536, &view), UDT_PARSE_TOO_LONG);
}

int main(void)
{
    RUN(test_vectors);
    RUN(test_the_forms_of_an_ack);
    RUN(test_a_nak_is_read_range_by_range);
    RUN(test_addresses_stand_in_reverse);
    RUN(test_any_bytes);
    RUN(test_sizes_beyond_a_datagram);
    return rt_test_result();
}
