#include "io_test.h"

static void test_addresses_parse_and_print(void)
{
    const struct {
        const char *host;
        uint16_t port;
        const char *text;
    } cases[] = {
        {"127.0.0.1", 5000, "127.0.0.1:5000"},
        {"0.0.0.0", 0, "0.0.0.0:0"},
        {"255.255.255.255", 65535, "255.255.255.255:65535"},
        {"::1", 9, "[::1]:9"},
        {"::", 0, "[::]:0"},
        {"fe80::1%1", 7, "[fe80::1%1]:7"},
        {"fe80::1%lo", 7, "[fe80::1%1]:7"},
        {"ff02:0:0:0:0:0:0:fb", 5353, "[ff02::fb]:5353"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        udp_addr_t addr;
        char text[UDP_ADDR_TEXT_BYTES];
        CHECK_EQ(udp_addr_parse(&addr, cases[i].host, cases[i].port), 0);
        CHECK_STR_EQ(udp_addr_format(&addr, text), cases[i].text);
        CHECK_EQ(udp_addr_port(&addr), cases[i].port);
    }
}

static void test_wrong_addresses_are_refused(void)
{
    const char *wrong[] = {"",
                           "localhost",
                           "1.2.3",
                           "1.2.3.4.5",
                           "300.1.1.1",
                           "::1::",
                           "fe80::1%",
                           "fe80::1%no-such-if",
                           "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0001"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        udp_addr_t addr;
        CHECK(udp_addr_parse(&addr, wrong[i], 1) < 0);
        CHECK(!udp_addr_is_set(&addr));
    }
    udp_addr_t addr;
    CHECK_EQ(udp_addr_parse(&addr, "localhost", 1), -EINVAL);
    io_error_names("localhost");
    CHECK_EQ(udp_addr_parse(&addr, "fe80::1%no-such-if", 1), -ENODEV);
    io_error_names("no-such-if");
}

static void test_equality_knows_port_and_zone(void)
{
    udp_addr_t a = io_addr("10.0.0.1", 1), b = io_addr("10.0.0.1", 2);
    CHECK(!udp_addr_equal(&a, &b));
    udp_addr_set_port(&b, 1);
    CHECK(udp_addr_equal(&a, &b));
    a = io_addr("fe80::1%1", 1);
    b = io_addr("fe80::1", 1);
    CHECK(!udp_addr_equal(&a, &b));
    b = io_addr("10.0.0.1", 1);
    CHECK(!udp_addr_equal(&a, &b));
}

static void test_kinds_of_addresses(void)
{
    udp_addr_t a = io_addr("239.1.2.3", 0);
    CHECK(udp_addr_is_multicast(&a));
    a = io_addr("ff02::1", 0);
    CHECK(udp_addr_is_multicast(&a));
    a = io_addr("223.255.255.255", 0);
    CHECK(!udp_addr_is_multicast(&a));
    a = udp_addr_any(AF_INET);
    CHECK(udp_addr_is_wildcard(&a) && udp_addr_len(&a) == sizeof a.v4);
    a = udp_addr_any(AF_INET6);
    CHECK(udp_addr_is_wildcard(&a) && udp_addr_len(&a) == sizeof a.v6);
    a = udp_addr_any(AF_UNSPEC);
    CHECK(!udp_addr_is_set(&a) && udp_addr_len(&a) == 0 && udp_addr_port(&a) == 0);
}

int main(void)
{
    RUN(test_addresses_parse_and_print);
    RUN(test_wrong_addresses_are_refused);
    RUN(test_equality_knows_port_and_zone);
    RUN(test_kinds_of_addresses);
    return rt_test_result();
}
