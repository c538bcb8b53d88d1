"""`rtstat --serve-metrics [HOST:]PORT`: a page for Prometheus, see `shmring help metrics`.

Every request reads shared memory once, and nothing runs in between. Needs prometheus-client.
"""

from __future__ import annotations

import argparse
import importlib.util
import socket
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import version
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from rtstat.metric_table import BOUNDS_NS, FAMILIES, Family
from rtstat.metrics_page import content_type, render
from rtstat.selection import Selection, namespace_of
from rtstat.serve import TEXT, Environ, Page, Reply, landing, parse_address, serve
from rtstat.snapshot import Snapshot, Watch
from rtstat.trouble_text import headline, paragraphs
from rtstat.troubles import Trouble, Verdict, verdict
from rtstat.views import ChannelView, PoolView, WorkerView
from shmring.observe.engines import PARTS
from shmring.types import LAYOUT_VERSION
from shmring_cli.common import FINE
from shmring_cli.output import address_text

if TYPE_CHECKING:
    from prometheus_client.core import Metric

MISSING = 'prometheus-client, which is not installed: pip install "shmring[metrics]"'

_SECOND = 1e-9
_BOUNDS = (*(repr(float(f"{bound}e-9")) for bound in BOUNDS_NS), "+Inf")
_LINEAR = 64
_VERDICTS: tuple[Verdict, ...] = ("ok", "troubled", "broken")
# Two probes may ask within a millisecond.
SHORTEST_NS = 100_000_000

_EVERYTHING = argparse.Namespace(channel=[], pool=[], unhealthy=False, sort=None)

Labels = dict[str, str]
Rows = list[tuple[Any, Labels, Any]]
"""Views of one scope, the labels of each, and the view that has its histograms."""


def run(arguments: argparse.Namespace) -> int:
    """Serve until it is told to end."""
    if not is_possible():
        raise ValueError(f"the page needs {MISSING}")
    address = parse_address(arguments.serve_metrics)
    with Watch(namespace_of(arguments)) as watch:
        found = pages(Collector(watch, Selection(arguments)))
        serve(address, {"/": landing(found), **found}, "metrics", "/metrics", arguments.told)
    return FINE


def is_possible() -> bool:
    """Return whether prometheus-client is installed."""
    return importlib.util.find_spec("prometheus_client") is not None


def pages(collector: Collector) -> dict[str, Page]:
    """Return the pages for Prometheus, and for load balancers and probes."""
    return {
        "/metrics": Page("for Prometheus and OpenMetrics", lambda e: _page(collector, e)),
        "/healthz": Page("200, or 503 if something is broken", lambda e: _health(collector)),
    }


def _page(collector: Collector, environ: Environ) -> Reply:
    if not is_possible():
        return Reply(TEXT, f"the page needs {MISSING}\n".encode(), "501 Not Implemented")
    kind = content_type(environ.get("HTTP_ACCEPT", ""))
    return Reply(kind, render(collector.collect(), kind))


def _health(collector: Collector) -> Reply:
    found, text = collector.check()
    status = "503 Service Unavailable" if found == "broken" else "200 OK"
    return Reply(TEXT, text.encode(), status)


class Collector:
    """Makes the families of `rtstat.metric_table` from a new snapshot at each request."""

    def __init__(self, watch: Watch, selection: Selection | None = None) -> None:
        """watch: used by this collector alone. selection: None for everything."""
        self._watch = watch
        self._selection = selection or Selection(_EVERYTHING)
        self._lock = threading.Lock()
        self._shot: Snapshot | None = None

    def _look(self) -> Snapshot:
        """Return a new snapshot, or the last one if it is so new that an interval since then would
        say nothing: one late packet of one would be a share of 100 %."""
        last = self._shot
        if last is None or time.monotonic_ns() - last.mono_ns >= SHORTEST_NS:
            self._shot = last = self._watch.read()
        return last

    def collect(self) -> list[Metric]:
        """Called by a registry of prometheus_client, from any thread."""
        with self._lock:
            start = time.perf_counter()
            shot = self._look()
            read_s = time.perf_counter() - start
            return _metrics(shot, self._selection, read_s)

    def check(self) -> tuple[Verdict, str]:
        """Return the verdict of a new snapshot, and the list of troubles as text."""
        with self._lock:
            shot = self._look()
            found = self._selection.troubles(shot)
        head = headline(found, empty=shot.is_empty)
        return verdict(found), f"{head}\n{paragraphs(found)}".strip() + "\n"


def _metrics(shot: Snapshot, selection: Selection, read_s: float) -> list[Metric]:
    channels = selection.channels(shot)
    scopes: dict[str, Rows] = {
        "pool": [(pool, _pool_labels(pool), pool) for pool in shot.pools],
        "worker": [(view, _worker_labels(view), view) for view in selection.workers(shot)],
        "channel": [(view, _channel_labels(view), view) for view in channels],
    }
    scopes |= {engine: [] for engine in PARTS}
    for channel, labels, _ in scopes["channel"]:
        part = channel.part
        if part is not None:
            scopes[channel.engine].append((part, labels, channel))
    own = _own_samples(shot, scopes, read_s) | _judged(selection.troubles(shot))
    with_bounds: dict[int, list[Labels]] = {}
    metrics = []
    for family in FAMILIES:
        rows = scopes.get(family.scope, [])
        if family.name in own:
            samples = list(own[family.name])
        elif family.kind == "histogram":
            samples = list(_histogram(family, rows, with_bounds))
        elif family.kind == "summary":
            samples = list(_summary(family, rows))
        else:
            samples = _numbers(family, rows)
        if samples:
            metrics.append(_metric(family, samples))
    return metrics


def _metric(family: Family, samples: list[Any]) -> Metric:
    from prometheus_client.core import Metric

    name = family.name.removesuffix("_total").removesuffix("_info")
    metric = Metric(name, family.help, family.kind)
    metric.samples = samples
    return metric


# --- labels ---------------------------------------------------------------------------------------


def _pool_labels(pool: PoolView) -> Labels:
    return {"namespace": pool.namespace, "pool": pool.name}


def _worker_labels(worker: WorkerView) -> Labels:
    return {"namespace": worker.namespace, "pool": worker.pool, "worker": str(worker.slot)}


def _channel_labels(channel: ChannelView) -> Labels:
    return {
        "namespace": channel.namespace,
        "pool": channel.pool,
        "channel": channel.name,
        "engine": channel.engine,
    }


def _own_samples(
    shot: Snapshot, scopes: dict[str, Rows], read_s: float
) -> dict[str, Iterable[Any]]:
    """Set the values that are not numbers of the table."""
    exporter = {
        "version": version("shmring"),
        "layout": str(LAYOUT_VERSION),
        "host": socket.gethostname(),
    }
    unreadable = sum(item.permitted for item in shot.unreadable)
    return {
        "shmring_exporter_info": [_sample("shmring_exporter_info", exporter, 1.0)],
        "shmring_exporter_read_seconds": [_sample("shmring_exporter_read_seconds", {}, read_s)],
        "shmring_exporter_unreadable_files": [
            _sample("shmring_exporter_unreadable_files", {}, float(unreadable))
        ],
        "shmring_worker_alive": (
            _sample("shmring_worker_alive", labels, float(worker.alive))
            for worker, labels, _ in scopes["worker"]
        ),
        "shmring_channel_served": (
            _sample("shmring_channel_served", labels, float(channel.served))
            for channel, labels, _ in scopes["channel"]
        ),
        "shmring_worker_info": (
            _sample("shmring_worker_info", labels | _worker_facts(worker), 1.0)
            for worker, labels, _ in scopes["worker"]
        ),
        "shmring_channel_info": (
            _sample("shmring_channel_info", labels | _channel_facts(channel), 1.0)
            for channel, labels, _ in scopes["channel"]
        ),
    }


def _judged(found: Sequence[Trouble]) -> dict[str, Iterable[Any]]:
    whole = _sample("shmring_verdict", {}, float(_VERDICTS.index(verdict(found))))
    troubles = (_sample("shmring_trouble", _trouble_labels(t), float(t.figure or 1)) for t in found)
    return {"shmring_verdict": [whole], "shmring_trouble": troubles}


def _trouble_labels(trouble: Trouble) -> Labels:
    view, scope = trouble.view, trouble.scope
    return {
        "name": trouble.name,
        "severity": trouble.severity,
        "namespace": view.namespace,
        "pool": view.name if scope == "pool" else "" if scope == "file" else view.pool,
        "channel": view.name if scope in ("channel", "file") else "",
        "worker": str(view.slot) if scope == "worker" else "",
    }


def _worker_facts(worker: WorkerView) -> Labels:
    return {
        "pid": str(worker.pid),
        "cpu": _core(worker.cpu),
        "policy": worker.policy,
        "profile": worker.profile,
    }


def _channel_facts(channel: ChannelView) -> Labels:
    return {
        "worker": str(channel["worker_slot"]) if channel["worker_slot"] >= 0 else "",
        "cpu": _core(channel.cpu),
        "direction": channel.direction,
        "state": channel.state,
        "local": address_text(channel.local),
        "remote": address_text(channel.remote),
        "interface": channel.facts.interface,
        "qdisc": channel.facts.qdisc,
    }


def _core(cpu: int | None) -> str:
    return "" if cpu is None else str(cpu)


# --- samples --------------------------------------------------------------------------------------


def _sample(name: str, labels: Labels, value: float) -> Any:
    from prometheus_client.samples import Sample

    return Sample(name, labels, value)


def _numbers(family: Family, rows: Rows) -> list[Any]:
    from prometheus_client.samples import Sample

    if family.field is None:
        return []
    get, factor, name = family.field.get, family.factor, family.name
    shown = _shown(family)
    samples = []
    for view, labels, _ in rows:
        if shown is None or shown(view):
            value = get(view)
            if isinstance(value, (int, float)):
                samples.append(Sample(name, labels, value * factor))
    return samples


def _shown(family: Family) -> Callable[[Any], bool] | None:
    """Return the views that have the number, or None if all have it.

    An empty histogram is left out. Only lateness is always included, so that it can be monitored
    from the first packet on.
    """
    stem = family.histogram
    if stem and stem != "lateness":
        return lambda view: view[f"{stem}_count"] > 0
    if family.scope != "channel" or family.field is None:
        return None
    name = family.field.name
    if name.startswith("impair_"):
        offered = f"impair_{name.split('_')[1]}_offered"
        return lambda channel: channel[offered] > 0
    if name.startswith(("tx_", "late", "wire_offset", "scheduled", "wake_")):
        return lambda channel: channel.direction != "rx"
    if name.startswith("rx_"):
        return lambda channel: channel.direction != "tx"
    return None


def _histogram(family: Family, rows: Rows, with_bounds: dict[int, list[Labels]]) -> Iterator[Any]:
    """Add a histogram. with_bounds: the bucket labels for labels with this id. Histograms share
    them."""
    from prometheus_client.samples import Sample

    name, stem = family.name, family.histogram
    shown = _shown(family)
    for view, labels, owner in rows:
        if shown is not None and not shown(view):
            continue
        below = _cumulated(owner.buckets() if family.scope == "worker" else owner.buckets(stem))
        bounded = with_bounds.get(id(labels))
        if bounded is None:
            with_bounds[id(labels)] = bounded = [{**labels, "le": bound} for bound in _BOUNDS]
        for own, count in zip(bounded, below, strict=True):
            yield Sample(f"{name}_bucket", own, float(count))
        yield Sample(f"{name}_count", labels, float(below[-1]))
        yield Sample(f"{name}_sum", labels, view[f"{stem}_sum_ns"] * _SECOND)


def _summary(family: Family, rows: Rows) -> Iterator[Any]:
    name, stem = family.name, family.histogram
    shown = _shown(family)
    for view, labels, _ in rows:
        if shown is None or shown(view):
            yield _sample(f"{name}_count", labels, float(view[f"{stem}_count"]))
            yield _sample(f"{name}_sum", labels, view[f"{stem}_sum_ns"] * _SECOND)


def _cumulated(buckets: Iterable[tuple[int, int]]) -> list[int]:
    """Return the number of values up to each bound, and the total. A bucket counts on the side of a
    bound where its middle is. The error is at most 1.6 %."""
    counts = [0] * (len(BOUNDS_NS) + 1)
    for upper, count in buckets:
        width = 1 if upper < _LINEAR else 1 << (upper.bit_length() - 6)
        counts[bisect_left(BOUNDS_NS, upper - width // 2)] += count
    return list(accumulate(counts))
