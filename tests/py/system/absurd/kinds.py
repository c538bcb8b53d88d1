"""One object of every kind, opened anew when a call has ended it."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import random
import socket
import threading
from collections.abc import Callable
from typing import Any

from values import argument

import shmring
from shmring import udt
from shmring._channel_base import ChannelEnd
from shmring.netflux.records import UDINT, Codec

HERE = ("127.0.0.1", 0)
UDP = shmring.Udp()
CLOSING = frozenset({"close", "detach"})
# What ends the pool, on which all the others are.
ENDS_THE_POOL = frozenset({"close", "detach", "serve_forever", "request_stop"})
ENGINES = (shmring.Udp, shmring.Rtp, shmring.Netflux, shmring.Cyclic, shmring.Proxy, shmring.Local)


@dataclasses.dataclass
class Pair:
    """A record."""

    first: UDINT = 0
    second: UDINT = 0


class Loose:
    """A record that passes on whatever it is given."""

    size = 8

    def encode(self, value: Any, /) -> Any:
        return value

    def decode(self, payload: Any, /) -> Any:
        return payload

    def layout_hash(self) -> str:
        return "loose"


class Slot:
    """An object of one kind."""

    def __init__(self, kind: str, make: Callable[[], Any], skipped: frozenset[str]) -> None:
        self.kind = kind
        self._make = make
        self._lock = threading.Lock()
        self.thing = make()
        one = self.thing[0] if isinstance(self.thing, tuple) else self.thing
        self.methods = sorted(_calls(one, skipped))
        if hasattr(one, "aio"):
            self.methods += [f"aio.{name}" for name in _calls(one.aio, skipped)]

    def take(self, draw: random.Random) -> Any:
        """Return the object, or one of both ends of a connection."""
        thing = self.thing
        return draw.choice(thing) if isinstance(thing, tuple) else thing

    def renew(self, ended: Any) -> None:
        """Replace an object after a call that may have ended it."""
        with self._lock:
            things = self.thing if isinstance(self.thing, tuple) else (self.thing,)
            if not any(ended is thing for thing in things):
                return  # another thread did that
            for thing in things:
                end(thing)
            self.thing = self._make()


def _calls(thing: Any, skipped: frozenset[str]) -> list[str]:
    return [
        name
        for name in dir(type(thing))
        if not name.startswith("_") and callable(getattr(type(thing), name)) and name not in skipped
    ]


def end(thing: Any) -> None:
    """End a channel, or close something else, without waiting."""
    with contextlib.suppress(shmring.ShmringError):
        if isinstance(thing, (ChannelEnd, udt.UdtSocket)):
            thing.close(linger=0)
        elif not isinstance(thing, shmring.Pool):
            thing.close()


class World:
    """A pool, and a slot for each kind."""

    def __init__(self, pool: shmring.Pool) -> None:
        self.pool = pool
        self._numbers = itertools.count()
        self.listener = udt.listen(HERE, pool=pool)
        self.message_listener = udt.listen(HERE, pool=pool, messages=True)
        engines: dict[str, Any] = {
            "voice": shmring.Rtp(codec="pcmu"),
            "payloads": shmring.Rtp(),
            "link": shmring.Netflux(send=8, receive=8),
            "record": shmring.Netflux(send=Codec(Pair), receive=Codec(Pair)),
            "loose": shmring.Netflux(send=Loose(), receive=Loose()),
            "cyclic": shmring.Cyclic(period_ns=10**6, payload=b"12345678"),
        }
        makers: dict[str, Callable[[], Any]] = {
            "plain": lambda: self.to_itself("plain"),
            "shared": lambda: self.to_itself("shared", shmring.Udp(reading="shared", late="drop")),
            "tap": self.tap,
            "local": lambda: pool.open(self.name("local"), shmring.Local()),
            "ticks": lambda: shmring.ticks(10**6, pool=pool),
            "proxy": lambda: pool.open(
                self.name("proxy"),
                shmring.Proxy(),
                local=HERE,
                remote=("127.0.0.1", 9),
            ),
            "stream": lambda: self.connected(self.listener),
            "messages": lambda: self.connected(self.message_listener, messages=True),
            "listener": lambda: udt.listen(HERE, pool=pool),
            "port": lambda: udt.Port(HERE, pool=pool),
            "pool": lambda: pool,
        }
        for kind, engine in engines.items():
            makers[kind] = lambda kind=kind, engine=engine: self.to_itself(kind, engine)
        self.slots = [
            Slot(kind, make, ENDS_THE_POOL if kind == "pool" else frozenset())
            for kind, make in makers.items()
        ]

    def name(self, kind: str) -> str:
        return f"{kind}-{next(self._numbers)}"

    def to_itself(self, kind: str, engine: Any = UDP) -> Any:
        """A channel that sends to itself."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(HERE)
            where = sock.getsockname()
            engine = dataclasses.replace(engine, socket=shmring.Socket(existing=sock))
            return self.pool.open(self.name(kind), engine, remote=where)

    def tap(self) -> Any:
        name = self.pool.open(self.name("seen"), local=HERE).name
        return shmring.attach(name, namespace=self.pool.namespace, readonly=True)

    def connected(self, listener: udt.UdtListener, **options: Any) -> Any:
        sock = udt.connect(listener.local, pool=self.pool, **options)
        while True:
            peer = listener.accept(timeout=20)[0]
            if peer.remote[1] == sock.local[1]:
                return sock, peer
            peer.close(linger=0)

    def words(self, draw: random.Random) -> dict[str, Callable[[], Any]]:
        """Arguments by the names of parameters."""
        return {
            "engine": lambda: self.engine(draw),
            "forward": lambda: self.impairment(draw),
            "backward": lambda: self.impairment(draw),
            "impair": lambda: self.impairment(draw),
        }

    def engine(self, draw: random.Random) -> Any:
        return self.made(draw.choice(ENGINES), draw)

    def impairment(self, draw: random.Random) -> Any:
        return self.made(shmring.Impairment, draw)

    def made(self, kind: Any, draw: random.Random) -> Any:
        """An object with one or two absurd fields, or none."""
        names = [field.name for field in dataclasses.fields(kind)]
        chosen = draw.sample(names, min(len(names), draw.choice((0, 1, 2))))
        return kind(**{name: argument(name, draw, {}) for name in chosen})

    def keep_moving(self) -> None:
        """Take what arrived, so that no sender waits for a peer that nobody reads."""
        for slot in self.slots:
            if slot.kind in ("stream", "messages"):
                for sock in slot.thing:
                    with contextlib.suppress(shmring.ShmringError):
                        sock.set_max_bandwidth(None)
                        take = sock.recvmsg if sock.messages else sock.recv
                        while take(timeout=0):
                            pass

    def close(self) -> None:
        for slot in self.slots:
            for thing in slot.thing if isinstance(slot.thing, tuple) else (slot.thing,):
                end(thing)
        self.listener.close()
        self.message_listener.close()
