"""The style of all pictures: colours, axes of durations and shares, and reproducible files. Needs
matplotlib: importing this module fails without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    LogLocator,
    MultipleLocator,
    NullFormatter,
    NullLocator,
)

from shmring_cli.output import duration

matplotlib.use("Agg")

COLOURS = ("#0b6e99", "#c8553d", "#3bb273", "#e1a73a", "#7768ae", "#7d7d7d")
GREY = "#5a5a5a"
_TIME_STEPS_S = (
    *(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800),
    *(hours * 3600 for hours in (1, 2, 3, 6, 12, 24, 48, 96, 168)),
)
DPI = 150

# Text stays text, so that an SVG can be searched. Ids and the date would differ each time.
_RC: Any = {"svg.fonttype": "none", "svg.hashsalt": "shmring", "font.family": "DejaVu Sans"}
_PLAIN_SVG = {"Date": None, "Creator": "shmring"}


def figure(width: float, height: float) -> Figure:
    """An empty picture, size in inches."""
    with matplotlib.rc_context(_RC):
        return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def save(drawn: Figure, path: Path, kind: str | None = None) -> None:
    """Write a ``png`` or ``svg``, by default chosen by the suffix. The same picture makes the same
    file. Raises `OSError`."""
    kind = kind or path.suffix[1:].lower()
    metadata = _PLAIN_SVG if kind == "svg" else {"Software": "shmring"}
    with matplotlib.rc_context(_RC):
        drawn.savefig(path, format=kind, metadata=metadata)


def tick(ns: float) -> str:
    """Return a duration as the text of a tick: ``10 µs``."""
    number, unit = duration(ns).split()
    return f"{float(number):g} {unit}"


def clean(axes: Any) -> None:
    """Draw a grid behind the data, and no frame on sides without an axis."""
    axes.grid(which="major", color="#d8d8d8", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def durations(axes: Any, which: str) -> None:
    """Make axis ``"x"`` or ``"y"`` a log axis of ns, with units at its ticks."""
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    axis.set_minor_formatter(NullFormatter())


def finer(axes: Any, which: str) -> None:
    """Put ticks at 1, 2, 5 on a log axis of less than two decades, where powers of ten are
    too few."""
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    if high / low < 150:
        axis = axes.xaxis if which == "x" else axes.yaxis
        axis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))


def shares(axes: Any) -> None:
    """Make y a linear axis of shares, in percent, with space above the data."""
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.6g} %"))
    axes.set_ylim(0, 1.05 * axes.get_ylim()[1])


def beyond(axes: Any, smallest: float) -> None:
    """Make y an axis of shares near 100 %: each further nine has the same distance, down to
    `smallest`."""
    ticks = [1.0, 0.5]
    while ticks[-1] > 2 * smallest:
        ticks.append(0.1 ** (len(ticks) - 1))
    axes.set_yscale("log")
    axes.set_ylim(1.15, smallest)
    axes.yaxis.set_major_locator(FixedLocator([share for share in ticks if share >= smallest]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * (1 - value):.8g} %"))


def seconds(axes: Any) -> None:
    """Put ticks on an x axis of seconds at round clock times, at most nine."""
    low, high = axes.get_xlim()
    step = next((step for step in _TIME_STEPS_S if (high - low) / step <= 8), _TIME_STEPS_S[-1])
    axes.xaxis.set_major_locator(MultipleLocator(step))
