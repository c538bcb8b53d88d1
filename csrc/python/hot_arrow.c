/* hot_arrow.c: columns for other libraries, by the C data interface of Arrow
 * (https://arrow.apache.org/docs/format/CDataInterface.html).
 *
 * shmring/_arrow.py describes a column as a tuple: (format, name, length, buffers, children,
 * dictionary). This file turns such a tree into the structs of the interface. Each node of an array
 * holds its buffers, which are objects with the buffer protocol. Its consumer may release it on any
 * thread, also after the objects here are gone. */
#include "python/hot.h"

#include <stdlib.h>

struct ArrowSchema {
    const char *format;
    const char *name;
    const char *metadata;
    int64_t flags;
    int64_t n_children;
    struct ArrowSchema **children;
    struct ArrowSchema *dictionary;
    void (*release)(struct ArrowSchema *);
    void *private_data;
};

struct ArrowArray {
    int64_t length;
    int64_t null_count;
    int64_t offset;
    int64_t n_buffers;
    int64_t n_children;
    const void **buffers;
    struct ArrowArray **children;
    struct ArrowArray *dictionary;
    void (*release)(struct ArrowArray *);
    void *private_data;
};

struct ArrowArrayStream {
    int (*get_schema)(struct ArrowArrayStream *, struct ArrowSchema *);
    int (*get_next)(struct ArrowArrayStream *, struct ArrowArray *);
    const char *(*get_last_error)(struct ArrowArrayStream *);
    void (*release)(struct ArrowArrayStream *);
    void *private_data;
};

enum { MOST_BUFFERS = 3 };

/* One node of the description. */
typedef struct node {
    const char *format, *name; /* of the tuple's strings */
    long long length;
    PyObject *buffers, *children, *dictionary;
} node_t;

static int node_read(PyObject *tuple, node_t *n)
{
    return PyArg_ParseTuple(tuple, "ssLO!O!O", &n->format, &n->name, &n->length, &PyTuple_Type,
                            &n->buffers, &PyTuple_Type, &n->children, &n->dictionary)
               ? 0
               : -1;
}

/* --- schema --------------------------------------------------------------------------------- */

static void schema_release(struct ArrowSchema *s)
{
    for (int64_t i = 0; i < s->n_children; i++) {
        if (s->children[i] && s->children[i]->release)
            s->children[i]->release(s->children[i]);
        free(s->children[i]);
    }
    free(s->children);
    if (s->dictionary && s->dictionary->release)
        s->dictionary->release(s->dictionary);
    free(s->dictionary);
    free((void *)(uintptr_t)s->format);
    free((void *)(uintptr_t)s->name);
    s->release = NULL;
}

static int schema_fill(struct ArrowSchema *s, PyObject *description);

static struct ArrowSchema *schema_new(PyObject *description)
{
    struct ArrowSchema *s = calloc(1, sizeof *s);
    if (s != NULL && schema_fill(s, description) == 0)
        return s;
    if (s == NULL)
        PyErr_NoMemory();
    free(s);
    return NULL;
}

static int schema_add_children(struct ArrowSchema *s, PyObject *children)
{
    int64_t count = PyTuple_Size(children);
    s->children = calloc((size_t)count + 1, sizeof(void *));
    for (; s->children && s->n_children < count; s->n_children++) {
        struct ArrowSchema *child = schema_new(PyTuple_GetItem(children, s->n_children));
        if (child == NULL)
            return -1;
        s->children[s->n_children] = child;
    }
    return s->children ? 0 : -1;
}

/* Fills what is zero. On an error nothing is left to release. */
static int schema_fill(struct ArrowSchema *s, PyObject *description)
{
    node_t n;
    if (node_read(description, &n) < 0)
        return -1;
    s->format = strdup(n.format);
    s->name = strdup(n.name);
    s->release = schema_release;
    int rc = s->format && s->name ? schema_add_children(s, n.children) : -1;
    if (rc == 0 && n.dictionary != Py_None && (s->dictionary = schema_new(n.dictionary)) == NULL)
        rc = -1;
    if (rc < 0) {
        schema_release(s);
        if (!PyErr_Occurred())
            PyErr_NoMemory();
    }
    return rc;
}

/* --- array ---------------------------------------------------------------------------------- */

/* What a node holds. */
typedef struct held {
    const void *pointers[MOST_BUFFERS];
    Py_buffer views[MOST_BUFFERS];
} held_t;

/* With the interpreter attached to this thread. */
static void held_free(held_t *held)
{
    for (int i = 0; held && i < MOST_BUFFERS; i++)
        payload_release(&held->views[i]);
    free(held);
}

static void array_release(struct ArrowArray *a)
{
    for (int64_t i = 0; i < a->n_children; i++) {
        if (a->children[i] && a->children[i]->release)
            a->children[i]->release(a->children[i]);
        free(a->children[i]);
    }
    free(a->children);
    if (a->dictionary && a->dictionary->release)
        a->dictionary->release(a->dictionary);
    free(a->dictionary);
    if (Py_IsInitialized()) { /* otherwise the objects are gone */
        PyGILState_STATE state = PyGILState_Ensure();
        held_free(a->private_data);
        PyGILState_Release(state);
    }
    a->release = NULL;
}

static int array_fill(struct ArrowArray *a, PyObject *description);

static struct ArrowArray *array_new(PyObject *description)
{
    struct ArrowArray *a = calloc(1, sizeof *a);
    if (a != NULL && array_fill(a, description) == 0)
        return a;
    if (a == NULL)
        PyErr_NoMemory();
    free(a);
    return NULL;
}

static int array_add_children(struct ArrowArray *a, PyObject *children)
{
    int64_t count = PyTuple_Size(children);
    a->children = calloc((size_t)count + 1, sizeof(void *));
    for (; a->children && a->n_children < count; a->n_children++) {
        struct ArrowArray *child = array_new(PyTuple_GetItem(children, a->n_children));
        if (child == NULL)
            return -1;
        a->children[a->n_children] = child;
    }
    return a->children ? 0 : -1;
}

/* None is a buffer that is not there: nothing is null. */
static int array_add_buffers(struct ArrowArray *a, held_t *held, PyObject *buffers)
{
    a->n_buffers = PyTuple_Size(buffers);
    a->buffers = held->pointers;
    if (a->n_buffers > MOST_BUFFERS) {
        PyErr_SetString(PyExc_ValueError, "a column has 3 buffers at most");
        return -1;
    }
    for (int64_t i = 0; i < a->n_buffers; i++) {
        PyObject *buffer = PyTuple_GetItem(buffers, i);
        if (buffer == Py_None)
            continue;
        if (PyObject_GetBuffer(buffer, &held->views[i], PyBUF_SIMPLE) < 0)
            return -1;
        held->pointers[i] = held->views[i].buf;
    }
    return 0;
}

static int array_fill(struct ArrowArray *a, PyObject *description)
{
    node_t n;
    if (node_read(description, &n) < 0)
        return -1;
    held_t *held = calloc(1, sizeof *held);
    a->length = n.length;
    a->private_data = held;
    a->release = array_release;
    int rc = held ? array_add_buffers(a, held, n.buffers) : -1;
    if (rc == 0)
        rc = array_add_children(a, n.children);
    if (rc == 0 && n.dictionary != Py_None && (a->dictionary = array_new(n.dictionary)) == NULL)
        rc = -1;
    if (rc < 0) {
        array_release(a);
        if (!PyErr_Occurred())
            PyErr_NoMemory();
    }
    return rc;
}

/* --- stream --------------------------------------------------------------------------------- */

typedef struct stream {
    PyObject *description;
    int given;
} stream_t;

static int stream_fill(struct ArrowArrayStream *s, struct ArrowSchema *schema,
                       struct ArrowArray *array)
{
    stream_t *own = s->private_data;
    PyGILState_STATE state = PyGILState_Ensure();
    int rc = schema ? schema_fill(schema, own->description) : array_fill(array, own->description);
    PyErr_Clear();
    PyGILState_Release(state);
    return rc < 0 ? ENOMEM : 0;
}

static int stream_schema(struct ArrowArrayStream *s, struct ArrowSchema *out)
{
    *out = (struct ArrowSchema){0};
    return stream_fill(s, out, NULL);
}

static int stream_next(struct ArrowArrayStream *s, struct ArrowArray *out)
{
    stream_t *own = s->private_data;
    *out = (struct ArrowArray){0};
    if (own->given)
        return 0; /* the end: out is released */
    int rc = stream_fill(s, NULL, out);
    own->given = rc == 0;
    return rc;
}

static const char *stream_error(struct ArrowArrayStream *s)
{
    (void)s;
    return "a batch was not exported: memory is short, or a column has another form than Arrow's";
}

static void stream_release(struct ArrowArrayStream *s)
{
    stream_t *own = s->private_data;
    if (Py_IsInitialized()) {
        PyGILState_STATE state = PyGILState_Ensure();
        Py_DECREF(own->description);
        PyGILState_Release(state);
    }
    free(own);
    s->release = NULL;
}

/* --- capsules ------------------------------------------------------------------------------- */

#define DESTROY(kind, type, label)                                          \
    static void destroy_##kind(PyObject *capsule)                           \
    {                                                                       \
        struct type *it = PyCapsule_GetPointer(capsule, label);             \
        if (it->release)                                                    \
            it->release(it);                                                \
        free(it);                                                           \
    }

DESTROY(schema, ArrowSchema, "arrow_schema")
DESTROY(array, ArrowArray, "arrow_array")
DESTROY(stream, ArrowArrayStream, "arrow_array_stream")

PyObject *arrow_schema(PyObject *module, PyObject *description)
{
    (void)module;
    struct ArrowSchema *schema = schema_new(description);
    PyObject *capsule = schema ? PyCapsule_New(schema, "arrow_schema", destroy_schema) : NULL;
    if (schema && capsule == NULL) {
        schema->release(schema);
        free(schema);
    }
    return capsule;
}

PyObject *arrow_array(PyObject *module, PyObject *description)
{
    (void)module;
    struct ArrowArray *array = array_new(description);
    PyObject *capsule = array ? PyCapsule_New(array, "arrow_array", destroy_array) : NULL;
    if (array && capsule == NULL) {
        array->release(array);
        free(array);
    }
    return capsule;
}

PyObject *arrow_stream(PyObject *module, PyObject *description)
{
    (void)module;
    struct ArrowArrayStream *s = calloc(1, sizeof *s);
    stream_t *own = calloc(1, sizeof *own);
    if (s == NULL || own == NULL) {
        free(s);
        free(own);
        return PyErr_NoMemory();
    }
    Py_INCREF(description);
    *own = (stream_t){.description = description};
    *s = (struct ArrowArrayStream){stream_schema, stream_next, stream_error, stream_release, own};
    PyObject *capsule = PyCapsule_New(s, "arrow_array_stream", destroy_stream);
    if (capsule == NULL) {
        stream_release(s);
        free(s);
    }
    return capsule;
}

/* --- payloads ------------------------------------------------------------------------------- */

/* Where the payload of one record is: 8 bytes offset, 4 bytes length. */
typedef struct places {
    const uint8_t *records;
    Py_ssize_t record_bytes, offset_at, length_at, count;
} places_t;

static void place_of(const places_t *p, Py_ssize_t i, uint64_t *offset, uint32_t *length)
{
    const uint8_t *record = p->records + i * p->record_bytes;
    memcpy(offset, record + p->offset_at, sizeof *offset);
    memcpy(length, record + p->length_at, sizeof *length);
}

/* Fills count + 1 ends. Returns whether the payloads follow each other from 0 on; -1: one is not
 * inside. */
static int sum_lengths(const places_t *p, uint64_t bytes, int64_t *ends)
{
    uint64_t at = 0, offset;
    uint32_t length;
    int gapless = 1;
    for (Py_ssize_t i = 0; i < p->count; i++) {
        place_of(p, i, &offset, &length);
        if (length == 0)
            offset = at;
        if (offset > bytes || length > bytes - offset) {
            PyErr_Format(PyExc_ValueError, "payload %zd is not inside the batch", i);
            return -1;
        }
        gapless &= offset == at;
        ends[i] = (int64_t)at;
        at += length;
    }
    ends[p->count] = (int64_t)at;
    return gapless && at > 0; /* nothing needs no memory of a loan */
}

static PyObject *close_gaps(const places_t *p, const uint8_t *payload, const int64_t *ends)
{
    PyObject *packed = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)ends[p->count]);
    uint64_t offset;
    uint32_t length;
    for (Py_ssize_t i = 0; packed && i < p->count; i++) {
        place_of(p, i, &offset, &length);
        if (length)
            memcpy(PyBytes_AsString(packed) + ends[i], payload + offset, length);
    }
    return packed;
}

/* payload_column(records, record_bytes, offset_at, length_at, payload): the buffers of a column of
 * large binaries. They are the payload itself if it has no gaps, otherwise a copy. */
PyObject *payload_column(PyObject *module, PyObject *args)
{
    (void)module;
    Py_buffer records = {0}, data = {0};
    places_t p;
    PyObject *payload, *result = NULL;
    if (!PyArg_ParseTuple(args, "y*nnnO:payload_column", &records, &p.record_bytes, &p.offset_at,
                          &p.length_at, &payload))
        return NULL;
    p.records = records.buf;
    p.count = records.len / p.record_bytes;
    PyObject *ends =
        PyBytes_FromStringAndSize(NULL, (p.count + 1) * (Py_ssize_t)sizeof(int64_t));
    if (ends && PyObject_GetBuffer(payload, &data, PyBUF_SIMPLE) == 0) {
        int64_t *at = (int64_t *)(void *)PyBytes_AsString(ends);
        int gapless = sum_lengths(&p, (uint64_t)data.len, at);
        PyObject *packed = gapless == 0 ? close_gaps(&p, data.buf, at) : NULL;
        if (gapless > 0 || packed)
            result = Py_BuildValue("(OO)", ends, packed ? packed : payload);
        Py_XDECREF(packed);
    }
    Py_XDECREF(ends);
    payload_release(&data);
    PyBuffer_Release(&records);
    return result;
}
