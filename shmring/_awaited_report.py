"""The report of one packet, which may not be there yet."""

from __future__ import annotations

import errno
import threading

from shmring import errors
from shmring._arguments import has_passed
from shmring._endpoint import Endpoint
from shmring._ring import ffi, lib
from shmring.batch import ReportBatch
from shmring.types import SendReport


class AwaitedReport:
    """It searches the reports of a channel, each of them once."""

    def __init__(self, endpoint: Endpoint, sequence: int) -> None:
        """Raises `BadConfig`, `ValueError`."""
        segment = endpoint.mapped()
        if segment.config.reports != lib.SHM_REPORTS_ALL or segment.config.report_slots == 0:
            raise errors.BadConfig(
                f"channel {endpoint.name!r} does not report every packet: open it with "
                'reports="all" and a report_capacity above 0'
            )
        sent = int(lib.tx_ring_next_sequence(segment))
        if sequence >= sent:
            raise ValueError(
                f"sequence is {sequence}, but channel {endpoint.name!r} has queued {sent} packets: "
                "give what send() returned"
            )
        self._endpoint = endpoint
        self._sequence = sequence
        self._lock = threading.Lock()
        self._reader = ffi.new("slot_reader_t *")
        lib.channel_report_reader_init(self._reader, segment)
        self._found: SendReport | None = None

    def look(self) -> SendReport | None:
        """Return the report, or None if it is not there yet. Raises `TooLate` if it cannot come any
        more. Any thread may call this."""
        with self._lock:
            segment = self._endpoint.mapped()
            is_last_look = not (
                lib.tx_ring_waiting(segment) or lib.channel_reports_awaited(segment)
            )
            raw = ffi.new("shm_report_t *")
            if self._found is None and lib.channel_find_report(self._reader, self._sequence, raw):
                (self._found,) = ReportBatch(bytes(ffi.buffer(raw)), 1)
            if self._found is None and (is_last_look or self._reader.lost):
                raise errors.TooLate(
                    f"the report of packet {self._sequence} was overwritten: open channel "
                    f"{self._endpoint.name!r} with a larger report_capacity, or ask earlier"
                )
            return self._found

    def check_time(self, until_ns: int, timeout: float | None) -> None:
        """Raise `SendTimeout` if the time is over, `ChannelClosed` if the channel has ended, or the
        reason why it failed."""
        if has_passed(until_ns):
            raise errors.SendTimeout(
                errno.ETIMEDOUT,
                f"channel {self._endpoint.name!r}: no verdict on packet {self._sequence} within "
                f"{timeout} s",
            )
        self._endpoint.check_goes_on()
