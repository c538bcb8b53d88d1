"""Local channels whose worker or sender is killed: nothing comes twice, and the counts balance."""

from __future__ import annotations

import itertools
import os
import signal
import time
from typing import Any

import pytest

import shmring
from shmring import Impairment, Local

pytestmark = pytest.mark.check

WAIT_S = 20.0
PACKETS = 40_000
KILLS = 3
VERDICTS = (
    *("on_time", "enqueued_late", "woke_late", "send_slow", "queued_behind"),
    *("dropped_late", "cancelled", "failed", "producer_halted"),
)

SENDER = """
import itertools, sys, shmring
ch = shmring.attach("bus")
for number in itertools.count():
    at = ch.now_ns() + 200_000 if number % 2 and {timed} else None
    ch.send(b"%08d" % number, at, timeout=20)
    if number == 1000:
        print("running", flush=True)
"""


def verdicts(stats: Any) -> int:
    return sum(getattr(stats, f"tx_{name}") for name in VERDICTS) + stats.tx_orphans


def kill_workers(here: shmring.Channel, pool: shmring.Pool, read: Any) -> None:
    for epoch in range(1, KILLS + 1):
        until = time.monotonic() + 0.15
        while time.monotonic() < until:
            read()
        os.kill(pool.workers()[0].pid, signal.SIGKILL)
        give_up = time.monotonic() + WAIT_S
        while here.stats().epoch == epoch:
            read()
            assert time.monotonic() < give_up


def drain(here: shmring.Channel, read: Any) -> None:
    give_up = time.monotonic() + WAIT_S
    while here.tx_waiting or here.rx_waiting:
        read()
        assert time.monotonic() < give_up
    read()


@pytest.mark.parametrize("timed", [False, True], ids=["at-once", "timed"])
def test_the_worker_is_killed(
    shmring_pool: shmring.Pool, python: Any, eventually: Any, timed: bool
) -> None:
    here = shmring_pool.open("bus", Local(tx=shmring.Queue(4096, 8), overflow="wait"))
    got: list[int] = []

    def read() -> None:
        while (packet := here.try_recv()) is not None:
            got.append(int(packet.data))

    read()
    sender = python(SENDER.format(timed=timed))
    while not got:
        read()
    kill_workers(here, shmring_pool, read)
    sender.kill()
    drain(here, read)
    queued = here.stats().tx_next_sequence
    eventually(lambda: verdicts(here.stats()) == queued)
    stats = here.stats()
    assert len(set(got)) == len(got), "a packet came twice"
    assert stats.tx_sent <= len(got) <= stats.tx_sent + stats.tx_failed
    assert stats.tx_failed <= KILLS * 64
    assert stats.rx_overwritten == here.lost == 0
    if not timed:
        assert got == sorted(got)


def test_the_worker_is_killed_with_packets_on_an_impaired_path(
    shmring_pool: shmring.Pool, python: Any, eventually: Any
) -> None:
    """What was in the path is lost with the worker, and counted."""
    here = shmring_pool.open(
        "bus",
        Local(tx=shmring.Queue(1 << 16, 8)),
        impair=Impairment(delay_ns=20_000_000, loss=0.01, seed=7),
    )
    got: list[int] = []

    def read() -> None:
        while (packet := here.try_recv()) is not None:
            got.append(int(packet.data))

    read()
    sender = python(SENDER.format(timed=False))
    while not got:
        read()
    kill_workers(here, shmring_pool, read)
    sender.kill()
    drain(here, read)

    def balance() -> tuple[int, int]:
        read()
        s = here.stats()
        gone = s.impair_rx_lost + s.impair_rx_queue_dropped + s.rx_lost_takeover + here.lost
        return s.tx_sent - gone, s.tx_sent + s.tx_failed - gone

    eventually(lambda: balance()[0] <= len(got) <= balance()[1])
    assert len(set(got)) == len(got)
    assert here.stats().rx_lost_takeover > 0


def test_senders_are_killed(shmring_pool: shmring.Pool, python: Any, eventually: Any) -> None:
    here = shmring_pool.open("bus", Local(tx=shmring.Queue(256, 8), overflow="wait"))
    got: list[int] = []
    starts: list[int] = []

    def read() -> None:
        while (packet := here.try_recv()) is not None:
            got.append(int(packet.data))
            if got[-1] == 0:
                starts.append(len(got))

    read()
    for kill in range(KILLS):
        sender = python(SENDER.format(timed=True))
        while len(starts) <= kill or len(got) < starts[kill] + 500:
            read()
        sender.kill()
    drain(here, read)
    queued = here.stats().tx_next_sequence
    eventually(lambda: verdicts(here.stats()) == queued)
    stats = here.stats()
    assert stats.tx_sent == len(got)
    assert stats.tx_orphans <= KILLS
    assert len(starts) == KILLS
    for one, two in itertools.pairwise(n for n in got if n % 2 == 0):
        assert two == one + 2 or two == 0
