"""RtpJBuf.udp_in_many, flush_many, drain_many: shapes, numbers, errors that change nothing."""

from __future__ import annotations

import subprocess
import sys
from array import array

import numpy as np
import pytest

from rtpsynth.RtpJBuf import EVENT_FIELDS, EVENT_STRUCT, JBufEvent, RtpJBuf, event_dtype

COUNT = 5
SIZE = 20


@pytest.fixture(scope="module")
def packets(rtp_jbuf_model):
    """Five datagrams of 20 bytes, numbers 0 to 4."""
    return [rtp_jbuf_model.datagram(seq, payload=bytes([seq]) * 8) for seq in range(COUNT)]


@pytest.fixture(scope="module")
def datagram(rtp_jbuf_model):
    return rtp_jbuf_model.datagram


def in_order(events):
    assert events.dtype == event_dtype()
    return events["item"].tolist() == events["lseq"].tolist() == list(range(COUNT))


# --- forms


def test_event_rows():
    assert event_dtype().itemsize == EVENT_STRUCT.size == 24
    assert event_dtype().names == EVENT_FIELDS
    assert (JBufEvent.FRAME, JBufEvent.ERASURE, JBufEvent.DROPPED, JBufEvent.ERROR) == (0, 1, 2, 3)


def forms(packets):
    whole = b"".join(packets)
    flat = np.frombuffer(whole, np.uint8)
    wide = np.zeros((COUNT, SIZE + 7), np.uint8)
    wide[:, :SIZE] = flat.reshape(COUNT, SIZE)
    sizes = [SIZE] * COUNT
    starts = np.arange(COUNT) * SIZE
    yield "list", (packets,), {}
    yield "tuple", (tuple(packets),), {}
    yield "generator", (iter(packets),), {}
    yield "other objects", ([bytearray(packets[0]), memoryview(packets[1]), *packets[2:]],), {}
    yield "sizes as a list", (whole, sizes), {}
    yield "sizes as a generator", (whole, iter(sizes)), {}
    for code in "bBhHiIlLqQ":
        yield f"sizes as array {code}", (bytearray(whole), array(code, sizes)), {}
    yield "sizes by name", (memoryview(whole),), {"sizes": np.array(sizes)}
    yield "stride", (whole,), {"stride": SIZE}
    yield "rows", (flat.reshape(COUNT, SIZE),), {}
    yield "one size", (whole, SIZE), {}
    yield "one size and offsets", (whole, SIZE), {"offsets": starts}
    yield "one size in each row", (wide, SIZE), {}
    yield "one size and stride", (wide.ravel(), SIZE), {"stride": SIZE + 7}
    yield "rows of words", (flat.reshape(COUNT, SIZE).view(np.uint32),), {}
    yield "rows with sizes", (wide, sizes), {}
    yield "stride with sizes", (wide.ravel(), sizes), {"stride": SIZE + 7}
    yield "offsets", (whole, sizes), {"offsets": starts}
    yield "offsets as a list", (wide.ravel(), sizes), {"offsets": list(range(0, 135, 27))}
    yield "strided offsets", (whole, sizes), {"offsets": np.repeat(starts, 2)[::2]}


def test_every_form(packets):
    for name, args, options in forms(packets):
        buffer = RtpJBuf(5)
        assert in_order(buffer.udp_in_many(*args, **options)), name
        assert (buffer.offered, buffer.held) == (COUNT, 0), name


def test_offsets_may_overlap_and_stand_in_any_order(packets):
    whole = b"".join(packets)
    starts = [0, 2 * SIZE, SIZE, SIZE, 0]
    events = RtpJBuf(9).udp_in_many(whole, [SIZE, SIZE, SIZE, SIZE, 11], offsets=starts)
    rows = [(row["kind"], row["item"], row["error"]) for row in events]
    assert rows == [
        (JBufEvent.FRAME, 0, 0),
        (JBufEvent.FRAME, 2, 0),
        (JBufEvent.FRAME, 1, 0),
        (JBufEvent.DROPPED, 3, 0),
        (JBufEvent.ERROR, 4, -1),
    ]


@pytest.mark.parametrize(
    ("args", "options"),
    [
        (([],), {}),
        ((b"", []), {}),
        ((b"", np.array([], np.int64)), {"offsets": np.array([], np.int64)}),
        ((np.zeros((0, 20), np.uint8),), {}),
        ((b"",), {"stride": 20}),
    ],
)
def test_none_at_all(args, options):
    events = RtpJBuf(5).udp_in_many(*args, **options)
    assert (len(events), events.dtype) == (0, event_dtype())


def test_empty_datagrams_are_errors():
    for args, options in [
        (([b"", b""],), {}),
        ((b"", [0, 0]), {}),
        ((b"", [0, 0]), {"offsets": [0, 0]}),
    ]:
        events = RtpJBuf(5).udp_in_many(*args, **options)
        assert events["error"].tolist() == [-1, -1]


# --- events and numbers


def test_each_kind_of_event(datagram):
    buffer = RtpJBuf(2)
    buffer.udp_in(datagram(0))
    stream = [datagram(3, 999), b"short", datagram(0, 7), datagram(4)]
    events = buffer.udp_in_many(stream)
    expected = [
        (JBufEvent.ERROR, 0, 2, 0, -1),
        (JBufEvent.DROPPED, 0, 3, 7, 0),
        (JBufEvent.DROPPED, 3, 1, 999, 0),
    ]
    got = [(e["kind"], e["lseq"], e["item"], e["ts"], e["error"]) for e in events]
    assert got == expected
    events = buffer.udp_in_many([datagram(5)])
    got = [(e["kind"], e["lseq"], e["item"], e["ts"], e["error"]) for e in events]
    assert got == [
        (JBufEvent.ERASURE, 1, 3, 480, 0),
        (JBufEvent.FRAME, 4, 4, 640, 0),
        (JBufEvent.FRAME, 5, 5, 800, 0),
    ]


def test_numbers_count_all_that_was_offered(datagram):
    buffer = RtpJBuf(9)
    buffer.udp_in_many([datagram(0), datagram(2)])
    buffer.udp_in(datagram(4), "by udp_in")
    assert buffer.offered == 3
    events = buffer.udp_in_many([b"", datagram(3), datagram(1)])
    frames = events[events["kind"] == JBufEvent.FRAME]
    assert frames["lseq"].tolist() == [1, 2, 3, 4]
    assert frames["item"].tolist() == [5, 1, 4, 2]


def test_frames_of_a_batch_that_wait_keep_a_copy(datagram):
    buffer = RtpJBuf(9)
    batch = bytearray(datagram(0) + datagram(2, payload=b"two"))
    buffer.udp_in_many(batch, [12, 15])
    batch[:] = bytes(27)
    one, two = buffer.udp_in(datagram(1), "one")
    assert (one.opaque, two.opaque) == ("one", None)
    assert two.data == datagram(2, payload=b"two")
    assert (two.rtp_data, two.content.frame.rtp.info.nsamples) == (b"two", 3)


@pytest.mark.parametrize("capacity", [0, 200, 2**32 - 1])
def test_more_frames_wait_than_there_was_room_for_at_first(datagram, capacity):
    buffer = RtpJBuf(capacity)
    count = 199
    assert len(buffer.udp_in_many([datagram(seq) for seq in range(1, count + 1)])) == 0
    assert buffer.held == count
    buffer.udp_in_many([datagram(0)])
    events = buffer.drain_many()
    assert events["lseq"].tolist() == list(range(0 if buffer.capacity != 200 else 200, 200))


def test_flush_many_and_drain_many(datagram):
    def filled():
        buffer = RtpJBuf(9)
        buffer.udp_in_many([datagram(seq) for seq in (0, 2, 3, 5, 8)])
        return buffer

    def rows(events):
        return [(e["kind"], e["lseq"], e["item"]) for e in events]

    buffer = filled()
    dropped = [(JBufEvent.DROPPED, 5, 3), (JBufEvent.DROPPED, 2, 1), (JBufEvent.DROPPED, 3, 2)]
    expected = [*dropped, (JBufEvent.ERASURE, 1, 7), (JBufEvent.FRAME, 8, 4)]
    assert rows(buffer.flush_many()) == expected
    assert buffer.dropped == 3

    buffer = filled()
    out = np.zeros(20, event_dtype())
    assert rows(out[: buffer.drain_many(out=out)]) == [
        (JBufEvent.ERASURE, 1, 1),
        (JBufEvent.FRAME, 2, 1),
        (JBufEvent.FRAME, 3, 2),
        (JBufEvent.ERASURE, 4, 4),
        (JBufEvent.FRAME, 5, 3),
        (JBufEvent.ERASURE, 6, 7),
        (JBufEvent.FRAME, 8, 4),
    ]
    for empty in (buffer.flush_many, buffer.drain_many):
        assert len(empty()) == 0
        assert empty(out=out) == 0


# --- out


def test_out_may_be_any_writable_buffer(packets):
    for out in (np.zeros(99, event_dtype()), bytearray(24 * 99), array("Q", [0] * 3 * 99)):
        buffer = RtpJBuf(5)
        count = buffer.udp_in_many(packets, out=out)
        assert count == COUNT
        assert in_order(np.frombuffer(out, event_dtype(), count))


def test_out_too_small_is_refused_before_anything_changes(datagram):
    buffer = RtpJBuf(9)
    buffer.udp_in_many([datagram(2), datagram(4)])
    out = np.zeros(2 * 3 + 2 + 4, event_dtype())
    stream = [datagram(1), datagram(6), datagram(8)]
    with pytest.raises(ValueError, match=r"^out has room for 11 events, 12 could come"):
        buffer.udp_in_many(stream, out=out[:-1])
    assert (buffer.offered, buffer.held) == (2, 2)
    assert buffer.udp_in_many(stream, out=out) == 0
    with pytest.raises(ValueError, match="out has room for 1 events"):
        buffer.flush_many(out=out[:1])
    assert buffer.held == 5


def test_the_worst_case_fits(datagram):
    """An erasure for each datagram, and everything that waited."""
    buffer = RtpJBuf(2)
    stream = [datagram(seq) for seq in range(10, 1000, 2)]
    out = np.zeros(2 * len(stream) + 4, event_dtype())
    assert buffer.udp_in_many(stream, out=out) == 2 * (len(stream) - 1) - 1
    assert buffer.held == 1


@pytest.mark.parametrize("out", [b"", bytes(2400), 5, "text", np.zeros(99, event_dtype())[::2]])
def test_out_of_the_wrong_kind(packets, out):
    buffer = RtpJBuf(5)
    with pytest.raises((TypeError, ValueError, BufferError)):
        buffer.udp_in_many(packets, out=out)
    assert buffer.offered == 0


def test_out_must_be_aligned(packets):
    out = memoryview(bytearray(24 * 99 + 8))[1:]
    with pytest.raises(ValueError, match="out must begin at a multiple of 8 bytes"):
        RtpJBuf(5).udp_in_many(packets, out=out)


# --- refusals


@pytest.mark.parametrize(
    ("args", "options", "error", "text"),
    [
        ((), {}, TypeError, "missing required argument|argument 'data'|positional"),
        ((bytes(40),), {}, TypeError, "a buffer must be split into datagrams"),
        ((bytes(40),), {"offsets": [0, 20]}, TypeError, "offsets= needs sizes="),
        (
            (bytes(40), [20, 20]),
            {"offsets": [0, 20], "stride": 20},
            TypeError,
            "stride=, or offsets= and sizes=",
        ),
        (([bytes(20)], [20]), {}, TypeError, "go with one buffer"),
        (([bytes(20)],), {"stride": 20}, TypeError, "go with one buffer"),
        (([bytes(20)],), {"offsets": [0]}, TypeError, "go with one buffer"),
        ((["text"],), {}, TypeError, "cannot convert 'str' object to bytes"),
        ("text", {}, TypeError, "takes at most|cannot convert"),
        ((5,), {}, TypeError, "not iterable"),
        ((bytes(40), [20.0, 20]), {}, TypeError, "integer"),
        ((bytes(40), ["20"]), {}, TypeError, "integer"),
        ((bytes(40), np.array([20.0, 20.0])), {}, TypeError, "sizes is an array of format 'd'"),
        ((bytes(40), np.array([[20], [20]])), {}, TypeError, "with 2 dimensions"),
        ((bytes(40), [20, 2**70]), {}, OverflowError, "too large|too big"),
        ((bytes(40), [20, 2**63 - 1]), {}, ValueError, "is not inside its 40 bytes"),
        ((bytes(40), np.array([20, 2**64 - 1], np.uint64)), {}, ValueError, "is not inside"),
        ((bytes(40), [20, -1]), {}, ValueError, "is not inside"),
        ((bytes(40), [20, 21]), {}, ValueError, r"datagram 1 \(offset 20, size 21\)"),
        ((bytes(40), [20, 19]), {}, ValueError, "sizes add up to 39, the buffer has 40 bytes"),
        ((bytes(40), [20]), {"offsets": [0, 20]}, ValueError, "sizes has 1 entries for 2"),
        ((bytes(40), [20]), {"offsets": [21]}, ValueError, "offset 21, size 20"),
        ((bytes(40), [20]), {"offsets": [-1]}, ValueError, "offset -1, size 20"),
        ((bytes(40), [1]), {"offsets": [2**63 - 1]}, ValueError, "is not inside"),
        ((bytes(40), [20]), {"stride": 20}, ValueError, "sizes has 1 entries for 2"),
        ((bytes(40), [20, 21]), {"stride": 20}, ValueError, "is not inside its 20 bytes"),
        ((bytes(40),), {"stride": 19}, ValueError, "not a multiple of the stride or size 19"),
        ((bytes(40),), {"stride": 0}, ValueError, "not a multiple"),
        ((bytes(40),), {"stride": -20}, ValueError, "not a multiple"),
        ((bytes(40),), {"stride": 2**70}, OverflowError, "cannot fit"),
        ((bytes(40),), {"stride": 20.0}, TypeError, "integer"),
        ((np.zeros((2, 20, 2), np.uint8),), {}, TypeError, "must be split"),
        ((np.zeros((20, 2), np.uint8).T,), {}, (ValueError, BufferError), "contiguous"),
        ((bytes(40), 19), {}, ValueError, "not a multiple of the stride or size 19"),
        ((bytes(40), 0), {}, ValueError, "not a multiple"),
        ((bytes(40), -1), {}, ValueError, "not a multiple"),
        ((bytes(40), 21), {"stride": 20}, ValueError, "is not inside its 20 bytes"),
        ((bytes(40), 20), {"offsets": [0, 21]}, ValueError, "offset 21, size 20"),
        ((bytes(40), 2**70), {}, OverflowError, "too large|too big"),
        ((bytes(40), None, None), {}, TypeError, "positional"),
    ],
)
def test_refusals_change_nothing(args, options, error, text):
    buffer = RtpJBuf(5)
    with pytest.raises(error, match=text):
        buffer.udp_in_many(*args, **options)
    assert (buffer.offered, buffer.held) == (0, 0)


@pytest.mark.parametrize("broken", [RuntimeError, MemoryError])
def test_an_object_that_cannot_be_converted(packets, broken):
    class Broken:
        def __bytes__(self):
            raise broken

    buffer = RtpJBuf(5)
    with pytest.raises(broken):
        buffer.udp_in_many([*packets, Broken()])
    assert buffer.offered == 0


def test_without_numpy():
    code = """
import struct
import sys
sys.modules["numpy"] = None
from rtpsynth.RtpJBuf import *

packets = [struct.pack("!BBHII", 0x80, 0, seq, 0, 0) for seq in range(3)]
buffer = RtpJBuf(5)
events = buffer.udp_in_many(packets)
assert type(events) is bytearray
assert [event[0] for event in EVENT_STRUCT.iter_unpack(events)] == [0, 1, 2]
out = bytearray(EVENT_STRUCT.size * 20)
assert buffer.udp_in_many(packets, out=out) == 3
assert EVENT_STRUCT.unpack_from(out, 24) == (1, 4, 0, JBufEvent.DROPPED, 0)
try:
    event_dtype()
except ImportError:
    print("ok")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr
