/* The words of the engines' own parts: one table row per engine. */
#include "python/rtstat/look.h"

#include "proto/netflux/nfx_stats.h"
#include "proto/udt/udt_stats.h"
#include "shm/mux_layout.h"
#include "shm/netflux_shm.h"
#include "shm/rtp_shm.h"
#include "shm/udt_shm.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static void read_words(const rt_a64_t *from, unsigned count, int64_t *words)
{
    for (unsigned i = 0; i < count; i++)
        words[i] = (int64_t)rt_load_relaxed(&from[i]);
}

/* --- rtp -------------------------------------------------------------------------------------- */

static const look_word_t rtp_words[] = {SHM_RTP_COUNTERS(LOOK_COUNTER)
                                          SHM_RTP_GAUGES(LOOK_GAUGE)};

static uint64_t rtp_bytes(const shm_config_t *c)
{
    (void)c;
    return sizeof(shm_rtp_state_t);
}

static void rtp_read(const shm_segment_t *s, int64_t *words)
{
    const shm_rtp_state_t *state = (const shm_rtp_state_t *)(const void *)s->engine;
    read_words(state->counters, SHM_RTP_COUNTER_TOTAL, words);
    for (unsigned i = 0; i < SHM_RTP_GAUGE_TOTAL; i++)
        words[SHM_RTP_COUNTER_TOTAL + i] = rt_load_relaxed(&state->gauges[i]);
}

static int rtp_names(PyObject *list)
{
    return look_add_words(list, rtp_words, COUNT(rtp_words));
}

/* --- netflux ---------------------------------------------------------------------------------- */

static const look_word_t netflux_words[] = {
    LOOK_NOW(sending, flag, "the link sends")
    LOOK_NOW(failsafe, flag, "fail-safe values were given")
    LOOK_NOW(cycle_ns, ns, "time between two sends of ours")
    LOOK_GAUGE(watch_ns, ns, 0, "silence after which the watchdog expires")
    LOOK_GAUGE(hear_ns, ns, 0, "time after which the partner counts as not hearing us")
    LOOK_GAUGE(stale_ns, ns, 0, "age at which the values to send are stale")
    LOOK_COUNTER(published, times, "times received values were published to readers")
    NFX_COUNTERS(LOOK_COUNTER) NFX_GAUGES(LOOK_GAUGE)};
#define NETFLUX_OWN 7u
static const char *const netflux_hists[][2] = {
#define HIST(id, text) {#id, text},
    NFX_HISTOGRAMS(HIST)
#undef HIST
};

static const nfx_stats_t *netflux_stats(const shm_segment_t *s)
{
    return (const nfx_stats_t *)(const void *)shm_netflux_stats(s->engine);
}

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
    words[6] = (int64_t)rt_load_relaxed(&shm_netflux_head(s->engine)->published);
    const nfx_stats_t *stats = netflux_stats(s);
    read_words(stats->counters, NFX_COUNTER_TOTAL, words + NETFLUX_OWN);
    read_words(stats->gauges, NFX_GAUGE_TOTAL, words + NETFLUX_OWN + NFX_COUNTER_TOTAL);
}

static const rt_hist_t *netflux_hist(const shm_segment_t *s, uint32_t i)
{
    return &netflux_stats(s)->hists[i];
}

static int netflux_names(PyObject *list)
{
    if (look_add_words(list, netflux_words, COUNT(netflux_words)) < 0)
        return -1;
    for (unsigned i = 0; i < NFX_HIST_TOTAL; i++)
        if (look_add_hist(list, netflux_hists[i][0], netflux_hists[i][1]) < 0)
            return -1;
    return 0;
}

/* --- udt -------------------------------------------------------------------------------------- */

static const look_word_t udt_words[] = {
    LOOK_NOW(state, , "state of the connection")
    LOOK_NOW(error, , "protocol error that ended the connection; 0: none")
    LOOK_NOW(socket_id, id, "our socket id")
    LOOK_NOW(peer_id, id, "socket id of the peer")
    LOOK_NOW(peer_errors, times, "times the peer reported that it could not store the data")
    LOOK_NOW(unsent_bytes, bytes, "bytes in the worker's send buffer, unacknowledged ones included")
    LOOK_NOW(unread_bytes, bytes, "bytes in order in the worker's receive buffer")
    UDT_COUNTERS(LOOK_COUNTER) UDT_GAUGES(LOOK_GAUGE)};
#define UDT_OWN 7u

static uint64_t udt_bytes(const shm_config_t *c)
{
    (void)c;
    return sizeof(shm_udt_state_t);
}

static void udt_read(const shm_segment_t *s, int64_t *words)
{
    const shm_udt_state_t *state = (const shm_udt_state_t *)(const void *)s->engine;
    words[0] = rt_load_relaxed(&state->state);
    words[1] = rt_load_relaxed(&state->error);
    words[2] = rt_load_relaxed(&state->socket_id);
    words[3] = rt_load_relaxed(&state->peer_id);
    words[4] = rt_load_relaxed(&state->peer_errors);
    words[5] = (int64_t)rt_load_relaxed(&state->unsent_bytes);
    words[6] = (int64_t)rt_load_relaxed(&state->unread_bytes);
    const udt_stats_t *stats = (const udt_stats_t *)(const void *)state->stats;
    read_words(stats->counters, UDT_COUNTER_TOTAL, words + UDT_OWN);
    read_words(stats->gauges, UDT_GAUGE_TOTAL, words + UDT_OWN + UDT_COUNTER_TOTAL);
}

static int udt_names(PyObject *list)
{
    return look_add_words(list, udt_words, COUNT(udt_words));
}

/* --- udt-port --------------------------------------------------------------------------------- */

static const look_word_t port_words[] = {
    LOOK_NOW(listens, , "1: listens for streams, 2: for messages, 0: does not listen")
    LOOK_NOW(backlog, requests, "requests that may wait")
    LOOK_NOW(sockets, connections, "connections on the port")
    LOOK_NOW(waiting, requests, "requests that wait")
    SHM_UDT_PORT_COUNTERS(LOOK_COUNTER)};
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
    read_words(state->counters, SHM_UDT_PORT_COUNTER_TOTAL, words + PORT_OWN);
}

static int port_names(PyObject *list)
{
    return look_add_words(list, port_words, COUNT(port_words));
}

/* --- mux -------------------------------------------------------------------------------------- */

static const look_word_t mux_words[] = {
    LOOK_NOW(open, ports, "ports in use")
    LOOK_NOW(lost, ports, "ports in use that could not be bound again after a worker's death")
};

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

static int mux_names(PyObject *list)
{
    return look_add_words(list, mux_words, COUNT(mux_words));
}

/* --- all of them ------------------------------------------------------------------------------ */

#define NETFLUX_PLAIN COUNT(netflux_words)

static const look_engine_t engines[] = {
    {SHM_RTP_ENGINE, COUNT(rtp_words), 0, 0, SHM_RTP_COUNTER_TOTAL, rtp_bytes, rtp_read, NULL,
     rtp_names},
    {SHM_NETFLUX_ENGINE, NETFLUX_PLAIN + NFX_HIST_TOTAL *LOOK_HIST_WORD_TOTAL, NFX_HIST_TOTAL,
     NETFLUX_OWN, NFX_COUNTER_TOTAL, netflux_bytes, netflux_read, netflux_hist, netflux_names},
    {SHM_UDT_ENGINE, COUNT(udt_words), 0, UDT_OWN, UDT_COUNTER_TOTAL, udt_bytes, udt_read, NULL,
     udt_names},
    {SHM_UDT_PORT_ENGINE, COUNT(port_words), 0, PORT_OWN, SHM_UDT_PORT_COUNTER_TOTAL, port_bytes,
     port_read, NULL, port_names},
    {MUX_ENGINE, COUNT(mux_words), 0, 0, 0, mux_part_bytes, mux_read, NULL, mux_names},
};

_Static_assert(COUNT(rtp_words) <= LOOK_ENGINE_WORDS && COUNT(udt_words) <= LOOK_ENGINE_WORDS &&
                   NETFLUX_PLAIN + NFX_HIST_TOTAL * LOOK_HIST_WORD_TOTAL <= LOOK_ENGINE_WORDS,
               "every engine's words have room");
_Static_assert(NFX_HIST_TOTAL <= LOOK_ENGINE_HISTS, "every engine's histograms have room");

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

static const look_engine_t silent = {.name = "", .bytes = no_bytes, .read = read_nothing};

const look_engine_t *look_engine_of(const char *name)
{
    for (size_t i = 0; i < COUNT(engines); i++)
        if (strcmp(engines[i].name, name) == 0)
            return &engines[i];
    return &silent;
}

PyObject *look_engine_words(void)
{
    PyObject *all = PyDict_New();
    for (size_t i = 0; all && i < COUNT(engines); i++) {
        PyObject *list = PyList_New(0);
        if (list == NULL || engines[i].add_names(list) < 0 ||
            PyDict_SetItemString(all, engines[i].name, list) < 0)
            Py_CLEAR(all);
        Py_XDECREF(list);
    }
    return all;
}
