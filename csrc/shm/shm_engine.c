#include "shm/shm_engine.h"

#include "base/rt_err.h"
#include "shm/cyclic_shm.h"
#include "shm/mux_layout.h"
#include "shm/netflux_shm.h"
#include "shm/proxy_shm.h"
#include "shm/rtp_shm.h"
#include "shm/udt_shm.h"

#include <errno.h>
#include <string.h>

int shm_engine_has_addresses(const shm_config_t *c)
{
    return strncmp(c->engine, SHM_LOCAL_ENGINE, sizeof c->engine) != 0;
}

bool shm_engine_grows(const shm_config_t *c)
{
    shm_udt_config_t own;
    if (strncmp(c->engine, SHM_UDT_ENGINE, sizeof c->engine) != 0)
        return false;
    memcpy(&own, c->engine_config, sizeof own);
    return own.accepts != 0;
}

static uint64_t mux_part(const shm_config_t *c)
{
    mux_config_t own;
    memcpy(&own, c->engine_config, sizeof own);
    return own.ports <= MUX_MAX_PORTS ? mux_bytes(own.ports) : UINT64_MAX;
}

static uint64_t netflux_part(const shm_config_t *c)
{
    shm_netflux_config_t own;
    memcpy(&own, c->engine_config, sizeof own);
    if (own.tx_payload_bytes > SHM_NETFLUX_MAX_PAYLOAD ||
        own.rx_payload_bytes > SHM_NETFLUX_MAX_PAYLOAD)
        return UINT64_MAX;
    return shm_netflux_bytes(c->producers);
}

static uint64_t rtp_part(const shm_config_t *c)
{
    (void)c;
    return sizeof(shm_rtp_state_t);
}

static uint64_t udt_part(const shm_config_t *c)
{
    (void)c;
    return sizeof(shm_udt_state_t);
}

static uint64_t udt_port_part(const shm_config_t *c)
{
    (void)c;
    return sizeof(shm_udt_port_state_t);
}

static uint64_t proxy_part(const shm_config_t *c)
{
    (void)c;
    return sizeof(shm_proxy_state_t);
}

static uint64_t cyclic_part(const shm_config_t *c)
{
    shm_cyclic_config_t own;
    memcpy(&own, c->engine_config, sizeof own);
    return own.payload_bytes <= SHM_MAX_PAYLOAD ? shm_cyclic_bytes(c->producers, own.payload_bytes)
                                                : UINT64_MAX;
}

typedef struct engine_row {
    const char *name;
    uint64_t (*part_bytes)(const shm_config_t *c);
    uint32_t record_bytes; /* shortest useful max_payload: its head
                              and the least that must follow */
} engine_row_t;

static const engine_row_t ENGINES[] = {
    {SHM_CYCLIC_ENGINE, cyclic_part, 0},
    {MUX_ENGINE, mux_part, sizeof(mux_head_t)},
    {SHM_NETFLUX_ENGINE, netflux_part, sizeof(shm_netflux_rx_t)},
    {SHM_PROXY_ENGINE, proxy_part, 0},
    {SHM_RTP_ENGINE, rtp_part, sizeof(shm_rtp_tx_t)},
    {SHM_UDT_ENGINE, udt_part, sizeof(shm_udt_tx_t) + 1}, /* or a stream would never end */
    {SHM_UDT_PORT_ENGINE, udt_port_part, 0},
};

static int check_row(const engine_row_t *row, const shm_config_t *c)
{
    uint64_t needed = row->part_bytes(c);
    if (needed <= c->engine_bytes && c->max_payload_bytes >= row->record_bytes)
        return 0;
    return rt_err_set(-EINVAL,
                      "engine %s needs %llu bytes of shared memory and a max_payload of %u, the "
                      "channel has %llu and %u: open it with the sizes that the engine needs",
                      row->name, (unsigned long long)needed, row->record_bytes,
                      (unsigned long long)c->engine_bytes, c->max_payload_bytes);
}

int shm_engine_check(const shm_config_t *c)
{
    for (size_t i = 0; i < sizeof ENGINES / sizeof *ENGINES; i++)
        if (strncmp(c->engine, ENGINES[i].name, sizeof c->engine) == 0)
            return check_row(&ENGINES[i], c);
    return 0;
}
