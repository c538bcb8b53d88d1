"""The measurement while it runs: a chart that is redrawn in place, or a line a second."""

from __future__ import annotations

import os
import shutil
import sys
import time

from rtstat.screen.charts import over_time
from shmring.net import probes
from shmring_cli.output import can_draw, duration

_LOWEST_NS = 1000.0
_LINE_EVERY_S = 1.0
_MOST = 512


class Live:
    """Draws to standard error. It is the `progress` of a measurement."""

    def __init__(self, *, show: bool) -> None:
        self._stream = sys.stderr
        self._show = show
        terminal = self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._chart = terminal and can_draw(self._stream)
        self._delays: list[float] = []
        self._seconds: list[float] = []
        self._last_s = 0.0
        self._lines = 0
        self._next_s = 0.0

    def __enter__(self) -> Live:
        return self

    def __exit__(self, *_: object) -> None:
        self._erase()

    def __call__(self, now: probes.MeasureProgress) -> None:
        sample = now.sample
        self._delays.append(float(sample.round_ns or sample.forward_ns))
        self._seconds.append(max(0.0, sample.at_s - self._last_s))
        self._last_s = sample.at_s
        del self._delays[:-_MOST], self._seconds[:-_MOST]
        if not self._show:
            return
        if self._chart:
            self._draw(_facts(now))
        elif time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + _LINE_EVERY_S
            print(_facts(now), file=self._stream, flush=True)

    def _draw(self, facts: str) -> None:
        width = shutil.get_terminal_size().columns - 1
        lines = [*over_time(self._delays, self._seconds, width, lowest=_LOWEST_NS), facts]
        self._erase()
        self._stream.write("\n".join(line[:width] for line in lines) + "\n")
        self._stream.flush()
        self._lines = len(lines)

    def _erase(self) -> None:
        if self._lines:
            self._stream.write(f"\x1b[{self._lines}A\x1b[J")
            self._stream.flush()
        self._lines = 0


def _facts(now: probes.MeasureProgress) -> str:
    sample = now.sample
    counts = f"{sample.at_s:7.1f} s  {now.sent} sent, {now.lost} lost, {now.late} late here"
    way, delay_ns = "round trip", sample.round_ns
    if not delay_ns:
        way, delay_ns = "one way", sample.forward_ns
    if not delay_ns:  # nothing came
        return counts
    return (
        f"{counts}  {way} p50 {duration(delay_ns)}, max {duration(sample.most_ns)}, "
        f"jitter {duration(now.jitter_ns)}"
    )
