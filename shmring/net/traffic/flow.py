"""A flow of generated packets."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from shmring._address import Address
from shmring._proto import lib
from shmring.net.traffic.rates import Rate, duration_ns, steady

Sizes = int | tuple[int, int] | Literal["imix"] | Mapping[int, int]
Pattern = Literal["even", "poisson"]

HEAD_BYTES = {lib.DUE_LANE_IPV4: 28, lib.DUE_LANE_IPV6: 48}
"""IP and UDP headers of a packet."""

_IMIX_FRAMES = {64: 7, 594: 4, 1518: 1}
_ETHERNET_BYTES = 18
"""Header and checksum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What one flow sends. Each packet is a request of STAMP (RFC 8762) with its own number in the
    flow, its deadline as timestamp, and the number of the flow, from 1, as SSID (RFC 8972)."""

    pps: float | Rate = 1000.0
    """Packets a second, also if they come in bursts. A `Rate` changes: `ramp`, `steps`, `on_off`.
    """
    bps: float | None = None
    """Instead of `pps`: bits a second, with IP and UDP headers."""
    size: Sizes = 200
    """Payload, 16 to 65507 bytes. (100, 200): each size from 100 to 200 is equally likely.
    {64: 9, 1400: 1}: of ten packets nine have 64 bytes and one 1400, in random order. "imix": of
    twelve frames 7 have 64 bytes, 4 have 594 and one 1518, with Ethernet header and checksum."""
    pattern: Pattern = "even"
    """"even": the same gap between all. "poisson": exponentially distributed gaps."""
    burst: int = 1
    """So many packets come at once, 1 to 65536."""
    spacing_ns: int = 0
    """Time between the packets of a burst. 0: all have the same deadline."""
    to: str | Address | None = None
    """As for `shmring.net.generate`: ``"10.0.0.7:5004"``, or ``":5004"`` for another port of that
    host. None: as that."""
    after_s: float = 0.0
    """When it begins, seconds after the start."""
    seconds: float | None = None
    """How long it sends. None: until `count`, or without that as long as `shmring.net.generate`
    says."""
    count: int | None = None
    """How many packets it sends. None: until `seconds`, or without that as many as
    `shmring.net.generate` says."""

    def sizes(self, lane: int) -> list[tuple[int, int, int]]:
        """Return the payload sizes on a lane: least, most, weight. Raises `ValueError`."""
        match self.size:
            case "imix":
                head = HEAD_BYTES[lane] + _ETHERNET_BYTES
                least: int = lib.TRAFFIC_LEAST_BYTES
                payloads = {max(frame - head, least): n for frame, n in _IMIX_FRAMES.items()}
                return [(size, size, weight) for size, weight in payloads.items()]
            case int():
                return [(self.size, self.size, 1)]
            case (int() as least, int() as most):
                return [(least, most, 1)]
            case Mapping():
                return [(size, size, weight) for size, weight in self.size.items()]
        raise ValueError(
            f"size is {self.size!r}: it must be bytes, (least, most), {{bytes: weight}} or 'imix'"
        )

    def mean_bytes(self, lane: int) -> float:
        """Return the mean payload on a lane."""
        sizes = self.sizes(lane)
        total = sum(weight for _, _, weight in sizes)
        return sum((least + most) / 2 * weight for least, most, weight in sizes) / max(1, total)

    def longest_bytes(self, lane: int) -> int:
        """Return the largest payload on a lane."""
        return max(most for _, most, _ in self.sizes(lane))

    def rate(self, lane: int) -> Rate:
        """Return the rate of packets on a lane. Raises `ValueError`."""
        if self.bps is None:
            return self.pps if isinstance(self.pps, Rate) else steady(_real(self.pps, "pps"))
        if not (math.isfinite(_real(self.bps, "bps")) and self.bps > 0):
            raise ValueError(f"bps is {self.bps}: it must be above 0 bit/s")
        return steady(self.bps / 8 / (self.mean_bytes(lane) + HEAD_BYTES[lane]))

    def packets(self, lane: int) -> float:
        """Return how many packets are expected. With "poisson" it is the mean. Infinite: no end."""
        most = math.inf if self.count is None else self.count
        if self.seconds is None or math.isinf(self.seconds):
            return most
        due = self.rate(lane).packets(duration_ns(self.seconds, "seconds"))
        if self.pattern == "poisson":
            return min(most, float(due))
        return min(most, math.ceil(due / self.burst) * self.burst)

    def put(self, config: Any, lane: int) -> None:
        """Write it into a ``traffic_flow_config_t`` of zeros. Raises `ValueError` for what C would
        not see."""
        rate, sizes = self.rate(lane), self.sizes(lane)
        _put_count(config.rate, "phase_count", len(rate.phases), lib.TRAFFIC_MAX_PHASES, "phases")
        for raw, phase in zip(config.rate.phases, rate.phases, strict=False):
            raw.duration_ns = phase.duration_ns
            raw.from_upps, raw.to_upps = phase.upps
        config.rate.repeat = rate.repeat
        _put_count(config.sizes, "size_count", len(sizes), lib.TRAFFIC_MAX_SIZES, "sizes")
        for raw_size, (least, most, weight) in zip(config.sizes.sizes, sizes, strict=False):
            raw_size.least_bytes = _number(least, "size")
            raw_size.most_bytes = _number(most, "size")
            raw_size.weight = _number(weight, "weight of a size")
        if self.pattern not in ("even", "poisson"):
            raise ValueError(f"pattern is {self.pattern!r}: it must be 'even' or 'poisson'")
        config.poisson = self.pattern == "poisson"
        config.burst = _number(self.burst, "burst")
        config.spacing_ns = _number(self.spacing_ns, "spacing_ns")
        config.begin_ns = duration_ns(self.after_s, "after_s", zero=True)
        if self.seconds is not None and not math.isinf(self.seconds):
            config.duration_ns = duration_ns(self.seconds, "seconds")
        if self.count is not None:
            if self.count < 1:
                raise ValueError(f"count is {self.count}: it must be 1 packet or more")
            config.count = min(self.count, 2**64 - 1)
        config.lane = lane


def _put_count(raw: Any, name: str, count: int, most: int, what: str) -> None:
    if not 1 <= count <= most:
        raise ValueError(f"a flow has {count} {what}: it must have 1 to {most}")
    setattr(raw, name, count)


def _real(value: float, name: str) -> float:
    if not isinstance(value, (int, float)):
        raise ValueError(f"{name} is {value!r}: it must be a number")
    return value


def _number(value: int, name: str) -> int:
    if not 0 <= value < 2**32:
        raise ValueError(f"{name} is {value}: it must be 0 to {2**32 - 1}")
    return value
