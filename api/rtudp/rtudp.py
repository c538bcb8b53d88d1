"""The real-socket endpoint: one `shmring` channel with the life cycle and the conventions of rtudp.

The worker process owns the socket and the deadlines. Only packets that have no ring to wait in stay
here: those accepted while no channel can take them (``_early``), and those received but not handed
out when a batch failed or the channel closed (``_returned``). Counters of closed channels are kept,
so that statistics count from construction.
"""

import errno
import itertools
import os
import socket
import threading
import time
from collections import deque
from operator import index
from typing import TYPE_CHECKING, Any

from ._common import Counters, LatencyRecord, checked_direction, payload_bytes
from .base import (
    DEFAULT_CAPACITY,
    DEFAULT_TIMEOUT_NS,
    DIRECTION_RECEIVE,
    DIRECTION_SEND,
    PacketStats,
    ReceivedPacket,
)

if TYPE_CHECKING:
    from shmring import Channel

DEFAULT_PRIORITY = 80

_NS_PER_S = 1_000_000_000
_CHANNEL_DIRECTIONS = ("tx", "rx", "duplex")
_ARROWS = ("->", "<-", "<->")
_FNV_OFFSET = 2166136261
_FNV_PRIME = 16777619
_BIND_ERRNOS = (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES)
# A sender that waits for room looks this often whether the endpoint was stopped meanwhile.
_ROOM_WAIT_S = 0.1

_channel_numbers = itertools.count()


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
        """Describe an endpoint; nothing is opened yet.

        local_ip, remote_ip: dotted quads.
        local_port, remote_port: cut to 16 bits; local port 0: any free one.
        bind: 0 leaves the local address of an endpoint that only sends to the kernel.
        connect: 1 connects an endpoint that only sends, so that it notices an unreachable peer;
            those that receive always take datagrams from the remote address and port only.
        capacity: one more than the packets each ring holds, at least 1; a ring holds at least one.
        name: label in the names of channels that the tools list.
        cpu: core of the worker, -1 any. A core that does not exist is warned about, not an error.
        timeout: ns that receive calls without ``timeout_ns`` wait.
        priority: SCHED_FIFO priority of the worker, 0 for ordinary scheduling, which is also what
            it gets, after a warning, without the privilege.
        Raises ValueError, TypeError (unknown keyword).
        """
        if hasattr(self, "_lifecycle"):
            raise RuntimeError(f"{self!r} is constructed already: make another object")
        import_shmring()
        self.local_ip = local_ip
        self.local_port = index(local_port) & 0xFFFF
        self.remote_ip = remote_ip
        self.remote_port = index(remote_port) & 0xFFFF
        self.capacity = index(capacity)
        if self.capacity < 1:
            raise ValueError(f"capacity is {capacity}, must be at least 1 packet")
        self.direction = checked_direction(direction)
        self.timeout_ns = int(timeout)
        self.cpu = index(cpu)
        self.priority = index(priority)
        self.name = self._type_name if name is None else name
        self._bind = bool(bind)
        self._connect = bool(connect)
        self._hash = self._stable_hash()

        self._lifecycle = threading.RLock()
        self._running = False
        self._channel: Channel | None = None
        self._channel_direction = self.direction
        self._opened = threading.Event()
        self._early: deque[tuple[bytes, int | None]] = deque()
        self._returned: deque[ReceivedPacket] = deque()
        self._closed_counters = Counters()

    def send_data(self, data: Any, timestamp: int | None = None) -> None:
        """Queue one datagram; see ``RtUdpBase``. Accepted before ``init_socket`` and ``start``.

        Waits for room while the ring is full and the worker runs; raises BlockingIOError while it
        does not.
        """
        payload = payload_bytes(data)
        at_ns = None if timestamp is None else index(timestamp)
        if at_ns is not None and at_ns <= time.monotonic_ns():
            at_ns = None
        channel = self._channel
        if channel is None or self._channel_direction == DIRECTION_RECEIVE:
            self._keep_early(payload, at_ns)
            return
        try:
            channel.send(payload, at=at_ns)
        except BlockingIOError:
            self._send_when_room(channel, payload, at_ns)

    def receive_data(self, timeout_ns: int | None = None) -> ReceivedPacket:
        """Return one packet; see ``RtUdpBase``. A timeout below 0 polls."""
        try:
            return self._receive(self._wait_ns(timeout_ns))
        except TimeoutError:
            raise TimeoutError("Receive timed out") from None

    def receive_batch(self, n_packets: int, timeout_ns: int | None = None) -> list[ReceivedPacket]:
        """Return n packets; see ``RtUdpBase``. The timeout applies to each packet.

        Raises ValueError when the receive ring dropped packets during the call, MemoryError for n
        below 0. The packets of a failed call stay for the next one.
        """
        count = index(n_packets)
        if count < 0:
            raise MemoryError(f"Failed to allocated buffer with {count} elements.")
        wait_ns = self._wait_ns(timeout_ns)
        dropped_before = self._rx_dropped()
        packets: list[ReceivedPacket] = []
        try:
            while len(packets) < count:
                packets.append(self._receive(wait_ns))
            missed = self._rx_dropped() - dropped_before
            if missed:
                raise ValueError(f"Missed {missed} packets")
        except BaseException as error:
            self._returned.extendleft(reversed(packets))
            if isinstance(error, TimeoutError):
                raise TimeoutError("Timed out waiting for data") from None
            raise
        return packets

    def init_socket(self) -> None:
        """Open and bind the socket. Raises OSError when it is open already or cannot be opened."""
        with self._lifecycle:
            if self._channel is not None:
                raise OSError("Socket already open.")
            self._open(checked_direction(self.direction))

    def close_socket(self) -> None:
        """Close the socket; packets not sent are dropped, received ones stay readable."""
        with self._lifecycle:
            channel, self._channel = self._channel, None
            if channel is None:
                return
            self._opened.clear()
            channel.stop()
            self._returned.extend(_drain(channel))
            counters = _channel_counters(channel)
            counters.tx_dropped += channel.tx_waiting
            self._closed_counters.merge(counters)
            channel.close()

    def start(self) -> None:
        """Let the worker send and receive; see ``RtUdpBase``.

        Assigning ``direction`` after ``init_socket`` makes this open the socket anew.
        """
        with self._lifecycle:
            direction = checked_direction(self.direction)
            if self._channel is None:
                raise OSError("Socket not initialised.")
            if self._running:
                raise ValueError("Already running.")
            if direction != self._channel_direction:
                self.close_socket()
                self._open(direction)
            self._channel.start()
            self._running = True

    def stop(self) -> None:
        """Hold the worker, without waiting for packets that are due later; they stay queued."""
        with self._lifecycle:
            self._running = False
            if self._channel is not None:
                self._channel.stop()

    def get_packet_stats(self) -> PacketStats:
        """Return a copy of the counters; see ``PacketStats``."""
        with self._lifecycle:
            total = Counters()
            total.merge(self._closed_counters)
            total.requested += len(self._early)
            channel = self._channel
            if channel is None:
                return total.as_stats()
            total.merge(_channel_counters(channel))
            stats = channel.stats()
        return total.as_stats(stats.cpu, stats.policy, stats.priority)

    def get_send_length(self) -> int:
        """Return the number of packets accepted and not yet sent."""
        channel = self._channel
        return len(self._early) + (0 if channel is None else channel.tx_waiting)

    def get_receive_length(self) -> int:
        """Return the number of packets received and not yet read."""
        channel = self._channel
        return len(self._returned) + (0 if channel is None else channel.rx_waiting)

    def is_running(self) -> bool:
        """Return True from ``start`` until ``stop``."""
        return self._running

    def purge(self) -> None:
        """Discard all packets waiting in either direction; run state and statistics stay."""
        with self._lifecycle:
            self._closed_counters.requested += len(self._early)
            self._early.clear()
            if self._channel is not None:
                self._channel.purge()
            self._returned.clear()

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        channel = self._channel
        fd = -1 if channel is None else channel.stats().socket_fd
        arrow = _ARROWS[self.direction]
        return f"{self._type_name}[{fd}]{arrow}({self.remote_ip}:{self.remote_port})"

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

    def _open(self, direction: int) -> None:
        """Open the channel, held unless running, and hand over what was sent early."""
        sends_only = direction == DIRECTION_SEND
        local = (self.local_ip, self.local_port)
        try:
            pool = import_shmring().default_pool()
            channel = pool.open(
                _channel_name(self.name),
                local=local if self._bind or not sends_only else None,
                remote=(self.remote_ip, self.remote_port),
                direction=_CHANNEL_DIRECTIONS[direction],
                capacity=max(1, self.capacity - 1),
                rx_capacity=max(1, self.capacity - 1),
                connect=self._connect or not sends_only,
                reuse=True,
                read="shared",
                cpu=self.cpu if self.cpu >= 0 else None,
                held=not self._running,
            )
        except OSError as error:
            raise _open_error(error) from error
        self._channel = channel
        self._channel_direction = direction
        if direction != DIRECTION_RECEIVE:
            self._hand_over_early(channel)
        self._opened.set()

    def _hand_over_early(self, channel: "Channel") -> None:
        while self._early:
            payload, at_ns = self._early.popleft()
            channel.send(payload, at=at_ns)

    def _keep_early(self, payload: bytes, at_ns: int | None) -> None:
        """Keep a packet until a sending channel is open."""
        if len(self._early) >= max(1, self.capacity - 1):
            raise BlockingIOError(
                errno.EAGAIN,
                f"send ring is full ({len(self._early)} packets) and no worker is running that "
                "would empty it: call init_socket and start first, or raise capacity",
            )
        self._early.append((payload, at_ns))

    def _send_when_room(self, channel: "Channel", payload: bytes, at_ns: int | None) -> None:
        """Wait for room in the full ring for as long as the worker runs."""
        while self._running and self._channel is channel:
            try:
                channel.send(payload, at=at_ns, timeout=_ROOM_WAIT_S)
            except TimeoutError:
                continue
            return
        raise BlockingIOError(
            errno.EAGAIN,
            f"send ring is full ({channel.tx_waiting} packets) and the worker is not running: "
            "call start, or raise capacity",
        )

    def _wait_ns(self, timeout_ns: int | None) -> int:
        return max(0, self.timeout_ns if timeout_ns is None else index(timeout_ns))

    def _receive(self, wait_ns: int) -> ReceivedPacket:
        """Take the oldest packet. Raises TimeoutError, also when no socket is opened in time."""
        try:
            return self._returned.popleft()
        except IndexError:
            pass
        channel = self._channel
        if channel is None:
            deadline_ns = time.monotonic_ns() + wait_ns
            self._opened.wait(wait_ns / _NS_PER_S)
            channel = self._channel
            if channel is None:
                raise TimeoutError
            wait_ns = max(0, deadline_ns - time.monotonic_ns())
        packet = channel.recv(timeout=wait_ns / _NS_PER_S)
        return packet.data, packet.timestamp_ns

    def _rx_dropped(self) -> int:
        channel = self._channel
        return 0 if channel is None else _channel_counters(channel).rx_dropped


def import_shmring() -> Any:
    """Return the `shmring` package. Raises ImportError that says what works without it."""
    try:
        import shmring
    except ImportError as error:
        raise ImportError(
            f"real sockets need the shmring package with its compiled parts ({error}); "
            'RtUdpEmulated and create_rtudp("emulated", ...) work without it',
            name="shmring",
        ) from error
    return shmring


def _address_word(ip: str) -> int:
    """Return an IPv4 address in network order, read as a little-endian integer."""
    try:
        packed = socket.inet_pton(socket.AF_INET, ip)
    except OSError:
        raise ValueError(f"address is {ip!r}, must be an IPv4 address such as 127.0.0.1") from None
    return int.from_bytes(packed, "little")


def _channel_name(label: str) -> str:
    """Return a name no other channel of this host has."""
    kept = "".join(c if c.isascii() and c.isalnum() else "-" for c in label)[:32]
    return f"{kept or 'rtudp'}.{os.getpid()}.{next(_channel_numbers)}"


def _open_error(error: OSError) -> OSError:
    """Return the exception for a channel that could not be opened, in the words of rtudp."""
    if error.errno not in _BIND_ERRNOS:
        return error
    bind_error = OSError("Failed to Bind")
    bind_error.errno = error.errno
    return bind_error


def _drain(channel: "Channel") -> list[ReceivedPacket]:
    """Take everything out of the receive ring."""
    packets: list[ReceivedPacket] = []
    try:
        while True:
            packet = channel.recv(timeout=0)
            packets.append((packet.data, packet.timestamp_ns))
    except TimeoutError:
        return packets


def _channel_counters(channel: "Channel") -> Counters:
    """Return what the channel counted since it was opened."""
    stats = channel.stats()
    counters = Counters(
        requested=stats.tx_requested,
        sent=stats.tx_sent,
        received=stats.rx_received,
        rx_dropped=stats.rx_overwritten,
        tx_dropped=stats.tx_failed,
        immediate=stats.tx_immediate,
        send_ticks=stats.tx_calls,
        receive_ticks=stats.rx_calls,
    )
    for histogram in (stats.lateness, stats.immediate):
        counters.latency.merge(
            LatencyRecord(
                total_ns=histogram.sum,
                max_ns=histogram.max,
                min_ns=histogram.min,
                bins=dict(histogram.buckets()),
            )
        )
    return counters
