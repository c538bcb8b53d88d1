"""Values that go into and come out of channels."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from shmring._enums import Stamp, State, Verdict
from shmring._ring import lib

__all__ = [
    "LAYOUT_VERSION",
    "NOT_GIVEN",
    "STAMPS",
    "STATES",
    "VERDICTS",
    "Default",
    "Impairment",
    "SendReport",
    "Stamp",
    "State",
    "Verdict",
    "WorkerInfo",
]

LAYOUT_VERSION = int(lib.SHM_LAYOUT_VERSION)
"""Version of the layout of shared memory. Processes share channels only if it is the same."""

# Numbers in shared memory are positions in these.
STAMPS = tuple(Stamp)
VERDICTS = tuple(Verdict)
STATES = tuple(State)


class Default(Enum):
    """Stands for an argument that was not given, where None means something else."""

    NOT_GIVEN = 0


NOT_GIVEN = Default.NOT_GIVEN


class SendReport(NamedTuple):
    """What happened to one packet. Every time is in ns; 0 means that there is none.

    `scheduled_ns`, `stamped_ns` are in the channel's clock, as are the others, which the worker
    read from CLOCK_MONOTONIC and converted where the channel counts in another clock.
    """

    sequence: int
    scheduled_ns: int
    """The deadline; 0 for a packet without one."""
    enqueued_ns: int
    """When `send` was called."""
    woken_ns: int
    """When the worker turned to this packet."""
    sent_ns: int
    """Start of the send call; 0 if the packet was not sent."""
    handed_ns: int
    """Return of the send call."""
    stamped_ns: int
    """On the wire, see `stamp`; 0 if there is no stamp."""
    stamp: Stamp
    verdict: Verdict
    error: int
    """errno of verdict ``failed``, else 0."""
    batch: int
    """How many packets left in the same call."""

    @property
    def late_ns(self) -> int | None:
        """Start of the send call after the deadline; None without a deadline or if not sent."""
        if not self.scheduled_ns or not self.sent_ns:
            return None
        return self.sent_ns - self.scheduled_ns

    @property
    def wire_error_ns(self) -> int | None:
        """Stamp after the deadline, negative before it; None without a deadline or a stamp."""
        if not self.scheduled_ns or not self.stamped_ns:
            return None
        return self.stamped_ns - self.scheduled_ns


@dataclass(frozen=True, slots=True)
class Impairment:
    """An emulated link: what it does to the packets that pass it. The default does nothing.

    Shares (`loss` ... `corrupt`) are 0 to 1. The same `seed` gives the same fate to the same row of
    packets.
    """

    loss: float = 0.0
    """Share of packets lost, each by itself."""
    burst_loss: float = 0.0
    """Share of packets lost in bursts; at most b / (1 + b), b being `burst_packets`."""
    duplicate: float = 0.0
    reorder: float = 0.0
    """Share of packets held back by `reorder_extra_ns`, so that others overtake them."""
    delay_ns: int = 0
    jitter_ns: int = 0
    """The delay is uniform over delay - jitter to delay + jitter; the order is kept."""
    rate_bps: int = 0
    """Bit rate of the link; 0: unlimited."""
    corrupt: float = 0.0
    """Share of packets that get one bit flipped."""
    seed: int = 0
    burst_packets: float = 4.0
    """Mean length of a burst, in packets."""
    reorder_extra_ns: int = 0
    """0: a default."""
    queue_bytes: int = 0
    """Payload bytes that may wait for the rate limit; 0: a default."""


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """One worker of a pool, as it is now."""

    slot: int
    """Its place in the pool: the number of its core, or 0 in a pool that pins nothing."""
    state: str
    """``"running"``, ``"starting"``, ``"stalled"`` (alive, heartbeat older than 1 s), ``"paused"``
    (crashed repeatedly, starts again soon) or ``"given up"``."""
    pid: int
    """Process id; 0 while there is none."""
    cpu_wanted: int | None
    cpu: int | None
    """Core in force; None: not pinned."""
    policy: str
    """Scheduling class in force: ``"fifo"`` or ``"other"``."""
    priority: int
    """In force; 0 for ``"other"``."""
    memory_locked: bool
    profile: str
    channels: int
    restarts: int
    """How often its process was replaced."""
    heartbeat_age_ns: int
    """Time since it last said that it lives."""
    cpu_share: float
    """Share of its core it used in about the last second, 0 to 1."""
    calls_filtered: bool
    """Only the system calls of a list are possible for it (seccomp)."""
    calls_refused: int
    """System calls that were not on that list. Not 0: please report it."""
    error: str
    """What went wrong last, with what the worker wrote to stderr; empty if nothing did."""
