#include "client/endpoint.h"

#include "base/rt_clock.h"
#include "base/rt_err.h"
#include "base/rt_futex.h"
#include "shm/ctl_msg.h"
#include "shm/shm_engine.h"

#include <errno.h>
#include <stdlib.h>

/* Start value of the usual wait for a packet. */
#define USUAL_GAP_START_NS (10 * RT_NS_PER_US)

int endpoint_open(endpoint_t *e, shm_segment_t *s, int mode, int from_oldest)
{
    *e = (endpoint_t){
        .epoch = rt_load_acquire(&s->status->epoch),
        .has_remote = s->config.remote.family != 0 || !shm_engine_has_addresses(&s->config),
        .rx_ready = mode == SHM_READ_SHARED || !s->writable,
        .bell_fd = -1,
        .reader_fd = -1,
        .usual_gap_ns = USUAL_GAP_START_NS,
    };
    int rc = rx_reader_init(&e->rx, s, CTL_NO_SLOT, mode, from_oldest);
    if (rc < 0)
        return rc;
    e->spare = malloc(s->config.max_payload_bytes + 1u);
    if (e->spare == NULL)
        return rt_err_set(-ENOMEM, "no memory for a packet of %u bytes",
                          s->config.max_payload_bytes);
    e->segment = s;
    return 0;
}

void endpoint_shut(endpoint_t *e)
{
    shm_segment_t *s = e->segment;
    if (s == NULL)
        return;
    e->segment = NULL;
    if (!s->writable)
        return;
    rt_futex_wake_all(&s->rx->data_event);
    rt_futex_wake_all(&s->tx->room_event);
}

void endpoint_close(endpoint_t *e)
{
    e->segment = NULL;
    free(e->spare);
    e->spare = NULL;
}

int endpoint_attach_producer(endpoint_t *e, uint32_t slot, int bell_fd)
{
    int rc = tx_producer_init(&e->tx, e->segment, slot);
    if (rc < 0)
        return rc;
    e->bell_fd = bell_fd;
    e->tx_ready = 1;
    return 0;
}

int endpoint_attach_reader(endpoint_t *e, uint32_t slot)
{
    rx_reader_t was = e->rx;
    int rc = rx_reader_init(&e->rx, e->segment, slot, was.mode, 0);
    if (rc < 0)
        return rc;
    e->rx.cursor = was.cursor;
    e->rx.sequence = was.sequence;
    e->rx.lost = was.lost;
    e->rx.lost_unreported = was.lost_unreported;
    e->rx.loan = was.loan;
    e->rx.loan_cursor = was.loan_cursor;
    e->reader = e->rx.slot;
    e->reader_fd = -1;
    rt_store_release(&e->reader->cursor, rx_reader_shown(&e->rx));
    e->rx_ready = 1;
    return 0;
}

void endpoint_forget_slots(endpoint_t *e)
{
    int shared = e->rx.mode == SHM_READ_SHARED;
    e->tx_ready = 0;
    e->rx_ready = shared || e->rx.shared == NULL;
    e->spare_full = e->spare_full && !shared;
    e->polled = 0;
    e->rx.slot = NULL;
    e->reader = NULL;
    e->bell_fd = -1;
    e->reader_fd = -1;
}

unsigned endpoint_state(const endpoint_t *e)
{
    return rt_load_acquire(&e->segment->status->state);
}

/* Whether a worker serves the channel, if its state is right. */
static bool is_served(const endpoint_t *e)
{
    unsigned state = rt_load_acquire(&e->segment->status->state);
    return state == SHM_STATE_OPEN || state == SHM_STATE_HELD;
}

int endpoint_in_force(const endpoint_t *e)
{
    return is_served(e) && rt_load_acquire(&e->segment->status->epoch) == e->epoch;
}

int64_t endpoint_silence_ns(const endpoint_t *e, int64_t now_mono_ns)
{
    return (int64_t)((uint64_t)now_mono_ns -
                     rt_load_relaxed(&e->segment->status->heartbeat_mono_ns));
}

int endpoint_may_recv(const endpoint_t *e)
{
    return e->rx_ready && endpoint_in_force(e);
}

int endpoint_may_read(const endpoint_t *e)
{
    return e->rx_ready || endpoint_state(e) == SHM_STATE_CLOSED;
}
