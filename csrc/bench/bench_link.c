#include "bench/bench.h"

#include "base/rt_clock.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#define PER_MILLION 1e6

static void open_link(impair_t *im, const impair_config_t *config)
{
    size_t bytes = impair_memory_bytes(config);
    void *memory = bytes != 0 ? malloc(bytes) : NULL;
    if (memory == NULL || impair_init(im, config, memory, bytes) < 0) {
        errno = EINVAL;
        bench_fail("--delay-us, --loss-ppm, --rate-bps or --queue-bytes is out of range");
    }
}

void bench_open_links(impair_t *there, impair_t *back, uint32_t max_datagram_bytes, int argc,
                      char **argv)
{
    impair_config_t config = {
        .delay_ns = bench_option(argc, argv, "--delay-us", 0) * RT_NS_PER_US,
        .loss = (double)bench_option(argc, argv, "--loss-ppm", 0) / PER_MILLION,
        .rate_bps = (uint64_t)bench_option(argc, argv, "--rate-bps", 0),
        .queue_bytes = (uint64_t)bench_option(argc, argv, "--queue-bytes", 0),
        .seed = (uint64_t)bench_option(argc, argv, "--seed", 1),
        .max_datagram_bytes = max_datagram_bytes,
    };
    open_link(there, &config);
    config.seed++;
    open_link(back, &config);
}

void bench_wait_for_links(const impair_t *there, const impair_t *back, struct pollfd *ends,
                          size_t count)
{
    int64_t there_ns = impair_deadline_ns(there);
    int64_t back_ns = impair_deadline_ns(back);
    int64_t wait_ns = (there_ns < back_ns ? there_ns : back_ns) - rt_mono_ns();
    struct timespec wait = {0, 0};
    if (wait_ns >= RT_NS_PER_S)
        wait.tv_sec = 1;
    else if (wait_ns > 0)
        wait.tv_nsec = (long)wait_ns;
    if (ppoll(ends, count, &wait, NULL) < 0 && errno != EINTR)
        bench_fail("ppoll");
}
