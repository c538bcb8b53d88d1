"""RtpJBuf.udp_in_many, flush_many, drain_many: shapes, numbers, errors that change nothing."""

# A row of a table is a line, or two.
# ruff: noqa: E501

from __future__ import annotations

import ast
import re
import subprocess
import sys
from array import array

import numpy as np
import pytest
from kit.calls import gives, outcome, rows

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


# --- rows

# b: a buffer of 5, big: one of 9; d: datagram, packets: five of 20 bytes, out(n): a table of n events.
# shown(events): kind, lseq, item, ts and error of each.
REFUSALS = [
    (f"{args} is refused, and changes nothing", f"[told(b.udp_in_many, {args}), b.offered, b.held]", error) for args, error in (
        ("", "TypeError: .*(missing required argument|argument 'data'|positional).*"),
        ("bytes(40)", "TypeError: .*a buffer must be split into datagrams.*"),
        ("bytes(40), offsets=[0, 20]", "TypeError: .*offsets= needs sizes=.*"),
        ("bytes(40), [20, 20], offsets=[0, 20], stride=20", "TypeError: .*stride=, or offsets= and sizes=.*"),
        ("[bytes(20)], [20]", "TypeError: .*go with one buffer.*"),
        ("[bytes(20)], stride=20", "TypeError: .*go with one buffer.*"),
        ("[bytes(20)], offsets=[0]", "TypeError: .*go with one buffer.*"),
        ("['text']", "TypeError: .*cannot convert 'str' object to bytes.*"),
        ("'text'", "TypeError: .*cannot convert 'str' object to bytes.*"),
        ("5", "TypeError: .*not iterable.*"),
        ("bytes(40), [20.0, 20]", "TypeError: .*integer.*"),
        ("bytes(40), ['20']", "TypeError: .*integer.*"),
        ("bytes(40), np.array([20.0, 20.0])", "TypeError: .*sizes is an array of format 'd'.*"),
        ("bytes(40), np.array([[20], [20]])", "TypeError: .*with 2 dimensions.*"),
        ("bytes(40), [20, 2**70]", "OverflowError: .*too (large|big).*"),
        ("bytes(40), [20, 2**63 - 1]", "ValueError: .*is not inside its 40 bytes.*"),
        ("bytes(40), np.array([20, 2**64 - 1], np.uint64)", "ValueError: .*is not inside.*"),
        ("bytes(40), [20, -1]", "ValueError: .*is not inside.*"),
        ("bytes(40), [20, 21]", r"ValueError: .*datagram 1 \(offset 20, size 21\).*"),
        ("bytes(40), [20, 19]", "ValueError: .*sizes add up to 39, the buffer has 40 bytes.*"),
        ("bytes(40), [20], offsets=[0, 20]", "ValueError: .*sizes has 1 entries for 2.*"),
        ("bytes(40), [20], offsets=[21]", "ValueError: .*offset 21, size 20.*"),
        ("bytes(40), [20], offsets=[-1]", "ValueError: .*offset -1, size 20.*"),
        ("bytes(40), [1], offsets=[2**63 - 1]", "ValueError: .*is not inside.*"),
        ("bytes(40), [20], stride=20", "ValueError: .*sizes has 1 entries for 2.*"),
        ("bytes(40), [20, 21], stride=20", "ValueError: .*is not inside its 20 bytes.*"),
        ("bytes(40), stride=19", "ValueError: .*not a multiple of the stride or size 19.*"),
        ("bytes(40), stride=0", "ValueError: .*not a multiple.*"),
        ("bytes(40), stride=-20", "ValueError: .*not a multiple.*"),
        ("bytes(40), stride=2**70", "OverflowError: .*cannot fit.*"),
        ("bytes(40), stride=20.0", "TypeError: .*integer.*"),
        ("np.zeros((2, 20, 2), np.uint8)", "TypeError: .*must be split.*"),
        ("np.zeros((20, 2), np.uint8).T", "(ValueError|BufferError): .*contiguous.*"),
        ("bytes(40), 19", "ValueError: .*not a multiple of the stride or size 19.*"),
        ("bytes(40), 0", "ValueError: .*not a multiple.*"),
        ("bytes(40), -1", "ValueError: .*not a multiple.*"),
        ("bytes(40), 21, stride=20", "ValueError: .*is not inside its 20 bytes.*"),
        ("bytes(40), 20, offsets=[0, 21]", "ValueError: .*offset 21, size 20.*"),
        ("bytes(40), 2**70", "OverflowError: .*too (large|big).*"),
        ("bytes(40), None, None", "TypeError: .*positional.*"),
        *((f"packets, out={wrong}", "(TypeError|ValueError|BufferError): .*") for wrong in ("b''", "bytes(2400)", "5", "'text'", "out(99)[::2]")),
        ("packets, out=memoryview(bytearray(24 * 99 + 8))[1:]", "ValueError: out must begin at a multiple of 8 bytes.*"),
    )
]  # fmt: skip
EVENTS = [
    *[(f"none at all: {args}", f"x = b.udp_in_many({args}); [len(x), x.dtype == event_dtype()]", "[0, True]")
      for args in ("[]", "b'', []", "b'', np.array([], np.int64), offsets=np.array([], np.int64)", "np.zeros((0, 20), np.uint8)", "b'', stride=20")],
    *[(f"empty datagrams are errors: {args}", f"b.udp_in_many({args})['error'].tolist()", "[-1, -1]") for args in ("[b'', b'']", "b'', [0, 0]", "b'', [0, 0], offsets=[0, 0]")],
    ("offsets may overlap, and stand in any order",
     "x = big.udp_in_many(b''.join(packets), [20, 20, 20, 20, 11], offsets=[0, 40, 20, 20, 0]); x[['kind', 'item', 'error']].tolist()",
     "[(0, 0, 0), (0, 2, 0), (0, 1, 0), (2, 3, 0), (3, 4, -1)]"),
    ("each kind of event",
     "b = RtpJBuf(2); b.udp_in(d(0)); [shown(b.udp_in_many([d(3, 999), b'short', d(0, 7), d(4)])), shown(b.udp_in_many([d(5)]))]",
     "[[(3, 0, 2, 0, -1), (2, 0, 3, 7, 0), (2, 3, 1, 999, 0)], [(1, 1, 3, 480, 0), (0, 4, 4, 640, 0), (0, 5, 5, 800, 0)]]"),
    ("numbers count all that was offered",
     "big.udp_in_many([d(0), d(2)]); big.udp_in(d(4), 'by udp_in'); n = big.offered; x = big.udp_in_many([b'', d(3), d(1)]); [n, x[x['kind'] == 0][['lseq', 'item']].tolist()]",
     "[3, [(1, 5), (2, 1), (3, 4), (4, 2)]]"),
    ("frames of a batch that wait keep a copy",
     "x = bytearray(d(0) + d(2, payload=b'two')); big.udp_in_many(x, [12, 15]); x[:] = bytes(27); one, two = big.udp_in(d(1), 'one');"
     "[one.opaque, two.opaque, two.data == d(2, payload=b'two'), two.rtp_data, two.content.frame.rtp.info.nsamples]", "['one', None, True, b'two', 3]"),
    *[(f"with a capacity of {capacity} more wait than there was room for at first",
       f"b = RtpJBuf({capacity}); x = [len(b.udp_in_many([d(n) for n in range(1, 200)])), b.held]; b.udp_in_many([d(0)]); [*x, b.drain_many()['lseq'].tolist() == list(range({first}, 200))]",
       "[0, 199, True]") for capacity, first in ((0, 0), (200, 200), (2**32 - 1, 0))],
    ("flush_many", "big.udp_in_many([d(n) for n in (0, 2, 3, 5, 8)]); [big.flush_many()[['kind', 'lseq', 'item']].tolist(), big.dropped, len(big.flush_many()), big.flush_many(out=out(9))]",
     "[[(2, 5, 3), (2, 2, 1), (2, 3, 2), (1, 1, 7), (0, 8, 4)], 3, 0, 0]"),
    ("drain_many",
     "big.udp_in_many([d(n) for n in (0, 2, 3, 5, 8)]); x = out(20); n = big.drain_many(out=x); [x[:n][['kind', 'lseq', 'item']].tolist(), len(big.drain_many()), big.drain_many(out=x)]",
     "[[(1, 1, 1), (0, 2, 1), (0, 3, 2), (1, 4, 4), (0, 5, 3), (1, 6, 7), (0, 8, 4)], 0, 0]"),
    *[(f"out may be {out}", f"x = {out}; n = b.udp_in_many(packets, out=x); [n, in_order(np.frombuffer(x, event_dtype(), n))]", "[5, True]")
      for out in ("out(99)", "bytearray(24 * 99)", "array('Q', [0] * 3 * 99)")],
    ("an out that is too small is refused before anything changes",
     "big.udp_in_many([d(2), d(4)]); x = out(12); new = [d(1), d(6), d(8)]; said = told(big.udp_in_many, new, out=x[:-1]); y = [big.offered, big.held, big.udp_in_many(new, out=x)];"
     "[said[:57], *y, told(big.flush_many, out=x[:1])[:39], big.held]", "['ValueError: out has room for 11 events, 12 could come: gi', 2, 2, 0, 'ValueError: out has room for 1 events, ', 5]"),
    ("the worst case fits: an erasure for each datagram, and everything that waited",
     "b = RtpJBuf(2); x = [d(n) for n in range(10, 1000, 2)]; [b.udp_in_many(x, out=out(2 * len(x) + 4)) == 2 * (len(x) - 1) - 1, b.held]", "[True, 1]"),
]  # fmt: skip


@pytest.fixture
def names(packets, datagram):
    def shown(events):
        return events[["kind", "lseq", "item", "ts", "error"]].tolist()

    made = {"RtpJBuf": RtpJBuf, "b": RtpJBuf(5), "big": RtpJBuf(9), "d": datagram, "np": np}
    made |= {"packets": packets, "event_dtype": event_dtype, "shown": shown, "array": array}
    return made | {"out": lambda n: np.zeros(n, event_dtype()), "in_order": in_order}


@rows(EVENTS)
def test_calls(steps, expected, names):
    gives(steps, expected, names)


@rows(REFUSALS)
def test_refusals_change_nothing(steps, expected, names):
    said, *left = ast.literal_eval(outcome(steps, names)[0])
    assert re.fullmatch(expected, said), steps
    assert left == [0, 0], steps


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


# --- refusals


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
