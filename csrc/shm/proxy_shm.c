#include "shm/proxy_shm.h"

#include "base/rt_err.h"
#include "shm/layout_assert.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

_Static_assert(sizeof(shm_proxy_config_t) <= SHM_ENGINE_CONFIG_BYTES,
               "fits the channel's configuration");
_Static_assert(SHM_PROXY_COUNTER_TOTAL <= SHM_PROXY_COUNTER_SPACE &&
                   SHM_PROXY_GAUGE_TOTAL <= SHM_PROXY_GAUGE_SPACE,
               "the state has room for its counters and gauges");
_Static_assert(sizeof(shm_impair_t) == SHM_PROXY_IMPAIR_WORDS * sizeof(uint64_t),
               "an impairment is this many words");

AT(shm_proxy_config_t, flows, 4);
AT(shm_proxy_config_t, idle_ns, 8);
AT(shm_proxy_config_t, to, 16);
SIZE(shm_proxy_config_t, 40);
AT(shm_proxy_state_t, flow_drops, 16);
AT(shm_proxy_state_t, set, 24);
AT(shm_proxy_state_t, impair, 32);
AT(shm_proxy_state_t, counters, 224);
AT(shm_proxy_state_t, gauges, 480);
SIZE(shm_proxy_state_t, 608);
AT(shm_proxy_command_t, impair, 8);
SIZE(shm_proxy_command_t, 200);

static bool is_zero(const uint8_t *bytes, size_t count)
{
    while (count > 0 && bytes[count - 1] == 0)
        count--;
    return count == 0;
}

static bool is_v4_in_v6(const shm_addr_t *a)
{
    return a->family == 6 && is_zero(a->ip, 10) && a->ip[10] == 0xff && a->ip[11] == 0xff;
}

static bool is_multicast(const shm_addr_t *a)
{
    return a->family == 4 ? a->ip[0] >> 4 == 0xe : a->ip[0] == 0xff;
}

static bool is_broadcast(const shm_addr_t *a)
{
    return a->family == 4 && (a->ip[0] & a->ip[1] & a->ip[2] & a->ip[3]) == 0xff;
}

static int check_to(const shm_addr_t *to)
{
    if (to->family != 4 && to->family != 6)
        return rt_err_set(-EINVAL, "to has address family %u; it must be 4 or 6", to->family);
    if (to->port == 0)
        return rt_err_set(-EINVAL, "to has port 0; give the server's port, 1 to 65535");
    if (is_zero(to->ip, to->family == 4 ? 4 : 16))
        return rt_err_set(-EINVAL, "to is the wildcard address; give the server's own address");
    if (is_v4_in_v6(to))
        return rt_err_set(-EINVAL, "to is an IPv4 address in IPv6 form; give it in IPv4 form");
    if (is_multicast(to))
        return rt_err_set(-EINVAL, "to is a multicast group, which has many members and sends no "
                                   "replies from its address; give one server's address");
    if (is_broadcast(to))
        return rt_err_set(-EINVAL, "to is the broadcast address, which sends no replies; give one "
                                   "server's address");
    return 0;
}

int shm_proxy_config_check(const shm_proxy_config_t *c)
{
    int rc = shm_check_config_bytes("proxy", c->config_bytes, sizeof *c);
#define LIMIT(field, shown, low, high, power) \
    rc = rc ? rc : shm_check_number(shown, c->field, low, high, power);
    SHM_PROXY_LIMITS(LIMIT)
#undef LIMIT
    return rc ? rc : check_to(&c->to);
}

void shm_proxy_get_impair(const shm_proxy_state_t *state, unsigned way, shm_impair_t *out)
{
    uint64_t words[SHM_PROXY_IMPAIR_WORDS];
    for (unsigned i = 0; i < SHM_PROXY_IMPAIR_WORDS; i++)
        words[i] = rt_load_relaxed(&state->impair[way][i]);
    memcpy(out, words, sizeof *out);
}

void shm_proxy_put_impair(shm_proxy_state_t *state, unsigned way, const shm_impair_t *in)
{
    uint64_t words[SHM_PROXY_IMPAIR_WORDS];
    memcpy(words, in, sizeof words);
    for (unsigned i = 0; i < SHM_PROXY_IMPAIR_WORDS; i++)
        rt_store_relaxed(&state->impair[way][i], words[i]);
}
