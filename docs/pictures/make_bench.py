"""Draws docs/pictures/bench-*.svg: figures of `shmring bench`, each system beside the others.

    shmring bench timed 1kHz-64B 1kHz-64B-wire --json-lines >bench.jsonl
    python docs/pictures/make_bench.py bench.jsonl docs/pictures

Needs matplotlib (pip install shmring[plot]). A file may have rows of any benches, and each picture
is drawn of which it has some. Those of docs/tutorials/network-testers.md take 7 minutes, on a
machine that does nothing else. The benches need root and the programs that they compare with:

    for bench in "replay poisson-100kpps --duration 3" \\
            "replay full-64B full-1400B --duration 0.5" "generate --duration 2" \\
            "measure --duration 2" "clock drift-100ppm --duration 10" \\
            "impair --duration 1" "pacing --duration 0.5"; do
        shmring bench $bench --json-lines
    done >docs/pictures/testers.jsonl
    python docs/pictures/make_bench.py docs/pictures/testers.jsonl docs/pictures
"""

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import NullFormatter

UNITS = {"ns": (1e3, "µs"), "pps": (1e3, "kpps"), "bps": (1e9, "Gbit/s"), "percent": (1.0, "%")}
"""How many of a unit of the file make one in the picture, and its name there."""
OURS = ("#1f6690", "#8fbcd6")
OTHERS = ("#6f6f6f", "#c4c4c4")
GOAL_COLOR = "#b3261e"
GOAL = "target"
"""The system name of goals."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Panel:
    """A part of a picture: one or two figures of each system."""

    bench: str
    case: str
    title: str
    metrics: dict[str, str]
    """Metric in the file, and its name in the picture."""
    linear: bool = False

    def rows(self, rows: list[Row]) -> list[Row]:
        """Those that it shows."""
        chosen = [r for r in rows if (r["bench"], r["case"]) == (self.bench, self.case)]
        return [row for row in chosen if row["metric"] in self.metrics]


TIMES = {"error_p50": "median", "error_p99": "99th percentile"}
GAPS = {"gap_p50": "median", "gap_p99": "99th percentile"}
LEAST = {"min": "least", "p50": "median"}
TRIPS = {"p50": "median", "p99": "99th percentile"}
OFFSET = {"error_p99": "99th percentile of the error", "bound_p50": "median of the stated bound"}
ADDED = {"added_p50": "median", "added_p99": "99th percentile"}
BUCKET = {"c_peak": "most packets"}
PICTURES = {
    "timed": [
        Panel("timed", "1kHz-64B", "1 kHz: error of the deadline", TIMES),
        Panel("timed", "1kHz-64B-wire", "the same with align=wire", TIMES),
    ],
    "replay": [
        Panel("replay", "poisson-100kpps", "capture of 100 kpps: error of the gaps", GAPS),
        Panel("replay", "poisson-100kpps", "the same: rate reached", {"rate": "rate"}, True),
        Panel("replay", "full-64B", "as fast as possible, 64 bytes", {"rate": "rate"}, True),
        Panel("replay", "full-1400B", "the same, 1400 bytes", {"throughput": "rate"}, True),
    ],
    "generate": [
        Panel("generate", "200kpps-64B", "200 kpps: error of the gaps", GAPS),
        Panel("generate", "200kpps-64B", "not sent in time", {"unsent": "share"}, True),
        Panel("generate", "200kpps-64B", "rate on the wire", {"rate": "rate"}, True),
    ],
    "delay": [
        Panel("measure", "one-way", "one-way delay at 1 kHz", LEAST, True),
        Panel("measure", "one-way-20kpps", "one-way delay at 20 kHz", LEAST, True),
        Panel("measure", "round-trip", "round trip as reported", TRIPS),
        Panel("clock", "drift-100ppm", "offset of two clocks", OFFSET),
    ],
    "impair": [
        Panel("impair", "10kpps-64B", "10 kpps: time that a proxy adds", ADDED),
        Panel("impair", "10kpps-64B-20ms", "delay of 20 ms: its error", TIMES),
    ],
    "pacing": [
        Panel("pacing", "1080p50-wide", "1080p50, wide: fullest leaky bucket", BUCKET),
        Panel("pacing", "720p50-narrow", "720p50, narrow", BUCKET),
        Panel("pacing", "1080p25-narrow", "1080p25, narrow", BUCKET),
    ],
}
"""What each picture shows."""


def bars(axes: Any, rows: list[Row], panel: Panel) -> None:
    """Draw a bar for each figure of each system, and a line for each goal."""
    scale, unit = UNITS.get(rows[0]["unit"], (1.0, rows[0]["unit"]))
    values = {(row["system"], row["metric"]): row["value"] / scale for row in rows}
    systems = [system for system in dict.fromkeys(row["system"] for row in rows) if system != GOAL]
    low, high = limits(list(values.values()), linear=panel.linear)
    height = 0.8 / len(panel.metrics)
    for number, (metric, name) in enumerate(panel.metrics.items()):
        for line, system in enumerate(systems):
            if (system, metric) in values:
                value, y = values[system, metric], line + number * height
                color = (OURS if system.startswith("shmring") else OTHERS)[number]
                axes.barh(y, value, height, color=color, align="edge")
                label = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
                at = (max(value, low), y + height / 2)
                text = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
                how = {"textcoords": "offset points", "va": "center", "fontsize": 7}
                axes.annotate(text, at, (3, 0), bbox=label, **how)
        goal = values.get((GOAL, metric), 0.0)
        if goal > low:
            axes.axvline(goal, color=GOAL_COLOR, linewidth=1)
            which = f", {name}" if len(panel.metrics) > 1 else ""
            axes.text(goal, -0.1, f" goal{which}", color=GOAL_COLOR, fontsize=6)
    axes.set_yticks([line + 0.4 for line in range(len(systems))], systems, fontsize=8)
    axes.tick_params(axis="x", labelsize=7)
    axes.tick_params(axis="y", length=0)
    axes.set(ylim=(len(systems), -0.5), xscale="linear" if panel.linear else "log")
    axes.set(xlim=(low, high))
    if not panel.linear:
        axes.xaxis.set_major_formatter("{x:,.10g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_title(f"{panel.title}, {unit}", fontsize=9, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    if len(panel.metrics) > 1:
        names = zip(OTHERS, panel.metrics.values(), strict=True)
        patches = [Patch(color=color, label=name) for color, name in names]
        where = {"loc": "upper right", "bbox_to_anchor": (1, 0), "borderaxespad": 2.4}
        axes.legend(handles=patches, ncols=2, frameon=False, fontsize=6, **where)


def limits(values: list[float], *, linear: bool) -> tuple[float, float]:
    """Return the ends of the axis, with room for the number behind the longest bar."""
    most = max(values)
    if linear:
        return 0.0, 1.2 * most or 1.0
    least = min((value for value in values if value > 0), default=1.0)
    low = 10.0 ** math.floor(math.log10(least / 1.2))
    return low, low * max(10.0, most / low) ** 1.25


def draw(rows: list[Row], panels: list[Panel], target: Path) -> None:
    """Draw two panels beside each other. The first of an odd number has a line of its own."""
    lines = [panels[:1]] if len(panels) % 2 else []
    lines += [panels[i : i + 2] for i in range(len(panels) % 2, len(panels), 2)]
    heights = [
        0.8 + 0.34 * max(len({row["system"] for row in panel.rows(rows)}) for panel in line)
        for line in lines
    ]
    figure = Figure(figsize=(9, sum(heights)), layout="constrained")
    grid = figure.add_gridspec(len(lines), 2, height_ratios=heights)
    for i, line in enumerate(lines):
        for j, panel in enumerate(line):
            place = grid[i, j] if len(line) == 2 else grid[i, :]
            bars(figure.add_subplot(place), panel.rows(rows), panel)
    with matplotlib.rc_context({"svg.hashsalt": "shmring"}):
        figure.savefig(target, metadata={"Date": None})


def main(source: Path, folder: Path) -> None:
    """Draw every picture of which the file has figures."""
    rows = [json.loads(line) for line in source.read_text("utf-8").splitlines()]
    for name, panels in PICTURES.items():
        known = [panel for panel in panels if panel.rows(rows)]
        if known:
            draw(rows, known, folder / f"bench-{name}.svg")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
