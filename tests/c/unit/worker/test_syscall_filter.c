/* What a process may still do behind the filter, and what it may not. Each check runs in a child of
 * its own, because a filter is for life. */
#include "rt_test.h"

#include "io/udp_route.h"
#include "worker/file_guard.h"
#include "worker/privileges.h"
#include "worker/syscall_filter.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static shm_worker_segment_t segment;
static pid_t stranger; /* the parent */

static int guarded; /* what file_guard_install returned */
static int nameless_fd;
static struct {
    char base[64]; /* of the runtime directory */
    char file[96];
    char other[96]; /* does not exist */
    char namespace[80];
    char runtime[96];
    char note[112];
    char folder[64]; /* elsewhere */
} names;

/* In this process: a worker as far as the filter needs one. Returns whether there is a filter. */
static bool filter_here(void)
{
    static worker_t w;
    w.page = &segment.page;
    recorder_init(&w.recorder, &segment.recorder, (uint32_t)getpid(), rt_mono_ns());
    error_log_init(&w.errors, &segment.errors);
    if (privileges_drop() != 0 || !syscall_filter_is_wanted() || udp_route_open() != 0)
        return false;
    guarded = file_guard_install(names.runtime[0] != '\0' ? names.runtime : NULL);
    return syscall_filter_install(&w) == 0 && rt_load_relaxed(&segment.page.calls_filtered) == 1;
}

enum { NO_FILTER = 77 };

/* Exit status of a child that ran body behind the filter; -signal if one ended it. */
static int behind_filter(int (*body)(void))
{
    stranger = getpid();
    pid_t pid = fork();
    if (pid == 0)
        _exit(filter_here() ? body() : NO_FILTER);
    int status = 0;
    if (waitpid(pid, &status, 0) != pid)
        return -1000;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* Counts what did not end in EPERM. */
static int refused(long result)
{
    return result == -1 && errno == EPERM ? 0 : 1;
}

static int try_forbidden(void)
{
    int wrong = 0;
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *const words[] = {"true", NULL};
    struct rlimit limit = {0, 0};
    wrong += refused(open("/tmp/shmring-filter", O_WRONLY | O_CREAT | O_EXCL, 0600));
    wrong += refused(open("/proc/self/mem", O_RDWR));
    wrong += refused(open("/tmp", O_TMPFILE | O_RDWR, 0600));
    wrong += refused(execv("/bin/true", words));
    wrong += refused(fork());
    wrong += refused(kill(stranger, 0));
    wrong += refused(syscall(SYS_tgkill, stranger, stranger, 0));
    wrong += refused(ptrace(PTRACE_ATTACH, stranger, NULL, NULL));
    wrong += refused(process_vm_readv(stranger, NULL, 0, NULL, 0, 0));
    wrong += refused(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
                             MAP_FAILED
                         ? -1
                         : 0);
    wrong += refused(mprotect(page, 4096, PROT_READ | PROT_EXEC));
    wrong += refused(socket(AF_INET, SOCK_RAW, IPPROTO_UDP));
    wrong += refused(socket(AF_INET, SOCK_STREAM, 0));
    wrong += refused(socket(AF_PACKET, SOCK_DGRAM, 0));
    wrong += refused(chmod("/tmp", 0777));
    wrong += refused(rename("/tmp/shmring-a", "/tmp/shmring-b"));
    wrong += refused(setuid(0));
    wrong += refused(unshare(CLONE_NEWUSER));
    wrong += refused(setrlimit(RLIMIT_CORE, &limit));
    wrong += refused(syscall(SYS_bpf, 0, NULL, 0));
    wrong += refused(socket(AF_NETLINK, SOCK_DGRAM, NETLINK_ROUTE));
    wrong += refused(fcntl(STDIN_FILENO, F_SETOWN, stranger));
    wrong += refused(fcntl(STDIN_FILENO, F_SETSIG, SIGKILL));
    wrong += refused(fcntl(STDIN_FILENO, F_SETFL, O_ASYNC | O_NONBLOCK));
    wrong += rt_load_relaxed(&segment.page.calls_refused) != 24;
    return wrong;
}

/* As C libraries do around fork. The mask is kept as it was set, without SIGSYS. */
static int try_with_signals_blocked(void)
{
    int wrong = 0;
    char *const words[] = {"true", NULL};
    sigset_t all;
    sigset_t before;
    sigset_t now;
    sigfillset(&all);
    wrong += sigprocmask(SIG_BLOCK, &all, &before) != 0 || sigismember(&before, SIGUSR1);
    wrong += refused(execv("/bin/true", words));
    wrong += sigprocmask(SIG_SETMASK, NULL, &now) != 0 || !sigismember(&now, SIGUSR1);
    wrong += sigismember(&now, SIGSYS);
    wrong += refused(fork());
    wrong += refused(kill(stranger, 0));
    wrong += sigprocmask(SIG_SETMASK, &before, &now) != 0 || !sigismember(&now, SIGUSR1);
    wrong += sigprocmask(SIG_BLOCK, NULL, &now) != 0 || sigismember(&now, SIGUSR1);
    wrong += sigprocmask(-1, &all, NULL) != -1 || errno != EINVAL;
    wrong += rt_load_relaxed(&segment.page.calls_refused) != 3;
    return wrong;
}

/* As a program leaves it that blocked all signals before it started the worker. */
static int behind_filter_with_signals_blocked(int (*body)(void))
{
    sigset_t sigsys;
    sigemptyset(&sigsys);
    sigaddset(&sigsys, SIGSYS);
    (void)sigprocmask(SIG_BLOCK, &sigsys, NULL);
    int rc = behind_filter(body);
    (void)sigprocmask(SIG_UNBLOCK, &sigsys, NULL);
    return rc;
}

/* As the worker does it late: for new channels, for clocks, for those who look on. */
static int try_allowed(void)
{
    int wrong = 0;
    char text[64];
    int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    wrong += read(fd, text, sizeof text) <= 0;
    wrong += close(fd) != 0;

    fd = memfd_create("filter", MFD_CLOEXEC);
    wrong += ftruncate(fd, 8192) != 0;
    uint8_t *at = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    wrong += at == MAP_FAILED || mprotect(at, 4096, PROT_READ) != 0;
    wrong += madvise(at, 8192, MADV_WILLNEED) != 0 || munmap(at, 8192) != 0;
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    wrong += fcntl(fd, F_OFD_SETLK, &lock) != 0;
    lock.l_type = F_WRLCK;
    wrong += fcntl(fd, F_OFD_GETLK, &lock) != 0;
    wrong += close(fd) != 0;

    fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    wrong += fd < 0 || close(fd) != 0;
    fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    wrong += poll(&p, 1, 0) != 1 || close(fd) != 0;

    udp_addr_t local;
    udp_route_t route;
    wrong += udp_addr_parse(&local, "127.0.0.1", 9) != 0;
    wrong += udp_route_find(&route, &local, NULL, 0) != 0;
    udp_t udp;
    udp_config_t cfg = udp_config_default();
    cfg.local = local;
    udp_addr_set_port(&cfg.local, 0);
    cfg.rcvbuf_bytes = 1 << 16;
    wrong += udp_open(&udp, &cfg) != 0;
    udp_close(&udp);
    wrong += rt_load_relaxed(&segment.page.calls_refused) != 0;
    return wrong;
}

/* The socket that asks for routes, which is open already. */
static int route_socket(void)
{
    for (int fd = 0; fd < 64; fd++) {
        int domain = 0;
        socklen_t bytes = sizeof domain;
        if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &bytes) == 0 && domain == AF_NETLINK)
            return fd;
    }
    return -1;
}

/* Takes lo up. It is down in a new network namespace. */
static int try_to_change_an_interface(void)
{
    struct {
        struct nlmsghdr head;
        struct ifinfomsg link;
    } request = {
        .head = {.nlmsg_len = sizeof request,
                 .nlmsg_type = RTM_NEWLINK,
                 .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
        .link = {.ifi_index = 1, .ifi_flags = IFF_UP, .ifi_change = IFF_UP},
    };
    struct {
        struct nlmsghdr head;
        struct nlmsgerr error;
        char rest[256];
    } answer;
    int fd = route_socket();
    if (rt_caps_raise(RT_CAP(CAP_NET_ADMIN)) == 0)
        return NO_FILTER;
    if (send(fd, &request, sizeof request, 0) != sizeof request ||
        recv(fd, &answer, sizeof answer, 0) < (ssize_t)(sizeof answer.head + sizeof(int)))
        return 1;
    return answer.head.nlmsg_type == NLMSG_ERROR && answer.error.error == -EPERM ? 0 : 2;
}

static int try_to_change_an_interface_of_its_own(void)
{
    return unshare(CLONE_NEWNET) != 0 ? NO_FILTER
           : filter_here()            ? try_to_change_an_interface()
                                      : NO_FILTER;
}

/* What no worker may remove or make. */
static int denied(int rc)
{
    return rc == -1 && (errno == EACCES || errno == EXDEV) ? 0 : 1;
}

/* As pool_files.c does it, and the same elsewhere. */
static int try_names(void)
{
    char self[64];
    char shared[64];
    int wrong = 0;
    if (guarded < 0)
        return NO_FILTER;
    (void)snprintf(self, sizeof self, "/proc/self/fd/%d", nameless_fd);
    (void)snprintf(shared, sizeof shared, "/dev/shm/shmring-filter-%d", (int)stranger);
    wrong += denied(unlink(names.file));
    wrong += denied(rmdir(names.folder));
    wrong += denied(linkat(AT_FDCWD, names.note, AT_FDCWD, names.other, 0));
    wrong += denied(linkat(AT_FDCWD, self, AT_FDCWD, names.other, AT_SYMLINK_FOLLOW));
    wrong += linkat(AT_FDCWD, self, AT_FDCWD, shared, AT_SYMLINK_FOLLOW) != 0;
    wrong += unlink(shared) != 0;
    wrong += unlink(names.note) != 0;
    wrong += rmdir(names.runtime) != 0;
    return wrong;
}

static int try_abort(void)
{
    abort();
}

static void test_what_code_of_others_would_want_is_refused_and_counted(void)
{
    int rc = behind_filter(try_forbidden);
    if (rc == NO_FILTER)
        (void)printf("no filter in this build, or on this kernel\n");
    else
        CHECK_EQ(rc, 0);
}

static void test_refusals_are_counted_while_signals_are_blocked(void)
{
    int rc = behind_filter(try_with_signals_blocked);
    CHECK(rc == 0 || rc == NO_FILTER);
    rc = behind_filter_with_signals_blocked(try_forbidden);
    CHECK(rc == 0 || rc == NO_FILTER);
}

static void test_what_a_worker_does_late_is_allowed(void)
{
    int rc = behind_filter(try_allowed);
    CHECK(rc == 0 || rc == NO_FILTER);
}

static void test_no_interface_is_changed_through_the_route_socket(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(try_to_change_an_interface_of_its_own());
    int status = 0;
    REQUIRE(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == NO_FILTER);
    if (WEXITSTATUS(status) == NO_FILTER)
        (void)printf("no filter, or no network namespace\n");
}

static void make_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    REQUIRE(fd >= 0);
    close(fd);
}

static void test_names_are_removed_only_where_a_worker_has_its_own(void)
{
    (void)snprintf(names.base, sizeof names.base, "/tmp/shmring-guard-XXXXXX");
    (void)snprintf(names.folder, sizeof names.folder, "/tmp/shmring-guard-XXXXXX");
    REQUIRE(mkdtemp(names.base) != NULL && mkdtemp(names.folder) != NULL);
    (void)snprintf(names.file, sizeof names.file, "%s/x", names.base);
    (void)snprintf(names.other, sizeof names.other, "%s/y", names.base);
    (void)snprintf(names.namespace, sizeof names.namespace, "%s/ns", names.base);
    (void)snprintf(names.runtime, sizeof names.runtime, "%s/pool", names.namespace);
    (void)snprintf(names.note, sizeof names.note, "%s/x.channel", names.runtime);
    REQUIRE(mkdir(names.namespace, 0700) == 0 && mkdir(names.runtime, 0700) == 0);
    make_file(names.file);
    make_file(names.note);
    nameless_fd = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    REQUIRE(nameless_fd >= 0);
    int rc = behind_filter(try_names);
    if (rc == NO_FILTER)
        (void)printf("no filter, or no Landlock\n");
    else
        CHECK_EQ(rc, 0);
    close(nameless_fd);
    (void)unlink(names.note);
    (void)rmdir(names.runtime);
    CHECK_EQ(rmdir(names.namespace), 0);
    CHECK_EQ(unlink(names.file), 0);
    CHECK_EQ(rmdir(names.base), 0);
    CHECK_EQ(rmdir(names.folder), 0);
    names.runtime[0] = '\0';
}

static void test_it_may_abort(void)
{
    int rc = behind_filter(try_abort);
    CHECK(rc == -SIGABRT || rc == NO_FILTER);
}

static void test_it_can_be_switched_off_and_made_to_kill(void)
{
    (void)setenv("SHMRING_SYSCALL_FILTER", "off", 1);
    CHECK_EQ(behind_filter(try_allowed), NO_FILTER);
    (void)setenv("SHMRING_SYSCALL_FILTER", "kill", 1);
    int rc = behind_filter(try_forbidden);
    CHECK(rc == -SIGSYS || rc == NO_FILTER);
    (void)unsetenv("SHMRING_SYSCALL_FILTER");
}

int main(void)
{
    (void)unsetenv("SHMRING_SYSCALL_FILTER"); /* ctest sets it, for workers */
    RUN(test_what_code_of_others_would_want_is_refused_and_counted);
    RUN(test_refusals_are_counted_while_signals_are_blocked);
    RUN(test_what_a_worker_does_late_is_allowed);
    RUN(test_no_interface_is_changed_through_the_route_socket);
    RUN(test_names_are_removed_only_where_a_worker_has_its_own);
    RUN(test_it_may_abort);
    RUN(test_it_can_be_switched_off_and_made_to_kill);
    return rt_test_result();
}
