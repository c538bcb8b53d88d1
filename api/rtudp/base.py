"""The interface of both implementations."""

from abc import ABC, abstractmethod
from typing import Any, TypeAlias, TypedDict

ReceivedPacket: TypeAlias = tuple[bytes, int]
"""Payload and the CLOCK_MONOTONIC time of its arrival in nanoseconds."""

DIRECTION_SEND = 0
DIRECTION_RECEIVE = 1
DIRECTION_DUPLEX = 2

DEFAULT_CAPACITY = 1024
DEFAULT_TIMEOUT_NS = 10_000_000_000
MAX_PAYLOAD_BYTES = 65_507
"""The maximum payload of a UDP datagram over IPv4."""


class PacketStats(TypedDict):
    """What ``get_packet_stats()`` returns. Both implementations have every key.

    Latency is the time of sending (socket: when the send call begins) minus the time the packet was
    due. A packet is due at its timestamp, or at the call of ``send_data`` when the timestamp was
    omitted or already past. Those packets count as immediate.
    """

    n_packets_req: int
    """Accepted calls of ``send_data``."""
    n_packets_sent: int
    """Sent packets: passed to the kernel, or put into the emulated remote queue."""
    n_packets_rec: int
    """Socket: datagrams read from the socket. Emulated: packets delivered to the application."""
    n_rx_packets_dropped: int
    """Packets that the receive ring discarded, oldest first, before they were read (emulated:
    0)."""
    n_tx_packets_dropped: int
    """Packets not sent: remote queue full, endpoint closed, or rejected by the kernel."""
    max_latency_ns: int
    min_latency_ns: int
    total_latency_ns: int
    avg_latency_ns: int
    """``total_latency_ns // n_packets_sent``. All four are 0 until a packet is sent."""
    n_send_ticks: int
    n_rec_ticks: int
    """Passes of the worker's send and receive loop."""
    n_immediate_packets: int
    n_imediate_packets: int
    """Packets that were due when ``send_data`` was called (socket: accepted; emulated: sent ones).
    Both spellings carry the same number."""
    latency_histogram: list[tuple[int, int]]
    """(largest latency of the bin in ns, packets in it), ascending, empty bins left out."""
    effective_cpu: int
    """Core the worker is pinned to, -1 when it is not pinned."""
    effective_policy: str
    """Effective scheduling policy of the worker, for example ``SCHED_FIFO`` or ``SCHED_OTHER``."""
    effective_priority: int
    """Effective real-time priority of the worker, 0 without a real-time policy."""


class RtUdpBase(ABC):
    """A UDP endpoint that sends at given times and timestamps received packets.

    Life cycle: ``init_socket``, ``start``, ..., ``stop``, ``close_socket``. The last two may come
    in either order, and each may be called repeatedly. Endpoints compare by identity. Every method
    may be called from any thread.
    """

    local_ip: str
    local_port: int
    remote_ip: str
    remote_port: int
    capacity: int
    direction: int
    timeout_ns: int

    @abstractmethod
    def __init__(
        self, local_ip: str, local_port: int, remote_ip: str, remote_port: int, **kwargs: Any
    ) -> None: ...

    @abstractmethod
    def send_data(self, data: Any, timestamp: int | None = None) -> None:
        """Queue one datagram to leave at ``timestamp``.

        data: any bytes-like object of at most 65 507 bytes. It is copied before the call returns.
        timestamp: CLOCK_MONOTONIC ns. Omitted, None or in the past: as soon as possible.
        Packets leave in timestamp order, those with equal timestamps in the order of the calls.
        Raises ValueError (too long), TypeError (not bytes-like, or a timestamp that is not an
        integer).
        """

    @abstractmethod
    def receive_data(self, timeout_ns: int | None = None) -> ReceivedPacket:
        """Return the oldest waiting packet as (payload, arrival in CLOCK_MONOTONIC ns).

        timeout_ns: how long to wait, 0 polls. Default: the endpoint's ``timeout_ns``.
        Raises TimeoutError.
        """

    @abstractmethod
    def receive_batch(self, n_packets: int, timeout_ns: int | None = None) -> list[ReceivedPacket]:
        """Return exactly ``n_packets`` packets, oldest first.

        Raises TimeoutError when fewer arrive in time. Those stay for the next receive call.
        """

    @abstractmethod
    def init_socket(self) -> None:
        """Open the endpoint. Raises OSError when it is open already or cannot be opened."""

    @abstractmethod
    def close_socket(self) -> None:
        """Close the endpoint. It may be closed already, or running."""

    @abstractmethod
    def start(self) -> None:
        """Let the worker send and receive.

        Raises OSError before ``init_socket``, ValueError when running.
        """

    @abstractmethod
    def stop(self) -> None:
        """Halt the worker. Queued packets stay queued. It need not be running."""

    @abstractmethod
    def get_packet_stats(self) -> PacketStats:
        """Return a consistent copy of the counters since construction."""

    @abstractmethod
    def get_send_length(self) -> int:
        """Return the number of packets accepted and not yet sent."""

    @abstractmethod
    def get_receive_length(self) -> int:
        """Return the number of packets received and not yet read."""

    @abstractmethod
    def is_running(self) -> bool:
        """Return True from ``start`` until ``stop``."""

    @abstractmethod
    def purge(self) -> None:
        """Discard all packets waiting in either direction. Run state and statistics stay."""

    @abstractmethod
    def __hash__(self) -> int: ...

    @abstractmethod
    def __repr__(self) -> str: ...


RtUdpType = RtUdpBase
