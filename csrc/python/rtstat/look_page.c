/* Page: a worker's page, mapped for reading. */
#include "python/rtstat/look.h"

#include "base/rt_clock.h"
#include "base/rt_err.h"

#include "shm/bus_guard.h"
#include "shm/error_log.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Words of shm_worker_page_t, by the names they have there. id, unit, meaning. */
#define PAGE_WORDS(X)                                                               \
    X(pid, , "process of the worker")                                               \
    X(cpu_wanted, , "core it was told to run on; -1: any")                          \
    X(cpu, , "core in force; -1: not pinned")                                       \
    X(sched_policy, , "scheduling policy in force: 0 other, 1 fifo")                \
    X(sched_priority, , "real-time priority in force")                              \
    X(memory_locked, flag, "its memory cannot be swapped out")                      \
    X(profile, , "0 balanced, 1 latency, 2 power")                                  \
    X(channels, channels, "channels it serves")                                     \
    X(restarts, times, "times the worker was restarted")                            \
    X(heartbeat_mono_ns, ns, "last heartbeat, CLOCK_MONOTONIC")                     \
    X(started_mono_ns, ns, "time when it started, CLOCK_MONOTONIC")                 \
    X(loops, loops, "passes of its event loop")                                     \
    X(sleeps, times, "times it slept")                                              \
    X(slept_ns, ns, "time asleep")                                                  \
    X(spun_ns, ns, "time awake with nothing to do but wait for a deadline")         \
    X(cpu_ns, ns, "CPU time used")                                                  \
    X(longest_loop_ns, ns, "longest pass of its event loop")                        \
    X(forced_rests, times, "times it rested to stay below the real-time throttle")  \
    X(missed_wakes, times, "times it woke more than 1 ms late")                     \
    X(calls_filtered, flag, "only the system calls of a list are allowed")          \
    X(calls_refused, times, "times it made a system call that is not on that list")

typedef enum page_word {
#define WORD_ID(id, unit, text) AT_##id,
    PAGE_WORDS(WORD_ID)
#undef WORD_ID
        AT_looked_mono_ns,
    AT_errors,
    AT_error_times,
    AT_wake_latency,
    PAGE_WORD_TOTAL = AT_wake_latency + LOOK_HIST_WORD_TOTAL,
} page_word_t;

static const look_word_t page_words[] = {
    PAGE_WORDS(LOOK_NOW) LOOK_NOW(looked_mono_ns, ns, "when this was read, CLOCK_MONOTONIC")
    LOOK_COUNTER(errors, errors, "distinct errors noted by the worker or its pool")
    LOOK_COUNTER(error_times, times, "times that any of these errors happened")};

typedef struct page {
    PyObject_HEAD const shm_worker_segment_t *segment; /* NULL: not mapped */
    const shm_worker_page_t *at;
    uint32_t guard;
    look_hist_t wake_latency;
    uint64_t started_mono_ns;
    bool looked;
} page_t;

static void page_dealloc(page_t *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    bus_guard_remove(self->guard);
    if (self->segment)
        munmap((void *)(uintptr_t)self->segment, sizeof *self->segment);
    look_hist_forget(&self->wake_latency);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF((PyObject *)type);
}

static int map_page(page_t *self, int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return rt_err_set(-errno, "reading the page's size failed");
    if ((uint64_t)st.st_size < sizeof *self->segment)
        return rt_err_set(-EPROTO, "not a worker's page: %lld bytes long", (long long)st.st_size);
    void *at = mmap(NULL, sizeof *self->segment, PROT_READ, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        return rt_err_set(-errno, "mapping a worker's page failed");
    self->segment = at;
    int rc = bus_guard_add(at, sizeof *self->segment, &self->guard);
    if (rc < 0)
        return rc;
    self->at = &self->segment->page;
    uint32_t version = rt_load_acquire(&self->at->version);
    if (version == 0)
        return rt_err_set(-EPROTO, "its worker has not finished it yet, or has died");
    if (self->at->magic != SHM_MAGIC)
        return rt_err_set(-EPROTO, "not a worker's page (magic number 0x%016llx)",
                          (unsigned long long)self->at->magic);
    if (version != SHM_LAYOUT_VERSION)
        return rt_err_set(-EPROTO,
                          "the page has layout version %u, this build understands %u: use the same "
                          "shmring version in all processes",
                          version, SHM_LAYOUT_VERSION);
    return 0;
}

static PyObject *page_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    int fd = look_open(args, kwargs);
    if (fd < 0)
        return NULL;
    page_t *self = (page_t *)PyType_GenericAlloc(type, 0);
    int rc = self ? map_page(self, fd) : 0;
    close(fd);
    if (rc < 0) {
        look_refuse(rc);
        Py_CLEAR(self);
    }
    return (PyObject *)self;
}

/* --- distinct errors -------------------------------------------------------------------------- */

/* Entries are used from the first one on. */
static void count_errors(const shm_error_log_t *log, int64_t *words)
{
    for (unsigned i = 0; i < SHM_ERRORS && rt_load_relaxed(&log->errors[i].state) != 0; i++) {
        words[AT_errors]++;
        words[AT_error_times] += (int64_t)rt_load_relaxed(&log->errors[i].count);
    }
    words[AT_error_times] += (int64_t)rt_load_relaxed(&log->others);
}

/* --- a look ----------------------------------------------------------------------------------- */

static PyObject *page_look(page_t *self, PyObject *unused)
{
    (void)unused;
    int64_t words[PAGE_WORD_TOTAL] = {0};
    uint64_t started = rt_load_relaxed(&self->at->started_mono_ns);
    bool is_first = !self->looked || started != self->started_mono_ns;
    if (is_first)
        look_hist_forget(&self->wake_latency); /* of a predecessor */
    words[AT_looked_mono_ns] = rt_mono_ns();
#define READ(id, unit, text) words[AT_##id] = (int64_t)rt_load_relaxed(&self->at->id);
    PAGE_WORDS(READ)
#undef READ
    if (words[AT_cpu] == UINT32_MAX)
        words[AT_cpu] = -1;
    if (words[AT_cpu_wanted] == UINT32_MAX)
        words[AT_cpu_wanted] = -1;
    count_errors(&self->segment->errors, words);
    count_errors(&self->segment->pool_errors, words);
    if (look_hist_update(&self->wake_latency, &self->at->wake_latency, is_first,
                         words + AT_wake_latency) < 0)
        return PyErr_NoMemory();
    if (bus_guard_torn(self->guard))
        return look_refuse(rt_err_set(-EPROTO, "its file was cut short"));
    self->started_mono_ns = started;
    self->looked = true;
    return PyBytes_FromStringAndSize((const char *)words, sizeof words);
}

static PyObject *page_facts(page_t *self, PyObject *unused)
{
    (void)unused;
    return Py_BuildValue("{sN sN}", "pool", look_text(self->at->pool, sizeof self->at->pool),
                         "namespace", look_text(self->at->name_space, sizeof self->at->name_space));
}

static PyObject *page_rebase(page_t *self, PyObject *unused)
{
    (void)unused;
    if (look_hist_rebase(&self->wake_latency) < 0)
        return PyErr_NoMemory();
    Py_RETURN_NONE;
}

static PyObject *page_buckets(page_t *self, PyObject *args)
{
    int interval;
    if (!PyArg_ParseTuple(args, "p:buckets", &interval))
        return NULL;
    return look_hist_list(&self->wake_latency, interval != 0);
}

static PyMethodDef page_methods[] = {
    {"look", (PyCFunction)(void (*)(void))page_look, METH_NOARGS, "look($self, /)\n--\n\n"},
    {"facts", (PyCFunction)(void (*)(void))page_facts, METH_NOARGS, "facts($self, /)\n--\n\n"},
    {"rebase", (PyCFunction)(void (*)(void))page_rebase, METH_NOARGS, "rebase($self, /)\n--\n\n"},
    {"buckets", (PyCFunction)(void (*)(void))page_buckets, METH_VARARGS,
     "buckets($self, interval, /)\n--\n\n"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot page_slots[] = {
    {Py_tp_new, (void *)page_new},
    {Py_tp_dealloc, (void *)page_dealloc},
    {Py_tp_methods, page_methods},
    {Py_tp_doc, "Page(path, /)\n--\n\nA worker's page, mapped for reading."},
    {0, NULL},
};

static PyType_Spec page_spec = {
    .name = "rtstat._look.Page",
    .basicsize = (int)sizeof(page_t),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = page_slots,
};

int look_page_init(PyObject *module)
{
    PyObject *words = PyList_New(0);
    if (words == NULL ||
        look_add_words(words, page_words, sizeof page_words / sizeof *page_words) < 0 ||
        look_add_hist(words, "wake_latency", "time from the requested wake-up to running") < 0) {
        Py_XDECREF(words);
        return -1;
    }
    int rc = PyModule_AddObjectRef(module, "WORKER_WORDS", words);
    Py_DECREF(words);
    PyObject *type = PyType_FromSpec(&page_spec);
    if (type == NULL)
        return -1;
    if (rc == 0)
        rc = PyModule_AddObjectRef(module, "Page", type);
    Py_DECREF(type);
    return rc;
}
