"""Show what a channel and its workers left: state, heartbeat, last events, late packets, errors.

The command only reads the segments, so the pool may be dead: the segments of killed processes stay
until shmring gc removes them. It also works while everything runs.

examples:
  rtstat post-mortem ctl
  rtstat post-mortem plant/ctl -n 100     more events of each worker
  rtstat post-mortem ctl --json           everything, for programs

exit codes: 0 alive, 1 wrong usage, 2 there is no such channel, 5 it is dead
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from rtstat import causes, timeline
from rtstat.clocks import Clocks
from rtstat.targets import find_channel
from rtstat.trouble_text import folded
from shmring import observe
from shmring_cli import options
from shmring_cli.common import BROKEN, FINE
from shmring_cli.output import duration, text_width

_EVENTS = 20
_PACKETS = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_placed(parser, "name", "CHANNEL", "its name, or NAMESPACE/name; dead or alive")
    options.add_count(parser, f"events shown of each worker (default {_EVENTS})", default=_EVENTS)
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    namespace, name = find_channel(arguments.name, arguments)
    channel = observe.late_channel(name, namespace)
    workers = observe.workers(channel.pool, namespace)
    clocks = Clocks.now()
    if arguments.json:
        print(json.dumps(facts(channel, workers, clocks)))
    else:
        print(text(channel, workers, clocks, arguments.count))
    return FINE if channel.alive else BROKEN


# --- text -----------------------------------------------------------------------------------------


def text(
    channel: observe.LateChannel,
    workers: Sequence[observe.WorkerRecord],
    clocks: Clocks,
    count: int,
) -> str:
    """Return the report for people."""
    parts = [_channel(channel, clocks)]
    parts += [_worker(worker, clocks, count) for worker in workers]
    if not workers:
        parts.append(f"no page of a worker of pool {channel.pool} is left")
    parts.append(_late(channel, workers, clocks))
    errors = sorted((e for w in workers for e in w.errors), key=lambda e: -e.last_mono_ns)
    others = sum(worker.other_errors for worker in workers)
    parts.append(_errors(errors, others, clocks))
    return folded("\n\n".join(parts), text_width())


def _channel(channel: observe.LateChannel, clocks: Clocks) -> str:
    life = "alive" if channel.alive else "dead"
    lines = [
        f"{channel.namespace}/{channel.name}, engine {channel.engine}, pool {channel.pool}: {life}",
        f"  state           {channel.state.value}, served by {channel.epoch} workers so far",
        f"  opened          {_when(channel.opened_mono_ns, clocks)}",
        f"  last heartbeat  {_when(channel.heartbeat_mono_ns, clocks)}",
        f"  last worker     process {channel.worker_pid}, slot {channel.worker_slot}",
    ]
    counted = [f"{name} {value}" for name, value in channel.counters.items() if value]
    if counted:
        lines.append(f"  counted         {', '.join(counted)}")
    return "\n".join(lines)


def _when(mono_ns: int, clocks: Clocks) -> str:
    return f"{clocks.wall(mono_ns)}, {clocks.ago(mono_ns)}" if mono_ns else "never"


def _worker(worker: observe.WorkerRecord, clocks: Clocks, count: int) -> str:
    shown = worker.events[-count:]
    lines = [_worker_head(worker, clocks)]
    if shown:
        lines.append(timeline.event_table(shown, clocks, text_width()))
    left = len(worker.events) - len(shown) + worker.events_overwritten
    if left:
        lines.append(f"  {left} earlier events")
    if worker.events_suppressed:
        lines.append(f"  {worker.events_suppressed} events suppressed: too many at once")
    return "\n".join(lines)


def _worker_head(worker: observe.WorkerRecord, clocks: Clocks) -> str:
    head = f"worker {worker.slot} of pool {worker.pool}"
    now = worker.facts
    if now is None:
        return f"{head}: was starting"
    life = "alive" if observe.worker_lives(now.pid, now.heartbeat_ns) else "dead"
    core = "any core" if now.cpu is None else f"core {now.cpu}"
    policy = f"SCHED_FIFO {now.priority}" if now.policy == "fifo" else "no real-time class"
    return (
        f"{head}: {life}, process {now.pid}, {core}, {policy}, "
        f"memory {'' if now.memory_locked else 'not '}locked\n"
        f"  last heartbeat {_when(now.heartbeat_ns, clocks)}; {now.channels} channels, "
        f"{now.restarts} restarts, longest pass {duration(now.longest_loop_ns)}, "
        f"{now.missed_wakes} missed wake-ups, {now.forced_rests} forced rests"
    )


def _late(
    channel: observe.LateChannel, workers: Sequence[observe.WorkerRecord], clocks: Clocks
) -> str:
    if not channel.packets:
        return "no late packets"
    shown = sorted(channel.packets, key=lambda packet: packet.noted_mono_ns)[-_PACKETS:]
    table = timeline.packet_table(shown, clocks, text_width())
    found = causes.explain(causes.of_channel(channel, workers)[0])
    title = "the latest late packets, times relative to when they were due"
    return f"{title}\n{table}\n  so: {found.conclusion}"


def _errors(errors: Sequence[observe.DistinctError], others: int, clocks: Clocks) -> str:
    if not errors:
        return "no errors"
    more = f"\n  {others} more for which the logs had no room" if others else ""
    return f"distinct errors\n{timeline.error_table(errors, clocks, text_width())}{more}"


# --- JSON -----------------------------------------------------------------------------------------


def facts(
    channel: observe.LateChannel, workers: Sequence[observe.WorkerRecord], clocks: Clocks
) -> dict[str, Any]:
    """Return the report for programs."""
    return {
        "namespace": channel.namespace,
        "name": channel.name,
        "pool": channel.pool,
        "engine": channel.engine,
        "state": channel.state.value,
        "alive": channel.alive,
        "epoch": channel.epoch,
        "opened_real_ns": clocks.real(channel.opened_mono_ns),
        "heartbeat_real_ns": clocks.real(channel.heartbeat_mono_ns),
        "heartbeat_age_ns": channel.heartbeat_age_ns,
        "worker_pid": channel.worker_pid,
        "worker_slot": channel.worker_slot,
        "counters": channel.counters,
        "packets": [timeline.packet_facts(packet, clocks) for packet in channel.packets],
        "workers": [_worker_facts(worker, clocks) for worker in workers],
    }


def _worker_facts(worker: observe.WorkerRecord, clocks: Clocks) -> dict[str, Any]:
    now = worker.facts
    return {
        "slot": worker.slot,
        "pid": now.pid if now else None,
        "alive": now is not None and observe.worker_lives(now.pid, now.heartbeat_ns),
        "heartbeat_real_ns": clocks.real(now.heartbeat_ns) if now else None,
        "events": [timeline.event_facts(event, clocks) for event in worker.events],
        "events_overwritten": worker.events_overwritten,
        "events_suppressed": worker.events_suppressed,
        "errors": [timeline.error_facts(error, clocks) for error in worker.errors],
        "other_errors": worker.other_errors,
    }
