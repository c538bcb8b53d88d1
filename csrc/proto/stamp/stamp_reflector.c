#include "proto/stamp/stamp_reflector.h"

#include <string.h>

_Static_assert(sizeof(stamp_end_t) == sizeof(due_address_t), "copied from one to the other");

#define WELL_KNOWN_PORTS 1024u
#define BURST_S 0.1 /* so much of a second's allowance may be used at once */
/* The rest to STAMP_MAX_HELD_NS is for the time until the reply leaves. */
#define MAX_WAITED_NS (STAMP_MAX_HELD_NS - INT64_C(1000000000))

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/* --- who may ask ------------------------------------------------------------------------------ */

static bool same_bits(const uint8_t *a, const uint8_t *b, uint32_t bits)
{
    uint32_t bytes = bits / 8, rest = bits % 8;
    if (memcmp(a, b, bytes) != 0)
        return false;
    return rest == 0 || ((a[bytes] ^ b[bytes]) >> (8 - rest)) == 0;
}

/* An IPv4 address that arrived on an IPv6 socket counts as IPv4. */
static bool is_allowed(const stamp_reflector_t *r, const stamp_end_t *from)
{
    const uint8_t *ip = from->ip;
    uint32_t family = from->family;
    if (family == 6 && memcmp(ip, mapped_prefix, sizeof mapped_prefix) == 0) {
        family = 4;
        ip += sizeof mapped_prefix;
    }
    for (uint32_t i = 0; i < r->network_count; i++)
        if (r->networks[i].family == family &&
            same_bits(r->networks[i].ip, ip, r->networks[i].bits))
            return true;
    return r->network_count == 0;
}

static bool is_within_rate(stamp_reflector_t *r, int64_t now_ns)
{
    if (r->max_pps <= 0)
        return true;
    double most = r->max_pps * BURST_S < 1 ? 1 : r->max_pps * BURST_S;
    int64_t since_ns = now_ns - r->tokens_at_ns;
    r->tokens += (double)since_ns * r->max_pps / 1e9;
    if (r->tokens_at_ns == 0 || r->tokens > most)
        r->tokens = most;
    r->tokens_at_ns = now_ns;
    if (r->tokens < 1)
        return false;
    r->tokens -= 1;
    return true;
}

/* --- sessions --------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t h)
{
    h ^= h >> 30;
    h *= UINT64_C(0xBF58476D1CE4E5B9);
    h ^= h >> 27;
    h *= UINT64_C(0x94D049BB133111EB);
    return h ^ h >> 31;
}

static uint32_t slot_of(const stamp_reflector_t *r, const stamp_end_t *source, uint16_t ssid)
{
    uint64_t words[sizeof *source / sizeof(uint64_t)];
    uint64_t h = mix(r->seed + ssid);
    memcpy(words, source, sizeof words);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        h = mix(h + words[i] + UINT64_C(0x9E3779B97F4A7C15));
    return (uint32_t)h & (r->session_slots - 1);
}

static bool is_open(const stamp_session_t *s, int64_t idle_ns, int64_t now_ns)
{
    return s->used && now_ns - s->last_ns <= idle_ns;
}

/* NULL: there is no place for a new one. All slots are searched, because a session may have ended
 * before another one that was put behind it. */
static stamp_session_t *session_of(stamp_reflector_t *r, const stamp_end_t *source, uint16_t ssid,
                                   int64_t now_ns)
{
    uint32_t slot = slot_of(r, source, ssid);
    stamp_session_t *place = NULL;
    for (uint32_t i = 0; i < STAMP_SESSION_PROBES && i < r->session_slots; i++) {
        stamp_session_t *s = &r->sessions[(slot + i) & (r->session_slots - 1)];
        if (!is_open(s, r->idle_ns, now_ns))
            place = place == NULL ? s : place;
        else if (s->ssid == ssid && memcmp(&s->source, source, sizeof *source) == 0)
            return s;
    }
    if (place == NULL)
        return NULL;
    *place = (stamp_session_t){.source = *source, .ssid = ssid, .used = true};
    r->session_total++;
    return place;
}

uint32_t stamp_reflector_sessions(const stamp_reflector_t *r, int64_t now_ns)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < r->session_slots; i++)
        count += is_open(&r->sessions[i], r->idle_ns, now_ns);
    return count;
}

/* --- answering -------------------------------------------------------------------------------- */

static stamp_fate_t judge(stamp_reflector_t *r, const uint8_t *packet, uint32_t length,
                          const stamp_end_t *from, stamp_request_t *request)
{
    stamp_fault_t fault = stamp_get_request(packet, length, request);
    if (fault == STAMP_TOO_SHORT)
        return STAMP_FATE_too_short;
    if (fault != STAMP_FINE)
        return STAMP_FATE_corrupt;
    if (stamp_is_reply(packet, length))
        return STAMP_FATE_reply;
    if (from->port == 0 || (from->port < WELL_KNOWN_PORTS && from->port != STAMP_PORT))
        return STAMP_FATE_source_port;
    return is_allowed(r, from) ? STAMP_FATE_answered : STAMP_FATE_not_allowed;
}

/* Answers a request that is well formed and allowed. due_ns: when the reply leaves. */
static stamp_fate_t answer(stamp_reflector_t *r, uint8_t *packet, uint32_t length,
                           const stamp_end_t *from, const stamp_request_t *request,
                           int64_t arrived_ns, const stamp_times_t *times, int64_t *due_ns)
{
    if (arrived_ns > times->now_ns) /* the ring is memory of others: T2 must not be after T3 */
        arrived_ns = times->now_ns;
    if (arrived_ns < times->now_ns - MAX_WAITED_NS)
        return STAMP_FATE_held_long;
    if (!is_within_rate(r, times->now_ns))
        return STAMP_FATE_rate_limited;
    uint32_t sequence = request->sequence;
    if (r->stateful) {
        stamp_session_t *session = session_of(r, from, request->ssid, times->now_ns);
        if (session == NULL)
            return STAMP_FATE_no_session;
        sequence = session->next_sequence++;
        session->last_ns = times->now_ns;
    }
    int64_t at_ns = arrived_ns + r->hold_ns;
    int64_t soonest_ns = times->now_ns + r->lead_ns;
    *due_ns = at_ns > soonest_ns ? at_ns : soonest_ns;
    stamp_format_t format = request->error.format;
    int64_t to_world_ns = format == STAMP_PTP ? times->tai_ns : times->utc_ns;
    bool synchronised = format == STAMP_PTP ? times->tai_synchronised : times->utc_synchronised;
    stamp_reflection_t how = {
        .sequence = sequence,
        .request_ttl = STAMP_TTL_UNKNOWN,
        .error = stamp_error_from_ns(times->error_ns, synchronised, format),
        .t2_ns = arrived_ns + to_world_ns,
        .t3_ns = *due_ns + to_world_ns,
    };
    stamp_reflect(packet, length, &how);
    return STAMP_FATE_answered;
}

uint32_t stamp_reflector_answer(stamp_reflector_t *r, const stamp_arrivals_t *in,
                                const stamp_times_t *times, due_lane_t *out)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < in->count; i++) {
        uint32_t length;
        stamp_request_t request;
        int64_t due_ns = 0;
        uint8_t *packet = stamp_datagram(in, i, &length);
        const stamp_end_t *from = stamp_entry(in, in->source, i);
        stamp_fate_t fate = judge(r, packet, length, from, &request);
        if (fate == STAMP_FATE_answered)
            fate =
                answer(r, packet, length, from, &request, stamp_arrival_ns(in, i), times, &due_ns);
        r->fates[fate]++;
        if (fate != STAMP_FATE_answered)
            continue;
        out->due_ns[count] = due_ns;
        out->offset[count] = (uint32_t)(packet - in->payload);
        out->length[count] = length;
        memcpy(&out->to[count], from, sizeof *from);
        if (out->from != NULL && in->local != NULL)
            memcpy(&out->from[count], stamp_entry(in, in->local, i), sizeof *from);
        else if (out->from != NULL)
            memset(&out->from[count], 0, sizeof *from);
        count++;
    }
    return out->count = count;
}
