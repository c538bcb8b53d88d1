#include "worker/tap.h"

#include "base/rt_err.h"
#include "base/rt_linux.h"
#include "worker/connection.h"
#include "shm/bus_guard.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define STEP_BYTES (UINT64_C(32) << 10)
#define COPIED_BYTES_PER_NS 2 /* from memory, into memory that has not been touched lately */
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

/* --- open ----------------------------------------------------------------------------------- */

/* Memory of ordinary pages that can become neither shorter (an access beyond its end kills a
 * process) nor longer. */
static int check_memory(int fd, uint64_t *bytes, uint64_t *allocated)
{
    struct stat facts;
    struct statfs where;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & SEALS) != SEALS)
        return rt_err_set(-EINVAL,
                          "the memory passed with TAP is not sealed: make it with memfd_create and "
                          "seal it with F_SEAL_SHRINK, F_SEAL_GROW and F_SEAL_SEAL");
    if (fstat(fd, &facts) != 0 || fstatfs(fd, &where) != 0 || where.f_type != TMPFS_MAGIC)
        return rt_err_set(-EINVAL,
                          "the memory passed with TAP has huge pages: leave out MFD_HUGETLB");
    *bytes = (uint64_t)facts.st_size;
    *allocated = (uint64_t)facts.st_blocks * 512;
    return tap_bytes_check(*bytes);
}

/* The process that first touches a page pays for it. */
static int check_allocated(uint64_t bytes, uint64_t allocated)
{
    if (allocated >= bytes)
        return 0;
    return rt_err_set(-EINVAL,
                      "the memory passed with TAP has %llu bytes, %llu of them are allocated: allocate "
                      "all of it (posix_fallocate) before passing it",
                      (unsigned long long)bytes, (unsigned long long)allocated);
}

static int map_memory(wrk_tap_t *tap, const wrk_channel_t *ch, int fd)
{
    uint64_t allocated = 0;
    int rc = check_memory(fd, &tap->bytes, &allocated);
    rc = rc ? rc : tap_check_room(ch, tap->uid, tap->bytes);
    rc = rc ? rc : check_allocated(tap->bytes, allocated);
    if (rc < 0)
        return rc;
    void *memory = mmap(NULL, tap->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        return rt_err_set(
            -errno,
            "mapping %llu bytes for a tap: %s; ask for less, raise the limit of locked "
            "memory of the worker, and open the memory for writing",
            (unsigned long long)tap->bytes, strerror(errno));
    tap->memory = memory;
    rc = bus_guard_add(memory, tap->bytes, &tap->guard);
    if (rc < 0)
        (void)munmap(memory, tap->bytes);
    return rc;
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
    return rt_err_set(-ENOSPC,
                      "a tap of %llu bytes is too large: %s has taps of %llu bytes, the limit is %llu: end "
                      "some of them, or ask for a smaller buffer",
                      (unsigned long long)more, whose, (unsigned long long)used,
                      (unsigned long long)most);
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
        return rt_err_set(-EUSERS,
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

int tap_open(wrk_channel_t *ch, wrk_conn_t *conn, const ctl_tap_t *ask, int fd)
{
    worker_t *w = ch->worker;
    int rc = check_ask(ask);
    rc = rc ? rc : check_number(ch);
    wrk_tap_t *tap = rc ? NULL : calloc(1, sizeof *tap);
    if (rc == 0 && tap == NULL)
        rc = rt_err_set(-ENOMEM, "no memory for a tap");
    if (rc == 0) {
        tap->uid = conn->uid;
        rc = map_memory(tap, ch, fd);
    }
    if (rc < 0) {
        free(tap);
        close(fd);
        return rc;
    }
    tap->fd = fd;
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
    return 0;
}

/* --- the end -------------------------------------------------------------------------------- */

static void end_tap(wrk_tap_t *tap, bool tool_gone)
{
    wrk_tap_t **at = &tap->channel->taps;
    while (*at != tap)
        at = &(*at)->next;
    *at = tap->next;
    if (tap->stepped_bytes == tap->bytes)
        tap->channel->worker->tap_steps++;
    bus_guard_remove(tap->guard);
    tap->guard = 0;
    tap->channel = NULL;
    tap->tool_gone = tool_gone;
    tap->stepped_bytes = 0;
}

void tap_forget_conn(worker_t *w, const wrk_conn_t *conn)
{
    for (wrk_tap_t *tap = w->taps; tap != NULL; tap = tap->next_all) {
        if (tap->conn != conn)
            continue;
        tap->conn = NULL;
        if (tap->channel != NULL)
            end_tap(tap, true);
        tap->tool_gone = true;
    }
}

void tap_forget_channel(wrk_channel_t *ch)
{
    while (ch->taps != NULL) {
        tap_writer_end(&ch->taps->writer, TAP_CLOSED);
        end_tap(ch->taps, false);
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

/* Maps existing pages before their use. Allocates none: that is the tool's task. */
static void map_ahead(uint8_t *from, uint64_t bytes)
{
    uint8_t there[STEP_BYTES / SHM_PAGE_BYTES];
    uint64_t pages = bytes / SHM_PAGE_BYTES;
    if (mincore(from, bytes, there) != 0)
        return;
    for (uint64_t i = 0; i < pages; i++)
        if (!(there[i] & 1))
            return;
    (void)madvise(from, bytes, MADV_POPULATE_WRITE);
}

/* The last holder of the memory frees all its pages at once, which takes 1 ms for 16 MiB. So that
 * this is not the worker, the pages of a tool that is gone are freed here before, in pieces. */
static void step(worker_t *w, wrk_tap_t *tap)
{
    uint64_t left = tap->bytes - tap->stepped_bytes;
    uint64_t piece = left < STEP_BYTES ? left : STEP_BYTES;
    uint8_t *from = tap->memory + tap->stepped_bytes;
    if (tap->channel != NULL) {
        map_ahead(from, piece);
    } else {
        (void)munmap(from, piece);
        if (tap->tool_gone)
            (void)fallocate(tap->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                            (off_t)tap->stepped_bytes, (off_t)piece);
    }
    tap->stepped_bytes += piece;
    if (piece < left)
        return;
    w->tap_steps--;
    if (tap->channel == NULL)
        destroy(w, tap);
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
