/* faults.c: sites, and the faults that a plan wants at them.
 *
 * A fault waits for a point of the run, or for the nth passage of a site: then the site has a trap,
 * and each passage of it is a slow one. Whoever passes and has one of the fault's roles is struck.
 * A site is a file and a line. The linker collects all of them, and their order by name gives each
 * its number: copies of an inline function have one. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

extern sim_site_t __start_sim_sites[], __stop_sim_sites[];

static sim_site_t **sites; /* by number, from 1 on */
static unsigned site_count;

/* --- sites ------------------------------------------------------------------------------------ */

static const char *short_name(const char *file)
{
    const char *at = strstr(file, "csrc/");
    return at != NULL ? at + 5 : file;
}

static int compare_sites(const void *a, const void *b)
{
    const sim_site_t *left = *(sim_site_t *const *)a, *right = *(sim_site_t *const *)b;
    int by_name = strcmp(left->file, right->file);
    if (by_name != 0)
        return by_name;
    return left->line < right->line ? -1 : left->line > right->line;
}

void sim_sites_begin(void)
{
    size_t total = (size_t)(__stop_sim_sites - __start_sim_sites);
    sites = calloc(total + 1, sizeof *sites);
    for (size_t i = 0; i < total; i++) {
        __start_sim_sites[i].file = short_name(__start_sim_sites[i].file);
        sites[i + 1] = &__start_sim_sites[i];
    }
    qsort(sites + 1, total, sizeof *sites, compare_sites);
    for (size_t i = 1; i <= total; i++) {
        bool same = site_count > 0 && compare_sites(&sites[site_count], &sites[i]) == 0;
        site_count += same ? 0 : 1;
        sites[i]->number = site_count;
        sites[site_count] = sites[i]; /* not beyond i */
    }
    sim_move();
}

unsigned sim_site_count(void)
{
    return site_count;
}

const sim_site_t *sim_site(uint32_t number)
{
    return sites[number];
}

unsigned sim_site_hits(uint32_t number)
{
    unsigned hits = 0;
    for (const sim_site_t *s = __start_sim_sites; s < __stop_sim_sites; s++)
        hits += s->number == number ? s->hits : 0;
    return hits;
}

/* Of all copies. */
static void set_trap(uint32_t number, uint32_t trap)
{
    for (sim_site_t *s = __start_sim_sites; s < __stop_sim_sites; s++)
        if (s->number == number)
            s->trap = trap;
}

/* --- faults ----------------------------------------------------------------------------------- */

void faults_begin(void)
{
    sim.faults_from = UINT64_MAX;
    for (sim_site_t *s = __start_sim_sites; s < __stop_sim_sites; s++)
        s->trap = 0;
}

uint64_t faults_next_point(void)
{
    uint64_t next = UINT64_MAX;
    for (unsigned i = 0; i < sim.plan.fault_count; i++) {
        const fault_t *f = &sim.plan.faults[i];
        if (!f->done && f->site == 0 && f->at < next)
            next = f->at;
    }
    return next < UINT64_MAX - sim.faults_from ? sim.faults_from + next : UINT64_MAX;
}

void sim_faults(bool on)
{
    sim.faults_from = on ? sim_points() : UINT64_MAX;
    sim_clock.fuel = 1; /* the next slice knows of them */
    sim.granted = 1;
    for (unsigned i = 0; i < sim.plan.fault_count; i++) {
        const fault_t *f = &sim.plan.faults[i];
        if (f->site != 0 && !f->done)
            set_trap(f->site, on ? (uint32_t)f->at : 0);
    }
}

static fault_t *due(const sim_site_t *site, bool trapped)
{
    if (sim.faults_from > sim.points)
        return NULL;
    for (unsigned i = 0; i < sim.plan.fault_count; i++) {
        fault_t *f = &sim.plan.faults[i];
        if (f->done || !(f->roles & sim.running->role))
            continue;
        if (f->site == 0 ? f->at <= sim.points - sim.faults_from
                         : trapped && f->site == site->number)
            return f;
    }
    return NULL;
}

static bool springs(sim_site_t *site)
{
    if (site->trap == 0)
        return false;
    if (site->trap > 1) {
        set_trap(site->number, site->trap - 1);
        return false;
    }
    for (unsigned i = 0; i < sim.plan.fault_count; i++) {
        const fault_t *f = &sim.plan.faults[i];
        if (!f->done && f->site == site->number && (f->roles & sim.running->role)) {
            set_trap(site->number, 0);
            return true;
        }
    }
    return false; /* it waits for another */
}

fault_t *faults_due(sim_site_t *site)
{
    return due(site, springs(site));
}
