"""Two RTP channels and the link between them: losses, disorder, delay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import shmring
from shmring import rtp

MS = 1_000_000
STEP = 40
WAIT_S = 20.0

Pair = Callable[..., tuple[shmring.rtp.Channel, shmring.rtp.Channel]]


def speak(ch: shmring.rtp.Channel, count: int) -> None:
    ch.send_many([b"%d" % number for number in range(count)], timeout=WAIT_S)


def heard(got: list[Any]) -> list[int]:
    return [int(item.data) for item in got if isinstance(item, rtp.Frame)]


# --- both ways ------------------------------------------------------------------------------------


@pytest.mark.check
def test_two_speak_and_listen(pair: Pair, items: Any) -> None:
    here, there = pair()
    speak(here, 60)
    speak(there, 60)
    for ch in (here, there):
        assert heard(list(items(ch))) == list(range(60))


def test_a_tone_through_a_codec(pair: Pair, items: Any) -> None:
    here, there = pair(codec="pcmu", delivery="in_order")
    tone = (8000 * np.sin(2 * np.pi * 440 * np.arange(100 * STEP) / 8000)).astype(np.int16)
    here.send_block(tone)
    samples = np.asarray(there.pcm(items(there)))[: len(tone)]
    assert np.abs(samples.astype(int) - tone).max() < 400


def test_ipv6(shmring_pool: shmring.Pool) -> None:
    here = shmring_pool.open(
        "here",
        shmring.Rtp(playout=shmring.rtp.Playout(delivery="as_arrived")),
        local=("::1", 0),
    )
    there = shmring_pool.open(
        "there",
        shmring.Rtp(ptime_ns=1 * MS, direction="tx"),
        remote=here.local,
    )
    speak(there, 10)
    got = [here.recv(timeout=WAIT_S) for _ in range(9)]
    assert heard(got)[-1] >= 8
    assert isinstance(got[0], rtp.Frame)
    assert got[0].source == ("::1", there.local[1])  # type: ignore[index]


# --- a bad link -----------------------------------------------------------------------------------


@pytest.mark.check
def test_losses_become_erasures_of_the_same_length(pair: Pair, eventually: Any, items: Any) -> None:
    lossy = shmring.Impairment(loss=0.1, seed=3)
    here, there = pair(here={"impair": lossy})
    speak(here, 300)
    got = list(items(there))
    frames = heard(got)
    assert frames == sorted(set(frames))
    lost = eventually(lambda: here.stats().impair_tx_offered == 300 and here.stats().impair_tx_lost)
    assert 10 < lost < 60
    start = next(item for item in got if isinstance(item, rtp.Frame))
    erased, covered = set[int](), set[int]()
    for item in got:
        if isinstance(item, rtp.Erasure):
            number = frames[0] + item.sequence - start.sequence
            erased |= set(range(number, number + item.frames))
        if isinstance(item, rtp.Erasure) and item.dry:  # it does not know what will be missing
            number = frames[0] + (item.timestamp - start.timestamp) % 2**32 // STEP
            covered |= set(range(number, number + item.samples // STEP))
    missing = set(range(frames[0], frames[-1])) - set(frames)
    assert erased <= missing <= erased | covered
    stats = there.stats().engine
    assert stats.lost + stats.late == len(missing)


@pytest.mark.check
@pytest.mark.parametrize("delivery", ["playout", "in_order"])
def test_a_link_that_delays_reorders_and_duplicates(pair: Pair, delivery: str, items: Any) -> None:
    link = shmring.Impairment(
        delay_ns=20 * MS,
        jitter_ns=8 * MS,
        reorder=0.05,
        reorder_extra_ns=15 * MS,
        duplicate=0.05,
        seed=8,
    )
    here, there = pair(
        delivery=delivery,
        there={"impair_rx": link},
    )
    speak(here, 200)
    frames = heard(list(items(there)))
    assert frames == list(range(frames[0], 200))
    stats = there.stats().engine
    assert stats.duplicates > 0
    assert stats.jitter_ns > 0
    assert stats.lost == 0


@pytest.mark.check
def test_the_delay_grows_with_the_jitter(pair: Pair, items: Any) -> None:
    link = shmring.Impairment(delay_ns=40 * MS, jitter_ns=30 * MS, seed=2)
    free = {"first_delay_ns": 10 * MS, "min_delay_ns": 10 * MS, "max_delay_ns": 200 * MS}
    here, there = pair(there={"impair_rx": link} | free)
    speak(here, 250)
    frames = heard(list(items(there)))
    assert len(frames) > 150
    stats = there.stats().engine
    assert stats.target_ns > 20 * MS
    assert stats.target_ns <= 200 * MS


# --- life -----------------------------------------------------------------------------------------


@pytest.mark.check
def test_many_streams_on_one_worker(shmring_pool: shmring.Pool, peer: Any) -> None:
    channels = [
        shmring_pool.open(
            f"s{i}",
            shmring.Rtp(
                ssrc=i,
                first_sequence=0,
                tx=shmring.Queue(32, 160),
                direction="tx",
                report_capacity=0,
                reports="off",
            ),
            remote=peer.address,
        )
        for i in range(50)
    ]
    assert all(ch.stats().segment_bytes < 1 << 20 for ch in channels)
    for ch in channels:
        ch.send_many([bytes(160)] * 10)
    got: dict[int, list[int]] = {}
    for wire in peer.recv_all(500):
        got.setdefault(wire.ssrc, []).append(wire.sequence)
    assert got == {i: list(range(10)) for i in range(50)}
