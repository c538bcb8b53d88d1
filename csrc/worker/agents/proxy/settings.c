/* settings.c: the impairments of both paths. What is in effect is also in shared memory, for
 * observers and for a successor. The successor does not trust it. */
#include "worker/agents/common/impaired_path.h"
#include "worker/agents/proxy/proxy.h"

#include "base/rt_err.h"

#include <errno.h>
#include <string.h>

/* --- open ---------------------------------------------------------------------------------- */

/* What the predecessor had, unless a client has overwritten it with what is none. */
static void inherit(const proxy_agent_t *a, shm_impair_t wanted[SHM_PROXY_WAYS])
{
    shm_impair_t left[SHM_PROXY_WAYS];
    if (rt_load_relaxed(&a->state->set) != 1)
        return;
    for (unsigned way = 0; way < SHM_PROXY_WAYS; way++) {
        shm_proxy_get_impair(a->state, way, &left[way]);
        if (shm_impair_check(&left[way]) < 0) {
            rt_err_clear();
            return;
        }
    }
    memcpy(wanted, left, sizeof left);
}

static void *take_memory(wrk_channel_t *ch, size_t bytes)
{
    void *memory = wrk_take_memory(ch, bytes);
    if (memory == NULL)
        rt_err_append("an impaired path of %zu bytes (delay, rate, queue)", bytes);
    return memory;
}

static int open_path(wrk_channel_t *ch, proxy_path_t *path, const shm_impair_t *wanted)
{
    impair_config_t config = agent_path_config(wanted);
    int rc = impair_config_check(&config);
    if (rc < 0)
        return rc;
    size_t bytes = impair_memory_bytes(&config);
    void *memory = take_memory(ch, bytes);
    if (memory == NULL)
        return -ENOMEM;
    path->wanted = config;
    return impair_init(&path->im, &config, memory, bytes);
}

int proxy_paths_open(proxy_agent_t *a, bool takeover)
{
    const shm_config_t *c = &a->channel->config;
    shm_impair_t wanted[SHM_PROXY_WAYS] = {c->impair_tx, c->impair_rx};
    if (takeover)
        inherit(a, wanted);
    for (unsigned way = 0; way < SHM_PROXY_WAYS; way++) {
        int rc = open_path(a->channel, &a->paths[way], &wanted[way]);
        if (rc < 0)
            return rc;
        shm_proxy_put_impair(a->state, way, &wanted[way]);
    }
    rt_store_relaxed(&a->state->set, 1);
    return 0;
}

/* --- change -------------------------------------------------------------------------------- */

typedef struct change {
    impair_config_t config;
    size_t bytes;
    void *memory; /* NULL: the path's own suffices */
} change_t;

static int prepare(wrk_channel_t *ch, const proxy_path_t *path, const impair_config_t *wanted,
                   change_t *out)
{
    out->config = *wanted;
    int rc = impair_config_check(&out->config);
    if (rc < 0)
        return rc;
    out->bytes = impair_change_bytes(&path->im, &out->config);
    out->memory = out->bytes > 0 ? take_memory(ch, out->bytes) : NULL;
    return out->bytes > 0 && out->memory == NULL ? -ENOMEM : 0;
}

static void apply(proxy_path_t *path, const change_t *change, int64_t now_mono_ns)
{
    (void)impair_change(&path->im, &change->config, change->memory, change->bytes, now_mono_ns);
    path->wanted = change->config;
}

void proxy_paths_settle(proxy_agent_t *a)
{
    for (unsigned way = 0; way < SHM_PROXY_WAYS; way++) {
        proxy_path_t *path = &a->paths[way];
        change_t change = {.bytes = 0};
        wrk_give_memory(a->channel, impair_old_memory(&path->im));
        if (impair_change_bytes(&path->im, &path->wanted) == 0)
            continue;
        if (prepare(a->channel, path, &path->wanted, &change) == 0)
            apply(path, &change, rt_mono_ns());
        else
            rt_err_clear(); /* it keeps what it has, and tries again */
    }
}

/* Both or none. */
static int set(proxy_agent_t *a, const shm_proxy_command_t *c)
{
    change_t changes[SHM_PROXY_WAYS] = {{.bytes = 0}};
    int rc = 0;
    for (unsigned way = 0; way < SHM_PROXY_WAYS && rc == 0; way++)
        if (c->ways & 1u << way) {
            impair_config_t wanted = agent_path_config(&c->impair[way]);
            rc = prepare(a->channel, &a->paths[way], &wanted, &changes[way]);
        }
    for (unsigned way = 0; way < SHM_PROXY_WAYS; way++) {
        if (rc < 0) {
            wrk_give_memory(a->channel, changes[way].memory);
        } else if (c->ways & 1u << way) {
            apply(&a->paths[way], &changes[way], rt_mono_ns());
            shm_proxy_put_impair(a->state, way, &c->impair[way]);
        }
    }
    if (rc == 0)
        rt_bump(&a->state->gauges[SHM_PROXY_GAUGE_changes], 1);
    return rc;
}

int proxy_request(wrk_channel_t *ch, const uint8_t *body, size_t bytes, uint8_t *reply,
                  uint32_t *reply_bytes)
{
    (void)reply;
    (void)reply_bytes;
    shm_proxy_command_t c;
    if (bytes != sizeof c)
        return rt_err_set(-EPROTO,
                          "a request to engine proxy must have %zu bytes, this one has %zu",
                          sizeof c, bytes);
    memcpy(&c, body, sizeof c);
    if (c.op != SHM_PROXY_SET)
        return rt_err_set(-EINVAL,
                          "engine proxy does not know request %u: client and worker must be of the "
                          "same shmring version",
                          c.op);
    if (c.ways == 0 || c.ways >= 1u << SHM_PROXY_WAYS)
        return rt_err_set(-EINVAL, "ways is %u; it must be 1 (forward), 2 (backward) or 3", c.ways);
    return set(proxy_agent_of(ch), &c);
}
