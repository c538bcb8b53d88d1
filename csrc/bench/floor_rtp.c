/* RTP packets made in the caller's memory, one after the other. "rtp" is the minimum: a prepared
 * header that is incremented and copied in front of zeroes. "rtp-synth" is the C library's
 * rsynth_next_pkt_pa, "rtp-synth-many" its rsynth_next_pkts. */
#include "bench/bench.h"

#include "base/rt_clock.h"
#include "librtpsynth/rtpsynth.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_BYTES 12u
#define MAX_PAYLOAD_BYTES 1488u
#define PACKETS 64u /* written in turn: they stay in the L1 cache, like a sender's */
#define TS_STEP 160u

typedef struct job {
    uint64_t count;
    uint32_t payload_bytes;
    uint32_t packet_bytes;
    uint8_t *out;
    void *synth;
} job_t;

typedef struct header {
    uint8_t first;
    uint8_t payload_type;
    uint16_t seq;
    uint32_t ts;
    uint32_t ssrc;
} header_t;
_Static_assert(sizeof(header_t) == HEADER_BYTES, "as on the wire");

static void bare(job_t *j)
{
    header_t h = {.first = 0x80, .ssrc = 0x5eed};
    for (uint64_t i = 0; i < j->count; i++) {
        uint8_t *out = j->out + i % PACKETS * j->packet_bytes;
        h.seq = htons((uint16_t)i);
        h.ts = htonl((uint32_t)i * TS_STEP);
        memcpy(out, &h, sizeof h);
        memset(out + sizeof h, 0, j->payload_bytes);
    }
}

static void one_by_one(job_t *j)
{
    for (uint64_t i = 0; i < j->count; i++)
        rsynth_next_pkt_pa(j->synth, (int)j->payload_bytes, 0,
                           (char *)j->out + i % PACKETS * j->packet_bytes, j->packet_bytes, 0);
}

static void many(job_t *j)
{
    for (uint64_t i = 0; i < j->count; i += PACKETS)
        rsynth_next_pkts(j->synth, PACKETS, j->payload_bytes, 0, NULL, j->out, j->packet_bytes);
}

static int run(const char *name, int argc, char **argv, void (*make)(job_t *))
{
    int64_t payload_bytes = bench_option(argc, argv, "--bytes", 170);
    if (payload_bytes < 0 || payload_bytes > MAX_PAYLOAD_BYTES) {
        errno = EINVAL;
        bench_fail("--bytes must be 0 to 1488");
    }
    job_t j = {.count = (uint64_t)bench_option(argc, argv, "--count", 20000000),
               .payload_bytes = (uint32_t)payload_bytes,
               .packet_bytes = HEADER_BYTES + (uint32_t)payload_bytes};
    j.count -= j.count % PACKETS;
    j.out = calloc(PACKETS, j.packet_bytes);
    j.synth = rsynth_ctor(8000, 20);
    if (j.out == NULL || j.synth == NULL)
        bench_fail("memory");
    bench_pin((int)bench_option(argc, argv, "--cpu", -1));

    int64_t start = rt_mono_ns();
    make(&j);
    int64_t elapsed_ns = rt_mono_ns() - start;

    uint16_t first_seq, last_seq;
    memcpy(&first_seq, j.out + 2, sizeof first_seq);
    memcpy(&last_seq, j.out + (PACKETS - 1) * j.packet_bytes + 2, sizeof last_seq);
    if ((uint16_t)(ntohs(last_seq) - ntohs(first_seq)) != PACKETS - 1) {
        fprintf(stderr, "shmring-floor: sequence numbers are not consecutive\n");
        return 1;
    }
    bench_print_value(name, "rate", (double)j.count * 1e9 / (double)elapsed_ns, "pps");
    rsynth_dtor(j.synth);
    free(j.out);
    return 0;
}

int bench_rtp(int argc, char **argv)
{
    return run("rtp", argc, argv, bare);
}

int bench_rtp_synth(int argc, char **argv)
{
    return run("rtp-synth", argc, argv, one_by_one);
}

int bench_rtp_synth_many(int argc, char **argv)
{
    return run("rtp-synth-many", argc, argv, many);
}
