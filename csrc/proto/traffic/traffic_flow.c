#include "proto/traffic/traffic_flow.h"

#include "base/rt_err.h"
#include "base/rt_math.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>

static uint64_t highest_upps(const traffic_rate_t *rate)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < rate->phase_count; i++) {
        most = rate->phases[i].from_upps > most ? rate->phases[i].from_upps : most;
        most = rate->phases[i].to_upps > most ? rate->phases[i].to_upps : most;
    }
    return most;
}

static int check_burst(const traffic_flow_config_t *c)
{
    if (c->burst < 1 || c->burst > TRAFFIC_MAX_BURST)
        return rt_err_set(-EINVAL, "burst is %" PRIu32 " packets: it must be 1 to %u", c->burst,
                          TRAFFIC_MAX_BURST);
    if (c->spacing_ns < 0 || c->spacing_ns > TRAFFIC_MAX_SPAN_NS / TRAFFIC_MAX_BURST)
        return rt_err_set(-EINVAL,
                          "spacing of the packets of a burst is %" PRId64 " ns: it must be "
                          "0 to %" PRId64,
                          c->spacing_ns, TRAFFIC_MAX_SPAN_NS / TRAFFIC_MAX_BURST);
    uint64_t most_upps = highest_upps(&c->rate);
    traffic_area_t needed = (traffic_area_t)c->burst * (uint64_t)c->spacing_ns * 2 * most_upps;
    if (needed > (traffic_area_t)c->burst * TRAFFIC_PACKET)
        return rt_err_set(
            -EINVAL,
            "spacing is %" PRId64 " ns in bursts of %" PRIu32 ", which do not end "
            "before the next one: it must be at most %.9g ns at %.9g packets a second",
            c->spacing_ns, c->burst, 1e15 / (double)most_upps, (double)most_upps / 1e6);
    return 0;
}

static int check_time(int64_t ns, const char *what)
{
    if (ns < 0 || ns > TRAFFIC_MAX_SPAN_NS)
        return rt_err_set(-EINVAL, "%s is %.9g s: it must be 0 to 365 days", what,
                          (double)ns / 1e9);
    return 0;
}

int traffic_flow_check(const traffic_flow_config_t *config)
{
    int rc = traffic_rate_check(&config->rate);
    if (rc == 0)
        rc = traffic_sizes_check(&config->sizes);
    if (rc == 0)
        rc = check_burst(config);
    if (rc == 0)
        rc = check_time(config->begin_ns, "the begin of a flow");
    if (rc == 0)
        rc = check_time(config->duration_ns, "the duration of a flow");
    if (rc == 0 && (config->lane < DUE_LANE_IPV4 || config->lane > DUE_LANES))
        rc = rt_err_set(-EINVAL, "lane %" PRIu32 " of a flow: it must be 1 to %u", config->lane,
                        DUE_LANES);
    return rc;
}

/* --- one packet after the other -----------------------------------------------------------------
 */

/* Adds the gap between two bursts to the area. */
static void add_gap(traffic_flow_t *flow)
{
    double packet = (double)TRAFFIC_PACKET * flow->config.burst;
    if (!flow->config.poisson)
        flow->walk.area += (traffic_area_t)TRAFFIC_PACKET * flow->config.burst;
    else
        flow->walk.area += (traffic_area_t)(-log1p(-rt_random_unit(&flow->gap_chance)) * packet);
}

static void set_next(traffic_flow_t *flow, int64_t after_begin_ns)
{
    const traffic_flow_config_t *c = &flow->config;
    bool over = after_begin_ns == RT_NEVER_NS || (c->count > 0 && flow->planned == c->count) ||
                (c->duration_ns > 0 && after_begin_ns >= c->duration_ns);
    flow->next_ns = over ? RT_NEVER_NS : c->begin_ns + after_begin_ns;
    if (!over)
        flow->next_bytes = traffic_size_next(&flow->cycle, &c->sizes, &flow->size_chance);
}

static void next_burst(traffic_flow_t *flow)
{
    int64_t last_ns = flow->event_ns + flow->in_burst * flow->config.spacing_ns;
    int64_t event_ns = traffic_walk(&flow->walk, &flow->config.rate);
    flow->in_burst = 0;
    if (event_ns != RT_NEVER_NS) /* bursts of a Poisson process wait for each other */
        flow->event_ns = event_ns = rt_max64(event_ns, last_ns);
    set_next(flow, event_ns);
}

void traffic_flow_init(traffic_flow_t *flow)
{
    uint64_t seed = flow->config.seed;
    rt_random_init(&flow->gap_chance, rt_random_split(&seed));
    rt_random_init(&flow->size_chance, rt_random_split(&seed));
    rt_random_init(&flow->padding_chance, rt_random_split(&seed));
    traffic_walk_init(&flow->walk, &flow->config.rate);
    flow->cycle = (traffic_cycle_t){0};
    flow->event_ns = 0;
    flow->in_burst = 0;
    flow->planned = flow->planned_bytes = 0;
    if (flow->config.poisson)
        add_gap(flow);
    next_burst(flow);
}

void traffic_flow_next(traffic_flow_t *flow)
{
    const traffic_flow_config_t *c = &flow->config;
    flow->planned++;
    flow->planned_bytes += flow->next_bytes;
    flow->in_burst++;
    if (flow->in_burst < c->burst) {
        set_next(flow, flow->event_ns + flow->in_burst * c->spacing_ns);
        return;
    }
    add_gap(flow);
    next_burst(flow);
}
