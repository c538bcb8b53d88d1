/* worker_args.h: the worker's command line. Pure except for getopt's globals. Start only. */
#ifndef WRK_ARGS_H
#define WRK_ARGS_H

#include "shm/shm_config.h"

#include <stdbool.h>

#define WRK_CPU_NONE (-1)
#define WRK_EXAMINE_NOT (-1)
#define WRK_EXAMINE_MOST_MS 60000

typedef struct worker_args {
    char name_space[SHM_NAME_BYTES];
    char pool[SHM_NAME_BYTES];
    unsigned slot;
    int cpu;      /* WRK_CPU_NONE: not pinned */
    int fifo;     /* 1: SCHED_FIFO, 0: SCHED_OTHER */
    int priority; /* of SCHED_FIFO, 1 .. 99 */
    shm_profile_t profile;
    const char *runtime_dir; /* points into argv */
    int page_fd;
    int rx_fd; /* memory file of the receive buffers */
    int pool_fd;
    bool private_pool;
    bool strict;
    int door_fd;        /* >= 0: be the pool's door instead (door.h) */
    int examine_ms;     /* WRK_EXAMINE_NOT: serve; otherwise examine this
                           machine for this long instead */
    const char *device; /* points into argv; interface to examine, "" for none */
} worker_args_t;

/* Returns 0; -EINVAL with a text that names the option, its value and the allowed values. */
int worker_args_parse(worker_args_t *args, int argc, char **argv);

#endif
