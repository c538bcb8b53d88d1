/* How it works
 *
 * Three steps, of which only the first and the last run Python code:
 * 1. All arguments are checked and copied (jbuf_split_open). The array for the events and the
 * buffer's entries get room for the worst case.
 * 2. The datagrams go through the core, which knows them by number. Then, in each event of a
 * wrapper (a frame that udp_in brought) the wrapper is replaced by its number, and each frame that
 * still waits gets a wrapper with a copy of its datagram. At most capacity - 1 frames wait, so for
 * a batch this cost does not matter.
 * 3. The wrappers that left the buffer are released.
 *
 * Worst case: each datagram ends in one event (frame, dropped or error) and brings at most one
 * erasure, each frame held before ends in one event, and the core needs room for the held frames +
 * 4 before each datagram. */
#include "python/rtpsynth/jbuf.h"

enum { EVENT_RESERVE = 4 };

static uint64_t most_rows(const jbuf_t *self, uint64_t count)
{
    return 2 * count + self->core.held + EVENT_RESERVE;
}

/* --- where events go ------------------------------------------------------------------------ */

typedef struct rows {
    PyObject *array; /* given, or made here */
    bool is_ours;
    Py_buffer view;
    rtp_jbuf_event_t *at;
    size_t room;
} rows_t;

static int rows_view(rows_t *rows)
{
    if (PyObject_GetBuffer(rows->array, &rows->view, PyBUF_WRITABLE) < 0)
        return -1;
    rows->at = rows->view.buf;
    rows->room = (size_t)rows->view.len / sizeof(rtp_jbuf_event_t);
    if ((uintptr_t)rows->at % _Alignof(rtp_jbuf_event_t) == 0)
        return 0;
    PyErr_Format(PyExc_ValueError, "out must begin at a multiple of %zu bytes",
                 _Alignof(rtp_jbuf_event_t));
    return -1;
}

static void rows_close(rows_t *rows)
{
    if (rows->view.obj)
        PyBuffer_Release(&rows->view);
    Py_XDECREF(rows->array);
    *rows = (rows_t){0};
}

static int rows_make(rows_t *rows, uint64_t count)
{
    PyObject *module = PyImport_ImportModule("rtpsynth.RtpJBuf");
    rows->array =
        module ? PyObject_CallMethod(module, "_make_rows", "K", (unsigned long long)count) : NULL;
    Py_XDECREF(module);
    rows->is_ours = true;
    return rows->array ? rows_view(rows) : -1;
}

/* For count datagrams, or as many erasures. Call rows_close in any case. */
static int rows_open(rows_t *rows, PyObject *out, const jbuf_t *self, uint64_t count)
{
    *rows = (rows_t){0};
    if (out && out != Py_None) {
        Py_INCREF(out);
        rows->array = out;
        if (rows_view(rows) < 0)
            return -1;
        if (rows->room >= most_rows(self, count))
            return 0;
        PyErr_Format(PyExc_ValueError,
                     "out has room for %zu events, %llu could come: give it 2 rows for each "
                     "datagram, 1 for each frame held and %d more; nothing was taken",
                     rows->room, (unsigned long long)most_rows(self, count), EVENT_RESERVE);
        return -1;
    }
    /* Another thread may add frames while the array is made. */
    do {
        rows_close(rows);
        if (rows_make(rows, most_rows(self, count)) < 0)
            return -1;
    } while (rows->room < most_rows(self, count));
    return 0;
}

/* The caller's result: the first events of our array, or how many of them there are. */
static PyObject *rows_result(const rows_t *rows, size_t count)
{
    if (!rows->is_ours)
        return PyLong_FromSize_t(count);
    size_t items = count * sizeof(rtp_jbuf_event_t) / (size_t)rows->view.itemsize;
    return PySequence_GetSlice(rows->array, 0, (Py_ssize_t)items);
}

/* --- from numbers to wrappers and back ------------------------------------------------------ */

/* Wrappers to release when nothing is half done. */
typedef struct garbage {
    PyObject *list;
    Py_ssize_t count;
} garbage_t;

static int garbage_open(garbage_t *g, const jbuf_t *self)
{
    *g = (garbage_t){PyList_New(self->core.held), 0};
    return g->list ? 0 : -1;
}

static void garbage_add(garbage_t *g, jbuf_wrapper_t *wrapper)
{
    PyList_SetItem(g->list, g->count++, (PyObject *)wrapper);
}

static void number_events(rtp_jbuf_event_t *events, size_t count, garbage_t *g)
{
    for (rtp_jbuf_event_t *e = events; e < events + count; e++) {
        if (e->kind == RTP_JBUF_ERASURE)
            continue;
        if (jbuf_item_is_number(e->item)) {
            e->item = jbuf_number_of_item(e->item);
        } else {
            jbuf_wrapper_t *wrapper = jbuf_wrapper_of_item(e->item);
            e->item = wrapper->frame.number;
            garbage_add(g, wrapper);
        }
    }
}

static jbuf_wrapper_t *wrap(const rtp_jbuf_in_t *in, uint64_t number)
{
    PyObject *datagram = PyBytes_FromStringAndSize((const char *)in->data, in->size);
    jbuf_wrapper_t *wrapper = datagram ? jbuf_wrapper_make(datagram, Py_None) : NULL;
    if (wrapper)
        wrapper->frame.number = number;
    return wrapper;
}

/* Without memory the waiting frames cannot be kept: they are dropped, and counted as dropped. */
static void give_up_held(jbuf_t *self, garbage_t *g)
{
    rtp_jbuf_t *core = &self->core;
    for (uint32_t i = 0; i < core->held; i++) {
        uint64_t item = core->entries[core->first + i].item;
        if (!jbuf_item_is_number(item))
            garbage_add(g, jbuf_wrapper_of_item(item));
    }
    core->counters.dropped += core->held;
    core->counters.flush_lost += core->held;
    core->held = 0;
}

/* in[0] has the number first. */
static int wrap_held(jbuf_t *self, const rtp_jbuf_in_t *in, uint64_t first, garbage_t *g)
{
    rtp_jbuf_t *core = &self->core;
    for (uint32_t i = 0; i < core->held; i++) {
        rtp_jbuf_entry_t *entry = &core->entries[core->first + i];
        if (!jbuf_item_is_number(entry->item))
            continue;
        uint64_t number = jbuf_number_of_item(entry->item);
        jbuf_wrapper_t *wrapper = wrap(&in[number - first], number);
        if (wrapper == NULL) {
            give_up_held(self, g);
            return -1;
        }
        entry->item = jbuf_item_of_wrapper(wrapper);
    }
    return 0;
}

/* --- udp_in_many ---------------------------------------------------------------------------- */

static int offer_all(jbuf_t *self, jbuf_split_t *split, rows_t *rows, garbage_t *g, size_t *events)
{
    if (!jbuf_reserve(self, (uint64_t)self->core.held + split->count)) {
        PyErr_NoMemory();
        return -1;
    }
    uint64_t first = self->core.counters.offered;
    for (size_t i = 0; i < split->count; i++)
        split->in[i].item = jbuf_item_of_number(first + i);
    /* There is room for all events and frames, so it takes all datagrams. */
    (void)rtp_jbuf_offer_many(&self->core, split->in, split->count, rows->at, rows->room, events);
    number_events(rows->at, *events, g);
    return wrap_held(self, split->in, first, g);
}

PyObject *jbuf_udp_in_many(jbuf_t *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"data", "sizes", "offsets", "stride", "out", NULL};
    PyObject *data, *sizes = NULL, *offsets = NULL, *stride = NULL, *out = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O$OOO:udp_in_many", names, &data, &sizes,
                                     &offsets, &stride, &out) ||
        jbuf_check(self) < 0)
        return NULL;

    jbuf_split_t split;
    rows_t rows = {0};
    garbage_t garbage = {0};
    size_t events = 0;
    PyObject *result = NULL;
    if (jbuf_split_open(&split, data, sizes, offsets, stride) == 0 &&
        rows_open(&rows, out, self, split.count) == 0) {
        bool collects = PyGC_Disable();
        int rc = garbage_open(&garbage, self);
        if (rc == 0)
            rc = offer_all(self, &split, &rows, &garbage, &events);
        jbuf_resume_gc(collects);
        if (rc == 0)
            result = rows_result(&rows, events);
    }
    Py_XDECREF(garbage.list);
    rows_close(&rows);
    jbuf_split_close(&split);
    return result;
}

/* --- flush_many, drain_many ----------------------------------------------------------------- */

typedef bool (*emptier_t)(rtp_jbuf_t *core, rtp_jbuf_result_t *r);

static bool flush_once(rtp_jbuf_t *core, rtp_jbuf_result_t *r)
{
    bool held = core->held > 0;
    rtp_jbuf_flush(core, r);
    return held;
}

static PyObject *empty_many(jbuf_t *self, PyObject *args, PyObject *kwargs, const char *format,
                            emptier_t empty)
{
    static char *names[] = {"out", NULL};
    PyObject *out = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, format, names, &out) || jbuf_check(self) < 0)
        return NULL;
    rows_t rows = {0};
    garbage_t garbage = {0};
    PyObject *result = NULL;
    /* Each frame held may have an erasure before it. */
    if (rows_open(&rows, out, self, self->core.held) == 0) {
        bool collects = PyGC_Disable();
        rtp_jbuf_event_t *to = rows.at;
        rtp_jbuf_result_t r;
        if (garbage_open(&garbage, self) == 0) {
            while (empty(&self->core, &r))
                to = rtp_jbuf_put_events(&r, to);
            number_events(rows.at, (size_t)(to - rows.at), &garbage);
        }
        jbuf_resume_gc(collects);
        if (garbage.list)
            result = rows_result(&rows, (size_t)(to - rows.at));
    }
    Py_XDECREF(garbage.list);
    rows_close(&rows);
    return result;
}

PyObject *jbuf_flush_many(jbuf_t *self, PyObject *args, PyObject *kwargs)
{
    return empty_many(self, args, kwargs, "|$O:flush_many", flush_once);
}

PyObject *jbuf_drain_many(jbuf_t *self, PyObject *args, PyObject *kwargs)
{
    return empty_many(self, args, kwargs, "|$O:drain_many", rtp_jbuf_drain);
}
