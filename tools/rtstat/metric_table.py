"""Names of the metrics: the values of `rtstat.table`, named by the conventions of Prometheus.

Names have base units (seconds, bytes, ratio) in the name, and ``_total`` after counters. Rates,
percentiles and shares of an interval are left out, because a query computes them better. Texts,
identifiers and points in time are left out, too. The ``info`` metrics have the properties of a
channel or worker.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from rtstat.fields import Field
from rtstat.table import FIELDS
from shmring.observe.engines import PARTS

PREFIX = "shmring"
CHANNEL_LABELS = ("namespace", "pool", "channel", "engine")
WORKER_LABELS = ("namespace", "pool", "worker")
POOL_LABELS = ("namespace", "pool")
TROUBLE_LABELS = ("name", "severity", "namespace", "pool", "channel", "worker")
_CHANNEL_INFO = ("worker", "cpu", "direction", "state", "local", "remote", "interface", "qdisc")

_US = 1_000
_MS = 1_000_000
BOUNDS_NS = (
    *(200, 500),
    *(n * _US for n in (1, 2, 5, 10, 20, 50, 100, 200, 500)),
    *(n * _MS for n in (1, 2, 5, 10, 50, 100, 1000)),
)
"""Upper bounds of the buckets of every histogram. They are dense from 1 us to 10 ms."""

# Unit of the table: its name in Prometheus, and how many of it make one of those.
_UNITS = {
    "ns": ("seconds", 1e-9),
    "s": ("seconds", 1.0),
    "share": ("ratio", 1.0),
    "ppb": ("ratio", 1e-9),
    "pps": ("packets_per_second", 1.0),
    # Their names already say what is counted.
    **dict.fromkeys(("times", "flag", "calls", "events", "connections", "flows"), ("", 1.0)),
}
_NOT_MEASURES = frozenset({"", "id", "number", "ntp", "units", "entries"})
_INSTANTS = ("_mono_ns", "_due_ns")
_ENDINGS = ("_ns", "_s", "_ppb", "_pps", "_bytes", "_packets")
# Accumulated, but not counters: a maximum, or a value that ends with its reader.
_NO_COUNTERS = ("longest_loop_ns", "_max_ns", "readers_taken", "readers_lost")

# Names where the rule would mislead.
_STEMS = {
    ("channel", "tx_next_sequence"): "tx_queued",
    ("channel", "epoch"): "epoch",
    ("rtp", "sent_octets"): "sent_payload",
    ("rtp", "sr_octets"): "source_sent_payload",
    ("rtp", "sr_packets"): "source_sent",
    ("rtp", "senders"): "sending",
}

# With a thousand channels every series costs storage. Histograms with important tails are exported
# whole, of the others only the mean. Settings are left to `rtstat --json`.
_SUMMED_UP = ("wire_early", "immediate", "send_call", "own_interval", "gap")
_LEFT_OUT = ("tx_used_bytes", "rx_unread_bytes")
_CONFIGURED = ("tolerance_ns",)

Kind = Literal["counter", "gauge", "histogram", "summary", "info"]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its name, and where its value comes from."""

    name: str
    """The name of samples of counters and gauges. Histograms add ``_bucket`` and so on."""
    kind: Kind
    help: str
    labels: tuple[str, ...]
    scope: str
    """The scope in `rtstat.table.FIELDS`, or ``""`` for the exporter itself."""
    field: Field | None = None
    factor: float = 1.0
    """The factor from the table's unit to the metric's."""
    histogram: str = ""
    """Name of the histogram in the view, also for a ``_max_seconds``."""


def _scopes() -> dict[str, tuple[str, tuple[str, ...]]]:
    """For each scope: the prefix of its names, and its labels."""
    own: dict[str, tuple[str, tuple[str, ...]]] = {
        "pool": ("pool", POOL_LABELS),
        "worker": ("worker", WORKER_LABELS),
        "channel": ("channel", CHANNEL_LABELS),
    }
    return own | {name: (name.replace("-", "_"), CHANNEL_LABELS) for name in PARTS}


def _families(scope: str, head: str, labels: tuple[str, ...]) -> Iterator[Family]:
    for field in FIELDS[scope]:
        if field.unit == "entries" and field.kind == "accumulated":
            yield _histogram(scope, head, labels, field)
        elif _is_shown(scope, field):
            yield _number(scope, head, labels, field)


def _is_shown(scope: str, field: Field) -> bool:
    if field.kind == "interval" or field.name.endswith(_INSTANTS):
        return False
    if field.name in ("priority", "error"):
        return True
    if field.name in _LEFT_OUT or (
        scope == "channel" and field.kind == "fixed" and field.name not in _CONFIGURED
    ):
        return False
    if _of_histogram(field) and not field.name.endswith("_max_ns"):
        return False
    return field.unit not in _NOT_MEASURES


def _of_histogram(field: Field) -> bool:
    stem, _, part = field.name.removesuffix("_ns").rpartition("_")
    return bool(stem) and part in ("min", "max", "mean", "p50", "p90", "p99", "p999")


def _number(scope: str, head: str, labels: tuple[str, ...], field: Field) -> Family:
    unit, factor = _UNITS.get(field.unit, (field.unit, 1.0))
    stem = _STEMS.get((scope, field.name), field.name)
    for ending in _ENDINGS:
        stem = stem.removesuffix(ending)
    counts = field.kind == "accumulated" and not field.name.endswith(_NO_COUNTERS)
    words = [PREFIX, head, stem]
    if unit and not stem.endswith(unit) and stem != "epoch":
        words.append(unit)
    name = "_".join(words) + ("_total" if counts else "")
    return Family(
        name,
        "counter" if counts else "gauge",
        _help(field),
        labels,
        scope,
        field,
        factor,
        field.name.removesuffix("_max_ns") if _of_histogram(field) else "",
    )


def _histogram(scope: str, head: str, labels: tuple[str, ...], field: Field) -> Family:
    stem = field.name.removesuffix("_count")
    text = field.help.partition(":")[0]
    return Family(
        f"{PREFIX}_{head}_{stem}_seconds",
        "summary" if stem in _SUMMED_UP else "histogram",
        _sentence(text),
        labels,
        scope,
        field,
        1e-9,
        stem,
    )


def _help(field: Field) -> str:
    return f"1 if {field.help}, else 0" if field.unit == "flag" else _sentence(field.help)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


_OWN_ROWS: tuple[tuple[str, Kind, str, str, tuple[str, ...]], ...] = (
    (
        *("exporter_info", "info", "", "Version, layout and host of this exporter"),
        ("version", "layout", "host"),
    ),
    ("exporter_read_seconds", "gauge", "", "Time to read all shared memory for this page", ()),
    (
        *("exporter_unreadable_files", "gauge", ""),
        *("Files of shmring in shared memory that could not be read", ()),
    ),
    ("verdict", "gauge", "", "Verdict of the whole: 0 ok, 1 troubled, 2 broken", ()),
    (
        *("trouble", "gauge", ""),
        "Figure of a trouble, or 1 if it has none: a sample for each trouble there is",
        TROUBLE_LABELS,
    ),
    (
        *("worker_alive", "gauge", "worker"),
        *("1 if the worker had a heartbeat within the last second, else 0", WORKER_LABELS),
    ),
    (
        *("worker_info", "info", "worker", "Process, core and scheduling of the worker"),
        (*WORKER_LABELS, "pid", "cpu", "policy", "profile"),
    ),
    (
        *("channel_served", "gauge", "channel"),
        *("1 if a worker serves the channel, or it is new or closed, else 0", CHANNEL_LABELS),
    ),
    (
        *("channel_info", "info", "channel"),
        "Settings of the channel and the worker that serves it",
        (*CHANNEL_LABELS, *_CHANNEL_INFO),
    ),
)
_OWN = tuple(
    Family(f"{PREFIX}_{name}", kind, text, labels, scope)
    for name, kind, scope, text, labels in _OWN_ROWS
)

FAMILIES: tuple[Family, ...] = (
    *(family for family in _OWN if not family.scope),
    *(
        family
        for scope, (head, labels) in _scopes().items()
        for family in (
            *(own for own in _OWN if own.scope == scope),
            *_families(scope, head, labels),
        )
    ),
)
"""All metrics."""
