/* request.c: checks and carries out the requests to a link, and handles the death of a client. */
#include "worker/agents/common/socket.h"
#include "worker/agents/netflux/netflux.h"

#include "base/rt_err.h"

#include <errno.h>
#include <string.h>

_Static_assert(SHM_NETFLUX_CONTINUE == (int)NFX_STALE_CONTINUE &&
                   SHM_NETFLUX_FAILSAFE == (int)NFX_STALE_FAILSAFE &&
                   SHM_NETFLUX_STOP == (int)NFX_STALE_STOP,
               "choices have the same numbers in shared memory and in the session");
_Static_assert(SHM_NETFLUX_MAX_PAYLOAD == NFX_MAX_PAYLOAD_BYTES, "the longest payload is the same");

nfx_config_t netflux_agent_session_config(const shm_netflux_config_t *config,
                                          const shm_netflux_settings_t *settings)
{
    return (nfx_config_t){
        .rx_payload_bytes = config->rx_payload_bytes,
        .cycle_ns = settings->cycle_ns,
        .watch_ns = settings->watch_ns,
        .hear_ns = settings->hear_ns,
        .stale_ns = settings->stale_ns,
        .on_stale = (nfx_on_stale_t)settings->on_stale,
        .keep_window = (settings->flags & SHM_NETFLUX_KEEP_WINDOW) != 0,
    };
}

static int set(wrk_channel_t *ch, const shm_netflux_settings_t *settings, int64_t now_mono_ns)
{
    netflux_agent_t *a = netflux_agent_of(ch);
    int rc = shm_netflux_settings_check(settings);
    if (rc < 0)
        return rc;
    nfx_config_t config = netflux_agent_session_config(&a->config, settings);
    netflux_agent_receive(
        ch, now_mono_ns); /* datagrams that came under the old settings are judged by them */
    netflux_agent_check_values(ch, now_mono_ns);
    rc = nfx_session_reconfigure(&a->session, &config, rt_mono_ns());
    if (rc < 0)
        return rc;
    bool other_cycle = settings->cycle_ns != a->state.settings.cycle_ns;
    a->state.settings = *settings;
    if (other_cycle && a->session.sending)
        a->state.origin_mono_ns = a->session.grid.due_ns;
    else if (other_cycle)
        a->state.origin_mono_ns = RT_NEVER_NS;
    shm_netflux_state_put(a->engine, &a->state);
    return 0;
}

/* --- aim ------------------------------------------------------------------------------------ */

void netflux_agent_set_remote(netflux_agent_t *a, const udp_addr_t *remote)
{
    a->remote = *remote;
    a->receiver.only_from = *remote;
}

int netflux_agent_aim(wrk_channel_t *ch, const shm_addr_t *remote)
{
    netflux_agent_t *a = netflux_agent_of(ch);
    udp_config_t config = agent_udp_config(ch, a->phc);
    agent_addr_in(&config.remote, remote);
    if (!udp_addr_is_set(&config.remote) || remote->port == 0)
        return rt_err_set(-EINVAL,
                          "remote has family %u and port %u: a link needs an address of family "
                          "4 or 6 and a port",
                          remote->family, remote->port);
    if (config.remote.sa.sa_family != a->udp.eff.local.sa.sa_family)
        return rt_err_set(-EINVAL,
                          "remote is IPv%u and the channel's socket is not: open a channel with a "
                          "local address of that family",
                          remote->family);
    int rc = udp_set_remote(&a->udp, &config);
    if (rc < 0)
        return rc;
    netflux_agent_set_remote(a, &config.remote);
    return 0;
}

/* The numbers of another partner are unrelated to this one's. */
static int aim(wrk_channel_t *ch, const shm_addr_t *remote, int64_t now_mono_ns)
{
    netflux_agent_t *a = netflux_agent_of(ch);
    netflux_agent_receive(ch, now_mono_ns);
    int rc = netflux_agent_aim(ch, remote);
    if (rc < 0)
        return rc;
    if (memcmp(&a->state.remote, remote, sizeof *remote) != 0) {
        nfx_session_stop_receiving(&a->session);
        netflux_agent_set_local(a, NULL);
    }
    a->state.remote = *remote;
    shm_netflux_state_put(a->engine, &a->state);
    return 0;
}

/* --- send, fail-safe, feedback ---------------------------------------------------------------- */

static int send_or_stop(wrk_channel_t *ch, uint32_t on)
{
    netflux_agent_t *a = netflux_agent_of(ch);
    if (on > 1)
        return rt_err_set(-EINVAL, "on is %u; 1 sends, 0 stops", on);
    if (on == 0)
        nfx_session_stop_sending(&a->session);
    a->state.sending = on;
    shm_netflux_state_put(a->engine, &a->state);
    return 0;
}

static int set_failsafe(wrk_channel_t *ch, const uint8_t *values, size_t bytes)
{
    netflux_agent_t *a = netflux_agent_of(ch);
    if (bytes != a->config.tx_payload_bytes)
        return rt_err_set(-EINVAL, "the fail-safe values have %zu bytes, this link sends %u", bytes,
                          a->config.tx_payload_bytes);
    unsigned half = a->state.failsafe == 1; /* the one that is not in use */
    memcpy(shm_netflux_failsafe(a->engine, half), values, bytes);
    memcpy(a->failsafe + NFX_HEADER_BYTES, values, bytes);
    a->state.failsafe = half + 1;
    shm_netflux_state_put(a->engine, &a->state);
    return 0;
}

int netflux_agent_feedback_check(uint32_t feedback)
{
    if (feedback == 0 || (feedback & ~0xffu) == SHM_NETFLUX_GIVEN)
        return 0;
    return rt_err_set(-EINVAL, "feedback is 0x%x; it is 0, or 0x%x and a number of 0 to 255",
                      feedback, SHM_NETFLUX_GIVEN);
}

static int set_feedback(wrk_channel_t *ch, uint32_t feedback)
{
    netflux_agent_t *a = netflux_agent_of(ch);
    int rc = netflux_agent_feedback_check(feedback);
    if (rc < 0)
        return rc;
    a->state.feedback = feedback;
    shm_netflux_state_put(a->engine, &a->state);
    return 0;
}

static int run(wrk_channel_t *ch, const shm_netflux_request_t *r, const uint8_t *rest, size_t bytes,
               int64_t now_mono_ns)
{
    if (r->op != SHM_NETFLUX_SET_FAILSAFE && bytes != 0)
        return rt_err_set(-EINVAL, "%zu bytes follow netflux request %u, which has none", bytes,
                          r->op);
    switch (r->op) {
    case SHM_NETFLUX_SET:
        return set(ch, &r->settings, now_mono_ns);
    case SHM_NETFLUX_AIM:
        return aim(ch, &r->remote, now_mono_ns);
    case SHM_NETFLUX_SEND:
        return send_or_stop(ch, r->on);
    case SHM_NETFLUX_SET_FAILSAFE:
        return set_failsafe(ch, rest, bytes);
    case SHM_NETFLUX_FEEDBACK:
        return set_feedback(ch, r->on);
    default:
        return rt_err_set(-EINVAL, "netflux request %u is unknown", r->op);
    }
}

int netflux_agent_request(wrk_channel_t *ch, const uint8_t *body, size_t bytes, uint8_t *reply,
                          uint32_t *reply_bytes)
{
    (void)reply;
    (void)reply_bytes;
    shm_netflux_request_t request;
    if (bytes < sizeof request)
        return rt_err_set(-EPROTO, "the netflux request has %zu bytes: it needs at least %zu",
                          bytes, sizeof request);
    memcpy(&request, body, sizeof request);
    int64_t now = rt_mono_ns();
    int rc = run(ch, &request, body + sizeof request, bytes - sizeof request, now);
    netflux_agent_resume(ch, now);
    netflux_agent_put_events(ch);
    netflux_agent_publish(ch);
    return rc;
}

/* --- death ---------------------------------------------------------------------------------- */

void netflux_agent_producer_gone(wrk_channel_t *ch, uint32_t slot, int64_t now_mono_ns)
{
    netflux_agent_t *a = netflux_agent_of(ch);
    netflux_agent_check_values(ch, now_mono_ns); /* its last values */
    if (a->ticket == 0 || a->writer != slot)
        return;
    nfx_session_owner_died(&a->session, now_mono_ns);
    netflux_agent_resume(ch, now_mono_ns);
    netflux_agent_put_events(ch);
    netflux_agent_publish(ch);
}
