/* hot_dlpack.c: memory for other libraries, by DLPack (https://dmlc.github.io/dlpack). */
#include "python/hot.h"

#include <stdlib.h>

typedef struct dl_tensor {
    void *data;
    struct {
        int32_t type, id;
    } device;
    int32_t ndim;
    struct {
        uint8_t code, bits;
        uint16_t lanes;
    } dtype;
    int64_t *shape;
    int64_t *strides;
    uint64_t byte_offset;
} dl_tensor_t;

/* DLManagedTensor, and DLManagedTensorVersioned of DLPack 1.0. */
typedef struct dl_plain {
    dl_tensor_t tensor;
    void *own;
    void (*deleter)(struct dl_plain *);
} dl_plain_t;

typedef struct dl_versioned {
    struct {
        uint32_t major, minor;
    } version;
    void *own;
    void (*deleter)(struct dl_versioned *);
    uint64_t flags;
    dl_tensor_t tensor;
} dl_versioned_t;

#define DL_CPU 1
#define DL_INT 0
#define DL_UINT 1
#define DL_READ_ONLY 1

/* Everything of one export. */
typedef struct export {
    Py_buffer view;
    int64_t shape[2], strides[2];
    dl_plain_t plain;
    dl_versioned_t versioned;
} export_t;

/* The consumer may call it on any thread. */
static void export_free(export_t *e)
{
    if (!Py_IsInitialized())
        return;
    PyGILState_STATE state = PyGILState_Ensure();
    PyBuffer_Release(&e->view);
    PyGILState_Release(state);
    free(e);
}

static void delete_plain(dl_plain_t *t)
{
    export_free(t->own);
}

static void delete_versioned(dl_versioned_t *t)
{
    export_free(t->own);
}

/* A capsule whose name was changed has a new owner. */
static void destroy_plain(PyObject *capsule)
{
    if (PyCapsule_IsValid(capsule, "dltensor"))
        delete_plain(PyCapsule_GetPointer(capsule, "dltensor"));
}

static void destroy_versioned(PyObject *capsule)
{
    if (PyCapsule_IsValid(capsule, "dltensor_versioned"))
        delete_versioned(PyCapsule_GetPointer(capsule, "dltensor_versioned"));
}

static PyObject *export_capsule(export_t *e, const dl_tensor_t *tensor, int versioned)
{
    PyObject *capsule;
    if (versioned) {
        e->versioned = (dl_versioned_t){.version = {1, 0},
                                        .own = e,
                                        .deleter = delete_versioned,
                                        .flags = e->view.readonly ? DL_READ_ONLY : 0,
                                        .tensor = *tensor};
        capsule = PyCapsule_New(&e->versioned, "dltensor_versioned", destroy_versioned);
    } else {
        e->plain = (dl_plain_t){.tensor = *tensor, .own = e, .deleter = delete_plain};
        capsule = PyCapsule_New(&e->plain, "dltensor", destroy_plain);
    }
    if (capsule == NULL)
        export_free(e);
    return capsule;
}

/* dlpack(buffer, bits, rows, columns, row_items, versioned): rows of int64 (bits 64, columns > 0)
 * or a vector of bytes (bits 8, columns 0). */
PyObject *dlpack(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *buffer;
    long long bits, rows, columns, row_items;
    int versioned;
    if (!PyArg_ParseTuple(args, "OLLLLp:dlpack", &buffer, &bits, &rows, &columns, &row_items,
                          &versioned))
        return NULL;
    export_t *e = calloc(1, sizeof *e);
    if (e == NULL)
        return PyErr_NoMemory();
    if (PyObject_GetBuffer(buffer, &e->view, PyBUF_SIMPLE) < 0) {
        free(e);
        return NULL;
    }
    long long width = columns ? row_items : 1;
    if (rows < 0 || columns < 0 || columns > width || (bits != 8 && bits != 64) ||
        rows * width * bits / 8 > e->view.len) {
        export_free(e);
        PyErr_SetString(PyExc_ValueError, "the rows are not inside the buffer");
        return NULL;
    }
    e->shape[0] = rows;
    e->shape[1] = columns;
    e->strides[0] = width;
    e->strides[1] = 1;
    const dl_tensor_t tensor = {
        .data = e->view.buf,
        .device = {DL_CPU, 0},
        .ndim = columns ? 2 : 1,
        .dtype = {bits == 64 ? DL_INT : DL_UINT, (uint8_t)bits, 1},
        .shape = e->shape,
        .strides = e->strides,
    };
    return export_capsule(e, &tensor, versioned);
}
