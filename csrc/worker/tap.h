/* tap.h: copies a channel's datagrams for tools that ask for them (shm/tap_ring.h). Worker's
 * thread.
 *
 * The worker makes the memory, writes to it, and hands out a descriptor that can only be read: a
 * tool that could take its pages away would make the worker wait for new ones. The taps of a
 * connection end with it. Memory is made present, unmapped and freed in small pieces when nothing
 * is due, so that no channel misses a deadline when a tool comes or dies. */
#ifndef WRK_TAP_H
#define WRK_TAP_H

#include "shm/ctl_msg.h"
#include "shm/tap_ring.h"
#include "worker/worker.h"

#define WRK_TAPS_PER_CHANNEL 4u
#define WRK_TAPS_MOST 64u /* of a worker, including those whose memory is still being unmapped */

/* Memory of taps, in bytes: of a channel, of one user on this worker, of the worker. */
#define WRK_TAP_CHANNEL_BYTES TAP_MOST_BYTES
#define WRK_TAP_USER_BYTES TAP_MOST_BYTES
#define WRK_TAP_WORKER_BYTES (2 * TAP_MOST_BYTES)

/* Payload bytes that all taps together copy in a pass of the loop, whatever is due: about 10 us.
 * Beyond that they copy what fits before the next deadline, and the rest of a payload is missing in
 * their logs. The head of a record is always written. */
#define WRK_TAP_PASS_BYTES (64u << 10)

static inline void tap_begin_pass(worker_t *w)
{
    w->tap_pass_bytes = WRK_TAP_PASS_BYTES;
}

struct wrk_tap {
    wrk_tap_t *next;        /* of the channel */
    wrk_tap_t *next_all;    /* of the worker */
    wrk_channel_t *channel; /* NULL: the tap has ended */
    wrk_conn_t *conn;       /* NULL: the tool is gone, and the pages are freed, too */
    tap_writer_t writer;
    uint8_t *memory; /* NULL: unmapped */
    uint32_t guard;  /* the machine may have no page left */
    uint64_t bytes;
    uid_t uid;              /* user of the connection */
    uint64_t stepped_bytes; /* made present so far; after its end: unmapped, or freed, so far */
    int fd;
    uint32_t what;       /* CTL_TAP_* */
    uint32_t snap_bytes; /* most bytes copied of a datagram */
};

/* Whether the channel, this user and the worker may have a tap of this many bytes. Returns 0;
 * -EUSERS, -ENOSPC with a text. */
int tap_check_room(const wrk_channel_t *ch, uid_t uid, uint64_t bytes);

/* Opens a tap of the connection on the channel. Returns the memory's descriptor for the tool, which
 * the caller closes; as tap_check_room; -EINVAL (a size that cannot be), -ENOMEM, -EMFILE or
 * another -errno, with a text. */
int tap_open(wrk_channel_t *ch, wrk_conn_t *conn, const ctl_tap_t *ask);

/* Ends the tap that was opened last: its tool cannot get the memory. */
void tap_forget_latest(worker_t *w);

/* How many taps the channel has. */
uint32_t tap_count(const wrk_channel_t *ch);

/* The connection has ended. */
void tap_forget_conn(worker_t *w, const wrk_conn_t *conn);

/* The channel is closed. Its tools read the rest of their logs. */
void tap_forget_channel(wrk_channel_t *ch);

/* The channel failed. */
void tap_channel_failed(wrk_channel_t *ch);

/* Puts a mark with a text of up to CTL_MARK_BYTES into every log of the channel. Returns how many.
 */
uint32_t tap_mark(wrk_channel_t *ch, const void *text, uint32_t bytes, int64_t now_mono_ns);

/* Makes a small part of memory present, or unmaps or frees it, about 10 us. Returns false: there
 * was none.
 */
bool tap_step(worker_t *w);

#endif
