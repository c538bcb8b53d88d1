#include "proto/stamp/stamp_clock.h"

#include <math.h>

#define BASE_NS INT64_C(30000000000)
/* Remote times lie between -FAR_NS and FAR_NS, so that differences of them and local times fit. */
#define FAR_NS (INT64_C(1) << 62)

/* Any two times: a caller may ask for all of them. */
static uint64_t distance(int64_t a, int64_t b)
{
    return a > b ? (uint64_t)a - (uint64_t)b : (uint64_t)b - (uint64_t)a;
}

/* How far the clocks can have moved apart in the time between a and b. */
static int64_t widening(const stamp_clock_t *c, int64_t a, int64_t b)
{
    return (int64_t)ceil((double)distance(a, b) * c->drift);
}

void stamp_clock_sent(stamp_clock_t *c, uint32_t sequence, uint64_t t1_raw, int64_t t1_ns)
{
    c->waiting[sequence % STAMP_CLOCK_WAITING] =
        (stamp_waiting_t){.waits = true, .sequence = sequence, .t1_raw = t1_raw, .t1_ns = t1_ns};
}

void stamp_clock_ask(stamp_clock_t *c, const stamp_series_t *series, uint8_t *out)
{
    for (uint32_t i = 0; i < series->count; i++) {
        int64_t t1_ns = series->first_ns + (int64_t)i * series->interval_ns;
        stamp_request_t request = {
            .sequence = series->first_sequence + i,
            .ssid = series->ssid,
            .error = series->error,
            .t1_ns = t1_ns + series->to_world_ns,
        };
        stamp_put_request(out + (size_t)i * STAMP_BYTES, &request);
        stamp_clock_sent(c, request.sequence, stamp_from_ns(request.t1_ns, request.error.format),
                         t1_ns);
    }
}

static stamp_waiting_t *request_of(stamp_clock_t *c, const stamp_reply_t *reply)
{
    stamp_waiting_t *w = &c->waiting[reply->request_sequence % STAMP_CLOCK_WAITING];
    bool fits = w->waits && w->sequence == reply->request_sequence && w->t1_raw == reply->t1_raw;
    return fits ? w : NULL;
}

bool stamp_clock_offset(const stamp_clock_t *c, int64_t at_ns, stamp_offset_t *out)
{
    out->at_ns = at_ns;
    out->low_ns = c->low_ns - widening(c, at_ns, c->low_at_ns);
    out->high_ns = c->high_ns + widening(c, at_ns, c->high_at_ns);
    return c->known;
}

/* Keeps the offset of some time ago, from which the rate is taken. */
static void keep_base(stamp_clock_t *c)
{
    stamp_offset_t now;
    stamp_clock_offset(c, c->last_ns, &now);
    if (now.at_ns - c->base[1].at_ns < BASE_NS)
        return;
    c->base[0] = c->base[1];
    c->base[1] = now;
}

static void begin(stamp_clock_t *c, const stamp_offset_t *found, int64_t round_trip_ns)
{
    c->known = true;
    c->restart = false;
    c->low_ns = found->low_ns;
    c->high_ns = found->high_ns;
    c->low_at_ns = c->high_at_ns = c->since_ns = c->last_ns = found->at_ns;
    c->shortest_ns = round_trip_ns;
    c->base[0] = c->base[1] = *found;
}

/* Returns false if what was found contradicts what is known. */
static bool intersect(stamp_clock_t *c, const stamp_offset_t *found)
{
    stamp_offset_t known;
    stamp_clock_offset(c, found->at_ns, &known);
    if (found->low_ns > known.high_ns || found->high_ns < known.low_ns)
        return false;
    if (found->low_ns >= known.low_ns) {
        c->low_ns = found->low_ns;
        c->low_at_ns = found->at_ns;
    }
    if (found->high_ns <= known.high_ns) {
        c->high_ns = found->high_ns;
        c->high_at_ns = found->at_ns;
    }
    return true;
}

void stamp_clock_restart(stamp_clock_t *c, int64_t now_ns)
{
    for (uint32_t i = 0; i < STAMP_CLOCK_WAITING; i++)
        if (c->waiting[i].t1_ns <= now_ns)
            c->waiting[i].waits = false;
    c->restart = true;
}

static stamp_clock_counter_t learn(stamp_clock_t *c, const stamp_reply_t *reply, int64_t t1_ns,
                                   int64_t t4_ns)
{
    if (t4_ns < t1_ns || t4_ns > FAR_NS)
        return STAMP_CLOCK_impossible;
    int64_t held_ns = reply->t3_ns - reply->t2_ns;
    int64_t away_ns = t4_ns - t1_ns;
    /* Replies may overtake each other. What is known is of the latest T4. The upper bound held when
     * the request arrived, which was at some time since T1. */
    bool continues = c->known && !c->restart;
    int64_t at_ns = continues && c->last_ns > t4_ns ? c->last_ns : t4_ns;
    stamp_offset_t found = {
        .at_ns = at_ns,
        .low_ns = reply->t3_ns - t4_ns - c->margin_ns - widening(c, at_ns, t4_ns),
        .high_ns = reply->t2_ns - t1_ns + c->margin_ns + widening(c, at_ns, t1_ns),
    };
    if (held_ns < 0 || found.low_ns > found.high_ns)
        return STAMP_CLOCK_impossible;
    bool fits = !continues || intersect(c, &found);
    bool began = !continues || !fits;
    c->round_trip_ns = away_ns > held_ns ? away_ns - held_ns : 0;
    if (began)
        begin(c, &found, c->round_trip_ns);
    if (c->round_trip_ns < c->shortest_ns)
        c->shortest_ns = c->round_trip_ns;
    c->last_ns = at_ns;
    c->error = reply->error;
    c->request_ttl = reply->request_ttl;
    keep_base(c);
    return fits ? STAMP_CLOCK_exchanges : STAMP_CLOCK_steps;
}

stamp_clock_counter_t stamp_clock_receive(stamp_clock_t *c, const uint8_t *packet, size_t size,
                                          int64_t t4_ns)
{
    stamp_reply_t reply;
    stamp_waiting_t *request;
    stamp_clock_counter_t outcome;
    if (stamp_get_reply(packet, size, &reply) != STAMP_FINE) {
        outcome = STAMP_CLOCK_malformed;
    } else if ((request = request_of(c, &reply)) == NULL) {
        outcome = STAMP_CLOCK_unmatched;
    } else {
        outcome = learn(c, &reply, request->t1_ns, t4_ns);
        request->waits = false;
    }
    c->counters[outcome]++;
    if (outcome == STAMP_CLOCK_steps)
        c->counters[STAMP_CLOCK_exchanges]++;
    return outcome;
}

void stamp_clock_receive_batch(stamp_clock_t *c, const stamp_arrivals_t *in, stamp_offset_t *after)
{
    for (uint32_t i = 0; i < in->count; i++) {
        uint32_t length;
        const uint8_t *packet = stamp_datagram(in, i, &length);
        int64_t t4_ns = stamp_arrival_ns(in, i);
        (void)stamp_clock_receive(c, packet, length, t4_ns);
        if (after != NULL && !stamp_clock_offset(c, t4_ns, &after[i]))
            after[i] = (stamp_offset_t){.at_ns = t4_ns, .low_ns = FAR_NS, .high_ns = -FAR_NS};
    }
}

void stamp_clock_rate(const stamp_clock_t *c, double *low, double *high)
{
    stamp_offset_t now;
    const stamp_offset_t *base = &c->base[0];
    *low = -c->drift;
    *high = c->drift;
    if (!stamp_clock_offset(c, c->last_ns, &now) || now.at_ns <= base->at_ns)
        return;
    double span_ns = (double)(now.at_ns - base->at_ns);
    *low = fmax(*low, (double)(now.low_ns - base->high_ns) / span_ns);
    *high = fmin(*high, (double)(now.high_ns - base->low_ns) / span_ns);
}
