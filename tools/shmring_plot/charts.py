"""The pictures of `shmring plot`. Needs matplotlib: importing this module fails without it."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from rtworkers.verdicts import LATE
from shmring_cli.output import duration, quantity
from shmring_plot import style, tables
from shmring_plot.distribution import Distribution, log_edges
from shmring_plot.series import NS_PER_S, PERCENTILES, Series, Slot

_WIDTH = 11.0
_TITLE_PT = 9.5
_LEGEND_PT = 9
_NAME_CHARS, _HEAD_CHARS = 64, 24
"""Of a name in a line of its own, and in the head of the table. A longer one loses its middle."""
_LATENESS = "lateness: start of the send call after the packet's deadline"
_LOWEST_NS = 4.0
_EM = 0.62
"""Width of a character, as a share of the size of its font. Most are narrower."""
_RESTARTED = "worker restarted"
_BANDS = (("max", 1.0, 0.9), ("p99", 0.99, 1.3), ("p50", 0.5, 1.6))
_VERDICT_COLOURS = ("#e1a73a", "#c8553d", "#7768ae", "#3bb273", "#5a5a5a", "#2f6690")


def time_chart(series: Sequence[Series], of: int) -> Figure:
    """Lateness over time, with a band per percentile. A single series also shows its
    late packets."""
    alone = len(series) == 1
    heights = [3.0, 1.1] if alone else [2.0] * len(series)
    figure = style.figure(_WIDTH, 1.9 + 1.2 * sum(heights))
    panels = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)[
        :, 0
    ]
    _timelines(list(panels[: len(series)]), series)
    if alone:
        _late_packets(panels[1], series[0])
    _time_axis(panels[-1], series)
    _title(figure, "Lateness over time", series, of)
    return figure


def hist_chart(series: Sequence[Series], of: int) -> Figure:
    """How many packets were how late."""
    figure = style.figure(_WIDTH, 5.6 + _legend_height(series))
    axes = figure.subplots()
    _histograms(axes, series)
    _lateness_axis(axes, series)
    _title(figure, "Histogram of lateness", series, of)
    return figure


def cdf_chart(series: Sequence[Series], of: int) -> Figure:
    """Which share of the packets was no later than x."""
    figure = style.figure(_WIDTH, 5.6 + _legend_height(series))
    axes = figure.subplots()
    _cdfs(axes, series)
    _lateness_axis(axes, series)
    _title(figure, "Distribution of lateness", series, of)
    return figure


def compare_chart(before: Series, after: Series) -> Figure:
    """Two series on the same axes, and a table of their differences."""
    both = (before, after)
    figure = style.figure(_WIDTH, 10.6)
    upper, lower, below = figure.subplots(3, 1, height_ratios=(3, 3, 2.6))
    lower.sharex(upper)
    _histograms(upper, both)
    _cdfs(lower, both)
    _lateness_axis(lower, both)
    upper.tick_params(labelbottom=False)
    _difference(below, before, after)
    _title(
        figure,
        f"Lateness before ({_short(before.label)}) and after ({_short(after.label)})",
        both,
        2,
    )
    return figure


def sheet(series: Sequence[Series], of: int) -> Figure:
    """Everything on one page: over time, histogram and distribution."""
    rows = len(series)
    heights = [2.6 if rows == 1 else 1.7] * rows + [3.0, 3.0]
    distributions = 6.4 + _legend_height(series)
    figure = style.figure(_WIDTH, 2.4 + 1.2 * (sum(heights) + _legend_height(series)))
    halves: Any = figure.subfigures(2, 1, height_ratios=(sum(heights[:rows]) + 0.4, distributions))
    above, below = halves
    panels = above.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
    _timelines(list(panels), series)
    _time_axis(panels[-1], series)
    upper, lower = below.subplots(2, 1, sharex=True)
    _histograms(upper, series)
    _cdfs(lower, series)
    _lateness_axis(lower, series)
    _title(figure, "Lateness over time, histogram and distribution", series, of)
    return figure


# --- over time ------------------------------------------------------------------------------------


def _timelines(panels: Sequence[Any], series: Sequence[Series]) -> None:
    top = 1.6 * max(one.lateness.max_ns for one in series)
    lowest = min(slot.lateness.quantile_ns(0.5) for one in series for slot in one.timeline)
    bottom = max(_LOWEST_NS, 0.5 * lowest)
    for axes, one, colour in zip(panels, series, cycle(style.COLOURS), strict=False):
        _bands(axes, one, colour, bottom)
        style.durations(axes, "y")
        axes.set_ylim(bottom, max(top, 10 * bottom))
        style.finer(axes, "y")
        axes.set_ylabel("lateness per interval")
        style.clean(axes)
        if len(series) > 1:
            axes.set_title(_summary(one), loc="left", fontsize=_TITLE_PT)
    restarts = [line for axes in panels for line in axes.lines if line.get_label() == _RESTARTED]
    panels[0].legend(
        handles=[*panels[0].lines[len(_BANDS) - 1 :: -1], *restarts[:1]],
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        borderaxespad=0.5 if len(series) == 1 else 2.3,  # above the title of the panel
        ncols=4,
        frameon=False,
        fontsize=_LEGEND_PT,
    )


def _bands(axes: Any, one: Series, colour: str, bottom: float) -> None:
    slots = one.timeline
    curves: dict[str, tuple[list[float], list[float]]] = {}
    for label, share, width in _BANDS:
        heights = [max(slot.lateness.quantile_ns(share), bottom) for slot in slots]
        curves[label] = xs, ys = _steps(slots, heights, one.header.interval_ns)
        axes.plot(
            xs,
            ys,
            color=colour,
            linewidth=width,
            alpha={"max": 0.45, "p99": 0.75, "p50": 1.0}[label],
            drawstyle="steps-post",
            label=label,
        )
    fill = {"step": "post", "color": colour, "linewidth": 0}
    xs, p99 = curves["p99"]
    axes.fill_between(xs, p99, curves["max"][1], alpha=0.12, **fill)
    axes.fill_between(xs, curves["p50"][1], p99, alpha=0.28, **fill)
    for slot in slots:
        if slot.restarted:
            at = slot.start_ns / NS_PER_S
            axes.axvline(at, color="#222222", linestyle="--", linewidth=1.0, label=_RESTARTED)


def _steps(
    slots: Sequence[Slot], values: Sequence[float], interval_ns: int
) -> tuple[list[float], list[float]]:
    """Draw each value from the start to the end of its slot, without lines across gaps of half an
    interval and more."""
    xs: list[float] = []
    ys: list[float] = []
    for (slot, value), following in zip(
        zip(slots, values, strict=True), [*slots[1:], None], strict=True
    ):
        xs.append(slot.start_ns / NS_PER_S)
        ys.append(value if slot.lateness else float("nan"))
        if following is None or following.start_ns - slot.end_ns > interval_ns / 2:
            xs += [slot.end_ns / NS_PER_S] * 2
            ys += [ys[-1], float("nan")]
    return xs, ys


def _late_packets(axes: Any, one: Series) -> None:
    slots = one.timeline
    starts = [slot.start_ns / NS_PER_S for slot in slots]
    widths = [(slot.end_ns - slot.start_ns) / NS_PER_S for slot in slots]
    covered = [slot.covered_ns / NS_PER_S for slot in slots]
    floor = [0.0] * len(slots)
    for name, colour in zip(LATE, _VERDICT_COLOURS, strict=True):
        rates = [slot.late[name] / time for slot, time in zip(slots, covered, strict=True)]
        total = sum(slot.late[name] for slot in slots)
        if total:
            label = f"{name.removeprefix('tx_')} ({total})"
            axes.bar(starts, rates, widths, floor, align="edge", color=colour, label=label)
            floor = [a + b for a, b in zip(floor, rates, strict=True)]
    axes.set_ylabel("late packets/s")
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.set_ylim(0, 1.15 * max(floor) or 1)
    style.clean(axes)
    if any(floor):
        axes.legend(
            loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=5, frameon=False, fontsize=9
        )
    else:
        axes.set_yticks([0])
        axes.text(0.5, 0.5, "no packet had a late verdict", transform=axes.transAxes, ha="center")


def _time_axis(axes: Any, series: Sequence[Series]) -> None:
    """Use wall time for a single recording, else the time since the start of each."""
    axes.set_xlim(
        min(one.start_ns for one in series) / NS_PER_S, max(one.end_ns for one in series) / NS_PER_S
    )
    style.seconds(axes)
    header = series[0].header
    if any(one.header is not header for one in series):
        axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: str(timedelta(seconds=at))))
        axes.set_xlabel("time since the start of each recording")
        return
    start_s = header.started_wall_ns / NS_PER_S
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda at, _: f"{_utc(start_s + at):%H:%M:%S}\n{timedelta(seconds=at)}")
    )
    axes.set_xlabel("time of day (UTC), and time since the start of the recording")


# --- distributions --------------------------------------------------------------------------------


def _histograms(axes: Any, series: Sequence[Series]) -> None:
    edges = _edges(series)
    for one, colour in zip(series, cycle(style.COLOURS), strict=False):
        bars = one.lateness.shares(edges)
        bars[0] += one.lateness.shares([0, edges[0]])[0]  # a log axis has no zero
        axes.stairs(bars, edges, fill=True, color=colour, alpha=0.3)
        axes.stairs(bars, edges, color=colour, linewidth=1.4, label=_legend(one))
    axes.set_ylabel("share of the packets")
    style.shares(axes)
    style.clean(axes)
    if len(series) == 1:
        axes.set_ylim(0, 1.32 * axes.get_ylim()[1])
        _mark_lines(axes, series[0].lateness, _limits(series))
    else:
        for one, colour in zip(series, cycle(style.COLOURS), strict=False):
            for share, line in ((0.5, "-"), (0.99, ":")):
                at = max(one.lateness.quantile_ns(share), _LOWEST_NS)
                axes.axvline(at, color=colour, linestyle=line, linewidth=1.1)
        _legend_above(axes, "line: p50, dotted line: p99")


def _mark_lines(axes: Any, lateness: Distribution, limits: tuple[float, float]) -> None:
    """Draw a line per percentile, with its label above the others', so that close ones stay
    readable. limits: of the x axis. The label is on the side that has more room."""
    middle = math.sqrt(limits[0] * limits[1])
    for i, (share, name) in enumerate(PERCENTILES):
        at = max(lateness.quantile_ns(share), _LOWEST_NS)
        height = 0.79 + 0.06 * i
        axes.axvline(at, ymax=height, color=style.GREY, linewidth=1.1, linestyle=(0, (4, 2)))
        axes.annotate(
            f"{name}  {duration(lateness.quantile_ns(share))}",
            (at, height),
            xycoords=("data", "axes fraction"),
            xytext=(-4 if at > middle else 4, 0),
            textcoords="offset points",
            ha="right" if at > middle else "left",
            va="center",
            fontsize=9.5,
        )


def _cdfs(axes: Any, series: Sequence[Series]) -> None:
    smallest = min(0.5 / len(one.lateness) for one in series)
    for one, colour in zip(series, cycle(style.COLOURS), strict=False):
        steps = one.lateness.steps()
        last = 0.5 / len(one.lateness)  # where 100 % is drawn, which a log axis does not have
        xs = [max(steps[0][0], _LOWEST_NS), *(max(at, _LOWEST_NS) for at, _ in steps)]
        ys = [1.0, *(max(1 - share, last) for _, share in steps)]
        axes.step(xs, ys, where="post", color=colour, linewidth=1.6, label=_legend(one))
        for share, _ in PERCENTILES:
            at = max(one.lateness.quantile_ns(share), _LOWEST_NS)
            y = max(1 - share, last)
            axes.plot([at], [y], marker="o", markersize=5, color=colour, clip_on=False)
    if len(series) == 1:
        _name_dots(axes, series[0].lateness)
    style.beyond(axes, 0.7 * smallest)
    axes.set_ylabel("share of the packets that were no later")
    style.clean(axes)
    if len(series) > 1 and not axes.get_shared_x_axes().get_siblings(axes)[1:]:
        _legend_above(axes, "dots: p50, p99, p99.9 and max")


def _name_dots(axes: Any, lateness: Distribution) -> None:
    """Say what the dots of a curve are, below it. Beside them, close ones would overlap."""
    lines = [f"{name}  {duration(lateness.quantile_ns(share))}" for share, name in PERCENTILES]
    axes.text(
        *(0.99, 0.04, "\n".join(["dots:", *lines])),
        transform=axes.transAxes,
        ha="right",
        va="bottom",
        fontsize=9.5,
    )


def _edges(series: Sequence[Series]) -> list[float]:
    low = max(_LOWEST_NS, 0.8 * min(one.lateness.low_ns for one in series))
    return log_edges(low, max(low, *(one.lateness.max_ns for one in series)))


def _limits(series: Sequence[Series]) -> tuple[float, float]:
    edges = _edges(series)
    return edges[0], 1.5 * edges[-1]


def _lateness_axis(axes: Any, series: Sequence[Series]) -> None:
    style.durations(axes, "x")
    axes.set_xlim(_limits(series))
    style.finer(axes, "x")
    axes.set_xlabel(_LATENESS)


def _legend(one: Series) -> str:
    values = ",  ".join(
        f"{name} {duration(one.lateness.quantile_ns(share))}" for share, name in PERCENTILES
    )
    return f"{_short(one.label)}:  {values}"


def _legend_height(series: Sequence[Series]) -> float:
    """Return the height in inches by which the legend of many series grows."""
    return 0.19 * max(0, len(series) - 3)


def _legend_above(axes: Any, title: str) -> None:
    axes.legend(
        fontsize=9,
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        frameon=False,
        title=title,
        title_fontsize=9,
        alignment="left",
    )


def _difference(axes: Any, before: Series, after: Series) -> None:
    axes.axis("off")
    head, *rows = tables.difference(before, after)
    table = axes.table(
        rows,
        colLabels=[_short(text, _HEAD_CHARS) for text in head],
        cellLoc="right",
        colWidths=(0.3, 0.2, 0.2, 0.2),
        loc="center",
    )
    table.auto_set_font_size(False)
    table.set_fontsize(9.5)
    table.scale(1, 1.35)
    for (row, column), cell in table.get_celld().items():
        cell.visible_edges = "B"
        cell.set_text_props(ha="left" if column == 0 else "right")
        cell.set_edgecolor("#9a9a9a" if row == 0 else "#e0e0e0")
        if row == 0:
            cell.set_text_props(weight="bold")


# --- around the picture ---------------------------------------------------------------------------


def _title(figure: Figure, what: str, series: Sequence[Series], of: int) -> None:
    """Say above the picture what it shows, `of` how many channels, and below it where and when."""
    text = what
    if len(series) == 1:
        text = f"{what}: {_summary(series[0])}"
    elif len(series) < of:
        text = f"{what}: the worst {len(series)} of {of} channels"
    figure.suptitle(_wrapped(text, 13), fontsize=13, x=0.01, ha="left")
    recordings: dict[int, list[Series]] = {}
    for one in series:
        recordings.setdefault(id(one.header), []).append(one)
    notes = (
        (f"{_short(group[0].label)}: " if len(recordings) > 1 else "") + _footnote(group)
        for group in recordings.values()
    )
    text = "\n".join(_wrapped(note, 8) for note in notes)
    figure.supxlabel(text, fontsize=8, color=style.GREY, x=0.01, ha="left")


def _short(name: str, chars: int = _NAME_CHARS) -> str:
    """Return a name of limited length: the begin and the end of a long one."""
    if len(name) <= chars:
        return name
    half = (chars - 1) // 2
    return f"{name[:half]}…{name[-half:]}"


def _wrapped(text: str, points: float) -> str:
    """Return a text in lines that the picture has room for, at this size."""
    chars = int(_WIDTH * 72 / (_EM * points))
    return "\n".join(textwrap.wrap(text, chars, break_on_hyphens=False))


def _summary(one: Series) -> str:
    late = sum(one.counts().values())
    facts = one.facts()
    return (
        f"{_short(one.label)}, {len(one.lateness)} timed packets at "
        f"{quantity(float(facts['tx_pps']), 'pps')}, {late} late"
    )


def _footnote(series: Sequence[Series]) -> str:
    """Return where and when a recording was made."""
    header = series[0].header
    span_ns = (min(one.start_ns for one in series), max(one.end_ns for one in series))
    start, end = (_utc((header.started_wall_ns + at) / NS_PER_S) for at in span_ns)
    return (
        f"host {header.host} ({header.kernel}, {header.machine}, {header.cores} cores), "
        f"shmring {header.version}, {start:%Y-%m-%d %H:%M:%S} to {end:%H:%M:%S} UTC, intervals of "
        f"{duration(header.interval_ns)}"
    )


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


__all__ = ["cdf_chart", "compare_chart", "hist_chart", "sheet", "time_chart"]
