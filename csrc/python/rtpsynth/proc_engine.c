#include "python/rtpsynth/proc.h"

#include "base/rt_clock.h"
#include "base/rt_futex.h"
#include "python/rtpsynth/waits.h"

#include <stddef.h>
#include <string.h>

/* How often a thread that waits for the end of the worker checks whether the worker waits for it.
 */
#define JOIN_SLICE_S 0.1

PyObject *engine_do_nothing, *engine_make_thread;

static PyTypeObject *engine_type;

/* --- membership ----------------------------------------------------------------------------- */

static void open_insert(engine_t *e, proc_channel_t *ch)
{
    ch->open_next = e->open;
    if (e->open)
        e->open->open_before = ch;
    e->open = ch;
    e->open_count++;
    ch->is_open = true;
}

void engine_remove(engine_t *e, proc_channel_t *ch)
{
    if (!ch->is_open)
        return;
    ch->is_open = false;
    e->open_count--;
    if (ch->open_before)
        ch->open_before->open_next = ch->open_next;
    else
        e->open = ch->open_next;
    if (ch->open_next)
        ch->open_next->open_before = ch->open_before;
    ch->open_next = ch->open_before = NULL;
    schedule_remove(ch->has_run ? &e->schedule : &e->first_runs, &ch->entry);
}

/* --- waiting for the worker ----------------------------------------------------------------- */

static bool is_worker(const engine_t *e)
{
    return e->worker == PyThread_get_thread_ident();
}

int engine_await_channel(engine_t *e, proc_channel_t *ch)
{
    waiting_t waiting;
    wait_begin(&waiting, e->worker);
    int rc = 0;
    while (rc == 0 && ch->is_running && !e->forked && !waits_for_us(e->worker))
        rc = turns_wait(&ch->turns);
    wait_end(&waiting);
    return rc;
}

static int await_first_run(engine_t *e, proc_channel_t *ch)
{
    /* Do not wait until it is idle: the next run may follow at once. */
    waiting_t waiting;
    wait_begin(&waiting, e->worker);
    int rc = 0;
    while (rc == 0 && !ch->has_returned && (ch->has_run || !e->stopping) && !e->forked)
        rc = turns_wait(&ch->turns);
    wait_end(&waiting);
    if (rc < 0)
        return -1;
    if (ch->has_run)
        return 0;
    PyErr_SetString(PyExc_RuntimeError, "RtpProc is shutting down");
    return -1;
}

/* --- running -------------------------------------------------------------------------------- */

static PyObject *call(engine_t *e, PyObject *callback, uint64_t deadline_ns)
{
    PyObject *result = NULL;
    int64_t now_ns = rt_mono_ns();
    if (now_ns > e->last_now_ns)
        e->last_now_ns = now_ns;
    PyObject *now = PyLong_FromLongLong(e->last_now_ns);
    PyObject *deadline = PyLong_FromUnsignedLongLong(deadline_ns);
    if (now && deadline)
        result = PyObject_CallFunctionObjArgs(callback, now, deadline, NULL);
    Py_XDECREF(now);
    Py_XDECREF(deadline);
    return result;
}

/* 1: run again at *deadline_ns, 0: not again, -1: an exception is set. Steals result. */
static int take_result(PyObject *result, uint64_t *deadline_ns)
{
    int again = -1;
    if (result == Py_None) {
        again = 0;
    } else if (result && !PyLong_Check(result)) {
        PyErr_SetString(PyExc_TypeError, "an integer is required");
    } else if (result) {
        *deadline_ns = PyLong_AsUnsignedLongLong(result);
        again = PyErr_Occurred() ? -1 : 1;
    }
    Py_XDECREF(result);
    return again;
}

/* Keeps it for close, which raises it. If there will be no close, it goes to sys.unraisablehook. */
static void keep_exception(engine_t *e, proc_channel_t *ch, PyObject *callback)
{
    if (ch->is_closed && !ch->is_awaited && !e->stopping) {
        PyErr_WriteUnraisable(callback);
        return;
    }
    PyObject *error = take_exception();
    if (e->stopping)
        Py_DECREF(error);
    else
        ch->exception = error;
}

/* A time that has passed counts as now: channels that ask for the past take turns with the others
 * instead of always being first. */
static void schedule_again(engine_t *e, proc_channel_t *ch)
{
    int64_t due_ns = ch->deadline_ns > INT64_MAX ? INT64_MAX : (int64_t)ch->deadline_ns;
    int64_t now_ns = rt_mono_ns();
    schedule_push(&e->schedule, &ch->entry, due_ns > now_ns ? due_ns : now_ns);
}

static void run_channel(engine_t *e, proc_channel_t *ch)
{
    bool is_first = !ch->has_run;
    PyObject *callback = ch->callback;
    Py_INCREF(callback);
    Py_INCREF((PyObject *)ch);
    ch->has_run = true;
    ch->is_running = true;
    PyObject *result = call(e, callback, is_first ? 0 : ch->deadline_ns);
    uint64_t called_ns = (uint64_t)e->last_now_ns;
    int again = take_result(result, &ch->deadline_ns);
    if (again < 0)
        keep_exception(e, ch, callback); /* before a thread that waits in close may look for it */
    ch->is_running = false;
    ch->has_returned = true;
    if (is_first && ch->deadline_ns < called_ns)
        ch->deadline_ns = called_ns;
    if (again > 0 && ch->is_open)
        schedule_again(e, ch);
    turns_signal(&ch->turns);
    Py_DECREF(callback);
    Py_DECREF((PyObject *)ch);
}

/* Runs the first channel of a schedule, if it is due. */
static bool run_due(engine_t *e, schedule_t *s)
{
    schedule_entry_t *entry = schedule_first(s);
    if (e->stopping || entry == NULL || entry->due_ns > rt_mono_ns())
        return false;
    schedule_remove(s, entry);
    run_channel(e, (proc_channel_t *)(void *)((char *)entry - offsetof(proc_channel_t, entry)));
    return true;
}

static void wait_for_work(engine_t *e)
{
    uint32_t bell = proc_wait_bell(&e->wait);
    schedule_entry_t *entry = schedule_first(&e->schedule);
    int64_t until_ns = entry ? entry->due_ns : RT_NEVER_NS;
    Py_BEGIN_ALLOW_THREADS;
    proc_wait_until(&e->wait, bell, until_ns);
    Py_END_ALLOW_THREADS
}

/* Callbacks may be due without end, and may be functions in C, which never check whether another
 * thread wants the lock. It is not enough to release and retake it here: other threads ask for it
 * only after they have waited for a whole switch interval, and each such gap restarts their wait.
 * Entering any function in Python checks, and hands over. */
static void give_others_a_turn(void)
{
    PyObject *none = PyObject_CallNoArgs(engine_do_nothing);
    if (none == NULL)
        PyErr_WriteUnraisable(engine_do_nothing);
    Py_XDECREF(none);
}

/* The worker thread. */
static PyObject *engine_run(engine_t *e, PyObject *unused)
{
    (void)unused;
    proc_wait_enter_thread();
    e->worker = PyThread_get_thread_ident();
    while (!e->stopping) {
        bool ran_first = run_due(e, &e->first_runs);
        bool ran_again = run_due(e, &e->schedule);
        if (ran_first || ran_again)
            give_others_a_turn();
        else if (!e->stopping)
            wait_for_work(e);
    }
    e->worker = 0;
    Py_RETURN_NONE;
}

/* --- life ----------------------------------------------------------------------------------- */

int engine_add(engine_t *e, proc_channel_t *ch)
{
    if (e->stopping) {
        PyErr_SetString(PyExc_RuntimeError, "RtpProc is shutting down");
        return -1;
    }
    if (schedule_reserve(&e->schedule, e->open_count + 1) < 0 ||
        schedule_reserve(&e->first_runs, e->open_count + 1) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    ch->id = ++e->next_id;
    open_insert(e, ch);
    if (is_worker(e)) {
        run_channel(e, ch);
        return 0;
    }
    schedule_push(&e->first_runs, &ch->entry, 0);
    proc_wait_ring(&e->wait);
    return await_first_run(e, ch);
}

void engine_stop(engine_t *e)
{
    e->stopping = true;
    while (e->open) {
        proc_channel_t *ch = e->open;
        engine_remove(e, ch);
        turns_signal(&ch->turns);
        PyObject *callback = ch->callback;
        PyObject *exception = ch->exception;
        ch->callback = NULL;
        ch->exception = NULL;
        Py_XDECREF(callback);
        Py_XDECREF(exception);
    }
    proc_wait_ring(&e->wait);
}

/* Returns whether the thread still runs after that, or -1. */
static int join_for(engine_t *e, double timeout_s)
{
    PyObject *none = PyObject_CallMethod(e->thread, "join", "d", timeout_s);
    PyObject *alive = none ? PyObject_CallMethod(e->thread, "is_alive", NULL) : NULL;
    int rc = alive ? PyObject_IsTrue(alive) : -1;
    Py_XDECREF(none);
    Py_XDECREF(alive);
    return rc;
}

int engine_join(engine_t *e, double timeout_s)
{
    if (e->forked || e->thread == NULL)
        return 0;
    unsigned long worker = e->worker;
    waiting_t waiting;
    wait_begin(&waiting, worker);
    int alive = 1;
    while (alive > 0 && !waits_for_us(worker)) {
        alive = join_for(e, timeout_s < 0 ? JOIN_SLICE_S : timeout_s);
        if (timeout_s >= 0)
            break;
    }
    wait_end(&waiting);
    return alive < 0 ? -1 : 0;
}

static PyObject *make_thread(engine_t *e)
{
    PyObject *run = PyObject_GetAttrString((PyObject *)e, "run");
    PyObject *thread = run ? PyObject_CallFunctionObjArgs(engine_make_thread, run, NULL) : NULL;
    Py_XDECREF(run);
    return thread;
}

engine_t *engine_make(void)
{
    engine_t *e = PyObject_New(engine_t, engine_type);
    if (e == NULL)
        return NULL;
    memset((char *)e + sizeof(PyObject), 0, sizeof *e - sizeof(PyObject));
    proc_wait_init(&e->wait);
    e->thread = make_thread(e);
    if (e->thread == NULL)
        Py_CLEAR(e);
    return e;
}

int engine_start(engine_t *e)
{
    PyObject *none = PyObject_CallMethod(e->thread, "start", NULL);
    Py_XDECREF(none);
    if (none)
        return 0;
    engine_stop(e);
    Py_CLEAR(e->thread); /* it refers to the engine as long as it has not run */
    return -1;
}

static void engine_dealloc(engine_t *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    Py_XDECREF(self->thread);
    schedule_close(&self->schedule);
    schedule_close(&self->first_runs);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyMethodDef engine_methods[] = {
    {"run", (PyCFunction)engine_run, METH_NOARGS, "run($self, /)\n--\n\nThe worker thread."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot engine_slots[] = {
    {Py_tp_dealloc, engine_dealloc},
    {Py_tp_methods, engine_methods},
    {0, NULL},
};

int add_engine(PyObject *module)
{
    engine_type = add_class(module, "rtpsynth.RtpProc._Engine", sizeof(engine_t),
                            Py_TPFLAGS_DISALLOW_INSTANTIATION, engine_slots);
    return engine_type ? 0 : -1;
}
