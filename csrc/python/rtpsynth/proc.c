#include "python/rtpsynth/proc.h"

#include "python/rtpsynth/waits.h"

/* The longest delay of the interpreter's exit by a callback that does not return. */
#define EXIT_TIMEOUT_S 2.0

static PyTypeObject *proc_type;
static proc_t *current; /* borrowed: RtpProc is one object as long as there is a reference to it */

/* --- RtpProc -------------------------------------------------------------------------------- */

static proc_t *make_proc(void)
{
    proc_t *proc = PyObject_New(proc_t, proc_type);
    if (proc == NULL)
        return NULL;
    proc->engine = engine_make();
    if (proc->engine == NULL) {
        Py_DECREF((PyObject *)proc);
        return NULL;
    }
    /* Before the start, which lets other threads run. */
    current = proc;
    if (engine_start(proc->engine) < 0)
        Py_CLEAR(proc);
    return proc;
}

static PyObject *proc_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {NULL};
    (void)type;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, ":RtpProc", names))
        return NULL;
    if (engine_do_nothing == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "import rtpsynth.RtpProc, not rtpsynth._core");
        return NULL;
    }
    if (current == NULL)
        return (PyObject *)make_proc();
    Py_INCREF((PyObject *)current);
    return (PyObject *)current;
}

/* Does not wait for the worker: a callback may drop the last reference, or a thread that a callback
 * waits for. */
static void proc_dealloc(proc_t *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    if (current == self)
        current = NULL;
    if (self->engine)
        engine_stop(self->engine);
    Py_XDECREF((PyObject *)self->engine);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyObject *proc_create_channel(proc_t *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"proc_in", NULL};
    PyObject *callback;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:create_channel", names, &callback))
        return NULL;
    if (!PyCallable_Check(callback)) {
        PyErr_SetString(PyExc_TypeError, "proc_in must be callable");
        return NULL;
    }
    proc_channel_t *ch = proc_channel_make(self, callback);
    if (ch && engine_add(self->engine, ch) < 0)
        Py_CLEAR(ch);
    return (PyObject *)ch;
}

static PyObject *proc_shutdown(proc_t *self, PyObject *const *args, Py_ssize_t nargs)
{
    (void)args;
    if (want_arguments("shutdown", nargs, 0) < 0)
        return NULL;
    engine_stop(self->engine);
    if (engine_join(self->engine, -1) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef proc_methods[] = {
    {"create_channel", KEYWORDS(proc_create_channel),
     "create_channel($self, proc_in)\n--\n\n"
     "Call proc_in(now_ns, deadline_ns) at the times it asks for; return its channel.\n\n"
     "Times are CLOCK_MONOTONIC in ns. The first call comes at once, with deadline_ns 0, and has\n"
     "returned when create_channel returns. A call that returns an int is repeated at that time,\n"
     "with that int as deadline_ns; if that is in the past, as soon as possible (after the first\n"
     "call: with its now_ns as deadline_ns). A call is not repeated if it returns None, if it "
     "that\n"
     "raises, or if it returns anything else. Then close says why.\n\n"
     "Calls come from one thread. Calls that are due at the same time run in the order they were "
     "scheduled.\n"
     "create_channel, close and shutdown may be called from within.\n\n"
     "Raises TypeError if proc_in is not callable, RuntimeError after shutdown."},
    {"shutdown", FASTCALL(proc_shutdown),
     "shutdown($self, /)\n--\n\n"
     "Stop for good: no callback begins any more, all are released, and the thread ends.\n\n"
     "Waits for a callback that runs, except within that callback. Twice is fine."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot proc_slots[] = {
    {Py_tp_new, proc_new},
    {Py_tp_dealloc, proc_dealloc},
    {Py_tp_methods, proc_methods},
    {Py_tp_doc,
     "RtpProc()\n--\n\n"
     "A thread that calls functions at the times they ask for.\n\n"
     "There is one: RtpProc() returns the same object while there is a reference to it or to\n"
     "one of its channels. Then the thread ends, and the next RtpProc() starts a new one."},
    {0, NULL},
};

/* --- the process ---------------------------------------------------------------------------- */

/* The child has no worker. Its state is the same as after shutdown, except that callbacks are kept:
 * releasing them could do in the child what only the parent may do. */
static PyObject *after_fork_in_child(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    if (current) {
        current->engine->stopping = true;
        current->engine->forked = true;
    }
    current = NULL;
    waits_forget();
    Py_RETURN_NONE;
}

static PyObject *at_exit(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    if (current == NULL)
        Py_RETURN_NONE;
    engine_t *e = current->engine;
    Py_INCREF((PyObject *)e);
    engine_stop(e);
    int rc = engine_join(e, EXIT_TIMEOUT_S);
    Py_DECREF((PyObject *)e);
    if (rc < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* configure_proc(do_nothing, make_thread): before the first RtpProc. */
static PyObject *configure(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *do_nothing, *make_thread;
    if (want_main_interpreter("rtpsynth.RtpProc") < 0 ||
        !PyArg_ParseTuple(args, "OO:configure_proc", &do_nothing, &make_thread))
        return NULL;
    replace_object(&engine_do_nothing, do_nothing);
    replace_object(&engine_make_thread, make_thread);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"configure_proc", configure, METH_VARARGS,
     "configure_proc($module, do_nothing, make_thread, /)\n--\n\n"},
    {"after_fork_in_child", after_fork_in_child, METH_NOARGS,
     "after_fork_in_child($module, /)\n--\n\n"},
    {"at_exit", at_exit, METH_NOARGS, "at_exit($module, /)\n--\n\n"},
    {NULL, NULL, 0, NULL},
};

int add_proc(PyObject *module)
{
    if (PyModule_AddFunctions(module, functions) < 0 || add_engine(module) < 0 ||
        add_proc_channel(module) < 0)
        return -1;
    proc_type = add_class(module, "rtpsynth.RtpProc.RtpProc", sizeof(proc_t), 0, proc_slots);
    return proc_type ? 0 : -1;
}
