"""What all partners share.

A partner is sans-IO: `Partner.arrive` accepts datagrams and `Partner.run` returns them, both with
the time as a number. Nothing happens outside of these calls. So a test can simulate an hour of a
controller in seconds, and each run gives the same result.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from shmring.testing.exchange import Datagram
from shmring.testing.link import Address

from .image import Layout, Order, record_of

HEADER_BYTES = 2
LONGEST_PAYLOAD = 1499


@dataclass(kw_only=True, eq=False, repr=False)
class Partner(ABC):
    """An end of a Netflux link.

    Its settings survive `power_off`. What it learnt since `power_on` does not. Raises ValueError
    for settings out of range.
    """

    kind: ClassVar[str]
    order: ClassVar[Order]
    """Byte order of its numbers."""

    receive: Layout = 20
    """The payload that it receives, see `record_of`."""
    send: Layout = 20
    """The payload that it sends."""
    cycle_ns: int
    """The configured send interval. `period_ns` is the resulting one."""
    remote: Address | None = None
    """Its destination. None: none."""
    program: Callable[[Any], object] | None = None
    """The application, called with the partner before each send (Python) or in each scan
    (controllers)."""
    seed: int = 0
    """The seed of all random choices."""

    def __post_init__(self) -> None:
        self.receive_record = record_of(self.receive, self.order)
        self.send_record = record_of(self.send, self.order)
        for name, record in (("receive", self.receive_record), ("send", self.send_record)):
            if record.size > LONGEST_PAYLOAD:
                raise ValueError(f"{name} has {record.size} bytes: a payload has at most 1499")
        if self.cycle_ns < 0:
            raise ValueError(f"cycle_ns is {self.cycle_ns}; it must be at least 0")
        self.to_send = bytes(self.send_record.size)
        """Payload of the next datagrams. Only `put` checks its size."""
        self.chance = random.Random(self.seed)
        self.on = False
        self.sent = 0
        """Datagrams on the wire since it was created."""
        self.taken = 0
        """Datagrams whose payload it accepted since it was created."""
        self._forget(0)

    @property
    def received(self) -> bytes:
        """Last accepted payload. Zeros before the first one, and after a time-out that
        cleared it."""
        return self._received

    @property
    def values(self) -> Any:
        """`received`, decoded to bytes, a tuple or the codec's object, as `receive` says."""
        return self.receive_record.decode(self._received)

    def put(self, values: Any) -> None:
        """Set what to send from now on: bytes, a tuple or the codec's object, as `send` says.

        Raises ValueError for a payload of another size, and what the codec raises.
        """
        payload = self.send_record.encode(values)
        if len(payload) != self.send_record.size:
            size = self.send_record.size
            raise ValueError(f"values have {len(payload)} bytes: this partner sends {size}")
        self.to_send = payload

    def power_on(self, now_ns: int) -> None:
        """Start, or start again: only the settings are kept."""
        self._forget(now_ns)
        self.on = True

    def power_off(self) -> None:
        """Send nothing from now on, and drop what arrives."""
        self.on = False

    @property
    @abstractmethod
    def period_ns(self) -> float:
        """The real average time between two of its sends."""

    @property
    @abstractmethod
    def deadline_ns(self) -> int:
        """When to call `run` next, or `NEVER_NS` while it is off."""

    @abstractmethod
    def arrive(self, data: bytes, source: Address, now_ns: int) -> None:
        """A datagram reached its socket."""

    @abstractmethod
    def run(self, now_ns: int) -> list[Datagram]:
        """Do what is due by `now_ns`. Return what is sent."""

    def _forget(self, now_ns: int) -> None:
        """Set all state to that of a cold start."""
        self._received = bytes(self.receive_record.size)

    def _take(self, payload: bytes) -> None:
        self._received = payload
        self.taken += 1

    def _clear(self) -> None:
        self._received = bytes(self.receive_record.size)

    def _run_program(self) -> None:
        if self.program is not None:
            self.program(self)

    def _datagram(self, number: int, feedback: int, to: Address | None) -> Datagram:
        self.sent += to is not None
        return Datagram(bytes((number, feedback)) + self.to_send, to)
