#include "python/rtpsynth/core.h"

#include "python/module_init.h"

static int module_fill(PyObject *module)
{
    return add_headers(module) < 0 || add_jbuf(module) < 0 || add_proc(module) < 0 ||
                   add_server(module) < 0 || add_synth(module) < 0 || add_utils(module) < 0
               ? -1
               : 0;
}

static int module_exec(PyObject *module)
{
    static PyObject *contents;
    return module_fill_once(module, &contents, module_fill);
}

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "rtpsynth._core",
    .m_doc = "What the modules of rtpsynth offer, in C.",
};

PyMODINIT_FUNC PyInit__core(void)
{
    static module_slots_t slots;
    if (module_needs_gil("rtpsynth._core") < 0)
        return NULL;
    module_slots(slots, module_exec, MODULE_NEEDS_GIL);
    module_def.m_slots = slots;
    return PyModuleDef_Init(&module_def);
}
