"""A PC with the original Python implementation."""

from __future__ import annotations

from dataclasses import dataclass

from shmring.testing.exchange import Datagram
from shmring.testing.link import NEVER_NS, Address

from .partner import HEADER_BYTES, Partner

MS = 1_000_000
SECOND = 1000 * MS
RECEIVE_BUFFER = 1460
SOCKET_TIMEOUT_NS = 100 * MS
NAP_NS = MS
OVERSLEEP_NS = (60_000, 140_000)
"""How much longer a sleep takes than requested."""


@dataclass(kw_only=True, eq=False, repr=False)
class PythonPartner(Partner):
    """Three threads with one lock, with the names of the original.

    * Numbers start at 1. A failed send, or values that are not available, use up a number.
    * Sleeps slightly more than 1 ms between two looks at the wall clock, and computes the next send
      from the current one: 1.1 ms for 1 ms, 5.5 ms for 5 ms.
    * First silently ignores a datagram with the last accepted number. That number is 0 at first, so
      a stream that begins with 0 loses its first datagram.
    * Accepts numbers that are 1 to 127 ahead and refuses the rest. A short datagram counts as
      refused.
    * Echoes the last received number, refused or not, as of the last turn of the statistics thread:
      up to one interval old.
    * Checks the watchdog only if no datagram arrived for 100 ms. `watchdog_timeout` is also cleared
      only then.

    `send_fails`: the socket refuses. `to_send` of a wrong size: the result of the provider.
    """

    kind = "python"
    order = "little"

    cycle_ns: int = 5 * MS
    watch_ns: int = 30 * MS
    """Time limit of the watchdog."""
    keep_values: bool = False
    """Values stay after the watchdog expired."""

    def __post_init__(self) -> None:
        self.send_fails = False
        super().__post_init__()

    def _forget(self, now_ns: int) -> None:
        super()._forget(now_ns)
        # receiver
        self.partner_seq_number = 0
        self.current_feedback_seq_number = 0
        self.error = True
        self.error_message = ""
        self.first_packet_received = False
        self.watchdog_timeout = False
        self.total_packets_received = 0
        self.total_packets_rejected = 0
        self._accepted_number = 0
        self._time_base_ns = now_ns
        self._idle_from_ns = now_ns
        self._watched_feedback = 0
        # sender
        self.sequence_number = 0
        self.feedback_to_send = 0
        self.sender_error = False
        self.sender_error_message = ""
        self.total_packets_sent = 0
        self.total_send_errors = 0
        self._send_from_ns = now_ns
        self._sender_wakes_ns = now_ns
        # statistics
        self.statistics = PythonStatistics(self.cycle_ns / MS)
        self._statistics_wakes_ns = now_ns

    @property
    def period_ns(self) -> float:
        nap_ns = NAP_NS + sum(OVERSLEEP_NS) / 2
        return max(1, -(-self.cycle_ns // nap_ns)) * nap_ns

    @property
    def deadline_ns(self) -> int:
        if not self.on:
            return NEVER_NS
        return min(
            self._sender_wakes_ns,
            self._statistics_wakes_ns,
            self._idle_from_ns + SOCKET_TIMEOUT_NS,
        )

    def run(self, now_ns: int) -> list[Datagram]:
        if now_ns < self.deadline_ns:
            return []
        if now_ns >= self._idle_from_ns + SOCKET_TIMEOUT_NS:
            self._idle_from_ns = now_ns
            self._watch(now_ns)
        if now_ns >= self._statistics_wakes_ns:
            self._statistics_wakes_ns = now_ns + self.cycle_ns + self._oversleep_ns()
            self._update_statistics(now_ns)
        if now_ns < self._sender_wakes_ns:
            return []
        self._sender_wakes_ns = now_ns + NAP_NS + self._oversleep_ns()
        return self._send(now_ns) if now_ns >= self._send_from_ns else []

    def _oversleep_ns(self) -> int:
        return self.chance.randint(*OVERSLEEP_NS)

    # --- receiver ----------------------------------------------------------------------------

    def arrive(self, data: bytes, source: Address, now_ns: int) -> None:
        if not self.on:
            return
        self._idle_from_ns = now_ns
        data = data[:RECEIVE_BUFFER]
        size = self.receive_record.size
        if len(data) < HEADER_BYTES + size:
            self.total_packets_rejected += 1
            return
        number, feedback = data[:HEADER_BYTES]
        if number == self._accepted_number:
            return
        self.partner_seq_number = number
        if self.first_packet_received and (number - self._accepted_number) % 256 > 127:
            self.total_packets_rejected += 1
            return
        self._accepted_number = number
        self.current_feedback_seq_number = feedback
        self.first_packet_received = True
        self.total_packets_received += 1
        self.error = False
        self.error_message = ""
        self._time_base_ns = now_ns
        self._take(data[HEADER_BYTES : HEADER_BYTES + size])

    def _watch(self, now_ns: int) -> None:
        if not self.first_packet_received:
            self.error = True
            self.error_message = "No valid packet received yet"
        elif self.current_feedback_seq_number != self._watched_feedback:
            self._watched_feedback = self.current_feedback_seq_number
            self._time_base_ns = now_ns
            self.watchdog_timeout = False
        elif now_ns - self._time_base_ns > self.watch_ns:
            self._time_out()

    def _time_out(self) -> None:
        self.watchdog_timeout = True
        self.error = True
        self.error_message = f"Watchdog timeout ({self.watch_ns / SECOND:.2f}s)"
        if not self.keep_values:
            self.first_packet_received = False
            self._clear()

    # --- sender ------------------------------------------------------------------------------

    def _send(self, now_ns: int) -> list[Datagram]:
        self._send_from_ns = now_ns + self.cycle_ns
        self.sequence_number = (self.sequence_number + 1) % 256
        self._run_program()
        wanted = self.send_record.size
        if len(self.to_send) != wanted:
            self._fail(
                "Data provider error: Data provider returned "
                f"{len(self.to_send)} bytes, expected {wanted}"
            )
            return []
        if self.send_fails:
            self.total_send_errors += 1
            self._fail("Socket send error: [Errno 101] Network is unreachable")
            return []
        self.sender_error = False
        self.sender_error_message = ""
        self.total_packets_sent += 1
        return [self._datagram(self.sequence_number, self.feedback_to_send, self.remote)]

    def _fail(self, message: str) -> None:
        self.sender_error = True
        self.sender_error_message = message

    # --- statistics thread ---------------------------------------------------------------------

    def _update_statistics(self, now_ns: int) -> None:
        self.statistics.update(
            self.partner_seq_number,
            self.sequence_number,
            self.current_feedback_seq_number,
            now_ns,
        )
        self.feedback_to_send = self.partner_seq_number


class PythonStatistics:
    """The original's tracker, with its actual results.

    Averages subtract two cycles too many. Losses of the partner and round trips compare a sample
    with itself, because the averages have replaced the previous one by then: both stay 0 for ever.
    Numbers that were skipped between two looks count as lost feedback.
    """

    def __init__(self, cycle_time_ms: float) -> None:
        self.cycle_time_ms = cycle_time_ms
        self.avg_own_interval = 0.0
        self.avg_partner_interval = 0.0
        self.last_rtt = 0.0
        self.total_partner_lost_packets = 0
        self.total_feedback_lost_packets = 0
        self._own = _Average(2)
        self._partner = _Average(4)
        self._feedback = 0
        self._updated_ns: int | None = None

    def update(self, partner: int, own: int, feedback: int, now_ns: int) -> None:
        """Call it cyclically, with the current numbers."""
        elapsed_ms = 0.0 if self._updated_ns is None else (now_ns - self._updated_ns) / MS
        self._updated_ns = now_ns
        bias_ms = 2 * self.cycle_time_ms
        self.avg_own_interval = self._own.update(own, elapsed_ms, bias_ms)
        self.avg_partner_interval = self._partner.update(partner, elapsed_ms, bias_ms)
        skipped = (feedback - self._feedback) % 256
        if 2 <= skipped <= 127:
            self.total_feedback_lost_packets += skipped - 1
        if feedback < 15 and self._feedback > 240:
            self.total_feedback_lost_packets = 0
        self._feedback = feedback


class _Average:
    def __init__(self, highest: int) -> None:
        self._highest = highest
        self._before = 0
        self._sum_ms = 0.0
        self._average_ms = 0.0

    def update(self, number: int, elapsed_ms: float, bias_ms: float) -> float:
        self._sum_ms += elapsed_ms
        if number <= self._highest and self._before > 250:
            self._average_ms = self._sum_ms / 256 - bias_ms
            self._sum_ms = 0.0
        self._before = number
        return self._average_ms
