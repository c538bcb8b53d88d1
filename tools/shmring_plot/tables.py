"""The figures of recordings as tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shmring_cli.output import duration, quantity
from shmring_plot.series import PERCENTILES, Series


def summary(series: Sequence[Series]) -> list[tuple[str, ...]]:
    """Return a header, and a row per series."""
    head = ("", "packets", "rate", *(name for _, name in PERCENTILES), "late")
    return [head, *(_summary_row(one) for one in series)]


def _summary_row(one: Series) -> tuple[str, ...]:
    return (
        one.label,
        str(len(one.lateness)),
        quantity(float(one.facts()["tx_pps"]), "pps"),
        *(duration(one.lateness.quantile_ns(share)) for share, _ in PERCENTILES),
        str(sum(one.counts().values())),
    )


def difference(before: Series, after: Series) -> list[tuple[str, str, str, str]]:
    """Return a header, and a row per figure: before, after, and the change."""
    rows = [("", before.label, after.label, "change")]
    rows.append(_row("timed packets", len(before.lateness), len(after.lateness), text=str))
    pps = [float(one.facts()["tx_pps"]) for one in (before, after)]
    rows.append(_row("packets sent per second", *pps, text=lambda value: quantity(value, "pps")))
    for share, name in PERCENTILES:
        values = [one.lateness.quantile_ns(share) for one in (before, after)]
        rows.append(_row(f"lateness {name}", *values, text=duration))
    late = [sum(one.counts().values()) / max(1, len(one.lateness)) for one in (before, after)]
    rows.append(_row("late verdicts per packet", *late, text=lambda value: f"{100 * value:.3g} %"))
    return rows


def _row(
    what: str, before: float, after: float, *, text: Callable[[float], str]
) -> tuple[str, str, str, str]:
    return what, text(before), text(after), _change(before, after)


def _change(before: float, after: float) -> str:
    if before == after:
        return "none"
    if before == 0:
        return "from 0"
    if after >= 2 * before:
        return f"x {_factor(after / before)}"
    if 0 < after <= before / 2:
        return f"÷ {_factor(before / after)}"
    return f"{100 * (after / before - 1):+.2g} %"


def _factor(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"
