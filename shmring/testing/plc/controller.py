"""What all controllers share: a program that runs in scans, and its timers."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import deque
from dataclasses import dataclass
from typing import ClassVar

from shmring.testing.exchange import Datagram
from shmring.testing.link import NEVER_NS, Address

from .partner import HEADER_BYTES, Partner

MS = 1_000_000
SECOND = 1000 * MS


class OnDelay:
    """TON: `q` is true once the input was true for the whole interval. Time passes only
    in calls."""

    def __init__(self, delay_ns: int) -> None:
        self.delay_ns = delay_ns
        self.q = False
        self._since_ns: int | None = None

    def __call__(self, condition: bool, now_ns: int) -> bool:
        if not condition:
            self._since_ns = None
        elif self._since_ns is None:
            self._since_ns = now_ns
        self.q = self._since_ns is not None and now_ns - self._since_ns >= self.delay_ns
        return self.q


class SendTimer:
    """A TON that restarts itself: ``ton(IN := NOT ton.Q, PT := interval)``.

    One call resets it and another starts it again, so its period is the interval in whole scans
    plus two scans.
    """

    def __init__(self, interval_ns: int) -> None:
        self._ton = OnDelay(interval_ns)

    def __call__(self, now_ns: int) -> bool:
        return self._ton(not self._ton.q, now_ns)


@dataclass(kw_only=True, eq=False, repr=False)
class Controller(Partner):
    """A partner that reads its socket once per scan.

    A late `run` is an overrun of the task: the missed scans are skipped.
    """

    receive_buffer: ClassVar[int]
    """Bytes. Longer messages are truncated."""

    scan_ns: int = MS
    """Cycle of the task."""
    scan_jitter_ns: int = 0
    """A scan is late by up to this time, uniformly."""
    socket_datagrams: int = 64
    """What its socket holds between two scans."""

    def __post_init__(self) -> None:
        if self.scan_ns <= 0:
            raise ValueError(f"scan_ns is {self.scan_ns}; it must be above 0")
        if not 0 <= self.scan_jitter_ns < self.scan_ns:
            most = self.scan_ns - 1
            raise ValueError(f"scan_jitter_ns is {self.scan_jitter_ns}; it must be 0 to {most}")
        super().__post_init__()

    @property
    def period_ns(self) -> float:
        return (math.ceil(self.cycle_ns / self.scan_ns) + 2) * self.scan_ns

    @property
    def deadline_ns(self) -> int:
        return self._scan_due_ns if self.on else NEVER_NS

    def arrive(self, data: bytes, source: Address, now_ns: int) -> None:
        if self.on and self._socket_is_open() and len(self._socket) < self.socket_datagrams:
            self._socket.append((data[: self.receive_buffer], source))

    def run(self, now_ns: int) -> list[Datagram]:
        if now_ns < self.deadline_ns:
            return []
        self._scan_grid_ns += ((now_ns - self._scan_grid_ns) // self.scan_ns + 1) * self.scan_ns
        self._scan_due_ns = self._scan_grid_ns
        if self.scan_jitter_ns:
            self._scan_due_ns += self.chance.randrange(self.scan_jitter_ns)
        return self._scan(now_ns)

    def _forget(self, now_ns: int) -> None:
        super()._forget(now_ns)
        self._scan_grid_ns: int = now_ns
        self._scan_due_ns = now_ns
        self._socket: deque[tuple[bytes, Address]] = deque()

    def _socket_is_open(self) -> bool:
        return True

    @abstractmethod
    def _scan(self, now_ns: int) -> list[Datagram]:
        """One cycle of the task. Return what is sent."""


@dataclass(kw_only=True, eq=False, repr=False)
class WatchedController(Controller):
    """A controller that reads one datagram per scan, checks its number and watches the feedback."""

    watch_ns: int
    """Time limit of the watchdog."""
    keep_values: bool = False
    """Values stay after the watchdog expired."""

    def _forget(self, now_ns: int) -> None:
        super()._forget(now_ns)
        self.error = False
        self.timeouts = 0
        self.own_number = 0
        self.accepted_number = 0
        self.first_seen = False
        self.feedback = 0
        self.refused = 0
        """Datagrams not accepted, without those ignored as repeats."""
        self._area = ReceiveArea(self.receive_buffer)
        self._watched_feedback = 0
        self._watchdog = OnDelay(self.watch_ns)
        self._send_timer = SendTimer(self.cycle_ns)

    def _read(self) -> bool:
        """Put the next datagram into the receive area. False: there is none."""
        data = self._socket.popleft()[0] if self._socket else b""
        if data:
            self._area.put(data)
        return bool(data)

    def _accept(self) -> None:
        self.accepted_number = self._area.number
        self.first_seen = True
        self.feedback = self._area.feedback
        self._take(self._area.payload(self.receive_record.size))

    def _feedback_stands(self) -> bool:
        """Whether the feedback is that of the previous scan."""
        before, self._watched_feedback = self._watched_feedback, self.feedback
        return before == self.feedback


class ReceiveArea:
    """The buffer of the receive instruction. The configured size is always copied from it, so
    behind a short datagram there are bytes of an earlier one."""

    def __init__(self, size: int) -> None:
        self._bytes = bytearray(size)

    def put(self, data: bytes) -> None:
        self._bytes[: len(data)] = data

    @property
    def number(self) -> int:
        return self._bytes[0]

    @property
    def feedback(self) -> int:
        return self._bytes[1]

    def payload(self, size: int) -> bytes:
        return bytes(self._bytes[HEADER_BYTES : HEADER_BYTES + size]).ljust(size, b"\0")
