/* A UDT port whose packets the kernel has no room for: a slow device holds them on the account of
 * the socket. They wait, and nothing is lost. */
#include "unit/worker/udt/udt_test.h"

#include <sched.h>
#include <stdlib.h>

static bool run(const char *command)
{
    return system(command) == 0; /* NOLINT(cert-env33-c) */
}

static void test_what_is_refused_for_now_is_not_lost(void)
{
    pair_t p = {0};
    if (connect_pair(&p, SHM_UDT_STREAM)) {
        stream(&p.from, &p.to, 20000000);
        CHECK(wt_counter(&p.from_port, SHM_COUNT_tx_retries) > 0);
        CHECK_EQ(wt_counter(&p.from_port, SHM_COUNT_tx_failed), 0);
    }
    drop_pair(&p);
}

static void test_who_closes_then_is_heard_nonetheless(void)
{
    pair_t p = {0};
    if (connect_pair(&p, SHM_UDT_STREAM)) {
        (void)push_stream(&p.from, 0, 900000, 30000);
        CHECK_EQ(ask(&p.from, SHM_UDT_CLOSE, 60 * RT_NS_PER_S), 0);
        CHECK_EQ(got(&p.from, NULL), SHM_UDT_GOT_CLOSED);
        uint64_t came = 0, wrong = 0;
        int kind = SHM_UDT_GOT_BYTES;
        int64_t until = rt_mono_ns() + TIMEOUT_S * RT_NS_PER_S;
        while (kind == SHM_UDT_GOT_BYTES && rt_mono_ns() < until) {
            came += pull_stream(&p.to, came, &wrong, &kind);
            wt_nap_ms(1);
        }
        CHECK_EQ(came, 900000);
        CHECK_EQ(wrong, 0);
        CHECK_EQ(kind, SHM_UDT_GOT_BROKEN);
    }
    drop_pair(&p);
}

int main(void)
{
    TEST_NEEDS("netns", unshare(CLONE_NEWNET) == 0);
    TEST_NEEDS(
        "qdisc tbf",
        run("ip link set lo up 2>/dev/null") &&
            run("tc qdisc add dev lo root tbf rate 300mbit burst 100k limit 8m 2>/dev/null"));
    if (!wt_start(&worker, NULL))
        return 1;
    RUN(test_what_is_refused_for_now_is_not_lost);
    RUN(test_who_closes_then_is_heard_nonetheless);
    wt_stop(&worker);
    return rt_test_result();
}
