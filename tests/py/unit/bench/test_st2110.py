"""The two models of SMPTE ST 2110-21, with arrivals that are known to the nanosecond."""

from __future__ import annotations

from itertools import count, repeat

import pytest

from shmring_bench.st2110 import Stream, judge

FRAME_NS = 20_000_000
NARROW = Stream(1920, FRAME_NS, gapped=True)
LINEAR = Stream(1920, FRAME_NS, gapped=False)
WIDE = Stream(4320, FRAME_NS, gapped=False, wide=True)
PICTURES = 5


def deadlines(stream: Stream, pictures: int = PICTURES) -> list[int]:
    """When a sender with spread_ns sends the packets."""
    return [
        picture * stream.frame_ns + part * stream.active_ns // stream.packets
        for picture in range(pictures)
        for part in range(stream.packets)
    ]


@pytest.mark.parametrize(
    ("stream", "c_max", "vrx_full"),
    [
        (NARROW, 4, 8),
        (LINEAR, 4, 8),
        (Stream(4320, 40_000_000, gapped=True), 4, 8),
        (Stream(4320, 20_000_000, gapped=True), 5, 8),
        (Stream(4320, 16_683_333, gapped=True), 6, 9),
        (Stream(18000, 20_000_000, gapped=False), 20, 33),
        (WIDE, 16, 720),
        (Stream(18000, 20_000_000, gapped=False, wide=True), 41, 3000),
    ],
)
def test_limits(stream: Stream, c_max: int, vrx_full: int) -> None:
    assert (stream.c_max, stream.vrx_full) == (c_max, vrx_full)


@pytest.mark.parametrize("stream", [NARROW, LINEAR, WIDE])
def test_a_spread_stream_fits_both_models(stream: Stream) -> None:
    seen = judge(stream, 0, enumerate(deadlines(stream)))
    assert seen.arrived == PICTURES * stream.packets
    assert seen.c_peak <= 2
    assert (seen.c_over, seen.vrx_out) == (0, 0)
    assert seen.vrx_min >= 0
    assert stream.vrx_full // 2 <= seen.vrx_peak <= stream.vrx_full // 2 + 1


def test_a_delay_of_the_whole_stream_empties_the_buffer() -> None:
    step_ns = NARROW.active_ns // NARROW.packets
    late = [at + 4 * step_ns for at in deadlines(NARROW)]
    assert judge(NARROW, 0, enumerate(late)).vrx_min == 0
    late = [at + 6 * step_ns for at in deadlines(NARROW)]
    assert judge(NARROW, 0, enumerate(late)).vrx_min < 0


def test_a_picture_in_one_burst_breaks_both() -> None:
    stream = Stream(100, FRAME_NS, gapped=True)
    seen = judge(stream, 0, zip(count(), repeat(0, 100), strict=False))
    assert (seen.c_peak, seen.c_over) == (100, 96)
    assert (seen.vrx_peak, seen.vrx_out) == (100, 92)


def test_a_hole_and_its_burst_are_seen() -> None:
    arrivals = deadlines(NARROW)
    held_ns = arrivals[500] + 200_000
    arrivals = [max(at, held_ns) if index >= 500 else at for index, at in enumerate(arrivals)]
    seen = judge(NARROW, 0, enumerate(arrivals))
    packets = 200_000 * NARROW.packets // NARROW.active_ns
    assert seen.c_peak == pytest.approx(packets, abs=2)
    assert seen.vrx_min == pytest.approx(4 - packets, abs=2)


def test_a_lost_packet_leaves_the_others_where_they_are() -> None:
    arrivals = list(enumerate(deadlines(WIDE)))
    del arrivals[1000:1010]
    seen = judge(WIDE, 0, arrivals)
    assert seen.arrived == PICTURES * WIDE.packets - 10
    assert (seen.c_over, seen.vrx_out) == (0, 0)
