/* How many connections a door takes of one user, and a worker of all: who comes too late is told
 * so, and the others go on. */
#include "unit/worker/worker_test.h"

#include "worker/control.h"
#include "worker/door/door.h"

#include <dirent.h>
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

/* As a pool with a group does for its members. Returns the process. */
static pid_t open_door(void)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    char number[16];
    int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    (void)snprintf(at.sun_path, sizeof at.sun_path, "%.80s/door.sock", worker.dir);
    CHECK(bind(fd, (struct sockaddr *)&at, sizeof at) == 0 && chmod(worker.dir, 0711) == 0 &&
          chmod(at.sun_path, 0666) == 0);
    (void)snprintf(number, sizeof number, "%d", fd);
    pid_t door = fork();
    if (door == 0) {
        execl(RT_WORKER_PROGRAM, RT_WORKER_PROGRAM, "--door", number, "--runtime", worker.dir,
              (char *)NULL);
        _exit(127);
    }
    int listens = 0;
    socklen_t bytes = sizeof listens;
    for (int i = 0; i < WT_TIMEOUT_MS / 10 && listens == 0; i++) {
        CHECK_EQ(getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &bytes), 0);
        wt_nap_ms(10);
    }
    CHECK_EQ(listens, 1);
    close(fd);
    return door;
}

static void close_door(pid_t door)
{
    char path[128];
    int status = 0;
    (void)snprintf(path, sizeof path, "%.80s/door.sock", worker.dir);
    CHECK_EQ(unlink(path), 0); /* it ends with its name */
    CHECK_EQ(waitpid(door, &status, 0), door);
    CHECK_EQ(status, 0);
}

/* The kernel notes who connects. */
static int knock(uid_t user)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    (void)snprintf(at.sun_path, sizeof at.sun_path, "%.80s/door.sock", worker.dir);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    CHECK_EQ(seteuid(user), 0);
    CHECK_EQ(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    CHECK_EQ(seteuid(0), 0);
    return fd;
}

/* Returns a connection to the worker, or -1. */
static int come_in(uid_t user)
{
    const ctl_hello_t hello = {.slot = 0};
    int fd = knock(user);
    if (wt_post(fd, CTL_HELLO, 0, &hello, sizeof hello, NULL, 0) &&
        wt_reply(&worker, fd, 0, NULL, 0, NULL, NULL) == 0)
        return fd;
    close(fd);
    return -1;
}

static int come_as_stranger(void)
{
    return come_in(STRANGER);
}

static int come_as_owner(void)
{
    return wt_connect(&worker);
}

/* Who refuses hangs up, and has said why before. */
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
static unsigned fill(int (*come)(void), unsigned count)
{
    unsigned served = 0;
    for (unsigned i = 0; i < count; i++) {
        held[i] = come();
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

static unsigned files_of(pid_t process)
{
    char path[64];
    unsigned count = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/fd", (int)process);
    DIR *dir = opendir(path);
    CHECK(dir != NULL);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

static void refuse_one(int fd)
{
    check_refused(fd, "user 65534 has 256 connections to the pool and its workers");
}

/* Whoever is refused may have sent something, empty messages too, and may be gone. */
static void refuse_some(pid_t door)
{
    unsigned before = files_of(door);
    for (int i = 0; i < 20; i++) {
        refuse_one(knock(STRANGER));
        int fd = knock(STRANGER);
        for (int k = 0; k < i; k++)
            (void)send(fd, "x", (size_t)k % 2, MSG_NOSIGNAL);
        if (i % 2 == 0)
            refuse_one(fd);
        else
            close(fd);
    }
    for (int i = 0; i < WT_TIMEOUT_MS / 10 && files_of(door) != before; i++)
        wt_nap_ms(10);
    CHECK_EQ(files_of(door), before);
}

static void test_one_user_has_so_many(void)
{
    pid_t door = open_door();
    CHECK_EQ(fill(come_as_stranger, DOOR_MOST_OF_USER), DOOR_MOST_OF_USER);
    refuse_some(door);
    CHECK_EQ(ping(held[0]), 0);
    int another = come_in(STRANGER - 1);
    CHECK_EQ(ping(another), 0);
    close(another);
    close(held[0]);
    held[0] = -1;
    for (int i = 0; i < WT_TIMEOUT_MS / 10 && held[0] < 0; i++) { /* until its process has ended */
        wt_nap_ms(10);
        held[0] = come_in(STRANGER);
    }
    CHECK_EQ(ping(held[0]), 0);
    leave(DOOR_MOST_OF_USER);
    close_door(door);
}

/* The pool's own connection is one of them. */
static void test_all_have_so_many(void)
{
    enum { MOST = CONTROL_MAX_CONNS - 1 };
    CHECK_EQ(fill(come_as_owner, MOST), MOST);
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

int main(void)
{
    TEST_NEEDS("unprivileged", may_be(STRANGER));
    TEST_NEEDS("files", raise_file_limit());
    if (!wt_start(&worker, NULL))
        return 1;
    RUN(test_one_user_has_so_many);
    RUN(test_all_have_so_many);
    wt_stop(&worker);
    return rt_test_result();
}
