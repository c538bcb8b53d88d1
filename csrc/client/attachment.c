#include "client/attachment.h"

#include "base/rt_clock.h"
#include "base/rt_err.h"
#include "client/channel_stats.h"
#include "client/host.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* A worker that died is replaced within 0.1 s; a supervisor that waits longer has a reason. */
#define CONNECT_WAIT_NS (3 * RT_NS_PER_S)

/* A worker that is well answers within a few ms, also on a loaded machine: a call that does not
 * wait for packets waits this long for it. */
#define LEAST_WAIT_NS (100 * RT_NS_PER_MS)

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* --- the worker in charge ------------------------------------------------------------------- */

static int refuse_failed(const shm_segment_t *s)
{
    char reason[SHM_REASON_BYTES];
    uint32_t error = rt_load_relaxed(&s->status->error);
    rt_copy_once(reason, s->status->reason, sizeof reason);
    reason[sizeof reason - 1] = '\0';
    /* Any process may have overwritten it. EHWPOISON is the last errno. */
    int number = error > 0 && error <= EHWPOISON ? (int)error : EIO;
    return rt_err_set(-number, "channel \"%s\" failed: %s. Close it and open it again",
                      s->config.name, reason[0] != '\0' ? reason : strerror(number));
}

int attachment_check_whole(const shm_segment_t *s)
{
    if (!shm_segment_torn(s))
        return 0;
    return rt_err_set(-EPIPE,
                      "channel \"%s\": its file in shared memory was cut short, after its end or "
                      "by another process, or /dev/shm is full: close it and open it again",
                      s->config.name);
}

/* Returns 1: a worker serves the channel; 0: no worker serves it yet; or the error that prevents
 * it. */
static int check_served(const shm_segment_t *s)
{
    uint32_t state = rt_load_acquire(&s->status->state);
    int rc = attachment_check_whole(s);
    if (rc < 0)
        return rc;
    if (state == SHM_STATE_NEW)
        return 0;
    if (state == SHM_STATE_CLOSED)
        return rt_err_set(-EPIPE, "channel \"%s\" was closed: open it again, or attach again",
                          s->config.name);
    return state == SHM_STATE_OPEN || state == SHM_STATE_HELD ? 1 : refuse_failed(s);
}

static int64_t give_up_at(int64_t until_mono_ns)
{
    int64_t patience = rt_mono_ns() + CONNECT_WAIT_NS;
    return until_mono_ns < patience ? until_mono_ns : patience;
}

static int served_epoch(const shm_segment_t *s, uint32_t *epoch, int64_t give_up)
{
    for (;;) {
        *epoch = rt_load_acquire(&s->status->epoch);
        int found = check_served(s);
        if (found != 0)
            return found < 0 ? found : 0;
        if (rt_mono_ns() > give_up)
            return rt_err_set(-ECONNRESET, "channel \"%s\" was made, but no worker serves it",
                              s->config.name);
        int rc = control_nap();
        if (rc < 0)
            return rc;
    }
}

int attachment_served_epoch(const shm_segment_t *s, uint32_t *epoch)
{
    return served_epoch(s, epoch, give_up_at(RT_NEVER_NS));
}

/* Whether the file open as fd is a different one from the segment's. */
static bool is_other_file(const shm_segment_t *s, int fd)
{
    shm_segment_t named;
    if (shm_segment_map(&named, fd, 0) < 0)
        return false; /* cannot tell */
    bool other = named.segment_id != s->segment_id;
    shm_segment_unmap(&named);
    return other;
}

/* A living process holds a lock on the file. */
static bool is_held(int fd)
{
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return true;
    flock(fd, LOCK_UN);
    return false;
}

int attachment_check_deserted(const shm_segment_t *s)
{
    if (!channel_is_unheard(s))
        return 0;
    int fd = host_open_segment(s->config.name_space, s->config.name, 0);
    rt_err_clear();
    if (fd < 0)
        return 0; /* the file was removed by hand: cannot tell */
    bool deserted = !is_held(fd) || is_other_file(s, fd);
    close(fd);
    if (!deserted)
        return 0;
    return rt_err_set(-EPIPE, "channel \"%s\" is closed: its pool and its worker have ended",
                      s->config.name);
}

/* --- connecting ----------------------------------------------------------------------------- */

void attachment_init(attachment_t *a, const shm_segment_t *s, const char *base)
{
    *a = (attachment_t){
        .segment = s,
        .base = base,
        .control.fd = -1,
        .until_mono_ns = RT_NEVER_NS,
        .producer = CTL_NO_SLOT,
        .reader = CTL_NO_SLOT,
        .bell_fd = -1,
        .doorbell_fd = -1,
        .watch_fd = -1,
        .producer_lock = -1,
        .reader_lock = -1,
        .readiness = READINESS_NONE,
        .progress = READINESS_NONE,
    };
}

/* Refuses a socket of another user, who created a folder of that name before the pool did. */
static int check_peer(attachment_t *a, const char *path)
{
    char user[HOST_USER_BYTES];
    uid_t uid = a->control.peer_uid;
    if (uid == 0 || uid == geteuid() || uid == a->segment->owner_uid)
        return 0;
    attachment_disconnect(a);
    return rt_err_set(-EPERM,
                      "worker's socket %s belongs to %s, who does not own the channel: "
                      "remove it, or set SHMRING_RUNTIME_DIR to a folder of your own",
                      path, host_user_text(uid, user));
}

static int check_open(const attachment_t *a)
{
    if (!a->closed)
        return 0;
    return rt_err_set(-EPIPE, "channel \"%s\" is closed", a->segment->config.name);
}

/* As attachment_served_epoch; -EPIPE also if this end was closed. */
static int await_worker(const attachment_t *a, uint32_t *epoch)
{
    int rc = served_epoch(a->segment, epoch, give_up_at(a->until_mono_ns));
    return rc ? rc : check_open(a);
}

static bool is_passing(int rc)
{
    return rc == -ENOENT || rc == -ECONNREFUSED || rc == -ECONNRESET;
}

/* A worker that was connected to by a request has given no bell yet. Whoever waits must attach
 * again: the timer goes on. */
static int watch_connection(attachment_t *a)
{
    int rc = attachment_is_selected(a) ? readiness_watch(&a->readiness, a->control.fd) : 0;
    if (rc == 0 && attachment_is_watching(a))
        rc = readiness_watch(&a->progress, a->control.fd);
    return rc;
}

/* One attempt. Returns 0; -ECONNREFUSED or a similar error if another attempt may succeed. */
static int try_connect(attachment_t *a, char *path)
{
    const shm_segment_t *s = a->segment;
    a->slot = rt_load_relaxed(&s->status->worker_slot);
    int rc = host_worker_socket(a->base, s->config.name_space, s->config.pool, a->slot, path);
    rc = rc ? rc : control_connect(&a->control, path, a->slot, a->until_mono_ns);
    rc = rc ? rc : check_peer(a, path);
    if (rc < 0)
        return rc;
    rc = watch_connection(a);
    if (rc < 0)
        attachment_disconnect(a);
    return rc;
}

/* Connects to the worker in charge, unless it is connected already. */
static int connect_to_worker(attachment_t *a)
{
    char path[HOST_PATH_BYTES];
    int64_t give_up = give_up_at(a->until_mono_ns);
    uint32_t epoch;
    int rc = await_worker(a, &epoch);
    if (rc < 0 || (a->control.fd >= 0 && a->epoch == epoch))
        return rc;
    attachment_disconnect(a);
    while ((rc = await_worker(a, &a->epoch)) == 0) {
        rc = try_connect(a, path);
        if (!is_passing(rc))
            return rc;
        if (rt_mono_ns() > give_up)
            return rt_err_set(
                -ECONNRESET,
                "channel \"%s\": no worker answers at %s: its pool has ended or restarts it. See "
                "\"shmring ls\". Remove leftovers with \"shmring gc\"",
                a->segment->config.name, path);
        rc = control_nap();
        if (rc < 0)
            return rc;
    }
    return rc;
}

void attachment_disconnect(attachment_t *a)
{
    a->holds_producer = a->holds_reader = a->holds_watcher = false;
    if (attachment_is_selected(a))
        readiness_await_successor(&a->readiness);
    if (attachment_is_watching(a))
        readiness_await_successor(&a->progress);
    control_close(&a->control);
}

void attachment_close(attachment_t *a)
{
    a->closed = true;
    close_fd(&a->producer_lock);
    close_fd(&a->reader_lock);
    attachment_disconnect(a);
    close_fd(&a->bell_fd);
    readiness_close(&a->readiness);
    readiness_close(&a->progress);
    close_fd(&a->doorbell_fd);
    close_fd(&a->watch_fd);
}

void attachment_forget(attachment_t *a)
{
    readiness_close(&a->readiness); /* first: unregistering would affect the parent */
    readiness_close(&a->progress);
    attachment_close(a);
    attachment_init(a, a->segment, a->base);
}

/* --- requests ------------------------------------------------------------------------------- */

typedef struct request {
    ctl_channel_t channel;
    uint8_t rest[CTL_ENGINE_BYTES];
} request_t;

/* After a request that failed. Returns 0: it may succeed at the worker that takes over, or when
 * descriptors of other processes have arrived; or the error. */
static int wait_to_ask_again(attachment_t *a, int rc, const control_reply_t *reply)
{
    uint32_t epoch;
    if (reply->refused && rc == -ETOOMANYREFS)
        rc = 0;
    else if (reply->refused) /* ENOENT: it has not taken the channel over yet, unless closed */
        rc = rc == -ENOENT ? served_epoch(a->segment, &epoch, give_up_at(a->until_mono_ns)) : rc;
    else if (rc == -ECONNRESET && a->control.fd >= 0) {
        attachment_disconnect(a);
        rc = 0;
    }
    return rc < 0 ? rc : control_nap();
}

int attachment_request(attachment_t *a, uint32_t op, const void *rest, uint32_t bytes,
                       control_reply_t *reply)
{
    request_t ask = {0};
    int64_t give_up = give_up_at(a->until_mono_ns);
    if (bytes > sizeof ask.rest)
        return rt_err_set(-EMSGSIZE, "a request of %u bytes: the longest has %zu", bytes,
                          sizeof ask.rest);
    memcpy(ask.channel.name, a->segment->config.name, sizeof ask.channel.name);
    memcpy(ask.rest, rest, bytes);
    bytes += (uint32_t)sizeof ask.channel;
    for (;;) {
        *reply = (control_reply_t){0};
        int rc = connect_to_worker(a);
        if (rc < 0)
            return rc;
        rc = control_request(&a->control, op, &ask, bytes, a->until_mono_ns, reply);
        if (rc == 0)
            return 0;
        if (rc == -ETIMEDOUT && !reply->refused)
            rt_err_append("worker %u of pool \"%s\"", a->slot, a->segment->config.pool);
        rt_err_append("channel \"%s\"", a->segment->config.name);
        int again = rt_mono_ns() > give_up ? rc : wait_to_ask_again(a, rc, reply);
        if (again < 0)
            return again;
    }
}

/* --- slots ---------------------------------------------------------------------------------- */

static uint32_t *slot_of(attachment_t *a, uint32_t what)
{
    return what == CTL_ATTACH_PRODUCER ? &a->producer : &a->reader;
}

/* The slot that the answer contains. CTL_NO_SLOT: the answer is too short. */
static uint32_t slot_in(const control_reply_t *reply, uint32_t what)
{
    ctl_attached_t got;
    if (reply->bytes < sizeof got)
        return CTL_NO_SLOT;
    memcpy(&got, reply->body, sizeof got);
    return what == CTL_ATTACH_PRODUCER ? got.producer : got.reader;
}

/* Frees the slot of an answer that came without its descriptors. If it is the former slot, the lock
 * from the previous worker holds it: this end keeps it, and the worker that loses the connection
 * sees that it is held. */
static void give_back(attachment_t *a, uint32_t what, const control_reply_t *reply)
{
    control_reply_t ignored;
    uint32_t slot = slot_in(reply, what);
    if (slot == CTL_NO_SLOT || slot == *slot_of(a, what) ||
        control_request(&a->control, CTL_DETACH, reply->body, sizeof(ctl_attached_t),
                        a->until_mono_ns, &ignored) < 0)
        attachment_disconnect(a);
    else
        control_reply_close(&ignored);
}

static int refuse_answer(attachment_t *a, control_reply_t *reply)
{
    control_reply_close(reply);
    attachment_disconnect(a);
    return rt_err_set(-EPROTO,
                      "channel \"%s\": the worker's answer is invalid: use one version of shmring "
                      "in all processes",
                      a->segment->config.name);
}

/* Asks to attach as `what`: for the former slot if there was one and it is free. The answer has
 * `fd_count` descriptors. */
static int ask_to_attach(attachment_t *a, uint32_t what, unsigned fd_count, control_reply_t *reply)
{
    ctl_attach_t ask = {.what = what, .producer = a->producer, .reader = a->reader};
    const size_t from = sizeof ask.channel;
    bool has_slot = what != CTL_ATTACH_WATCHER;
    int rc = attachment_request(a, CTL_ATTACH, (uint8_t *)&ask + from, sizeof ask - from, reply);
    if (rc == -EMFILE && !reply->refused && reply->bytes > 0)
        give_back(a, what, reply);
    if (rc < 0)
        return rc;
    if (reply->fd_count != fd_count || (has_slot && slot_in(reply, what) == CTL_NO_SLOT))
        return refuse_answer(a, reply);
    if (has_slot)
        *slot_of(a, what) = slot_in(reply, what);
    return 0;
}

/* Keeps the number of the former descriptor, which another thread may be using now. */
static void replace_fd(int *fd, int with)
{
    if (*fd < 0 || dup3(with, *fd, O_CLOEXEC) < 0) {
        close_fd(fd);
        *fd = with;
    } else {
        close(with);
    }
}

static int get_producer(attachment_t *a)
{
    control_reply_t reply;
    int rc = ask_to_attach(a, CTL_ATTACH_PRODUCER, 2, &reply);
    if (rc < 0)
        return rc;
    replace_fd(&a->bell_fd, reply.fds[0]);
    replace_fd(&a->producer_lock, reply.fds[1]); /* held the slot of the previous worker */
    a->holds_producer = true;
    a->unbound |= ENDPOINT_TX;
    return 0;
}

static int get_reader(attachment_t *a)
{
    control_reply_t reply;
    int rc = ask_to_attach(a, CTL_ATTACH_READER, 2, &reply);
    if (rc < 0)
        return rc;
    replace_fd(&a->doorbell_fd, reply.fds[0]);
    replace_fd(&a->reader_lock, reply.fds[1]);
    a->holds_reader = true;
    a->unbound |= ENDPOINT_RX;
    return attachment_is_selected(a) ? readiness_watch_bell(&a->readiness, a->doorbell_fd) : 0;
}

static int get_watcher(attachment_t *a)
{
    control_reply_t reply;
    int rc = ask_to_attach(a, CTL_ATTACH_WATCHER, 1, &reply);
    if (rc < 0)
        return rc;
    replace_fd(&a->watch_fd, reply.fds[0]);
    a->holds_watcher = true;
    return readiness_watch_bell(&a->progress, a->watch_fd);
}

/* What the endpoint needs and the connected worker does not know yet. */
typedef struct needs {
    bool producer, reader, watcher;
} needs_t;

static needs_t still_needed(const attachment_t *a, needs_t n)
{
    return (needs_t){.producer = n.producer && !a->holds_producer,
                     .reader = n.reader && !a->holds_reader,
                     .watcher = n.watcher && !a->holds_watcher};
}

static int get_needed(attachment_t *a, needs_t n)
{
    int rc = connect_to_worker(a);
    if (rc == 0 && still_needed(a, n).producer)
        rc = get_producer(a);
    if (rc == 0 && still_needed(a, n).reader)
        rc = get_reader(a);
    if (rc == 0 && still_needed(a, n).watcher)
        rc = get_watcher(a);
    return rc;
}

static int attach_all(attachment_t *a, const endpoint_t *e, int what)
{
    const needs_t all = {
        .producer = e->tx_ready || what == ENDPOINT_TX,
        .reader = a->reader != CTL_NO_SLOT || attachment_is_selected(a) ||
                  (what == ENDPOINT_RX && !e->rx_ready),
        .watcher = attachment_is_watching(a),
    };
    needs_t left;
    if (!a->segment->writable)
        return served_epoch(a->segment, &a->epoch, give_up_at(a->until_mono_ns));
    int rc;
    do { /* again if the worker died between the answers: its successor knows no slot of them */
        rc = get_needed(a, all);
        left = still_needed(a, all);
    } while (rc == 0 && (left.producer || left.reader || left.watcher));
    return rc;
}

int attachment_attach(attachment_t *a, const endpoint_t *e, int what, int64_t until_mono_ns)
{
    if (until_mono_ns == RT_NEVER_NS)
        return attach_all(a, e, what);
    int64_t least = rt_mono_ns() + LEAST_WAIT_NS;
    if (until_mono_ns < least && channel_is_unheard(a->segment))
        return rt_err_set(-ETIMEDOUT, "channel \"%s\": its worker has been silent for a second",
                          a->segment->config.name);
    a->until_mono_ns = until_mono_ns < least ? least : until_mono_ns;
    int rc = attach_all(a, e, what);
    bool over = rc < 0 && rt_mono_ns() >= a->until_mono_ns;
    a->until_mono_ns = RT_NEVER_NS;
    if (!over || (rc != -ETIMEDOUT && !is_passing(rc)))
        return rc;
    attachment_disconnect(a); /* what it asked for may come later */
    return -ETIMEDOUT;
}

static int bind_slots(attachment_t *a, endpoint_t *e)
{
    int rc = 0;
    if (a->unbound & ENDPOINT_TX)
        rc = endpoint_attach_producer(e, a->producer, a->bell_fd);
    if (rc == 0 && (a->unbound & ENDPOINT_RX))
        rc = endpoint_attach_reader(e, a->reader);
    a->unbound = 0;
    return rc;
}

int attachment_bind(attachment_t *a, endpoint_t *e)
{
    int rc = bind_slots(a, e);
    if (rc < 0) {
        attachment_disconnect(a);
        rt_err_append("channel \"%s\": the worker gave a slot that does not exist",
                      a->segment->config.name);
        return rc;
    }
    if (attachment_is_selected(a) && e->reader != NULL &&
        (e->reader_fd < 0 || e->own_fd != a->readiness.own_fd))
        endpoint_select(e, a->doorbell_fd, a->readiness.own_fd);
    e->epoch = a->epoch;
    return 0;
}

/* --- selecting ------------------------------------------------------------------------------ */

/* Opens r, which watches the connection, and the bell if the worker has given one. */
static int open_readiness(attachment_t *a, readiness_t *r, int bell_fd)
{
    int rc = check_open(a);
    rc = rc ? rc : readiness_open(r);
    if (rc == 0 && a->control.fd >= 0)
        rc = readiness_watch(r, a->control.fd);
    if (rc == 0 && bell_fd >= 0)
        rc = readiness_watch_bell(r, bell_fd);
    if (rc < 0)
        readiness_close(r);
    return rc;
}

int attachment_select(attachment_t *a)
{
    return open_readiness(a, &a->readiness, a->holds_reader ? a->doorbell_fd : -1);
}

void attachment_unselect(attachment_t *a)
{
    readiness_close(&a->readiness);
}

static void settle(readiness_t *r)
{
    bool gone = readiness_clear(r) || r->control_fd < 0;
    if (gone && r->epoll_fd >= 0)
        readiness_await_successor(r); /* otherwise it stays readable */
}

void attachment_settle(attachment_t *a)
{
    if (attachment_is_selected(a))
        settle(&a->readiness);
}

/* --- watching ------------------------------------------------------------------------------- */

int attachment_watch(attachment_t *a)
{
    a->holds_watcher = false; /* the worker may have the bell of a former attempt */
    return open_readiness(a, &a->progress, -1);
}

void attachment_unwatch(attachment_t *a)
{
    readiness_close(&a->progress);
}

void attachment_clear_progress(attachment_t *a)
{
    uint8_t rings[64];
    settle(&a->progress);
    (void)!read(a->watch_fd, rings, sizeof rings);
}

void attachment_ask_progress(attachment_t *a)
{
    tx_ring_ask_watch(a->segment);
}
