"""The sending end."""

from __future__ import annotations

import contextlib
import operator
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from ._endpoint import JOIN_S, NS_PER_S, Endpoint, check_size, interval_ns
from ._link import Address, Link, LinkSocket, bound_socket, resolve

_LEAST_CYCLE_S = 100e-6
_LONGEST_NS = 3600 * NS_PER_S
# Values become stale after this many cycles at the earliest, and are requested this long before the
# send.
_FRESH_CYCLES = 3
_AHEAD_NS = 10_000_000
_LOOK_NS = 50_000_000
_STALLED = "Data provider error: no data for {:.2f}s"

Payload = bytes | bytearray | memoryview | Sequence[int]
Provider = Callable[[], Payload]


@dataclass
class SenderStats:
    """Counters of a sender."""

    total_packets_sent: int = 0
    total_send_errors: int = 0
    """Packets that the kernel rejected."""
    last_send_time: float = 0.0
    """Seconds of the wall clock, as ``time.time()``. 0.0: none yet."""


class NetfluxSender(Endpoint):
    """Sends values to a partner, in cycles.

    A worker process of `shmring` keeps the cycle. It sends the last payload that a thread here got
    from the data provider. Any thread may use methods and attributes, including the provider's.
    """

    def __init__(
        self,
        remote_ip: str,
        remote_port: int,
        data_provider: Provider,
        data_size: int,
        send_interval: float = 0.005,
        peer_socket: Any = None,
        *,
        on_stale: str = "stop",
        stale_interval: float = 1.0,
        failsafe: bytes | None = None,
        bind_address: str = "",
        pool: Any = None,
        name: str | None = None,
        verbose: bool | None = None,
    ) -> None:
        """Describe a sender. `start` opens it.

        remote_ip: address, IPv4 or IPv6, or host name, which `start` looks up. It, remote_port and
            send_interval may be assigned while the sender runs.
        data_provider: called once in each cycle, in a separate thread. It returns data_size bytes:
            a bytes-like object, or a sequence of numbers. While it fails, nothing is sent.
        data_size: payload size in bytes, 0 to 1499.
        send_interval: seconds from one packet to the next, 0.0001 to 3600.
        peer_socket: socket to send from: the ``_socket`` of a running `NetfluxReceiver`, or a bound
            UDP socket, which its owner keeps. None: the sender opens its own socket.
        on_stale: what is sent when data_provider has returned nothing for stale_interval seconds:
            ``"stop"``: nothing, ``"continue"``: the last payload, ``"failsafe"``: failsafe.
        stale_interval: at least three send_intervals. 0 or math.inf: never, except if this process
            dies and the pool lives on.
        bind_address: address of this host to send from. Empty: the system chooses.
        pool, name, verbose: as in `NetfluxReceiver`.
        """
        super().__init__(pool, name, verbose)
        self._remote_ip = remote_ip
        self._remote_port = remote_port
        self.data_provider = data_provider
        self.data_size = data_size
        self._send_interval = send_interval
        self.peer_socket = peer_socket
        self.on_stale = on_stale
        self.stale_interval = stale_interval
        self.failsafe = failsafe
        self.bind_address = bind_address

        # Held during a call of the provider and while its result is passed on.
        self._guard: AbstractContextManager[Any] = contextlib.nullcontext()
        self._shared = False
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._paused = False
        self._put_ns = 0
        self._seen = (0, 0)
        self._fault = ""
        self._send_fault = ""
        # Sums of the previous links.
        self._number = 0
        self._sent_ns = 0
        self._feedback: int | None = None

    # --- life ---------------------------------------------------------------------------------

    def start(self) -> bool:
        """Start sending. Returns False and sets `error_message` on failure.

        Numbers and statistics continue from the last `stop`. Does nothing while it runs.
        """
        with self._lifecycle:
            if self._running:
                return True
            try:
                link = self._find_link()
            except Exception as caught:
                self._fault = f"Failed to start sender: {caught}"
                return False
            self._number, self._sent_ns = self.sequence_number, self._last_sent_ns()
            self._use(link)
            self._fault = self._send_fault = ""
            self._paused = True  # until the data provider has returned something
            self._put_ns = time.monotonic_ns()
            self._seen = (0, 0)
            self._stopped = threading.Event()
            self._running = True
            self._thread = threading.Thread(
                target=self._refresh_in_cycles,
                args=(link, self._stopped),
                name=f"netflux sender to {self._remote_ip}",
                daemon=True,
            )
            self._thread.start()
            return True

    def stop(self) -> None:
        """Stop sending. Waits for a running call of the data provider, at most 2 s."""
        with self._lifecycle:
            if not self._running:
                return
            self._stopped.set()
            self._running = False
            self._leave_link()
            thread, self._thread = self._thread, None
        if thread is None or thread is threading.current_thread():
            return
        thread.join(JOIN_S)
        with self._lifecycle:
            if not self._running:
                self._leave_link()  # that thread may just have begun to send

    def _leave_link(self) -> None:
        link = self._need_link()
        if not self._shared:
            link.close()
            return
        with contextlib.suppress(Exception):  # the receiver may have gone first
            link.send(False)

    def _find_link(self) -> Link:
        peer = self.peer_socket
        self._shared = isinstance(peer, LinkSocket)
        if isinstance(peer, LinkSocket):
            link: Link = peer.owner._share_socket(self)
            link.channel.aim(self._remote(peer.family))
            link.channel.configure(cycle_ns=self._cycle_ns(), stale_ns=self._stale_ns())
            return link
        if peer is not None:
            return self._own_link(peer)
        remote = (self._remote_ip, self._remote_port)
        with bound_socket(self.bind_address, 0, remote) as sock:
            return self._own_link(sock)

    def _own_link(self, sock: socket.socket) -> Link:
        """A link that never reads from its socket."""
        options = self._options(sock.family)
        link = Link(self._channel_name(), self.pool, sock, direction="tx", **options)
        if self._feedback is not None:
            link.channel.set_feedback(self._feedback)
        return link

    def _options(self, family: int) -> dict[str, Any]:
        """The properties that a link needs for this sender."""
        return {
            "send": check_size(self.data_size),
            "remote": self._remote(family),
            "cycle_ns": self._cycle_ns(),
            "on_stale": self.on_stale,
            "stale_ns": self._stale_ns(),
            "failsafe": self.failsafe,
            "own_number": self.sequence_number,
        }

    def _remote(self, family: int) -> Address:
        return resolve(self._remote_ip, self._remote_port, family)

    # --- what it shows ------------------------------------------------------------------------

    @property
    def error(self) -> bool:
        """Whether sending fails, or the values are stale."""
        return bool(self.error_message)

    @property
    def error_message(self) -> str:
        """What is wrong. Empty: nothing."""
        fault = self._fault or self._send_fault
        if fault or not self._running:
            return fault
        if self._is_broken():
            return "Socket send error: the link broke"
        age_ns, stale_ns = time.monotonic_ns() - self._put_ns, self._stale_ns()
        return _STALLED.format(age_ns / NS_PER_S) if 0 < stale_ns < age_ns else ""

    @property
    def sequence_number(self) -> int:
        """Number of the last packet sent. 0: none yet."""
        look = self._look()
        return look.own_number if look is not None and look.sent else self._number

    @property
    def partner_seq_number(self) -> int:
        """The feedback that is sent: on a receiver's socket the number accepted last, otherwise the
        last argument of `set_partner_seq_number`."""
        look = self._look() if self._running and self._shared else None
        return (self._feedback or 0) if look is None else look.partner_number

    def set_partner_seq_number(self, seq_num: int) -> None:
        """Set the feedback to send, 0 to 255. Raises ValueError, TypeError.

        It has no effect on a receiver's socket: there the worker sends the number accepted last,
        which it reads when it sends.
        """
        number = operator.index(seq_num)
        if not 0 <= number <= 255:
            raise ValueError(f"seq_num is {number}; it must be 0 to 255")
        if self._running and not self._shared:
            self._need_link().channel.set_feedback(number)
        self._feedback = number

    @property
    def stats(self) -> SenderStats:
        """As `get_stats`."""
        return self.get_stats()

    def get_stats(self) -> SenderStats:
        """Return a copy of the counters."""
        look = self._look()
        return SenderStats(
            total_packets_sent=self._total("sent", look),
            total_send_errors=self._total("send_failed", look),
            last_send_time=self._wall_time(self._last_sent_ns()),
        )

    def _last_sent_ns(self) -> int:
        look = self._look()
        return (look.last_sent_mono_ns if look else None) or self._sent_ns

    # --- settings -----------------------------------------------------------------------------

    @property
    def remote_ip(self) -> str:
        """May be assigned while the sender runs."""
        return self._remote_ip

    @remote_ip.setter
    def remote_ip(self, value: str) -> None:
        self._aim(value, self._remote_port)

    @property
    def remote_port(self) -> int:
        """May be assigned while the sender runs."""
        return self._remote_port

    @remote_port.setter
    def remote_port(self, value: int) -> None:
        self._aim(self._remote_ip, value)

    def _aim(self, host: str, port: int) -> None:
        if self._running:
            link = self._need_link()
            link.channel.aim(resolve(host, port, link.family))
        self._remote_ip, self._remote_port = host, port

    @property
    def send_interval(self) -> float:
        """Seconds. May be assigned while the sender runs."""
        return self._send_interval

    @send_interval.setter
    def send_interval(self, value: float) -> None:
        if self._running:
            cycle_ns = _cycle_ns(value)
            self._need_link().channel.configure(
                cycle_ns=cycle_ns, stale_ns=self._stale_ns(cycle_ns)
            )
        self._send_interval = value

    def _cycle_ns(self) -> int:
        return _cycle_ns(self._send_interval)

    def _stale_ns(self, cycle_ns: int | None = None) -> int:
        """The age at which values are stale. 0: never."""
        if not self.stale_interval:
            return 0
        stale_ns = interval_ns("stale_interval", self.stale_interval, 1e-6, endless=True)
        cycles_ns = _FRESH_CYCLES * (self._cycle_ns() if cycle_ns is None else cycle_ns)
        return min(max(stale_ns, cycles_ns), _LONGEST_NS) if stale_ns else 0

    # --- the provider's thread ----------------------------------------------------------------

    def _refresh_in_cycles(self, link: Link, stopped: threading.Event) -> None:
        due_ns = instant_ns = look_ns = time.monotonic_ns()
        sent_ns = 0
        while not stopped.is_set():
            self._refresh(link)
            cycle_ns = self._cycle_ns()
            ahead_ns = min(cycle_ns // 2, _AHEAD_NS)
            if not sent_ns:  # the first packet, which leaves now, shows where the worker's grid is
                stopped.wait(ahead_ns / NS_PER_S)
            now_ns = time.monotonic_ns()
            if not sent_ns or now_ns >= look_ns:
                sent_ns = self._watch_sending(link)
                instant_ns = sent_ns - ahead_ns if sent_ns else instant_ns
                look_ns = now_ns + _LOOK_NS
            # The next time of the grid. Missed sends are not repeated.
            earliest_ns = max(now_ns, due_ns + cycle_ns // 2)
            due_ns = earliest_ns + (instant_ns - earliest_ns) % cycle_ns
            stopped.wait((due_ns - now_ns) / NS_PER_S)

    def refresh(self) -> None:
        """Call the data provider now, in this thread, in addition to its call in each cycle."""
        link = self._link
        if self._running and link is not None:
            self._refresh(link)

    def _refresh(self, link: Link) -> None:
        """Pass the payload to the worker. If it is not valid, make the worker send nothing."""
        with self._guard:
            failing = "Data provider error"
            try:
                values = self.data_provider()
                if len(values) != link.tx_size:
                    raise ValueError(
                        f"Data provider returned {len(values)} bytes, expected {link.tx_size}"
                    )
                values = _flat(values)
                failing = "Socket send error"
                link.put(values)
                self._put_ns = time.monotonic_ns()
                self._pause(link, False)
            except Exception as caught:
                self._fault = f"{failing}: {caught}"
                with contextlib.suppress(Exception):  # the worker is gone, and nothing is sent
                    self._pause(link, True)
            else:
                self._fault = ""

    def _pause(self, link: Link, paused: bool) -> None:
        if paused is not self._paused:
            link.send(not paused)
            self._paused = paused

    def _watch_sending(self, link: Link) -> int:
        """Check whether packets leave. Returns the time of the last one, 0: none."""
        look = link.look()
        sent, failed = look.sent, look.send_failed
        before, self._seen = self._seen, (sent, failed)
        if sent > before[0]:
            self._send_fault = ""
        elif failed > before[1]:
            self._send_fault = (
                f"Socket send error: the system rejects packets to {self._remote_ip}, port "
                f"{self._remote_port}"
            )
        return look.last_sent_mono_ns or 0


def _flat(values: Payload) -> bytes | memoryview:
    """Convert a payload to bytes, from a bytes-like object or numbers."""
    if type(values) is bytes:
        return values
    try:
        return memoryview(values)  # type: ignore[arg-type]
    except TypeError:
        return bytes(tuple(values))


def _cycle_ns(interval: float) -> int:
    return interval_ns("send_interval", interval, _LEAST_CYCLE_S)
