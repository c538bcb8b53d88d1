/* main.c: the command.
 *
 *     sim [--scene NAME] [--seed N] [--seconds S | --runs N | --twice N] [--trace] [--shrink]
 *     sim --table FILE
 *     sim --case "LINE OF A TABLE" [--trace]
 *
 *     sim --sites HITS [--scene NAME] [--seed N] [--runs N]
 *
 * A run that fails is printed as the line that repeats it. --twice runs each seed twice, the second
 * time in the reverse order and with all memory elsewhere, and compares. --sites takes one plan,
 * and lets whoever passes a site for the first time, the second, ... die there, and stand still
 * there. It lists the sites that nobody passed. */
#include "plans.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct totals {
    uint64_t runs, failed, deaths, worker_deaths, stalls, points;
    int64_t virtual_ns;
    judge_sums_t sums;
} totals_t;

/* --- runs ------------------------------------------------------------------------------------- */

static void add(totals_t *t)
{
    judge_sums_t s = judge_sums();
    t->runs++;
    t->failed += sim.failed;
    t->deaths += sim.deaths;
    t->worker_deaths += sim.worker_deaths;
    t->stalls += sim.stalls;
    t->points += sim.points;
    t->virtual_ns += sim_clock.now_ns - 1000 * NS_PER_S;
    t->sums.sent += s.sent;
    t->sums.wire += s.wire;
    t->sums.arrived += s.arrived;
    t->sums.delivered += s.delivered;
}

static bool run_case(const run_case_t *c, totals_t *t)
{
    char text[LINE_BYTES];
    plan_t plan = case_plan(c);
    (void)run_plan(&plan);
    add(t);
    if (sim.failed)
        (void)printf("%s  # %s\n", case_text(c, text), sim.failure);
    return !sim.failed;
}

static double seconds(clockid_t id)
{
    struct timespec now;
    extern int __real_clock_gettime(clockid_t, struct timespec *);
    (void)__real_clock_gettime(id, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void print_totals(const totals_t *t, double took)
{
    (void)printf(
        "%llu runs, %llu packets, %llu arrivals, %llu deaths (%llu of workers), %llu stalls, "
        "%.1f million points, %.1f s in %.2f s of one core: %.0f runs/s, %.0f packets/s, "
        "%.0f deaths/s, %.0f times real time; %llu failed\n",
        (unsigned long long)t->runs, (unsigned long long)t->sums.sent,
        (unsigned long long)t->sums.arrived, (unsigned long long)t->deaths,
        (unsigned long long)t->worker_deaths, (unsigned long long)t->stalls,
        (double)t->points / 1e6, (double)t->virtual_ns / 1e9, took, (double)t->runs / took,
        (double)(t->sums.sent + t->sums.arrived) / took, (double)t->deaths / took,
        (double)t->virtual_ns / 1e9 / took, (unsigned long long)t->failed);
}

/* --- the command ------------------------------------------------------------------------------ */

typedef struct options {
    const char *scene, *table, *line;
    uint64_t seed, runs, twice, sites;
    double seconds;
    bool trace, shrink;
} options_t;

static options_t parse(int argc, char **argv)
{
    options_t o = {.scene = "udp", .seed = 0, .runs = 0};
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--trace") == 0) {
            o.trace = true;
            continue;
        }
        if (strcmp(argv[i], "--shrink") == 0) {
            o.shrink = true;
            continue;
        }
        if (strcmp(argv[i], "--scene") == 0)
            o.scene = value;
        else if (strcmp(argv[i], "--table") == 0)
            o.table = value;
        else if (strcmp(argv[i], "--case") == 0)
            o.line = value;
        else if (strcmp(argv[i], "--seed") == 0)
            o.seed = strtoull(value, NULL, 0);
        else if (strcmp(argv[i], "--runs") == 0)
            o.runs = strtoull(value, NULL, 0);
        else if (strcmp(argv[i], "--twice") == 0)
            o.twice = strtoull(value, NULL, 0);
        else if (strcmp(argv[i], "--sites") == 0)
            o.sites = strtoull(value, NULL, 0);
        else if (strcmp(argv[i], "--seconds") == 0)
            o.seconds = strtod(value, NULL);
        else {
            (void)fprintf(stderr, "unknown option %s\n", argv[i]);
            exit(2);
        }
        i++;
    }
    if (!case_scene_exists(o.scene)) {
        (void)fprintf(stderr, "there is no scene \"%s\"\n", o.scene);
        exit(2);
    }
    return o;
}

static bool run_table(const char *path, totals_t *t)
{
    char line[LINE_BYTES];
    bool good = true;
    run_case_t c;
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        perror(path);
        return false;
    }
    while (fgets(line, sizeof line, f) != NULL) {
        if (line[0] == '#' || line[0] == '\n')
            continue;
        bool read = case_parse(&c, line);
        if (!read)
            (void)fprintf(stderr, "%s: what is \"%s\"?\n", path, line);
        good &= read && run_case(&c, t);
    }
    (void)fclose(f);
    return good && t->runs > 0;
}

static bool run_twice(const char *scene, uint64_t first, uint64_t runs, totals_t *t)
{
    uint64_t *hashes = calloc(runs, sizeof *hashes);
    bool good = true;
    for (uint64_t i = 0; i < 2 * runs; i++) {
        if (i == runs)
            sim_move();
        uint64_t k = i < runs ? i : 2 * runs - 1 - i;
        run_case_t c = case_of(scene, first + k);
        plan_t plan = case_plan(&c);
        uint64_t hash = run_plan(&plan);
        add(t);
        if (i < runs)
            hashes[k] = hash;
        else if (hash != hashes[k])
            (void)printf("%s %llu is not the same run twice\n", scene, (unsigned long long)c.seed);
        good &= hash == hashes[k];
    }
    free(hashes);
    return good;
}

static bool run_one(run_case_t *c, bool smaller, totals_t *t)
{
    char text[LINE_BYTES];
    bool good = run_case(c, t);
    if (good || !smaller)
        return good;
    sim.trace = false;
    shrink(c);
    (void)printf("%s  # %s\n", case_text(c, text), sim.failure);
    return false;
}

/* First as the only fault, then with those of the plan. */
static bool run_site(const options_t *o, uint64_t seed, uint32_t site, totals_t *t)
{
    bool good = true;
    for (uint32_t hit = 1; hit <= o->sites; hit++) {
        for (int kind = FAULT_DEATH; kind <= FAULT_STALL; kind++) {
            run_case_t c = case_at_site(o->scene, seed, (fault_kind_t)kind, site, hit);
            good &= run_case(&c, t);
            c.kept = UINT64_MAX;
            good &= run_case(&c, t);
        }
    }
    return good;
}

static bool run_sites(const options_t *o, totals_t *t)
{
    bool good = true;
    unsigned unseen = 0;
    for (uint32_t site = 1; site <= sim_site_count(); site++) {
        for (uint64_t i = 0; i < (o->runs != 0 ? o->runs : 1); i++)
            good &= run_site(o, (o->seed != 0 ? o->seed : 1) + i, site, t);
        if (sim_site_hits(site) > 0)
            continue;
        unseen++;
        (void)printf("nobody passes %s:%u\n", sim_site(site)->file, sim_site(site)->line);
    }
    (void)printf("%u of %u sites were not passed\n", unseen, sim_site_count());
    return good;
}

static bool run_many(const options_t *o, double began, totals_t *t)
{
    bool good = true;
    uint64_t first = o->seed != 0 ? o->seed : 1;
    for (uint64_t i = 0;
         o->runs != 0 ? i < o->runs : seconds(CLOCK_PROCESS_CPUTIME_ID) - began < o->seconds; i++) {
        run_case_t c = case_of(o->scene, first + i);
        good &= run_one(&c, o->shrink, t);
    }
    return good;
}

int main(int argc, char **argv)
{
    options_t o = parse(argc, argv);
    totals_t t = {0};
    bool good = true;
    sim_sites_begin();
    sim.trace = o.trace;
    double began = seconds(CLOCK_PROCESS_CPUTIME_ID);
    run_case_t c = case_of(o.scene, o.seed);
    if (o.table != NULL)
        good = run_table(o.table, &t);
    else if (o.line != NULL)
        good = case_parse(&c, o.line) && run_one(&c, o.shrink, &t);
    else if (o.sites != 0)
        good = run_sites(&o, &t);
    else if (o.twice != 0)
        good = run_twice(o.scene, o.seed != 0 ? o.seed : 1, o.twice, &t);
    else if (o.seed != 0 && o.runs == 0 && o.seconds == 0)
        good = run_one(&c, o.shrink, &t);
    else
        good = run_many(&o, began, &t);
    print_totals(&t, seconds(CLOCK_PROCESS_CPUTIME_ID) - began);
    return good ? 0 : 1;
}
