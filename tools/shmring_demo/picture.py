"""The demo's picture. Needs matplotlib: importing this module fails without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from shmring_bench.samples import Lateness
from shmring_cli.output import duration
from shmring_plot import style
from shmring_plot.distribution import log_edges

_COLOURS = ("#0b6e99", "#3bb273", "#7d7d7d", "#e1a73a", "#c8553d", "#7768ae")
_LOW_NS = 20


def draw(path: Path, rate_hz: int, runs: list[tuple[str, Lateness]]) -> None:
    """Draw the distributions of `runs` over each other and write a PNG. Raises `OSError`."""
    figure = style.figure(11, 7.2)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    edges = log_edges(_LOW_NS, max(late.max_ns for _, late in runs))
    for (label, late), colour in zip(runs, _COLOURS, strict=False):
        _histogram(upper, edges, label, late, colour)
        _tail(lower, label, late, colour)
    _label(figure, upper, lower, rate_hz)
    lower.set_xlim(edges[0], edges[-1])
    lower.set_ylim(0.5 / max(len(late) for _, late in runs), 1.5)
    style.save(figure, path, "png")


def _histogram(axes: Any, edges: list[float], label: str, late: Lateness, colour: str) -> None:
    shares = late.shares([round(edge) for edge in edges])
    # Values below the first edge are drawn in the first bin, because a log axis has no zero.
    values = [shares[0] + shares[1], *shares[2:-1]]
    axes.stairs(values, edges, fill=True, color=colour, alpha=0.35)
    axes.stairs(values, edges, color=colour, linewidth=1.4, label=_legend(label, late))
    for share, line in ((0.5, "-"), (0.99, ":")):
        at = max(late.error_ns(share), _LOW_NS)
        axes.axvline(at, color=colour, linestyle=line, linewidth=1.1, alpha=0.9)


def _tail(axes: Any, label: str, late: Lateness, colour: str) -> None:
    """Draw the share of packets that were further off than x, down to one packet."""
    errors = sorted(abs(value) for value in late.values_ns)
    count = len(errors)
    xs = [max(error, _LOW_NS) for error in errors]
    ys = [(count - i) / count for i in range(count)]
    axes.step(xs, ys, where="post", color=colour, linewidth=1.4)
    axes.plot(xs[-1:], ys[-1:], marker="o", markersize=3.5, color=colour)


def _legend(label: str, late: Lateness) -> str:
    return (
        f"{label}:  p50 {duration(late.error_ns(0.5))},  p99 {duration(late.error_ns(0.99))},  "
        f"max {duration(late.max_ns)}"
    )


def _label(figure: Figure, upper: Any, lower: Any, rate_hz: int) -> None:
    figure.suptitle(
        f"How far from its deadline each UDP packet left, at {rate_hz} packets a second",
        fontsize=14,
    )
    upper.set_ylabel("share of packets in the bin")
    style.shares(upper)
    upper.legend(
        fontsize=9,
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=2,
        frameon=False,
        title="solid line: p50, dotted line: p99",
        title_fontsize=9,
    )
    lower.set_ylabel("share further off than this")
    lower.set_yscale("log")
    lower.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    style.durations(lower, "x")
    lower.set_xlabel(
        "distance between the deadline and the kernel's receive timestamp (64 bytes, loopback)"
    )
    for axes in (upper, lower):
        style.clean(axes)
