/* shmring-floor: bare-C measurements, to which `shmring bench` compares the product's. */
#include "bench/bench.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

typedef struct program {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} program_t;

static const program_t programs[] = {
    {"receive", bench_receive,
     "lateness of packets that carry the time they were due\n"
     "                 --port P --count N (0: rate and gaps only) --idle-ms MS --cpu C --gro 1 "
     "--echo 1\n"
     "                 --samples-fd FD (every lateness, int64)\n"
     "                 --cycle-ns NS (how much longer the intervals are, instead of lateness)"},
    {"timed", bench_timed,
     "sleep, then spin, then send\n"
     "                 --port P --count N --interval-ns NS --margin-ns NS --ahead-ns NS --cpu C\n"
     "                 --priority P"},
    {"tick", bench_tick,
     "wake-ups by an eventfd at the instants of a grid\n"
     "                 --count N --interval-ns NS --cpu C (of the grid) --other-cpu C"},
    {"bulk", bench_bulk,
     "GSO sender, GRO receiver\n"
     "                 --seconds S --bytes B --segments N --cpu C (of the sender)"},
    {"rtt", bench_rtt, "ping-pong between two spinning threads: --count N --cpu C (of the echo)"},
    {"hops", bench_hops,
     "ping-pong between two processes through a third\n"
     "                 --count N --sleep 1 (futex; 0: spin) --cpu C (of the third) --other-cpu C"},
    {"ipc", bench_ipc, "a plain ring of fixed slots between two cores: --count N --bytes B"},
    {"ring", bench_ring, "the product's tx ring between two cores: --count N --bytes B"},
    {"rtp", bench_rtp,
     "RTP packets made in memory: a prepared header, and zeroes\n"
     "                 --count N --bytes B (of the payload) --cpu C"},
    {"relay", bench_relay,
     "an emulated link between UDP ports, the same in both directions; runs until it is killed\n"
     "                 --to PORT --delay-us US --loss-ppm N --rate-bps N --queue-bytes N --seed N\n"
     "                 --cpu C --priority P"},
    {"tunnel", bench_tunnel,
     "the same between two network namespaces, for IP packets of any kind; needs privileges\n"
     "                 link options as for relay"},
    {"rtp-synth", bench_rtp_synth, "the C library's rsynth_next_pkt_pa: options as for rtp"},
    {"rtp-synth-many", bench_rtp_synth_many, "the C library's rsynth_next_pkts: options as for rtp"},
};
#define PROGRAMS (sizeof programs / sizeof programs[0])

int main(int argc, char **argv)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a benchmark that was killed leaves nothing running */
    for (size_t i = 0; argc > 1 && i < PROGRAMS; i++)
        if (strcmp(argv[1], programs[i].name) == 0)
            return programs[i].run(argc - 2, argv + 2);
    fprintf(stderr, "usage: shmring-floor PROGRAM [--option value]...\n");
    for (size_t i = 0; i < PROGRAMS; i++)
        fprintf(stderr, "  %-14s %s\n", programs[i].name, programs[i].help);
    return 2;
}
