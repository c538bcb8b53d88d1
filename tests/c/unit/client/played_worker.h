/* played_worker.h: a channel with a name, and the control socket of its worker, which a thread of
 * the test answers. The rings are served by hand. */
#ifndef PLAYED_WORKER_H
#define PLAYED_WORKER_H

#include "../shm/shm_test.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define PW_NAMESPACE "client-test"
#define PW_POOL "p"

enum { PW_MOST_LIVES = 4 };

struct played_worker;

typedef struct pw_life {
    struct played_worker *worker;
    int listen_fd;
    pthread_t thread;
} pw_life_t;

typedef struct played_worker {
    char dir[64]; /* $SHMRING_RUNTIME_DIR */
    char shm_name[128];
    shm_segment_t segment;
    int segment_fd;
    int bell_fd;
    tx_queue_t queue;
    rx_writer_t writer;
    pw_life_t lives[PW_MOST_LIVES]; /* of one worker after the other */
    unsigned life_count;
    rt_a32_t producer;       /* slot that it gives; readers get 0 */
    rt_a32_t refuse;         /* errno that it answers instead; 0: none */
    rt_a32_t late_answers;   /* answers to former requests that go before each answer */
    rt_a32_t attached;       /* answers so far */
    rt_a32_t asked_producer; /* the former slot that the last request named */
} played_worker_t;

/* --- messages --------------------------------------------------------------------------------- */

static inline void pw_send(int fd, const ctl_header_t *header, const void *body, const int *fds,
                           unsigned count)
{
    _Alignas(struct cmsghdr) uint8_t space[CMSG_SPACE(3 * sizeof(int))] = {0};
    struct iovec parts[] = {{(void *)(uintptr_t)header, sizeof *header},
                            {(void *)(uintptr_t)body, header->body_bytes}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    if (count > 0) {
        message.msg_control = space;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(rights), fds, count * sizeof(int));
    }
    CHECK(sendmsg(fd, &message, MSG_NOSIGNAL) > 0);
}

static inline void pw_refuse(int fd, uint32_t request, int32_t result, const char *text)
{
    ctl_header_t header = {.magic = CTL_MAGIC, .request = request, .result = result};
    header.body_bytes = (uint32_t)strlen(text) + 1;
    pw_send(fd, &header, text, NULL, 0);
}

static inline void pw_answer(played_worker_t *w, int fd, const ctl_header_t *asked,
                             const ctl_attach_t *ask)
{
    bool producer = ask->what == CTL_ATTACH_PRODUCER;
    ctl_attached_t body = {.channel = ask->channel,
                           .producer = producer ? rt_load_relaxed(&w->producer) : CTL_NO_SLOT,
                           .reader = producer ? CTL_NO_SLOT : 0};
    ctl_header_t header = {
        .magic = CTL_MAGIC, .op = asked->op, .request = asked->request, .body_bytes = sizeof body};
    ctl_header_t late = header;
    late.request = asked->request - 1;
    for (unsigned i = 0; i < rt_load_relaxed(&w->late_answers); i++)
        pw_send(fd, &late, &body, &w->segment_fd, 1);
    int fds[] = {w->bell_fd, w->segment_fd};
    rt_store_relaxed(&w->asked_producer, ask->producer);
    pw_send(fd, &header, &body, fds, ask->what == CTL_ATTACH_WATCHER ? 1 : 2);
    rt_fetch_add(&w->attached, 1);
}

/* One connection at a time, until the listening socket is shut. */
static void *pw_run(void *of)
{
    const pw_life_t *life = of;
    played_worker_t *w = life->worker;
    int fd;
    while ((fd = accept4(life->listen_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        struct {
            ctl_header_t header;
            ctl_attach_t ask;
        } m;
        ssize_t got;
        while ((got = recv(fd, &m, sizeof m, 0)) > 0) {
            int32_t refuse = (int32_t)rt_load_relaxed(&w->refuse);
            if (refuse != 0)
                pw_refuse(fd, m.header.request, -refuse, "the worker says no");
            else
                pw_answer(w, fd, &m.header, &m.ask);
        }
        close(fd);
    }
    return NULL;
}

/* --- life ------------------------------------------------------------------------------------- */

static inline int pw_listen(const char *dir)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", dir, PW_NAMESPACE);
    (void)mkdir(address.sun_path, 0700);
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s/%s/%s", dir, PW_NAMESPACE,
                   PW_POOL);
    (void)mkdir(address.sun_path, 0700);
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s/%s/%s/worker-0.sock", dir,
                   PW_NAMESPACE, PW_POOL);
    (void)unlink(address.sun_path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    CHECK_EQ(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    CHECK_EQ(listen(fd, 4), 0);
    return fd;
}

static inline void pw_serve(played_worker_t *w, uint32_t epoch)
{
    rt_store_relaxed(&w->segment.status->worker_slot, 0);
    rt_store_relaxed(&w->segment.status->heartbeat_mono_ns, (uint64_t)rt_mono_ns());
    rt_store_release(&w->segment.status->epoch, epoch);
    rt_store_release(&w->segment.status->state, SHM_STATE_OPEN);
    pw_life_t *life = &w->lives[w->life_count++];
    life->worker = w;
    life->listen_fd = pw_listen(w->dir);
    CHECK_EQ(pthread_create(&life->thread, NULL, pw_run, life), 0);
}

/* The worker listens no more. Its thread ends when the client has hung up. */
static inline void pw_die(played_worker_t *w)
{
    (void)shutdown(w->lives[w->life_count - 1].listen_fd, SHUT_RDWR);
}

static inline void pw_open(played_worker_t *w, const char *name, shm_config_t c)
{
    *w = (played_worker_t){.producer = 1};
    strcpy(w->dir, "/tmp/pwXXXXXX");
    CHECK(mkdtemp(w->dir) != NULL);
    CHECK_EQ(setenv("SHMRING_RUNTIME_DIR", w->dir, 1), 0);
    CHECK_EQ(setenv("SHMRING_NAMESPACE", PW_NAMESPACE, 1), 0);
    (void)snprintf(c.name, sizeof c.name, "%s-%d", name, (int)getpid());
    strcpy(c.name_space, PW_NAMESPACE);
    strcpy(c.pool, PW_POOL);
    c.remote = (shm_addr_t){.family = 4, .port = 9, .ip = {127, 0, 0, 1}};
    (void)snprintf(w->shm_name, sizeof w->shm_name, "/shmring:%s:c:%s", PW_NAMESPACE, c.name);
    w->segment_fd = shm_open(w->shm_name, O_RDWR | O_CREAT | O_EXCL, 0600);
    CHECK_EQ(shm_segment_format(&w->segment, w->segment_fd, &c, 7), 0);
    CHECK_EQ(flock(w->segment_fd, LOCK_SH), 0);
    CHECK_EQ(shm_test_queue_init(&w->queue, &w->segment, 0), 0);
    CHECK_EQ(rx_writer_init(&w->writer, &w->segment), 0);
    w->bell_fd = eventfd(0, EFD_NONBLOCK);
    pw_serve(w, 1);
}

/* After the client has left. */
static inline void pw_close(played_worker_t *w)
{
    char command[128];
    pw_die(w);
    for (unsigned i = 0; i < w->life_count; i++) {
        pthread_join(w->lives[i].thread, NULL);
        close(w->lives[i].listen_fd);
    }
    (void)shm_unlink(w->shm_name);
    shm_test_close(&w->segment, w->segment_fd);
    close(w->bell_fd);
    (void)snprintf(command, sizeof command, "rm -r %s", w->dir);
    CHECK_EQ(system(command), 0);
}

static inline void pw_arrive(played_worker_t *w, const char *text)
{
    rx_item_t item = {.payload = text, .payload_bytes = (uint32_t)strlen(text)};
    CHECK_EQ(rx_writer_put(&w->writer, &item), 0);
    (void)rx_writer_publish(&w->writer);
}

#endif
