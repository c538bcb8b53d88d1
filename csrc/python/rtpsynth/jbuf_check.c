/* jbuf_check.c: checks and memory that the classes of the jitter buffer share. */
#include "python/rtpsynth/jbuf.h"

int jbuf_check(const jbuf_t *self)
{
    if (self->core.entries)
        return 0;
    PyErr_SetString(PyExc_RuntimeError, "RtpJBuf handle is not initialized");
    return -1;
}

bool jbuf_reserve(jbuf_t *self, uint64_t entry_count)
{
    rtp_jbuf_t *core = &self->core;
    uint32_t most = rtp_jbuf_entries_for(core->capacity);
    if (most != 0 && entry_count > most)
        entry_count = most;
    if (entry_count <= core->entry_count)
        return true;
    uint64_t count = entry_count < 2 * (uint64_t)core->entry_count ? 2 * (uint64_t)core->entry_count
                                                                   : entry_count;
    rtp_jbuf_entry_t *entries = count <= UINT32_MAX ? PyMem_Calloc(count, sizeof *entries) : NULL;
    if (entries == NULL)
        return false;
    rtp_jbuf_entry_t *old = core->entries;
    rtp_jbuf_grow(core, entries, (uint32_t)count);
    PyMem_Free(old);
    return true;
}

PyObject *jbuf_as_datagram(PyObject *object)
{
    if (!PyBytes_Check(object))
        return PyObject_Bytes(object);
    Py_INCREF(object);
    return object;
}
