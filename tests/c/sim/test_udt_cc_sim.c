/* The congestion controllers on one bottleneck of 100 Mbit/s, alone, beside their like and beside
 * TCP, in virtual time: see cc_flows.h. Prints what each got, in percent of the link's packets.
 * The bounds are wide; what is to hold with any seed stands in them. RT_TEST_SEED. */
#include "cc_flows.h"

#define SEC RT_NS_PER_S
#define MBPS 100.0

typedef struct setting {
    double rtt_ms;
    double queue_bdp; /* at least 30 packets */
    double loss;
    int64_t from_s; /* measured from here */
    int64_t until_s;
    double apart_s; /* between the starts of two flows */
    bool as_libudt;
} setting_t;

typedef struct outcome {
    double share[CC_FLOWS]; /* percent of the link */
    double total;
    double jain;
    double resent; /* percent, of the first flow */
    double queue_ms;
    double queue_max_ms;
} outcome_t;

static uint64_t seed;
static cc_flow_t flows[CC_FLOWS];
static cc_net_t net;

static const char *const kinds[UDT_CC_KINDS] = {"daimd", "fixed", "bbr"};

static udt_cc_kind_t kind_by_name(const char *name)
{
    unsigned kind = 0;
    while (strcmp(kinds[kind], name) != 0)
        kind++;
    return (udt_cc_kind_t)kind;
}

static bool is_tcp(const char *name)
{
    return strcmp(name, "reno") == 0 || strcmp(name, "cubic") == 0;
}

static void open_flow(cc_flow_t *f, uint32_t id, const char *name, const setting_t *setting)
{
    memset(f, 0, sizeof *f);
    f->id = id;
    f->start_ns = 1 + (int64_t)(id * setting->apart_s * 1e9);
    if (is_tcp(name)) {
        f->is_tcp = true;
        f->tcp.cubic = name[0] == 'c';
        cc_tcp_open(f);
        return;
    }
    f->r.as_libudt = setting->as_libudt;
    cc_udt_open(f, &(udt_cc_config_t){.kind = kind_by_name(name),
                                      .seed = seed + id,
                                      .rate_bps = 90000000});
}

static void open_all(const setting_t *setting, const char *const *names, uint32_t n)
{
    double bdp_bytes = setting->rtt_ms * MBPS * 125;
    cc_net_open(&net,
                &(impair_config_t){
                    .loss = setting->loss,
                    .delay_ns = (int64_t)(setting->rtt_ms * 5e5),
                    .rate_bps = (uint64_t)(MBPS * 1e6),
                    .queue_bytes = (uint64_t)fmax(setting->queue_bdp * bdp_bytes, 30 * CC_MSS),
                    .seed = seed,
                });
    for (uint32_t i = 0; i < n; i++)
        open_flow(&flows[i], i, names[i], setting);
}

static outcome_t measure(uint32_t n, int64_t from_s, int64_t until_s)
{
    uint64_t before[CC_FLOWS];
    outcome_t out = {0};
    cc_run_until(flows, n, &net, from_s * SEC);
    for (uint32_t i = 0; i < n; i++)
        before[i] = flows[i].delivered;
    net.passed = 0;
    net.queue_ns_sum = net.queue_ns_max = 0;
    cc_run_until(flows, n, &net, until_s * SEC);
    double whole = (double)(until_s - from_s) * MBPS * 1e6 / (CC_MSS * 8.0);
    double squares = 0;
    for (uint32_t i = 0; i < n; i++) {
        out.share[i] = 100.0 * (double)(flows[i].delivered - before[i]) / whole;
        out.total += out.share[i];
        squares += out.share[i] * out.share[i];
    }
    out.jain = out.total * out.total / (n * squares);
    out.resent = 100.0 * (double)flows[0].s.resent / fmax((double)flows[0].s.sent, 1);
    out.queue_ms = net.queue_ns_sum / fmax((double)net.passed, 1) / 1e6;
    out.queue_max_ms = net.queue_ns_max / 1e6;
    return out;
}

static outcome_t run(const setting_t *setting, const char *const *names, uint32_t n)
{
    open_all(setting, names, n);
    outcome_t out = measure(n, setting->from_s, setting->until_s);
    cc_net_close(&net);
    return out;
}

/* ---- alone ---- */

static outcome_t alone(const char *name, double rtt_ms, double loss)
{
    return run(
        &(setting_t){.rtt_ms = rtt_ms, .queue_bdp = 1, .loss = loss, .from_s = 5, .until_s = 20},
        &name, 1);
}

static void test_alone_on_lossy_paths(void)
{
    static const double rtts_ms[] = {10, 50, 100, 200};
    static const double losses[] = {0, 0.001, 0.01};
    printf("       percent of the link, queue 1 BDP      loss 0     0.1 %%       1 %%\n");
    for (unsigned k = 0; k < UDT_CC_KINDS; k++) {
        const char *name = kinds[k];
        for (unsigned r = 0; r < 4; r++) {
            outcome_t out[3];
            for (unsigned l = 0; l < 3; l++)
                out[l] = alone(name, rtts_ms[r], losses[l]);
            printf("       %-6s RTT %3.0f ms                     %8.1f  %8.1f  %8.1f\n", name,
                   rtts_ms[r], out[0].total, out[1].total, out[2].total);
            if (k == UDT_CC_BBR) {
                CHECK(out[0].total >= 95);
                CHECK(out[1].total >= 92);
                CHECK(out[2].total >= 85);
            } else if (k == UDT_CC_DAIMD) {
                CHECK(out[0].total >= 85);
                CHECK(out[1].total >= 10);
                CHECK(out[2].total >= 2);
            } else if (k == UDT_CC_FIXED) {
                CHECK(out[0].total >= 89.9 && out[0].total <= 90.1);
                CHECK(out[2].total >= 88);
            } else {
                CHECK(out[0].total >= 70);
            }
        }
    }
}

static void test_the_model_stands_losses_that_are_not_its_own(void)
{
    printf("       bbr, RTT 50 ms, random loss:");
    static const double losses[] = {0.02, 0.03, 0.05};
    static const double bounds[] = {80, 70, 45};
    for (unsigned i = 0; i < 3; i++) {
        outcome_t out = alone("bbr", 50, losses[i]);
        printf("  %.0f %%: %.1f", 100 * losses[i], out.total);
        CHECK(out.total >= bounds[i]);
    }
    printf("\n");
}

static void test_the_model_keeps_queues_short(void)
{
    static const char *const name = "bbr";
    printf("       bbr, queue of 4 BDP, mean and most in ms:");
    for (double rtt_ms = 10; rtt_ms <= 200; rtt_ms *= 2) {
        outcome_t out = run(
            &(setting_t){.rtt_ms = rtt_ms, .queue_bdp = 4, .from_s = 5, .until_s = 25}, &name, 1);
        printf("  RTT %.0f: %.1f, %.1f", rtt_ms, out.queue_ms, out.queue_max_ms);
        CHECK(out.total >= 95);
        CHECK(out.queue_ms <= 0.25 * rtt_ms + 5);
        CHECK(out.queue_max_ms <= rtt_ms + 15);
        CHECK(out.resent <= 1);
    }
    printf("\n");
}

static void test_a_receiver_that_reports_each_loss_once(void)
{
    static const char *const names[] = {"daimd", "bbr"};
    printf("       receiver as libudt, RTT 100 ms, loss 1 %%:");
    for (unsigned i = 0; i < 2; i++) {
        setting_t setting = {.rtt_ms = 100,
                             .queue_bdp = 1,
                             .loss = 0.01,
                             .from_s = 5,
                             .until_s = 30,
                             .as_libudt = true};
        outcome_t out = run(&setting, &names[i], 1);
        printf("  %s %.1f", names[i], out.total);
        CHECK(out.total >= (i == 0 ? 2 : 55));
    }
    printf("\n");
}

static void test_the_model_follows_the_links_rate(void)
{
    static const char *const name = "bbr";
    setting_t setting = {.rtt_ms = 40, .queue_bdp = 1};
    open_all(&setting, &name, 1);
    measure(1, 5, 10);
    net.data.config.rate_bps = 25000000;
    outcome_t less = measure(1, 20, 30);
    net.data.config.rate_bps = 100000000;
    outcome_t more = measure(1, 60, 70);
    cc_net_close(&net);
    printf("       bbr, the link falls to 25 Mbit/s: %.1f, and is back at 100: %.1f\n", less.total,
           more.total);
    CHECK(less.total >= 22 && less.queue_ms <= 60);
    CHECK(more.total >= 85);
}

/* ---- beside others ---- */

static void print_shares(const outcome_t *out, const char *const *names, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        printf("  %s %4.1f", n > 2 ? "" : names[i], out->share[i]);
    printf("  Jain %.3f  queue %.1f ms\n", out->jain, out->queue_ms);
}

static void test_two_of_a_kind(void)
{
    static const char *const names[] = {"daimd", "bbr"};
    for (unsigned k = 0; k < 2; k++) {
        for (double rtt_ms = 20; rtt_ms <= 100; rtt_ms *= 5) {
            const char *const both[] = {names[k], names[k]};
            setting_t setting = {
                .rtt_ms = rtt_ms, .queue_bdp = 1, .from_s = 30, .until_s = 80, .apart_s = 5};
            outcome_t out = run(&setting, both, 2);
            printf("       RTT %3.0f ms, the second 5 s later:", rtt_ms);
            print_shares(&out, both, 2);
            CHECK(out.jain >= 0.7);
            CHECK(out.total >= 75);
        }
    }
}

static void test_ten_of_a_kind(void)
{
    static const char *const names[] = {"daimd", "bbr"};
    for (unsigned k = 0; k < 2; k++) {
        const char *ten[10];
        for (unsigned i = 0; i < 10; i++)
            ten[i] = names[k];
        setting_t setting = {
            .rtt_ms = 20, .queue_bdp = 1, .from_s = 15, .until_s = 45, .apart_s = 0.1};
        outcome_t out = run(&setting, ten, 10);
        printf("       ten %s, RTT 20 ms:", names[k]);
        print_shares(&out, ten, 10);
        CHECK(out.jain >= (k == 0 ? 0.93 : 0.85));
        CHECK(out.total >= 90);
    }
}

/* A fair share is 50; a fifth of it is the least that either must get. */
static void test_the_model_beside_tcp(void)
{
    static const char *const tcps[] = {"reno", "cubic"};
    static const double queues_bdp[] = {0.2, 1, 4};
    for (unsigned t = 0; t < 2; t++) {
        for (double rtt_ms = 20; rtt_ms <= 100; rtt_ms *= 5) {
            for (unsigned q = 0; q < 3; q++) {
                const char *const both[] = {tcps[t], "bbr"};
                setting_t setting = {.rtt_ms = rtt_ms,
                                     .queue_bdp = queues_bdp[q],
                                     .from_s = 20,
                                     .until_s = 80,
                                     .apart_s = 0.1};
                outcome_t out = run(&setting, both, 2);
                printf("       RTT %3.0f ms, queue %.1f BDP:", rtt_ms, queues_bdp[q]);
                print_shares(&out, both, 2);
                CHECK(out.share[0] >= 5 && out.share[1] >= 10);
                CHECK(out.total >= 85);
            }
        }
    }
}

static void test_daimd_beside_tcp(void)
{
    static const char *const tcps[] = {"reno", "cubic"};
    for (unsigned i = 0; i < 4; i++) {
        const char *const both[] = {tcps[i % 2], "daimd"};
        setting_t setting = {.rtt_ms = i / 2 == 0 ? 20 : 100,
                             .queue_bdp = 1,
                             .from_s = 20,
                             .until_s = 80,
                             .apart_s = 0.1};
        outcome_t out = run(&setting, both, 2);
        printf("       RTT %3.0f ms, queue 1 BDP:  ", setting.rtt_ms);
        print_shares(&out, both, 2);
        CHECK(out.share[0] >= 3 && out.share[1] >= 3);
    }
}

int main(void)
{
    seed = rt_test_env_u64("RT_TEST_SEED", 1);
    printf("seed %" PRIu64 "\n", seed);
    RUN(test_alone_on_lossy_paths);
    RUN(test_the_model_stands_losses_that_are_not_its_own);
    RUN(test_the_model_keeps_queues_short);
    RUN(test_a_receiver_that_reports_each_loss_once);
    RUN(test_the_model_follows_the_links_rate);
    RUN(test_two_of_a_kind);
    RUN(test_ten_of_a_kind);
    RUN(test_the_model_beside_tcp);
    RUN(test_daimd_beside_tcp);
    return rt_test_result();
}
