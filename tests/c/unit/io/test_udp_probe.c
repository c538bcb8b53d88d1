#include "io_test.h"

#include "io/udp_probe.h"

static void test_every_feature_has_a_name_and_a_verdict(void)
{
    udp_probe_result_t results[UDP_FEATURES];
    udp_probe(results, "lo");
    int fds = io_open_fds(); /* the one that asks for routes is kept from the first time on */
    udp_probe(results, "lo");
    for (int i = 0; i < UDP_FEATURES; i++) {
        CHECK(results[i].name != NULL && results[i].name[0] != '\0');
        CHECK_EQ(results[i].works, results[i].reason[0] == '\0');
        (void)printf("    %-14s %s %s\n", results[i].name, results[i].works ? "yes" : "no ",
                     results[i].reason);
        for (int j = 0; j < i; j++)
            CHECK(strcmp(results[i].name, results[j].name) != 0);
    }
    CHECK(results[UDP_FEATURE_RX_STAMPS].works);
    CHECK(results[UDP_FEATURE_TX_STAMPS].works);
    CHECK(!results[UDP_FEATURE_HW_STAMPS].works);
    CHECK_EQ(results[UDP_FEATURE_TAI].works, rt_tai_offset_s() != 0);
    CHECK_EQ(io_open_fds(), fds);
}

static void test_interfaces_that_are_not_there_are_named(void)
{
    udp_probe_result_t results[UDP_FEATURES];
    udp_probe(results, "no-such-if");
    CHECK(strstr(results[UDP_FEATURE_TXTIME].reason, "no-such-if") != NULL);
    CHECK(strstr(results[UDP_FEATURE_HW_STAMPS].reason, "no-such-if") != NULL);
    udp_probe(results, "");
    CHECK(!results[UDP_FEATURE_TXTIME].works);
    CHECK(!results[UDP_FEATURE_HW_STAMPS].works);
}

int main(void)
{
    RUN(test_every_feature_has_a_name_and_a_verdict);
    RUN(test_interfaces_that_are_not_there_are_named);
    return rt_test_result();
}
