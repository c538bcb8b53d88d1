"""Show everything about one channel: settings, state, verdicts, histogram, readers, engine.

The command reads twice, --seconds apart, for rates and for the lateness now. You can give the
channel with its namespace: plant/ctl.

examples:
  rtstat show ctl
  rtstat show plant/ctl --seconds 5     with the histogram of these five seconds
  rtstat show ctl --json                the same for programs
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence

from rtstat.fields import Field, Value
from rtstat.selection import EXIT_CODES, add_namespace, namespace_of
from rtstat.snapshot import Snapshot, Watch
from rtstat.table import FIELDS
from rtstat.trouble_text import headline, paragraphs
from rtstat.troubles import Trouble, verdict
from rtstat.views import ChannelView
from rtworkers.owner import process_text
from rtworkers.similar import meant_channel
from shmring_cli.common import FAILED
from shmring_cli.output import duration

_WIDTH = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="CHANNEL", help="its name, or namespace/name")
    parser.add_argument("--seconds", type=float, default=1.0, help="between snapshots (default 1)")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    add_namespace(parser)


def run(arguments: argparse.Namespace) -> int:
    space, slash, name = arguments.name.rpartition("/")
    namespace = space if slash else namespace_of(arguments)
    with Watch(namespace) as watch:
        if watch.read().channel(name) is not None:
            time.sleep(max(0.0, arguments.seconds))
        shot = watch.read()
        channel = shot.channel(name)
        if channel is None:
            print(f"rtstat show: {_missing(shot, name)}", file=sys.stderr)
            return FAILED
        if arguments.json:
            from rtstat.export import channel_facts

            print(json.dumps(channel_facts(channel)))
        else:
            print("\n\n".join(_sections(channel, shot.troubles_of(channel))))
        return EXIT_CODES[verdict(shot.troubles_of(channel))]


def _missing(shot: Snapshot, name: str) -> str:
    for item in shot.unreadable:
        if item.kind == "channel" and item.name == name:
            return f"channel {name!r} in namespace {item.namespace!r}: {item.reason}"
    namespace = shot.namespace
    where = "on this host" if namespace is None else f"in namespace {namespace!r}"
    hint = meant_channel(name, namespace)
    return f"there is no channel {name!r} {where}: see rtstat list --all{hint}"


# --- text -----------------------------------------------------------------------------------------


def _sections(channel: ChannelView, troubles: Sequence[Trouble]) -> Iterator[str]:
    fields = FIELDS["channel"]
    yield f"{channel.namespace}/{channel.name}: {headline(troubles)}"
    if troubles:
        yield paragraphs(troubles)
    for kind in ("instantaneous", "interval", "accumulated", "fixed"):
        chosen = [f for f in fields if f.kind == kind and not _of_histogram(f)]
        yield _lines(chosen, channel, keep_zeros=kind != "accumulated")
    for title, interval in (("lateness now", True), ("lateness since it was opened", False)):
        buckets = channel.buckets("lateness", interval=interval)
        if buckets:
            yield title + "\n" + _histogram(buckets)
    readers = [
        f"reader {r.slot}: {process_text(r.pid)}, lag {r.waiting}, taken {r.taken}, lost {r.lost}"
        for r in channel.readers
    ]
    if readers:
        yield "\n".join(readers)
    part = channel.part
    if part is not None:
        lines = _lines(FIELDS[channel.engine], part, keep_zeros=False)
        yield f"{channel.engine}{stale_mark(channel)}\n{lines}"


def stale_mark(channel: ChannelView) -> str:
    """Return what to write after the name of an engine's part whose figures are of the past."""
    if not channel.figures_stale:
        return ""
    age_ns = channel.heartbeat_age_ns
    age = "no worker ever updated them" if age_ns is None else f"{duration(age_ns)} old"
    return f" (stale figures: {age})"


def _of_histogram(field: Field) -> bool:
    return field.name.endswith(
        ("_count", "_min_ns", "_max_ns", "_mean_ns", "_p50_ns", "_p90_ns", "_p99_ns", "_p999_ns")
    )


def _lines(fields: list[Field] | tuple[Field, ...], view: object, keep_zeros: bool) -> str:
    rows = []
    for field in fields:
        value = field.get(view)
        if value in (None, "") or (not keep_zeros and value == 0):
            continue
        rows.append(f"  {field.name:<24} {_shown(value, field.unit):<16} {field.help}".rstrip())
    return "\n".join(rows)


def _shown(value: Value, unit: str) -> str:
    from shmring_cli.output import quantity

    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        if unit == "share":
            return quantity(100 * value, "percent")
        if unit in ("ns", "bps", "pps", "bytes"):
            return quantity(value, unit)
        if isinstance(value, float):
            return f"{value:.3g} {unit}".rstrip()
    return str(value)


def _histogram(buckets: list[tuple[int, int]]) -> str:
    """Return the entries by half decades: bars, and the share up to each bound."""
    from shmring_cli.output import bar, can_draw

    counts: dict[int, int] = {}
    for upper_ns, count in buckets:
        step = _step(upper_ns)
        counts[step] = counts.get(step, 0) + count
    total, most, below, lines = sum(counts.values()), max(counts.values()), 0, []
    for step in range(min(counts), max(counts) + 1):
        count = counts.get(step, 0)
        below += count
        drawn = bar(count / most, _WIDTH, blocks=can_draw())
        share = f"{100 * below / total:.4g} %"
        lines.append(f"  up to {duration(_edge_ns(step)):<8} {count:>9}  {share:>9}  {drawn}")
    return "\n".join(line.rstrip() for line in lines)


_EDGES = (1, 2, 5)


def _edge_ns(step: int) -> int:
    return _EDGES[step % 3] * int(10 ** (step // 3))


def _step(ns: int) -> int:
    """Return the index of the smallest edge (1, 2, 5, 10, 20 ... ns) that is not below
    the value."""
    step = 0
    while _edge_ns(step) < ns:
        step += 1
    return step
