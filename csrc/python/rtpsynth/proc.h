/* proc.h: the scheduler thread of RtpProc.py.
 *
 *   proc.c            RtpProc, and what happens at a fork and at exit
 *   proc_channel.c    RtpProcChannel
 *   proc_engine.c     the worker thread: what it runs, and when
 *   proc_schedule.c   the heap
 *   proc_wait.c       sleeping and spinning
 *
 *      RtpProcChannel --strong--> RtpProc --strong--> engine <--strong-- thread
 *            ^                                           |
 *            +---------- borrowed: open, waiting, scheduled
 *
 * Threads. The global lock guards everything. The worker gives it up only while it waits (and where
 * a callback does). So a command is carried out at once by the thread that gives it. It waits for
 * the worker in two cases only: until a new channel has run for the first time, and until the
 * callback of a channel that is being closed has returned. The worker itself never waits for these,
 * whatever a callback does: there, the first run happens within create_channel, and close returns
 * at once.
 *
 * After anything that may run Python code (a callback, the release of an object) state has to be
 * read again. Everything returns -1 or NULL with an exception set, unless it says otherwise. */
#ifndef PYTHON_RTPSYNTH_PROC_H
#define PYTHON_RTPSYNTH_PROC_H

#include "python/rtpsynth/core.h"

#include "python/rtpsynth/proc_schedule.h"
#include "python/rtpsynth/proc_wait.h"
#include "python/rtpsynth/waits.h"

typedef struct proc_channel proc_channel_t;

/* --- proc_engine.c -------------------------------------------------------------------------- */

typedef struct engine {
    PyObject_HEAD schedule_t first_runs; /* at 0: in the order of creation */
    schedule_t schedule;
    proc_wait_t wait;
    proc_channel_t *open; /* all channels that are neither closed nor gone */
    size_t open_count;
    uint64_t next_id;
    int64_t last_now_ns;  /* the times that callbacks get never decrease */
    unsigned long worker; /* 0: does not run yet */
    PyObject *thread;     /* threading.Thread; NULL: could not be started */
    bool stopping;
    bool forked; /* this process is not the worker's */
} engine_t;

/* From configure_proc(): a function that does nothing, and one that makes a thread of a function.
 */
extern PyObject *engine_do_nothing, *engine_make_thread;

int add_engine(PyObject *module);

/* A new engine. Starts its thread. engine_add may be called before the thread runs. */
engine_t *engine_make(void);
int engine_start(engine_t *e);

/* No callback begins after this. Releases all callbacks and kept exceptions. Does not wait. May be
 * called twice. Never fails. */
void engine_stop(engine_t *e);

/* Waits until the worker has ended, at most timeout_s if that is not negative. Returns at once in
 * the worker itself, and in a process that was forked from the worker's. */
int engine_join(engine_t *e, double timeout_s);

/* Enters a channel and runs it for the first time. After a failure it may be in the engine or not.
 */
int engine_add(engine_t *e, proc_channel_t *ch);

/* Removes a channel from everything. May be called twice. Never fails. */
void engine_remove(engine_t *e, proc_channel_t *ch);

/* Waits until no callback of the channel runs, if another thread runs it. */
int engine_await_channel(engine_t *e, proc_channel_t *ch);

typedef struct proc {
    PyObject_HEAD engine_t *engine;
} proc_t;

/* --- proc_channel.c ------------------------------------------------------------------------- */

struct proc_channel {
    PyObject_HEAD proc_t *proc;
    PyObject *callback;  /* NULL: closed or shut down */
    PyObject *exception; /* kept for close */
    uint64_t id;
    uint64_t deadline_ns; /* as returned by the callback */
    schedule_entry_t entry;
    proc_channel_t *open_next, *open_before;
    turns_t turns; /* of its callback */
    bool is_open;
    bool has_run; /* or runs for the first time */
    bool has_returned;
    bool is_running;
    bool is_awaited; /* a thread waits in close */
    bool is_closed;
};

/* Adds RtpProcChannel and ChannelProcError to the module. */
int add_proc_channel(PyObject *module);

/* A channel that belongs to no engine yet. */
proc_channel_t *proc_channel_make(proc_t *proc, PyObject *callback);

#endif
