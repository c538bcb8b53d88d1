"""What a receiver of video sees, by the two models of SMPTE ST 2110-21:2017. Pure arithmetic.

Network compatibility: a leaky bucket gains a packet with each arrival and loses one every
T_DRAIN = T_FRAME / packets / 1.1. It must not hold more than C_MAX.

Virtual receive buffer: packet j of a picture is read at T_VD + j * T_RS, where T_RS is the part of
T_FRAME in which packets are read, divided by their number. Every packet must have arrived by then,
and the buffer must not hold more than VRX_FULL.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

GAPPED_ACTIVE = Fraction(1080, 1125)
"""R_ACTIVE of progressive pictures: the part of the frame period with packets (section 6.3.2)."""
_DRAIN_FACTOR = Fraction(11, 10)
_MAX_IP = 1500
_NS_PER_S = 10**9


@dataclass(frozen=True, slots=True)
class Stream:
    """A video stream with progressive pictures."""

    packets: int
    """Of each picture."""
    frame_ns: int
    """T_FRAME."""
    gapped: bool
    """Type N. Otherwise the packets are spread over the whole period (NL, W)."""
    wide: bool = False
    """Type W."""

    @property
    def active_ns(self) -> int:
        """Length of time that the packets of a picture are spread over."""
        return int(self.frame_ns * GAPPED_ACTIVE) if self.gapped else self.frame_ns

    @property
    def c_max(self) -> int:
        """The most that the leaky bucket may hold (section 7.1)."""
        lines, least = (21600, 16) if self.wide else (43200, 4)
        active = GAPPED_ACTIVE if self.gapped else Fraction(1)
        return max(least, int(self._per_s / (lines * active)))

    @property
    def vrx_full(self) -> int:
        """The most that the virtual receive buffer may hold (section 7.1)."""
        bytes_least, share = (1500 * 720, 300) if self.wide else (1500 * 8, 27000)
        return max(bytes_least // _MAX_IP, int(self._per_s / share))

    @property
    def lead_ns(self) -> int:
        """From a picture's first deadline until reading begins, so that half a buffer is there."""
        return self.vrx_full // 2 * self.active_ns // self.packets

    @property
    def _per_s(self) -> Fraction:
        return Fraction(self.packets * _NS_PER_S, self.frame_ns)


@dataclass(slots=True)
class Seen:
    """What the models say about the packets that arrived."""

    arrived: int = 0
    c_peak: int = 0
    """Most packets in the leaky bucket."""
    c_over: int = 0
    """Packets that found more than C_MAX there."""
    vrx_min: int = 0
    """Fewest packets in the receive buffer before a packet was read. Below 0: so many were read
    before they arrived."""
    vrx_peak: int = 0
    """Most packets in it."""
    vrx_out: int = 0
    """Packets that came too late to be read, or to a full buffer."""


def judge(stream: Stream, start_ns: int, arrivals: Iterable[tuple[int, int]]) -> Seen:
    """Judge the arrivals, in their order: number of the packet in the stream, and time.

    start_ns: the first deadline of picture 0.
    """
    c_max, vrx_full, read_from_ns = stream.c_max, stream.vrx_full, start_ns + stream.lead_ns
    active_ns = stream.active_ns
    factor = _DRAIN_FACTOR * stream.packets / stream.frame_ns
    drain_packets, drain_ns = factor.as_integer_ratio()
    seen = Seen(vrx_min=vrx_full)
    level, drained, first_ns = 0, 0, None
    for number, time_ns in arrivals:
        first_ns = time_ns if first_ns is None else first_ns
        seen.arrived += 1
        drains = (time_ns - first_ns) * drain_packets // drain_ns
        level = max(0, level - (drains - drained)) + 1
        drained = drains
        seen.c_peak = max(seen.c_peak, level)
        seen.c_over += level > c_max
        held = number - _reads(stream, active_ns, time_ns - read_from_ns)
        seen.vrx_min = min(seen.vrx_min, held)
        seen.vrx_peak = max(seen.vrx_peak, held + 1)
        seen.vrx_out += held < 0 or held + 1 > vrx_full
    return seen


def _reads(stream: Stream, active_ns: int, after_ns: int) -> int:
    """How many packets are read before that time. A packet may arrive when it is read."""
    picture, offset_ns = divmod(after_ns, stream.frame_ns)
    reads = -(-offset_ns * stream.packets // active_ns)
    return max(0, picture * stream.packets + min(reads, stream.packets))
