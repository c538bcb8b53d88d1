/* shmring-floor: bare-C measurements beside which `shmring bench` puts the product's. */
#include "bench/bench.h"

#include <stdio.h>
#include <string.h>

typedef struct program {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} program_t;

static const program_t programs[] = {
    {"receive", bench_receive, "--port P --count N --idle-ms MS   lateness of packets that carry their time"},
    {"timed", bench_timed, "--port P --count N --interval-ns NS --margin-ns NS --cpu C   sleep, then spin, then send"},
    {"bulk", bench_bulk, "--port P --seconds S --bytes B --segments N   GSO sender, GRO receiver"},
    {"rtt", bench_rtt, "--port P --count N   ping-pong between two spinning threads"},
    {"ipc", bench_ipc, "--count N --bytes B   a plain ring of fixed slots between two cores"},
    {"ring", bench_ring, "--count N --bytes B   the product's tx ring between two cores"},
};
#define PROGRAMS (sizeof programs / sizeof programs[0])

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < PROGRAMS; i++)
        if (strcmp(argv[1], programs[i].name) == 0)
            return programs[i].run(argc - 2, argv + 2);
    fprintf(stderr, "usage: shmring-floor PROGRAM [--option value]...\n");
    for (size_t i = 0; i < PROGRAMS; i++)
        fprintf(stderr, "  %-8s %s\n", programs[i].name, programs[i].help);
    return 2;
}
