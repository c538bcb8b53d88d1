"""Measures a path by probes that a reflector sends back."""

import dataclasses
import itertools
import math
import os
import time
from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

from shmring import _address, room
from shmring._address import Address
from shmring._opening import Opening, Udp
from shmring._proto import lib
from shmring._signature import takes
from shmring.channel import Channel
from shmring.engine import OpenOptions
from shmring.errors import ReceiveTimeout, RingFull
from shmring.net.lanes.lane import Columns
from shmring.net.lanes.start import LEAD_NS
from shmring.net.probes.measured import (
    ClockKind,
    Clocks,
    FlowResult,
    MeasureReport,
    Sample,
    counts_of,
    delays_of,
    merged,
)
from shmring.net.probes.outcome import WAYS, Bounds, Probes, window_for
from shmring.net.probes.schedule import LEAST_CAPACITY, Schedule
from shmring.net.traffic.flow import Flow
from shmring.parts import Queue, Socket
from shmring.pool import open as open_channel
from shmring.types import Profile
from shmring.udt.connecting import resolve

PORT: int = lib.STAMP_PORT
LATE_NS = 50_000

_NS_PER_S = 1_000_000_000
_ANY = {4: "0.0.0.0", 6: "::"}
_TURN_S = 0.004
_TELL_NS = 200_000_000
_SAMPLE_NS = 50_000_000
_MOST_SAMPLES = 2000
_CLOCK_NS = 1_000_000_000
_PATIENCE_NS = 2_000_000_000
_HELLO_PPS = 100
_HELLO_PROBES = 6
_HELLO_TURNS = 8
_HELLO_TURN_S = 0.25
_REPORTS = 1 << 16
_REPORTS_PER_PROBE = 16
_LEAST_RX = 8192
_REPLIES_PER_PROBE = 4
_LEAST_WINDOW = 16384

_numbers = itertools.count()

ClockChoice = Literal["auto", "same", "measured"]


class MeasureProgress(NamedTuple):
    """How far a measurement is. It is passed to `progress` about five times a second."""

    share: float
    """How much is done, 0 to 1."""
    sent: int
    received: int
    lost: int
    """Probes whose time-out has passed."""
    late: int
    """Probes that left late because of this host."""
    sample: Sample
    """What happened since the last call."""
    jitter_ns: float
    """Of the round trip, or of a stream."""


class Measurement:
    """A measurement that another thread or a signal handler can stop. `shmring.net.measure` makes
    one and runs it."""

    def __init__(
        self,
        host: str | Address,
        flows: Flow | Iterable[Flow] = (),
        *,
        seconds: float | None = 10.0,
        timeout: float = 1.0,
        late_ns: int = LATE_NS,
        clock: ClockChoice = "auto",
        local: Address | None = None,
        interface: str | None = None,
        ttl: int | None = None,
        dscp: int | None = None,
        gso: bool = True,
        profile: Profile | None = None,
        pool: Opening | str | None = None,
        progress: Callable[[MeasureProgress], object] | None = None,
    ) -> None:
        """Check the arguments, which are those of `shmring.net.measure`. Nothing is opened yet."""
        if seconds is not None:
            positive(seconds, "seconds", "or None for no end")
        positive(timeout, "timeout", "seconds")
        if late_ns < 0:
            raise ValueError(f"late_ns is {late_ns}: it must be 0 or above")
        if clock not in ("auto", "same", "measured"):
            raise ValueError(f"clock is {clock!r}: it must be 'auto', 'same' or 'measured'")
        self._given = (host, PORT) if isinstance(host, str) else host
        self._timeout_ns, self._late_ns = round(timeout * _NS_PER_S), late_ns
        self._flows = [flows] if isinstance(flows, Flow) else list(flows)
        self._seconds = seconds
        self._schedule = Schedule(self._flows, seconds, lib.DUE_LANE_IPV4)
        self._clock: ClockChoice = clock
        self._local, self._pool, self._progress = local, pool, progress
        self._interface = interface
        socket = Socket(
            connect=True,
            gro=False,  # packets that were put together may have one timestamp
            rx_stamp="kernel",
            tx_stamp="off",
            txtime="off",  # a card's own clock might launch before the deadline, T1
            ttl=ttl,
            dscp=dscp,
            gso=gso,
            device=interface,
        )
        self._engine = Udp(tolerance_ns=max(1, late_ns), socket=socket)
        self._where: OpenOptions = {"profile": profile}
        self._watch = Watch(progress)
        self._stopped = False

    def stop(self) -> None:
        """Queue no more probes, and let `run` return its report when those on their way are back or
        lost. Any thread or signal handler may call it."""
        self._stopped = True

    def run(self) -> MeasureReport:
        """Measure. Call it once. Raises the exceptions of `shmring.net.measure`."""
        try:
            host, port = resolve(self._given)
        except OSError as failed:
            reason = failed.strerror or failed
            raise OSError(f"host {self._given[0]!r} has no address: {reason}") from None
        host = _address.zoned(host, self._interface)
        packed = _address.pack((host, port), "host", least_port=1)
        family = _address.family(packed)
        local = self._local or (_ANY[family], 0)
        if _address.family(_address.pack(local, "local")) != family:
            raise ValueError(
                f"local is {local[0]}, and the reflector {host}: both must be IPv4 or both IPv6"
            )
        lane = lib.DUE_LANE_IPV4 if family == 4 else lib.DUE_LANE_IPV6
        self._schedule = schedule = Schedule(self._flows, self._seconds, lane)
        self._lane = lane
        self._where |= {"remote": (host, port), "local": local}
        self._queue = room.fitting(
            schedule.capacity,
            lambda n: room.channel_bytes(self._sized(n, schedule), **self._where),
            least=LEAST_CAPACITY,
        )
        self._engine = self._sized(self._queue.count, schedule)
        schedule.use_room(self._queue.count)
        bounds, counts = self._hello((host, port))
        kind: ClockKind = "same" if self._is_same(bounds) else "measured"
        with self._open("probes") as channel:
            probes = self._probes(channel, counts)
            watch = self._watch
            watch.begin(probes, kind, bounds)
            self._send_all(channel, probes)
            return self._report((host, port), channel, probes)

    def _is_same(self, bounds: Bounds) -> bool:
        return self._clock == "same" or (
            self._clock == "auto" and bounds.low_ns <= 0 <= bounds.high_ns
        )

    def _open(self, part: str) -> Channel:
        name = f"measure.{os.getpid()}.{next(_numbers)}.{part}"
        return open_channel(name, self._engine, pool=self._pool, **self._where)

    def _sized(self, capacity: int, schedule: Schedule) -> Udp:
        """Return the engine with room for so many probes. If fewer fit than are wanted, there is
        less room for replies and reports, too."""
        replies, reports = _LEAST_RX, _REPORTS
        if capacity < schedule.capacity:
            replies = min(replies, _REPLIES_PER_PROBE * capacity)
            reports = min(reports, 1 << (_REPORTS_PER_PROBE * capacity - 1).bit_length())
        longest = schedule.longest_bytes
        return dataclasses.replace(
            self._engine,
            tx=Queue(capacity, longest),
            rx=Queue(max(capacity, replies), longest),
            report_capacity=reports,
        )

    def _probes(self, channel: Channel, counts: bool) -> Probes:
        schedule = self._schedule
        open_s = (self._timeout_ns + LEAD_NS) / _NS_PER_S
        most = max(_LEAST_WINDOW, 1.5 * (schedule.pps * open_s + schedule.capacity))
        flows = len(schedule.flows)
        return Probes(
            channel,
            flows=flows,
            window=window_for(most / flows if flows > 1 else most),
            late_ns=self._late_ns,
            timeout_ns=self._timeout_ns,
            counts=counts,
        )

    # --- is anybody there? ------------------------------------------------------------------------

    def _hello(self, host: Address) -> tuple[Bounds, bool]:
        """Exchange some probes on a channel of their own. Return what they tell about the other
        clock, and whether the reflector counts its replies: it gets the first probe twice."""
        with self._open("hello") as channel:
            strange = 0
            for _ in range(_HELLO_TURNS):
                probes = self._probes(channel, False)
                found = self._exchange(channel, probes)
                if found is not None:
                    return found, probes.reflector_counts
                strange += probes.malformed
                if self._stopped:
                    break
            raise self._no_reply(host, channel, strange)

    def _exchange(self, channel: Channel, probes: Probes) -> Bounds | None:
        size = self._schedule.longest_bytes
        schedule = Schedule(Flow(pps=_HELLO_PPS, count=_HELLO_PROBES, size=size), None, self._lane)
        start_ns = channel.now_ns() + _NS_PER_S // _HELLO_PPS
        schedule.begin(start_ns, probes.host, probes.clock)
        schedule.fill()
        _queue(channel, probes, schedule, 0)
        channel.send(bytes(schedule.payload[:size]), at=start_ns)
        until = time.monotonic() + _HELLO_TURN_S
        while time.monotonic() < until and not self._stopped:
            probes.read()
            counts = probes.counts()
            if counts["received"] == _HELLO_PROBES and counts["duplicates"]:
                break
            time.sleep(_TURN_S)
        return probes.bounds()

    def _no_reply(self, host: Address, channel: Channel, strange: int) -> ReceiveTimeout:
        where = f"{host[0]} port {host[1]}"
        if self._stopped:
            return ReceiveTimeout(f"stopped before {where} answered")
        stats = channel.stats()
        if stats.tx_failed:
            reports = [one for one in channel.reports(timeout=0) if one.error]
            why = reports[-1].error_text if reports else "the kernel refused the packets"
            return ReceiveTimeout(
                f"{where} cannot be reached: {why}. Check the address and the route"
            )
        if strange:
            return ReceiveTimeout(
                f"no reply from {where}: {strange} packets came, but they are no STAMP replies"
            )
        return ReceiveTimeout(
            f"no reply from {where}: start `shmring reflect --sessions 4096` there, let UDP port "
            f"{host[1]} pass in its firewall, and name {host[0]} if the host has several addresses"
        )

    # --- sending ----------------------------------------------------------------------------------

    def _send_all(self, channel: Channel, probes: Probes) -> None:
        schedule = self._schedule
        self._watch.start_ns = channel.now_ns() + LEAD_NS
        schedule.begin(self._watch.start_ns, probes.host, probes.clock)
        done = unqueued = 0
        while not self._is_over(channel, probes, unqueued):
            if not unqueued and not self._ends:
                done, unqueued = 0, schedule.fill()
            if unqueued:
                before, done = done, _queue(channel, probes, schedule, done)
                unqueued -= done - before
            self._look(channel, probes)
            if unqueued or self._ends:
                time.sleep(_TURN_S)
        self._look(channel, probes)
        probes.finish()

    @property
    def _ends(self) -> bool:
        return self._stopped or self._schedule.done

    def _is_over(self, channel: Channel, probes: Probes, unqueued: int) -> bool:
        """Whether all probes have left and are answered or lost. A worker that died may owe some
        reports for ever."""
        if not self._ends or (unqueued and not self._stopped):
            return False
        last_ns = self._schedule.last_ns + self._timeout_ns + _PATIENCE_NS
        return probes.open == 0 or channel.now_ns() > last_ns

    def _look(self, channel: Channel, probes: Probes) -> None:
        probes.read()
        probes.settle()
        self._watch.look(channel.now_ns(), self._schedule.share)

    # --- what was found ---------------------------------------------------------------------------

    def _report(self, host: Address, channel: Channel, probes: Probes) -> MeasureReport:
        watch = self._watch
        watch.look(channel.now_ns(), 1.0, last=True)
        return report_of(
            channel,
            probes,
            watch,
            host=host,
            listening=False,
            stopped=self._stopped,
            queue=self._queue,
        )


def positive(value: float, name: str, what: str) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} is {value}: it must be above 0, {what}")


def _part(columns: Columns, begin: int) -> dict[str, Any]:
    """The arguments of `Channel.send_many`, to the remote of the channel."""
    part = columns.part(begin)
    del part["to"]
    return part


def _queue(channel: Channel, probes: Probes, schedule: Schedule, done: int) -> int:
    """Queue the packets of a batch from number `done` on, as far as there is room. Return how many
    are queued."""
    columns = schedule.columns
    try:
        first = channel.send_many(schedule.payload, timeout=0, **_part(columns, done))
        end = columns.count
    except RingFull as full:
        if full.first_sequence is None:
            return done
        first, end = full.first_sequence, done + full.sent
    probes.planned(first, schedule.payload, columns, done, end)
    return end


class Watch:
    """What a measurement tells while it runs: samples, progress and the other clock."""

    def __init__(self, progress: Callable[[MeasureProgress], object] | None) -> None:
        self._progress = progress
        self.samples: list[Sample] = []
        self.start_ns = 0
        self._sample_ns = _SAMPLE_NS
        self._sampled_ns = self._told_ns = self._clocked_ns = 0
        self._last = (0, 0, 0)
        self._untold: list[Sample] = []
        self._offset_ns = self._error_ns = 0
        self._kind: ClockKind = "same"
        self._contradicted = False
        self._bounds: Bounds | None = None

    def begin(self, probes: Probes, kind: ClockKind, bounds: Bounds | None) -> None:
        """bounds: of the other clock, from probes before."""
        self._probes, self._kind = probes, kind
        self._note(bounds)

    def look(self, now_ns: int, share: float, *, last: bool = False) -> None:
        if last or now_ns - self._clocked_ns >= _CLOCK_NS:
            self._clocked_ns = now_ns
            self._note(self._probes.bounds())
        if last or now_ns - self._sampled_ns >= self._sample_ns:
            self._sampled_ns = now_ns
            self._sample(now_ns)
        if self._progress and self._untold and (last or now_ns - self._told_ns >= _TELL_NS):
            self._told_ns = now_ns
            self._tell(share)

    def _sample(self, now_ns: int) -> None:
        counts = self._probes.counts()
        now = counts["sent"], counts["received"], counts["lost"]
        forward, backward, both = (self._probes.recent(way) for way in WAYS)
        sent, received, lost = (new - old for new, old in zip(now, self._last, strict=True))
        sample = Sample(
            max(0, now_ns - self.start_ns) / _NS_PER_S,
            sent,
            received,
            lost,
            forward.percentile(50),
            backward.percentile(50),
            both.percentile(50),
            both.max or forward.max,
        )
        self._last = now
        self._counts = counts
        if not any(sample[1:4]):
            return
        self.samples.append(sample)
        self._untold.append(sample)
        if len(self.samples) >= _MOST_SAMPLES:
            self.samples = merged(self.samples)
            self._sample_ns *= 2

    def _tell(self, share: float) -> None:
        both = self._untold
        while len(both) > 1:
            both = merged(both)
        self._untold = []
        assert self._progress is not None
        found = self._probes.delays("round") or self._probes.delays("forward")
        jitter_ns = max((one.jitter_16 / 16 for one in found), default=0.0)
        counts = self._counts
        self._progress(
            MeasureProgress(
                share,
                counts["sent"],
                counts["received"],
                counts["lost"],
                counts["late"],
                both[0],
                jitter_ns,
            )
        )

    # --- the other clock --------------------------------------------------------------------------

    def _note(self, bounds: Bounds | None) -> None:
        """Follow the other clock: its offset stays as it is as long as the probes allow it."""
        if bounds is None:
            return
        low, high = bounds
        if low > high:
            self._contradicted = True
            return
        if self._kind == "same":
            self._contradicted = self._contradicted or not low <= 0 <= high
        else:
            first = self._bounds is None
            self._offset_ns = (low + high) // 2 if first else min(max(self._offset_ns, low), high)
            self._probes.assume_offset(self._offset_ns)
        error_ns = max(high - self._offset_ns, self._offset_ns - low)
        best = self._kind == "same" and self._bounds is not None
        self._error_ns = min(self._error_ns, error_ns) if best else max(self._error_ns, error_ns)
        self._bounds = bounds

    @property
    def clocks(self) -> Clocks:
        error_ns = None if self._bounds is None else self._error_ns
        return Clocks(self._kind, self._offset_ns, error_ns, self._contradicted)


def report_of(
    channel: Channel,
    probes: Probes,
    watch: Watch,
    *,
    host: Address,
    listening: bool,
    stopped: bool,
    queue: room.Room,
) -> MeasureReport:
    """Return the report of a measurement that has ended."""
    stats = channel.stats()
    counts = counts_of(probes)
    dropped = (
        stats.rx_kernel_drops + stats.rx_lost_takeover + stats.rx_sockets_reopened + channel.lost
    )
    return MeasureReport(
        **counts,
        **_delays(probes, None),
        host=host,
        listening=listening,
        seconds=probes.span_ns / _NS_PER_S,
        lost_here=min(counts["lost"], dropped),
        strangers=probes.strangers + probes.malformed + stats.rx_filtered,
        reflector_counts=probes.reflector_counts,
        extents=probes.histogram("extents"),
        burst_sizes=probes.histogram("burst_sizes"),
        lateness=stats.lateness,
        clocks=watch.clocks,
        samples=tuple(watch.samples),
        flows=tuple(
            FlowResult(number=number, **counts_of(probes, number), **_delays(probes, number))
            for number in probes.used
        ),
        stopped=stopped,
        queue=queue,
    )


def _delays(probes: Probes, flow: int | None) -> dict[str, Any]:
    return {way: delays_of(probes, way, flow) for way in WAYS}


@takes(Measurement)
def measure(*given: Any, **options: Any) -> MeasureReport:
    """Send probes to a reflector (`shmring reflect`, or any of STAMP, RFC 8762) and return delays,
    jitter, loss, reordering and duplicates by direction.

    host: the reflector: a name or address, or a (host, port) pair. The port of STAMP is 862.
    flows: what to send, a `traffic.Flow` or several, as for `shmring.net.generate`. Empty: 1000
        probes a second of 200 bytes. All go to the reflector, and no probe is shorter than 44.
    seconds: how long flows send that do not say it. None: until `Measurement.stop`.
    timeout: a probe is lost if no reply came this many seconds after it left.
    late_ns: probes that leave this much after their time, because of this host, are left out of
        the delays.
    clock: what one-way delays assume. "same": both hosts have one clock (one host, or PTP).
        "measured": the offset of the other clock comes from the probes, with its error bound.
        "auto": same if the first probes allow it, else measured.
    local: the (host, port) to send from.
    interface: send and receive on this network interface only.
    ttl, dscp, gso: of the probes, as in `Socket`.
    profile: how the worker waits, "balanced", "latency" or "power". None: as the pool.
    pool: which pool sends, or its name. None: the default pool.
    progress: is called with a `MeasureProgress` about five times a second.

    Delays count from the moment a probe really left. Probes that the kernel refused, or that this
    host did not send, are no loss. Raises `ReceiveTimeout` if no reflector answers, `ValueError`
    (an argument), `BadAddress`, `OSError` (the name), and what `Pool.open` raises.
    """
    return Measurement(*given, **options).run()
