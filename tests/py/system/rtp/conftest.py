"""RTP by hand: a plain socket as the other side, driven by the test."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import pytest
from kit.engines import spelled

import shmring

LOOPBACK = "127.0.0.1"
PATIENCE_S = 20.0
SSRC = 0x5EED

# For a machine that stops anybody for a tenth of a second: a client that is late for a slot has its
# packet sent late instead of a gap, and a packet that is late by so much is played all the same.
# The reader of a stream waits longer for its beginning than for its end.
STEADY: dict[str, Any] = {
    "ptime_ns": 5_000_000,
    "tolerance_ns": 10_000_000_000,
    "min_delay_ns": 400_000_000,
    "first_delay_ns": 400_000_000,
    "max_delay_ns": 800_000_000,
}

_HEADER = struct.Struct(">BBHII")


class Wire(NamedTuple):
    """An RTP packet as it was on the wire."""

    sequence: int
    timestamp: int
    payload: bytes
    marker: bool
    payload_type: int
    ssrc: int
    extension: bytes  # its head included


def packet(
    sequence: int,
    timestamp: int,
    payload: bytes = b"",
    *,
    marker: bool = False,
    payload_type: int = 0,
    ssrc: int = SSRC,
    csrc: Iterable[int] = (),
    extension: bytes = b"",
) -> bytes:
    """RFC 3550 5.1. extension: with its head."""
    sources = b"".join(struct.pack(">I", source) for source in csrc)
    first = 0x80 | (0x10 if extension else 0) | len(sources) // 4
    header = _HEADER.pack(
        first,
        marker << 7 | payload_type,
        sequence % 65536,
        timestamp % 2**32,
        ssrc,
    )
    return header + sources + extension + payload


def parse(raw: bytes) -> Wire:
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(raw)
    assert first >> 6 == 2
    at = _HEADER.size + 4 * (first & 15)
    extension = b""
    if first & 0x10:
        words = struct.unpack_from(">H", raw, at + 2)[0]
        extension = raw[at : at + 4 + 4 * words]
    return Wire(
        sequence,
        timestamp,
        raw[at + len(extension) :],
        bool(second & 0x80),
        second & 0x7F,
        ssrc,
        extension,
    )


class Peer:
    """A socket of the test's own, and the channel it talks to."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self.socket.bind((LOOPBACK, 0))
        self.socket.settimeout(PATIENCE_S)
        self.address: tuple[str, int] = self.socket.getsockname()
        self.other: tuple[str, int] | None = None

    def send(self, sequence: int, timestamp: int, payload: bytes = b"", **how: Any) -> None:
        self.send_raw(packet(sequence, timestamp, payload, **how))

    def send_raw(self, raw: bytes) -> None:
        assert self.other is not None
        self.socket.sendto(raw, self.other)

    def recv(self) -> Wire:
        """The next packet that is no RTCP."""
        return parse(self.recv_raw(lambda kind: not 192 <= kind <= 223))

    def recv_raw(self, wanted: Callable[[int], bool]) -> bytes:
        """The next datagram whose second byte is wanted."""
        while True:
            raw = self.socket.recv(65536)
            if wanted(raw[1]):
                return raw

    def recv_all(self, count: int) -> list[Wire]:
        return [self.recv() for _ in range(count)]

    def nothing_more(self, wait_s: float = 0.1) -> bool:
        """Whether nothing comes for a while."""
        self.socket.settimeout(wait_s)
        try:
            self.socket.recv(65536)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(PATIENCE_S)
        return False


@pytest.fixture
def peer() -> Iterator[Peer]:
    made = Peer()
    yield made
    made.socket.close()


@pytest.fixture
def mic(shmring_pool: shmring.Pool, peer: Peer) -> Callable[..., shmring.rtp.Channel]:
    """Opens an RTP channel that talks to `peer`, with the options of STEADY unless said."""

    def make(name: str = "mic", **options: Any) -> shmring.rtp.Channel:
        given = STEADY | {"local": (LOOPBACK, 0), "remote": peer.address}
        channel = shmring_pool.open(name, **spelled(shmring.Rtp, given | options))
        peer.other = channel.local
        return channel

    return make


@pytest.fixture
def pair(
    shmring_pool: shmring.Pool,
) -> Callable[..., tuple[shmring.rtp.Channel, shmring.rtp.Channel]]:
    """Opens two RTP channels, each the other's remote, with the options of STEADY unless said."""

    def make(
        *, here: dict[str, Any] | None = None, there: dict[str, Any] | None = None, **options: Any
    ) -> tuple[shmring.rtp.Channel, shmring.rtp.Channel]:
        given = STEADY | options
        ports = _free_ports()
        left, right = [(LOOPBACK, port) for port in ports]
        ours = spelled(shmring.Rtp, given | (here or {}))
        theirs = spelled(shmring.Rtp, given | (there or {}))
        return (
            shmring_pool.open("here", local=left, remote=right, **ours),
            shmring_pool.open("there", local=right, remote=left, **theirs),
        )

    return make


@pytest.fixture
def items() -> Callable[..., Iterator[Any]]:
    """What comes, until nothing does for a while."""

    def read(ch: shmring.rtp.Channel, quiet_s: float = 1.0) -> Iterator[Any]:
        try:
            yield ch.recv(timeout=PATIENCE_S)
            while True:
                yield ch.recv(timeout=quiet_s)
        except shmring.ReceiveTimeout:
            return

    return read


def _free_ports() -> list[int]:
    """Two even ports, free as are those above them."""
    found: list[int] = []
    while len(found) < 2:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as even,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as odd,
        ):
            even.bind((LOOPBACK, 0))
            port = even.getsockname()[1]
            if port % 2 == 0 and port not in found:
                try:
                    odd.bind((LOOPBACK, port + 1))
                except OSError:
                    continue
                found.append(port)
    return found
