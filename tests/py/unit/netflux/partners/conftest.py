"""A bench for one end of a Netflux link: the test is the other end, and the clock."""

from __future__ import annotations

from typing import Any

import pytest
from netflux_session import Session

from shmring.testing import NEVER_NS
from shmring.testing.plc import PARTNERS, Codesys5, State

MS = 1_000_000
HERE = ("192.0.2.1", 2000)
THERE = ("192.0.2.2", 2000)


class Bench:
    """`end` is a partner, or, for the kind "ours", the session of the worker's engine.

    It sends to HERE; datagrams come from there unless said otherwise. `sent` is what it sent,
    `now_ns` is 0 when it is ready to receive.
    """

    HERE = HERE
    THERE = THERE

    def __init__(self, kind: str, **options: Any) -> None:
        self.kind = kind
        self.end: Any
        self.sent: list[tuple[int, bytes]] = []
        self.to: list[tuple[str, int] | None] = []
        if kind == "ours":
            self.end = Session(**({"remote": HERE} | options))
        else:
            self.end = PARTNERS[kind](**({"remote": HERE} | options))
            self.end.power_on(0)
        self.now_ns = 0
        if isinstance(self.end, Codesys5) and self.end.broken is None:
            while self.end.state is not State.RUNNING:
                self.step()

    def step(self) -> None:
        """What is due next."""
        assert self.end.deadline_ns != NEVER_NS
        self.now_ns = max(self.now_ns, self.end.deadline_ns)
        for datagram in self.end.run(self.now_ns):
            self.sent.append((self.now_ns, datagram.data))
            self.to.append(datagram.to)

    def wait(self, duration_ns: int) -> None:
        """Let so much time pass, all that is due in it included."""
        until_ns = self.now_ns + duration_ns
        while self.end.deadline_ns <= until_ns:
            self.step()
        self.now_ns = until_ns

    def arrive(self, number: int, feedback: int = 0, payload: bytes | None = None) -> None:
        """A datagram reaches the socket; by default with the right size and its number in it."""
        size = 20 if self.kind == "ours" else self.end.receive_record.size
        values = bytes([number]) * size if payload is None else payload
        self.arrive_raw(bytes([number, feedback]) + values)

    def arrive_raw(self, data: bytes, source: tuple[str, int] = HERE) -> None:
        self.end.arrive(data, source, self.now_ns)

    def takes(self, number: int, feedback: int = 0, payload: bytes | None = None) -> bool:
        """Offer a datagram and let the end look at it. Returns whether it took the payload."""
        before = self.end.taken
        self.arrive(number, feedback, payload)
        self.look()
        return bool(self.end.taken != before)

    def look(self) -> None:
        """Let a controller scan once; the others have looked already."""
        if hasattr(self.end, "scan_ns"):
            self.step()

    def numbers(self) -> list[int]:
        return [data[0] for _, data in self.sent]

    def feedbacks(self) -> list[int]:
        return [data[1] for _, data in self.sent]

    def next_feedback(self) -> int:
        """Of the next datagram it sends."""
        count = len(self.sent)
        while len(self.sent) == count:
            self.step()
        return self.sent[-1][1][1]


@pytest.fixture(scope="session")
def bench() -> type[Bench]:
    return Bench
