/* look_rows.c: opens the files of a look, and describes the words of a look. */
#include "python/rtstat/look.h"

#include "base/rt_err.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

PyObject *look_refuse(int rc)
{
    const char *text = rt_err_text(); /* may quote contents of the segment */
    PyObject *arguments = Py_BuildValue(
        "(iN)", -rc, PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "backslashreplace"));
    if (arguments)
        PyErr_SetObject(PyExc_OSError, arguments);
    Py_XDECREF(arguments);
    return NULL;
}

/* O_NONBLOCK: opening a pipe of that name would wait for its other end. */
int look_open(PyObject *args, PyObject *kwargs)
{
    PyObject *path, *bytes;
    if (kwargs && PyDict_Size(kwargs) > 0) {
        PyErr_SetString(PyExc_TypeError, "takes one path and no keywords");
        return -1;
    }
    if (!PyArg_ParseTuple(args, "O", &path) || !PyUnicode_FSConverter(path, &bytes))
        return -1;
    int fd = open(PyBytes_AsString(bytes), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    Py_DECREF(bytes);
    if (fd < 0) {
        PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, path);
        return -1;
    }
    struct stat st;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        return fd;
    close(fd);
    look_refuse(rt_err_set(-EPROTO, "not a file"));
    return -1;
}

PyObject *look_text(const char *text, size_t size)
{
    return PyUnicode_DecodeASCII(text, (Py_ssize_t)strnlen(text, size), "replace");
}

int look_add_word(PyObject *list, const look_word_t *word)
{
    PyObject *none = *word->none ? PyLong_FromString(word->none, NULL, 10) : Py_NewRef(Py_None);
    PyObject *row = Py_BuildValue("(ssNsN)", word->name, word->unit, none, word->text,
                                  PyBool_FromLong(word->counts));
    int rc = row ? PyList_Append(list, row) : -1;
    Py_XDECREF(row);
    return rc;
}

int look_add_words(PyObject *list, const look_word_t *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (look_add_word(list, &words[i]) < 0)
            return -1;
    return 0;
}

int look_add_hist(PyObject *list, const char *name, const char *text)
{
#define NAME(word) #word,
    static const char *const words[] = {LOOK_HIST_WORDS(NAME)};
#undef NAME
    for (unsigned i = 0; i < LOOK_HIST_WORD_TOTAL; i++) {
        char full[64];
        snprintf(full, sizeof full, "%s_%s", name, words[i]);
        const char *unit = strstr(words[i], "count") ? "entries" : "ns";
        if (look_add_word(list, &(look_word_t){full, unit, "", text, true}) < 0)
            return -1;
    }
    return 0;
}
