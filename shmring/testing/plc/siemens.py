"""A Siemens S7-1500 with the SEND and RECV blocks in SCL."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from shmring.testing.exchange import Datagram

from .controller import MS, WatchedController

IDLE = 0x7000
FIRST_SCAN = 0x7001
PREPARING = 0x7002
SENDING = 0x7003
DONE = 0x7004
NO_ATTRIBUTES = 0x8001
TOO_LARGE = 0x8002
BAD_IP = 0x8003
NO_CONNECTION = 0x80A1
"""Status of the send instruction if the block could not prepare it."""

LONGEST_DB = 1461


@dataclass(kw_only=True, eq=False, repr=False)
class Siemens(WatchedController):
    """Sends 0 first, and the next number after a send was confirmed.

    * Big-endian: payloads are images of data blocks.
    * `own_number` is the number of the next datagram.
    * Accepts numbers that are 1 to 127 ahead, and any number first. Copies the configured size,
      whatever the size of the datagram. Reads one datagram per scan.
    * SEND runs before RECV, so the feedback is the number that the previous scan accepted.
    * The watchdog checks the feedback, from the first scan on. It sets `error` if the feedback did
      not change for `watch_ns`. During `error` each datagram counts as the first, and values are
      cleared unless `keep_values` is set.
    * `status` is the status word of SEND. After a failed preparation the status of the send
      instruction replaces the reason in the same scan. `init_status` still has it.

    In one scan: SEND, program, RECV. `send_code`: a status other than 0 makes each send fail.
    """

    kind = "siemens"
    order = "big"
    receive_buffer = 1463

    cycle_ns: int = 10 * MS
    watch_ns: int = 10 * MS
    confirm_scans: int = 2
    """Scans from the request to its confirmation, at least 1."""
    unconfirmed: float = 0.0
    """Share of sends that reach the wire and are never confirmed, 0 to 1."""
    db_readable: bool = True
    """False if the attributes of its data blocks cannot be read."""

    def __post_init__(self) -> None:
        if self.confirm_scans < 1:
            raise ValueError(f"confirm_scans is {self.confirm_scans}; it must be at least 1")
        self.send_code = 0
        super().__post_init__()

    def _forget(self, now_ns: int) -> None:
        super()._forget(now_ns)
        self.status = IDLE
        self.init_status = 0
        self._started = False
        self._busy_scans = 0

    def _scan(self, now_ns: int) -> list[Datagram]:
        sent = self._send(now_ns)
        self._run_program()
        self._receive()
        self._watch(now_ns)
        return sent

    # --- SEND --------------------------------------------------------------------------------

    def _send(self, now_ns: int) -> list[Datagram]:
        self.status = IDLE
        if not self._started:
            self._started = True
            self.init_status = self._prepare()
            self.status = self.init_status or FIRST_SCAN
        self._await_confirmation()
        if self.init_status:
            self.status = NO_CONNECTION
            return []
        if not self._send_timer(now_ns):
            return []
        if self.send_code:
            self.status = self.send_code
            return []
        self.status = PREPARING
        self._busy_scans = self.confirm_scans
        return [self._datagram(self.own_number, self.accepted_number, self.remote)]

    def _prepare(self) -> int:
        if not self.db_readable:
            return NO_ATTRIBUTES
        if max(self.receive_record.size, self.send_record.size) > LONGEST_DB:
            return TOO_LARGE
        if self.remote is not None and not _is_ip(self.remote[0]):
            return BAD_IP
        return 0

    def _await_confirmation(self) -> None:
        if self._busy_scans == 0:
            return
        self._busy_scans -= 1
        if self._busy_scans > 0:
            self.status = SENDING
        elif self.chance.random() >= self.unconfirmed:
            self.status = DONE
            self.own_number = (self.own_number + 1) % 256

    # --- RECV --------------------------------------------------------------------------------

    def _receive(self) -> None:
        if not self._read():
            return
        ahead = (self._area.number - self.accepted_number) % 256
        if self.first_seen and not 0 < ahead < 128:
            self.refused += ahead != 0
            return
        self._accept()

    def _watch(self, now_ns: int) -> None:
        unchanged = self._feedback_stands()
        was_error, self.error = self.error, self._watchdog(unchanged, now_ns)
        self.timeouts += self.error and not was_error
        if self.error:
            self.first_seen = False
            if not self.keep_values:
                self._clear()


def _is_ip(text: str) -> bool:
    """Accept IPv6 too, which the real blocks do not support, because a test's loopback may
    be ::1."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
