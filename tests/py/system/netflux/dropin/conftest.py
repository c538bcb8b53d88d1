"""What tests of links share: a partner that is nothing but a socket."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from kit import wire

LOOPBACK = "127.0.0.1"


class Partner:
    """The other end: sends and takes datagrams as a test says."""

    def __init__(self, host: str = LOOPBACK) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_DGRAM)
        self.sock.bind((host, 0))
        self.sock.settimeout(20)
        self.host, self.port = self.sock.getsockname()[:2]
        self.to: tuple[str, int] | None = None
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def send(self, number: int, payload: bytes = b"", feedback: int = 0) -> None:
        assert self.to is not None
        self.sock.sendto(bytes([number % 256, feedback % 256]) + payload, self.to)

    def take(self) -> tuple[int, int, bytes, int]:
        """The next datagram: number, feedback, payload, source port."""
        data, source = self.sock.recvfrom(4096)
        return data[0], data[1], data[2:], source[1]

    def drain(self) -> list[tuple[int, int, bytes, int]]:
        """All that are there."""
        taken = []
        self.sock.setblocking(False)
        try:
            while True:
                taken.append(self.take())
        except BlockingIOError:
            return taken
        finally:
            self.sock.settimeout(20)

    def take_until(self, fits: Callable[[tuple[int, int, bytes, int]], object]) -> None:
        """Take datagrams until one fits."""
        give_up = time.monotonic() + 20
        while not fits(self.take()):
            assert time.monotonic() < give_up, "it did not come"

    def keep_sending(self, payload: bytes, first: int = 1, every_s: float = 0.002) -> None:
        """Send on and on, in a thread, until `stop`."""

        def run() -> None:
            number = first
            while not self._stopped.wait(every_s):
                self.send(number, payload)
                number += 1

        self._stopped.clear()
        self._thread = threading.Thread(target=run)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def close(self) -> None:
        self.stop()
        self.sock.close()


@pytest.fixture
def make_partner() -> Iterator[Callable[..., Partner]]:
    """Make partners on loopback."""
    made = []

    def make(host: str = LOOPBACK) -> Partner:
        made.append(Partner(host))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def partner(make_partner: Callable[..., Partner]) -> Partner:
    """One partner on 127.0.0.1."""
    return make_partner()


@pytest.fixture
def free_port() -> int:
    """A port of 127.0.0.1 that nobody has."""
    return wire.free_port()
