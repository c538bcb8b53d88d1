#include "python/hot.h"

#include "client/endpoint_box.h"
#include "client/endpoint_netflux.h"

PyObject *core_put(core_t *self, PyObject *values)
{
    Py_buffer view = {0};
    const void *payload;
    size_t bytes;
    if (as_payload(values, &view, &payload, &bytes) < 0)
        return NULL;
    int rc = -ESTALE;
    while (rc == -ESTALE) {
        endpoint_t *end = core_end(self);
        rc = end ? endpoint_put(end, payload, bytes) : -1;
        if (end == NULL || (rc == -ESTALE && core_call(self, name_attach_now, number_tx) < 0))
            rc = -1;
        else if (rc < 0 && rc != -ESTALE)
            rc = core_refuse(self, rc);
    }
    payload_release(&view);
    if (rc < 0)
        return NULL;
    Py_INCREF(Py_None);
    return Py_None;
}

static PyObject *values_of(const netflux_snapshot_t *s, PyObject *decode)
{
    PyObject *raw = PyBytes_FromStringAndSize((const char *)s->values, (Py_ssize_t)s->bytes);
    if (raw == NULL || decode == Py_None)
        return raw;
    PyObject *values = PyObject_CallFunctionObjArgs(decode, raw, NULL);
    Py_DECREF(raw);
    return values;
}

/* The fields of shmring.netflux.Snapshot, in its order. */
static PyObject *snapshot_fields(const netflux_snapshot_t *s, PyObject *decode)
{
    PyObject *values = values_of(s, decode);
    if (values == NULL)
        return NULL;
    const shm_netflux_rx_t *head = &s->head;
    PyObject *stamp = hot_stamps[s->stamp < HOT_STAMPS ? s->stamp : 0];
    PyObject *is_void = head->flags & SHM_NETFLUX_VOID ? Py_True : Py_False;
    PyObject *oversize = head->flags & SHM_NETFLUX_OVERSIZE ? Py_True : Py_False;
    Py_INCREF(stamp);
    Py_INCREF(is_void);
    Py_INCREF(oversize);
    PyObject *items[] = {
        values,
        PyLong_FromLong(head->number),
        PyLong_FromLong(head->feedback),
        PyLong_FromLongLong(head->at_mono_ns),
        stamp,
        PyLong_FromUnsignedLongLong(head->published),
        is_void,
        oversize,
    };
    enum { COUNT = sizeof items / sizeof *items };
    PyObject *tuple = PyTuple_New(COUNT);
    int whole = tuple != NULL;
    for (int i = 0; i < COUNT; i++) {
        whole = whole && items[i] != NULL;
        if (tuple)
            PyTuple_SetItem(tuple, i, items[i]);
        else
            Py_XDECREF(items[i]);
    }
    if (whole)
        return tuple;
    Py_XDECREF(tuple);
    return NULL;
}

PyObject *core_snapshot(core_t *self, PyObject *decode)
{
    netflux_snapshot_t found;
    endpoint_t *end = core_end(self);
    if (end == NULL)
        return NULL;
    int rc = endpoint_snapshot(end, &found);
    if (rc < 0) {
        core_refuse(self, rc);
        return NULL;
    }
    if (rc > 0)
        return snapshot_fields(&found, decode);
    Py_INCREF(Py_None);
    return Py_None;
}
