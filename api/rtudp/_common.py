"""Argument checks and statistics of both implementations."""

from dataclasses import dataclass, field
from decimal import Decimal
from numbers import Real
from operator import index
from typing import Any

from .base import DIRECTION_DUPLEX, DIRECTION_SEND, MAX_PAYLOAD_BYTES, PacketStats

# Eight bins per power of two, so that a bin is at most one eighth of its lowest value wide.
_SUB_BIN_BITS = 3


def payload_bytes(data: Any) -> bytes:
    """Return an immutable copy of a bytes-like object.

    Raises TypeError (not bytes-like), ValueError (longer than a UDP datagram can be).
    """
    payload = data if type(data) is bytes else bytes(memoryview(data))
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise ValueError(
            f"data is {len(payload)} bytes long, a UDP datagram carries at most "
            f"{MAX_PAYLOAD_BYTES}: send it in pieces"
        )
    return payload


def any_payload(data: Any) -> Any:
    """Return an immutable copy of a bytes-like object, and any other object unchanged.

    Raises ValueError (longer than a UDP datagram can be).
    """
    try:
        return payload_bytes(data)
    except TypeError:
        return data


def whole_number(name: str, value: Any) -> int:
    """Return a number of any type, truncated to an int. Raises a TypeError that names it."""
    try:
        return index(value)
    except TypeError:
        if not isinstance(value, (Real, Decimal)):
            raise TypeError(f"{name} is {value!r}, must be a number") from None
    number: Any = value
    return int(number)


def checked_direction(direction: Any) -> int:
    """Return the direction as an int. ValueError unless it is 0, 1 or 2."""
    value = index(direction)
    if not DIRECTION_SEND <= value <= DIRECTION_DUPLEX:
        raise ValueError(f"direction is {value}, must be 0 (send), 1 (receive) or 2 (both)")
    return value


def _bin_upper_ns(latency_ns: int) -> int:
    """Return the largest value of the histogram bin that holds latency_ns."""
    shift = max(0, latency_ns.bit_length() - _SUB_BIN_BITS - 1)
    return (((latency_ns >> shift) + 1) << shift) - 1


@dataclass(slots=True)
class LatencyRecord:
    """Latencies of sent packets in ns: sum, extremes and histogram. There is no lock."""

    total_ns: int = 0
    max_ns: int = 0
    min_ns: int = 0
    bins: dict[int, int] = field(default_factory=dict)
    """Maps the largest value of a bin to its number of packets."""

    def add(self, latency_ns: int) -> None:
        """Count one packet."""
        if not self.bins or latency_ns < self.min_ns:
            self.min_ns = latency_ns
        if latency_ns > self.max_ns:
            self.max_ns = latency_ns
        self.total_ns += latency_ns
        upper_ns = _bin_upper_ns(latency_ns)
        self.bins[upper_ns] = self.bins.get(upper_ns, 0) + 1

    def merge(self, other: "LatencyRecord") -> None:
        """Count all packets of another record."""
        if not other.bins:
            return
        self.min_ns = min(self.min_ns, other.min_ns) if self.bins else other.min_ns
        self.max_ns = max(self.max_ns, other.max_ns)
        self.total_ns += other.total_ns
        for upper_ns, count in other.bins.items():
            self.bins[upper_ns] = self.bins.get(upper_ns, 0) + count


@dataclass(slots=True)
class Counters:
    """The counters of one endpoint. There is no lock."""

    requested: int = 0
    sent: int = 0
    received: int = 0
    rx_dropped: int = 0
    tx_dropped: int = 0
    immediate: int = 0
    send_ticks: int = 0
    receive_ticks: int = 0
    latency: LatencyRecord = field(default_factory=LatencyRecord)

    def merge(self, other: "Counters") -> None:
        """Add all counts of another endpoint's or an earlier session's counters."""
        self.requested += other.requested
        self.sent += other.sent
        self.received += other.received
        self.rx_dropped += other.rx_dropped
        self.tx_dropped += other.tx_dropped
        self.immediate += other.immediate
        self.send_ticks += other.send_ticks
        self.receive_ticks += other.receive_ticks
        self.latency.merge(other.latency)

    def as_stats(
        self, cpu: int = -1, policy: str = "SCHED_OTHER", priority: int = 0
    ) -> PacketStats:
        """Return the public form, with the effective scheduling of the worker's thread."""
        latency = self.latency
        return {
            "n_packets_req": self.requested,
            "n_packets_sent": self.sent,
            "n_packets_rec": self.received,
            "n_rx_packets_dropped": self.rx_dropped,
            "n_tx_packets_dropped": self.tx_dropped,
            "max_latency_ns": latency.max_ns,
            "min_latency_ns": latency.min_ns,
            "total_latency_ns": latency.total_ns,
            "avg_latency_ns": latency.total_ns // self.sent if self.sent else 0,
            "n_send_ticks": self.send_ticks,
            "n_rec_ticks": self.receive_ticks,
            "n_immediate_packets": self.immediate,
            "n_imediate_packets": self.immediate,
            "latency_histogram": sorted(latency.bins.items()),
            "effective_cpu": cpu,
            "effective_policy": policy,
            "effective_priority": priority,
        }
