/* plans.h: scenes, which draw plans from seeds, and plans as lines of text. */
#ifndef SIM_PLANS_H
#define SIM_PLANS_H

#include "sim.h"

#define LINE_BYTES 512

/* A case: a scene, a seed, and what was changed in the plan that they give. As a line:
 *
 *     udp 4711 packets=12 senders=1 faults=0x5
 *     sending 1 die=shm/tx_ring.c:140@3          whoever passes there for the third time dies
 *     sending 1 halt=shm/tx_ring.c:140@3         ... or stands still
 */
typedef struct run_case {
    char scene[32];
    uint64_t seed;
    uint64_t kept;     /* faults of the plan, a bit for each */
    int64_t values[8]; /* of FIELDS in plans.c; -1: as drawn */
    fault_t fault;     /* one more; FAULT_NONE: none */
} run_case_t;

run_case_t case_of(const char *scene, uint64_t seed);
bool case_parse(run_case_t *c, const char *line);
const char *case_text(const run_case_t *c, char *out);
bool case_scene_exists(const char *name);
plan_t case_plan(const run_case_t *c);

/* Runs a plan from its beginning to its end. Returns the hash. */
uint64_t run_plan(const plan_t *plan);

/* Only this fault, at the hit-th passage of a site. */
run_case_t case_at_site(const char *scene, uint64_t seed, fault_kind_t kind, uint32_t site,
                        uint32_t hit);

/* The smallest case that still fails in the same way. */
void shrink(run_case_t *c);

#endif
