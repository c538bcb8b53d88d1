"""RtpJBuf: names, arguments, errors, and each rule of the buffer by an example."""

# A row of a table is a line, or two.
# ruff: noqa: E501

from __future__ import annotations

import ctypes
import re
import subprocess
import sys
import threading

import pytest
from kit.calls import gives, rows

import rtpsynth.RtpJBuf as module
from rtpsynth.RtpJBuf import (
    ERSFrame,
    FrameWrapper,
    RTPFrame,
    RTPFrameType,
    RTPFrameUnion,
    RTPInfo,
    RtpJBuf,
    RTPPacket,
    RTPParseError,
)

PLAIN_CLASSES = [FrameWrapper, RTPFrame, RTPFrameUnion, RTPPacket, RTPInfo, ERSFrame]
CLASSES = [*PLAIN_CLASSES, RtpJBuf]


@pytest.fixture(scope="module")
def datagram(rtp_jbuf_model):
    return rtp_jbuf_model.datagram


# --- rows

# feed(buffer, number...): what each number brings, as short("frames"): "1-3 4" is an erasure and a
# frame, and "." is nothing. b: a buffer of 5.
ARGUMENTS = [
    ("constants", "[module.RTP_PARSER_OK, module.RJB_ENOMEM, RTPFrameType.RTP, RTPFrameType.ERS]", "[1, -1007, 0, 1]"),
    ("the error of the parser is a direct exception", "RTPParseError.__bases__", "(<class 'Exception'>,)"),
    *[(f"RtpJBuf({args})", f"RtpJBuf({args})", f"TypeError: RtpJBuf() takes exactly 1 argument ({given} given)")
      for args, given in (("", 0), ("1, 2", 2), ("capacity=3", 0), ("1, 2, capacity=3", 2))],
    *[(f"a capacity of {n}", f"RtpJBuf({n}, ignored=1).capacity == {n}", "True") for n in (0, 1, 2, 2**31, 2**32 - 1, True)],
    *[(f"a capacity of {n}", f"RtpJBuf({n})", f"ValueError: capacity is {n} frames: it must be between 0") for n in (-1, 2**32, -(2**70), 2**70)],
    *[(f"a capacity of {n!r}", f"RtpJBuf({n!r})", "TypeError: cannot be interpreted as an integer") for n in ("3", 2.0, None)],
    *[(f"without init: {call}", f"RtpJBuf.__new__(RtpJBuf).{call}", "RuntimeError: RtpJBuf handle is not initialized")
      for call in ("udp_in(b'')", "flush()", "drain()", "udp_in_many([])", "flush_many()", "drain_many()")],
    ("another init begins anew, and one that fails changes nothing",
     "b = RtpJBuf(3); feed(b, 0, 1, 5, 5); x = [told(b.__init__, -1)[:20], b.held, b.dropped, b.capacity]; b.__init__(7); [*x, b.held, b.dropped, b.capacity, feed(b, 0)]",
     "['ValueError: capacity', 1, 1, 3, 0, 0, 7, '0']"),
    *[(f"udp_in({args})", f"[told(b.udp_in, {args}), b.offered]", str([error, 0])) for args, error in (
        ("", "TypeError: udp_in() takes at least 1 argument (0 given)"), ("datagram(0), 1, 2", "TypeError: udp_in() takes at most 2 arguments (3 given)"),
        ("'text'", "TypeError: cannot convert 'str' object to bytes"), ("12", "TypeError: cannot convert 'int' object to bytes"),
        ("None", "TypeError: cannot convert 'NoneType' object to bytes"), ("1.5", "TypeError: cannot convert 'float' object to bytes"))],
    ("udp_in by name", "b.udp_in(datagram(0), opaque=1)", "TypeError: no keyword arguments"),
    ("flush of something", "b.flush(1)", "TypeError"),
    ("opaque is None by default", "b.udp_in(datagram(0))[0].opaque", "None"),
    *[(f"error {code} of {data}", f"[told(b.udp_in, {data}), b.dropped, b.counters['parse_errors']]", f"['RTPParseError: rtpjbuf_udp_in(): error {code}', 0, 1]")
      for data, code in (("b''", -1), ("bytes(11)", -1), ("bytes(12)", -2), ("b'\\xa0' + bytes(12)", -7))],
    ("an empty wrapper", "x = FrameWrapper(); [x.content, x.data, x.rtp_data, x.opaque, str(x), repr(x)]", "[None, None, None, None, 'FrameWrapper', 'FrameWrapper']"),
    ("an empty frame and union", "[RTPFrame().type, RTPFrame().frame, RTPFrameUnion().rtp, RTPFrameUnion().ers]", "[0, None, None, None]"),
    ("an empty packet", "x = RTPPacket(); [x.lseq, x.data, type(x.info) is RTPInfo, x.info is x.info, x.info is RTPPacket().info]", "[0, 0, True, True, False]"),
    *[(f"an empty {what}", f"x = {what}; [x.data_size, x.data_offset, x.nsamples, x.ts, x.seq, x.ssrc, x.rtp_profile, x.appendable]", "[0, 0, 0, 0, 0, 0, 0, False]")
      for what in ("RTPInfo()", "RTPPacket().info")],
    ("an empty erasure", "x = ERSFrame(); [x.lseq_start, x.lseq_end, x.ts_diff, x.type]", "[0, 0, 0, 1]"),
]  # fmt: skip
RULES = [
    ("warm-up collects `capacity` frames, and sorts them", "feed(RtpJBuf(4), 12, 10, 13, 11)", "'. . . 10,11,12,13'"),
    ("warm-up ends at once with number 0", "feed(RtpJBuf(4), 0, 1, 2)", "'0 1 2'"),
    ("the first release has no erasure, and stops at a gap", "b = RtpJBuf(3); [feed(b, 10, 11, 20), b.held]", "['. . 10,11', 1]"),
    ("a gap is lost when the buffer is full, and only the first", "feed(RtpJBuf(4), 0, 2, 3, 6, 7)", "'0 . . . 1-1,2,3'"),
    ("what fills the gap releases all behind it", "feed(RtpJBuf(9), 0, 2, 3, 1)", "'0 . . 1,2,3'"),
    ("late and duplicate frames are dropped",
     "[feed(b, 0, 1, 2, 2, 1, 4, 4), b.counters['duplicates'], b.counters['late'], b.dropped]", "['0 1 2 . . . .', 2, 1, 3]"),
    ("a frame far ahead is purged when it has blocked the tail too long",
     "b = RtpJBuf(3); state = lambda: (b.held, b.counters['purged'], b.dropped); [feed(b, 0, 2, 3000), feed(b, 0, 0), state(), feed(b, 0), state(), feed(b, 3), feed(b, 4)]",
     "['0 . .', '. .', (2, 0, 2), '.', (1, 1, 4), '.', '1-1,2,3,4']"),
    ("the purge comes before the parser", "b = RtpJBuf(2); b.udp_in(datagram(10)); [(told(b.udp_in, b'')[:13], b.dropped) for _ in range(2)]", "[('RTPParseError', 0), ('RTPParseError', 1)]"),
    ("the wrap", "feed(RtpJBuf(2), 65534, 65535, 0, 1, 65536 + 2)", "'. 65534,65535 65536 65537 65538'"),
    ("a straggler from before the wrap",
     "b = RtpJBuf(4); feed(b, 65530, 65531, 65532, 65533); [feed(b, 65535, 0, 65534), b.counters['wraps'], feed(b, 65533), b.counters['late']]", "['. . 65534,65535,65536', 1, '.', 1]"),
    ("one datagram moves the epoch for good",
     "b = RtpJBuf(4); feed(b, 65529, 65530, 65531, 65532); [feed(b, 500, 540, 65533), short(b.drain()), b.counters['wraps']]",
     "['. . .', '65533-66035,66036,66037-66075,66076,66077-131068,131069', 1]"),
    *[(f"{seq} at the beginning is late: it would be extended below 0", f"[feed(b, 0, {seq}, 1, {seq}, 2), b.dropped, b.counters['late'], b.counters['wraps']]", "['0 . 1 . 2', 2, 2, 0]")
      for seq in (65001, 65535)],
    *[(f"a stream may begin at {first}, just before the wrap",
       f"x = range({first}, {first} + 600); feed(RtpJBuf(3), *x).replace('. . ', '', 1).replace(',', ' ') == ' '.join(map(str, x))", "True") for first in (65001, 65535)],
    *[(f"a capacity of {capacity} does not forget what was released", f"b = RtpJBuf({capacity}); feed(b, 0, 5, 0, 0, 0); x = [b.held, b.dropped]; [x[0], feed(b, 0, 1), b.dropped - x[1]]", "[0, '. 1', 1]")
      for capacity in (1, 2)],
    ("capacity 0 waits for ever",
     "b = RtpJBuf(0); x = set(feed(b, *range(1, 1001)).split()); [x, b.held, feed(b, 0), short(b.flush()) == ','.join(map(str, range(1001)))]", "[{'.'}, 1000, '.', True]"),
    ("flush of an empty buffer changes nothing", "b = RtpJBuf(3); [b.flush(), feed(b, 0), b.flush(), feed(b, 1)]", "[[], '0', [], '1']"),
    ("flush gives the last run, and drops the others",
     "b = RtpJBuf(9); feed(b, 0, 2, 3, 5, 8, 9); [short(b.flush()), b.dropped, b.counters['flush_lost'], b.held, feed(b, 9, 10)]", "['1-7,8,9', 3, 3, 0, '. 10']"),
    ("flush in warm-up invents an erasure from 0",
     "b = RtpJBuf(9); b.udp_in(datagram(10, 1100)); x = b.flush(); [short(x), x[0].content.ts_diff == 1100 * 10 // 11]", "['0-9,10', True]"),
    ("drain gives everything", "b = RtpJBuf(9); feed(b, 0, 2, 3, 5, 8, 9); [short(b.drain()), b.dropped, b.held, b.drain()]", "['1-1,2,3,4-4,5,6-7,8,9', 0, 0, []]"),
    ("drain in warm-up invents nothing", "b = RtpJBuf(9); feed(b, 10, 12); short(b.drain())", "'10,11-11,12'"),
    ("the time of a long erasure is not cut: 20,000 frames of 160 units exceed 32 bits",
     "b = RtpJBuf(2); feed(b, 1, 2, 20003); b.udp_in(datagram(20004))[0].content.ts_diff == 20000 * 160", "True"),
]  # fmt: skip


def short(frames):
    numbers = [re.findall(r"\d+", str(frame)) for frame in frames]
    return ",".join("-".join(each) for each in numbers) or "."


@rows([*ARGUMENTS, *RULES])
def test_calls(steps, expected, datagram):
    def feed(buffer, *numbers):
        return " ".join(short(buffer.udp_in(datagram(seq))) for seq in numbers)

    names = vars(module) | {"module": module, "datagram": datagram, "short": short, "feed": feed}
    gives(steps, expected, names | {"b": RtpJBuf(5)})


# --- names


def test_everything_public_can_be_imported_at_once():
    names: dict[str, object] = {}
    exec("from rtpsynth.RtpJBuf import *", names)
    originals = {"ERSFrame", "FrameWrapper", "RJB_ENOMEM", "RTPFrame", "RTPFrameType"}
    originals |= {"RTPFrameUnion", "RTPInfo", "RTPPacket", "RTPParseError", "RTP_PARSER_OK"}
    assert originals | {"RtpJBuf"} < set(names)
    assert not [name for name in names if name.startswith("_") and name != "__builtins__"]


@pytest.mark.parametrize("cls", [*CLASSES, RTPParseError], ids=lambda cls: cls.__name__)
def test_classes_bear_the_name_of_their_module(cls):
    assert cls.__module__ == "rtpsynth.RtpJBuf"
    assert getattr(module, cls.__name__) is cls


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_classes_cannot_be_changed_or_derived_from(cls):
    with pytest.raises(TypeError, match="is not an acceptable base type"):
        type("Derived", (cls,), {})
    with pytest.raises(TypeError, match="immutable type"):
        cls.more = 1


# --- result classes without a buffer


@pytest.mark.parametrize("cls", PLAIN_CLASSES, ids=lambda cls: cls.__name__)
def test_results_take_no_arguments_and_cannot_be_written(cls):
    with pytest.raises(TypeError, match=rf"^{cls.__name__}\(\) takes no arguments$"):
        cls(1)
    made = cls()
    for name in [name for name in dir(cls) if not name.startswith("_")]:
        with pytest.raises(AttributeError):
            setattr(made, name, 1)
        getattr(made, name)
    with pytest.raises(AttributeError):
        made.more = 1
    assert made == made
    assert made != cls()


# --- udp_in: arguments and results


def test_bytes_are_kept_and_other_objects_converted(datagram):
    class Convertible:
        def __bytes__(self):
            return whole

    class Derived(bytes):
        pass

    whole = datagram(0)
    for data in (whole, Derived(whole)):
        (frame,) = RtpJBuf(5).udp_in(data)
        assert frame.data is data
    for data in (bytearray(whole), memoryview(whole), list(whole), Convertible()):
        (frame,) = RtpJBuf(5).udp_in(data)
        assert type(frame.data) is bytes
        assert frame.data == whole
    changing = bytearray(whole)
    (frame,) = RtpJBuf(5).udp_in(changing)
    changing[:] = bytes(12)
    assert frame.data == whole


def test_frame(datagram):
    data = datagram(0, 0x89ABCDEF, ssrc=0xFEDCBA98, payload=b"payload")
    opaque = object()
    (frame,) = RtpJBuf(5).udp_in(data, opaque)
    assert frame.data is data
    assert frame.opaque is opaque
    assert (str(frame), repr(frame)) == ("RTP_Frame(seq=0)", "RTP_Frame(seq=0)")
    assert frame.rtp_data == b"payload"
    assert frame.rtp_data is not frame.rtp_data

    content = frame.content
    assert type(content) is RTPFrame
    assert type(content.type) is int
    assert content.type == RTPFrameType.RTP
    assert type(content.frame) is RTPFrameUnion
    assert content.frame.ers is None
    packet = content.frame.rtp
    assert type(packet) is RTPPacket
    assert packet.lseq == 0
    assert ctypes.string_at(packet.data, len(data)) == data
    info = packet.info
    assert (info.data_size, info.data_offset, info.nsamples) == (7, 12, 7)
    assert (info.ts, info.seq, info.ssrc) == (0x89ABCDEF, 0, 0xFEDCBA98)
    assert info.appendable is True
    # The same objects each time.
    assert frame.content is content
    assert content.frame.rtp.info is info


def test_erasure(datagram):
    """Last (10, 1000), next (14, 1640): 11 to 13 are missing, and 3/4 of the 640 units."""
    buffer = RtpJBuf(2)
    given = [(9, 840), (10, 1000), (14, 1640), (15, 1800)]
    got = [buffer.udp_in(datagram(seq, ts), "x") for seq, ts in given][-1]
    assert [str(frame) for frame in got] == [
        "RTP_Erasure(seq_range=11 -- 13)",
        "RTP_Frame(seq=14)",
        "RTP_Frame(seq=15)",
    ]
    ers = got[0].content
    assert type(ers) is ERSFrame
    assert (ers.lseq_start, ers.lseq_end, ers.ts_diff) == (11, 13, 480)
    assert type(ers.type) is int
    assert ers.type == RTPFrameType.ERS
    assert (got[0].data, got[0].rtp_data, got[0].opaque) == (None, None, None)
    assert got[0].content is ers


def test_the_same_object_twice(datagram):
    """Each offer has its own opaque, also while the other one waits."""
    data = datagram(5)
    before = sys.getrefcount(data)
    buffer = RtpJBuf(3)
    assert buffer.udp_in(data, "first") == []
    assert buffer.udp_in(data, "second") == []
    assert buffer.dropped == 1
    (gap, frame) = buffer.flush()
    assert (frame.data is data, frame.opaque) == (True, "first")
    del gap, frame
    assert sys.getrefcount(data) == before


# --- hostile input


def test_garbage_is_an_error_or_a_counted_drop(datagram):
    """Headers cut everywhere, all first bytes, lengths of extensions, paddings, far numbers."""
    whole = datagram(7, payload=bytes(range(40)), first_byte=0x9F)
    hostile = [whole[:size] for size in range(len(whole))]
    hostile += [bytes([first]) + whole[1:] for first in range(256)]
    hostile += [
        datagram(7, first_byte=0x90, payload=b"\xbe\xde" + length.to_bytes(2, "big") + bytes(12))
        for length in (0, 1, 2, 3, 4, 255, 65535)
    ]
    hostile += [
        datagram(7, first_byte=0xA0, payload=bytes(9) + bytes([count])) for count in range(256)
    ]
    hostile += [datagram(seq) for seq in (65535, 0, 65000, 65001, 535, 536, 32768, 65535, 7)]
    hostile += [datagram(7, payload=bytes(70000)), bytes(70000), b"\x80" * 70000]
    for capacity in (0, 1, 2, 3, 20):
        buffer = RtpJBuf(capacity)
        delivered = errors = 0
        for data in hostile * 3:
            try:
                delivered += sum(frame.data is not None for frame in buffer.udp_in(data))
            except RTPParseError:
                errors += 1
        delivered += sum(frame.data is not None for frame in buffer.flush())
        assert delivered + errors + buffer.dropped == len(hostile) * 3
        assert errors > 100


@pytest.mark.parametrize("capacity", [1, 2, 3])
def test_65535_first_ends_no_process(capacity):
    code = f"""
import struct
from rtpsynth.RtpJBuf import RtpJBuf

def datagram(seq):
    return struct.pack("!BBHII", 0x80, 0, seq, 0, 0)

buffer = RtpJBuf({capacity})
for seq in (0, 65535, 65534, 65001, 0, 0, 1, 65535, 2, 535, 65535, 3, 3, 536, 65535):
    buffer.udp_in(datagram(seq))
print("alive")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr


def test_two_threads_on_one_buffer(datagram):
    """The order is theirs; nothing is lost and nothing breaks."""
    buffer = RtpJBuf(20)
    stream = [datagram(seq) for seq in range(4000)]
    got: list[list[object]] = [[], []]

    def run(which):
        for start in range(which * 10, 4000, 20):
            part = stream[start : start + 10]
            for data in part if which else part[::-1]:
                got[which] += [frame.data for frame in buffer.udp_in(data)]
            if start % 400 == 0:
                buffer.udp_in_many(part)

    threads = [threading.Thread(target=run, args=(which,)) for which in (0, 1)]
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(switch)
    buffer.flush()
    counters = buffer.counters
    assert counters["offered"] == counters["delivered"] + counters["dropped"]
