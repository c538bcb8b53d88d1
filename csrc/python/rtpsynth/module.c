#include "python/rtpsynth/core.h"

#include "python/module_gil.h"

/* Single-phase initialisation, so that an interpreter with its own lock refuses it: types and
 * counts are static. */
static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "rtpsynth._core",
    .m_doc = "What the modules of rtpsynth offer, in C.",
    .m_size = -1,
};

PyMODINIT_FUNC PyInit__core(void)
{
    if (module_needs_gil("rtpsynth._core") < 0)
        return NULL;
    PyObject *module = PyModule_Create(&module_def);
    if (module && (add_headers(module) < 0 || add_jbuf(module) < 0 || add_proc(module) < 0 ||
                   add_server(module) < 0 || add_synth(module) < 0 || add_utils(module) < 0))
        Py_CLEAR(module);
    return module;
}
