"""Sends the packets of a capture at their times."""

import contextlib
import dataclasses
import itertools
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO, NamedTuple

from shmring import _address
from shmring._address import Address
from shmring._opening import Opening
from shmring._proto import ffi, lib
from shmring.capture import pacing
from shmring.capture.flows import CaptureSummary, summary
from shmring.capture.lane import Columns, Lane
from shmring.capture.reader import Reader
from shmring.capture.routes import Routes
from shmring.channel import Channel
from shmring.histogram import Histogram
from shmring.pool import default_pool
from shmring.stats import ChannelStats
from shmring.types import Late, Profile

CAPACITY = 16384
_PACKET_BYTES = 1472
_REPORTS = 1 << 16
_ANY = {4: "0.0.0.0", 6: "::"}

_TELL_NS = 200_000_000

_numbers = itertools.count()


class Progress(NamedTuple):
    """How far a replay is. `Player.run` passes it to `progress` about five times a second."""

    sent: int
    """Packets with a verdict."""
    queued: int
    """Packets that were put into the ring, of all rounds."""
    round: int
    """Which round of the loop is read, from 1."""
    share: float | None
    """How much of the file was read in this round, 0 to 1. None: it is a pipe."""
    rate_pps: float
    """Packets a second since the last call."""
    late: int
    p99_ns: int
    """99th percentile of the lateness so far, ns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayReport:
    """What became of a replay."""

    packets: int
    """Packets that were queued, of all rounds."""
    sent: int
    """Packets that were handed to the kernel."""
    late: int
    """Packets that were sent later than the tolerance of 50 us after their time."""
    failed: int
    """Packets that the kernel refused, such as those to a network without a route."""
    not_sent: int
    """Packets that were dropped because they were late (late="drop"), or cancelled by `stop`."""
    rounds: int
    """Rounds of the loop that were played, also in part."""
    seconds: float
    """From the start to the last verdict."""
    lateness: Histogram
    """Time from the deadline to the start of the send call."""
    gap_error: Histogram
    """How much the gap between two packets differed from their gap in the schedule, without sign.
    Only consecutive packets of one channel, as far as their reports were read in time."""
    stopped: bool
    """Whether `Player.stop` ended it."""
    capture: CaptureSummary
    """What is in the file. Its counts include all rounds."""

    @property
    def late_share(self) -> float:
        """Late packets as a share of those sent, 0 to 1."""
        return self.late / self.sent if self.sent else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return everything as values that `json` accepts."""
        facts: dict[str, Any] = {
            field.name: getattr(self, field.name) for field in dataclasses.fields(self)
        }
        facts["late_share"] = self.late_share
        for name in ("lateness", "gap_error", "capture"):
            facts[name] = facts[name].to_dict()
        return facts


class Player:
    """A replay that another thread or a signal handler can stop. `shmring.replay` makes one and
    runs it."""

    def __init__(
        self,
        path: str | os.PathLike[str] | BinaryIO,
        *,
        to: str | Address | None = None,
        map: Mapping[str, str] | None = None,
        flow: str | Iterable[str] = (),
        scale: float = 1.0,
        pps: float | None = None,
        bps: float | None = None,
        loop: int | None = 1,
        start: datetime | int | None = None,
        local: Address | None = None,
        interface: str | None = None,
        ttl: int | None = None,
        broadcast: bool = False,
        late: Late = "send",
        profile: Profile | None = None,
        capacity: int = CAPACITY,
        pool: Opening | None = None,
        progress: Callable[[Progress], object] | None = None,
    ) -> None:
        """Check the arguments, which are those of `shmring.replay`. Nothing is opened yet."""
        if loop is not None and loop < 1:
            raise ValueError(f"loop is {loop}: it must be 1 or more, or None for no end")
        self._path = path
        self._routes = Routes(to, map, flow, interface)
        self._plan = pacing.plan(scale, pps, bps)
        self._start, self._loop, self._local = start, loop, local
        self._options: dict[str, Any] = {
            "direction": "tx",
            "clock": pacing.clock_of(start),
            "late": late,
            "profile": profile,
            "capacity": capacity,
            "packet_bytes": _PACKET_BYTES,
            "report_capacity": _REPORTS,
            "broadcast": broadcast,
            "multicast_interface": interface,
            "ttl": ttl,
            "multicast_ttl": ttl,
        }
        self._pool, self._progress = pool, progress
        self._lanes: dict[int, Lane] = {}
        self._raw: Any = ffi.new("capture_lane_t[]", lib.CAPTURE_LANES)
        self._columns = [Columns(self._raw[i]) for i in range(lib.CAPTURE_LANES)]
        self._routed = self._queued = 0
        self._round = 1
        self._tell_ns = self._told = 0
        self._stopped = False

    def stop(self) -> None:
        """Cancel what waits, and let `run` return its report. Any thread or signal handler may
        call it."""
        self._stopped = True

    def run(self) -> ReplayReport:
        """Send everything. Call it once. Raises the exceptions of `shmring.replay`."""
        with contextlib.ExitStack() as stack:
            reader = stack.enter_context(Reader(self._path))
            if self._loop != 1 and not reader.can_rewind:
                raise ValueError(
                    f"{reader.name} is a pipe and cannot be read again for loop={self._loop}: save "
                    "it to a file first"
                )
            began_ns = self._play(reader, stack)
            return self._report(reader, began_ns)

    # --- reading and queueing ---------------------------------------------------------------------

    def _play(self, reader: Reader, stack: contextlib.ExitStack) -> int:
        """Queue all rounds and wait until everything is sent. Return when the first packet was due,
        CLOCK_MONOTONIC."""
        while not self._stopped:
            for count in reader.batches():
                self._route(reader, stack)
                self._queue(reader, count)
                if self._stopped:
                    break
            if self._stopped or self._round == self._loop:
                break
            if self._queued == 0:  # a file without a packet to send would be read without end
                break
            _checked(lib.capture_plan_next_round(self._plan), reader)
            reader.rewind()
            self._round += 1
        self._finish(reader)
        return self._began_mono_ns()

    def _route(self, reader: Reader, stack: contextlib.ExitStack) -> None:
        """Give new flows their lanes and destinations."""
        for number in range(self._routed, reader.flow_count):
            to = self._routes.destination(reader.ends(number))
            if to is None:
                continue
            packed = _address.pack(to, "to", least_port=1)
            family = _address.family(packed)
            lane = lib.CAPTURE_LANE_IPV4 if family == 4 else lib.CAPTURE_LANE_IPV6
            if lane not in self._lanes:
                self._lanes[lane] = self._opened(family, stack)
            address = ffi.new("capture_address_t *")
            ffi.memmove(address, packed, len(packed))
            lib.capture_route(reader.state, number, lane, address)
        self._routed = reader.flow_count

    def _opened(self, family: int, stack: contextlib.ExitStack) -> Lane:
        pool = default_pool() if self._pool is None else self._pool
        local = self._local
        if local is None or _address.family(_address.pack(local, "local")) != family:
            local = (_ANY[family], 0)
        name = f"replay.{os.getpid()}.{next(_numbers)}.ipv{family}"
        channel: Channel = stack.enter_context(pool.open(name, local=local, **self._options))
        if self._plan.start_ns == 0:
            self._plan.start_ns = pacing.start_ns(self._start, channel.now_ns())
        return Lane(channel)

    def _queue(self, reader: Reader, count: int) -> None:
        rc = lib.capture_plan_batch(self._plan, reader.state, reader.records, count, self._raw)
        payloads = reader.payloads
        for number, lane in self._lanes.items():
            columns = self._columns[number - 1]
            done = 0
            while done < columns.count and not self._stopped:
                before = done
                done = lane.send(payloads, columns, done)
                self._queued += done - before
                self._look(reader, done < columns.count)
        _checked(rc, reader)

    # --- what became of it ------------------------------------------------------------------------

    def _look(self, reader: Reader, waited: bool) -> None:
        """Read the reports, and tell the progress after each wait."""
        for lane in self._lanes.values():
            lane.read_reports()
        now_ns = time.monotonic_ns()
        if self._progress is None or not (waited or now_ns >= self._tell_ns):
            return
        stats = [lane.stats() for lane in self._lanes.values()]
        size = reader.size_bytes
        sent = max(0, self._queued - sum(each.tx_waiting for each in stats))
        since_ns = now_ns - (self._tell_ns - _TELL_NS)
        rate_pps = (sent - self._told) * 1e9 / since_ns if self._tell_ns else 0.0
        self._tell_ns, self._told = now_ns + _TELL_NS, sent
        self._progress(
            Progress(
                sent,
                self._queued,
                self._round,
                reader.read_bytes / size if size else None,
                rate_pps,
                self._late(stats),
                _lateness(stats).percentile(99),
            )
        )

    def _late(self, stats: Iterable[ChannelStats]) -> int:
        if self._plan.pace == lib.CAPTURE_AT_ONCE:  # without a deadline nothing is late
            return 0
        return sum(each.tx_late for each in stats)

    def _finish(self, reader: Reader) -> None:
        """Wait until everything is sent, or cancel it."""
        for lane in self._lanes.values():
            while not self._stopped and not lane.flush():
                self._look(reader, True)
        for lane in self._lanes.values():
            if self._stopped:
                lane.channel.purge()
                lane.flush()
            lane.read_reports()

    def _began_mono_ns(self) -> int:
        now_ns = time.monotonic_ns()
        for lane in self._lanes.values():
            return now_ns - (lane.channel.now_ns() - int(self._plan.start_ns))
        return now_ns

    def _report(self, reader: Reader, began_ns: int) -> ReplayReport:
        stats = [lane.stats() for lane in self._lanes.values()]
        gaps = sum((lane.gap_errors for lane in self._lanes.values()), _no_histogram())
        return ReplayReport(
            packets=self._queued,
            sent=sum(each.tx_sent for each in stats),
            late=self._late(stats),
            failed=sum(each.tx_failed for each in stats),
            not_sent=sum(each.tx_dropped_late + each.tx_cancelled for each in stats),
            rounds=self._round,
            seconds=max(0, time.monotonic_ns() - began_ns) / 1e9,
            lateness=_lateness(stats),
            gap_error=gaps,
            stopped=self._stopped,
            capture=summary(reader, self._routes),
        )


def _no_histogram() -> Histogram:
    from shmring._ring import ffi as ring_ffi

    return Histogram(ring_ffi.new("rt_hist_t *"))


def _lateness(stats: Iterable[ChannelStats]) -> Histogram:
    return sum((each.lateness for each in stats), _no_histogram())


def _checked(rc: int, reader: Reader) -> None:
    if rc < 0:
        text = ffi.string(lib.rt_err_text()).decode("utf-8", "replace")
        raise ValueError(f"{reader.name}: {text}")


def replay(
    path: str | os.PathLike[str] | BinaryIO,
    *,
    to: str | Address | None = None,
    map: Mapping[str, str] | None = None,
    flow: str | Iterable[str] = (),
    scale: float = 1.0,
    pps: float | None = None,
    bps: float | None = None,
    loop: int | None = 1,
    start: datetime | int | None = None,
    local: Address | None = None,
    interface: str | None = None,
    ttl: int | None = None,
    broadcast: bool = False,
    late: Late = "send",
    profile: Profile | None = None,
    capacity: int = CAPACITY,
    pool: Opening | None = None,
    progress: Callable[[Progress], object] | None = None,
) -> ReplayReport:
    """Send the UDP packets of a capture (pcap or pcapng) at their times, and return a report.

    path: a file, ``"-"`` for standard input, or a binary file object. It is read in pieces, so its
        size does not matter.
    to: where everything goes that `map` does not name: ``"10.0.0.7"`` or ``"10.0.0.7:5004"``. None:
        to the captured destinations. Without a port, packets keep theirs.
    map: destinations to replace: ``{"239.0.0.1:5004": "10.0.0.7:6004", "10.1.0.0/16": "::1"}``. The
        first that fits counts. ``"*:5004": "*:6004"`` keeps the host.
    flow: send only these flows: ``"239.0.0.1:5004"`` (destination), ``"10.0.0.1>*:5004"`` (source
        and destination), with networks (``"10.0.0.0/8"``) and ``*``. One, or several of which one
        must fit. Empty: all.
    scale: gaps are multiplied by it: 0.5 is twice as fast. 0: no deadlines, as fast as possible.
    pps: send at this rate instead, packets a second, evenly.
    bps: the same, bits a second, with IP and UDP headers.
    loop: how often to play the file, None: without end. The first packet follows the last one after
        the mean gap of the file. A pipe can be played once.
    start: when the first packet is due: a datetime, or an int, ns of CLOCK_TAI. None: 0.2 s from
        the call.
    local: the (host, port) to send from. It applies to destinations of its IP version.
    interface: through which multicast and link-local packets leave. None: the system's choice.
    ttl: hop limit of the packets. None: the system's.
    broadcast: allow sending to broadcast addresses.
    late: what happens to packets past their time: "send" or "drop".
    profile: how the worker waits, "balanced", "latency" or "power". None: as the pool.
    capacity: how many packets may be queued ahead of their time.
    pool: which pool sends. None: the default pool.
    progress: is called with a `Progress` about five times a second while packets wait.

    Fragments, and packets that were captured in part, are counted and not sent: see
    ``report.capture.fates``. Raises `ValueError` (an argument, no capture, a damaged file),
    `BadAddress`, `OSError` (the file), and what `Pool.open` and `Channel.send_many` raise. After an
    exception, packets that wait are cancelled.
    """
    return Player(
        path,
        to=to,
        map=map,
        flow=flow,
        scale=scale,
        pps=pps,
        bps=bps,
        loop=loop,
        start=start,
        local=local,
        interface=interface,
        ttl=ttl,
        broadcast=broadcast,
        late=late,
        profile=profile,
        capacity=capacity,
        pool=pool,
        progress=progress,
    ).run()
