"""How far sending is, and what became of the packets."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from shmring.histogram import Histogram
from shmring.room import Room


class Progress(NamedTuple):
    """How far sending is. It is passed to `progress` about five times a second."""

    sent: int
    """Packets with a verdict."""
    queued: int
    """Packets that were put into the ring, of all rounds."""
    round: int
    """Which round of a replay in a loop is read, from 1."""
    share: float | None
    """How much is done, 0 to 1: of the file in this round, of the time or of the packets. None:
    there is no end, or it is not known."""
    rate_pps: float
    """Packets a second since the last call."""
    late: int
    p99_ns: int
    """99th percentile of the lateness so far, ns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendingReport:
    """What became of packets with deadlines."""

    packets: int
    """Packets that were queued, of all rounds."""
    sent: int
    """Packets that were handed to the kernel."""
    late: int
    """Packets whose send call began later than the tolerance of 50 us after their time."""
    slow_calls: int
    """Packets that were not late, in send calls that took more than 100 us."""
    failed: int
    """Packets that the kernel refused, such as those to a network without a route."""
    not_sent: int
    """Packets that were dropped because they were late (late="drop"), or cancelled by `stop`."""
    seconds: float
    """From the start to the last verdict."""
    lateness: Histogram
    """Time from the deadline to the start of the send call."""
    gap_error: Histogram
    """How much the gap between two packets differed from their gap in the schedule, without sign.
    Only consecutive packets of one channel, as far as their reports were read in time."""
    stopped: bool
    """Whether `stop` ended it."""
    queue: Room
    """How many packets may wait for their time in each channel, and the shared memory of all."""

    @property
    def late_share(self) -> float:
        """Late packets as a share of those sent, 0 to 1."""
        return self.late / self.sent if self.sent else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return everything as values that `json` accepts."""
        facts: dict[str, Any] = {"late_share": self.late_share}
        for field in dataclasses.fields(self):
            value: Any = getattr(self, field.name)
            to_dict: Callable[[], Any] | None = getattr(value, "to_dict", None)
            facts[field.name] = to_dict() if to_dict else value
        return facts
