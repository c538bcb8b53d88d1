"""What an RTP channel delivers: frames, erasures in place of missing frames, and events of the
stream."""

import struct
from typing import NamedTuple

from shmring._hot import Packet
from shmring._ring import ffi, lib
from shmring.rtp.extension import elements
from shmring.types import Stamp

# shm_rtp_rx_t of csrc/shm/rtp_shm.h
HEAD = struct.Struct("=BBBBIQIiIHHqB7x")
assert HEAD.size == ffi.sizeof("shm_rtp_rx_t")
FRAME, ERASURE, RESYNC, BYE = (
    int(lib.SHM_RTP_GOT_FRAME),
    int(lib.SHM_RTP_GOT_ERASURE),
    int(lib.SHM_RTP_GOT_RESYNC),
    int(lib.SHM_RTP_GOT_BYE),
)
_RECOVERED, _NEW_SOURCE, _RESTARTED, _DRY, _EVENT = (
    int(lib.SHM_RTP_RECOVERED),
    int(lib.SHM_RTP_NEW_SOURCE),
    int(lib.SHM_RTP_RESTARTED),
    int(lib.SHM_RTP_DRY),
    int(lib.SHM_RTP_EVENT),
)


class Frame(NamedTuple):
    """One frame that arrived. Times are ns in the channel's clock."""

    data: bytes
    """Payload."""
    timestamp: int
    """RTP timestamp, 32 bits, in units of the media clock."""
    sequence: int
    """RTP sequence number, extended: the first cycle of 65536 is 1, and it never goes back."""
    due_ns: int
    """Playout time. The time of arrival with ``delivery="as_arrived"``, and of an `event`."""
    timestamp_ns: int
    """Time of arrival. `stamp` gives the source of this timestamp."""
    stamp: Stamp
    marker: bool
    payload_type: int
    ssrc: int
    csrc: tuple[int, ...]
    """Contributing sources."""
    recovered: bool
    """It was lost and repeated on request."""
    new_source: bool
    """It is the first frame of another SSRC."""
    source: tuple[str, int] | None
    """Sender, (host, port). None in a batch."""
    lost_before: int
    """Frames and events that were overwritten in the ring between the previous item and this one. 0
    in a batch."""
    extension_profile: int
    """0: none."""
    extension: bytes
    """Body of the header extension. See `elements`."""
    event: bool = False
    """It carries no media, such as a telephone event (RFC 4733): see ``event_types`` of `Rtp`."""
    local: tuple[str, int] | None = None
    """The address that it came to. None: the channel is bound to one address. None in a batch."""

    def __repr__(self) -> str:
        """The fields, and the lengths of payload and header extension."""
        shown = {
            name: f"<{len(value)} bytes>" if isinstance(value, bytes) else repr(value)
            for name, value in self._asdict().items()
        }
        return f"Frame({', '.join(f'{name}={text}' for name, text in shown.items())})"

    def elements(self) -> tuple[tuple[int, bytes], ...]:
        """(id, data) of each element of the header extension, RFC 8285."""
        return elements(self.extension_profile, self.extension)


class Erasure(NamedTuple):
    """Frames that were missing at their playout time. Times are as in `Frame`."""

    timestamp: int
    """RTP timestamp at which it begins."""
    sequence: int
    """Extended sequence number of the first missing frame."""
    due_ns: int
    """Playout time."""
    timestamp_ns: int
    """Time of delivery."""
    frames: int
    """Number of missing frames. 0: not known yet, because the buffer ran empty."""
    samples: int
    """Its duration, in units of the media clock."""
    duration_ns: int
    """Its duration in ns."""
    dry: bool
    """The buffer ran empty: no later frame has arrived either."""
    ssrc: int
    lost_before: int
    """As in `Frame`."""


class Resync(NamedTuple):
    """The timeline jumps, and the following frames start a new one. Times are as in `Frame`."""

    timestamp: int
    """RTP timestamp of the first frame after the jump."""
    sequence: int
    """Its extended sequence number."""
    due_ns: int
    """Playout time."""
    timestamp_ns: int
    """Time of delivery."""
    samples: int
    """Size of the jump, units of the media clock. Negative: backwards."""
    new_source: bool
    """Another SSRC took over."""
    restarted: bool
    """The source restarted at other sequence numbers."""
    ssrc: int
    lost_before: int
    """As in `Frame`."""


class Bye(NamedTuple):
    """The source sent an RTCP BYE. Times are as in `Frame`."""

    timestamp_ns: int
    """When it arrived."""
    ssrc: int
    lost_before: int
    """As in `Frame`."""


Item = Frame | Erasure | Resync | Bye
"""Anything that an RTP channel delivers."""


def item_of(packet: Packet, clock_rate: int) -> Item:
    """Decode a packet of the underlying channel."""
    return parse(
        memoryview(packet.data),
        packet.timestamp_ns,
        packet.stamp,
        clock_rate,
        packet.source,
        packet.lost_before,
        packet.local,
    )


def parse(
    record: memoryview,
    timestamp_ns: int,
    stamp: Stamp,
    clock_rate: int,
    source: tuple[str, int] | None = None,
    lost_before: int = 0,
    local: tuple[str, int] | None = None,
) -> Item:
    """Decode a record: head, contributing sources, header extension, payload.

    Another process may have overwritten it. Then the item is meaningless, with no other effect.
    """
    if len(record) < HEAD.size:
        record = memoryview(bytes(record).ljust(HEAD.size, b"\0"))
    (
        kind,
        flags,
        marker,
        payload_type,
        ssrc,
        sequence,
        timestamp,
        span,
        frames,
        profile,
        extension_bytes,
        due_ns,
        csrc_count,
    ) = HEAD.unpack_from(record)
    if kind == ERASURE:
        return Erasure(
            timestamp,
            sequence,
            due_ns,
            timestamp_ns,
            frames,
            span,
            span * 1_000_000_000 // clock_rate,
            bool(flags & _DRY),
            ssrc,
            lost_before,
        )
    if kind == RESYNC:
        return Resync(
            timestamp,
            sequence,
            due_ns,
            timestamp_ns,
            span,
            bool(flags & _NEW_SOURCE),
            bool(flags & _RESTARTED),
            ssrc,
            lost_before,
        )
    if kind == BYE:
        return Bye(timestamp_ns, ssrc, lost_before)
    extension_at = HEAD.size + 4 * csrc_count
    payload_at = extension_at + extension_bytes
    return Frame(
        bytes(record[payload_at:]),
        timestamp,
        sequence,
        due_ns,
        timestamp_ns,
        stamp,
        marker != 0,
        payload_type,
        ssrc,
        _csrc(record[HEAD.size : extension_at]) if csrc_count else (),
        bool(flags & _RECOVERED),
        bool(flags & _NEW_SOURCE),
        source,
        lost_before,
        profile,
        bytes(record[extension_at:payload_at]),
        bool(flags & _EVENT),
        local,
    )


def _csrc(words: memoryview) -> tuple[int, ...]:
    count = len(words) // 4
    return struct.unpack(f">{count}I", words[: 4 * count])
