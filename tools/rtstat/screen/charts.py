"""A histogram as text: one line per step of about a third of a decade."""

from __future__ import annotations

import math

from shmring_cli.output import bar, duration, quantity

_STEPS = (1, 2, 5)
_LABEL = 18
_COUNT = 8


def histogram(buckets: list[tuple[int, int]], width: int) -> str:
    """Return bars of (largest value in ns, entries), at most `width` characters wide.

    Empty steps between two full ones are kept, so that a gap is visible.
    """
    counts = _by_step(buckets)
    if not counts:
        return "no packets"
    total = sum(counts.values())
    most = max(counts.values())
    room = max(4, width - _LABEL - _COUNT - 2)
    lines = []
    for step in range(min(counts), max(counts) + 1):
        count = counts.get(step, 0)
        label = f"{duration(_edge(step))} to {duration(_edge(step + 1))}"
        share = _percent(count / total) if count else ""
        lines.append(f"{label:>{_LABEL}} {bar(count / most, room):<{room}} {share:>{_COUNT}}")
    return "\n".join(lines)


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
