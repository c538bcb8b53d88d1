/* server_request.c: the requests of RtpServer and RtpChannel to the worker, and their results. */
#include "python/rtpsynth/server.h"

int server_swallow_error(void)
{
    if (PyErr_Occurred() == NULL)
        return 0;
    if (!PyErr_ExceptionMatches(PyExc_Exception))
        return -1;
    PyErr_Clear();
    return 0;
}

int server_request(PyObject *server, const mux_request_t *request, mux_reply_t *reply)
{
    PyObject *mux = ((server_t *)(void *)server)->mux;
    PyObject *body = PyBytes_FromStringAndSize((const char *)request, sizeof *request);
    PyObject *answer = body ? PyObject_CallMethod(mux, "request", "O", body) : NULL;
    Py_XDECREF(body);
    if (answer == NULL)
        return -1;
    char *bytes;
    Py_ssize_t length;
    int rc = PyBytes_AsStringAndSize(answer, &bytes, &length);
    if (rc == 0 && length == (Py_ssize_t)sizeof *reply) {
        memcpy(reply, bytes, sizeof *reply);
    } else if (rc == 0) {
        PyErr_Format(PyExc_OSError, "the worker's answer has %zd bytes, not %zu", length,
                     sizeof *reply);
        rc = -1;
    }
    Py_DECREF(answer);
    return rc;
}

int server_refuse_request(const exchange_t *x)
{
    bool failed = exchange_has_failed(x);
    if (!failed && !exchange_is_over(x))
        return 0;
    if (server_swallow_error() == 0)
        PyErr_SetString(PyExc_RuntimeError, failed ? SERVER_FAILED : SERVER_STOPPED);
    return -1;
}
