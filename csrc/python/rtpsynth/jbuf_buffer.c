#include "python/rtpsynth/jbuf.h"

#include "proto/rtp/rtp_packet.h"

#include <stddef.h>
#include <structmember.h>

#define FIRST_ENTRIES 64u
#define NO_MEMORY (RTP_PARSE_PADDING_ZERO - 1000) /* RJB_ENOMEM */

static PyObject *parse_error;

/* The core does not belong to any object any more, because finalizers may run. */
static void release_core(const rtp_jbuf_t *core)
{
    for (uint32_t i = 0; i < core->held; i++)
        Py_DECREF((PyObject *)jbuf_wrapper_of_item(core->entries[core->first + i].item));
    PyMem_Free(core->entries);
}

/* --- life ----------------------------------------------------------------------------------- */

static PyObject *jbuf_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)args;
    (void)kwargs;
    PyObject *self = PyType_GenericAlloc(type, 0);
    if (self)
        jbuf_count_created(JBUF_RTP_JBUF);
    return self;
}

static int as_capacity(PyObject *value, uint32_t *capacity)
{
    PyObject *number = PyNumber_Index(value);
    if (number == NULL)
        return -1;
    unsigned long long n = PyLong_AsUnsignedLongLong(number);
    Py_DECREF(number);
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_OverflowError) &&
        !PyErr_ExceptionMatches(PyExc_ValueError))
        return -1;
    if (PyErr_Occurred() || n > UINT32_MAX) {
        PyErr_Clear();
        PyErr_Format(PyExc_ValueError,
                     "capacity is %S frames: it must be between 0 (no bound) and %u", value,
                     UINT32_MAX);
        return -1;
    }
    *capacity = (uint32_t)n;
    return 0;
}

static int jbuf_init(jbuf_t *self, PyObject *args, PyObject *kwargs)
{
    (void)kwargs;
    uint32_t capacity;
    if (PyTuple_Size(args) != 1) {
        PyErr_Format(PyExc_TypeError, "RtpJBuf() takes exactly 1 argument (%zd given)",
                     PyTuple_Size(args));
        return -1;
    }
    if (as_capacity(PyTuple_GetItem(args, 0), &capacity) < 0)
        return -1;
    uint32_t count = rtp_jbuf_entries_for(capacity);
    if (count == 0 || count > FIRST_ENTRIES)
        count = FIRST_ENTRIES;
    rtp_jbuf_entry_t *entries = PyMem_Calloc(count, sizeof *entries);
    if (entries == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "rtpjbuf_ctor() failed");
        return -1;
    }
    rtp_jbuf_t old = self->core;
    rtp_jbuf_init(&self->core, capacity, entries, count);
    release_core(&old);
    return 0;
}

static int jbuf_traverse(jbuf_t *self, visitproc visit, void *arg)
{
    const rtp_jbuf_t *core = &self->core;
    Py_VISIT(Py_TYPE((PyObject *)self));
    for (uint32_t i = 0; i < core->held; i++) {
        uint64_t item = core->entries[core->first + i].item;
        int rc = jbuf_wrapper_visit(jbuf_wrapper_of_item(item), visit, arg);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int jbuf_clear(jbuf_t *self)
{
    rtp_jbuf_t old = self->core;
    self->core = (rtp_jbuf_t){0};
    release_core(&old);
    return 0;
}

static void jbuf_dealloc(jbuf_t *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    PyObject_GC_UnTrack((PyObject *)self);
    jbuf_clear(self);
    jbuf_count_freed(JBUF_RTP_JBUF);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

/* --- what comes out ------------------------------------------------------------------------- */

static PyObject *hand_out(const rtp_jbuf_entry_t *entry)
{
    return jbuf_wrapper_hand_out(jbuf_wrapper_of_item(entry->item), entry->lseq);
}

/* A list of the erasure, if there is one, and the frames that are ready. They leave the buffer in
 * any case: if there is no memory for the list, they are lost. */
static PyObject *list_ready(const rtp_jbuf_result_t *r)
{
    if (r->ready_count == 0)
        return PyList_New(0);
    bool collects = PyGC_Disable();
    Py_ssize_t at = 0;
    PyObject *list = PyList_New((Py_ssize_t)r->ready_count + r->has_erasure);
    if (list && r->has_erasure) {
        PyObject *erasure = jbuf_wrapper_make_erasure(&r->erasure);
        if (erasure)
            PyList_SetItem(list, at++, erasure);
        else
            Py_CLEAR(list);
    }
    for (uint32_t i = 0; i < r->ready_count; i++) {
        PyObject *frame = hand_out(&r->ready[i]);
        if (list)
            PyList_SetItem(list, at++, frame);
        else
            Py_DECREF(frame);
    }
    jbuf_resume_gc(collects);
    return list;
}

/* --- udp_in --------------------------------------------------------------------------------- */

static int refuse_argument_count(Py_ssize_t nargs)
{
    PyErr_Format(PyExc_TypeError, "udp_in() takes at %s (%zd given)",
                 nargs < 1 ? "least 1 argument" : "most 2 arguments", nargs);
    return -1;
}

static bool has_room(jbuf_t *self)
{
    return !rtp_jbuf_is_full(&self->core) || jbuf_reserve(self, self->core.held + 1);
}

/* Parses the datagram and creates its wrapper. Steals datagram. Returns 0, or the number for
 * RTPParseError with *wrapper NULL. */
static int make_frame(PyObject *datagram, PyObject *opaque, rtp_view_t *view,
                      jbuf_wrapper_t **wrapper)
{
    const uint8_t *bytes = (const uint8_t *)PyBytes_AsString(datagram);
    rtp_parse_t error = rtp_packet_parse(bytes, (size_t)PyBytes_Size(datagram), view);
    *wrapper = NULL;
    if (error != RTP_PARSE_OK) {
        Py_DECREF(datagram);
        return error;
    }
    *wrapper = jbuf_wrapper_make(datagram, opaque);
    if (*wrapper)
        return 0;
    PyErr_Clear();
    return NO_MEMORY;
}

static PyObject *udp_in(jbuf_t *self, PyObject *const *args, Py_ssize_t nargs)
{
    if ((nargs != 1 && nargs != 2 && refuse_argument_count(nargs) < 0) || jbuf_check(self) < 0)
        return NULL;
    PyObject *datagram = jbuf_as_datagram(args[0]);
    if (datagram == NULL)
        return NULL;
    rtp_view_t view;
    jbuf_wrapper_t *wrapper;
    int error = make_frame(datagram, nargs == 2 ? args[1] : Py_None, &view, &wrapper);
    if (error == 0 && !has_room(self)) {
        Py_DECREF((PyObject *)wrapper);
        error = NO_MEMORY;
    }

    rtp_jbuf_result_t r;
    PyObject *dropped[2];
    if (error == 0) {
        wrapper->frame.number = self->core.counters.offered;
        (void)rtp_jbuf_offer(&self->core, view.seq, view.ts, jbuf_item_of_wrapper(wrapper), &r);
    } else {
        rtp_jbuf_offer_bad(&self->core, &r);
    }
    uint32_t dropped_count = r.dropped_count;
    for (uint32_t i = 0; i < dropped_count; i++)
        dropped[i] = (PyObject *)jbuf_wrapper_of_item(r.dropped[i].item);
    PyObject *list = error == 0 ? list_ready(&r) : NULL;
    if (error != 0)
        PyErr_Format(parse_error, "rtpjbuf_udp_in(): error %d", error);
    for (uint32_t i = 0; i < dropped_count; i++)
        Py_DECREF(dropped[i]);
    return list;
}

/* --- flush, drain --------------------------------------------------------------------------- */

static PyObject *flush(jbuf_t *self, PyObject *const *args, Py_ssize_t nargs)
{
    (void)args;
    if (want_arguments("flush", nargs, 0) < 0 || jbuf_check(self) < 0)
        return NULL;
    bool collects = PyGC_Disable();
    PyObject *dropped = PyList_New(self->core.held);
    PyObject *list = NULL;
    if (dropped) {
        rtp_jbuf_result_t r;
        rtp_jbuf_flush(&self->core, &r);
        for (uint32_t i = 0; i < r.dropped_count; i++)
            PyList_SetItem(dropped, i, (PyObject *)jbuf_wrapper_of_item(r.dropped[i].item));
        list = list_ready(&r);
    }
    jbuf_resume_gc(collects);
    Py_XDECREF(dropped);
    return list;
}

static int extend(PyObject *list, PyObject *part)
{
    return part ? PyList_SetSlice(list, PY_SSIZE_T_MAX, PY_SSIZE_T_MAX, part) : -1;
}

static PyObject *drain(jbuf_t *self, PyObject *unused)
{
    (void)unused;
    if (jbuf_check(self) < 0)
        return NULL;
    bool collects = PyGC_Disable();
    PyObject *list = PyList_New(0);
    rtp_jbuf_result_t r;
    while (list && rtp_jbuf_drain(&self->core, &r)) {
        PyObject *part = list_ready(&r);
        if (extend(list, part) < 0)
            Py_CLEAR(list);
        Py_XDECREF(part);
    }
    jbuf_resume_gc(collects);
    return list;
}

/* --- counters ------------------------------------------------------------------------------- */

#define COUNT(name) #name, (unsigned long long)c->name

static PyObject *get_counters(jbuf_t *self, void *unused)
{
    (void)unused;
    const rtp_jbuf_counters_t *c = &self->core.counters;
    return Py_BuildValue("{sK sK sK sK sK sK sK sK sK sK sK}", COUNT(offered), COUNT(parse_errors),
                         COUNT(delivered), COUNT(erasures), COUNT(erased), COUNT(dropped),
                         COUNT(duplicates), COUNT(late), COUNT(purged), COUNT(flush_lost),
                         COUNT(wraps));
}

/* -------------------------------------------------------------------------------------------- */

static PyMethodDef jbuf_methods[] = {
    {"udp_in", FASTCALL(udp_in),
     "udp_in($self, data, opaque=None, /)\n--\n\n"
     "Offer one datagram. Returns the frames that are ready now, in order: a list of "
     "FrameWrapper.\n\n"
     "data is kept if it is bytes, otherwise bytes(data) is. opaque comes back with the frame. "
     "Raises\n"
     "RTPParseError if it is not RTP."},
    {"flush", FASTCALL(flush),
     "flush($self, /)\n--\n\n"
     "Return the last run of consecutive frames that wait. All runs before it are dropped.\n\n"
     "The original does the same. drain() loses nothing. The buffer stays usable."},
    {"drain", (PyCFunction)drain, METH_NOARGS,
     "drain($self, /)\n--\n\n"
     "Return all frames that wait, with an erasure at each gap. The buffer stays usable."},
    {"udp_in_many", KEYWORDS(jbuf_udp_in_many),
     "udp_in_many($self, data, sizes=None, *, offsets=None, stride=None, out=None)\n--\n\n"
     "Offer many datagrams. Returns events as a NumPy array of event_dtype(), or, with out=, how\n"
     "many were written to it. See the module."},
    {"flush_many", KEYWORDS(jbuf_flush_many),
     "flush_many($self, *, out=None)\n--\n\nflush(), as events: see udp_in_many."},
    {"drain_many", KEYWORDS(jbuf_drain_many),
     "drain_many($self, *, out=None)\n--\n\ndrain(), as events: see udp_in_many."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef jbuf_members[] = {
    {"dropped", T_ULONGLONG, offsetof(jbuf_t, core.counters.dropped), READONLY,
     "frames that will never come out: duplicates, late, purged, lost by flush()"},
    {"offered", T_ULONGLONG, offsetof(jbuf_t, core.counters.offered), READONLY,
     "datagrams offered so far: the item of the next one"},
    {"held", T_UINT, offsetof(jbuf_t, core.held), READONLY, "frames that wait now"},
    {"capacity", T_UINT, offsetof(jbuf_t, core.capacity), READONLY,
     "frames that end the wait at a gap; 0: it never ends"},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef jbuf_getset[] = {
    {"counters", (getter)get_counters, NULL,
     "a new dict: offered = delivered + dropped + parse_errors + frames that wait", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot jbuf_slots[] = {
    {Py_tp_new, jbuf_new},
    {Py_tp_init, jbuf_init},
    {Py_tp_dealloc, jbuf_dealloc},
    {Py_tp_traverse, jbuf_traverse},
    {Py_tp_clear, jbuf_clear},
    {Py_tp_methods, jbuf_methods},
    {Py_tp_members, jbuf_members},
    {Py_tp_getset, jbuf_getset},
    {Py_tp_doc, "RtpJBuf(capacity, /)\n--\n\n"
                "Puts the RTP datagrams of one stream in order, and reports what is missing."},
    {0, NULL},
};

int add_jbuf(PyObject *module)
{
    if (PyModule_AddFunctions(module, jbuf_count_methods) < 0 || add_jbuf_content(module) < 0 ||
        add_jbuf_wrapper(module) < 0 ||
        !add_class(module, "rtpsynth.RtpJBuf.RtpJBuf", sizeof(jbuf_t), Py_TPFLAGS_HAVE_GC,
                   jbuf_slots))
        return -1;
    parse_error = add_exception(module, "rtpsynth.RtpJBuf.RTPParseError",
                                "The data offered is not RTP.", NULL);
    return parse_error ? 0 : -1;
}
