"""The emulated link of a channel: exact counts, and the same fate for the same seed."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest

import shmring
from shmring import Impairment

COUNT = 500

Through = Callable[..., tuple[list[bytes], dict[str, int]]]
SIDES = pytest.mark.parametrize("side", ["tx", "rx"])


@pytest.fixture
def through(shmring_open: Any, eventually: Any) -> Through:
    """Send numbered packets over an emulated link. Returns what arrived and what was counted."""
    numbers = itertools.count()

    def run(side: str, link: Impairment) -> tuple[list[bytes], dict[str, int]]:
        option = {"tx": "impair", "rx": "impair_rx"}[side]
        here, there = shmring_open(
            f"link-{next(numbers)}",
            shmring.Udp(
                tx=shmring.Queue(4 * COUNT, 64), socket=shmring.Socket(rcvbuf_bytes=1 << 22)
            ),
            **{"here" if side == "tx" else "there": {option: link}},
        )
        impaired = here if side == "tx" else there
        here.send_many([payload(number) for number in range(COUNT)])
        counts: dict[str, int] = {}

        def settled() -> bool:
            facts = impaired.stats().to_dict()
            counts.update(
                {name: facts[f"impair_{side}_{name}"] for name in KINDS},
                received=there.stats().rx_received,
            )
            return counts["offered"] == COUNT and there.rx_waiting == arriving(counts)

        eventually(settled)
        return [there.recv(timeout=0).data for _ in range(arriving(counts))], counts

    return run


KINDS = (
    "offered",
    "lost",
    "burst_lost",
    "duplicated",
    "reordered",
    "corrupted",
    "queue_dropped",
)


def payload(number: int) -> bytes:
    return b"%08d" % number * 8


def arriving(counts: dict[str, int]) -> int:
    gone = counts["lost"] + counts["burst_lost"] + counts["queue_dropped"]
    return counts["offered"] + counts["duplicated"] - gone


@SIDES
def test_losses_and_copies_are_counted_exactly(through: Through, side: str) -> None:
    link = Impairment(loss=0.1, burst_loss=0.1, duplicate=0.1, seed=3)
    got, counts = through(side, link)
    assert counts["lost"] > 0
    assert counts["burst_lost"] > 0
    assert len(set(got)) == COUNT - counts["lost"] - counts["burst_lost"]
    assert len(got) - len(set(got)) == counts["duplicated"] > 0
    assert got == sorted(got)
    assert (counts["corrupted"], counts["reordered"]) == (0, 0)


@SIDES
def test_each_corrupt_packet_has_one_bit_flipped(through: Through, side: str) -> None:
    got, counts = through(side, Impairment(corrupt=0.2, seed=4))
    flipped = [
        (int.from_bytes(data) ^ int.from_bytes(payload(number))).bit_count()
        for number, data in enumerate(got)
    ]
    assert set(flipped) == {0, 1}
    assert sum(flipped) == counts["corrupted"]


@SIDES
def test_packets_held_back_are_overtaken(through: Through, side: str) -> None:
    got, counts = through(side, Impairment(reorder=0.1, reorder_extra_ns=20_000_000, seed=5))
    assert sorted(got) == [payload(number) for number in range(COUNT)]
    assert got != sorted(got)
    assert counts["reordered"] > 0


@SIDES
def test_a_slow_link_drops_what_its_queue_does_not_hold(through: Through, side: str) -> None:
    got, counts = through(side, Impairment(rate_bps=500_000, queue_bytes=64 * 100))
    assert counts["queue_dropped"] > 0
    assert len(got) == COUNT - counts["queue_dropped"]


@SIDES
def test_the_seed_decides(through: Through, side: str) -> None:
    link = {"loss": 0.2, "duplicate": 0.1, "corrupt": 0.1}
    first = through(side, Impairment(**link, seed=1))
    assert through(side, Impairment(**link, seed=1)) == first
    assert through(side, Impairment(**link, seed=2)) != first


def test_a_delay_counts_from_the_deadline(shmring_open: Any) -> None:
    here, there = shmring_open(here={"impair": Impairment(delay_ns=30_000_000)})
    at = here.now_ns() + 20_000_000
    here.send(b"x", at=at)
    assert there.recv(timeout=20).timestamp_ns - at >= 30_000_000


def test_a_link_that_waits_for_readers_does_not_keep_its_worker_busy(
    shmring_pool: shmring.Pool, shmring_open: Any, eventually: Any
) -> None:
    link = Impairment(delay_ns=1_000_000)
    here, there = shmring_open(
        there={"engine": shmring.Udp(tx=16, rx=16, overflow="wait"), "impair_rx": link},
        engine=shmring.Udp(tx=shmring.Queue(64, 64)),
    )
    assert there.try_recv() is None  # a reader, which is waited for from now on
    here.send_many([payload(number) for number in range(64)])
    eventually(lambda: there.rx_waiting == 16)
    time.sleep(0.01)  # those that wait in the link are overdue
    (worker,) = shmring_pool.workers()
    process = psutil.Process(worker.pid)

    def used_s() -> float:
        times = process.cpu_times()
        return float(times.user + times.system)

    before, began = used_s(), time.monotonic()
    time.sleep(0.5)
    assert used_s() - before < 0.5 * (time.monotonic() - began)
    received = [there.recv(timeout=20).data for _ in range(64)]
    assert received == [payload(number) for number in range(64)]
