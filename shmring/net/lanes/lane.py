"""One channel with its packets: IPv4 and IPv6 have one each."""

import time
from array import array
from typing import Any

from shmring._proto import ffi as proto_ffi
from shmring._ring import ffi, lib
from shmring.channel import Channel
from shmring.errors import RingFull
from shmring.histogram import Histogram
from shmring.stats import ChannelStats

_ADDRESS_BYTES: int = proto_ffi.sizeof("due_address_t")
RECORDS = 4096
"""Packets in one batch: fewer than a send ring holds, so that no lane waits long for the other."""
_REPORTS_AT_ONCE = 8192
_TURN_S = 0.2
_NAP_S = 0.001


class Columns:
    """The packets of one batch that leave on one lane, as columns that C fills."""

    def __init__(self, lane: Any, *, answers: bool = False) -> None:
        """lane: its ``due_lane_t``. answers: whether packets leave from addresses of their own."""
        self._lane = lane
        self._due = array("q", bytes(8 * RECORDS))
        self._offset = array("I", bytes(4 * RECORDS))
        self._length = array("I", bytes(4 * RECORDS))
        self._to = bytearray(_ADDRESS_BYTES * RECORDS)
        lane.due_ns = self._keep = proto_ffi.from_buffer("int64_t[]", self._due)
        self._kept = [
            proto_ffi.from_buffer("uint32_t[]", each) for each in (self._offset, self._length)
        ]
        lane.offset, lane.length = self._kept
        self._kept.append(proto_ffi.from_buffer("uint8_t[]", self._to))
        lane.to = proto_ffi.cast("due_address_t *", self._kept[-1])
        self._from = bytearray(_ADDRESS_BYTES * RECORDS if answers else 0)
        if answers:
            self._kept.append(proto_ffi.from_buffer("uint8_t[]", self._from))
            setattr(lane, "from", proto_ffi.cast("due_address_t *", self._kept[-1]))

    @property
    def count(self) -> int:
        return int(self._lane.count)

    def part(self, begin: int) -> dict[str, Any]:
        """Return the arguments of `Channel.send_many` for the packets from `begin` on."""
        end = self.count
        addresses = slice(begin * _ADDRESS_BYTES, end * _ADDRESS_BYTES)
        return {
            "offsets": memoryview(self._offset)[begin:end],
            "sizes": memoryview(self._length)[begin:end],
            "at": memoryview(self._due)[begin:end],
            "to": memoryview(self._to)[addresses],
            "source": memoryview(self._from)[addresses] if self._from else None,
        }


class Lane:
    """A channel with the reports of its packets."""

    def __init__(self, channel: Channel, *, naps: bool) -> None:
        """naps: whether to look for room from time to time. A thread that sleeps until there is
        room is woken by the worker for every packet while the ring is full, and each time that
        costs the worker as much as sending one."""
        self.channel = channel
        self._naps = naps
        self._gaps = ffi.new("channel_gaps_t *")
        self._reports = ffi.new("shm_report_t[]", _REPORTS_AT_ONCE)
        self._reader = ffi.new("slot_reader_t *")
        lib.channel_report_reader_init(self._reader, channel._endpoint.mapped())

    def send(self, payloads: memoryview, columns: Columns, done: int) -> int:
        """Queue packets from number `done` of a batch on, for at most a fifth of a second. Return
        how many of the batch are queued now."""
        until_s = time.monotonic() + _TURN_S
        while done < columns.count:
            wait_s = 0 if self._naps else max(0.0, until_s - time.monotonic())
            try:
                self.channel.send_many(payloads, timeout=wait_s, **columns.part(done))
                return columns.count
            except RingFull as full:
                done += full.sent
            if time.monotonic() > until_s:
                break
            time.sleep(_NAP_S)
        return done

    def flush(self) -> bool:
        """Wait a fifth of a second until all packets are sent. Return whether they are."""
        until_s = time.monotonic() + _TURN_S
        while self.channel.tx_waiting and time.monotonic() < until_s:
            time.sleep(_NAP_S)
        return not self.channel.tx_waiting

    def read_reports(self) -> None:
        """Add the reports since the last call to the gap errors."""
        while count := lib.slot_reader_next(self._reader, self._reports, _REPORTS_AT_ONCE):
            lib.channel_gaps_add(self._gaps, self._reports, count)

    @property
    def gap_errors(self) -> Histogram:
        return Histogram(ffi.addressof(self._gaps, "errors"))

    def stats(self) -> ChannelStats:
        return self.channel.stats()
