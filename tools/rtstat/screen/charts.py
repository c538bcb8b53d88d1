"""A histogram as text, one line per step of about a third of a decade, and values over time."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rtstat.numbers import Times
from shmring_cli.output import bar, duration, quantity

_STEPS = (1, 2, 5)
_LABEL = 18
_COUNT = 8
_EIGHTHS = " ▁▂▃▄▅▆▇█"


def histogram(
    buckets: list[tuple[int, int]],
    width: int,
    tolerance_ns: int | None = None,
    *,
    blocks: bool = True,
) -> str:
    """Return bars of (largest value in ns, entries), at most `width` characters wide.

    Empty steps between two full ones are kept, so that a gap is visible. `tolerance_ns` is marked
    by a line after its step: what is below the line is late.
    """
    counts = _by_step(buckets)
    if not counts:
        return "no packets"
    total = sum(counts.values())
    most = max(counts.values())
    room = max(4, width - _LABEL - _COUNT - 2)
    lines = []
    marked = None if tolerance_ns is None else _step(max(1, tolerance_ns - 1))
    if marked is not None and marked < min(counts) - 1:
        lines.append(_tolerance_line(tolerance_ns or 0, width))
    for step in range(min(counts), max(counts) + 1):
        count = counts.get(step, 0)
        label = f"{duration(_edge(step))} to {duration(_edge(step + 1))}"
        share = _percent(count / total) if count else ""
        if step - 1 == marked:
            lines.append(_tolerance_line(tolerance_ns or 0, width))
        drawn = bar(count / most, room, blocks=blocks)
        lines.append(f"{label:>{_LABEL}} {drawn:<{room}} {share:>{_COUNT}}")
    if marked is not None and marked >= max(counts):
        lines.append(_tolerance_line(tolerance_ns or 0, width))
    return "\n".join(lines)


def summary(times: Times | None) -> str:
    """Return the count and the percentiles of a histogram."""
    if times is None or not times.count:
        return "nothing was measured"
    return (
        f"{short(times.count)} packets   p50 {duration(times.p50_ns)}   "
        f"p99 {duration(times.p99_ns)}   p99.9 {duration(times.p999_ns)}   "
        f"max {duration(times.max_ns)}"
    )


def short(value: int) -> str:
    """A whole number in at most six characters."""
    for limit, unit, letter in ((10**5, 1, ""), (10**8, 10**3, "k"), (10**11, 10**6, "M")):
        if value < limit:
            return f"{value // unit}{letter}"
    return f"{value // 10**9}G"


def _tolerance_line(tolerance_ns: int, width: int) -> str:
    return f"-- tolerance {duration(tolerance_ns)}, late below ".ljust(width, "-")[:width]


def over_time(
    values: Sequence[float], seconds: Sequence[float], width: int, *, lowest: float | None = None
) -> list[str]:
    """Return the last values as two lines of bars and a line with the time axis.

    The bars begin at 0. With `lowest` they are logarithmic, and begin at this value.
    """
    values, seconds = values[-width:], seconds[-width:]
    if not values:
        return ["no values yet"]
    heights = _heights(values, lowest)
    rows = [
        "".join(_EIGHTHS[min(8, max(0, height - 8 * row))] for height in heights).rjust(width)
        for row in (1, 0)
    ]
    return [*rows, _axis(sum(seconds), len(values), width)]


def _heights(values: Sequence[float], lowest: float | None) -> list[int]:
    """Return heights of 0 to 16. What is more than nothing has at least 1."""
    most = max(values)
    if lowest is None:
        return [max(1, round(16 * value / most)) if value > 0 else 0 for value in values]
    span = math.log(max(most, 10 * lowest) / lowest)
    return [
        max(1, round(16 * math.log(max(value, lowest) / lowest) / span)) if value > 0 else 0
        for value in values
    ]


def _axis(seconds: float, columns: int, width: int) -> str:
    begin = f"|{seconds:.0f} s ago"
    line = begin.ljust(columns, "-") if columns > len(begin) + 4 else "-" * columns
    return f"{line[: columns - 4]}-now".rjust(width) if columns > 4 else line.rjust(width)


def _percent(share: float) -> str:
    return "< 0.01 %" if share < 0.0001 else quantity(100 * share, "percent")


def _by_step(buckets: list[tuple[int, int]]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for highest_ns, count in buckets:
        step = _step(max(1, highest_ns))
        counts[step] = counts.get(step, 0) + count
    return counts


def _step(value: int) -> int:
    """Return the step of a value of 1 or more: 0 is 1 to 2, 1 is 2 to 5, 3 is 10."""
    decade = int(math.log10(value))
    if 10**decade > value:
        decade -= 1
    elif 10 ** (decade + 1) <= value:
        decade += 1
    lead = value // 10**decade
    return 3 * decade + (2 if lead >= 5 else 1 if lead >= 2 else 0)


def _edge(step: int) -> int:
    return int(_STEPS[step % 3] * 10 ** (step // 3))
