#include "worker/clock_watch.h"

#include "base/rt_err.h"
#include "worker/channels.h"

#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define NEVER_REAL_S 10000000000 /* in the year 2286 */

void clock_watch_refresh(worker_t *w, int64_t now_mono_ns)
{
    (void)clock_map_refresh(&w->clocks[RT_CLOCK_MONOTONIC], now_mono_ns);
    if (w->tai_known)
        (void)clock_map_refresh(&w->clocks[RT_CLOCK_TAI], now_mono_ns);
}

void clock_watch_stepped(worker_t *w, int64_t now_mono_ns)
{
    /* Anew, with many pairs: one pair is as exact as the time between its readings, in which the
     * worker may have lost its core. */
    (void)clock_map_init(&w->clocks[RT_CLOCK_MONOTONIC], RT_CLOCK_MONOTONIC);
    w->clocks[RT_CLOCK_TAI].next_refresh_mono_ns = 0;
    clock_watch_refresh(w, now_mono_ns);
    for (uint32_t i = 0; i < w->channel_count; i++)
        if (w->channels[i]->config.clock != RT_CLOCK_MONOTONIC)
            wrk_reschedule(w->channels[i]);
}

static void on_set(wrk_source_t *source, uint32_t events, int64_t now_mono_ns)
{
    (void)events;
    worker_t *w = (worker_t *)((char *)source - offsetof(worker_t, clock_set));
    uint64_t expired;
    (void)!read(source->fd, &expired, sizeof expired); /* ECANCELED, and ready for the next step */
    clock_watch_stepped(w, now_mono_ns);
}

int clock_watch_open(worker_t *w)
{
    const struct itimerspec never = {.it_value.tv_sec = NEVER_REAL_S};
    int fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (fd < 0 ||
        timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL) != 0)
        return rt_err_system(errno, "timer that notices when the time is set");
    w->clock_set = (wrk_source_t){.on_event = on_set, .fd = -1, .at_once = true};
    return poller_watch(&w->poller, &w->clock_set, fd, EPOLLIN);
}
