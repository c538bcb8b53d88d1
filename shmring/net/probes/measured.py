"""What a measurement found: counts, delays by direction, and whose fault it was."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from shmring._address import Address
from shmring.histogram import Histogram
from shmring.net.probes.outcome import Probes, hist_of, total
from shmring.room import Room

ClockKind = Literal["same", "measured"]
_PERCENTILES = (50.0, 90.0, 99.0, 99.9)


@dataclass(frozen=True, slots=True)
class Delays:
    """Delays in one direction, or both ways."""

    count: int
    """Probes that were measured: those that left in time, and whose reply came."""
    min_ns: int
    """Below 0 only if the clocks differ."""
    max_ns: int
    jitter_ns: float
    """Interarrival jitter at the end (RFC 3550, 6.4.1). It needs no common clock."""
    most_jitter_ns: float
    """The highest value that the jitter had."""
    negative: int
    """Delays below 0, which the clocks explain. In `histogram` they count as 0."""
    histogram: Histogram

    def percentile(self, percent: float) -> int:
        """Return the delay, in ns, below which `percent` (0 to 100) of the values are."""
        return self.histogram.percentile(percent)

    def variation(self, percent: float) -> int:
        """Return the same of the delay variation: delay less its minimum (PDV of RFC 5481)."""
        return max(0, self.histogram.percentile(percent) - max(0, self.min_ns))

    def to_dict(self) -> dict[str, Any]:
        """Return everything as values that `json` accepts."""
        return {
            "count": self.count,
            "min_ns": self.min_ns,
            "mean_ns": self.histogram.mean,
            "max_ns": self.max_ns,
            "jitter_ns": self.jitter_ns,
            "most_jitter_ns": self.most_jitter_ns,
            "negative": self.negative,
            **{f"p{p:g}_ns": self.percentile(p) for p in _PERCENTILES},
            **{f"variation_p{p:g}_ns": self.variation(p) for p in _PERCENTILES},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowCounts:
    """What became of the probes of one flow, or of all."""

    sent: int
    """Probes that left this host."""
    late: int
    """Of those, left too late because of this host. They are left out of the delays."""
    failed: int
    """Probes that the kernel of this host refused. They are no loss."""
    not_sent: int
    """Probes that were dropped or cancelled here. They are no loss."""
    unreported: int
    """Probes whose report was overwritten before it was read."""
    received: int
    """Probes whose reply came in time."""
    lost: int
    """Probes without a reply within the time-out."""
    lost_forward: int
    """Of those, lost on the way to the reflector. 0 if it does not count its replies."""
    lost_backward: int
    """Of those, lost on the way back."""
    overdue: int
    """Of those, came after the time-out."""
    bursts: int
    """Runs of lost probes."""
    longest_burst: int
    """The longest of them, probes."""
    duplicates: int
    """Further copies of a reply (RFC 5560)."""
    duplicates_forward: int
    duplicates_backward: int
    reordered: int
    """Replies that came after one with a higher sequence (RFC 4737)."""
    reordered_forward: int
    reordered_backward: int
    most_extent: int
    """How many packets a receiver must hold back to restore the order (RFC 4737, 4.2)."""
    foreign: int
    """Replies to probes that were never sent, or with a wrong T1."""
    impossible: int
    """Replies whose times contradict each other."""
    too_old: int
    """Replies older than the window of the statistics."""
    restarts: int
    """How often the reflector, or the sender of a stream, began anew."""

    @property
    def lost_unplaced(self) -> int:
        """Lost probes whose direction is not known."""
        return self.lost - self.lost_forward - self.lost_backward - self.overdue

    @property
    def loss_share(self) -> float:
        """Lost probes as a share of those sent, 0 to 1."""
        return self.lost / self.sent if self.sent else 0.0

    @property
    def reordered_share(self) -> float:
        """Reordered replies as a share of those received, 0 to 1 (RFC 4737, 3.5)."""
        return self.reordered / self.received if self.received else 0.0


class Sample(NamedTuple):
    """A part of the measurement. Delays are 50th percentiles, ns, 0: there were none."""

    at_s: float
    """The end of the part, from the first probe."""
    sent: int
    received: int
    lost: int
    """Probes whose loss was found in this part: the time-out after they were sent."""
    forward_ns: int
    backward_ns: int
    round_ns: int
    most_ns: int
    """The longest delay, both ways or of a stream."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """What is known about the other clock, and what was assumed."""

    kind: ClockKind
    """same: the delays assume that both are one clock, as on one host or by PTP. measured: its
    offset was taken from the probes."""
    offset_ns: int
    """The offset (other clock minus this one) at the end. 0 for same."""
    error_ns: int | None
    """One-way delays are wrong by this at most. None: nothing bounds it."""
    contradicted: bool
    """The probes prove that the assumption of one clock is wrong, or that a clock was stepped."""

    @property
    def text(self) -> str:
        """What to know before using one-way delays."""
        if self.kind == "same" and self.contradicted:
            return (
                "the clocks are not the same, so one-way delays are wrong: measure with "
                "clock='measured', or synchronise them by PTP"
            )
        if self.kind == "same":
            bound = "" if self.error_ns is None else f" (the probes allow ±{self.error_ns} ns)"
            return f"one-way delays assume one clock on both hosts{bound}"
        moved = ". A clock was stepped meanwhile" if self.contradicted else ""
        return (
            f"the other clock is {self.offset_ns} ns ahead, one-way delays are within "
            f"±{self.error_ns} ns{moved}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowResult(FlowCounts):
    """One flow of a measurement."""

    number: int
    """From 0. The SSID of its packets is one more."""
    forward: Delays
    backward: Delays
    round: Delays


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureReport(FlowCounts):
    """What a measurement found, of all flows together."""

    host: Address
    """The reflector, or (listening) the sender that was heard."""
    listening: bool
    """Whether a stream was received, not reflected: then only `forward` has delays, `sent` counts
    the sequence numbers, and lateness of the sender is part of the delay."""
    seconds: float
    """From the first probe that left to the last one (listening: that arrived). Waiting does not
    count."""
    lost_here: int
    """Of the lost probes, dropped on this host: the receive buffer or ring was full."""
    strangers: int
    """Packets of other senders, and such that are no STAMP packets."""
    reflector_counts: bool
    """Whether the reflector counts its replies, so that losses have a direction."""
    forward: Delays
    backward: Delays
    round: Delays
    """Both ways, less the time in the reflector. It needs no common clock."""
    extents: Histogram
    """How far replies were reordered, in packets instead of ns."""
    burst_sizes: Histogram
    """How long runs of lost probes were, in probes instead of ns."""
    lateness: Histogram
    """Time from the deadline of each probe to the start of its send call."""
    clocks: Clocks
    samples: tuple[Sample, ...]
    flows: tuple[FlowResult, ...]
    stopped: bool
    """Whether `Measurement.stop` ended it."""
    queue: Room
    """How many probes may wait for their time, or (listening) to be read, and their memory."""

    @property
    def lost_in_network(self) -> int:
        """Lost probes that were not dropped on this host."""
        return self.lost - self.lost_here

    @property
    def rate_pps(self) -> float:
        """Probes a second while they were sent. 0 of fewer than two."""
        return (self.sent - 1) / self.seconds if self.sent > 1 and self.seconds else 0.0

    @property
    def late_share(self) -> float:
        """Probes that left late, as a share of those sent, 0 to 1."""
        return self.late / self.sent if self.sent else 0.0

    @property
    def verdict(self) -> str:
        """Whose fault it was, in one sentence."""
        return _verdict(self)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as values that `json` accepts."""
        facts: dict[str, Any] = {"verdict": self.verdict}
        facts |= {
            name: getattr(self, name)
            for name in ("lost_unplaced", "loss_share", "lost_in_network", "late_share", "rate_pps")
        }
        for field in dataclasses.fields(self):
            value: Any = getattr(self, field.name)
            if field.name in ("extents", "burst_sizes"):
                value = {"count": value.count, "mean": value.mean, "max": value.max}
            elif field.name == "samples":
                value = [sample._asdict() for sample in value]
            elif field.name == "flows":
                value = [_plain(flow) for flow in value]
            facts[field.name] = _plain(value)
        return facts


def _plain(value: Any) -> Any:
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        return {field.name: _plain(getattr(value, field.name)) for field in fields}
    return value


# --- making them ----------------------------------------------------------------------------------


def counts_of(probes: Probes, flow: int | None = None) -> dict[str, Any]:
    """Return the fields of `FlowCounts`."""
    found = probes.counts(flow)
    return {field.name: found[field.name] for field in dataclasses.fields(FlowCounts)}


def delays_of(probes: Probes, way: str, flow: int | None = None) -> Delays:
    """Return the delays of one flow, or of all together."""
    found = probes.delays(way, flow)
    return Delays(
        count=sum(int(one.count) for one in found),
        min_ns=min((int(one.min_ns) for one in found), default=0),
        max_ns=max((int(one.max_ns) for one in found), default=0),
        jitter_ns=max((one.jitter_16 / 16 for one in found), default=0.0),
        most_jitter_ns=max((one.most_jitter_16 / 16 for one in found), default=0.0),
        negative=sum(int(one.negative) for one in found),
        histogram=total(hist_of(one) for one in found),
    )


def _verdict(report: MeasureReport) -> str:
    parts = [_of_network(report)]
    if report.lost_here:
        parts.append(f"{_count(report.lost_here)} lost on this host, whose receive buffer was full")
    if report.late:
        parts.append(
            f"{_count(report.late, 'probe')} left late here and {_are(report.late)} left out"
        )
    if report.failed:
        parts.append(f"{_count(report.failed, 'probe')} {_were(report.failed)} refused here")
    if report.not_sent:
        parts.append(f"{_count(report.not_sent, 'probe')} {_were(report.not_sent)} not sent")
    return ". ".join(part[:1].upper() + part[1:] for part in parts)


def _of_network(report: MeasureReport) -> str:
    lost, sent = report.lost_in_network, report.sent
    if not sent:
        return "no packet came" if report.listening else "no probe left this host"
    if not lost:
        return f"the network lost none of {sent} packets"
    text = f"the network lost {lost} of {sent} packets"
    if report.listening or not report.reflector_counts:
        return text
    backward = max(0, report.lost_backward - report.lost_here)
    ways = [
        (report.lost_forward, "toward the reflector"),
        (backward, "on the way back"),
        (report.overdue, "came after the time-out"),
        (lost - report.lost_forward - backward - report.overdue, "in an unknown direction"),
    ]
    found = [(count, way) for count, way in ways if count > 0]
    if len(found) == 1:
        way = found[0][1]
        return f"{text}, which {way}" if way.startswith("came") else f"{text} {way}"
    return f"{text}: " + ", ".join(f"{count} {way}" for count, way in found)


def _count(number: int, noun: str = "reply") -> str:
    if noun == "reply":
        return "1 reply was" if number == 1 else f"{number} replies were"
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def merged(samples: Iterable[Sample]) -> list[Sample]:
    """Return half as many samples: each two are one."""
    found = list(samples)
    halves = [
        Sample(
            two.at_s,
            one.sent + two.sent,
            one.received + two.received,
            one.lost + two.lost,
            max(one.forward_ns, two.forward_ns),
            max(one.backward_ns, two.backward_ns),
            max(one.round_ns, two.round_ns),
            max(one.most_ns, two.most_ns),
        )
        for one, two in zip(found[::2], found[1::2], strict=False)
    ]
    return halves + found[len(halves) * 2 :]
