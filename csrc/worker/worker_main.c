/* worker_main.c: one worker process. Order of start (the pool waits for the last step):
 *
 *   arguments -> lock file -> page -> core, class, memory -> sockets -> page's name
 *   -> fewer capabilities -> fewer names, system call filter -> page.version
 *   -> "ready" on the pool's connection -> loop */
#include "base/rt_err.h"
#include "io/udp_route.h"
#include "shm/bus_guard.h"
#include "worker/channel.h"
#include "worker/channels.h"
#include "worker/clock_watch.h"
#include "worker/control.h"
#include "worker/control_run.h"
#include "worker/door/door.h"
#include "worker/file_guard.h"
#include "worker/pool_files.h"
#include "worker/privileges.h"
#include "worker/syscall_filter.h"
#include "worker/worker.h"
#include "worker/worker_examine.h"
#include "worker/worker_loop.h"
#include "worker/worker_setup.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

static int map_page(worker_t *w)
{
    struct stat s;
    if (fstat(w->args.page_fd, &s) != 0)
        return rt_err_set(-errno, "--page-fd %d: %s", w->args.page_fd, strerror(errno));
    if (s.st_size < (off_t)sizeof(shm_worker_segment_t))
        return rt_err_set(-EINVAL, "--page-fd %d is a file of %lld bytes, the page takes %zu",
                          w->args.page_fd, (long long)s.st_size, sizeof(shm_worker_segment_t));
    void *at = mmap(NULL, sizeof(shm_worker_segment_t), PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_POPULATE, w->args.page_fd, 0);
    if (at == MAP_FAILED)
        return rt_err_set(-errno, "--page-fd %d: mmap: %s", w->args.page_fd, strerror(errno));
    uint32_t guard;
    int rc = bus_guard_add(at, sizeof(shm_worker_segment_t), &guard);
    if (rc < 0)
        return rc;
    shm_worker_segment_t *segment = at;
    w->page = &segment->page;
    recorder_init(&w->recorder, &segment->recorder, (uint32_t)getpid(), rt_mono_ns());
    error_log_init(&w->errors, &segment->errors);
    rt_store_release(&w->page->version, 0);
    w->page->magic = SHM_MAGIC;
    if (rt_load_relaxed(&w->page->pid) != 0) /* a predecessor's page */
        rt_bump(&w->page->restarts, 1);
    rt_store_relaxed(&w->page->spun_ns, 0); /* like cpu_ns: monitors divide by this worker's age */
    rt_store_relaxed(&w->page->cpu_ns, 0);
    rt_store_relaxed(&w->page->pid, (uint32_t)getpid());
    memcpy(w->page->pool, w->args.pool, sizeof w->page->pool);
    memcpy(w->page->name_space, w->args.name_space, sizeof w->page->name_space);
    rt_store_relaxed(&w->page->started_mono_ns, (uint64_t)rt_mono_ns());
    return 0;
}

static int make_tables(worker_t *w)
{
    int rc = channels_init(w);
    if (rc < 0)
        return rc;
    w->rx_pool = udp_rx_pool_create(WRK_RX_MESSAGES, w->args.rx_fd);
    if (w->rx_pool == NULL)
        return -errno;
    return clock_map_init(&w->clocks[RT_CLOCK_MONOTONIC], RT_CLOCK_MONOTONIC);
}

/* Ending a service signals all of its processes at once. A private pool's worker then stays for as
 * long as its pool does, which may still have packets to send, and cleans up after it. */
static void on_signal(wrk_source_t *source, uint32_t events, int64_t now_mono_ns)
{
    (void)events;
    (void)now_mono_ns;
    worker_t *w = (worker_t *)((char *)source - offsetof(worker_t, signals));
    struct signalfd_siginfo info;
    if (read(source->fd, &info, sizeof info) <= 0 || w->args.private_pool)
        return;
    w->stop = true;
    w->leaves_names = w->pool != NULL;
}

static int watch_signals(worker_t *w)
{
    int fd = worker_signal_fd(SIGTERM);
    if (fd < 0)
        return fd;
    w->signals.on_event = on_signal;
    return poller_watch(&w->poller, &w->signals, fd, EPOLLIN);
}

/* Freed memory is soon requested again, and would be locked again each time. New heap memory is
 * used at once: calloc zeroes what was kept in reserve (make_agent). */
static void keep_freed_memory(void)
{
#ifdef M_TRIM_THRESHOLD /* glibc */
    (void)mallopt(M_TRIM_THRESHOLD, INT32_MAX);
    (void)mallopt(M_TOP_PAD, 0);
    (void)mallopt(M_MMAP_THRESHOLD, 4 << 20);
#endif
}

/* If the kernel has no seccomp, only a strict pool refuses to serve. Many kernels have no Landlock:
 * `shmring doctor` says so. */
static int confine(worker_t *w)
{
    (void)udp_route_open();
    if (syscall_filter_is_wanted())
        (void)file_guard_install(w->args.runtime_dir);
    rt_err_clear();
    int rc = syscall_filter_install(w);
    if (rc < 0)
        worker_note(w, NULL, SHM_EVENT_privileges_refused, 1, -rc, 0, 0, rt_err_text(),
                    rt_mono_ns());
    return w->args.strict ? rc : 0;
}

static int start(worker_t *w)
{
    int rc = runtime_dir_hold(w);
    rc = rc ? rc : map_page(w);
    rc = rc ? rc : worker_setup(w);
    keep_freed_memory();
    rc = rc ? rc : make_tables(w);
    bool fifo = rc == 0 && rt_load_relaxed(&w->page->sched_policy) == SCHED_FIFO;
    idle_init(&w->idle, w->page, fifo, rt_mono_ns());
    rc = rc ? rc : poller_open(&w->poller);
    rc = rc ? rc : watch_signals(w);
    rc = rc ? rc : clock_watch_open(w);
    rc = rc ? rc : control_open(w);
    rc = rc ? rc : pool_file_publish_page(w);
    rc = rc ? rc : privileges_drop();
    rc = rc ? rc : confine(w);
    if (rc == 0) {
        w->idle.profile = SHM_PROFILE_POWER; /* until there is a channel */
        rt_store_relaxed(&w->page->heartbeat_mono_ns, (uint64_t)rt_mono_ns());
        rt_store_release(&w->page->version, SHM_LAYOUT_VERSION);
        worker_note(w, NULL, SHM_EVENT_worker_started, 1, (int32_t)rt_load_relaxed(&w->page->cpu),
                    rt_load_relaxed(&w->page->sched_priority), rt_load_relaxed(&w->page->restarts),
                    NULL, rt_mono_ns());
    }
    return rc;
}

static void send_final_packets(worker_t *w)
{
    for (uint32_t i = 0; i < w->channel_count; i++) {
        wrk_channel_t *ch = w->channels[i];
        if (ch->ops->send_final != NULL && !ch->failed)
            ch->ops->send_final(ch, rt_mono_ns());
    }
}

/* Called before anything that may take time: the names are free again soon after a pool's death. */
static void withdraw_names(const worker_t *w)
{
    for (uint32_t i = 0; i < w->channel_count; i++)
        pool_file_withdraw_channel(w, w->channels[i]->segment_fd, &w->channels[i]->config);
    pool_file_withdraw_page(w);
}

static void finish(worker_t *w)
{
    bool orphaned = w->pool == NULL;
    bool private_pool = w->args.private_pool;
    worker_note(w, NULL, SHM_EVENT_worker_ended, 1, w->channel_count, 0, 0, NULL, rt_mono_ns());
    if (!w->leaves_names)
        withdraw_names(w);
    if (orphaned)
        send_final_packets(w);
    while (w->channel_count > 0) {
        wrk_channel_t *ch = w->channels[w->channel_count - 1];
        while (!channel_purge_step(ch, rt_mono_ns()))
            ;
        control_close_channel(ch);
    }
    control_close(w);
    udp_rx_pool_destroy(w->rx_pool);
    poller_close(&w->poller);
    if (orphaned)
        pool_files_sweep(w);
    else if (private_pool)
        runtime_dir_leave(w);
}

/* A private pool may be gone already, so that no other process cleans up after it. */
static void fail(worker_t *w, int rc)
{
    (void)fprintf(stderr, "shmring-worker: %s\n", rt_err_text());
    if (w->args.pool_fd >= 0)
        connection_announce(w, w->args.pool_fd, rc);
    if (w->listen_fd >= 0)
        (void)unlink(w->socket_path);
    if (!w->args.private_pool || w->args.runtime_dir == NULL)
        return;
    pool_file_withdraw_page(w);
    pool_files_sweep(w);
}

int main(int argc, char **argv)
{
    static worker_t w = {.lock_fd = -1, .listen_fd = -1, .spare_fd = -1, .poller.epoll_fd = -1};
    w.listener.fd = w.signals.fd = w.clock_set.fd = -1;
    int rc = worker_args_parse(&w.args, argc, argv);
    if (rc == 0 && w.args.examine_ms != WRK_EXAMINE_NOT)
        return worker_examine(&w.args) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    if (rc == 0 && w.args.door_fd >= 0)
        return door_run(&w.args) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    rc = rc ? rc : start(&w);
    if (rc < 0) {
        fail(&w, rc);
        return EXIT_FAILURE;
    }
    connection_announce(&w, w.args.pool_fd, 0);
    worker_loop(&w);
    finish(&w);
    return EXIT_SUCCESS;
}
