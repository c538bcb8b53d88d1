"""Send packets at exact times for a few seconds, and let the kernel measure each one.

What runs:

  this process      queues packets on the channel "demo", each with its deadline
  a worker (C)      owns the socket and one core, and sends every packet when it is due
  a device (C)      an independent program with its own socket: reads the kernel's
                    receive timestamp of each packet and replies
  a second Python   attaches to "demo" by name and reads the answers

Then the same schedule is sent with time.sleep, with asyncio and by bare C, to the same
device. Lateness is the kernel's receive timestamp minus the deadline, so no program
measures itself.

examples:
  shmring demo                          five seconds at 1 kHz
  shmring demo --duration 20s --pps 200  longer and slower
  shmring demo --png late.png           file for the picture
  shmring demo --json                   the figures, for a program

It also runs without privileges and on one core. Then it says what it lacked and how to
get it.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import struct
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import shmring
from shmring import room
from shmring_bench import floor, senders
from shmring_bench.samples import Lateness
from shmring_cli import options, realtime
from shmring_cli.common import FINE, LOST
from shmring_cli.output import (
    Progress,
    bar,
    can_draw,
    duration,
    json_line,
    paragraph,
    room_text,
    table,
)
from shmring_demo.reader import Reader

NAME = "demo"
DEFAULT_PNG = "shmring-demo.png"
PAYLOAD_BYTES = 64
AHEAD_NS = 200_000_000
QUEUE = 1 << 16
TICK_S = 0.02
MAX_PACKETS = 5_000_000
DEVICE_IDLE_MS = 5000
"""How long the device waits for the next packet. A busy machine may stop a sender for long, and a
device that has left refuses its packets."""

_HEAD = struct.Struct("=q")
_EDGES_US = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


@dataclass(slots=True)
class Result:
    """The run of one system."""

    system: str
    label: str
    lateness: Lateness
    sent: int

    @property
    def lost(self) -> int:
        return self.sent - len(self.lateness)

    def facts(self) -> dict[str, Any]:
        late = self.lateness
        return {
            "packets": self.sent,
            "lost": self.lost,
            "p50_ns": late.error_ns(0.5),
            "p99_ns": late.error_ns(0.99),
            "max_ns": late.max_ns,
            "signed_p50_ns": late.signed_ns(0.5),
        }


@dataclass(slots=True)
class Show:
    """All results of the demo."""

    rate_hz: int
    results: list[Result] = field(default_factory=list)
    worker: dict[str, Any] = field(default_factory=dict)
    verdicts: dict[str, int] = field(default_factory=dict)
    reader: dict[str, Any] = field(default_factory=dict)
    lacking: list[str] = field(default_factory=list)
    queue: room.Room | None = None
    crowded: str = ""
    png: str | None = None

    @property
    def healthy(self) -> bool:
        """Whether every packet of shmring arrived and every answer was read."""
        ours = self.results[0]
        return ours.lost == 0 and self.reader.get("read") == ours.sent


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_duration(
        parser,
        "how long shmring sends (default 5s)",
        read=options.limited("the duration", 0, 3600, above=True),
        default=5.0,
    )
    options.add_pps(parser, "packets a second (default 1000)", read=options.count, default=1000)
    parser.add_argument(
        "--png",
        metavar="FILE",
        type=Path,
        help=f"file for the picture (default {DEFAULT_PNG}; with --json, none)",
    )
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    count = max(10, round(arguments.duration * arguments.pps))
    if count > MAX_PACKETS or arguments.pps > 100_000:
        raise ValueError(
            f"{arguments.pps} packets a second for {arguments.duration:g} s is more than a picture "
            f"needs: at most 100000 a second and {MAX_PACKETS} in all; shmring bench goes further"
        )
    if arguments.png is not None:
        _check_picture(arguments.png)
    talk = not arguments.json
    show = Show(arguments.pps)
    if talk:
        print(f"shmring demo: {count} packets of {PAYLOAD_BYTES} bytes at {arguments.pps} Hz\n")
    _run_all(show, count, talk)
    if talk or arguments.png:
        show.png = _picture(show, arguments.png)
    if arguments.json:
        json_line(_as_json(show))
    else:
        _print(show)
    return FINE if show.healthy else LOST


# --- measuring ------------------------------------------------------------------------------------


def _run_all(show: Show, count: int, talk: bool) -> None:
    worker_cpu, device_cpu = floor.cores()
    if worker_cpu is None:
        show.crowded = "everything shares the only core: give this machine or container two cores"
    namespace = f"demo-{os.getpid()}"
    _run_shmring(show, count, (worker_cpu, device_cpu), namespace, talk)

    interval_ns = round(1e9 / show.rate_hz)
    shorter = max(10, min(count, round(1.5 * show.rate_hz)))
    for system, label in (
        ("shmring-wire", 'shmring align="wire"'),
        ("floor", "bare C"),
        ("time.sleep", "time.sleep"),
        ("asyncio", "asyncio"),
    ):
        progress = Progress(label, show=talk)
        progress.update(0, "running")
        with floor.Receiver(shorter, cpu=device_cpu, idle_ms=DEVICE_IDLE_MS) as device:
            job = senders.Job(device.port, shorter, interval_ns, PAYLOAD_BYTES, worker_cpu)
            senders.run(system, job, namespace)
            result = Result(system, label, device.result(10).lateness, shorter)
        show.results.append(result)
        progress.done(_summary(result))


def _run_shmring(
    show: Show, count: int, cpus: tuple[int | None, int | None], namespace: str, talk: bool
) -> None:
    worker_cpu, device_cpu = cpus
    progress = Progress("shmring", show=talk)
    show.queue = room.fitting(QUEUE, lambda n: room.channel_bytes(shmring.Udp(tx=n)))
    with (
        realtime.shown("shmring demo") as lacking,
        floor.Receiver(count, cpu=device_cpu, echo=True, idle_ms=DEVICE_IDLE_MS) as device,
        shmring.Pool(
            cpus=None if worker_cpu is None else [worker_cpu], namespace=namespace
        ) as pool,
        pool.open(
            NAME,
            shmring.Udp(tx=show.queue.count),
            local=("127.0.0.1", 0),
            remote=("127.0.0.1", device.port),
        ) as channel,
        Reader(NAME, namespace, count) as reader,
    ):
        _feed(channel, count, round(1e9 / show.rate_hz), reader, progress)
        received = device.result(10)
        show.reader = reader.result(5)
        _take_facts(show, channel.stats(), pool.workers())
        result = Result("shmring", "shmring", received.lateness, count)
    show.results.append(result)
    show.lacking = lacking
    progress.done(
        f"{_summary(result)}; {show.reader['read']} answers read by process {show.reader['pid']}"
    )


def _feed(
    channel: shmring.Channel, count: int, interval_ns: int, reader: Reader, progress: Progress
) -> None:
    """Queue the schedule slightly ahead of time, as a control program would."""
    payload = bytearray(PAYLOAD_BYTES)
    due = time.monotonic_ns() + AHEAD_NS
    queued = 0
    while queued < count or channel.tx_waiting:
        horizon = time.monotonic_ns() + AHEAD_NS
        while queued < count and due < horizon:
            _HEAD.pack_into(payload, 0, due)
            channel.send(payload, at=due, timeout=1.0)
            queued += 1
            due += interval_ns
        sent = queued - channel.tx_waiting
        progress.update(sent / count, f"{sent} sent, {reader.count} answers read")
        time.sleep(TICK_S)


def _take_facts(show: Show, stats: Any, workers: list[Any]) -> None:
    show.verdicts = {
        verdict.value: n
        for verdict in shmring.Verdict
        if (n := getattr(stats, f"tx_{verdict.value}"))
    }
    worker = workers[0]
    show.worker = {
        "pid": worker.pid,
        "cpu": worker.cpu,
        "policy": worker.policy,
        "priority": worker.priority,
        "memory_locked": worker.memory_locked,
    }


# --- showing --------------------------------------------------------------------------------------


def _summary(result: Result) -> str:
    late = result.lateness
    lost = f", {result.lost} lost" if result.lost else ""
    return (
        f"{len(late)} packets{lost}, off by {duration(late.error_ns(0.5))} (p50), "
        f"{duration(late.error_ns(0.99))} (p99)"
    )


def _print(show: Show) -> None:
    print("\nkernel receive timestamp against the deadline:\n")
    print(table(("", "p50", "p99", "max", "lost"), map(_row, show.results), indent="  "))
    arrival = _signed(_by_name(show, "shmring-wire"))
    print(
        '\n  align="start", the default, never sends early. align="wire" centres the departure\n'
        f"  timestamp on the deadline. The arrival, measured here, is {arrival} (p50)."
    )
    print("\nshare of packets by distance from the deadline:\n")
    print(_histogram(show.results))
    worker = show.worker
    place = "not pinned" if worker["cpu"] is None else f"core {worker['cpu']}"
    verdicts = ", ".join(f"{n} {name}" for name, n in show.verdicts.items())
    print(
        f"\n  worker {worker['pid']} ({place}, {_scheduling(worker)}) gave each packet one verdict:"
        f" {verdicts}\n  process {show.reader['pid']} attached by name and read "
        f"{show.reader['read']} answers, {duration(show.reader['p50_ns'])} after the deadline (p50)"
    )
    if show.queue is not None:
        print("\n  " + room_text("queue", show.queue))
    if show.crowded:
        print("\n" + paragraph(show.crowded, "lacking"))
    if show.png:
        print(f"\n  picture: {show.png}")
    else:
        print('\n  no picture, matplotlib is not installed: pip install "shmring[demo]"')


def _row(result: Result) -> tuple[str, ...]:
    late = result.lateness
    return (
        result.label,
        duration(late.error_ns(0.5)),
        duration(late.error_ns(0.99)),
        duration(late.max_ns),
        str(result.lost),
    )


def _signed(result: Result) -> str:
    middle = result.lateness.signed_ns(0.5)
    return f"{duration(abs(middle))} {'early' if middle < 0 else 'late'}"


def _scheduling(worker: dict[str, Any]) -> str:
    return f"SCHED_FIFO {worker['priority']}" if worker["policy"] == "fifo" else "SCHED_OTHER"


def _by_name(show: Show, system: str) -> Result:
    return next(result for result in show.results if result.system == system)


def _histogram(results: list[Result]) -> str:
    """Return one row per range of distances, with one bar per system."""
    shown = [result for result in results if result.system != "shmring-wire"]
    edges = [us * 1000 for us in _EDGES_US]
    columns = [result.lateness.shares(edges) for result in shown]
    blocks = can_draw()
    limits = [f"{us} µs" if us < 1000 else f"{us // 1000} ms" for us in _EDGES_US]
    names = [f"below {limit}" for limit in limits] + [f"from {limits[-1]}"]
    used = [i for i in range(len(names)) if any(column[i] for column in columns)]
    width = 14
    head = "".join(f"{result.label:<{width + 8}}" for result in shown)
    lines = [f"  {'':13}{head}".rstrip()]
    for i in range(used[0], used[-1] + 1):
        cells = "".join(
            f"{bar(column[i], width, blocks=blocks):<{width}} {_percent(column[i]):>5}  "
            for column in columns
        )
        lines.append(f"  {names[i]:<13}{cells}".rstrip())
    return "\n".join(lines)


def _percent(share: float) -> str:
    if share >= 0.0995:
        return f"{share:.0%}"
    if share >= 0.001:
        return f"{share * 100:.1f}%"
    return "<.1%" if share else ""


def _check_picture(path: Path) -> None:
    """Raise an error before the run if a requested picture cannot be written."""
    if importlib.util.find_spec("matplotlib") is None:
        raise OSError(
            None, '--png needs matplotlib, which is not installed: pip install "shmring[demo]"'
        )
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise OSError(None, f"--png {path}: cannot be written: choose a folder that exists")


def _picture(show: Show, wanted: Path | None) -> str | None:
    """Draw the PNG. Return None if matplotlib is missing and no file name was given."""
    try:
        from shmring_demo import picture
    except ImportError:
        if wanted is None:
            return None
        raise
    path = wanted or Path(DEFAULT_PNG)
    picture.draw(path, show.rate_hz, [(r.label, r.lateness) for r in show.results])
    return str(path)


def _as_json(show: Show) -> dict[str, Any]:
    return {
        "rate_hz": show.rate_hz,
        "healthy": show.healthy,
        "systems": {result.system: result.facts() for result in show.results},
        "verdicts": show.verdicts,
        "worker": show.worker,
        "reader": show.reader,
        "queue": None if show.queue is None else show.queue.to_dict(),
        "lacking": [text for text in (show.crowded, *show.lacking) if text],
        "png": show.png,
    }
