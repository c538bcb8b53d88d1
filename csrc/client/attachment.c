#include "client/attachment.h"

#include "base/rt_clock.h"
#include "base/rt_err.h"
#include "client/host.h"

#include <errno.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

/* A worker that died is replaced within 0.1 s; a supervisor that waits longer has a reason. */
#define CONNECT_WAIT_NS (3 * RT_NS_PER_S)
#define CONNECT_LOOK_NS (2 * RT_NS_PER_MS)

static void nap(void)
{
    const struct timespec length = {.tv_nsec = CONNECT_LOOK_NS};
    nanosleep(&length, NULL);
}

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
    int number = error > 0 && error < 4096 ? (int)error : EIO; /* any process may have overwritten it */
    return rt_err_set(-number, "channel \"%s\" failed: %s; close it and open it again",
                      s->config.name, reason[0] != '\0' ? reason : strerror(number));
}

static int refuse_torn(const shm_segment_t *s)
{
    return rt_err_set(-EPIPE,
                      "channel \"%s\": its file in shared memory was cut short by a process that may "
                      "write to it; close the channel and open it again",
                      s->config.name);
}

/* Returns 1: a worker serves the channel; 0: no worker serves it yet; or the error that prevents
 * it. */
static int look_served(const shm_segment_t *s)
{
    uint32_t state = rt_load_acquire(&s->status->state);
    if (shm_segment_torn(s))
        return refuse_torn(s);
    switch (state) {
    case SHM_STATE_NEW:
        return 0;
    case SHM_STATE_OPEN:
    case SHM_STATE_HELD:
        return 1;
    case SHM_STATE_CLOSED:
        return rt_err_set(-EPIPE, "channel \"%s\" was closed: open it again, or attach again",
                          s->config.name);
    default:
        return refuse_failed(s);
    }
}

int attachment_served_epoch(const shm_segment_t *s, uint32_t *epoch)
{
    int64_t give_up = rt_mono_ns() + CONNECT_WAIT_NS;
    for (;;) {
        *epoch = rt_load_acquire(&s->status->epoch);
        int found = look_served(s);
        if (found != 0)
            return found < 0 ? found : 0;
        if (rt_mono_ns() > give_up)
            return rt_err_set(-ECONNRESET, "channel \"%s\" was made, but no worker serves it",
                              s->config.name);
        nap();
    }
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

void attachment_init(attachment_t *a, const shm_segment_t *s)
{
    *a = (attachment_t){
        .segment = s,
        .control.fd = -1,
        .producer = CTL_NO_SLOT,
        .reader = CTL_NO_SLOT,
        .bell_fd = -1,
        .producer_lock = -1,
        .reader_lock = -1,
    };
}

/* Refuses a socket of another user, who created a folder of that name before the pool did. */
static int check_peer(attachment_t *a, const char *path)
{
    uid_t uid = a->control.peer_uid;
    if (uid == 0 || uid == geteuid() || uid == a->segment->owner_uid)
        return 0;
    attachment_disconnect(a);
    return rt_err_set(-EPERM,
                      "worker's socket %s belongs to user %u, who does not own the channel: "
                      "remove it, or set SHMRING_RUNTIME_DIR to a folder of your own",
                      path, (unsigned)uid);
}

static bool is_passing(int rc)
{
    return rc == -ENOENT || rc == -ECONNREFUSED || rc == -ECONNRESET;
}

/* One attempt. Returns 0; -ECONNREFUSED or a similar error if another attempt may succeed. */
static int try_connect(attachment_t *a, char *path)
{
    const shm_segment_t *s = a->segment;
    uint32_t slot = rt_load_relaxed(&s->status->worker_slot);
    int rc = host_worker_socket(s->config.name_space, s->config.pool, slot, path);
    rc = rc ? rc : control_connect(&a->control, path);
    rc = rc ? rc : check_peer(a, path);
    if (rc < 0 || a->readiness == NULL)
        return rc;
    rc = readiness_watch(a->readiness, a->control.fd);
    if (rc < 0)
        attachment_disconnect(a);
    return rc;
}

int attachment_connect(attachment_t *a)
{
    char path[HOST_PATH_BYTES];
    int64_t give_up = rt_mono_ns() + CONNECT_WAIT_NS;
    uint32_t epoch;
    int rc = attachment_served_epoch(a->segment, &epoch);
    if (rc < 0 || (a->control.fd >= 0 && a->epoch == epoch))
        return rc;
    attachment_disconnect(a);
    while ((rc = attachment_served_epoch(a->segment, &a->epoch)) == 0) {
        rc = try_connect(a, path);
        if (!is_passing(rc))
            return rc;
        if (rt_mono_ns() > give_up)
            return rt_err_set(
                -ECONNRESET,
                "channel \"%s\": no worker answers at %s: its pool has ended or is restarting it; "
                "see \"shmring ls\", remove leftovers with \"shmring gc\"",
                a->segment->config.name, path);
        nap();
    }
    return rc;
}

void attachment_disconnect(attachment_t *a)
{
    a->holds_producer = a->holds_reader = false;
    if (a->control.fd >= 0 && a->readiness != NULL)
        readiness_unwatch(a->readiness);
    control_close(&a->control);
}

void attachment_close(attachment_t *a)
{
    close_fd(&a->producer_lock);
    close_fd(&a->reader_lock);
    attachment_disconnect(a);
    close_fd(&a->bell_fd);
}

/* --- slots ---------------------------------------------------------------------------------- */

static ctl_attach_t request_for(const attachment_t *a, uint32_t what)
{
    ctl_attach_t ask = {.what = what, .producer = a->producer, .reader = a->reader};
    memcpy(ask.channel.name, a->segment->config.name, sizeof ask.channel.name);
    return ask;
}

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
        control_request(&a->control, CTL_DETACH, reply->body, sizeof(ctl_attached_t), NULL, 0,
                        &ignored) < 0)
        attachment_disconnect(a);
    else
        control_reply_close(&ignored);
}

/* One attempt at one worker. */
static int try_attach(attachment_t *a, uint32_t what, int doorbell_fd, control_reply_t *reply)
{
    ctl_attach_t ask = request_for(a, what);
    unsigned fds = what == CTL_ATTACH_READER ? 1 : 0;
    *reply = (control_reply_t){0};
    int rc = attachment_connect(a);
    if (rc < 0)
        return rc;
    rc = control_request(&a->control, CTL_ATTACH, &ask, sizeof ask, &doorbell_fd, fds, reply);
    if (rc < 0)
        rt_err_append("channel \"%s\"", a->segment->config.name);
    return rc;
}

/* Whether it may succeed at the worker that takes over. */
static bool may_try_again(attachment_t *a, int rc, const control_reply_t *reply)
{
    uint32_t epoch;
    if (reply->refused) /* ENOENT: it has not taken the channel over yet, if that was not closed */
        return rc == -ENOENT && attachment_served_epoch(a->segment, &epoch) == 0;
    if (rc != -ECONNRESET || a->control.fd < 0)
        return false;
    attachment_disconnect(a);
    return true;
}

static int ask_for_slot(attachment_t *a, uint32_t what, int doorbell_fd, control_reply_t *reply)
{
    int64_t give_up = rt_mono_ns() + CONNECT_WAIT_NS;
    for (;;) {
        int rc = try_attach(a, what, doorbell_fd, reply);
        if (rc == -EMFILE && !reply->refused)
            give_back(a, what, reply);
        if (rc == 0 || !may_try_again(a, rc, reply) || rt_mono_ns() > give_up)
            return rc;
        nap();
    }
}

static int refuse_answer(attachment_t *a, control_reply_t *reply)
{
    control_reply_close(reply);
    attachment_disconnect(a);
    return rt_err_set(
        -EPROTO,
        "channel \"%s\": the worker's answer is invalid: use one version of shmring "
        "in all processes",
        a->segment->config.name);
}

int attachment_get_producer(attachment_t *a)
{
    control_reply_t reply;
    int rc = ask_for_slot(a, CTL_ATTACH_PRODUCER, -1, &reply);
    if (rc < 0)
        return rc;
    if (reply.fd_count != 2 || slot_in(&reply, CTL_ATTACH_PRODUCER) == CTL_NO_SLOT)
        return refuse_answer(a, &reply);
    close_fd(&a->bell_fd);
    close_fd(&a->producer_lock); /* of the same slot from the previous worker, or of a lost slot */
    a->bell_fd = reply.fds[0];
    a->producer_lock = reply.fds[1];
    a->producer = slot_in(&reply, CTL_ATTACH_PRODUCER);
    a->holds_producer = true;
    return 0;
}

int attachment_get_reader(attachment_t *a, int doorbell_fd)
{
    control_reply_t reply;
    int rc = ask_for_slot(a, CTL_ATTACH_READER, doorbell_fd, &reply);
    if (rc < 0)
        return rc;
    if (reply.fd_count != 1 || slot_in(&reply, CTL_ATTACH_READER) == CTL_NO_SLOT)
        return refuse_answer(a, &reply);
    close_fd(&a->reader_lock);
    a->reader_lock = reply.fds[0];
    a->reader = slot_in(&reply, CTL_ATTACH_READER);
    a->holds_reader = true;
    return 0;
}
