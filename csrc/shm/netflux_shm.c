/* netflux_shm.c: how the boxes work.
 *
 * The out box is a box of latest_box.h, whose payloads all have the configured size.
 *
 *   in box      published = 9
 *        [ 8 ] [ 9 ] [ 6 ] [ 7: becomes 10, or 10 again after the death of a worker ]
 *
 * Order (R releases, A acquires; the partner is named):
 *
 *   B3  version odd, then a release fence, before the first byte
 *         -> B5: a reader that saw any byte of it sees the odd version, or a later one
 *
 *   B4  version even, R, after the last byte -> B5: a reader that sees it finds the half complete
 *
 *   B5  version, A before the copy; an acquire fence, and version again, after it
 *
 *   B6  published, R -> A in snapshot: the slot is whole
 *
 *   B7  current, R; a release fence before the copy that it does not name is written
 *         -> A in state_get; an acquire fence, and current again, after the copy */
#include "shm/netflux_shm.h"

#include "base/rt_err.h"
#include "shm/layout_assert.h"

#include <errno.h>
#include <inttypes.h>

_Static_assert(sizeof(shm_netflux_config_t) <= SHM_ENGINE_CONFIG_BYTES,
               "fits the channel's configuration");
_Static_assert(sizeof(shm_netflux_head_t) <= SHM_NETFLUX_HEAD_BYTES, "fits its page");

AT(shm_netflux_settings_t, watch_ns, 8);
AT(shm_netflux_settings_t, hear_ns, 16);
AT(shm_netflux_settings_t, stale_ns, 24);
AT(shm_netflux_settings_t, on_stale, 32);
AT(shm_netflux_settings_t, flags, 36);
SIZE(shm_netflux_settings_t, 40);

AT(shm_netflux_config_t, tx_payload_bytes, 4);
AT(shm_netflux_config_t, rx_payload_bytes, 8);
AT(shm_netflux_config_t, any_source, 12);
AT(shm_netflux_config_t, settings, 16);
AT(shm_netflux_config_t, tx_layout, 56);
AT(shm_netflux_config_t, rx_layout, 88);
AT(shm_netflux_config_t, own_number, 120);
SIZE(shm_netflux_config_t, 128);

AT(shm_netflux_rx_t, number, 2);
AT(shm_netflux_rx_t, feedback, 3);
AT(shm_netflux_rx_t, payload_bytes, 4);
AT(shm_netflux_rx_t, published, 8);
AT(shm_netflux_rx_t, at_mono_ns, 16);
SIZE(shm_netflux_rx_t, 24);

AT(shm_netflux_in_t, head, 8);
AT(shm_netflux_in_t, stamp, 32);
AT(shm_netflux_in_t, values, 36);
SIZE(shm_netflux_in_t, 1536);

AT(shm_netflux_state_t, settings, 8);
AT(shm_netflux_state_t, remote, 48);
AT(shm_netflux_state_t, local, 72);
AT(shm_netflux_state_t, sending, 96);
AT(shm_netflux_state_t, failsafe, 100);
AT(shm_netflux_state_t, feedback, 104);
SIZE(shm_netflux_state_t, 112);

AT(shm_netflux_head_t, out, 0);
AT(shm_netflux_head_t, published, 128);
AT(shm_netflux_head_t, current, 136);
AT(shm_netflux_head_t, state, 144);

AT(shm_netflux_request_t, on, 4);
AT(shm_netflux_request_t, settings, 8);
AT(shm_netflux_request_t, remote, 48);
SIZE(shm_netflux_request_t, 72);

/* A reader needs another attempt only if its writer has passed it during the copy. */
#define ATTEMPTS 64

/* --- checks --------------------------------------------------------------------------------- */

int shm_netflux_settings_check(const shm_netflux_settings_t *s)
{
    int rc = 0;
#define LIMIT(field, shown, low, high, power) \
    rc = rc ? rc : shm_check_number(shown, s->field, low, high, power);
    SHM_NETFLUX_LIMITS(LIMIT)
#undef LIMIT
    if (rc == 0 && s->stale_ns != 0 && s->stale_ns < s->cycle_ns)
        return rt_err_set(-EINVAL,
                          "stale_ns is %" PRId64 ", below cycle_ns %" PRId64
                          ": values would be stale before they are sent; give at least three "
                          "cycles, or 0",
                          s->stale_ns, s->cycle_ns);
    rc = rc ? rc : shm_check_range("on_stale", s->on_stale, 0, SHM_NETFLUX_STOP);
    return rc ? rc : shm_check_range("flags", s->flags, 0, SHM_NETFLUX_FLAGS);
}

int shm_netflux_config_check(const shm_netflux_config_t *c)
{
    int rc = shm_check_config_bytes("netflux", c->config_bytes, sizeof *c);
    rc = rc ? rc : shm_check_range("tx_payload_bytes", c->tx_payload_bytes, 0, SHM_NETFLUX_MAX_PAYLOAD);
    rc = rc ? rc
            : shm_check_range("rx_payload_bytes", c->rx_payload_bytes, 0,
                          SHM_NETFLUX_MAX_PAYLOAD);
    rc = rc ? rc : shm_check_range("any_source", c->any_source, 0, 1);
    rc = rc ? rc : shm_check_range("partner_known", c->partner_known, 0, 1);
    return rc ? rc : shm_netflux_settings_check(&c->settings);
}

/* --- places --------------------------------------------------------------------------------- */

#define IN_OFFSET (SHM_NETFLUX_HEAD_BYTES + SHM_NETFLUX_STATS_BYTES)
#define FAILSAFE_OFFSET (IN_OFFSET + SHM_NETFLUX_IN_SLOTS * (uint32_t)sizeof(shm_netflux_in_t))

static uint64_t half_bytes(void)
{
    return shm_box_half_bytes(SHM_NETFLUX_MAX_PAYLOAD);
}

uint64_t shm_netflux_bytes(uint32_t producers)
{
    uint64_t bytes = FAILSAFE_OFFSET + 2 * half_bytes() +
                     shm_box_halves_bytes(producers, SHM_NETFLUX_MAX_PAYLOAD);
    return (bytes + SHM_PAGE_BYTES - 1) / SHM_PAGE_BYTES * SHM_PAGE_BYTES;
}

static shm_netflux_in_t *in_at(const uint8_t *engine, uint64_t published)
{
    return (shm_netflux_in_t *)(uintptr_t)(engine + IN_OFFSET) + published % SHM_NETFLUX_IN_SLOTS;
}

uint8_t *shm_netflux_failsafe(uint8_t *engine, unsigned half)
{
    return ((shm_box_half_t *)(void *)(engine + FAILSAFE_OFFSET + half % 2 * half_bytes()))->payload;
}

/* --- out box -------------------------------------------------------------------------------- */

shm_box_t shm_netflux_box(const uint8_t *engine, uint32_t producers)
{
    uint8_t *at = (uint8_t *)(uintptr_t)engine;
    return (shm_box_t){
        .head = &shm_netflux_head(engine)->out,
        .halves = at + FAILSAFE_OFFSET + 2 * half_bytes(),
        .slots = producers,
        .max_bytes = SHM_NETFLUX_MAX_PAYLOAD,
    };
}

int shm_netflux_peek(const uint8_t *engine, uint32_t producers, void *values, uint32_t bytes,
                     int64_t *at_mono_ns, uint64_t *ticket, uint32_t *slot)
{
    uint8_t copy[SHM_NETFLUX_MAX_PAYLOAD];
    shm_box_t out = shm_netflux_box(engine, producers);
    shm_box_found_t now;
    int rc = shm_box_peek(&out, copy, &now);
    if (rc != 1)
        return rc;
    if (now.bytes != bytes)
        return -EPROTO;
    memcpy(values, copy, bytes);
    *at_mono_ns = now.at_mono_ns;
    *ticket = now.ticket;
    *slot = now.slot;
    return 1;
}

/* --- in box --------------------------------------------------------------------------------- */

void shm_netflux_publish(uint8_t *engine, shm_netflux_rx_t *head, uint32_t stamp,
                         const void *values, uint32_t bytes)
{
    rt_a64_t *published = &shm_netflux_head(engine)->published;
    head->published = rt_load_relaxed(published) + 1;
    shm_netflux_in_t *in = in_at(engine, head->published);
    rt_store_relaxed(&in->version, head->published << 1 | 1); /* B3 */
    rt_fence_release();                                       /* B3, pairs with B5 */
    in->head = *head;
    in->stamp = stamp;
    memcpy(in->values, values, bytes);
    rt_store_release(&in->version, head->published << 1); /* B4, pairs with B5 */
    rt_store_release(published, head->published);         /* B6 */
}

RT_RACY static bool copy_in(const shm_netflux_in_t *in, uint64_t published, shm_netflux_rx_t *head,
                            uint32_t *stamp, uint8_t *values, uint32_t bytes)
{
    if (rt_load_acquire(&in->version) != published << 1) /* B5 */
        return false;
    rt_copy_racy(head, &in->head, sizeof *head);
    *stamp = in->stamp;
    rt_copy_racy(values, in->values, bytes);
    rt_fence_acquire(); /* B5, pairs with B3 */
    return rt_load_relaxed(&in->version) == published << 1;
}

int shm_netflux_snapshot(const uint8_t *engine, shm_netflux_rx_t *head, uint32_t *stamp,
                         void *values, uint32_t bytes)
{
    uint8_t copy[SHM_NETFLUX_MAX_PAYLOAD];
    shm_netflux_rx_t copy_head;
    uint32_t copy_stamp;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        uint64_t n = rt_load_acquire(&shm_netflux_head(engine)->published); /* B6 */
        if (n == 0)
            return 0;
        if (!copy_in(in_at(engine, n), n, &copy_head, &copy_stamp, copy, bytes))
            continue;
        memcpy(values, copy, bytes);
        *head = copy_head;
        *stamp = copy_stamp;
        return 1;
    }
    return -EAGAIN;
}

/* --- state ---------------------------------------------------------------------------------- */

void shm_netflux_state_put(uint8_t *engine, const shm_netflux_state_t *state)
{
    shm_netflux_head_t *head = shm_netflux_head(engine);
    uint32_t next = rt_load_relaxed(&head->current) + 1;
    /* 0 means none yet. Otherwise the next number that does not name the current copy. */
    if (next == 0)
        next = 2;
    rt_fence_release(); /* B7 */
    memcpy(&head->state[next % 2], state, sizeof *state);
    rt_store_release(&head->current, next); /* B7 */
}

RT_RACY static bool copy_state(const shm_netflux_head_t *head, uint32_t current,
                               shm_netflux_state_t *state)
{
    rt_copy_racy(state, &head->state[current % 2], sizeof *state);
    rt_fence_acquire(); /* B7 */
    return rt_load_relaxed(&head->current) == current;
}

int shm_netflux_state_get(const uint8_t *engine, shm_netflux_state_t *state)
{
    const shm_netflux_head_t *head = shm_netflux_head(engine);
    shm_netflux_state_t copy;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        uint32_t current = rt_load_acquire(&head->current); /* B7 */
        if (current == 0)
            return 0;
        if (!copy_state(head, current, &copy))
            continue;
        *state = copy;
        return 1;
    }
    return -EAGAIN;
}
