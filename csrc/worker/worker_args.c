#include "worker/worker_args.h"

#include "base/rt_err.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum {
    OPT_NAMESPACE = 1,
    OPT_POOL,
    OPT_SLOT,
    OPT_CPU,
    OPT_POLICY,
    OPT_PRIORITY,
    OPT_PROFILE,
    OPT_RUNTIME,
    OPT_PAGE_FD,
    OPT_RX_FD,
    OPT_POOL_FD,
    OPT_PRIVATE,
    OPT_STRICT,
    OPT_EXAMINE,
    OPT_DEVICE,
};

static const struct option OPTIONS[] = {
    {"namespace", required_argument, NULL, OPT_NAMESPACE},
    {"pool", required_argument, NULL, OPT_POOL},
    {"slot", required_argument, NULL, OPT_SLOT},
    {"cpu", required_argument, NULL, OPT_CPU},
    {"policy", required_argument, NULL, OPT_POLICY},
    {"priority", required_argument, NULL, OPT_PRIORITY},
    {"profile", required_argument, NULL, OPT_PROFILE},
    {"runtime", required_argument, NULL, OPT_RUNTIME},
    {"page-fd", required_argument, NULL, OPT_PAGE_FD},
    {"rx-fd", required_argument, NULL, OPT_RX_FD},
    {"pool-fd", required_argument, NULL, OPT_POOL_FD},
    {"private", no_argument, NULL, OPT_PRIVATE},
    {"strict", no_argument, NULL, OPT_STRICT},
    {"examine", required_argument, NULL, OPT_EXAMINE},
    {"device", required_argument, NULL, OPT_DEVICE},
    {NULL, 0, NULL, 0},
};

static int parse_int(const char *option, const char *text, int low, int high, int *out)
{
    char *end = NULL;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value < low || value > high)
        return rt_err_set(-EINVAL, "--%s %s: give a whole number from %d to %d", option, text, low,
                          high);
    *out = (int)value;
    return 0;
}

static int parse_name(const char *what, const char *text, char out[SHM_NAME_BYTES])
{
    int rc = shm_name_check(what, text);
    if (rc == 0)
        memcpy(out, text, strlen(text) + 1);
    return rc;
}

static int parse_word(const char *option, const char *text, const char *const *words, int *out)
{
    for (int i = 0; words[i] != NULL; i++) {
        if (strcmp(words[i], text) == 0) {
            *out = i;
            return 0;
        }
    }
    return rt_err_set(-EINVAL, "--%s %s: give %s%s%s or %s", option, text, words[0],
                      words[2] ? ", " : "", words[2] ? words[1] : "",
                      words[2] ? words[2] : words[1]);
}

static int parse_option(worker_args_t *args, int option, const char *text)
{
    static const char *const policies[] = {"other", "fifo", NULL};
    static const char *const profiles[] = {"balanced", "latency", "power", NULL};
    int number = 0;
    int rc = 0;
    switch (option) {
    case OPT_NAMESPACE:
        return parse_name("--namespace", text, args->name_space);
    case OPT_POOL:
        return parse_name("--pool", text, args->pool);
    case OPT_SLOT:
        rc = parse_int("slot", text, 0, 65535, &number);
        args->slot = (unsigned)number;
        return rc;
    case OPT_CPU:
        return parse_int("cpu", text, WRK_CPU_NONE, 65535, &args->cpu);
    case OPT_POLICY:
        return parse_word("policy", text, policies, &args->fifo);
    case OPT_PRIORITY:
        return parse_int("priority", text, 0, 99, &args->priority);
    case OPT_PROFILE:
        rc = parse_word("profile", text, profiles, &number);
        args->profile = (shm_profile_t)number;
        return rc;
    case OPT_RUNTIME:
        args->runtime_dir = text;
        return 0;
    case OPT_PAGE_FD:
        return parse_int("page-fd", text, 0, INT_MAX, &args->page_fd);
    case OPT_RX_FD:
        return parse_int("rx-fd", text, 0, INT_MAX, &args->rx_fd);
    case OPT_POOL_FD:
        return parse_int("pool-fd", text, 0, INT_MAX, &args->pool_fd);
    case OPT_PRIVATE:
        args->private_pool = true;
        return 0;
    case OPT_STRICT:
        args->strict = true;
        return 0;
    case OPT_EXAMINE:
        return parse_int("examine", text, 0, WRK_EXAMINE_MOST_MS, &args->examine_ms);
    case OPT_DEVICE:
        args->device = text;
        return 0;
    default:
        return rt_err_set(-EINVAL, "unknown option, or an option without its value; the pool starts "
                                   "workers, so you need not start them yourself");
    }
}

static int check_complete(const worker_args_t *args)
{
    bool serves = args->examine_ms == WRK_EXAMINE_NOT;
    if (serves &&
        (args->name_space[0] == '\0' || args->pool[0] == '\0' || args->runtime_dir == NULL ||
         args->page_fd < 0 || args->rx_fd < 0 || args->pool_fd < 0))
        return rt_err_set(-EINVAL, "missing option: --namespace, --pool, --runtime, --page-fd, "
                                   "--rx-fd and --pool-fd have no defaults");
    if (args->fifo && args->priority < 1)
        return rt_err_set(-EINVAL, "--priority %d: with --policy fifo give 1 to 99",
                          args->priority);
    return 0;
}

int worker_args_parse(worker_args_t *args, int argc, char **argv)
{
    *args = (worker_args_t){.cpu = WRK_CPU_NONE,
                            .page_fd = -1,
                            .rx_fd = -1,
                            .pool_fd = -1,
                            .examine_ms = WRK_EXAMINE_NOT,
                            .device = ""};
    optind = 1;
    opterr = 0;
    int option = 0;
    while ((option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1) {
        int rc = parse_option(args, option, optarg);
        if (rc < 0)
            return rc;
    }
    if (optind < argc)
        return rt_err_set(-EINVAL, "unexpected argument %s: only options are taken", argv[optind]);
    return check_complete(args);
}
