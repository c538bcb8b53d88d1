"""What a Netflux channel gives out: snapshots, arrivals, and what befell the link."""

from __future__ import annotations

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


class NetfluxEventKind(StrEnum):
    """What befell a link. Compares equal to its lower-case name."""

    ALIVE = "alive"
    """The first datagram came, or the first one behind a time-out."""
    TIMEOUT = "timeout"
    """The watchdog ran out."""
    HEARD = "heard"
    """The partner acknowledges what we send."""
    UNHEARD = "unheard"
    """It ceased to."""
    FRESH = "fresh"
    """The values to be sent are being updated."""
    STALE = "stale"
    """They are too old, or who wrote them died."""


_KINDS = {int(getattr(lib, f"SHM_NETFLUX_{kind.name}")): kind for kind in NetfluxEventKind}


class NetfluxSnapshot(NamedTuple):
    """The newest values of the partner. Times are ns of CLOCK_MONOTONIC."""

    values: Any
    """bytes, or what the record made of them."""
    number: int
    """Of the datagram, 0 to 255."""
    feedback: int
    """The number of ours that the partner had received last when it sent them."""
    timestamp_ns: int
    """When they came; `void`: when the watchdog ran out."""
    stamp: Stamp
    """Who took `timestamp_ns`."""
    published: int
    """Counts what `values` were, from 1 on: whether they are new since the last look."""
    void: bool
    """The watchdog ran out: zeros in place of values."""
    oversize: bool
    """The datagram was longer than agreed; the rest was ignored."""

    def age_ns(self) -> int:
        """Time since `timestamp_ns`."""
        return time.monotonic_ns() - self.timestamp_ns


class NetfluxValues(NamedTuple):
    """One datagram that was accepted. Fields are as of `NetfluxSnapshot`."""

    values: Any
    number: int
    feedback: int
    timestamp_ns: int
    stamp: Stamp
    published: int
    first: bool
    """The first one, or the first behind a time-out."""
    oversize: bool
    source: tuple[str, int]
    """Sender: (host, port)."""
    lost_before: int
    """Arrivals and events overwritten in the ring between the one read before and this one; 0 from
    `recv_many`, see `Channel.lost`."""


class NetfluxEvent(NamedTuple):
    """The link changed."""

    kind: NetfluxEventKind
    timestamp_ns: int
    """The deadline that passed, or the arrival that changed it; CLOCK_MONOTONIC."""
    values: Any
    """``timeout``: what `NetfluxChannel.snapshot` has now, zeros unless the channel keeps values;
    else None."""
    void: bool
    """`values` are zeros in place of the partner's."""
    published: int
    """As of `NetfluxSnapshot`; 0 but for ``timeout``."""
    lost_before: int
    """As of `NetfluxValues`."""


NetfluxItem = NetfluxValues | NetfluxEvent
"""Whatever a Netflux channel gives out."""


class SentValues(NamedTuple):
    """What a link sends now."""

    values: Any
    """bytes, or what the record made of them."""
    timestamp_ns: int
    """When they were put, CLOCK_MONOTONIC."""
    updates: int
    """How often anybody has updated the link, this one included."""
    pid: int
    """Process that did; 0: it has left."""


def item_of(packet: Packet, size: int, decode: Callable[[bytes], Any] | None) -> NetfluxItem:
    """What a packet of the channel below says.

    Any process may have scribbled over it: then the item makes no sense, and nothing else happens.
    """
    record = packet.data.ljust(HEAD.size + size, b"\0")
    kind, flags, number, feedback, _, published, at_ns = HEAD.unpack_from(record)
    event = _KINDS.get(kind)
    if event is not None and event is not NetfluxEventKind.TIMEOUT:
        return NetfluxEvent(event, at_ns, None, False, 0, packet.lost_before)
    values: Any = record[HEAD.size : HEAD.size + size]
    if decode is not None:
        values = decode(values)
    if event is not None:
        void = bool(flags & _VOID)
        return NetfluxEvent(event, at_ns, values, void, published, packet.lost_before)
    return NetfluxValues(
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
    )
