#include "python/hot.h"

#include "python/module_init.h"

PyObject *hot_stamps[HOT_STAMPS];
PyObject *hot_unpack_address;
PyObject *hot_batch_class;
PyObject *hot_loan_class;

/* configure(stamps, unpack_address, batch, loan): objects of shmring that this module creates or
 * calls. */
static PyObject *configure(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *stamps, *unpack, *batch, *loan;
    if (!PyArg_ParseTuple(args, "O!OOO:configure", &PyTuple_Type, &stamps, &unpack, &batch, &loan))
        return NULL;
    if (PyTuple_Size(stamps) != HOT_STAMPS) {
        PyErr_Format(PyExc_ValueError, "stamps must have %d entries, not %zd", HOT_STAMPS,
                     PyTuple_Size(stamps));
        return NULL;
    }
    for (int i = 0; i < HOT_STAMPS; i++)
        hot_replace(&hot_stamps[i], PyTuple_GetItem(stamps, i));
    hot_replace(&hot_unpack_address, unpack);
    hot_replace(&hot_batch_class, batch);
    hot_replace(&hot_loan_class, loan);
    Py_INCREF(Py_None);
    return Py_None;
}

static PyMethodDef module_methods[] = {
    {"configure", configure, METH_VARARGS,
     "configure($module, stamps, unpack_address, batch, loan, /)\n--\n\n"},
    {"arrow_schema", arrow_schema, METH_O, "arrow_schema($module, description, /)\n--\n\n"},
    {"arrow_array", arrow_array, METH_O, "arrow_array($module, description, /)\n--\n\n"},
    {"arrow_stream", arrow_stream, METH_O, "arrow_stream($module, description, /)\n--\n\n"},
    {"payload_column", payload_column, METH_VARARGS,
     "payload_column($module, records, record_bytes, offset_at, length_at, payload, /)\n--\n\n"},
    {"dlpack", dlpack, METH_VARARGS,
     "dlpack($module, buffer, bits, rows, columns, row_items, versioned, /)\n--\n\n"},
    {NULL, NULL, 0, NULL},
};

static int init_signatures(void)
{
    signature_t *all[] = {&send_signature,      &try_send_signature,  &replace_signature,
                          &send_many_signature, &batch_signature,     &recv_signature,
                          &recv_into_signature, &recv_many_signature, &loan_many_signature};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (signature_init(all[i]) < 0)
            return -1;
    return 0;
}

static int module_fill(PyObject *module)
{
    return init_signatures() < 0 || packet_type_init(module) < 0 || core_type_init(module) < 0 ||
                   calls_type_init(module) < 0 || loan_type_init(module) < 0
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
    .m_name = "shmring._hot",
    .m_doc = "The per-packet calls of channels, in C.",
    .m_methods = module_methods,
};

PyMODINIT_FUNC PyInit__hot(void)
{
    static module_slots_t slots;
    module_slots(slots, module_exec, MODULE_HAS_LOCKS);
    module_def.m_slots = slots;
    return PyModuleDef_Init(&module_def);
}
