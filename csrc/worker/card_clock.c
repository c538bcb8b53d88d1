#include "worker/card_clock.h"

#include "worker/worker.h"

#include <stdlib.h>
#include <string.h>

typedef struct card_clock {
    struct card_clock *next;
    phc_t phc;
    rt_clock_id_t clock;
    unsigned users;
    char device[IFNAMSIZ];
} card_clock_t;

static card_clock_t *cards; /* this process has one worker, and it one thread */

const phc_t *card_clock_get(wrk_channel_t *ch, const char *device)
{
    rt_clock_id_t clock = (rt_clock_id_t)ch->config.clock;
    for (card_clock_t *c = cards; c != NULL; c = c->next) {
        if (c->clock == clock && strcmp(c->device, device) == 0) {
            c->users++;
            return &c->phc;
        }
    }
    card_clock_t *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    if (phc_open(&c->phc, device, wrk_clock_map(ch)) < 0) {
        free(c);
        return NULL;
    }
    c->clock = clock;
    c->users = 1;
    memcpy(c->device, device, strnlen(device, sizeof c->device - 1));
    c->next = cards;
    cards = c;
    return &c->phc;
}

void card_clock_put(const phc_t *phc)
{
    for (card_clock_t **at = &cards; *at != NULL; at = &(*at)->next) {
        card_clock_t *c = *at;
        if (&c->phc != phc)
            continue;
        if (--c->users == 0) {
            *at = c->next;
            phc_close(&c->phc);
            free(c);
        }
        return;
    }
}

void card_clock_refresh(worker_t *w, int64_t now_mono_ns)
{
    for (card_clock_t *c = cards; c != NULL; c = c->next)
        (void)phc_refresh(&c->phc, &w->clocks[c->clock], now_mono_ns);
}
