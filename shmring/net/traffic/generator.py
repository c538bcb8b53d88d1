"""Sends packets of flows at their times."""

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, Unpack

from shmring import _address
from shmring._address import Address
from shmring._host_time import HostTime
from shmring._opening import showing
from shmring._proto import ffi, lib
from shmring._signature import takes
from shmring.errors import BadAddress
from shmring.net.capture.routes import address
from shmring.net.lanes.lane import RECORDS
from shmring.net.lanes.lanes import Lanes, SendingOptions, lane_of
from shmring.net.lanes.report import SendingReport
from shmring.net.lanes.start import clock_of
from shmring.net.traffic.clock import StampFormat, check_stamp, tell_clock
from shmring.net.traffic.flow import HEAD_BYTES, Flow
from shmring.types import Clock

Padding = Literal["zero", "random"]

_PAYLOAD_BYTES = 4 << 20
_SSID_AT = 14
_AHEAD_S = 0.5
"""Packets that are queued ahead of their time, if no capacity is given."""
_LEAST_CAPACITY = 64
_MOST_CAPACITY = 1 << 17
_RING_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFlow:
    """What a flow is going to send."""

    to: Address
    packets: float
    """Packets that are expected. Infinite: without end."""
    payload_bytes: float
    """Mean payload of a packet."""
    pps: float
    """Mean rate. Without end: the highest."""
    bps: float
    """The same in bit/s, with IP and UDP headers."""
    after_s: float
    seconds: float
    """How long it lasts. Infinite: without end, or until `packets` are sent."""

    def to_dict(self) -> dict[str, Any]:
        """Return everything as values that `json` accepts. None: without end."""
        facts = dataclasses.asdict(self)
        return {name: None if value == math.inf else value for name, value in facts.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowReport:
    """What was queued of a flow."""

    to: Address
    ssid: int
    """Number of the flow in its packets, from 1."""
    packets: int
    payload_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateReport(SendingReport):
    """What became of generated packets."""

    flows: tuple[FlowReport, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as values that `json` accepts."""
        flows = [dataclasses.asdict(flow) for flow in self.flows]
        return {**SendingReport.to_dict(self), "flows": flows}


class Generator:
    """A generator that another thread or a signal handler can stop. `shmring.net.generate` makes
    one and runs it."""

    @showing(SendingOptions, Lanes)
    def __init__(
        self,
        to: str | Address | None = None,
        flows: Flow | Iterable[Flow] = (),
        *,
        seconds: float | None = None,
        count: int | None = None,
        seed: int = 0,
        stamp: StampFormat = "ntp",
        padding: Padding = "zero",
        **sending: Unpack[SendingOptions],
    ) -> None:
        """Check the arguments, which are those of `shmring.net.generate`. Nothing is opened yet."""
        given = [flows] if isinstance(flows, Flow) else list(flows) or [Flow()]
        self._flows = [_with_end(flow, seconds, count) for flow in given]
        if not 1 <= len(self._flows) <= lib.TRAFFIC_MAX_FLOWS:
            raise ValueError(
                f"there are {len(self._flows)} flows: give 1 to {lib.TRAFFIC_MAX_FLOWS}"
            )
        if padding not in ("zero", "random"):
            raise ValueError(f"padding is {padding!r}: it must be 'zero' or 'random'")
        if not 0 <= seed < 2**64:
            raise ValueError(f"seed is {seed}: it must be 0 to 2**64 - 1")
        targets = _Targets(to, sending.get("interface"))
        self._to = [targets.of(flow.to) for flow in self._flows]
        self._lane_of = [lane_of(each)[0] for each in self._to]
        self._raw: Any = ffi.new("traffic_flow_t[]", len(self._flows))
        for number, flow in enumerate(self._flows):
            self._put(number, flow, seed)
        self._heap = ffi.new("uint32_t[]", len(self._flows))
        self._traffic: Any = ffi.new("traffic_t *")
        _checked(lib.traffic_init(self._traffic, self._raw, self._heap, len(self._flows)))
        self._traffic.random_padding = padding == "random"
        self._host = HostTime()
        check_stamp(stamp, self._host)
        self._stamp: StampFormat = stamp
        self._deadlines: Clock = clock_of(sending.get("start"))
        self._expected = sum(flow.packets(lane) for flow, lane in self._each())
        self._payloads = bytearray(_PAYLOAD_BYTES)
        self._lanes = Lanes(
            "generate",
            wanted=self._wanted(),
            packet_bytes=math.ceil(self._mean_bytes()),
            max_payload=max(flow.longest_bytes(lane) for flow, lane in self._each()),
            tx_stamp="off",  # nobody reads them, and they cost time at high rates
            place=self._place,
            **sending,
        )

    @property
    def flows(self) -> tuple[PlannedFlow, ...]:
        """What the flows are going to send."""
        return tuple(
            _planned(flow, to, lane)
            for flow, to, lane in zip(self._flows, self._to, self._lane_of, strict=True)
        )

    def stop(self) -> None:
        """Cancel what waits, and let `run` return its report. Any thread or signal handler may
        call it."""
        self._lanes.stopped = True

    def run(self) -> GenerateReport:
        """Send everything. Call it once. Raises the exceptions of `shmring.net.generate`."""
        with self._lanes as lanes:
            self._open()
            self._send()
            lanes.finish()
            return GenerateReport(**lanes.facts(lanes.began_mono_ns()), flows=self._reports())

    # --- before -----------------------------------------------------------------------------------

    def _each(self) -> Iterable[tuple[Flow, int]]:
        return zip(self._flows, self._lane_of, strict=True)

    def _put(self, number: int, flow: Flow, seed: int) -> None:
        config = self._raw[number].config
        try:
            flow.put(config, self._lane_of[number])
        except ValueError as error:
            if len(self._flows) == 1:
                raise
            raise ValueError(f"flow {number + 1}: {error}") from None
        config.seed = (seed + number * 0x9E3779B97F4A7C15) % 2**64
        config.to = lane_of(self._to[number])[1][0]

    def _mean_bytes(self) -> float:
        """Mean payload of all packets, as far as the highest rates of the flows tell."""
        rates = [flow.rate(lane).highest_pps for flow, lane in self._each()]
        sizes = [flow.mean_bytes(lane) for flow, lane in self._each()]
        return sum(map(float.__mul__, rates, sizes)) / sum(rates)

    def _wanted(self) -> int:
        """Return how many packets are due in half a second, or in the largest burst, up to 64 MB:
        the rest of a burst follows while its begin is sent."""
        due = _AHEAD_S * sum(flow.rate(lane).highest_pps for flow, lane in self._each())
        most = min(_MOST_CAPACITY, int(_RING_BYTES / (self._mean_bytes() + 64)))
        wanted = max(int(due), *(flow.burst for flow in self._flows))
        return max(_LEAST_CAPACITY, min(most, wanted))

    def _open(self) -> None:
        for to in self._to:
            self._lanes.lane_for(to)
        self._batch = max(1, min(RECORDS, self._lanes.queue_room.count // 4))
        self._traffic.start_ns = self._lanes.start_ns

    # --- sending ----------------------------------------------------------------------------------

    def _send(self) -> None:
        payloads = memoryview(self._payloads)
        raw = ffi.from_buffer("uint8_t[]", self._payloads)
        size, lanes = len(self._payloads), self._lanes
        while not lanes.stopped:
            self._host.refresh()
            tell_clock(self._traffic.clock, self._stamp, self._host, self._deadlines)
            if not lib.traffic_batch(self._traffic, raw, size, self._batch, lanes.raw):
                break
            done = lanes.queue(payloads)
            if lanes.stopped:
                self._take_back(done)

    def _take_back(self, done: list[int]) -> None:
        """Subtract the rest of a batch from what its flows have planned. done: how many packets of
        each lane were queued."""
        for lane, begin in zip(self._lanes.raw, done, strict=True):
            for at in range(begin, lane.count):
                offset, length = lane.offset[at], lane.length[at]
                ssid = self._payloads[offset + _SSID_AT : offset + _SSID_AT + 2]
                flow = self._raw[int.from_bytes(ssid, "big") - 1]
                flow.planned -= 1
                flow.planned_bytes -= length

    def _place(self) -> tuple[int, float | None]:
        """How far sending is."""
        if not 0 < self._expected < math.inf:
            return 1, None
        return 1, min(1.0, self._lanes.queued / self._expected)

    def _reports(self) -> tuple[FlowReport, ...]:
        return tuple(
            FlowReport(
                to=to,
                ssid=number + 1,
                packets=int(self._raw[number].planned),
                payload_bytes=int(self._raw[number].planned_bytes),
            )
            for number, to in enumerate(self._to)
        )


class _Targets:
    """Completes destinations: without a port they get that of STAMP, without a host the common
    one."""

    def __init__(self, to: str | Address | None, interface: str | None) -> None:
        self._host, self._port, self._interface = "", int(lib.STAMP_PORT), interface
        if to is not None:
            self._host, self._port = self._parsed(to)

    def of(self, to: str | Address | None) -> Address:
        """Return the destination of a flow. Raises `BadAddress`."""
        host, port = (self._host, self._port) if to is None else self._parsed(to)
        if not host:
            raise BadAddress("to is None: name a destination, such as to='10.0.0.7:5004'")
        return _address.zoned(host, self._interface), port

    def _parsed(self, to: str | Address) -> Address:
        if not isinstance(to, str):
            return to
        if to.startswith(":") and not to.startswith("::"):
            return self._host, address(f"0.0.0.0{to}")[1]
        host, port = address(to)
        return host, port or self._port


def _with_end(flow: Flow, seconds: float | None, count: int | None) -> Flow:
    """Return the flow with the end of all flows, if it has none."""
    if flow.seconds is None and flow.count is None:
        flow = dataclasses.replace(flow, seconds=seconds, count=count)
    if flow.seconds is None and flow.count is None:
        raise ValueError("give seconds or count: seconds=math.inf sends until it is stopped")
    return flow


def _planned(flow: Flow, to: Address, lane: int) -> PlannedFlow:
    packets, payload = flow.packets(lane), flow.mean_bytes(lane)
    seconds = math.inf if flow.seconds is None else flow.seconds
    finite = math.isfinite(packets) and math.isfinite(seconds)
    pps = packets / seconds if finite else flow.rate(lane).highest_pps
    return PlannedFlow(
        to=to,
        packets=packets,
        payload_bytes=payload,
        pps=pps,
        bps=pps * 8 * (payload + HEAD_BYTES[lane]),
        after_s=flow.after_s,
        seconds=seconds,
    )


def _checked(rc: int) -> None:
    if rc < 0:
        raise ValueError(ffi.string(lib.rt_err_text()).decode("utf-8", "replace"))


@takes(Generator)
def generate(*given: Any, **options: Any) -> GenerateReport:
    """Send packets of one or more flows at their times, and return a report.

    to: where flows go that do not say it: ``"10.0.0.7"`` or ``"10.0.0.7:5004"``. Without a port:
        862, that of STAMP and `shmring reflect`.
    flows: what to send, a `traffic.Flow` or several. Empty: 1000 packets a second of 200 bytes.
    seconds: how long flows send that have neither seconds nor count. ``math.inf``: until
        `Generator.stop`.
    count: how many packets these flows send at most.
    seed: of Poisson gaps, sizes and padding. The same seed gives the same packets.
    stamp: format of the timestamps in the packets, "ntp" (UTC), or "ptp" (TAI, which the kernel
        must know).
    padding: what follows the first 44 bytes of each packet, "zero" or "random".
    start: when the first packet is due: a datetime, or an int, ns of CLOCK_TAI. None: 0.2 s from
        the call.
    local: the (host, port) to send from. It applies to destinations of its IP version.
    interface: through which multicast and link-local packets leave. None: the system's choice.
    ttl: hop limit of the packets. None: the system's.
    broadcast: allow sending to broadcast addresses.
    gso: send packets that are due together in one message. Captures on loopback and on a veth pair
        show such a message as one packet.
    late: what happens to packets past their time: "send" or "drop".
    profile: how the worker waits, "balanced", "latency" or "power". None: as the pool.
    capacity: how many packets may be queued ahead of their time. None: what is due in half a
        second, or as many as a fifth of the free shared memory holds.
    pool: which pool sends. None: the default pool.
    progress: is called with a `capture.Progress` about five times a second while packets wait.

    Raises `ValueError` (an argument), `BadAddress`, and what `Pool.open` and `Channel.send_many`
    raise. After an exception, packets that wait are cancelled.
    """
    return Generator(*given, **options).run()
