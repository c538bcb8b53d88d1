"""What UDT connections and ports have counted and measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shmring._ring import ffi, lib
from shmring.stats import text_of


def _names(table: Any, count: int) -> tuple[str, ...]:
    return tuple(text_of(table[i]) for i in range(count))


COUNTERS = _names(lib.ring_udt_counter_names, lib.UDT_COUNTER_TOTAL)
GAUGES = _names(lib.ring_udt_gauge_names, lib.UDT_GAUGE_TOTAL)
PORT_COUNTERS = _names(lib.ring_udt_port_names, lib.SHM_UDT_PORT_COUNTER_TOTAL)

MEANINGS: dict[str, tuple[str, str]] = {
    **{
        name: (text_of(lib.ring_udt_counter_units[i]), text_of(lib.ring_udt_counter_texts[i]))
        for i, name in enumerate(COUNTERS)
    },
    **{name: ("now", text_of(lib.ring_udt_gauge_texts[i])) for i, name in enumerate(GAUGES)},
}
"""Name of a number of `UdtStats`: its unit and what it means."""

PORT_MEANINGS: dict[str, tuple[str, str]] = {
    name: (text_of(lib.ring_udt_port_units[i]), text_of(lib.ring_udt_port_texts[i]))
    for i, name in enumerate(PORT_COUNTERS)
}
"""As `MEANINGS`, of `UdtPortStats`."""


class _Numbers(Mapping[str, int]):
    """Numbers by name: as a mapping and as attributes."""

    __slots__ = ("_values",)

    def __init__(self, values: dict[str, int]) -> None:
        self._values = values

    def __getattr__(self, name: str) -> int:
        try:
            return object.__getattribute__(self, "_values")[name]  # type: ignore[no-any-return]
        except KeyError:
            raise AttributeError(
                f"{type(self).__name__} has no number {name!r}: it has {', '.join(self._values)}"
            ) from None

    def __getitem__(self, name: str) -> int:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._values]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self._values),)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value}" for name, value in self._values.items())
        return f"{type(self).__name__}({shown})"


class UdtStats(_Numbers):
    """Counters and gauges of a connection, by the names of ``csrc/proto/udt/udt_stats.h``.

    Counters run since the connection was opened. `MEANINGS` says what each of them is. Besides
    those of the table: ``unsent_bytes``, in the worker's send buffer and not acknowledged;
    ``unread_bytes``, in order in its receive buffer. Each number is whole, but not all are of one
    instant.
    """

    @property
    def rtt_s(self) -> float:
        """Round trip, smoothed, seconds."""
        return self["rtt_us"] / 1e6

    @property
    def period_us(self) -> float:
        """Between the starts of two packets, microseconds."""
        return self["period_ps"] / 1e6


class UdtPortStats(_Numbers):
    """Counters of a port, by the names of ``csrc/shm/udt_shm.h``; see `PORT_MEANINGS`."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the worker says of a connection."""

    state: int
    error: int
    socket_id: int
    peer_id: int
    mss_bytes: int
    unsent_bytes: int
    unread_bytes: int
    peer: Any  # shm_addr_t


def read_facts(segment: Any) -> Facts:
    """Read from the mapped segment (``shm_segment_t *``) of a connection."""
    now = ffi.new("udt_facts_t *")
    lib.udt_read_facts(segment, now)
    return Facts(
        now.state,
        now.error,
        now.socket_id,
        now.peer_id,
        now.mss_bytes,
        now.unsent_bytes,
        now.unread_bytes,
        bytes(ffi.buffer(ffi.addressof(now, "peer"))),
    )


def read_stats(segment: Any) -> UdtStats:
    """Read from the mapped segment of a connection."""
    counters = ffi.new("uint64_t[]", len(COUNTERS))
    gauges = ffi.new("uint64_t[]", len(GAUGES))
    lib.udt_read_stats(segment, counters, gauges)
    values = dict(zip(COUNTERS, map(int, counters), strict=True))
    values |= dict(zip(GAUGES, map(int, gauges), strict=True))
    now = read_facts(segment)
    return UdtStats(values | {"unsent_bytes": now.unsent_bytes, "unread_bytes": now.unread_bytes})


def read_port_stats(segment: Any) -> UdtPortStats:
    """Read from the mapped segment of a port."""
    counters = ffi.new("uint64_t[]", len(PORT_COUNTERS))
    lib.udt_read_port(segment, counters)
    return UdtPortStats(dict(zip(PORT_COUNTERS, map(int, counters), strict=True)))
