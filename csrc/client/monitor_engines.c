/* The words of the engines' own parts: one table row per engine. */
#include "client/monitor.h"

#include "client/engine_stats.h"
#include "shm/mux_layout.h"

#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* --- rtp -------------------------------------------------------------------------------------- */

static const monitor_word_t rtp_words[] = {SHM_RTP_COUNTERS(MONITOR_COUNTER)
                                               SHM_RTP_GAUGES(MONITOR_GAUGE)};

static uint64_t rtp_bytes(const shm_config_t *c)
{
    (void)c;
    return sizeof(shm_rtp_state_t);
}

static void rtp_read(const shm_segment_t *s, int64_t *words)
{
    rtp_read_stats((const shm_rtp_state_t *)(const void *)s->engine, (uint64_t *)words,
                   words + SHM_RTP_COUNTER_TOTAL);
}

/* --- netflux ---------------------------------------------------------------------------------- */

static const monitor_word_t netflux_words[] = {
    MONITOR_NOW(sending, flag, "the link sends") MONITOR_NOW(
        failsafe, flag, "fail-safe values were given") MONITOR_NOW(cycle_ns, ns,
                                                                   "time between two sends of ours")
        MONITOR_GAUGE(watch_ns, ns, 0, "silence after which the watchdog expires") MONITOR_GAUGE(
            hear_ns, ns, 0, "time after which the partner counts as not hearing us")
            MONITOR_GAUGE(stale_ns, ns, 0, "age at which the values to send are stale")
                MONITOR_COUNTER(published, times, "times received values were published to readers")
                    NFX_COUNTERS(MONITOR_COUNTER) NFX_GAUGES(MONITOR_GAUGE)};
#define NETFLUX_OWN 7u
static const monitor_word_t netflux_hists[] = {NFX_HISTOGRAMS(MONITOR_HIST)};

static uint64_t netflux_bytes(const shm_config_t *c)
{
    return shm_netflux_bytes(c->producers);
}

static void netflux_read(const shm_segment_t *s, int64_t *words)
{
    shm_netflux_config_t config;
    memcpy(&config, s->config.engine_config, sizeof config);
    shm_netflux_state_t state = {.settings = config.settings};
    words[0] = 1;
    if (shm_netflux_state_get(s->engine, &state) == 1)
        words[0] = state.sending != 0;
    words[1] = state.failsafe != 0;
    words[2] = state.settings.cycle_ns;
    words[3] = state.settings.watch_ns;
    words[4] = state.settings.hear_ns;
    words[5] = state.settings.stale_ns;
    words[6] = (int64_t)netflux_published(s->engine);
    uint64_t *counters = (uint64_t *)words + NETFLUX_OWN;
    netflux_read_stats(s->engine, counters, counters + NFX_COUNTER_TOTAL);
}

static const rt_hist_t *netflux_hist(const shm_segment_t *s, uint32_t i)
{
    return &((const nfx_stats_t *)(const void *)shm_netflux_stats(s->engine))->hists[i];
}

/* --- cyclic ----------------------------------------------------------------------------------- */

static const monitor_word_t cyclic_words[] = {
    MONITOR_NOW(period_ns, ns, "time between two cycles")
        MONITOR_GAUGE(stale_after_ns, ns, 0, "age at which the payload is stale")
            SHM_CYCLIC_COUNTERS(MONITOR_COUNTER) SHM_CYCLIC_GAUGES(MONITOR_GAUGE)};
#define CYCLIC_OWN 2u

static shm_cyclic_config_t cyclic_config(const shm_config_t *c)
{
    shm_cyclic_config_t own;
    memcpy(&own, c->engine_config, sizeof own);
    return own;
}

static uint64_t cyclic_bytes(const shm_config_t *c)
{
    uint32_t payload_bytes = cyclic_config(c).payload_bytes;
    return payload_bytes <= SHM_MAX_PAYLOAD ? shm_cyclic_bytes(c->producers, payload_bytes)
                                            : UINT64_MAX;
}

static void cyclic_read(const shm_segment_t *s, int64_t *words)
{
    words[0] = cyclic_config(&s->config).period_ns;
    words[1] = cyclic_config(&s->config).stale_after_ns;
    uint64_t *counters = (uint64_t *)words + CYCLIC_OWN;
    cyclic_read_stats(s->engine, counters, counters + SHM_CYCLIC_COUNTER_TOTAL);
}

/* --- udt -------------------------------------------------------------------------------------- */

static const monitor_word_t udt_words[] = {
    MONITOR_NOW(state, , "state of the connection")
        MONITOR_NOW(error, , "protocol error that ended the connection; 0: none")
            MONITOR_NOW(socket_id, id, "our socket id")
                MONITOR_NOW(peer_id, id, "socket id of the peer") MONITOR_NOW(
                    peer_errors, times, "times the peer reported that it could not store the data")
                    MONITOR_NOW(unsent_bytes, bytes,
                                "bytes in the worker's send buffer, unacknowledged ones included")
                        MONITOR_NOW(unread_bytes, bytes,
                                    "bytes in order in the worker's receive buffer")
                            UDT_COUNTERS(MONITOR_COUNTER) UDT_GAUGES(MONITOR_GAUGE)};
#define UDT_OWN 7u

static uint64_t udt_bytes(const shm_config_t *c)
{
    (void)c;
    return sizeof(shm_udt_state_t);
}

static void udt_read(const shm_segment_t *s, int64_t *words)
{
    udt_facts_t facts;
    udt_read_facts(s, &facts);
    words[0] = facts.state;
    words[1] = facts.error;
    words[2] = facts.socket_id;
    words[3] = facts.peer_id;
    words[4] = udt_read_peer_errors(s);
    words[5] = (int64_t)facts.unsent_bytes;
    words[6] = (int64_t)facts.unread_bytes;
    uint64_t *counters = (uint64_t *)words + UDT_OWN;
    udt_read_stats(s, counters, counters + UDT_COUNTER_TOTAL);
}

/* --- udt-port --------------------------------------------------------------------------------- */

static const monitor_word_t port_words[] = {
    MONITOR_NOW(listens, , "1: listens for streams, 2: for messages, 0: does not listen")
        MONITOR_NOW(backlog, requests, "requests that may wait")
            MONITOR_NOW(sockets, connections, "connections on the port")
                MONITOR_NOW(waiting, requests, "requests that wait")
                    SHM_UDT_PORT_COUNTERS(MONITOR_COUNTER)};
#define PORT_OWN 4u

static uint64_t port_bytes(const shm_config_t *c)
{
    (void)c;
    return sizeof(shm_udt_port_state_t);
}

static void port_read(const shm_segment_t *s, int64_t *words)
{
    const shm_udt_port_state_t *state = (const shm_udt_port_state_t *)(const void *)s->engine;
    words[0] = rt_load_relaxed(&state->listens);
    words[1] = rt_load_relaxed(&state->backlog);
    words[2] = rt_load_relaxed(&state->sockets);
    words[3] = rt_load_relaxed(&state->waiting);
    udt_read_port(s, (uint64_t *)words + PORT_OWN);
}

/* --- proxy ------------------------------------------------------------------------------------ */

static const monitor_word_t proxy_words[] = {SHM_PROXY_COUNTERS(MONITOR_COUNTER)
                                                 SHM_PROXY_GAUGES(MONITOR_GAUGE)};

static uint64_t proxy_bytes(const shm_config_t *c)
{
    (void)c;
    return sizeof(shm_proxy_state_t);
}

static void proxy_read(const shm_segment_t *s, int64_t *words)
{
    proxy_read_stats(s, (uint64_t *)words, (uint64_t *)words + SHM_PROXY_COUNTER_TOTAL);
}

/* --- mux -------------------------------------------------------------------------------------- */

static const monitor_word_t mux_words[] = {MONITOR_NOW(open, ports, "ports in use") MONITOR_NOW(
    lost, ports, "ports in use that could not be bound again after a worker's death")};

static uint64_t mux_part_bytes(const shm_config_t *c)
{
    (void)c;
    return sizeof(mux_facts_t);
}

static void mux_read(const shm_segment_t *s, int64_t *words)
{
    const mux_facts_t *facts = (const mux_facts_t *)(const void *)s->engine;
    words[0] = rt_load_relaxed(&facts->open);
    words[1] = rt_load_relaxed(&facts->lost);
}

/* --- all of them ------------------------------------------------------------------------------ */

#define WORDS(table)                 \
    {                                \
        table, COUNT(table), NULL, 0 \
    }

static const monitor_engine_t engines[] = {
    {SHM_RTP_ENGINE, WORDS(rtp_words), 0, SHM_RTP_COUNTER_TOTAL, rtp_bytes, rtp_read, NULL},
    {SHM_NETFLUX_ENGINE,
     {netflux_words, COUNT(netflux_words), netflux_hists, NFX_HIST_TOTAL},
     NETFLUX_OWN,
     NFX_COUNTER_TOTAL,
     netflux_bytes,
     netflux_read,
     netflux_hist},
    {SHM_CYCLIC_ENGINE, WORDS(cyclic_words), CYCLIC_OWN, SHM_CYCLIC_COUNTER_TOTAL, cyclic_bytes,
     cyclic_read, NULL},
    {SHM_UDT_ENGINE, WORDS(udt_words), UDT_OWN, UDT_COUNTER_TOTAL, udt_bytes, udt_read, NULL},
    {SHM_UDT_PORT_ENGINE, WORDS(port_words), PORT_OWN, SHM_UDT_PORT_COUNTER_TOTAL, port_bytes,
     port_read, NULL},
    {SHM_PROXY_ENGINE, WORDS(proxy_words), 0, SHM_PROXY_COUNTER_TOTAL, proxy_bytes, proxy_read, NULL},
    {MUX_ENGINE, WORDS(mux_words), 0, 0, mux_part_bytes, mux_read, NULL},
};

_Static_assert(NFX_HIST_TOTAL <= MONITOR_ENGINE_HISTS, "every engine's histograms have room");

static uint64_t no_bytes(const shm_config_t *c)
{
    (void)c;
    return 0;
}

static void read_nothing(const shm_segment_t *s, int64_t *words)
{
    (void)s;
    (void)words;
}

static const monitor_engine_t silent = {.name = "", .bytes = no_bytes, .read = read_nothing};

const monitor_engine_t *monitor_engine_of(const char *name)
{
    for (size_t i = 0; i < COUNT(engines); i++)
        if (strcmp(engines[i].name, name) == 0)
            return &engines[i];
    return &silent;
}

void monitor_engine_names(const char *engine, monitor_names_t *out)
{
    *out = monitor_engine_of(engine)->names;
}
