"""Two ends that communicate over two links, in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from shmring.types import Impairment

from .link import Address, Link


class Datagram(NamedTuple):
    """A datagram that an end sends. `to` is None if the end does not know the destination."""

    data: bytes
    to: Address | None


class End(Protocol):
    """A protocol without socket and clock. Times are in ns of a clock that never goes back."""

    @property
    def deadline_ns(self) -> int:
        """When to call `run` next, or `NEVER_NS` if that is not needed."""
        ...

    def arrive(self, data: bytes, source: Address, now_ns: int) -> object:
        """A datagram reached the end's socket."""
        ...

    def run(self, now_ns: int) -> Iterable[Datagram]:
        """Do what is due by `now_ns`. Return what is sent."""
        ...


class Exchange:
    """The ends `a` and `b`, and the links between them.

    Time moves only from one deadline to the next, so a run depends on the ends and the seeds alone.
    Datagrams to other addresses are dropped.
    """

    def __init__(
        self,
        a: End,
        b: End,
        *,
        to_a: Impairment | None = None,
        to_b: Impairment | None = None,
        address_a: Address = ("192.0.2.1", 2000),
        address_b: Address = ("192.0.2.2", 2000),
        start_ns: int = 0,
    ) -> None:
        """to_a, to_b: the impairments of the links. None: none."""
        self.now_ns = start_ns
        self.to_a = Link(to_a)
        self.to_b = Link(to_b)
        self.tap: Callable[[int, Address, bytes], object] | None = None
        """Called with time, source and data of everything that either end sends."""
        self._ends = ((a, address_a, self.to_a), (b, address_b, self.to_b))
        self._links = {address_a: self.to_a, address_b: self.to_b}

    def run(self, duration_ns: int, until: Callable[[], object] | None = None) -> bool:
        """Let time pass, until `until` returns a true value. Return whether it did."""
        limit_ns = self.now_ns + duration_ns
        while not (until and until()):
            next_ns = min(
                deadline for end, _, link in self._ends for deadline in self._due(end, link)
            )
            if next_ns > limit_ns:
                self.now_ns = limit_ns
                return False
            self.now_ns = max(self.now_ns, next_ns)
            self._step()
        return until is not None

    @staticmethod
    def _due(end: End, link: Link) -> tuple[int, int]:
        return end.deadline_ns, link.deadline_ns

    def _step(self) -> None:
        for end, _, link in self._ends:
            for data, source in link.take(self.now_ns):
                end.arrive(data, source, self.now_ns)
        for end, address, _ in self._ends:
            for datagram in end.run(self.now_ns):
                self.send(datagram, address)

    def send(self, datagram: Datagram, source: Address) -> None:
        """Send as an end would, from any address, so that a test can play unknown sources too."""
        if self.tap is not None:
            self.tap(self.now_ns, source, datagram.data)
        link = self._links.get(datagram.to) if datagram.to is not None else None
        if link is not None:
            link.offer(datagram.data, source, self.now_ns)
