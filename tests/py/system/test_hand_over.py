"""A pool hands the channels of a dead worker over, and some of that fails."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import shmring
from rtworkers import control, supervisor
from rtworkers.control import OPEN, Connection, Reply, Request, WorkerSilent
from rtworkers.layout import CTL_OPEN_TAKEOVER, Op
from rtworkers.slot import Slot

LOOPBACK = ("127.0.0.1", 0)
NAMES = ("one", "two", "three")
TAKES_OVER = OPEN.pack(CTL_OPEN_TAKEOVER, 0, 0)
SHORTAGES = [errno.ENOMEM, errno.ENOBUFS, errno.ETOOMANYREFS, errno.EAGAIN]


def is_takeover_of(request: Request, name: str) -> bool:
    body = request.body
    return request.op == Op.OPEN and body[: OPEN.size] == TAKES_OVER and name.encode() in body


def fail_to_send(monkeypatch: pytest.MonkeyPatch, name: str, code: int, times: int) -> list[int]:
    """Let the request that hands `name` over fail so often. Returns the failures so far."""
    real = Connection._send
    failed: list[int] = []

    def send(self: Connection, request: Request, timeout: float) -> int:
        if is_takeover_of(request, name) and len(failed) < times:
            failed.append(code)
            raise OSError(code, os.strerror(code))
        return real(self, request, timeout)

    monkeypatch.setattr(Connection, "_send", send)
    return failed


@pytest.fixture
def channels(shmring_pool: shmring.Pool) -> dict[str, Any]:
    return {name: shmring_pool.open(name, shmring.Udp(tx=64), local=LOOPBACK) for name in NAMES}


def be_silent(monkeypatch: pytest.MonkeyPatch, times: int) -> list[bool]:
    """Let so many hand-overs end without the second answer. Returns those so far."""
    real = Connection.request_row
    given_up: list[bool] = []

    def row(
        self: Connection, requests: Any, timeout: float = control.REPLY_TIMEOUT_S
    ) -> Iterator[Reply]:
        for number, reply in enumerate(real(self, requests, timeout)):
            if number == 1 and len(given_up) < times:
                given_up.append(True)
                reply.close()
                raise WorkerSilent(errno.ETIMEDOUT, "the worker lives, but did not answer OPEN")
            yield reply

    monkeypatch.setattr(Connection, "request_row", row)
    return given_up


def slot_of(pool: shmring.Pool) -> Slot:
    return pool._supervisor._slots[0]


def kill_worker(pool: shmring.Pool) -> None:
    (worker,) = pool.workers()
    os.kill(worker.pid, signal.SIGKILL)


def expect_exchange(channel: Any, epoch: int, eventually: Callable[..., Any]) -> None:
    eventually(lambda: channel.stats().epoch == epoch)
    data = b"%d" % time.monotonic_ns()
    channel.send(data, to=channel.local)
    assert channel.recv(timeout=20).data == data


@pytest.mark.parametrize("code", SHORTAGES, ids=errno.errorcode.get)
def test_a_shortage_costs_no_channel(
    shmring_pool: shmring.Pool,
    channels: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    eventually: Callable[..., Any],
    code: int,
) -> None:
    local = channels["two"].local
    failed = fail_to_send(monkeypatch, "two", code, 3)
    kill_worker(shmring_pool)
    for channel in channels.values():
        expect_exchange(channel, 2, eventually)
    assert failed == [code] * 3
    assert channels["two"].local == local


def test_a_worker_that_lacks_memory_for_a_moment_is_asked_again(
    shmring_pool: shmring.Pool,
    channels: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    eventually: Callable[..., Any],
) -> None:
    real = Connection._start
    refused = Reply(Op.OPEN, 0, -errno.ENOMEM, b"no memory for a channel")
    refusals: list[Reply] = []

    def start(self: Connection, request: Request, timeout: float) -> Callable[[], Reply]:
        if is_takeover_of(request, "two") and not refusals:
            refusals.append(refused)
            return lambda: refused
        return real(self, request, timeout)

    monkeypatch.setattr(Connection, "_start", start)
    kill_worker(shmring_pool)
    for channel in channels.values():
        expect_exchange(channel, 2, eventually)
    assert refusals


def test_a_lasting_shortage_fails_that_channel_with_a_reason(
    shmring_pool: shmring.Pool,
    channels: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    eventually: Callable[..., Any],
) -> None:
    monkeypatch.setattr(supervisor, "HAND_OVER_TRIES", 4)
    failed = fail_to_send(monkeypatch, "two", errno.ENOMEM, 1000)
    kill_worker(shmring_pool)
    for name in ("one", "three"):
        expect_exchange(channels[name], 2, eventually)
    eventually(lambda: channels["two"].state == "failed")
    assert len(failed) == 4
    with pytest.raises(shmring.ShmringError, match="not sent: Cannot allocate memory") as caught:
        channels["two"].send(b"x", to=("127.0.0.1", 9))
    assert "(tried 4 times)" in str(caught.value)
    shmring_pool.end("two")
    again = shmring_pool.open("two", local=LOOPBACK)
    expect_exchange(again, 1, eventually)


def test_a_channel_is_closed_while_it_waits_to_be_handed_over(
    shmring_pool: shmring.Pool,
    channels: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    eventually: Callable[..., Any],
) -> None:
    failed = fail_to_send(monkeypatch, "two", errno.ENOMEM, 1000)
    kill_worker(shmring_pool)
    eventually(lambda: failed)
    shmring_pool.end("two")
    expect_exchange(channels["one"], 2, eventually)
    tries = len(failed)
    time.sleep(0.5)
    assert len(failed) <= tries + 1  # one may have been under way
    again = shmring_pool.open("two", local=LOOPBACK)
    expect_exchange(again, 1, eventually)


def test_an_answer_that_comes_too_late_costs_no_channel(
    shmring_pool: shmring.Pool,
    channels: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    eventually: Callable[..., Any],
) -> None:
    given_up = be_silent(monkeypatch, 1)
    kill_worker(shmring_pool)
    for channel in channels.values():
        expect_exchange(channel, 2, eventually)
    eventually(lambda: given_up)  # the worker may serve all before the pool has read its answers
    eventually(lambda: not slot_of(shmring_pool).unserved())
    time.sleep(1.05)  # a worker that dies sooner waits for its next start
    kill_worker(shmring_pool)
    for channel in channels.values():
        expect_exchange(channel, 3, eventually)


def test_a_successor_that_stands_still_gets_the_rest_when_it_goes_on(
    shmring_pool: shmring.Pool,
    channels: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    eventually: Callable[..., Any],
) -> None:
    """It is stopped before it has taken anything. Meanwhile it is asked once, not every moment."""
    monkeypatch.setattr(supervisor, "REPLY_TIMEOUT_S", 0.2)
    real = Connection.request_row
    stopped: list[int] = []
    asked: list[float] = []

    def row(
        self: Connection, requests: Any, timeout: float = control.REPLY_TIMEOUT_S
    ) -> Iterator[Reply]:
        asked.append(timeout)
        if not stopped:
            stopped.append(self._pid)
            os.kill(self._pid, signal.SIGSTOP)
        yield from real(self, requests, timeout)

    monkeypatch.setattr(Connection, "request_row", row)
    kill_worker(shmring_pool)
    eventually(lambda: stopped)
    time.sleep(1.5)
    asked_meanwhile = len(asked)
    os.kill(stopped[0], signal.SIGCONT)
    for channel in channels.values():
        expect_exchange(channel, 2, eventually)
    assert asked_meanwhile == 1
    assert control.REPLY_TIMEOUT_S == 5.0


def test_silence_before_a_shortage_does_not_count_as_one(
    shmring_pool: shmring.Pool,
    channels: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    eventually: Callable[..., Any],
) -> None:
    monkeypatch.setattr(supervisor, "HAND_OVER_TRIES", 2)
    real = Connection.request_row
    silent: list[bool] = []

    def row(
        self: Connection, requests: Any, timeout: float = control.REPLY_TIMEOUT_S
    ) -> Iterator[Reply]:
        if len(silent) < 2:
            silent.append(True)
            raise WorkerSilent(errno.ETIMEDOUT, "the worker lives, but did not take OPEN")
        yield from real(self, requests, timeout)

    monkeypatch.setattr(Connection, "request_row", row)
    failed = fail_to_send(monkeypatch, "two", errno.ENOMEM, 1)
    kill_worker(shmring_pool)
    for channel in channels.values():
        expect_exchange(channel, 2, eventually)
    assert (len(silent), len(failed)) == (2, 1)


def test_a_socket_that_cannot_be_fetched_is_fetched_again(
    shmring_pool: shmring.Pool,
    channels: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    eventually: Callable[..., Any],
) -> None:
    """The pool lost the socket, the answer that brings another is lost, and so is the export."""
    real = Connection.request
    exports: list[float] = []

    def request(
        self: Connection, request: Request, timeout: float = control.REPLY_TIMEOUT_S
    ) -> Reply:
        if request.op == Op.EXPORT:
            exports.append(timeout)
            if len(exports) == 1:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real(self, request, timeout)

    monkeypatch.setattr(Connection, "request", request)
    slot = slot_of(shmring_pool)
    holding = slot.holdings["two"]
    with slot.lock:
        os.close(holding.socket_fd)
        holding.socket_fd = -1
    be_silent(monkeypatch, 1)
    kill_worker(shmring_pool)
    eventually(lambda: holding.socket_fd >= 0)
    assert exports == [supervisor.HEARTBEAT_PERIOD_S] * 2
    for channel in channels.values():
        expect_exchange(channel, 2, eventually)


class Lingering:
    """A lock after which the thread that made this waits whenever it has released it."""

    def __init__(self, lock: Any, linger: Callable[[], object]) -> None:
        self.lock = lock
        self.linger = linger
        self.thread = threading.current_thread()

    def __enter__(self) -> None:
        self.lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.lock.release()
        if threading.current_thread() is self.thread:
            self.linger()


def test_a_channel_that_is_being_closed_is_not_handed_over(
    shmring_pool: shmring.Pool,
    channels: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    eventually: Callable[..., Any],
) -> None:
    """The worker says that it does not serve it, and could be handed it right afterwards."""
    monkeypatch.setattr(supervisor, "HAND_OVER_TRIES", 500)
    monkeypatch.setattr(supervisor, "HAND_OVER_LONGEST_PAUSE_S", 0.02)
    real = Connection._start
    allowed = threading.Event()
    refused: list[bool] = []

    def start(self: Connection, request: Request, timeout: float) -> Callable[[], Reply]:
        if is_takeover_of(request, "two") and not allowed.is_set():
            refused.append(True)
            return lambda: Reply(Op.OPEN, 0, -errno.ENOMEM, b"no memory for a channel")
        return real(self, request, timeout)

    def linger() -> None:
        allowed.set()
        time.sleep(0.3)

    monkeypatch.setattr(Connection, "_start", start)
    kill_worker(shmring_pool)
    eventually(lambda: refused)
    slot = slot_of(shmring_pool)
    monkeypatch.setattr(slot, "lock", Lingering(slot.lock, linger))
    shmring_pool.end("two")
    assert allowed.is_set()
    assert sorted(slot.running().connection.list_channels()) == ["one", "three"]
