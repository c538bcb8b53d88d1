#include "shm/cyclic_shm.h"

#include "base/rt_err.h"
#include "shm/layout_assert.h"

#include <errno.h>
#include <inttypes.h>

_Static_assert(sizeof(shm_cyclic_config_t) <= SHM_ENGINE_CONFIG_BYTES,
               "fits the channel's configuration");
_Static_assert(sizeof(shm_cyclic_head_t) <= SHM_CYCLIC_HEAD_BYTES, "fits its page");
_Static_assert(SHM_CYCLIC_COUNTER_TOTAL <= SHM_CYCLIC_COUNTER_SPACE &&
                   SHM_CYCLIC_GAUGE_TOTAL <= SHM_CYCLIC_GAUGE_SPACE,
               "the head has room for its counters and gauges");

AT(shm_cyclic_config_t, payload_bytes, 4);
AT(shm_cyclic_config_t, period_ns, 8);
AT(shm_cyclic_config_t, phase_ns, 16);
AT(shm_cyclic_config_t, stale_after_ns, 24);
AT(shm_cyclic_config_t, early_ns, 32);
AT(shm_cyclic_config_t, on_stale, 40);
AT(shm_cyclic_config_t, failsafe_crc, 44);
SIZE(shm_cyclic_config_t, 48);
AT(shm_cyclic_head_t, begun, 128);
AT(shm_cyclic_head_t, failsafe, 136);
AT(shm_cyclic_head_t, early_wanted_ns, 144);
AT(shm_cyclic_head_t, counters, 152);
AT(shm_cyclic_head_t, gauges, 408);
AT(shm_cyclic_head_t, counted_before, 536);

int shm_cyclic_config_check(const shm_cyclic_config_t *c)
{
    int rc = shm_check_config_bytes("cyclic", c->config_bytes, sizeof *c);
    rc = rc ? rc : shm_check_range("payload_bytes", c->payload_bytes, 0, SHM_MAX_PAYLOAD);
#define LIMIT(field, shown, low, high, power) \
    rc = rc ? rc : shm_check_number(shown, c->field, low, high, power);
    SHM_CYCLIC_LIMITS(LIMIT)
#undef LIMIT
    if (rc == 0 && c->phase_ns != SHM_CYCLIC_ANY_PHASE)
        rc = shm_check_range("phase_ns", c->phase_ns, 0, c->period_ns - 1);
    rc = rc ? rc : shm_check_range("early_ns", c->early_ns, 0, SHM_CYCLIC_MOST_EARLY_NS);
    return rc ? rc : shm_check_range("on_stale", c->on_stale, 0, SHM_CYCLIC_FAILSAFE);
}

uint64_t shm_cyclic_bytes(uint32_t producers, uint32_t payload_bytes)
{
    uint64_t bytes = SHM_CYCLIC_HEAD_BYTES + shm_box_halves_bytes(producers, payload_bytes);
    return (bytes + SHM_PAGE_BYTES - 1) / SHM_PAGE_BYTES * SHM_PAGE_BYTES;
}

shm_box_t shm_cyclic_box(const uint8_t *engine, uint32_t producers, uint32_t payload_bytes)
{
    return (shm_box_t){
        .head = &shm_cyclic_head(engine)->box,
        .halves = (uint8_t *)(uintptr_t)engine + SHM_CYCLIC_HEAD_BYTES,
        .slots = producers,
        .max_bytes = payload_bytes,
    };
}

/* B8  failsafe, R -> A in get_failsafe: the payload is whole */

/* --- the fail-safe payload -------------------------------------------------------------------- */

static shm_cyclic_head_t *head_of(const shm_box_t *box)
{
    return (shm_cyclic_head_t *)(void *)box->head;
}

static uint8_t *failsafe_of(const shm_box_t *box)
{
    return ((shm_box_half_t *)(void *)box->halves)->payload;
}

void shm_cyclic_put_failsafe(const shm_box_t *box, const void *payload, uint32_t bytes)
{
    memcpy(failsafe_of(box), payload, bytes);
    rt_store_release(&head_of(box)->failsafe, (uint64_t)bytes + 1); /* B8 */
}

RT_RACY int shm_cyclic_get_failsafe(const shm_box_t *box, void *payload, uint32_t *bytes)
{
    uint64_t found = rt_load_acquire(&head_of(box)->failsafe); /* B8 */
    if (found == 0 || found - 1 > box->max_bytes)
        return 0;
    *bytes = (uint32_t)(found - 1);
    rt_copy_racy(payload, failsafe_of(box), *bytes);
    return 1;
}
