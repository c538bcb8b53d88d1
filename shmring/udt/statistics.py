"""Counters and measurements of UDT connections and ports."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from shmring import _address
from shmring._facts import fact, values_at
from shmring._numbers import UdtNumbers, UdtPortNumbers
from shmring._ring import ffi, lib
from shmring.observe.reading import engine_places, engine_words_of


@dataclass(frozen=True, slots=True, kw_only=True)
class UdtStats(UdtNumbers):
    """Counters and gauges of a connection.

    Counters run since the connection was opened. Each number is read whole, but not all at one
    instant.
    """

    unsent_bytes: int = fact(
        "bytes", "bytes in the worker's send buffer, unacknowledged ones included"
    )
    unread_bytes: int = fact("bytes", "bytes in order in the worker's receive buffer")

    @property
    def rtt_s(self) -> float:
        """Smoothed round-trip time, seconds."""
        return self.rtt_us / 1e6

    @property
    def period_us(self) -> float:
        """Time between the starts of two packets, microseconds."""
        return self.period_ps / 1e6

    def to_dict(self) -> dict[str, int]:
        """Return everything as values that `json` takes."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class UdtPortStats(UdtPortNumbers):
    """Counters of a port, since it was opened."""

    def to_dict(self) -> dict[str, int]:
        """Return everything as values that `json` takes."""
        return asdict(self)


class UdtState(StrEnum):
    """The state of a connection. Compares equal to its lower-case name."""

    OPENING = "opening"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    CLOSING = "closing"
    BROKEN = "broken"
    CLOSED = "closed"
    LOST = "lost"
    """Its worker died."""


_STATES: dict[int, UdtState] = {
    lib.SHM_UDT_CONNECTING: UdtState.CONNECTING,
    lib.SHM_UDT_CONNECTED: UdtState.CONNECTED,
    lib.SHM_UDT_CLOSING: UdtState.CLOSING,
    lib.SHM_UDT_BROKEN: UdtState.BROKEN,
    lib.SHM_UDT_CLOSED: UdtState.CLOSED,
    lib.SHM_UDT_LOST: UdtState.LOST,
}


@dataclass(frozen=True, slots=True)
class Facts:
    """The worker's facts about a connection."""

    state: UdtState
    error: int
    socket_id: int
    peer_id: int
    mss_bytes: int
    unsent_bytes: int
    unread_bytes: int
    peer: tuple[str, int] | None


def read_facts(segment: Any) -> Facts:
    """Read from the mapped segment (``shm_segment_t *``) of a connection."""
    now = ffi.new("udt_facts_t *")
    lib.udt_read_facts(segment, now)
    return Facts(
        _STATES.get(now.state, UdtState.OPENING),
        now.error,
        now.socket_id,
        now.peer_id,
        now.mss_bytes,
        now.unsent_bytes,
        now.unread_bytes,
        _address.unpack(now.peer),
    )


def read_stats(segment: Any) -> UdtStats:
    """Read from the mapped segment of a connection."""
    return UdtStats(**values_at(UdtStats, engine_words_of(segment), engine_places("udt")))


def read_port_stats(segment: Any) -> UdtPortStats:
    """Read from the mapped segment of a port."""
    return UdtPortStats(
        **values_at(UdtPortStats, engine_words_of(segment), engine_places("udt-port"))
    )
