"""What RtpJBuf makes and keeps: counts of objects, references, memory, cycles."""

from __future__ import annotations

import gc
import itertools
import resource
import sys
import weakref

import pytest

import rtpsynth.RtpJBuf as module
from rtpsynth.RtpJBuf import (
    ERSFrame,
    FrameWrapper,
    RTPFrame,
    RTPFrameUnion,
    RTPInfo,
    RtpJBuf,
    RTPPacket,
    RTPParseError,
)

CLASSES = ["RTPInfo", "RTPPacket", "ERSFrame", "RTPFrameUnion", "RTPFrame"]
CLASSES += ["FrameWrapper", "RtpJBuf"]
OF_A_FRAME = ["RTPInfo", "RTPPacket", "RTPFrameUnion", "RTPFrame", "FrameWrapper"]


@pytest.fixture(scope="module")
def datagram(rtp_jbuf_model):
    return rtp_jbuf_model.datagram


@pytest.fixture
def counting():
    """Counts from 0 during the test; call it for (created, freed) of a class."""
    module._reset_dealloc_counts()
    module._set_dealloc_counting(True)

    def count(name):
        counts = module._get_dealloc_counts()
        return counts[f"{name}_created"], counts[f"{name}_freed"]

    yield count
    module._set_dealloc_counting(False)
    module._reset_dealloc_counts()


class Opaque:
    """Can be referred to weakly, and refer to anything."""


# --- counting


def test_the_switch():
    assert module._get_dealloc_counting() is False
    for flag in (5, "yes", [0]):
        assert module._set_dealloc_counting(flag) is None
        assert module._get_dealloc_counting() is True
    module._set_dealloc_counting([])
    assert module._get_dealloc_counting() is False
    with pytest.raises(TypeError):
        module._set_dealloc_counting()


def test_keys(counting):
    expected = [f"{name}_{what}" for name in CLASSES for what in ("created", "freed")]
    assert list(module._get_dealloc_counts()) == expected
    assert set(module._get_dealloc_counts().values()) == {0}


def test_nothing_is_counted_while_it_is_off(datagram):
    module._reset_dealloc_counts()
    for frame in RtpJBuf(3).udp_in(datagram(0)):
        assert frame.content.frame.rtp.info.seq == 0
    RTPPacket()
    assert set(module._get_dealloc_counts().values()) == {0}


@pytest.mark.parametrize("look", [False, True], ids=["unseen", "seen"])
def test_a_frame(counting, datagram, look):
    """Whether its contents were ever made or not."""
    frames = RtpJBuf(3).udp_in(datagram(0))
    for _ in range(2 * look):
        assert frames[0].content.frame.rtp.info.seq == 0
    for name in OF_A_FRAME:
        assert counting(name) == (1, 0)
    assert counting("ERSFrame") == (0, 0)
    del frames
    for name in OF_A_FRAME:
        assert counting(name) == (1, 1)
    assert counting("RtpJBuf") == (1, 1)


@pytest.mark.parametrize("look", [False, True], ids=["unseen", "seen"])
def test_an_erasure(counting, datagram, look):
    buffer = RtpJBuf(9)
    buffer.udp_in(datagram(0))
    buffer.udp_in(datagram(5))
    frames = buffer.flush()
    if look:
        assert frames[0].content.lseq_start == 1
    assert counting("ERSFrame") == (1, 0)
    assert counting("FrameWrapper") == (3, 1)
    assert counting("RTPFrame") == (2, 1)
    del frames
    assert counting("ERSFrame") == (1, 1)
    assert counting("FrameWrapper") == (3, 3)


def test_contents_that_outlive_their_wrapper(counting, datagram):
    (frame,) = RtpJBuf(3).udp_in(datagram(0))
    info = frame.content.frame.rtp.info
    del frame
    assert counting("FrameWrapper") == counting("RTPPacket") == (1, 1)
    assert counting("RTPInfo") == (1, 0)
    assert info.seq == 0
    del info
    assert counting("RTPInfo") == (1, 1)


def test_frames_that_never_come_out_are_not_counted(counting, datagram):
    buffer = RtpJBuf(9)
    for seq in (5, 5, 7):
        assert buffer.udp_in(datagram(seq)) == []
    del buffer
    for name in OF_A_FRAME:
        assert counting(name) == (0, 0)
    assert counting("RtpJBuf") == (1, 1)


def test_objects_made_by_their_class(counting):
    made = [RTPInfo(), RTPPacket(), ERSFrame(), RTPFrameUnion(), RTPFrame(), FrameWrapper()]
    assert made[-1].content is None
    for name in CLASSES[:-1]:
        assert counting(name) == ((2, 0) if name == "RTPInfo" else (1, 0))
    del made
    for name in CLASSES[:-1]:
        created, freed = counting(name)
        assert created == freed


def test_everything_that_was_made_is_freed(counting, rtp_jbuf_model):
    """Random streams, a third of the contents looked at, everything kept until the end."""
    kept = []
    for seed in range(20):
        rng = rtp_jbuf_model.random.Random(seed)
        buffer = RtpJBuf(rng.choice([1, 2, 5, 20]))
        for data in rtp_jbuf_model.random_stream(rng, 300):
            try:
                kept += buffer.udp_in(data, seed)
            except RTPParseError:
                continue
        buffer.udp_in_many([rtp_jbuf_model.datagram(7)])
        kept += buffer.flush()
    for frame in kept[::3]:
        assert frame.content.type in (0, 1)
    for name in CLASSES:
        assert counting(name)[0] > 0
    del frame, buffer
    kept.clear()
    for name in CLASSES:
        created, freed = counting(name)
        assert created == freed


# --- references


def test_offered_objects_are_released_by_counting_references_alone(rtp_jbuf_model):
    """Whatever becomes of them: delivered, dropped in each way, an error, or still held."""
    rng = rtp_jbuf_model.random.Random(1)
    stream = [rtp_jbuf_model.datagram(1), *rtp_jbuf_model.random_stream(rng, 2000)]
    opaques = [object() for _ in stream]
    gc.disable()
    try:
        before = [sys.getrefcount(each) for each in itertools.chain(stream, opaques)]
        buffer = RtpJBuf(7)
        for data, opaque in zip(stream, opaques, strict=True):
            try:
                buffer.udp_in(data, opaque)
            except RTPParseError:
                continue
            finally:
                del data, opaque
        buffer.udp_in_many(stream)
        buffer.flush()
        buffer = RtpJBuf(7)
        assert buffer.udp_in(stream[0], opaques[0]) == []
        del buffer
        after = [sys.getrefcount(each) for each in itertools.chain(stream, opaques)]
        assert after == before
    finally:
        gc.enable()


@pytest.mark.parametrize("way", ["udp_in", "udp_in_many", "flush", "init", "delete"])
def test_a_dropped_frame_is_released_at_once(datagram, way):
    opaque = Opaque()
    seen = weakref.ref(opaque)
    buffer = RtpJBuf(2 if way.startswith("udp") else 9)
    buffer.udp_in(datagram(10), opaque)
    del opaque
    assert seen() is not None
    if way == "udp_in":
        for _ in range(2):
            buffer.udp_in(datagram(10))
    elif way == "udp_in_many":
        buffer.udp_in_many([datagram(10)] * 2)
    elif way == "flush":
        buffer.udp_in(datagram(20))
        assert len(buffer.flush()) == 2
    elif way == "init":
        buffer.__init__(3)
    else:
        del buffer
    assert seen() is None


def test_a_finalizer_may_use_the_buffer(datagram):
    """It runs when nothing is half done."""
    numbers = iter(range(10, 400))
    got: list[FrameWrapper] = []
    buffer = RtpJBuf(4)

    class Meddler:
        def __del__(self):
            for number in itertools.islice(numbers, 2):
                got.extend(buffer.udp_in(datagram(number // 2), Meddler()))
                buffer.udp_in_many([datagram(0), datagram(number), b""])

    buffer.udp_in(datagram(0))
    for seq in (0, 5000, 6000, 3, 4) * 20:
        buffer.udp_in(datagram(seq), Meddler())
        buffer.udp_in_many([datagram(5000), datagram(seq + 1)])
        if seq == 4:
            buffer.flush()
            buffer.udp_in(datagram(60000), Meddler())
            buffer.drain_many()
        got.clear()
    assert next(numbers, None) is None
    buffer.flush()
    got.clear()
    counters = buffer.counters
    ends = ("delivered", "dropped", "parse_errors")
    assert counters["offered"] == sum(counters[end] for end in ends)


def test_a_garbage_collection_may_come_at_any_time(datagram):
    """And its finalizers use the buffer that is at work."""

    class Meddler:
        def __init__(self):
            self.me = self

        def __del__(self):
            if buffer.offered < 20_000:
                buffer.udp_in(datagram(buffer.offered))
                buffer.udp_in_many([datagram(buffer.offered), b"no"])

    threshold = gc.get_threshold()
    buffer = RtpJBuf(5)
    gc.set_threshold(1, 1, 1)
    try:
        kept = []
        for seq in range(1000):
            Meddler()
            kept += buffer.udp_in(datagram(seq + seq // 7), Opaque())
            if seq % 50 == 0:
                kept += buffer.drain()
    finally:
        gc.set_threshold(*threshold)
    buffer.flush()
    counters = buffer.counters
    ends = ("delivered", "dropped", "parse_errors")
    assert counters["offered"] == sum(counters[end] for end in ends) > 1000


# --- cycles


def test_a_buffer_held_by_the_opaque_of_a_waiting_frame(datagram):
    channel = Opaque()
    channel.buffer = RtpJBuf(9)
    channel.buffer.udp_in(datagram(5), channel)
    seen = weakref.ref(channel)
    del channel
    assert seen() is not None
    gc.collect()
    assert seen() is None


def test_a_frame_held_by_its_own_opaque(datagram):
    channel = Opaque()
    channel.frames = RtpJBuf(9).udp_in(datagram(0), channel)
    assert gc.is_tracked(channel.frames[0])
    seen = weakref.ref(channel)
    del channel
    gc.collect()
    assert seen() is None


@pytest.mark.parametrize("opaque", [None, 5, "text", b"bytes", 1.5])
def test_frames_that_cannot_close_a_cycle_cost_the_collector_nothing(datagram, opaque):
    (frame,) = RtpJBuf(9).udp_in(datagram(0), opaque)
    assert not gc.is_tracked(frame)


def test_a_long_chain_of_frames_is_freed_without_deep_recursion(datagram):
    buffer = RtpJBuf(9)
    frame = None
    for seq in range(200_000):
        (frame,) = buffer.udp_in(datagram(seq), frame)
    seen = []
    while frame is not None and len(seen) < 3:
        seen.append(str(frame))
        frame = frame.opaque
    assert seen == [f"RTP_Frame(seq={seq})" for seq in (199_999, 199_998, 199_997)]
    del frame


# --- memory


def peak_kib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def test_memory_does_not_grow(rtp_jbuf_model):
    """Each round makes and frees several hundred KiB; 300 rounds may add 8 MiB in all."""
    rng = rtp_jbuf_model.random.Random(5)
    stream = rtp_jbuf_model.random_stream(rng, 800)

    def one_round():
        for capacity in (0, 2, 20, 300):
            buffer = RtpJBuf(capacity)
            for data in stream[:400]:
                try:
                    for frame in buffer.udp_in(data, bytearray(100)):
                        assert frame.content is not None
                        assert frame.rtp_data is None or len(frame.rtp_data) < 4
                except RTPParseError:
                    continue
            buffer.udp_in_many(stream[400:])
            buffer.flush_many()
            RTPPacket(), FrameWrapper(), ERSFrame()

    for _ in range(20):
        one_round()
    before = peak_kib()
    for _ in range(300):
        one_round()
    assert peak_kib() - before < 8 * 1024
