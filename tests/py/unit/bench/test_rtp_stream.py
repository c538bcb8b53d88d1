"""How `shmring bench rtp` judges a stream: from stamps and RTP timestamps alone."""

from __future__ import annotations

import pytest

from shmring_bench.rtp_stream import PTIME_NS, SAMPLES, Arrival, judge

MS = 1_000_000


def arrivals(late_ns, first_timestamp=0):
    return [
        Arrival(10**18 + i * PTIME_NS + late, (first_timestamp + i * SAMPLES) % 2**32)
        for i, late in enumerate(late_ns)
    ]


def test_a_stream_on_its_grid():
    figures = judge(arrivals([500, 0, 700, 300]), 4)
    assert figures["off_grid", "percent"] == figures["silence", "percent"] == 0
    assert figures["error_max", "ns"] == 700


def test_the_grid_goes_through_the_earliest_packet():
    figures = judge(arrivals([150_000, 150_000, 0, 150_000]), 4)
    assert figures["off_grid", "percent"] == 75
    assert figures["error_max", "ns"] == 150_000


def test_silence_is_what_comes_after_its_turn():
    """The receiver starts 20 ms behind the first packet."""
    figures = judge(arrivals([MS, 20 * MS, 22 * MS, 0]), 4)
    assert figures["silence", "percent"] == 25


def test_lost_packets_are_off_the_grid_and_silent():
    whole = arrivals([0] * 4)
    figures = judge([whole[0], whole[1], whole[3]], 4)
    for metric in ("lost", "off_grid", "silence"):
        assert figures[metric, "percent"] == 25
    assert figures["error_max", "ns"] == 0


def test_timestamps_wrap():
    assert judge(arrivals([0, 0, 5, 0], 2**32 - SAMPLES), 4)["error_max", "ns"] == 5


def test_nothing_at_all_is_an_error():
    with pytest.raises(OSError, match="no packet"):
        judge([], 4)
