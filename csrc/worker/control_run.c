/* control_run.c: carries out each command, and repairs what a client held when it hung up. */
#include "worker/control_run.h"

#include "worker/bells.h"
#include "worker/channel.h"
#include "worker/channel_memory.h"
#include "worker/channels.h"
#include "worker/slots.h"
#include "worker/tap.h"

#include "base/rt_err.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define DROPS_PER_STEP 8u /* about 2 us each */

/* --- rights -------------------------------------------------------------------------------- */

static bool in_group(const wrk_conn_t *conn, gid_t group)
{
    for (uint32_t i = 0; i < conn->group_count; i++)
        if (conn->groups[i] == group)
            return true;
    return conn->gid == group;
}

/* A client that may write to the segment may command the channel. */
static bool may_use(const wrk_conn_t *conn, const wrk_channel_t *ch)
{
    struct stat s;
    if (conn->trusted)
        return true;
    if (fstat(ch->segment_fd, &s) != 0)
        return false;
    return (s.st_mode & S_IWOTH) || ((s.st_mode & S_IWGRP) && in_group(conn, s.st_gid));
}

static wrk_channel_t *find_usable(wrk_conn_t *conn, const char *name, reply_t *reply)
{
    wrk_channel_t *ch = channel_find(conn->worker, name);
    if (ch == NULL || ch->ended) {
        reply->result =
            rt_err_set(-ENOENT, "channel \"%s\" is not open in worker %u of pool \"%s\"", name,
                       conn->worker->args.slot, conn->worker->args.pool);
        return NULL;
    }
    if (may_use(conn, ch))
        return ch;
    reply->result = rt_err_set(-EACCES,
                               "uid %u may not use channel \"%s\": it needs write access to the "
                               "segment; open the pool with a group that both belong to",
                               (unsigned)conn->uid, name);
    return NULL;
}

/* --- open, export -------------------------------------------------------------------------- */

static void run_open(wrk_conn_t *conn, const command_t *c, int *fds, unsigned fd_count,
                     reply_t *reply)
{
    ctl_opened_t opened;
    reply->result = channel_open(conn->worker, &c->config, &c->open, fds[0], fds[1],
                                 fd_count > 2 ? fds[2] : -1, &opened.memory_bytes);
    if (reply->result < 0)
        return;
    memcpy(reply->body, &opened, sizeof opened);
    reply->body_bytes = sizeof opened;
    const wrk_channel_t *ch = channel_find(conn->worker, c->name);
    bool has_it = (c->open.flags & CTL_OPEN_TAKEOVER) != 0 && fd_count > 2;
    if (!has_it && ch->socket_fd >= 0)
        reply->fds[reply->fd_count++] = ch->socket_fd;
}

static void run_export(const wrk_channel_t *ch, reply_t *reply)
{
    memcpy(reply->body, &ch->config, sizeof ch->config);
    reply->body_bytes = sizeof ch->config;
    reply->fds[reply->fd_count++] = ch->segment_fd;
    reply->fds[reply->fd_count++] = ch->bell_fd;
    if (ch->socket_fd >= 0)
        reply->fds[reply->fd_count++] = ch->socket_fd;
}

/* --- attach -------------------------------------------------------------------------------- */

static void free_slots(wrk_channel_t *ch, uint32_t producer, uint32_t reader)
{
    slots_free(ch, WRK_PRODUCERS, producer);
    slots_free(ch, WRK_READERS, reader);
}

/* A process that still holds the lock of a slot keeps the slot, as an orphan. */
static void leave_slots(wrk_channel_t *ch, uint32_t producer, uint32_t reader)
{
    slots_hung_up(ch, WRK_PRODUCERS, producer);
    slots_hung_up(ch, WRK_READERS, reader);
}

/* Returns the descriptor that holds the slots' locks, or -errno with a text. After an error a slot
 * whose owner came back for it is an orphan again: the owner may be in the middle of a packet. */
static int give_slots(wrk_conn_t *conn, wrk_channel_t *ch, const ctl_attach_t *ask,
                      ctl_attached_t *got)
{
    int rc = 0;
    if (ask->what & CTL_ATTACH_PRODUCER)
        rc = slots_give(ch, WRK_PRODUCERS, conn->pid, ask->producer, &got->producer);
    if (rc == 0 && (ask->what & CTL_ATTACH_READER))
        rc = slots_give(ch, WRK_READERS, conn->pid, ask->reader, &got->reader);
    int fd = rc == 0 ? slots_lock(ch, got->producer, got->reader) : rc;
    if (fd < 0)
        leave_slots(ch, got->producer, got->reader);
    return fd;
}

/* Returns 0, or -errno with a text. */
static int note_attachment(wrk_conn_t *conn, wrk_channel_t *ch, int bell, const ctl_attached_t *got)
{
    wrk_attachment_t *a = malloc(sizeof *a);
    if (a == NULL)
        return rt_err_set(-ENOMEM, "no memory for an attachment");
    worker_note(conn->worker, ch, SHM_EVENT_client_attached, 1, conn->pid, (int32_t)got->producer,
                (int32_t)got->reader, NULL, rt_mono_ns());
    *a = (wrk_attachment_t){.next = conn->attachments,
                            .channel = ch,
                            .producer = got->producer,
                            .reader = got->reader,
                            .bell = bell};
    conn->attachments = a;
    if (bell >= 0)
        bells_add(ch, got->reader, bell);
    return 0;
}

/* Like give_slots. bell: -1, or the worker's end of the reader's. */
static int attach(wrk_conn_t *conn, wrk_channel_t *ch, const ctl_attach_t *ask, int bell,
                  ctl_attached_t *got)
{
    int locks = give_slots(conn, ch, ask, got);
    if (locks < 0)
        return locks;
    int rc = note_attachment(conn, ch, bell, got);
    if (rc < 0) {
        close(locks);
        leave_slots(ch, got->producer, got->reader);
        return rc;
    }
    /* The previous worker may have died after it cleared the request and before it rang. */
    if (bell >= 0 && got->reader == ask->reader)
        wrk_ring(bell);
    return locks;
}

static void close_both(const wrk_bell_ends_t *bell)
{
    close(bell->own);
    close(bell->theirs);
}

/* After it only others that are owned, too. */
static void hand_out(reply_t *reply, int fd)
{
    reply->fds[reply->fd_count++] = fd;
    reply->owned++;
}

static uint32_t count_watchers(const wrk_channel_t *ch)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < ch->bell_count; i++)
        count += ch->bells[i].slot == WRK_WATCHER;
    return count;
}

/* Returns 0, or -errno with a text. */
static int attach_watcher(wrk_conn_t *conn, wrk_channel_t *ch, int bell, const ctl_attached_t *got)
{
    int rc = 0;
    if (count_watchers(ch) >= ch->config.producers)
        rc = rt_err_set(-EUSERS,
                        "channel \"%s\" has %u watchers, as many as it may have producers: close "
                        "some of its ends, or open it with more producers",
                        ch->config.name, count_watchers(ch));
    rc = rc ? rc : note_attachment(conn, ch, bell, got);
    if (rc == 0)
        wrk_ring(bell); /* what it waits for may have happened before */
    return rc;
}

static void run_attach(wrk_conn_t *conn, wrk_channel_t *ch, const command_t *c, reply_t *reply)
{
    ctl_attached_t got = {.channel = c->attach.channel,
                          .producer = CTL_NO_SLOT,
                          .reader = CTL_NO_SLOT,
                          .epoch = rt_load_relaxed(&ch->segment.status->epoch)};
    wrk_bell_ends_t bell = {-1, -1};
    bool watches = c->attach.what == CTL_ATTACH_WATCHER;
    int rc = c->attach.what != CTL_ATTACH_PRODUCER ? bells_make(&bell) : 0;
    if (rc == 0)
        rc = watches ? attach_watcher(conn, ch, bell.own, &got)
                     : attach(conn, ch, &c->attach, bell.own, &got);
    reply->result = rc < 0 ? rc : 0;
    if (rc < 0) {
        if (bell.own >= 0)
            close_both(&bell);
        return;
    }
    memcpy(reply->body, &got, sizeof got);
    reply->body_bytes = sizeof got;
    if (got.producer != CTL_NO_SLOT)
        reply->fds[reply->fd_count++] = ch->bell_fd;
    if (bell.theirs >= 0)
        hand_out(reply, bell.theirs);
    if (!watches)
        hand_out(reply, rc);
}

static void note_gone(wrk_conn_t *conn, const wrk_attachment_t *a, shm_event_id_t how)
{
    worker_note(conn->worker, a->channel, how, 1, conn->pid, (int32_t)a->producer,
                (int32_t)a->reader, NULL, rt_mono_ns());
}

static void drop_attachment(wrk_attachment_t **at, bool hung_up)
{
    wrk_attachment_t *a = *at;
    *at = a->next;
    if (hung_up)
        leave_slots(a->channel, a->producer, a->reader);
    else
        free_slots(a->channel, a->producer, a->reader);
    bells_close(a->channel, a->bell);
    free(a);
}

static void run_detach(wrk_conn_t *conn, wrk_channel_t *ch, const ctl_attached_t *what,
                       reply_t *reply)
{
    for (wrk_attachment_t **at = &conn->attachments; *at != NULL; at = &(*at)->next) {
        wrk_attachment_t *a = *at;
        if (a->channel == ch && a->producer == what->producer && a->reader == what->reader) {
            note_gone(conn, a, SHM_EVENT_client_detached);
            drop_attachment(at, false);
            wrk_activate(ch, rt_mono_ns());
            return;
        }
    }
    reply->result = rt_err_set(-ENOENT,
                               "this connection does not hold producer slot %u and reader "
                               "slot %u of channel \"%s\"",
                               what->producer, what->reader, ch->config.name);
}

static void drop_some(wrk_conn_t *conn)
{
    for (unsigned i = 0; i < DROPS_PER_STEP && conn->attachments != NULL; i++) {
        wrk_channel_t *ch = conn->attachments->channel;
        note_gone(conn, conn->attachments, SHM_EVENT_client_hung_up);
        drop_attachment(&conn->attachments, true);
        wrk_activate(ch, rt_mono_ns()); /* a claim of the dead client may be in the ring */
    }
}

bool control_drop_step(worker_t *w)
{
    wrk_conn_t *conn = w->gone;
    if (conn == NULL)
        return false;
    drop_some(conn);
    if (conn->attachments == NULL) {
        w->gone = conn->next;
        free(conn->groups);
        free(conn);
    }
    return true;
}

/* --- deferred commands --------------------------------------------------------------------- */

/* Cancelling a million packets takes a tenth of a second, so it is done in pieces between
 * deadlines. A connection waits with its next request until then. */
static void defer(wrk_conn_t *conn, wrk_channel_t *ch, const command_t *c, reply_t *reply)
{
    wrk_job_t *job = &conn->job;
    *job = (wrk_job_t){.conn = conn, .op = c->op, .request = c->request};
    if (ch->jobs == NULL)
        ch->jobs = job;
    else
        ch->jobs_last->next = job;
    ch->jobs_last = job;
    poller_change(&conn->worker->poller, &conn->source, EPOLLET); /* a hang-up is told once */
    conn->worker->jobs_of = ch;
    conn->worker->job_count++;
    reply->deferred = true;
}

static void answer_job(wrk_channel_t *ch, int result)
{
    static reply_t reply;
    wrk_job_t *job = ch->jobs;
    ch->jobs = job->next;
    ch->worker->job_count--;
    reply.result = result;
    reply.body_bytes = 0;
    reply.fd_count = 0;
    connection_send(job->conn, job->op, job->request, &reply);
    job->op = 0;
    poller_change(&ch->worker->poller, &job->conn->source, CONNECTION_EVENTS);
}

static wrk_channel_t *next_with_jobs(const worker_t *w)
{
    if (w->job_count == 0)
        return NULL;
    for (uint32_t i = 0; i < w->channel_count; i++)
        if (w->channels[i]->jobs != NULL)
            return w->channels[i];
    return NULL;
}

static void drop_all_of(const wrk_channel_t *ch, wrk_conn_t *conns)
{
    for (wrk_conn_t *conn = conns; conn != NULL; conn = conn->next) {
        wrk_attachment_t **at = &conn->attachments;
        while (*at != NULL) {
            if ((*at)->channel == ch)
                drop_attachment(at, false);
            else
                at = &(*at)->next;
        }
    }
}

static void forget_channel(wrk_channel_t *ch)
{
    worker_t *w = ch->worker;
    tap_forget_channel(ch);
    while (ch->jobs != NULL)
        answer_job(ch, 0);
    drop_all_of(ch, w->conns);
    drop_all_of(ch, w->gone);
    if (w->jobs_of == ch)
        w->jobs_of = NULL;
}

static void free_ended(wrk_channel_t *ch)
{
    forget_channel(ch);
    channel_free(ch);
}

void control_close_channel(wrk_channel_t *ch)
{
    if (!ch->ended)
        channel_end(ch);
    free_ended(ch);
}

/* A piece of a close. Returns whether it was the last. */
static bool close_step(wrk_channel_t *ch)
{
    if (!ch->jobs->purged) {
        ch->jobs->purged = true; /* the rest waits for a longer gap between deadlines */
        return false;
    }
    if (!ch->ended) {
        channel_end(ch);
        return false;
    }
    if (channel_memory_leave_step(&ch->segment, &ch->left_bytes))
        return false;
    free_ended(ch); /* answers its jobs */
    return true;
}

bool control_closes_next(const worker_t *w)
{
    return w->gone == NULL && w->jobs_of != NULL && w->jobs_of->jobs->purged && !w->jobs_of->ended;
}

bool control_jobs_step(worker_t *w, int64_t now_mono_ns)
{
    wrk_channel_t *ch = w->jobs_of;
    if (ch == NULL)
        return false;
    if (!ch->jobs->purged && !channel_purge_step(ch, now_mono_ns))
        return true;
    if (ch->jobs->op == CTL_PURGE) {
        channel_purge_rx(ch);
        answer_job(ch, 0);
    } else if (!close_step(ch)) {
        return true;
    }
    w->jobs_of = next_with_jobs(w);
    return true;
}

/* --- the table ----------------------------------------------------------------------------- */

static void run_list(const worker_t *w, uint32_t first, reply_t *reply)
{
    uint32_t left = first < w->channel_count ? w->channel_count - first : 0;
    /* as many whole ones as fit: NOLINTNEXTLINE(bugprone-sizeof-expression) */
    uint32_t most = sizeof reply->body / sizeof(ctl_channel_t);
    uint32_t n = left < most ? left : most;
    for (uint32_t i = 0; i < n; i++) {
        ctl_channel_t entry = {0};
        memcpy(entry.name, w->channels[first + i]->config.name, sizeof entry.name);
        memcpy(reply->body + i * sizeof entry, &entry, sizeof entry);
    }
    reply->body_bytes = n * (uint32_t)sizeof(ctl_channel_t);
    reply->result = (int)w->channel_count;
}

static void run_ping(const worker_t *w, reply_t *reply)
{
    ctl_pong_t pong = {
        .pid = (uint32_t)getpid(), .channels = w->channel_count, .now_mono_ns = rt_mono_ns()};
    memcpy(reply->body, &pong, sizeof pong);
    reply->body_bytes = sizeof pong;
}

static void adopt_by(wrk_conn_t *conn, reply_t *reply)
{
    reply->fds[reply->fd_count++] = conn->worker->args.rx_fd;
    conn->worker->pool = conn;
    worker_note(conn->worker, NULL, SHM_EVENT_pool_adopted, 1, conn->pid, 0, 0, NULL, rt_mono_ns());
}

static void run_on_worker(wrk_conn_t *conn, const command_t *c, int *fds, unsigned fd_count,
                          reply_t *reply)
{
    worker_t *w = conn->worker;
    if (c->op == CTL_OPEN)
        run_open(conn, c, fds, fd_count, reply);
    else if (c->op == CTL_LIST)
        run_list(w, c->list.first, reply);
    else if (c->op == CTL_PING)
        run_ping(w, reply);
    else if (c->op == CTL_ADOPT)
        adopt_by(conn, reply);
    else
        w->stop = true;
}

static void run_engine(wrk_channel_t *ch, const command_t *c, reply_t *reply)
{
    if (ch->ops->request != NULL) {
        reply->result =
            ch->ops->request(ch, c->engine_body, c->engine_bytes, reply->body, &reply->body_bytes);
        wrk_reschedule(ch);
        return;
    }
    reply->result = rt_err_set(-EOPNOTSUPP, "engine \"%s\" of channel \"%s\" takes no requests",
                               ch->ops->engine, ch->config.name);
}

static void run_tap(wrk_conn_t *conn, wrk_channel_t *ch, const ctl_tap_t *ask, reply_t *reply)
{
    int memory = tap_open(ch, conn, ask);
    reply->result = memory < 0 ? memory : 0;
    if (memory < 0)
        return;
    hand_out(reply, memory);
    ctl_tapped_t tapped = {.epoch = rt_load_relaxed(&ch->segment.status->epoch),
                           .taps = tap_count(ch)};
    memcpy(reply->body, &tapped, sizeof tapped);
    reply->body_bytes = sizeof tapped;
}

static void run_on_channel(wrk_conn_t *conn, wrk_channel_t *ch, const command_t *c, reply_t *reply)
{
    switch (c->op) {
    case CTL_ATTACH:
        run_attach(conn, ch, c, reply);
        return;
    case CTL_DETACH:
        run_detach(conn, ch, &c->detach, reply);
        return;
    case CTL_HOLD:
        channel_hold(ch);
        return;
    case CTL_RELEASE:
        channel_release(ch);
        return;
    case CTL_RESET:
        channel_reset_stats(ch);
        return;
    case CTL_EXPORT:
        run_export(ch, reply);
        return;
    case CTL_ENGINE:
        run_engine(ch, c, reply);
        return;
    case CTL_TAP:
        run_tap(conn, ch, &c->tap, reply);
        return;
    case CTL_MARK:
        reply->result = (int)tap_mark(ch, c->engine_body, (uint32_t)c->engine_bytes, rt_mono_ns());
        return;
    default: /* CLOSE, PURGE */
        defer(conn, ch, c, reply);
        return;
    }
}

void control_run(wrk_conn_t *conn, const command_t *c, int *fds, unsigned fd_count, reply_t *reply)
{
    if (c->op == CTL_OPEN || c->name[0] == '\0') {
        run_on_worker(conn, c, fds, fd_count, reply);
        return;
    }
    wrk_channel_t *ch = find_usable(conn, c->name, reply);
    if (ch != NULL)
        run_on_channel(conn, ch, c, reply);
}

void control_without_fds(wrk_conn_t *conn, const command_t *c, reply_t *reply)
{
    wrk_channel_t *ch = channel_find(conn->worker, c->name);
    reply->fd_count = reply->owned = 0;
    if (c->op == CTL_OPEN && ch != NULL) {
        wrk_note(ch, SHM_EVENT_socket_not_held, 1, 0, 0, 0, rt_mono_ns());
        return;
    }
    if (c->op == CTL_ATTACH)
        drop_attachment(&conn->attachments, true); /* the latest one */
    else if (c->op == CTL_TAP)
        tap_forget_latest(conn->worker);
    reply->result = rt_err_set(
        -ETOOMANYREFS, "this worker cannot pass descriptors: processes of its user have more "
                       "of them in flight than it may have open files: raise the limit "
                       "(ulimit -n, LimitNOFILE= of the service)");
}
