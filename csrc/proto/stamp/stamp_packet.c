#include "proto/stamp/stamp_packet.h"

#include "base/rt_bytes.h"

#include <string.h>

#define NS_PER_S INT64_C(1000000000)
#define NTP_1970_S INT64_C(2208988800) /* seconds from 1900 to 1970 */
#define ERA_S (INT64_C(1) << 32)

#define AT_SEQUENCE 0u
#define AT_TIMESTAMP 4u
#define AT_ERROR 12u
#define AT_SSID 14u
#define AT_RECEIVED 16u
#define AT_REQUEST_SEQUENCE 24u
#define AT_REQUEST_TIMESTAMP 28u
#define AT_REQUEST_ERROR 36u
#define AT_REQUEST_ZERO 38u
#define AT_REQUEST_TTL 40u

#define BIT_S 0x8000u
#define BIT_Z 0x4000u

static uint64_t get64(const uint8_t *p)
{
    return (uint64_t)rt_get32(p) << 32 | rt_get32(p + 4);
}

static void put64(uint8_t *p, uint64_t v)
{
    rt_put32(p, (uint32_t)(v >> 32));
    rt_put32(p + 4, (uint32_t)v);
}

/* --- times ------------------------------------------------------------------------------------ */

uint64_t stamp_from_ns(int64_t ns, stamp_format_t format)
{
    int64_t s = ns / NS_PER_S;
    int64_t rest_ns = ns % NS_PER_S;
    if (rest_ns < 0) {
        rest_ns += NS_PER_S;
        s--;
    }
    if (format == STAMP_PTP)
        return (uint64_t)(uint32_t)s << 32 | (uint64_t)rest_ns;
    uint64_t units = (((uint64_t)rest_ns << 32) + NS_PER_S / 2) / NS_PER_S; /* below 2**32 */
    return (uint64_t)(uint32_t)(s + NTP_1970_S) << 32 | units;
}

int64_t stamp_to_ns(uint64_t raw, stamp_format_t format)
{
    int64_t s = (int64_t)(raw >> 32);
    uint64_t low = raw & UINT32_MAX;
    if (format == STAMP_PTP)
        return s * NS_PER_S + (int64_t)low;
    if (s < ERA_S / 2)
        s += ERA_S;
    uint64_t rest_ns = (low * (uint64_t)NS_PER_S + (UINT64_C(1) << 31)) >> 32;
    return (s - NTP_1970_S) * NS_PER_S + (int64_t)rest_ns;
}

/* --- error estimates -------------------------------------------------------------------------- */

stamp_error_t stamp_error_from_ns(int64_t error_ns, bool synchronised, stamp_format_t format)
{
    stamp_error_t error = {.synchronised = synchronised, .format = format, .multiplier = 1};
    if (error_ns <= 0)
        return error;
    /* In units of 2**-32 s, rounded up. Whole seconds apart, so that nothing overflows. */
    uint64_t s = (uint64_t)(error_ns / NS_PER_S);
    uint64_t rest = (((uint64_t)(error_ns % NS_PER_S) << 32) + NS_PER_S - 1) / NS_PER_S;
    if (s > INT32_MAX)
        s = INT32_MAX;
    uint64_t units = (s << 32) + rest;
    bool cut = false;
    while (units > UINT8_MAX - (cut ? 1u : 0u)) {
        cut = cut || (units & 1);
        units >>= 1;
        error.scale++;
    }
    error.multiplier = (uint8_t)(units + (cut ? 1 : 0));
    return error;
}

int64_t stamp_error_ns(stamp_error_t error)
{
    uint64_t multiplier = error.multiplier;
    if (multiplier >> (63 - error.scale) != 0)
        return INT64_MAX;
    uint64_t units = multiplier << error.scale;
    uint64_t s = units >> 32;
    uint64_t rest = ((units & UINT32_MAX) * (uint64_t)NS_PER_S + UINT32_MAX) >> 32;
    return (int64_t)(s * (uint64_t)NS_PER_S + rest);
}

uint16_t stamp_error_raw(stamp_error_t error)
{
    return (uint16_t)((error.synchronised ? BIT_S : 0u) | (error.format == STAMP_PTP ? BIT_Z : 0u) |
                      (unsigned)(error.scale & 0x3f) << 8 | error.multiplier);
}

stamp_error_t stamp_error_from_raw(uint16_t raw)
{
    return (stamp_error_t){
        .synchronised = (raw & BIT_S) != 0,
        .format = raw & BIT_Z ? STAMP_PTP : STAMP_NTP,
        .scale = (uint8_t)(raw >> 8 & 0x3f),
        .multiplier = (uint8_t)(raw & 0xff),
    };
}

/* --- packets ---------------------------------------------------------------------------------- */

void stamp_put_request(uint8_t *out, const stamp_request_t *request)
{
    memset(out, 0, STAMP_BYTES);
    rt_put32(out + AT_SEQUENCE, request->sequence);
    put64(out + AT_TIMESTAMP, stamp_from_ns(request->t1_ns, request->error.format));
    rt_put16(out + AT_ERROR, stamp_error_raw(request->error));
    rt_put16(out + AT_SSID, request->ssid);
}

/* A time of 0 is none. So answers of UDT, where its control packets have zeros, are no requests. */
static bool is_time(uint64_t raw, stamp_error_t error)
{
    return raw != 0 && error.multiplier > 0 &&
           (error.format == STAMP_NTP || (raw & UINT32_MAX) < NS_PER_S);
}

/* Whether the datagram is a compound of RTCP (RFC 5761 section 4) whose lengths add up to its size.
 * Fields of a report can look like those of a request, but a report is no request. */
static bool is_rtcp(const uint8_t *packet, size_t size)
{
    size_t at = 0;
    while (at < size) {
        bool begins = size - at >= 4 && packet[at] >> 6 == 2 && packet[at + 1] >= 192 &&
                      packet[at + 1] <= 223;
        if (!begins)
            return false;
        at += ((size_t)rt_get16(packet + at + 2) + 1) * 4;
    }
    return at == size;
}

stamp_fault_t stamp_get_request(const uint8_t *packet, size_t size, stamp_request_t *out)
{
    if (size < STAMP_LEAST_BYTES)
        return STAMP_TOO_SHORT;
    return is_rtcp(packet, size) ? STAMP_CORRUPT : stamp_get_head(packet, size, out);
}

stamp_fault_t stamp_get_head(const uint8_t *packet, size_t size, stamp_request_t *out)
{
    if (size < STAMP_HEAD_BYTES)
        return STAMP_TOO_SHORT;
    uint64_t t1 = get64(packet + AT_TIMESTAMP);
    out->error = stamp_error_from_raw(rt_get16(packet + AT_ERROR));
    if (!is_time(t1, out->error))
        return STAMP_CORRUPT;
    out->sequence = rt_get32(packet + AT_SEQUENCE);
    out->ssid = rt_get16(packet + AT_SSID);
    out->t1_ns = stamp_to_ns(t1, out->error.format);
    return STAMP_FINE;
}

stamp_fault_t stamp_get_reply(const uint8_t *packet, size_t size, stamp_reply_t *out)
{
    if (size < STAMP_LEAST_BYTES)
        return STAMP_TOO_SHORT;
    uint64_t t1 = get64(packet + AT_REQUEST_TIMESTAMP);
    uint64_t t2 = get64(packet + AT_RECEIVED);
    uint64_t t3 = get64(packet + AT_TIMESTAMP);
    stamp_error_t error = stamp_error_from_raw(rt_get16(packet + AT_ERROR));
    stamp_error_t request_error = stamp_error_from_raw(rt_get16(packet + AT_REQUEST_ERROR));
    if (!is_time(t1, request_error) || !is_time(t2, error) || !is_time(t3, error))
        return STAMP_CORRUPT;
    *out = (stamp_reply_t){
        .sequence = rt_get32(packet + AT_SEQUENCE),
        .request_sequence = rt_get32(packet + AT_REQUEST_SEQUENCE),
        .ssid = rt_get16(packet + AT_SSID),
        .request_ttl = packet[AT_REQUEST_TTL],
        .error = error,
        .request_error = request_error,
        .t1_raw = t1,
        .t1_ns = stamp_to_ns(t1, request_error.format),
        .t2_ns = stamp_to_ns(t2, error.format),
        .t3_ns = stamp_to_ns(t3, error.format),
    };
    return STAMP_FINE;
}

bool stamp_is_reply(const uint8_t *packet, size_t size)
{
    stamp_reply_t reply;
    if (stamp_get_reply(packet, size, &reply) != STAMP_FINE)
        return false;
    int64_t held_ns = reply.t3_ns - reply.t2_ns;
    return held_ns >= 0 && held_ns <= STAMP_MAX_HELD_NS;
}

void stamp_reflect(uint8_t *packet, size_t size, const stamp_reflection_t *how)
{
    stamp_format_t format = how->error.format;
    memcpy(packet + AT_REQUEST_SEQUENCE, packet + AT_SEQUENCE, 4);
    memcpy(packet + AT_REQUEST_TIMESTAMP, packet + AT_TIMESTAMP, 8);
    memcpy(packet + AT_REQUEST_ERROR, packet + AT_ERROR, 2);
    memset(packet + AT_REQUEST_ZERO, 0,
           (size < STAMP_BYTES ? size : STAMP_BYTES) - AT_REQUEST_ZERO);
    packet[AT_REQUEST_TTL] = how->request_ttl;
    rt_put32(packet + AT_SEQUENCE, how->sequence);
    put64(packet + AT_TIMESTAMP, stamp_from_ns(how->t3_ns, format));
    rt_put16(packet + AT_ERROR, stamp_error_raw(how->error));
    put64(packet + AT_RECEIVED, stamp_from_ns(how->t2_ns, format));
}
