/* rt_linux.h: what the kernel offers and some C libraries lack (glibc before 2.35, musl). Numbers
 * and calls are kernel ABI. */
#ifndef RT_LINUX_H
#define RT_LINUX_H

#include <sched.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24 /* Linux 5.18 */
#endif
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5 */
#endif
#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83 /* Linux 6.16 */
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434 /* Linux 5.3 */
#endif
#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441 /* Linux 5.11 */
#endif

/* epoll_wait with a limit in ns. Returns the number of events, or -1 with errno: ENOSYS before
 * Linux 5.11. */
static inline int rt_epoll_wait_ns(int epoll_fd, struct epoll_event *events, int most,
                                   const struct timespec *limit)
{
    return (int)syscall(SYS_epoll_pwait2, epoll_fd, events, most, limit, NULL, 0);
}

/* sched_setscheduler for the calling thread. The function of musl always fails. Returns 0, or -1
 * with errno. */
static inline int rt_set_scheduler(int policy, const struct sched_param *param)
{
    return (int)syscall(SYS_sched_setscheduler, 0, policy, param);
}

#endif
