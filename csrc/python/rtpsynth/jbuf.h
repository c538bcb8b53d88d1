/* jbuf.h: the Python class RtpJBuf over proto/rtp/rtp_jbuf.h, and the objects that
 * it returns.
 *
 *   jbuf_count.c    how many objects of each class were made and freed
 *   jbuf_content.c  RTPInfo, RTPPacket, RTPFrameUnion, RTPFrame, ERSFrame
 *   jbuf_wrapper.c  FrameWrapper
 *   jbuf_buffer.c   RtpJBuf: life, udp_in, flush, drain
 *   jbuf_many.c     RtpJBuf.udp_in_many, flush_many, drain_many
 *   jbuf_split.c      the datagrams given to udp_in_many, as a row
 *
 * The life of a frame. The core holds a 64-bit item per frame. Here it is the address of the
 * FrameWrapper that will be handed out, or, only while udp_in_many runs, the number of the datagram
 * (jbuf_item_of_number). Frames that still wait at the end of udp_in_many get their wrapper then.
 * So between two calls every frame held is a wrapper, whichever call brought it.
 *
 *     RtpJBuf -- held --> FrameWrapper -> datagram (bytes), opaque
 *                             | content, made when it is first asked for
 *                             v
 *                         RTPFrame -> RTPFrameUnion -> RTPPacket -> RTPInfo      or ERSFrame
 *
 * No object refers back, so all of them die with their last reference. Only opaque can close a
 * cycle: RtpJBuf and the FrameWrappers whose opaque could do so are known to the garbage collector.
 *
 * Threads. The global lock is held throughout. Python code can run, and use the same buffer, only
 * while nothing is half done: a call first converts its arguments and creates what it needs, then
 * changes the core, then moves the results to its own objects, and releases at the end. Creating a
 * list or a wrapper can start a garbage collection and so a finalizer. Where this must not happen,
 * PyGC_Disable prevents it.
 *
 * Everything here returns -1 or NULL with a Python exception set, unless it says otherwise. */
#ifndef RTPSYNTH_JBUF_H
#define RTPSYNTH_JBUF_H

#include "python/rtpsynth/core.h"

#include "proto/rtp/rtp_jbuf.h"

#include <stdint.h>

/* --- jbuf_count.c --------------------------------------------------------------------------- */

typedef enum jbuf_class {
    JBUF_RTP_INFO,
    JBUF_RTP_PACKET,
    JBUF_ERS_FRAME,
    JBUF_RTP_FRAME_UNION,
    JBUF_RTP_FRAME,
    JBUF_FRAME_WRAPPER,
    JBUF_RTP_JBUF,
    JBUF_CLASSES,
} jbuf_class_t;

extern bool jbuf_is_counting;
extern uint64_t jbuf_created[JBUF_CLASSES], jbuf_freed[JBUF_CLASSES];
extern PyMethodDef jbuf_count_methods[];

static inline void jbuf_count_created(jbuf_class_t which)
{
    jbuf_created[which] += jbuf_is_counting;
}

static inline void jbuf_count_freed(jbuf_class_t which)
{
    jbuf_freed[which] += jbuf_is_counting;
}

/* Ends PyGC_Disable, which also holds off all Python code that is not called explicitly. */
static inline void jbuf_resume_gc(bool was_enabled)
{
    if (was_enabled)
        PyGC_Enable();
}

/* --- jbuf_content.c ------------------------------------------------------------------------- */

/* Adds the five classes to the module. */
int add_jbuf_content(PyObject *module);

/* The value of FrameWrapper.content. It is not counted as created: that happens when the wrapper is
 * handed out, even if its content is never read. */
PyObject *jbuf_make_rtp_frame(PyObject *datagram, uint64_t lseq);
PyObject *jbuf_make_ers_frame(const rtp_jbuf_erasure_t *erasure);

/* --- jbuf_wrapper.c ------------------------------------------------------------------------- */

typedef enum jbuf_wrapper_kind {
    JBUF_WRAPS_NOTHING,
    JBUF_WRAPS_FRAME,
    JBUF_WRAPS_ERASURE,
} jbuf_wrapper_kind_t;

typedef struct jbuf_wrapper {
    PyObject_HEAD PyObject *data; /* the datagram: bytes. None: no frame */
    PyObject *opaque;
    PyObject *content; /* NULL: not read yet */
    union {
        struct {
            uint64_t lseq;
            uint64_t number; /* of the datagram, counted over all that were offered */
        } frame;
        rtp_jbuf_erasure_t erasure;
    };
    uint8_t kind; /* jbuf_wrapper_kind_t */
    bool is_out;  /* handed out, or made by calling the class */
} jbuf_wrapper_t;

/* Adds FrameWrapper to the module. */
int add_jbuf_wrapper(PyObject *module);

/* For a frame that begins to wait. Steals datagram, also on failure. Borrows opaque. The new object
 * belongs to the buffer and is visible to no other code. */
jbuf_wrapper_t *jbuf_wrapper_make(PyObject *datagram, PyObject *opaque);

/* The buffer's reference becomes the caller's, and the counters are updated. */
PyObject *jbuf_wrapper_hand_out(jbuf_wrapper_t *self, uint64_t lseq);

PyObject *jbuf_wrapper_make_erasure(const rtp_jbuf_erasure_t *erasure);

/* For RtpJBuf's traverse: visits what a waiting wrapper refers to. */
int jbuf_wrapper_visit(jbuf_wrapper_t *self, visitproc visit, void *arg);

/* --- jbuf_buffer.c -------------------------------------------------------------------------- */

typedef struct jbuf {
    PyObject_HEAD rtp_jbuf_t core; /* entries: NULL before __init__ */
} jbuf_t;

static inline uint64_t jbuf_item_of_number(uint64_t number)
{
    return number << 1 | 1;
}

static inline bool jbuf_item_is_number(uint64_t item)
{
    return item & 1;
}

static inline uint64_t jbuf_number_of_item(uint64_t item)
{
    return item >> 1;
}

static inline uint64_t jbuf_item_of_wrapper(const jbuf_wrapper_t *wrapper)
{
    return (uintptr_t)wrapper;
}

static inline jbuf_wrapper_t *jbuf_wrapper_of_item(uint64_t item)
{
    return (jbuf_wrapper_t *)(uintptr_t)item;
}

/* --- jbuf_check.c --------------------------------------------------------------------------- */

/* Raises RuntimeError if __init__ has not run. */
int jbuf_check(const jbuf_t *self);

/* Makes room for at least that many entries. Returns false without an exception if there is no
 * memory. */
bool jbuf_reserve(jbuf_t *self, uint64_t entry_count);

/* The datagram as bytes: the same object if it is bytes, otherwise bytes(object). */
PyObject *jbuf_as_datagram(PyObject *object);

/* --- jbuf_many.c ---------------------------------------------------------------------------- */

PyObject *jbuf_udp_in_many(jbuf_t *self, PyObject *args, PyObject *kwargs);
PyObject *jbuf_flush_many(jbuf_t *self, PyObject *args, PyObject *kwargs);
PyObject *jbuf_drain_many(jbuf_t *self, PyObject *args, PyObject *kwargs);

/* --- jbuf_split.c ----------------------------------------------------------------------------- */

typedef struct jbuf_split {
    rtp_jbuf_in_t *in; /* item is not set */
    size_t count;
    PyObject *items; /* tuple of bytes; NULL: one buffer */
    Py_buffer data;
} jbuf_split_t;

/* Checks everything and copies all sizes and offsets, so that nothing can change them afterwards.
 * Runs Python code. Call jbuf_split_close in any case. */
int jbuf_split_open(jbuf_split_t *split, PyObject *data, PyObject *sizes, PyObject *offsets,
                    PyObject *stride);
void jbuf_split_close(jbuf_split_t *split);

#endif
