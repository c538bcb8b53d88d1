"""Explain why packets were late: the latest ones, what they have in common, and the cause.

The timeline of each packet is relative to its deadline: when it was queued, when the worker woke,
when the send call began and ended, and when the packet was on the wire, if it has a timestamp. A
channel keeps its latest 128 late packets, with or without send reports.

examples:
  rtstat why ctl
  rtstat why plant/ctl -n 50     more packets
  rtstat why ctl --json          everything, for programs

exit codes: 0 answered, 1 wrong usage, 2 the channel does not exist or is not served
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from rtstat import causes, timeline
from rtstat.selection import add_namespace
from rtstat.targets import Clocks, find_channel
from shmring import observe
from shmring_cli.common import FAILED, FINE
from shmring_cli.output import duration

_SHOWN = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="of the channel, or namespace/name")
    parser.add_argument(
        "-n", "--count", type=int, default=_SHOWN, help=f"packets shown (default {_SHOWN})"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    add_namespace(parser)


def run(arguments: argparse.Namespace) -> int:
    if arguments.count < 1:
        raise ValueError(f"-n {arguments.count}: use 1 or more")
    namespace, name = find_channel(arguments.name, arguments)
    channel, cases = examine(namespace, name)
    clocks = Clocks.now()
    if arguments.json:
        print(json.dumps(facts(channel, cases, clocks, arguments.count)))
    else:
        print(text(channel, cases, clocks, arguments.count))
    return FINE if channel.alive else FAILED


def examine(namespace: str, name: str) -> tuple[observe.LateChannel, list[causes.Case]]:
    """Return a channel's recorded late packets and the causes, latest first.

    Raises OSError if the channel does not exist or cannot be read.
    """
    channel = observe.late_channel(name, namespace)
    records = observe.workers(channel.pool, namespace)
    cases = causes.spells(
        name,
        channel.packets,
        [event for record in records for event in record.events],
        next((r.facts for r in records if r.slot == channel.worker_slot), None),
    )
    return channel, cases


def answer(namespace: str, name: str, count: int = _SHOWN) -> str:
    """Return in words why packets of a channel were late. Raises the exceptions of `examine`."""
    return text(*examine(namespace, name), Clocks.now(), count)


# --- text -----------------------------------------------------------------------------------------


def text(
    channel: observe.LateChannel, cases: Sequence[causes.Case], clocks: Clocks, count: int
) -> str:
    """Return the answer for people."""
    parts = [_head(channel)]
    if not cases:
        parts.append(_none(channel))
        return "\n\n".join(parts)
    latest, *earlier = cases
    parts.append(_packets(channel, clocks, count))
    parts.append(_spell(latest, clocks))
    if earlier:
        parts.append(_earlier(earlier, clocks))
    return "\n\n".join(parts)


def _head(channel: observe.LateChannel) -> str:
    late = sum(channel.counters[f"tx_{verdict}"] for verdict in _LATE)
    alive = "" if channel.alive else f"; not served since {_since(channel)}"
    return (
        f"{channel.namespace}/{channel.name}, pool {channel.pool}: {late} of "
        f"{channel.counters['tx_sent']} packets late, {channel.counters['tx_dropped_late']} "
        f"dropped, {channel.counters['tx_failed']} failed; tolerance "
        f"{duration(channel.tolerance_ns)}{alive}"
    )


_LATE = ("enqueued_late", "woke_late", "send_slow", "queued_behind", "producer_halted")


def _since(channel: observe.LateChannel) -> str:
    return duration(channel.heartbeat_age_ns) if channel.heartbeat_mono_ns else "ever"


def _none(channel: observe.LateChannel) -> str:
    if channel.kept == 0:
        return (
            f"a channel of engine {channel.engine} that has no deadlines records no late packets"
        )
    return "no packet was late, dropped or failed"


def _packets(channel: observe.LateChannel, clocks: Clocks, count: int) -> str:
    shown = sorted(channel.packets, key=lambda packet: packet.noted_mono_ns)[-count:]
    title = f"the latest {len(shown)} of {len(channel.packets)} that are kept"
    if channel.overwritten:
        title += f" ({channel.overwritten} earlier ones were overwritten)"
    note = "times are relative to the packet's deadline; - did not happen"
    return f"{title}\n{timeline.packet_table(shown, clocks)}\n  {note}"


def _spell(case: causes.Case, clocks: Clocks) -> str:
    found = causes.explain(case)
    lines = ["what the latest have in common", *(f"  {said}" for said in causes.common(case))]
    if case.events:
        lines += ["", "what the worker recorded at that time"]
        lines.append(timeline.event_table(case.events, clocks))
    else:
        lines += ["", "the worker recorded nothing else at that time"]
    lines += ["", f"so: {found.conclusion}", *(f"  do: {advice}" for advice in found.advice)]
    return "\n".join(lines)


def _earlier(cases: Sequence[causes.Case], clocks: Clocks) -> str:
    lines = ["before that"]
    for case in cases:
        lines.append(
            f"  {clocks.wall(case.first_mono_ns)}  {timeline.packets_text(len(case.packets))}, "
            f"{duration(case.worst_ns)} at most: {causes.explain(case).conclusion}"
        )
    return "\n".join(lines)


# --- JSON -----------------------------------------------------------------------------------------


def facts(
    channel: observe.LateChannel, cases: Sequence[causes.Case], clocks: Clocks, count: int
) -> dict[str, Any]:
    """Return the answer for programs: packets, and spells with the latest first."""
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
