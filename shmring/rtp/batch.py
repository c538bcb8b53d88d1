"""Many items of an RTP channel, without a Python object for each."""

from collections.abc import Iterator
from typing import Any, overload

from shmring import _arrow
from shmring._ring import ffi, lib
from shmring.batch import Column, PacketBatch, Records
from shmring.rtp.frames import HEAD, Item, parse
from shmring.types import Stamp, stamp_of

# rtp_row_t of csrc/client/rtp_rows.h
_ROW_BYTES = 64
_ROW_FIELDS: dict[str, tuple[str, int]] = {
    "sequence": ("u8", 0),
    "timestamp_ns": ("i8", 8),
    "due_ns": ("i8", 16),
    "offset": ("u8", 24),
    "length": ("u4", 32),
    "timestamp": ("u4", 36),
    "ssrc": ("u4", 40),
    "samples": ("i4", 44),
    "frames": ("u4", 48),
    "extension_profile": ("u2", 52),
    "extension_bytes": ("u2", 54),
    "kind": ("u1", 56),
    "stamp": ("u1", 57),
    "flags": ("u1", 58),
    "marker": ("u1", 59),
    "payload_type": ("u1", 60),
    "csrc_count": ("u1", 61),
}

KINDS = ("frame", "erasure", "resync", "bye")


class Batch(Records):
    """Items that one call of `Channel.recv_many` returned, oldest first.

    It is a sequence of items. Each item is created at its first access, without `source` and
    `lost_before`. Each field is a view over all items, including events. `kinds` gives the kind of
    each item, and ``lengths`` of events are 0.
    """

    __slots__ = ("_clock_rate", "payload")

    payload: bytes | memoryview
    """The payloads, each with its header data before it: see `offsets` and `lengths`. A view of
    `out` if that was given."""

    def __init__(self, packets: PacketBatch, clock_rate: int) -> None:
        """packets: as `shmring.Channel.recv_many` of the underlying channel returns them."""
        count = len(packets)
        rows = bytearray(_ROW_BYTES * count)
        with (
            ffi.from_buffer("uint8_t[]", packets.payload) as payload,
            ffi.from_buffer("packet_record_t[]", packets._records) as records,
            ffi.from_buffer("rtp_row_t[]", rows, require_writable=True) as out,
        ):
            lib.rtp_rows(payload, records, count, out)
        super().__init__(bytes(rows), _ROW_BYTES, count)
        self.payload = packets.payload
        self._clock_rate = clock_rate

    def _table(self) -> _arrow.Node:
        words = {"stamp": tuple(Stamp), "kind": KINDS}
        columns = [
            _arrow.names(name, self._column(field), words[name])
            if name in words
            else _arrow.numbers(name, field[0], self._column(field))
            for name, field in _ROW_FIELDS.items()
            if name not in ("offset", "length")
        ]
        offset_at, length_at = _ROW_FIELDS["offset"][1], _ROW_FIELDS["length"][1]
        return _arrow.struct(
            self._count, [*columns, _arrow.payloads(self, _ROW_BYTES, offset_at, length_at)]
        )

    def _tensor(self) -> tuple[Any, int, int, int, int]:
        return self.payload, 8, len(self.payload), 0, 0

    kinds = Column(_ROW_FIELDS["kind"], "0 a frame, 1 an erasure, 2 a resync, 3 a goodbye.")
    sequences = Column(
        _ROW_FIELDS["sequence"],
        "Extended sequence numbers. For an erasure, that of the first missing frame.",
    )
    timestamps = Column(_ROW_FIELDS["timestamp"], "RTP timestamps, units of the media clock.")
    timestamps_ns = Column(
        _ROW_FIELDS["timestamp_ns"],
        "Times of arrival, for events the time of delivery, ns in the channel's clock.",
    )
    due_ns = Column(_ROW_FIELDS["due_ns"], "Playout times, ns in the channel's clock.")
    offsets = Column(_ROW_FIELDS["offset"], "Where each payload begins in `payload`.")
    lengths = Column(_ROW_FIELDS["length"], "Bytes of each payload.")
    frames = Column(
        _ROW_FIELDS["frames"], "1 for a frame, the number of missing frames for an erasure."
    )
    ssrcs = Column(_ROW_FIELDS["ssrc"], "SSRC of each item.")
    payload_types = Column(_ROW_FIELDS["payload_type"], "Payload type of each frame.")
    markers = Column(_ROW_FIELDS["marker"], "Marker bit of each frame.")
    stamps = Column(
        _ROW_FIELDS["stamp"],
        "Source of each timestamp, as an index into ``tuple(shmring.types.Stamp)``.",
    )

    @property
    def array(self) -> Any:
        """NumPy record array with the fields sequence, timestamp_ns, due_ns, offset, length,
        timestamp, ssrc, samples, frames, extension_profile, extension_bytes, kind, stamp, flags,
        marker, payload_type and csrc_count.

        Raises ImportError without NumPy.
        """
        return self._as_array(_ROW_FIELDS)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._count))]
        return self._item(self._index(index))

    def __iter__(self) -> Iterator[Item]:
        return (self._item(at) for at in range(0, len(self._records), _ROW_BYTES))

    def _item(self, at: int) -> Item:
        row = self._records[at : at + _ROW_BYTES]
        offset = row[24:32].cast("Q")[0]
        start = offset - row[54:56].cast("H")[0] - 4 * row[61] - HEAD.size
        record = memoryview(self.payload)[max(start, 0) : offset + row[32:36].cast("I")[0]]
        return parse(record, row[8:16].cast("q")[0], stamp_of(row[57]), self._clock_rate)

    def __repr__(self) -> str:
        return f"<Batch of {self._count} items, {sum(self.lengths)} bytes>"
