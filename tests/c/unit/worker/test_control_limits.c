/* How many connections a worker takes, of one user and of all: who comes too late is told so, and
 * the others go on. */
#include "unit/worker/worker_test.h"

#include "worker/control.h"

#include <sys/resource.h>

enum { STRANGER = 65534, SPARE_FILES = 300 };

static wt_worker_t worker;
static int held[CONTROL_MAX_CONNS];

/* Whoever asks gets an answer. */
static int ping(int fd)
{
    ctl_pong_t pong;
    return wt_ask(&worker, fd, CTL_PING, NULL, 0, NULL, 0, &pong, sizeof pong, NULL);
}

/* The kernel notes who connects. */
static int connect_as(uid_t user)
{
    CHECK_EQ(seteuid(user), 0);
    int fd = wt_connect(&worker);
    CHECK_EQ(seteuid(0), 0);
    return fd;
}

/* The worker hangs up, and has said why before. */
static void check_refused(int fd, const char *text)
{
    char more;
    CHECK(fd >= 0);
    CHECK_EQ(wt_reply(&worker, fd, 0, NULL, 0, NULL, NULL), -EUSERS);
    CHECK(strstr(worker.text, text) != NULL);
    CHECK_EQ(wt_recv(fd, &more, 1, WT_TIMEOUT_MS), 0);
    close(fd);
}

/* Each is served before the next one comes: the backlog is short. */
static unsigned fill(uid_t user, unsigned count)
{
    unsigned served = 0;
    for (unsigned i = 0; i < count; i++) {
        held[i] = connect_as(user);
        served += held[i] >= 0 && ping(held[i]) == 0;
    }
    return served;
}

static void leave(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        close(held[i]);
    wt_settle(&worker);
}

static void test_one_user_has_so_many(void)
{
    CHECK_EQ(fill(STRANGER, CONTROL_MAX_OF_USER), CONTROL_MAX_OF_USER);
    check_refused(connect_as(STRANGER), "user 65534 has 512 connections to worker 0");
    CHECK_EQ(ping(held[0]), 0);
    int own = wt_connect(&worker), another = connect_as(STRANGER - 1);
    CHECK_EQ(ping(own), 0);
    CHECK_EQ(ping(another), 0);
    close(own);
    close(another);
    close(held[0]);
    held[0] = connect_as(STRANGER);
    CHECK_EQ(ping(held[0]), 0);
    leave(CONTROL_MAX_OF_USER);
}

/* The pool's own connection is one of them. */
static void test_all_have_so_many(void)
{
    enum { MOST = CONTROL_MAX_CONNS - 1 };
    CHECK_EQ(fill(0, MOST), MOST);
    check_refused(wt_connect(&worker), "worker 0 has 4096 connections, the limit");
    CHECK_EQ(ping(held[MOST - 1]), 0);
    leave(MOST);
    int fd = wt_connect(&worker);
    CHECK_EQ(ping(fd), 0);
    close(fd);
}

/* Whether a process may become another user. */
static bool may_be(uid_t user)
{
    pid_t child = fork();
    if (child == 0)
        _exit(setresuid(user, user, user) == 0 ? 0 : 1);
    int status = 0;
    return waitpid(child, &status, 0) == child && status == 0;
}

static bool raise_file_limit(void)
{
    struct rlimit files = {.rlim_cur = 0};
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_max < CONTROL_MAX_CONNS + SPARE_FILES)
        return false;
    files.rlim_cur = files.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &files) == 0;
}

/* As a pool with a group does for its members. */
static bool let_in(void)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%.80s/worker-0.sock", worker.dir);
    return chmod(worker.dir, 0711) == 0 && chmod(path, 0666) == 0;
}

int main(void)
{
    TEST_NEEDS("unprivileged", may_be(STRANGER));
    TEST_NEEDS("files", raise_file_limit());
    if (!wt_start(&worker, NULL) || !let_in())
        return 1;
    RUN(test_one_user_has_so_many);
    RUN(test_all_have_so_many);
    wt_stop(&worker);
    return rt_test_result();
}
