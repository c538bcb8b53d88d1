#include "rt_test.h"

#include "base/rt_err.h"
#include "worker/worker_args.h"

#include <errno.h>

static worker_args_t args;

static int parse(const char *const *more)
{
    const char *argv[32] = {
        "shmring-worker", "--namespace", "ns",        "--pool", "p", "--runtime", "/r",
        "--page-fd",      "5",           "--pool-fd", "6",      "--rx-fd", "7"};
    int n = 13;
    while (*more != NULL)
        argv[n++] = *more++;
    return worker_args_parse(&args, n, (char **)(uintptr_t)argv);
}

#define PARSE(...) parse((const char *const[]){__VA_ARGS__, NULL})

static void test_everything_given(void)
{
    CHECK_EQ(PARSE("--slot", "3", "--cpu", "1", "--policy", "fifo", "--priority", "80", "--profile",
                   "latency", "--private", "--strict"),
             0);
    CHECK_EQ(args.slot, 3);
    CHECK_EQ(args.cpu, 1);
    CHECK(args.fifo && args.private_pool && args.strict);
    CHECK_EQ(args.priority, 80);
    CHECK_EQ(args.profile, SHM_PROFILE_LATENCY);
    CHECK_EQ(args.page_fd, 5);
    CHECK_EQ(args.pool_fd, 6);
    CHECK_EQ(args.rx_fd, 7);
    CHECK_STR_EQ(args.pool, "p");
}

static void test_defaults(void)
{
    CHECK_EQ(PARSE("--cpu", "-1"), 0);
    CHECK_EQ(args.cpu, WRK_CPU_NONE);
    CHECK(!args.fifo && !args.private_pool && !args.strict);
    CHECK_EQ(args.profile, SHM_PROFILE_BALANCED);
}

static void test_examining_needs_no_pool(void)
{
    CHECK_EQ(PARSE("--cpu", "1"), 0);
    CHECK_EQ(args.examine_ms, WRK_EXAMINE_NOT);
    const char *const words[] = {"shmring-worker", "--examine", "2000", "--device", "eth0"};
    CHECK_EQ(worker_args_parse(&args, 5, (char **)(uintptr_t)words), 0);
    CHECK_EQ(args.examine_ms, 2000);
    CHECK_STR_EQ(args.device, "eth0");
    const char *const fifo[] = {"shmring-worker", "--examine", "0", "--policy", "fifo"};
    CHECK_EQ(worker_args_parse(&args, 5, (char **)(uintptr_t)fifo), -EINVAL);
    CHECK_EQ(PARSE("--examine", "60001"), -EINVAL);
    CHECK(strstr(rt_err_text(), "0 to 60000") != NULL);
}

static void test_mistakes_are_explained(void)
{
    CHECK_EQ(PARSE("--policy", "turbo"), -EINVAL);
    CHECK(strstr(rt_err_text(), "other or fifo") != NULL);
    CHECK_EQ(PARSE("--profile", "x"), -EINVAL);
    CHECK(strstr(rt_err_text(), "balanced, latency or power") != NULL);
    CHECK_EQ(PARSE("--slot", "-2"), -EINVAL);
    CHECK_EQ(PARSE("--cpu", "1x"), -EINVAL);
    CHECK_EQ(PARSE("--priority", "100"), -EINVAL);
    CHECK_EQ(PARSE("--policy", "fifo"), -EINVAL);
    CHECK_EQ(PARSE("--pool", "a/b"), -EINVAL);
    CHECK_EQ(PARSE("--what"), -EINVAL);
    CHECK_EQ(PARSE("stray"), -EINVAL);
    const char *const few[] = {"shmring-worker", "--namespace", "ns"};
    CHECK_EQ(worker_args_parse(&args, 3, (char **)(uintptr_t)few), -EINVAL);
}

int main(void)
{
    RUN(test_everything_given);
    RUN(test_defaults);
    RUN(test_examining_needs_no_pool);
    RUN(test_mistakes_are_explained);
    return rt_test_result();
}
