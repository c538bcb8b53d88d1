"""The picture of a measurement. Needs matplotlib: importing this module fails without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.ticker import FuncFormatter

from shmring.net import probes
from shmring_cli.output import address_text, duration
from shmring_plot import style

_LEAST_NS = 100
_WAYS = (("to the reflector", "forward"), ("back", "backward"), ("round trip", "round"))


def draw(path: Path, report: probes.MeasureReport) -> None:
    """Draw delay over time, loss, and the percentiles of the delay. Raises `OSError`."""
    figure = style.figure(11, 9.5)
    panels: Any = figure.subplots(3, 1, height_ratios=(3, 1, 3))
    over, losses, below = panels
    losses.sharex(over)
    ways = (("one way", "forward"),) if report.listening else _WAYS
    measured = False
    for (label, way), colour in zip(ways, style.COLOURS, strict=False):
        delays: probes.Delays = getattr(report, way)
        if not delays.count:
            continue
        measured = True
        _over_time(over, report, way, label, colour)
        _percentiles(below, delays, label, colour)
    _loss(losses, report)
    what = "from" if report.listening else "to"
    figure.suptitle(f"{report.sent} packets {what} {address_text(report.host)}", fontsize=14)
    over.set_title(f"{report.verdict}.", loc="left", fontsize=9.5, wrap=True)
    over.set_ylabel("p50 of each part, and the longest")
    if measured:
        for axes, place in ((over, "upper right"), (below, "upper left")):
            axes.legend(frameon=False, fontsize=9, loc=place)
            style.durations(axes, "y")
    for axes in panels:
        style.clean(axes)
    style.save(figure, path, "png")


def _over_time(axes: Any, report: probes.MeasureReport, way: str, label: str, colour: str) -> None:
    samples = [sample for sample in report.samples if getattr(sample, f"{way}_ns")]
    xs = [sample.at_s for sample in samples]
    ys = [max(_LEAST_NS, getattr(sample, f"{way}_ns")) for sample in samples]
    axes.plot(xs, ys, color=colour, linewidth=1.4, label=label)
    if way == "round" or report.listening:
        most = [max(_LEAST_NS, sample.most_ns) for sample in samples]
        axes.plot(xs, most, color=colour, linewidth=0.8, alpha=0.4, label=f"{label}, longest")


def _loss(axes: Any, report: probes.MeasureReport) -> None:
    xs = [sample.at_s for sample in report.samples]
    axes.step(xs, [sample.lost for sample in report.samples], color=style.GREY, where="pre")
    axes.set_ylabel("lost packets")
    axes.set_ylim(0, max(1.0, 1.1 * max((one.lost for one in report.samples), default=0)))
    axes.set_xlabel("seconds since the first packet")


def _percentiles(axes: Any, delays: probes.Delays, label: str, colour: str) -> None:
    """Draw the delay over its percentile. The axis gives each further nine the same room."""
    xs: list[float] = []
    ys: list[float] = []
    below = 0
    for highest_ns, count in delays.histogram.buckets():
        xs.append(_nines(below / delays.count, delays.count))
        ys.append(max(_LEAST_NS, min(highest_ns, delays.max_ns)))
        below += count
    xs.append(_nines(1.0, delays.count))
    ys.append(max(_LEAST_NS, delays.max_ns))
    text = f"{label}: min {duration(delays.min_ns)}, p99 {duration(delays.percentile(99))}"
    axes.step(xs, ys, color=colour, linewidth=1.4, where="post", label=text)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * (1 - 1 / value):.7g} %"))
    axes.set_xlabel("share of packets that took no longer")
    axes.set_ylabel("delay")


def _nines(share: float, count: int) -> float:
    """1 for 0 %, 10 for 90 %, 100 for 99 %. The last packet alone is half a packet's share."""
    return 1 / max(1 - share, 0.5 / count)
