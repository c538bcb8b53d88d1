"""RtpJBuf, one at a time and many at once, against a model written from its description."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtpsynth.RtpJBuf import JBufEvent, RTPFrameType, RtpJBuf, RTPParseError, event_dtype

# A stream as a row of steps from the sequence number before.
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("run"), st.integers(1, 40)),
        st.tuples(st.just("move"), st.integers(-70, 70)),
        st.tuples(
            st.just("move"),
            st.sampled_from([-65000, -536, 535, 536, 537, 30000, 65000, 65001, 65535]),
        ),
        st.tuples(st.just("go"), st.integers(0, 65535)),
        st.tuples(st.just("go"), st.sampled_from([0, 1, 534, 535, 536, 65000, 65001, 65535])),
        st.tuples(st.just("bytes"), st.binary(max_size=24)),
        st.tuples(st.just("first byte"), st.integers(0, 255)),
    ),
    max_size=80,
)
CAPACITIES = st.one_of(st.integers(0, 8), st.sampled_from([15, 16, 17, 20, 32, 63, 64]))


@pytest.fixture(scope="module")
def model(rtp_jbuf_model):
    return rtp_jbuf_model


def stream_of(model: Any, steps: list[tuple[str, Any]]) -> list[bytes]:
    seq = 0
    stream = []
    for kind, value in steps:
        if kind == "bytes":
            stream.append(value)
        elif kind == "first byte":
            stream.append(model.datagram(seq, first_byte=value, payload=b"\1\2"))
        elif kind == "run":
            for _ in range(value):
                stream.append(model.datagram(seq, seq * 160 + len(stream)))
                seq += 1
        else:
            seq = seq + value if kind == "move" else value
            stream.append(model.datagram(seq, seq * 160 + len(stream)))
    return stream


def described(frames: list[Any]) -> list[tuple[Any, ...]]:
    """Frames as the model says them; what comes twice must be the same."""
    out: list[tuple[Any, ...]] = []
    for frame in frames:
        content = frame.content
        if content.type == RTPFrameType.ERS:
            out.append(("erasure", content.lseq_start, content.lseq_end, content.ts_diff))
        else:
            packet = content.frame.rtp
            assert packet.info.seq == packet.lseq % 65536
            out.append(("frame", packet.lseq, packet.info.ts, frame.opaque))
    return out


def events_of(outcome: Any, number: int | None = None) -> Iterator[tuple[int, int, int, int, int]]:
    """An outcome of the model as (kind, lseq, item, ts, error); ts of dropped ones is left out."""
    if outcome.error:
        yield JBufEvent.ERROR, 0, number or 0, 0, outcome.error
    for lseq, item in outcome.dropped:
        yield JBufEvent.DROPPED, lseq, item, -1, 0
    for kind, lseq, *rest in outcome.ready:
        if kind == "erasure":
            yield JBufEvent.ERASURE, lseq, rest[0], rest[1], 0
        else:
            yield JBufEvent.FRAME, lseq, rest[1], rest[0], 0


def rows_of(events: Any) -> list[tuple[int, int, int, int, int]]:
    return [
        (kind, lseq, item, -1 if kind == JBufEvent.DROPPED else ts, error)
        for lseq, item, ts, kind, error in events.tolist()
    ]


def follow_one_by_one(model: Any, capacity: int, stream: list[bytes], *, drain: bool) -> None:
    buffer, reference = RtpJBuf(capacity), model.Model(capacity)
    delivered = dropped = errors = 0
    for number, data in enumerate(stream):
        expected = reference.udp_in(data, number)
        if expected.error:
            with pytest.raises(RTPParseError, match=rf"\(\): error {expected.error}$"):
                buffer.udp_in(data, number)
            errors += 1
        else:
            frames = buffer.udp_in(data, number)
            assert described(frames) == expected.ready
            assert all(frame.data is None or frame.data is stream[frame.opaque] for frame in frames)
        delivered += sum(row[0] == "frame" for row in expected.ready)
        dropped += len(expected.dropped)
        assert (buffer.dropped, buffer.held) == (dropped, len(reference.held))
    expected = reference.drain() if drain else reference.flush()
    assert described(buffer.drain() if drain else buffer.flush()) == expected.ready
    delivered += sum(row[0] == "frame" for row in expected.ready)
    dropped += len(expected.dropped)
    check_counters(buffer, len(stream), delivered, dropped, errors)


def check_counters(buffer: RtpJBuf, offered: int, delivered: int, dropped: int, errors: int):
    """Every datagram came to exactly one end."""
    counters = buffer.counters
    assert offered == delivered + dropped + errors
    assert (counters["offered"], buffer.offered, buffer.held) == (offered, offered, 0)
    assert counters["delivered"] == delivered
    assert counters["dropped"] == buffer.dropped == dropped
    assert counters["parse_errors"] == errors
    reasons = ("duplicates", "late", "purged", "flush_lost")
    assert sum(counters[reason] for reason in reasons) == dropped


@settings(max_examples=300, deadline=None)
@given(steps=STEPS, capacity=CAPACITIES, drain=st.booleans())
def test_one_by_one(model, steps, capacity, drain):
    follow_one_by_one(model, capacity, stream_of(model, steps), drain=drain)


@pytest.mark.parametrize("seed", range(150))
def test_one_by_one_on_long_random_streams(model, seed):
    rng = random.Random(seed)
    capacity = rng.choice([0, 1, 2, 3, 5, 8, 20, 64])
    stream = model.random_stream(rng, rng.choice([50, 300, 1500]))
    follow_one_by_one(model, capacity, stream, drain=rng.random() < 0.3)


@pytest.mark.check
@settings(max_examples=300, deadline=None)
@given(steps=STEPS, capacity=CAPACITIES, cuts=st.lists(st.integers(1, 60)), drain=st.booleans())
def test_many_at_once(model, steps, capacity, cuts, drain):
    """However the stream is cut into batches, and in whatever form these come."""
    stream = stream_of(model, steps)
    buffer, reference = RtpJBuf(capacity), model.Model(capacity)
    start = 0
    for form, size in enumerate([*cuts, len(stream)]):
        batch = stream[start : start + size]
        expected = [
            row
            for number, data in enumerate(batch, start)
            for row in events_of(reference.udp_in(data, number), number)
        ]
        assert rows_of(offer(buffer, batch, form)) == expected
        assert (buffer.held, buffer.offered) == (len(reference.held), start + len(batch))
        start += len(batch)
    last = reference.drain() if drain else reference.flush()
    assert rows_of(buffer.drain_many() if drain else buffer.flush_many()) == list(events_of(last))
    assert buffer.held == 0


def offer(buffer: RtpJBuf, batch: list[bytes], form: int) -> Any:
    sizes = [len(data) for data in batch]
    if form % 4 == 0:
        return buffer.udp_in_many(batch)
    if form % 4 == 1:
        return buffer.udp_in_many(b"".join(batch), sizes)
    longest = max(sizes, default=0) + 1
    rows = np.zeros((len(batch), longest), np.uint8)
    for row, data in zip(rows, batch, strict=True):
        row[: len(data)] = np.frombuffer(data, np.uint8)
    if form % 4 == 2:
        return buffer.udp_in_many(rows, np.array(sizes, np.uint16))
    out = np.zeros(2 * len(batch) + buffer.held + 4, event_dtype())
    offsets = np.arange(len(batch)) * longest
    return out[: buffer.udp_in_many(rows.ravel(), sizes, offsets=offsets, out=out)]


@pytest.mark.check
@settings(max_examples=300, deadline=None)
@given(steps=STEPS, capacity=CAPACITIES, mix=st.lists(st.integers(0, 20), min_size=1))
def test_both_calls_on_one_buffer(model, steps, capacity, mix):
    """The same decisions, and each frame complete, whichever call brought it and gives it out."""
    stream = stream_of(model, steps)
    buffer, reference = RtpJBuf(capacity), model.Model(capacity)
    singly: set[int] = set()
    start = turn = 0
    while start < len(stream):
        size = mix[turn % len(mix)]
        turn += 1
        batch = stream[start : start + max(size, 1)]
        expected = [reference.udp_in(data, number) for number, data in enumerate(batch, start)]
        if size > 0:
            rows = [row for i, one in enumerate(expected, start) for row in events_of(one, i)]
            assert rows_of(buffer.udp_in_many(batch)) == rows
        elif expected[0].error:
            with pytest.raises(RTPParseError):
                buffer.udp_in(batch[0], start)
        else:
            singly.add(start)
            check_frames(buffer.udp_in(batch[0], start), expected[0].ready, stream, singly)
        start += len(batch)
    check_frames(buffer.flush(), reference.flush().ready, stream, singly)
    counters = buffer.counters
    assert (
        counters["offered"]
        == len(stream)
        == sum(counters[end] for end in ("delivered", "dropped", "parse_errors"))
    )


def check_frames(frames: list[Any], expected: list[Any], stream: list[bytes], singly: set[int]):
    """singly: numbers of those that udp_in brought."""
    assert len(frames) == len(expected)
    for frame, (kind, *values) in zip(frames, expected, strict=True):
        if kind == "erasure":
            assert described([frame]) == [("erasure", *values)]
            continue
        lseq, ts, number = values
        packet = frame.content.frame.rtp
        assert (packet.lseq, packet.info.ts) == (lseq, ts)
        assert frame.data == stream[number]
        assert frame.opaque == (number if number in singly else None)
        assert (frame.data is stream[number]) == (number in singly)
