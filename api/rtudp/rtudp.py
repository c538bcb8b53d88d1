"""The real-socket endpoint: one `shmring` channel with the life cycle and the conventions of rtudp.

The worker process owns the socket and the deadlines. Only packets without a ring to wait in stay
here: those accepted while no channel can take them (``_early``), and those received but not
delivered when a batch failed or the channel closed (``_returned``). Counters of closed channels are
kept, so that statistics count from construction.

``send_data`` and ``receive_data`` go straight to the channel's calls (``_send``, ``_take``),
without a lock and without asking for the state. If there is no channel, stand-ins replace them
and lead to the slow path. A full ring and a channel that another thread closes lead there, too.
"""

import contextlib
import errno
import itertools
import os
import socket
import threading
import time
import weakref
from collections import defaultdict, deque
from collections.abc import Callable
from operator import index
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from ._common import Counters, LatencyRecord, checked_direction, payload_bytes
from .base import (
    DEFAULT_CAPACITY,
    DEFAULT_TIMEOUT_NS,
    DIRECTION_RECEIVE,
    DIRECTION_SEND,
    MAX_PAYLOAD_BYTES,
    PacketStats,
    ReceivedPacket,
)

# As early as this module, not when it is first needed: workers may use the cores the process had at
# that moment, and later this thread may have pinned itself.
_missing: ImportError | None = None
if TYPE_CHECKING:
    import shmring
    from shmring import Channel, Packet
    from shmring.stats import ChannelStats
    from shmring.types import Direction

    from . import _workers
else:
    try:
        import shmring

        from . import _workers
    except ImportError as _error:
        _missing = _error

DEFAULT_PRIORITY = 80
HIGHEST_PRIORITY = 99

_NS_PER_S = 1_000_000_000
_HORIZON_NS = 366 * 24 * 3600 * _NS_PER_S  # a channel takes no later deadline
_CHANNEL_DIRECTIONS: "tuple[Direction, ...]" = ("tx", "rx", "duplex")
_ARROWS = ("->", "<-", "<->")
_FNV_OFFSET = 2166136261
_FNV_PRIME = 16777619
# What the text of a channel that could not be opened says of the step that failed, and what the
# original says then.
_FAILED_STEPS = {
    ": bind ": "Failed to Bind",
    ": connect to ": "Failed to connect",
    ": socket (": "Failed to initialise socket.",
    ": SO_REUSEADDR: ": "Failed to configure socket (SO_REUSEADDR).",
    ": SO_REUSEPORT: ": "Failed to configure socket (SO_REUSEPORT).",
}
_BROADCAST_HINT = "a broadcast address needs broadcast = true"  # of shmring
# A sender that waits for room looks this often whether the endpoint was stopped meanwhile.
_ROOM_WAIT_S = 0.1

# Sizes of the rings. The slots of the original take 1500 bytes each, and so do these while that is
# this much memory; beyond, packets share it, and a ring may be full before its slots are used up.
_SLOT_BYTES = 1500
_RING_BYTES = 32 << 20
# Small rings have room for the longest packets in every slot.
_SMALL_RING_BYTES = 2 << 20
_LEAST_SLOT_BYTES = 8
# What arrives while the worker is busy; the kernel cuts it down to net.core.rmem_max.
_RECEIVE_BUFFER_BYTES = 4 << 20
_RECORD_HEAD_BYTES = 32
_MOST_CAPACITY = (8 << 30) // (_RECORD_HEAD_BYTES + _LEAST_SLOT_BYTES)

_channel_numbers = itertools.count()
_Endpoint = TypeVar("_Endpoint", bound="_RtUdpSocket")


class _RtUdpSocket:
    """A timed UDP/IPv4 endpoint. ``RtUdpSocket`` wraps it; `udpcom` exposes it as it is.

    ``direction`` (0 send, 1 receive, 2 both) may be assigned until ``start``, which reads it.
    """

    _type_name = "RtUdp"

    def __init__(
        self,
        local_ip: str,
        local_port: int,
        remote_ip: str,
        remote_port: int,
        *,
        bind: int = 1,
        connect: int = 0,
        capacity: int = DEFAULT_CAPACITY,
        name: str | None = None,
        direction: int = DIRECTION_SEND,
        cpu: int = -1,
        timeout: float = DEFAULT_TIMEOUT_NS,
        priority: int = DEFAULT_PRIORITY,
    ) -> None:
        """Describe an endpoint. ``init_socket`` opens it.

        local_ip, remote_ip: dotted quads.
        local_port, remote_port: cut to 16 bits. local port 0: any free one.
        bind: with 0 the kernel chooses the local address of an endpoint that only sends.
        connect: 1 connects an endpoint that only sends, so that it notices an unreachable peer.
            Endpoints that receive always accept only datagrams from the remote address and port.
        capacity: number of packets of each ring plus 1, at least 1. A ring holds at least one.
        name: label in the names of channels that tools list.
        cpu: core of the worker, -1 any. A core that does not exist gives a warning, not an error.
        timeout: ns that receive calls without ``timeout_ns`` wait.
        priority: SCHED_FIFO priority of the worker, 0 to 99. 0 is ordinary scheduling, which it
            also gets, after a warning, without the privilege.
        Raises ImportError (no `shmring`), ValueError, TypeError (unknown keyword), OverflowError
        (beyond a C int), OSError (no memory for `capacity`).
        """
        if hasattr(self, "_lifecycle"):
            raise RuntimeError(f"{self!r} is constructed already: make another object")
        _require_shmring()
        self.local_ip = local_ip
        self.local_port = _c_int("local_port", local_port) & 0xFFFF
        self.remote_ip = remote_ip
        self.remote_port = _c_int("remote_port", remote_port) & 0xFFFF
        self.capacity = _c_int("capacity", capacity)
        if self.capacity < 1:
            raise ValueError(f"capacity is {capacity}, must be at least 1 packet")
        if self.capacity > _MOST_CAPACITY:
            raise OSError(
                errno.ENOMEM,
                f"capacity is {capacity}, the rings hold at most {_MOST_CAPACITY} packets",
            )
        self.direction = checked_direction(direction)
        self.timeout_ns = int(timeout)
        self.cpu = _c_int("cpu", cpu)
        self.priority = index(priority)
        if not 0 <= self.priority <= HIGHEST_PRIORITY:
            raise ValueError(f"priority is {priority}, must be 0 (none) to {HIGHEST_PRIORITY}")
        self.name = self._type_name if name is None else name
        if not isinstance(self.name, str):
            raise TypeError(f"name is {name!r}, must be a string")
        self._bind = bool(bind)
        self._connect = bool(connect)
        self._hash = self._stable_hash()
        self._slots = max(1, self.capacity - 1)
        self._slot_bytes = _slot_bytes(self._slots)

        self._lifecycle = threading.RLock()
        self._running = False
        self._channel: Channel | None = None
        self._channel_direction = self.direction
        self._opened_by = 0
        self._fd = -1
        self._send: Callable[[Any, int], object] = _nowhere
        self._take: Callable[[], Packet | None] = _nothing
        self._receivable = threading.Event()
        self._early: deque[tuple[bytes, int]] = deque()
        self._early_bytes = 0
        self._returned: deque[ReceivedPacket] = deque()
        self._closed_counters = Counters()
        # By thread, because "+=" of one number by several threads loses some.
        self._sent_at_once: defaultdict[int, int] = defaultdict(int)
        # Its life is that of the state, which the objects that `as_class` returns share.
        self._life = _Life()
        self._finalizer: weakref.finalize[Any, Any] | None = None
        # Weak, because an object in its own state would be a cycle.
        self._same: weakref.WeakValueDictionary[type, Any] = weakref.WeakValueDictionary()

    # --- packets ------------------------------------------------------------------------------

    def send_data(self, data: Any, timestamp: int | None = None) -> None:
        """Queue one datagram. See ``RtUdpBase``. Accepted before ``init_socket`` and ``start``.

        If the ring is full, it waits for room while the worker runs, and raises BlockingIOError
        otherwise. A timestamp more than a year ahead is a ValueError: it is from another clock.
        """
        now_ns = time.monotonic_ns()
        due_ns = now_ns if timestamp is None else timestamp
        if type(due_ns) is not int:
            due_ns = index(due_ns)
        at_once = due_ns <= now_ns
        if at_once:
            due_ns = now_ns  # not "none", or it would overtake what is due already
        try:
            queued = self._send(data, due_ns) is not None
        except (BlockingIOError, BrokenPipeError, BufferError):
            queued = False
        except ValueError:  # its text names options that rtudp lacks
            payload_bytes(data)
            _check_horizon(due_ns)
            raise
        if not queued:
            self._send_slowly(payload_bytes(data), due_ns)
        if at_once:
            self._sent_at_once[threading.get_ident()] += 1

    def receive_data(self, timeout_ns: int | None = None) -> ReceivedPacket:
        """Return one packet. See ``RtUdpBase``. A timeout below 0 polls."""
        if not self._returned:
            try:
                packet = self._take()
            except BrokenPipeError:
                if self._receivable.is_set():  # not closed here, but with its pool
                    raise
                packet = None
            if packet is not None:
                return packet.data, packet.timestamp_ns
        return self._wait_for_packet(timeout_ns)

    def receive_batch(self, n_packets: int, timeout_ns: int | None = None) -> list[ReceivedPacket]:
        """Return n packets. See ``RtUdpBase``. The timeout applies to each packet.

        Raises ValueError when the receive ring dropped packets during the call, MemoryError for n
        below 0. The packets of a failed call stay for the next one.
        """
        count = index(n_packets)
        if count < 0:
            raise MemoryError(f"Failed to allocated buffer with {count} elements.")
        dropped_before = self._rx_dropped()
        packets: list[ReceivedPacket] = []
        try:
            while len(packets) < count:
                packets.append(_RtUdpSocket.receive_data(self, timeout_ns))
            missed = self._rx_dropped() - dropped_before
            if missed > 0:
                raise ValueError(f"Missed {missed} packets")
        except BaseException as error:
            self._returned.extendleft(reversed(packets))
            if isinstance(error, TimeoutError):
                raise TimeoutError("Timed out waiting for data") from None
            raise
        return packets

    # --- life cycle ---------------------------------------------------------------------------

    def init_socket(self) -> None:
        """Open and bind the socket. Raises OSError when it is open already or cannot be opened."""
        with self._lifecycle:
            if self._channel is not None:
                raise OSError("Socket already open.")
            self._open(checked_direction(self.direction))

    def close_socket(self) -> None:
        """Close the socket. Packets not sent are dropped, and received ones stay readable."""
        with self._lifecycle:
            channel = self._channel
            if channel is None:
                return
            self._channel = None
            self._send, self._take = _nowhere, _nothing
            self._receivable.clear()
            self._forget_finalizer()
            self._fd = -1
            # In a child after fork the channel goes on for the parent.
            if self._opened_by == os.getpid():
                with contextlib.suppress(OSError):  # no worker: nothing moves anyway
                    channel.hold()
                self._returned.extend(_drain(channel))
                stats = channel.stats()
                counters = _counters(stats)
                counters.tx_dropped += stats.tx_waiting
                self._closed_counters.merge(counters)
                channel.close(linger=0)
            else:
                channel.detach()

    def start(self) -> None:
        """Let the worker send and receive. See ``RtUdpBase``.

        If ``direction`` was assigned after ``init_socket``, this reopens the socket.
        """
        with self._lifecycle:
            direction = checked_direction(self.direction)
            if self._running:
                raise ValueError("Already running.")
            if self._channel is None:
                raise OSError("Socket not initialised.")
            if direction != self._channel_direction:
                self.close_socket()
                self._open(direction)
            self._channel.release()
            self._running = True

    def stop(self) -> None:
        """Hold the worker without waiting for packets that are due later. They stay queued."""
        with self._lifecycle:
            self._running = False
            if self._channel is not None:
                with contextlib.suppress(BrokenPipeError):  # closed with its pool: held for ever
                    self._channel.hold()

    def is_running(self) -> bool:
        """Return True from ``start`` until ``stop``."""
        return self._running

    def purge(self) -> None:
        """Discard all packets waiting in either direction. Run state and statistics stay."""
        with self._lifecycle:
            self._closed_counters.requested += len(self._early)
            self._early.clear()
            self._early_bytes = 0
            if self._channel is not None:
                self._channel.purge()
            self._returned.clear()

    # --- what it shows ------------------------------------------------------------------------

    def get_packet_stats(self) -> PacketStats:
        """Return a copy of the counters. See ``PacketStats``."""
        with self._lifecycle:
            total = Counters()
            total.merge(self._closed_counters)
            total.requested += len(self._early)
            total.immediate = sum(list(self._sent_at_once.values()))
            if self._channel is None:
                return total.as_stats()
            stats = self._channel.stats()
        total.merge(_counters(stats))
        return total.as_stats(
            -1 if stats.cpu is None else stats.cpu, f"SCHED_{stats.policy.upper()}", stats.priority
        )

    def get_send_length(self) -> int:
        """Return the number of packets accepted and not yet sent."""
        with self._lifecycle:
            channel = self._channel
            return len(self._early) + (0 if channel is None else channel.tx_waiting)

    def get_receive_length(self) -> int:
        """Return the number of packets received and not yet read."""
        with self._lifecycle:
            channel = self._channel
            return len(self._returned) + (0 if channel is None else channel.rx_waiting)

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        arrow = _ARROWS[self.direction]
        return f"{self._type_name}[{self._fd}]{arrow}({self.remote_ip}:{self.remote_port})"

    # --- opening ------------------------------------------------------------------------------

    def _open(self, direction: int) -> None:
        """Open the channel, held unless running, and pass on packets that were queued early."""
        sends_only = direction == DIRECTION_SEND
        name = _channel_name(self.name)
        receives_only = direction == DIRECTION_RECEIVE
        pool = _workers.pool_for(self.cpu, self.priority, receives_only=receives_only)
        try:
            channel = pool.open(
                name,
                shmring.Udp(
                    tx=shmring.Queue(self._slots, self._slot_bytes),
                    direction=_CHANNEL_DIRECTIONS[direction],
                    max_payload=MAX_PAYLOAD_BYTES,
                    reading="shared",
                    reports="off",
                    report_capacity=0,
                    socket=shmring.Socket(
                        connect=self._connect or not sends_only,
                        reuse=True,
                        rcvbuf_bytes=None if sends_only else _RECEIVE_BUFFER_BYTES,
                        tx_stamp="off",
                    ),
                ),
                local=(self.local_ip, self.local_port) if self._bind or not sends_only else None,
                remote=(self.remote_ip, self.remote_port),
                held=not self._running,
            )
        except (OSError, ValueError) as error:
            raise _open_error(error) from _in_our_words(error)
        try:
            self._use(channel, direction)
        except BaseException:
            channel.close(linger=0)
            raise
        _workers.start_closer()
        self._finalizer = weakref.finalize(self._life, _workers.close_later, pool, name)
        self._finalizer.atexit = False  # the pool ends then, and all of it

    def _use(self, channel: "Channel", direction: int) -> None:
        self._fd = channel.stats().socket_fd
        if direction != DIRECTION_RECEIVE:
            self._hand_over_early(channel)
            self._send = channel.try_send
        self._opened_by = os.getpid()
        self._channel_direction = direction
        self._channel = channel
        if direction != DIRECTION_SEND:
            self._take = channel.try_recv
            self._receivable.set()

    def _hand_over_early(self, channel: "Channel") -> None:
        while self._early:
            channel.send(*self._early[0], timeout=0.0)
            self._early.popleft()
        self._early_bytes = 0

    def _forget_finalizer(self) -> None:
        if self._finalizer is not None:
            self._finalizer.detach()
            self._finalizer = None

    # --- slow paths ---------------------------------------------------------------------------

    def _send_slowly(self, payload: bytes, due_ns: int) -> None:
        """Queue a packet that the channel did not take at once. Wait for room while it runs."""
        while True:
            with self._lifecycle:
                channel = self._channel
                if channel is None or self._channel_direction == DIRECTION_RECEIVE:
                    self._keep_early(payload, due_ns)
                    return
            running = self._running
            try:
                channel.send(payload, due_ns, timeout=_ROOM_WAIT_S if running else 0.0)
            except BlockingIOError:
                if not running:
                    _raise_full(channel.tx_waiting)
            except BrokenPipeError:
                if channel is self._channel:  # not closed here, but with its pool
                    raise
            else:
                return

    def _keep_early(self, payload: bytes, due_ns: int) -> None:
        """Keep a packet until a sending channel is open, whose ring it will fit."""
        _check_horizon(due_ns)
        need = _record_bytes(len(payload))
        room = self._slots * _record_bytes(self._slot_bytes)
        if len(self._early) >= self._slots or (self._early and self._early_bytes + need > room):
            _raise_full(len(self._early))
        self._early.append((payload, due_ns))
        self._early_bytes += need

    def _wait_for_packet(self, timeout_ns: int | None) -> ReceivedPacket:
        """Return the oldest packet. Raises TimeoutError, also when no socket is opened in time."""
        wait_ns = self.timeout_ns if timeout_ns is None else index(timeout_ns)
        until_ns = time.monotonic_ns() + wait_ns
        while True:
            if self._returned:
                with contextlib.suppress(IndexError):  # another thread was faster
                    return self._returned.popleft()
            if wait_ns <= 0:
                raise TimeoutError("Receive timed out")
            channel = self._channel if self._receivable.is_set() else None
            if channel is None:
                self._receivable.wait(min(wait_ns / _NS_PER_S, threading.TIMEOUT_MAX))
            else:
                try:
                    packet = channel.recv(timeout=wait_ns / _NS_PER_S)
                except BrokenPipeError:
                    if channel is self._channel:  # not closed here, but with its pool
                        raise
                except TimeoutError:
                    raise TimeoutError("Receive timed out") from None
                else:
                    return packet.data, packet.timestamp_ns
            wait_ns = until_ns - time.monotonic_ns()

    def _rx_dropped(self) -> int:
        with self._lifecycle:
            dropped = self._closed_counters.rx_dropped
            return dropped if self._channel is None else dropped + self._channel.lost

    def _stable_hash(self) -> int:
        """Hash direction and addresses with FNV-1a over 64-bit words, the same in every process."""
        words = (
            self.direction,
            _address_word(self.local_ip),
            self.local_port,
            _address_word(self.remote_ip),
            self.remote_port,
        )
        digest = _FNV_OFFSET
        for word in words:
            digest = (digest ^ word) * _FNV_PRIME & 0xFFFF_FFFF_FFFF_FFFF
        signed = digest - (1 << 64) if digest >> 63 else digest
        # CPython reserves -1 for "the hash function failed".
        return -2 if signed == -1 else signed


class _Life:
    """An object for a finalizer."""

    __slots__ = ("__weakref__",)


def _nowhere(data: Any, due_ns: int) -> NoReturn:
    """Stands for a channel's ``try_send`` while none is open that sends."""
    raise BrokenPipeError


def _nothing() -> None:
    """Stands for a channel's ``try_recv`` while none is open that receives."""


def _require_shmring() -> None:
    """If `shmring` is missing, raise an ImportError that says what works without it."""
    if _missing is not None:
        raise ImportError(
            f"real sockets need the shmring package with its compiled parts ({_missing}); "
            'RtUdpEmulated and create_rtudp("emulated", ...) work without it',
            name="shmring",
        ) from _missing


def as_class(kind: type[_Endpoint], endpoint: _RtUdpSocket) -> _Endpoint:
    """Return a second object for an endpoint, which is of exactly this class.

    Both share all state, and the endpoint is closed when both are dropped. As long as the second
    one is referred to, other calls return the same one.
    """
    other: _Endpoint | None = endpoint._same.get(kind)
    if other is None:
        other = kind.__new__(kind)
        other.__dict__ = endpoint.__dict__
        endpoint._same[kind] = other
    return other


def _check_horizon(due_ns: int) -> None:
    """Raise ValueError for a time that a channel rejects."""
    if due_ns - time.monotonic_ns() >= _HORIZON_NS:
        raise ValueError(
            f"timestamp is {due_ns}, more than a year ahead: it counts ns of CLOCK_MONOTONIC, "
            "which time.monotonic_ns() reads"
        )


def _c_int(name: str, value: Any) -> int:
    """Return an argument that the original reads as a C int. Raises TypeError, OverflowError."""
    number = index(value)
    if not -(2**31) <= number < 2**31:
        raise OverflowError(f"{name} is {number}, must be -2**31 to 2**31 - 1")
    return number


def _raise_full(waiting: int) -> NoReturn:
    raise BlockingIOError(
        errno.EAGAIN,
        f"send ring is full ({waiting} packets) and no worker is running that would empty it: call "
        "init_socket and start first, or raise capacity",
    )


def _record_bytes(payload_bytes: int) -> int:
    """Return the bytes that a packet takes in a ring."""
    return _RECORD_HEAD_BYTES + (payload_bytes + 7) // 8 * 8


def _slot_bytes(slots: int) -> int:
    """Return the payload size for which every slot of a ring has room."""
    shared = min(_SLOT_BYTES, _RING_BYTES // slots - _RECORD_HEAD_BYTES)
    small = _SMALL_RING_BYTES // slots - _RECORD_HEAD_BYTES
    return min(max(shared, small, _LEAST_SLOT_BYTES), MAX_PAYLOAD_BYTES)


def _address_word(ip: str) -> int:
    """Return an IPv4 address in network order, read as a little-endian integer."""
    try:
        packed = socket.inet_pton(socket.AF_INET, ip)
    except OSError:
        raise ValueError(f"address is {ip!r}, must be an IPv4 address such as 127.0.0.1") from None
    return int.from_bytes(packed, "little")


def _channel_name(label: str) -> str:
    """Return a name that no other channel of this host has."""
    kept = "".join(c if c.isascii() and c.isalnum() else "-" for c in label)[:32]
    return f"{kept or 'rtudp'}.{os.getpid()}.{next(_channel_numbers)}"


def _open_error(error: OSError | ValueError) -> OSError:
    """Return the exception for a channel that could not be opened, in the words of rtudp.

    Its cause is the exception of `shmring`, which says more. Errors that are not of the socket stay
    unchanged.
    """
    words = next((words for step, words in _FAILED_STEPS.items() if step in str(error)), None)
    if words is None and isinstance(error, OSError):
        return error
    replacement = OSError(words or "Failed to initialise socket.")
    replacement.errno = error.errno if isinstance(error, OSError) else errno.EINVAL
    return replacement


def _in_our_words(error: OSError | ValueError) -> OSError | ValueError:
    """Return an error without a hint on an option that rtudp lacks."""
    if not isinstance(error, OSError) or _BROADCAST_HINT not in str(error.strerror):
        return error
    text = str(error.strerror).replace(_BROADCAST_HINT, "rtudp sends to single hosts only")
    return OSError(error.errno, text)


def _drain(channel: "Channel") -> list[ReceivedPacket]:
    """Take all packets from the receive ring."""
    packets: list[ReceivedPacket] = []
    with contextlib.suppress(BrokenPipeError):  # closed with its pool, and nothing left
        while (packet := channel.try_recv()) is not None:
            packets.append((packet.data, packet.timestamp_ns))
    return packets


def _counters(stats: "ChannelStats") -> Counters:
    """Return the counters of a channel since it was opened."""
    counters = Counters(
        requested=stats.tx_next_sequence,
        sent=stats.tx_sent,
        received=stats.rx_received - stats.rx_filtered,
        rx_dropped=stats.shared_lost,
        tx_dropped=stats.tx_failed,
        send_ticks=stats.tx_calls,
        receive_ticks=stats.rx_calls,
    )
    lateness = stats.lateness
    if lateness.count:
        counters.latency = LatencyRecord(
            lateness.sum, lateness.max, lateness.min, dict(lateness.buckets())
        )
    return counters
