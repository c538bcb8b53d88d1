/* utils.c: G.711 and sample rates, for RtpUtils.py.
 *
 * Results are array('h'). The stable ABI has no constructor for them, and array('h', bytes) copies
 * twice. So a template of one sample is repeated, which allocates, and the result is written
 * through its buffer.
 */
#include "python/rtpsynth/core.h"

#include "proto/rtp/g711.h"
#include "proto/rtp/resample.h"

#include <errno.h>
#include <stdint.h>

static PyObject *one_sample;

/* array('h') of that many samples, and its buffer in view. NULL with an exception. */
static PyObject *new_samples(Py_ssize_t count, Py_buffer *view)
{
    PyObject *samples = PySequence_Repeat(one_sample, count);
    if (samples && PyObject_GetBuffer(samples, view, PyBUF_WRITABLE) < 0)
        Py_CLEAR(samples);
    return samples;
}

static int get_pcm(PyObject *source, Py_buffer *view)
{
    if (PyObject_GetBuffer(source, view, PyBUF_C_CONTIGUOUS) < 0)
        return -1;
    if (view->itemsize == 2 || (view->itemsize == 1 && view->len % 2 == 0))
        return 0;
    if (view->itemsize == 1)
        PyErr_SetString(PyExc_ValueError, "PCM16 byte buffer length must be even");
    else
        PyErr_SetString(PyExc_TypeError, "expected a PCM16 buffer (itemsize 2) or PCM16 bytes");
    PyBuffer_Release(view);
    return -1;
}

/* --- companding: int to int, buffer to buffer ----------------------------------------------- */

typedef struct law {
    const char *decode_type_error;
    uint8_t (*encode_one)(int64_t sample);
    int16_t (*decode_one)(uint8_t code);
    void (*encode)(uint8_t *out, const int16_t *in, size_t count);
    void (*decode)(int16_t *out, const uint8_t *in, size_t count);
} law_t;

static const law_t ulaw = {"ulaw2linear expects bytes-like input", g711_linear_to_ulaw,
                           g711_ulaw_to_linear, g711_ulaw_encode, g711_ulaw_decode};
static const law_t alaw = {"alaw2linear expects bytes-like input", g711_linear_to_alaw,
                           g711_alaw_to_linear, g711_alaw_encode, g711_alaw_decode};

static PyObject *encode(const law_t *law, PyObject *source)
{
    if (PyLong_Check(source)) {
        long long sample = PyLong_AsLongLong(source);
        if (sample == -1 && PyErr_Occurred())
            return NULL;
        return PyLong_FromLong(law->encode_one(sample));
    }
    Py_buffer pcm;
    if (get_pcm(source, &pcm) < 0)
        return NULL;
    PyObject *codes = PyBytes_FromStringAndSize(NULL, pcm.len / 2);
    if (codes)
        law->encode((uint8_t *)PyBytes_AsString(codes), pcm.buf, (size_t)pcm.len / 2);
    PyBuffer_Release(&pcm);
    return codes;
}

static PyObject *decode_buffer(const law_t *law, const Py_buffer *codes)
{
    Py_buffer pcm;
    PyObject *samples = new_samples(codes->len, &pcm);
    if (samples == NULL)
        return NULL;
    law->decode(pcm.buf, codes->buf, (size_t)codes->len);
    PyBuffer_Release(&pcm);
    return samples;
}

static PyObject *decode(const law_t *law, PyObject *source)
{
    if (PyLong_Check(source)) {
        long long code = PyLong_AsLongLong(source);
        if (code == -1 && PyErr_Occurred())
            return NULL;
        return PyLong_FromLong(law->decode_one((uint8_t)code));
    }
    Py_buffer codes;
    if (PyObject_GetBuffer(source, &codes, PyBUF_C_CONTIGUOUS) < 0)
        return NULL;
    PyObject *samples = NULL;
    if (codes.itemsize == 1)
        samples = decode_buffer(law, &codes);
    else
        PyErr_SetString(PyExc_TypeError, law->decode_type_error);
    PyBuffer_Release(&codes);
    return samples;
}

static PyObject *linear2ulaw(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    (void)self;
    return want_arguments("linear2ulaw", nargs, 1) < 0 ? NULL : encode(&ulaw, args[0]);
}

static PyObject *ulaw2linear(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    (void)self;
    return want_arguments("ulaw2linear", nargs, 1) < 0 ? NULL : decode(&ulaw, args[0]);
}

static PyObject *linear2alaw(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    (void)self;
    return want_arguments("linear2alaw", nargs, 1) < 0 ? NULL : encode(&alaw, args[0]);
}

static PyObject *alaw2linear(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    (void)self;
    return want_arguments("alaw2linear", nargs, 1) < 0 ? NULL : decode(&alaw, args[0]);
}

/* --- sample rates --------------------------------------------------------------------------- */

static PyObject *resample(const Py_buffer *pcm, int in_rate, int out_rate)
{
    size_t in_count = (size_t)pcm->len / 2;
    int64_t out_count = resample_linear_count(in_count, in_rate, out_rate);
    if (out_count < 0) {
        PyErr_Format(PyExc_OverflowError, "%zu samples at %d Hz are too many at %d Hz", in_count,
                     in_rate, out_rate);
        return NULL;
    }
    Py_buffer out;
    PyObject *samples = new_samples((Py_ssize_t)out_count, &out);
    if (samples == NULL)
        return NULL;
    resample_linear(out.buf, pcm->buf, in_count, in_rate, out_rate);
    PyBuffer_Release(&out);
    return samples;
}

static PyObject *resample_linear_call(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    (void)self;
    int in_rate;
    int out_rate;
    if (want_arguments("resample_linear", nargs, 3) < 0 || as_int(args[1], &in_rate) < 0 ||
        as_int(args[2], &out_rate) < 0)
        return NULL;
    if (in_rate <= 0 || out_rate <= 0) {
        PyErr_SetString(PyExc_ValueError, "in_rate and out_rate must be > 0");
        return NULL;
    }
    Py_buffer pcm;
    if (get_pcm(args[0], &pcm) < 0)
        return NULL;
    PyObject *samples = resample(&pcm, in_rate, out_rate);
    PyBuffer_Release(&pcm);
    return samples;
}

/* --- the module, and the class with the same functions as static methods -------------------- */

#define DOC_RESAMPLE                                                                              \
    "Change the sample rate by linear interpolation.\n\n"                                         \
    "pcm: 16-bit samples in any contiguous buffer (items of 2 bytes, or bytes). Rates in Hz, 1 "  \
    "to "                                                                                         \
    "2**31 - 1.\nReturns array('h') of round(n * out_rate / in_rate) samples, at least 1 unless " \
    "pcm is empty.\nThere is no filter: frequencies above half the lower rate are aliased."
#define DOC_ENCODE(law)                            \
    "Linear samples to " law " (ITU-T G.711).\n\n" \
    "An int gives the code as int, clipped to 16 bits; a buffer of 16-bit samples gives bytes."
#define DOC_DECODE(law)                         \
    law " (ITU-T G.711) to linear samples.\n\n" \
        "An int (its low 8 bits) gives the sample as int; a buffer of bytes gives array('h')."

#define FUNCTIONS(flags)                                                                          \
    {"resample_linear", (PyCFunction)(void (*)(void))resample_linear_call,                        \
     METH_FASTCALL | (flags), "resample_linear(pcm, in_rate, out_rate, /)\n--\n\n" DOC_RESAMPLE}, \
        {"linear2ulaw", (PyCFunction)(void (*)(void))linear2ulaw, METH_FASTCALL | (flags),        \
         "linear2ulaw(sample, /)\n--\n\n" DOC_ENCODE("mu-law")},                                  \
        {"ulaw2linear", (PyCFunction)(void (*)(void))ulaw2linear, METH_FASTCALL | (flags),        \
         "ulaw2linear(code, /)\n--\n\n" DOC_DECODE("mu-law")},                                    \
        {"linear2alaw", (PyCFunction)(void (*)(void))linear2alaw, METH_FASTCALL | (flags),        \
         "linear2alaw(sample, /)\n--\n\n" DOC_ENCODE("A-law")},                                   \
        {"alaw2linear", (PyCFunction)(void (*)(void))alaw2linear, METH_FASTCALL | (flags),        \
         "alaw2linear(code, /)\n--\n\n" DOC_DECODE("A-law")},                                     \
    {                                                                                             \
        NULL, NULL, 0, NULL                                                                       \
    }

static PyMethodDef module_functions[] = {FUNCTIONS(0)};
static PyMethodDef static_methods[] = {FUNCTIONS(METH_STATIC)};

static PyType_Slot utils_slots[] = {
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_methods, static_methods},
    {Py_tp_doc, "G.711 and sample rate conversion as static methods."},
    {0, NULL},
};

static int make_template(void)
{
    PyObject *module = PyImport_ImportModule("array");
    if (module == NULL)
        return -1;
    one_sample = PyObject_CallMethod(module, "array", "s(i)", "h", 0);
    Py_DECREF(module);
    return one_sample ? 0 : -1;
}

int add_utils(PyObject *module)
{
    if (make_template() < 0 || PyModule_AddFunctions(module, module_functions) < 0)
        return -1;
    return add_class(module, "rtpsynth.RtpUtils.RtpUtils", sizeof(PyObject), 0, utils_slots) ? 0
                                                                                             : -1;
}
