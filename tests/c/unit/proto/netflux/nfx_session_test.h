/* nfx_session_test.h: one session in virtual time, for tests of it. */
#ifndef NFX_SESSION_TEST_H
#define NFX_SESSION_TEST_H

#include "proto/netflux/nfx_session.h"

#include "base/rt_err.h"
#include "rt_test.h"

#define US RT_NS_PER_US
#define MS RT_NS_PER_MS

static nfx_session_t s;
static nfx_stats_t stats;
static nfx_out_t out;
static nfx_frame_t frame;
static nfx_event_t event;

static inline uint64_t count(nfx_counter_id_t id)
{
    return rt_load_relaxed(&stats.counters[id]);
}

static inline uint64_t gauge(nfx_gauge_id_t id)
{
    return rt_load_relaxed(&stats.gauges[id]);
}

static inline uint64_t samples(nfx_hist_id_t id)
{
    return rt_load_relaxed(&stats.hists[id].count);
}

static inline double mean_ns(nfx_hist_id_t id)
{
    return (double)rt_load_relaxed(&stats.hists[id].sum_ns) / (double)samples(id);
}

/* 1 ms cycle, 30 ms watchdog, 4 bytes of payload from the partner; then what change says. */
static inline void begin_with(const nfx_config_t *config)
{
    memset(&stats, 0, sizeof stats);
    CHECK_EQ(nfx_session_init(&s, config, &stats), 0);
}

static const nfx_config_t USUAL = {.rx_payload_bytes = 4, .cycle_ns = MS, .watch_ns = 30 * MS};

static inline void begin(void)
{
    begin_with(&USUAL);
}

static inline nfx_verdict_t receive_at(unsigned number, unsigned feedback, int64_t at_ns)
{
    const uint8_t data[6] = {(uint8_t)number, (uint8_t)feedback, 'd', 'a', 't', 'a'};
    return nfx_session_receive(&s, data, sizeof data, at_ns, at_ns, &frame);
}

static inline bool send_at(int64_t now_ns)
{
    if (nfx_session_emit(&s, &out, now_ns) == 0)
        return false;
    nfx_session_sent(&s, now_ns);
    return true;
}

static inline bool next_is(nfx_event_kind_t kind, int64_t at_ns)
{
    return CHECK_EQ(nfx_session_next_event(&s, &event), 1) && CHECK_EQ(event.kind, kind) &&
           CHECK_EQ(event.at_ns, at_ns);
}

static inline bool no_event(void)
{
    return nfx_session_next_event(&s, &event) == 0;
}

#endif
