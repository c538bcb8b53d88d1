"""The jitter buffer: puts the RTP datagrams of one stream in order, and says what is missing.

    buffer = RtpJBuf(20)
    for frame in buffer.udp_in(datagram):
        if frame.content.type == RTPFrameType.ERS:
            conceal(frame.content.lseq_end - frame.content.lseq_start + 1)
        else:
            play(frame.rtp_data)

It does not use time. It delivers frames in order, waits at a gap until `capacity` frames have
arrived, and then declares the gap lost. At the start of a stream it collects `capacity` frames
first.

Many datagrams at once, without a Python object for each: `RtpJBuf.udp_in_many`,

    udp_in_many(data, sizes=None, *, offsets=None, stride=None, out=None)

data:
    a sequence of datagrams, each as `udp_in` takes it, or one buffer that holds them all and is
    divided by the other arguments. The buffer is not kept: frames that wait are copied.
sizes:
    size of each datagram in bytes: integers, as an array of any integer type or a sequence, or one
    int for all. Without offsets or stride the datagrams are consecutive and fill the buffer.
offsets:
    offset of each datagram in the buffer, bytes: an array or a sequence, as long as `sizes`.
    They may overlap and have any order.
stride:
    bytes from the beginning of one datagram to that of the next. The buffer size is a multiple of
    it. Without `sizes` each datagram fills its stride. A two-dimensional array needs no stride:
    each row is a datagram.
out:
    the buffer for events: a writable, C-contiguous buffer, such as a NumPy array of
    `event_dtype()`, with room for 2 events per datagram, 1 per frame held and 4 more.

It returns the events, in order: a NumPy array of `event_dtype()` (without NumPy a bytearray, see
`EVENT_STRUCT`), or, with `out`, the number of events written there. Fields of an event, by `kind`,
one of `JBufEvent`:

    ======= ============================ =============== ============= ===============
    field   FRAME                        ERASURE         DROPPED       ERROR
    ======= ============================ =============== ============= ===============
    lseq    its extended sequence number first missing   as FRAME      0
    item    number of the datagram       last missing    as FRAME      as FRAME
    ts      RTP timestamp                units missing   as FRAME      0
    error   0                            0               0             -7 to -1
    ======= ============================ =============== ============= ===============

Datagrams are numbered from 0 in the order in which either call passed them to the buffer. The first
one of a batch has the number that `RtpJBuf.offered` had before. Both calls may be mixed, and have
the same effect. A frame may enter by one and leave by the other: `udp_in` and `flush` then return
frames with a copy of their datagram and the opaque None. `udp_in_many` returns the number of the
datagram, and the buffer's references to it and to its opaque end.

Errors do not change the buffer: TypeError (arguments that do not match, or are not integers),
ValueError (a datagram outside the buffer, wrong counts, `out` too small), OverflowError,
BufferError, RuntimeError (`__init__` did not run). MemoryError can occur later. Then waiting
frames are dropped and counted. `flush_many` and `drain_many` are `flush` and `drain` with
events.
"""

from __future__ import annotations

import functools
import struct
from typing import Any

from rtpsynth._core import (
    ERSFrame,
    FrameWrapper,
    RTPFrame,
    RTPFrameUnion,
    RTPInfo,
    RtpJBuf,
    RTPPacket,
    RTPParseError,
)
from rtpsynth._core import _get_dealloc_counting as _get_dealloc_counting
from rtpsynth._core import _get_dealloc_counts as _get_dealloc_counts
from rtpsynth._core import _reset_dealloc_counts as _reset_dealloc_counts
from rtpsynth._core import _set_dealloc_counting as _set_dealloc_counting
from shmring.extras import missing

__all__ = [
    "EVENT_FIELDS",
    "EVENT_STRUCT",
    "RJB_ENOMEM",
    "RTP_PARSER_OK",
    "ERSFrame",
    "FrameWrapper",
    "JBufEvent",
    "RTPFrame",
    "RTPFrameType",
    "RTPFrameUnion",
    "RTPInfo",
    "RTPPacket",
    "RTPParseError",
    "RtpJBuf",
    "event_dtype",
]

RTP_PARSER_OK = 1
RJB_ENOMEM = -1007
"""The number in a `RTPParseError` for lack of memory."""

EVENT_FIELDS = ("lseq", "item", "ts", "kind", "error")
"""Names of the values that `EVENT_STRUCT` unpacks an event into."""

EVENT_STRUCT = struct.Struct("=QQIBb2x")
"""An event without NumPy."""


class RTPFrameType:
    """Values of ``FrameWrapper.content.type``."""

    RTP = 0
    ERS = 1


class JBufEvent:
    """Values of the field `kind` of an event."""

    FRAME = 0
    ERASURE = 1
    DROPPED = 2
    ERROR = 3


@functools.cache
def event_dtype() -> Any:
    """The NumPy type of an event. Raises ImportError without NumPy."""
    try:
        import numpy as np
    except ModuleNotFoundError:
        raise missing("numpy", "numpy", "the array of events") from None

    formats = ["u8", "u8", "u4", "u1", "i1"]
    return np.dtype({"names": EVENT_FIELDS, "formats": formats, "itemsize": EVENT_STRUCT.size})


# Called from jbuf_many.c.
def _make_rows(count: int) -> Any:  # pyright: ignore[reportUnusedFunction]
    """Return room for this number of events. Called before any datagram is taken."""
    try:
        import numpy as np
    except ImportError:
        return bytearray(count * EVENT_STRUCT.size)
    return np.empty(count, event_dtype())
