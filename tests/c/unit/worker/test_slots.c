/* Locks, not /proc, tell who holds a slot: a living holder is never
 * taken for dead, and a dead one costs the worker few looks. */
#include "unit/worker/worker_test.h"

#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>

enum { STUCK_MS = 150 }; /* several times what the worker waits before it looks */

static wt_worker_t worker;

static uint64_t looks(const wt_worker_t *w)
{
    return rt_load_relaxed(&w->page->slot_checks);
}

/* Another worker in the place of one that was killed. */
static bool replace_worker(wt_channel_t *ch)
{
    (void)kill(worker.pid, SIGKILL);
    (void)waitpid(worker.pid, NULL, 0);
    close(worker.pool);
    bool started =
        wt_launch(&worker, NULL) && wt_reply(&worker, worker.pool, 0, NULL, 0, NULL, NULL) == 0;
    CHECK(started);
    return started && wt_send_open(&worker, ch, CTL_OPEN_TAKEOVER) == 0;
}

static void close_channel(wt_channel_t *ch)
{
    CHECK_EQ(wt_command(&worker, ch, CTL_CLOSE), 0);
    wt_drop(ch);
}

/* A claim that its producer is in no hurry to commit; meanwhile something happens to its
 * connection. Nothing of it is given up. */
static void finish_late(wt_channel_t *ch, wt_channel_t *client, tx_claim_t *claim)
{
    CHECK_EQ(wt_push(ch, "behind", 6, 0, NULL), 0);
    wt_nap_ms(STUCK_MS);
    CHECK_EQ(wt_exact(&worker, ch, SHM_COUNT_tx_orphans), 0);
    memcpy(claim->payload, "late one", 8);
    tx_producer_commit(&client->producer, claim);
    wt_ring(client);
    CHECK(wt_count_to(ch, SHM_COUNT_tx_sent, 2));
    CHECK_EQ(wt_exact(&worker, ch, SHM_COUNT_tx_orphans), 0);
}

static void test_who_lost_the_connection_finishes_its_packet(void)
{
    wt_channel_t ch = {.config = wt_config("unplugged", 9)};
    REQUIRE(wt_open(&worker, &ch));
    wt_channel_t client = ch;
    int fd = wt_connect(&worker);
    REQUIRE(fd >= 0);
    CHECK_EQ(wt_attach(&worker, fd, &client, NULL), 0);
    tx_claim_t claim;
    CHECK_EQ(tx_producer_claim(&client.producer, 8, 0, rt_mono_ns(), NULL, &claim), 0);
    close(fd);
    finish_late(&ch, &client, &claim);
    close(client.locks_fd);
    close_channel(&ch);
}

static void test_who_outlives_a_worker_finishes_its_packet(void)
{
    wt_channel_t ch = {.config = wt_config("outlives", 9)};
    REQUIRE(wt_open(&worker, &ch));
    tx_claim_t claim;
    CHECK_EQ(tx_producer_claim(&ch.producer, 8, 0, rt_mono_ns(), NULL, &claim), 0);
    REQUIRE(replace_worker(&ch));
    wt_channel_t other = ch;
    CHECK_EQ(wt_attach(&worker, worker.pool, &other, NULL), 0);
    CHECK(other.producer_slot != ch.producer_slot);
    finish_late(&other, &ch, &claim);
    close(other.locks_fd);
    close_channel(&ch);
}

/* --- coming back fails ---------------------------------------------------------------------- */

static int come_back(int fd, const wt_channel_t *client, uint32_t what)
{
    ctl_attach_t again = {.what = what, .producer = client->producer_slot, .reader = CTL_NO_SLOT};
    memcpy(again.channel.name, client->config.name, sizeof again.channel.name);
    return wt_ask(&worker, fd, CTL_ATTACH, &again, sizeof again, NULL, 0, NULL, 0, NULL);
}

/* Attaches, begins a packet, loses the connection; fd: another one. */
static bool begin_and_unplug(const wt_channel_t *ch, wt_channel_t *client, tx_claim_t *claim,
                             int *fd)
{
    *client = *ch;
    *fd = wt_connect(&worker);
    if (*fd < 0 || wt_attach(&worker, *fd, client, NULL) != 0 ||
        tx_producer_claim(&client->producer, 8, 0, rt_mono_ns(), NULL, claim) != 0)
        return false;
    close(*fd);
    *fd = wt_connect(&worker);
    wt_settle(&worker);
    return *fd >= 0;
}

static void test_who_finds_no_reader_slot_finishes_its_packet(void)
{
    wt_channel_t ch = {.config = wt_config("no_reader", 9)};
    ch.config.readers = 2;
    REQUIRE(wt_open(&worker, &ch));
    wt_channel_t client;
    tx_claim_t claim;
    int fd = -1;
    REQUIRE(begin_and_unplug(&ch, &client, &claim, &fd));
    CHECK_EQ(come_back(fd, &client, CTL_ATTACH_PRODUCER | CTL_ATTACH_READER), -EUSERS);
    finish_late(&ch, &client, &claim);
    close(fd);
    close(client.locks_fd);
    close_channel(&ch);
}

static void test_who_gets_no_lock_finishes_its_packet(void)
{
    wt_channel_t ch = {.config = wt_config("no_file", 9)};
    REQUIRE(wt_open(&worker, &ch));
    wt_channel_t client;
    tx_claim_t claim;
    int fd = -1;
    REQUIRE(begin_and_unplug(&ch, &client, &claim, &fd));
    struct rlimit before;
    REQUIRE(prlimit(worker.pid, RLIMIT_NOFILE, NULL, &before) == 0);
    struct rlimit none = {.rlim_cur = 0, .rlim_max = before.rlim_max};
    REQUIRE(prlimit(worker.pid, RLIMIT_NOFILE, &none, NULL) == 0);
    CHECK_EQ(come_back(fd, &client, CTL_ATTACH_PRODUCER), -EMFILE);
    CHECK_EQ(prlimit(worker.pid, RLIMIT_NOFILE, &before, NULL), 0);
    finish_late(&ch, &client, &claim);
    close(fd);
    close(client.locks_fd);
    close_channel(&ch);
}

/* --- a process whose first thread has ended ---------------------------------------------- */

typedef struct thread_job {
    wt_channel_t *ch;
    int done;
} thread_job_t;

static void *claim_and_commit(void *argument)
{
    thread_job_t *job = argument;
    wt_nap_ms(20); /* the first thread is a zombie by now */
    tx_claim_t claim;
    int fd = wt_connect(&worker);
    bool ok = fd >= 0 && wt_attach(&worker, fd, job->ch, NULL) == 0 &&
              tx_producer_claim(&job->ch->producer, 8, 0, rt_mono_ns(), NULL, &claim) == 0;
    (void)!write(job->done, "c", 1);
    wt_nap_ms(STUCK_MS);
    if (ok)
        tx_producer_commit(&job->ch->producer, &claim);
    wt_ring(job->ch);
    (void)!write(job->done, ok ? "y" : "n", 1);
    _exit(0);
}

static void test_a_thread_that_survives_its_first_one_is_alive(void)
{
    wt_channel_t ch = {.config = wt_config("leader", 9)};
    int done[2];
    REQUIRE(wt_open(&worker, &ch));
    REQUIRE(pipe(done) == 0);
    pid_t child = fork();
    if (child == 0) {
        static thread_job_t job;
        static wt_channel_t copy; /* the first thread's stack ends with it */
        pthread_t thread;
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        copy = ch;
        job = (thread_job_t){.ch = &copy, .done = done[1]};
        if (pthread_create(&thread, NULL, claim_and_commit, &job) != 0)
            _exit(1);
        pthread_exit(NULL);
    }
    char said = 0;
    CHECK_EQ(read(done[0], &said, 1), 1);
    CHECK_EQ(wt_push(&ch, "behind", 6, 0, NULL), 0);
    CHECK_EQ(read(done[0], &said, 1), 1);
    CHECK_EQ(said, 'y');
    CHECK(wt_count_to(&ch, SHM_COUNT_tx_sent, 2));
    CHECK_EQ(wt_exact(&worker, &ch, SHM_COUNT_tx_orphans), 0);
    CHECK_EQ(waitpid(child, NULL, 0), child);
    close(done[0]);
    close(done[1]);
    close_channel(&ch);
}

/* --- many ---------------------------------------------------------------------------------- */

enum { MANY = 200 };

static void test_attached_processes_cost_a_successor_few_looks(void)
{
    static int locks[MANY];
    wt_channel_t ch = {.config = wt_config("many", 9)};
    ch.config.producers = ch.config.readers = MANY + 2;
    REQUIRE(wt_open(&worker, &ch));
    wt_channel_t client = ch;
    for (int i = 0; i < MANY; i++) {
        CHECK_EQ(wt_attach(&worker, worker.pool, &client, NULL), 0);
        locks[i] = client.locks_fd;
    }
    REQUIRE(replace_worker(&ch));
    uint64_t before = looks(&worker);
    int64_t began = rt_mono_ns();
    wt_nap_ms(1000);
    uint64_t per_second =
        (looks(&worker) - before) * RT_NS_PER_S / (uint64_t)(rt_mono_ns() - began);
    CHECK(per_second > 0);
    CHECK(per_second <= 40); /* a turn of the housekeeping each 50 ms */

    /* Who comes back gets its slots again. */
    ctl_attach_t again = {.what = CTL_ATTACH_PRODUCER | CTL_ATTACH_READER,
                          .producer = client.producer_slot,
                          .reader = client.reader_slot};
    memcpy(again.channel.name, ch.config.name, sizeof again.channel.name);
    ctl_attached_t got = {.producer = CTL_NO_SLOT};
    CHECK_EQ(wt_ask(&worker, worker.pool, CTL_ATTACH, &again, sizeof again, NULL, 0, &got,
                    sizeof got, NULL),
             0);
    CHECK_EQ(got.producer, client.producer_slot);
    CHECK_EQ(got.reader, client.reader_slot);

    /* The dead make room as soon as somebody needs it. */
    for (int i = 0; i < MANY; i++)
        close(locks[i]);
    unsigned attached = 0;
    for (int i = 0; i < MANY; i++) {
        attached += wt_attach(&worker, worker.pool, &client, NULL) == 0;
        locks[i] = client.locks_fd;
    }
    CHECK(attached >= MANY - 1);
    for (int i = 0; i < MANY; i++)
        close(locks[i]);
    close_channel(&ch);
}

/* A connection with many slots is closed, and the request sent, while the worker stands still: it
 * finds both at once. Returns as wt_ask. */
static int hang_up_and_ask(wt_channel_t *ch, uint32_t op, const void *body, size_t bytes,
                           ctl_attached_t *got)
{
    int fd = wt_connect(&worker);
    wt_channel_t client = *ch;
    for (int i = 0; i < MANY; i++) {
        CHECK_EQ(wt_attach(&worker, fd, &client, NULL), 0);
        close(client.locks_fd);
    }
    (void)kill(worker.pid, SIGSTOP);
    CHECK_EQ(waitpid(worker.pid, NULL, WUNTRACED), worker.pid);
    close(fd);
    uint32_t request = ++worker.request;
    CHECK(wt_post(worker.pool, op, request, body, bytes, NULL, 0));
    (void)kill(worker.pid, SIGCONT);
    return wt_reply(&worker, worker.pool, request, got, sizeof *got, NULL, NULL);
}

static bool are_free(const wt_channel_t *ch, uint32_t from)
{
    for (uint32_t i = from; i < from + MANY; i++)
        if (rt_load_acquire(&ch->segment.producers[i].owner) != 0)
            return false;
    return true;
}

static void test_a_hang_up_is_dealt_with_in_pieces(void)
{
    wt_channel_t ch = {.config = wt_config("pieces", 9)};
    ch.config.producers = ch.config.readers = MANY + 3;
    REQUIRE(wt_open(&worker, &ch));
    ctl_attach_t ask = {
        .what = CTL_ATTACH_PRODUCER, .producer = CTL_NO_SLOT, .reader = CTL_NO_SLOT};
    memcpy(ask.channel.name, ch.config.name, sizeof ask.channel.name);
    ctl_attached_t got = {.producer = CTL_NO_SLOT};
    uint32_t first = ch.producer_slot + 1;
    CHECK_EQ(hang_up_and_ask(&ch, CTL_ATTACH, &ask, sizeof ask, &got), 0);
    CHECK(got.producer >= first + MANY / 2); /* the latest are dropped first */
    ctl_attached_t own = {.channel = ask.channel, .producer = got.producer, .reader = CTL_NO_SLOT};
    CHECK_EQ(wt_ask(&worker, worker.pool, CTL_DETACH, &own, sizeof own, NULL, 0, NULL, 0, NULL), 0);
    for (int ms = 0; ms < WT_TIMEOUT_MS && !are_free(&ch, first); ms++)
        wt_nap_ms(1);
    CHECK(are_free(&ch, first));

    ctl_channel_t name = ask.channel; /* closed amid the pieces */
    CHECK_EQ(hang_up_and_ask(&ch, CTL_CLOSE, &name, sizeof name, &got), 0);
    wt_settle(&worker);
    wt_drop(&ch);
}

static void test_without_orphans_nobody_is_looked_at(void)
{
    wt_channel_t ch = {.config = wt_config("quiet", 9)};
    REQUIRE(wt_open(&worker, &ch));
    uint64_t before = looks(&worker);
    wt_nap_ms(300);
    CHECK_EQ(looks(&worker), before);
    close_channel(&ch);
}

/* --- too many locks ------------------------------------------------------------------------- */

enum { LOCKS = 12000 }; /* a look takes more than 100 us */

/* From the end on: those that are there are passed quickly. */
static int lock_alternate_bytes(const wt_channel_t *ch)
{
    char path[32];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", ch->segment_fd);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    for (int i = LOCKS; i > 0; i--) {
        struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 2 * i, .l_len = 1};
        if (fcntl(fd, F_OFD_SETLK, &lock) != 0) {
            CHECK_EQ(errno, 0);
            break;
        }
    }
    return fd;
}

static bool state_becomes(const wt_channel_t *ch, uint32_t state)
{
    for (int ms = 0; ms < WT_TIMEOUT_MS; ms += 10) {
        if (rt_load_acquire(&ch->segment.status->state) == state)
            return true;
        wt_nap_ms(10);
    }
    return false;
}

static void test_a_channel_with_too_many_locks_fails_alone(void)
{
    wt_channel_t ch = {.config = wt_config("locks", 9)};
    wt_channel_t beside = {.config = wt_config("beside", 9)};
    REQUIRE(wt_open(&worker, &ch) && wt_open(&worker, &beside));
    int fd = lock_alternate_bytes(&ch);
    REQUIRE(fd >= 0);
    wt_channel_t client = ch; /* its locks lie behind those */
    int conn = wt_connect(&worker);
    CHECK_EQ(wt_attach(&worker, conn, &client, NULL), 0);
    close(conn); /* an orphan, looked at every 50 ms */
    CHECK(state_becomes(&ch, SHM_STATE_FAILED));
    CHECK_EQ(rt_load_relaxed(&ch.segment.status->error), ENOLCK);
    CHECK(strstr(ch.segment.status->reason, "file locks on") != NULL);

    uint64_t before = looks(&worker);
    CHECK_EQ(come_back(worker.pool, &client, CTL_ATTACH_PRODUCER), -ENOLCK);
    wt_nap_ms(200);
    CHECK_EQ(looks(&worker), before);
    CHECK_EQ(rt_load_relaxed(&ch.segment.producers[client.producer_slot].owner),
             (uint32_t)getpid()); /* it holds its lock: nobody takes the slot from it */
    CHECK_EQ(wt_push(&beside, "goes on", 7, 0, NULL), 0);
    CHECK(wt_count_to(&beside, SHM_COUNT_tx_sent, 1));
    close(client.locks_fd);
    close(fd);
    close_channel(&beside);
    close_channel(&ch);
}

enum { PREEMPTED_ASKS = 200 };

static pid_t start_stopper(void)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    const struct timespec stopped = {.tv_nsec = 300000}, runs = {.tv_nsec = 100000};
    for (;;) {
        (void)kill(worker.pid, SIGSTOP);
        (void)nanosleep(&stopped, NULL);
        (void)kill(worker.pid, SIGCONT);
        (void)nanosleep(&runs, NULL);
    }
}

/* Its core is taken away amid thousands of looks, which all find a living holder. */
static void test_a_worker_that_is_preempted_fails_nobody(void)
{
    static int locks[MANY];
    wt_channel_t ch = {.config = wt_config("preempted", 9)};
    ch.config.producers = ch.config.readers = MANY + 2;
    REQUIRE(wt_open(&worker, &ch));
    wt_channel_t client = ch;
    int fd = wt_connect(&worker);
    for (int i = 0; i < MANY; i++) {
        CHECK_EQ(wt_attach(&worker, fd, &client, NULL), 0);
        locks[i] = client.locks_fd;
    }
    close(fd);
    uint64_t before = looks(&worker);
    pid_t stopper = start_stopper();
    for (int i = 0; i < PREEMPTED_ASKS; i++)
        CHECK_EQ(wt_attach(&worker, worker.pool, &client, NULL), -EUSERS);
    (void)kill(stopper, SIGKILL);
    CHECK_EQ(waitpid(stopper, NULL, 0), stopper);
    (void)kill(worker.pid, SIGCONT);
    wt_settle(&worker);
    CHECK(looks(&worker) - before >= PREEMPTED_ASKS);
    CHECK_EQ(rt_load_acquire(&ch.segment.status->state), SHM_STATE_OPEN);
    for (int i = 0; i < MANY; i++)
        close(locks[i]);
    close_channel(&ch);
}

/* --- other pid namespaces -------------------------------------------------------------------- */

/* The worker is the first process of a pid namespace of its own and sees none of its clients. */
static int in_other_namespace(void)
{
    if (!TEST_HAS("pidns", unshare(CLONE_NEWPID) == 0))
        return 0;
    wt_dir(&worker);
    worker.request = 0;
    if (!wt_launch(&worker, NULL) || wt_reply(&worker, worker.pool, 0, NULL, 0, NULL, NULL) != 0)
        return 1;
    test_who_lost_the_connection_finishes_its_packet();
    wt_channel_t ch = {.config = wt_config("elsewhere", 9)};
    if (wt_open(&worker, &ch)) {
        CHECK_EQ(rt_load_relaxed(&ch.segment.producers[ch.producer_slot].owner),
                 SHM_OWNER_ELSEWHERE);
        wt_channel_t client = ch;
        int fd = wt_connect(&worker);
        CHECK_EQ(wt_attach(&worker, fd, &client, NULL), 0);
        tx_claim_t claim;
        CHECK_EQ(tx_producer_claim(&client.producer, 8, 0, rt_mono_ns(), NULL, &claim), 0);
        wt_die(&client, fd);
        CHECK_EQ(wt_push(&ch, "behind", 6, 0, NULL), 0);
        /* before it is known that the other is dead */
        CHECK(wt_count_to(&ch, SHM_COUNT_tx_sent, 1));
        CHECK(wt_count_to(&ch, SHM_COUNT_tx_orphans, 1));
        close_channel(&ch);
    }
    wt_stop(&worker);
    return rt_test_result();
}

static void test_clients_of_another_pid_namespace_are_served(void)
{
    pid_t child = fork();
    if (child == 0)
        _exit(in_other_namespace());
    int status = 0;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void)
{
    RUN(test_clients_of_another_pid_namespace_are_served);
    if (!wt_start(&worker, NULL))
        return 1;
    RUN(test_who_lost_the_connection_finishes_its_packet);
    RUN(test_who_outlives_a_worker_finishes_its_packet);
    RUN(test_who_finds_no_reader_slot_finishes_its_packet);
    RUN(test_who_gets_no_lock_finishes_its_packet);
    RUN(test_a_thread_that_survives_its_first_one_is_alive);
    RUN(test_attached_processes_cost_a_successor_few_looks);
    RUN(test_a_hang_up_is_dealt_with_in_pieces);
    RUN(test_without_orphans_nobody_is_looked_at);
    RUN(test_a_channel_with_too_many_locks_fails_alone);
    RUN(test_a_worker_that_is_preempted_fails_nobody);
    wt_stop(&worker);
    return rt_test_result();
}
