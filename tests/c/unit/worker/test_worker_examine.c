/* What `shmring-worker --examine` prints: read by `shmring doctor`, which knows the rest. */
#include "rt_test.h"

#include "io/udp_probe.h"

#define LINE_BYTES 512

/* Counts of lines by their fact, and of those that are no JSON object. */
typedef struct told {
    int setups, clocks, features, latencies, confinements, broken;
    int on_tick, between;
} told_t;

static void take_line(told_t *t, const char *line)
{
    size_t length = strlen(line);
    bool whole = length > 2 && line[0] == '{' && strcmp(&line[length - 2], "}\n") == 0;
    t->broken += !whole;
    t->setups += strstr(line, "\"fact\": \"setup\"") != NULL;
    t->clocks += strstr(line, "\"fact\": \"clock\"") != NULL;
    t->features += strstr(line, "\"fact\": \"feature\"") != NULL;
    t->latencies += strstr(line, "\"fact\": \"latency\"") != NULL;
    t->confinements += strstr(line, "\"fact\": \"confinement\"") != NULL;
    int n = 0;
    const char *at = strstr(line, "\"n\": ");
    if (at != NULL)
        n = atoi(at + 5);
    if (strstr(line, "\"on_tick\": true") != NULL)
        t->on_tick = n;
    if (strstr(line, "\"on_tick\": false") != NULL)
        t->between = n;
}

/* Returns the exit status. */
static int ask(const char *options, told_t *told)
{
    char command[LINE_BYTES], line[LINE_BYTES];
    *told = (told_t){.setups = 0};
    (void)snprintf(command, sizeof command, "'%s' %s 2>/dev/null", RT_WORKER_PROGRAM, options);
    FILE *output = popen(command, "r");
    if (output == NULL)
        return -1;
    while (fgets(line, sizeof line, output) != NULL)
        take_line(told, line);
    return pclose(output);
}

static void test_it_tells_of_the_machine(void)
{
    told_t told;
    CHECK_EQ(ask("--examine 0 --device 'no\"such\\if'", &told), 0);
    CHECK_EQ(told.broken, 0);
    CHECK_EQ(told.setups, 1);
    CHECK_EQ(told.clocks, 1);
    CHECK_EQ(told.features, UDP_FEATURES);
    CHECK_EQ(told.latencies, 0);
    CHECK_EQ(told.confinements, 1);
}

static void test_it_sleeps_once_a_millisecond(void)
{
    told_t told;
    CHECK_EQ(ask("--examine 100 --policy fifo --priority 50", &told), 0);
    CHECK_EQ(told.latencies, 2);
    CHECK_EQ(told.on_tick + told.between, 100);
    CHECK(told.on_tick >= 100 / 10 && told.between >= 50); /* ticks are 1 to 10 ms apart */
}

static void test_mistakes_end_it(void)
{
    told_t told;
    CHECK(ask("--examine 5 --cpu none", &told) != 0);
    CHECK(ask("--examine 60001", &told) != 0);
    CHECK_EQ(told.setups + told.broken, 0);
}

int main(void)
{
    RUN(test_it_tells_of_the_machine);
    RUN(test_it_sleeps_once_a_millisecond);
    RUN(test_mistakes_end_it);
    return rt_test_result();
}
