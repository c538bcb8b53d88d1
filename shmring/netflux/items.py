"""What a Netflux channel delivers: snapshots, arrivals, and events of the link."""

import struct
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any, NamedTuple

from shmring._hot import Packet
from shmring._ring import ffi, lib
from shmring.types import Stamp

# shm_netflux_rx_t of csrc/shm/netflux_shm.h
HEAD = struct.Struct("=BBBBIQq")
assert HEAD.size == ffi.sizeof("shm_netflux_rx_t")
_VOID, _FIRST, _OVERSIZE = (
    int(lib.SHM_NETFLUX_VOID),
    int(lib.SHM_NETFLUX_FIRST),
    int(lib.SHM_NETFLUX_OVERSIZE),
)


class EventKind(StrEnum):
    """An event of a link. Compares equal to its lower-case name."""

    ALIVE = "alive"
    """The first datagram arrived, or the first one after a timeout."""
    TIMEOUT = "timeout"
    """The watchdog expired."""
    HEARD = "heard"
    """The partner acknowledges what we send."""
    UNHEARD = "unheard"
    """The partner stopped acknowledging."""
    FRESH = "fresh"
    """The values to be sent are being updated."""
    STALE = "stale"
    """They are too old, or their writer died."""


_KINDS = {int(getattr(lib, f"SHM_NETFLUX_{kind.name}")): kind for kind in EventKind}


class Snapshot(NamedTuple):
    """The newest values of the partner. Times are ns of CLOCK_MONOTONIC."""

    values: Any
    """bytes, or an object that the record decoded."""
    number: int
    """Number of the datagram, 0 to 255."""
    feedback: int
    """The last of our numbers that the partner had received when it sent the values."""
    timestamp_ns: int
    """When they arrived. With `void`: when the watchdog expired."""
    stamp: Stamp
    """Source of `timestamp_ns`."""
    published: int
    """Counts the values from 1 on. It changes when `values` are new."""
    void: bool
    """The watchdog expired: the values are zeros."""
    oversize: bool
    """The datagram was longer than agreed, and the rest was ignored."""

    def age_ns(self) -> int:
        """Time since `timestamp_ns`."""
        return time.monotonic_ns() - self.timestamp_ns


class Values(NamedTuple):
    """One accepted datagram. Fields are as in `Snapshot`."""

    values: Any
    number: int
    feedback: int
    timestamp_ns: int
    stamp: Stamp
    published: int
    first: bool
    """It is the first one, or the first one after a timeout."""
    oversize: bool
    source: tuple[str, int]
    """Sender: (host, port)."""
    lost_before: int
    """Arrivals and events that were overwritten in the ring between the previous item and this one.
    0 from `recv_many`, see `shmring.Channel.lost`."""
    local: tuple[str, int] | None
    """The address that it came to. None: the channel is bound to one address."""


class Event(NamedTuple):
    """The link changed."""

    kind: EventKind
    timestamp_ns: int
    """The deadline that passed, or the arrival that changed the link. CLOCK_MONOTONIC."""
    values: Any
    """For ``timeout``: the values that `Channel.snapshot` returns now. They are zeros unless
    the channel keeps values. Otherwise None."""
    void: bool
    """`values` are zeros in place of the partner's."""
    published: int
    """As in `Snapshot`. 0 except for ``timeout``."""
    lost_before: int
    """As in `Values`."""


Item = Values | Event
"""Anything that a Netflux channel delivers."""


class SentValues(NamedTuple):
    """What a link sends now."""

    values: Any
    """bytes, or an object that the record decoded."""
    timestamp_ns: int
    """When they were updated, CLOCK_MONOTONIC."""
    updates: int
    """How often the link was updated, including this update."""
    pid: int
    """Process that updated them. 0: it has detached."""


def item_of(packet: Packet, size: int, decode: Callable[[bytes], Any] | None) -> Item:
    """Decode a packet of the underlying channel.

    Another process may have overwritten it. Then the item is meaningless, with no other effect.
    """
    record = packet.data.ljust(HEAD.size + size, b"\0")
    kind, flags, number, feedback, _, published, at_ns = HEAD.unpack_from(record)
    event = _KINDS.get(kind)
    if event is not None and event is not EventKind.TIMEOUT:
        return Event(event, at_ns, None, False, 0, packet.lost_before)
    values: Any = record[HEAD.size : HEAD.size + size]
    if decode is not None:
        values = decode(values)
    if event is not None:
        void = bool(flags & _VOID)
        return Event(event, at_ns, values, void, published, packet.lost_before)
    return Values(
        values,
        number,
        feedback,
        at_ns,
        packet.stamp,
        published,
        bool(flags & _FIRST),
        bool(flags & _OVERSIZE),
        packet.source,
        packet.lost_before,
        packet.local,
    )
