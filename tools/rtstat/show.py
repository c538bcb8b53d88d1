"""Show everything about one channel: settings, state, verdicts, histogram, readers, engine.

The command reads twice, --interval apart, for rates and for the lateness now. You can give the
channel with its namespace: plant/ctl.

examples:
  rtstat show ctl
  rtstat show plant/ctl --interval 5s   with the histogram of these five seconds
  rtstat show ctl --json                the same for programs
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence

from rtstat.attached import roles
from rtstat.fields import Field, Value
from rtstat.screen import charts
from rtstat.selection import EXIT_CODES, SEE, namespace_of
from rtstat.snapshot import Snapshot, Watch
from rtstat.table import FIELDS
from rtstat.trouble_text import headline, paragraphs, wrapped
from rtstat.troubles import Trouble, verdict
from rtstat.views import ChannelView
from rtworkers.similar import meant_channel
from shmring_cli import options
from shmring_cli.common import FAILED
from shmring_cli.output import can_draw, duration, quantity, text_width

_VALUE = 16
"""A longer value has a line of its own."""
_WIDEST_BARS = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_placed(parser, "name", "CHANNEL", "its name, or NAMESPACE/name")
    options.add_interval(
        parser, "between snapshots (default 1s)", read=options.seconds, default=1.0
    )
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    name, namespace = arguments.name, namespace_of(arguments)
    with Watch(namespace) as watch:
        if watch.read().channel(name) is not None:
            time.sleep(arguments.interval)
        shot = watch.read()
        channel = shot.channel(name)
        if channel is None:
            print(f"rtstat show: {_missing(shot, name)}", file=sys.stderr)
            return FAILED
        if arguments.json:
            from rtstat.export import channel_facts

            print(json.dumps(channel_facts(channel)))
        else:
            troubles = shot.troubles_of(channel)
            print("\n\n".join(filter(None, _sections(channel, troubles, text_width()))))
        return EXIT_CODES[verdict(shot.troubles_of(channel))]


def _missing(shot: Snapshot, name: str) -> str:
    for item in shot.unreadable:
        if item.kind == "channel" and item.name == name:
            return f"channel {name!r} in namespace {item.namespace!r}: {item.reason}"
    namespace = shot.namespace
    where = "on this host" if namespace is None else f"in namespace {namespace!r}"
    hint = meant_channel(name, namespace)
    return f"there is no channel {name!r} {where}: {SEE}{hint}"


# --- text -----------------------------------------------------------------------------------------


def _sections(channel: ChannelView, troubles: Sequence[Trouble], width: int) -> Iterator[str]:
    """Yield the parts of the text, in lines of at most `width` columns."""
    head = f"{channel.namespace}/{channel.name}: {headline(troubles)}"
    yield "\n".join(wrapped(head, "", width, "  "))
    if troubles:
        yield paragraphs(troubles, width)
    yield "\n".join(_processes(channel, width))
    for kind in ("instantaneous", "interval", "accumulated", "fixed"):
        chosen = [f for f in FIELDS["channel"] if f.kind == kind and not _of_histogram(f)]
        yield _lines(chosen, channel, width, keep_zeros=kind != "accumulated")
    for title, interval in (("lateness now", True), ("lateness since it was opened", False)):
        if channel.buckets("lateness", interval=interval):
            yield f"{title}\n{_histogram(channel, width, interval=interval)}"
    part = channel.part
    if part is not None:
        lines = _lines(FIELDS[channel.engine], part, width, keep_zeros=False)
        yield f"{channel.engine}{stale_mark(channel)}\n{lines}"


def stale_mark(channel: ChannelView) -> str:
    """Return what to write after the name of an engine's part whose figures are of the past."""
    if not channel.figures_stale:
        return ""
    age_ns = channel.heartbeat_age_ns
    age = "no worker ever updated them" if age_ns is None else f"{duration(age_ns)} old"
    return f" (stale figures: {age})"


def _processes(channel: ChannelView, width: int) -> Iterator[str]:
    for role, who in roles(channel):
        yield from wrapped(who, f"  {role:<10} ", width)
    for reader in channel.readers:
        yield (
            f"    reader {reader.slot}: lag {reader.waiting}, taken {reader.taken}, "
            f"lost {reader.lost}{', has never read' if reader.never_read else ''}"
        )


def _of_histogram(field: Field) -> bool:
    return field.name.endswith(
        ("_count", "_min_ns", "_max_ns", "_mean_ns", "_p50_ns", "_p90_ns", "_p99_ns", "_p999_ns")
    )


def _lines(
    fields: list[Field] | tuple[Field, ...], view: object, width: int, *, keep_zeros: bool
) -> str:
    """Return a line per field: its name, its value, and its meaning as far as there is room beside
    them, else below."""
    rows = []
    for field in fields:
        value = field.get(view)
        if value not in (None, "") and (keep_zeros or value != 0):
            rows.append((field.name, _shown(value, field.unit), field.help))
    names = max((len(name) for name, _, _ in rows), default=0)
    values = min(_VALUE, max((len(value) for _, value, _ in rows), default=0))
    found = []
    for name, value, meaning in rows:
        begin = f"  {name:<{names}} "
        if len(value) > values:
            found += wrapped(value, begin, width)
            begin, value = "", ""
        found += wrapped(meaning, f"{begin:<{names + 3}}{value:<{values}} ", width)
    return "\n".join(found)


def _shown(value: Value, unit: str) -> str:
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


def _histogram(channel: ChannelView, width: int, *, interval: bool) -> str:
    """Return the bars with the tolerance marked, and the percentiles."""
    bars = charts.histogram(
        channel.buckets("lateness", interval=interval),
        min(width, _WIDEST_BARS) - 2,
        channel.facts.tolerance_ns,
        blocks=can_draw(),
    )
    lines = [*bars.splitlines(), charts.summary(channel.times("lateness", interval=interval))]
    return "\n".join(f"  {line}".rstrip() for line in lines)
