"""Received batches, as C reads them (csrc/proto/stamp/stamp_arrivals.h)."""

from typing import Any

from shmring._proto import ffi
from shmring.batch import _PACKET_BYTES, _PACKET_FIELDS, PacketBatch
from shmring.channel import Channel
from shmring.errors import ReceiveTimeout

PACKETS = 1024
"""Packets in one batch, at most."""
_PAYLOAD_BYTES = 1 << 20


class Arrivals:
    """Batches that are received from one channel, one after the other, into the same memory."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.payload = bytearray(_PAYLOAD_BYTES)
        """The payloads of the last batch."""
        self.raw: Any = ffi.new("stamp_arrivals_t *")
        """The last batch, for C."""
        self._payload = ffi.from_buffer("uint8_t[]", self.payload, require_writable=True)
        self.raw.payload = self._payload
        self.raw.payload_bytes = _PAYLOAD_BYTES
        self.raw.stride = _PACKET_BYTES
        self._records: Any = None

    def receive(self, *, timeout: float | None) -> bool:
        """Wait for packets. Return whether there are any. timeout: seconds, None: no limit."""
        try:
            batch = self._channel.recv_many(PACKETS, timeout=timeout, out=self.payload)
        except ReceiveTimeout:
            return False
        self._point_at(batch)
        return True

    def _point_at(self, batch: PacketBatch) -> None:
        self._records = ffi.from_buffer("uint8_t[]", batch._records)
        raw, at = self.raw, self._records
        raw.count = len(batch)
        raw.offset = ffi.cast("uint64_t *", at + _PACKET_FIELDS["offset"][1])
        raw.length = ffi.cast("uint32_t *", at + _PACKET_FIELDS["length"][1])
        raw.time_ns = ffi.cast("int64_t *", at + _PACKET_FIELDS["timestamp_ns"][1])
        raw.source = ffi.cast("stamp_end_t *", at + _PACKET_FIELDS["source_family"][1])
        raw.local = ffi.cast("stamp_end_t *", at + _PACKET_FIELDS["local_family"][1])
