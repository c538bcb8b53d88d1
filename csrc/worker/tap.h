/* tap.h: copies of a channel's datagrams for tools that asked for them (shm/tap_ring.h). Worker's
 * thread.
 *
 * The tool makes the memory and passes it over its control connection; here it is checked, mapped
 * and written to, and nothing is read from it. The end of the connection is the end of its taps.
 * Memory is made present, and let go again, in small pieces when nothing is due: a tool that comes
 * or dies costs no channel a deadline. */
#ifndef WRK_TAP_H
#define WRK_TAP_H

#include "shm/ctl_msg.h"
#include "shm/tap_ring.h"
#include "worker/worker.h"

#define WRK_TAPS_PER_CHANNEL 4u
#define WRK_TAPS_MOST 64u /* of a worker, those included whose memory is still being let go */

/* Memory of taps, in bytes: of a channel, of one user on this worker, of the worker. A tool can give pages
 * back behind the worker's back, and then the worker pays for what it writes. */
#define WRK_TAP_CHANNEL_BYTES TAP_MOST_BYTES
#define WRK_TAP_USER_BYTES TAP_MOST_BYTES
#define WRK_TAP_WORKER_BYTES (2 * TAP_MOST_BYTES)

struct wrk_tap {
    wrk_tap_t *next;        /* of the channel */
    wrk_tap_t *next_all;    /* of the worker */
    wrk_channel_t *channel; /* NULL: let go */
    wrk_conn_t *conn;
    tap_writer_t writer;
    uint8_t *memory;
    uint32_t guard; /* the tool may give pages back, and then the machine may have none left */
    uint64_t bytes;
    uid_t uid;              /* whose connection it is */
    uint64_t stepped_bytes; /* of it, made present so far; let go: unmapped so far */
    int fd;
    uint32_t what;       /* CTL_TAP_* */
    uint32_t snap_bytes; /* copied of a datagram at most */
    bool tool_gone;      /* nobody reads it any more: its pages are given back, too */
};

/* Whether the channel, this user and the worker may have a tap of so many bytes. Returns 0; -EUSERS,
 * -ENOSPC with a text. */
int tap_check_room(const wrk_channel_t *ch, uid_t uid, uint64_t bytes);

/* A tap of the connection on the channel, in memory fd (taken over whatever happens). Returns 0; as
 * tap_check_room; -EINVAL (no sealed memory of a size that fits, or not all of it is allocated),
 * -ENOMEM, -EAGAIN, -EACCES (mapping it failed), with a text. */
int tap_open(wrk_channel_t *ch, wrk_conn_t *conn, const ctl_tap_t *ask, int fd);

/* How many taps the channel has. */
uint32_t tap_count(const wrk_channel_t *ch);

/* The connection has ended. */
void tap_forget_conn(worker_t *w, const wrk_conn_t *conn);

/* The channel is closed; its tools read to the end what they have. */
void tap_forget_channel(wrk_channel_t *ch);

/* The channel failed. */
void tap_channel_failed(wrk_channel_t *ch);

/* Puts a mark with a text of up to CTL_MARK_BYTES into every log of the channel. Returns how many.
 */
uint32_t tap_mark(wrk_channel_t *ch, const void *text, uint32_t bytes, int64_t now_mono_ns);

/* One piece, some 5 us, of making memory present or letting it go. Returns false: there was none.
 */
bool tap_step(worker_t *w);

#endif
