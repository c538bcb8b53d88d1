#include "worker/door/door.h"

#include "base/rt_caps.h"
#include "base/rt_err.h"
#include "base/rt_linux.h"
#include "worker/connection.h"
#include "worker/door/relay.h"
#include "worker/worker_setup.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BACKLOG 128
#define KEPT_MOST 256u /* until another process keeps them */
#define NAP_NS (50 * RT_NS_PER_MS)
#define LOOK_MS 1000 /* for the socket's name, where the kernel does not tell */

typedef struct user {
    uid_t uid;
    uint32_t relays; /* 0: another user may get this place */
} user_t;

typedef struct relay_of {
    pid_t pid; /* 0: none */
    user_t *user;
} relay_of_t;

typedef struct door {
    pid_t pid;
    const char *directory;
    int listen_fd;
    int signal_fd;
    int name_fd; /* inotify, -1: none */
    struct sockaddr_un address;
    struct stat name; /* of the socket */
    user_t users[DOOR_MOST_USERS];
    rt_a64_t *schedules; /* of the users; shared with the relays */
    relay_of_t relays[DOOR_MOST];
    unsigned relay_count;
    int kept[KEPT_MOST]; /* refused connections whose closing may never end */
    unsigned kept_count;
} door_t;

static void nap(void)
{
    const struct timespec length = {.tv_nsec = NAP_NS};
    (void)nanosleep(&length, NULL);
}

/* In a child. */
static void close_own(const door_t *d)
{
    close(d->listen_fd);
    close(d->signal_fd);
    if (d->name_fd >= 0)
        close(d->name_fd);
}

static void close_kept(const door_t *d)
{
    for (unsigned i = 0; i < d->kept_count; i++)
        close(d->kept[i]);
}

/* --- relays ---------------------------------------------------------------------------------- */

/* In the child. What the door keeps is kept until it ends, so closing it here takes no time. */
static void be_relay(const door_t *d, int fd, const struct ucred *peer, const user_t *user)
{
    (void)prctl(PR_SET_NAME, "shmring-relay");
    close_own(d);
    close_kept(d);
    relay_run(fd, peer, d->directory, &d->schedules[user - d->users]);
}

/* Waits until the process has been forked. */
static pid_t fork_patiently(int gate[2])
{
    pid_t pid;
    while (pipe2(gate, O_CLOEXEC) != 0)
        nap();
    while ((pid = fork()) < 0)
        nap();
    return pid;
}

/* The child begins when the gate has closed here, and so after this process has let go of fd: what
 * waits in it is never closed by this process. */
static void fork_relay(door_t *d, int fd, const struct ucred *peer, user_t *user)
{
    int gate[2];
    char nothing;
    pid_t pid = fork_patiently(gate);
    if (pid == 0) {
        close(gate[1]);
        (void)!read(gate[0], &nothing, 1);
        be_relay(d, fd, peer, user);
        _exit(0);
    }
    close(gate[0]);
    close(fd);
    close(gate[1]);
    for (relay_of_t *r = d->relays;; r++) {
        if (r->pid != 0)
            continue;
        *r = (relay_of_t){.pid = pid, .user = user};
        break;
    }
    d->relay_count++;
    user->relays++;
}

static void reap(door_t *d)
{
    pid_t pid;
    while ((pid = waitpid(-1, NULL, WNOHANG)) > 0) {
        for (relay_of_t *r = d->relays; r < d->relays + DOOR_MOST; r++) {
            if (r->pid != pid)
                continue;
            r->user->relays--;
            r->pid = 0;
            d->relay_count--;
            break;
        }
    }
}

/* --- refusing -------------------------------------------------------------------------------- */

/* Whether no descriptors wait in a connection to which nobody can send any more. Looking closes
 * none: the last of each stays in its message. */
static bool holds_no_fds(int fd)
{
    const int on = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
    for (;;) {
        union {
            struct cmsghdr align;
            char bytes[CMSG_SPACE(sizeof(struct ucred))];
        } sender; /* the kernel names him first, and says that there is no room for descriptors */
        struct msghdr message = {.msg_control = &sender, .msg_controllen = sizeof sender};
        struct msghdr nothing = {.msg_control = NULL};
        if (recvmsg(fd, &message, MSG_PEEK | MSG_DONTWAIT) < 0) {
            if (errno != ECONNRESET) /* which is told once */
                return false;
        } else if (message.msg_controllen == 0) {
            return true; /* there is no message, or no more */
        } else if (message.msg_flags & MSG_CTRUNC) {
            return false;
        } else {
            (void)recvmsg(fd, &nothing, MSG_DONTWAIT);
        }
    }
}

/* Leaves them to a process that lives as long as this one, so that they take no descriptors here.
 * There are no more of them than the descriptors that users may have on their way, which the kernel
 * limits (RLIMIT_NOFILE). */
static void keep_elsewhere(door_t *d)
{
    pid_t pid;
    while ((pid = fork()) < 0)
        nap();
    if (pid == 0) {
        (void)prctl(PR_SET_NAME, "shmring-kept");
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        close_own(d);
        while (getppid() == d->pid)
            (void)pause();
        _exit(0);
    }
    close_kept(d);
    d->kept_count = 0;
}

/* Before Linux 6.16 descriptors may wait in it, and closing those may never end. */
static void refuse(door_t *d, int fd, int reason)
{
    connection_refuse(fd, reason);
    (void)shutdown(fd, SHUT_RDWR);
    if (holds_no_fds(fd)) {
        close(fd);
        return;
    }
    d->kept[d->kept_count++] = fd;
    if (d->kept_count == KEPT_MOST)
        keep_elsewhere(d);
}

/* --- accepting ------------------------------------------------------------------------------- */

/* Its former place, so that it keeps its schedule, or one that nobody uses now. */
static user_t *find_user(door_t *d, uid_t uid)
{
    user_t *unused = NULL;
    for (user_t *user = d->users; user < d->users + DOOR_MOST_USERS; user++) {
        if (user->uid == uid)
            return user;
        if (user->relays == 0 && (unused == NULL || unused->uid != (uid_t)-1))
            unused = user;
    }
    if (unused != NULL) {
        unused->uid = uid;
        rt_store_relaxed(&d->schedules[unused - d->users], 0);
    }
    return unused;
}

static int check_room(const door_t *d, const user_t *user)
{
    if (user == NULL)
        return rt_err_set(-EUSERS,
                          "the pool's door serves %u users, the limit: wait until one of them has "
                          "closed its channels",
                          DOOR_MOST_USERS);
    if (user->relays >= DOOR_MOST_OF_USER)
        return rt_err_set(
            -EUSERS,
            "user %u has %u connections to the pool and its workers, the limit of one "
            "user: close channels",
            (unsigned)user->uid, DOOR_MOST_OF_USER);
    if (d->relay_count >= DOOR_MOST)
        return rt_err_set(-EUSERS,
                          "the pool's door has %u connections, the limit: wait until others have "
                          "closed channels",
                          DOOR_MOST);
    return 0;
}

static void admit(door_t *d, int fd)
{
    struct ucred peer = {.uid = (uid_t)-1};
    socklen_t bytes = sizeof peer;
    (void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes);
    user_t *user = find_user(d, peer.uid);
    int rc = check_room(d, user);
    if (rc == 0)
        fork_relay(d, fd, &peer, user);
    else
        refuse(d, fd, rc);
}

static void accept_one(door_t *d)
{
    int fd = accept4(d->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0)
        admit(d, fd);
    else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
        nap();
}

/* --- life ------------------------------------------------------------------------------------ */

static bool is_named(const door_t *d)
{
    struct stat now;
    return lstat(d->address.sun_path, &now) == 0 && now.st_ino == d->name.st_ino &&
           now.st_dev == d->name.st_dev;
}

static void serve(door_t *d)
{
    while (is_named(d)) {
        struct pollfd ready[] = {
            {.fd = d->listen_fd, .events = POLLIN},
            {.fd = d->signal_fd, .events = POLLIN},
            {.fd = d->name_fd, .events = POLLIN},
        };
        struct signalfd_siginfo info;
        char events[sizeof(struct inotify_event) * 8];
        (void)poll(ready, 3, d->name_fd < 0 ? LOOK_MS : -1);
        if (ready[1].revents != 0 && read(d->signal_fd, &info, sizeof info) > 0)
            reap(d);
        if (ready[2].revents != 0)
            (void)!read(d->name_fd, events, sizeof events);
        if (ready[0].revents != 0)
            accept_one(d);
    }
}

/* It needs no privilege, and is no real-time process, whatever its pool is. */
static int drop_privileges(void)
{
    const struct sched_param none = {.sched_priority = 0};
    (void)rt_set_scheduler(SCHED_OTHER, &none);
    (void)prctl(PR_SET_NAME, "shmring-door");
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    int rc = rt_caps_set(&(rt_caps_t){0});
    return rc < 0 ? rt_err_set(rc, "capset: %s", strerror(-rc)) : 0;
}

static int open_signals(door_t *d)
{
    d->signal_fd = worker_signal_fd(SIGCHLD);
    return d->signal_fd < 0 ? d->signal_fd : 0;
}

static int open_name(door_t *d)
{
    socklen_t bytes = sizeof d->address;
    if (getsockname(d->listen_fd, (struct sockaddr *)&d->address, &bytes) != 0 ||
        lstat(d->address.sun_path, &d->name) != 0)
        return rt_err_set(-errno, "--door %d: %s", d->listen_fd, strerror(errno));
    d->name_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (d->name_fd >= 0 && inotify_add_watch(d->name_fd, d->address.sun_path,
                                             IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF) < 0) {
        close(d->name_fd);
        d->name_fd = -1;
    }
    return 0;
}

static int open_door(door_t *d)
{
    int none = 0;
    for (user_t *user = d->users; user < d->users + DOOR_MOST_USERS; user++)
        user->uid = (uid_t)-1;
    d->schedules = mmap(NULL, DOOR_MOST_USERS * sizeof *d->schedules, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (d->schedules == MAP_FAILED)
        return rt_err_set(-errno, "mapping the users' schedules: %s", strerror(errno));
    (void)setsockopt(d->listen_fd, SOL_SOCKET, SO_PASSRIGHTS, &none, sizeof none);
    (void)fcntl(d->listen_fd, F_SETFD, FD_CLOEXEC);
    (void)fcntl(d->listen_fd, F_SETFL, O_NONBLOCK);
    if (listen(d->listen_fd, BACKLOG) != 0)
        return rt_err_set(-errno, "listen %s: %s", d->address.sun_path, strerror(errno));
    return 0;
}

int door_run(const worker_args_t *args)
{
    static door_t d;
    d = (door_t){.pid = getpid(),
                 .directory = args->runtime_dir,
                 .listen_fd = args->door_fd,
                 .signal_fd = -1,
                 .name_fd = -1};
    int rc = drop_privileges();
    rc = rc ? rc : open_signals(&d);
    rc = rc ? rc : open_name(&d);
    rc = rc ? rc : open_door(&d);
    if (rc < 0)
        (void)fprintf(stderr, "shmring-worker: %s\n", rt_err_text());
    else
        serve(&d);
    return rc;
}
