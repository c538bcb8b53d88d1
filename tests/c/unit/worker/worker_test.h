/* worker_test.h: a real worker process, its pool played by the test. */
#ifndef WORKER_TEST_H
#define WORKER_TEST_H

#include "rt_test.h"

#include "base/rt_clock.h"
#include "shm/ctl_msg.h"
#include "shm/slot_ring.h"
#include "shm/rx_ring.h"
#include "shm/shm_segment.h"
#include "shm/tx_ring.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define WT_TOLERANCE_NS (10 * RT_NS_PER_S) /* few tests are about lateness */
#define WT_NAMESPACE "worker-test"
#define WT_POOL "p"

typedef struct wt_worker {
    pid_t pid;
    int pool; /* our end of the pool's connection */
    int page_fd;
    int rx_fd;
    shm_worker_page_t *page;
    char dir[64];
    uint32_t request;
    char text[CTL_TEXT_BYTES + 1]; /* of the last failed request */
} wt_worker_t;

typedef struct wt_channel {
    shm_config_t config;
    int segment_fd;
    int bell_fd;
    int socket_fd;
    shm_segment_t segment;
    tx_producer_t producer;
    rx_reader_t reader;
    slot_reader_t reports;
    uint32_t producer_slot, reader_slot;
    int locks_fd; /* holds the slots; 0: not attached */
} wt_channel_t;

/* Far beyond what anything here takes, on a busy machine too: only what never happens must fail. */
enum { WT_TIMEOUT_MS = 10000 };

static inline void wt_nap_ms(int ms)
{
    (void)poll(NULL, 0, ms);
}

/* --- process ------------------------------------------------------------------------------- */

static inline void wt_dir(wt_worker_t *w)
{
    (void)snprintf(w->dir, sizeof w->dir, "/tmp/shmring-wt-XXXXXX");
    char lock[80];
    if (mkdtemp(w->dir) == NULL)
        w->dir[0] = '\0';
    (void)snprintf(lock, sizeof lock, "%s/lock", w->dir);
    int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    close(fd);
}

/* Starts a worker in w->dir; extra: more options, ended by NULL. */
static inline bool wt_launch(wt_worker_t *w, const char *const *extra)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return false;
    w->page_fd = memfd_create("page", MFD_CLOEXEC);
    if (w->page_fd < 0 || ftruncate(w->page_fd, sizeof(shm_worker_segment_t)) != 0)
        return false;
    w->rx_fd = memfd_create("rx", MFD_CLOEXEC);
    if (w->rx_fd < 0)
        return false;
    w->page = mmap(NULL, sizeof *w->page, PROT_READ, MAP_SHARED, w->page_fd, 0);
    w->pool = ends[0];
    w->pid = fork();
    if (w->pid == 0) {
        char page[16], rx[16], pool[16];
        (void)snprintf(page, sizeof page, "%d", w->page_fd);
        (void)snprintf(rx, sizeof rx, "%d", w->rx_fd);
        (void)snprintf(pool, sizeof pool, "%d", ends[1]);
        (void)fcntl(w->page_fd, F_SETFD, 0);
        (void)fcntl(w->rx_fd, F_SETFD, 0);
        (void)fcntl(ends[1], F_SETFD, 0);
        const char *argv[40] = {
            RT_WORKER_PROGRAM, "--namespace", WT_NAMESPACE, "--pool", WT_POOL,     "--slot", "0",
            "--runtime",       w->dir,        "--page-fd",  page,     "--pool-fd", pool,
            "--rx-fd",         rx};
        int n = 15;
        while (extra != NULL && *extra != NULL && n < 39)
            argv[n++] = *extra++;
        execv(RT_WORKER_PROGRAM, (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    close(ends[1]);
    return w->pid > 0;
}

/* Waits for a message on fd. Returns its result, -ETIMEDOUT, or -ECONNRESET. */
static inline int wt_reply(wt_worker_t *w, int fd, uint32_t request, void *body, size_t body_bytes,
                           int *fds, unsigned *fd_count)
{
    static uint8_t buffer[CTL_MAX_BYTES];
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * CTL_MAX_FDS)];
    } control;
    struct iovec part = {.iov_base = buffer, .iov_len = sizeof buffer};
    struct msghdr m = {.msg_iov = &part,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof control.bytes};
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, WT_TIMEOUT_MS) != 1)
        return -ETIMEDOUT;
    ssize_t n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
    if (n < (ssize_t)sizeof(ctl_header_t))
        return -ECONNRESET;
    ctl_header_t head;
    memcpy(&head, buffer, sizeof head);
    CHECK_EQ(head.magic, CTL_MAGIC);
    CHECK_EQ(head.request, request);
    CHECK_EQ(head.body_bytes, (size_t)n - sizeof head);
    w->text[0] = '\0';
    if (head.result < 0) {
        size_t len = (size_t)n - sizeof head;
        len = len < CTL_TEXT_BYTES ? len : CTL_TEXT_BYTES;
        memcpy(w->text, buffer + sizeof head, len);
        w->text[len] = '\0';
    } else if (body != NULL) {
        memcpy(body, buffer + sizeof head,
               body_bytes < (size_t)n - sizeof head ? body_bytes : (size_t)n - sizeof head);
    }
    unsigned got = 0;
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    if (c != NULL && c->cmsg_type == SCM_RIGHTS) {
        got = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        for (unsigned i = 0; i < got; i++) {
            int one = -1;
            memcpy(&one, CMSG_DATA(c) + i * sizeof one, sizeof one);
            if (fds != NULL)
                fds[i] = one;
            else
                close(one);
        }
    }
    if (fd_count != NULL)
        *fd_count = got;
    return head.result;
}

static inline bool wt_post(int fd, uint32_t op, uint32_t request, const void *body,
                           size_t body_bytes, const int *fds, unsigned fd_count)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * 128)];
    } control;
    ctl_header_t head = {
        .magic = CTL_MAGIC, .op = op, .request = request, .body_bytes = (uint32_t)body_bytes};
    struct iovec parts[2] = {{.iov_base = &head, .iov_len = sizeof head},
                             {.iov_base = (void *)(uintptr_t)body, .iov_len = body_bytes}};
    struct msghdr m = {.msg_iov = parts, .msg_iovlen = 2};
    if (fd_count > 0) {
        memset(&control, 0, sizeof control);
        m.msg_control = control.bytes;
        m.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * fd_count);
    }
    return sendmsg(fd, &m, MSG_NOSIGNAL) >= 0;
}

static inline int wt_ask(wt_worker_t *w, int fd, uint32_t op, const void *body, size_t body_bytes,
                         const int *fds, unsigned fd_count, void *out, size_t out_bytes,
                         int *out_fds)
{
    uint32_t request = ++w->request;
    if (!wt_post(fd, op, request, body, body_bytes, fds, fd_count))
        return -errno;
    return wt_reply(w, fd, request, out, out_bytes, out_fds, NULL);
}

/* A round trip through the worker: what it was about is done and counted. */
static inline void wt_settle(wt_worker_t *w)
{
    ctl_pong_t pong;
    CHECK_EQ(wt_ask(w, w->pool, CTL_PING, NULL, 0, NULL, 0, &pong, sizeof pong, NULL), 0);
}

static inline bool wt_start(wt_worker_t *w, const char *const *extra)
{
    *w = (wt_worker_t){.pid = -1, .pool = -1};
    wt_dir(w);
    if (!wt_launch(w, extra))
        return false;
    ctl_pong_t pong = {0};
    int rc = wt_reply(w, w->pool, 0, &pong, sizeof pong, NULL, NULL);
    CHECK_EQ(rc, 0);
    CHECK_EQ(pong.pid, w->pid);
    CHECK_EQ(rt_load_acquire(&w->page->version), SHM_LAYOUT_VERSION);
    return rc == 0;
}

/* Waits for its end. Returns the exit status, -1 killed or still running (then it is killed). */
static inline int wt_wait(wt_worker_t *w)
{
    int status = 0;
    for (int i = 0; i < WT_TIMEOUT_MS / 10; i++) {
        if (waitpid(w->pid, &status, WNOHANG) == w->pid) {
            w->pid = -1;
            return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
        }
        wt_nap_ms(10);
    }
    (void)kill(w->pid, SIGKILL);
    (void)waitpid(w->pid, &status, 0);
    w->pid = -1;
    return -1;
}

static inline void wt_forget(wt_worker_t *w)
{
    if (w->pool >= 0)
        close(w->pool);
    close(w->page_fd);
    close(w->rx_fd);
    (void)munmap(w->page, sizeof *w->page);
    w->pool = -1;
}

static inline void wt_remove_dir(const wt_worker_t *w)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/lock", w->dir);
    (void)unlink(path);
    (void)snprintf(path, sizeof path, "%s/worker-0.sock", w->dir);
    (void)unlink(path);
    (void)rmdir(w->dir);
}

/* Orderly end by SIGTERM. */
static inline void wt_stop(wt_worker_t *w)
{
    if (w->pid > 0) {
        (void)kill(w->pid, SIGTERM);
        CHECK_EQ(wt_wait(w), 0);
    }
    wt_forget(w);
    wt_remove_dir(w);
}

static inline int wt_connect(const wt_worker_t *w)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    (void)snprintf(at.sun_path, sizeof at.sun_path, "%.80s/worker-0.sock", w->dir);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&at, sizeof at) != 0) {
        close(fd);
        return -errno;
    }
    return fd;
}

/* --- sockets ------------------------------------------------------------------------------- */

static inline int wt_udp(uint16_t *port)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof at;
    int big = 8 << 20;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof big) != 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &big, sizeof big);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) != 0 ||
        getsockname(fd, (struct sockaddr *)&at, &bytes) != 0)
        return -1;
    *port = ntohs(at.sin_port);
    return fd;
}

static inline int wt_recv(int fd, void *buffer, size_t bytes, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, timeout_ms) != 1)
        return -ETIMEDOUT;
    return (int)recv(fd, buffer, bytes, 0);
}

static inline shm_addr_t wt_loopback(uint16_t port)
{
    return (shm_addr_t){.family = 4, .port = port, .ip = {127, 0, 0, 1}};
}

/* --- channels ------------------------------------------------------------------------------ */

static inline shm_config_t wt_config(const char *name, uint16_t remote_port)
{
    shm_config_t c;
    shm_config_init(&c);
    (void)snprintf(c.name, sizeof c.name, "%s", name);
    (void)snprintf(c.name_space, sizeof c.name_space, "%s", WT_NAMESPACE);
    (void)snprintf(c.pool, sizeof c.pool, "%s", WT_POOL);
    c.local = wt_loopback(0);
    if (remote_port != 0)
        c.remote = wt_loopback(remote_port);
    c.rx_stamp = c.tx_stamp = SHM_STAMP_KERNEL;
    c.max_payload_bytes = 2048;
    c.producers = c.readers = 8;
    c.tolerance_ns = WT_TOLERANCE_NS;
    return c;
}

static inline bool wt_segment(wt_channel_t *ch)
{
    ch->segment_fd = memfd_create("segment", MFD_CLOEXEC);
    ch->bell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ch->socket_fd = -1;
    return shm_segment_format(&ch->segment, ch->segment_fd, &ch->config, 77) == 0;
}

static inline int wt_send_open(wt_worker_t *w, wt_channel_t *ch, uint32_t flags)
{
    struct {
        ctl_open_t open;
        shm_config_t config;
    } body;
    memset(&body, 0, sizeof body);
    body.open.flags = flags;
    body.config = ch->config;
    int fds[3] = {ch->segment_fd, ch->bell_fd, ch->socket_fd};
    int out[CTL_MAX_FDS] = {-1, -1, -1};
    int rc = wt_ask(w, w->pool, CTL_OPEN, &body, sizeof body, fds, ch->socket_fd >= 0 ? 3 : 2, NULL,
                    0, out);
    if (rc == 0 && ch->socket_fd < 0)
        ch->socket_fd = out[0];
    else if (out[0] >= 0)
        close(out[0]);
    return rc;
}

/* bell: where to put the reader's, or NULL. */
static inline int wt_attach(wt_worker_t *w, int fd, wt_channel_t *ch, int *bell)
{
    ctl_attach_t ask = {.what = CTL_ATTACH_PRODUCER | CTL_ATTACH_READER,
                        .producer = CTL_NO_SLOT,
                        .reader = CTL_NO_SLOT};
    memcpy(ask.channel.name, ch->config.name, sizeof ask.channel.name);
    ctl_attached_t got;
    int fds[CTL_MAX_FDS] = {-1, -1, -1};
    int rc = wt_ask(w, fd, CTL_ATTACH, &ask, sizeof ask, NULL, 0, &got, sizeof got, fds);
    if (rc < 0)
        return rc;
    close(fds[0]);
    if (bell != NULL)
        *bell = fds[1];
    else
        close(fds[1]);
    ch->locks_fd = fds[2]; /* a former one may be that of a channel this is a copy of */
    ch->producer_slot = got.producer;
    ch->reader_slot = got.reader;
    rc = tx_producer_init(&ch->producer, &ch->segment, got.producer);
    rc = rc ? rc : rx_reader_init(&ch->reader, &ch->segment, got.reader, SHM_READ_EACH, 1);
    slot_reader_init(&ch->reports, ch->segment.report, ch->segment.reports,
                     ch->segment.config.report_slots, (uint32_t)sizeof(shm_report_t));
    return rc;
}

/* A client whose connection this is dies. */
static inline void wt_die(wt_channel_t *ch, int fd)
{
    close(fd);
    close(ch->locks_fd);
    ch->locks_fd = 0;
}

static inline bool wt_open(wt_worker_t *w, wt_channel_t *ch)
{
    if (!wt_segment(ch)) {
        CHECK(ch->segment.base != NULL);
        return false;
    }
    int rc = wt_send_open(w, ch, 0);
    if (rc != 0)
        (void)fprintf(stderr, "OPEN: %s\n", w->text);
    CHECK_EQ(rc, 0);
    rc = rc ? rc : wt_attach(w, w->pool, ch, NULL);
    CHECK_EQ(rc, 0);
    return rc == 0;
}

static inline void wt_drop(wt_channel_t *ch)
{
    shm_segment_unmap(&ch->segment);
    if (ch->locks_fd > 0)
        close(ch->locks_fd);
    ch->locks_fd = 0;
    close(ch->segment_fd);
    close(ch->bell_fd);
    if (ch->socket_fd >= 0)
        close(ch->socket_fd);
}

static inline int wt_command(wt_worker_t *w, const wt_channel_t *ch, uint32_t op)
{
    ctl_channel_t body = {.name = ""};
    memcpy(body.name, ch->config.name, sizeof body.name);
    return wt_ask(w, w->pool, op, &body, sizeof body, NULL, 0, NULL, 0, NULL);
}

static inline void wt_ring(wt_channel_t *ch)
{
    if (!tx_producer_must_ring(&ch->producer))
        return;
    (void)!write(ch->bell_fd, &(uint64_t){1}, sizeof(uint64_t));
    tx_producer_rang(&ch->producer);
}

static inline int wt_push(wt_channel_t *ch, const void *data, size_t bytes, int64_t due_ns,
                          uint64_t *sequence)
{
    uint64_t ignored = 0;
    int rc = tx_producer_push(&ch->producer, data, (uint32_t)bytes, due_ns, rt_mono_ns(), NULL,
                              sequence != NULL ? sequence : &ignored);
    wt_ring(ch);
    return rc;
}

static inline uint64_t wt_counter(const wt_channel_t *ch, shm_counter_id_t id)
{
    return rt_load_relaxed(&ch->segment.stats->counters[id]);
}

/* The same, with all that the worker has done so far. */
static inline uint64_t wt_exact(wt_worker_t *w, const wt_channel_t *ch, shm_counter_id_t id)
{
    wt_settle(w);
    return wt_counter(ch, id);
}

/* Waits until a counter has reached a value. */
static inline bool wt_count_to(const wt_channel_t *ch, shm_counter_id_t id, uint64_t value)
{
    for (int i = 0; i < WT_TIMEOUT_MS / 10 && wt_counter(ch, id) < value; i++)
        wt_nap_ms(10);
    return wt_counter(ch, id) >= value;
}

/* Waits for the reports of as many packets, which may come later than the packets. Returns how many
 * came; one more, where there are more than expected. */
static inline int wt_reports(wt_channel_t *ch, shm_report_t *reports, int expected)
{
    shm_report_t more;
    int n = 0;
    for (int i = 0; i < WT_TIMEOUT_MS / 10 && n < expected; i++) {
        n += (int)slot_reader_next(&ch->reports, reports + n, (uint32_t)(expected - n));
        if (n < expected)
            wt_nap_ms(10);
    }
    return n + (int)slot_reader_next(&ch->reports, &more, 1);
}

#endif
