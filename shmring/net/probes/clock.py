"""Another host's clock, compared with ours by STAMP exchanges (csrc/proto/stamp/stamp_clock.h)."""

import dataclasses
import itertools
import os
import random
import socket
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

from shmring._address import Address
from shmring._facts import values
from shmring._host_time import NS_PER_S, HostTime
from shmring._numbers import ClockCounters
from shmring._opening import Opening, Udp
from shmring._proto import ffi, lib
from shmring.channel import Channel
from shmring.errors import BadAddress, BadConfig, ReceiveTimeout
from shmring.net.probes.arrivals import Arrivals
from shmring.net.probes.reflector import PORT
from shmring.parts import Queue, Socket
from shmring.pool import open as open_channel

LocalClock = Literal["realtime", "tai", "monotonic"]
"""CLOCK_REALTIME (`time.time_ns`), CLOCK_TAI, or CLOCK_MONOTONIC (`time.monotonic_ns`)."""
Timestamps = Literal["ntp", "ptp"]

PPS = 100.0
MOST_PPS = 10_000.0
DRIFT_PPM = 100.0
TIMEOUT_S = 5.0
TIMESTAMP_ERROR_NS = 200
"""By how much T2 and T4 may lie before the arrival. The worker converts the kernel's timestamps to
CLOCK_MONOTONIC, which is wrong by some 10 ns."""

_AHEAD_NS = 1_000_000_000
_MOST_AHEAD = 1024
_REPLIES = 8192
_LEAD_NS = 1_000_000

_numbers = itertools.count()


class Bounded(NamedTuple):
    """A time with its bound: the truth lies in ``ns - bound_ns`` to ``ns + bound_ns``."""

    ns: int
    bound_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers(ClockCounters):
    """Counters of the comparison with another host's clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockEstimate:
    """What is known of the other clock at one instant."""

    at_ns: int
    """The instant, in the local clock."""
    offset_ns: int
    """Remote clock - local clock: the middle of what is possible."""
    bound_ns: int
    """The true offset lies in ``offset_ns - bound_ns`` to ``offset_ns + bound_ns``."""
    rate_ppm: float
    """How fast the offset changes, over the last 30 to 60 s: the middle of what is possible."""
    rate_bound_ppm: float
    """By how much `rate_ppm` may be wrong."""
    round_trip_ns: int
    """Of the last exchange, without the time at the reflector."""
    shortest_round_trip_ns: int
    """Since the comparison began."""
    silent_ns: int
    """Time since the last reply."""
    sent: int
    """Requests that were due until now."""
    answers: Answers
    """What became of the packets that came back."""
    steps: int
    """How often the remote clock was stepped, which began the comparison again."""
    local_steps: int
    """How often the local clock was stepped, which began the comparison again."""
    remote_scale: Literal["utc", "tai"]
    """What the remote clock counts."""
    remote_synchronised: bool
    """Whether the remote clock says that it is synchronised to `remote_scale`."""
    remote_error_ns: int
    """The error of its time, as it says. It has nothing to do with `bound_ns`."""

    def to_dict(self) -> dict[str, Any]:
        """Return everything as values that `json` accepts."""
        return dataclasses.asdict(self)


class RemoteClock:
    """The clock of another host, with a bound. `shmring.net.clock_to` makes one.

    Requests are queued up to a second ahead, and leave at their times also while the program does
    something else. There is no thread: call `update` now and then, at least once a second, to send
    further ones and to use the replies. Between the calls the bound grows with `drift_ppm`. After
    this host was suspended, or its time was set, the estimate is right again from the next `update`
    on. Use it in a ``with`` block.
    """

    def __init__(
        self,
        host: str,
        *,
        port: int = PORT,
        clock: LocalClock = "realtime",
        timestamps: Timestamps = "ntp",
        pps: float = PPS,
        drift_ppm: float = DRIFT_PPM,
        local: Address | None = None,
        pool: Opening | str | None = None,
    ) -> None:
        """Check the arguments, which are those of `shmring.net.clock_to`, and open the channel."""
        if clock not in ("realtime", "tai", "monotonic"):
            raise BadConfig(f"clock is {clock!r}: use 'realtime', 'tai' or 'monotonic'")
        if timestamps not in ("ntp", "ptp"):
            raise BadConfig(f"timestamps is {timestamps!r}: use 'ntp' or 'ptp'")
        if not 0 < pps <= MOST_PPS:
            raise BadConfig(f"pps is {pps}: it must be above 0, up to {MOST_PPS:.0f}")
        if not 0 <= drift_ppm <= 100_000:
            raise BadConfig(f"drift_ppm is {drift_ppm}: it must be 0 to 100000")
        self._host = HostTime()
        if clock == "tai" and not self._host.tai_is_known:
            raise BadConfig(
                "clock is 'tai', but the kernel's TAI offset is 0: let ptp4l/phc2sys or chrony "
                "(leapsectz) set it, or use clock='realtime'"
            )
        self.clock: LocalClock = clock
        """The local clock."""
        self._ptp = timestamps == "ptp"
        self._state: Any = ffi.new("stamp_clock_t *")
        self._state.drift = drift_ppm / 1e6
        self._state.margin_ns = TIMESTAMP_ERROR_NS
        self._offset: Any = ffi.new("stamp_offset_t *")
        self._series: Any = ffi.new("stamp_series_t *")
        self._series.interval_ns = round(NS_PER_S / pps)
        self._series.ssid = random.randrange(1, 1 << 16)
        self._ahead = max(1, min(_MOST_AHEAD, _AHEAD_NS // self._series.interval_ns))
        self._requests = bytearray(self._ahead * lib.STAMP_BYTES)
        self._first = self._next = random.getrandbits(32)
        self._next_ns = 0
        self.remote: Address = _resolved(host, port)
        """The address of the reflector."""
        self._channel = self._opened(local, pool)
        self._arrivals = Arrivals(self._channel)

    def _opened(self, local: Address | None, pool: Opening | str | None) -> Channel:
        socket = Socket(
            connect=True,
            gro=False,  # packets that were put together may have one timestamp
            rx_stamp="kernel",  # whose clock is the one of T1
            txtime="off",  # a card's own clock might launch before it
        )
        engine = Udp(
            tx=Queue(2 * _MOST_AHEAD, lib.STAMP_BYTES),
            rx=_REPLIES,
            reports="off",
            report_capacity=0,
            socket=socket,
        )
        name = f"clock.{os.getpid()}.{next(_numbers)}"
        return open_channel(name, engine, pool=pool, local=local, remote=self.remote)

    # --- exchanges --------------------------------------------------------------------------------

    def update(self, *, timeout: float = 0.0) -> ClockEstimate:
        """Send further requests, use the replies that arrived, and return the estimate.

        timeout: how many seconds to wait for a reply if none is there. Raises `ReceiveTimeout` if
        there has never been one, `ChannelClosed`, `WorkerFailed`.
        """
        steps = self._host.steps
        now_ns = self._host.refresh()
        if self._host.steps != steps:
            lib.stamp_clock_restart(self._state, now_ns)
        self._ask()
        wait = timeout
        while self._arrivals.receive(timeout=wait):
            self._use()
            wait = 0.0
        self._ask()
        return self.estimate()

    def _use(self) -> None:
        lib.stamp_clock_receive_batch(self._state, self._arrivals.raw, ffi.NULL)

    def wait(self, *, timeout: float = TIMEOUT_S) -> ClockEstimate:
        """Update until there is an estimate. Raises `ReceiveTimeout` after so many seconds."""
        until = time.monotonic() + timeout
        while True:
            left = until - time.monotonic()
            try:
                return self.update(timeout=max(0.0, min(0.2, left)))
            except ReceiveTimeout:
                if left <= 0:
                    raise

    def _ask(self) -> None:
        """Queue requests, up to a second ahead."""
        now_ns = self._channel.now_ns()
        interval_ns = int(self._series.interval_ns)
        begin_ns = max(self._next_ns, now_ns + _LEAD_NS)
        count = min(self._ahead, (now_ns + _AHEAD_NS - begin_ns) // interval_ns + 1)
        if count <= 0:
            return
        series = self._series
        series.first_sequence, series.count, series.first_ns = self._next, count, begin_ns
        series.to_world_ns = self._host.tai_ns if self._ptp else self._host.utc_ns
        series.error = lib.stamp_error_from_ns(
            self._host.error_ns,
            self._host.synchronised and (self._host.tai_is_known or not self._ptp),
            lib.STAMP_PTP if self._ptp else lib.STAMP_NTP,
        )
        lib.stamp_clock_ask(self._state, series, ffi.from_buffer("uint8_t[]", self._requests))
        bytes_used = count * lib.STAMP_BYTES
        self._channel.send_many(
            memoryview(self._requests)[:bytes_used],
            size=lib.STAMP_BYTES,
            at=begin_ns,
            interval_ns=interval_ns,
        )
        self._next = (self._next + count) & 0xFFFFFFFF
        self._next_ns = begin_ns + count * interval_ns

    # --- what is known ----------------------------------------------------------------------------

    def estimate(self) -> ClockEstimate:
        """Return what is known now, without a system call. Raises `ReceiveTimeout` if there has
        never been a reply."""
        state = self._state
        now_ns = time.monotonic_ns()
        offset = self._offset_at(now_ns)
        low, high = ffi.new("double *"), ffi.new("double *")
        lib.stamp_clock_rate(state, low, high)
        answers = Answers(**values(ClockCounters, state.counters))
        waiting = max(0, self._next_ns - now_ns) // int(self._series.interval_ns)
        return ClockEstimate(
            at_ns=now_ns + self._to_local(),
            offset_ns=offset.ns,
            bound_ns=offset.bound_ns,
            rate_ppm=(low[0] + high[0]) / 2 * 1e6,
            rate_bound_ppm=(high[0] - low[0]) / 2 * 1e6,
            round_trip_ns=int(state.round_trip_ns),
            shortest_round_trip_ns=int(state.shortest_ns),
            silent_ns=max(0, now_ns - int(state.last_ns)),
            sent=max(0, ((self._next - self._first) & 0xFFFFFFFF) - waiting),
            answers=answers,
            steps=answers.steps,
            local_steps=self._host.steps,
            remote_scale="tai" if state.error.format == lib.STAMP_PTP else "utc",
            remote_synchronised=bool(state.error.synchronised),
            remote_error_ns=int(lib.stamp_error_ns(state.error)),
        )

    def to_remote(self, local_ns: int) -> Bounded:
        """Convert a time of the local clock to the remote one. Raises `ReceiveTimeout` if there has
        never been a reply."""
        offset = self._offset_at(local_ns - self._to_local())
        return Bounded(local_ns + offset.ns, offset.bound_ns)

    def to_local(self, remote_ns: int) -> Bounded:
        """Convert a time of the remote clock to the local one. Raises `ReceiveTimeout` if there has
        never been a reply."""
        offset = self._offset_at(time.monotonic_ns())
        guess_ns = remote_ns - offset.ns  # whose error, times the drift, is below 1 ns for a minute
        offset = self._offset_at(guess_ns - self._to_local())
        drift_ns = round(2 * offset.bound_ns * float(self._state.drift)) + 1
        return Bounded(remote_ns - offset.ns, offset.bound_ns + drift_ns)

    def _to_local(self) -> int:
        """The local clock - CLOCK_MONOTONIC."""
        if self.clock == "monotonic":
            return 0
        return self._host.tai_ns if self.clock == "tai" else self._host.utc_ns

    def _offset_at(self, mono_ns: int) -> Bounded:
        """The offset to the local clock at a time of CLOCK_MONOTONIC."""
        found = self._offset
        if not lib.stamp_clock_offset(self._state, mono_ns, found):
            raise ReceiveTimeout(self._why_silent())
        middle_ns = (found.low_ns + found.high_ns) // 2
        error_ns = 0 if self.clock == "monotonic" else self._host.utc_error_ns
        bound_ns = found.high_ns - middle_ns + error_ns
        return Bounded(middle_ns - self._to_local(), bound_ns)

    def _why_silent(self) -> str:
        host, port = self.remote
        text = f"no reply from {host} port {port}: "
        answers = Answers(**values(ClockCounters, self._state.counters))
        if answers.malformed:
            return text + f"{answers.malformed} packets came, but they are no STAMP replies"
        if answers.unmatched:
            return text + (
                f"{answers.unmatched} packets came, but none repeats the number and the time of a "
                "request: is it a reflector (`shmring reflect`), and is nothing on the way that "
                "changes packets?"
            )
        if answers.impossible:
            return text + (
                f"{answers.impossible} replies came, but their times contradict each other: the "
                "reflector's clock does not run as it should"
            )
        if self._channel.stats().tx_failed:
            return (
                text + f"the kernel refused to send: check the route, and that port {port} is open"
            )
        return (
            text + "check that `shmring reflect` or another STAMP reflector runs there, that "
            "firewalls let this UDP port through, and that a reflector on a host with several "
            f"addresses is told to listen on {host}"
        )

    def close(self) -> None:
        """End the comparison. What waits is not sent."""
        self._channel.close(linger=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()


def _resolved(host: str, port: int) -> Address:
    if not 1 <= port <= 65535:
        raise BadAddress(f"port is {port}: it must be 1 to 65535")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except OSError as caught:
        raise BadAddress(f"host {host!r}: {caught.strerror or caught}") from None
    address = found[0][4]
    scope = f"%{socket.if_indextoname(address[3])}" if len(address) > 3 and address[3] else ""
    return str(address[0]).partition("%")[0] + scope, port


def clock_to(
    host: str,
    *,
    port: int = PORT,
    clock: LocalClock = "realtime",
    timestamps: Timestamps = "ntp",
    pps: float = PPS,
    drift_ppm: float = DRIFT_PPM,
    timeout: float = TIMEOUT_S,
    local: Address | None = None,
    pool: Opening | str | None = None,
) -> RemoteClock:
    """Compare another host's clock with ours, and return the comparison after the first reply.

    ``shmring reflect``, or another STAMP reflector (RFC 8762), must run there. Each exchange bounds
    the offset between both clocks, however long and unequal the delays were, and the bounds are
    intersected. So the true offset always lies within the bound, if neither clock drifts more than
    `drift_ppm` says or is stepped. A step makes the comparison begin again, see
    `ClockEstimate.steps`.

    host: name or address. The first address of a name is used.
    port: of the reflector.
    clock: the local clock: "realtime" (CLOCK_REALTIME, UTC), "tai" (CLOCK_TAI) or "monotonic", the
        clock of most channels.
    timestamps: format of the requests. "ntp": reflectors answer in UTC, "ptp": in TAI. The remote
        clock is what the answer says (`ClockEstimate.remote_scale`).
    pps: requests a second, up to 10000.
    drift_ppm: the two clocks drift apart by at most so many ppm, 0 to 100000. A quartz is within 50
        ppm, so the default is 100. While a program slews a clock quickly it needs more: adjtime 500
        ppm, chrony up to 100000.
    timeout: how many seconds to wait for the first reply.
    local: (host, port) to send from. None: the kernel chooses.
    pool: where the channel is opened, or the name of a named pool. None: `default_pool`.

    Raises `ReceiveTimeout` (no reply), `BadConfig`, `BadAddress`, and what `Pool.open` raises.
    """
    made = RemoteClock(
        host,
        port=port,
        clock=clock,
        timestamps=timestamps,
        pps=pps,
        drift_ppm=drift_ppm,
        local=local,
        pool=pool,
    )
    try:
        made.wait(timeout=timeout)
    except BaseException:
        made.close()
        raise
    return made
