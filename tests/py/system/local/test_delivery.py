"""Local channels: what is sent reaches all readers at its deadline, with a verdict."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from kit.engines import spelled

import shmring
from shmring import Impairment, Local
from shmring._pool_server import RemotePool

MS = 1_000_000
WAIT_S = 20.0
TOLERANT: dict[str, Any] = {"tolerance_ns": 10**9}  # the machine may stop any process for long


@pytest.fixture
def local(shmring_pool: shmring.Pool) -> Callable[..., shmring.Channel]:
    def make(name: str = "bus", **options: Any) -> shmring.Channel:
        here: shmring.Channel = shmring_pool.open(name, **spelled(Local, options))
        return here

    return make


def received(end: shmring.Channel, count: int) -> list[bytes]:
    return [end.recv(timeout=WAIT_S).data for _ in range(count)]


def test_all_readers_get_a_packet_at_its_deadline(local: Any) -> None:
    here = local(**TOLERANT)
    others = [shmring.attach("bus"), shmring.attach("bus", Local())]
    for end in (here, *others):
        assert end.try_recv() is None
    due_ns = here.now_ns() + 50 * MS
    late, soon = here.send(b"timed", at=due_ns), here.send(b"soon")
    for end in (here, *others):
        first, second = end.recv(timeout=WAIT_S), end.recv(timeout=WAIT_S)
        assert (first.data, second.data) == (b"soon", b"timed")
        assert first.timestamp_ns < due_ns <= second.timestamp_ns <= here.now_ns()
        assert (second.stamp, second.source) == ("user", None)
    here.flush(timeout=WAIT_S)
    reports = {report.sequence: report for report in here.reports(timeout=0)}
    assert reports.keys() == {soon, late}
    assert reports[late].scheduled_ns == due_ns
    assert reports[late].verdict == "on_time"
    assert due_ns <= reports[late].sent_ns <= second.timestamp_ns <= reports[late].handed_ns
    stats = here.stats()
    assert (stats.tx_sent, stats.tx_on_time, stats.rx_received, stats.rx_bytes) == (2, 2, 2, 9)
    assert stats.rx_delivery.count == 2


def test_two_processes(local: Any, python: Any) -> None:
    here = local()
    echo = python(
        "import shmring\n"
        "ch = shmring.attach('bus')\n"
        "ch.try_recv()\n"
        "print('ready', flush=True)\n"
        "for packet in ch:\n"
        "    if packet.data.startswith(b'ping'):\n"
        "        ch.send(b'pong' + packet.data[4:], at=packet.timestamp_ns + 1_000_000)\n"
    )
    assert echo.line() == "ready"
    for i in range(20):
        here.send(b"ping%d" % i)
        ping, pong = here.recv(timeout=WAIT_S), here.recv(timeout=WAIT_S)
        assert (ping.data, pong.data) == (b"ping%d" % i, b"pong%d" % i)
        assert pong.timestamp_ns >= ping.timestamp_ns + MS


def test_many_packets_keep_their_order(local: Any) -> None:
    here = local(tx=shmring.Queue(4096, 8))
    numbers = [b"%07d" % number for number in range(20_000)]
    got: list[bytes] = []
    for at in range(0, len(numbers), 1000):
        here.send_many(numbers[at : at + 1000], timeout=WAIT_S)
        got += received(here, 1000)
    assert got == numbers


def test_shared_readers_divide_the_packets(local: Any) -> None:
    here = local(reading="shared")
    other = shmring.attach("bus")
    numbers = [b"%d" % number for number in range(100)]
    here.send_many(numbers)
    got = [end.recv(timeout=WAIT_S).data for _ in range(50) for end in (here, other)]
    assert got == numbers


def test_a_packet_can_be_cancelled_or_replaced(local: Any) -> None:
    here = local(**TOLERANT)
    at = here.now_ns() + 300 * MS
    gone, old = here.send(b"gone", at=at), here.send(b"old", at=at)
    assert here.cancel(gone)
    here.replace(old, b"new", at)
    assert received(here, 1) == [b"new"]
    here.flush(timeout=WAIT_S)
    assert here.try_recv() is None
    assert here.stats().tx_cancelled == 2


def test_late_packets_are_dropped_on_request(local: Any) -> None:
    here = local(late="drop")
    here.send(b"late", at=here.now_ns() - 1000 * MS)
    here.send(b"now")
    assert received(here, 1) == [b"now"]
    assert here.stats().tx_dropped_late == 1


def test_held_packets_wait_and_purged_ones_are_gone(local: Any) -> None:
    here = local(held=True)
    here.send(b"purged")
    here.purge()
    here.send(b"kept")
    assert here.try_recv() is None
    here.release()
    assert received(here, 1) == [b"kept"]
    assert here.stats().tx_cancelled == 1


def test_awaited_packets(local: Any) -> None:
    here = local()

    async def both() -> bytes:
        waiting = asyncio.create_task(here.aio.recv(timeout=WAIT_S))
        await asyncio.sleep(0.01)
        await here.aio.send(b"awaited")
        return (await waiting).data

    assert asyncio.run(both()) == b"awaited"


def test_a_named_pool_of_another_process(python: Any, shmring_namespace: str) -> None:
    server = python(
        "import signal, shmring\n"
        "pool = shmring.Pool('x', policy='other')\n"
        "signal.signal(signal.SIGTERM, lambda *_: pool.request_stop())\n"
        "print('ready', flush=True)\n"
        "pool.serve_forever()\n"
        "pool.close()\n"
    )
    assert server.line() == "ready"
    try:
        here = RemotePool(shmring_namespace, "x").open("bus", Local())
        there = shmring.open("other", Local(), pool="x")
        for end in (here, there):
            end.send(b"through the pool")
            assert received(end, 1) == [b"through the pool"]
        (first, second) = shmring.channels(namespace=shmring_namespace)
        assert {first.engine, second.engine} == {"local"}
        assert first.local is first.remote is None
    finally:  # the workers of a named pool outlive a pool that is killed
        server.popen.terminate()
        assert server.wait() == 0


# --- the impaired path --------------------------------------------------------------------------


def through(here: shmring.Channel, count: int, eventually: Any) -> tuple[list[bytes], Any]:
    """Send numbered packets. Return what arrives, and the statistics."""
    here.send_many([b"%04d" % number for number in range(count)], timeout=WAIT_S)

    def arriving() -> int:
        stats = here.stats()
        gone = stats.impair_rx_lost + stats.impair_rx_queue_dropped
        return stats.impair_rx_offered + stats.impair_rx_duplicated - gone

    eventually(lambda: here.stats().impair_rx_offered == count and here.rx_waiting == arriving())
    return received(here, here.rx_waiting), here.stats()


def test_an_impaired_path_loses_by_its_seed(local: Any, eventually: Any) -> None:
    path = Impairment(loss=0.1, duplicate=0.1, seed=5)
    runs = []
    for name in ("one", "two"):
        here = local(name, impair=path, tx=2048)
        got, stats = through(here, 500, eventually)
        assert stats.tx_sent == stats.rx_received == 500
        assert stats.impair_rx_lost > 0
        assert len(set(got)) == 500 - stats.impair_rx_lost
        runs.append(got)
    assert runs[0] == runs[1]


def test_an_impaired_path_delays_and_reorders(local: Any, eventually: Any) -> None:
    here = local(impair=Impairment(delay_ns=20 * MS, jitter_ns=5 * MS, reorder=0.2, seed=1))
    got, stats = through(here, 200, eventually)
    assert sorted(got) == [b"%04d" % number for number in range(200)]
    assert (got == sorted(got)) is (stats.impair_rx_reordered == 0)
    assert stats.impair_rx_reordered > 0
    here.flush(timeout=WAIT_S)
    sequence = here.send(b"one")
    arrived_ns = here.recv(timeout=WAIT_S).timestamp_ns
    here.flush(timeout=WAIT_S)
    (sent_ns,) = [
        report.sent_ns for report in here.reports(timeout=0) if report.sequence == sequence
    ]
    assert arrived_ns >= sent_ns + 15 * MS


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "fix"),
    [
        ({"local": ("127.0.0.1", 0)}, "no socket"),
        ({"remote": ("127.0.0.1", 9)}, "no socket"),
        ({"impair_rx": Impairment()}, "use impair"),
    ],
)
def test_options_that_need_a_socket_are_refused(
    local: Any, options: dict[str, Any], fix: str
) -> None:
    (name,) = options
    with pytest.raises(shmring.errors.BadConfig, match=f"{name} cannot be used with Local.*{fix}"):
        local(**options)


@pytest.mark.parametrize("name", ["socket", "direction", "align"])
def test_fields_of_other_engines_are_unknown(name: str) -> None:
    with pytest.raises(TypeError, match=f"Local has no field '{name}'"):
        Local(**{name: None})


def test_addresses_are_refused(local: Any) -> None:
    here = local()
    for call in (here.send, here.try_send):
        with pytest.raises(shmring.errors.BadAddress, match="leave out to"):
            call(b"x", to=("127.0.0.1", 9))
    assert (here.local, here.remote) == (None, None)
    assert "on this host" in repr(here)


def test_the_engine_that_is_given_must_fit(local: Any, shmring_pool: shmring.Pool) -> None:
    local("bus")
    shmring_pool.open("wire", local=("127.0.0.1", 0))
    assert type(shmring.attach("bus")) is shmring.Channel
    with pytest.raises(shmring.errors.BadConfig, match="leave out Udp"):
        shmring.attach("bus", shmring.Udp())
    with pytest.raises(shmring.errors.BadConfig, match="leave out Local"):
        shmring.attach("wire", Local())


def test_a_tap_reads_without_being_noticed(local: Any) -> None:
    here = local()
    look = shmring.attach("bus", readonly=True)
    here.send(b"seen")
    assert received(here, 1) == [b"seen"]
    deadline = time.monotonic() + WAIT_S
    while (packet := look.try_recv()) is None:
        assert time.monotonic() < deadline
    assert packet.data == b"seen"
