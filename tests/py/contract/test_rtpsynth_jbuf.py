"""RtpJBuf: names, arguments, errors, and each rule of the buffer by an example."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import threading

import pytest

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


@pytest.fixture
def feed(datagram):
    """Offers sequence numbers one by one; returns what each brought, as text."""

    def feed(buffer, *numbers):
        return [[str(frame) for frame in buffer.udp_in(datagram(seq))] for seq in numbers]

    return feed


def frames(*numbers):
    return [f"RTP_Frame(seq={seq})" for seq in numbers]


def erasure(start, end):
    return f"RTP_Erasure(seq_range={start} -- {end})"


# --- names


def test_constants():
    assert module.RTP_PARSER_OK == 1
    assert module.RJB_ENOMEM == -1007
    assert (RTPFrameType.RTP, RTPFrameType.ERS) == (0, 1)


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


def test_parse_error_is_a_direct_exception():
    assert RTPParseError.__bases__ == (Exception,)


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


def test_contents_of_empty_results():
    wrapper, frame, both, packet, info = (cls() for cls in PLAIN_CLASSES[:-1])
    assert (wrapper.content, wrapper.data, wrapper.rtp_data, wrapper.opaque) == (None,) * 4
    assert (str(wrapper), repr(wrapper)) == ("FrameWrapper", "FrameWrapper")
    assert (frame.type, frame.frame) == (0, None)
    assert (both.rtp, both.ers) == (None, None)
    assert (packet.lseq, packet.data, type(packet.info)) == (0, 0, RTPInfo)
    assert packet.info is packet.info is not RTPPacket().info
    zeros = ("data_size", "data_offset", "nsamples", "ts", "seq", "ssrc", "rtp_profile")
    for empty in (info, packet.info):
        assert [getattr(empty, name) for name in zeros] == [0] * len(zeros)
        assert empty.appendable is False
    ers = ERSFrame()
    assert (ers.lseq_start, ers.lseq_end, ers.ts_diff, ers.type) == (0, 0, 0, 1)


# --- the constructor


@pytest.mark.parametrize(("args", "given"), [((), 0), ((1, 2), 2)])
def test_constructor_takes_one_argument(args, given):
    text = rf"^RtpJBuf\(\) takes exactly 1 argument \({given} given\)$"
    with pytest.raises(TypeError, match=text):
        RtpJBuf(*args)
    with pytest.raises(TypeError, match=text):
        RtpJBuf(*args, capacity=3)


@pytest.mark.parametrize("capacity", [0, 1, 2, 2**31, 2**32 - 1, True])
def test_capacities(capacity):
    assert RtpJBuf(capacity, ignored=1).capacity == capacity


@pytest.mark.parametrize("capacity", [-1, 2**32, -(2**70), 2**70])
def test_capacity_out_of_range(capacity):
    with pytest.raises(ValueError, match=rf"^capacity is {capacity} frames: it must be between 0"):
        RtpJBuf(capacity)


@pytest.mark.parametrize("capacity", ["3", 2.0, None])
def test_capacity_of_the_wrong_type(capacity):
    with pytest.raises(TypeError, match="cannot be interpreted as an integer"):
        RtpJBuf(capacity)


@pytest.mark.parametrize(
    "call",
    [
        lambda buffer: buffer.udp_in(b""),
        lambda buffer: buffer.flush(),
        lambda buffer: buffer.drain(),
        lambda buffer: buffer.udp_in_many([]),
        lambda buffer: buffer.flush_many(),
        lambda buffer: buffer.drain_many(),
    ],
)
def test_without_init(call):
    with pytest.raises(RuntimeError, match=r"^RtpJBuf handle is not initialized$"):
        call(RtpJBuf.__new__(RtpJBuf))


def test_init_again_begins_anew(feed):
    buffer = RtpJBuf(3)
    feed(buffer, 0, 1, 5, 5)
    with pytest.raises(ValueError, match="capacity"):
        buffer.__init__(-1)
    assert (buffer.held, buffer.dropped, buffer.capacity) == (1, 1, 3)
    buffer.__init__(7)
    assert (buffer.held, buffer.dropped, buffer.capacity) == (0, 0, 7)
    assert feed(buffer, 0) == [frames(0)]


# --- udp_in: arguments and results


def test_udp_in_takes_positional_arguments_only(datagram):
    buffer = RtpJBuf(5)
    with pytest.raises(TypeError, match=r"^udp_in\(\) takes at least 1 argument \(0 given\)$"):
        buffer.udp_in()
    with pytest.raises(TypeError, match=r"^udp_in\(\) takes at most 2 arguments \(3 given\)$"):
        buffer.udp_in(datagram(0), 1, 2)
    with pytest.raises(TypeError, match="no keyword arguments"):
        buffer.udp_in(datagram(0), opaque=1)
    with pytest.raises(TypeError):
        buffer.flush(1)
    assert buffer.offered == 0


@pytest.mark.parametrize("data", ["text", 12, None, 1.5])
def test_what_is_no_datagram_at_all(data):
    buffer = RtpJBuf(5)
    text = f"cannot convert '{type(data).__name__}' object to bytes"
    with pytest.raises(TypeError, match=text):
        buffer.udp_in(data)
    assert buffer.offered == 0


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


def test_opaque_is_none_by_default(datagram):
    (frame,) = RtpJBuf(5).udp_in(datagram(0))
    assert frame.opaque is None


def test_erasure(datagram):
    """Last (10, 1000), next (14, 1640): 11 to 13 are missing, and 3/4 of the 640 units."""
    buffer = RtpJBuf(2)
    given = [(9, 840), (10, 1000), (14, 1640), (15, 1800)]
    got = [buffer.udp_in(datagram(seq, ts), "x") for seq, ts in given][-1]
    assert [str(frame) for frame in got] == [erasure(11, 13), *frames(14, 15)]
    ers = got[0].content
    assert type(ers) is ERSFrame
    assert (ers.lseq_start, ers.lseq_end, ers.ts_diff) == (11, 13, 480)
    assert type(ers.type) is int
    assert ers.type == RTPFrameType.ERS
    assert (got[0].data, got[0].rtp_data, got[0].opaque) == (None, None, None)
    assert got[0].content is ers


def test_time_of_a_long_erasure_is_not_cut(datagram):
    """20,000 missing frames of 160 units: their product exceeds 32 bits."""
    buffer = RtpJBuf(2)
    for seq in (1, 2, 20003):
        buffer.udp_in(datagram(seq))
    got = buffer.udp_in(datagram(20004))
    assert got[0].content.ts_diff == 20000 * 160


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


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"", -1), (bytes(11), -1), (bytes(12), -2), (b"\xa0" + bytes(12), -7)],
)
def test_parse_errors(data, code):
    buffer = RtpJBuf(5)
    with pytest.raises(RTPParseError) as caught:
        buffer.udp_in(data)
    assert caught.value.args == (f"rtpjbuf_udp_in(): error {code}",)
    assert buffer.dropped == 0
    assert buffer.counters["parse_errors"] == 1


# --- the rules of the buffer


def test_warm_up_collects_capacity_frames_and_sorts_them(feed):
    assert feed(RtpJBuf(4), 12, 10, 13, 11) == [[], [], [], frames(10, 11, 12, 13)]


def test_warm_up_ends_at_once_with_number_0(feed):
    assert feed(RtpJBuf(4), 0, 1, 2) == [frames(0), frames(1), frames(2)]


def test_the_first_release_has_no_erasure_and_stops_at_a_gap(feed):
    buffer = RtpJBuf(3)
    assert feed(buffer, 10, 11, 20) == [[], [], frames(10, 11)]
    assert buffer.held == 1


def test_a_gap_is_lost_when_the_buffer_is_full_and_only_the_first(feed):
    got = feed(RtpJBuf(4), 0, 2, 3, 6, 7)
    assert got == [frames(0), [], [], [], [erasure(1, 1), *frames(2, 3)]]


def test_what_fills_the_gap_releases_all_behind_it(feed):
    assert feed(RtpJBuf(9), 0, 2, 3, 1) == [frames(0), [], [], frames(1, 2, 3)]


def test_late_and_duplicate_frames_are_dropped(feed):
    buffer = RtpJBuf(5)
    assert feed(buffer, 0, 1, 2, 2, 1, 4, 4) == [*(frames(n) for n in range(3)), [], [], [], []]
    counters = buffer.counters
    assert (counters["duplicates"], counters["late"], buffer.dropped) == (2, 1, 3)


def test_a_frame_far_ahead_is_purged_when_it_has_blocked_the_tail_too_long(feed):
    buffer = RtpJBuf(3)
    assert feed(buffer, 0, 2, 3000) == [frames(0), [], []]
    assert feed(buffer, 0, 0) == [[], []]
    assert (buffer.held, buffer.counters["purged"]) == (2, 0)
    assert feed(buffer, 0) == [[]]
    assert (buffer.held, buffer.counters["purged"], buffer.dropped) == (1, 1, 4)
    assert feed(buffer, 3) == [[]]
    assert feed(buffer, 4) == [[erasure(1, 1), *frames(2, 3, 4)]]


def test_the_purge_comes_before_the_parser(datagram):
    buffer = RtpJBuf(2)
    buffer.udp_in(datagram(10))
    for dropped in (0, 1):
        with pytest.raises(RTPParseError):
            buffer.udp_in(b"")
        assert buffer.dropped == dropped


def test_wrap(feed):
    assert feed(RtpJBuf(2), 65534, 65535, 0, 1, 65536 + 2) == [
        [],
        frames(65534, 65535),
        frames(65536),
        frames(65537),
        frames(65538),
    ]


def test_straggler_from_before_the_wrap(feed):
    buffer = RtpJBuf(4)
    feed(buffer, 65530, 65531, 65532, 65533)
    assert feed(buffer, 65535, 0, 65534) == [[], [], frames(65534, 65535, 65536)]
    assert buffer.counters["wraps"] == 1
    assert feed(buffer, 65533) == [[]]
    assert buffer.counters["late"] == 1


def test_one_datagram_moves_the_epoch_for_good(feed):
    buffer = RtpJBuf(4)
    feed(buffer, 65529, 65530, 65531, 65532)
    assert feed(buffer, 500, 540, 65533) == [[], [], []]
    expected = []
    last = 65532
    for lseq in (65536 + 500, 65536 + 540, 65536 + 65533):
        expected += [erasure(last + 1, lseq - 1), *frames(lseq)]
        last = lseq
    assert [str(frame) for frame in buffer.drain()] == expected
    assert buffer.counters["wraps"] == 1


@pytest.mark.parametrize("seq", [65001, 65535])
def test_numbers_from_before_the_beginning_are_late(feed, seq):
    """They would be extended below 0."""
    buffer = RtpJBuf(5)
    assert feed(buffer, 0, seq, 1, seq, 2) == [frames(0), [], frames(1), [], frames(2)]
    assert (buffer.dropped, buffer.counters["late"], buffer.counters["wraps"]) == (2, 2, 0)


@pytest.mark.parametrize("first", [65001, 65535])
def test_a_stream_may_begin_just_before_the_wrap(feed, first):
    buffer = RtpJBuf(3)
    out = [frame for one in feed(buffer, *range(first, first + 600)) for frame in one]
    assert out == frames(*range(first, first + 600))


@pytest.mark.parametrize("capacity", [1, 2])
def test_small_capacities_do_not_forget_what_was_released(feed, capacity):
    buffer = RtpJBuf(capacity)
    feed(buffer, 0, 5, 0, 0, 0)
    assert buffer.held == 0
    before = buffer.dropped
    assert feed(buffer, 0, 1) == [[], frames(1)]
    assert buffer.dropped == before + 1


def test_capacity_0_waits_for_ever(feed):
    buffer = RtpJBuf(0)
    assert feed(buffer, *range(1, 1001)) == [[]] * 1000
    assert buffer.held == 1000
    assert feed(buffer, 0) == [[]]
    assert [str(frame) for frame in buffer.flush()] == frames(*range(1001))


# --- flush and drain


def test_flush_of_an_empty_buffer_changes_nothing(feed):
    buffer = RtpJBuf(3)
    assert buffer.flush() == []
    feed(buffer, 0)
    assert buffer.flush() == []
    assert feed(buffer, 1) == [frames(1)]


def test_flush_gives_the_last_run_and_drops_the_others(feed):
    buffer = RtpJBuf(9)
    feed(buffer, 0, 2, 3, 5, 8, 9)
    assert [str(frame) for frame in buffer.flush()] == [erasure(1, 7), *frames(8, 9)]
    assert (buffer.dropped, buffer.counters["flush_lost"], buffer.held) == (3, 3, 0)
    assert feed(buffer, 9, 10) == [[], frames(10)]


def test_flush_in_warm_up_invents_an_erasure_from_0(datagram):
    buffer = RtpJBuf(9)
    buffer.udp_in(datagram(10, 1100))
    gap, frame = buffer.flush()
    assert str(gap) == erasure(0, 9)
    assert gap.content.ts_diff == 1100 * 10 // 11
    assert str(frame) == "RTP_Frame(seq=10)"


def test_drain_gives_everything(feed):
    buffer = RtpJBuf(9)
    feed(buffer, 0, 2, 3, 5, 8, 9)
    expected = [
        erasure(1, 1),
        *frames(2, 3),
        erasure(4, 4),
        *frames(5),
        erasure(6, 7),
        *frames(8, 9),
    ]
    assert [str(frame) for frame in buffer.drain()] == expected
    assert (buffer.dropped, buffer.held) == (0, 0)
    assert buffer.drain() == []
    warm = RtpJBuf(9)
    feed(warm, 10, 12)
    assert [str(frame) for frame in warm.drain()] == [*frames(10), erasure(11, 11), *frames(12)]


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
