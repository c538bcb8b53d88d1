#include "plans.h"

#include <stdlib.h>
#include <string.h>

#define HALT_NS (30 * NS_PER_MS)

/* --- scenes ----------------------------------------------------------------------------------- */

static void draw_sending(plan_t *p, chance_t *c)
{
    static const uint32_t SLICES[] = {1, 2, 4, 10, 30, 100, 400};
    static const uint32_t RINGS[] = {4096, 8192, 16384, 65536};
    *p = (plan_t){.seed = chance_next(c)};
    p->senders = 1 + (uint32_t)chance_below(c, 3);
    p->packets = 20 + (uint32_t)chance_below(c, 150);
    p->slice = SLICES[chance_below(c, sizeof SLICES / sizeof *SLICES)];
    p->tx_bytes = RINGS[chance_below(c, sizeof RINGS / sizeof *RINGS)];
    p->rx_bytes = 4096;
    p->payload_most = 32 + (uint32_t)chance_between(c, 0, 400);
    p->gap_ns = chance_between(c, 20 * NS_PER_US, 4 * NS_PER_MS);
    p->far = chance_permille(c, 400);
    p->cancels = 80;
    p->reports = chance_permille(c, 700);
    p->drop_late = chance_permille(c, 150);
    p->gso = chance_permille(c, 500);
    p->profile = (uint8_t)(chance_permille(c, 700) ? 0 : 2);
}

static void draw_fault(fault_t *f, chance_t *c, uint64_t points)
{
    *f = (fault_t){.kind = chance_permille(c, 800) ? FAULT_DEATH : FAULT_STALL,
                   .roles = ROLE_WORKER | ROLE_SENDER | ROLE_READER,
                   .length_ns = chance_between(c, NS_PER_US, 100 * NS_PER_MS)};
    if (f->kind == FAULT_DEATH)
        f->roles = chance_permille(c, 700) ? ROLE_WORKER : ROLE_SENDER | ROLE_READER;
    if (chance_permille(c, 600)) {
        f->site = 1 + (uint32_t)chance_below(c, sim_site_count());
        f->at = 1 + chance_below(c, 12);
    } else {
        f->at = 1 + chance_below(c, points);
    }
}

static void draw_deaths(plan_t *p, chance_t *c)
{
    draw_sending(p, c);
    p->fault_count = 1 + (unsigned)chance_below(c, 10);
    for (unsigned i = 0; i < p->fault_count; i++)
        draw_fault(&p->faults[i], c, 400 * (uint64_t)p->packets * p->senders);
}

static uint32_t draw_site(chance_t *c, const char *file)
{
    uint32_t site;
    do {
        site = 1 + (uint32_t)chance_below(c, sim_site_count());
    } while (strcmp(sim_site(site)->file, file) != 0);
    return site;
}

/* Records of one length: those of each lap of a small ring are at the same places. Senders that
 * stand still amid a cancel, a claim or a replacement find others there. */
static void draw_cancels(plan_t *p, chance_t *c)
{
    draw_sending(p, c);
    p->senders += 1;
    p->packets += 200;
    p->tx_bytes = 4096;
    p->payload_most = PAYLOAD_LEAST;
    p->gap_ns = chance_between(c, 20 * NS_PER_US, NS_PER_MS);
    p->far = false;
    p->cancels = 500;
    p->fault_count = 8;
    for (unsigned i = 0; i < p->fault_count; i++)
        p->faults[i] = (fault_t){.kind = FAULT_STALL,
                                 .roles = ROLE_SENDER,
                                 .site = draw_site(c, "shm/tx_ring.c"),
                                 .at = 1 + chance_below(c, 40),
                                 .length_ns = chance_between(c, 100 * NS_PER_US, HALT_NS)};
    if (chance_permille(c, 500))
        draw_fault(&p->faults[0], c, 400 * (uint64_t)p->packets * p->senders);
}

static void draw_receiving(plan_t *p, chance_t *c)
{
    static const uint32_t RINGS[] = {8192, 16384, 65536};
    draw_deaths(p, c);
    if (chance_permille(c, 300))
        p->fault_count = 0;
    p->readers = 1 + (uint32_t)chance_below(c, 3);
    p->arrivals = 20 + (uint32_t)chance_below(c, 300);
    p->arrival_gap_ns = chance_between(c, 2 * NS_PER_US, 2 * NS_PER_MS);
    p->rx_bytes = RINGS[chance_below(c, sizeof RINGS / sizeof *RINGS)];
    p->gro = chance_permille(c, 500);
    p->shared = chance_permille(c, 250);
    p->wait_for_readers = chance_permille(c, 250);
    p->packets = p->packets / 4 + 1;
}

static void draw_udp(plan_t *p, chance_t *c)
{
    draw_receiving(p, c);
    p->send_trouble = (uint32_t)chance_between(c, 0, 300);
    p->net_trouble = (uint32_t)chance_between(c, 0, 200);
    p->commands = (uint32_t)chance_below(c, 4);
}

/* Deadlines in CLOCK_TAI, and somebody who sets the clock. */
static void draw_tai(plan_t *p, chance_t *c)
{
    draw_udp(p, c);
    p->tai = true;
    p->clock_steps = (uint32_t)chance_below(c, 4);
}

static void draw_local(plan_t *p, chance_t *c)
{
    draw_receiving(p, c);
    p->local = true;
    p->arrivals = 0;
    p->packets *= 4;
    p->send_trouble = (uint32_t)chance_between(c, 0, 100); /* of sleeps */
    p->commands = (uint32_t)chance_below(c, 4);
}

static const struct {
    const char *name;
    void (*draw)(plan_t *p, chance_t *c);
} SCENES[] = {
    {"sending", draw_sending},     /* senders and a worker, and nothing goes wrong */
    {"deaths", draw_deaths},       /* workers and senders die and stand still */
    {"cancels", draw_cancels},     /* and those who cancel stand still */
    {"receiving", draw_receiving}, /* both directions, with deaths */
    {"udp", draw_udp},             /* all of it, full sockets, and commands of the pool */
    {"tai", draw_tai},             /* the same in CLOCK_TAI, which steps */
    {"local", draw_local},         /* the engine "local": what is sent is read on this host */
};

/* What a case may change, and shrink makes smaller: at most as many as run_case_t has values. */
static const struct {
    const char *name;
    size_t at;
    uint32_t least;
} FIELDS[] = {
    {"packets", offsetof(plan_t, packets), 1},
    {"senders", offsetof(plan_t, senders), 1},
    {"readers", offsetof(plan_t, readers), 0},
    {"arrivals", offsetof(plan_t, arrivals), 0},
    {"commands", offsetof(plan_t, commands), 0},
    {"send_trouble", offsetof(plan_t, send_trouble), 0},
    {"net_trouble", offsetof(plan_t, net_trouble), 0},
    {"clock_steps", offsetof(plan_t, clock_steps), 0},
};

enum { FIELD_COUNT = sizeof FIELDS / sizeof *FIELDS };

static uint32_t *field_of(plan_t *p, unsigned i)
{
    return (uint32_t *)(void *)((char *)p + FIELDS[i].at);
}

/* --- cases ------------------------------------------------------------------------------------ */

run_case_t case_of(const char *scene, uint64_t seed)
{
    run_case_t c = {.seed = seed, .kept = UINT64_MAX};
    (void)snprintf(c.scene, sizeof c.scene, "%s", scene);
    memset(c.values, 0xff, sizeof c.values);
    return c;
}

bool case_scene_exists(const char *name)
{
    for (size_t i = 0; i < sizeof SCENES / sizeof *SCENES; i++)
        if (strcmp(SCENES[i].name, name) == 0)
            return true;
    return false;
}

run_case_t case_at_site(const char *scene, uint64_t seed, fault_kind_t kind, uint32_t site,
                        uint32_t hit)
{
    run_case_t c = case_of(scene, seed);
    c.kept = 0;
    c.fault = (fault_t){.kind = kind,
                        .roles = ROLE_WORKER | ROLE_SENDER | ROLE_READER,
                        .site = site,
                        .at = hit,
                        .length_ns = HALT_NS};
    return c;
}

/* place: file:line@hit */
static bool take_place(run_case_t *c, fault_kind_t kind, const char *place)
{
    char file[64];
    unsigned line = 0, hit = 0;
    if (sscanf(place, "%63[^:]:%u@%u", file, &line, &hit) != 3)
        return false;
    for (uint32_t i = 1; i <= sim_site_count(); i++) {
        const sim_site_t *site = sim_site(i);
        if (site->line != line || strcmp(site->file, file) != 0)
            continue;
        c->fault = case_at_site(c->scene, c->seed, kind, i, hit).fault;
        return true;
    }
    return false;
}

static bool take_word(run_case_t *c, const char *word)
{
    if (strncmp(word, "die=", 4) == 0)
        return take_place(c, FAULT_DEATH, word + 4);
    if (strncmp(word, "halt=", 5) == 0)
        return take_place(c, FAULT_STALL, word + 5);
    if (strncmp(word, "faults=", 7) == 0) {
        c->kept = strtoull(word + 7, NULL, 0);
        return true;
    }
    for (unsigned i = 0; i < FIELD_COUNT; i++) {
        size_t length = strlen(FIELDS[i].name);
        if (strncmp(word, FIELDS[i].name, length) != 0 || word[length] != '=')
            continue;
        c->values[i] = strtoll(word + length + 1, NULL, 0);
        return true;
    }
    return false;
}

bool case_parse(run_case_t *c, const char *line)
{
    char scene[32], words[LINE_BYTES];
    unsigned long long seed;
    int used = 0;
    if (sscanf(line, "%31s %llu%n", scene, &seed, &used) != 2 || !case_scene_exists(scene))
        return false;
    *c = case_of(scene, seed);
    (void)snprintf(words, sizeof words, "%s", line + used);
    char *rest = NULL;
    for (char *word = strtok_r(words, " \t\n", &rest); word != NULL && word[0] != '#';
         word = strtok_r(NULL, " \t\n", &rest))
        if (!take_word(c, word))
            return false;
    return true;
}

const char *case_text(const run_case_t *c, char *out)
{
    int used = snprintf(out, LINE_BYTES, "%s %llu", c->scene, (unsigned long long)c->seed);
    for (unsigned i = 0; i < FIELD_COUNT; i++)
        if (c->values[i] >= 0)
            used += snprintf(out + used, LINE_BYTES - (size_t)used, " %s=%lld", FIELDS[i].name,
                             (long long)c->values[i]);
    if (c->fault.kind != FAULT_NONE)
        used +=
            snprintf(out + used, LINE_BYTES - (size_t)used, " %s=%s:%u@%u",
                     c->fault.kind == FAULT_DEATH ? "die" : "halt", sim_site(c->fault.site)->file,
                     sim_site(c->fault.site)->line, (unsigned)c->fault.at);
    if (c->kept != UINT64_MAX)
        (void)snprintf(out + used, LINE_BYTES - (size_t)used, " faults=0x%llx",
                       (unsigned long long)c->kept);
    return out;
}

plan_t case_plan(const run_case_t *c)
{
    plan_t plan;
    chance_t chance = {c->seed * UINT64_C(0x2545f4914f6cdd1d)};
    for (size_t i = 0; i < sizeof SCENES / sizeof *SCENES; i++)
        if (strcmp(SCENES[i].name, c->scene) == 0)
            SCENES[i].draw(&plan, &chance);
    for (unsigned i = 0; i < FIELD_COUNT; i++)
        if (c->values[i] >= 0)
            *field_of(&plan, i) = (uint32_t)c->values[i];
    for (unsigned i = 0; i < plan.fault_count; i++)
        plan.faults[i].done = !(c->kept >> i & 1);
    if (c->fault.kind != FAULT_NONE)
        plan.faults[plan.fault_count++] = c->fault;
    return plan;
}

uint64_t run_plan(const plan_t *plan)
{
    files_begin();
    sim_begin(plan);
    judge_begin();
    pool_spawn();
    sim_run();
    sim_mix(sim.points);
    return sim.hash;
}

/* --- shrinking -------------------------------------------------------------------------------- */

static const char *kind; /* of failure */

static bool fails(const run_case_t *c)
{
    plan_t plan = case_plan(c);
    (void)run_plan(&plan);
    return sim.failed && sim.failure_kind == kind;
}

/* Without a fault, or with less of something: kept if it still fails. The rest of the run becomes
 * another one by that, so this is tried until nothing gets smaller. */
static bool drop_faults(run_case_t *c)
{
    bool smaller = false;
    plan_t plan = case_plan(c);
    for (unsigned i = 0; i < plan.fault_count; i++) {
        run_case_t less = *c;
        less.kept &= ~(UINT64_C(1) << i);
        if (plan.faults[i].done || plan.faults[i].site == c->fault.site || !fails(&less))
            continue;
        *c = less;
        smaller = true;
    }
    return smaller;
}

static bool lower_fields(run_case_t *c)
{
    bool smaller = false;
    for (unsigned i = 0; i < FIELD_COUNT; i++) {
        plan_t plan = case_plan(c);
        uint32_t now = *field_of(&plan, i);
        const uint32_t tries[] = {FIELDS[i].least, now / 2, now - now / 4, now - 1};
        for (unsigned k = 0; k < 4; k++) {
            run_case_t less = *c;
            less.values[i] = tries[k];
            if (now == 0 || tries[k] >= now || tries[k] < FIELDS[i].least || !fails(&less))
                continue;
            *c = less;
            smaller = true;
            break;
        }
    }
    return smaller;
}

void shrink(run_case_t *c)
{
    plan_t plan = case_plan(c);
    bool smaller = true;
    (void)run_plan(&plan);
    kind = sim.failure_kind;
    if (plan.fault_count < 64)
        c->kept &= (UINT64_C(1) << plan.fault_count) - 1;
    for (unsigned round = 0; smaller && round < 100; round++) {
        smaller = drop_faults(c);
        smaller |= lower_fields(c);
    }
    (void)fails(c); /* the state is this run's */
}
