"""A Netflux partner by hand: a plain socket as the other side, driven by the test."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from kit.engines import spelled

import shmring

LOOPBACK = "127.0.0.1"
PATIENCE_S = 20.0
MS = 1_000_000

LinkOpener = Callable[..., shmring.netflux.Channel]


class Datagram(NamedTuple):
    """What was on the wire."""

    number: int
    feedback: int
    values: bytes


class Partner:
    """A socket of the test's own, and the link it talks to."""

    def __init__(self, host: str = LOOPBACK) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self.socket.bind((host, 0))
        self.socket.settimeout(PATIENCE_S)
        self.address: tuple[str, int] = self.socket.getsockname()[:2]
        self.other: tuple[str, int] | None = None

    def send(self, number: int, values: bytes, feedback: int = 0) -> None:
        assert self.other is not None
        self.socket.sendto(bytes((number, feedback)) + values, self.other)

    def recv(self) -> Datagram:
        raw = self.socket.recv(65536)
        return Datagram(raw[0], raw[1], raw[2:])

    def recv_until(self, values: bytes) -> list[Datagram]:
        """All that comes, up to the first with these values."""
        got = [self.recv()]
        while got[-1].values != values:
            assert len(got) < 100_000, f"{values!r} does not come, but {got[-1].values!r}"
            got.append(self.recv())
        return got

    def empty(self) -> list[Datagram]:
        """What has come by now."""
        self.socket.settimeout(0)
        got = []
        try:
            while True:
                got.append(self.recv())
        except BlockingIOError:
            return got
        finally:
            self.socket.settimeout(PATIENCE_S)


@pytest.fixture
def partner() -> Iterator[Partner]:
    made = Partner()
    yield made
    made.socket.close()


@pytest.fixture
def link(shmring_pool: shmring.Pool, partner: Partner) -> LinkOpener:
    """Opens a link that talks to `partner`: 4 bytes each way, every 2 ms, no watchdog."""

    def make(name: str = "plc", **options: Any) -> shmring.netflux.Channel:
        given = {
            "local": (LOOPBACK, 0),
            "remote": partner.address,
            "send": 4,
            "receive": 4,
            "cycle_ns": 2 * MS,
            "watchdog_ns": 0,
        }
        channel = shmring_pool.open(name, **spelled(shmring.Netflux, given | options))
        partner.other = channel.local
        return channel

    return make
