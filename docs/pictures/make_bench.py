"""Draws docs/pictures/bench.svg: the error of timed sends beside the floor of the same run.

    shmring bench timed --json >bench.jsonl
    python docs/pictures/make_bench.py bench.jsonl bench.svg

Needs matplotlib (pip install shmring[plot]).
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

METRICS = ("error_p50", "error_p99")


def bars(axes: Any, rows: list[dict[str, Any]], case: str) -> None:
    """One case: a pair of bars, median and 99th percentile, for each system."""
    found = {(r["system"], r["metric"]): r["value"] / 1000 for r in rows if r["case"] == case}
    systems = [s for s, metric in found if metric == METRICS[0]]
    for place, (metric, color) in enumerate(zip(METRICS, ("#2a78a8", "#a8c8dc"), strict=True)):
        values = [found.get((system, metric), 0.0) for system in systems]
        places = [y + 0.38 * place for y in range(len(systems))]
        axes.barh(places, values, 0.36, color=color, label=metric.removeprefix("error_"))
        for y, value in zip(places, values, strict=True):
            axes.text(value, y, f" {value:.3g}", va="center", fontsize=7)
    axes.set_yticks([y + 0.19 for y in range(len(systems))], systems)
    axes.set(title=case, xscale="log", xlabel="error, us")
    axes.margins(x=0.25)
    axes.invert_yaxis()


def draw(source: Path, target: Path) -> None:
    rows = [json.loads(line) for line in source.read_text("utf-8").splitlines()]
    rows = [row for row in rows if row.get("metric") in METRICS]
    cases = list(dict.fromkeys(row["case"] for row in rows))
    figure = Figure(figsize=(9, 2.2 * -(-len(cases) // 2)), layout="constrained")
    for number, case in enumerate(cases, 1):
        bars(figure.add_subplot(-(-len(cases) // 2), 2, number), rows, case)
    figure.axes[0].legend(fontsize=7)
    with matplotlib.rc_context({"svg.hashsalt": "shmring"}):
        figure.savefig(target, metadata={"Date": None})


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
