/* The filter is a classic BPF program over struct seccomp_data: an architecture check, then one
 * block per call in the order of the table, the frequent ones first. The kernel knows from a bitmap
 * which calls it always allows (Linux 5.11), so that only calls with conditions run the program. */
#include "worker/syscall_filter.h"

#include "base/rt_err.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/ethtool.h>
#include <linux/filter.h>
#include <linux/ptp_clock.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#if defined(__x86_64__) && defined(__LP64__)
#define FILTER_ARCHITECTURE AUDIT_ARCH_X86_64
#define RESULT_OF(context) ((context)->uc_mcontext.gregs[REG_RAX])
#define ARGUMENT_OF(context, i) \
    ((uintptr_t)(context)->uc_mcontext.gregs[(const int[]){REG_RDI, REG_RSI, REG_RDX, REG_R10}[i]])
#elif defined(__aarch64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define FILTER_ARCHITECTURE AUDIT_ARCH_AARCH64
#define RESULT_OF(context) ((context)->uc_mcontext.regs[0])
#define ARGUMENT_OF(context, i) ((uintptr_t)(context)->uc_mcontext.regs[i])
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FILTER_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define FILTER_SANITIZED 1
#endif
#endif

#if !defined(FILTER_ARCHITECTURE) || defined(FILTER_SANITIZED)

bool syscall_filter_is_wanted(void)
{
    return false;
}

int syscall_filter_install(worker_t *w)
{
    rt_store_relaxed(&w->page->calls_filtered, 0);
    return 0;
}

#else

#ifndef SYS_SECCOMP
#define SYS_SECCOMP 1 /* si_code */
#endif

/* --- the table ------------------------------------------------------------------------------- */

#define MOST_VALUES 8
#define MOST_INSTRUCTIONS 512

/* True if word & mask is one of the values. A word is half an argument: 2 * i is the low half of
 * argument i. */
typedef struct condition {
    unsigned word;
    uint32_t mask;
    unsigned count;
    uint32_t values[MOST_VALUES];
} condition_t;

#define LOW(argument) (2 * (argument))
#define HIGH(argument) (2 * (argument) + 1)
#define WHOLE UINT32_MAX
#define NONE_OF(argument, bits)   \
    {                             \
        LOW(argument), (bits), 1, \
        {                         \
            0                     \
        }                         \
    }
#define IS_NULL(argument)           \
    {LOW(argument), WHOLE, 1, {0}}, \
    {                               \
        HIGH(argument), WHOLE, 1,   \
        {                           \
            0                       \
        }                           \
    }

/* Frequent ones first. An #ifdef surrounds each call that only some architectures have. */
static const uint32_t ALLOWED[] = {
    __NR_sendmmsg,
    __NR_sendto,
    __NR_sendmsg,
    __NR_recvmmsg,
    __NR_recvmsg,
    __NR_recvfrom,
#ifdef __NR_epoll_pwait2
    __NR_epoll_pwait2,
#endif
    __NR_epoll_pwait,
#ifdef __NR_epoll_wait
    __NR_epoll_wait,
#endif
    __NR_clock_nanosleep,
    __NR_futex,
    __NR_read,
    __NR_write,
    __NR_ppoll,
#ifdef __NR_poll
    __NR_poll,
#endif
    /* time */
    __NR_clock_gettime,
    __NR_clock_getres,
    __NR_clock_adjtime, /* setting needs CAP_SYS_TIME, which is gone */
    __NR_adjtimex,
    __NR_gettimeofday,
    __NR_nanosleep,
    __NR_timerfd_create,
    __NR_timerfd_settime,
    __NR_timerfd_gettime,
#ifdef __NR_time
    __NR_time,
#endif
    /* sockets: see socket() below */
    __NR_accept4,
    __NR_bind,
    __NR_connect,
    __NR_getsockname,
    __NR_getpeername,
    __NR_getsockopt,
    __NR_setsockopt,
    __NR_shutdown,
    /* descriptors; files are opened below */
    __NR_close,
    __NR_dup,
    __NR_dup3,
    __NR_flock,
    __NR_fstat,
    __NR_newfstatat,
    __NR_statx,
    __NR_fstatfs,
    __NR_lseek,
    __NR_readv,
    __NR_writev,
    __NR_pread64,
    __NR_pwrite64,
    __NR_ftruncate,
    __NR_fallocate,
    __NR_memfd_create,
    __NR_eventfd2,
    __NR_epoll_ctl,
    __NR_epoll_create1,
    __NR_readlinkat,
    __NR_faccessat,
#ifdef __NR_faccessat2
    __NR_faccessat2,
#endif
    __NR_getdents64,
    __NR_linkat, /* the names of files that it serves: pool_files.c */
    __NR_unlinkat,
#ifdef __NR_unlink
    __NR_unlink,
#endif
#ifdef __NR_rmdir
    __NR_rmdir,
#endif
#ifdef __NR_readlink
    __NR_readlink,
#endif
#ifdef __NR_access
    __NR_access,
#endif
#ifdef __NR_stat
    __NR_stat,
    __NR_lstat,
#endif
    /* memory; mapping and protecting see below */
    __NR_brk,
    __NR_munmap,
    __NR_mremap,
    __NR_madvise,
    __NR_mlock,
    __NR_mlock2,
    __NR_munlock,
    __NR_mincore,
    /* this process */
    __NR_getpid,
    __NR_gettid,
    __NR_getuid,
    __NR_geteuid,
    __NR_getgid,
    __NR_getegid,
    __NR_getrusage,
    __NR_getcpu,
    __NR_sched_getaffinity,
    __NR_sched_yield,
    __NR_uname,
    __NR_sysinfo,
    __NR_getrandom,
    __NR_capget,
    __NR_capset,
#ifdef __NR_rseq
    __NR_rseq,
#endif
    __NR_set_robust_list,
    __NR_rt_sigaction,
    __NR_rt_sigreturn,
    __NR_sigaltstack,
    __NR_signalfd4,
    __NR_restart_syscall,
    __NR_exit,
    __NR_exit_group,
};

static const condition_t READING[] = {NONE_OF(2, O_ACCMODE | O_CREAT | O_TRUNC)};
#ifdef __NR_open
static const condition_t READING_OPEN[] = {NONE_OF(1, O_ACCMODE | O_CREAT | O_TRUNC)};
#endif
static const condition_t UNBLOCKING[] = {{LOW(0), WHOLE, 1, {SIG_UNBLOCK}}};
static const condition_t NOT_EXECUTABLE[] = {NONE_OF(2, PROT_EXEC)};
/* SOCK_RAW would let CAP_NET_RAW send anything, and a socket of netlink would let CAP_NET_ADMIN
 * change interfaces. The one that asks for routes is open already. */
static const condition_t SOCKETS[] = {
    {LOW(0), WHOLE, 3, {AF_UNIX, AF_INET, AF_INET6}},
    {LOW(1), 0xf, 2, {SOCK_DGRAM, SOCK_SEQPACKET}},
};
/* F_SETOWN, F_SETSIG and O_ASYNC would send any signal to any process of this user. musl sets
 * FD_CLOEXEC again after opening. */
static const condition_t DESCRIPTOR_COMMANDS[] = {
    {LOW(1), WHOLE, 5, {F_OFD_SETLK, F_OFD_GETLK, F_ADD_SEALS, F_DUPFD_CLOEXEC, F_SETFD}},
};
static const condition_t PAIRS[] = {{LOW(0), WHOLE, 1, {AF_UNIX}}};
static const condition_t OWN_USER[] = {{LOW(1), WHOLE, 1, {0600}}};
static const condition_t REQUESTS[] = {
    {LOW(1),
     WHOLE,
     7,
     {SIOCGIFINDEX, SIOCGIFNAME, SIOCGIFMTU, SIOCETHTOOL, SIOCGHWTSTAMP, SIOCSHWTSTAMP,
      PTP_SYS_OFFSET_EXTENDED}},
};
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41 /* newer C libraries name their heap */
#endif
static const condition_t NAMING[] = {{LOW(0), WHOLE, 2, {PR_SET_NAME, PR_SET_VMA}}};
static const condition_t ASKING_OWN_LIMIT[] = {{LOW(0), WHOLE, 1, {0}}, IS_NULL(2)};

/* --- the program ----------------------------------------------------------------------------- */

typedef struct program {
    struct sock_filter code[MOST_INSTRUCTIONS];
    unsigned short length;
    uint32_t refusal; /* SECCOMP_RET_... */
} program_t;

static void add(program_t *p, uint16_t code, uint32_t k, unsigned yes, unsigned no)
{
    if (p->length < MOST_INSTRUCTIONS)
        p->code[p->length++] =
            (struct sock_filter){.code = code, .jt = (uint8_t)yes, .jf = (uint8_t)no, .k = k};
}

static void add_load(program_t *p, size_t offset)
{
    add(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void add_return(program_t *p, uint32_t action)
{
    add(p, BPF_RET | BPF_K, action, 0, 0);
}

static void add_call(program_t *p, uint32_t number)
{
    add(p, BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1);
    add_return(p, SECCOMP_RET_ALLOW);
}

static void add_condition(program_t *p, const condition_t *c)
{
    add_load(p, offsetof(struct seccomp_data, args) + c->word * sizeof(uint32_t));
    add(p, BPF_ALU | BPF_AND | BPF_K, c->mask, 0, 0);
    for (unsigned i = 0; i < c->count; i++)
        add(p, BPF_JMP | BPF_JEQ | BPF_K, c->values[i], c->count - i, 0);
    add_return(p, p->refusal);
}

/* The accumulator holds the call's number again only after the block's own return. */
static void add_call_if(program_t *p, uint32_t number, const condition_t *conditions, size_t count)
{
    unsigned jump_at = p->length;
    add(p, BPF_JMP | BPF_JEQ | BPF_K, number, 0, 0);
    for (size_t i = 0; i < count; i++)
        add_condition(p, &conditions[i]);
    add_return(p, SECCOMP_RET_ALLOW);
    if (p->length < MOST_INSTRUCTIONS)
        p->code[jump_at].jf = (uint8_t)(p->length - jump_at - 1);
}

#define ADD_IF(p, number, conditions) \
    add_call_if((p), (number), (conditions), sizeof(conditions) / sizeof(conditions)[0])

static void build(program_t *p)
{
    /* abort() and raise(), for one's own process */
    const condition_t own[] = {{LOW(0), WHOLE, 1, {(uint32_t)getpid()}}};
    add_load(p, offsetof(struct seccomp_data, arch));
    add(p, BPF_JMP | BPF_JEQ | BPF_K, FILTER_ARCHITECTURE, 1, 0);
    add_return(p, SECCOMP_RET_KILL_PROCESS);
    add_load(p, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < sizeof ALLOWED / sizeof ALLOWED[0]; i++)
        add_call(p, ALLOWED[i]);
    ADD_IF(p, __NR_openat, READING);
#ifdef __NR_open
    ADD_IF(p, __NR_open, READING_OPEN);
#endif
    ADD_IF(p, __NR_mmap, NOT_EXECUTABLE);
    ADD_IF(p, __NR_mprotect, NOT_EXECUTABLE);
    ADD_IF(p, __NR_fcntl, DESCRIPTOR_COMMANDS);
    ADD_IF(p, __NR_socket, SOCKETS);
    ADD_IF(p, __NR_socketpair, PAIRS);
    ADD_IF(p, __NR_fchmod, OWN_USER);
    ADD_IF(p, __NR_ioctl, REQUESTS);
    ADD_IF(p, __NR_prctl, NAMING);
    ADD_IF(p, __NR_prlimit64, ASKING_OWN_LIMIT);
    ADD_IF(p, __NR_tgkill, own);
    if (p->refusal == SECCOMP_RET_TRAP)
        ADD_IF(p, __NR_rt_sigprocmask, UNBLOCKING); /* else change_mask() */
    else
        add_call(p, __NR_rt_sigprocmask);
    add_return(p, p->refusal);
}

/* --- what is trapped ------------------------------------------------------------------------- */

/* A trapped call raises SIGSYS, which ends the process if it is blocked. C libraries block all
 * signals around fork, and others may do it anywhere. So nobody may block SIGSYS: changes of the
 * mask are trapped, too, and made here without it. A worker makes none after its start. */

static worker_t *filtered; /* one worker a process */

/* Stands in for rt_sigprocmask(how, set, before, 8), and leaves SIGSYS unblocked. The new mask
 * takes effect when the handler returns. The kernel's set has 8 bytes, sigset_t has more. */
static int change_mask(ucontext_t *context)
{
    const uint64_t sigsys = (uint64_t)1 << (SIGSYS - 1);
    const void *set = (const void *)ARGUMENT_OF(context, 1); // NOLINT(performance-no-int-to-ptr)
    void *before = (void *)ARGUMENT_OF(context, 2);          // NOLINT(performance-no-int-to-ptr)
    uint64_t mask;
    uint64_t now;
    if (ARGUMENT_OF(context, 3) != sizeof mask)
        return -EINVAL;
    memcpy(&mask, &context->uc_sigmask, sizeof mask);
    now = mask;
    if (set != NULL) {
        uint64_t wanted;
        memcpy(&wanted, set, sizeof wanted);
        switch ((int)ARGUMENT_OF(context, 0)) {
        case SIG_BLOCK:
            mask |= wanted;
            break;
        case SIG_SETMASK:
            mask = wanted;
            break;
        default:
            return -EINVAL;
        }
        mask &= ~sigsys;
        memcpy(&context->uc_sigmask, &mask, sizeof mask);
    }
    if (before != NULL)
        memcpy(before, &now, sizeof now);
    return 0;
}

/* Runs in place of the call, on the thread that made it. So it interrupts neither the recorder nor
 * the log of errors, because neither makes system calls. */
static void on_trapped(int signal_number, siginfo_t *info, void *context)
{
    (void)signal_number;
    if (info->si_code != SYS_SECCOMP)
        return;
    bool masks = info->si_syscall == __NR_rt_sigprocmask;
    int rc = masks ? change_mask(context) : -EPERM;
    RESULT_OF((ucontext_t *)context) = (__typeof__(RESULT_OF((ucontext_t *)context)))rc;
    if (masks)
        return;
    rt_bump(&filtered->page->calls_refused, 1);
    worker_note(filtered, NULL, SHM_EVENT_call_refused, 1, info->si_syscall, 0, 0, NULL,
                rt_mono_ns());
}

static int set_filter(const program_t *p)
{
    struct sock_fprog program = {.len = p->length,
                                 .filter = (struct sock_filter *)(uintptr_t)p->code};
    /* Without SPEC_ALLOW older kernels disable speculative store
     * bypass, and everything is slower. */
    if (syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program) ==
        0)
        return 0;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0 ? 0 : -errno;
}

static bool is_wished(const char *word)
{
    const char *wish = secure_getenv("SHMRING_SYSCALL_FILTER");
    return wish != NULL && strcmp(wish, word) == 0;
}

bool syscall_filter_is_wanted(void)
{
    return !is_wished("off");
}

int syscall_filter_install(worker_t *w)
{
    static program_t program;
    rt_store_relaxed(&w->page->calls_filtered, 0);
    if (!syscall_filter_is_wanted())
        return 0;
    program.refusal = is_wished("kill") ? SECCOMP_RET_KILL_PROCESS : SECCOMP_RET_TRAP;
    struct sigaction action = {.sa_sigaction = on_trapped, .sa_flags = SA_SIGINFO | SA_NODEFER};
    filtered = w;
    sigset_t sigsys;
    sigemptyset(&sigsys);
    sigaddset(&sigsys, SIGSYS);
    if (sigaction(SIGSYS, &action, NULL) != 0 || sigprocmask(SIG_UNBLOCK, &sigsys, NULL) != 0)
        return rt_err_set(-errno, "SIGSYS: %s", strerror(errno));
    build(&program);
    int rc = program.length == MOST_INSTRUCTIONS ? -E2BIG : set_filter(&program);
    if (rc < 0)
        return rt_err_set(rc,
                          "system calls are not filtered: %s; this needs a kernel with "
                          "CONFIG_SECCOMP_FILTER",
                          strerror(-rc));
    rt_store_relaxed(&w->page->calls_filtered, 1);
    return 0;
}

#endif
