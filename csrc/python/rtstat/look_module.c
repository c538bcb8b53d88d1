#include "python/rtstat/look.h"

#include "python/module_gil.h"

#include "shm/bus_guard.h"

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "rtstat._look",
    .m_doc = "One look at a channel's segment or a worker's page, for rtstat.snapshot.",
    .m_size = -1,
};

/* This module has its own copy of the bus guard. One handler per process is enough. */
static int join_guard(void)
{
    PyObject *ring = PyImport_ImportModule("shmring._ring");
    PyObject *lib = ring ? PyObject_GetAttrString(ring, "lib") : NULL;
    PyObject *address = lib ? PyObject_CallMethod(lib, "bus_guard_address", NULL) : NULL;
    size_t at = address ? PyLong_AsSize_t(address) : 0;
    Py_XDECREF(address);
    Py_XDECREF(lib);
    Py_XDECREF(ring);
    if (at == 0 || PyErr_Occurred())
        return -1;
    bus_guard_join(at);
    return 0;
}

PyMODINIT_FUNC PyInit__look(void)
{
    if (module_needs_gil("rtstat._look") < 0)
        return NULL;
    PyObject *module = join_guard() < 0 ? NULL : PyModule_Create(&module_def);
    if (module && (look_segment_init(module) < 0 || look_page_init(module) < 0))
        Py_CLEAR(module);
    return module;
}
