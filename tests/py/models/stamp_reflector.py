"""A STAMP reflector in a thread, which a test may tell to lose, to repeat and to lie."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_NTP_S = 2_208_988_800
NS_PER_S = 1_000_000_000
_RCVBUF_FORCE = 33  # SO_RCVBUFFORCE


def ntp(ns: int) -> bytes:
    """UTC in ns since 1970 as the 8 bytes of an NTP timestamp."""
    seconds, rest = divmod(ns, NS_PER_S)
    return struct.pack(">II", (seconds + _NTP_S) & 0xFFFFFFFF, (rest << 32) // NS_PER_S)


def request(sequence: int, t1_ns: int, ssid: int = 1) -> bytes:
    """What a sender sends."""
    return struct.pack(">I", sequence) + ntp(t1_ns) + b"\0\1" + struct.pack(">H", ssid) + bytes(28)


def reply(packet: bytes, number: int, t2_ns: int, t3_ns: int) -> bytes:
    """What a reflector answers to `packet`. number: its own count."""
    begin = struct.pack(">I", number) + ntp(t3_ns) + b"\0\1" + packet[14:16] + ntp(t2_ns)
    return begin + packet[:14] + b"\0\0\xff\0\0\0" + packet[44:]


class Reflector:
    """It has the numbers of one session: whoever sends."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        # A busy machine may stop this thread for long.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        with contextlib.suppress(PermissionError):
            self._socket.setsockopt(socket.SOL_SOCKET, _RCVBUF_FORCE, 1 << 20)
        self._socket.bind((host, port))
        self._socket.settimeout(0.05)
        self.address: tuple[str, int] = self._socket.getsockname()[:2]
        self.behave: Callable[[Reflector, bytes], list[bytes]] = Reflector.answers
        self.seen = 0
        """Requests that came, of all sessions."""
        self.number = 0
        """Replies in this session: counts from 0 for each new source port."""
        self.ahead_ns = 0
        """Of its clock."""
        self._source = ("", 0)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def now_ns(self) -> int:
        return time.time_ns() + self.ahead_ns

    def answers(self, packet: bytes) -> list[bytes]:
        """Answer honestly."""
        t2_ns = self.now_ns()
        self.number += 1
        return [reply(packet, self.number - 1, t2_ns, self.now_ns())]

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                packet, source = self._socket.recvfrom(65536)
            except TimeoutError:
                continue
            if source[:2] != self._source:
                self._source, self.number = source[:2], 0
            for made in self.behave(self, packet):
                self._socket.sendto(made, source)
            self.seen += 1

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._socket.close()


@contextmanager
def reflecting(host: str = "127.0.0.1", port: int = 0) -> Iterator[Reflector]:
    reflector = Reflector(host, port)
    try:
        yield reflector
    finally:
        reflector.close()


def sequence_of(packet: bytes) -> int:
    return int.from_bytes(packet[:4], "big")
