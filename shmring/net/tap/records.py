"""The records that a worker writes into the log of a tap: `tap_record_t`
of `csrc/shm/tap_ring.h`."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from shmring._ring import ffi, lib

_RECORD = struct.Struct("=IBBBxQQII HHI16s HHI16s QqqqqqqiBBH")
assert _RECORD.size == ffi.sizeof("tap_record_t")

SENT: int = lib.TAP_SENT
ARRIVED: int = lib.TAP_ARRIVED
NOT_SENT: int = lib.TAP_NOT_SENT
STAMPED: int = lib.TAP_STAMPED
MARK: int = lib.TAP_MARK

HAS_SEQUENCE: int = lib.TAP_HAS_SEQUENCE
AWAITS_STAMP: int = lib.TAP_AWAITS_STAMP
FILTERED: int = lib.TAP_FILTERED
SHARED_STAMP: int = lib.TAP_SHARED_STAMP
TRUNCATED: int = lib.TAP_TRUNCATED

NO_VERDICT: int = lib.TAP_NO_VERDICT
LATE_VERDICTS = (*range(1, 6), 8)
"""Numbers of `shmring.Verdict`: enqueued_late to dropped_late, and producer_halted."""


class Record(NamedTuple):
    """One record. Times are in ns of the channel's clock, 0: none."""

    size: int
    kind: int
    flags: int
    tos: int
    place: int
    number: int
    """Number of the datagram, the same in every tap of the channel."""
    payload_bytes: int
    captured_bytes: int
    local_family: int
    local_port: int
    local_scope: int
    local_raw: bytes
    remote_family: int
    remote_port: int
    remote_scope: int
    remote_raw: bytes
    sequence: int
    scheduled_ns: int
    enqueued_ns: int
    woken_ns: int
    sent_ns: int
    handed_ns: int
    stamped_ns: int
    error: int
    verdict: int
    stamp: int
    batch: int
    payload: bytes

    @property
    def time_ns(self) -> int:
        """When it arrived, was sent, or was abandoned."""
        if self.kind == ARRIVED:
            return self.stamped_ns
        return self.sent_ns or self.woken_ns

    @property
    def is_late(self) -> bool:
        return self.kind != ARRIVED and self.verdict in LATE_VERDICTS

    @property
    def local_ip(self) -> bytes:
        return self.local_raw[:4] if self.local_family == 4 else self.local_raw

    @property
    def remote_ip(self) -> bytes:
        return self.remote_raw[:4] if self.remote_family == 4 else self.remote_raw


def parse(raw: bytes) -> Iterator[Record]:
    """Return the records of a batch, in order. Raises `ValueError` for malformed bytes."""
    at = 0
    while at < len(raw):
        if len(raw) - at < _RECORD.size:
            raise ValueError(f"a record of a tap is cut off after {len(raw) - at} bytes")
        fields = _RECORD.unpack_from(raw, at)
        if not _RECORD.size <= fields[0] <= len(raw) - at:
            raise ValueError(f"a record of a tap has {fields[0]} bytes, {len(raw) - at} are left")
        begin = at + _RECORD.size
        yield Record._make((*fields, raw[begin : begin + fields[7]]))
        at += fields[0]
