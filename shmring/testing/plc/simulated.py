"""A partner on a real socket."""

from __future__ import annotations

import contextlib
import os
import random
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Generic, TypeVar

from shmring.testing.link import NEVER_NS, Address, Link
from shmring.types import Impairment

from .partner import Partner

MS = 1_000_000
PATIENCE_S = 10.0
LONGEST_WAIT_NS = 1000 * MS
READS_PER_TURN = 64
ANY_DATAGRAM = 65536

P = TypeVar("P", bound=Partner)


class SimulatedPlc(Generic[P]):
    """Runs a partner in a thread, on a UDP socket, behind two impaired paths.

        socket -> [ to_plc ] -> partner -> [ from_plc ] -> socket

    A partner without `remote` sends to the source of its first datagram, so that the program under
    test may use any port. While it is off, its port stays bound and arriving datagrams are dropped.
    Nothing answers, as with a controller without power. One whose program is stopped does answer.
    """

    def __init__(
        self,
        partner: P,
        *,
        local: Address = ("127.0.0.1", 0),
        to_plc: Impairment | None = None,
        from_plc: Impairment | None = None,
        restart_every_ns: int = 0,
        restart_off_ns: int = 500 * MS,
        seed: int = 0,
    ) -> None:
        """Switch on the partner.

        to_plc, from_plc: the impairments of the two paths.
        restart_every_ns: it is switched off for restart_off_ns, at random times with this average
            distance, between half and one and a half of it. 0: never.
        seed: the seed of these times.

        Raises OSError if the address cannot be bound.
        """
        self.partner = partner
        self._lock = threading.RLock()
        self._to_plc = Link(to_plc)
        self._from_plc = Link(from_plc)
        self._chance = random.Random(seed)
        self._restart_every_ns = restart_every_ns
        self._restart_off_ns = restart_off_ns
        self._on_at_ns = NEVER_NS
        self._failure: BaseException | None = None
        self._stop = False
        self.restarts = 0
        """How often it was switched on again."""
        family = socket.AF_INET6 if ":" in local[0] else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.bind(local)
        except OSError:
            self._socket.close()
            raise
        self._socket.setblocking(False)
        self.address: Address = self._socket.getsockname()[:2]
        """Its address."""
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        now_ns = time.monotonic_ns()
        self._off_at_ns = self._next_restart(now_ns)
        partner.power_on(now_ns)
        self._thread = threading.Thread(
            target=self._main, name=f"plc-{partner.kind}-{self.address[1]}", daemon=True
        )
        self._thread.start()

    def __enter__(self) -> SimulatedPlc[P]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @contextlib.contextmanager
    def held(self) -> Iterator[P]:
        """Return the partner with its thread paused, to read or write several values together."""
        with self._lock:
            yield self.partner
        self._ring()

    def aim(self, remote: Address) -> None:
        """Set its destination from now on."""
        with self.held() as partner:
            partner.remote = remote

    def power_off(self) -> None:
        """Like `Partner.power_off`. No restart switches it on again."""
        with self.held() as partner:
            partner.power_off()
            self._off_at_ns = self._on_at_ns = NEVER_NS

    def power_on(self) -> None:
        """Like `Partner.power_on`."""
        with self._lock:
            self._power_on(time.monotonic_ns())
        self._ring()

    def restart(self, off_ns: int = 0) -> None:
        """Switch it off, and on again `off_ns` later."""
        with self._lock:
            now_ns = time.monotonic_ns()
            self._power_off(now_ns, off_ns)
            self._power_on_if_due(now_ns)
        self._ring()

    def wait_for(self, condition: Callable[[P], object], timeout_s: float = PATIENCE_S) -> None:
        """Return once `condition` of the partner is true. Raises TimeoutError with the partner's
        state."""
        until = time.monotonic() + timeout_s
        while True:
            with self._lock:
                self._raise_failure()
                if condition(self.partner):
                    return
                state = {k: v for k, v in vars(self.partner).items() if not k.startswith("_")}
            if time.monotonic() > until:
                raise TimeoutError(f"condition not met in {timeout_s} s: the partner is {state}")
            time.sleep(0.002)

    def close(self) -> None:
        """Stop it and close its socket. Raises what its program raised. May be called more than
        once."""
        if self._stop:
            return
        self._stop = True
        self._ring()
        self._thread.join(PATIENCE_S)
        if self._thread.is_alive():
            raise RuntimeError(f"the program of a simulated {self.partner.kind} does not return")
        self._socket.close()
        os.close(self._wake)
        self._raise_failure()

    # --- the thread ----------------------------------------------------------------------------

    def _main(self) -> None:
        try:
            while not self._stop:
                with self._lock:
                    self._turn()
                    next_ns = self._next_ns()
                self._sleep_until(next_ns)
        except BaseException as failure:  # wait_for and close tell the test
            self._failure = failure

    def _turn(self) -> None:
        self._read_socket()
        now_ns = time.monotonic_ns()
        self._power_on_if_due(now_ns)
        if now_ns >= self._off_at_ns:
            self._power_off(now_ns, self._restart_off_ns)
        for data, source in self._to_plc.take(now_ns):
            if self.partner.remote is None:
                self.partner.remote = source
            self.partner.arrive(data, source, now_ns)
        for datagram in self.partner.run(now_ns):
            if datagram.to is not None:
                self._from_plc.offer(datagram.data, datagram.to, now_ns)
        for data, to in self._from_plc.take(now_ns):
            with contextlib.suppress(OSError):  # no receiver, or the buffer is full: lost
                self._socket.sendto(data, to)

    def _read_socket(self) -> None:
        for _ in range(READS_PER_TURN):
            try:
                data, source = self._socket.recvfrom(ANY_DATAGRAM)
            except BlockingIOError:
                return
            except OSError:  # an ICMP error for an earlier send
                continue
            self._to_plc.offer(data, source[:2], time.monotonic_ns())

    def _next_ns(self) -> int:
        return min(
            self.partner.deadline_ns,
            self._to_plc.deadline_ns,
            self._from_plc.deadline_ns,
            self._off_at_ns,
            self._on_at_ns,
        )

    def _sleep_until(self, next_ns: int) -> None:
        wait_ns = min(max(next_ns - time.monotonic_ns(), 0), LONGEST_WAIT_NS)
        readable, _, _ = select.select([self._socket.fileno(), self._wake], [], [], wait_ns / 1e9)
        if self._wake in readable:
            os.eventfd_read(self._wake)

    # --- power ---------------------------------------------------------------------------------

    def _next_restart(self, now_ns: int) -> int:
        if self._restart_every_ns == 0:
            return NEVER_NS
        return now_ns + int(self._restart_every_ns * self._chance.uniform(0.5, 1.5))

    def _power_off(self, now_ns: int, off_ns: int) -> None:
        self.partner.power_off()
        self._off_at_ns = NEVER_NS
        self._on_at_ns = now_ns + off_ns

    def _power_on_if_due(self, now_ns: int) -> None:
        if now_ns >= self._on_at_ns:
            self._power_on(now_ns)

    def _power_on(self, now_ns: int) -> None:
        self.partner.power_on(now_ns)
        self.restarts += 1
        self._on_at_ns = NEVER_NS
        self._off_at_ns = self._next_restart(now_ns)

    # --- inside --------------------------------------------------------------------------------

    def _ring(self) -> None:
        os.eventfd_write(self._wake, 1)

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
