"""The receiving end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ._endpoint import JOIN_S, NS_PER_S, RETRY_S, Endpoint, check_size, interval_ns
from ._link import Link, LinkClosed, LinkSocket, bound_socket, resolve
from ._output import say

if TYPE_CHECKING:
    from shmring import netflux

    from ._sender import NetfluxSender

_NOTHING_YET = "No valid packet received yet"
_NOTHING_YET_AFTER_NS = 100_000_000
# After this time even a worker that is being replaced has noticed.
_WORKER_LATE_NS = 500_000_000
_LEAST_WATCH_S = 1e-6

Callback = Callable[[bytes], object]


@dataclass
class ReceiverStats:
    """Counters of a receiver."""

    first_packet_received: bool = False
    """False again after a timeout that cleared the values."""
    last_valid_packet_time: float = 0.0
    """Seconds of the wall clock, as ``time.time()``. 0.0: none yet."""
    watchdog_timeout: bool = False
    """True from the watchdog's deadline on, until the next valid packet."""
    total_packets_received: int = 0
    """Packets accepted."""
    total_packets_rejected: int = 0
    """Packets that were too short, or had a number outside of the window."""

    total_packets_repeated: int = 0
    """Packets with the number accepted last."""
    total_packets_foreign: int = 0
    """Packets from another source than `source`."""
    total_packets_oversize: int = 0
    """Accepted packets that were longer than agreed. Their rest was ignored."""
    total_timeouts: int = 0
    """How often the watchdog expired."""


@dataclass(frozen=True, slots=True)
class _State:
    """The state of a receiver."""

    first: bool = False
    """A valid packet was received, and not cleared since."""
    timed_out: bool = False
    error: bool = True
    message: str = "Not started"
    accepted_ns: int = 0
    """Arrival of the packet accepted last, CLOCK_MONOTONIC. 0: none."""


class NetfluxReceiver(Endpoint):
    """Receives the values of a partner.

    A worker process of `shmring` owns the socket, the window of numbers and the watchdog. The
    attributes show its current state. Any thread may use methods and attributes, including that of
    the callback.
    """

    def __init__(
        self,
        local_port: int,
        data_callback: Callback | None,
        data_size: int,
        watch_interval: float = 1.0,
        keep_values_on_timeout: bool = False,
        *,
        bind_address: str = "",
        source: tuple[str, int] | None = None,
        reuse: bool = False,
        pool: Any = None,
        name: str | None = None,
        verbose: bool | None = None,
    ) -> None:
        """Describe a receiver. `start` opens it.

        local_port: port to bind to. 0: any free one.
        data_callback: called with each payload, in a separate thread. None: no callback.
        data_size: payload size in bytes, 0 to 1499. Shorter packets are rejected. The rest of
            longer ones is ignored.
        watch_interval: seconds without a valid packet until the watchdog expires, at most 3600.
            ``math.inf``: never. It and the next one may be assigned while the receiver runs.
        keep_values_on_timeout: the payload stays then. Otherwise it becomes zeros, the callback is
            called with them, and the next packet counts as the first.
        bind_address: numeric address of this host, IPv4 or IPv6. Empty: all of IPv4, or of IPv6
            if source is such an address.
        source: accept only packets from this address and port. None: from all.
        reuse: share the port with other sockets that do the same.
        pool: a `shmring.Pool`, or its name, whose worker serves. None: the default pool.
        name: name of the channel, with which other processes attach. None: generated.
        verbose: whether exceptions of the callback are printed. None: see `netflux.set_printing`.
        """
        super().__init__(pool, name, verbose)
        self.local_port = local_port
        self.data_size = data_size
        self.bind_address = bind_address
        self.source = source
        self.reuse = reuse
        self._watch_interval = watch_interval
        self._keep = keep_values_on_timeout
        self._callback = data_callback
        # A callback that need not be called: its owner looks at the newest payload when needed.
        self._idle_callback: Callback | None = None

        self._socket: LinkSocket | None = None
        # The sender that uses this receiver's socket, or is about to.
        self._sharing_sender: NetfluxSender | None = None
        self._reader: threading.Thread | None = None
        self._stopped = threading.Event()
        self._started_ns = 0
        self._fault = ""
        # While it runs: the state at the last `stop`.
        self._last = _State()
        self._last_numbers = (0, 0)
        self._last_data: bytes | None = None

    # --- life ---------------------------------------------------------------------------------

    def start(self) -> bool:
        """Bind the port and receive. Returns False and sets `error_message` on failure.

        `error` is True until the first valid packet. Numbers, statistics and payload continue from
        the last `stop`. Does nothing while it runs.
        """
        with self._lifecycle:
            if self._running:
                return True
            try:
                self._open()
            except Exception as caught:
                text = f"Failed to start receiver: {caught}"
                self._last = replace(self._last, error=True, message=text)
                return False
            self._fault = ""
            self._stopped = threading.Event()
            self._started_ns = time.monotonic_ns()
            self._running = True
            self._read_if_asked()
            return True

    def stop(self) -> None:
        """Close the port. Waits for a running callback, at most 2 s."""
        with self._lifecycle:
            if not self._running:
                return
            self._stopped.set()
            link = self._need_link()
            last = self._state()
            numbers = (self.partner_seq_number, self.current_feedback_seq_number)
            data = self._newest()
            self._last, self._last_numbers, self._last_data = last, numbers, data
            self._running = False
            link.close()
            if self._socket is not None:
                self._socket.close()
                self._socket = None
            reader, self._reader = self._reader, None
        if reader is not None and reader is not threading.current_thread():
            reader.join(JOIN_S)

    def _open(self) -> None:
        try:
            self._open_for(self._sharing_sender)
        except Exception:
            if self._sharing_sender is None:
                raise
            self._open_for(None)  # the sender's own start reports its error

    def _open_for(self, sender: NetfluxSender | None) -> None:
        remote = self.source
        if remote is None and self._sharing_sender is not None:
            remote = (self._sharing_sender.remote_ip, self._sharing_sender.remote_port)
        sock = bound_socket(self.bind_address, self.local_port, remote, reuse=self.reuse)
        try:
            self._use(self._make_link(sock, sender))
        except BaseException:
            sock.close()
            raise
        sock.owner = self
        self._socket = sock

    def _make_link(self, sock: LinkSocket, sender: NetfluxSender | None) -> Link:
        options: dict[str, Any] = {
            "receive": check_size(self.data_size),
            "watchdog_ns": self._watch_ns(),
            "keep_values": bool(self._keep),
            "keep_window": bool(self._keep),
        }
        if sender is not None:
            options |= sender._options(sock.family)
        if self.source is not None:
            source = resolve(*self.source, sock.family)
            if options.setdefault("remote", source) != source:
                raise ValueError(
                    f"source is {source}, and the sender sends to {options['remote']}: on one "
                    "socket they must be the same"
                )
            options["any_source"] = False
        return Link(self._channel_name(), self.pool, sock, **options)

    def _share_socket(self, sender: NetfluxSender) -> Link:
        """Let a sender use the socket, and return the link, which has room for its values.

        If it has no room, a new link replaces it on the same socket, where packets wait
        meanwhile. The next packet then counts as the first.
        """
        with self._lifecycle:
            if not self._running or self._socket is None:
                raise OSError("the receiver that peer_socket belongs to was stopped")
            link = self._need_link()
            if self._sharing_sender is sender and link.tx_size == sender.data_size:
                return link
            self._last_numbers = (self.partner_seq_number, self.current_feedback_seq_number)
            self._last_data = self._newest()
            self._last = self._state()
            self._started_ns = time.monotonic_ns()
            link.close()
            try:
                link = self._make_link(self._socket, sender)
            except BaseException:
                self._use(self._make_link(self._socket, None))
                raise
            self._use(link)
            self._sharing_sender = sender
            return link

    # --- what it shows ------------------------------------------------------------------------

    @property
    def error(self) -> bool:
        """False while valid packets arrive in time."""
        return self._state().error

    @property
    def error_message(self) -> str:
        """What is wrong. Empty: nothing, or nothing is known yet."""
        return self._state().message

    @property
    def partner_seq_number(self) -> int:
        """Number of the packet received last, even if it was rejected. 0: none yet."""
        return self._number("received_number", self._last_numbers[0])

    @property
    def current_feedback_seq_number(self) -> int:
        """Our number in the feedback of the packet accepted last. 0: none yet."""
        return self._number("feedback_number", self._last_numbers[1])

    @property
    def partner_hears_us(self) -> bool:
        """The partner acknowledges what a sender on this socket sends."""
        return self._running and self._need_link().look().heard

    @property
    def stats(self) -> ReceiverStats:
        """As `get_stats`."""
        return self.get_stats()

    def get_stats(self) -> ReceiverStats:
        """Return a copy of the counters."""
        look = self._look()
        state = self._judge(look)
        return ReceiverStats(
            first_packet_received=state.first,
            last_valid_packet_time=self._wall_time(state.accepted_ns),
            watchdog_timeout=state.timed_out,
            total_packets_received=self._total("accepted", look),
            total_packets_rejected=self._total("rejected_short", look)
            + self._total("rejected_old", look),
            total_packets_repeated=self._total("rejected_repeated", look),
            total_packets_foreign=self._total("rejected_foreign", look),
            total_packets_oversize=self._total("oversize", look),
            total_timeouts=self._total("timeouts", look),
        )

    def get_last_data(self) -> bytes:
        """Return the newest payload: `data_size` zeros before the first and after a timeout that
        cleared it."""
        data = self._newest()
        return bytes(self.data_size) if data is None else data

    def _newest(self) -> bytes | None:
        """The newest payload, or zeros after a timeout. None before the first."""
        if self._running and (data := self._need_link().snapshot()) is not None:
            return data
        last = self._last_data
        return bytes(len(last)) if last is not None and not self._state().first else last

    def _number(self, gauge: str, before: int) -> int:
        look = self._look()
        number: int = 0 if look is None else getattr(look, gauge)
        return number if number or (look is not None and look.partner_known) else before

    def _state(self) -> _State:
        return self._judge(self._look())

    def _judge(self, look: netflux.Link | None) -> _State:
        last = self._last
        if not self._running or look is None:
            return last
        known = look.partner_known
        accepted_ns = look.last_accepted_mono_ns or last.accepted_ns
        now_ns, watch_ns = time.monotonic_ns(), self._watch_ns()
        expired_ns = (accepted_ns if known else self._started_ns) + watch_ns
        fault = self._fault or ("Receive error: the link broke" if self._is_broken() else "")
        if look.alive and not (watch_ns and now_ns > expired_ns + _WORKER_LATE_NS):
            return _State(True, False, bool(fault), fault, accepted_ns)

        lapsed = known or last.timed_out or (last.first and bool(watch_ns) and now_ns >= expired_ns)
        first = (known or last.first) and (bool(self._keep) or not lapsed)
        message = fault
        since_ns = now_ns - (expired_ns if lapsed else self._started_ns)
        if not message and lapsed and (first or since_ns < _NOTHING_YET_AFTER_NS):
            message = f"Watchdog timeout ({(now_ns - accepted_ns) / NS_PER_S:.2f}s)"
        elif not message and not first and since_ns >= _NOTHING_YET_AFTER_NS:
            message = _NOTHING_YET
        return _State(first, lapsed, True, message, accepted_ns)

    # --- settings -----------------------------------------------------------------------------

    @property
    def watch_interval(self) -> float:
        """Seconds. May be assigned while the receiver runs."""
        return self._watch_interval

    @watch_interval.setter
    def watch_interval(self, value: float) -> None:
        if self._running:
            self._need_link().channel.configure(watchdog_ns=_watch_ns(value))
        self._watch_interval = value

    @property
    def keep_values_on_timeout(self) -> bool:
        """May be assigned while the receiver runs."""
        return self._keep

    @keep_values_on_timeout.setter
    def keep_values_on_timeout(self, value: bool) -> None:
        if self._running:
            self._need_link().channel.configure(keep_values=bool(value), keep_window=bool(value))
        self._keep = value

    @property
    def data_callback(self) -> Callback | None:
        """May be assigned at any time."""
        return self._callback

    @data_callback.setter
    def data_callback(self, value: Callback | None) -> None:
        with self._lifecycle:
            self._callback = value
            self._read_if_asked()

    def _watch_ns(self) -> int:
        return _watch_ns(self._watch_interval)

    # --- the callback's thread ----------------------------------------------------------------

    def _read_if_asked(self) -> None:
        callback = self._callback
        wanted = callback is not None and callback != self._idle_callback
        if self._running and wanted and self._reader is None:
            self._reader = threading.Thread(
                target=self._read,
                args=(self._need_link(), self._stopped),
                name=f"netflux receiver {self.local_port}",
                daemon=True,
            )
            self._reader.start()

    def _read(self, link: Link, stopped: threading.Event) -> None:
        timeout = self._first_timeout()
        while not stopped.is_set():
            try:
                values = link.next_values(timeout)
            except TimeoutError:
                timeout, values = None, bytes(self.data_size)
            except LinkClosed:
                with self._lifecycle:  # a sender may have replaced it
                    if self._link is link:
                        return
                    link, timeout = self._need_link(), self._first_timeout()
                continue
            except Exception as caught:
                self._fault = f"Receive error: {caught}"
                stopped.wait(RETRY_S)
                continue
            self._fault = ""
            if values is not None:
                timeout = None
                self._call(values)

    def _first_timeout(self) -> float | None:
        """How long to wait for the first packet before values from before `start` are void."""
        watch_ns = self._watch_ns()
        if not self._last.first or self._keep or not watch_ns:
            return None
        return watch_ns / NS_PER_S

    def _call(self, data: bytes) -> None:
        callback = self._callback
        if callback is None:
            return
        try:
            callback(data)
        except BaseException as caught:  # sys.exit, too: it would end this thread and no more
            say(f"Error in data callback: {caught!r}", self.verbose)


def _watch_ns(interval: float) -> int:
    return interval_ns("watch_interval", interval, _LEAST_WATCH_S, endless=True)
