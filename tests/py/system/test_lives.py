"""The life of a channel, the same for each engine: it is opened, attached, held and closed, and its
worker or a program dies. What only one engine does is in the tests of that engine."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from kit.waiting import PATIENCE_S, until
from kit.wire import udp

import shmring
from shmring import control
from shmring.rtp import Rtcp

HERE = ("127.0.0.1", 0)
QUIET_S = 0.1
NAME = "life"

USER = f"""
import sys, shmring
ch = shmring.attach("{NAME}")
if hasattr(ch, "update"):
    ch.update(b"user")
elif hasattr(ch, "send"):
    ch.send(b"user")
print("ready", flush=True)
sys.stdin.read()
"""


class Engine(NamedTuple):
    options: Callable[[tuple[str, int]], dict[str, Any]]
    """Of `open`, for a partner at this address."""
    head_bytes: int = 0
    """What stands before the payload on the wire."""


ENGINES = {
    "udp": Engine(lambda to: {"remote": to, "local": HERE}),
    "local": Engine(lambda _: {"engine": shmring.Local()}),
    "cyclic": Engine(lambda to: {"engine": shmring.Cyclic(period_ns=2_000_000), "remote": to}),
    "netflux": Engine(
        lambda to: {
            "engine": shmring.Netflux(send=4, receive=4, cycle_ns=2_000_000, values=b"born"),
            "local": HERE,
            "remote": to,
        },
        2,
    ),
    "proxy": Engine(lambda to: {"engine": shmring.Proxy(), "local": HERE, "remote": to}),
    "rtp": Engine(
        lambda to: {
            "engine": shmring.Rtp(ptime_ns=5_000_000, rtcp=Rtcp(port="next_port")),
            "local": HERE,
            "remote": to,
        },
        12,
    ),
}


class Life:
    """The channel of a test, and the sockets around it."""

    def __init__(self, name: str, pool: shmring.Pool) -> None:
        self.name = name
        self.engine = ENGINES[name]
        self.pool = pool
        self.partner, self.client = udp(), udp()
        self.channel = self.open()

    def open(self, **options: Any) -> Any:
        given = self.engine.options(self.partner.getsockname()) | options
        self.channel = self.pool.open(NAME, **given)
        return self.channel

    def put(self, end: Any, data: bytes) -> None:
        """Give the channel something to send, by one of its ends."""
        if hasattr(end, "update"):
            end.update(data)
        elif hasattr(end, "send"):
            end.send(data)
        else:
            self.client.sendto(data, end.local)

    def take(self) -> bytes:
        """Return what arrives next. Raises `TimeoutError`, `ChannelClosed`."""
        if self.name == "local":
            return bytes(self.channel.recv(timeout=self.partner.gettimeout()).data)
        return self.partner.recv(2048)[self.engine.head_bytes :]

    def passes(self, end: Any, data: bytes) -> None:
        self.put(end, data)
        self.comes(data)

    def comes(self, data: bytes) -> None:
        until(lambda: self.take() == data, f"{data!r} does not come")

    def rest(self) -> set[bytes]:
        """Return what comes until nothing comes."""
        self.partner.settimeout(QUIET_S)
        came = set()
        try:
            while True:
                came.add(self.take())
        except (TimeoutError, shmring.ChannelClosed):
            return came
        finally:
            self.partner.settimeout(PATIENCE_S)


@pytest.fixture(params=ENGINES)
def life(request: pytest.FixtureRequest, shmring_pool: shmring.Pool) -> Iterator[Life]:
    made = Life(request.param, shmring_pool)
    yield made
    made.partner.close()
    made.client.close()


def test_an_end_leaves_nothing_and_name_and_port_are_free(life: Life) -> None:
    life.passes(life.channel, b"born")
    local, kind = life.channel.local, type(life.channel)
    life.channel.close()
    life.channel.close()
    assert life.channel.closed
    assert life.pool.channels() == []
    for port in (local[1], local[1] + (kind is shmring.rtp.Channel)) if local else ():
        udp(port=port).close()
    life.passes(life.open(), b"anew")


@pytest.mark.parametrize("life", [name for name in ENGINES if name != "proxy"], indirect=True)
def test_an_end_wakes_who_waits(life: Life) -> None:
    ch = life.channel
    raised: list[BaseException] = []

    def wait() -> None:
        try:
            while True:
                ch.recv(timeout=PATIENCE_S)
        except shmring.ShmringError as error:
            raised.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    until(lambda: ch.stats().readers)
    ch.close()
    thread.join(PATIENCE_S)
    assert [type(error) for error in raised] == [shmring.ChannelClosed]


def test_everybody_learns_of_the_end(life: Life) -> None:
    other = shmring.attach(NAME)
    life.passes(other, b"born")
    life.channel.close()
    assert other.state == "closed"
    uses = [getattr(other, name) for name in ("hold", "snapshot") if hasattr(other, name)]
    if hasattr(other, "recv"):
        # What has arrived may still be read.
        uses += [lambda: life.put(other, b"late"), lambda: [other.recv() for _ in range(9999)]]
    for use in uses:
        with pytest.raises(shmring.ChannelClosed, match="was closed"):
            use()
    with pytest.raises(shmring.ChannelNotFound):
        shmring.attach(NAME)


def test_an_opener_that_detaches_leaves_the_channel_to_others(life: Life) -> None:
    opener = life.channel
    with shmring.attach(NAME) as other:
        life.channel = other
        life.passes(other, b"born")
        opener.detach()
        life.passes(other, b"goes")
        opener.close()
        assert other.state == "open"
        assert control.end(NAME).before == "open"
        assert other.state == "closed"


def test_who_attaches_gets_the_same_kind_and_ends_nothing(life: Life) -> None:
    with shmring.attach(NAME) as other:
        assert type(other) is type(life.channel)
        life.passes(other, b"born")
        other.close()
        other.close()
    life.passes(life.channel, b"goes")
    with shmring.attach(NAME, readonly=True) as looking:
        assert type(looking) is type(life.channel)
        assert looking.stats().tx_sent >= 0
        with pytest.raises(shmring.errors.NoPermission):
            looking.hold()
    assert life.channel.state == "open"
    life.passes(life.channel, b"goes")


def test_pickling_is_attaching(life: Life) -> None:
    ch = life.channel
    with pickle.loads(pickle.dumps(ch)) as copy:
        assert type(copy) is type(ch)
        assert (copy.name, copy.namespace) == (NAME, ch.namespace)
        assert " readonly>" not in repr(copy)
        assert (copy.local, copy.remote) == (ch.local, ch.remote)
        life.channel = copy
        life.passes(copy, b"copy")
    life.channel = ch
    life.passes(ch, b"goes")
    with shmring.attach(NAME, readonly=True) as looking:
        assert " readonly>" in repr(pickle.loads(pickle.dumps(looking)))


def test_a_forked_child_is_a_party_of_its_own(life: Life) -> None:
    life.passes(life.channel, b"born")
    child = os.fork()
    if child == 0:
        try:
            life.put(life.channel, b"fork")
            if hasattr(life.channel, "flush"):
                life.channel.flush(timeout=PATIENCE_S)
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    if not hasattr(life.channel, "update"):  # what a writer that is gone has put may be stale
        life.comes(b"fork")
    life.passes(life.channel, b"goes")


def test_nothing_leaves_a_held_channel(life: Life) -> None:
    life.passes(life.channel, b"born")
    life.channel.hold()
    life.rest()
    life.put(life.channel, b"held")
    assert life.rest() == set()
    life.channel.release()
    life.comes(b"held")


def test_a_channel_may_be_opened_held(life: Life) -> None:
    life.channel.close()
    life.rest()
    ch = life.open(held=True)
    life.put(ch, b"held")
    assert life.rest() == set()
    ch.release()
    life.comes(b"held")


def test_a_killed_program_leaves_the_channel_to_others(life: Life, python: Any) -> None:
    life.passes(life.channel, b"born")
    user = python(USER)
    assert user.line() == "ready"
    before = life.channel.stats().producers
    user.kill()
    until(lambda: life.channel.stats().producers <= max(before - 1, 0) or before == 0)
    life.passes(life.channel, b"goes")
    assert life.channel.state == "open"


def test_a_killed_worker_is_replaced(life: Life) -> None:
    other = shmring.attach(NAME)
    life.passes(other, b"born")
    (worker,) = life.pool.workers()
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    until(lambda: life.channel.stats().epoch == 2)
    for end in (life.channel, other):
        life.passes(end, b"goes")
        assert end.state == "open"
    other.close()
