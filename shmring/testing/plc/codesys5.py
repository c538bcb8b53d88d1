"""A CODESYS controller with the unified socket block, version 5."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from shmring.testing.exchange import Datagram
from shmring.testing.link import Address

from .controller import MS, SECOND, Controller, SendTimer
from .partner import HEADER_BYTES

READS_PER_SCAN = 21
WATCHDOG_NS = SECOND
RETRY_NS = 5 * SECOND
LONGEST_AGE_MS = 10_000


class State(enum.IntEnum):
    """eCurrentState of the block."""

    IDLE = 0
    CREATE = 10
    BIND = 20
    NONBLOCK = 30
    RUNNING = 40
    ERROR = 99


_OPENING = {
    State.CREATE: State.BIND,
    State.BIND: State.NONBLOCK,
    State.NONBLOCK: State.RUNNING,
}


@dataclass(kw_only=True, eq=False, repr=False)
class Codesys5(Controller):
    """Accepts every datagram, and uses the last of up to 21 datagrams of a scan. It checks no
    numbers.

    * Replies to the last sender: its receive call overwrites the remote address.
    * Two bytes are enough for the header to count. The payload is accepted if it is complete.
    * `connected` is true for 1 s after any datagram, and in the first second after opening. Values
      are never cleared.
    * Opening takes five scans. A step that fails is tried again after 5 s.

    In one scan: the state machine and reception, the program, sending, `Statistics()`.

    Inputs of the block are the attributes `enable`, `reconnect` (a rising edge closes and restarts)
    and `to_send`. `broken` is a state whose action fails.
    """

    kind = "codesys5"
    order = "little"
    receive_buffer = 1501

    cycle_ns: int = 2 * MS
    statistics: bool = True
    """Whether the program calls `Statistics()`."""

    def __post_init__(self) -> None:
        self.enable = True
        self.reconnect = False
        self.broken: State | None = None
        super().__post_init__()

    def _forget(self, now_ns: int) -> None:
        super()._forget(now_ns)
        self.state = State.IDLE
        self.error = False
        self.connected = False
        self.answers_to: Address | None = None
        """The destination of the next datagram."""
        self.own_number = 0
        self.last_partner_number = 0
        self.feedback = 0
        self.packets_per_cycle = 0
        """Datagrams read in the last scan (uiPacketsReceivedPerCycle)."""
        self.tx_count = 0
        """Attempts to send (udiTxCount)."""
        self.rx_count = 0
        self.partner_tx_period_ms = 0
        """Age of the last datagram when the statistics ran (tPartnerTxPeriod)."""
        self.own_tx_period_ms = 0
        """The same for the last send (tOwnRealTxPeriod)."""
        self.instant_rtt_ms = 0
        """One of these ages or half of it (tInstantRTT). It is not a round trip."""
        self.rx_skipped = 0
        """Difference of the last two sampled numbers (uiInstantRxSkipped)."""
        self.round_trip_time_ms = 0
        """tRoundTripTime: declared, never written."""
        self._reconnect_before = False
        self._fed_ns = now_ns
        self._failed_ns = now_ns
        self._received_ns: int | None = None
        self._sent_ns: int | None = None
        self._sampled_number = 0
        self._send_timer = SendTimer(self.cycle_ns)

    def _socket_is_open(self) -> bool:
        return self.state in (State.NONBLOCK, State.RUNNING)

    def _scan(self, now_ns: int) -> list[Datagram]:
        self.packets_per_cycle = 0
        self._step(now_ns)
        self._run_program()
        sent = self._send(now_ns) if self.state is State.RUNNING else []
        if self.statistics:
            self._look(now_ns)
        return sent

    # --- state machine: one transition per scan ----------------------------------------------

    def _step(self, now_ns: int) -> None:
        edge = self.reconnect and not self._reconnect_before
        self._reconnect_before = self.reconnect
        if edge:
            self._close()
        elif self.state is State.IDLE:
            if self.enable:
                self.state = State.CREATE
        elif self.state in _OPENING:
            self._open(now_ns)
        elif not self.enable:
            self._close()
        elif self.state is State.RUNNING:
            self._receive(now_ns)
            self.connected = now_ns - self._fed_ns < WATCHDOG_NS
        elif now_ns - self._failed_ns >= RETRY_NS:
            self._close()

    def _open(self, now_ns: int) -> None:
        if self.state is self.broken:
            self.state = State.ERROR
            self.error = True
            self._failed_ns = now_ns
            return
        self.state = _OPENING[self.state]
        if self.state is State.RUNNING:
            self.answers_to = self.remote
            self._fed_ns = now_ns
            self.connected = True

    def _close(self) -> None:
        self.state = State.IDLE
        self.error = False
        self.connected = False
        self._socket.clear()

    # --- values ------------------------------------------------------------------------------

    def _receive(self, now_ns: int) -> None:
        size = self.receive_record.size
        for _ in range(min(READS_PER_SCAN, len(self._socket))):
            data, self.answers_to = self._socket.popleft()
            if len(data) < HEADER_BYTES:
                continue
            self.packets_per_cycle += 1
            self.rx_count += 1
            self.last_partner_number, self.feedback = data[:HEADER_BYTES]
            self._fed_ns = self._received_ns = now_ns
            if len(data) >= HEADER_BYTES + size:
                self._take(data[HEADER_BYTES : HEADER_BYTES + size])

    def _send(self, now_ns: int) -> list[Datagram]:
        if not self._send_timer(now_ns):
            return []
        self.own_number = (self.own_number + 1) % 256
        self.tx_count += 1
        self._sent_ns = now_ns
        return [self._datagram(self.own_number, self.last_partner_number, self.answers_to)]

    # --- Statistics(): in TIME, whole milliseconds ---------------------------------------------

    def _look(self, now_ns: int) -> None:
        self.partner_tx_period_ms = _age_ms(now_ns, self._received_ns, self.partner_tx_period_ms)
        self.own_tx_period_ms = _age_ms(now_ns, self._sent_ns, self.own_tx_period_ms)
        self.instant_rtt_ms = self.partner_tx_period_ms // 2
        if self.own_tx_period_ms > 0 and self.last_partner_number != 0:
            self.instant_rtt_ms = self.own_tx_period_ms
        ahead = (self.last_partner_number - self._sampled_number) % 256
        self.rx_skipped = ahead - 1 if self._sampled_number != 0 and ahead > 1 else 0
        self._sampled_number = self.last_partner_number


def _age_ms(now_ns: int, then_ns: int | None, before_ms: int) -> int:
    if then_ns is None:
        return before_ms
    age_ms = now_ns // MS - then_ns // MS
    return age_ms if 0 < age_ms < LONGEST_AGE_MS else before_ms
