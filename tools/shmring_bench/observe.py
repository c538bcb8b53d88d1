"""`shmring bench observe`: the cost of observing, and how much it disturbs.

Tools run as separate processes, because shmring does not build on them.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import pty
import re
import resource
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import shmring
from shmring import room
from shmring_bench import floor, senders
from shmring_bench.measure import (
    Figures,
    Plan,
    Row,
    Unavailable,
    alternate,
    cpu_ns,
    stolen_ns,
)
from shmring_bench.paired import Figure, holes, pooled_quantile, ratios
from shmring_bench.samples import median

RATE_HZ = 10_000
PAYLOAD_BYTES = 64
TURNS = "10kpps-tools"
SYSTEMS = ("unwatched", "watched", "watched-beside", "tapped", "tapped-beside")
PAIRS = (
    ("watched", "unwatched"),
    ("watched", "watched-beside"),
    ("tapped", "unwatched"),
    ("tapped", "tapped-beside"),
    ("watched-beside", "unwatched"),
    ("tapped-beside", "unwatched"),
)
SLICE_S = 1.0
SETTLING = 0.2
"""Share of each slice that is not measured: what the slice before it left behind ends there."""
TOLERANCE_NS = 5000
HOLE_NS = 1_000_000
"""A backlog is a hole if a packet of it is later than this."""
GOAL = 1.10
"""What observing may make of p99, compared with no tool."""
CHANNELS = 1000
CHANNEL_HZ = 10
JSON_CHANNELS = 100
JSON_RUNS = 15
CPU_S = 5.0
PATIENCE_S = 30.0
CHANNEL_NAME = re.compile(rb"c\d{4}")
"""Any: a screen shows the worst channels first, and has no room for all."""
NAME_BYTES = 5

_TOOL = [sys.executable, "-P", "-m", "rtstat"]
_TAP = [sys.executable, "-P", "-m", "shmring_cli", "tap"]
_ROWS, _COLUMNS = 50, 200


def run(plan: Plan) -> Iterator[Row]:
    if plan.wants(TURNS):
        yield from _turns(plan)
    yield from alternate(
        plan,
        f"{CHANNELS}-channels",
        {
            "rtstat-plain": lambda: _monitor(plan, "--plain", "-i", "1"),
            "rtstat-screen": lambda: _screen(plan),
            "rtstat-json": lambda: _monitor(plan, "--json-lines", "-i", "1"),
        },
        1,
    )
    yield from alternate(
        plan,
        f"json-{JSON_CHANNELS}-channels",
        {"rtstat": lambda: _one_shots(plan), "python": _interpreter},
        1,
    )


# --- tools that start and are killed during a timed channel ---------------------------------------


@dataclass(frozen=True, slots=True)
class _Turn:
    """One system's part of a turn: packets of a schedule that others share."""

    errors_ns: list[int]
    """Ordered distances to the deadline."""
    outside_ns: list[int]
    """Those of the packets outside holes."""
    holes: int
    """Holes that began in it."""
    behind_percent: float
    """Packets that waited for other work of the worker."""
    stolen_percent: float
    """Share of the time that the hypervisor took from the worker's core."""

    @property
    def in_holes(self) -> int:
        return len(self.errors_ns) - len(self.outside_ns)


def _order(turn: int) -> tuple[str, ...]:
    """Return the systems of one turn. Each turn begins with another one, so that nothing that
    recurs falls on the same system every time."""
    at = turn % len(SYSTEMS)
    return SYSTEMS[at:] + SYSTEMS[:at]


def _turns(plan: Plan) -> Iterator[Row]:
    count = max(1, round(plan.run_s(20) / SLICE_S / len(SYSTEMS)))
    slice_s = min(SLICE_S, plan.run_s(20))
    order = [system for turn in range(count) for system in _order(turn)]
    turns: dict[str, list[_Turn]] = {system: [] for system in SYSTEMS}
    lost_percent = 0.0
    for _ in range(plan.runs):
        slices, lost = _timed(plan, order, slice_s)
        lost_percent = max(lost_percent, lost)
        for system, one in zip(order, slices, strict=True):
            turns[system].append(one)
    for system, own in turns.items():
        for metric, value, unit in _figures(own, slice_s):
            yield Row(TURNS, system, metric, value, unit)
    yield Row(TURNS, "tapped", "lost", lost_percent, "percent")
    for name, figure in _COMPARED.items():
        for (system, of), ratio in ratios(turns, figure, PAIRS).items():
            case, pair = f"{TURNS}-{name}", f"{system}/{of}"
            yield Row(case, pair, "ratio", 100 * ratio.value, "percent")
            yield Row(case, pair, "low", 100 * ratio.low, "percent")
            yield Row(case, pair, "high", 100 * ratio.high, "percent")
            yield Row(case, pair, "below_110_percent", ratio.decides(GOAL), "verdict")


def _figures(turns: list[_Turn], slice_s: float) -> Iterator[tuple[str, float, str]]:
    """Yield metric, value and unit of one system: of all its packets together."""
    once = [1] * len(turns)
    errors = [turn.errors_ns for turn in turns]
    for metric, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)):
        yield f"error_{metric}", pooled_quantile(errors, once, share), "ns"
    yield "error_p99_outside", _p99_outside(turns, once), "ns"
    yield "in_holes", 100 * _in_holes(turns, once), "percent"
    yield "holes", sum(turn.holes for turn in turns) / len(turns) / slice_s, "per_s"
    yield "stolen", sum(turn.stolen_percent for turn in turns) / len(turns), "percent"
    yield "behind", sum(turn.behind_percent for turn in turns) / len(turns), "percent"


def _p99(turns: Sequence[_Turn], weights: Sequence[int]) -> float:
    return pooled_quantile([turn.errors_ns for turn in turns], weights, 0.99)


def _p99_outside(turns: Sequence[_Turn], weights: Sequence[int]) -> float:
    return pooled_quantile([turn.outside_ns for turn in turns], weights, 0.99)


def _in_holes(turns: Sequence[_Turn], weights: Sequence[int]) -> float:
    """Return the share of the packets in holes. One packet is counted in addition, so that it is
    never 0, which nothing can be compared with."""
    held, packets = 1, 1
    for turn, weight in zip(turns, weights, strict=True):
        held += weight * turn.in_holes
        packets += weight * len(turn.errors_ns)
    return held / packets


_COMPARED: dict[str, Figure[_Turn]] = {
    "p99": _p99,
    "p99-outside-holes": _p99_outside,
    "in-holes": _in_holes,
}


def _timed(plan: Plan, systems: list[str], slice_s: float) -> tuple[list[_Turn], float]:
    """Send packets on one schedule, while such tools start and are killed. Return the part of each
    system, and the percentage of lost packets."""
    each = round(slice_s * RATE_HZ)
    count = each * len(systems)
    interval_ns = round(1e9 / RATE_HZ)
    beside = f"{plan.namespace}-beside"
    with (
        plan.on_other_core(),
        floor.Receiver(count, cpu=plan.other_cpu) as receiver,
        shmring.Pool(cpus=plan.cpus, namespace=plan.namespace) as pool,
        shmring.Pool(cpus=_other(plan), namespace=beside) as other,
        other.open(senders.CHANNEL, shmring.Udp(tx=64, direction="tx"), remote=("127.0.0.1", 9)),
        pool.open(
            senders.CHANNEL,
            shmring.Udp(
                tx=shmring.Queue(count, PAYLOAD_BYTES), direction="tx", tolerance_ns=TOLERANCE_NS
            ),
            remote=("127.0.0.1", receiver.port),
        ) as channel,
    ):
        job = senders.Job(receiver.port, count, interval_ns, PAYLOAD_BYTES)
        due_ns = senders.dues(job)
        packets = senders.packets(job, due_ns)
        channel.send_many(packets, size=PAYLOAD_BYTES, at=due_ns.start, interval_ns=job.interval_ns)
        behind, stolen = [0], [stolen_ns(plan.worker_cpu)]
        for number, system in enumerate(systems):
            until = due_ns.start / 1e9 + (number + 1) * slice_s
            _come_and_go(_tool(system, plan.namespace, beside), until)
            behind.append(channel.stats().tx_queued_behind)
            stolen.append(stolen_ns(plan.worker_cpu))
        received = receiver.result(10)
    shares = zip(
        (100 * (b - a) / each for a, b in pairwise(behind)),
        ((b - a) / 1e7 / slice_s for a, b in pairwise(stolen)),
        strict=True,
    )
    return _cut(received.samples, each, list(shares)), 100 * (count - received.packets) / count


def _cut(samples: Sequence[int], each: int, shares: list[tuple[float, float]]) -> list[_Turn]:
    """Cut the samples of a schedule into the parts of its systems, less what is not measured.
    `shares`: `behind_percent` and `stolen_percent` of each."""
    found = holes(samples, round(1e9 / RATE_HZ), HOLE_NS)
    held = bytearray(len(samples))
    for hole in found:
        held[hole.start : hole.stop] = b"\1" * len(hole)
    turns = []
    for number, (behind_percent, stolen_percent) in enumerate(shares):
        part = range(number * each, (number + 1) * each)
        measured = range(part.start + round(each * SETTLING), min(part.stop, len(samples)))
        turns.append(
            _Turn(
                sorted(abs(samples[at]) for at in measured),
                sorted(abs(samples[at]) for at in measured if not held[at]),
                sum(hole.start in part for hole in found),
                behind_percent,
                stolen_percent,
            )
        )
    return turns


def _other(plan: Plan) -> list[int] | None:
    return None if plan.other_cpu is None else [plan.other_cpu]


def _tool(system: str, namespace: str, beside: str) -> list[str] | None:
    """Return the command that looks. None: nothing does."""
    where = beside if system.endswith("-beside") else namespace
    if system.startswith("watched"):
        return [*_TOOL, "--json-lines", "-i", "0.01", "--namespace", where]
    if system.startswith("tapped"):
        return [*_TAP, f"{where}/{senders.CHANNEL}"]
    return None


def _come_and_go(words: list[str] | None, until: float) -> None:
    """Run one tool after the other until then: each looks at least once (it writes the end of its
    first line), and is then killed while it runs or after it was stopped."""
    stops = False
    while words is not None and time.monotonic() < until:
        tool = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            assert tool.stdout is not None
            left_s = max(0.0, until - time.monotonic())
            if select.select([tool.stdout], [], [], left_s)[0]:
                tool.stdout.readline()
            if stops:
                tool.send_signal(signal.SIGSTOP)
                time.sleep(0.01)
            stops = not stops
        finally:
            tool.kill()
            tool.communicate()
    time.sleep(max(0.0, until - time.monotonic()))


# --- many channels --------------------------------------------------------------------------------


@contextlib.contextmanager
def _channels(plan: Plan, count: int, seconds: float) -> Iterator[None]:
    """Open this many channels. Each sends some packets a second."""
    packets = max(1, round(seconds * CHANNEL_HZ))
    engine = shmring.Udp(
        direction="tx", tx=shmring.Queue(packets, PAYLOAD_BYTES), report_capacity=64
    )
    each = room.channel_bytes(engine)
    fitting = plan.fitting(f"{count} channels", "channels", count, lambda n: n * each)
    with shmring.Pool(cpus=plan.cpus, namespace=plan.namespace) as pool, plan.on_other_core():
        opened = [pool.open(f"c{i:04}", engine, remote=("127.0.0.1", 9)) for i in range(fitting)]
        begin_ns = time.monotonic_ns() + 500_000_000
        for i, channel in enumerate(opened):
            channel.send_many(
                bytes(packets * PAYLOAD_BYTES),
                size=PAYLOAD_BYTES,
                at=begin_ns + i * 10_000,
                interval_ns=round(1e9 / CHANNEL_HZ),
            )
        yield


@dataclass(slots=True)
class _Output:
    """Reads the output of a tool on a thread, so that the tool never waits for this process."""

    fd: int
    wanted: re.Pattern[bytes]
    """It matches at most `NAME_BYTES`."""
    seen_at: float | None = None

    def read(self) -> None:
        tail = b""
        while True:
            with contextlib.suppress(OSError):
                data = os.read(self.fd, 1 << 16)
                if data:
                    tail += data
                    if self.seen_at is None and self.wanted.search(tail):
                        self.seen_at = time.monotonic()
                    tail = tail[-NAME_BYTES:]
                    continue
            return


def _monitor(plan: Plan, *words: str) -> Figures:
    with _channels(plan, CHANNELS, _monitored_s(plan)):
        read_fd, write_fd = os.pipe()
        return _measure(plan, read_fd, write_fd, words)


def _screen(plan: Plan) -> Figures:
    if importlib.util.find_spec("textual") is None:
        raise Unavailable('textual is not installed: pip install "shmring[screen]"')
    with _channels(plan, CHANNELS, _monitored_s(plan)):
        read_fd, write_fd = pty.openpty()
        size = struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0)
        fcntl.ioctl(write_fd, termios.TIOCSWINSZ, size)
        return _measure(plan, read_fd, write_fd, ("-i", "1"))


def _monitored_s(plan: Plan) -> float:
    return plan.run_s(CPU_S) + 4


def _measure(plan: Plan, read_fd: int, write_fd: int, words: tuple[str, ...]) -> Figures:
    """Measure the time from the start of the process to the first channel it shows, and its share
    of a core from a second later on."""
    shown = f"rtstat {' '.join(words)}"
    output = _Output(read_fd, CHANNEL_NAME)
    begun = time.monotonic()
    tool = subprocess.Popen(
        [*_TOOL, "--namespace", plan.namespace, *words],
        stdin=write_fd,
        stdout=write_fd,
        stderr=write_fd,  # Textual draws there
        env={**os.environ, "TERM": "xterm-256color"},
    )
    os.close(write_fd)
    reader = threading.Thread(target=output.read)
    reader.start()
    try:
        while output.seen_at is None:
            if tool.poll() is not None:
                raise ChildProcessError(f"{shown} ended with exit code {tool.returncode}")
            if time.monotonic() > begun + PATIENCE_S:
                raise TimeoutError(f"{shown} showed no channel within {PATIENCE_S:g} s")
            time.sleep(0.001)
        time.sleep(1)
        before_ns, before = cpu_ns(tool.pid), time.monotonic()
        time.sleep(plan.run_s(CPU_S))
        share = (cpu_ns(tool.pid) - before_ns) / 1e9 / (time.monotonic() - before)
    finally:
        tool.kill()
        tool.wait()
        reader.join()
        os.close(read_fd)
    return {("first_screen", "ns"): (output.seen_at - begun) * 1e9, ("cpu", "percent"): 100 * share}


# --- one shot -------------------------------------------------------------------------------------


def _one_shots(plan: Plan) -> Figures:
    with _channels(plan, JSON_CHANNELS, 10):
        time.sleep(1)
        return _commands([*_TOOL, "--json", "--namespace", plan.namespace])


def _interpreter() -> Figures:
    """Measure the start of an interpreter that does nothing."""
    return _commands([sys.executable, "-P", "-c", "pass"])


def _commands(words: list[str]) -> Figures:
    """Run a whole command repeatedly: the time until it has ended, and its CPU time."""
    wall, busy = [], []
    for _ in range(JSON_RUNS):
        used = _children_s()
        begun = time.monotonic()
        subprocess.run(words, stdout=subprocess.DEVNULL, check=False)
        wall.append((time.monotonic() - begun) * 1e9)
        busy.append((_children_s() - used) * 1e9)
    return {("command", "ns"): median(wall), ("command_cpu", "ns"): median(busy)}


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
