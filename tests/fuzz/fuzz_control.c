/* The control plane: any bytes as a message, and a worker with its connections that gets them,
 * while the clients write to their segments what they like. What must hold: nothing is read or
 * written out of bounds, every message is answered or ends its connection, and no descriptor is
 * lost.
 *
 *      input:  step step ...   each  kind and what it needs, see play()
 *
 * The worker's channels have an engine of this file that opens no socket, so that no address that
 * comes out of an input is ever used. */
#include "base/rt_err.h"
#include "worker/channel.h"
#include "worker/channels.h"
#include "worker/control.h"
#include "worker/control_run.h"
#include "worker/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CONNS 3u /* 0: the pool's */
#define MAX_BODY 2048u

typedef struct fuzz {
    const uint8_t *at;
    size_t left;
    worker_t worker;
    int ends[CONNS]; /* our ends, -1: hung up */
} fuzz_t;

static void require(bool holds, const char *what)
{
    if (holds)
        return;
    (void)fprintf(stderr, "fuzz: does not hold: %s (%s)\n", what, rt_err_text());
    abort();
}

static size_t take(fuzz_t *f, void *to, size_t bytes)
{
    size_t n = bytes < f->left ? bytes : f->left;
    memcpy(to, f->at, n);
    f->at += n;
    f->left -= n;
    return n;
}

static uint32_t take_number(fuzz_t *f, unsigned bytes)
{
    uint32_t value = 0;
    (void)take(f, &value, bytes);
    return value;
}

/* --- an engine that does nothing ----------------------------------------------------------- */

static int open_nothing(wrk_channel_t *ch, int64_t now_mono_ns)
{
    (void)ch;
    (void)now_mono_ns;
    int socket_fd = wrk_take_socket(ch);
    if (socket_fd >= 0)
        close(socket_fd);
    return 0;
}

static unsigned no_work(wrk_channel_t *ch, int64_t now_mono_ns)
{
    (void)ch;
    (void)now_mono_ns;
    return 0;
}

static int64_t no_deadline(const wrk_channel_t *ch)
{
    (void)ch;
    return RT_NEVER_NS;
}

static int purge_nothing(wrk_channel_t *ch, unsigned max, int64_t now_mono_ns)
{
    (void)ch;
    (void)max;
    (void)now_mono_ns;
    return 1;
}

static void nothing(wrk_channel_t *ch)
{
    (void)ch;
}

static void nothing_at(wrk_channel_t *ch, int64_t now_mono_ns)
{
    (void)ch;
    (void)now_mono_ns;
}

static const agent_ops_t IDLE = {
    .engine = "fuzz",
    .state_bytes = 1,
    .open = open_nothing,
    .close = nothing,
    .do_work = no_work,
    .on_deadline = nothing_at,
    .deadline_ns = no_deadline,
    .purge = purge_nothing,
    .refresh = nothing_at,
};
AGENT_REGISTER(IDLE)

/* --- the worker ---------------------------------------------------------------------------- */

static int connect_client(const worker_t *w)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, w->socket_path, strnlen(w->socket_path, sizeof address.sun_path - 1));
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    require(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0,
            "a client connects");
    return fd;
}

static void run_worker(worker_t *w)
{
    wrk_source_t *source;
    uint32_t events;
    while (poller_wait(&w->poller, 0) > 0)
        while ((source = poller_next(&w->poller, &events)) != NULL)
            source->on_event(source, events, rt_mono_ns());
}

/* The socket's name is gone as soon as all are connected: nothing is left behind by a crash. */
static void start(fuzz_t *f)
{
    static shm_worker_page_t page;
    static wrk_channel_t *channels[WRK_MAX_CHANNELS], *active[WRK_MAX_CHANNELS];
    static deadline_entry_t entries[WRK_MAX_CHANNELS];
    static name_node_t *names[WRK_NAME_PLACES]; /* empty again when all channels are closed */
    worker_t *w = &f->worker;
    int pool[2];
    require(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pool) == 0, "a socket pair");
    *w = (worker_t){.page = &page, .channels = channels, .active = active, .lock_fd = -1};
    w->args = (worker_args_t){.name_space = "n",
                              .pool = "p",
                              .slot = (unsigned)getpid(),
                              .runtime_dir = "/tmp",
                              .pool_fd = pool[1]};
    deadline_heap_init(&w->deadlines, entries, WRK_MAX_CHANNELS);
    name_table_init(&w->names, names, WRK_NAME_PLACES);
    require(clock_map_init(&w->clocks[RT_CLOCK_MONOTONIC], RT_CLOCK_MONOTONIC) == 0 &&
                poller_open(&w->poller) == 0 && control_open(w) == 0,
            "a worker starts");
    f->ends[0] = pool[0];
    for (unsigned i = 1; i < CONNS; i++)
        f->ends[i] = connect_client(w);
    (void)unlink(w->socket_path);
    run_worker(w);
    require(w->conn_count == CONNS, "all are connected");
}

static void hang_up(fuzz_t *f, unsigned i)
{
    if (f->ends[i] >= 0)
        close(f->ends[i]);
    f->ends[i] = -1;
    run_worker(&f->worker);
}

static void stop(fuzz_t *f)
{
    worker_t *w = &f->worker;
    for (unsigned i = 0; i < CONNS; i++)
        hang_up(f, i);
    while (control_jobs_step(w, rt_mono_ns())) /* a connection waits for its own */
        run_worker(w);
    require(w->conn_count == 0, "who hung up is forgotten");
    while (w->channel_count > 0)
        control_close_channel(w->channels[0]);
    while (tap_step(w))
        ;
    require(w->taps == NULL && w->tap_steps == 0, "no tap is left");
    control_close(w);
    poller_close(&w->poller);
}

/* --- messages ------------------------------------------------------------------------------ */

/* Reads one answer. Returns whether there was one. */
static bool read_answer(int fd)
{
    static uint8_t answer[CTL_MAX_BYTES];
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * CTL_MAX_FDS)];
    } control;
    struct iovec part = {.iov_base = answer, .iov_len = sizeof answer};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    ssize_t n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n <= 0)
        return false;
    ctl_header_t head;
    memcpy(&head, answer, sizeof head);
    require(head.magic == CTL_MAGIC && head.body_bytes == (size_t)n - sizeof head &&
                (head.result >= 0 || head.body_bytes > 0),
            "an answer is well-formed, a refusal has a text");
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c != NULL; c = CMSG_NXTHDR(&message, c))
        for (size_t at = CMSG_LEN(0); at < c->cmsg_len; at += sizeof(int)) {
            int passed;
            memcpy(&passed, (uint8_t *)c + at, sizeof passed);
            close(passed);
        }
    return true;
}

static void post(fuzz_t *f, unsigned i, const void *bytes, size_t count, const int *fds, unsigned n)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * 8)];
    } control = {.bytes = {0}};
    struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = count};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (n > 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * n);
        control.align = (struct cmsghdr){.cmsg_level = SOL_SOCKET,
                                         .cmsg_type = SCM_RIGHTS,
                                         .cmsg_len = CMSG_LEN(sizeof(int) * n)};
        memcpy(CMSG_DATA(&control.align), fds, sizeof(int) * n);
    }
    if (f->ends[i] < 0 || sendmsg(f->ends[i], &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        return;
    run_worker(&f->worker);
    while (read_answer(f->ends[i]))
        ;
}

/* The same bytes go to the parser alone, from a block of just their size. */
static void parse_alone(const void *bytes, size_t count, unsigned fds)
{
    static command_t command;
    void *copy = malloc(count ? count : 1);
    require(copy != NULL, "memory");
    memcpy(copy, bytes, count);
    rt_err_clear();
    int rc = command_parse(&command, copy, count, fds);
    require(rc == 0 || rt_err_text()[0] != '\0', "a refusal has a text");
    require(rc < 0 || command.name[0] == '\0' || shm_name_check("name", command.name) == 0,
            "a name is one");
    require(rc < 0 || command.op != CTL_OPEN || shm_config_check(&command.config) == 0,
            "a configuration is sound");
    free(copy);
}

static void send_any(fuzz_t *f)
{
    uint8_t bytes[MAX_BODY];
    unsigned conn = take_number(f, 1) % CONNS;
    unsigned fds = take_number(f, 1) % 5;
    size_t count = take(f, bytes, take_number(f, 2) % sizeof bytes);
    parse_alone(bytes, count, fds);
    ctl_header_t head = {0};
    memcpy(&head, bytes, count < sizeof head ? count : sizeof head);
    if (head.op != CTL_OPEN)
        post(f, conn, bytes, count, NULL, 0);
}

/* A message with a good header, a channel's name where one belongs, and the rest any bytes. */
static void send_sound(fuzz_t *f)
{
    struct {
        ctl_header_t head;
        union {
            ctl_channel_t channel;
            ctl_attach_t attach;
            ctl_attached_t attached;
            ctl_tap_t tap;
            ctl_client_t client;
            uint8_t bytes[sizeof(ctl_attach_t)];
        };
    } message = {.head = {.magic = CTL_MAGIC}};
    _Static_assert(sizeof(ctl_attach_t) == sizeof(ctl_attached_t), "one union for both");
    unsigned how = take_number(f, 1);
    uint32_t op = take_number(f, 1) % (CTL_CLIENT + 1);
    bool taps = op == CTL_TAP;
    bool slots = op == CTL_ATTACH || op == CTL_DETACH;
    bool bare = op == CTL_PING || op == CTL_ADOPT || op == CTL_QUIT;
    if (op == CTL_OPEN)
        return;
    message.channel.name[0] = (char)('a' + (how >> 2 & 3));
    if (slots) {
        message.attach.what = take_number(f, 1);
        message.attach.producer = (uint32_t)(int8_t)take_number(f, 1);
        message.attach.reader = (uint32_t)(int8_t)take_number(f, 1);
    }
    if (taps) {
        message.tap.what = take_number(f, 1);
        message.tap.memory_bytes = how & 0x40 ? TAP_LEAST_BYTES : take_number(f, 3);
    }
    if (op == CTL_CLIENT)
        message.client = (ctl_client_t){.pid = how, .uid = how >> 4, .group_count = take_number(f, 2)};
    message.head.op = op;
    message.head.body_bytes = (uint32_t)(bare             ? 0
                                         : taps           ? sizeof(ctl_tap_t)
                                         : slots          ? sizeof(ctl_attach_t)
                                         : op == CTL_LIST ? sizeof(ctl_list_t)
                                         : op == CTL_CLIENT ? sizeof(ctl_client_t)
                                                          : sizeof(ctl_channel_t));
    int unasked = how & 0x10 ? eventfd(0, EFD_CLOEXEC) : memfd_create("fuzz", MFD_CLOEXEC);
    post(f, how % CONNS, &message, sizeof message.head + message.head.body_bytes, &unasked,
         how >> 5 & 1);
    close(unasked);
}

/* A channel a, b, c or d of a good configuration, of which the message may change some bytes. */
static void send_open(fuzz_t *f)
{
    struct {
        ctl_header_t head;
        ctl_open_t open;
        shm_config_t config;
    } message = {.head = {.magic = CTL_MAGIC, .op = CTL_OPEN}};
    _Static_assert(sizeof message ==
                       sizeof message.head + sizeof message.open + sizeof message.config,
                   "no padding");
    unsigned how = take_number(f, 1);
    shm_config_t *c = &message.config;
    shm_config_init(c);
    c->name[0] = (char)('a' + (how & 3));
    c->name_space[0] = 'n';
    c->pool[0] = 'p';
    c->tx_bytes = c->rx_bytes = SHM_PAGE_BYTES;
    c->max_payload_bytes = 100;
    c->producers = 3;
    c->readers = 2;
    c->report_slots = 1;
    int fds[2] = {memfd_create("fuzz", MFD_CLOEXEC), eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    shm_segment_t s;
    require(shm_segment_format(&s, fds[0], c, 1) == 0, "a segment is made");
    shm_segment_unmap(&s);
    for (unsigned changes = how >> 4; changes > 0; changes--)
        ((uint8_t *)c)[take_number(f, 2) % sizeof *c] ^= (uint8_t)take_number(f, 1);
    memcpy(c->engine, "fuzz", sizeof "fuzz");
    message.open.flags = how >> 2 & 3;
    message.head.body_bytes = sizeof message - sizeof message.head;
    parse_alone(&message, sizeof message, 2);
    post(f, 0, &message, sizeof message, fds, 2);
    close(fds[0]);
    close(fds[1]);
}

/* --- what clients can do to the segment ---------------------------------------------------- */

static void write_owner(fuzz_t *f)
{
    worker_t *w = &f->worker;
    unsigned how = take_number(f, 1);
    uint32_t value = take_number(f, 1);
    if (w->channel_count == 0)
        return;
    shm_segment_t *s = &w->channels[(how >> 4) % w->channel_count]->segment;
    if (how & 8)
        rt_store_relaxed(&s->producers[how % s->config.producers].owner, value);
    else if (s->config.readers > 0)
        rt_store_relaxed(&s->readers[how % s->config.readers].owner, value);
}

static void write_word(fuzz_t *f)
{
    worker_t *w = &f->worker;
    uint32_t at = take_number(f, 2);
    uint64_t value = 0;
    (void)take(f, &value, sizeof value);
    if (w->channel_count == 0)
        return;
    shm_segment_t *s = &w->channels[0]->segment;
    uint64_t words = (s->bytes - SHM_PAGE_BYTES) / sizeof value;
    memcpy(s->base + SHM_PAGE_BYTES + at % words * sizeof value, &value, sizeof value);
}

/* --- steps --------------------------------------------------------------------------------- */

static void housekeep(fuzz_t *f)
{
    for (uint32_t i = 0; i < f->worker.channel_count; i++)
        channel_housekeep(f->worker.channels[i], rt_mono_ns());
}

static void run_jobs(fuzz_t *f)
{
    for (unsigned i = 0; control_jobs_step(&f->worker, rt_mono_ns()); i++)
        require(i < 100, "deferred commands come to an end");
    for (unsigned i = 0; i < CONNS; i++)
        while (f->ends[i] >= 0 && read_answer(f->ends[i]))
            ;
}

static void play(fuzz_t *f)
{
    enum { ANY, SOUND, SOUND_TOO, OPEN, OWNER, WORD, JOBS, HOUSEKEEP, HANG_UP, STEPS };
    switch (take_number(f, 1) % STEPS) {
    case ANY:
        send_any(f);
        break;
    case SOUND:
    case SOUND_TOO:
        send_sound(f);
        break;
    case OPEN:
        send_open(f);
        break;
    case OWNER:
        write_owner(f);
        break;
    case WORD:
        write_word(f);
        break;
    case JOBS:
        run_jobs(f);
        break;
    case HOUSEKEEP:
        housekeep(f);
        break;
    default:
        hang_up(f, take_number(f, 1) % CONNS);
    }
}

/* The lowest free number: the same before and after, when nothing was lost. */
static int free_descriptor(void)
{
    int fd = eventfd(0, EFD_CLOEXEC);
    close(fd);
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static fuzz_t f;
    int before = free_descriptor();
    f = (fuzz_t){.at = data, .left = bytes};
    start(&f);
    while (f.left > 0)
        play(&f);
    run_jobs(&f);
    stop(&f);
    require(free_descriptor() == before, "no descriptor is lost");
    return 0;
}
