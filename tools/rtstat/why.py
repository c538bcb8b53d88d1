"""Explain what is wrong with a channel now, and why its packets were late.

First come the troubles of the channel, its worker and its pool now: the fix, since when, and the
figures behind them. Then come the latest late packets, what they have in common, and the cause.
Losses in receiving that are over follow. The command reads twice, --interval apart, for rates.

The timeline of each packet is relative to its deadline: when it was queued, when the worker woke,
when the send call began and ended, and when the packet was on the wire, if it has a timestamp. A
channel keeps its latest 128 late packets, with or without send reports.

examples:
  rtstat why ctl
  rtstat why plant/ctl -n 50     more packets
  rtstat why ctl --json          everything, for programs

exit codes: 0 for an answer, 1 wrong usage, 2 there is no such channel, 5 it is not served
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from rtstat import causes, evidence, timeline
from rtstat.clocks import Clocks
from rtstat.show import stale_mark
from rtstat.snapshot import Snapshot, Watch
from rtstat.targets import find_channel
from rtstat.trouble_text import headline, paragraphs, wrapped
from rtstat.troubles import verdict
from rtstat.views import ChannelView
from rtworkers.verdicts import LATE_SENT
from shmring import observe
from shmring_cli import options
from shmring_cli.common import BROKEN, FINE
from shmring_cli.output import duration, text_width

_SHOWN = 10
_EARLIER = 5


class Now(NamedTuple):
    """What is wrong with a channel now, and what it lost in receiving before."""

    view: ChannelView
    found: tuple[evidence.Evidence, ...]
    """The worst first."""
    earlier: tuple[observe.Event, ...]
    """Losses in receiving that are over, oldest first."""


class Answer(NamedTuple):
    """Everything that the command says."""

    channel: observe.LateChannel
    cases: list[causes.Case]
    """Spells of late packets, latest first."""
    now: Now | None
    """None: the snapshot does not have the channel."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_placed(parser, "name", "CHANNEL", "its name, or NAMESPACE/name")
    options.add_count(parser, f"packets shown (default {_SHOWN})", default=_SHOWN)
    options.add_interval(
        parser, "between snapshots (default 1s)", read=options.seconds, default=1.0
    )
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    namespace, name = find_channel(arguments.name, arguments)
    observe.late_channel(name, namespace)  # raises if there is none, before the command waits
    with Watch(namespace) as watch:
        watch.read()
        time.sleep(arguments.interval)
        shot = watch.read()
        found = examine(shot, namespace, name)
    clocks = _clocks(shot)
    if arguments.json:
        print(json.dumps(facts(found, clocks, arguments.count)))
    else:
        print(text(found, clocks, arguments.count, text_width()))
    return FINE if found.channel.alive else BROKEN


def examine(shot: Snapshot, namespace: str, name: str) -> Answer:
    """Return a channel's troubles in a snapshot, its recorded late packets and the causes.

    Raises OSError if the channel does not exist or cannot be read.
    """
    channel = observe.late_channel(name, namespace)
    records = observe.workers(channel.pool, namespace)
    cases = causes.of_channel(channel, records)
    view = shot.channel(name, namespace)
    return Answer(channel, cases, None if view is None else _now(shot, view, records))


def _now(shot: Snapshot, view: ChannelView, records: Sequence[observe.WorkerRecord]) -> Now:
    events = [event for record in records for event in record.events]
    found = tuple(evidence.of(t, view, events, _clocks(shot)) for t in shot.troubles_of(view))
    return Now(view, found, evidence.earlier(view, events, found))


def _clocks(shot: Snapshot) -> Clocks:
    return Clocks(shot.mono_ns, shot.real_ns)


def answer(shot: Snapshot, namespace: str, name: str, width: int) -> str:
    """Return in words what is wrong with a channel, and why packets of it were late. Raises the
    exceptions of `examine`."""
    return text(examine(shot, namespace, name), _clocks(shot), _SHOWN, width)


# --- text -----------------------------------------------------------------------------------------


def text(found: Answer, clocks: Clocks, count: int, width: int) -> str:
    """Return the answer for people, in lines of at most `width` columns."""
    channel, cases, now = found
    parts = ["\n".join(wrapped(_head(channel), "", width, "  "))]
    if now is not None:
        parts += _now_parts(now, clocks, width)
    if cases:
        latest, *earlier = cases
        parts += [_packets(channel, clocks, count, width), _spell(latest, clocks, width)]
        if earlier:
            parts.append(_earlier(earlier, clocks, width))
    elif now is None or now.view.direction != "rx":
        parts.append("\n".join(wrapped(_none(channel), "", width)))
    if now is not None and now.earlier:
        parts.append(_received(now.earlier, clocks, width))
    return "\n\n".join(parts)


def _now_parts(now: Now, clocks: Clocks, width: int) -> list[str]:
    stale = stale_mark(now.view)
    mark = f"\n   {now.view.engine}{stale}" if stale else ""
    parts = [f"now {headline([one.trouble for one in now.found])}{mark}"]
    return parts + [_trouble(one, clocks, width) for one in now.found]


def _trouble(one: evidence.Evidence, clocks: Clocks, width: int) -> str:
    since = one.since_mono_ns
    seen = one.seen if since is None else (f"since {_moment(since, clocks)}", *one.seen)
    lines = [line for said in seen for line in wrapped(said, "   * ", width)]
    return "\n".join((paragraphs((one.trouble,), width), *lines))


def _moment(mono_ns: int, clocks: Clocks) -> str:
    return f"{clocks.wall(mono_ns)}, {clocks.ago(mono_ns)}"


def _received(events: Sequence[observe.Event], clocks: Clocks, width: int) -> str:
    left = len(events) - _EARLIER
    more = f"\n  {left} earlier ones" if left > 0 else ""
    table = timeline.event_table(events[-_EARLIER:], clocks, width)
    return f"losses in receiving that are over\n{table}{more}"


def _head(channel: observe.LateChannel) -> str:
    late = sum(channel.counters[name] for name in LATE_SENT)
    alive = "" if channel.alive else f"; not served since {_since(channel)}"
    return (
        f"{channel.namespace}/{channel.name}, pool {channel.pool}: {late} of "
        f"{channel.counters['tx_sent']} packets late, {channel.counters['tx_dropped_late']} "
        f"dropped, {channel.counters['tx_failed']} failed; tolerance "
        f"{duration(channel.tolerance_ns)}{alive}"
    )


def _since(channel: observe.LateChannel) -> str:
    return duration(channel.heartbeat_age_ns) if channel.heartbeat_mono_ns else "ever"


def _none(channel: observe.LateChannel) -> str:
    if channel.kept == 0:
        return f"a channel of engine {channel.engine} that has no deadlines records no late packets"
    until = " until the last heartbeat of its worker" if channel.stands_still else ""
    return f"no packet was late, dropped or failed{until}"


def _packets(channel: observe.LateChannel, clocks: Clocks, count: int, width: int) -> str:
    shown = sorted(channel.packets, key=lambda packet: packet.noted_mono_ns)[-count:]
    title = f"the latest {len(shown)} of {len(channel.packets)} that are kept"
    if channel.overwritten:
        title += f" ({channel.overwritten} earlier ones were overwritten)"
    note = "times are relative to the packet's deadline; - did not happen"
    return f"{title}\n{timeline.packet_table(shown, clocks, width)}\n  {note}"


def _spell(case: causes.Case, clocks: Clocks, width: int) -> str:
    found = causes.explain(case)
    lines = ["what the latest have in common"]
    for said in causes.common(case):
        lines += wrapped(said, "  ", width, "    ")
    if case.events:
        lines += ["", "what the worker recorded at that time"]
        lines.append(timeline.event_table(case.events, clocks, width))
    else:
        lines += ["", "the worker recorded nothing else at that time"]
    lines += ["", *wrapped(found.conclusion, "so: ", width)]
    for advice in found.advice:
        lines += wrapped(advice, "  do: ", width)
    return "\n".join(lines)


def _earlier(cases: Sequence[causes.Case], clocks: Clocks, width: int) -> str:
    lines = ["before that"]
    for case in cases:
        said = (
            f"{timeline.packets_text(len(case.packets))}, "
            f"{duration(case.worst_ns)} at most: {causes.explain(case).conclusion}"
        )
        lines += wrapped(said, f"  {clocks.wall(case.first_mono_ns)}  ", width)
    return "\n".join(lines)


# --- JSON -----------------------------------------------------------------------------------------


def facts(found: Answer, clocks: Clocks, count: int) -> dict[str, Any]:
    """Return the answer for programs: troubles now, packets, and spells with the latest first."""
    channel, cases, now = found
    shown = sorted(channel.packets, key=lambda packet: packet.noted_mono_ns)[-count:]
    return {
        "namespace": channel.namespace,
        "name": channel.name,
        "pool": channel.pool,
        "alive": channel.alive,
        "state": channel.state.value,
        "heartbeat_age_ns": channel.heartbeat_age_ns,
        "tolerance_ns": channel.tolerance_ns,
        "counters": channel.counters,
        "kept": len(channel.packets),
        "overwritten": channel.overwritten,
        "packets": [timeline.packet_facts(packet, clocks) for packet in shown],
        "spells": [_spell_facts(case, clocks) for case in cases],
    } | (_now_facts(now, clocks) if now is not None else {})


def _now_facts(now: Now, clocks: Clocks) -> dict[str, Any]:
    return {
        "verdict": verdict(one.trouble for one in now.found),
        "figures_stale": now.view.figures_stale,
        "now": [evidence.facts(one, clocks) for one in now.found],
        "earlier": [timeline.event_facts(event, clocks) for event in now.earlier],
    }


def _spell_facts(case: causes.Case, clocks: Clocks) -> dict[str, Any]:
    found = causes.explain(case)
    return causes.common_facts(case) | {
        "first_real_ns": clocks.real(case.first_mono_ns),
        "events": [timeline.event_facts(event, clocks) for event in case.events],
        "cause": found.cause,
        "conclusion": found.conclusion,
        "advice": list(found.advice),
    }
