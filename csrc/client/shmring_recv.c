#include "client/shmring_private.h"

#include "base/rt_clock.h"
#include "base/rt_err.h"
#include "client/channel_stats.h"

#include <errno.h>

_Static_assert(sizeof(shmring_packet_t) == sizeof(packet_record_t) &&
                   offsetof(shmring_packet_t, bytes) == offsetof(packet_record_t, length) &&
                   offsetof(shmring_packet_t, tos) == offsetof(packet_record_t, tos) &&
                   offsetof(shmring_packet_t, source) == offsetof(packet_record_t, source) &&
                   offsetof(shmring_packet_t, local) == offsetof(packet_record_t, local),
               "a packet's record has another name there");
_Static_assert(sizeof(shmring_report_t) == sizeof(shm_report_t) &&
                   offsetof(shmring_report_t, error) == offsetof(shm_report_t, error) &&
                   offsetof(shmring_report_t, batch) == offsetof(shm_report_t, batch),
               "a report has another name there");
_Static_assert(SHMRING_SHARED_STAMP == SHM_RX_SHARED_STAMP && SHMRING_TRUNCATED == SHM_RX_TRUNCATED,
               "the worker's flags");
_Static_assert(SHMRING_ROOM == ENDPOINT_TX && SHMRING_PACKET == ENDPOINT_RX,
               "events have the numbers of the directions");

/* --- waiting -------------------------------------------------------------------------------- */

int64_t shmring_until(int64_t timeout_ns)
{
    int64_t until;
    if (timeout_ns == 0)
        return 0;
    if (timeout_ns < 0 || __builtin_add_overflow(rt_mono_ns(), timeout_ns, &until))
        return RT_NEVER_NS;
    return until;
}

/* For an end that selects and found the ring empty: clears what made the descriptor readable.
 * Returns 1: packets came meanwhile. */
static int clear_readiness(shmring_t *c)
{
    if (!attachment_is_selected(&c->attachment))
        return 0;
    endpoint_rearm(&c->end);
    attachment_settle(&c->attachment);
    return endpoint_waiting(&c->end) > 0;
}

/* Ends a call whose time is over. */
static int give_up(shmring_t *c, int what, int64_t until_mono_ns)
{
    if (what == ENDPOINT_RX && clear_readiness(c))
        return 0;
    if (until_mono_ns != 0)
        return rt_err_set(-ETIMEDOUT, "channel \"%s\": no %s in time", c->segment.config.name,
                          what == ENDPOINT_RX ? "packet" : "room for a packet");
    rt_err_clear();
    return -EAGAIN;
}

static int sleep_a_while(shmring_t *c, int what, int64_t until_mono_ns)
{
    endpoint_sleep_t sleep;
    int rc = attachment_check_deserted(&c->segment);
    if (rc < 0)
        return rc;
    endpoint_before_sleep(&c->end, what, until_mono_ns, &sleep);
    rc = endpoint_sleep(&sleep);
    endpoint_after_sleep(&c->end, &sleep);
    if (rc != -EINTR)
        return 0;
    return rt_err_set(-EINTR, "channel \"%s\": a signal came", c->segment.config.name);
}

int shmring_wait_more(shmring_t *c, int what, int64_t until_mono_ns)
{
    bool over =
        until_mono_ns == 0 || (until_mono_ns != RT_NEVER_NS && rt_mono_ns() >= until_mono_ns);
    return over ? give_up(c, what, until_mono_ns) : sleep_a_while(c, what, until_mono_ns);
}

/* As shmring_attach_as. If the time is over before the worker answers, as if no packet came. */
static int attach_reader(shmring_t *c, int64_t until_mono_ns)
{
    int rc = shmring_attach_as(c, ENDPOINT_RX, until_mono_ns);
    return rc == -ETIMEDOUT && until_mono_ns != RT_NEVER_NS ? give_up(c, ENDPOINT_RX, until_mono_ns)
                                                            : rc;
}

/* Returns 1: it is there; 0: try again; or an error. */
static int wait_room(shmring_t *c, int64_t until_mono_ns)
{
    if (!endpoint_may_send(&c->end))
        return shmring_attach_as(c, ENDPOINT_TX, RT_NEVER_NS);
    return tx_producer_has_room(&c->end.tx) ? 1 : shmring_wait_more(c, ENDPOINT_TX, until_mono_ns);
}

static int wait_packet(shmring_t *c, int64_t until_mono_ns)
{
    bool stale = !endpoint_may_recv(&c->end); /* before the read, as in endpoint_poll */
    if (endpoint_may_read(&c->end) && endpoint_waiting(&c->end) > 0)
        return 1;
    return stale ? attach_reader(c, until_mono_ns)
                 : shmring_wait_more(c, ENDPOINT_RX, until_mono_ns);
}

int shmring_wait(shmring_t *c, int event, int64_t timeout_ns)
{
    int64_t until_mono_ns = shmring_until(timeout_ns);
    if (event != SHMRING_ROOM && event != SHMRING_PACKET)
        return rt_err_set(-EINVAL, "event is %d: use one of shmring_event_t", event);
    int rc = 0;
    while (rc == 0)
        rc = event == SHMRING_ROOM ? wait_room(c, until_mono_ns) : wait_packet(c, until_mono_ns);
    return rc < 0 ? rc : 0;
}

/* --- receiving ------------------------------------------------------------------------------ */

static int64_t refuse_buffer(shmring_t *c, size_t bytes, shmring_packet_t *packet)
{
    packet->bytes = c->end.spare_packet.payload_bytes;
    return rt_err_set(-EMSGSIZE,
                      "the next packet has %u bytes, the buffer %zu: give a larger one; the packet "
                      "is kept",
                      packet->bytes, bytes);
}

/* Returns how many; 0: there is none; -EMSGSIZE. */
static int64_t take(shmring_t *c, void *buffer, size_t bytes, shmring_packet_t *packets, size_t max)
{
    uint64_t used;
    if (!endpoint_may_read(&c->end))
        return 0;
    packet_record_t *records = (packet_record_t *)(void *)packets;
    uint64_t n = endpoint_take_many(&c->end, buffer, bytes, 0, records, max, &used);
    return n == 0 && c->end.spare_full ? refuse_buffer(c, bytes, packets) : (int64_t)n;
}

int64_t shmring_recv_many(shmring_t *c, void *buffer, size_t bytes, int64_t timeout_ns,
                          shmring_packet_t *packets, size_t max)
{
    int64_t until_mono_ns = shmring_until(timeout_ns);
    if (max == 0)
        return rt_err_set(-EINVAL, "max is 0: take at least one packet");
    for (;;) {
        bool stale = !endpoint_may_recv(&c->end); /* before the read, as in endpoint_poll */
        int64_t n = take(c, buffer, bytes, packets, max);
        if (n != 0)
            return n;
        int rc = stale ? attach_reader(c, until_mono_ns)
                       : shmring_wait_more(c, ENDPOINT_RX, until_mono_ns);
        if (rc < 0)
            return rc;
    }
}

int shmring_recv(shmring_t *c, void *buffer, size_t bytes, int64_t timeout_ns,
                 shmring_packet_t *packet)
{
    int64_t n = shmring_recv_many(c, buffer, bytes, timeout_ns, packet, 1);
    return n < 0 ? (int)n : 0;
}

uint64_t shmring_unread(const shmring_t *c)
{
    return endpoint_waiting(&c->end);
}

uint64_t shmring_lost(const shmring_t *c)
{
    return c->end.rx.mode == SHM_READ_SHARED ? channel_shared_lost(&c->segment) : c->end.rx.lost;
}

/* --- selecting ------------------------------------------------------------------------------ */

/* Opens the descriptor at the first call of shmring_fileno. */
static int begin_selecting(shmring_t *c)
{
    int rc = attachment_select(&c->attachment);
    rc = rc ? rc : shmring_attach_as(c, ENDPOINT_RX, RT_NEVER_NS);
    if (rc < 0)
        attachment_unselect(&c->attachment);
    return rc;
}

int shmring_fileno(shmring_t *c)
{
    if (attachment_is_selected(&c->attachment))
        return c->attachment.readiness.epoll_fd;
    if (!c->segment.writable)
        return rt_err_set(-EPERM,
                          "channel \"%s\" is attached with readonly, so the worker does not know "
                          "it and cannot ring it: attach without readonly to select on it",
                          c->segment.config.name);
    int rc = begin_selecting(c);
    return rc < 0 ? rc : c->attachment.readiness.epoll_fd;
}

/* --- reports -------------------------------------------------------------------------------- */

int64_t shmring_reports(shmring_t *c, shmring_report_t *out, size_t max)
{
    const shm_config_t *config = &c->segment.config;
    if (config->report_slots == 0 || config->reports == SHM_REPORTS_OFF)
        return rt_err_set(
            -ENOTSUP,
            "channel \"%s\" keeps no send reports: open it with reports=\"all\" and a "
            "report_capacity above 0",
            config->name);
    unsigned most = max < config->report_slots ? (unsigned)max : config->report_slots;
    return slot_reader_next(&c->reports, (shm_report_t *)(void *)out, most);
}

uint64_t shmring_reports_lost(const shmring_t *c)
{
    return c->reports.lost;
}
