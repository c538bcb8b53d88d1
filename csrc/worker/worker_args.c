#include "worker/worker_args.h"

#include "base/rt_err.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum kind { NAME, NUMBER, WORD, TEXT, FLAG } kind_t;

typedef struct rule {
    const char *name;
    kind_t kind;
    size_t at; /* of its field */
    int low, high;
    const char *const *words; /* the field gets the index */
} rule_t;

static const char *const POLICIES[] = {"other", "fifo", NULL};
static const char *const PROFILES[] = {"balanced", "latency", "power", NULL};

#define AT(field) offsetof(worker_args_t, field)

static const rule_t RULES[] = {
    {"namespace", NAME, AT(name_space), 0, 0, NULL},
    {"pool", NAME, AT(pool), 0, 0, NULL},
    {"slot", NUMBER, AT(slot), 0, (1 << 24) - 1, NULL},
    {"cpu", NUMBER, AT(cpu), WRK_CPU_NONE, 65535, NULL},
    {"policy", WORD, AT(fifo), 0, 0, POLICIES},
    {"priority", NUMBER, AT(priority), 0, 99, NULL},
    {"profile", WORD, AT(profile), 0, 0, PROFILES},
    {"runtime", TEXT, AT(runtime_dir), 0, 0, NULL},
    {"page-fd", NUMBER, AT(page_fd), 0, INT_MAX, NULL},
    {"rx-fd", NUMBER, AT(rx_fd), 0, INT_MAX, NULL},
    {"pool-fd", NUMBER, AT(pool_fd), 0, INT_MAX, NULL},
    {"private", FLAG, AT(private_pool), 0, 0, NULL},
    {"strict", FLAG, AT(strict), 0, 0, NULL},
    {"door", NUMBER, AT(door_fd), 0, INT_MAX, NULL},
    {"examine", NUMBER, AT(examine_ms), 0, WRK_EXAMINE_MOST_MS, NULL},
    {"device", TEXT, AT(device), 0, 0, NULL},
};
#define RULE_COUNT (sizeof RULES / sizeof RULES[0])

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

static int parse_name(const char *option, const char *text, char out[SHM_NAME_BYTES])
{
    char what[32];
    (void)snprintf(what, sizeof what, "--%s", option);
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

static int parse_option(worker_args_t *args, const rule_t *rule, const char *text)
{
    void *field = (char *)args + rule->at;
    switch (rule->kind) {
    case NAME:
        return parse_name(rule->name, text, field);
    case NUMBER:
        return parse_int(rule->name, text, rule->low, rule->high, field);
    case WORD:
        return parse_word(rule->name, text, rule->words, field);
    case TEXT:
        *(const char **)field = text;
        return 0;
    case FLAG:
        *(bool *)field = true;
        return 0;
    }
    return 0;
}

static int check_complete(const worker_args_t *args)
{
    bool serves = args->examine_ms == WRK_EXAMINE_NOT && args->door_fd < 0;
    if (args->door_fd >= 0 && args->runtime_dir == NULL)
        return rt_err_set(-EINVAL, "missing option: --door needs --runtime");
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
                            .door_fd = -1,
                            .examine_ms = WRK_EXAMINE_NOT,
                            .device = ""};
    struct option options[RULE_COUNT + 1] = {{.name = NULL}};
    for (int i = 0; i < (int)RULE_COUNT; i++)
        options[i] =
            (struct option){.name = RULES[i].name,
                            .has_arg = RULES[i].kind == FLAG ? no_argument : required_argument,
                            .val = i};
    optind = 1;
    opterr = 0;
    int option = 0;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option >= (int)RULE_COUNT)
            return rt_err_set(-EINVAL,
                              "unknown option, or an option without its value; the pool starts "
                              "workers, so you need not start them yourself");
        int rc = parse_option(args, &RULES[option], optarg);
        if (rc < 0)
            return rc;
    }
    if (optind < argc)
        return rt_err_set(-EINVAL, "unexpected argument %s: only options are taken", argv[optind]);
    return check_complete(args);
}
