/* Partners as they are in the field, each with what is odd about it, in virtual time.
 *
 *             first  goes on     takes                      echoes             dead when
 *   python    1      every       half window, not a first   last received      evaluated only when
 *                    attempt     0; repeats ignored                            100 ms brought
 * nothing codesys5  1      every send  anything, the last of 21   last received,     no datagram
 * for 1 s of a cycle                 same cycle codesys4  1      every send  larger numbers only:
 * none  last changed,      feedback unchanged behind a wrap, no first 0  same cycle         for 1 s
 *   siemens   0      confirmed   half window, a first 0 as  last accepted,     feedback unchanged
 *                    sends       well                       of the cycle       for 10 ms, from its
 *                                                           before             start on
 *
 * The three controllers work in scans. Their send timer takes one scan to reset and one to arm, so
 * their period is the interval in whole scans and two more. The Python one reads at once, and sends
 * an interval and up to a millisecond after the send before; another thread of it copies the number
 * to echo once per interval.
 *
 * A partner gives out datagrams through peer_t.send, and takes them with peer_deliver. */
#ifndef NETFLUX_PEERS_H
#define NETFLUX_PEERS_H

#include "base/rt_clock.h"
#include "base/rt_random.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef enum peer_kind { PEER_PYTHON, PEER_CODESYS5, PEER_CODESYS4, PEER_SIEMENS } peer_kind_t;

static const char *const peer_names[] = {"python", "codesys5", "codesys4", "siemens"};

enum { PEER_PAYLOAD = 20, PEER_DATAGRAM = 2 + PEER_PAYLOAD, PEER_INBOX = 256, PEER_BATCH = 21 };

typedef struct peer {
    peer_kind_t kind;
    int64_t interval_ns;
    int64_t scan_ns; /* controllers */
    void (*send)(void *context, const uint8_t *data, uint32_t size, int64_t now_ns);
    void *context;
    rt_random_t chance;
    double unconfirmed; /* siemens: share of sends that are never confirmed */

    bool running;
    int64_t next_ns;      /* scan, or the next turn of a Python thread */
    int64_t send_ns;      /* when the send timer fires */
    int64_t copy_ns;      /* python: the statistics thread copies the number to echo */
    int64_t idle_from_ns; /* python: last datagram, or last evaluation */
    uint8_t number;
    bool confirmed;
    uint8_t echo;
    uint8_t received;        /* last number on the wire */
    uint8_t accepted_number; /* last one that passed */
    bool first_seen;
    uint8_t feedback;
    uint8_t feedback_checked; /* as seen by the watchdog */
    int64_t alive_ns;         /* when its watchdog was last fed */
    bool error;
    uint8_t payload[PEER_PAYLOAD];

    uint64_t sent; /* attempts that reached the wire */
    uint64_t accepted;
    uint64_t refused;
    uint64_t missed; /* numbers between accepted ones */
    uint64_t timeouts;

    uint8_t inbox[PEER_INBOX][PEER_DATAGRAM];
    uint32_t inbox_size[PEER_INBOX];
    unsigned inbox_from;
    unsigned inbox_to;
} peer_t;

/* Power on: nothing is remembered but what the engineer has set. */
static inline void peer_start(peer_t *p, int64_t now_ns)
{
    *p = (peer_t){
        .kind = p->kind,
        .interval_ns = p->interval_ns,
        .scan_ns = p->scan_ns,
        .send = p->send,
        .context = p->context,
        .chance = p->chance,
        .unconfirmed = p->unconfirmed,
        .sent = p->sent,
        .accepted = p->accepted,
        .refused = p->refused,
        .missed = p->missed,
        .timeouts = p->timeouts,
        .running = true,
        .next_ns = now_ns,
        .send_ns = now_ns,
        .copy_ns = now_ns,
        .idle_from_ns = now_ns,
        .alive_ns = now_ns,
        .confirmed = true,
        .error = true,
    };
}

static inline void peer_stop(peer_t *p)
{
    p->running = false;
}

/* --- receiving ----------------------------------------------------------------------------- */

static inline bool peer_takes(const peer_t *p, uint8_t number)
{
    uint8_t ahead = (uint8_t)(number - p->accepted_number);
    switch (p->kind) {
    case PEER_CODESYS5:
        return true;
    case PEER_PYTHON:
        return ahead != 0 && (!p->first_seen || ahead < 128);
    case PEER_CODESYS4:
        return p->first_seen ? number > p->accepted_number && ahead < 128 : number != 0;
    case PEER_SIEMENS:
        return !p->first_seen || (ahead != 0 && ahead < 128);
    }
    return false;
}

static inline void peer_read(peer_t *p, const uint8_t *data, uint32_t size, int64_t now_ns)
{
    p->idle_from_ns = now_ns;
    if (size < PEER_DATAGRAM && (p->kind != PEER_CODESYS5 || size < 2))
        return;
    bool repeat = data[0] == p->accepted_number && p->first_seen;
    bool takes = peer_takes(p, data[0]);
    if (p->kind != PEER_SIEMENS)
        p->received = data[0];
    if (!takes) {
        p->refused += !repeat;
        return;
    }
    if (p->first_seen && !repeat)
        p->missed += (uint8_t)(data[0] - p->accepted_number) - 1u;
    p->accepted++;
    p->accepted_number = data[0];
    p->feedback = data[1];
    p->first_seen = true;
    if (p->kind == PEER_PYTHON || p->kind == PEER_CODESYS5) {
        p->alive_ns = now_ns;
        p->error = false;
    }
    if (size >= PEER_DATAGRAM)
        memcpy(p->payload, data + 2, PEER_PAYLOAD);
}

static inline void peer_deliver(peer_t *p, const uint8_t *data, uint32_t size, int64_t now_ns)
{
    if (!p->running)
        return;
    if (p->kind == PEER_PYTHON) {
        peer_read(p, data, size, now_ns);
        return;
    }
    if (p->inbox_to - p->inbox_from == PEER_INBOX || size > PEER_DATAGRAM)
        return;
    memcpy(p->inbox[p->inbox_to % PEER_INBOX], data, size);
    p->inbox_size[p->inbox_to++ % PEER_INBOX] = size;
}

static inline void peer_read_inbox(peer_t *p, int64_t now_ns)
{
    for (int i = 0; p->inbox_from != p->inbox_to && i < PEER_BATCH; i++) {
        unsigned at = p->inbox_from++ % PEER_INBOX;
        peer_read(p, p->inbox[at], p->inbox_size[at], now_ns);
    }
}

/* --- watchdogs ----------------------------------------------------------------------------- */

static inline void peer_time_out(peer_t *p)
{
    p->timeouts += !p->error;
    p->error = true;
    p->first_seen = false;
    memset(p->payload, 0, sizeof p->payload);
}

static inline void peer_watch_feedback(peer_t *p, int64_t now_ns, int64_t limit_ns)
{
    bool runs = p->first_seen || p->kind == PEER_SIEMENS;
    if (!runs || p->feedback != p->feedback_checked) {
        p->feedback_checked = p->feedback;
        p->alive_ns = now_ns;
        p->error = !p->first_seen;
    } else if (now_ns - p->alive_ns > limit_ns) {
        peer_time_out(p);
    }
}

static inline void peer_watch(peer_t *p, int64_t now_ns)
{
    switch (p->kind) {
    case PEER_PYTHON: /* only after 100 ms of silence, and a changed feedback costs a round more */
        if (now_ns - p->idle_from_ns < 100 * RT_NS_PER_MS)
            return;
        p->idle_from_ns = now_ns;
        if (p->feedback != p->feedback_checked)
            p->feedback_checked = p->feedback;
        else if (p->first_seen && now_ns - p->alive_ns > 30 * RT_NS_PER_MS)
            peer_time_out(p);
        return;
    case PEER_CODESYS5:
        if (now_ns - p->alive_ns > RT_NS_PER_S) {
            p->timeouts += !p->error;
            p->error = true; /* its data is never cleared */
        }
        return;
    case PEER_CODESYS4:
        peer_watch_feedback(p, now_ns, RT_NS_PER_S);
        return;
    case PEER_SIEMENS:
        peer_watch_feedback(p, now_ns, 10 * RT_NS_PER_MS);
        return;
    }
}

/* --- sending ------------------------------------------------------------------------------- */

static inline void peer_send(peer_t *p, int64_t now_ns)
{
    uint8_t data[PEER_DATAGRAM];
    if (p->kind == PEER_SIEMENS) {
        p->number = (uint8_t)(p->number + (p->sent > 0 && p->confirmed));
        p->confirmed = !rt_random_chance(&p->chance, p->unconfirmed);
    } else {
        p->number++;
    }
    data[0] = p->number;
    data[1] = p->echo;
    for (unsigned i = 0; i < PEER_PAYLOAD; i++)
        data[2 + i] = (uint8_t)(data[0] + i);
    p->sent++;
    p->send(p->context, data, sizeof data, now_ns);
}

static inline void peer_scan(peer_t *p, int64_t now_ns)
{
    bool due = now_ns >= p->send_ns;
    if (p->kind == PEER_SIEMENS && due)
        peer_send(p, now_ns); /* the send block comes first */
    peer_read_inbox(p, now_ns);
    p->echo = p->kind == PEER_SIEMENS ? p->accepted_number : p->received;
    peer_watch(p, now_ns);
    if (p->kind != PEER_SIEMENS && due)
        peer_send(p, now_ns);
    if (due) {
        int64_t scans = (p->interval_ns + p->scan_ns - 1) / p->scan_ns + 2;
        p->send_ns = now_ns + scans * p->scan_ns;
    }
    p->next_ns = now_ns + p->scan_ns;
}

static inline void peer_python_turn(peer_t *p, int64_t now_ns)
{
    int64_t oversleep_ns = (int64_t)rt_random_below(&p->chance, RT_NS_PER_MS);
    if (now_ns >= p->copy_ns) {
        p->echo = p->received;
        p->copy_ns = now_ns + p->interval_ns + oversleep_ns;
    }
    if (now_ns >= p->send_ns) {
        peer_send(p, now_ns);
        p->send_ns = now_ns + p->interval_ns + oversleep_ns;
    }
    peer_watch(p, now_ns);
    int64_t idle_ns = p->idle_from_ns + 100 * RT_NS_PER_MS;
    p->next_ns = p->copy_ns < p->send_ns ? p->copy_ns : p->send_ns;
    if (idle_ns < p->next_ns)
        p->next_ns = idle_ns;
}

static inline int64_t peer_next_ns(const peer_t *p)
{
    return p->running ? p->next_ns : RT_NEVER_NS;
}

static inline void peer_run(peer_t *p, int64_t now_ns)
{
    if (p->kind == PEER_PYTHON)
        peer_python_turn(p, now_ns);
    else
        peer_scan(p, now_ns);
}

/* How often it really sends. */
static inline double peer_period_ns(const peer_t *p)
{
    if (p->kind == PEER_PYTHON)
        return (double)p->interval_ns + 0.5 * (double)RT_NS_PER_MS;
    int64_t scans = (p->interval_ns + p->scan_ns - 1) / p->scan_ns + 2;
    return (double)(scans * p->scan_ns);
}

#endif
