/* pool.c: the pool, the only stand-in for a part of the product. It does what the supervisor does:
 *
 *     make page, memory of the receive buffers, segment, bell --> start a worker --> OPEN
 *        ^                                                            |
 *        |  the worker died: start another, OPEN with CTL_OPEN_TAKEOVER, and the request again
 *
 * It holds duplicates of all that a successor needs, also of the UDP socket. When the clients have
 * ended it lets the rest be cancelled, waits until all is quiet, and lets the judge look. */
#include "sim.h"

#include "base/rt_err.h"
#include "shm/ctl_msg.h"
#include "shm/shm_segment.h"
#include "worker/door/door.h"
#include "worker/worker.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define RX_FILE_BYTES (UINT64_C(9) << 20)
#define PATIENCE_NS (8 * NS_PER_S)
#define SETTLE_NS (4 * NS_PER_S)
#define DRAIN_NS (30 * NS_PER_S)

extern int worker_program(int argc, char **argv); /* main of worker_main.c */
extern uint8_t __start_sim_data[], __stop_sim_data[], __start_sim_bss[], __stop_sim_bss[];

typedef struct pool {
    int page_fd, rx_fd, segment_fd, bell_fd, socket_fd, end;
    int given[3]; /* page, rx, end, as the worker has them */
    shm_segment_t segment;
    shm_config_t config;
    actor_t *worker;
    uint32_t request;
    bool opened;
    bool held;
} pool_t;

static pool_t pool;

/* --- the worker ------------------------------------------------------------------------------- */

/* Another program, which worker_main.c may be instead. */
int door_run(const worker_args_t *args)
{
    (void)args;
    return -ENOSYS;
}

/* A new process has its variables as they were linked. */
static void fresh_variables(void)
{
    static uint8_t first[1 << 16];
    static bool known;
    size_t bytes = (size_t)(__stop_sim_data - __start_sim_data);
    if (!known && bytes <= sizeof first)
        memcpy(first, __start_sim_data, bytes);
    known = true;
    memcpy(__start_sim_data, first, bytes);
    memset(__start_sim_bss, 0, (size_t)(__stop_sim_bss - __start_sim_bss));
}

static void run_worker(actor_t *a)
{
    char page[16], rx[16], end[16];
    (void)a;
    fresh_variables();
    (void)snprintf(page, sizeof page, "%d", pool.given[0]);
    (void)snprintf(rx, sizeof rx, "%d", pool.given[1]);
    (void)snprintf(end, sizeof end, "%d", pool.given[2]);
    char *argv[] = {"worker",    "--namespace", NAME_SPACE,
                    "--pool",    POOL,          "--slot",
                    "0",         "--runtime",   RUNTIME "/" NAME_SPACE "/" POOL,
                    "--page-fd", page,          "--rx-fd",
                    rx,          "--pool-fd",   end,
                    NULL};
    optind = 0;
    sim_exit(worker_program(15, argv));
}

static bool worker_ended(void *of)
{
    (void)of;
    return pool.worker == NULL || pool.worker->state == ACTOR_ENDED;
}

/* Waits for a message of the worker. Returns its result; -ECONNRESET: the worker has ended. */
static int answer(uint32_t request, int *fd)
{
    static uint8_t buffer[CTL_MAX_BYTES];
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * CTL_MAX_FDS)];
    } control;
    for (;;) {
        struct iovec part = {.iov_base = buffer, .iov_len = sizeof buffer};
        struct msghdr m = {.msg_iov = &part,
                           .msg_iovlen = 1,
                           .msg_control = control.bytes,
                           .msg_controllen = sizeof control.bytes};
        struct pollfd p = {.fd = pool.end, .events = POLLIN};
        if (waits_poll(&p, 1, sim_clock.now_ns + PATIENCE_NS) != 1) {
            sim_fail("the worker does not answer request %u", request);
            sim_over();
        }
        ssize_t n = recvmsg(pool.end, &m, MSG_DONTWAIT);
        if (n <= 0)
            return -ECONNRESET;
        ctl_header_t head;
        memcpy(&head, buffer, sizeof head);
        const struct cmsghdr *c = m.msg_controllen > 0 ? CMSG_FIRSTHDR(&m) : NULL;
        if (c != NULL && fd != NULL)
            memcpy(fd, CMSG_DATA(c), sizeof *fd);
        if (head.request != request)
            continue;
        if (head.result < 0)
            sim_trace("worker: %.*s", (int)head.body_bytes, (char *)buffer + sizeof head);
        return head.result;
    }
}

static bool post(uint32_t op, const void *body, size_t bytes, const int *fds, unsigned count)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * CTL_MAX_FDS)];
    } control;
    ctl_header_t head = {
        .magic = CTL_MAGIC, .op = op, .request = ++pool.request, .body_bytes = (uint32_t)bytes};
    struct iovec parts[2] = {{.iov_base = &head, .iov_len = sizeof head},
                             {.iov_base = (void *)(uintptr_t)body, .iov_len = bytes}};
    struct msghdr m = {.msg_iov = parts, .msg_iovlen = 2};
    if (count > 0) {
        memset(&control, 0, sizeof control);
        m.msg_control = control.bytes;
        m.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * count);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * count);
    }
    return sendmsg(pool.end, &m, MSG_NOSIGNAL) >= 0;
}

static int open_channel(void)
{
    struct {
        ctl_open_t open;
        shm_config_t config;
    } body;
    memset(&body, 0, sizeof body);
    body.open.flags = pool.opened ? CTL_OPEN_TAKEOVER : 0;
    body.config = pool.config;
    int fds[3] = {pool.segment_fd, pool.bell_fd, pool.socket_fd};
    int socket_fd = -1;
    int rc = post(CTL_OPEN, &body, sizeof body, fds, pool.socket_fd >= 0 ? 3 : 2)
                 ? answer(pool.request, &socket_fd)
                 : -ECONNRESET;
    if (rc == 0 && pool.socket_fd < 0)
        pool.socket_fd = socket_fd;
    pool.opened |= rc == 0;
    if (rc == 0 && !worker_ended(NULL)) {
        sim.no_worker = false;
        sim_disturb(sim_clock.now_ns + CALM_NS);
    }
    if (rc < 0 && rc != -ECONNRESET) {
        sim_fail("the channel cannot be opened: %d", rc);
        sim_over();
    }
    return rc;
}

/* Returns 0, or -ECONNRESET: it died. */
static int start_worker(void)
{
    int pair[2];
    if (pool.end >= 0)
        (void)close(pool.end);
    (void)unix_pair(FILE_CONN, pair);
    pool.end = pair[0];
    pool.worker = sim_spawn("worker", ROLE_WORKER, 0, run_worker);
    pool.given[0] = fd_give(pool.page_fd, pool.worker);
    pool.given[1] = fd_give(pool.rx_fd, pool.worker);
    pool.given[2] = fd_give(pair[1], pool.worker);
    (void)close(pair[1]);
    int rc = answer(0, NULL);
    if (rc < 0 && rc != -ECONNRESET) {
        sim_fail("the worker does not start");
        sim_over();
    }
    return rc;
}

static void keep_worker(void)
{
    while (worker_ended(NULL)) {
        if (pool.worker != NULL && !pool.worker->killed) {
            sim_fail("the worker ended by itself, with status %d", pool.worker->status);
            sim_over();
        }
        if (pool.worker != NULL) {
            pool.worker->state = ACTOR_FREE;
            sim_sleep_until(sim_clock.now_ns +
                            chance_between(&sim.order, 50 * NS_PER_US, 30 * NS_PER_MS));
        }
        pool.worker = NULL;
        if (start_worker() == 0)
            (void)open_channel();
    }
}

/* Repeats a request until a worker has answered it. */
static void command(uint32_t op)
{
    ctl_channel_t body = {.name = CHANNEL};
    int rc = -ECONNRESET;
    while (rc == -ECONNRESET) {
        keep_worker();
        rc = post(op, &body, sizeof body, NULL, 0) ? answer(pool.request, NULL) : -ECONNRESET;
        if (rc == -ECONNRESET)
            (void)sim_block(sim_clock.now_ns + NS_PER_MS, NULL, worker_ended, NULL);
    }
    sim_trace("command %u: %d", op, rc);
    if (rc < 0)
        sim_fail("command %u was refused: %d", op, rc);
}

/* --- the channel ------------------------------------------------------------------------------ */

static shm_addr_t address(uint8_t host, uint16_t port)
{
    return (shm_addr_t){.family = 4, .port = port, .ip = {10, 0, 0, host}};
}

static shm_config_t configure(const plan_t *p)
{
    shm_config_t c;
    shm_config_init(&c);
    (void)snprintf(c.name, sizeof c.name, "%s", CHANNEL);
    (void)snprintf(c.name_space, sizeof c.name_space, "%s", NAME_SPACE);
    (void)snprintf(c.pool, sizeof c.pool, "%s", POOL);
    if (p->local) {
        (void)snprintf(c.engine, sizeof c.engine, "local");
    } else {
        c.local = address(1, OWN_PORT);
        c.remote = address(2, PEER_PORT);
    }
    c.direction = p->readers > 0 ? SHM_DUPLEX : SHM_TX;
    c.rx_stamp = SHM_STAMP_KERNEL;
    c.tx_stamp = SHM_STAMP_NONE;
    c.txtime = SHM_TXTIME_OFF;
    c.gso = p->gso;
    c.gro = p->gro;
    c.max_payload_bytes = p->payload_most;
    c.producers = SENDERS_MOST + 2;
    c.readers = READERS_MOST + 1;
    c.tx_bytes = p->tx_bytes;
    c.rx_bytes = p->rx_bytes;
    c.report_slots = 8192;
    c.reports = p->reports ? SHM_REPORTS_ALL : SHM_REPORTS_OFF;
    c.late = p->drop_late ? SHM_LATE_DROP : SHM_LATE_SEND;
    c.overflow = p->wait_for_readers ? SHM_OVERFLOW_WAIT : SHM_OVERFLOW_OLDEST;
    c.read_mode = p->shared ? SHM_READ_SHARED : SHM_READ_EACH;
    c.profile = p->profile;
    c.clock = p->tai ? RT_CLOCK_TAI : RT_CLOCK_MONOTONIC;
    return c;
}

static void make(void)
{
    pool = (pool_t){.socket_fd = -1, .end = -1};
    int lock_fd = memory_file(1);
    (void)snprintf(fd_file(lock_fd)->node->name, sizeof fd_file(lock_fd)->node->name,
                   RUNTIME "/" NAME_SPACE "/" POOL "/lock");
    pool.page_fd = memory_file(sizeof(shm_worker_segment_t));
    (void)ftruncate(pool.page_fd, sizeof(shm_worker_segment_t));
    pool.rx_fd = memory_file(RX_FILE_BYTES);
    pool.config = configure(&sim.plan);
    pool.segment_fd = memory_file(shm_segment_bytes(&pool.config));
    pool.bell_fd = eventfd(0, 0);
    if (shm_segment_format(&pool.segment, pool.segment_fd, &pool.config, 77) != 0) {
        sim_fail("no segment: %s", rt_err_text());
        sim_over();
    }
}

/* --- the run ---------------------------------------------------------------------------------- */

static bool is_quiet(void)
{
    const shm_tx_cursors_t *tx = pool.segment.tx;
    return (uint32_t)tx->tail == tx->head_place;
}

static void some_command(void)
{
    chance_t *c = &sim.order;
    switch (chance_below(c, 4)) {
    case 0:
        judge_purged();
        command(CTL_PURGE);
        return;
    default:
        command(pool.held ? CTL_RELEASE : CTL_HOLD);
        pool.held = !pool.held;
    }
}

static void run_pool(actor_t *a)
{
    (void)a;
    const plan_t *p = &sim.plan;
    fresh_variables(); /* not those of the last run's processes */
    make();
    keep_worker();
    for (unsigned i = 0; i < p->senders; i++)
        client_spawn(ROLE_SENDER, i);
    for (unsigned i = 0; i < p->readers; i++)
        client_spawn(ROLE_READER, i);
    net_begin();
    sim_steps_begin();
    sim_faults(true);
    unsigned commands = p->commands;
    while (clients_left(ROLE_SENDER | ROLE_READER) > 0) {
        keep_worker();
        (void)sim_block(sim_clock.now_ns + chance_between(&sim.order, NS_PER_MS, 20 * NS_PER_MS),
                        NULL, worker_ended, NULL);
        bool sends = clients_left(ROLE_SENDER) > 0;
        if (commands > 0 && sends && chance_permille(&sim.order, 300)) {
            commands--;
            some_command();
        }
        if (pool.held && !sends) {
            command(CTL_RELEASE);
            pool.held = false;
        }
    }
    if (pool.held)
        command(CTL_RELEASE);
    command(CTL_PURGE); /* what is due in an hour */
    int64_t until = sim_clock.now_ns + DRAIN_NS;
    while (!is_quiet() && sim_clock.now_ns < until) {
        keep_worker();
        (void)sim_block(sim_clock.now_ns + NS_PER_MS, NULL, worker_ended, NULL);
        command(CTL_PURGE);
    }
    sim_faults(false);
    keep_worker();
    sim_sleep_until(sim_clock.now_ns + SETTLE_NS);
    int64_t used_ns = pool.worker->cpu_ns;
    sim_sleep_until(sim_clock.now_ns + NS_PER_S);
    used_ns = pool.worker->cpu_ns - used_ns;
    if (worker_ended(NULL))
        sim_fail("the worker ended by itself");
    else if (used_ns > NS_PER_S / 100 && net_waiting() == 0)
        sim_fail("the worker uses the core for %lld ns of a second in which nothing is to be done",
                 (long long)used_ns);
    judge_at_rest(&pool.segment);
    sim_over();
}

void pool_spawn(void)
{
    (void)sim_spawn("pool", ROLE_POOL, 0, run_pool);
}
