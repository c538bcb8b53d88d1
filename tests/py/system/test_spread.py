"""A batch that is spread: what the receiver's kernel saw."""

from __future__ import annotations

import itertools
import statistics
from typing import Any

import pytest

import shmring

pytestmark = pytest.mark.check

HERE = ("127.0.0.1", 0)
MS = 1_000_000
GAP_NS = 2 * MS
COUNT = 20
ROUNDS = 10
START_NS = 100 * MS


def arrivals(far: shmring.Channel) -> list[shmring.Packet[Any]]:
    packets = [far.recv(timeout=20) for _ in range(COUNT * ROUNDS)]
    assert {packet.stamp for packet in packets} == {shmring.types.Stamp.KERNEL}
    return packets


def is_spread(packets: list[shmring.Packet[Any]]) -> None:
    """The best round counts: a loaded machine delays packets, but never spreads those of a burst
    so that the median of their gaps is right."""
    stamps = [packet.timestamp_ns for packet in packets]
    medians = [
        statistics.median(b - a for a, b in itertools.pairwise(stamps[i : i + COUNT]))
        for i in range(0, len(stamps), COUNT)
    ]
    best = min(medians, key=lambda median: abs(median - GAP_NS))
    assert best == pytest.approx(GAP_NS, rel=0.1), medians


def test_a_batch_arrives_spread(shmring_pool: shmring.Pool) -> None:
    far = shmring_pool.open(
        "far",
        shmring.Udp(socket=shmring.Socket(rx_stamp="kernel", gro=False)),
        local=HERE,
    )
    near = shmring_pool.open("near", remote=far.local)
    start = near.now_ns() + START_NS
    for number in range(ROUNDS):
        at = start + number * COUNT * GAP_NS
        near.send_many([b"part"] * COUNT, at=at, spread_ns=COUNT * GAP_NS)
    is_spread(arrivals(far))


def test_a_picture_arrives_spread(shmring_pool: shmring.Pool) -> None:
    far = shmring_pool.open(
        "far",
        shmring.Udp(socket=shmring.Socket(rx_stamp="kernel", gro=False)),
        local=HERE,
    )
    video = shmring.Rtp(payload_type=96, clock_rate=90_000, ptime_ns=(COUNT + 10) * GAP_NS)
    near = shmring_pool.open("video", video, remote=far.local)
    start = near.now_ns() + START_NS
    for _ in range(ROUNDS):
        near.send_many([b"part"] * COUNT, at=start, spread_ns=COUNT * GAP_NS)
    packets = arrivals(far)
    is_spread(packets)
    times = [int.from_bytes(packet.data[4:8], "big") for packet in packets]
    pictures = [len(list(same)) for _, same in itertools.groupby(times)]
    assert pictures == [COUNT] * ROUNDS
    markers = [bool(packet.data[1] & 0x80) for packet in packets]
    assert markers == ([False] * (COUNT - 1) + [True]) * ROUNDS
