#include "python/rtpsynth/jbuf.h"

#include "proto/rtp/rtp_packet.h"

#include <string.h>
#include <structmember.h>

/* References are never NULL in an object that Python sees. They are None if there is no value: the
 * interpreter has a fast path for members of type T_OBJECT_EX, and none for T_OBJECT. */

typedef struct rtp_info {
    PyObject_HEAD Py_ssize_t data_size;
    unsigned long long rtp_profile;
    unsigned int data_offset;
    int nsamples;
    unsigned int ts;
    unsigned int ssrc;
    unsigned short seq;
    char appendable;
} rtp_info_t;

typedef struct rtp_packet {
    PyObject_HEAD PyObject *info;
    unsigned long long lseq;
    unsigned long long data;
} rtp_packet_t;

typedef struct rtp_frame_union {
    PyObject_HEAD PyObject *rtp;
    PyObject *ers; /* None: an erasure has no union */
} rtp_frame_union_t;

typedef struct rtp_frame {
    PyObject_HEAD PyObject *frame;
    int type;
} rtp_frame_t;

typedef struct ers_frame {
    PyObject_HEAD unsigned long long lseq_start;
    unsigned long long lseq_end;
    unsigned int ts_diff;
    int type;
} ers_frame_t;

enum { TYPE_RTP = 0, TYPE_ERS = 1 };

static PyTypeObject *types[JBUF_CLASSES];

/* Keeps the memory of dead objects for new ones. Measured: reading frame.content.frame.rtp.lseq of
 * each frame takes 10 % less time with it. */
typedef struct spare {
    PyObject_HEAD struct spare *next;
} spare_t;

enum { MOST_SPARE = 256 };
static struct {
    spare_t *first;
    int count;
} spares[JBUF_CLASSES];

/* Only the first member is set, to 0: if a class refers to an object, that is the reference. */
static void *allocate(jbuf_class_t which)
{
    spare_t *self = spares[which].first;
    if (self) {
        spares[which].first = self->next;
        spares[which].count--;
        PyObject_Init((PyObject *)self, types[which]);
    } else {
        self = PyObject_New(spare_t, types[which]);
    }
    if (self)
        self->next = NULL;
    return self;
}

/* For a class with at most one reference. */
static void release(jbuf_class_t which, PyObject *self, PyObject *referred)
{
    spare_t *spare = (spare_t *)self;
    Py_XDECREF(referred);
    jbuf_count_freed(which);
    if (spares[which].count < MOST_SPARE) {
        spare->next = spares[which].first;
        spares[which].first = spare;
        spares[which].count++;
    } else {
        PyObject_Free(self);
    }
    Py_DECREF(types[which]);
}

static void *allocate_zeroed(jbuf_class_t which, size_t bytes)
{
    char *self = allocate(which);
    if (self)
        memset(self + sizeof(PyObject), 0, bytes - sizeof(PyObject));
    return self;
}

static void *new_empty(jbuf_class_t which, size_t bytes, PyObject *args)
{
    if (jbuf_refuse_arguments(types[which], args) < 0)
        return NULL;
    void *self = allocate_zeroed(which, bytes);
    if (self)
        jbuf_count_created(which);
    return self;
}

/* --- RTPInfo -------------------------------------------------------------------------------- */

static PyObject *info_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)type;
    (void)kwargs;
    return new_empty(JBUF_RTP_INFO, sizeof(rtp_info_t), args);
}

static void info_dealloc(PyObject *self)
{
    release(JBUF_RTP_INFO, self, NULL);
}

static PyObject *make_info(const uint8_t *datagram, size_t size)
{
    rtp_info_t *self = allocate(JBUF_RTP_INFO);
    rtp_view_t view;
    bool appendable;
    if (self == NULL)
        return NULL;
    /* It was parsed when it was offered, and bytes do not change. */
    (void)rtp_packet_parse(datagram, size, &view);
    self->data_size = (Py_ssize_t)view.payload_bytes;
    self->data_offset = view.payload_offset;
    self->nsamples = rtp_payload_samples(view.payload_type, rtp_view_payload(&view),
                                         view.payload_bytes, &appendable);
    self->appendable = appendable;
    self->ts = view.ts;
    self->seq = view.seq;
    self->ssrc = view.ssrc;
    self->rtp_profile = (uintptr_t)&rtp_payload_formats[view.payload_type];
    return (PyObject *)self;
}

#define INFO(name, type, doc)                                  \
    {                                                          \
#name, type, offsetof(rtp_info_t, name), READONLY, doc \
    }

static PyMemberDef info_members[] = {
    INFO(data_size, T_PYSSIZET, "bytes of payload"),
    INFO(data_offset, T_UINT, "offset of the payload in the datagram"),
    INFO(nsamples, T_INT, "samples in the payload; -1: not known for its type"),
    INFO(ts, T_UINT, "RTP timestamp"),
    INFO(seq, T_USHORT, "sequence number, 16 bits"),
    INFO(ssrc, T_UINT, "synchronization source"),
    INFO(appendable, T_BOOL, "whether more frames could follow in the same payload"),
    INFO(rtp_profile, T_ULONGLONG,
         "address of four C ints: RTP clock rate, sample rate, channels, kind"),
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot info_slots[] = {
    {Py_tp_new, info_new},
    {Py_tp_dealloc, info_dealloc},
    {Py_tp_members, info_members},
    {Py_tp_doc, "The header of an RTP datagram."},
    {0, NULL},
};

/* --- RTPPacket ------------------------------------------------------------------------------ */

static PyObject *packet_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)type;
    (void)kwargs;
    rtp_packet_t *self = new_empty(JBUF_RTP_PACKET, sizeof *self, args);
    if (self == NULL)
        return NULL;
    self->info = allocate_zeroed(JBUF_RTP_INFO, sizeof(rtp_info_t));
    if (self->info == NULL) {
        Py_DECREF((PyObject *)self);
        return NULL;
    }
    jbuf_count_created(JBUF_RTP_INFO);
    return (PyObject *)self;
}

static void packet_dealloc(PyObject *self)
{
    release(JBUF_RTP_PACKET, self, ((rtp_packet_t *)self)->info);
}

static PyMemberDef packet_members[] = {
    {"info", T_OBJECT_EX, offsetof(rtp_packet_t, info), READONLY, "an RTPInfo"},
    {"lseq", T_ULONGLONG, offsetof(rtp_packet_t, lseq), READONLY,
     "sequence number, extended by 65536 per wrap"},
    {"data", T_ULONGLONG, offsetof(rtp_packet_t, data), READONLY,
     "address of the datagram; valid while FrameWrapper.data is kept"},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot packet_slots[] = {
    {Py_tp_new, packet_new},
    {Py_tp_dealloc, packet_dealloc},
    {Py_tp_members, packet_members},
    {Py_tp_doc, "One RTP packet."},
    {0, NULL},
};

/* --- RTPFrameUnion, RTPFrame ---------------------------------------------------------------- */

static PyObject *union_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)type;
    (void)kwargs;
    rtp_frame_union_t *self = new_empty(JBUF_RTP_FRAME_UNION, sizeof *self, args);
    if (self) {
        self->rtp = Py_NewRef(Py_None);
        self->ers = Py_NewRef(Py_None);
    }
    return (PyObject *)self;
}

static void union_dealloc(PyObject *self)
{
    Py_XDECREF(((rtp_frame_union_t *)self)->ers);
    release(JBUF_RTP_FRAME_UNION, self, ((rtp_frame_union_t *)self)->rtp);
}

static PyMemberDef union_members[] = {
    {"rtp", T_OBJECT_EX, offsetof(rtp_frame_union_t, rtp), READONLY, "an RTPPacket"},
    {"ers", T_OBJECT_EX, offsetof(rtp_frame_union_t, ers), READONLY, "None"},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot union_slots[] = {
    {Py_tp_new, union_new},
    {Py_tp_dealloc, union_dealloc},
    {Py_tp_members, union_members},
    {Py_tp_doc, "The parts of an RTPFrame."},
    {0, NULL},
};

static PyObject *frame_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)type;
    (void)kwargs;
    rtp_frame_t *self = new_empty(JBUF_RTP_FRAME, sizeof *self, args);
    if (self)
        self->frame = Py_NewRef(Py_None);
    return (PyObject *)self;
}

static void frame_dealloc(PyObject *self)
{
    release(JBUF_RTP_FRAME, self, ((rtp_frame_t *)self)->frame);
}

static PyMemberDef frame_members[] = {
    {"type", T_INT, offsetof(rtp_frame_t, type), READONLY, "RTPFrameType.RTP"},
    {"frame", T_OBJECT_EX, offsetof(rtp_frame_t, frame), READONLY, "an RTPFrameUnion"},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot frame_slots[] = {
    {Py_tp_new, frame_new},
    {Py_tp_dealloc, frame_dealloc},
    {Py_tp_members, frame_members},
    {Py_tp_doc, "A frame that arrived."},
    {0, NULL},
};

PyObject *jbuf_make_rtp_frame(PyObject *datagram, uint64_t lseq)
{
    const char *bytes = PyBytes_AsString(datagram);
    rtp_frame_t *frame = allocate(JBUF_RTP_FRAME);
    rtp_frame_union_t *both = frame ? allocate_zeroed(JBUF_RTP_FRAME_UNION, sizeof *both) : NULL;
    rtp_packet_t *packet = both ? allocate(JBUF_RTP_PACKET) : NULL;
    PyObject *info =
        packet ? make_info((const uint8_t *)bytes, (size_t)PyBytes_Size(datagram)) : NULL;
    if (info == NULL) {
        Py_XDECREF((PyObject *)packet);
        Py_XDECREF((PyObject *)both);
        Py_XDECREF((PyObject *)frame);
        return NULL;
    }
    packet->info = info;
    packet->lseq = lseq;
    packet->data = (uintptr_t)bytes;
    both->ers = Py_NewRef(Py_None);
    both->rtp = (PyObject *)packet;
    frame->type = TYPE_RTP;
    frame->frame = (PyObject *)both;
    return (PyObject *)frame;
}

/* --- ERSFrame ------------------------------------------------------------------------------- */

static PyObject *ers_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)type;
    (void)kwargs;
    ers_frame_t *self = new_empty(JBUF_ERS_FRAME, sizeof *self, args);
    if (self)
        self->type = TYPE_ERS;
    return (PyObject *)self;
}

static void ers_dealloc(PyObject *self)
{
    release(JBUF_ERS_FRAME, self, NULL);
}

static PyMemberDef ers_members[] = {
    {"lseq_start", T_ULONGLONG, offsetof(ers_frame_t, lseq_start), READONLY,
     "the first missing, extended sequence number"},
    {"lseq_end", T_ULONGLONG, offsetof(ers_frame_t, lseq_end), READONLY, "the last missing"},
    {"ts_diff", T_UINT, offsetof(ers_frame_t, ts_diff), READONLY,
     "units of the RTP timestamp that belong to the missing frames"},
    {"type", T_INT, offsetof(ers_frame_t, type), READONLY, "RTPFrameType.ERS"},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot ers_slots[] = {
    {Py_tp_new, ers_new},
    {Py_tp_dealloc, ers_dealloc},
    {Py_tp_members, ers_members},
    {Py_tp_doc, "Frames that count as lost."},
    {0, NULL},
};

PyObject *jbuf_make_ers_frame(const rtp_jbuf_erasure_t *erasure)
{
    ers_frame_t *self = allocate(JBUF_ERS_FRAME);
    if (self == NULL)
        return NULL;
    self->lseq_start = erasure->first;
    self->lseq_end = erasure->last;
    self->ts_diff = erasure->ts_diff;
    self->type = TYPE_ERS;
    return (PyObject *)self;
}

/* -------------------------------------------------------------------------------------------- */

#define CONTENT(class_name, struct_name, slot_array)                                 \
    {                                                                                \
        .name = "rtpsynth.RtpJBuf." class_name, .basicsize = sizeof(struct_name),    \
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE, .slots = slot_array, \
    }

static struct {
    jbuf_class_t which;
    PyType_Spec spec;
} contents[] = {
    {JBUF_RTP_INFO, CONTENT("RTPInfo", rtp_info_t, info_slots)},
    {JBUF_RTP_PACKET, CONTENT("RTPPacket", rtp_packet_t, packet_slots)},
    {JBUF_RTP_FRAME_UNION, CONTENT("RTPFrameUnion", rtp_frame_union_t, union_slots)},
    {JBUF_RTP_FRAME, CONTENT("RTPFrame", rtp_frame_t, frame_slots)},
    {JBUF_ERS_FRAME, CONTENT("ERSFrame", ers_frame_t, ers_slots)},
};

int jbuf_content_init(PyObject *module)
{
    for (size_t i = 0; i < sizeof contents / sizeof *contents; i++) {
        PyTypeObject *type = (PyTypeObject *)PyType_FromSpec(&contents[i].spec);
        if (type == NULL || PyModule_AddType(module, type) < 0)
            return -1;
        types[contents[i].which] = type;
    }
    return 0;
}
