/* The session against a second one, written from its description as plainly as possible: it keeps
 * every send and its fate, every number as an int, and looks for what is due by comparing times.
 * Random partners (in step, losing, deaf, overtaken, restarted, hostile), stalls, failing sends,
 * writers that stop and die. Every verdict, header, counter, flag and deadline must be the same. */
#include "proto/netflux/nfx_session.h"

#include "rt_test.h"

#define US RT_NS_PER_US
#define NEVER RT_NEVER_NS

enum { MAX_SENDS = 40000, STEPS = 60000 };

typedef enum fate { IN_FLIGHT, ACKNOWLEDGED, PASSED_OVER, LOST } fate_t;

typedef struct model {
    nfx_config_t config;
    int64_t now;
    /* partner */
    int last; /* accepted last, -1: none */
    bool compare;
    int64_t last_arrival;
    int64_t alive_until;
    int64_t heard_until;
    bool alive;
    bool heard;
    int feedback; /* -1: the next is only remembered */
    /* our sends: number is index modulo 256, the first has index 1 */
    int sent;
    fate_t fate[MAX_SENDS + 1];
    int64_t sent_at[MAX_SENDS + 1];
    int64_t last_send; /* NEVER: none since the start */
    bool sending;
    int64_t due;
    bool fresh;
    int64_t written;
    int64_t fresh_until;
    uint64_t counters[NFX_COUNTER_TOTAL];
    uint64_t samples[NFX_HIST_TOTAL];
    uint64_t sums[NFX_HIST_TOTAL];
} model_t;

static model_t m;
static nfx_session_t s;
static nfx_stats_t stats;
static uint64_t seed;

static void sample(nfx_hist_id_t id, int64_t ns)
{
    m.samples[id]++;
    m.sums[id] += (uint64_t)ns;
}

static void model_config(const nfx_config_t *config)
{
    m.config = *config;
    if (config->hear_ns == 0 && config->watch_ns != 0)
        m.config.hear_ns =
            config->watch_ns < 3 * config->cycle_ns ? 3 * config->cycle_ns : config->watch_ns;
}

static void model_init(const nfx_config_t *config)
{
    memset(&m, 0, sizeof m);
    model_config(config);
    m.now = -1;
    m.last = -1;
    m.feedback = -1;
    m.alive_until = m.heard_until = m.fresh_until = NEVER;
    m.last_send = NEVER;
    m.fresh = true;
    m.written = INT64_MIN;
}

static void model_pass(int64_t to)
{
    if (m.alive_until <= to) {
        m.alive = false;
        m.alive_until = NEVER;
        m.counters[NFX_COUNT_timeouts]++;
        m.feedback = -1;
        if (!m.config.keep_window)
            m.compare = false;
    }
    if (m.heard_until <= to) {
        m.heard = false;
        m.heard_until = NEVER;
        m.counters[NFX_COUNT_unheard]++;
    }
    if (m.fresh_until <= to) {
        m.fresh = false;
        m.fresh_until = NEVER;
        m.counters[NFX_COUNT_stale]++;
    }
}

static void model_feedback(int feedback, int64_t arrival)
{
    int before = m.feedback;
    m.feedback = feedback;
    if (before < 0 || before == feedback)
        return;
    for (int i = m.sent; i > 0 && i > m.sent - 256; i--) {
        if (i % 256 != feedback)
            continue;
        if (m.fate[i] != IN_FLIGHT || m.sent_at[i] > arrival)
            return;
        m.fate[i] = ACKNOWLEDGED;
        m.counters[NFX_COUNT_acknowledged]++;
        sample(NFX_HIST_rtt, arrival - m.sent_at[i]);
        for (int k = i - 1; k > 0 && m.fate[k] == IN_FLIGHT; k--) {
            m.fate[k] = PASSED_OVER;
            m.counters[NFX_COUNT_passed_over]++;
        }
        m.heard = true;
        m.heard_until = m.config.hear_ns == 0 ? NEVER : arrival + m.config.hear_ns;
        return;
    }
}

static nfx_verdict_t model_receive(int number, int feedback, int size, int64_t arrival, int64_t now)
{
    m.now = now;
    if (arrival < m.last_arrival && m.last >= 0)
        arrival = m.last_arrival;
    model_pass(arrival);
    if (size < 2 + (int)m.config.rx_payload_bytes) {
        m.counters[NFX_COUNT_rejected_short]++;
        return NFX_SHORT;
    }
    if (number == m.last) {
        m.counters[NFX_COUNT_rejected_repeated]++;
        return NFX_REPEATED;
    }
    int d = (number - m.last + 256) % 256;
    if (m.compare && d >= 128) {
        m.counters[NFX_COUNT_rejected_old]++;
        return NFX_OLD;
    }
    m.counters[NFX_COUNT_accepted]++;
    m.counters[NFX_COUNT_oversize] += size > 2 + (int)m.config.rx_payload_bytes;
    m.counters[NFX_COUNT_firsts] += !m.compare;
    if (m.compare && m.alive) {
        m.counters[NFX_COUNT_partner_lost] += (uint64_t)d - 1;
        sample(NFX_HIST_gap, arrival - m.last_arrival);
        sample(NFX_HIST_partner_interval, (arrival - m.last_arrival) / d);
    }
    nfx_verdict_t verdict = m.compare ? NFX_ACCEPTED : NFX_FIRST;
    m.last = number;
    m.compare = true;
    m.last_arrival = arrival;
    m.alive = true;
    m.alive_until = m.config.watch_ns == 0 ? NEVER : arrival + m.config.watch_ns;
    model_feedback(feedback, arrival);
    return verdict;
}

static bool model_stopped(void)
{
    return !m.fresh && m.config.on_stale == NFX_STALE_STOP;
}

static void model_write(int64_t at, int64_t now)
{
    m.now = now;
    if (at > now)
        at = now;
    if (at <= m.written)
        return;
    model_pass(at);
    while (model_stopped() && m.due < now)
        m.due += m.config.cycle_ns;
    m.written = at;
    m.fresh = true;
    m.fresh_until = m.sending && m.config.stale_ns != 0 ? at + m.config.stale_ns : NEVER;
}

/* Returns the number to be sent, or -1. */
static int model_emit(int64_t now, bool *failsafe)
{
    m.now = now;
    model_pass(now);
    if (!m.sending || model_stopped() || now < m.due)
        return -1;
    for (m.due += m.config.cycle_ns; m.due <= now; m.due += m.config.cycle_ns)
        m.counters[NFX_COUNT_skipped]++;
    *failsafe = !m.fresh && m.config.on_stale == NFX_STALE_FAILSAFE;
    return (m.sent + 1) % 256;
}

static void model_sent(int64_t at, bool failsafe)
{
    m.sent++;
    m.sent_at[m.sent] = at;
    m.counters[NFX_COUNT_sent]++;
    m.counters[NFX_COUNT_sent_stale] += !m.fresh && !failsafe;
    m.counters[NFX_COUNT_sent_failsafe] += failsafe;
    if (m.sent > 256 && m.fate[m.sent - 256] == IN_FLIGHT) {
        m.fate[m.sent - 256] = LOST;
        m.counters[NFX_COUNT_ack_lost]++;
    }
    if (m.last_send != NEVER)
        sample(NFX_HIST_own_interval, at - m.last_send);
    m.last_send = at;
}

static int64_t model_deadline(void)
{
    int64_t deadline = m.sending && !model_stopped() ? m.due : NEVER;
    if (m.alive_until < deadline)
        deadline = m.alive_until;
    if (m.heard_until < deadline)
        deadline = m.heard_until;
    if (m.fresh_until < deadline)
        deadline = m.fresh_until;
    return deadline;
}

static bool same(int step)
{
    bool ok = true;
    for (unsigned i = 0; i < NFX_COUNTER_TOTAL; i++)
        ok &= CHECK_EQ(rt_load_relaxed(&stats.counters[i]), m.counters[i]);
    for (unsigned i = 0; i < NFX_HIST_TOTAL; i++) {
        ok &= CHECK_EQ(rt_load_relaxed(&stats.hists[i].count), m.samples[i]);
        ok &= CHECK_EQ(rt_load_relaxed(&stats.hists[i].sum_ns), m.sums[i]);
    }
    ok &= CHECK_EQ(s.alive.is, m.alive);
    ok &= CHECK_EQ(s.heard.is, m.heard);
    ok &= CHECK_EQ(s.fresh.is, m.fresh);
    ok &= CHECK_EQ(rt_load_relaxed(&stats.gauges[NFX_GAUGE_alive]), m.alive);
    ok &= CHECK_EQ(nfx_session_deadline_ns(&s), model_deadline());
    if (!ok)
        (void)fprintf(stderr, "at step %d of seed %" PRIu64 "\n", step, seed);
    return ok;
}

/* The partner as seen on the wire: mostly in step, at times anything. */
typedef struct partner {
    uint8_t number;
    uint8_t heard;
    unsigned mood;
} partner_t;

static bool partner_sends(partner_t *p, uint64_t r, int64_t now)
{
    static uint8_t data[64];
    int64_t arrival = now - (int64_t)(r >> 50 & 1 ? r >> 51 & 0xfffff : 0);
    int size = (int)(2 + m.config.rx_payload_bytes);
    p->number++;
    if (p->mood != 1) /* else deaf */
        p->heard = (uint8_t)(m.sent - (int)(r & 3));
    data[0] = p->number;
    data[1] = p->heard;
    switch (r >> 8 & 31) {
    case 0:
        data[0] = (uint8_t)(r >> 16);
        break;
    case 1:
        data[1] = (uint8_t)(r >> 16);
        break;
    case 2:
        data[0] = (uint8_t)(p->number - (r >> 16 & 3));
        break;
    case 3:
        size -= (int)(r >> 16 & 3);
        break;
    case 4:
        size += (int)(r >> 16 & 3);
        break;
    case 5:
        p->number = (uint8_t)(p->number + (r >> 16 & 7));
        break;
    default:
        break;
    }
    if (size < 0)
        size = 0;
    nfx_frame_t frame = {0};
    nfx_verdict_t got = nfx_session_receive(&s, data, (size_t)size, arrival, now, &frame);
    nfx_verdict_t want = model_receive(data[0], data[1], size, arrival, now);
    return CHECK_EQ(got, want) &&
           (got < 0 || (CHECK_EQ(frame.number, data[0]) && CHECK_EQ(frame.feedback, data[1])));
}

static bool we_send(uint64_t r, int64_t *clock)
{
    int64_t now = *clock;
    nfx_out_t out = {0};
    bool failsafe = false;
    int want = model_emit(now, &failsafe);
    int got = nfx_session_emit(&s, &out, now);
    if (!CHECK_EQ(got, want >= 0))
        return false;
    if (got == 0)
        return true;
    bool ok = CHECK_EQ(out.header[0], want) && CHECK_EQ(out.header[1], m.last < 0 ? 0 : m.last) &&
              CHECK_EQ(out.source == NFX_FAILSAFE, failsafe) &&
              CHECK_EQ(out.due_ns, m.due - m.config.cycle_ns);
    if ((r & 15) == 0) {
        nfx_session_not_sent(&s);
        m.counters[NFX_COUNT_send_failed]++;
    } else {
        *clock += (int64_t)(r >> 4 & 1023);
        nfx_session_sent(&s, *clock);
        model_sent(*clock, failsafe);
    }
    return ok;
}

static int64_t not_before(int64_t now, int64_t at)
{
    return at < now ? now : at;
}

static void model_reconfigure(const nfx_config_t *config, int64_t now)
{
    nfx_config_t old = m.config;
    m.now = now;
    model_pass(now);
    bool off_grid = model_stopped() || config->cycle_ns != old.cycle_ns;
    model_config(config);
    if (m.alive && m.config.watch_ns != old.watch_ns)
        m.alive_until =
            m.config.watch_ns == 0 ? NEVER : not_before(now, m.last_arrival + m.config.watch_ns);
    if (m.heard && m.config.hear_ns != old.hear_ns) {
        int64_t acknowledged = old.hear_ns == 0 ? now : m.heard_until - old.hear_ns;
        m.heard_until =
            m.config.hear_ns == 0 ? NEVER : not_before(now, acknowledged + m.config.hear_ns);
    }
    if (m.sending && m.fresh)
        m.fresh_until =
            m.config.stale_ns == 0 ? NEVER : not_before(now, m.written + m.config.stale_ns);
    if (m.sending)
        m.due += m.config.cycle_ns - old.cycle_ns;
    while (m.sending && off_grid && m.due < now)
        m.due += m.config.cycle_ns;
}

static void reconfigure(uint64_t r, int64_t now)
{
    nfx_config_t config = m.config;
    config.cycle_ns = (int64_t)(1 + (r & 15)) * 100 * US;
    config.watch_ns = (int64_t)(r >> 4 & 3) * 3000 * US;
    config.hear_ns = (int64_t)(r >> 6 & 1) * 5000 * US;
    config.stale_ns = (int64_t)(r >> 7 & 1) * 4000 * US;
    config.on_stale = (nfx_on_stale_t)((r >> 8 & 255) % 3);
    config.keep_window = r >> 16 & 1;
    CHECK_EQ(nfx_session_reconfigure(&s, &config, now), 0);
    model_reconfigure(&config, now);
}

static void seldom(uint64_t r, partner_t *p, int64_t now)
{
    switch (r % 9) {
    case 0:
        *p = (partner_t){.mood = r >> 8 & 3}; /* started anew */
        break;
    case 1:
        p->mood = r >> 8 & 3;
        break;
    case 2:
        nfx_session_owner_died(&s, now);
        if (m.config.stale_ns == 0 && m.fresh) {
            m.fresh = false;
            m.counters[NFX_COUNT_stale]++;
        }
        break;
    case 3:
        nfx_session_stop_sending(&s);
        m.sending = false;
        m.fresh_until = NEVER;
        break;
    case 4:
        nfx_session_stop_receiving(&s);
        m.alive = m.heard = false;
        m.alive_until = m.heard_until = NEVER;
        m.feedback = -1;
        if (!m.config.keep_window)
            m.compare = false;
        break;
    case 5:
        reconfigure(r >> 8, now);
        break;
    default: {
        int64_t origin = now + (int64_t)(r >> 8 & 0xfffff) - 0x80000;
        nfx_session_start_sending(&s, origin, now);
        for (m.due = origin; m.due < now;)
            m.due += m.config.cycle_ns;
        m.sending = true;
        m.last_send = NEVER;
        if (m.fresh && m.written == INT64_MIN)
            m.written = now;
        m.fresh_until = m.fresh && m.config.stale_ns != 0 ? m.written + m.config.stale_ns : NEVER;
        break;
    }
    }
}

static void play(const nfx_config_t *config, uint64_t *random)
{
    partner_t p = {0};
    int64_t now = 0;
    memset(&stats, 0, sizeof stats);
    REQUIRE(nfx_session_init(&s, config, &stats) == 0);
    model_init(config);
    for (int step = 0; step < STEPS && m.sent < MAX_SENDS; step++) {
        uint64_t r = rt_test_rand(random);
        int64_t deadline = nfx_session_deadline_ns(&s);
        unsigned kind = (unsigned)(r >> 56);
        if (kind < 100 && deadline != NEVER && deadline > now)
            now = deadline;
        else if (kind < 250)
            now += (int64_t)(r >> 40 & 0x1ffff);
        else
            now += (int64_t)(r >> 40 & 0xffff) * 2000;
        uint64_t q = rt_test_rand(random);
        unsigned what = (unsigned)(q >> 56);
        bool ok = true;
        if (what < 100)
            ok = we_send(q, &now);
        else if (what < 200 && p.mood != 3)
            ok = partner_sends(&p, q, now);
        else if (what < 250) {
            int64_t at = now - (int64_t)(q & 0xffff) + (int64_t)(q >> 16 & 0xfff);
            nfx_session_refreshed(&s, at, now);
            model_write(at, now);
        } else if (what >= 254)
            seldom(q, &p, now);
        REQUIRE(same(step) && ok);
    }
}

static void test_random_lives(void)
{
    uint64_t random = seed;
    uint64_t rounds = rt_test_env_u64("RT_TEST_ROUNDS", 12);
    uint64_t met[NFX_COUNTER_TOTAL] = {0};
    for (uint64_t i = 0; i < rounds; i++) {
        uint64_t r = rt_test_rand(&random);
        nfx_config_t config = {
            .rx_payload_bytes = (uint32_t)(r & 3) * 10,
            .cycle_ns = r >> 2 & 1 ? 100 * US : 250 * US,
            .watch_ns = r >> 3 & 3 ? 2000 * US : 0,
            .hear_ns = r >> 5 & 1 ? 500 * US : 0,
            .stale_ns = r >> 6 & 1 ? 900 * US : 0,
            .on_stale = (nfx_on_stale_t)((r >> 8) % 3),
            .keep_window = r >> 7 & 1,
        };
        play(&config, &random);
        for (unsigned k = 0; k < NFX_COUNTER_TOTAL; k++)
            met[k] += m.counters[k];
    }
    for (unsigned k = 0; k < NFX_COUNTER_TOTAL; k++)
        CHECK(met[k] > 0 || k == NFX_COUNT_rejected_foreign);
}

int main(void)
{
    seed = rt_test_env_u64("RT_TEST_SEED", 1);
    printf("seed %" PRIu64 "\n", seed);
    RUN(test_random_lives);
    return rt_test_result();
}
