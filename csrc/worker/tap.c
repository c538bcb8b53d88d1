#include "worker/tap.h"

#include "base/rt_err.h"
#include "base/rt_linux.h"
#include "worker/connection.h"
#include "shm/bus_guard.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define STEP_BYTES (UINT64_C(32) << 10)
#define COPIED_BYTES_PER_NS 2 /* from memory, into memory that has not been touched lately */

/* --- open ----------------------------------------------------------------------------------- */

/* Memory that can become neither shorter (an access beyond its end kills a process) nor longer, and
 * that only this user may open for writing. */
static int make_memory(uint64_t bytes)
{
    int fd = memfd_create("shmring-tap", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd >= 0 && fchmod(fd, 0600) == 0 && ftruncate(fd, (off_t)bytes) == 0 &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        return fd;
    int rc = rt_err_system(errno, "making the memory of a tap");
    if (fd >= 0)
        close(fd);
    return rc;
}

static int map_memory(wrk_tap_t *tap)
{
    void *memory = mmap(NULL, tap->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, tap->fd, 0);
    if (memory == MAP_FAILED)
        return rt_err_set(-errno,
                          "mapping %llu bytes for a tap: %s; ask for less, or raise the limit of "
                          "locked memory of the worker",
                          (unsigned long long)tap->bytes, strerror(errno));
    tap->memory = memory;
    int rc = bus_guard_add(memory, tap->bytes, &tap->guard);
    if (rc < 0)
        (void)munmap(memory, tap->bytes);
    return rc;
}

/* A descriptor with which pages can be read, but not taken away. */
static int open_for_tool(const wrk_tap_t *tap)
{
    char path[32];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", tap->fd);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 ? fd : rt_err_system(errno, "opening the memory of a tap again");
}

static uint32_t taps_of(const worker_t *w)
{
    uint32_t n = 0;
    for (const wrk_tap_t *tap = w->taps; tap != NULL; tap = tap->next_all)
        n++;
    return n;
}

uint32_t tap_count(const wrk_channel_t *ch)
{
    uint32_t n = 0;
    for (const wrk_tap_t *tap = ch->taps; tap != NULL; tap = tap->next)
        n++;
    return n;
}

static int check_bytes(const char *whose, uint64_t used, uint64_t more, uint64_t most)
{
    if (used + more <= most)
        return 0;
    return rt_err_set(
        -ENOSPC,
        "a tap of %llu bytes is too large: %s has taps of %llu bytes, the limit is %llu: end "
        "some of them, or ask for a smaller buffer",
        (unsigned long long)more, whose, (unsigned long long)used, (unsigned long long)most);
}

int tap_check_room(const wrk_channel_t *ch, uid_t uid, uint64_t bytes)
{
    uint64_t of_worker = 0, of_user = 0, of_channel = 0;
    for (const wrk_tap_t *tap = ch->worker->taps; tap != NULL; tap = tap->next_all) {
        of_worker += tap->bytes;
        of_user += tap->uid == uid ? tap->bytes : 0;
        of_channel += tap->channel == ch ? tap->bytes : 0;
    }
    int rc = check_bytes("the channel", of_channel, bytes, WRK_TAP_CHANNEL_BYTES);
    rc = rc ? rc : check_bytes("your user", of_user, bytes, WRK_TAP_USER_BYTES);
    return rc ? rc : check_bytes("the worker", of_worker, bytes, WRK_TAP_WORKER_BYTES);
}

static int check_number(const wrk_channel_t *ch)
{
    if (tap_count(ch) >= WRK_TAPS_PER_CHANNEL)
        return rt_err_set(-EUSERS, "channel \"%s\" has %u taps, the limit: end one of them",
                          ch->config.name, WRK_TAPS_PER_CHANNEL);
    if (taps_of(ch->worker) >= WRK_TAPS_MOST)
        return rt_err_set(
            -EUSERS,
            "this worker has %u taps, the limit, including those that have just ended: "
            "end some, or try again in a few seconds",
            WRK_TAPS_MOST);
    return 0;
}

static int check_ask(const ctl_tap_t *ask)
{
    const uint32_t known = CTL_TAP_TX | CTL_TAP_RX | CTL_TAP_NOT_SENT;
    if ((ask->what & (CTL_TAP_TX | CTL_TAP_RX)) == 0 || (ask->what & ~known) != 0)
        return rt_err_set(-EINVAL, "TAP has 0x%x: give tx (%u), rx (%u) or both, and not sent (%u)",
                          ask->what, CTL_TAP_TX, CTL_TAP_RX, CTL_TAP_NOT_SENT);
    return 0;
}

/* Returns the tool's descriptor, or -errno with a text. */
static int make(wrk_tap_t *tap)
{
    tap->fd = make_memory(tap->bytes);
    int theirs = tap->fd < 0 ? tap->fd : open_for_tool(tap);
    int rc = theirs < 0 ? theirs : map_memory(tap);
    if (rc >= 0)
        return theirs;
    if (theirs >= 0)
        close(theirs);
    if (tap->fd >= 0)
        close(tap->fd);
    return rc;
}

int tap_open(wrk_channel_t *ch, wrk_conn_t *conn, const ctl_tap_t *ask)
{
    worker_t *w = ch->worker;
    int rc = check_ask(ask);
    rc = rc ? rc : tap_bytes_check(ask->memory_bytes);
    rc = rc ? rc : check_number(ch);
    rc = rc ? rc : tap_check_room(ch, conn->uid, ask->memory_bytes);
    if (rc < 0)
        return rc;
    wrk_tap_t *tap = calloc(1, sizeof *tap);
    if (tap == NULL)
        return rt_err_set(-ENOMEM, "no memory for a tap");
    tap->uid = conn->uid;
    tap->bytes = ask->memory_bytes;
    int theirs = make(tap);
    if (theirs < 0) {
        free(tap);
        return theirs;
    }
    tap->conn = conn;
    tap->channel = ch;
    tap->what = ask->what;
    tap->snap_bytes =
        ask->snap_bytes != 0 && ask->snap_bytes < SHM_MAX_RECORD ? ask->snap_bytes : SHM_MAX_RECORD;
    tap->next_all = w->taps;
    w->taps = tap;
    w->tap_steps++;
    tap_writer_init(&tap->writer, tap->memory, tap->bytes,
                    rt_load_relaxed(&ch->segment.status->epoch), ch->config.clock);
    tap->next = ch->taps;
    ch->taps = tap;
    if (ch->failed)
        tap_writer_end(&tap->writer, TAP_FAILED);
    return theirs;
}

/* --- the end -------------------------------------------------------------------------------- */

static void begin_steps(worker_t *w, wrk_tap_t *tap)
{
    if (tap->stepped_bytes == tap->bytes)
        w->tap_steps++;
    tap->stepped_bytes = 0;
}

static void end_tap(wrk_tap_t *tap)
{
    wrk_tap_t **at = &tap->channel->taps;
    while (*at != tap)
        at = &(*at)->next;
    *at = tap->next;
    begin_steps(tap->channel->worker, tap);
    bus_guard_remove(tap->guard);
    tap->guard = 0;
    tap->channel = NULL;
}

static void lose_tool(worker_t *w, wrk_tap_t *tap)
{
    tap->conn = NULL;
    if (tap->channel != NULL)
        end_tap(tap);
    else if (tap->memory == NULL)
        begin_steps(w, tap);
}

void tap_forget_latest(worker_t *w)
{
    lose_tool(w, w->taps);
}

void tap_forget_conn(worker_t *w, const wrk_conn_t *conn)
{
    for (wrk_tap_t *tap = w->taps; tap != NULL; tap = tap->next_all)
        if (tap->conn == conn)
            lose_tool(w, tap);
}

void tap_forget_channel(wrk_channel_t *ch)
{
    while (ch->taps != NULL) {
        tap_writer_end(&ch->taps->writer, TAP_CLOSED);
        end_tap(ch->taps);
    }
}

void tap_channel_failed(wrk_channel_t *ch)
{
    for (wrk_tap_t *tap = ch->taps; tap != NULL; tap = tap->next)
        tap_writer_end(&tap->writer, TAP_FAILED);
}

static void destroy(worker_t *w, wrk_tap_t *tap)
{
    wrk_tap_t **at = &w->taps;
    while (*at != tap)
        at = &(*at)->next_all;
    *at = tap->next_all;
    close(tap->fd);
    free(tap);
}

/* The last holder of the memory frees all its pages at once, which takes 1 ms for 16 MiB. So the
 * pages of a tool that is gone are freed here before, in pieces. As long as a tool holds memory, it
 * counts, also after the channel was closed. */
static void step(worker_t *w, wrk_tap_t *tap)
{
    uint64_t left = tap->bytes - tap->stepped_bytes;
    uint64_t piece = left < STEP_BYTES ? left : STEP_BYTES;
    bool freed = tap->memory == NULL;
    if (tap->channel != NULL)
        (void)madvise(tap->memory + tap->stepped_bytes, piece, MADV_POPULATE_WRITE);
    else if (!freed)
        (void)munmap(tap->memory + tap->stepped_bytes, piece);
    else
        (void)fallocate(tap->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                        (off_t)tap->stepped_bytes, (off_t)piece);
    tap->stepped_bytes += piece;
    if (piece < left)
        return;
    w->tap_steps--;
    if (tap->channel == NULL)
        tap->memory = NULL;
    if (freed)
        destroy(w, tap);
    else if (tap->channel == NULL && tap->conn == NULL)
        begin_steps(w, tap);
}

bool tap_step(worker_t *w)
{
    if (w->tap_steps == 0)
        return false;
    for (wrk_tap_t *tap = w->taps; tap != NULL; tap = tap->next_all) {
        if (tap->stepped_bytes == tap->bytes)
            continue;
        step(w, tap);
        return true;
    }
    return false;
}

/* --- records -------------------------------------------------------------------------------- */

static const uint32_t WANTED_BY[] = {
    [TAP_SENT] = CTL_TAP_TX,
    [TAP_ARRIVED] = CTL_TAP_RX,
    [TAP_NOT_SENT] = CTL_TAP_NOT_SENT,
    [TAP_STAMPED] = CTL_TAP_TX,
    [TAP_MARK] = CTL_TAP_TX | CTL_TAP_RX,
};

/* When the next deadline is due that a copy could push. If the channel whose turn it is has work
 * that is due already, then that is no reason to copy less of what it does. */
static int64_t copies_until_ns(const wrk_channel_t *ch, int64_t now_mono_ns)
{
    const wrk_channel_t *turn_of = ch->worker->turn_of != NULL ? ch->worker->turn_of : ch;
    int64_t until = wrk_free_until_ns(turn_of);
    int64_t own = turn_of->ops->deadline_ns(turn_of);
    return own > now_mono_ns && own < until ? own : until;
}

/* How many of so many bytes may be copied now. */
static uint32_t may_copy(wrk_channel_t *ch, uint32_t bytes)
{
    worker_t *w = ch->worker;
    if (bytes > w->tap_pass_bytes) {
        int64_t now = rt_mono_ns();
        if (copies_until_ns(ch, now) - now > (int64_t)bytes / COPIED_BYTES_PER_NS)
            return bytes;
        bytes = w->tap_pass_bytes;
    }
    w->tap_pass_bytes -= bytes;
    return bytes;
}

void wrk_tap_put(wrk_channel_t *ch, tap_record_t *record, const void *first, uint32_t first_bytes,
                 const void *second)
{
    bool has_copy = record->kind != TAP_NOT_SENT && record->kind != TAP_STAMPED;
    uint32_t bytes = has_copy ? record->payload_bytes : 0;
    for (wrk_tap_t *tap = ch->taps; tap != NULL; tap = tap->next) {
        if (!(tap->what & WANTED_BY[record->kind]))
            continue;
        uint32_t wanted = bytes < tap->snap_bytes ? bytes : tap->snap_bytes;
        record->captured_bytes = may_copy(ch, wanted);
        tap_writer_put(&tap->writer, record, first, first_bytes, second);
    }
}

uint32_t tap_mark(wrk_channel_t *ch, const void *text, uint32_t bytes, int64_t now_mono_ns)
{
    tap_record_t record = {
        .kind = TAP_MARK,
        .number = ch->tap_number,
        .payload_bytes = bytes,
        .report = {.sent_ns = now_mono_ns - wrk_clock_shift_ns(ch), .verdict = TAP_NO_VERDICT},
    };
    wrk_tap_put(ch, &record, text, bytes, NULL);
    return tap_count(ch);
}
