"""A CODESYS controller with the three blocks of version 4."""

from __future__ import annotations

from dataclasses import dataclass

from shmring.testing.exchange import Datagram

from .controller import MS, SECOND, WatchedController


@dataclass(kw_only=True, eq=False, repr=False)
class Codesys4(WatchedController):
    """Accepts only larger numbers: the test for the wrap from 255 to 0 compares a variable with
    itself. So everything after a wrap is refused until the watchdog resets the block.

    * Never accepts 0 as the first number. A repeated number is ignored.
    * Copies the configured size, whatever the size of the datagram.
    * The watchdog checks the feedback: it expires `watch_ns` after the last change, once a datagram
      was received. Then it sets `error`, and the next datagram counts as the first. Values are
      cleared unless `keep_values` is set.
    * Reads one datagram per scan.

    In one scan: receive block, program, send block, statistics block (`statistics`).
    """

    kind = "codesys4"
    order = "little"
    receive_buffer = 1461

    cycle_ns: int = 5 * MS
    watch_ns: int = SECOND

    def _forget(self, now_ns: int) -> None:
        super()._forget(now_ns)
        self.changed_number = 0
        """Last received number, and the feedback it sends."""
        self.statistics = Codesys4Statistics()
        self._scanned_ns = now_ns

    def _scan(self, now_ns: int) -> list[Datagram]:
        self._receive()
        self._watch(now_ns)
        self._run_program()
        sent = self._send(now_ns)
        task_cycle_ms = (now_ns - self._scanned_ns) / MS
        self._scanned_ns = now_ns
        self.statistics.update(self.changed_number, self.own_number, self.feedback, task_cycle_ms)
        return sent

    def _receive(self) -> None:
        if not self._read():
            return
        number = self._area.number
        self.changed_number = number
        if number == self.accepted_number:
            return
        if self.first_seen and not 0 < number - self.accepted_number < 128:
            self.refused += 1
            return
        self._accept()

    def _watch(self, now_ns: int) -> None:
        unchanged = self._feedback_stands()
        if not unchanged:
            self.error = False
        if self._watchdog(self.first_seen and unchanged, now_ns):
            self._watchdog(False, now_ns)
            self.error = True
            self.timeouts += 1
            self.first_seen = False
            self.accepted_number = 0
            if not self.keep_values:
                self._clear()

    def _send(self, now_ns: int) -> list[Datagram]:
        if not self._send_timer(now_ns):
            return []
        self.own_number = (self.own_number + 1) % 256
        return [self._datagram(self.own_number, self.changed_number, self.remote)]


class Codesys4Statistics:
    """The statistics block: times in ms, losses in bytes.

    Averages cover 256 numbers, and are taken at the rising edge of "the number is near 0". Losses
    are plain differences of bytes, and start again at the wrap. The reset input does nothing.
    """

    def __init__(self) -> None:
        self.own_interval = 0.0
        self.partner_interval = 0.0
        self.rtt = 0.0
        self.partner_lost = 0
        """0 to 255, like `feedback_lost`."""
        self.feedback_lost = 0
        self._own = _Average(2)
        self._partner = _Average(4)
        self._partner_losses = _Losses(4)
        self._feedback_losses = _Losses(14)
        self._own_number = 0
        self._tracked: int | None = None
        self._rtt = 0.0

    def update(self, partner: int, own: int, feedback: int, task_cycle_ms: float) -> None:
        """Call it once per scan, with the current numbers."""
        self.own_interval = self._own.update(own, task_cycle_ms)
        self.partner_interval = self._partner.update(partner, task_cycle_ms)
        self.partner_lost = self._partner_losses.update(partner)
        self.feedback_lost = self._feedback_losses.update(feedback)
        if self._tracked is not None:
            self._rtt += task_cycle_ms
        elif own != self._own_number:
            self._tracked = own
            self._rtt = 0.0
        if feedback == self._tracked:
            self.rtt = self._rtt
            self._tracked = None
        self._own_number = own


class _Edge:
    """R_TRIG of "the number is at most `highest`"."""

    def __init__(self, highest: int) -> None:
        self._highest = highest
        self._before = False

    def rises(self, number: int) -> bool:
        before, self._before = self._before, number <= self._highest
        return self._before and not before


class _Average:
    def __init__(self, highest: int) -> None:
        self._edge = _Edge(highest)
        self._sum = 0.0
        self._average = 0.0

    def update(self, number: int, task_cycle_ms: float) -> float:
        self._sum += task_cycle_ms
        if self._edge.rises(number):
            self._average = self._sum / 256
            self._sum = 0.0
        return self._average


class _Losses:
    def __init__(self, highest: int) -> None:
        self._edge = _Edge(highest)
        self._before = 0
        self._lost = 0

    def update(self, number: int) -> int:
        difference = number - self._before
        self._before = number
        if difference > 1:
            self._lost = (self._lost + difference - 1) % 256
        if self._edge.rises(number):
            self._lost = 0
        return self._lost
