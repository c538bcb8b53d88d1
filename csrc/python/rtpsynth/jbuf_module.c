#include "python/rtpsynth/jbuf.h"

#include "python/module_gil.h"

#include "python/rtpsynth/arguments.h"

PyObject *jbuf_parse_error;
PyObject *jbuf_make_rows;

/* configure(make_rows): called with n, returns a writable buffer of at least n events. The function
 * of the main interpreter stays, because it outlives those of others. */
static PyObject *configure(PyObject *module, PyObject *make_rows)
{
    static bool is_mains;
    (void)module;
    if (is_mains)
        Py_RETURN_NONE;
    is_mains = is_main_interpreter();
    PyObject *old = jbuf_make_rows;
    Py_INCREF(make_rows);
    jbuf_make_rows = make_rows;
    Py_XDECREF(old);
    return Py_NewRef(Py_None);
}

static PyMethodDef module_methods[] = {
    {"configure", configure, METH_O, "configure($module, make_rows, /)\n--\n\n"},
    {NULL, NULL, 0, NULL},
};

/* Single-phase initialisation, so that an interpreter with its own lock refuses it: types and
 * counts are static. */
static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "rtpsynth._jbuf",
    .m_doc = "The jitter buffer of rtpsynth.RtpJBuf, in C.",
    .m_size = -1,
    .m_methods = module_methods,
};

static int add_names(PyObject *module)
{
    jbuf_parse_error = PyErr_NewExceptionWithDoc("rtpsynth.RtpJBuf.RTPParseError",
                                                 "The data offered is not RTP.", NULL, NULL);
    if (jbuf_parse_error == NULL ||
        PyModule_AddObjectRef(module, "RTPParseError", jbuf_parse_error) < 0)
        return -1;
    return PyModule_AddFunctions(module, jbuf_count_methods);
}

PyMODINIT_FUNC PyInit__jbuf(void)
{
    if (module_needs_gil("rtpsynth._jbuf") < 0)
        return NULL;
    PyObject *module = PyModule_Create(&module_def);
    if (module == NULL)
        return NULL;
    if (add_names(module) < 0 || jbuf_content_init(module) < 0 || jbuf_wrapper_init(module) < 0 ||
        jbuf_buffer_init(module) < 0) {
        Py_DECREF(module);
        return NULL;
    }
    return module;
}
