"""The probes of one channel and what became of them: `stamp_probes.h` over its packets."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from shmring import _address
from shmring._check import check
from shmring._host_time import HostTime
from shmring._ring import ffi, lib
from shmring.channel import Channel
from shmring.histogram import Histogram
from shmring.net.lanes.lane import Columns
from shmring.types import Clock

_REPORTS_AT_ONCE = 8192
_PACKETS_AT_ONCE = 16384
_NO_TIME = 2**63 - 1
COUNTS: tuple[str, ...] = tuple(name for name, _ in ffi.typeof("stamp_counts_t").fields)
WAYS = ("forward", "backward", "round")


class Bounds(NamedTuple):
    """Between which values the other clock's offset lies, ns. low > high: the clocks moved."""

    low_ns: int
    high_ns: int


def window_for(probes: float) -> int:
    """Return a window with room for that many probes."""
    most: int = lib.STAMP_MOST_WINDOW
    window: int = lib.STAMP_LEAST_WINDOW
    while window < probes and window < most:
        window *= 2
    return window


class Probes:
    """Statistics of the flows of one channel, in C."""

    def __init__(
        self,
        channel: Channel,
        *,
        flows: int,
        window: int,
        late_ns: int,
        timeout_ns: int,
        counts: bool = False,
    ) -> None:
        """counts: the reflector is known to count its own replies."""
        self.channel = channel
        self._flows = ffi.new("stamp_stats_t[]", flows)
        self._memory = ffi.new("uint64_t[]", lib.stamp_stats_bytes(window) // 8 * flows)
        settings = ffi.new("stamp_settings_t *")
        settings.window, settings.reflector_counts = window, counts
        settings.late_ns, settings.timeout_ns = late_ns, timeout_ns
        for number in range(flows):
            own = ffi.addressof(self._memory, lib.stamp_stats_bytes(window) // 8 * number)
            probes = ffi.cast("stamp_probe_t *", own)
            check(lib.stamp_stats_init(self._flow(number), settings, probes, 0))
        self._sent = ffi.new("uint64_t[]", window * flows)
        self._raw = ffi.new("stamp_probes_t *")
        self._raw.flows, self._raw.sent = self._flows, self._sent
        self._raw.flow_count, self._raw.window = flows, window * flows
        self.host = HostTime()
        """Read once, for all timestamps."""
        self.clock: Clock = channel.engine.clock
        """The channel's."""
        self._raw.utc_offset_ns = -self.host.ahead_ns("utc", self.clock)
        self._raw.tai_offset_ns = -self.host.ahead_ns("tai", self.clock)
        self._raw.use_stamps = channel.stats().tx_stamp != "none"
        self._reports = ffi.new("shm_report_t[]", _REPORTS_AT_ONCE)
        self._reader = ffi.new("slot_reader_t *")
        lib.channel_report_reader_init(self._reader, channel._endpoint.mapped())

    def _flow(self, number: int) -> Any:
        return ffi.addressof(self._flows, number)

    # --- packets ----------------------------------------------------------------------------------

    def planned(self, first: int, payload: Any, columns: Columns, begin: int, end: int) -> None:
        """Note the packets `begin` to `end` of a batch. They were queued, from sequence `first`."""
        part = columns.part(begin)
        lib.stamp_probes_planned(
            self._raw,
            first,
            ffi.from_buffer("uint8_t[]", payload),
            len(payload),
            ffi.from_buffer("uint32_t[]", part["offsets"]),
            ffi.from_buffer("int64_t[]", part["at"]),
            end - begin,
        )

    def read(self, *, listening: bool = False) -> int:
        """Take what arrived, and the reports. Return how many packets arrived."""
        take = lib.stamp_probes_arrived if listening else lib.stamp_probes_replied
        taken = 0
        while waiting := self.channel.rx_waiting:
            batch = self.channel.recv_many(min(waiting, _PACKETS_AT_ONCE), timeout=0)
            self._read_reports()  # a reply is younger than the report of its probe
            take(
                self._raw,
                ffi.from_buffer("uint8_t[]", batch.payload),
                len(batch.payload),
                ffi.from_buffer("packet_record_t[]", batch._records),
                len(batch),
            )
            taken += len(batch)
        self._read_reports()
        return taken

    def _read_reports(self) -> None:
        while count := lib.slot_reader_next(self._reader, self._reports, _REPORTS_AT_ONCE):
            lib.stamp_probes_reported(self._raw, self._reports, count)

    def settle(self) -> None:
        """Decide which probes are lost by now."""
        lib.stamp_probes_settle(self._raw, self.channel.now_ns())

    def finish(self) -> None:
        """Decide about all."""
        lib.stamp_probes_finish(self._raw)

    # --- what they tell ---------------------------------------------------------------------------

    @property
    def sender(self) -> _address.Address | None:
        """Whom `read` heard while listening."""
        return _address.unpack(ffi.addressof(self._raw, "sender"))

    @property
    def strangers(self) -> int:
        return int(self._raw.strangers)

    @property
    def malformed(self) -> int:
        return int(self._raw.malformed)

    @property
    def span_ns(self) -> int:
        """Time from the first probe that left to the last one. Of a stream: that arrived."""
        times = [(flow.began_ns, flow.ended_ns) for flow in self._flows if flow.began_ns]
        begins, ends = zip(*times, strict=True) if times else ((0,), (0,))
        return int(max(ends) - min(begins))

    @property
    def used(self) -> list[int]:
        """Numbers of the flows that have probes."""
        return [number for number, flow in enumerate(self._flows) if flow.counts.planned]

    @property
    def open(self) -> int:
        """Probes whose fate is not decided."""
        return sum(int(flow.next - flow.head) for flow in self._flows)

    @property
    def reflector_counts(self) -> bool:
        """Whether the reflector is known to count its own replies."""
        return any(flow.settings.reflector_counts for flow in self._flows)

    def counts(self, flow: int | None = None) -> dict[str, int]:
        """Return the counts of one flow or of all together."""
        total = dict.fromkeys(COUNTS, 0)
        one = ffi.new("stamp_counts_t *")
        for number in range(len(self._flows)) if flow is None else (flow,):
            lib.stamp_stats_count(self._flow(number), one)
            for name in COUNTS:
                value = int(getattr(one, name))
                most = name in ("longest_burst", "most_extent")
                total[name] = max(total[name], value) if most else total[name] + value
        return total

    def delays(self, way: str, flow: int | None = None) -> list[Any]:
        """Return the ``stamp_delay_t`` of one flow, or of all that have any."""
        flows = self._flows if flow is None else [self._flows[flow]]
        return [each for each in (getattr(one, way) for one in flows) if each.count]

    def recent(self, way: str) -> Histogram:
        """Return the delays since the last call."""
        together = empty_histogram()
        for flow in self._flows:
            hist = ffi.addressof(getattr(flow, way), "recent")
            if hist.count:
                together = together + Histogram(hist)
                lib.rt_hist_reset(hist)
        return together

    def histogram(self, name: str, flow: int | None = None) -> Histogram:
        """Return ``extents`` or ``burst_sizes`` of one flow or of all together."""
        flows = range(len(self._flows)) if flow is None else (flow,)
        return total(Histogram(ffi.addressof(self._flows[number], name)) for number in flows)

    def bounds(self) -> Bounds | None:
        """Return what the replies since the last call tell about the other clock."""
        low = max(flow.offset_low_ns for flow in self._flows)
        high = min(flow.offset_high_ns for flow in self._flows)
        for number in range(len(self._flows)):
            lib.stamp_stats_forget_offset(self._flow(number))
        return None if high == _NO_TIME else Bounds(int(low), int(high))

    def assume_offset(self, offset_ns: int) -> None:
        """Take one-way delays from now on with this offset of the other clock."""
        for flow in self._flows:
            flow.offset_ns = offset_ns


def empty_histogram() -> Histogram:
    return Histogram(ffi.new("rt_hist_t *"))


def total(histograms: Iterable[Histogram]) -> Histogram:
    return sum(histograms, empty_histogram())


def hist_of(delay: Any) -> Histogram:
    """Return the histogram of a ``stamp_delay_t``."""
    return Histogram(ffi.addressof(delay, "hist"))
