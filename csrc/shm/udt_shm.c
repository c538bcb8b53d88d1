#include "shm/udt_shm.h"

#include "base/rt_err.h"
#include "shm/layout_assert.h"

#include <errno.h>
#include <string.h>

_Static_assert(sizeof(shm_udt_port_config_t) <= SHM_ENGINE_CONFIG_BYTES,
               "fits the channel's configuration");
_Static_assert(sizeof(shm_udt_config_t) <= SHM_ENGINE_CONFIG_BYTES,
               "fits the channel's configuration");
_Static_assert(SHM_UDT_PORT_COUNTER_TOTAL <= SHM_UDT_PORT_COUNTER_SPACE,
               "not enough room for the counters");
_Static_assert(sizeof(shm_udt_state_t) <= SHM_PAGE_BYTES, "the engine part is one page");

SIZE(shm_udt_port_config_t, 32);
AT(shm_udt_port_config_t, max_bytes, 24);
SIZE(shm_udt_request_t, 16);
SIZE(shm_udt_port_command_t, 16);
SIZE(shm_udt_port_state_t, 208);
AT(shm_udt_port_state_t, counters, 16);

AT(shm_udt_config_t, port, 8);
AT(shm_udt_config_t, mode, 73);
AT(shm_udt_config_t, socket_id, 76);
AT(shm_udt_config_t, max_bandwidth, 96);
AT(shm_udt_config_t, burst_ns, 112);
SIZE(shm_udt_config_t, 120);

SIZE(shm_udt_tx_t, 8);
SIZE(shm_udt_command_t, 16);
AT(shm_udt_state_t, peer_errors, 20);
AT(shm_udt_state_t, unsent_bytes, 24);
AT(shm_udt_state_t, peer, 40);
AT(shm_udt_state_t, local, 64);
AT(shm_udt_state_t, stats, 128);

/* 0 means the default. */
static int check_or_default(const char *what, int64_t value, int64_t low, int64_t high)
{
    return value == 0 ? 0 : shm_check_range(what, value, low, high);
}

int shm_udt_port_config_check(const shm_udt_port_config_t *c)
{
    int rc = shm_check_config_bytes("UDT", c->config_bytes, sizeof *c);
    rc = rc ? rc : shm_check_range("max_sockets", c->max_sockets, 1, SHM_UDT_MAX_SOCKETS);
    rc = rc ? rc : shm_check_range("listens", c->listens, 0, SHM_UDT_MESSAGES);
    return rc ? rc : shm_check_range("backlog", c->backlog, 1, SHM_UDT_MAX_BACKLOG);
}

int shm_udt_config_check(const shm_udt_config_t *c)
{
    int rc = shm_check_config_bytes("UDT", c->config_bytes, sizeof *c);
    if (rc == 0 && memchr(c->port, '\0', sizeof c->port) == NULL)
        rc = rt_err_set(-EINVAL, "the port's name is not terminated: it has at most %u bytes",
                        SHM_NAME_MAX);
    rc = rc ? rc : shm_name_check("name of the port's channel", c->port);
    rc = rc ? rc : shm_check_range("mode", c->mode, SHM_UDT_STREAM, SHM_UDT_MESSAGES);
    rc = rc ? rc : shm_check_range("rendezvous", c->rendezvous, 0, 1);
    rc = rc ? rc : shm_check_range("cc", c->cc, SHM_UDT_CC_DAIMD, SHM_UDT_CC_BBR);
    rc = rc ? rc : shm_check_range("socket_id", c->socket_id, 0, INT32_MAX);
    rc = rc ? rc : check_or_default("mss_bytes", c->mss_bytes, 76, 65535);
    rc = rc ? rc : check_or_default("window_packets", c->window_packets, 32, UINT32_C(1) << 20);
    rc = rc ? rc : check_or_default("send_bytes", c->send_bytes, 65536, INT64_C(1) << 31);
    rc = rc ? rc : check_or_default("receive_packets", c->receive_packets, 32, UINT32_C(1) << 20);
    rc =
        rc ? rc : check_or_default("max_bandwidth", (int64_t)c->max_bandwidth, 1, INT64_C(1) << 40);
    rc = rc ? rc : check_or_default("connect_ns", c->connect_ns, 1, INT64_MAX / 4);
    if (rc == 0 && (c->burst_ns < -1 || c->burst_ns > RT_NS_PER_S))
        rc = rt_err_set(-EINVAL, "burst_ns is %lld; it must be between 0 and a second, or -1",
                        (long long)c->burst_ns);
    if (rc == 0 && c->cc == SHM_UDT_CC_FIXED && c->max_bandwidth == 0)
        rc = rt_err_set(-EINVAL, "a fixed rate needs max_bandwidth: set it in bytes per second");
    if (rc == 0 && c->rendezvous && c->accepts != 0)
        rc = rt_err_set(-EINVAL, "accepts is %u; it must be 0 in a rendezvous", c->accepts);
    return rc;
}
