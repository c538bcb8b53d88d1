"""RtpJBuf against the original: the same answers to the same datagrams, and the same classes."""

from __future__ import annotations

import random
import struct

import pytest

pytestmark = pytest.mark.check

# For each (capacity, datagrams): everything that can be seen of it.
ANSWERS = """
from rtpsynth.RtpJBuf import RtpJBuf, RTPParseError

INFO = ("data_size", "data_offset", "nsamples", "ts", "seq", "ssrc", "appendable")

def seen(frame):
    content = frame.content
    if content.type == 1:
        numbers = content.lseq_start, content.lseq_end, content.ts_diff
        return str(frame), numbers, frame.data, frame.rtp_data, frame.opaque
    packet = content.frame.rtp
    info = tuple(getattr(packet.info, name) for name in INFO)
    return str(frame), packet.lseq, info, frame.data, frame.rtp_data, frame.opaque

def answers(capacity, stream):
    # The original mixes up the opaques of one object that is offered twice.
    stream = [bytes(bytearray(data)) for data in stream]
    buffer = RtpJBuf(capacity)
    for number, data in enumerate(stream):
        try:
            yield [seen(frame) for frame in buffer.udp_in(data, number)], buffer.dropped
        except RTPParseError as error:
            yield str(error), buffer.dropped
    yield [seen(frame) for frame in buffer.flush()], buffer.dropped

result = [list(answers(*each)) for each in given]
"""

# Everything about names, arguments and errors that does not depend on addresses.
SHAPE = """
import rtpsynth.RtpJBuf as module
from rtpsynth.RtpJBuf import *

def outcome(call, *args, **kwargs):
    try:
        got = call(*args, **kwargs)
    except Exception as error:
        return type(error).__name__, str(error)
    return type(got).__name__, got if isinstance(got, (int, str, bytes, type(None), list)) else ""

plain = [FrameWrapper, RTPFrame, RTPFrameUnion, RTPPacket, RTPInfo, ERSFrame]
result = [module.RTP_PARSER_OK, module.RJB_ENOMEM, RTPFrameType.RTP, RTPFrameType.ERS]
for cls in plain:
    names = [name for name in vars(cls) if not name.startswith("_")]
    result += [cls.__name__, cls.__module__, sorted(names), str(cls())[:14]]
    result += [outcome(getattr, cls(), name) for name in sorted(names)]
    result += [outcome(setattr, cls(), name, 1)[0] for name in sorted(names)]
    result += [outcome(cls, 1), outcome(cls, x=1)[0], outcome(setattr, cls, "x", 1)]
    result += [outcome(type, "Derived", (cls,), {}), hash(cls()) == 0, cls() == cls()]
for args in ((), (1, 2), ("3",), (3.0,), (None,), (True,), (3,)):
    result.append(outcome(RtpJBuf, *args))
result += [outcome(RtpJBuf, capacity=3), outcome(RtpJBuf, 3, x=1)]
buffer = RtpJBuf(5)
for args in ((), (b"", 1, 2), ("text",), (5,), (None,), (b"",), ([1, 2],), ([300],), (bytes(99),)):
    result.append(outcome(buffer.udp_in, *args))
result += [outcome(buffer.udp_in, data=b"")[0], outcome(buffer.flush, 1)[0], outcome(buffer.flush)]
result += [buffer.dropped, outcome(setattr, buffer, "dropped", 1)[0]]
empty = RtpJBuf.__new__(RtpJBuf)
result += [outcome(empty.udp_in, b""), outcome(empty.flush), empty.dropped]
result += [RTPParseError.__mro__[1].__name__, RTPParseError.__module__, RTPParseError.__name__]
result += [module._get_dealloc_counting(), outcome(module._set_dealloc_counting)[0]]
result += [outcome(module._set_dealloc_counting, 5), module._get_dealloc_counting()]
result += [outcome(module._reset_dealloc_counts), module._get_dealloc_counts()]
made = [cls() for cls in plain]
result.append({k: v for k, v in module._get_dealloc_counts().items()})
del made
result.append({k: v for k, v in module._get_dealloc_counts().items()})
module._set_dealloc_counting(False)
module._reset_dealloc_counts()
"""

# Counts over a stream, during and after it.
COUNTS = """
import rtpsynth.RtpJBuf as module

module._reset_dealloc_counts()
module._set_dealloc_counting(True)
buffer = module.RtpJBuf(4)
kept = [buffer.udp_in(data) for data in given]
kept.append(buffer.flush())
during = module._get_dealloc_counts()
del kept, buffer
after = module._get_dealloc_counts()
module._set_dealloc_counting(False)
module._reset_dealloc_counts()
created = {name: count for name, count in during.items() if name.endswith("_created")}
balanced = [name for name in created if after[name] == after[name.replace("created", "freed")]]
result = created, balanced
"""


def replay(model, capacity, stream):
    reference = model.Model(capacity)
    for number, data in enumerate(stream):
        reference.udp_in(data, number)
    reference.flush()
    return reference


def comparable(answers, too_wide):
    """Without the times that the original gets wrong."""

    def of_frame(text, numbers, *rest):
        if text.startswith("RTP_Erasure") and numbers[:2] in too_wide:
            numbers = numbers[:2]
        return text, numbers, *rest

    return [
        (frames if isinstance(frames, str) else [of_frame(*frame) for frame in frames], dropped)
        for frames, dropped in answers
    ]


def safe_streams(model, seed, count):
    """Streams on which the original neither ends its process nor goes astray."""
    rng = random.Random(seed)
    while count > 0:
        capacity = rng.choice([3, 3, 4, 5, 8, 13, 20, 20, 64])
        stream = model.random_stream(rng, rng.choice([40, 200, 800]))
        if not replay(model, capacity, stream).unsafe:
            count -= 1
            yield capacity, stream


def random_datagram(rng):
    """Mostly of version 2, so that all of the header is reached."""
    data = bytearray(rng.randbytes(rng.choice([rng.randrange(12), rng.randrange(12, 140)])))
    if data and rng.random() < 0.95:
        data[0] = 0x80 | rng.choice([0, 0x10, 0x20, 0x30]) | rng.choice([0, 0, 0, 1, 2, 5, 15])
    if len(data) > 12 and rng.random() < 0.5:
        csrc_end = 12 + 4 * (data[0] & 15)
        data[csrc_end + 2 : csrc_end + 4] = rng.randrange(25).to_bytes(2, "big")
    if data and rng.random() < 0.6:
        data[-1] = rng.randrange(40)
    if len(data) > 1 and rng.random() < 0.7:
        data[1] = rng.choice([0, 3, 4, 4, 8, 9, 18, 18, 96])
    return bytes(data)


def test_streams(peer_rtpsynth, rtp_jbuf_model):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    for chunk in range(4):
        streams = list(safe_streams(rtp_jbuf_model, seed + chunk, 80))
        ours, theirs = peer_rtpsynth.both(ANSWERS, streams)
        assert len(ours) == len(theirs) == 80
        for (capacity, stream), one, other in zip(streams, ours, theirs, strict=True):
            too_wide = replay(rtp_jbuf_model, capacity, stream).too_wide
            assert comparable(one, too_wide) == comparable(other, too_wide), (capacity, stream)


def test_datagrams(peer_rtpsynth, rtp_jbuf_model):
    """Error codes and everything read from what is good, one datagram at a time."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    datagrams = [random_datagram(rng) for _ in range(20_000)]
    ours, theirs = peer_rtpsynth.both(ANSWERS, [(5, [data]) for data in datagrams])
    for data, one, other in zip(datagrams, ours, theirs, strict=True):
        too_wide = replay(rtp_jbuf_model, 5, [data]).too_wide
        assert comparable(one, too_wide) == comparable(other, too_wide), data
    codes = {rtp_jbuf_model.parse(data) for data in datagrams}
    assert codes >= {-1, -2, -3, -4, -5, -6, -7}
    good = [answer for answer in ours if isinstance(answer[0][0], list)]
    assert len(good) > 2000


def test_names_arguments_and_errors(peer_rtpsynth):
    ours, theirs = peer_rtpsynth.both(SHAPE)
    assert ours == theirs


def test_counts(peer_rtpsynth, rtp_jbuf_model):
    numbers = [0, 1, 2, 5, 6, 5, 1, 9, 8, 30, 12]
    stream = [rtp_jbuf_model.datagram(seq) for seq in numbers]
    (ours, balanced), (theirs, their_balanced) = peer_rtpsynth.both(COUNTS, stream)
    assert ours == theirs
    assert balanced == their_balanced == list(ours)


def lost_between(first_ts: int, lost: int, ts: int) -> tuple[int, list[bytes]]:
    """Capacity and datagrams: one, then a gap, then one with that timestamp."""

    def packet(seq: int, ts: int) -> bytes:
        return struct.pack(">BBHII", 0x80, 0, seq, ts % 2**32, 1) + bytes(160)

    return 3, [packet(0, first_ts), packet(1, first_ts), packet(2, first_ts)] + [
        packet(3 + lost + more, ts) for more in range(4)
    ]


def test_where_ts_diff_overflows_in_the_original(peer_rtpsynth):
    """The edge that rtpsynth's README names."""

    def ts_diffs(results):
        return [
            frame[1][2]
            for answers in results
            for frames, _ in answers
            for frame in frames
            if frame[0].startswith("RTP_Erasure")
        ]

    cases = [
        lost_between(0, lost, units)
        for lost, units in [
            *((5180, 160 * 5181), (5181, 160 * 5182)),
            *((1, 2**32 - 1), (2, 2**31 - 1), (2, 2**31), (3, 7)),
        ]
    ]
    ours, theirs = map(ts_diffs, peer_rtpsynth.both(ANSWERS, cases))
    assert ours == [160 * 5180, 160 * 5181, 2**31 - 1, (2**31 - 1) * 2 // 3, 2**32 // 3, 5]
    same = [mine == other for mine, other in zip(ours, theirs, strict=True)]
    assert same == [True, False, True, True, False, True]
