"""The report of the network tools: replay, generate, measure, reflect, clock and impair.

All six begin in the same way: how many packets in which time, and how late this host was. What
only one of them knows follows. The JSON document has the same keys for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from shmring.histogram import Histogram
from shmring_cli.output import duration, quantity


class Head(NamedTuple):
    """What every report begins with."""

    tool: str
    packets: int
    done: str
    """What was done with them: ``"sent"``."""
    seconds: float | None
    """None: it still runs."""
    lateness: Histogram | None
    """Of what this host sent. None: it is not known."""
    late: int | None = None
    """Packets above the tolerance. None: the tool judges none."""

    def document(self, own: dict[str, Any], lacking: Sequence[str]) -> dict[str, Any]:
        """Return the JSON document, with what only this tool knows. No tool gives another meaning
        to a key of all."""
        shared = {
            "tool": self.tool,
            "packets": self.packets,
            "seconds": self.seconds,
            "late": self.late,
            "lateness": self.lateness.to_dict() if self.lateness is not None else None,
            "lacking": list(lacking),
        }
        return shared | {key: value for key, value in own.items() if key not in shared}

    def lines(self) -> Iterator[str]:
        """Yield the first lines of the text."""
        text = f"packets: {self.packets} {self.done}"
        if self.seconds is not None:
            rate = self.packets / self.seconds if self.seconds > 0 else 0.0
            text += f" in {self.seconds:.3f} s, {quantity(rate, 'pps')}"
        yield text
        if self.lateness is not None and self.lateness.count:
            yield f"lateness: {percentiles(self.lateness)}" + self._judged()

    def _judged(self) -> str:
        if self.late is None:
            return ""
        share = quantity(100 * self.late / self.packets, "percent") if self.packets else "0 %"
        return f", {self.late} late ({share})"


def percentiles(values: Histogram) -> str:
    """Return ``p50 92 ns, p99 6.10 µs, max 41.0 µs``."""
    shown = [f"p{p} {duration(values.percentile(p))}" for p in (50, 99)]
    return ", ".join([*shown, f"max {duration(values.max)}"])
