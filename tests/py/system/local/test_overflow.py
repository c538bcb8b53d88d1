"""A reader of a local channel that is too slow: it loses the oldest packets, or senders wait."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import pytest
from kit.engines import spelled

import shmring
from shmring import Impairment, Local

WAIT_S = 20.0
ROOM = 64


@pytest.fixture
def bus(shmring_pool: shmring.Pool) -> Callable[..., shmring.Channel]:
    def make(**options: Any) -> shmring.Channel:
        given = {"tx": shmring.Queue(ROOM, 64), "rx": ROOM} | options
        here: shmring.Channel = shmring_pool.open("bus", **spelled(Local, given))
        assert here.try_recv() is None
        return here

    return make


def numbers(count: int) -> list[bytes]:
    return [b"%08d" % number for number in range(count)]


def fill(here: shmring.Channel, *, read: bool = False) -> None:
    """Send until there is no room. read: this end is not the slow reader."""
    with contextlib.suppress(shmring.errors.SendTimeout):
        for number in range(100_000):
            here.send(b"%08d" % number, timeout=0.1)
            while read and here.try_recv() is not None:
                pass
        pytest.fail("nobody had to wait")


def test_a_slow_reader_loses_the_oldest(bus: Any) -> None:
    here = bus(overflow="oldest")
    for at in range(0, 1000, ROOM):
        here.send_many(numbers(1000)[at : at + ROOM], timeout=WAIT_S)
        here.flush(timeout=WAIT_S)
    kept = [packet.data for packet in iter(here.try_recv, None)]
    assert kept == numbers(1000)[-len(kept) :]
    assert here.lost == 1000 - len(kept) == here.stats().rx_overwritten
    assert 0 < len(kept) <= ROOM


@pytest.mark.parametrize("path", [None, Impairment(duplicate=0.2, seed=3)])
def test_a_slow_reader_stops_the_senders(bus: Any, path: Impairment | None) -> None:
    """The rings fill from the reader to the sender; when it reads again, nothing is missing."""
    here = bus(overflow="wait", impair=path)
    fill(here)
    stuck = here.stats()
    assert 0 < stuck.tx_waiting <= ROOM
    assert stuck.rx_overwritten == 0
    assert stuck.tx_retries > 0
    queued = stuck.tx_next_sequence
    got: list[bytes] = []
    while len(set(got)) < queued:
        got.append(here.recv(timeout=WAIT_S).data)
    assert sorted(set(got)) == numbers(queued)
    assert got == sorted(got)
    assert here.lost == 0
    here.flush(timeout=WAIT_S)
    assert here.stats().tx_sent == queued


def test_nothing_is_lost_at_full_speed(bus: Any) -> None:
    here = bus(overflow="wait")
    wanted = numbers(30_000)
    sender = threading.Thread(target=lambda: here.send_many(wanted, timeout=WAIT_S))
    sender.start()
    got = [here.recv(timeout=WAIT_S).data for _ in wanted]
    sender.join()
    assert got == wanted
    assert here.stats().rx_overwritten == 0


def test_timed_packets_wait_for_a_reader_too(bus: Any) -> None:
    here = bus(overflow="wait")
    here.send_many(numbers(ROOM))
    here.flush(timeout=WAIT_S)  # the ring of arrived packets is as full as it may be
    at = here.now_ns() + 20_000_000
    here.send(b"timed", at=at)
    while here.stats().tx_retries == 0 and here.tx_waiting:
        assert here.now_ns() < at + WAIT_S * 1e9
    got = [here.recv(timeout=WAIT_S) for _ in range(ROOM + 1)]
    assert got[-1].data == b"timed"
    assert got[-1].timestamp_ns >= at


def test_a_reader_that_dies_stops_nobody(bus: Any, python: Any) -> None:
    here = bus(overflow="wait")
    reader = python(
        "import shmring, time\n"
        "ch = shmring.attach('bus')\n"
        "ch.try_recv()\n"
        "print('ready', flush=True)\n"
        "time.sleep(1000)\n"
    )
    assert reader.line() == "ready"
    fill(here, read=True)
    reader.kill()
    here.send(b"again", timeout=WAIT_S)
    while here.recv(timeout=WAIT_S).data != b"again":
        pass
